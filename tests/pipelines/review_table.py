"""A table at which a reviewer answers pushed tasks by hand; what is answered is exported when it is pulled."""

import copy
import json
from pathlib import Path
from typing import Any

from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import TaskRecord, canvas, read_task_map, rectangle
from autolabel.manifest import Manifest
from autolabel.poses import Poses
from pipelines.pull import PullResult, pull
from pipelines.push import PushResult, push

Items = list[dict[str, Any]]


class ReviewTable:
    def __init__(self, project: Path, out: Path) -> None:
        self.project = project
        self.out = out
        self.folder = ReviewFolder.of(project)
        self.answers: Items = []

    def push(self, source: Path) -> PushResult:
        return push(source, project=self.project)

    def record(self, pose: str, kind: str = "review") -> TaskRecord:
        """The last task of a pose; of a whole image, ``pose`` is its path."""
        mine = [
            record
            for record in read_task_map(self.folder.taskmap).values()
            if record.kind == kind and pose in (record.pose, record.sample[2] if kind == "image" else None)
        ]
        return mine[-1]

    def task(self, record: TaskRecord) -> dict[str, Any]:
        tasks = [task for file in self.folder.task_files() for task in json.loads(file.read_text())]
        return next(task for task in tasks if task["data"]["task_key"] == record.task)

    def drawn(self, record: TaskRecord, box: Any, region: str = "fo_l1oAHdz") -> dict[str, Any]:
        return {**rectangle(record, region, box), "origin": "manual"}

    def verdict(self, record: TaskRecord, *verdicts: str) -> dict[str, Any]:
        return {
            "id": "v", **canvas(record), "type": "choices", "from_name": "verdict", "value": {"choices": list(verdicts)}
        }  # fmt: skip

    def answer(
        self, record: TaskRecord, *more: dict[str, Any], minute: int = 0, number: int = 1, drop: tuple[str, ...] = ()
    ) -> None:
        """Submit what a task shows, without the regions in ``drop``, and with more; a number twice replaces."""
        task = copy.deepcopy(self.task(record))
        shown = task.pop("predictions")[0]["result"]
        annotation = {
            "id": number,
            "unique_id": f"{record.task}-{number}",
            "completed_by": number,
            "result": [*(item for item in shown if item["id"] not in drop), *more],
            "was_cancelled": False,
            "updated_at": f"2026-11-22T20:{minute:02}:00.123456Z",
            "lead_time": 7.25,
        }
        self.answers.append({**task, "id": 1, "annotations": [annotation]})

    def pull(self, name: str) -> PullResult:
        (self.folder.exports / f"{name}.json").write_text(json.dumps(self.answers))
        self.answers = []
        return pull(project=self.project, out=self.out / name)


def poses_of(manifest: Manifest | Path) -> dict[str, Any]:
    """The poses of a manifest by their ids."""
    opened = manifest if isinstance(manifest, Manifest) else Manifest.open(manifest)
    poses = Poses.concat([Poses.empty(opened.skeleton.num_keypoints), *(sample.poses for sample in opened)])
    return {pose: poses[i] for i, pose in enumerate(poses.id.tolist())}


def notices_of(result: PullResult) -> list[str]:
    return [json.loads(line)["what"] for line in (result.manifest.path / "notices.jsonl").read_text().splitlines()]
