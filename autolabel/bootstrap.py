"""How sure a number is: it is computed again over images drawn with replacement.

The percentile bootstrap (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13) over *clusters*:
images, or groups of images where a corpus has them (frames of one video say nearly the same thing, and would make every
number look surer than it is). A resample draws as many clusters as there are, each any number of times, and everything
in a cluster comes along.

What it cannot know: what never happened. A rate of 0 of 500 has the interval 0 to 0; for a bound that holds then, see
``autolabel.certify.upper_bound``. With few clusters (below about 30) intervals are too narrow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autolabel.average_precision import MatchTables, average_precision, coco_numbers

Floats = NDArray[np.float64]

Name: TypeAlias = tuple[str, ...]
"""Where a number stands in ``metrics.json``, such as ``("coco", "AP")``."""

CONFIDENCE = 0.95
FEW_CLUSTERS = 30
"""With fewer, percentile intervals are said to be too narrow."""

DECIDING_CLUSTERS = 6
"""With fewer, nothing is decided: that all of five favour one side happens by chance once in sixteen times."""

_AT_ONCE = 4_000_000
"""Weights that are held at a time: 32 MB."""


class Statistic(Protocol):
    """S numbers that can be computed over any weighting of the C clusters."""

    @property
    def names(self) -> Sequence[Name]:
        """(S) what they are called."""
        ...

    def over(self, weights: Floats) -> Floats:
        """(B, S) the numbers for (B, C) ways of counting each cluster so many times; NaN for a rate of nothing."""
        ...


@dataclass(frozen=True, eq=False)
class Clusters:
    """What is drawn with replacement.

    Attributes:
        of: (I,) the cluster of each image, counted from 0.
        count: C.
        unit: ``image``, or ``group`` where a cluster holds several images.
    """

    of: NDArray[np.intp]
    count: int
    unit: str

    @property
    def caution(self) -> str:
        """What to beware of where they are few, or ""."""
        if self.count < 2:
            return f"all images are one {self.unit}: nothing can be said about another"
        if self.count < FEW_CLUSTERS:
            decided = ", and nothing is decided" if self.count < DECIDING_CLUSTERS else ""
            return f"only {self.count} {self.unit}s: intervals are too narrow{decided}"
        return ""

    @classmethod
    def from_groups(cls, groups: Sequence[str]) -> "Clusters":
        """Images of one group fall into one cluster; an image without a group (``""``) is one of its own."""
        keys = [(group, -1) if group else ("", i) for i, group in enumerate(groups)]
        index = {key: c for c, key in enumerate(dict.fromkeys(keys))}
        return cls(
            np.array([index[key] for key in keys], np.intp),
            len(index),
            "image" if len(index) == len(groups) else "group",
        )


class Draws:
    """How often each cluster is drawn, resample by resample; iterating again gives the same.

    Resample number b depends on the seed, the number of clusters and b only, so that two sets of poses on the same
    images are drawn alike.

    Args:
        clusters: C.
        resamples: How many.
        seed: Of the draw.
    """

    def __init__(self, clusters: int, resamples: int, seed: int) -> None:
        self._clusters, self._resamples, self._seed = clusters, resamples, seed
        self._kept = [self._block(0, resamples)] if clusters * resamples <= _AT_ONCE else None

    def __iter__(self) -> Iterator[Floats]:
        """(B, C) blocks of whole numbers, together all resamples."""
        if self._kept is not None:
            yield from self._kept
            return
        size = max(1, _AT_ONCE // self._clusters)
        for start in range(0, self._resamples, size):
            yield self._block(start, min(start + size, self._resamples))

    def of(self, statistic: Statistic) -> Floats:
        """(resamples, S) the statistic over each resample."""
        return np.concatenate([statistic.over(weights) for weights in self])

    def _block(self, start: int, end: int) -> Floats:
        rows = [self._draw(b) for b in range(start, end)]
        return np.array(rows, np.float64).reshape(end - start, self._clusters)

    def _draw(self, b: int) -> NDArray[np.intp]:
        drawn = np.random.default_rng([self._seed, b]).integers(0, self._clusters, self._clusters)
        return np.bincount(drawn, minlength=self._clusters)


def percentiles(values: Floats, confidence: float = CONFIDENCE) -> Floats:
    """(2, S) lower and upper end of the middle share of (B, S) resampled values.

    Resamples in which a number does not exist (NaN: a rate of nothing) are left out; NaN where it never exists.
    """
    tail = 100 * (1 - confidence) / 2
    ends = np.full((2, values.shape[1]), np.nan)
    known = ~np.isnan(values).all(axis=0)
    if known.any():
        ends[:, known] = np.nanpercentile(values[:, known], [tail, 100 - tail], axis=0)
    return ends


@dataclass(frozen=True, eq=False)
class Ratios:
    """S numbers that are one sum over another: rates, shares and means.

    Attributes:
        names: (S)
        part: (C, S) what each cluster adds above.
        whole: (C, S) what it adds below.
    """

    names: Sequence[Name]
    part: Floats
    whole: Floats

    def over(self, weights: Floats) -> Floats:
        """(B, S)."""
        above, below = weights @ self.part, weights @ self.whole
        return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


class Medians:
    """S medians of values that belong to clusters.

    Args:
        names: (S)
        columns: S arrays of values, without NaN.
        clusters: S arrays, the cluster of each value.
    """

    def __init__(self, names: Sequence[Name], columns: Sequence[Floats], clusters: Sequence[NDArray[np.intp]]) -> None:
        self._names = tuple(names)
        orders = [np.argsort(values, kind="stable") for values in columns]
        self._values = [values[order] for values, order in zip(columns, orders, strict=True)]
        self._clusters = [cluster[order] for cluster, order in zip(clusters, orders, strict=True)]

    @property
    def names(self) -> Sequence[Name]:
        """(S)."""
        return self._names

    def over(self, weights: Floats) -> Floats:
        """(B, S) where the count is even, the mean of the two in the middle."""
        columns = zip(self._values, self._clusters, strict=True)
        return np.stack([_weighted_medians(values, cluster, weights) for values, cluster in columns], axis=1)


@dataclass(frozen=True, eq=False)
class Precisions:
    """COCO's ten numbers, and what a perfect confidence would add to AP.

    Attributes:
        names: COCO's ten, AP with a perfect confidence, and the difference to AP.
        tables: With the poses' own scores.
        perfect: With each pose's OKS in place of its score.
        clusters: (I,) of each image.
    """

    names: Sequence[Name]
    tables: MatchTables
    perfect: MatchTables
    clusters: NDArray[np.intp]

    def over(self, weights: Floats) -> Floats:
        """(B, 12)."""
        images = weights[:, self.clusters]
        own = coco_numbers(self.tables, images)
        perfect = average_precision(self.perfect, images)[:, None]
        return np.concatenate([own, perfect, perfect - own[:, :1]], axis=1)


def _weighted_medians(values: Floats, cluster: NDArray[np.intp], weights: Floats) -> Floats:
    """(B,) medians of n ascending values that count as often as (B, C) weights say of their clusters."""
    medians = np.full(len(weights), np.nan)
    rows = max(1, _AT_ONCE // max(len(values), 1))
    for start in range(0, len(weights) if len(values) else 0, rows):
        until = np.cumsum(weights[start : start + rows][:, cluster], axis=1)
        total = until[:, -1:]
        low, high = ((until < middle).sum(axis=1) for middle in ((total + 1) // 2, total // 2 + 1))
        high = np.minimum(high, len(values) - 1)
        medians[start : start + rows] = np.where(total[:, 0] > 0, values[low] / 2 + values[high] / 2, np.nan)
    return medians
