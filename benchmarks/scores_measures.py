"""Measures of doubt over many draws of the same images, and what one doubt gains over another.

All measures of all doubts are computed on the same draws (a *paired* bootstrap): images that are hard for both doubts
then do not blur what separates them. Poses are sorted once for each doubt, and every draw only counts them anew.

Several splits of a pool are one measurement: a draw is of the corpus's images, each split counts those that it held
out, and the mean over the splits is what has an interval.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from autolabel.bootstrap import Draws, percentiles
from autolabel.presence import brier
from autolabel.score_quality import LIMITS, SHARES, equal_mass, risk_curve

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

COVERAGE: Mapping[str, float] = {f"coverage at {limit:.0%}": limit for limit in LIMITS}
RISK: Mapping[str, float] = {f"risk at {share:.0%}": share for share in SHARES}

BETTER: Mapping[str, int] = {
    "AURC": -1,
    "excess AURC": -1,
    "AUROC": 1,
    "Spearman": 1,
    "Brier skill": 1,
    **dict.fromkeys(COVERAGE, 1),
    **dict.fromkeys(RISK, -1),
}
"""Every measure that is drawn again; 1 where more is better, -1 where less is."""


@dataclass(frozen=True, eq=False)
class Held:
    """The held-out poses of one split, with what each doubt says of them.

    Attributes:
        bad: (N,) bad poses.
        oks: (N,) NaN where nothing is labelled.
        clusters: (N,) image of each, counted over the whole corpus.
        doubts: (N,) by arm.
        strata: (N,) masks.
    """

    bad: Bools
    oks: Floats
    clusters: NDArray[np.intp]
    doubts: Mapping[str, Floats]
    strata: Mapping[str, Bools]

    def stratum(self, name: str) -> "Held":
        """The poses of a stratum."""
        mask = self.strata[name]
        doubts = {arm: values[mask] for arm, values in self.doubts.items()}
        strata = {other: values[mask] for other, values in self.strata.items()}
        return Held(self.bad[mask], self.oks[mask], self.clusters[mask], doubts, strata)


@dataclass(frozen=True)
class Gain:
    """How much better one doubt is than another: above 0 is better, whatever the measure.

    Attributes:
        value: Mean over the splits.
        low: Lower end of the 95 % interval.
        high: Upper end.
        splits: Of each split.
    """

    value: float
    low: float
    high: float
    splits: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Measured:
    """Measures of every doubt.

    Attributes:
        arms: A names.
        measures: S names.
        points: (splits, A, S) of the held-out poses themselves.
        draws: (resamples, A, S) mean over the splits in each draw.
    """

    arms: Sequence[str]
    measures: Sequence[str]
    points: Floats
    draws: Floats

    def value(self, measure: str, arm: str) -> float:
        """Mean over the splits."""
        return float(self.points[:, self.arms.index(arm), self.measures.index(measure)].mean())

    def interval(self, measure: str, arm: str) -> tuple[float, float]:
        """95 %, of the mean over the splits."""
        low, high = percentiles(self.draws[:, self.arms.index(arm)])[:, self.measures.index(measure)]
        return float(low), float(high)

    def gain(self, measure: str, one: str, other: str) -> Gain:
        """Of one doubt over the other."""
        a, b, s = self.arms.index(one), self.arms.index(other), self.measures.index(measure)
        sign = BETTER[measure]
        splits = sign * (self.points[:, a, s] - self.points[:, b, s])
        low, high = percentiles(sign * (self.draws[:, a, s] - self.draws[:, b, s])[:, None])[:, 0]
        return Gain(float(splits.mean()), float(low), float(high), tuple(splits.tolist()))


def measured(
    held: Sequence[Held], *, clusters: int, resamples: int, seed: int = 0, measures: Sequence[str] = tuple(BETTER)
) -> Measured:
    """Measure every doubt of some splits, on their poses and on draws of the images.

    Args:
        held: One or more splits of one corpus, with the same arms.
        clusters: Images of the corpus.
        resamples: Draws.
        seed: Of the draws.
        measures: The only ones to measure, for each costs time.
    """
    points = np.stack([over(split, None, measures)[0] for split in held])
    blocks = [
        np.mean([over(split, weights[:, split.clusters], measures) for split in held], axis=0)
        for weights in (drawn.astype(np.int64) for drawn in Draws(clusters, resamples, seed))
    ]
    draws = np.concatenate(blocks) if blocks else np.empty((0, *points.shape[1:]))
    return Measured(list(held[0].doubts), tuple(measures), points, draws)


def over(held: Held, weights: Ints | None = None, measures: Sequence[str] = tuple(BETTER)) -> Floats:
    """(B, A, S) measures of every doubt over (B, N) ways of counting the poses; by default each once."""
    counts = np.ones((1, len(held.bad)), np.int64) if weights is None else weights
    return np.stack([_over(held, doubt, counts, measures) for doubt in held.doubts.values()], axis=1)


def _over(held: Held, doubt: Floats, weights: Ints, measures: Sequence[str]) -> Floats:
    """(B, S) measures of one doubt."""
    curve = risk_curve(doubt, held.bad, weights)
    how: dict[str, Callable[[], Floats]] = {
        "AURC": curve.aurc,
        "excess AURC": curve.excess_aurc,
        "AUROC": curve.auroc,
        "Spearman": lambda: spearman(doubt, held.oks, weights),
        "Brier skill": lambda: _brier_skill(doubt, held.bad, weights),
        **{name: partial(curve.coverage, limit) for name, limit in COVERAGE.items()},
        **{name: partial(curve.risk_at, share) for name, share in RISK.items()},
    }
    return np.stack([how[name]() for name in measures], axis=1)


def spearman(doubt: Floats, oks: Floats, weights: Ints) -> Floats:
    """(B,) rank correlation of being trusted with OKS, ties ranked by their mean; poses without OKS are left out.

    Args:
        doubt: (N,).
        oks: (N,).
        weights: (B, N) how often each pose counts.
    """
    known = ~np.isnan(oks)
    counts = weights[:, known]
    a, b = _ranks(-doubt[known], counts), _ranks(oks[known], counts)
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    a -= (a * counts).sum(axis=1, keepdims=True) / total
    b -= (b * counts).sum(axis=1, keepdims=True) / total
    both, one, other = (np.einsum("bn,bn,bn->b", counts, x, y) for x, y in ((a, b), (a, a), (b, b)))
    spread = np.sqrt(one * other)
    return np.divide(both, spread, out=np.full(len(weights), np.nan), where=spread > 0)


def _ranks(values: Floats, weights: Ints) -> Floats:
    """(B, N) mean ranks, from 1/2, of values that count so often."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    until = np.cumsum(weights[:, np.argsort(place, kind="stable")], axis=1)[:, np.cumsum(count) - 1]
    middle = (until + np.concatenate([np.zeros((len(weights), 1), np.int64), until[:, :-1]], axis=1)) / 2
    return middle[:, place]


def _brier_skill(probability: Floats, bad: Bools, weights: Ints) -> Floats:
    """(B,) against the share of bad poses in each draw."""
    total = weights.sum(axis=1)
    rate, error = (
        np.divide(weights @ values, total, out=np.full(len(weights), np.nan), where=total > 0)
        for values in (bad.astype(np.float64), (probability - bad) ** 2)
    )
    spread = rate * (1 - rate)
    return 1 - np.divide(error, spread, out=np.full(len(weights), np.nan), where=spread > 0)


def calibration(held: Sequence[Held], arm: str) -> dict[str, float]:
    """Brier score and ECE (15 bins of equal mass), means over the splits; no draws, for an ECE grows by them."""
    return {
        "Brier": float(np.mean([brier(split.doubts[arm], split.bad) for split in held])),
        "ECE": float(np.mean([equal_mass(split.doubts[arm], split.bad).error for split in held])),
    }
