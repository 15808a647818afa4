"""An upper limit of a mean loss that holds at every moment, so that an audit may stop as soon as it has proven enough.

The limits of autolabel/bounds.py hold for an audit whose size was fixed before. Whoever looks at them after every
answer and stops at the best moment breaks them. These do not break: they come from a game. Whoever doubts that the
mean is m or more bets against it, a part c of the wealth on every loss, at odds that are fair if the mean is exactly m:

    wealth after i losses = wealth before * ((1 - c) + c (1 - loss_i) / (1 - m_i))

where m_i is the mean of what is still undrawn, m for an unlimited population and (M m - losses before) / (M - i + 1)
without replacement. If the mean is m or more, wealth is not expected to grow, and the chance that it *ever* reaches
1/δ times the start is at most δ (Ville's inequality). So every m at which it once did is ruled out. Which c is best
depends on the unknown mean; the start is divided over several, and their sum is a fair game too.

Losses need not be 0 or 1: the share of a pose's keypoints that are gross is one loss of a pose, which a binomial limit
cannot count because keypoints of one pose are not independent. They have to come in an order that was drawn at random.

Sources: I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting", Journal of the Royal
Statistical Society B 86 (2024), for the game, with and without replacement; T. Cover, "Universal portfolios",
Mathematical Finance 1 (1991), for the division over constant bets, which confidence sequences have taken up since
(J. J. Ryu and A. Bhatt, arXiv 2207.12382).
"""

import math
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.errors import InputError

_BETS = np.concatenate([[0.04, 0.1, 0.2], 1 - 0.5 ** (np.arange(1, 14) / 2)])
"""(16,) parts c of the wealth that are bet; the start is divided equally over them.

The best one is about 1 - mean / m: most lie near 1, for the rare losses that an audit hopes for.
"""

_HALVINGS = 40
"""Halvings of the interval that the limit lies in: to 1e-12."""


def betting_upper(losses: ArrayLike, confidence: float = 0.95, *, population: int | None = None) -> float:
    """Upper limit of the mean loss of the whole population, valid whenever the audit stopped.

    Args:
        losses: (n,) losses in 0..1, in the order in which they were drawn.
        confidence: 1 - δ.
        population: Items that they were drawn from without replacement, the drawn ones among them; None when
            unlimited or drawn with replacement.

    Returns:
        A number in 0..1; 1.0 without losses.

    Raises:
        InputError: A loss outside 0..1, more losses than items, or a confidence outside (0, 1).
    """
    audit = BettingAudit(confidence, population)
    audit.add(losses)
    return audit.upper


class BettingAudit:
    """An audit that is looked at after every answer and may stop whenever it likes.

    With probability 1 - δ, all its upper limits, from the first loss to the last, hold together.

    Args:
        confidence: 1 - δ.
        population: Items that the audit is drawn from without replacement; None when unlimited.

    Raises:
        InputError: A confidence outside (0, 1), or a population that is no count.
    """

    def __init__(self, confidence: float = 0.95, population: int | None = None) -> None:
        if not 0 < confidence < 1:
            raise InputError(f"confidence is {confidence}", remedy="Give a number between 0 and 1, such as 0.95.")
        if population is not None and population < 0:
            raise InputError(f"population is {population}")
        self.confidence = confidence
        self.population = population
        self._losses = np.empty(0)

    @property
    def count(self) -> int:
        """How many losses were added."""
        return len(self._losses)

    def add(self, losses: ArrayLike) -> None:
        """Add what the next items of the draw lost, one number in 0..1 or several, in the order of the draw.

        Raises:
            InputError: A loss outside 0..1, or more losses than the population has items; nothing is added.
        """
        new = np.atleast_1d(np.asarray(losses, dtype=np.float64))
        if new.ndim != 1 or not ((new >= 0) & (new <= 1)).all():
            raise InputError("losses are numbers from 0 to 1, one after the other")
        if self.population is not None and self.count + len(new) > self.population:
            raise InputError(f"{self.count + len(new)} losses of {self.population} items")
        self._losses = np.concatenate([self._losses, new])

    @property
    def upper(self) -> float:
        """Upper limit of the mean loss, now: the least mean that is ruled out."""
        if self.count == 0:
            return 1.0
        low, high = 0.0, 1.0
        if self.population is not None:  # what was not drawn can lose nothing, or everything
            lost = float(self._losses.sum())
            low, high = lost / self.population, (lost + self.population - self.count) / self.population
            if low == high:
                return low
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if self._rules_out(middle) else (middle, high)
        return high

    def proves(self, max_mean: float) -> bool:
        """Whether the losses so far rule out every mean above ``max_mean``; once true, it stays so.

        Raises:
            InputError: A mean outside (0, 1).
        """
        if not 0 < max_mean < 1:
            raise InputError(f"max_mean is {max_mean}", remedy="Give a share between 0 and 1, such as 0.02 for 2 %.")
        if self.population is not None:
            lost = float(self._losses.sum())
            if lost + self.population - self.count <= max_mean * self.population:
                return True  # even if all that was not drawn is lost
            if lost > max_mean * self.population:
                return False
        return self._rules_out(max_mean)

    def _rules_out(self, mean: float) -> bool:
        """Whether the wealth of those who bet against a mean of ``mean`` or more ever reached 1/δ."""
        left = np.full(self.count, mean)
        if self.population is not None:
            before = np.cumsum(self._losses) - self._losses
            left = (self.population * mean - before) / (self.population - np.arange(self.count))
        odds = (1 - self._losses) / np.maximum(1 - left, 1e-300)
        gains = np.log1p(_BETS * (odds[:, None] - 1))
        wealth = cast("NDArray[np.float64]", np.logaddexp.reduce(np.cumsum(gains, axis=0), axis=1))
        return bool((wealth - math.log(len(_BETS)) >= -math.log1p(-self.confidence)).any())
