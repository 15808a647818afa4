"""What is accepted, what is drawn, and what comes first."""

import numpy as np
import pytest

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
    review_order,
)

RNG = np.random.default_rng(0)


def accepted(p_bad, image, *, open_=None, policy=Policy.COMPLETE, max_bad=0.1, budget=10_000):
    p_bad = np.asarray(p_bad, np.float64)
    everything = np.ones(len(p_bad), bool) if open_ is None else np.asarray(open_)
    return propose(p_bad, everything, np.asarray(image), max_bad=max_bad, confidence=0.95, budget=budget, policy=policy)


def test_the_accepted_set_is_what_is_least_doubted() -> None:
    p_bad = RNG.beta(0.4, 4, 2000)
    found = accepted(p_bad, np.arange(2000))
    inside = np.zeros(2000, bool)
    inside[found.accepted] = True
    assert 0 < inside.sum() < 2000
    assert p_bad[inside].max() == found.threshold <= p_bad[~inside].min()
    assert found.expected == pytest.approx(p_bad[inside].mean())
    assert found.expected <= 0.05


def test_an_image_is_accepted_whole_or_not_at_all() -> None:
    image = np.repeat(np.arange(1000), 2)
    p_bad = RNG.beta(0.4, 4, 2000)
    found = accepted(p_bad, image)
    counts = np.bincount(image[found.accepted], minlength=1000)
    assert set(counts.tolist()) == {0, 2}
    assert len(accepted(p_bad, image, policy=Policy.ALL).accepted) > len(found.accepted)


def test_settled_poses_are_neither_accepted_nor_in_the_way() -> None:
    found = accepted([0.01] * 200 + [0.99] * 200, np.tile(np.arange(200), 2), open_=[True] * 200 + [False] * 200)
    assert found.accepted.tolist() == list(range(200))


@pytest.mark.parametrize(
    ("p_bad", "open_", "budget", "reason"),
    [
        ([0.5] * 100, True, 1000, "good enough"),
        ([0.001] * 100, True, 3, "good enough"),
        ([0.001] * 100, False, 1000, "no pose is open"),
        ([np.nan] * 100, True, 1000, "no prediction"),
    ],
)
def test_nothing_is_accepted_where_nothing_can_be_proven(p_bad, open_, budget, reason) -> None:
    found = accepted(p_bad, np.arange(100), open_=[open_] * 100, budget=budget)
    assert len(found.accepted) == found.audit == 0
    assert reason in found.reason


def test_a_pose_without_a_prediction_is_never_accepted() -> None:
    p_bad = np.full(400, 0.001)
    p_bad[7] = np.nan
    assert 7 not in accepted(p_bad, np.arange(400)).accepted


def test_the_audit_is_large_enough_to_pass_as_often_as_it_says() -> None:
    max_bad, rate, population = 0.1, 0.04, 600
    audited = needed_audit(max_bad, 0.95, rate, population)
    rng = np.random.default_rng(1)
    bad = rng.binomial(audited, rate, 4000)
    passed = [residual_bound(int(k), audited, population, rejected=int(k)) <= max_bad for k in bad]
    assert np.mean(passed) >= POWER - 0.02
    assert needed_audit(max_bad, 0.95, 0.2, population) > population


def test_every_accepted_pose_is_as_likely_to_be_audited() -> None:
    rng = np.random.default_rng(2)
    times = np.zeros(40)
    for _ in range(4000):
        times[draw(np.arange(40), 10, rng)] += 1
    assert np.abs(times / 4000 - 0.25).max() < 0.03


def test_review_begins_with_what_is_most_doubted_or_unknown() -> None:
    p_bad = np.array([0.2, np.nan, 0.9, 0.5])
    rows = np.arange(4)
    assert review_order(p_bad, rows, 3, Order.DOUBT, RNG).tolist() == [1, 2, 3]
    assert sorted(review_order(p_bad, rows, 9, Order.RANDOM, RNG).tolist()) == [0, 1, 2, 3]


def test_drawn_tasks_get_priorities_that_ordinary_tasks_have() -> None:
    assert set(mixed_priorities([0.3, 0.8], 50, RNG)) == {0.3, 0.8}
    assert len(mixed_priorities([], 3, RNG)) == 3


def test_an_impossible_promise_and_an_unknown_order_are_refused() -> None:
    with pytest.raises(InputError, match="make no promise"):
        accepted([0.1], [0], max_bad=0)
    with pytest.raises(InputError, match="is not one of: doubt, random"):
        Order.parse("alphabet")
