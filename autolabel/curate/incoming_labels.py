"""Labels of a FiftyOne data set, as plain values, into poses: the way back of ``documents.py``.

In fields that ``autolabel curate`` wrote a point is (x + 0.5) / width, and what the documents say comes back. In all
others a point is x / width, and more is known of it only where FiftyOne has a place for it: ``confidence``, which
its labels of a model have and those of people have not, and ``visible``, which its COCO import leaves. A point that is
NaN is missing.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.curate.documents import PLACED, SAID, Document, to_pixels
from autolabel.curate.incoming_fields import COCO_OBJECT, COUNT, POSE_ID, BoxField
from autolabel.curate.schema import EXTRA
from autolabel.curate.sync import is_edited
from autolabel.errors import FormatError, PosesError
from autolabel.formats.labels import say_something
from autolabel.formats.records import TOO_LARGE
from autolabel.merge import BOXED, SEEN
from autolabel.poses import Origin, Poses, Visibility
from autolabel.skeleton import Skeleton

THEIRS = "fiftyone"
"""Attribute of samples and poses that carries what FiftyOne knows and we have no field for."""

READ = ("id", "tags", "label", "points", "confidence", "visibility", "visible", "iscrowd", COUNT, COCO_OBJECT)
READ_OF_OURS = (*READ, POSE_ID, "by", "origin", "stated", "state", "p_gross", "presence", "p_bad")
READ_OF_BOXES = ("label", "bounding_box", "confidence", COUNT)
"""Attributes that say something here, of keypoints, of our own, and of boxes."""

_CARRIED = ("id", "tags", "label")
_DERIVED = {"mean_score", "worst_gross", "swap", "label_error", "truncated", "decided_by", "decided_at", *EXTRA}
_LEVELS = {word: level for level, word in enumerate(SAID)}

BOXLESS = "poses have no box"
CONFIDENT = "poses have confidences, as a model's have: a model placed them, the manifest says"
EDITED = "poses were edited in FiftyOne: they come in as edited, without what was known of them before"
PLACELESS = "keypoints are called visible or hidden and have no place: they come in as not labelled"


@dataclass
class Counts:
    """How often each thing happened that has to be told, and where first."""

    number: Counter[str] = field(default_factory=Counter[str])
    first: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, what: str, where: str, n: int = 1) -> None:
        """It happened ``n`` times."""
        if n:
            self.number[what] += n
            self.first.setdefault(what, where)

    def notes(self) -> list[str]:
        """A sentence for each."""
        return [f"{n:,} {what}; the first: {self.first[what]}." for what, n in self.number.items()]


@dataclass(frozen=True)
class Layout:
    """How the labels of a field are to be read.

    Attributes:
        subject: The data set, for errors.
        field: The field.
        ours: Whether ``autolabel curate`` wrote it.
        skeleton: Of its keypoints.
        order: (K,) where each of them stands among a label's points.
        carried: Attributes that travel with the pose in ``THEIRS``.
        boxes: The field of the boxes, if there is one.
    """

    subject: str
    field: str
    ours: bool
    skeleton: Skeleton
    order: Sequence[int]
    carried: Sequence[str]
    boxes: BoxField | None


def carried(ours: bool, scalars: Sequence[str]) -> tuple[str, ...]:
    """Those of a label's single values that no field of ours says; tags; FiftyOne's id where there is none of ours."""
    said = {*READ_OF_OURS, *_DERIVED} if ours else set(READ)
    return (*(_CARRIED[1:2] if ours else _CARRIED), *(name for name in scalars if name not in said))


def read_poses(
    labels: Sequence[Document],
    boxes: Sequence[Document],
    layout: Layout,
    *,
    image: str,
    size: tuple[int, int],
    counts: Counts,
) -> Poses:
    """The poses of an image.

    Args:
        labels: Its keypoints, each with the attributes ``READ``, or ``READ_OF_OURS``, and those that are carried.
        boxes: Its boxes, each with ``READ_OF_BOXES``, and both with the attribute that they share.
        layout: How to read them.
        image: Its path.
        size: Its width and height.
        counts: Where to count what has to be told.

    Raises:
        FormatError: A malformed label; names the image, the label and the attribute.
    """
    k = layout.skeleton.num_keypoints
    if not labels:
        return Poses.empty(k)
    owned = match_boxes(labels, boxes, layout.boxes)
    rows = list[dict[str, Any]]()
    for i, (data, box) in enumerate(zip(labels, owned, strict=True)):
        label = _Label(data, f"{image}: {layout.field}.keypoints[{i}]", layout)
        rows.append({**_keypoints(label, size, image, counts), **label.box(box, size)})
    counts.add(BOXLESS, image, 0 if layout.ours else owned.count(None))
    try:
        return Poses.create(k, **{name: [row[name] for row in rows] for name in rows[0]})
    except PosesError as error:
        raise FormatError(error.message, record=image, subject=layout.subject) from error


def match_boxes(
    labels: Sequence[Document], boxes: Sequence[Document], shared: BoxField | None
) -> list[Document | None]:
    """The box of each label, where what they share belongs to one box and one label of the image."""
    if shared is None:
        return [None] * len(labels)
    if shared.shared == COUNT:
        return _match_in_order(labels, boxes)
    ours, theirs = ([label[shared.shared] for label in side] for side in (labels, boxes))
    return [
        boxes[theirs.index(one)] if one is not None and ours.count(one) == theirs.count(one) == 1 else None
        for one in ours
    ]


def _match_in_order(labels: Sequence[Document], boxes: Sequence[Document]) -> list[Document | None]:
    """One box after the other, where class and count say that none of either is missing."""
    own = [label for label in labels if label[COUNT] is not None]
    theirs = [box for box in boxes if box[COUNT] is not None]
    if [(label["label"], label[COUNT]) for label in own] != [(box["label"], box[COUNT]) for box in theirs]:
        return [None] * len(labels)
    following = iter(theirs)
    return [next(following) if label[COUNT] is not None else None for label in labels]


@dataclass(frozen=True)
class _Label:
    """One label, which knows where it stands.

    Attributes:
        data: Its attributes by name.
        place: What errors call it.
        layout: How it is to be read.
    """

    data: Mapping[str, Any]
    place: str
    layout: Layout

    def fail(self, name: str, message: str, remedy: str | None = None) -> NoReturn:
        """Refuse the data set because of an attribute."""
        raise FormatError(message, record=self.place, field=name, subject=self.layout.subject, remedy=remedy)

    def each(self, name: str) -> list[Any] | None:
        """A value for each keypoint of the skeleton; None where there are none at all."""
        values: object = self.data[name]
        if values is None or (values == [] and name != "points"):
            return None
        k = self.layout.skeleton.num_keypoints
        if not isinstance(values, list):
            self.fail(name, f"is {values!r}, expected a list of {k}")
        listed = cast("list[Any]", values)
        if len(listed) != k:
            self.fail(name, f"has {len(listed)} entries, {self.layout.skeleton.name!r} has {k} keypoints")
        return [listed[i] for i in self.layout.order]

    def numbers(self, name: str, *shape: int) -> NDArray[np.float64]:
        """(K, ...) numbers; NaN where there are none."""
        expected = (self.layout.skeleton.num_keypoints, *shape)
        values = self.each(name)
        if values is None:
            return np.full(expected, np.nan)
        try:
            array = np.array(values, np.float64)
        except (TypeError, ValueError):
            array = np.empty(0)
        if array.shape != expected:
            self.fail(name, f"holds what is not {'a pair of numbers' if shape else 'a number'}")
        if (np.abs(array) >= TOO_LARGE).any():
            self.fail(name, "is not a finite number in single precision")
        return array

    def visibility(self) -> NDArray[np.uint8] | None:
        """(K,) what is said of the keypoints; None where nothing is."""
        for name in ("visibility", "visible"):
            one: object = self.data[name]
            # FiftyOne's COCO export takes a single number for that of all points.
            values = [one] * self.layout.skeleton.num_keypoints if type(one) is int else self.each(name)
            if values is not None:
                return np.array([self._level(name, value) for value in values], np.uint8)
        return None

    def _level(self, name: str, value: object) -> int:
        if isinstance(value, str) and value.lower() in _LEVELS:
            return _LEVELS[value.lower()]
        if type(value) is not int or value not in (Visibility.UNLABELLED, Visibility.HIDDEN, Visibility.VISIBLE):
            what = f"holds {value!r}, expected 0, 1, 2 or one of {', '.join(SAID)}"
            self.fail(name, what, "If it means something else, give it another name in FiftyOne.")
        return value

    def box(self, box: Document | None, size: tuple[int, int]) -> dict[str, Any]:
        """The box's edges in pixels, and its score."""
        if box is None:
            return {"box": [np.nan] * 4, "box_score": np.nan}
        edges: object = box["bounding_box"]
        try:
            x, y, width, height = (float(edge) for edge in cast("Sequence[Any]", edges))
        except (TypeError, ValueError):
            self.fail("bounding_box", f"of its box is {edges!r}, expected four numbers")
        w, h = size
        score = box["confidence"]
        return {
            "box": [x * w, y * h, x * w + width * w, y * h + height * h],
            "box_score": np.nan if score is None else score,
        }

    def attributes(self) -> dict[str, Any]:
        """What no field of ours says."""
        theirs = plain({name: self.data[name] for name in self.layout.carried})
        state = self.data["state"] if self.layout.ours else None
        return {**({"state": state} if state in (*SEEN, BOXED) else {}), **({THEIRS: theirs} if theirs else {})}


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that say something and that a manifest can hold."""
    finite = {n: v for n, v in values.items() if not isinstance(v, float) or math.isfinite(v)}
    return {name: value for name, value in finite.items() if say_something({name: value})}


def _keypoints(label: _Label, size: tuple[int, int], image: str, counts: Counts) -> dict[str, Any]:
    """The fields of a pose but for those of its box."""
    shares = label.numbers("points", 2)
    missing = np.isnan(shares).any(axis=1)
    shares[missing] = np.nan
    said = label.visibility()
    visibility = np.where(missing, Visibility.UNLABELLED, Visibility.VISIBLE) if said is None else said
    placeless = missing & np.isin(visibility, (Visibility.HIDDEN, Visibility.VISIBLE))
    counts.add(PLACELESS, image, int(placeless.sum()))
    visibility[placeless] = Visibility.UNLABELLED
    labelled = np.isin(visibility, (Visibility.HIDDEN, Visibility.VISIBLE))
    with np.errstate(over="ignore"):  # what is infinite is refused when the poses are made
        xy = to_pixels(shares, size) if label.layout.ours else (shares * np.array(size, np.float64)).astype(np.float32)
    about = _of_ours(label, labelled, counts) if label.layout.ours else _of_theirs(label, labelled, counts)
    crowd = bool(label.data["iscrowd"])
    return {"xy": xy, "visibility": visibility, **about, "crowd": crowd, "attributes": label.attributes()}


def _of_theirs(label: _Label, labelled: NDArray[np.bool_], counts: Counts) -> dict[str, Any]:
    score = label.numbers("confidence")
    by_model = bool(np.isfinite(score).any())
    counts.add(CONFIDENT, label.place, by_model)
    hand = Origin.MODEL if by_model else Origin.IMPORTED
    return {**_unknown(label), "id": label.data[COCO_OBJECT] or "", "score": score, "origin": labelled * hand}


def _of_ours(label: _Label, labelled: NDArray[np.bool_], counts: Counts) -> dict[str, Any]:
    """What autolabel knew of the pose; where somebody moved a point since, only whose pose it is."""
    own = {**_unknown(label), "id": label.data[POSE_ID] or "", "by": label.data["by"] or ""}
    if is_edited(label.data):
        counts.add(EDITED, label.place)
        return {**own, "origin": labelled * Origin.IMPORTED}
    placed = label.each("origin") or [PLACED[0]] * len(labelled)
    if wrong := [word for word in placed if word not in PLACED]:
        label.fail("origin", f"holds {wrong[0]!r}, expected one of {', '.join(PLACED)}")
    p_bad = label.data["p_bad"]
    return {
        **own,
        "score": label.numbers("confidence"),
        "origin": [PLACED.index(word) for word in placed],
        "presence": label.numbers("presence"),
        "p_gross": label.numbers("p_gross"),
        "p_bad": np.nan if p_bad is None else p_bad,
    }


def _unknown(label: _Label) -> dict[str, Any]:
    unknown = np.full(label.layout.skeleton.num_keypoints, np.nan)
    return {"by": "", "score": unknown, "presence": unknown, "p_gross": unknown, "p_bad": np.nan}
