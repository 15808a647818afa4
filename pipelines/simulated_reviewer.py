"""A reviewer made of truth and noise: answers a project's tasks as a person in Label Studio would.

For demos, tests and benchmarks, where the truth is known. It sees what a person sees, the task files; it
moves what is too far off, corrects what is said about a keypoint, accepts the rest, and leaves an export of
the same shape as Label Studio's in the project, for ``pull`` to read. Of whole images it boxes who has no box.

Its points carry human noise: normal, per axis of variance noise² σ² A / 2, with COCO's σ and the similarity's
area A. COCO defines σ from doubly annotated people as E[d²] = σ² A; a perfect second annotator then reaches a
mean KS of 0.89 (KS itself uses 2σ). Clicks: 1 a point moved or added, 1 a visibility changed, 1 a verdict, 2 a
box drawn, 1 a box deleted, 1 to submit.
"""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np

from autolabel.formats.records import read_json
from autolabel.labelstudio.answers import read_answer
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.frame import frame_of
from autolabel.labelstudio.images import image_region, place_of
from autolabel.labelstudio.tasks import BLIND, IMAGE, UNSHOWN, TaskRecord, read_task_map
from autolabel.manifest import Manifest
from autolabel.merge import Verdict
from autolabel.poses import Poses
from autolabel.similarity import DEFAULT_RULE, box_iou
from pipelines.simulated_export import answered, exported, write_export
from pipelines.simulated_hand import Items, Plan, applied, new_box, plan, verdict_item

_LOOK_SECONDS, _FIX_SECONDS = 3.0, 2.5
"""Time to look at a task and to fix a point: assumptions, until real reviewers are measured."""


class SimulatedReviewer:
    """Answers every open task of a project from the truth.

    The answer to a pose depends on the seed and the pose alone, not on what was answered before; whether its task is
    passed over, on the seed and the task.

    Args:
        truth: Manifests whose poses have the same ids; a pose that all lack holds no person, but for one without a
            pre-label whom somebody boxed: that is who is seen there. A planted pose is answered by the truth of the
            pose that it was made from.
        seed: Decides the noise.
        noise: Factor on the human standard deviation; 0 places points exactly.
        accept_ks: A point of at least this KS is left where it is.
        miss: Probability that a needed fix of a keypoint is overlooked.
        overlook: Probability that a task that needs fixing is submitted as it is. Blind tasks, which show nothing
            to agree with, are not overlooked.

    Attributes:
        clicks: What all answers so far have cost.
    """

    def __init__(
        self,
        truth: Manifest | Sequence[Manifest],
        *,
        seed: int,
        noise: float = 1.0,
        accept_ks: float = 0.75,
        miss: float = 0.0,
        overlook: float = 0.0,
    ) -> None:
        self.truth = (truth,) if isinstance(truth, Manifest) else tuple(truth)
        self.seed = seed
        self.noise = noise
        self.accept_ks = accept_ks
        self.miss = miss
        self.overlook = overlook
        self.clicks = 0

    def review(self, project: str | Path) -> int:
        """Answer the tasks that no export in the project answers yet.

        Returns:
            How many were answered.
        """
        folder = ReviewFolder.of(project)
        records = read_task_map(folder.taskmap)
        done = answered(folder)
        truth = _Truth.of(self.truth, [record for record in records.values() if record.task not in done])
        numbers = {task: i for i, task in enumerate(records, start=1)}
        total = 0
        for file in folder.task_files():
            tasks = [task for task in read_json(file) if task["data"]["task_key"] not in done]
            answers = [
                self._answer(task, records[task["data"]["task_key"]], truth, numbers[task["data"]["task_key"]])
                for task in tasks
            ]
            if answers:
                write_export(folder, file.stem, answers)
            total += len(answers)
        return total

    def answers(self, project: str | Path, tasks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The same answers to tasks as a server shows them; nothing is written.

        Args:
            project: Whose tasks they are.
            tasks: Each with ``data``, ``meta`` and ``predictions``.

        Returns:
            The tasks with one annotation each, as Label Studio exports them.
        """
        records = read_task_map(ReviewFolder.of(project).taskmap)
        keys = [str(task["data"]["task_key"]) for task in tasks]
        truth = _Truth.of(self.truth, [records[key] for key in keys])
        numbers = {task: i for i, task in enumerate(records, start=1)}
        return [self._answer(task, records[key], truth, numbers[key]) for key, task in zip(keys, tasks, strict=True)]

    def _answer(self, task: Mapping[str, Any], record: TaskRecord, truth: "_Truth", number: int) -> dict[str, Any]:
        shown = cast("Items", copy.deepcopy(task["predictions"][0]["result"]))
        for item in shown:
            item["origin"] = "prediction"
        if record.kind == IMAGE:
            result, clicks = _boxed(shown, record, truth)
        elif person := truth.person(record):
            result, clicks = self._correct(shown, record, person)
        else:
            result, clicks = [*shown, verdict_item(record, Verdict.NO_PERSON)], 1
        if clicks and not record.blind and self._random(f"{record.task} overlook").random() < self.overlook:
            result, clicks = shown, 0
        self.clicks += clicks + 1
        return exported(task, result, record, number, _LOOK_SECONDS + _FIX_SECONDS * clicks)

    def _correct(self, shown: Items, record: TaskRecord, truth: Poses) -> tuple[Items, int]:
        """The submitted result and its clicks, the last one to submit left out."""
        skeleton = self.truth[0].skeleton
        direct = self._plan(shown, record, truth, range(skeleton.num_keypoints))
        mirrored = self._plan(shown, record, truth, skeleton.flip)
        if mirrored.clicks + 1 < direct.clicks:
            result = applied(shown, record, mirrored, skeleton)
            return [*result, verdict_item(record, Verdict.SWAPPED)], mirrored.clicks + 1
        return applied(shown, record, direct, skeleton), direct.clicks

    def _plan(self, shown: Items, record: TaskRecord, truth: Poses, order: Sequence[int]) -> Plan:
        skeleton = self.truth[0].skeleton
        return plan(
            read_answer(shown, skeleton, place="result", subject=record.task),
            record,
            truth,
            skeleton,
            order,
            # Two looks at one pose, with and without the pre-label, differ as two people's do.
            random=self._random(f"{record.pose} blind" if record.kind == BLIND else record.pose),
            noise=self.noise,
            accept_ks=self.accept_ks,
            miss=self.miss,
        )

    def _random(self, what: str) -> np.random.Generator:
        return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{self.seed} {what}".encode()).digest()[:8], "big"))


def _boxed(shown: Items, record: TaskRecord, truth: "_Truth") -> tuple[Items, int]:
    """A whole image with a box around everybody: what was submitted, and its clicks, the last one left out."""
    people = truth.images.get(record.sample[0], {})
    wrong = {image_region(record.task, i) for i, pose in enumerate(record.poses) if pose not in people}
    missed = {pose: poses for pose, poses in people.items() if pose not in record.poses and not poses.crowd[0]}
    result = [item for item in shown if item["id"] not in wrong]
    result += [new_box(record, pose, place_of(poses[0])) for pose, poses in missed.items()]
    clicks = len(wrong) + 2 * len(missed)
    if wrong and len(wrong) == len(record.poses):
        return [*result, verdict_item(record, Verdict.NO_PERSON)], clicks + 1
    return result, clicks


@dataclass(frozen=True)
class _Truth:
    """What is needed of the truth: poses by id, and all that have a place in images where somebody is looked for.

    ``sizes`` are those of these images.
    """

    poses: Mapping[str, Poses]
    images: Mapping[str, Mapping[str, Poses]]
    sizes: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, manifests: Sequence[Manifest], records: Sequence[TaskRecord]) -> "_Truth":
        wanted = {_true_pose(record) for record in records}
        whole = {record.sample[0] for record in records if record.kind == IMAGE or _unnamed(record)}
        poses: dict[str, Poses] = {}
        images: dict[str, dict[str, Poses]] = {}
        sizes: dict[str, tuple[int, int]] = {}
        for sample in chain.from_iterable(manifests):
            sizes[sample.id] = sample.size
            for i, pose in enumerate(sample.poses.id.tolist()):
                if pose in wanted:
                    poses[pose] = sample.poses.take([i])
                if sample.id in whole and not np.isnan(place_of(sample.poses[i])).any():
                    images.setdefault(sample.id, {})[pose] = sample.poses.take([i])
        return cls(poses, images, sizes)

    def person(self, record: TaskRecord) -> Poses | None:
        """Who is to be placed in a task, or None: by the pose's id, or by what a task without a pre-label shows."""
        if (found := self.poses.get(_true_pose(record))) or not _unnamed(record):
            return found
        people = self.images.get(record.sample[0], {})
        shown = {pose: self._overlap(record, poses) for pose, poses in people.items()}
        best = max(shown, key=lambda pose: shown[pose], default="")
        return people[best] if shown.get(best, 0.0) >= DEFAULT_RULE.match_iou else None

    def _overlap(self, record: TaskRecord, poses: Poses) -> float:
        """IoU of what a task shows with what one about a true person would."""
        boxed = Poses.create(poses.num_keypoints, id=poses.id, box=[place_of(poses[0])])
        frames = (record.frame, frame_of(boxed[0], self.sizes[record.sample[0]]))
        one, other = (np.array([frame.box_to_image([0.0, 0.0, 100.0, 100.0])]) for frame in frames)
        return float(box_iou(one, other)[0, 0])


def _unnamed(record: TaskRecord) -> bool:
    """Whether a task is about a box alone, which somebody may have drawn: then no truth knows its pose by name."""
    return record.blind and record.kind not in UNSHOWN


def _true_pose(record: TaskRecord) -> str:
    return record.of or record.pose
