"""A submitted result as a correction.

What an answer means:

- a point that stands bit by bit where it was sent was kept, and keeps its coordinate in single precision and
  its origin; Label Studio's own ``origin`` is not trusted, it changes with the visibility and stays with
  vectors;
- a choice that is gone was kept: a second press on its key takes it away without another one in its place;
- a point that was sent and is gone was removed: the keypoint is absent. Its last coordinate stays, as everywhere
  with absent keypoints;
- in a blind task, a keypoint that was not placed is absent;
- "left and right swapped" changes the sides of the pose as it was submitted, after every other change;
- "person missing or wrong", "reject image" and a task all of whose points were removed reject the pose;
- "needs expert" keeps the changes and leaves the pose unsettled;
- a rectangle that the task did not show says nothing about its pose: somebody else, or the right place of a person
  whose box was wrong, is boxed there (``boxed.py``);
- an empty result is no answer: the prediction was not shown, or nobody looked.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from autolabel.formats.records import Record
from autolabel.labelstudio import form
from autolabel.labelstudio.frame import Floats
from autolabel.labelstudio.tasks import TaskRecord, asked, box_region, sent_points, sent_visibility
from autolabel.merge import Correction, KeypointChange, PoseChange, State, Stated, Verdict
from autolabel.poses import Pose, Visibility
from autolabel.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Answer:
    """What a submitted result says.

    Attributes:
        percent: (K, 2) float64 where each keypoint stands, NaN where there is no point.
        choice: (K,) what is said about it; unlabelled where nothing is said.
        boxes: Region id and [x, y, width, height] in percent of every rectangle; of a turned one, what encloses it.
        regions: Ids of everything that is drawn.
        verdict: What is said about the whole task.
        doubled: Keypoints that were placed more than once; the last one counts.
        rotated: Whether the picture was turned, so that percent are of another canvas.
    """

    percent: Floats
    choice: NDArray[np.uint8]
    boxes: Mapping[str, tuple[float, ...]]
    regions: frozenset[str]
    verdict: tuple[Verdict, ...]
    doubled: tuple[int, ...]
    rotated: bool

    @property
    def placed(self) -> NDArray[np.bool_]:
        """(K,) keypoints that have a point."""
        return ~np.isnan(self.percent[:, 0])


class Submitted(Protocol):
    """Who submitted an answer, and when."""

    @property
    def by(self) -> str: ...  # noqa: D102
    @property
    def updated(self) -> str: ...  # noqa: D102
    @property
    def seconds(self) -> float | None: ...  # noqa: D102


def read_answer(result: Sequence[Any], skeleton: Skeleton, *, place: str, subject: str) -> Answer:
    """Read the ``result`` of an annotation.

    Items of controls that are not ours are left out.

    Raises:
        FormatError: An item of ours is malformed; ``place`` and ``subject`` say where.
    """
    records = [Record(item, f"{place}[{i}]", subject) for i, item in enumerate(result)]
    choices = {r.text("id"): _choice(r) for r in records if _is(r, "choices", form.VISIBILITY)}
    percent = np.full((skeleton.num_keypoints, 2), np.nan)
    choice = np.zeros(skeleton.num_keypoints, np.uint8)
    doubled: list[int] = []
    for record in records:
        if _is(record, "keypointlabels"):
            k = _keypoint(record, skeleton)
            if not np.isnan(percent[k, 0]):
                doubled.append(k)
            value = record.record("value")
            percent[k] = value.number("x"), value.number("y")
            choice[k] = choices.get(record.text("id"), Visibility.UNLABELLED)
    return Answer(
        percent=percent,
        choice=choice,
        boxes={r.text("id"): _rectangle(r) for r in records if _is(r, "rectanglelabels")},
        regions=frozenset(r.text("id") for r in records if "id" in r.data),
        verdict=tuple(v for r in records if _is(r, "choices", form.VERDICT) for v in _verdicts(r)),
        doubled=tuple(doubled),
        rotated=any(r.number("image_rotation", 0.0) != 0.0 for r in records if "image_rotation" in r.data),
    )


def why_void(answer: Answer, record: TaskRecord) -> str:
    """Why an answer cannot be used, or "" when it can."""
    if answer.rotated:
        return "the picture was rotated"
    if not answer.placed.any() and not answer.verdict and (record.blind or not _prefilled(answer, record)):
        if record.blind:
            return "submitted with no joint placed and no verdict ticked"
        return "submitted empty; check that Label Studio shows the predictions"
    return ""


def correction(submitted: Submitted, answer: Answer, record: TaskRecord, pose: Pose, skeleton: Skeleton) -> Correction:
    """What an answer changes.

    Args:
        submitted: Who and when.
        answer: What was submitted; not void.
        record: The task.
        pose: As it was when it was sent.
        skeleton: Gives the mirror partners.
    """
    before = Stated.of(pose)
    after, clicks = _after(answer, record, pose)
    if Verdict.SWAPPED in answer.verdict:
        flip = list(skeleton.flip)
        after = Stated(after.xy[flip], after.visibility[flip], after.box)
    state = _state(answer, record, pose)
    change, keypoints = PoseChange.KEPT, _changes(before, after, _baseline(pose, record))
    if state is State.REJECTED:
        change, after, keypoints = PoseChange.REJECTED, before, [KeypointChange.KEPT] * len(keypoints)
    elif not np.array_equal(before.box, after.box, equal_nan=True):
        change = PoseChange.BOX_MOVED
    return Correction(
        pose=pose.id,
        sample=record.sample,
        change=change,
        keypoints=tuple(keypoints),
        before=before,
        after=after,
        state=state,
        verdict=answer.verdict,
        by=submitted.by,
        when=submitted.updated,
        seconds=submitted.seconds,
        clicks=clicks,
        task=record.task,
    )


def _after(answer: Answer, record: TaskRecord, pose: Pose) -> tuple[Stated, int]:
    """What is stated after every change but the swap of sides, and the clicks it took."""
    sent, baseline = sent_points(pose, record), _baseline(pose, record)
    placed = answer.placed
    moved = placed & (answer.percent != sent).any(axis=1)
    xy = np.where(moved[:, None], record.frame.to_image(answer.percent), pose.xy).astype(np.float32)
    filled_in = np.where(np.isnan(sent[:, 0]), np.uint8(Visibility.VISIBLE), baseline)
    said = np.where(answer.choice == Visibility.UNLABELLED, filled_in, answer.choice)
    deleted = ~placed & ~np.isnan(sent[:, 0]) & _prefilled(answer, record)
    left_out = ~placed & record.blind & placed.any() & asked(pose, record)
    visibility = np.select([placed, deleted | left_out], [said, np.uint8(Visibility.ABSENT)], baseline)
    box = pose.box
    answered = answer.boxes.get(box_region(record.task))
    box_moved = answered is not None and list(answered) != record.frame.box_to_percent(pose.box)
    if answered is not None and box_moved:
        box = record.frame.box_to_image(answered)
    by_point = int((moved | deleted).sum()) + int((placed & (said != filled_in)).sum())
    clicks = by_point + 2 * box_moved + len(answer.verdict) + 1
    return Stated(xy, visibility.astype(np.uint8), box), clicks


def _state(answer: Answer, record: TaskRecord, pose: Pose) -> State:
    # Of a large skeleton a task shows few joints, and removing them says nothing about the person.
    emptied = not record.blind and not answer.placed.any() and not answer.verdict and asked(pose, record).all()
    if emptied or Verdict.NO_PERSON in answer.verdict or Verdict.BAD_IMAGE in answer.verdict:
        return State.REJECTED
    # Points on an empty canvas are worth keeping, but whoever placed them did not see the others.
    unseen = not record.blind and not _prefilled(answer, record)
    return State.EXPERT if unseen or Verdict.EXPERT in answer.verdict else State.REVIEWED


def _changes(before: Stated, after: Stated, baseline: NDArray[np.uint8]) -> list[KeypointChange]:
    had, has = (~np.isnan(stated.xy[:, 0]) for stated in (before, after))
    marked = after.visibility != baseline
    moved = has & (before.xy != after.xy).any(axis=1)
    kinds = np.select(
        [marked & (after.visibility == Visibility.ABSENT), has & ~had, moved, marked],
        [KeypointChange.REMOVED, KeypointChange.ADDED, KeypointChange.MOVED, KeypointChange.MARKED],
        KeypointChange.KEPT,
    )
    return [KeypointChange(kind) for kind in kinds.tolist()]


def _baseline(pose: Pose, record: TaskRecord) -> NDArray[np.uint8]:
    """(K,) the visibility unless the answer says otherwise: what was shown, else what was stated before."""
    shown = sent_visibility(pose, record)
    return np.where(shown == Visibility.UNLABELLED, pose.visibility, shown)


def _prefilled(answer: Answer, record: TaskRecord) -> bool:
    """Whether anything that we sent came back: else the annotator was shown an empty canvas."""
    return any(region.startswith(record.task[:12]) for region in answer.regions)


def _is(record: Record, kind: str, control: str | None = None) -> bool:
    return record.data.get("type") == kind and control in (None, record.data.get("from_name"))


def _keypoint(record: Record, skeleton: Skeleton) -> int:
    label = _only(record, "keypointlabels")
    if label not in skeleton.keypoints:
        record.fail("value.keypointlabels", f"names {label!r}, which skeleton {skeleton.name!r} does not have")
    return skeleton.keypoints.index(label)


def _choice(record: Record) -> Visibility:
    choice = _only(record, "choices")
    if choice not in form.VISIBILITY_CHOICES:
        record.fail("value.choices", f"is {choice!r}, expected one of: {', '.join(form.VISIBILITY_CHOICES)}")
    return form.VISIBILITY_CHOICES[choice]


def _only(record: Record, field: str) -> str:
    values = record.record("value").items(field)
    if len(values) != 1:
        record.fail(f"value.{field}", f"has {len(values)} entries, expected one")
    return str(values[0])


def _verdicts(record: Record) -> list[Verdict]:
    values = record.record("value").items("choices")
    for value in values:
        if value not in list(Verdict):
            record.fail("value.choices", f"is {value!r}, expected one of: {', '.join(Verdict)}")
    return [Verdict(value) for value in values]


def _rectangle(record: Record) -> tuple[float, ...]:
    value = record.record("value")
    x, y, width, height = (value.number(field) for field in ("x", "y", "width", "height"))
    turn = math.radians(value.number("rotation", 0.0))
    if turn == 0.0:
        return x, y, width, height
    # Turned by its handle, clockwise about (x, y), on a canvas of pixels and not of percent.
    aspect = record.number("original_height", 1.0) / (record.number("original_width", 1.0) or 1.0) or 1.0
    across = (width * math.cos(turn), width * math.sin(turn) / aspect)
    down = (-height * aspect * math.sin(turn), height * math.cos(turn))
    corners = [(0.0, 0.0), across, down, (across[0] + down[0], across[1] + down[1])]
    left, top = (min(corner[axis] for corner in corners) for axis in (0, 1))
    right, bottom = (max(corner[axis] for corner in corners) for axis in (0, 1))
    return x + left, y + top, right - left, bottom - top
