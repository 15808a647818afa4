"""What the answers to all tasks come to: corrections, checks, findings about images, and what could not be used.

Corrections are the standing answers, one a pose, and are laid over poses. Checks are laid over nothing: answers
to planted and to blind tasks, and every answer to an audited pose or to a keypoint's task beside the standing one.
They have the form of corrections and a file of their own, so that nothing of them can be merged, trained on or
exported.

Of several answers to one task the latest counts, or their consensus (autolabel/consensus.py). The consensus is never
made of answers that a certificate counts singly: those to audited poses, and to the tasks of drawn keypoints.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from autolabel.consensus import consensus
from autolabel.errors import InputError
from autolabel.labelstudio.answers import Answer, correction
from autolabel.labelstudio.exports import Annotation
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.images import ImageCheck, image_check, moved_boxes
from autolabel.labelstudio.oddities import Oddity, understand
from autolabel.labelstudio.tasks import AUDIT, IMAGE, KEYPOINT, PLANTED, UNMERGED, TaskRecord, read_task_map
from autolabel.manifest import Manifest
from autolabel.merge import Correction, State, latest
from autolabel.poses import Pose, Poses, Sample
from autolabel.similarity import similarity_area
from autolabel.skeleton import Skeleton

CHECKS = "checks.jsonl"
"""The file of checks in the folder of a pulled manifest; ``autolabel.merge.read_corrections`` reads it."""


_LONGEST = 400
"""Characters of a notice: what people submit may be of any length."""


class Rule(StrEnum):
    """What counts of several answers to one task."""

    LATEST = "latest"
    CONSENSUS = "consensus"


@dataclass(frozen=True)
class Notice:
    """An answer that was not used as it came, and why.

    Attributes:
        task: Key of the task.
        pose: Id of the pose; "" for a whole image.
        what: What was found, and what was done.
        kind: By which notices are counted.
        by: Who answered; "" where it is about several.
    """

    task: str
    pose: str
    what: str
    kind: Oddity
    by: str = ""


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
        usable: Every usable answer about a pose as its person gave it, overruled ones and checks too.
        understood: What each usable annotation says, by its key.
    """

    corrections: dict[str, Correction]
    checks: list[Correction]
    images: list[ImageCheck]
    notices: list[Notice]
    usable: list[Correction] = field(default_factory=list[Correction])
    understood: Mapping[tuple[str, str], Answer] = field(default_factory=dict[tuple[str, str], Answer])


def read_answers(annotations: Mapping[str, Sequence[Annotation]], sent: Sent, rule: Rule = Rule.LATEST) -> Answers:
    """Work out what the standing annotations of all tasks say.

    Args:
        annotations: By task, in the order of their times; see :func:`autolabel.labelstudio.exports.standing`.
        sent: What the tasks showed.
        rule: What counts of several answers to one task.
    """
    notices: list[Notice] = []
    found: list[Correction] = []
    checks: list[Correction] = []
    proving: list[Correction] = []
    audit = {record.pose for record in sent.records.values() if record.kind == AUDIT}
    every: list[Correction] = []
    understood: dict[tuple[str, str], Answer] = {}
    for record, pose in _answered(annotations, sent):
        said = list(_usable(annotations[record.task], record, sent.skeleton, notices, pose))
        understood |= {annotation.key: answer for annotation, answer in said}
        usable = [correction(annotation, answer, record, pose, sent.skeleton) for annotation, answer in said]
        every += usable
        if record.kind in UNMERGED:
            checks += usable
            continue
        proves = record.pose in audit or record.kind == KEYPOINT
        found += _one(usable, pose, sent.skeleton, Rule.LATEST if proves else rule, notices)
        proving += usable if proves else []
    chosen, conflicts = latest(found)
    # A keypoint task asks for a second look: that it stands is no conflict.
    told = [c for c in conflicts if sent.records[chosen[c.pose].task].kind != KEYPOINT]
    notices += [Notice(chosen[c.pose].task, c.pose, f"{c.what}: {c.detail}", Oddity.OVERRULED) for c in told]
    checks += [c for c in proving if c is not chosen[c.pose]]
    images = _images(annotations, sent, notices, understood)
    return Answers(chosen, checks, images, notices, every, understood)


def _one(
    usable: Sequence[Correction], pose: Pose, skeleton: Skeleton, rule: Rule, notices: list[Notice]
) -> list[Correction]:
    """What counts of the answers to one task, in the order of their times; nothing where there is none."""
    if len(usable) < 2:
        return list(usable)
    last = usable[-1]
    if rule is Rule.LATEST or len({c.by for c in usable}) == 1:
        by = ", ".join(f"{c.by} at {c.when}" for c in usable)
        what = f"answered {len(usable)} times, last taken: {by}"
        notices.append(Notice(last.task, last.pose, what, Oddity.SEVERAL))
        return [last]
    made = consensus(usable, _area(pose), skeleton.sigmas)
    what = f"answered by {made.correction.by}: consensus taken, OKS between them {made.agreement:.3f}"
    kind = Oddity.SEVERAL
    if made.correction.state is State.EXPERT:
        kind = Oddity.DISAGREED
        names = ", ".join(skeleton.keypoints[k] for k in made.disputed)
        what += f"; sent to an expert{f', disputed: {names}' if names else ', people differ about the pose'}"
    notices.append(Notice(last.task, last.pose, what, kind))
    return [made.correction]


def _area(pose: Pose) -> float:
    """Square image pixels, for the similarity of two answers."""
    alone = Poses.create(
        len(pose.xy), xy=[pose.xy], visibility=[pose.visibility], box=[pose.box], area=[pose.area], id=[pose.id]
    )
    return float(similarity_area(alone)[0])


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


def _images(
    annotations: Mapping[str, Sequence[Annotation]],
    sent: Sent,
    notices: list[Notice],
    understood: dict[tuple[str, str], Answer],
) -> list[ImageCheck]:
    """What was found in whole images; adds what was understood."""
    found: list[ImageCheck] = []
    for record, sample in _answered_images(annotations, sent):
        for annotation, answer in _usable(annotations[record.task], record, sent.skeleton, notices):
            understood[annotation.key] = answer
            if moved := moved_boxes(answer, record, sample):
                what = (
                    f"{len(moved)} given {'box was' if len(moved) == 1 else 'boxes were'} moved, taken for the same "
                    "person; to box somebody else there, hold Ctrl when you begin inside a box"
                )
                notices.append(Notice(record.task, record.pose, what, Oddity.MOVED, annotation.by))
            found.append(image_check(annotation, answer, record))
    return found


def _answered_images(answers: Container[str], sent: Sent) -> Iterator[tuple[TaskRecord, Sample]]:
    """Answered tasks about whole images, with the images as they were sent."""
    records = [r for r in sent.records.values() if r.kind == IMAGE and r.task in answers]
    wanted = {(record.routing, record.sample) for record in records}
    samples = {
        (routing, sample.key): sample
        for routing in {routing for routing, _ in wanted}
        for sample in sent.manifests[routing]
        if (routing, sample.key) in wanted
    }
    yield from ((record, samples[record.routing, record.sample]) for record in records)


def _usable(
    annotations: Sequence[Annotation],
    record: TaskRecord,
    skeleton: Skeleton,
    notices: list[Notice],
    pose: Pose | None = None,
) -> Iterator[tuple[Annotation, Answer]]:
    """The annotations of a task that say something, with what they say; whatever is odd about them is noted."""
    for annotation in annotations:
        reading = understand(annotation, record, skeleton, pose)
        for odd in reading.odd:
            what = odd.what if len(odd.what) <= _LONGEST else f"{odd.what[:_LONGEST]}…"
            notices.append(Notice(record.task, record.pose, what, odd.kind, annotation.by))
        if reading.answer is not None:
            yield annotation, reading.answer
