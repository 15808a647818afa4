"""Doubt: from what the network computed about a pose to the probability that it is wrong.

Two probabilities come out: ``p_gross`` for each keypoint and ``p_bad`` for the pose, as ``autolabel.similarity``
defines gross and bad; with them a distance to expect, and reasons in words. They come from a *prior* as long as nobody
has checked a pose (a ranking on a scale of 0 to 1 that is no probability, and is marked so), and from a
:class:`autolabel.calibrator.Calibrator` fitted on checked poses after that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.calibrator import Calibrator, doubt
from autolabel.errors import InputError
from autolabel.evidence import largest
from autolabel.poses import Poses, Visibility
from autolabel.reasons import reasons
from autolabel.skeleton import Skeleton

Floats = NDArray[np.float64]

BINS = 10
CURVE_POINTS = 50

EXPECTED_ERROR = "expected_error"
"""Name of the feature that holds the distance to expect, (N, K) pixels."""

REASONS = "reasons"
"""Attribute of a pose that holds why it is doubted."""


def prior(poses: Poses, features: Mapping[str, NDArray[Any]]) -> tuple[Floats, Floats]:
    """Doubt before anything was checked: a ranking, not a probability.

    A keypoint is doubted as its peak is low and as the mirrored image disagrees, by the geometric mean of the two;
    one said to be absent, as its map is not empty. A pose is doubted by its second most doubtful keypoint, because
    one gross keypoint does not make a pose bad and two do, or by the mean where that is higher.

    Args:
        poses: N poses.
        features: Their features; without a flip test the peaks alone count.

    Returns:
        (N, K) and (N,) in 0..1.
    """
    peak = np.clip(_known(features["peak"]), 0, 1)
    agreement = np.clip(_known(features["flip_ks"]), 0, 1) if "flip_ks" in features else 1.0
    absent = poses.visibility == Visibility.ABSENT
    unsure = np.where(absent, np.clip(2 * peak, 0, 1), 1 - np.sqrt(peak * agreement))
    return unsure, np.maximum(largest(unsure, 2), unsure.mean(axis=1))


@dataclass(frozen=True, eq=False)
class Scored:
    """Poses with their doubt.

    Attributes:
        poses: With ``p_gross`` and ``p_bad``, and with reasons among the attributes of those that have some.
        expected_error: (N, K) distance from the truth to expect, in pixels; NaN where nothing can be said.
    """

    poses: Poses
    expected_error: Floats


def score(
    poses: Poses,
    features: Mapping[str, NDArray[Any]],
    skeleton: Skeleton,
    calibrator: Calibrator | None,
    *,
    other: str = "the other manifest",
) -> Scored:
    """Say how much to doubt poses; those without a prediction keep what they had.

    Args:
        poses: N predicted poses.
        features: Their features, from ``predict``, and evidence from manifests.
        skeleton: Of the poses.
        calibrator: None for the prior. Whether it fits these poses is asked before:
            :meth:`autolabel.calibrator.Calibrator.require_fits`.
        other: What reasons call the manifest that was compared with.

    Raises:
        InputError: The features lack the peaks.
    """
    known = predicted(features)
    if calibrator is None:
        p_gross, p_bad = prior(poses, features)
        error, evidence = np.full(p_gross.shape, np.nan), features
    else:
        found = doubt(calibrator, poses, features, skeleton)
        p_gross, p_bad, error, evidence = found.p_gross, found.p_bad, found.error, found.known
    absent = poses.visibility == Visibility.ABSENT
    usual = calibrator.usual_limits if calibrator is not None else None
    told = reasons(p_gross, evidence, skeleton, absent=absent, usual=usual, other=other)
    attributes = [
        _with_reasons(attributes, its) if some else attributes
        for attributes, its, some in zip(poses.attributes, told, known.tolist(), strict=True)
    ]
    scored = poses.replace(
        p_gross=np.where(known[:, None], p_gross, poses.p_gross),
        p_bad=np.where(known, p_bad, poses.p_bad),
        attributes=attributes,
    )
    return Scored(scored, np.where(known[:, None], error, np.nan))


def _with_reasons(attributes: Mapping[str, Any], told: list[dict[str, Any]]) -> Mapping[str, Any]:
    """Attributes with these reasons and no earlier ones; without an entry where there are none."""
    rest = {name: value for name, value in attributes.items() if name != REASONS}
    return {**rest, REASONS: told} if told else rest


def predicted(features: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """(N,) poses that the network said something about: their image could be read and they have a box.

    Raises:
        InputError: The features lack the peaks.
    """
    if "peak" not in features:
        raise InputError("no features to score by", remedy="Give the manifest that `autolabel predict` wrote.")
    return np.asarray(np.isfinite(features["peak"]).all(axis=1))


def score_quality(p_bad: ArrayLike, bad: ArrayLike) -> dict[str, Any] | None:
    """Measure doubts against the truth: do they rank, and do they mean what they say?

    Risk against coverage as Geifman and El-Yaniv (NeurIPS 2017) draw it; reliability over bins of equal mass.

    Args:
        p_bad: (N,) doubts; poses without one (NaN) are left out.
        bad: (N,) truth.

    Returns:
        ``auroc_bad``; ``risk_coverage``: pairs of the share of poses kept, the least doubtful first, and the share of
        bad ones among them; ``reliability``: for each bin its mean doubt, its share of bad poses and its size. None
        where all poses are good, or all bad: nothing can be ranked then.
    """
    from sklearn.metrics import roc_auc_score  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    doubt, truth = np.asarray(p_bad, np.float64), np.asarray(bad, bool)
    truth, doubt = truth[np.isfinite(doubt)], doubt[np.isfinite(doubt)]
    if truth.all() or not truth.any():
        return None
    order = np.argsort(doubt, kind="stable")
    risk = np.cumsum(truth[order]) / np.arange(1, len(order) + 1)
    shown = np.linspace(1, len(order), min(CURVE_POINTS, len(order))).round().astype(int) - 1
    return {
        "auroc_bad": float(cast("Any", roc_auc_score)(truth, doubt)),
        "risk_coverage": [[float((i + 1) / len(order)), float(risk[i])] for i in shown],
        "reliability": [
            [float(doubt[rows].mean()), float(truth[rows].mean()), len(rows)]
            for rows in np.array_split(order, min(BINS, len(order)))
        ],
    }


def _known(values: NDArray[Any]) -> Floats:
    return np.nan_to_num(values.astype(np.float64), nan=0.0)
