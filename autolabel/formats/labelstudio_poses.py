"""A person of a Label Studio annotation as the fields of a pose.

What our own export put beside a region counts as long as nobody moved it: the exact place, what placed it, how sure
the network was. Of a keypoint that somebody moved nothing is left but its name and its visibility.
"""

import re
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from autolabel.errors import SkeletonError
from autolabel.formats.labelstudio_form import CROWD
from autolabel.formats.labelstudio_people import Person
from autolabel.formats.labelstudio_regions import Point, meta_of, other_meta
from autolabel.formats.labelstudio_tasks import Answer
from autolabel.formats.labelstudio_writing import THEIRS, shown_box, shown_point
from autolabel.formats.records import Record
from autolabel.labelstudio.frame import Frame
from autolabel.merge import State
from autolabel.poses import Origin, Visibility
from autolabel.skeleton import Skeleton

_POSE_ID = re.compile("[0-9a-f]{32}")
"""An id that :func:`autolabel.poses.pose_id` gave; the region of its box has the same."""

CHANGED = "prediction-changed"
"""Label Studio's origin of a region that a person changed; its score is of what it was before."""


class PoseReader:
    """Makes poses of people.

    Args:
        skeleton: Names the keypoints.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self._ids: set[str] = set()
        self._stale = 0

    def notes(self) -> list[str]:
        """What was left out so far, a sentence each."""
        stale = f"{self._stale:,} scores left out: a person changed the regions that they are of."
        return [stale] if self._stale else []

    def rows(
        self, answer: Answer, people: Sequence[Person], size: tuple[int, int], *, ours: bool
    ) -> list[dict[str, Any]]:
        """The fields of the poses of one answer.

        Args:
            answer: Whose they are.
            people: The people in it.
            size: Width and height of the image.
            ours: Whether the task carries our marker, which says that points are of pixel middles.

        Raises:
            FormatError: A keypoint that the skeleton does not have, or a malformed block of ours.
        """
        rows: list[dict[str, Any]] = []
        for person in people:
            reader = _PersonReader(self.skeleton, answer, person, size, ours)
            row = reader.fields()
            # Tasks and boxes can be copied; an id stands once.
            row["id"] = "" if row["id"] in self._ids else row["id"]
            self._ids.add(row["id"])
            self._stale += reader.stale
            rows.append(row)
        return rows


class _PersonReader:
    """Reads one person; counts scores that are no longer of what they stand beside."""

    def __init__(self, skeleton: Skeleton, answer: Answer, person: Person, size: tuple[int, int], ours: bool) -> None:
        self._skeleton, self._answer, self._person, self._size = skeleton, answer, person, size
        self._ours, self._frame, self.stale = ours, Frame((0, 0), size, size), 0
        box = person.box
        block = Record({}, "", "") if box is None else meta_of(box.record)
        # A copied region keeps our block and has another id.
        self._block = block if ours and box and block.data.get("region") == box.id else Record({}, "", "")

    def fields(self) -> dict[str, Any]:
        """The pose's fields."""
        k, block = self._skeleton.num_keypoints, self._block
        row: dict[str, Any] = {name: np.full(k, np.nan, np.float32) for name in ("score", "presence", "p_gross")}
        row |= {"xy": np.full((k, 2), np.nan, np.float32)}
        row |= {"visibility": np.zeros(k, np.uint8), "origin": np.zeros(k, np.uint8)}
        untouched = [self._point(row, point) for point in self._person.points.values()]
        untouched += [self._box(row), block.number("drawn", np.nan) == len(untouched)]
        for name, said in block.record("keypoints").data.items():
            if name in self._skeleton.keypoints and name not in self._person.points:
                record = Record(said, f"{block.place}.keypoints.{name}", block.subject)
                self._facts(row, self._skeleton.index(name), record)
                row["score"][self._skeleton.index(name)] = record.number("score", np.nan)
        lost = "" if self._person.box is not None or not self._ours else self._person.id
        row["id"] = block.text("id", lost if _POSE_ID.fullmatch(lost) else "")
        row["p_bad"] = block.number("p_bad", np.nan) if all(untouched) else np.nan
        row["group"] = block.text("group", "")
        named = [self._answer.by, block.text("by", "")]
        row["by"] = next(filter(None, reversed(named) if self._answer.predicted else named), "")
        row["attributes"] = self._attributes()
        return row

    def _point(self, row: dict[str, Any], point: Point) -> bool:
        """Fill a keypoint in; whether it stands where our export put it."""
        k = self._index(point)
        meta = meta_of(point.record) if self._ours else Record({}, "", "")
        mine = meta.data.get("keypoint") == point.label and "xy" in meta.data
        still = mine and shown_point(np.array(meta.numbers("xy", 2), np.float32), self._size) == [*point.percent]
        if still:
            self._facts(row, k, meta)
        else:
            row["xy"][k] = self._frame.to_image(point.percent) + (0.0 if self._ours else 0.5)
        row["score"][k] = self._score(point.record, mine=mine, still=still)
        state = _state(meta) if mine else Visibility.VISIBLE
        if state is Visibility.UNLABELLED and not self._answer.predicted:
            state = Visibility.VISIBLE  # whoever submits a proposal states it
        row["visibility"][k] = state if point.visibility is None else point.visibility
        if not (still and "origin" in meta.data):
            hand = Origin.MODEL if self._answer.predicted and not still else Origin.IMPORTED
            row["origin"][k] = hand if row["visibility"][k] != Visibility.UNLABELLED else Origin.NONE
        return still

    def _box(self, row: dict[str, Any]) -> bool:
        """Fill the box in; whether it stands where our export put it."""
        box, block = self._person.box, self._block
        row |= {"box": [np.nan] * 4, "box_score": np.nan, "area": np.nan, "crowd": False}
        if box is None:
            return False
        mine = "box" in block.data
        still = mine and shown_box(np.array(block.numbers("box", 4)), self._size) == [*box.percent]
        row["box_score"] = self._score(box.record, mine=mine, still=still)
        row["crowd"] = self._ours and box.label == CROWD
        if not still:
            row["box"] = self._frame.box_to_image(box.percent)
            return False
        row["area"] = block.number("area", np.nan)
        if not block.data.get("boxless"):
            row["box"] = block.numbers("box", 4)
        return True

    def _facts(self, row: dict[str, Any], k: int, record: Record) -> None:
        """Fill in what our export put beside a keypoint."""
        if "xy" in record.data:
            row["xy"][k] = record.numbers("xy", 2)
        row["presence"][k] = record.number("presence", np.nan)
        row["p_gross"][k] = record.number("p_gross", np.nan)
        row["visibility"][k] = state = _state(record)
        stated = Origin.NONE if state is Visibility.UNLABELLED else Origin.IMPORTED
        row["origin"][k] = _level(record, "origin", len(Origin), stated)

    def _index(self, point: Point) -> int:
        try:
            return self._skeleton.index(point.label)
        except SkeletonError as error:
            message = f"names {point.label!r}, which skeleton {self._skeleton.name!r} does not have"
            point.record.fail("value.keypointlabels", message, error.remedy)

    def _score(self, record: Record, *, mine: bool, still: bool) -> float:
        if record.data.get("score") is None:
            return np.nan
        changed = not still and (mine or (record.data.get("origin") == CHANGED and not self._answer.predicted))
        self.stale += changed
        return np.nan if changed else record.number("score")

    def _attributes(self) -> dict[str, Any]:
        box, attributes = self._person.box, dict(self._block.record("attributes").data)
        said: dict[str, Any] = {} if self._ours else {"region": self._person.id, "label": box.label if box else ""}
        said["answers"] = dict(box.said) if box else {}
        said["meta"] = other_meta(box.record) if box else {}
        notes = {point.label: other_meta(point.record) for point in self._person.points.values()}
        said["keypoint_meta"] = {label: meta for label, meta in notes.items() if meta}
        if said := {name: value for name, value in said.items() if value}:
            before = attributes.get(THEIRS)
            attributes[THEIRS] = {**cast("dict[str, Any]", before), **said} if isinstance(before, dict) else said
        worked = [self._answer.record.data.get(name) for name in ("lead_time", "parent_prediction")]
        if "state" in attributes and not self._answer.predicted and any(value is not None for value in worked):
            attributes["state"] = State.REVIEWED.value  # somebody opened and submitted it
        return attributes


def _state(record: Record) -> Visibility:
    return Visibility(_level(record, "visibility", len(Visibility), Visibility.UNLABELLED))


def _level(record: Record, field: str, count: int, default: int) -> int:
    value = record.number(field, float(default))
    if not (value.is_integer() and 0 <= value < count):
        record.fail(field, f"is {value:g}, expected a whole number from 0 to {count - 1}")
    return int(value)
