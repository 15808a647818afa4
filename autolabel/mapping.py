"""From one skeleton to another: keypoints are kept, renamed, left out, or derived from several.

A mapping gives each target keypoint weights over the source keypoints. Names that both skeletons have map
to themselves; a missing neck, thorax or pelvis is derived from the shoulders or hips; a names file says the
rest. A target keypoint without a source comes out unlabelled and without a coordinate.

A keypoint derived from several parents is never better known than the worst of them: it is unlabelled if
one parent is, else absent if one is, else hidden if one is; its score and presence are the lowest of its
parents', its origin the least trusted one. Doubt (``p_gross``, ``p_bad``) is calibrated for a skeleton and
is not carried over.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ConfigError, SkeletonError
from autolabel.poses import Origin, Poses, Visibility
from autolabel.skeleton import Skeleton

Sources = str | Sequence[str] | Mapping[str, float]
"""Where a keypoint comes from: one keypoint, the mean of several, or a weighted mean."""

DERIVED: Mapping[str, tuple[str, ...]] = {
    "neck": ("left_shoulder", "right_shoulder"),
    "thorax": ("left_shoulder", "right_shoulder"),
    "pelvis": ("left_hip", "right_hip"),
}
"""Used where the target has the keypoint and the source has not. MPII's ``upper_neck`` lies higher than any
mid-point of labelled joints and is not derived."""

_CAUTION = np.array([Visibility.UNLABELLED, Visibility.ABSENT, Visibility.HIDDEN, Visibility.VISIBLE], np.uint8)
_TRUST = np.array([Origin.NONE, Origin.MODEL, Origin.IMPORTED, Origin.HUMAN], np.uint8)


@dataclass(frozen=True, eq=False)
class KeypointMap:
    """How the keypoints of a target skeleton come from those of a source skeleton.

    Attributes:
        source: The skeleton that poses have.
        target: The skeleton that they get.
        weights: (K target, K source) float64; a row sums to 1, or is zero where the keypoint has no source.

    Raises:
        SkeletonError: The weights have another shape, are negative, or do not sum to 1.
    """

    source: Skeleton
    target: Skeleton
    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        expected = (self.target.num_keypoints, self.source.num_keypoints)
        if self.weights.shape != expected:
            raise SkeletonError(f"weights have shape {self.weights.shape}, expected {expected}", subject="mapping")
        totals = self.weights.sum(axis=1)
        if self.weights.min() < 0 or ((np.abs(totals - 1) > 1e-6) & (totals != 0)).any():
            raise SkeletonError("weights must be positive and sum to 1 for each keypoint", subject="mapping")
        self.weights.flags.writeable = False

    @property
    def unsourced(self) -> tuple[str, ...]:
        """Target keypoints that nothing maps to."""
        return tuple(name for name, row in zip(self.target.keypoints, self.weights, strict=True) if not row.any())


def keypoint_map(source: Skeleton, target: Skeleton, names: Mapping[str, Sources] | None = None) -> KeypointMap:
    """The mapping between two skeletons.

    Args:
        source: The skeleton that poses have.
        target: The skeleton that they get.
        names: Where target keypoints come from; goes before equal names and derived keypoints.

    Raises:
        SkeletonError: ``names`` holds a keypoint that its skeleton has not (the nearest is named), or the two
            skeletons have nothing in common.
    """
    weights = np.zeros((target.num_keypoints, source.num_keypoints))
    for name, parents in _default_names(source, target).items():
        _set(weights, source, target, name, parents)
    for name, parents in (names or {}).items():
        _set(weights, source, target, name, parents)
    if not weights.any():
        raise SkeletonError(
            f"no keypoint of {source.name!r} maps to one of {target.name!r}",
            subject="mapping",
            remedy='Say which in a names file, such as: neck = ["left_shoulder", "right_shoulder"].',
        )
    return KeypointMap(source, target, weights)


def read_names(path: str | Path) -> dict[str, Sources]:
    """Read a names file, TOML or JSON.

    Each key is a target keypoint; its value a source keypoint, a list of them (their mean), or a table of
    weights, which are scaled to sum to 1::

        snout = "nose"
        neck = ["left_shoulder", "right_shoulder"]
        chest = { neck = 0.7, pelvis = 0.3 }

    Raises:
        ConfigError: The file cannot be read, or a value is of another kind.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        data: Any = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", subject=str(path)) from error
    except (UnicodeDecodeError, json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"is neither TOML nor JSON: {error}", subject=str(path)) from error
    if not isinstance(data, dict):
        raise ConfigError("is not a table of names", subject=str(path))
    names = cast("dict[str, Any]", data)
    for name, value in names.items():
        if not _is_sources(value):
            raise ConfigError(
                f"{name!r} is {value!r}, expected a keypoint, a list of keypoints or a table of weights",
                subject=str(path),
            )
    return names


def apply(mapping: KeypointMap, poses: Poses) -> Poses:
    """The poses in the target skeleton; boxes, ids and attributes stay as they are.

    Coordinates that come from one keypoint are copied bit by bit.

    Raises:
        SkeletonError: The poses have another number of keypoints than the mapping's source.
    """
    if poses.num_keypoints != mapping.source.num_keypoints:
        raise SkeletonError(
            f"poses have {poses.num_keypoints} keypoints, {mapping.source.name!r} has {mapping.source.num_keypoints}",
            subject="mapping",
        )
    parents, weights, known = _parents(mapping.weights)

    def worst_number(array: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.where(known, array[:, parents].min(axis=2), np.float32(np.nan))

    def worst_state(array: NDArray[np.uint8], order: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.where(known, order[np.argsort(order)[array[:, parents]].min(axis=2)], order[0])

    mean = (poses.xy[:, parents].astype(np.float64) * weights[..., None]).sum(axis=2).astype(np.float32)
    # A mean with weight 1 would give the same place, but lose the sign of zero.
    alone = (weights > 0).sum(axis=1) == 1
    xy = np.where(alone[:, None], poses.xy[:, parents[:, 0]], mean)
    return Poses.create(
        mapping.target.num_keypoints,
        id=poses.id,
        xy=np.where(known[:, None], xy, np.nan),
        score=worst_number(poses.score),
        presence=worst_number(poses.presence),
        visibility=worst_state(poses.visibility, _CAUTION),
        origin=worst_state(poses.origin, _TRUST),
        box=poses.box,
        box_score=poses.box_score,
        area=poses.area,
        crowd=poses.crowd,
        by=poses.by,
        group=poses.group,
        attributes=poses.attributes,
    )


def _default_names(source: Skeleton, target: Skeleton) -> dict[str, Sources]:
    names: dict[str, Sources] = {}
    for name in target.keypoints:
        if name in source.keypoints:
            names[name] = name
        elif set(DERIVED.get(name, ("",))) <= set(source.keypoints):
            names[name] = DERIVED[name]
    return names


def _set(weights: NDArray[np.float64], source: Skeleton, target: Skeleton, name: str, parents: Sources) -> None:
    row = weights[target.index(name)]
    row[:] = 0.0
    shares = {parents: 1.0} if isinstance(parents, str) else parents
    if not isinstance(shares, Mapping):
        shares = dict.fromkeys(shares, 1.0)
    for parent, share in shares.items():
        row[source.index(parent)] = share
    if not (row.min() >= 0 and 0 < row.sum() < np.inf):
        raise SkeletonError(f"{name!r} needs sources with weights above 0", subject="mapping")
    row /= row.sum()


def _parents(weights: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.bool_]]:
    """(K, M) indices of each keypoint's parents and their weights, and (K,) whether it has any.

    M is the largest number of parents; a keypoint with fewer repeats its first one with weight 0, which
    changes neither its mean nor its worst value.
    """
    width = max(int((weights > 0).sum(axis=1).max()), 1)
    order = np.argsort(-weights, axis=1, kind="stable")[:, :width]
    shares = np.take_along_axis(weights, order, axis=1)
    return np.where(shares > 0, order, order[:, :1]), shares, weights.sum(axis=1) > 0


def _is_sources(value: Any) -> bool:
    if isinstance(value, str):
        return True
    if isinstance(value, list):
        parents = cast("list[Any]", value)
        return bool(parents) and all(isinstance(parent, str) for parent in parents)
    if isinstance(value, dict):
        shares = cast("dict[str, Any]", value).values()
        return bool(shares) and all(type(share) in (int, float) for share in shares)
    return False
