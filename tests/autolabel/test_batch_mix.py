"""Shares of a round's batches: what the cap takes from the hard poses, and who gets it."""

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.batch_mix import Mix, missing, shares


@pytest.mark.parametrize(
    ("counts", "replay", "cap", "expected"),
    [
        # hard, random, base, accepted
        ((80, 20, 300, 0), 0.5, 0.5, (0.4, 0.1, 0.5, 0)),  # below the cap: corrections by their number
        ((100, 0, 300, 0), 0.5, 0.5, (0.5, 0, 0.5, 0)),
        ((100, 0, 300, 0), 0.5, 0.2, (0.2, 0, 0.8, 0)),
        ((80, 20, 60, 0), 0.2, 0.4, (0.4, 0.16 + 0.24 / 4, 0.2 + 0.24 * 3 / 4, 0)),  # each of the others alike
        ((60, 20, 0, 20), 0.5, 0.5, (0.5, 0.25 + 0.25 / 2, 0, 0.25 / 2)),  # no base: its share is the corrections'
        ((60, 0, 300, 0), 0.0, 0.5, (1, 0, 0, 0)),  # a base that is not asked for gets nothing
        ((60, 0, 0, 0), 0.5, 0.5, (1, 0, 0, 0)),  # there is nothing else
        ((0, 60, 0, 0), 0.5, 0.5, (0, 1, 0, 0)),
        ((60, 20, 100, 0), 0.5, 1.0, (0.375, 0.125, 0.5, 0)),  # no cap
    ],
)
def test_shares(counts: tuple[int, ...], replay: float, cap: float, expected: tuple[float, ...]) -> None:
    assert astuple(shares(Mix(*counts), replay=replay, cap=cap)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("counts", "replay", "cap", "expected"),
    [
        ((80, 20, 0, 0), 0.5, 0.5, 60),  # as many as the others are fewer than the hard ones
        ((80, 20, 40, 0), 0.1, 0.5, 20),
        ((80, 20, 40, 0), 0.0, 0.5, 60),  # a base that is not replayed is none
        ((80, 0, 300, 0), 0.1, 0.5, 0),  # there are enough others
        ((80, 20, 0, 0), 0.5, 0.8, 0),  # the cap does not bind
        ((0, 20, 0, 0), 0.5, 0.5, 0),
    ],
)
def test_accepted_poses_are_wanted_where_others_are_few(
    counts: tuple[int, ...], replay: float, cap: float, expected: int
) -> None:
    assert missing(Mix(*counts), replay=replay, cap=cap) == expected


@given(
    counts=st.tuples(*[st.integers(0, 1000)] * 4).filter(lambda counts: counts[0] + counts[1] > 0),
    replay=st.floats(0, 0.99),
    cap=st.floats(0.01, 1),
)
def test_shares_are_whole_and_the_cap_holds(counts: tuple[int, ...], replay: float, cap: float) -> None:
    found = shares(Mix(*counts), replay=replay, cap=cap)
    assert sum(astuple(found)) == pytest.approx(1)
    assert all(share >= 0 and (count > 0 or share == 0) for share, count in zip(astuple(found), counts, strict=True))
    others = counts[1] + counts[3] + (counts[2] if replay else 0)
    assert found.hard <= cap or not others


@pytest.mark.parametrize("cap", [0.1, 0.2, 0.3, 0.45])
def test_a_cap_that_binds_is_met_to_the_last_digit(cap: float) -> None:
    assert {shares(Mix(hard, 10, 0), replay=0.5, cap=cap).hard for hard in range(10, 200)} == {cap}
