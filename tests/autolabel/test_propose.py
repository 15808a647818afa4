"""Proposals: what a step may hold, how large its audit is, and that an audit walked along the steps does not lie."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autolabel.bounds import residual_bound
from autolabel.errors import InputError
from autolabel.propose import (
    LEAST,
    LOOSEST,
    POWER,
    STEPS,
    TRUST,
    Development,
    Policy,
    audit_power,
    nothing,
    propose,
    require_promise,
)
from autolabel.walk import judge

N = 40
PROMISE = {"max_bad": 0.2, "confidence": 0.8, "budget": N}

doubts = hnp.arrays(np.float32, N, elements=st.one_of(st.floats(0, 1, width=32), st.just(np.nan), st.just(0.0)))
masks = hnp.arrays(np.bool_, N, elements=st.integers(0, 9).map(lambda i: i > 0))
images = hnp.arrays(np.int64, N, elements=st.integers(0, 15))


def proposal(p_bad: np.ndarray, open_: np.ndarray, image: np.ndarray, **changes: Any) -> Any:
    return propose(p_bad, open_, image, **{**PROMISE, **changes})


def pool(n: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Doubts as a good calibrator gives them, and which poses are bad."""
    rng = np.random.default_rng(seed)
    p_bad = rng.beta(0.25, 1.5, n)
    return p_bad, rng.random(n) < p_bad


@given(doubts, masks, images)
def test_each_step_takes_whole_images_in_the_order_of_their_worst_pose(
    p_bad: np.ndarray, open_: np.ndarray, image: np.ndarray
) -> None:
    chosen = proposal(p_bad, open_, image)
    assert len(set(chosen.accepted.tolist())) == len(chosen.accepted)
    if not chosen.steps:
        assert len(chosen.accepted) == chosen.audit == 0
        assert chosen.reason
        assert np.isnan([chosen.expected, chosen.threshold]).all()
        return
    assert chosen.reason == ""
    assert 0 < chosen.audit < len(chosen.accepted) == chosen.steps[-1].size
    assert (chosen.expected, chosen.threshold) == (chosen.steps[-1].expected, chosen.steps[-1].threshold)
    sizes = [step.size for step in chosen.steps]
    assert sizes == sorted(set(sizes))
    assert len(sizes) <= STEPS
    doubt = np.where(np.isnan(p_bad), np.inf, p_bad)
    worst = {i: doubt[open_ & (image == i)].max() for i in set(image[open_].tolist())}
    for step in chosen.steps:
        rows = chosen.accepted[: step.size]
        accepted = np.isin(np.arange(N), rows)
        assert not (accepted & ~open_).any(), "what is settled is not accepted once more"
        assert not np.isnan(p_bad[rows]).any()
        taken = set(image[rows].tolist())
        for i in taken:
            assert accepted[open_ & (image == i)].all(), "an image's open poses are accepted together or not at all"
        highest = max(worst[i] for i in taken)
        assert all(worst[i] > highest for i in worst.keys() - taken), "a prefix, ties included"
        assert step.expected == pytest.approx(p_bad[rows].astype(float).mean())
        assert step.expected <= LOOSEST * PROMISE["max_bad"]
        assert step.threshold == p_bad[rows].max()


@given(doubts, masks, images)
def test_where_all_images_are_exported_poses_are_accepted_singly(
    p_bad: np.ndarray, open_: np.ndarray, image: np.ndarray
) -> None:
    chosen = proposal(p_bad, open_, image, policy=Policy.ALL)
    assert chosen.accepted.tolist() == proposal(p_bad, open_, np.arange(N)).accepted.tolist()


def test_a_larger_audit_may_prove_a_larger_set() -> None:
    p_bad, open_ = np.linspace(0, 0.5, 400), np.ones(400, bool)
    sizes = [len(proposal(p_bad, open_, np.arange(400), budget=budget).accepted) for budget in (0, 5, 25, 400)]
    assert sizes[0] == 0
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[1]


def test_the_steps_and_the_audit_keep_most_poses_unopened_by_their_chances() -> None:
    p_bad, _ = pool()
    sure = PROMISE["confidence"]
    chosen = proposal(p_bad, np.ones(2000, bool), np.arange(2000), max_bad=0.05, budget=2000)
    sizes = np.array([step.size for step in chosen.steps])
    assert len(sizes) > 1

    def power(size: int, audited: int) -> float:
        share = float(np.sort(p_bad)[:size].mean())
        belief = (max(share * TRUST, LEAST), (1 - share) * TRUST)
        return float(audit_power(np.array([audited]), 0.05, sure, belief, size)[0])

    passed = np.minimum.accumulate([power(n, chosen.audit * n // sizes[-1]) for n in sizes.tolist()])
    assert passed[0] >= POWER
    saved = (np.diff(sizes, prepend=0) @ passed) * (1 - chosen.audit / sizes[-1])
    for size in range(100, 1400, 50):
        for audited in range(20, size, 40):
            chance = power(size, audited)
            if chance >= POWER:
                assert chance * (size - audited) <= 1.02 * saved, "no single set does better"


def test_doubts_that_look_too_good_are_audited_all_the_same() -> None:
    chosen = proposal(np.zeros(4000), np.ones(4000, bool), np.arange(4000), max_bad=0.02, confidence=0.95, budget=4000)
    assert len(chosen.accepted) == 4000
    assert chosen.expected == 0
    assert residual_bound(0, chosen.audit, 4000, 0.95) < 0.015, "it may find some, though none is predicted"


def test_development_poses_correct_the_prediction() -> None:
    p_bad, open_, image = np.full(1000, 0.01), np.ones(1000, bool), np.arange(1000)
    bad = np.arange(300) < 6
    chosen = propose(
        p_bad, open_, image, max_bad=0.1, confidence=0.9, budget=1000, development=Development(np.full(300, 0.01), bad)
    )
    assert chosen.expected == pytest.approx((TRUST * 0.01 + 6) / (TRUST + 300))
    far = Development(np.full(300, 0.5), np.ones(300, bool))
    same = propose(p_bad, open_, image, max_bad=0.1, confidence=0.9, budget=1000, development=far)
    assert same.expected == pytest.approx(0.01), "poses that would not be accepted say nothing"
    nan = Development(np.full(300, np.nan), np.ones(300, bool))
    assert propose(p_bad, open_, image, max_bad=0.1, confidence=0.9, budget=1000, development=nan).audit == same.audit
    worse = Development(np.full(300, 0.01), np.arange(300) < 60)
    none = propose(p_bad, open_, image, max_bad=0.1, confidence=0.9, budget=1000, development=worse)
    assert not none.steps, "a calibrator that is found out is not believed"


def test_with_checked_poses_the_audit_is_smaller() -> None:
    p_bad, open_, image = np.full(5000, 0.02), np.ones(5000, bool), np.arange(5000)
    made = [
        propose(
            p_bad, open_, image, max_bad=0.03, confidence=0.9, budget=5000,
            development=Development(np.full(n, 0.02), np.arange(n) % 50 == 0),
        )
        for n in (0, 1000, 5000)
    ]  # fmt: skip
    assert made[0].audit > made[1].audit >= made[2].audit > 0


def test_reviewers_who_overlook_errors_make_the_promise_dearer_or_impossible() -> None:
    powers = [
        float(audit_power(np.array([300]), 0.05, 0.9, (2, 98), 2000, sensitivity=sensitivity)[0])
        for sensitivity in (1.0, 0.9, 0.8)
    ]
    assert powers[0] > powers[1] > powers[2]
    p_bad, _ = pool()
    open_, image = np.ones(2000, bool), np.arange(2000)
    assert "no audit smaller than" in proposal(p_bad, open_, image, budget=2000, sensitivity=0.01).reason


@pytest.mark.parametrize(
    ("p_bad", "open_", "changes", "reason"),
    [
        ([0.0] * N, [False] * N, {}, "no pose is open"),
        ([np.nan] * N, [True] * N, {}, "one of them has no p_bad"),
        ([1.0] * N, [True] * N, {}, "review the most doubtful"),
        ([], [], {}, "no pose is open"),
        ([0.0] * N, [True] * N, {"max_bad": 0.01, "confidence": 0.99}, "no audit smaller than what could be accepted"),
        ([0.0], [True], {}, "no audit smaller than what could be accepted"),
        ([0.0] * N, [True] * N, {"budget": 3}, "but the budget leaves 3"),
    ],
)
def test_why_nothing_is_accepted(p_bad: list[float], open_: list[bool], changes: dict[str, Any], reason: str) -> None:
    chosen = proposal(np.array(p_bad), np.array(open_, bool), np.arange(len(p_bad)), **changes)
    assert len(chosen.accepted) == chosen.audit == len(chosen.steps) == 0
    assert reason in chosen.reason


def test_nothing_is_a_proposal_too() -> None:
    assert nothing("why").reason == "why"
    assert np.isnan(nothing("why").expected)


@pytest.mark.parametrize(
    ("max_bad", "confidence", "budget", "sensitivity", "message"),
    [
        (0, 0.9, 1, 1, "max_bad is 0"),
        (1, 0.9, 1, 1, "max_bad"),
        (np.nan, 0.9, 1, 1, "max_bad is nan"),
        (0.1, 1, 1, 1, "confidence is 1"),
        (0.1, 0, 1, 1, "confidence is 0"),
        (0.1, 0.9, -1, 1, "budget is -1"),
        (0.1, 0.9, 1, 0, "sensitivity is 0"),
        (0.1, 0.9, 1, 1.1, "sensitivity is 1.1"),
        (0.1, 0.9, 1, np.nan, "sensitivity is nan"),
    ],
)
def test_impossible_promises_are_refused(
    max_bad: float, confidence: float, budget: int, sensitivity: float, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        require_promise(max_bad, confidence, budget, sensitivity)


@pytest.mark.parametrize("wrong", [-0.1, 1.5, np.inf])
def test_a_doubt_that_is_no_probability_is_refused(wrong: float) -> None:
    doubt = np.array([0.1, wrong])
    with pytest.raises(InputError, match="no probability"):
        proposal(doubt, np.ones(2, bool), np.arange(2))
    with pytest.raises(InputError, match="no probability"):
        Development(doubt, np.zeros(2, bool))


def test_development_verdicts_must_fit_their_doubts() -> None:
    with pytest.raises(InputError, match="doubts"):
        Development(np.zeros(3), np.zeros(2, bool))


@pytest.mark.parametrize(
    ("max_bad", "confidence", "belief", "population"),
    [(0.1, 0.95, (4, 96), 600), (0.2, 0.8, (10, 90), 150), (0.05, 0.9, (5, 495), 300), (0.3, 0.8, (30, 170), 80)],
)
def test_an_audit_proves_its_promise_as_often_as_is_said(
    max_bad: float, confidence: float, belief: tuple[float, float], population: int
) -> None:
    """Against brute force: bad rates as they are believed, poses that are bad with that rate, and drawn audits."""
    audits = np.array([population // 8, population // 4, population // 2, 3 * population // 4])
    powers = audit_power(audits, max_bad, confidence, belief, population)
    assert powers.max() > 0.5
    rng = np.random.default_rng(0)
    bad = rng.binomial(population, rng.beta(*belief, 4000))
    for size, power in zip(audits.tolist(), powers.tolist(), strict=True):
        found = rng.hypergeometric(bad, population - bad, size)
        verdicts = {
            k: residual_bound(k, size, population, confidence, rejected=k) <= max_bad for k in set(found.tolist())
        }
        happened = float(np.mean([verdicts[k] for k in found.tolist()]))
        assert happened >= power - 0.03, "never less than was said"
        assert happened <= power + 0.2, "and not much more, though a finite population helps"


@pytest.mark.parametrize(("population", "sensitivity"), [(0, 1.0), (1, 1.0), (500, 1e-3)])
def test_what_cannot_be_proven_has_no_power(population: int, sensitivity: float) -> None:
    powers = audit_power(np.arange(min(population, 5)), 0.1, 0.95, (0.25, 100), population, sensitivity=sensitivity)
    assert not powers.any()


def test_one_audit_walked_along_the_steps_breaks_its_promise_no_more_often_than_it_may() -> None:
    """Doubts that are far too rosy: whatever is certified would be wrong, and seldom is."""
    rng = np.random.default_rng(1)
    p_bad, _ = pool(1500)
    truth = rng.random(1500) < np.clip(2.2 * p_bad, 0, 1)
    chosen = propose(
        p_bad, np.ones(1500, bool), np.arange(1500), max_bad=0.05, confidence=0.9, budget=1500, policy=Policy.ALL
    )
    sizes = np.array([step.size for step in chosen.steps])
    assert len(sizes) > 1
    of_step = truth[chosen.accepted]
    broken = 0
    for _ in range(300):
        rows = rng.choice(sizes[-1], chosen.audit, replace=False)
        bad = of_step[rows]
        walked = judge(
            sizes.tolist(), np.searchsorted(sizes, rows, side="right"), bad, bad, bad, max_bad=0.05, confidence=0.9,
            sensitivity=1.0,
        )  # fmt: skip
        if walked.step >= 0:
            size = sizes[walked.step]
            left = of_step[:size].sum() - bad[rows < size].sum()
            broken += left > 0.05 * (size - bad[rows < size].sum())
    assert broken <= 300 * 0.1 + 3 * np.sqrt(300 * 0.1 * 0.9)
