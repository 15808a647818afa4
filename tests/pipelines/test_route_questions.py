"""Which keypoints of a routing's tasks people are asked about: as many left as are expected to be right, never more."""

from typing import Any

import numpy as np
import pytest

from pipelines.route_pool import Pool
from pipelines.route_questions import MOST, questions

N, K = 200, 17


def pool(p_gross: np.ndarray) -> Pool:
    n = len(p_gross)
    rest: dict[str, Any] = {
        "ids": np.arange(n).astype(str), "p_bad": np.zeros(n, np.float32), "image": np.arange(n),
        "open": np.ones(n, bool), "shown": np.ones(n, bool), "second": np.zeros(n, bool),
        "faulty": np.zeros(n, bool),
        "untouched": np.zeros((n, 3), np.uint8), "group": np.arange(n, dtype=np.uint64), "refused": np.zeros(n, bool),
        "beside": np.empty(0, np.uint64),
    }  # fmt: skip
    return Pool(p_gross=p_gross.astype(np.float16), **rest)


def doubts(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).beta(0.3, 4, (N, K))


ROWS = {"review": np.arange(100), "audit": np.arange(50, 150)}


@pytest.mark.parametrize("most", [0.06, 0.03, 0.015])
def test_what_is_left_is_expected_to_hold_no_more_gross_ones_than_allowed(most: float) -> None:
    made = questions(pool(doubts()), ROWS, most, calibrated=True)
    assert made.asked == 150 * made.marks
    assert made.asked + made.left == 150 * K
    weakest = np.sort(doubts()[:150].astype(np.float16).astype(float), axis=1)
    assert made.expected_gross == pytest.approx(weakest[:, : K - made.marks].mean())
    assert made.expected_gross <= most or made.marks == MOST
    assert made.marks == 2 or weakest[:, : K - made.marks + 1].mean() > most, "no fewer marks would do"


def test_what_is_very_doubtful_is_not_marked_all_over() -> None:
    made = questions(pool(np.full((N, K), 0.9)), ROWS, 0.01, calibrated=True)
    assert made.marks == MOST
    assert made.expected_gross == pytest.approx(0.9, abs=0.01), "and what is left is told"


def test_a_ranking_that_is_no_probability_asks_about_the_two_weakest() -> None:
    made = questions(pool(doubts()), ROWS, 0.01, calibrated=False)
    assert (made.marks, made.asked, made.expected_gross) == (2, 150 * 2, None)


@pytest.mark.parametrize(
    ("p_gross", "rows"),
    [(np.full((N, K), np.nan), ROWS), (doubts(), {}), (doubts(), {"review": np.empty(0, np.intp)})],
    ids=["no doubt is known", "no kinds", "no tasks"],
)
def test_nothing_is_left_where_nothing_is_known(p_gross: np.ndarray, rows: dict[str, np.ndarray]) -> None:
    made = questions(pool(p_gross), rows, 0.01, calibrated=True)
    assert (made.left, made.expected_gross) == (0, None)
