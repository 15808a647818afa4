"""What is drawn in one annotation: keypoints, boxes, skeletons of vectors, and what is said about them.

An annotation's ``result`` is a flat list in which regions and the answers about them share ids. Here it becomes
regions; whose they are is :mod:`autolabel.formats.labelstudio_people`'s business.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autolabel.formats.labelstudio_writing import OURS
from autolabel.formats.records import Record
from autolabel.poses import Visibility

VISIBILITY_WORDS: Mapping[str, Visibility] = {
    **dict.fromkeys(("visible", "clear", "in view"), Visibility.VISIBLE),
    **dict.fromkeys(
        ("hidden", "occluded", "not visible", "invisible", "obscured", "covered", "self-occluded", "blurred"),
        Visibility.HIDDEN,
    ),
    **dict.fromkeys(("guess", "guessed", "estimated"), Visibility.HIDDEN),
    **dict.fromkeys(
        ("absent", "outside", "outside image", "out of image", "out of frame", "out of view", "not in image"),
        Visibility.ABSENT,
    ),
    **dict.fromkeys(("truncated", "missing", "unknown"), Visibility.ABSENT),
    **dict.fromkeys(("unlabelled", "unlabeled", "not labelled", "not labeled"), Visibility.UNLABELLED),
}
"""What people call the states of a keypoint, in lower case, blanks for underscores."""

_SAID = frozenset({"choices", "rating", "number", "textarea", "taxonomy", "datetime", "pairwise"})
"""Answers rather than drawings."""

Said = Sequence[tuple[str, Record]]
"""Kinds and records of the answers about one region."""

_LIMIT = 1e6
"""Percent beyond this are a mistake, and would overflow."""


@dataclass(frozen=True, eq=False)
class Point:
    """A keypoint.

    Attributes:
        id: Of its region.
        label: Which keypoint it is.
        percent: x and y.
        visibility: What is said about it, None where nothing is.
        parent: Id of the region it hangs on, or "".
        record: Where it stands.
    """

    id: str
    label: str
    percent: tuple[float, float]
    visibility: Visibility | None
    parent: str
    record: Record


@dataclass(frozen=True, eq=False)
class Box:
    """A rectangle.

    Attributes:
        id: Of its region.
        label: What is in it.
        percent: x, y, width and height; of its extent where it was turned.
        parent: Id of the region it hangs on, or "".
        said: Answers about it by control.
        record: Where it stands.
    """

    id: str
    label: str
    percent: tuple[float, float, float, float]
    parent: str
    said: Mapping[str, Any]
    record: Record


@dataclass(eq=False)
class Drawing:
    """What one annotation or prediction holds.

    Attributes:
        points: Keypoints, vertices of skeletons included; those have their skeleton's region as parent.
        boxes: Rectangles by region id.
        parents: The region each region hangs on, of whatever kind.
        relations: Pairs of regions that an arrow joins.
        answers: What is said about the whole task, by control.
        shown: Name of the image that the regions are on.
        size: Width and height that the regions state, or None where nothing does.
        left_out: What was not taken and why, such as "brushlabels left out: no keypoints and no boxes of people".
        turned: Rectangles that were turned.
    """

    points: list[Point] = field(default_factory=list[Point])
    boxes: dict[str, Box] = field(default_factory=dict[str, Box])
    parents: dict[str, str] = field(default_factory=dict[str, str])
    relations: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    shown: str | None = None
    size: tuple[int, int] | None = None
    left_out: Counter[str] = field(default_factory=Counter[str])
    turned: int = 0

    def leave_out(self, what: str, why: str) -> None:
        """Count something that is not taken."""
        self.left_out[f"{what} left out: {why}"] += 1


def read_drawing(answer: Record) -> Drawing:
    """Read the ``result`` of an annotation or a prediction.

    Raises:
        FormatError: Something of it is malformed, or the picture was turned.
    """
    records = list(answer.records("result"))
    kinds = [_kind(record) for record in records]
    drawing = Drawing()
    drawn = {_id(r) for r, kind in zip(records, kinds, strict=True) if kind not in _SAID and kind != "relation"}
    labels: dict[str, Record] = {}
    said: dict[str, list[tuple[str, Record]]] = {}
    for record, kind in zip(records, kinds, strict=True):
        if kind == "labels":
            labels[_id(record)] = record
        elif kind in _SAID and _id(record) in drawn:
            said.setdefault(_id(record), []).append((kind, record))
    items = [
        _Item.of(record, kind, _id(record) or f"region {i}", labels, said)
        for i, (record, kind) in enumerate(zip(records, kinds, strict=True))
    ]
    has_points = any(item.kind == "keypointlabels" for item in items)
    for item in items:
        if item.kind == "relation":
            ends = (str(item.record.identifier("from_id")), str(item.record.identifier("to_id")))
            drawing.relations.append(ends)
        elif item.kind in _SAID:
            if item.region not in drawn:
                drawing.answers[_control(item.record)] = item.record.record("value").data.get(item.kind)
        elif item.kind != "labels":
            _read_region(drawing, item, has_points=has_points)
    return drawing


@dataclass(frozen=True, eq=False)
class _Item:
    """An entry of the result.

    Attributes:
        record: Where it stands.
        kind: Its type, in lower case.
        region: Its id, or its place where it has none.
        labelled: The entry that holds its label, which is itself unless shape and label are separate controls
            (``KeyPoint`` and ``Labels``).
        field: Of the label in that entry's value.
        said: What is said about it.
    """

    record: Record
    kind: str
    region: str
    labelled: Record
    field: str
    said: Said

    @classmethod
    def of(
        cls, record: Record, kind: str, region: str, labels: Mapping[str, Record], said: Mapping[str, Said]
    ) -> "_Item":
        if kind in ("keypoint", "rectangle", "vector") and region in labels:
            return cls(record, f"{kind}labels", region, labels[region], "labels", said.get(region, ()))
        return cls(record, kind, region, record, kind, said.get(region, ()))

    def label(self) -> str:
        """The only label of a keypoint, the first one of a box."""
        value = self.labelled.record("value")
        names = value.items(self.field) if value.data.get(self.field) is not None else []
        if self.kind == "rectanglelabels":
            return str(names[0]) if names else ""
        if len(names) != 1:
            value.fail(self.field, f"has {len(names)} labels, expected one", "Give the keypoint one label.")
        return str(names[0])


def _read_region(drawing: Drawing, item: _Item, *, has_points: bool) -> None:
    record, region = item.record, item.region
    parent = _parent(record) or (_parent(item.labelled) if item.labelled is not record else "")
    if parent:
        drawing.parents[region] = parent
    usable = ("keypointlabels", "rectanglelabels", *(() if has_points else ("vectorlabels",)))
    if item.kind not in usable:
        bare = item.kind in ("keypoint", "rectangle", "vector")
        drawing.leave_out(item.kind, "without a label" if bare else "no keypoints and no boxes of people")
        return
    _read_canvas(drawing, record)
    value = record.record("value")
    if item.kind == "keypointlabels":
        label, place = item.label(), (_percent(value, "x"), _percent(value, "y"))
        state = _visibility(drawing, label, item.said)
        drawing.points.append(Point(region, label, place, state, parent, record))
    elif item.kind == "rectanglelabels":
        if region in drawing.boxes:
            record.fail("id", f"{region!r} is the id of {drawing.boxes[region].record.place} already")
        percent, turned = _extent(record, drawing.size)
        answers = {_control(answer): answer.record("value").data.get(what) for what, answer in item.said}
        drawing.boxes[region] = Box(region, item.label(), percent, parent, answers, record)
        drawing.turned += turned
    else:
        if other_meta(record):
            drawing.leave_out("notes on a skeleton", "of vectors only the vertices are taken")
        for vertex in value.records("vertices"):
            # A skeleton: the ids of its vertices are the names of the keypoints.
            name, place = str(vertex.identifier("id")), (_percent(vertex, "x"), _percent(vertex, "y"))
            drawing.points.append(Point(f"{region}/{name}", name, place, None, region, vertex))


def _visibility(drawing: Drawing, label: str, said: Said) -> Visibility | None:
    """What is said about a keypoint by the control that speaks of visibility.

    Answers of another control are not taken where one is understood; there is no place for them.
    """
    states: dict[str, Visibility] = {}
    others: list[tuple[str, Record]] = []
    for kind, record in said:
        words = [str(word) for word in record.record("value").items("choices")] if kind == "choices" else []
        known = {word: VISIBILITY_WORDS[_plain(word)] for word in words if _plain(word) in VISIBILITY_WORDS}
        states |= known
        if len(known) < max(len(words), 1):
            others.append((words[0] if words else "", record))
            drawing.leave_out(f"{kind} about a keypoint", "of a keypoint only the visibility has a place")
        if len(set(states.values())) > 1:
            record.fail("value.choices", f"call keypoint {label!r} {' and '.join(states)}", "Keep one answer.")
    word, record = next(((word, record) for word, record in others if word), ("", None))
    if record is not None and not states:
        message = f"call keypoint {label!r} {word!r}, which is no word for its visibility"
        remedy = f"Known: {', '.join(VISIBILITY_WORDS)}. Rename the choice in the file."
        record.fail("value.choices", message, remedy)
    return next(iter(states.values()), None)


def _extent(record: Record, size: tuple[int, int] | None) -> tuple[tuple[float, float, float, float], bool]:
    """x, y, width and height in percent, and whether it was turned: about its upper left corner, clockwise."""
    value = record.record("value")
    x, y, width, height = (_percent(value, name) for name in ("x", "y", "width", "height"))
    if width < 0 or height < 0:
        value.fail("width", f"{width:g} and height {height:g}: neither can be negative")
    angle = math.radians(value.number("rotation", 0.0)) if value.data.get("rotation") is not None else 0.0
    if not angle or size is None:
        return (x, y, width, height), False
    # Turning happens in pixels, and a percent is not as high as it is wide.
    ratio = size[1] / size[0]
    corners = [(a * width, b * height * ratio) for a in (0, 1) for b in (0, 1)]
    xs = [x + a * math.cos(angle) - b * math.sin(angle) for a, b in corners]
    ys = [y + (a * math.sin(angle) + b * math.cos(angle)) / ratio for a, b in corners]
    return (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)), True


def _read_canvas(drawing: Drawing, record: Record) -> None:
    """What percent are of: one image of one size, as it lies in the file."""
    shown = record.text("to_name", "")
    if drawing.shown not in (None, shown):
        record.fail("to_name", f"is {shown!r}, others are on {drawing.shown!r}", "A task must show one labelled image.")
    drawing.shown = shown
    if record.data.get("image_rotation") is not None and (degrees := record.number("image_rotation")):
        message = f"is {degrees:g}: the picture was turned in the editor, so that percent are of another canvas"
        record.fail("image_rotation", message, "Turn it back in Label Studio and update the annotation.")
    for name in ("original_width", "original_height"):
        if record.data.get(name) is None:
            remedy = "Open the task in Label Studio and update its annotation: the editor fills the size in."
            record.fail(name, "is missing, so that percent cannot become pixels", remedy)
    size = (record.size("original_width"), record.size("original_height"))
    if max(size) > _LIMIT:
        record.fail("original_width", f"x original_height is {size[0]}x{size[1]}, expected pixels of an image")
    if drawing.size not in (None, size):
        record.fail("original_width", f"x original_height is {size[0]}x{size[1]}, other regions say {drawing.size}")
    drawing.size = size


def _percent(record: Record, name: str) -> float:
    value = record.number(name)
    if abs(value) > _LIMIT:
        record.fail(name, f"is {value:g}, expected percent of the image")
    return value


def _kind(record: Record) -> str:
    return record.text("type").lower()


def _id(record: Record) -> str:
    return "" if record.data.get("id") is None else str(record.identifier("id"))


def _parent(record: Record) -> str:
    return "" if record.data.get("parentID") is None else str(record.identifier("parentID"))


def _control(record: Record) -> str:
    return record.text("from_name", "")


def _plain(word: str) -> str:
    return " ".join(word.lower().replace("_", " ").split())


def other_meta(record: Record) -> dict[str, Any]:
    """What others keep in the ``meta`` of a task or a region, such as the note that the editor calls ``text``."""
    meta = record.data.get("meta")
    return record.record("meta").without([OURS]) if isinstance(meta, dict) else {}


def meta_of(record: Record) -> Record:
    """Our own block of a task or a region; an empty one where it has none, or its ``meta`` is no object."""
    if not isinstance(record.data.get("meta"), dict):
        return Record({}, f"{record.place}.meta", record.subject)
    return record.record("meta").record(OURS)
