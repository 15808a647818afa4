"""Evidence of doubt: what is known about poses, as the columns that the calibrator learns from.

Three kinds go in. *Features* are what ``predict`` stored (``docs/data-model.md`` lists them). Some evidence comes from
manifests alone and is handed over under the names ``conflict`` and ``against``. And some needs checked poses to compare
with: how long bones are and which postures occur (``bones``, ``residual``), and how far an image is from all that was
checked (``novelty``).

Each column says which evidence it is made from, so that a part can be left out, and in which direction it points. A
keypoint that is said to be absent has no place: columns about its place are unknown there (NaN), as are all columns of
evidence that is not there. Learners must take NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.poses import Poses, Visibility
from autolabel.skeleton import Skeleton

Floats = NDArray[np.float64]
Features = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Column:
    """One input of a model.

    Attributes:
        name: Unique.
        source: The evidence it is made from; "" for what poses themselves say.
        direction: 1 where more of it means more doubt, -1 where less does, 0 where either may.
        learnt: Whether the models read it. What was worth nothing to them (``docs/confidence.md``) is only told, in
            reasons.
    """

    name: str
    source: str
    direction: int
    learnt: bool = True


KEYPOINT_COLUMNS = (
    Column("peak", "peak", -1),
    Column("second", "second", 1),
    Column("entropy", "entropy", 1, learnt=False),
    Column("spread", "spread", 1, learnt=False),
    Column("expected_ks", "expected_ks", -1),
    Column("other_side", "other_side", 1),
    Column("flip_peak", "flip_peak", -1),
    Column("flip_ks", "flip_ks", -1),
    Column("swap_ks", "swap_ks", 0),
    Column("swap_gain", "swap_ks", 1),
    Column("visible", "visible", -1),
    Column("presence_doubt", "presence", 1),
    Column("jitter_ks", "jitter_ks", -1),
    Column("jitter_peak", "jitter_peak", -1),
    Column("quality_ks", "quality_ks", -1),
    Column("quality_gross", "quality_gross", 1),
    Column("bones", "bones", 1),
    Column("residual", "residual", 1),
    Column("conflict", "conflict", 1),
    Column("against", "against", -1),
    Column("absent", "", 0),
    Column("absent_peak", "peak", 1),
    Column("joint", "", 0),
    Column("pose_peak", "peak", -1),
    Column("pose_flip_ks", "flip_ks", -1),
    Column("pose_quality", "quality_bad", 1),
    Column("size", "size", 0, learnt=False),
    Column("edge", "edge", 0, learnt=False),
    Column("outside", "outside", 0, learnt=False),
    Column("novelty", "novelty", 1, learnt=False),
    Column("again", "again", 0),
)
"""Of the keypoint model, in order."""

POSE_COLUMNS = (
    Column("mean_doubt", "", 1),
    Column("worst_doubt", "", 1),
    Column("second_doubt", "", 1),
    Column("third_doubt", "", 1),
    Column("expected_gross", "", 1),
    Column("mean_peak", "peak", -1),
    Column("low_peak", "peak", -1),
    Column("mean_second", "second", 1),
    Column("mean_entropy", "entropy", 1, learnt=False),
    Column("mean_spread", "spread", 1, learnt=False),
    Column("mean_expected_ks", "expected_ks", -1),
    Column("low_expected_ks", "expected_ks", -1),
    Column("mean_other_side", "other_side", 1),
    Column("mean_flip_ks", "flip_ks", -1),
    Column("low_flip_ks", "flip_ks", -1),
    Column("mean_swap_gain", "swap_ks", 1),
    Column("mean_visible", "visible", -1),
    Column("mean_presence_doubt", "presence", 1),
    Column("mean_jitter_ks", "jitter_ks", -1),
    Column("mean_jitter_peak", "jitter_peak", -1),
    Column("mean_quality_ks", "quality_ks", -1),
    Column("sum_quality_gross", "quality_gross", 1),
    Column("quality_bad", "quality_bad", 1),
    Column("worst_bones", "bones", 1),
    Column("mean_residual", "residual", 1),
    Column("mean_conflict", "conflict", 1),
    Column("mean_against", "against", -1),
    Column("absent_share", "", 0),
    Column("size", "size", 0, learnt=False),
    Column("edge", "edge", 0, learnt=False),
    Column("outside", "outside", 0, learnt=False),
    Column("box_score", "box_score", -1),
    Column("novelty", "novelty", 1, learnt=False),
    Column("again", "again", 0),
)
"""Of the pose model, in order."""

SOURCES = tuple(dict.fromkeys(c.source for c in (*KEYPOINT_COLUMNS, *POSE_COLUMNS) if c.source))
"""All evidence that can be left out."""

FROM_CHECKED = ("bones", "residual", "novelty")
"""Evidence by comparison with checked poses."""

_OF_THE_PLACE = (
    "peak",
    "second",
    "entropy",
    "spread",
    "expected_ks",
    "other_side",
    "flip_peak",
    "flip_ks",
    "swap_ks",
    "visible",
    "jitter_ks",
    "jitter_peak",
    "quality_ks",
    "bones",
    "residual",
    "conflict",
    "against",
)
_OF_THE_POSE = ("edge", "outside", "box_score", "again", "quality_bad", "novelty")


_NOTHING = np.zeros((0, 0))


class Posture(Protocol):
    """How implausible a skeleton is: :class:`autolabel.pose_prior.PosePrior`."""

    def bones(self, poses: Poses) -> Floats:
        """(N, K) how much too long the bones of a keypoint are."""
        ...

    def residual(self, poses: Poses) -> Floats:
        """(N, K) how far a keypoint is from where postures that occur have it."""
        ...


class Familiarity(Protocol):
    """How far from what was checked: :class:`autolabel.novelty.Novelty`."""

    @property
    def width(self) -> int:
        """D; embeddings of another network may have another one."""
        ...

    def distance(self, embedding: NDArray[Any]) -> Floats:
        """(N,) of (N, D) embeddings."""
        ...


@dataclass(frozen=True)
class Experience:
    """What is known from checked poses; None where there were too few.

    Attributes:
        posture: Gives ``bones`` and ``residual``.
        familiarity: Gives ``novelty``.
    """

    posture: Posture | None = None
    familiarity: Familiarity | None = None


def compared(poses: Poses, features: Features, experience: Experience) -> dict[str, NDArray[Any]]:
    """The features, and with them the evidence of ``FROM_CHECKED`` that there is."""
    found = dict(features)
    if experience.posture is not None:
        found |= {"bones": experience.posture.bones(poses), "residual": experience.posture.residual(poses)}
    if (
        experience.familiarity is not None
        and features.get("embedding", _NOTHING).shape[-1] == experience.familiarity.width
    ):
        found["novelty"] = experience.familiarity.distance(features["embedding"])
    return found


def keypoint_evidence(poses: Poses, known: Features, skeleton: Skeleton) -> Floats:
    """(N, K, F) the columns of ``KEYPOINT_COLUMNS``.

    Args:
        poses: N poses.
        known: Evidence by name, from :func:`compared`.
        skeleton: Tells which keypoints are pairs.
    """
    shape = poses.visibility.shape
    absent = _absent(poses)
    values = {name: _array(known, name, shape) for name in (*_OF_THE_PLACE, "presence", "quality_gross")}
    peak = values["peak"]
    for name in _OF_THE_PLACE:
        values[name] = np.where(absent, np.nan, values[name])
    presence = values["presence"]
    values |= {
        "swap_gain": values["swap_ks"] - values["flip_ks"],
        "presence_doubt": np.where(absent, presence, 1 - presence),
        "absent": absent.astype(np.float64),
        "absent_peak": np.where(absent, peak, np.nan),
        "joint": np.broadcast_to(pairs(skeleton)[None].astype(np.float64), shape),
    }
    whole = {
        "pose_peak": _mean(values["peak"]),
        "pose_flip_ks": _mean(values["flip_ks"]),
        "pose_quality": _row(known, "quality_bad", len(poses)),
        "size": log_size(poses),
    } | {name: _row(known, name, len(poses)) for name in _OF_THE_POSE}
    values |= {name: np.broadcast_to(row[:, None], shape) for name, row in whole.items()}
    return np.stack([values[column.name] for column in KEYPOINT_COLUMNS], axis=-1)


def pose_evidence(poses: Poses, known: Features, doubt: Floats) -> Floats:
    """(N, F) the columns of ``POSE_COLUMNS``.

    Args:
        poses: N poses.
        known: Evidence by name, from :func:`compared`.
        doubt: (N, K) log-odds of the keypoint model.
    """
    shape, absent = poses.visibility.shape, _absent(poses)
    at = {name: np.where(absent, np.nan, _array(known, name, shape)) for name in _OF_THE_PLACE}
    presence = _array(known, "presence", shape)
    gross = _array(known, "quality_gross", shape)
    values = {
        "mean_doubt": doubt.mean(axis=1),
        "worst_doubt": largest(doubt, 1),
        "second_doubt": largest(doubt, 2),
        "third_doubt": largest(doubt, 3),
        # Sums of few small numbers are many orders apart, and their logarithms are not.
        "expected_gross": np.log((1 / (1 + np.exp(-doubt))).sum(axis=1) + 1e-6),
        "low_peak": -largest(-np.nan_to_num(at["peak"], nan=np.inf), 2),
        "low_expected_ks": -largest(-np.nan_to_num(at["expected_ks"], nan=np.inf), 2),
        "low_flip_ks": -largest(-np.nan_to_num(at["flip_ks"], nan=np.inf), 2),
        "mean_swap_gain": _mean(at["swap_ks"] - at["flip_ks"]),
        "mean_presence_doubt": _mean(np.where(absent, presence, 1 - presence)),
        "sum_quality_gross": np.where(np.isnan(gross).all(axis=1), np.nan, np.nansum(gross, axis=1)),
        "worst_bones": largest(np.nan_to_num(at["bones"], nan=-np.inf), 1),
        "absent_share": absent.mean(axis=1),
        "size": log_size(poses),
    }
    values |= {f"mean_{name}": _mean(at[name]) for name in _OF_THE_PLACE}
    values |= {name: _row(known, name, len(poses)) for name in _OF_THE_POSE}
    stacked = np.stack([values[column.name] for column in POSE_COLUMNS], axis=-1)
    return np.where(np.isfinite(stacked), stacked, np.nan)


def pairs(skeleton: Skeleton) -> NDArray[np.intp]:
    """(K,) groups of keypoints that are alike: a keypoint and its mirror partner have one number, from 0."""
    flip = np.array(skeleton.flip, np.intp)
    return np.unique(np.minimum(flip, np.arange(len(flip))), return_inverse=True)[1]


def log_size(poses: Poses) -> Floats:
    """(N,) logarithm of the longer side of the box in pixels; of one pixel where there is no box."""
    side = np.nan_to_num((poses.box[:, 2:] - poses.box[:, :2]).max(axis=1, initial=0), nan=1.0)
    return np.log(np.maximum(side, 1.0))


def largest(values: Floats, place: int) -> Floats:
    """(N,) the ``place``-th largest of each row, or the smallest where there are fewer."""
    place = min(place, values.shape[1])
    return np.partition(values, -place, axis=1)[:, -place]


def _absent(poses: Poses) -> NDArray[np.bool_]:
    return poses.visibility == Visibility.ABSENT


def _array(known: Features, name: str, shape: tuple[int, ...]) -> Floats:
    """(N, K) evidence as finite numbers or NaN."""
    values = np.asarray(known[name], np.float64) if name in known else np.full(shape, np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _row(known: Features, name: str, count: int) -> Floats:
    return _array(known, name, (count,))


def _mean(values: Floats) -> Floats:
    """(N,) mean of what is known of each row, NaN where nothing is."""
    count = np.isfinite(values).sum(axis=1)
    return np.where(count > 0, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan)


def image_of_each(counts: ArrayLike) -> NDArray[np.intp]:
    """(N,) which image each pose is on, from the number of poses (S,) on each image."""
    numbers = np.asarray(counts, np.intp)
    return np.repeat(np.arange(len(numbers)), numbers)
