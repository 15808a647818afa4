"""Routing: which poses may be accepted unseen, which a person should see, and which are drawn as proof.

Everything is decided from ``p_bad`` before any answer is known, so that the audit is one draw from a frozen set.
Poses that a person settled already take part in nothing; they only count towards an image being complete.
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
        p_bad: (N,) calibrated probabilities; NaN (not predicted) is never accepted.
        open_: (N,) poses that nobody settled.
        image: (N,) the image of each pose.
        max_bad: The promised share of bad poses.
        confidence: Of the promise.
        budget: The most poses that may be audited.
        policy: ``COMPLETE`` accepts an image's open poses together or not at all.

    Raises:
        InputError: ``max_bad`` or ``confidence`` is not between 0 and 1, or the budget is negative.
    """
    if not (0 < max_bad < 1 and 0 < confidence < 1) or budget < 0:
        raise InputError(f"max_bad {max_bad}, confidence {confidence}, budget {budget} make no promise")
    doubt = np.where(np.isnan(p_bad), np.inf, p_bad.astype(np.float64))
    unit = np.unique(image, return_inverse=True)[1] if policy is Policy.COMPLETE else np.arange(len(doubt))
    rows = np.flatnonzero(open_)
    if not len(rows):
        return nothing("no pose is open")
    worst = np.full(unit.max() + 1, -np.inf)
    np.maximum.at(worst, unit[rows], doubt[rows])
    order = rows[np.lexsort((rows, worst[unit[rows]]))]
    ends = np.flatnonzero(np.diff(worst[unit[order]], append=np.inf) > 0)
    ends = ends[np.isfinite(worst[unit[order[ends]]])]
    if not len(ends):
        return nothing("an open pose of every image has no prediction")
    share = np.cumsum(doubt[order])[ends] / (ends + 1)
    best = nothing("no set of poses is good enough for an audit within the budget: review the most doubtful ones")
    for risk in RISKS:
        fitting = np.flatnonzero(share <= risk * max_bad)
        if not len(fitting):
            continue
        count = int(ends[fitting[-1]]) + 1
        expected = float(share[fitting[-1]])
        audit = needed_audit(max_bad, confidence, MARGIN * max(expected, risk * max_bad / 2), count)
        if audit <= min(budget, count) and count > len(best.accepted):
            chosen = order[:count]
            best = Proposal(np.sort(chosen), audit, expected, float(doubt[chosen].max()))
    return best


def needed_audit(max_bad: float, confidence: float, expected: float, population: int) -> int:
    """The smallest audit that proves ``max_bad`` with probability ``POWER`` when the bad rate is ``expected``.

    Returns:
        A number of poses; more than the population when no audit can.
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
        p_bad: (N,) doubts; poses without a prediction come first.
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
    """``count`` rows drawn uniformly without replacement, ascending."""
    return np.sort(rng.choice(candidates, size=min(count, len(candidates)), replace=False))


def mixed_priorities(reviewed: Sequence[float], drawn: int, rng: np.random.Generator) -> list[float]:
    """Priorities for drawn tasks, taken from the ordinary ones' values, so that their place tells nothing.

    Returns:
        ``drawn`` numbers; evenly spread where there are no ordinary tasks.
    """
    if not reviewed:
        return rng.random(drawn).tolist()
    return rng.choice(np.asarray(reviewed, np.float64), size=drawn, replace=True).tolist()
