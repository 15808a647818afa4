import json

import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.past_rounds import Doubts, Past

NAN = float("nan")


def test_a_round_is_kept_as_counts_and_what_was_expected() -> None:
    past = Past.of([0.2, 0.6, NAN], [[0.1, 0.3], [0.5, NAN], [1, 1]], [0, 1, 1], [1, 2, 2], [3, 9, 100])
    assert past.doubts == Doubts((0.2, 0.6), (1, 1))  # of a pose without a doubt nothing was foretold
    assert (past.reviews, past.bad, past.gross, past.gross_squares) == (2, 1, 3, 5)
    assert past.expected_gross == pytest.approx(0.9)
    assert past.expected_seconds == pytest.approx(2 * 3 + 2.5 * 0.9)
    assert past.seconds == 12


def test_a_round_is_kept_as_json() -> None:
    for seconds in ([3.0, 4.0], None):
        past = Past.of([0.2, 0.6], [[0.1], [0.5]], [0, 1], [0, 1], seconds)
        assert Past.from_dict(json.loads(json.dumps(past.to_dict()))) == past


def test_a_time_that_was_not_taken_is_not_known() -> None:
    assert Past.of([0.2, 0.6], [[0.1], [0.5]], [0, 1], [0, 1], [3, NAN]).seconds is None


@pytest.mark.parametrize("count", [0, 1, 63, 64, 1000])
def test_doubts_in_short_have_the_same_sum(count: int) -> None:
    p_bad = np.random.default_rng(0).beta(0.5, 3, count)
    doubts = Doubts.of(p_bad)
    assert sum(doubts.count) == count
    assert len(doubts.mean) <= 64
    assert np.dot(doubts.mean, doubts.count) == pytest.approx(p_bad.sum())
    assert list(doubts.mean) == sorted(doubts.mean)


@pytest.mark.parametrize(
    "given",
    [
        ([0.2], [[0.1], [0.1]], [0], [0]),
        ([0.2], [0.1], [0], [0]),
        ([1.2], [[0.1]], [0], [0]),
        ([0.2], [[-0.1]], [0], [0]),
        ([0.2], [[0.1]], [0, 1], [0]),
        ([0.2], [[0.1]], [0], [-1]),
        ([0.2], [[0.1]], [NAN], [0]),
        ([0.2], [[0.1]], [0], [0], [-3]),
        ([0.2], [[0.1]], [0], [0], [1, 2]),
    ],
)
def test_impossible_rounds_are_refused(given: tuple[object, ...]) -> None:
    with pytest.raises(InputError):
        Past.of(*given)  # type: ignore[arg-type]
