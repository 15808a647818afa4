"""What the answers to all tasks come to: corrections, checks, findings about images, and what could not be used.

Corrections are the standing answers, one a pose, and are laid over poses. Checks are laid over nothing: answers
to planted and to blind tasks, and every answer to an audited pose or to a keypoint's task beside the standing one.
They have the form of corrections and a file of their own, so that nothing of them can be merged, trained on or
exported.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autolabel.errors import InputError
from autolabel.labelstudio.answers import Answer, correction, read_answer, why_void
from autolabel.labelstudio.exports import Annotation
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.images import ImageCheck, image_check, why_void_image
from autolabel.labelstudio.tasks import AUDIT, IMAGE, KEYPOINT, PLANTED, UNMERGED, TaskRecord, read_task_map
from autolabel.manifest import Manifest
from autolabel.merge import Correction, latest
from autolabel.poses import Pose
from autolabel.skeleton import Skeleton

CHECKS = "checks.jsonl"
"""The file of checks in the folder of a pulled manifest; ``autolabel.merge.read_corrections`` reads it."""


@dataclass(frozen=True)
class Notice:
    """An answer that was not used as it came, and why."""

    task: str
    pose: str
    what: str


@dataclass(frozen=True)
class Sent:
    """All that was ever sent: the task map, and what every routing showed, in the order of the pushes."""

    records: Mapping[str, TaskRecord]
    manifests: Mapping[str, Manifest]

    @classmethod
    def read(cls, folder: ReviewFolder) -> "Sent":
        """Read it from a review folder.

        Raises:
            InputError: Nothing was sent.
        """
        records = read_task_map(folder.taskmap)
        if not records:
            raise InputError("has no tasks", subject=str(folder.path), remedy="`autolabel push` makes them.")
        routings = dict.fromkeys(record.routing for record in records.values())
        return cls(records, {routing: Manifest.open(folder.sent(routing)) for routing in routings})

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of all poses."""
        return next(iter(self.manifests.values())).skeleton

    @property
    def roots(self) -> dict[str, Path]:
        """Corpus roots by name, those of planted poses left out; where a corpus has moved, its last place."""
        used: dict[bool, set[str]] = {True: set(), False: set()}
        for record in self.records.values():
            used[record.kind == PLANTED].add(record.sample[1])
        hidden = used[True] - used[False]
        every = ((name, root) for manifest in self.manifests.values() for name, root in manifest.roots.items())
        return {name: root for name, root in every if name not in hidden}


@dataclass(frozen=True)
class Answers:
    """What all answers come to.

    Attributes:
        corrections: The standing answer to every pose, by its id.
        checks: Answers that are laid over nothing.
        images: What was found in whole images, a finding an answer.
        notices: What could not be used as it came.
    """

    corrections: dict[str, Correction]
    checks: list[Correction]
    images: list[ImageCheck]
    notices: list[Notice]


def read_answers(annotations: Mapping[str, Sequence[Annotation]], sent: Sent) -> Answers:
    """Work out what the standing annotations of all tasks say.

    Args:
        annotations: By task, in the order of their times; see :func:`autolabel.labelstudio.exports.standing`.
        sent: What the tasks showed.
    """
    notices: list[Notice] = []
    found: list[Correction] = []
    checks: list[Correction] = []
    proving: list[Correction] = []
    audit = {record.pose for record in sent.records.values() if record.kind == AUDIT}
    for record, pose in _answered(annotations, sent):
        usable = [
            correction(annotation, answer, record, pose, sent.skeleton)
            for annotation, answer in _usable(annotations[record.task], record, sent.skeleton, notices)
        ]
        if record.kind in UNMERGED:
            checks += usable
            continue
        if len(usable) > 1:
            by = ", ".join(f"{c.by} at {c.when}" for c in usable)
            notices.append(Notice(record.task, record.pose, f"answered {len(usable)} times, last taken: {by}"))
        found += usable[-1:]
        proving += usable if record.pose in audit or record.kind == KEYPOINT else []
    chosen, conflicts = latest(found)
    # A keypoint task asks for a second look: that it stands is no conflict.
    told = [c for c in conflicts if sent.records[chosen[c.pose].task].kind != KEYPOINT]
    notices += [Notice(chosen[c.pose].task, c.pose, f"{c.what}: {c.detail}") for c in told]
    checks += [c for c in proving if c is not chosen[c.pose]]
    return Answers(chosen, checks, _images(annotations, sent, notices), notices)


def _answered(answers: Container[str], sent: Sent) -> Iterator[tuple[TaskRecord, Pose]]:
    """Answered tasks with their poses as they were sent."""
    tasks: dict[tuple[str, str], list[TaskRecord]] = {}
    for record in sent.records.values():
        if record.task in answers:
            tasks.setdefault((record.routing, record.pose), []).append(record)
    for routing, manifest in sent.manifests.items():
        for sample in manifest:
            for i, pose in enumerate(sample.poses.id):
                yield from ((record, sample.poses[i]) for record in tasks.get((routing, pose), ()))


def _images(annotations: Mapping[str, Sequence[Annotation]], sent: Sent, notices: list[Notice]) -> list[ImageCheck]:
    return [
        image_check(annotation, answer, record)
        for record in sent.records.values()
        if record.kind == IMAGE and record.task in annotations
        for annotation, answer in _usable(annotations[record.task], record, sent.skeleton, notices)
    ]


def _usable(
    annotations: Sequence[Annotation], record: TaskRecord, skeleton: Skeleton, notices: list[Notice]
) -> Iterator[tuple[Annotation, Answer]]:
    """The annotations of a task that say something, with what they say; the others are noted."""
    for annotation in annotations:
        source = f"annotation {annotation.annotation}"
        answer = read_answer(annotation.result, skeleton, place="result", subject=source)
        if why := (why_void_image if record.kind == IMAGE else why_void)(answer, record):
            notices.append(Notice(record.task, record.pose, f"not used: {why}"))
            continue
        if twice := [skeleton.keypoints[k] for k in answer.doubled]:
            notices.append(Notice(record.task, record.pose, f"placed twice, the last was taken: {', '.join(twice)}"))
        yield annotation, answer
