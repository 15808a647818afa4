"""Which poses may be accepted unseen, and how large an audit could prove it.

Poses (with ``COMPLETE``, whole images by their worst open pose) are ordered by doubt, and a set is a prefix of that
order. Some prefixes become *steps*, from strict to loose, and one audit is drawn from the loosest. It is later walked
from strict to loose: of the part of it that fell into a step, given its size, every subset of that step is equally
likely, so each step is tested by its own uniform draw, and testing in a fixed order until the first failure costs no
confidence (fixed-sequence testing: A. Angelopoulos et al., "Learn then test", 2021, section 3.2). A loose step that
fails takes nothing from the strict ones before it, and its audited poses would have been reviewed anyway. So there are
many steps; which is the first and which the last, and how large the audit is, is chosen such that most poses should be
kept unopened, by all that is known about the bad rates beforehand.

What is predicted decides only what is worth trying: the promise rests on the audit alone.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betaincinv  # pyright: ignore[reportMissingTypeStubs]  # it has none

from autolabel.errors import InputError

Indices = NDArray[np.intp]

STEPS = 16
"""Sets that are considered as steps, at most."""

LOOSEST = 1.2
"""The loosest one is predicted to hold at most this many times the promised bad rate ..."""

STRICTEST = 0.2
"""... and the strictest one is this share of it. They lie denser towards the loose end."""

POWER = 0.8
"""A first step is proposed only with an audit that proves it with this probability, by all that is known before."""

TRUST = 100.0
"""The predicted share counts as much as this many checked poses."""

LEAST = 1.0
"""Bad poses that are believed in at least, so that nothing is taken for certain before it was checked."""

_QUANTILES = (np.arange(64) + 0.5) / 64
_ENDURED = 128
_AUDITS = 24


class Choice(StrEnum):
    """A named choice that is refused with the known ones."""

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


class Policy(Choice):
    """Which accepted poses will be exported, and thus may be claimed."""

    COMPLETE = "complete"
    ALL = "all"


@dataclass(frozen=True)
class Step:
    """One of the nested sets that an audit is walked along.

    Attributes:
        size: The first so many of the proposal's accepted poses.
        expected: Their predicted share of bad poses.
        threshold: The highest ``p_bad`` among them.
    """

    size: int
    expected: float
    threshold: float


@dataclass(frozen=True, eq=False)
class Proposal:
    """Nested accepted sets and the one audit that could prove them.

    Attributes:
        accepted: (M,) rows of the accepted poses in the order of doubt: a step is the first so many of them.
        steps: From strict to loose; the last holds all accepted poses. Fixed before the audit is drawn.
        audit: How many poses to audit, drawn uniformly from all accepted ones.
        reason: Why nothing is accepted, or "".
    """

    accepted: Indices
    steps: tuple[Step, ...]
    audit: int
    reason: str = ""

    @property
    def expected(self) -> float:
        """The predicted share of bad poses among all accepted ones; NaN where nothing is accepted."""
        return self.steps[-1].expected if self.steps else math.nan

    @property
    def threshold(self) -> float:
        """The highest ``p_bad`` among the accepted poses; NaN where nothing is accepted."""
        return self.steps[-1].threshold if self.steps else math.nan


@dataclass(frozen=True, eq=False)
class Development:
    """Human-checked poses that neither the network nor the calibrator learnt from.

    Attributes:
        p_bad: (D,) doubts; with ``COMPLETE``, best the worst one of the pose's image. NaN: it belongs to no set.
        bad: (D,) whether people found the pose bad.

    Raises:
        InputError: The arrays differ in length, or a doubt is not a probability.
    """

    p_bad: NDArray[np.floating]
    bad: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.p_bad.ndim != 1 or self.p_bad.shape != self.bad.shape:
            raise InputError(f"development poses: {self.p_bad.shape} doubts and {self.bad.shape} verdicts")
        require_doubts(self.p_bad)

    def __len__(self) -> int:
        return len(self.bad)


def nothing(reason: str) -> Proposal:
    """The proposal to accept nothing, with the reason."""
    return Proposal(np.empty(0, np.intp), (), 0, reason)


def propose(
    p_bad: NDArray[np.floating],
    open_: NDArray[np.bool_],
    image: NDArray[np.integer],
    *,
    max_bad: float,
    confidence: float,
    budget: int,
    policy: Policy = Policy.COMPLETE,
    sensitivity: float = 1.0,
    development: Development | None = None,
) -> Proposal:
    """The nested sets that an audit within the budget can be expected to prove.

    The share of bad poses that is predicted for a set is the mean of its doubts; k bad ones among n development
    poses that would fall into the set correct it to (TRUST share + k) / (TRUST + n), a beta-binomial mean.

    Args:
        p_bad: (N,) calibrated probabilities; a pose without one (NaN) is never accepted.
        open_: (N,) poses that nobody settled.
        image: (N,) the image of each pose.
        max_bad: The promised share of bad poses.
        confidence: Of the draw.
        budget: The most poses that may be audited.
        policy: ``COMPLETE`` accepts an image's open poses together or not at all.
        sensitivity: The share of bad poses that reviewers find at least.
        development: Checked poses that correct what is predicted.

    Raises:
        InputError: ``max_bad`` or ``confidence`` is not between 0 and 1, the budget is negative, the sensitivity is
            not in (0, 1], or a doubt is not a probability.
    """
    require_promise(max_bad, confidence, budget, sensitivity)
    require_doubts(p_bad)
    doubt = np.where(np.isnan(p_bad), np.inf, p_bad.astype(np.float64))
    unit = np.unique(image, return_inverse=True)[1] if policy is Policy.COMPLETE else np.arange(len(doubt))
    rows = np.flatnonzero(open_)
    if not len(rows):
        return nothing("no pose is open")
    order, ends = _prefixes(doubt[rows], unit[rows])
    if not len(ends):
        return nothing("in every image with open poses one of them has no p_bad")
    order = rows[order[: ends[-1] + 1]]
    sets = _Sets.of(doubt[order], ends, development)
    grid = sets.grid(LOOSEST * max_bad)
    plan = _best_plan(sets, grid, max_bad, confidence, budget, sensitivity)
    if plan is None:
        return nothing(_why_not(sets, grid, max_bad, confidence, budget, sensitivity))
    steps = tuple(sets.step(i) for i in plan.steps)
    return Proposal(order[: steps[-1].size], steps, plan.audit)


def require_promise(max_bad: float, confidence: float, budget: int, sensitivity: float = 1.0) -> None:
    """Refuse what cannot be promised.

    Raises:
        InputError: ``max_bad`` or ``confidence`` is not between 0 and 1, the budget is negative, or the sensitivity
            is not in (0, 1].
    """
    for name, share in (("max_bad", max_bad), ("confidence", confidence)):
        if not 0 < share < 1:
            raise InputError(f"{name} is {share}", remedy="Give a number between 0 and 1.")
    if budget < 0:
        raise InputError(f"budget is {budget}", remedy="Give the number of tasks that people will open.")
    if not 0 < sensitivity <= 1:
        raise InputError(f"sensitivity is {sensitivity}", remedy="Give the share of bad poses that reviewers find.")


def require_doubts(p_bad: NDArray[np.floating]) -> None:
    """Refuse doubts that are no probabilities; NaN says that there is none.

    Raises:
        InputError: One is below 0 or above 1.
    """
    if ((p_bad < 0) | (p_bad > 1)).any():
        wrong = float(p_bad[(p_bad < 0) | (p_bad > 1)][0])
        raise InputError(f"p_bad is {wrong}, which is no probability", remedy="Score the manifest again.")


def audit_power(
    audited: NDArray[np.integer],
    max_bad: float,
    confidence: float,
    belief: tuple[float, float],
    population: int,
    *,
    sensitivity: float = 1.0,
) -> NDArray[np.float64]:
    """With what probability audits prove the promise.

    How many bad poses an audit finds is taken as binomial, as if the population were unlimited and reviewers found
    every one (a little too many), at a bad rate that is not known: it is Beta(a, b) distributed, and taken at its
    quantiles.

    Args:
        audited: (T,) poses audited.
        max_bad: The promised share of bad poses.
        confidence: Of the draw.
        belief: a and b: bad and good poses that the bad rate is believed by.
        population: Accepted poses.
        sensitivity: The share of bad poses that the verdict assumes reviewers to find.

    Returns:
        (T,) probabilities.
    """
    most = min(math.ceil(max_bad * population) + 1, population)
    if most < 1:
        return np.zeros(len(audited))
    found = np.unique(np.geomspace(1, most, min(most, _ENDURED)).round().astype(np.int64)) - 1
    place = np.searchsorted(_audits(found, max_bad, confidence, population, sensitivity), audited, side="right") - 1
    rates = betaincinv(*belief, _QUANTILES)
    power = bdtr(found[place][:, None], np.asarray(audited)[:, None], rates).mean(axis=1)
    return np.where(place >= 0, power, 0.0)


def _audits(bad: Indices, max_bad: float, confidence: float, population: int, sensitivity: float) -> NDArray[np.int64]:
    """(F,) the smallest audits that prove ``max_bad`` when they find so many bad poses; nearly, and a little too many.

    D bad poses among M fall into an audit of m, and are found, nearly independently and each with probability L m / M.
    The promise is proven when k found ones rule out the smallest D above ``k + max_bad (M - k)``, so m is where
    BinCDF(k; D, L m / M) = δ.
    """
    too_many = np.floor(bad + max_bad * (population - bad) + 1e-9) + 1
    share = betaincinv(bad + 1, too_many - bad, confidence)
    return np.maximum(np.ceil(population * share / sensitivity - 1e-9), bad + 1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Sets:
    """The P prefixes that may be accepted.

    Attributes:
        size: (P,) poses in each.
        share: (P,) predicted share of bad poses, corrected by the development poses.
        threshold: (P,) highest doubt.
        checked: (P,) development poses that would fall into it.
        bad: (P,) bad ones among them.
    """

    size: NDArray[np.intp]
    share: NDArray[np.float64]
    threshold: NDArray[np.float64]
    checked: NDArray[np.intp]
    bad: NDArray[np.intp]

    @classmethod
    def of(cls, doubt: NDArray[np.float64], ends: Indices, development: Development | None) -> "_Sets":
        size = ends + 1
        share = np.cumsum(doubt)[ends] / size
        threshold = np.maximum.accumulate(doubt)[ends]
        checked = bad = np.zeros(len(ends), np.intp)
        if development is not None and len(development):
            place = np.argsort(development.p_bad, kind="stable")
            checked = np.searchsorted(development.p_bad[place].astype(np.float64), threshold, side="right")
            bad = np.append(0, np.cumsum(development.bad[place]))[checked]
            share = (TRUST * share + bad) / (TRUST + checked)
        return cls(size, share, threshold, checked, bad)

    def step(self, i: int) -> Step:
        return Step(int(self.size[i]), float(self.share[i]), float(self.threshold[i]))

    def grid(self, share: float) -> Indices:
        """(G,) prefixes that may become steps: the loosest is predicted to hold at most this share of bad poses."""
        fitting = np.flatnonzero(self.share <= share)
        if not len(fitting):
            return fitting
        loosest = int(self.size[fitting[-1]])
        wanted = loosest * (1 - (1 - STRICTEST) * np.linspace(1, 0, STEPS) ** 2)
        return np.unique(np.maximum(np.searchsorted(self.size, wanted, side="right") - 1, 0))

    def belief(self, i: int) -> tuple[float, float]:
        """The a and b of the Beta distribution that the bad rate of a set is believed by."""
        weight = TRUST + int(self.checked[i])
        return max(float(self.share[i]) * weight, LEAST), max((1 - float(self.share[i])) * weight, LEAST)


@dataclass(frozen=True)
class _Plan:
    """Steps, their audit, and how many poses should be kept unopened by it."""

    steps: tuple[int, ...]
    audit: int
    saved: float


def _best_plan(
    sets: _Sets, grid: Indices, max_bad: float, confidence: float, budget: int, sensitivity: float
) -> _Plan | None:
    """The steps and the audit that should keep most poses unopened; None where no first step is likely to pass."""
    best: _Plan | None = None
    for last in range(len(grid)):
        steps = grid[: last + 1]
        size = sets.size[steps]
        most = min(budget, int(size[-1]) - 1)
        if most < 1:
            continue
        audits = np.unique(np.geomspace(1, most, _AUDITS).round().astype(np.int64))
        power = np.stack(
            [
                audit_power(
                    audits * int(n) // int(size[-1]),
                    max_bad,
                    confidence,
                    sets.belief(i),
                    int(n),
                    sensitivity=sensitivity,
                )
                for i, n in zip(steps.tolist(), size.tolist(), strict=True)
            ]
        )
        for first in range(last + 1):
            # Steps pass together or not at all, nearly: a later one at most as often as each before it.
            passed = np.minimum.accumulate(power[first:], axis=0)
            gained = np.diff(size[first:], prepend=0)
            saved = np.where(power[first] >= POWER, (gained @ passed) * (1 - audits / size[-1]), 0.0)
            if saved.max() > (best.saved if best else 0.0):
                best = _Plan(tuple(steps[first:].tolist()), int(audits[saved.argmax()]), float(saved.max()))
    return best


def _why_not(sets: _Sets, grid: Indices, max_bad: float, confidence: float, budget: int, sensitivity: float) -> str:
    """Why nothing is proposed."""
    if not len(grid):
        return "no set of poses is good enough for an audit within the budget: review the most doubtful ones"
    dearer = _best_plan(sets, grid, max_bad, confidence, int(sets.size[grid[-1]]), sensitivity)
    if dearer is None:
        return "no audit smaller than what could be accepted is likely to prove it: review all poses"
    short = (
        f"an audit that is likely to prove something takes up to {dearer.audit} poses, but the budget leaves {budget}"
    )
    return f"{short}: raise the budget, or review the most doubtful ones"


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
