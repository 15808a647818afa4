"""Drawn people in a review project on a real Label Studio: made, imported, and told apart by their poses."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import TaskRecord, read_task_map
from autolabel.manifest import Manifest, write_manifest
from autolabel.merge import CORRECTIONS, Correction, read_corrections
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from pipelines.drawn_corpus import draw_corpus
from pipelines.pull import pull
from pipelines.push import push
from tests.live.labelstudio_client import Server


@dataclass(frozen=True)
class Review:
    """What was pushed: the project folder, the poses as the model had them, and Label Studio's numbers."""

    project: Path
    folder: ReviewFolder
    model: Poses
    remote: int
    tasks: dict[str, int]

    def record(self, task: str) -> TaskRecord:
        """A task's line of the task map."""
        return read_task_map(self.folder.taskmap)[task]

    def pose(self, task: str) -> int:
        """The row of a task's pose."""
        return self.model.id.tolist().index(self.record(task).pose)


Import = Callable[..., Review]
""":func:`import_review` on the tests' server; the project is deleted when the test is over."""


def guessed(truth: Manifest, seed: int = 0) -> list[Sample]:
    """Drawn people as a network would have them: about a pixel off, two joints of each far off and doubtful."""
    rng = np.random.default_rng(seed)
    samples: list[Sample] = []
    for sample in truth:
        poses = sample.poses
        n, k = poses.visibility.shape
        score = rng.uniform(0.6, 0.98, (n, k))
        offset = rng.normal(0, 1.2, (n, k, 2))
        for i in range(n):
            weak = rng.choice(np.flatnonzero(poses.visibility[i] != Visibility.ABSENT), 2, replace=False)
            score[i, weak] = rng.uniform(0.05, 0.3, 2)
            reach = 0.12 * float(np.max(poses.box[i, 2:] - poses.box[i, :2]))
            angle = rng.uniform(0, 2 * np.pi, 2)
            offset[i, weak] = reach * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        guess = Poses.create(
            k,
            id=poses.id,
            box=poses.box,
            xy=poses.xy + offset,
            score=score,
            presence=np.where(poses.visibility == Visibility.ABSENT, 0.2, 0.95),
            origin=np.full((n, k), Origin.MODEL),
            by=["net"] * n,
        )
        samples.append(sample.with_poses(guess))
    return samples


def routed(
    folder: Path, samples: Sequence[Sample], skeleton: Skeleton, queue: Sequence[Any], plants: Sequence[Sample] = ()
) -> Path:
    """A routing folder as ``route`` writes it, as far as ``push`` reads it; the pictures lie in ``folder/images``."""
    roots = {"images": folder / "images"}
    manifest = write_manifest(folder / "scored", samples, skeleton, roots, stage="test")
    routing = folder / "routing"
    routing.mkdir(parents=True)
    record = {"manifest": "../scored", "manifest_digest": manifest.digest, "digest": "cd" * 32}
    if plants:
        planted = write_manifest(routing / "plants", plants, skeleton, roots, stage="test")
        record |= {"plants": {"digest": planted.digest}}
        lines = [{"pose": pose, "of": "another"} for sample in plants for pose in sample.poses.id.tolist()]
        (routing / "plants.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (routing / "routing.json").write_text(json.dumps(record))
    (routing / "queue.jsonl").write_text("".join(json.dumps(line) + "\n" for line in queue))
    return routing


def drawn_people(folder: Path, images: int = 4, seed: int = 5) -> list[Sample]:
    """Drawn people with a network's guesses; their pictures lie in ``folder/images``."""
    truth, _ = draw_corpus(folder, images=images, seed=seed)
    return guessed(truth)


def for_review(samples: Sequence[Sample], **entry: Any) -> list[dict[str, Any]]:
    """A queue of all poses."""
    return [{"pose": pose, "kind": "review", "blind": False, **entry} for s in samples for pose in s.poses.id.tolist()]


def make_review(imported: Import, folder: Path, samples: list[Sample], queue: list[Any]) -> tuple[Review, str, int]:
    """A project of its own for people of COCO's joints; gives its first task by key and number."""
    review = imported(folder, samples, Skeleton.load("coco17"), queue)
    (task, number), *_ = review.tasks.items()
    return review, task, number


def import_review(
    server: Server,
    folder: Path,
    samples: Sequence[Sample],
    skeleton: Skeleton,
    queue: Sequence[Any],
    plants: Sequence[Sample] = (),
) -> Review:
    """Push a queue into a review folder and import it, first things first."""
    (folder / "project").mkdir(exist_ok=True)
    result = push(routed(folder, samples, skeleton, queue, plants), project=folder / "project")
    review = ReviewFolder(result.folder)
    project = server.json("POST", "/api/projects/", {"title": "form: browser"})["id"]
    crops = sorted(review.crops.iterdir())
    urls = {k: v for i in range(0, len(crops), 100) for k, v in server.upload(project, crops[i : i + 100]).items()}
    server.json("PATCH", f"/api/projects/{project}/", {"label_config": review.form.read_text()})
    tasks = [task for file in review.task_files() for task in json.loads(file.read_text())]
    for task in tasks:
        task["data"]["image"] = urls[task["data"]["crop"]]
    answer = server.json("POST", f"/api/projects/{project}/import?return_task_ids=true", tasks)
    numbers = dict(zip((t["data"]["task_key"] for t in tasks), answer["task_ids"], strict=True))
    model = Poses.concat([sample.poses for sample in samples])
    return Review(folder / "project", review, model, project, numbers)


def own_copy(people: tuple[Path, list[Sample]], folder: Path) -> tuple[Path, list[Sample]]:
    """A folder of its own for pictures and poses that several tests share."""
    (folder / "images").symlink_to(people[0] / "images")
    return folder, people[1]


def pulled(server: Server, review: Review, out: Path) -> list[Correction]:
    """The project's export, pulled."""
    content = server.call("GET", f"/api/projects/{review.remote}/export?exportType=JSON&download_all_tasks=true")
    (review.folder.exports / "export.json").write_bytes(content)
    pull(project=review.project, out=out)
    return read_corrections(out / CORRECTIONS, review.model.xy.shape[1])
