"""How far forecasts are off: the ratio of what was found to what was foretold, learnt from past rounds.

A round's ratio is taken as r = exp(μ + ε): μ the lasting error of the calibrator, ε ~ N(0, τ²) what changes from round
to round. Both are unknown. Before any round, μ follows Student's t with 4 degrees of freedom around 0 and τ a
half-Cauchy; each round then weighs the values by how well they explain what it found, sampling noise included. All is
done on a grid of ln r, so that there is nothing to iterate: hierarchical normal models, Gelman et al., *Bayesian Data
Analysis*, chapter 5.

Counts are sums of independent events with unequal probabilities (Poisson-binomial). Their distribution is taken from
the refined normal approximation, which needs mean, variance and skewness alone: Y. Hong, "On computing the
distribution function for the Poisson binomial distribution", Computational Statistics & Data Analysis 59 (2013).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr  # pyright: ignore[reportMissingTypeStubs]  # it has none

Floats = NDArray[np.float64]

STEP = 0.02
GRID: Floats = np.linspace(-3, 3, round(6 / STEP) + 1, dtype=np.float64)
"""Values of ln r: factors from 1/20 to 20."""

CHANGES: Floats = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.8])
"""Values of τ. No calibrator stays the same to better than 2 % from round to round."""

USUAL_CHANGE = 0.1
"""Scale of the half-Cauchy that τ is believed to follow: mostly little, sometimes much."""

_LEAST = 1e-12
"""Likelihood of what no ratio explains: a round that follows no rule must not outweigh all others."""


@dataclass(frozen=True, eq=False)
class Sum:
    """Mean, variance and skewness of a number, for each of the G ratios of the grid.

    Attributes:
        mean: (G,).
        variance: (G,).
        skewness: (G,).
        most: The number cannot be larger.
    """

    mean: Floats
    variance: Floats
    skewness: Floats
    most: float

    @classmethod
    def of_events(cls, chance: Floats, count: Floats) -> "Sum":
        """How many of independent events happen, when each is r times as probable as was said, but at most certain.

        Args:
            chance: (B,) what was said.
            count: (B,) how many events it was said of.
        """
        real = np.minimum(np.exp(GRID)[:, None] * chance, 1.0)
        variance = np.maximum((real * (1 - real)) @ count, 1e-9)
        third = (real * (1 - real) * (1 - 2 * real)) @ count
        return cls(real @ count, variance, third / variance**1.5, float(count.sum()))

    @classmethod
    def of_clumps(cls, expected: float, clump: float, most: float) -> "Sum":
        """How many things there are that come in clumps (compound Poisson).

        Args:
            expected: How many were foretold.
            clump: Σ g² / Σ g over the sizes g of the clumps.
            most: More there cannot be.
        """
        mean = np.minimum(np.exp(GRID) * expected, most)
        variance = np.maximum(clump * mean, 1e-9)
        return cls(mean, variance, clump / np.sqrt(np.maximum(variance, 1.0)), most)

    @classmethod
    def of_times(cls, expected: float, spread: float) -> "Sum":
        """A total time.

        Args:
            expected: What was foretold.
            spread: Its standard deviation as a share of it.
        """
        mean = np.exp(GRID) * expected
        return cls(mean, np.maximum((spread * mean) ** 2, 1e-9), np.zeros(len(GRID)), float("inf"))

    def at_most(self, value: float, more: Floats | float = 0.0) -> Floats:
        """(G,) probability of a whole number up to ``value``; of a time, up to half a second more.

        Args:
            value: The number.
            more: (G,) variance beside the sum's own.
        """
        x = (value + 0.5 - self.mean) / np.sqrt(self.variance + more)
        bend = self.skewness * (1 - x**2) * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi) / 6
        return np.where(value >= self.most, 1.0, np.clip(ndtr(x) + bend, 0.0, 1.0))

    def likelihood(self, found: float) -> Floats:
        """(G,) how well each ratio explains what was found, all ratios up to half a step away taken together."""
        cell = (STEP * self.mean) ** 2 / 12
        return np.maximum(self.at_most(found, cell) - self.at_most(found - 1, cell), 0) + _LEAST


def ratio_weights(found: Sequence[tuple[float, Sum]], usual: float) -> Floats:
    """(G,) probability that the next round's ratio is each of the grid's.

    Args:
        found: What past rounds found, with what had been foretold.
        usual: Scale of the t distribution that μ is believed to follow.
    """
    likelihood = np.array([sum_.likelihood(value) for value, sum_ in found]).reshape(-1, len(GRID))
    fit = np.log(_kernels() @ likelihood.T)  # (changes, G, T)
    belief = -2.5 * np.log1p((GRID / usual) ** 2 / 4) - np.log1p((CHANGES[:, None] / USUAL_CHANGE) ** 2)
    log = belief + np.log(np.gradient(CHANGES))[:, None] + fit.sum(axis=2)
    weight = np.exp(log - log.max())
    answer = np.einsum("tm,tmg->g", weight, _kernels())
    return answer / answer.sum()


def quantile(weights: Floats, sum_: Sum, level: float) -> float:
    """The smallest whole number that is not exceeded with probability ``level``, the ratio being unknown.

    Args:
        weights: (G,) of the ratios.
        sum_: The number that is foretold.
        level: In (0, 1).
    """
    high = sum_.most
    if not np.isfinite(high):
        high = float((sum_.mean + 10 * np.sqrt(sum_.variance))[weights > 0].max())
    low, high = -1, int(np.ceil(high))
    while high - low > 1:
        middle = (low + high) // 2
        if float(weights @ sum_.at_most(middle)) >= level:
            high = middle
        else:
            low = middle
    return float(high)


@cache
def _kernels() -> Floats:
    """(changes, G, G) for each τ and μ the probability of each ratio."""
    kernel = np.exp(-(((GRID[:, None] - GRID) / CHANGES[:, None, None]) ** 2) / 2)
    return kernel / kernel.sum(axis=2, keepdims=True)
