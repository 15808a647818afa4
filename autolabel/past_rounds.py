"""What rounds of reviews were expected to find and what they found, in a form that is kept with the round.

A forecast is worth what earlier ones were worth. So each round leaves a :class:`Past`: the doubts as they stood before
anybody looked, in short, and the counts of what people found. :mod:`autolabel.planner` learns from them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.effort import COSTS, Costs
from autolabel.errors import InputError
from autolabel.forecast_ratio import Sum

Floats = NDArray[np.float64]

_BLOCKS = 64
"""Doubts are kept as the means of so many blocks of equal size."""


@dataclass(frozen=True)
class Doubts:
    """The doubts of n poses in short: blocks of poses of nearly the same doubt.

    Attributes:
        mean: (B,) mean ``p_bad`` of each block, ascending.
        count: (B,) poses in it.
    """

    mean: tuple[float, ...]
    count: tuple[int, ...]

    @classmethod
    def of(cls, p_bad: Floats) -> "Doubts":
        """Of (n,) probabilities, none of them NaN."""
        blocks = [block for block in np.array_split(np.sort(p_bad), min(_BLOCKS, max(len(p_bad), 1))) if len(block)]
        return cls(tuple(float(block.mean()) for block in blocks), tuple(len(block) for block in blocks))

    @property
    def sum(self) -> Sum:
        """The number of bad poses among them."""
        return Sum.of_events(np.array(self.mean, np.float64), np.array(self.count, np.float64))


@dataclass(frozen=True)
class Past:
    """What one round of reviews was expected to find, by the doubts as they stood before it, and what it found.

    Attributes:
        doubts: Of the poses that were reviewed.
        bad: How many of them were bad.
        expected_gross: Σ ``p_gross``.
        gross: Gross keypoints that were found.
        gross_squares: Sum of the squares of their numbers in each pose.
        expected_seconds: By the costs and the expected fixes.
        seconds: How long it took; None where nobody took the time.
    """

    doubts: Doubts
    bad: int
    expected_gross: float
    gross: int
    gross_squares: int
    expected_seconds: float
    seconds: float | None = None

    @property
    def reviews(self) -> int:
        """Poses that were reviewed and had a doubt."""
        return sum(self.doubts.count)

    @classmethod
    def of(
        cls,
        p_bad: ArrayLike,
        p_gross: ArrayLike,
        bad: ArrayLike,
        gross: ArrayLike,
        seconds: ArrayLike | None = None,
        *,
        by_hand: ArrayLike = False,
        costs: Costs = COSTS,
    ) -> "Past":
        """A round from its n reviews; poses without a ``p_bad`` are left out, nothing was foretold of them.

        Args:
            p_bad: (n,) before the review.
            p_gross: (n, K) before the review.
            bad: (n,) whether the pose was bad.
            gross: (n,) how many gross keypoints it had.
            seconds: (n,) how long it took; NaN where that is not known: such a round says nothing about time.
            by_hand: (n,) whether it was shown without a pre-label, so that all K keypoints were placed; or one for all.
            costs: Seconds of looking and fixing.

        Raises:
            InputError: Shapes do not fit, probabilities are none, or counts are impossible.
        """
        doubt, fixes, known = known_doubts(p_bad, p_gross)
        happened = [np.asarray(value, np.float64) for value in (bad, gross, 0 * known if seconds is None else seconds)]
        if any(value.shape != known.shape or (value < 0).any() for value in happened):
            raise InputError("bad, gross and seconds need a number, 0 or more, for each reviewed pose")
        was_bad, found, spent = (value[known] for value in happened)
        if np.isnan(was_bad).any() or np.isnan(found).any():
            raise InputError("bad and gross were counted for each reviewed pose: never NaN")
        return cls(
            doubts=Doubts.of(doubt),
            bad=int((was_bad > 0).sum()),
            expected_gross=float(fixes.sum()),
            gross=int(found.sum()),
            gross_squares=int((found**2).sum()),
            expected_seconds=expected_seconds(p_bad, p_gross, by_hand, costs),
            seconds=None if seconds is None or not np.isfinite(spent).all() else float(spent.sum()),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Past":
        """From the JSON form."""
        doubts: Any = Doubts(tuple(data["doubts"]["mean"]), tuple(data["doubts"]["count"]))
        return cls(**{**data, "doubts": doubts})


def expected_seconds(p_bad: ArrayLike, p_gross: ArrayLike, by_hand: ArrayLike, costs: Costs) -> float:
    """What n reviews should take: a look at each, and every gross keypoint put right, or all K placed.

    Args:
        p_bad: (n,); reviews without one (NaN) are left out.
        p_gross: (n, K); NaN counts as 0.
        by_hand: (n,) whether the pose is shown without a pre-label; or one for all.
        costs: Seconds of looking and fixing.
    """
    _, fixes, known = known_doubts(p_bad, p_gross)
    placed = np.broadcast_to(np.asarray(by_hand, bool), known.shape)[known]
    acts = np.where(placed, np.asarray(p_gross).shape[1], fixes)
    return float((costs.view + costs.fix * acts).sum())


def known_doubts(p_bad: ArrayLike, p_gross: ArrayLike) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """What can be foretold of poses.

    Returns:
        (n,) ``p_bad`` of those that have one, (n,) Σ ``p_gross`` of these, and (N,) which they are.

    Raises:
        InputError: Shapes do not fit, or the numbers are no probabilities.
    """
    doubt, gross = np.asarray(p_bad, np.float64), np.asarray(p_gross, np.float64)
    if doubt.ndim != 1 or gross.ndim != 2 or len(doubt) != len(gross):
        raise InputError(f"p_bad has shape {doubt.shape}, p_gross {gross.shape}, expected (N,) and (N, K)")
    if any(((values < 0) | (values > 1)).any() for values in (doubt, gross)):
        raise InputError("p_bad and p_gross are probabilities: 0..1")
    known = np.asarray(np.isfinite(doubt))
    return doubt[known], np.nansum(gross[known], axis=1), known
