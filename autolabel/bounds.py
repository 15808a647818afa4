"""How many of a population can be bad, given what was found in a part of it that was drawn at random.

Nothing is assumed about the poses, the images or the model: the only chance in these limits is the draw. From a finite
population, without replacement, the hypergeometric distribution gives them exactly; with replacement, or from an
unlimited one, the binomial does. Where people overlook bad poses, ``sensitivity`` is the least share of them that they
are known to find, and the limits grow accordingly (autolabel/reviewers.py measures it).

Sources: C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of
the binomial", Biometrika 26 (1934); the exact hypergeometric test is inverted in the same way.
"""

import math
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betaincinv  # pyright: ignore[reportMissingTypeStubs]  # it has none

from autolabel.errors import InputError

_NEGLIGIBLE = 45.0
"""A chance of exp(-45), 3e-20: terms that are less likely than this together are left out of the sums."""

_TIE = 1e-10
"""Relative distance from δ below which rounding could decide; such cases are decided exactly, or to the safe side."""

_EXACT = 20_000
"""Largest population for which a tie is decided in exact integers."""


def upper_bound(
    bad: int, audited: int, population: int | None = None, confidence: float = 0.95, *, sensitivity: float = 1.0
) -> float:
    """One-sided upper limit of the share of bad poses in the whole population.

    With δ = 1 - confidence, M = population, m = audited, k = bad, L = sensitivity:

    * drawn without replacement from a finite population: D⁺ / M, see :func:`most_bad`; exact, never approximated by a
      binomial;
    * no population given, or drawn with replacement: Clopper-Pearson, the (1-δ)-quantile of Beta(k+1, m-k). That
      limits the share of poses that are bad and would be found; the share of bad ones is at most that, over L.

    Whatever the true share is, the chance that a draw gives a limit below it is at most δ.

    Args:
        bad: Bad poses found in the audit.
        audited: Poses in the audit.
        population: Poses that the audit was drawn from, the audited ones among them; None when unlimited.
        confidence: 1 - δ.
        sensitivity: The least chance that a bad pose of the audit is found to be bad.

    Returns:
        A share in 0..1; 1.0 when nothing was audited, ``bad / population`` when everything was by people who
        overlook nothing.

    Raises:
        InputError: Counts that contradict each other, a confidence outside (0, 1), a sensitivity outside [0, 1].
    """
    bad, audited = _counts(bad, audited, population, confidence, sensitivity)
    if audited == 0:
        return 1.0
    if population is not None:
        return most_bad(bad, audited, population, confidence, sensitivity=sensitivity) / population
    found = 1.0 if bad == audited else float(betaincinv(bad + 1, audited - bad, confidence))
    return 1.0 if found >= sensitivity else found / sensitivity


def lower_bound(found: int, tried: int, confidence: float = 0.95) -> float:
    """One-sided lower limit of a share, Clopper-Pearson: the δ-quantile of Beta(found, tried - found + 1).

    Args:
        found: How often it came true.
        tried: How often it was tried, independently and at the same chance or a larger one.
        confidence: 1 - δ.

    Returns:
        A share in 0..1 that exceeds the true one with a chance of at most δ; 0.0 when nothing was tried.

    Raises:
        InputError: More found than tried, or a confidence outside (0, 1).
    """
    found, tried = _counts(found, tried, None, confidence)
    return float(betaincinv(found, tried - found + 1, 1 - confidence)) if found else 0.0


def residual_bound(
    bad: int,
    audited: int,
    population: int,
    confidence: float = 0.95,
    *,
    rejected: int = 0,
    corrected: int | None = None,
    sensitivity: float = 1.0,
) -> float:
    """Upper limit of the share that is still bad after the audit's own corrections: (D⁺ - corrected) / (M - rejected).

    It holds at the same confidence as D⁺, whoever decides what is corrected and when, given that a corrected pose is
    no longer bad. Poses that are called bad and "corrected" although they were good do it no harm: one more bad pose
    in the population makes at most one more be found, so D⁺(k + 1) >= D⁺(k) + 1 (or D⁺ is all of M), and a false
    alarm adds at least as much to D⁺ as it takes off.

    Args:
        bad: Bad poses found in the audit, k.
        audited: Poses in the audit.
        population: Poses before the corrections, M.
        confidence: 1 - δ.
        rejected: How many of the bad ones were thrown out rather than corrected.
        corrected: How many of the bad ones are no longer in the population as they were, the rejected ones among
            them; all of them if None.
        sensitivity: As in :func:`most_bad`.

    Returns:
        A share in 0..1; 1.0 when nothing was audited, 0.0 when everything was audited by people who overlook nothing
        and corrected, or thrown out.

    Raises:
        InputError: As :func:`upper_bound`, more rejected than corrected, or more corrected than bad.
    """
    bad, audited = _counts(bad, audited, population, confidence, sensitivity)
    corrected = bad if corrected is None else corrected
    if not 0 <= rejected <= bad:
        raise InputError(f"{rejected} rejected of {bad} bad poses: every rejected pose is a bad one")
    if not rejected <= corrected <= bad:
        raise InputError(f"{corrected} corrected of {bad} bad poses, {rejected} of them rejected")
    if audited == 0:
        return 1.0
    left = population - rejected
    most = most_bad(bad, audited, population, confidence, sensitivity=sensitivity)
    return (most - corrected) / left if left else 0.0


def most_bad(bad: int, audited: int, population: int, confidence: float = 0.95, *, sensitivity: float = 1.0) -> int:
    """D⁺: the largest number of bad poses in the population that the audit does not rule out.

    With j the bad poses that the audit holds and L the least chance that one of them is found, independently of the
    others, the number found, K, is at least (in distribution) binomial:

        P(K <= k | D) <= Σ_j P(X = j) P(B_j <= k),  X ~ Hypergeometric(M, D, m),  B_j ~ Binomial(j, L)

    and D⁺ is the largest D for which the right side exceeds δ. With L = 1 that is P(X <= k), the exact test. The right
    side falls when D grows and when L does, so D⁺ holds for reviewers who find more than L too.

    Args:
        bad: Bad poses found in the audit, k.
        audited: Poses in the audit, m.
        population: Poses it was drawn from, M.
        confidence: 1 - δ.
        sensitivity: L.

    Returns:
        A number of poses in ``bad``..``population``.

    Raises:
        InputError: As :func:`upper_bound`.
    """
    bad, audited = _counts(bad, audited, population, confidence, sensitivity)
    return _most_bad(bad, audited, int(population), float(confidence), float(sensitivity))


def audit_size(
    max_bad: float,
    confidence: float = 0.95,
    expected_bad: int = 0,
    population: int | None = None,
    *,
    sensitivity: float = 1.0,
) -> int:
    """The smallest audit that proves ``max_bad`` when it finds ``expected_bad`` bad poses.

    Args:
        max_bad: The share that may be bad.
        confidence: 1 - δ.
        expected_bad: Bad poses that the audit is expected to find.
        population: Poses that it is drawn from: then :func:`residual_bound` has to pass, even if all bad ones
            are thrown out. Otherwise the Clopper-Pearson limit has to.
        sensitivity: As in :func:`most_bad`.

    Returns:
        A number of poses, never more than the population: an audit of everything by people who overlook nothing is
        always enough. With a sensitivity below 1 it need not be; then it is ``population + 1``.

    Raises:
        InputError: A share or a confidence outside (0, 1), more bad poses than there are poses, or no population and
            a sensitivity of 0, when no audit is enough.
    """
    if not 0 < max_bad < 1:
        raise InputError(f"max_bad is {max_bad}", remedy="Give a share between 0 and 1, such as 0.02 for 2 %.")
    _counts(expected_bad, expected_bad, population, confidence, sensitivity)

    def too_small(audited: int) -> bool:
        if population is None:
            return upper_bound(expected_bad, audited, None, confidence, sensitivity=sensitivity) > max_bad
        limit = residual_bound(
            expected_bad, audited, population, confidence, rejected=expected_bad, sensitivity=sensitivity
        )
        return limit > max_bad

    if population is not None:
        if sensitivity < 1 and too_small(population):
            return population + 1
        return _last(expected_bad - 1, population - 1, too_small) + 1
    if sensitivity == 0:
        raise InputError("no audit proves anything if bad poses are never found", remedy="Measure the reviewers.")
    enough = expected_bad + 1
    while too_small(enough):
        enough *= 2
    return _last(expected_bad, enough, too_small) + 1


@lru_cache(maxsize=65536)
def _most_bad(bad: int, audited: int, population: int, confidence: float, sensitivity: float) -> int:
    delta = 1 - confidence
    # No fewer than were found; and beside them at most all that were not audited, unless some were overlooked.
    most = population - audited + bad if sensitivity == 1 else population
    if bad == audited or sensitivity == 0:
        return most
    found = float(betaincinv(bad + 1, audited - bad, confidence))
    near = min(max(round(population * found / max(sensitivity, found)), bad), most)
    overlooked = _as_few_found(bad, audited, sensitivity)

    def possible(d: int) -> bool:
        chance = _chance(overlooked, d, audited, population)
        if abs(chance - delta) > _TIE * delta:
            return chance > delta
        return sensitivity < 1 or population > _EXACT or _exceeds(bad, d, audited, population, delta)

    # The limit of an unlimited population is close, and mostly above: look there first.
    step = 1 + near // 16
    while near > bad and not possible(near):
        most, near, step = near - 1, max(bad, near - step), 2 * step
    low = near
    while low < most and possible(min(most, low + step)):
        low, step = min(most, low + step), 2 * step
    return _last(low, min(most, low + step), possible)


def _as_few_found(bad: int, audited: int, sensitivity: float) -> NDArray[np.float64]:
    """(J,) chance that at most ``bad`` of j bad poses are found, for j = 0..J-1; negligible from J on."""
    if sensitivity == 1:
        return np.ones(bad + 1)
    # As many as leave a chance of exp(-45): Chernoff's bound, k = Lj - t with t² / (2Lj) = 45.
    last = math.ceil((math.sqrt(_NEGLIGIBLE / 2) + math.sqrt(_NEGLIGIBLE / 2 + bad)) ** 2 / sensitivity)
    j = np.arange(bad + 1, min(audited, last) + 1)
    return np.concatenate([np.ones(bad + 1), cast("NDArray[np.float64]", cast("Any", bdtr)(bad, j, sensitivity))])


def _chance(few: NDArray[np.float64], bad: int, audited: int, population: int) -> float:
    """Σ_j P(X = j) few_j for X ~ Hypergeometric(population, bad, audited).

    The probabilities come from their ratios, P(X = j+1) / P(X = j) = (D-j)(m-j) / ((j+1)(M-D-m+j+1)), over all j but
    those that are negligible by Bernstein's bound, and are divided by their sum: no large factorials lose digits.
    """
    mean = audited * bad / population
    aside = math.sqrt(2 * _NEGLIGIBLE * mean)
    low = max(0, audited + bad - population, math.floor(mean - aside))
    if low >= len(few):
        return 0.0
    above = _NEGLIGIBLE / 3 + math.sqrt((_NEGLIGIBLE / 3) ** 2 + 2 * _NEGLIGIBLE * mean)
    high = min(bad, audited, math.ceil(mean + above))
    j = np.arange(low, high, dtype=np.float64)
    ratio = (bad - j) * (audited - j) / ((j + 1) * (population - bad - audited + j + 1))
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratio))])
    weights = np.exp(logs - logs.max())
    within = few[low : high + 1]
    return float(weights[: len(within)] @ within / weights.sum())


def _exceeds(bad: int, d: int, audited: int, population: int, delta: float) -> bool:
    """P(X <= bad) > δ in exact integers, by counting the draws."""
    good = population - d
    ways = sum(math.comb(d, j) * math.comb(good, audited - j) for j in range(max(0, audited - good), bad + 1))
    over, under = delta.as_integer_ratio()
    return ways * under > over * math.comb(population, audited)


def _counts(
    bad: int, audited: int, population: int | None, confidence: float, sensitivity: float = 1.0
) -> tuple[int, int]:
    try:
        bad, audited = operator.index(bad), operator.index(audited)
        limit = audited if population is None else operator.index(population)
    except TypeError as error:
        raise InputError(f"bad, audited and population are counts of poses: {error}") from error
    if not 0 <= bad <= audited:
        raise InputError(f"{bad} bad of {audited} audited poses")
    if audited > limit:
        raise InputError(f"{audited} audited of {limit} poses: an audit is drawn without replacement")
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}", remedy="Give a number between 0 and 1, such as 0.95.")
    if not 0 <= sensitivity <= 1:
        raise InputError(f"sensitivity is {sensitivity}", remedy="Give a share of bad poses that are found, 0 to 1.")
    return bad, audited


def _last(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The largest of low..high that holds, where low does and none does after the first that does not."""
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low
