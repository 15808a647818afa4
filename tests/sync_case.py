"""A few written tasks, and a server in memory with an empty project to bring them to."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.frame import frame_of
from autolabel.labelstudio.sync import Destination, SyncResult, sync
from autolabel.labelstudio.tasks import TaskRecord, review_task, task_key
from autolabel.poses import Poses
from autolabel.skeleton import Skeleton
from tests.memory_server import MemoryServer

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
N = 7
A_FILE = 4
URL = "http://memory/projects/1"


@dataclass(frozen=True)
class Case:
    """N tasks in two files, and a server with an empty project."""

    folder: ReviewFolder
    server: MemoryServer
    project: int
    keys: tuple[str, ...]

    @property
    def files(self) -> list[Path]:
        return self.folder.task_files()

    @property
    def to(self) -> Destination:
        return Destination(self.server, self.project, self.folder, sleep=lambda seconds: None)

    def sync(self, **options: Any) -> SyncResult:
        return sync(self.to, self.files, SKELETON, **options)

    def number(self, i: int) -> int:
        """The server's number of the i-th task, of several the first."""
        return next(n for n, task in self.server.tasks.items() if task["data"]["task_key"] == self.keys[i])

    def edit(self, i: int) -> None:
        """Change the content of the i-th task."""
        file = self.files[i // A_FILE]
        tasks = json.loads(file.read_text())
        for item in tasks[i % A_FILE]["predictions"][0]["result"][:2]:
            item["value"]["x"] = 12.5
        file.write_text(json.dumps(tasks))

    def require_each_once(self) -> None:
        assert Counter(task["data"]["task_key"] for task in self.server.tasks.values()) == Counter(self.keys)
        written = [task for file in self.files for task in json.loads(file.read_text())]
        there = {task["data"]["task_key"]: task for task in self.server.tasks.values()}
        for task in written:
            found = there[task["data"]["task_key"]]
            (prediction,) = found["predictions"].values()
            assert prediction == task["predictions"][0]
            image = f"/data/upload/{self.project}/12345678-{task['data']['crop']}"
            assert found["data"] == {**task["data"], "image": image}


def make_case(path: Path) -> Case:
    folder = ReviewFolder.of(path)
    for made in (folder.tasks, folder.crops):
        made.mkdir(parents=True)
    rng = np.random.default_rng(1)
    poses = Poses.create(
        K, id=[f"p{i}" for i in range(N)], xy=rng.uniform((30, 40), (130, 190), (N, K, 2)),
        box=np.tile([20, 30, 140, 200], (N, 1)), score=rng.uniform(0, 1, (N, K)),
    )  # fmt: skip
    tasks = [review_task(record_of(poses[i].id, i, poses), poses[i], SKELETON) for i in range(N)]
    for i, start in enumerate(range(0, N, A_FILE)):
        folder.task_file("ab" * 32, i).write_text(json.dumps(tasks[start : start + A_FILE]))
    for task in tasks:
        (folder.crops / task["data"]["crop"]).write_bytes(b"picture")
    server = MemoryServer()
    project = server.create_project("test")
    server.calls.clear()
    return Case(folder, server, project, tuple(task["data"]["task_key"] for task in tasks))


def record_of(pose: str, i: int, poses: Poses) -> TaskRecord:
    frame = frame_of(poses[i], (200, 300))
    key = task_key("ab" * 32, pose, "review")
    return TaskRecord(key, pose, ("s", "r", "p"), frame, "ab" * 32, "review", False, "net", priority=(N - i) / N)
