"""A reviewer made of truth and noise: answers a project's tasks as a person in Label Studio would.

For demos, tests and benchmarks, where the truth is known. It sees what a person sees, the task files; it
moves what is too far off, corrects what is said about a keypoint, accepts the rest, and leaves an export of
the same shape as Label Studio's in the project, for ``pull`` to read.

Its points carry human noise: normal, per axis of variance noise² σ² A / 2, with COCO's σ and the similarity's
area A. COCO defines σ from doubly annotated people as E[d²] = σ² A; a perfect second annotator then reaches a
mean KS of 0.89 (KS itself uses 2σ). Clicks: 1 a point moved or added, 1 a visibility changed, 1 a verdict, 1
to submit.
"""

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.formats.records import read_json
from autolabel.labelstudio import form
from autolabel.labelstudio.answers import Answer, read_answer
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import TaskRecord, read_task_map
from autolabel.manifest import Manifest, write_text
from autolabel.merge import Verdict
from autolabel.poses import Poses, Visibility
from autolabel.similarity import keypoint_similarity, similarity_area
from autolabel.skeleton import Skeleton

_LOOK_SECONDS, _FIX_SECONDS = 3.0, 2.5
"""Time to look at a task and to fix a point: assumptions, until real reviewers are measured."""

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_ID = 1
"""The reviewer's number in the exports."""

_UNUSED: Mapping[str, Any] = {
    "ground_truth": False,
    **dict.fromkeys(("draft_created_at", "import_id", "last_action", "parent_annotation", "last_created_by")),
}
"""Fields of an annotation that say nothing here."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Plan:
    """What a reviewer does to the K keypoints of a task.

    Attributes:
        xy: (K, 2) where the points should stand, in full-image pixels.
        visibility: (K,) what should be said about them.
        place: (K,) points to move or add.
        mark: (K,) visibilities to change.
    """

    xy: Floats
    visibility: NDArray[np.uint8]
    place: Bools
    mark: Bools

    @property
    def clicks(self) -> int:
        return int(self.place.sum() + self.mark.sum())


class SimulatedReviewer:
    """Answers every open task of a project from the truth.

    The answer to a pose depends on the seed and the pose alone, not on what was answered before.

    Args:
        truth: A manifest whose poses have the same ids; a pose that it lacks holds no person.
        seed: Decides the noise.
        noise: Factor on the human standard deviation; 0 places points exactly.
        accept_ks: A point of at least this KS is left where it is.
        miss: Probability that a needed fix of a keypoint is overlooked.

    Attributes:
        clicks: What all answers so far have cost.
    """

    def __init__(
        self, truth: Manifest, *, seed: int, noise: float = 1.0, accept_ks: float = 0.75, miss: float = 0.0
    ) -> None:
        self.truth = truth
        self.seed = seed
        self.noise = noise
        self.accept_ks = accept_ks
        self.miss = miss
        self.clicks = 0

    def review(self, project: str | Path) -> int:
        """Answer the tasks that no export in the project answers yet.

        Returns:
            How many were answered.
        """
        folder = ReviewFolder.of(project)
        records = read_task_map(folder.taskmap)
        answered = _answered(folder)
        truth = self._truth({record.pose for record in records.values() if record.task not in answered})
        numbers = {task: i for i, task in enumerate(records, start=1)}
        total = 0
        for file in folder.task_files():
            tasks = [task for task in read_json(file) if task["data"]["task_key"] not in answered]
            exported = [
                self._answer(task, records[task["data"]["task_key"]], truth, numbers[task["data"]["task_key"]])
                for task in tasks
            ]
            if exported:
                _write_export(folder, file.stem, exported)
            total += len(exported)
        return total

    def _truth(self, wanted: set[str]) -> dict[str, Poses]:
        """The true poses by id, each as a value of its own."""
        return {
            pose: sample.poses.take([i])
            for sample in self.truth
            for i, pose in enumerate(sample.poses.id)
            if pose in wanted
        }

    def _answer(
        self, task: Mapping[str, Any], record: TaskRecord, truth: Mapping[str, Poses], number: int
    ) -> dict[str, Any]:
        shown = cast("list[dict[str, Any]]", copy.deepcopy(task["predictions"][0]["result"]))
        for item in shown:
            item["origin"] = "prediction"
        if record.pose in truth:
            result, clicks = self._correct(shown, record, truth[record.pose])
        else:
            result, clicks = [*shown, _verdict_item(record, Verdict.NO_PERSON)], 1
        self.clicks += clicks + 1
        return _exported(task, result, record, number, _LOOK_SECONDS + _FIX_SECONDS * clicks)

    def _correct(
        self, shown: list[dict[str, Any]], record: TaskRecord, truth: Poses
    ) -> tuple[list[dict[str, Any]], int]:
        """The submitted result and its clicks, the last one to submit left out."""
        skeleton = self.truth.skeleton
        answer = read_answer(shown, skeleton, place="result", subject=record.task)
        plan = self._plan(answer, record, truth, np.arange(skeleton.num_keypoints))
        mirrored = self._plan(answer, record, truth, np.array(skeleton.flip))
        if mirrored.clicks + 1 < plan.clicks:
            result = _applied(shown, record, mirrored, skeleton)
            return [*result, _verdict_item(record, Verdict.SWAPPED)], mirrored.clicks + 1
        return _applied(shown, record, plan, skeleton), plan.clicks

    def _plan(self, answer: Answer, record: TaskRecord, truth: Poses, order: NDArray[np.intp]) -> _Plan:
        """What to do so that point k of the task stands where true keypoint ``order[k]`` does."""
        sigmas = np.array(self.truth.skeleton.sigmas)
        area = similarity_area(truth)[0]
        random = np.random.default_rng(_seed(self.seed, record.pose))
        offset = self.noise * np.sqrt(area / 2) * sigmas[:, None] * random.standard_normal((len(sigmas), 2))
        overlooked = random.random(len(sigmas))[order] < self.miss
        true_xy, visibility = truth.xy[0].astype(np.float64)[order], truth.visibility[0][order]
        there = answer.placed
        ks = keypoint_similarity(record.frame.to_image(answer.percent), true_xy, area, sigmas[order])
        labelled = truth.labelled[0][order]
        # A joint outside the crop cannot be placed: the task does not show it.
        corner = np.array(record.frame.origin) - 0.5
        within = ((true_xy >= corner) & (true_xy <= corner + record.frame.size)).all(axis=1)
        place = labelled & within & (np.nan_to_num(ks) < self.accept_ks) & ~overlooked
        said = np.where(there, answer.choice, np.uint8(Visibility.VISIBLE))
        sayable = (labelled & (there | place)) | ((visibility == Visibility.ABSENT) & there)
        mark = sayable & (said != visibility) & ~overlooked
        return _Plan(true_xy + offset[order], visibility, place, mark)


def _applied(shown: list[dict[str, Any]], record: TaskRecord, plan: _Plan, skeleton: Skeleton) -> list[dict[str, Any]]:
    """The shown items with a plan carried out; new points come last, as in Label Studio."""
    items = copy.deepcopy(shown)
    regions = {item["value"]["keypointlabels"][0]: item["id"] for item in items if "keypointlabels" in item["value"]}
    names = {value: name for name, value in form.VISIBILITY_CHOICES.items()}
    percent = record.frame.to_percent(plan.xy).tolist()
    for k, keypoint in enumerate(skeleton.keypoints):
        if not (plan.place[k] or plan.mark[k]):
            continue
        place = {"x": percent[k][0], "y": percent[k][1]} if plan.place[k] else {}
        choice = {"choices": [names[Visibility(plan.visibility[k])]]} if plan.mark[k] else {}
        if keypoint not in regions:
            items += _new_point(record, keypoint, place, choice)
        for item in items:
            if item["id"] == regions.get(keypoint):
                item["value"] |= {**place, **choice} if "choices" in item["value"] else place
                item["origin"] = "prediction-changed"
    return items


def _new_point(
    record: TaskRecord, keypoint: str, place: Mapping[str, float], choice: Mapping[str, list[str]]
) -> list[dict[str, Any]]:
    """A point that was drawn by hand: an id of the editor's, no parent, a choice only where one was made."""
    width, height = record.frame.shown
    region = {
        "id": hashlib.sha256(f"{record.task} {keypoint}".encode()).hexdigest()[:10],
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "to_name": form.IMAGE,
        "origin": "manual",
    }
    value = {**place, "width": 0.6}
    label = {**value, "keypointlabels": [keypoint]}
    items = [{**region, "from_name": form.DOUBT, "type": "keypointlabels", "value": label}]
    if choice:
        said = {**value, **choice}
        items.append({**region, "from_name": form.VISIBILITY, "type": "choices", "value": said})
    return items


def _verdict_item(record: TaskRecord, verdict: Verdict) -> dict[str, Any]:
    return {
        "id": hashlib.sha256(f"{record.task} verdict".encode()).hexdigest()[:10],
        "from_name": form.VERDICT,
        "to_name": form.IMAGE,
        "type": "choices",
        "origin": "manual",
        "value": {"choices": [verdict.value]},
    }


def _seed(seed: int, pose: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {pose}".encode()).digest()[:8], "big")


def _answered(folder: ReviewFolder) -> set[str]:
    """Tasks that some export in the project holds an annotation of."""
    return {
        str(task["data"].get("task_key", ""))
        for file in sorted(folder.exports.glob("*.json"))
        for task in read_json(file)
        if task["annotations"]
    }


def _exported(
    task: Mapping[str, Any], result: list[dict[str, Any]], record: TaskRecord, number: int, seconds: float
) -> dict[str, Any]:
    """A task with its annotation, field for field as Label Studio 1.23 exports it.

    Times are made up from the task's number, so that later tasks are answered later and answers are repeatable.
    """
    now = (_EPOCH + timedelta(minutes=number)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    shared = {"created_at": now, "updated_at": now, "project": 1}
    prediction = {"id": number, **task["predictions"][0], **shared, "score": None, "task": number}
    annotation = {
        **_UNUSED,
        **shared,
        "id": number,
        "unique_id": hashlib.sha256(f"{record.task} answer".encode()).hexdigest()[:32],
        "task": number,
        "result": result,
        "result_count": len(result),
        "was_cancelled": False,
        "lead_time": seconds,
        "completed_by": _ID,
        "updated_by": _ID,
        "prediction": prediction,
        "parent_prediction": number,
    }
    counts = {"total_annotations": 1, "cancelled_annotations": 0, "total_predictions": 1}
    given = {"data": task["data"], "meta": task["meta"], "predictions": [number], "drafts": []}
    ids = {"id": number, "inner_id": number, "updated_by": _ID}
    return {**ids, **shared, **counts, **given, "annotations": [annotation]}


def _write_export(folder: ReviewFolder, stem: str, tasks: list[dict[str, Any]]) -> None:
    """Write an export beside those that are there."""
    names = (folder.exports / f"simulated-{stem}-{i}.json" for i in count())
    path = next(name for name in names if not name.exists())
    write_text(path, json.dumps(tasks, ensure_ascii=False) + "\n")
