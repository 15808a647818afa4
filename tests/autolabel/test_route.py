"""Draws: that they are uniform, and that the place of a drawn task tells nothing."""

import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.route import Order, Policy, draw, mixed_priorities


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
