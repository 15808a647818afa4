"""How good doubts are: do they put the bad poses last, and do they mean what they say?

Two questions with two kinds of answer. *Ranking*: keep the least doubtful poses and ask how many of them are bad (risk
against coverage). *Probability*: of poses that are said to be bad with probability p, is the share p bad? A doubt can
be good at one and useless at the other: calibration is no merit of a doubt that says the same of every pose, so its
error is never told without the Brier skill, which such a doubt does not have.

Equally doubtful poses have no order among them, and no measure may depend on the order in which they happen to stand.
They are a *block*: accepted or left as a whole where a threshold is meant (coverage), and averaged over all their
orders elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.errors import InputError
from autolabel.presence import Reliability, brier

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LIMITS = (0.01, 0.02, 0.05)
"""Shares of bad poses for which coverage is told."""

SHARES = (0.5, 0.7, 0.8, 0.9)
"""Coverages at which risk is told."""

BINS = 15


@dataclass(frozen=True, eq=False)
class RiskCurve:
    """Poses by doubt, the least doubtful first, counted up to the end of each block of equally doubtful ones.

    B ways of counting the same poses, so that all resamples of a bootstrap are one array; one where nothing is
    resampled. Risk against coverage is Geifman and El-Yaniv's (NeurIPS 2017).

    Attributes:
        kept: (B, M + 1) poses up to the end of each of M blocks, from 0.
        bad: (B, M + 1) bad ones among them.
    """

    kept: Ints
    bad: Ints

    @property
    def risk(self) -> Floats:
        """(B, M + 1) share of bad ones among those kept; NaN where none is kept."""
        return _share(self.bad, self.kept)

    def aurc(self) -> Floats:
        """(B,) area under the curve of risk against coverage: the mean over n of the risk of the n least doubtful.

        Within a block it is the mean over all orders. With b bad ones among the m poses of a block that follows b0 bad
        ones among n0, that is Σj (b0 + j b/m) / (n0 + j) for j from 1 to m, which harmonic numbers add up.
        """
        before, found = self.kept[:, :-1], np.diff(self.bad, axis=1)
        harmonic = _harmonic(self.kept)
        rate = np.nan_to_num(_share(found, np.diff(self.kept, axis=1)))
        area = found + (self.bad[:, :-1] - before * rate) * np.diff(harmonic[self.kept], axis=1)
        return _share(area.sum(axis=1), self.kept[:, -1])

    def excess_aurc(self) -> Floats:
        """(B,) AURC less that of a doubt that puts every bad pose after every good one (Geifman et al., ICLR 2019)."""
        total, bad = self.kept[:, -1], self.bad[:, -1]
        harmonic, good = _harmonic(self.kept), total - bad
        return self.aurc() - _share(bad - good * (harmonic[total] - harmonic[good]), total)

    def coverage(self, limit: float) -> Floats:
        """(B,) the largest share of poses that can be kept while at most ``limit`` of those kept are bad.

        A block is kept whole or not at all, as a threshold on the doubt would.
        """
        allowed = self.bad <= limit * self.kept + 1e-9
        return _share(np.where(allowed, self.kept, 0).max(axis=1), self.kept[:, -1])

    def risk_at(self, share: float) -> Floats:
        """(B,) share of bad ones among the least doubtful ``share`` of the poses, rounded up to a whole pose."""
        wanted = np.ceil(share * self.kept[:, -1] - 1e-9)[:, None]
        block = np.maximum((self.kept < wanted).sum(axis=1) - 1, 0)[:, None]
        after = np.minimum(block + 1, self.kept.shape[1] - 1)
        kept, end, bad, last = (
            np.take_along_axis(counts, at, axis=1) for counts in (self.kept, self.bad) for at in (block, after)
        )
        part = np.nan_to_num(_share(wanted - kept, end - kept))
        return _share(bad + part * (last - bad), wanted)[:, 0]

    def auroc(self) -> Floats:
        """(B,) probability that a bad pose is doubted more than a good one; equal doubts count one half."""
        found = np.diff(self.bad, axis=1)
        good = self.kept - self.bad
        pairs = found * (good[:, :-1] + good[:, 1:]) / 2
        return _share(pairs.sum(axis=1), self.bad[:, -1] * good[:, -1])


def risk_curve(doubt: ArrayLike, bad: ArrayLike, weights: ArrayLike | None = None) -> RiskCurve:
    """Count poses in the order of their doubt.

    Sorted once, however many ways of counting there are.

    Args:
        doubt: (N,) any numbers, higher for what is doubted more.
        bad: (N,) bool.
        weights: (B, N) how often each pose counts, whole numbers; by default each once.

    Raises:
        InputError: A doubt is NaN, or they are not as many.
    """
    doubts, truth = _pairs(doubt, bad)
    counts = np.ones((1, len(truth)), np.int64) if weights is None else np.asarray(weights, np.int64)
    if counts.ndim != 2 or counts.shape[1] != len(truth):
        raise InputError(f"weights {counts.shape} of {len(truth)} poses are not (B, N)")
    order = np.argsort(doubts, kind="stable")
    ends = np.flatnonzero(np.diff(doubts[order], append=np.nan) != 0)
    counts = counts[:, order]

    def up_to_ends(values: Ints) -> Ints:
        total = np.zeros((len(values), len(ends) + 1), np.int64)
        total[:, 1:] = np.cumsum(values, axis=1)[:, ends] if len(ends) < len(order) else np.cumsum(values, axis=1)
        return total

    return RiskCurve(up_to_ends(counts), up_to_ends(counts * truth[order]))


def equal_mass(probability: ArrayLike, bad: ArrayLike, bins: int = BINS) -> Reliability:
    """Probabilities in bins of equally many poses, against how often they came true; its ``error`` is the ECE.

    Bins of equal mass (Nguyen and O'Connor, EMNLP 2015), because most poses are hardly doubted, and bins of equal width
    would hold them all in one. Equal probabilities that fall into two bins bring the same share of bad poses to both.

    Args:
        probability: (N,) in 0..1.
        bad: (N,) bool.
        bins: How many; fewer where there are fewer poses.

    Raises:
        InputError: A probability is NaN or not in 0..1, or they are not as many.
    """
    said, truth = _pairs(probability, bad)
    if len(said) and not 0 <= said.min() <= said.max() <= 1:
        raise InputError(f"probabilities of {said.min():g} to {said.max():g} are not in 0..1")
    values, place, count = np.unique(said, return_inverse=True, return_counts=True)
    share = np.bincount(place, truth, len(values)) / count
    rows = [some for some in np.array_split(np.sort(place, kind="stable"), bins) if len(some)]
    return Reliability(
        np.array([values[some].mean() for some in rows], np.float64),
        np.array([share[some].mean() for some in rows], np.float64),
        np.array([len(some) for some in rows], np.int64),
    )


def brier_skill(probability: ArrayLike, bad: ArrayLike) -> float:
    """How much smaller the Brier score is than that of always saying the share of bad ones among these very poses.

    1 is perfect, 0 says nothing about any one pose, below 0 misleads; NaN where all are good, or all bad.

    Args:
        probability: (N,) in 0..1.
        bad: (N,) bool.

    Raises:
        InputError: A probability is NaN, or they are not as many.
    """
    said, truth = _pairs(probability, bad)
    rate = truth.mean() if len(truth) else 0.0
    return float(1 - brier(said, truth) / (rate * (1 - rate))) if 0 < rate < 1 else float("nan")


@dataclass(frozen=True, eq=False)
class DoubtQuality:
    """How good the doubts about some poses are.

    Attributes:
        poses: How many.
        bad: Share of them that is bad.
        auroc: Of bad poses; NaN where all are good, or all bad: nothing can be ranked.
        aurc: Area under risk against coverage.
        excess_aurc: The part of it that a perfect doubt would not have.
        coverage: By limit, the share of poses that can be kept with at most so many bad ones among them.
        risk: By coverage, the share of bad ones among those kept.
        brier: Mean squared difference of probability and truth.
        brier_skill: Against the share of bad poses.
        reliability: In bins of equal mass.
    """

    poses: int
    bad: float
    auroc: float
    aurc: float
    excess_aurc: float
    coverage: Mapping[float, float]
    risk: Mapping[float, float]
    brier: float
    brier_skill: float
    reliability: Reliability

    def told(self) -> str:
        """In a line."""
        kept = ", ".join(f"{share:.0%} at {limit:.0%} bad" for limit, share in self.coverage.items())
        return (
            f"{self.poses:,} poses, {self.bad:.1%} bad: AUROC {self.auroc:.3f}, AURC {self.aurc:.4f}, "
            f"can keep {kept}; ECE {self.reliability.error:.3f}, Brier skill {self.brier_skill:.2f}"
        )


def doubt_quality(
    p_bad: ArrayLike, bad: ArrayLike, *, limits: Sequence[float] = LIMITS, shares: Sequence[float] = SHARES
) -> DoubtQuality:
    """All of it.

    Args:
        p_bad: (N,) probabilities; poses without one (NaN) are left out.
        bad: (N,) bool.
        limits: For coverage.
        shares: For risk.

    Raises:
        InputError: No pose has a doubt, a doubt is not in 0..1, or they are not as many.
    """
    doubt, truth = np.asarray(p_bad, np.float64), np.asarray(bad, bool)
    if doubt.ndim != 1 or doubt.shape != truth.shape:
        raise InputError(f"doubts {doubt.shape} and truth {truth.shape} are not (N,) each")
    doubt, truth = doubt[~np.isnan(doubt)], truth[~np.isnan(doubt)]
    if not len(doubt):
        raise InputError("no pose has a doubt to be measured", remedy="Score them first: `autolabel score`.")
    curve = risk_curve(doubt, truth)
    return DoubtQuality(
        poses=len(doubt),
        bad=float(truth.mean()),
        auroc=float(curve.auroc()[0]),
        aurc=float(curve.aurc()[0]),
        excess_aurc=float(curve.excess_aurc()[0]),
        coverage={limit: float(curve.coverage(limit)[0]) for limit in limits},
        risk={share: float(curve.risk_at(share)[0]) for share in shares},
        brier=brier(doubt, truth),
        brier_skill=brier_skill(doubt, truth),
        reliability=equal_mass(doubt, truth),
    )


def _pairs(doubt: ArrayLike, bad: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    doubts, truth = np.asarray(doubt, np.float64), np.asarray(bad, bool)
    if doubts.ndim != 1 or doubts.shape != truth.shape:
        raise InputError(f"doubts {doubts.shape} and truth {truth.shape} are not (N,) each")
    if np.isnan(doubts).any():
        raise InputError(f"doubt {int(np.isnan(doubts).argmax())} is NaN", remedy="Leave out what nothing was said of.")
    return doubts, truth


def _harmonic(counts: Ints) -> Floats:
    """Harmonic numbers 0, 1, 1 + 1/2, ... up to the largest of the counts."""
    most = int(counts.max(initial=0))
    return np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, most + 1))])


def _share(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """One over the other, NaN of nothing."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
