"""Routing: which poses may be accepted unseen, which a person should see, and which are drawn as proof.

Everything is decided from ``p_bad`` before any answer is known, so that the audit is one draw from a frozen set.
Poses that a person settled already are not open and take part in nothing. An open pose without a ``p_bad`` (its image
could not be read, or an expert was asked for) is never accepted, and neither is any other pose of its image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr  # pyright: ignore[reportMissingTypeStubs]  # it has none

from autolabel.certify import audit_size
from autolabel.errors import InputError

Indices = NDArray[np.intp]

RISKS = (0.5, 0.4, 0.3, 0.2, 0.1)
"""Shares of the promised bad rate at which an accepted set is proposed, the loosest first. Half leaves an audit of
affordable size a fair chance to prove the promise; the stricter ones need fewer audits."""

POWER = 0.9
"""The audit is large enough to pass with this probability ..."""

MARGIN = 1.5
"""... if the bad rate is this many times the predicted one: a few hundred checked poses tell it no better."""


class _Choice(StrEnum):
    @classmethod
    def parse(cls, text: str) -> Self:
        """The choice of that name.

        Raises:
            InputError: There is none.
        """
        try:
            return cls(text)
        except ValueError:
            known = ", ".join(choice.value for choice in cls)
            raise InputError(f"{text!r} is not one of: {known}", subject=cls.__name__.lower()) from None


class Order(_Choice):
    """Which poses are reviewed first."""

    DOUBT = "doubt"
    RANDOM = "random"


class Policy(_Choice):
    """Which accepted poses will be exported, and thus may be claimed."""

    COMPLETE = "complete"
    ALL = "all"


@dataclass(frozen=True)
class Proposal:
    """An accepted set and the audit that could prove it.

    Attributes:
        accepted: Rows of the accepted poses, ascending.
        audit: How many of them to audit.
        expected: Their predicted share of bad poses.
        threshold: The highest ``p_bad`` among them.
        reason: Why nothing is accepted, or "".
    """

    accepted: Indices
    audit: int
    expected: float
    threshold: float
    reason: str = ""


def nothing(reason: str) -> Proposal:
    """The proposal to accept nothing, with the reason."""
    return Proposal(np.empty(0, np.intp), 0, float("nan"), float("nan"), reason)


def propose(
    p_bad: NDArray[np.floating],
    open_: NDArray[np.bool_],
    image: NDArray[np.integer],
    *,
    max_bad: float,
    confidence: float,
    budget: int,
    policy: Policy = Policy.COMPLETE,
) -> Proposal:
    """The largest set that an audit within the budget can be expected to prove.

    Sets are prefixes of the poses (with ``COMPLETE``, of the images by their worst open pose) in order of doubt.

    Args:
        p_bad: (N,) calibrated probabilities; a pose without one (NaN) is never accepted.
        open_: (N,) poses that nobody settled.
        image: (N,) the image of each pose.
        max_bad: The promised share of bad poses.
        confidence: Of the promise.
        budget: The most poses that may be audited.
        policy: ``COMPLETE`` accepts an image's open poses together or not at all.

    Raises:
        InputError: ``max_bad`` or ``confidence`` is not between 0 and 1, or the budget is negative.
    """
    require_promise(max_bad, confidence, budget)
    doubt = np.where(np.isnan(p_bad), np.inf, p_bad.astype(np.float64))
    unit = np.unique(image, return_inverse=True)[1] if policy is Policy.COMPLETE else np.arange(len(doubt))
    rows = np.flatnonzero(open_)
    if not len(rows):
        return nothing("no pose is open")
    order, ends = _prefixes(doubt[rows], unit[rows])
    if not len(ends):
        return nothing("in every image with open poses one of them has no p_bad")
    best = nothing("no set of poses is good enough for an audit within the budget: review the most doubtful ones")
    order = rows[order[: ends[-1] + 1]]
    share = np.cumsum(doubt[order])[ends] / (ends + 1)
    for risk in RISKS:
        fitting = np.flatnonzero(share <= risk * max_bad)
        if not len(fitting):
            break
        count, expected = int(ends[fitting[-1]]) + 1, float(share[fitting[-1]])
        # Doubts fitted on few poses can look rosy: they are believed down to half the risk.
        audit = needed_audit(max_bad, confidence, MARGIN * max(expected, risk * max_bad / 2), count)
        if audit <= min(budget, count) and count > len(best.accepted):
            best = Proposal(np.sort(order[:count]), audit, expected, float(doubt[order[:count]].max()))
    return best


def require_promise(max_bad: float, confidence: float, budget: int) -> None:
    """Refuse what cannot be promised.

    Raises:
        InputError: ``max_bad`` or ``confidence`` is not between 0 and 1, or the budget is negative.
    """
    for name, share in (("max_bad", max_bad), ("confidence", confidence)):
        if not 0 < share < 1:
            raise InputError(f"{name} is {share}", remedy="Give a number between 0 and 1.")
    if budget < 0:
        raise InputError(f"budget is {budget}", remedy="Give the number of tasks that people will open.")


def needed_audit(max_bad: float, confidence: float, expected: float, population: int) -> int:
    """The smallest audit that proves ``max_bad`` with probability ``POWER`` when the bad rate is ``expected``.

    The bad poses in it are counted as binomial, as if the population were unlimited: a little too many.

    Args:
        max_bad: The promised share of bad poses.
        confidence: Of the promise.
        expected: The bad rate that is believed in.
        population: Accepted poses.

    Returns:
        A number of poses; more than the population where the promise is not believed in at all.
    """
    if expected >= max_bad:
        return population + 1
    for bad in range(population + 1):
        audited = audit_size(max_bad, confidence, bad, population)
        if float(bdtr(bad, audited, expected)) >= POWER:
            return audited
    return population + 1


def review_order(
    p_bad: NDArray[np.floating], candidates: Indices, count: int, order: Order, rng: np.random.Generator
) -> Indices:
    """The rows to review, first things first.

    Args:
        p_bad: (N,) doubts; poses without one come first.
        candidates: Rows that may be reviewed.
        count: How many to take at most.
        order: By doubt, or at random.
        rng: For the random order.
    """
    if order is Order.RANDOM:
        return rng.permutation(candidates)[:count]
    doubt = np.where(np.isnan(p_bad), np.inf, p_bad)[candidates]
    return candidates[np.argsort(-doubt, kind="stable")][:count]


def draw(candidates: Indices, count: int, rng: np.random.Generator) -> Indices:
    """``count`` rows, or all where there are fewer, drawn uniformly without replacement; ascending."""
    return np.sort(rng.choice(candidates, size=min(count, len(candidates)), replace=False))


def mixed_priorities(reviewed: Sequence[float], drawn: int, rng: np.random.Generator) -> list[float]:
    """Priorities for drawn tasks, taken from the ordinary ones' values, so that their place tells nothing.

    Returns:
        ``drawn`` numbers; evenly spread where there are no ordinary tasks.
    """
    if not reviewed:
        return rng.random(drawn).tolist()
    return rng.choice(np.asarray(reviewed, np.float64), size=drawn, replace=True).tolist()


def _prefixes(doubt: NDArray[np.float64], unit: NDArray[np.intp]) -> tuple[Indices, Indices]:
    """Poses in the order of their unit's worst doubt, and where each prefix of whole units with finite doubts ends.

    Units of the same worst doubt are not told apart: they belong to the same prefixes.
    """
    worst = np.full(unit.max() + 1, -np.inf)
    np.maximum.at(worst, unit, doubt)
    order = np.argsort(worst[unit], kind="stable")
    sorted_ = worst[unit[order]]
    last = np.append(sorted_[1:] != sorted_[:-1], True)
    return order, np.flatnonzero(last & np.isfinite(sorted_))
