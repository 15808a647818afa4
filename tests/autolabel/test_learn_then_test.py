"""p-values against scipy and by every outcome, and thresholds that keep the promise although they were chosen."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from autolabel.errors import InputError
from autolabel.learn_then_test import Learnt, binomial_p, fixed_sequence, hoeffding_bentkus_p, learn_then_test


@pytest.mark.parametrize(("bad", "tried"), [(0, 0), (0, 149), (1, 236), (10, 845), (30, 30), (400, 20_000)])
@pytest.mark.parametrize("max_bad", [0.01, 0.02, 0.4])
def test_binomial_p_is_the_cdf(bad: int, tried: int, max_bad: float) -> None:
    assert binomial_p(bad, tried, max_bad) == pytest.approx(binom.cdf(bad, tried, max_bad), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(
    ("mean", "tried", "max_bad", "expected"),
    [
        (0.0, 100, 0.05, 0.95**100),  # h(0, α) = -ln(1 - α)
        (0.03, 100, 0.1, min(math.exp(-100 * (0.03 * math.log(0.3) + 0.97 * math.log(0.97 / 0.9))), 1)),
        (0.1 + 0.2, 10, 0.3, 1.0),  # at the limit, and 3 losses of 10 in spite of rounding
        (0.7, 50, 0.3, 1.0),
        (1.0, 5, 0.3, 1.0),
        (0.0, 0, 0.3, 1.0),
    ],
)
def test_hoeffding_bentkus_by_hand(mean: float, tried: int, max_bad: float, expected: float) -> None:
    bentkus = math.e * binom.cdf(math.ceil(tried * mean - 1e-9), tried, max_bad)
    assert hoeffding_bentkus_p(mean, tried, max_bad) == pytest.approx(min(expected, bentkus), rel=1e-9)


@pytest.mark.parametrize("tried", [20, 150, 900])
@pytest.mark.parametrize("max_bad", [0.02, 0.1])
def test_p_values_are_small_at_most_as_often_as_they_say(tried: int, max_bad: float) -> None:
    chance = binom.pmf(np.arange(tried + 1), tried, max_bad)
    for p_values in (
        [binomial_p(k, tried, max_bad) for k in range(tried + 1)],
        [hoeffding_bentkus_p(k / tried, tried, max_bad) for k in range(tried + 1)],
    ):
        for level in (0.01, 0.05, 0.2):
            assert chance[np.array(p_values) <= level].sum() <= level


@pytest.mark.parametrize(
    ("passed", "last"),
    [([], -1), ([False], -1), ([False, True], -1), ([True], 0), ([True, True, False, True], 1), ([True] * 4, 3)],
)
def test_the_walk_ends_at_the_first_that_fails(passed: list[bool], last: int) -> None:
    assert fixed_sequence(passed) == last


def test_counts_at_each_threshold() -> None:
    score = np.array([0.1, 0.3, 0.2, np.nan, 0.3, 0.9])
    loss = np.array([0, 1, 0, 1, 0, 1])
    made = learn_then_test(score, loss, [0.05, 0.2, 0.3, 1.0], 0.5, 0.6)
    expected = (binomial_p(0, 0, 0.5), binomial_p(0, 2, 0.5), binomial_p(1, 4, 0.5), binomial_p(2, 5, 0.5))
    assert made == Learnt(None, expected, 0)  # nothing lies below the first
    assert learn_then_test(score, loss, [0.2, 0.3, 1.0], 0.5, 0.6) == Learnt(0.3, expected[1:], 4)  # equal is accepted
    assert learn_then_test(score, loss, [0.2, 0.2], 0.5, 0.6).threshold == 0.2


def test_losses_between_0_and_1_use_their_mean() -> None:
    score, loss = np.linspace(0, 1, 400), np.full(400, 0.01)
    made = learn_then_test(score, loss, [0.5, 1.0], 0.1)
    assert made.p_values == pytest.approx([hoeffding_bentkus_p(0.01, n, 0.1) for n in (200, 400)])
    assert made == Learnt(1.0, made.p_values, 400)


@pytest.mark.parametrize(
    ("score", "loss", "thresholds"),
    [
        ([], [], []),
        ([], [], [0.5]),
        ([0.1] * 300, [0] * 300, []),
        ([0.7] * 300, [0] * 300, [0.5]),
        ([0.1] * 300, [1] * 300, [0.5]),
        ([math.nan] * 300, [0] * 300, [0.5, math.inf]),
        ([0.1], [0], [0.5]),  # one pose proves nothing
    ],
)
def test_nothing_is_accepted_that_was_not_earned(
    score: list[float], loss: list[float], thresholds: list[float]
) -> None:
    made = learn_then_test(score, loss, thresholds, 0.02)
    assert made.threshold is None
    assert made.accepted == 0
    assert len(made.p_values) == len(thresholds)


def runs(confidence: float, fractional: bool) -> tuple[float, float, float]:
    """How often learn-then-test, and the loosest empirical threshold, are too loose; how much the former accepts."""
    random, max_bad, thresholds = np.random.default_rng(8), 0.05, np.linspace(0.5, 0.95, 30)
    # A pose's score u is uniform; it is bad with probability u³/2, so below t are bad t³/8.
    true = thresholds**3 / 8
    too_loose = {"tested": 0, "empirical": 0}
    accepted = []
    for _ in range(500):
        score = random.random(1500)
        loss = (random.random(1500) < score**3 / 2).astype(float)
        if fractional:  # the same means, in quarters
            loss = random.binomial(4, score**3 / 2) / 4
        chosen = learn_then_test(score, loss, thresholds, max_bad, confidence).threshold
        accepted.append(chosen or 0.0)
        too_loose["tested"] += chosen is not None and chosen**3 / 8 > max_bad
        below = score[:, None] <= thresholds
        means = (loss[:, None] * below).sum(axis=0) / below.sum(axis=0)
        too_loose["empirical"] += bool(true[np.flatnonzero(means <= max_bad)[-1]] > max_bad)
    return too_loose["tested"] / 500, too_loose["empirical"] / 500, float(np.mean(accepted))


@pytest.mark.parametrize("fractional", [False, True])
def test_chosen_thresholds_keep_the_promise(fractional: bool) -> None:
    false, naive, accepted = runs(0.9, fractional)
    assert false <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 500)
    assert naive > 0.2, "the loosest threshold that looks good is the luckiest one"
    assert accepted > 0.55, "0.74 would be right"


def test_scores_that_order_nothing_break_no_promise() -> None:
    """Every threshold accepts 6 % bad ones, 5 % are allowed: one that passes is false, wherever it stands."""
    random = np.random.default_rng(9)
    passed = [
        learn_then_test(random.random(800), random.random(800) < 0.06, np.linspace(0.3, 1, 15), 0.05, 0.9).threshold
        for _ in range(400)
    ]
    assert np.mean([threshold is not None for threshold in passed]) <= 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": [0.1, 0.2, 0.3]}, "one of each a pose"),
        ({"score": [[0.1, 0.2]], "loss": [[0, 1]]}, "one of each a pose"),
        ({"loss": [0, 1.5]}, "losses are numbers from 0 to 1"),
        ({"loss": [0, math.nan]}, "losses are numbers from 0 to 1"),
        ({"thresholds": [0.5, 0.4]}, "strict to loose"),
        ({"thresholds": [0.5, math.nan]}, "strict to loose"),
        ({"max_bad": 0.0}, "max_bad is 0.0"),
        ({"max_bad": 1.0}, "max_bad is 1.0"),
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"confidence": 0.0}, "confidence is 0.0"),
    ],
)
def test_bad_input_is_refused(change: dict[str, object], message: str) -> None:
    given = {"score": [0.1, 0.2], "loss": [0, 1], "thresholds": [0.5], "max_bad": 0.1, "confidence": 0.9, **change}
    with pytest.raises(InputError, match=message):
        learn_then_test(**given)  # type: ignore[arg-type]


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(InputError, match="4 bad of 3"):
        binomial_p(4, 3, 0.1)
    for mean, tried in ((1.1, 3), (math.nan, 3), (0.1, -1)):
        with pytest.raises(InputError, match="a mean loss of"):
            hoeffding_bentkus_p(mean, tried, 0.1)
