"""Accepted sets whose true share of bad poses is known because it was planted.

A set that is truly good cannot break a promise, so certificates are also tried on sets that just are not. They are made
of the poses of a pool that a calibrator trusts most, so that reviewers see what they would see: so many bad ones, the
rest good ones. Every run draws an audit, lets a reviewer answer it and the plants, and asks the product for a verdict.

A certificate is about what its own audit leaves bad, which is less than what was there. So there are two ways to plant:

* ``before``: the share as accepted. At 1.01 times the promise one or two corrections can make the promise true.
* ``left``: so many bad ones that whatever an audit may find and still prove the promise, the share is left: a
  certificate is always wrong.

And two for sets that are nested (half, three quarters, all of the poses), with shares as accepted:

* ``all steps``: every set has the share.
* ``loosest``: only the largest set has it, the smallest one has half the promise.
"""

import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.bounds import residual_bound
from autolabel.propose import audit_power
from autolabel.reviewers import ReviewerRates
from autolabel.route import draw
from autolabel.walk import StepCounts, Walk, count_steps, walk
from benchmarks.certificate_redraw import Plan, Rows, Stage, left_bad, planted, tested
from benchmarks.certificate_reviewers import REVIEWERS, Reviewer, answer
from pipelines.route_promise import Promise

Row = dict[str, Any]

BEFORE, LEFT, ALL_STEPS, LOOSEST = "before", "left", "all steps", "loosest"
TOO_BAD = (1.01, 1.25, 1.5)
GOOD = 0.5
SIZES = (10_000, 600)

_AUDIT_FOR, _POWER = 0.65, 0.9
"""The audit is made such that a set whose bad share is this part of the promise passes with this probability."""


@dataclass(frozen=True)
class Case:
    """A planted set and who audits it.

    Attributes:
        alpha: The promise.
        size: Poses of the set, the largest one where there are several.
        factor: The true share, in units of the promise.
        kind: How it is planted.
        reviewer: Name of the people.
    """

    alpha: float
    size: int
    factor: float
    kind: str
    reviewer: str


@dataclass(frozen=True)
class Terms:
    """What is fixed before a draw.

    Attributes:
        plants: Known errors.
        promise: How δ is spent.
    """

    plants: Rows
    promise: Promise

    @classmethod
    def of(cls, stage: Stage, plan: Plan, alpha: float, reviewer: Reviewer) -> "Terms":
        plants = planted(stage, stage.ground.bad[stage.checked], plan.plants if reviewer.tested else 0)
        return cls(plants, Promise(alpha, plan.confidence, 1, 1, len(plants) > 0))

    @property
    def planned(self) -> float:
        """The sensitivity that the audit is made for."""
        return self.promise.sensitivity(len(self.plants))

    @property
    def best(self) -> float:
        """The sensitivity if every plant is found; what is assumed where there is none."""
        count = len(self.plants)
        return ReviewerRates(count, count, confidence=1 - self.promise.reviewers).sensitivity if count else 1.0


def cases(alpha: float, reviewer: str) -> Iterator[Case]:
    """All planted sets of a promise."""
    for size in SIZES:
        for factor in TOO_BAD:
            for kind in (LEFT, BEFORE, ALL_STEPS, LOOSEST):
                yield Case(alpha, size, factor, kind, reviewer)
        for kind in (BEFORE, ALL_STEPS):
            yield Case(alpha, size, GOOD, kind, reviewer)


def _needed(alpha: float, size: int, terms: Terms) -> int | None:
    """The audit of a set; None where none is enough."""
    share, known = _AUDIT_FOR * alpha, 1e6
    audits = np.arange(1, size)
    powers = audit_power(
        audits, alpha, terms.promise.draw, (share * known, (1 - share) * known), size, sensitivity=terms.planned
    )
    enough = np.flatnonzero(powers >= _POWER)
    return int(audits[enough[0]]) if len(enough) else None


def planted_runs(stage: Stage, plan: Plan, case: Case, runs: int) -> Row:
    """How often a certificate is issued for a planted set, and how often it is wrong.

    Returns:
        With ``note`` instead of counts where no audit could prove the promise, or the pool has too few bad poses.
    """
    reviewer = REVIEWERS[case.reviewer]
    terms = Terms.of(stage, plan, case.alpha, reviewer)
    sizes = [case.size] if case.kind in (BEFORE, LEFT) else [case.size // 2, case.size * 3 // 4, case.size]
    needed = _needed(case.alpha, sizes[0], terms)
    if needed is None:
        return asdict(case) | {"runs": 0, "note": "no audit could prove the promise"}
    audit = -(-needed * case.size // sizes[0])
    bad = _bad_counts(case, sizes, audit, terms)
    rows = compose(stage, sizes, bad)
    if rows is None:
        return asdict(case) | {"runs": 0, "note": "the pool has too few poses of one kind"}
    issued = wrong = largest = 0
    seed = zlib.crc32(repr(case).encode())
    for run in range(runs):
        rng = np.random.default_rng([run, seed])
        verdict, true = _run(stage, rows, sizes, audit, terms, case, rng)
        issued += verdict.issued
        largest += verdict.step == len(sizes) - 1
        wrong += verdict.issued and true > case.alpha
    return asdict(case) | {
        "runs": runs,
        "share": bad[-1] / case.size,
        "audited": audit,
        "plants": len(terms.plants),
        "issued": issued,
        "largest": largest,
        "wrong": wrong,
    }


def compose(stage: Stage, sizes: list[int], bad: list[int]) -> Rows | None:
    """Rows of nested sets with so many bad poses each, the most trusted ones; None where the pool has too few."""
    trusted = np.flatnonzero(stage.open)[np.argsort(stage.p_bad[stage.open], kind="stable")]
    is_bad = stage.ground.bad[trusted]
    wrong, right = trusted[is_bad], trusted[~is_bad]
    if len(wrong) < bad[-1] or len(right) < sizes[-1] - bad[-1]:
        return None
    parts: list[NDArray[np.intp]] = []
    for start, size, before, count in zip([0, *sizes], sizes, [0, *bad], bad, strict=False):
        parts += [wrong[before:count], right[start - before : size - count]]
    return np.concatenate(parts)


def _bad_counts(case: Case, sizes: list[int], audit: int, terms: Terms) -> list[int]:
    """(L,) bad poses of each nested set."""
    factors = [case.factor] * len(sizes)
    if case.kind == LOOSEST:
        factors = [GOOD, (GOOD + case.factor) / 2, case.factor]
    exact = [factor * case.alpha * size for factor, size in zip(factors, sizes, strict=True)]
    if case.factor <= 1:
        return [int(np.floor(count + 1e-9)) for count in exact]
    extra = most_found(case.alpha, audit, case.size, terms.promise.draw, terms.best) if case.kind == LEFT else 0
    return [int(np.ceil(count - 1e-9)) + extra for count in exact]


def most_found(alpha: float, audit: int, size: int, confidence: float, sensitivity: float) -> int:
    """The most bad poses that an audit may find, and correct, and still prove the promise."""
    found = 0
    while found < audit and residual_bound(found + 1, audit, size, confidence, sensitivity=sensitivity) <= alpha:
        found += 1
    return found


def _run(
    stage: Stage, rows: Rows, sizes: list[int], audit: int, terms: Terms, case: Case, rng: np.random.Generator
) -> tuple[Walk, float]:
    """One audit: the verdict, and the truly bad share of the certified set as it leaves it."""
    reviewer = REVIEWERS[case.reviewer]
    audited = draw(np.arange(len(rows)), audit, rng)
    answers = answer(stage.ground, rows[audited], reviewer, rng)
    rates = tested(stage.ground, terms.plants, reviewer, 1 - terms.promise.reviewers, rng)
    counts = count_steps(sizes, np.searchsorted(sizes, audited, side="right"), answers.bad)
    verdict = _walk(counts, case.alpha, terms.promise.draw, rates.sensitivity)
    true = left_bad(stage.ground, rows[: sizes[verdict.step]], audited, answers) if verdict.issued else 0.0
    return verdict, true


@lru_cache(maxsize=100_000)
def _walk(counts: tuple[StepCounts, ...], alpha: float, confidence: float, sensitivity: float) -> Walk:
    """The product's walk, which takes longer than a draw and is often asked the same."""
    return walk(counts, alpha, confidence, sensitivity)
