"""Routing decisions: what a proposal may hold, that draws are uniform, and that an audit is as large as it must be."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autolabel.certify import residual_bound
from autolabel.errors import InputError
from autolabel.route import (
    POWER,
    Order,
    Policy,
    draw,
    mixed_priorities,
    needed_audit,
    propose,
    require_promise,
    review_order,
)

N = 40
PROMISE = {"max_bad": 0.2, "confidence": 0.8, "budget": N}

doubts = hnp.arrays(np.float32, N, elements=st.one_of(st.floats(0, 1, width=32), st.just(np.nan), st.just(0.0)))
masks = hnp.arrays(np.bool_, N, elements=st.integers(0, 9).map(lambda i: i > 0))
images = hnp.arrays(np.int64, N, elements=st.integers(0, 15))


def proposal(p_bad: np.ndarray, open_: np.ndarray, image: np.ndarray, **changes: Any) -> Any:
    return propose(p_bad, open_, image, **{**PROMISE, **changes})


@given(doubts, masks, images)
def test_images_are_accepted_whole_and_in_the_order_of_their_worst_pose(
    p_bad: np.ndarray, open_: np.ndarray, image: np.ndarray
) -> None:
    chosen = proposal(p_bad, open_, image)
    accepted = np.isin(np.arange(N), chosen.accepted)
    assert not (accepted & ~open_).any(), "what is settled is not accepted once more"
    assert not np.isnan(p_bad[accepted]).any()
    doubt = np.where(np.isnan(p_bad), np.inf, p_bad)
    worst = {i: doubt[open_ & (image == i)].max() for i in set(image[open_].tolist())}
    taken = {i for i in worst if accepted[image == i].any()}
    for i in taken:
        assert accepted[open_ & (image == i)].all(), "an image's open poses are accepted together or not at all"
    highest = max((worst[i] for i in taken), default=-np.inf)
    assert all(worst[i] > highest for i in worst.keys() - taken), "a prefix, ties included"
    if accepted.any():
        assert chosen.expected == pytest.approx(p_bad[accepted].astype(float).mean())
        assert chosen.expected <= 0.6 * PROMISE["max_bad"]
        assert chosen.threshold == p_bad[accepted].max()
        assert 0 < chosen.audit <= accepted.sum()
        assert chosen.reason == ""
    else:
        assert chosen.audit == 0
        assert chosen.reason


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


def test_doubts_that_look_too_good_are_audited_all_the_same() -> None:
    chosen = proposal(np.zeros(400), np.ones(400, bool), np.arange(400), max_bad=0.05, budget=400)
    assert len(chosen.accepted) == 400
    assert chosen.expected == 0
    assert chosen.audit >= needed_audit(0.05, 0.8, 0.6 * 0.05 / 2, 400)


@pytest.mark.parametrize(
    ("p_bad", "open_", "reason"),
    [
        ([0.0] * N, [False] * N, "no pose is open"),
        ([np.nan] * N, [True] * N, "one of them has no p_bad"),
        ([1.0] * N, [True] * N, "review the most doubtful"),
        ([], [], "no pose is open"),
    ],
)
def test_why_nothing_is_accepted(p_bad: list[float], open_: list[bool], reason: str) -> None:
    chosen = proposal(np.array(p_bad), np.array(open_, bool), np.arange(len(p_bad)))
    assert len(chosen.accepted) == chosen.audit == 0
    assert reason in chosen.reason


@pytest.mark.parametrize(
    ("max_bad", "confidence", "budget", "message"),
    [
        (0, 0.9, 1, "max_bad is 0"),
        (1, 0.9, 1, "max_bad"),
        (0.1, 1, 1, "confidence is 1"),
        (0.1, 0.9, -1, "budget is -1"),
    ],
)
def test_impossible_promises_are_refused(max_bad: float, confidence: float, budget: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        require_promise(max_bad, confidence, budget)


@pytest.mark.parametrize(
    ("max_bad", "confidence", "expected", "population"),
    [(0.1, 0.95, 0.04, 600), (0.2, 0.8, 0.1, 150), (0.05, 0.9, 0.01, 300), (0.3, 0.8, 0.15, 30)],
)
def test_an_audit_proves_its_promise_as_often_as_it_should(
    max_bad: float, confidence: float, expected: float, population: int
) -> None:
    """Against brute force: audits of populations in which each pose is bad with the expected probability."""
    audit = needed_audit(max_bad, confidence, expected, population)
    assert 0 < audit <= population
    rng = np.random.default_rng(0)
    passed = {
        bad: residual_bound(bad, audit, population, confidence, rejected=bad) <= max_bad for bad in range(audit + 1)
    }

    def power(size: int) -> float:
        found = rng.hypergeometric(bad := rng.binomial(population, expected, 4000), population - bad, size)
        if size == audit:
            return float(np.mean([passed[k] for k in found]))
        verdicts = {
            k: residual_bound(k, size, population, confidence, rejected=k) <= max_bad for k in set(found.tolist())
        }
        return float(np.mean([verdicts[k] for k in found.tolist()]))

    assert power(audit) >= POWER - 0.02
    if audit > 10:
        assert power(round(0.7 * audit)) < POWER, "much smaller ones do not"


def test_a_promise_that_is_not_believed_in_needs_more_than_there_is() -> None:
    assert needed_audit(0.1, 0.95, 0.1, 500) > 500


def test_draws_are_uniform_without_replacement() -> None:
    candidates = np.array([2, 3, 5, 7, 11, 13, 17, 19])
    rng = np.random.default_rng(1)
    drawn = [draw(candidates, 3, rng) for _ in range(4000)]
    assert all(len(set(rows.tolist())) == 3 and (np.diff(rows) > 0).all() for rows in drawn)
    counts = np.array([sum(row in rows for rows in drawn) for row in candidates])
    expected, spread = 4000 * 3 / 8, np.sqrt(4000 * 3 / 8 * 5 / 8)
    assert (np.abs(counts - expected) < 4 * spread).all()
    pairs = sum({2, 19} <= set(rows.tolist()) for rows in drawn)
    assert abs(pairs - 4000 * 3 / 28) < 4 * np.sqrt(4000 * 3 / 28), "neither do neighbours attract nor repel"


def test_a_draw_of_more_than_there_is_takes_all() -> None:
    rng = np.random.default_rng(0)
    assert draw(np.array([4, 9]), 5, rng).tolist() == [4, 9]
    assert draw(np.empty(0, np.intp), 5, rng).tolist() == []


def test_the_most_doubtful_come_first_and_those_without_a_doubt_before_them() -> None:
    p_bad = np.array([0.2, 0.9, np.nan, 0.5, 0.9])
    rng = np.random.default_rng(0)
    assert review_order(p_bad, np.arange(5), 9, Order.DOUBT, rng).tolist() == [2, 1, 4, 3, 0]
    assert review_order(p_bad, np.array([0, 3, 4]), 2, Order.DOUBT, rng).tolist() == [4, 3]
    anyhow = review_order(p_bad, np.array([0, 3, 4]), 2, Order.RANDOM, rng)
    assert len(set(anyhow.tolist())) == 2
    assert set(anyhow.tolist()) <= {0, 3, 4}


def test_drawn_tasks_take_their_place_from_ordinary_ones() -> None:
    rng = np.random.default_rng(0)
    assert set(mixed_priorities([0.5, 0.25], 50, rng)) == {0.5, 0.25}
    alone = mixed_priorities([], 50, rng)
    assert len(set(alone)) == 50
    assert all(0 <= priority < 1 for priority in alone)


def test_a_choice_is_refused_with_the_known_ones() -> None:
    assert Order.parse("random") is Order.RANDOM
    with pytest.raises(InputError, match=r"policy: 'some' is not one of: complete, all"):
        Policy.parse("some")
