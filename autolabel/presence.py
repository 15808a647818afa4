"""How good probabilities of presence are: do they rank, and do they mean what they say?

Keypoints of known truth go in as flat arrays: what a network said, and whether the keypoint does lie inside the image.
Unlabelled ones belong to neither side and are left out before.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.errors import InputError

BINS = 10


@dataclass(frozen=True, eq=False)
class Reliability:
    """Probabilities in bins of equal width, against how often they came true. Empty bins are left out.

    Attributes:
        said: (M,) mean probability of each bin, ascending.
        true: (M,) share of it that was true.
        count: (M,) how many are in it; int64.
    """

    said: NDArray[np.float64]
    true: NDArray[np.float64]
    count: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance of said and true over all that was said; NaN of nothing.

        Naeini et al., AAAI 2015.
        """
        if not self.count.sum():
            return float("nan")
        return float(np.average(np.abs(self.said - self.true), weights=self.count))


@dataclass(frozen=True)
class PresenceQuality:
    """How well it was told which keypoints lie inside the image.

    Attributes:
        keypoints: How many were told.
        inside: Share of them that does lie inside.
        auroc: How well the probabilities rank; None where all lie inside, or none.
        brier: Mean squared difference of probability and truth.
        calibration_error: Mean distance of what was said and what came true, in ten bins (ECE).
    """

    keypoints: int
    inside: float
    auroc: float | None
    brier: float
    calibration_error: float

    def told(self) -> str:
        """In a line."""
        ranks = "all alike, nothing to rank" if self.auroc is None else f"AUROC {self.auroc:.3f}"
        return (
            f"{ranks}, Brier {self.brier:.3f}, ECE {self.calibration_error:.3f}; "
            f"{self.inside:.1%} of {self.keypoints} keypoints inside the image"
        )


def presence_quality(probability: ArrayLike, truth: ArrayLike) -> PresenceQuality:
    """All of it.

    Args:
        probability: (M,) in 0..1, one or more.
        truth: (M,) bool.

    Raises:
        InputError: As :func:`reliability`.
    """
    said, true = _pairs(probability, truth)
    ranks = auroc(said, true)
    return PresenceQuality(
        keypoints=len(said),
        inside=float(true.mean()),
        auroc=None if np.isnan(ranks) else ranks,
        brier=brier(said, true),
        calibration_error=reliability(said, true).error,
    )


def auroc(score: ArrayLike, truth: ArrayLike) -> float:
    """Probability that something true has a higher score than something false; ties count one half.

    By the sum of ranks (Mann and Whitney, 1947); no library, because training measures it on hosts without one.

    Args:
        score: (M,) any numbers, higher for what is held to be true.
        truth: (M,) bool.

    Returns:
        0..1; NaN where all is true, or nothing: there is no pair to rank.

    Raises:
        InputError: A score is NaN, or they are not as many.
    """
    scores, true = _pairs(score, truth)
    positive, negative = int(true.sum()), int((~true).sum())
    if not positive or not negative:
        return float("nan")
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2  # from 1, the mean of those that tie
    return float((rank[place][true].sum() - positive * (positive + 1) / 2) / (positive * negative))


def brier(probability: ArrayLike, truth: ArrayLike) -> float:
    """Mean squared difference of probabilities and what came true (Brier, 1950): 0 is best; NaN of nothing.

    Args:
        probability: (M,) in 0..1.
        truth: (M,) bool.

    Raises:
        InputError: A probability is NaN, or they are not as many.
    """
    said, true = _pairs(probability, truth)
    return float(np.mean((said - true) ** 2)) if len(said) else float("nan")


def reliability(probability: ArrayLike, truth: ArrayLike, bins: int = BINS) -> Reliability:
    """Probabilities in bins against how often they came true.

    Args:
        probability: (M,) in 0..1.
        truth: (M,) bool.
        bins: How many of equal width; each holds its lower edge, the last one 1.0 too.

    Raises:
        InputError: A probability is NaN or not in 0..1, or they are not as many.
    """
    said, true = _pairs(probability, truth)
    if len(said) and not 0 <= said.min() <= said.max() <= 1:
        raise InputError(f"probabilities of {said.min():g} to {said.max():g} are not in 0..1")
    place = np.minimum((said * bins).astype(np.int64), bins - 1)
    count, sums, hits = (np.bincount(place, weights, bins) for weights in (None, said, true))
    some = count > 0
    return Reliability(sums[some] / count[some], hits[some] / count[some], count[some].astype(np.int64))


def _pairs(score: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    scores, true = np.asarray(score, np.float64), np.asarray(truth, bool)
    if scores.ndim != 1 or scores.shape != true.shape:
        raise InputError(f"scores {scores.shape} and truth {true.shape} are not (M,) each")
    if np.isnan(scores).any():
        raise InputError(f"score {int(np.isnan(scores).argmax())} is NaN", remedy="Leave out what nothing was said of.")
    return scores, true
