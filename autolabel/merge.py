"""Corrections: what people changed, and how it is laid over poses.

A correction holds what was stated about a pose before and after, so that it can be applied, explained and,
where the pose has changed in between, reported. One a pose stands; the answers before it are kept in the ledger
(``autolabel/ledger.py``). Human wins over model; where two people differ, the later one wins, and what was only
accepted never overrules what somebody else placed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import FormatError
from autolabel.formats.records import Record, json_line
from autolabel.manifest import write_text
from autolabel.poses import Origin, Pose, Poses, Sample, Visibility

_E = TypeVar("_E", bound=StrEnum)

CORRECTIONS = "corrections.jsonl"
"""The corrections' file in the folder of a manifest of corrections."""


class PoseChange(StrEnum):
    """What happened to a pose as a whole."""

    KEPT = "kept"
    BOX_MOVED = "box moved"
    REJECTED = "rejected"


class KeypointChange(StrEnum):
    """What happened to one keypoint."""

    KEPT = "kept"
    MOVED = "moved"
    ADDED = "added"
    REMOVED = "removed"
    MARKED = "marked"
    """Same place, another visibility."""


class Verdict(StrEnum):
    """What a person can say about a pose as a whole."""

    SWAPPED = "left and right swapped"
    NO_PERSON = "person missing or wrong"
    BAD_IMAGE = "reject image"
    EXPERT = "needs expert"


class State(StrEnum):
    """Where a pose stands after a person saw it; kept in its ``attributes["state"]``."""

    REVIEWED = "reviewed"
    REJECTED = "rejected"
    EXPERT = "expert"
    """Somebody asked for a second opinion: the pose is not settled."""


SETTLED = (State.REVIEWED, State.REJECTED)
"""A person decided about the pose; nothing routes or doubts it any more. No set: a state comes out of anybody's table,
and a list or an object can be looked for in a tuple alone.
"""

SEEN = tuple(State)
"""A person opened the pose, whatever came of it: what it states is no longer a network's word alone."""

BOXED = "boxed"
"""State of a pose that is a box alone: a person drew it around somebody who has no pose, and nobody has seen keypoints
there yet, so that its image is not complete. Also the name of the attribute that says in which task it was drawn.
"""

BOXES = "boxes"
"""The manifest of these people below the folder of a manifest of corrections."""

RETRACTED = "retracted.jsonl"
"""Beside it, people who were boxed once and are no more: a line names the pose and the task it was drawn in."""


@dataclass(frozen=True, eq=False)
class Stated:
    """What is stated about a pose at one time.

    Attributes:
        xy: (K, 2) float32 full-image pixels, NaN where there is no place.
        visibility: (K,) uint8, see :class:`autolabel.poses.Visibility`.
        box: (4,) float64 xyxy, NaN where there is none.
    """

    xy: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    box: NDArray[np.float64]

    @classmethod
    def of(cls, pose: Pose) -> "Stated":
        """What a pose states."""
        return cls(pose.xy, pose.visibility, pose.box)

    def differs(self, other: "Stated") -> NDArray[np.bool_]:
        """(K,) keypoints with another place or visibility."""
        return _moved(self.xy, other.xy) | (self.visibility != other.visibility)

    def distance(self, other: "Stated") -> NDArray[np.float64]:
        """(K,) image pixels between the places of each keypoint; NaN where one of them is missing."""
        return apart(self.xy, other.xy)

    def same(self, other: "Stated") -> bool:
        """Whether both say the same, bit by bit."""
        return not self.differs(other).any() and np.array_equal(self.box, other.box, equal_nan=True)


@dataclass(frozen=True, eq=False)
class Correction:
    """What one person did to one pose.

    Attributes:
        pose: Id of the pose.
        sample: Key of its sample (id, root, path).
        change: What happened to the pose.
        keypoints: (K,) what happened to each keypoint.
        before: What was stated when the person saw it.
        after: What is stated since.
        state: Where the pose stands now.
        verdict: What the person said about the task as a whole.
        by: Who.
        when: ISO 8601 time.
        seconds: How long it took, or None when unknown.
        clicks: 1 a point moved, added or removed, 1 a visibility changed, 1 a verdict, 1 to submit.
        task: Key of the task.
    """

    pose: str
    sample: tuple[str, str, str]
    change: PoseChange
    keypoints: tuple[KeypointChange, ...]
    before: Stated
    after: Stated
    state: State
    verdict: tuple[Verdict, ...]
    by: str
    when: str
    seconds: float | None
    clicks: int
    task: str

    @property
    def distance(self) -> NDArray[np.float64]:
        """(K,) image pixels that each keypoint was moved: 0 where it was not, NaN where it had or has no place."""
        return self.before.distance(self.after)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: coordinates in the shortest digits that give the same float back."""
        return {
            "pose": self.pose,
            "sample": list(self.sample),
            "change": self.change,
            "keypoints": list(self.keypoints),
            "before": _stated_to_dict(self.before),
            "after": _stated_to_dict(self.after),
            "state": self.state,
            "verdict": list(self.verdict),
            "by": self.by,
            "when": self.when,
            "seconds": self.seconds,
            "clicks": self.clicks,
            "task": self.task,
        }

    @classmethod
    def from_record(cls, record: Record, num_keypoints: int) -> "Correction":
        """The inverse of :meth:`to_dict`.

        Raises:
            FormatError: A field is missing or holds something else.
        """
        a, b, c = (str(part) for part in record.items("sample", 3))
        seconds = record.require("seconds")
        return cls(
            pose=record.text("pose"),
            sample=(a, b, c),
            change=_member(PoseChange, record, "change", record.text("change")),
            keypoints=tuple(
                _member(KeypointChange, record, "keypoints", change)
                for change in record.items("keypoints", num_keypoints)
            ),
            before=_stated(record.record("before"), num_keypoints),
            after=_stated(record.record("after"), num_keypoints),
            state=_member(State, record, "state", record.text("state")),
            verdict=tuple(_member(Verdict, record, "verdict", v) for v in record.items("verdict")),
            by=record.text("by"),
            when=record.text("when"),
            seconds=None if seconds is None else record.number("seconds"),
            clicks=int(record.number("clicks")),
            task=record.text("task"),
        )


@dataclass(frozen=True)
class Conflict:
    """Something that could not be applied as it was meant, and what was done instead."""

    pose: str
    what: str
    detail: str


def apart(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(..., K) distances between two sets of places (..., K, 2), in their unit; NaN where one of them is missing."""
    offset = b.astype(np.float64) - a.astype(np.float64)
    return np.hypot(offset[..., 0], offset[..., 1])


def read_time(text: str) -> datetime:
    """An ISO 8601 time; one without a zone is taken as UTC.

    Raises:
        ValueError: It is none.
    """
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def write_corrections(path: Path, corrections: Iterable[Correction]) -> None:
    """Write corrections, one a line, each with its distances for readers."""
    lines = ({**c.to_dict(), "distance": _shortest(c.distance.astype(np.float32))} for c in corrections)
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def read_corrections(path: Path, num_keypoints: int) -> list[Correction]:
    """Read what :func:`write_corrections` wrote.

    Raises:
        FormatError: A line is malformed; names it and the field.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise FormatError(
            f"cannot be read: {error.strerror}",
            subject=str(path),
            remedy="`autolabel pull` writes corrections and their manifest into one folder.",
        ) from error
    records = (json_line(line, number, str(path)) for number, line in enumerate(lines, start=1) if line)
    return [Correction.from_record(record, num_keypoints) for record in records]


def latest(corrections: Iterable[Correction]) -> tuple[dict[str, Correction], list[Conflict]]:
    """One correction a pose, the latest; the others are reported."""
    chosen: dict[str, Correction] = {}
    conflicts: list[Conflict] = []
    for correction in sorted(corrections, key=lambda c: read_time(c.when)):
        if other := chosen.get(correction.pose):
            detail = f"by {other.by} at {other.when}, then by {correction.by} at {correction.when}"
            conflicts.append(Conflict(correction.pose, "corrected twice; the later one was taken", detail))
        chosen[correction.pose] = correction
    return chosen, conflicts


def correct(sample: Sample, corrections: Mapping[str, Correction]) -> Sample:
    """A sample with its corrected poses.

    A corrected pose states what the person left, is ``by`` that person and carries its ``state`` and
    ``verdict`` among its attributes. Changed keypoints are of human origin; numbers that were about the old
    place (score, presence, ``p_gross``, and ``p_bad`` of a changed pose) become unknown.

    Args:
        sample: With the poses as they are now.
        corrections: By pose id; those of other samples are left alone.
    """
    poses = sample.poses
    rows = [i for i, pose in enumerate(poses.id) if pose in corrections]
    if not rows:
        return sample
    mine = [corrections[poses.id[i]] for i in rows]
    changed = _replace_rows(poses, rows, mine)
    rejected = any(Verdict.BAD_IMAGE in c.verdict for c in mine)
    attributes = {**sample.attributes, "state": State.REJECTED.value} if rejected else sample.attributes
    return replace(sample, poses=changed, attributes=attributes)


def changed_since(poses: Poses, corrections: Mapping[str, Correction], keypoints: Sequence[str]) -> list[Conflict]:
    """The corrected poses that somebody else has changed since, with the names of what changed.

    Human over model: keypoints that only a network has placed anew are no conflict. Neither is what the correction
    itself left there, in a manifest that it was laid over before.

    Args:
        poses: As they are now.
        corrections: By pose id; those of other poses are left alone.
        keypoints: The K names.
    """
    conflicts: list[Conflict] = []
    for i, name in enumerate(poses.id.tolist()):
        if (correction := corrections.get(name)) is None:
            continue
        now, before, after = Stated.of(poses[i]), correction.before, correction.after
        stated = np.isin(poses.origin[i], (Origin.HUMAN, Origin.IMPORTED))
        changed = stated & now.differs(before) & now.differs(after)
        names = [keypoint for keypoint, differs in zip(keypoints, changed.tolist(), strict=True) if differs]
        if not any(np.array_equal(now.box, known.box, equal_nan=True) for known in (before, after)):
            names.append("box")
        if names:
            what = "changed by somebody else since it was corrected; the correction was taken"
            conflicts.append(Conflict(name, what, ", ".join(names)))
    return conflicts


def _replace_rows(poses: Poses, rows: list[int], corrections: list[Correction]) -> Poses:
    """The poses with the corrections applied to their rows; arrays over R corrections at once."""
    now = poses.take(rows)
    xy = np.stack([c.after.xy for c in corrections])
    visibility = np.stack([c.after.visibility for c in corrections])
    touched = np.array([[change is not KeypointChange.KEPT for change in c.keypoints] for c in corrections])
    # What another person placed meanwhile stands against a mere acceptance.
    seen = np.stack([c.before.xy for c in corrections])
    theirs = ~touched & (now.origin == Origin.HUMAN) & _moved(now.xy, seen)
    xy = np.where(theirs[..., None], now.xy, xy)
    visibility = np.where(theirs, now.visibility, visibility)
    stale = touched | _moved(now.xy, xy)
    box_moved = np.array([c.change is PoseChange.BOX_MOVED for c in corrections])
    boxes = np.where(box_moved[:, None], np.stack([c.after.box for c in corrections]), now.box)
    return poses.replace(
        xy=_rows(poses.xy, rows, xy),
        visibility=_rows(poses.visibility, rows, visibility),
        origin=_rows(poses.origin, rows, np.where(touched, np.uint8(Origin.HUMAN), now.origin)),
        score=_rows(poses.score, rows, np.where(stale, np.nan, now.score)),
        presence=_rows(poses.presence, rows, np.where(stale, np.nan, now.presence)),
        p_gross=_rows(poses.p_gross, rows, np.where(stale, np.nan, now.p_gross)),
        p_bad=_rows(poses.p_bad, rows, np.where(stale.any(axis=1) | box_moved, np.nan, now.p_bad)),
        box=_rows(poses.box, rows, boxes),
        area=_rows(poses.area, rows, np.where(box_moved, np.nan, now.area)),
        by=_rows(poses.by, rows, np.array([c.by for c in corrections], object)),
        attributes=_attributes(poses, rows, corrections),
    )


def _rows(array: NDArray[Any], rows: list[int], values: NDArray[Any]) -> NDArray[Any]:
    changed = array.copy()
    changed[rows] = values
    return changed


def _attributes(poses: Poses, rows: list[int], corrections: list[Correction]) -> list[Mapping[str, Any]]:
    changed = list(poses.attributes)
    for i, correction in zip(rows, corrections, strict=True):
        verdict = {"verdict": list(correction.verdict)} if correction.verdict else {}
        changed[i] = {**changed[i], "state": correction.state.value, **verdict}
    return changed


def _moved(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(..., K) whether two places (..., K, 2) differ; no place equals no place."""
    return ((a != b) & ~(np.isnan(a) & np.isnan(b))).any(axis=-1)


def _stated_to_dict(stated: Stated) -> dict[str, Any]:
    return {
        "x": _shortest(stated.xy[:, 0]),
        "y": _shortest(stated.xy[:, 1]),
        "visibility": stated.visibility.tolist(),
        "box": _shortest(stated.box),
    }


def _stated(record: Record, num_keypoints: int) -> Stated:
    x, y = (record.optional_numbers(axis, num_keypoints) for axis in ("x", "y"))
    visibility = record.levels("visibility", num_keypoints, len(Visibility), [])
    box = record.optional_numbers("box", 4)
    return Stated(
        np.stack([x, y], axis=-1).astype(np.float32),
        np.array(visibility, np.uint8),
        np.array(box, np.float64),
    )


def _shortest(values: NDArray[Any]) -> list[float | None]:
    """Numbers for JSON: the fewest digits that give the same value of their precision back, null for NaN."""
    return [None if np.isnan(v) else float(str(v)) for v in values]


def _member(kind: type[_E], record: Record, field: str, value: object) -> _E:
    try:
        return kind(str(value))
    except ValueError:
        record.fail(field, f"is {value!r}, expected one of: {', '.join(kind)}")
