"""Choose how much doubt to accept, from checked poses alone, so that the choice itself keeps the promise.

Taking the loosest threshold at which few enough of the checked poses are bad breaks the promise: it is the luckiest of
many. Learn-then-test decides before it looks: the thresholds are listed from strict to loose, each is a hypothesis ("of
the poses with this much doubt or less, more than ``max_bad`` are bad"), and they are tested in that order at the full
δ until the first that is not refuted. The last one that was refuted is the answer. A false one can only be accepted if
the first false one in the list is, so the chance of that is at most δ, whatever the list's length and whether or not
doubt orders the poses well.

The promise is about poses like the checked ones, drawn independently from where these were drawn; for one finite corpus
an audit of what was accepted (autolabel/bounds.py) says more. The checked poses must be drawn uniformly, and must not
have trained the network or its calibrator.

Source: A. Angelopoulos, S. Bates, E. Candès, M. Jordan and L. Lei, "Learn then Test: Calibrating predictive algorithms
to achieve risk control", arXiv 2110.01052 (2021), sections 2 and 3.2; the Hoeffding-Bentkus p-value after S. Bates et
al., "Distribution-free, risk-controlling prediction sets", Journal of the ACM 68 (2021).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, rel_entr  # pyright: ignore[reportMissingTypeStubs]  # it has none

from autolabel.errors import InputError


@dataclass(frozen=True)
class Learnt:
    """What learn-then-test chose.

    Attributes:
        threshold: Highest score to accept; None when nothing may be accepted.
        p_values: (L,) one a threshold, in the given order; all of them, also those behind the first that failed.
        accepted: How many of the checked poses the threshold accepts.
    """

    threshold: float | None
    p_values: tuple[float, ...]
    accepted: int


def learn_then_test(
    score: ArrayLike, loss: ArrayLike, thresholds: ArrayLike, max_bad: float, confidence: float = 0.95
) -> Learnt:
    """The loosest threshold whose accepted poses lose at most ``max_bad`` on average, with the confidence.

    Args:
        score: (N,) doubt of the checked poses, such as ``p_bad``; low is good. NaN is never accepted.
        loss: (N,) what each of them loses, in 0..1; where all are 0 or 1 the test is the exact binomial one, otherwise
            Hoeffding-Bentkus.
        thresholds: (L,) strict to loose, fixed before the losses were seen. Start where a few hundred poses are
            accepted: a first threshold with too few ends the walk.
        max_bad: The mean loss that is allowed.
        confidence: 1 - δ.

    Raises:
        InputError: Lengths that differ, a loss outside 0..1, thresholds that fall, or a share or a confidence outside
            (0, 1).
    """
    doubt, losses = np.asarray(score, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    limits = np.asarray(thresholds, dtype=np.float64)
    if doubt.ndim != 1 or doubt.shape != losses.shape:
        raise InputError(f"scores of shape {doubt.shape}, losses of shape {losses.shape}: one of each a pose")
    if not ((losses >= 0) & (losses <= 1)).all():
        raise InputError("losses are numbers from 0 to 1")
    if limits.ndim != 1 or np.isnan(limits).any() or (np.diff(limits) < 0).any():
        raise InputError("thresholds are numbers from strict to loose")
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}", remedy="Give a number between 0 and 1, such as 0.95.")
    _check_share(max_bad)

    order = np.argsort(doubt)  # NaN last
    tried = np.searchsorted(doubt[order], limits, side="right")
    lost = np.concatenate([[0.0], np.cumsum(losses[order])])[tried]
    if np.isin(losses, (0, 1)).all():
        p_values = [binomial_p(round(k), int(n), max_bad) for k, n in zip(lost, tried, strict=True)]
    else:
        p_values = [
            hoeffding_bentkus_p(min(k / max(n, 1), 1.0), int(n), max_bad) for k, n in zip(lost, tried, strict=True)
        ]
    last = fixed_sequence([p <= 1 - confidence for p in p_values])
    return Learnt(
        threshold=float(limits[last]) if last >= 0 else None,
        p_values=tuple(p_values),
        accepted=int(tried[last]) if last >= 0 else 0,
    )


def fixed_sequence(passed: Sequence[bool]) -> int:
    """Index of the last one that passes before the first that fails; -1 if there is none."""
    return next((i for i, holds in enumerate(passed) if not holds), len(passed)) - 1


def binomial_p(bad: int, tried: int, max_bad: float) -> float:
    """P(Binomial(tried, max_bad) <= bad): how well so few bad ones would fit a share of ``max_bad`` or more.

    Raises:
        InputError: More bad than tried, or a share outside (0, 1).
    """
    _check_share(max_bad)
    if not 0 <= bad <= tried:
        raise InputError(f"{bad} bad of {tried} poses")
    return float(cast("Any", bdtr)(bad, tried, max_bad))


def hoeffding_bentkus_p(mean: float, tried: int, max_bad: float) -> float:
    """The same for losses anywhere in 0..1, with R their mean, n = tried and α = max_bad.

    min(exp(-n h(min(R, α), α)), e P(Binomial(n, α) <= ⌈n R⌉)) with h(a, b) = a ln(a/b) + (1-a) ln((1-a)/(1-b)).

    Raises:
        InputError: A mean outside 0..1, a negative count, or a share outside (0, 1).
    """
    _check_share(max_bad)
    if not 0 <= mean <= 1 or tried < 0:
        raise InputError(f"a mean loss of {mean} over {tried} poses")
    low = min(mean, max_bad)
    divergence = cast("NDArray[np.float64]", rel_entr([low, 1 - low], [max_bad, 1 - max_bad])).sum()
    bad = math.ceil(tried * mean * (1 - 1e-12))  # the mean of n whole losses may be rounded up
    return min(math.exp(-tried * float(divergence)), math.e * binomial_p(bad, tried, max_bad), 1.0)


def _check_share(max_bad: float) -> None:
    if not 0 < max_bad < 1:
        raise InputError(f"max_bad is {max_bad}", remedy="Give a share between 0 and 1, such as 0.02 for 2 %.")
