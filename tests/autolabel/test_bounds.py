"""Limits against exact integer arithmetic and scipy, and what they promise against drawn audits and reviewers."""

import math
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, hypergeom

from autolabel.bounds import audit_size, lower_bound, most_bad, residual_bound, upper_bound
from autolabel.errors import InputError


@cache
def few_found(k: int, held: int, sensitivity: float) -> Fraction | int:
    """P(at most k of the bad poses that the audit holds are found)."""
    if sensitivity == 1:
        return int(held <= k)
    share = Fraction(sensitivity)
    return sum(math.comb(held, i) * share**i * (1 - share) ** (held - i) for i in range(min(k, held) + 1))


def exact_cdf(k: int, population: int, bad: int, audited: int, sensitivity: float = 1.0) -> Fraction:
    """P(at most k bad ones are found) by counting the draws."""
    last = min(bad, audited, k if sensitivity == 1 else audited)
    ways = sum(
        math.comb(bad, j) * math.comb(population - bad, audited - j) * few_found(k, j, sensitivity)
        for j in range(last + 1)
    )
    return Fraction(ways) / math.comb(population, audited)


@cache
def slow_most_bad(k: int, audited: int, population: int, confidence: float, sensitivity: float = 1.0) -> int:
    delta = 1 - Fraction(confidence)
    return max(d for d in range(population + 1) if exact_cdf(k, population, d, audited, sensitivity) > delta)


# confidence.md 3.3, F1 and F2: what the literature's recipes give.
@pytest.mark.parametrize(
    ("bad", "audited", "population", "shown"),
    [
        (0, 200, 1000, "1.30"),
        (0, 200, None, "1.49"),
        (0, 300, 1500, "0.87"),
        (0, 300, None, "0.99"),
        (0, 150, 500, "1.60"),
        (0, 150, None, "1.98"),
    ],
)
def test_published_examples(bad: int, audited: int, population: int | None, shown: str) -> None:
    assert f"{100 * upper_bound(bad, audited, population):.2f}" == shown


def test_published_example_with_corrections() -> None:
    assert f"{100 * residual_bound(4, 1000, 50_000):.2f}" == "0.90"


# Some of these lie exactly on δ: with 19 of 20 audited, one of them bad and δ = 1/20 or 1/2.
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95, 0.99, 0.999])
@pytest.mark.parametrize(("population", "audited"), [(1, 1), (7, 3), (20, 19), (40, 10), (50, 35)])
def test_finite_bound_is_the_largest_number_not_ruled_out(population: int, audited: int, confidence: float) -> None:
    for bad in range(audited + 1):
        expected = slow_most_bad(bad, audited, population, confidence)
        assert most_bad(bad, audited, population, confidence) == expected
        assert upper_bound(bad, audited, population, confidence) == expected / population


@pytest.mark.parametrize("sensitivity", [0.3, 0.79, 0.97])
@pytest.mark.parametrize("confidence", [0.8, 0.999])
@pytest.mark.parametrize(("population", "audited"), [(1, 1), (7, 3), (13, 11), (14, 14), (24, 7)])
def test_imperfect_reviewers_leave_the_largest_number_not_ruled_out(
    population: int, audited: int, confidence: float, sensitivity: float
) -> None:
    for bad in range(audited + 1):
        expected = slow_most_bad(bad, audited, population, confidence, sensitivity)
        assert most_bad(bad, audited, population, confidence, sensitivity=sensitivity) == expected
        assert upper_bound(bad, audited, population, confidence, sensitivity=sensitivity) == expected / population


def test_ties_that_rounding_could_decide_go_to_the_safe_side() -> None:
    assert most_bad(0, 30, 30, 0.96, sensitivity=0.8) == 2  # two are overlooked in 4 %: exactly δ


@pytest.mark.parametrize(
    ("bad", "audited", "population"),
    [(0, 300, 10**6), (12, 1500, 2_000_000), (3, 1000, 10**7), (150, 300, 10**6), (0, 10**4, 10**5)],
)
def test_large_populations_are_exact_too(bad: int, audited: int, population: int) -> None:
    largest = most_bad(bad, audited, population)
    assert hypergeom.cdf(bad, population, largest, audited) > 1 / 20
    assert hypergeom.cdf(bad, population, largest + 1, audited) <= 1 / 20


@pytest.mark.parametrize("sensitivity", [0.4, 0.9, 0.999])
@pytest.mark.parametrize(
    ("bad", "audited", "population"),
    [(0, 2000, 20_000), (20, 2000, 20_000), (300, 2000, 20_000), (9, 4000, 4000), (40, 9000, 10_000), (5, 60, 10**6)],
)
def test_large_audits_with_imperfect_reviewers_agree_with_scipy(
    bad: int, audited: int, population: int, sensitivity: float
) -> None:
    j = np.arange(audited + 1)
    few = binom.cdf(bad, j, sensitivity)
    largest = most_bad(bad, audited, population, sensitivity=sensitivity)
    assert hypergeom.pmf(j, population, largest, audited) @ few > 0.05
    assert hypergeom.pmf(j, population, largest + 1, audited) @ few <= 0.05


@pytest.mark.parametrize(("bad", "audited"), [(0, 1), (0, 149), (3, 386), (17, 20), (499, 500), (40, 10**6)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_unlimited_population_is_clopper_pearson(bad: int, audited: int, confidence: float) -> None:
    expected = float(beta.ppf(confidence, bad + 1, audited - bad))
    assert upper_bound(bad, audited, None, confidence) == pytest.approx(expected, rel=1e-10)
    shared = upper_bound(bad, audited, None, confidence, sensitivity=0.5)
    assert shared == pytest.approx(min(1.0, 2 * expected), rel=1e-10)
    assert upper_bound(bad, audited, None, confidence, sensitivity=0.0) == 1.0


@pytest.mark.parametrize(("found", "tried"), [(1, 1), (3, 20), (95, 100), (100, 100), (999, 1000)])
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.99])
def test_lower_limit_is_clopper_pearson(found: int, tried: int, confidence: float) -> None:
    limit = lower_bound(found, tried, confidence)
    assert limit == pytest.approx(float(beta.ppf(1 - confidence, found, tried - found + 1)), rel=1e-10)
    assert binom.sf(found - 1, tried, limit) == pytest.approx(1 - confidence, rel=1e-8)
    assert limit == pytest.approx(1 - upper_bound(tried - found, tried, None, confidence), abs=1e-12)


@pytest.mark.parametrize("share", [0.05, 0.6, 0.95, 0.995])
@pytest.mark.parametrize("tried", [1, 30, 200])
def test_lower_limit_lies_above_the_truth_at_most_as_often_as_it_says(tried: int, share: float) -> None:
    limits = np.array([lower_bound(found, tried, 0.99) for found in range(tried + 1)])
    assert binom.pmf(np.arange(tried + 1), tried, share)[limits > share].sum() <= 0.01


@pytest.mark.parametrize(
    ("bad", "audited", "population", "expected"),
    [
        (0, 0, None, 1.0),  # nothing audited, nothing proven
        (0, 0, 1000, 1.0),
        (0, 0, 0, 1.0),
        (5, 5, None, 1.0),
        (5, 5, 80, 1.0),  # all bad: the others may be bad too
        (3, 80, 80, 3 / 80),  # everything audited: nothing is left to chance
        (0, 80, 80, 0.0),
        (80, 80, 80, 1.0),
    ],
)
def test_edges(bad: int, audited: int, population: int | None, expected: float) -> None:
    assert upper_bound(bad, audited, population) == expected
    assert upper_bound(bad, audited, population, sensitivity=0.0) == 1.0  # nobody would have found any
    assert upper_bound(bad, audited, population, sensitivity=0.9) >= expected


def test_a_census_by_imperfect_reviewers_proves_something_but_not_everything() -> None:
    assert most_bad(0, 80, 80, sensitivity=0.9) == 1  # two bad ones are both overlooked in 1 % of all cases
    assert residual_bound(0, 80, 80, sensitivity=0.9) == 1 / 80
    assert residual_bound(0, 80, 80, sensitivity=0.96) == 0.0  # a single one in 4 %
    assert lower_bound(0, 0) == lower_bound(0, 9) == 0.0


def test_numpy_integers_are_counts() -> None:
    assert upper_bound(np.int64(2), np.int32(50), np.uint16(400)) == upper_bound(2, 50, 400)
    assert most_bad(np.int64(2), np.int32(50), np.uint16(400), sensitivity=0.9) == most_bad(2, 50, 400, sensitivity=0.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 2), "3 bad of 2 audited"),
        ((-1, 2), "-1 bad of 2 audited"),
        ((0, -1), "0 bad of -1 audited"),
        ((0, 11, 10), "11 audited of 10 poses"),
        ((0.5, 11), "are counts of poses"),
        ((0, 11, 12.0), "are counts of poses"),
        ((0, 11, 12, 0.0), "confidence is 0.0"),
        ((0, 11, 12, 1), "confidence is 1"),
        ((0, 11, 12, math.nan), "confidence is nan"),
        ((0, 11, 12, 95), "confidence is 95"),
    ],
)
def test_impossible_arguments_are_refused(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        upper_bound(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("sensitivity", [-0.1, 1.01, math.nan])
def test_a_sensitivity_outside_0_1_is_refused(sensitivity: float) -> None:
    for limit in (upper_bound, most_bad, residual_bound):
        with pytest.raises(InputError, match="sensitivity is"):
            limit(1, 50, 400, sensitivity=sensitivity)
    with pytest.raises(InputError, match="sensitivity is"):
        audit_size(0.02, sensitivity=sensitivity)


counts = st.integers(1, 400).flatmap(
    lambda population: st.tuples(
        st.just(population),
        st.integers(1, population).flatmap(lambda m: st.tuples(st.just(m), st.integers(0, m))),
    )
)


@given(counts, st.floats(0.5, 0.999), st.one_of(st.just(1.0), st.floats(0.05, 1)))
def test_bounds_move_the_right_way(drawn: tuple[int, tuple[int, int]], confidence: float, found: float) -> None:
    population, (audited, bad) = drawn
    most = most_bad(bad, audited, population, confidence, sensitivity=found)
    assert bad <= most <= population
    # Drawing without replacement never says less than drawing with it, up to one pose of the population.
    assert upper_bound(bad, audited, population, confidence) <= (
        upper_bound(bad, audited, None, confidence) + 1 / population
    )
    assert most <= most_bad(bad, audited, population, 0.9999, sensitivity=found)
    assert most <= most_bad(bad, audited, population, confidence, sensitivity=0.9 * found)
    if bad < audited:  # a false alarm adds at least as much as its "correction" takes off
        assert min(most + 1, population) <= most_bad(bad + 1, audited, population, confidence, sensitivity=found)
    if audited < population:
        assert most >= most_bad(bad, audited + 1, population, confidence, sensitivity=found)


def test_residual_is_what_the_audit_did_not_correct() -> None:
    largest = slow_most_bad(3, 50, 120, 0.95)
    assert residual_bound(3, 50, 120) == (largest - 3) / 120
    assert residual_bound(3, 50, 120, rejected=2) == (largest - 3) / 118
    assert residual_bound(3, 50, 120, corrected=1) == (largest - 1) / 120
    assert residual_bound(3, 50, 120, corrected=2, rejected=2) == (largest - 2) / 118
    assert residual_bound(7, 120, 120) == 0.0  # everything was seen and corrected
    assert residual_bound(7, 120, 120, corrected=5) == 2 / 120
    assert residual_bound(4, 4, 4, rejected=4) == 0.0
    assert residual_bound(0, 0, 120) == 1.0
    missing = slow_most_bad(3, 50, 120, 0.95, 0.8)
    assert residual_bound(3, 50, 120, sensitivity=0.8, rejected=1) == (missing - 3) / 119


@pytest.mark.parametrize(
    ("rejected", "corrected", "message"),
    [
        (4, None, "4 rejected of 3 bad"),
        (-1, None, "-1 rejected of 3 bad"),
        (0, 4, "4 corrected of 3 bad"),
        (2, 1, "1 corrected of 3 bad poses, 2 of them rejected"),
    ],
)
def test_corrections_that_contradict_the_counts_are_refused(rejected: int, corrected: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        residual_bound(3, 50, 120, rejected=rejected, corrected=corrected)


@pytest.mark.parametrize("sensitivity", [0.7, 0.95, 1.0])
@pytest.mark.parametrize(("population", "audited"), [(60, 45), (400, 150), (3000, 300)])
def test_limits_hold_over_every_draw_and_every_number_found(population: int, audited: int, sensitivity: float) -> None:
    """P(D⁺ < D) summed over all outcomes, for reviewers exactly as good as assumed, and better."""
    delta, j = 0.05, np.arange(audited + 1)
    most = np.array([most_bad(k, audited, population, 1 - delta, sensitivity=sensitivity) for k in j[:60]])
    worst = 0.0
    for bad in range(1, population // 8, max(1, population // 100)):
        held = hypergeom.pmf(j, population, bad, audited)
        for truly in {sensitivity, (1 + sensitivity) / 2}:
            found = held @ binom.pmf(j[: len(most), None], j, truly).T
            worst = max(worst, float(found[most < bad].sum()))
    assert worst <= delta
    assert worst > 0.4 * delta, "limits that never come close would pass, and say little"


@pytest.mark.parametrize("false_alarms", [0.0, 0.03])
def test_residual_limits_hold_in_drawn_audits_with_imperfect_reviewers(false_alarms: float) -> None:
    """Poses, draws and answers one by one: every bad pose is found with its own probability, 0.8 or more.

    What is called bad is corrected or thrown out, a good one that was called bad by mistake too.
    """
    random = np.random.default_rng(5)
    population, audited, least, delta, runs = 600, 240, 0.8, 0.1, 3000
    too_small = {"before": 0, "after": 0}
    for bad in (1, 4, 13, 40):
        truth = np.arange(population) < bad
        chance = np.where(truth, least + (1 - least) * random.choice([0, 0, 0.5], population), false_alarms)
        for _ in range(runs // 4):
            drawn = random.permutation(population)[:audited]
            called = drawn[random.random(audited) < chance[drawn]]
            rejected = int((random.random(len(called)) < 0.5).sum())
            found = (len(called), audited, population, 1 - delta)
            left = (bad - int(truth[called].sum())) / (population - rejected)
            too_small["before"] += most_bad(*found, sensitivity=least) < bad
            too_small["after"] += residual_bound(*found, rejected=rejected, sensitivity=least) < left - 1e-12
    allowed = delta * runs + 3 * math.sqrt(runs * delta * (1 - delta))
    assert too_small["before"] <= allowed
    assert too_small["after"] <= allowed
    if not false_alarms:
        assert too_small["after"] > 0, "nothing was put to the test"


def test_reviewers_who_are_worse_than_assumed_break_the_limit() -> None:
    """The simulation above can fail: it does when perfect reviewers are assumed and there are none."""
    random = np.random.default_rng(6)
    population, audited, bad = 600, 240, 40
    held = random.hypergeometric(bad, population - bad, audited, 2000)
    found = random.binomial(held, 0.8)
    assert np.mean([most_bad(int(k), audited, population, 0.9) < bad for k in found]) > 0.3
    assert np.mean([most_bad(int(k), audited, population, 0.9, sensitivity=0.8) < bad for k in found]) < 0.12


# confidence.md 3.3: "Max k for δ = 5 % - audits needed".
@pytest.mark.parametrize(
    ("max_bad", "expected_bad", "size"),
    [(0.005, 0, 598), (0.01, 0, 299), (0.01, 3, 773), (0.02, 1, 236), (0.02, 10, 845), (0.05, 5, 208)],
)
def test_audit_sizes_of_the_binomial_table(max_bad: float, expected_bad: int, size: int) -> None:
    assert audit_size(max_bad, 0.95, expected_bad) == size


def test_rounds_that_share_the_confidence() -> None:
    assert [audit_size(a, 1 - 0.05 / 10) for a in (0.005, 0.01, 0.02, 0.05)] == [1058, 528, 263, 104]


@given(st.integers(1, 300), st.integers(0, 6), st.sampled_from([0.01, 0.05, 0.2]), st.sampled_from([0.7, 0.95, 1.0]))
def test_finite_audit_size_is_the_smallest_that_passes(population: int, bad: int, max_bad: float, found: float) -> None:
    bad = min(bad, population)
    size = audit_size(max_bad, 0.9, bad, population, sensitivity=found)

    def residual(audited: int) -> float:
        return residual_bound(bad, audited, population, 0.9, rejected=bad, sensitivity=found)

    assert bad <= size <= population + (found < 1)
    if size > population:
        assert residual(population) > max_bad
    else:
        assert residual(size) <= max_bad or (size == population and found == 1)
    if size > bad:
        assert residual(size - 1) > max_bad


@pytest.mark.parametrize(("sensitivity", "size"), [(1.0, 149), (0.9, 165), (0.5, 299)])
def test_audits_grow_with_what_reviewers_overlook(sensitivity: float, size: int) -> None:
    assert audit_size(0.02, sensitivity=sensitivity) == size


def test_no_audit_helps_against_reviewers_who_find_nothing() -> None:
    assert audit_size(0.02, population=100, sensitivity=0.0) == 101
    with pytest.raises(InputError, match="no audit proves anything"):
        audit_size(0.02, sensitivity=0.0)


@pytest.mark.parametrize("max_bad", [0.0, 1.0, 2, -0.1, math.nan])
def test_a_share_outside_0_1_is_refused(max_bad: float) -> None:
    with pytest.raises(InputError, match="max_bad is"):
        audit_size(max_bad)
