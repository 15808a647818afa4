"""Poses and samples: the values that every stage takes and gives.

``Poses`` holds N poses of one image, or of many, as arrays, so that scoring, routing and measuring are array
arithmetic. It cannot exist wrong: shapes and values are checked when it is made, and its arrays are read-only.

Coordinates are full-image pixels, x right, y down, with pixel centres at integers. Boxes are xyxy edges on the
same scale. A coordinate is NaN only where nothing was predicted or labelled; (0, 0) is a place like any other.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from itertools import accumulate
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.errors import PosesError


class Visibility(IntEnum):
    """What is said about a keypoint, which is not the same as where it is."""

    UNLABELLED = 0
    """Nobody said anything: it neither trains nor scores."""
    HIDDEN = 1
    """Inside the image, behind something."""
    VISIBLE = 2
    ABSENT = 3
    """Known to be outside the image, or unknowable."""


FILLED = "filled"
"""Attribute of a pose that names the keypoints which a network filled in where people had said nothing: they teach
less than what people said, and are never a part of a data set that comes out."""


class Origin(IntEnum):
    """What kind of hand placed a keypoint."""

    NONE = 0
    MODEL = 1
    HUMAN = 2
    IMPORTED = 3


@dataclass(frozen=True)
class _Field:
    dtype: type[Any]
    per_keypoint: bool
    width: int
    default: Any


_FIELDS: Mapping[str, _Field] = {
    "id": _Field(object, False, 0, ""),
    "xy": _Field(np.float32, True, 2, np.nan),
    "score": _Field(np.float32, True, 0, np.nan),
    "presence": _Field(np.float32, True, 0, np.nan),
    "visibility": _Field(np.uint8, True, 0, Visibility.UNLABELLED),
    "box": _Field(np.float64, False, 4, np.nan),
    "box_score": _Field(np.float32, False, 0, np.nan),
    "area": _Field(np.float64, False, 0, np.nan),
    "crowd": _Field(np.bool_, False, 0, False),
    "p_gross": _Field(np.float32, True, 0, np.nan),
    "p_bad": _Field(np.float32, False, 0, np.nan),
    "origin": _Field(np.uint8, True, 0, Origin.NONE),
    "by": _Field(object, False, 0, ""),
    "group": _Field(object, False, 0, ""),
}


@dataclass(frozen=True, eq=False)
class Poses:
    """N poses of K keypoints as read-only arrays; use :meth:`create` to make one.

    Attributes:
        id: (N,) str, given when the pose's box is made and kept through all rounds (:func:`pose_id`).
        xy: (N, K, 2) float32.
        score: (N, K) float32, the network's own number.
        presence: (N, K) float32, probability that the keypoint lies inside the image.
        visibility: (N, K) uint8, see :class:`Visibility`.
        box: (N, 4) float64 xyxy; a row of NaN where there is no box. Double precision keeps a source's width:
            x + w - x gives w back.
        box_score: (N,) float32, the detector's.
        area: (N,) float64 in square pixels; NaN when unknown.
        crowd: (N,) bool, a region of many people rather than one.
        p_gross: (N, K) float32, calibrated probability that the keypoint is gross.
        p_bad: (N,) float32, calibrated probability that the pose is bad.
        origin: (N, K) uint8, see :class:`Origin`.
        by: (N,) str, which model or person stated the pose last.
        group: (N,) str; poses of one group never part when a data set is split.
        attributes: N mappings of JSON values: whatever else the source carried.

    Raises:
        PosesError: A shape or a value is impossible.
    """

    id: NDArray[Any]
    xy: NDArray[np.float32]
    score: NDArray[np.float32]
    presence: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    box: NDArray[np.float64]
    box_score: NDArray[np.float32]
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    p_gross: NDArray[np.float32]
    p_bad: NDArray[np.float32]
    origin: NDArray[np.uint8]
    by: NDArray[Any]
    group: NDArray[Any]
    attributes: tuple[Mapping[str, Any], ...]

    def __post_init__(self) -> None:
        if self.xy.ndim != 3:
            raise PosesError(f"xy has shape {self.xy.shape}, expected (N, K, 2)")
        n, k = self.xy.shape[:2]
        for name, spec in _FIELDS.items():
            array = cast("NDArray[Any]", getattr(self, name))
            expected = _shape(spec, n, k)
            if array.shape != expected or array.dtype != spec.dtype:
                raise PosesError(f"{name} is {array.dtype}{array.shape}, expected {np.dtype(spec.dtype)}{expected}")
            array.flags.writeable = False
        if len(self.attributes) != n:
            raise PosesError(f"attributes has {len(self.attributes)} entries for {n} poses")
        _check_values(self)

    @classmethod
    def create(cls, num_keypoints: int, **given: Any) -> "Poses":
        """Poses from what is known; every field that is left out gets its "unknown" value.

        Args:
            num_keypoints: K.
            **given: Any fields of the class, as anything numpy understands; None is as good as left out. At
                least one tells N; without fields there are no poses. They are copied.

        Raises:
            PosesError: An unknown field, or shapes that do not fit.
        """
        if unknown := set(given) - set(_FIELDS) - {"attributes"}:
            raise PosesError(f"unknown field {sorted(unknown)[0]!r}; known: {', '.join(_FIELDS)}, attributes")
        given = {name: value for name, value in given.items() if value is not None}
        n = len(next(iter(given.values()))) if given else 0
        arrays: dict[str, Any] = {}
        for name, spec in _FIELDS.items():
            shape = _shape(spec, n, num_keypoints)
            arrays[name] = _filled(name, spec, shape, given.get(name))
        arrays["attributes"] = tuple(given.get("attributes", ({},) * n))
        return cls(**arrays)

    @classmethod
    def empty(cls, num_keypoints: int) -> "Poses":
        """No poses."""
        return cls.create(num_keypoints)

    @classmethod
    def concat(cls, parts: Sequence["Poses"]) -> "Poses":
        """All poses of the parts, in order.

        Raises:
            PosesError: There are no parts, or they differ in K.
        """
        if not parts:
            raise PosesError("nothing to put together; use Poses.empty(K)")
        if len({part.num_keypoints for part in parts}) > 1:
            raise PosesError(f"parts with different K: {sorted({part.num_keypoints for part in parts})}")
        if len(parts) == 1:
            return parts[0]
        arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS}
        arrays["attributes"] = tuple(item for part in parts for item in part.attributes)
        return cls(**arrays)

    def __len__(self) -> int:
        return len(self.xy)

    def __getitem__(self, i: int) -> "Pose":
        """The i-th pose as a light view."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"pose {i} of {len(self)}")
        values = {name: getattr(self, name)[i] for name in _FIELDS}
        return Pose(**values, attributes=self.attributes[i])

    @property
    def num_keypoints(self) -> int:
        """K."""
        return self.xy.shape[1]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(N, K) keypoints whose place somebody stated: visible or hidden."""
        return (self.visibility == Visibility.VISIBLE) | (self.visibility == Visibility.HIDDEN)

    def take(self, which: ArrayLike) -> "Poses":
        """The poses at an integer index array or a boolean mask, in that order."""
        given = np.asarray(which)
        index = np.flatnonzero(given) if given.dtype == bool else given.astype(np.intp)
        arrays: dict[str, Any] = {name: getattr(self, name)[index] for name in _FIELDS}
        rows: list[int] = index.tolist()
        arrays["attributes"] = tuple(self.attributes[i] for i in rows)
        return Poses(**arrays)

    def replace(self, **given: Any) -> "Poses":
        """The same poses with other values in some fields.

        Raises:
            PosesError: An unknown field, or a shape that does not fit.
        """
        if unknown := set(given) - set(_FIELDS) - {"attributes"}:
            raise PosesError(f"unknown field {sorted(unknown)[0]!r}; known: {', '.join(_FIELDS)}, attributes")
        changed: dict[str, Any] = {}
        for name, value in given.items():
            if name == "attributes":
                changed[name] = tuple(value)
            else:
                spec = _FIELDS[name]
                changed[name] = _filled(name, spec, _shape(spec, len(self), self.num_keypoints), value)
        return replace(self, **changed)

    def equals(self, other: "Poses") -> bool:
        """Whether every value is the same, NaN equal to NaN."""
        return self.attributes == other.attributes and all(
            _same(getattr(self, name), getattr(other, name)) for name in _FIELDS
        )


@dataclass(frozen=True, eq=False)
class Pose:
    """One instance: a view of one row of :class:`Poses`, with the same field names."""

    id: str
    xy: NDArray[np.float32]
    score: NDArray[np.float32]
    presence: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    box: NDArray[np.float64]
    box_score: float
    area: float
    crowd: bool
    p_gross: NDArray[np.float32]
    p_bad: float
    origin: NDArray[np.uint8]
    by: str
    group: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Sample:
    """One image and its poses.

    Attributes:
        id: Hex hash of the file's bytes.
        root: Name of the corpus root; the manifest knows its folder.
        path: Where the file is below that root, with forward slashes.
        size: (width, height) after EXIF orientation.
        poses: The instances in it.
        group: Samples of one group (folder, video) never part when a data set is split; nor do a sample and what it
            repeats (:mod:`autolabel.split`).
        duplicate_of: Path of the sample that this one repeats, or "". In another corpus root it is
            ``/ROOT/path``: no path below a root begins with a slash. See :attr:`original`.
        attributes: Whatever else the source carried about the image (JSON values).
    """

    id: str
    root: str
    path: str
    size: tuple[int, int]
    poses: Poses
    group: str = ""
    duplicate_of: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def key(self) -> tuple[str, str, str]:
        """What names the sample: copies of the same bytes are kept apart by their path."""
        return (self.id, self.root, self.path)

    @property
    def original(self) -> tuple[str, str] | None:
        """Root and path of the sample that this one repeats; None when it repeats none."""
        if not self.duplicate_of:
            return None
        if not self.duplicate_of.startswith("/"):
            return self.root, self.duplicate_of
        root, _, path = self.duplicate_of[1:].partition("/")
        return root, path

    def with_poses(self, poses: Poses) -> "Sample":
        """The same image with other poses."""
        return replace(self, poses=poses)


def split(samples: Sequence[Sample], poses: Poses) -> list[Sample]:
    """Give poses back to the samples they came from.

    Args:
        samples: The samples whose poses were put together in order.
        poses: As many poses, in that order.

    Raises:
        PosesError: There are more or fewer.
    """
    ends = list(accumulate(len(sample.poses) for sample in samples))
    if (ends[-1] if ends else 0) != len(poses):
        raise PosesError(f"{len(poses)} poses for samples that hold {ends[-1] if ends else 0}")
    return [
        sample.with_poses(poses.take(np.arange(end - len(sample.poses), end)))
        for sample, end in zip(samples, ends, strict=True)
    ]


def pose_id(
    sample_id: str,
    path: str,
    box: Sequence[float] | NDArray[np.floating[Any]],
    source: str,
    record: str | int,
) -> str:
    """The id of a pose, given when its box is made and kept through all rounds.

    Args:
        sample_id: The sample's id.
        path: The sample's path below its root.
        box: xyxy.
        source: What made the box: a file's name, a detector, ``whole-image``.
        record: The source's own record id, or an ordinal.

    Returns:
        32 hex characters.
    """
    text = json.dumps([sample_id, path, [float(v) for v in box], source, str(record)])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _shape(spec: _Field, n: int, k: int) -> tuple[int, ...]:
    shape = (n, k) if spec.per_keypoint else (n,)
    return (*shape, spec.width) if spec.width else shape


def _filled(name: str, spec: _Field, shape: tuple[int, ...], value: Any) -> NDArray[Any]:
    if value is None:
        return np.full(shape, spec.default, spec.dtype)
    try:
        array = np.array(value, dtype=spec.dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise PosesError(f"{name} cannot be made {np.dtype(spec.dtype)}{shape}: {error}") from error
    if array.size == 0 and 0 in shape:
        return array.reshape(shape)
    if array.shape != shape:
        raise PosesError(f"{name} has shape {array.shape}, expected {shape}")
    return array


def _check_values(poses: Poses) -> None:
    if np.isinf(poses.xy).any() or np.isinf(poses.box).any() or np.isinf(poses.area).any():
        raise PosesError("an infinite coordinate, box or area")
    if (np.isnan(poses.xy[..., 0]) != np.isnan(poses.xy[..., 1])).any():
        raise PosesError("a keypoint with one coordinate and no other")
    if (poses.labelled & np.isnan(poses.xy[..., 0])).any():
        raise PosesError("a keypoint is called visible or hidden but has no coordinate")
    if poses.visibility.max(initial=0) > Visibility.ABSENT:
        raise PosesError(f"visibility {poses.visibility.max()} is not one of 0, 1, 2, 3")
    if poses.origin.max(initial=0) > Origin.IMPORTED:
        raise PosesError(f"origin {poses.origin.max()} is not one of 0, 1, 2, 3")
    boxless = np.isnan(poses.box)
    if (boxless.any(axis=1) != boxless.all(axis=1)).any():
        raise PosesError("a box with some coordinates missing")
    if (poses.box[:, 2:] < poses.box[:, :2]).any():
        raise PosesError("a box whose right or bottom edge comes before its left or top edge")
    for name in ("presence", "p_gross", "p_bad"):
        array = cast("NDArray[np.float32]", getattr(poses, name))
        if ((array < 0) | (array > 1)).any():
            raise PosesError(f"{name} outside 0..1")


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


assert set(_FIELDS) | {"attributes"} == {f.name for f in fields(Poses)}
