"""What is odd about a submitted result, and what is done about it.

People do what the form does not foresee, and a result may come from anywhere. For each oddity there is one rule; each
is told with the task, the person and what was done.

- a keypoint placed twice: the last one counts, because a new point is drawn after the one that was given;
- a point beyond the edge of the picture: up to ``NEAR`` percent of its width or height it is put onto the edge, where
  the hand meant it; further away it was not placed by hand in this picture, and the answer is set aside;
- a point of ours whose label is gone speaks for the keypoint that it was made for; a label that was changed counts;
- a label that the skeleton does not have, a coordinate that is no number, a damaged region, one region for two
  keypoints: the answer is set aside whole, because what is missing in it would read as deleted;
- a region of another task: the answer is set aside, it was made for another picture;
- the box deleted: it stays as it was sent; beyond the picture: cut at its edge; without extent: left out;
- nothing submitted, or on a turned picture: set aside.

What is no oddity but an answer (a point deleted, a box moved, a task rejected or skipped) stands in answers.py.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import numpy as np

from autolabel.errors import FormatError
from autolabel.formats.records import TOO_LARGE
from autolabel.labelstudio.answers import Answer, read_answer, why_void
from autolabel.labelstudio.exports import Annotation
from autolabel.labelstudio.images import why_void_image
from autolabel.labelstudio.tasks import IMAGE, TaskRecord, box_region, keypoint_region
from autolabel.poses import Pose
from autolabel.skeleton import Skeleton

NEAR = 5.0
"""Percent of the picture: a point this little beyond its edge was meant to lie on it."""

_OURS = re.compile(r"([0-9a-f]{12})-(?:k\d+|p\d+|limb\d+|box|about)")


class Oddity(StrEnum):
    """What an answer was not used as it came for; the words stand in tables."""

    MALFORMED = "malformed, set aside"
    FOREIGN = "of another task, set aside"
    UNUSABLE = "cannot be used"
    DOUBLED = "placed twice, the last taken"
    OUTSIDE = "outside the picture, put on its edge"
    UNLABELLED = "label gone, read by its region"
    NO_BOX = "box deleted, kept as sent"
    BOX = "box cut or left out"
    MOVED = "given box moved, same person"
    SEVERAL = "answered several times"
    OVERRULED = "overruled by a later answer"
    DISAGREED = "people disagree"
    UNUSED_BOX = "box drawn but not used"


@dataclass(frozen=True)
class Odd:
    """One oddity: its kind, and what was found."""

    kind: Oddity
    what: str


@dataclass(frozen=True, eq=False)
class Reading:
    """What was understood of an annotation.

    Attributes:
        answer: What it says; None where it is set aside.
        odd: What is odd about it.
    """

    answer: Answer | None
    odd: tuple[Odd, ...]


def understand(annotation: Annotation, record: TaskRecord, skeleton: Skeleton, pose: Pose | None = None) -> Reading:
    """Read one annotation by the rules above; never fails because of what it holds.

    Args:
        annotation: As it was pulled; a skipped or deleted one is the caller's business.
        record: Its task.
        skeleton: Its keypoints are the labels that may occur.
        pose: As it was sent; None for a whole image.
    """
    subject = f"annotation {annotation.annotation}"
    if annotation.fault:
        return Reading(None, (Odd(Oddity.MALFORMED, f"not used: {subject}: {annotation.fault}"),))
    if other := _foreign(annotation.result, record):
        return Reading(None, (Odd(Oddity.FOREIGN, f"not used: region {other} belongs to another task"),))
    try:
        result, odd = tidy(annotation.result, record, skeleton)
        answer = read_answer(result, skeleton, place="result", subject=subject)
    except FormatError as error:
        return Reading(None, (Odd(Oddity.MALFORMED, f"not used: {error}"),))
    if why := (why_void_image if record.kind == IMAGE else why_void)(answer, record):
        return Reading(None, (Odd(Oddity.UNUSABLE, f"not used: {why}"),))
    return Reading(answer, (*odd, *_about(answer, record, skeleton, pose)))


def tidy(result: Sequence[Any], record: TaskRecord, skeleton: Skeleton) -> tuple[list[Any], list[Odd]]:
    """A result whose points and boxes lie in the picture, and whose points of ours have a label.

    What is not touched stays the same object; what is damaged beyond that is left to the reader.

    Raises:
        FormatError: A point lies far outside, or one region stands for two keypoints.
    """
    odd: list[Odd] = []
    tidied: list[Any] = []
    own = {keypoint_region(record.task, k): name for k, name in enumerate(skeleton.keypoints)}
    for i, given in enumerate(result):
        item, kind = _object(given), _object(given).get("type")
        if not isinstance(item.get("value"), dict):
            tidied.append(given)
            continue
        values = _object(item["value"])
        name = own.get(_text(item.get("id")))
        if kind in ("keypoint", "keypointlabels") and name and not values.get("keypointlabels"):
            item, values = _labelled(item, name)
            odd.append(Odd(Oddity.UNLABELLED, f"the label of {name}'s point was gone"))
        if item.get("type") == "keypointlabels":
            values = _inside(values, f"result[{i}]", odd)
        elif kind == "rectanglelabels":
            if (box := _cut(values, odd)) is None:
                continue
            values = box
        tidied.append(item if values is item.get("value") else {**item, "value": values})
    _require_one_keypoint_a_region(tidied)
    return tidied, odd


def _foreign(result: Sequence[Any], record: TaskRecord) -> str:
    """A region that belongs to another task of ours, or ""."""
    for item in result:
        name = _text(_object(item).get("id"))
        if (found := _OURS.fullmatch(name)) and found[1] != record.task[:12]:
            return name
    return ""


def _labelled(item: dict[str, Any], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    values = {**item["value"], "keypointlabels": [name]}
    return {**item, "type": "keypointlabels", "value": values}, values


def _inside(values: dict[str, Any], place: str, odd: list[Odd]) -> dict[str, Any]:
    """A point with its coordinates in the picture."""
    numbers = {axis: _number(values.get(axis)) for axis in ("x", "y")}
    beyond = {axis: v for axis, v in numbers.items() if v is not None and not 0 <= v <= 100}
    if not beyond:
        return values
    told = ", ".join(f"{axis} = {v:.4g} %" for axis, v in beyond.items())
    if not all(-NEAR <= v <= 100 + NEAR for v in beyond.values()):
        raise FormatError(f"is far outside the picture: {told}", record=place, field="value")
    odd.append(Odd(Oddity.OUTSIDE, f"{_label(values)} lay outside the picture ({told}) and was put on its edge"))
    return {**values, **{axis: min(max(v, 0.0), 100.0) for axis, v in beyond.items()}}


def _cut(values: dict[str, Any], odd: list[Odd]) -> dict[str, Any] | None:
    """A rectangle within the picture; None where nothing of it lies there. A turned one is left to the reader."""
    x, y, width, height = (_number(values.get(name)) for name in ("x", "y", "width", "height"))
    if x is None or y is None or width is None or height is None or _number(values.get("rotation")):
        return values
    slack = 1e-6  # what percent lose on the way
    if min(x, y, width, height) >= 0 and max(x + width, y + height) <= 100 + slack:
        return values
    left, right = (min(max(edge, 0.0), 100.0) for edge in sorted((x, x + width)))
    top, bottom = (min(max(edge, 0.0), 100.0) for edge in sorted((y, y + height)))
    if left == right or top == bottom:
        odd.append(Odd(Oddity.BOX, "a box outside the picture was left out"))
        return None
    odd.append(Odd(Oddity.BOX, "a box was cut at the edge of the picture"))
    return {**values, "x": left, "y": top, "width": right - left, "height": bottom - top}


def _require_one_keypoint_a_region(result: Sequence[Any]) -> None:
    labels: dict[str, set[str]] = defaultdict(set)
    for item in map(_object, result):
        if item.get("type") == "keypointlabels":
            labels[_text(item.get("id"))].add(_label(_object(item.get("value"))))
    for region, names in labels.items():
        if len(names) > 1:
            several = ", ".join(sorted(names))
            raise FormatError(f"region {region!r} stands for several keypoints: {several}", record="result")


def _about(answer: Answer, record: TaskRecord, skeleton: Skeleton, pose: Pose | None) -> Iterator[Odd]:
    if answer.doubled and record.kind != IMAGE:  # there several people have the same joints
        names = ", ".join(skeleton.keypoints[k] for k in dict.fromkeys(answer.doubled))
        yield Odd(Oddity.DOUBLED, f"placed twice, the last was taken: {names}")
    shown = any(region.startswith(record.task[:12]) for region in answer.regions)
    boxed = not record.blind and pose is not None and not np.isnan(pose.box[0])
    if boxed and shown and box_region(record.task) not in answer.regions:
        yield Odd(Oddity.NO_BOX, "the box was deleted; the one that was sent stays")


def _label(values: Mapping[str, Any]) -> str:
    labels = values.get("keypointlabels")
    return ", ".join(map(str, cast("list[object]", labels))) if isinstance(labels, list) else "a point"


def _object(value: object) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    """A number that a coordinate may be; None for anything else, which the reader refuses."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < TOO_LARGE else None
