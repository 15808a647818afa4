"""How many of a population can be bad, given what was found in a part of it that was drawn at random.

Nothing is assumed about the poses, the images or the model: the only chance in these limits is the draw. From a finite
population, without replacement, the hypergeometric distribution gives them exactly; with replacement, or from an
unlimited one, the binomial does.

Sources: C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of
the binomial", Biometrika 26 (1934); the exact hypergeometric test is inverted in the same way.
"""

import operator
from collections.abc import Callable
from typing import Any, cast

from autolabel.errors import InputError


def upper_bound(bad: int, audited: int, population: int | None = None, confidence: float = 0.95) -> float:
    """One-sided upper limit of the share of bad poses in the whole population.

    With δ = 1 - confidence, M = population, m = audited, k = bad:

    * drawn without replacement from a finite population: D⁺ / M with D⁺ = max{D : P(X <= k) > δ}, where
      X ~ Hypergeometric(M, D, m); exact, never approximated by a binomial;
    * no population given, or drawn with replacement: Clopper-Pearson, the (1-δ)-quantile of Beta(k+1, m-k).

    Whatever the true share is, the chance that a draw gives a limit below it is at most δ.

    Args:
        bad: Bad poses found in the audit.
        audited: Poses in the audit.
        population: Poses that the audit was drawn from, the audited ones among them; None when unlimited.
        confidence: 1 - δ.

    Returns:
        A share in 0..1; 1.0 when nothing was audited, ``bad / population`` when everything was.

    Raises:
        InputError: Counts that contradict each other, or a confidence outside (0, 1).
    """
    bad, audited = _counts(bad, audited, population, confidence)
    if audited == 0:
        return 1.0
    if population is not None:
        return most_bad(bad, audited, population, confidence) / population
    if bad == audited:
        return 1.0
    from scipy.special import betaincinv  # pyright: ignore[reportMissingTypeStubs]  # it has none

    return float(betaincinv(bad + 1, audited - bad, confidence))


def residual_bound(bad: int, audited: int, population: int, confidence: float = 0.95, *, rejected: int = 0) -> float:
    """Upper limit of the share that is still bad after the audit's own corrections.

    The k poses found bad are corrected or thrown out. At the same confidence at most D⁺ - k bad ones remain:
    (D⁺ - k) / (M - rejected).

    Args:
        bad: Bad poses found in the audit, k.
        audited: Poses in the audit.
        population: Poses before the corrections, M.
        confidence: 1 - δ.
        rejected: How many of the bad ones were thrown out rather than corrected.

    Returns:
        A share in 0..1; 1.0 when nothing was audited, 0.0 when everything was.

    Raises:
        InputError: As :func:`upper_bound`, or more rejected than bad.
    """
    bad, audited = _counts(bad, audited, population, confidence)
    if not 0 <= rejected <= bad:
        raise InputError(f"{rejected} rejected of {bad} bad poses: every rejected pose is a bad one")
    if audited == 0:
        return 1.0
    left = population - rejected
    return (most_bad(bad, audited, population, confidence) - bad) / left if left else 0.0


def most_bad(bad: int, audited: int, population: int, confidence: float = 0.95) -> int:
    """D⁺: the largest number of bad poses in the population that the audit does not rule out.

    Args:
        bad: Bad poses found in the audit, k.
        audited: Poses in the audit, m.
        population: Poses it was drawn from, M.
        confidence: 1 - δ.

    Returns:
        max{D : P(X <= k) > δ} for X ~ Hypergeometric(M, D, m); by bisection, as P(X <= k) falls when D grows.

    Raises:
        InputError: As :func:`upper_bound`.
    """
    bad, audited = _counts(bad, audited, population, confidence)
    from scipy.stats import hypergeom  # pyright: ignore[reportMissingTypeStubs]  # it has none

    cdf = cast("Callable[..., float]", cast("Any", hypergeom).cdf)
    # No fewer than were found, and at most all that were not audited beside them.
    return _last(bad, population - audited + bad, lambda d: cdf(bad, population, d, audited) > 1 - confidence)


def audit_size(max_bad: float, confidence: float = 0.95, expected_bad: int = 0, population: int | None = None) -> int:
    """The smallest audit that proves ``max_bad`` when it finds ``expected_bad`` bad poses.

    Args:
        max_bad: The share that may be bad.
        confidence: 1 - δ.
        expected_bad: Bad poses that the audit is expected to find.
        population: Poses that it is drawn from: then :func:`residual_bound` has to pass, even if all bad ones
            are thrown out. Otherwise the Clopper-Pearson limit has to.

    Returns:
        A number of poses, never more than the population.

    Raises:
        InputError: A share or a confidence outside (0, 1), or more bad poses than there are poses.
    """
    if not 0 < max_bad < 1:
        raise InputError(f"max_bad is {max_bad}", remedy="Give a share between 0 and 1, such as 0.02 for 2 %.")
    _counts(expected_bad, expected_bad, population, confidence)

    def too_small(audited: int) -> bool:
        if population is None:
            return upper_bound(expected_bad, audited, None, confidence) > max_bad
        return residual_bound(expected_bad, audited, population, confidence, rejected=expected_bad) > max_bad

    if population is not None:  # an audit of everything is always enough
        return _last(expected_bad - 1, population - 1, too_small) + 1
    enough = expected_bad + 1
    while too_small(enough):
        enough *= 2
    return _last(expected_bad, enough, too_small) + 1


def _counts(bad: int, audited: int, population: int | None, confidence: float) -> tuple[int, int]:
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
