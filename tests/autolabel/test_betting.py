"""The betting limit against its formula, against exact cases, and against people who stop at the best moment."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import betaincinv

from autolabel.betting import _BETS, BettingAudit, betting_upper
from autolabel.bounds import upper_bound
from autolabel.errors import InputError


def slow_wealth(losses: list[float], mean: float, population: int | None) -> float:
    """The most that the bets ever held, loss by loss."""
    wealth, most, before = [1 / len(_BETS)] * len(_BETS), 0.0, 0.0
    for i, loss in enumerate(losses):
        left = mean if population is None else (population * mean - before) / (population - i)
        wealth = [w * ((1 - c) + c * (1 - loss) / (1 - left)) for w, c in zip(wealth, _BETS, strict=True)]
        most, before = max(most, sum(wealth)), before + loss
    return most


@pytest.mark.parametrize("population", [None, 60, 200])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_limit_is_where_the_wealth_first_reached_one_over_delta(population: int | None, confidence: float) -> None:
    losses = np.random.default_rng(1).choice([0, 0, 0, 0.2, 1], 40)
    limit = betting_upper(losses, confidence, population=population)
    target = 1 / (1 - confidence)
    assert slow_wealth(losses.tolist(), limit + 1e-6, population) >= target
    assert slow_wealth(losses.tolist(), limit - 1e-6, population) < target
    audit = BettingAudit(confidence, population)
    audit.add(losses)
    assert audit.proves(limit + 1e-6)
    assert not audit.proves(limit - 1e-6)


@pytest.mark.parametrize("population", [None, 900])
def test_answers_one_by_one_or_at_once_give_the_same_limits_that_never_grow(population: int | None) -> None:
    losses = np.random.default_rng(2).random(60) ** 6
    audit, limits = BettingAudit(0.9, population), [1.0]
    for loss in losses:
        audit.add(loss)
        limits.append(audit.upper)
    assert limits[-1] == betting_upper(losses, 0.9, population=population)
    assert audit.count == 60
    assert (np.diff(limits) <= 1e-9).all()
    assert limits[-1] < limits[1]


def drawn(kind: str, random: np.random.Generator, count: int) -> tuple[NDArray[np.float64], float, int | None]:
    """Losses in a random order, their true mean, and the population."""
    if kind == "rare, unlimited":
        return (random.random(count) < 0.03).astype(float), 0.03, None
    if kind == "rare, finite":
        return random.permutation(np.arange(500) < 15)[:count].astype(float), 0.03, 500
    shares = np.where(np.arange(500) < 60, (np.arange(500) % 4 + 1) / 4, 0.0)
    return random.permutation(shares)[:count], float(shares.mean()), 500


@pytest.mark.parametrize("kind", ["rare, unlimited", "rare, finite", "shares, finite"])
def test_stopping_at_the_best_moment_keeps_the_promise(kind: str) -> None:
    random, delta, runs = np.random.default_rng(3), 0.1, 600
    false = 0
    for _ in range(runs):
        losses, mean, population = drawn(kind, random, 400)
        audit = BettingAudit(1 - delta, population)
        audit.add(losses)
        false += audit.proves(mean * (1 - 1e-9))  # at any moment so far
    assert false <= delta * runs + 3 * math.sqrt(runs * delta * (1 - delta))
    assert false > 0, "a limit that never errs would pass, and waste audits"


def test_stopping_at_the_best_moment_breaks_limits_of_a_fixed_size() -> None:
    random, count = np.arange(1, 401), 400
    drawn = np.random.default_rng(4).random((300, count)) < 0.03
    bad = np.cumsum(drawn, axis=1)
    limits = np.where(bad < random, betaincinv(bad + 1, np.maximum(random - bad, 1), 0.9), 1.0)
    assert (limits.min(axis=1) < 0.03).mean() > 0.2  # twice δ and more


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("count", [50, 300, 2000])
def test_an_audit_without_losses_costs_a_third_more_than_one_of_fixed_size(count: int, confidence: float) -> None:
    limit = betting_upper(np.zeros(count), confidence)
    assert upper_bound(0, count, None, confidence) < limit < 1.6 * upper_bound(0, count, None, confidence)
    wealth = np.mean((1 - _BETS + _BETS / (1 - limit)) ** count)
    assert wealth == pytest.approx(1 / (1 - confidence), rel=1e-6)


def test_shares_of_keypoints_get_a_tighter_limit_than_poses_that_are_bad_or_not() -> None:
    shares = np.random.default_rng(5).choice([0.0, 2 / 17], 600, p=[0.9, 0.1])
    assert shares.mean() < betting_upper(shares) < 0.5 * betting_upper(shares > 0)


@pytest.mark.parametrize(
    ("losses", "population", "expected"),
    [
        ([], None, 1.0),
        ([], 0, 1.0),
        ([], 50, 1.0),
        ([1, 1, 1], None, 1.0),
        ([1, 1, 1], 10, 1.0),
        ([0, 0, 1, 0.5], 4, 0.375),  # everything was seen: nothing is left to chance
        ([0, 0], 2, 0.0),
        ([1, 1], 2, 1.0),
    ],
)
def test_edges(losses: list[float], population: int | None, expected: float) -> None:
    assert betting_upper(losses, population=population) == pytest.approx(expected, abs=1e-11)


def test_what_was_seen_decides_without_a_bet() -> None:
    audit = BettingAudit(0.999999, 10)
    audit.add([0] * 9)
    assert audit.upper == pytest.approx(0.1, abs=1e-11)
    assert audit.proves(0.1)
    assert not audit.proves(0.09)
    audit.add(1)
    assert not audit.proves(0.09)
    assert not BettingAudit().proves(0.5)


@pytest.mark.parametrize("losses", [[1.01], [-0.1], [math.nan], [[0.5]], [0, 0, 0]])
def test_impossible_losses_are_refused_and_not_added(losses: list[float]) -> None:
    audit = BettingAudit(0.95, 4)
    audit.add([0, 1])
    with pytest.raises(InputError, match="losses"):
        audit.add(losses)
    assert audit.count == 2


@pytest.mark.parametrize("bad", [0.0, 1.0, math.nan, 95])
def test_impossible_settings_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="confidence is"):
        BettingAudit(bad)
    with pytest.raises(InputError, match="max_mean is"):
        BettingAudit().proves(bad)
    with pytest.raises(InputError, match="population is -1"):
        BettingAudit(0.9, -1)
