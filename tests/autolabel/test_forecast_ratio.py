import numpy as np
import pytest
from scipy import stats

from autolabel.forecast_ratio import GRID, Sum, quantile, ratio_weights

SURE = (np.abs(GRID) < 1e-9).astype(float)
"""The weights of a ratio that is known to be 1."""


def exact(chance: np.ndarray) -> np.ndarray:
    """P(X = 0), P(X = 1), ... of a Poisson-binomial number, by convolution."""
    pmf = np.ones(1)
    for p in chance:
        pmf = np.convolve(pmf, [1 - p, p])
    return pmf


@pytest.mark.parametrize(
    ("chance", "error"),
    [
        (np.full(200, 0.3), 0.002),
        (np.linspace(0, 1, 80), 0.002),
        (np.linspace(0.001, 0.1, 100), 0.01),
        (np.repeat([1.0, 0.1], 40), 0.01),
        (np.full(30, 0.02), 0.03),
        (np.array([0.0, 1.0, 1.0]), 1e-9),
    ],
)
def test_counts_are_distributed_as_sums_of_unequal_events(chance: np.ndarray, error: float) -> None:
    sum_ = Sum.of_events(chance, np.ones(len(chance)))
    at_most = np.array([sum_.at_most(k)[SURE > 0][0] for k in range(len(chance) + 1)])
    np.testing.assert_allclose(at_most, np.cumsum(exact(chance)), atol=error)


def test_a_ratio_multiplies_what_was_said_up_to_certainty() -> None:
    sum_ = Sum.of_events(np.array([0.1, 0.6]), np.array([10.0, 5.0]))
    double = np.argmin(np.abs(GRID - np.log(2)))
    np.testing.assert_allclose(sum_.mean[double], 10 * 0.1 * np.exp(GRID[double]) + 5, rtol=1e-9)
    assert sum_.at_most(15).tolist() == [1.0] * len(GRID)


def test_clumps_make_counts_less_certain() -> None:
    alone, clumped = (Sum.of_clumps(100, clump, 1000) for clump in (1.0, 4.0))
    assert quantile(SURE, alone, 0.95) == pytest.approx(stats.poisson.ppf(0.95, 100), abs=1)
    width = [quantile(SURE, sum_, 0.95) - quantile(SURE, sum_, 0.05) for sum_ in (alone, clumped)]
    assert width[1] == pytest.approx(2 * width[0], rel=0.1)


def test_times_are_normal() -> None:
    time = Sum.of_times(3600, 0.05)
    assert quantile(SURE, time, 0.95) == pytest.approx(stats.norm.ppf(0.95, 3600, 180), abs=1)


def test_without_rounds_a_ratio_lies_within_a_factor_of_about_two() -> None:
    weights = ratio_weights([], 0.3)
    assert weights.sum() == pytest.approx(1)
    ends = np.exp(np.interp([0.05, 0.5, 0.95], np.cumsum(weights), GRID))
    np.testing.assert_allclose(ends, [0.48, 1, 2.1], atol=0.1)


@pytest.mark.parametrize("ratio", [0.4, 1.0, 1.7])
def test_what_every_round_shows_is_believed_more_with_each(ratio: float) -> None:
    foretold = Sum.of_events(np.full(400, 0.3), np.ones(400))
    spread = []
    for rounds in (1, 3, 9):
        weights = ratio_weights([(round(120 * ratio), foretold)] * rounds, 0.3)
        middle = weights @ GRID
        spread.append(np.sqrt(weights @ (GRID - middle) ** 2))
    assert np.exp(middle) == pytest.approx(ratio, rel=0.06)
    assert spread[0] > spread[1] > spread[2]
    assert spread[2] < 0.12


def test_rounds_that_contradict_one_another_make_the_next_uncertain() -> None:
    foretold = Sum.of_events(np.full(400, 0.3), np.ones(400))
    calm = ratio_weights([(120, foretold)] * 6, 0.3)
    wild = ratio_weights([(60, foretold), (240, foretold)] * 3, 0.3)
    assert np.sqrt(wild @ GRID**2) > 3 * np.sqrt(calm @ GRID**2)


def test_a_round_that_no_ratio_explains_is_not_the_end() -> None:
    foretold = Sum.of_events(np.zeros(10), np.ones(10))
    weights = ratio_weights([(10, foretold)], 0.3)
    np.testing.assert_allclose(weights, ratio_weights([], 0.3), atol=1e-6)


@pytest.mark.parametrize("level", [0.01, 0.5, 0.99])
def test_nothing_has_no_errors(level: float) -> None:
    assert quantile(ratio_weights([], 0.3), Sum.of_events(np.empty(0), np.empty(0)), level) == 0


def test_a_very_large_round_tells_the_ratio_though_it_lies_between_two_of_the_grid() -> None:
    foretold = Sum.of_events(np.full(1, 0.2), np.array([1e7]))
    weights = ratio_weights([(2e6 * np.exp(0.109), foretold)] * 3, 0.3)
    assert weights @ GRID == pytest.approx(0.109, abs=0.02)
