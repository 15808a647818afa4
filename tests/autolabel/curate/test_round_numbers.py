"""The round's numbers in words, and the curve of risk by coverage."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.curate.round_numbers import LAYOUT, POINTS, RoundNumbers, risk_coverage, text, traces

NAN = np.nan


def numbers(p_bad: list[float], bad: list[float] | None = None, **given: Any) -> RoundNumbers:
    values: dict[str, Any] = {
        "images": 2,
        "on_sheet": False,
        "p_bad": np.array(p_bad),
        "bad": np.full(len(p_bad), NAN) if bad is None else np.array(bad),
        "states": {},
        "routed": {},
        "tagged": {},
        "images_tagged": {},
    }
    return RoundNumbers(**{**values, **given})


def test_the_least_doubtful_are_accepted_first() -> None:
    curve = risk_coverage([0.4, 0.1, 0.2], [1, 0, 1])
    assert curve.coverage == pytest.approx([1 / 3, 2 / 3, 1])
    assert curve.risk == pytest.approx([0, 1 / 2, 2 / 3])


def test_poses_of_equal_doubt_are_accepted_together() -> None:
    for bad in ([1, 0, 0], [0, 0, 1]):
        curve = risk_coverage([0.1, 0.1, 0.1], bad)
        assert (curve.coverage.tolist(), curve.risk.tolist()) == ([1.0], [1 / 3])


def test_no_poses_have_no_curve() -> None:
    assert len(risk_coverage([], []).coverage) == 0


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=300),
    st.integers(2, 50),
)
def test_few_points_end_where_all_points_do(poses: list[tuple[float, bool]], points: int) -> None:
    doubt, bad = np.array(poses).T
    whole, few = risk_coverage(doubt, bad, points=1000), risk_coverage(doubt, bad, points)
    assert len(few.coverage) == min(points, len(np.unique(doubt)))
    assert (np.diff(few.coverage) > 0).all()
    for curve in (whole, few):
        assert (curve.coverage[-1], curve.risk[-1]) == pytest.approx((1, bad.mean()))
    known = dict(zip(whole.coverage.tolist(), whole.risk.tolist(), strict=True))
    assert all(known[x] == y for x, y in zip(few.coverage.tolist(), few.risk.tolist(), strict=True))
    assert few.coverage[0] == whole.coverage[0]


def test_what_is_expected_of_all_rises_with_coverage() -> None:
    risk = risk_coverage(np.linspace(0, 0.5, 5000), np.linspace(0, 0.5, 5000)).risk
    assert len(risk) == POINTS
    assert (np.diff(risk) > 0).all()
    assert risk[-1] == pytest.approx(0.25)


def test_the_true_curve_is_of_the_poses_that_have_a_truth() -> None:
    expected, true = traces(numbers([0.1, 0.2, NAN, 0.4], [0, NAN, 1, 1]))
    assert expected["x"] == [0.33333, 0.66667, 1.0]
    assert (true["x"], true["y"]) == ([0.5, 1.0], [0.0, 0.5])
    assert "2 scored poses" in true["name"]
    assert len(traces(numbers([0.1]))) == 1
    assert LAYOUT["xaxis"]["range"] == [0, 1]


def test_the_numbers_in_words() -> None:
    shown = numbers(
        [0.1, 0.3, NAN],
        [0, 1, NAN],
        images=1200,
        states={"reviewed": 1, "open": 2},
        routed={"review": 1, "accepted": 1},
        tagged={"reject": 1, "accept": 2},
        images_tagged={"reject": 4},
    )
    assert text(shown, whole=True).split("\n\n") == [
        "**1,200 images, 3 poses** in the whole data set",
        "mean p_bad **20.00 %** of 2 · bad by the truth **50.00 %** of 2",
        "State: open 2, reviewed 1",
        "Routed: accepted 1, review 1",
        "Decided here: accept 2, reject 1",
        "Decided on whole images: reject 4",
        "`autolabel curate --pull` brings decisions home.",
    ]


def test_what_is_not_known_is_not_told() -> None:
    assert text(numbers([NAN], on_sheet=True, images=1), whole=False).split("\n\n") == [
        "**1 crop, 1 pose** in the current view",
        "not scored",
        "No decision here waits.",
    ]
