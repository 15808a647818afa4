"""What several people say together, keypoint by keypoint."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autolabel.consensus import consensus
from autolabel.merge import Correction, KeypointChange, PoseChange, State, Stated, Verdict
from autolabel.poses import Visibility

SIGMAS = (0.05, 0.05, 0.05)
AREA = 10_000.0  # KS one half at a distance of 11.8 pixels
BOX = np.array([0.0, 0.0, 100.0, 100.0])
SENT = Stated(np.array([[10, 10], [50, 50], [90, 90]], np.float32), np.full(3, 2, np.uint8), BOX)
KEPT, MOVED, REMOVED = KeypointChange.KEPT, KeypointChange.MOVED, KeypointChange.REMOVED


def answer(by: str, minute: int, points: dict[int, Any] | None = None, **changes: Any) -> Correction:
    """Somebody moves keypoints to x = y, or removes them (None)."""
    xy, visibility, kinds = SENT.xy.copy(), SENT.visibility.copy(), [KEPT] * 3
    for k, place in (points or {}).items():
        kinds[k] = REMOVED if place is None else MOVED
        visibility[k] = Visibility.ABSENT if place is None else Visibility.VISIBLE
        if place is not None:
            xy[k] = place
    made = Correction(
        pose="p", sample=("s", "r", "a.png"), change=PoseChange.KEPT, keypoints=tuple(kinds), before=SENT,
        after=Stated(xy, visibility, BOX), state=State.REVIEWED, verdict=(), by=by,
        when=f"2026-11-22T20:{minute:02}:00Z", seconds=5.0, clicks=1, task="t",
    )  # fmt: skip
    return replace(made, **changes)


def rejected(by: str, minute: int) -> Correction:
    return answer(by, minute, change=PoseChange.REJECTED, state=State.REJECTED, verdict=(Verdict.NO_PERSON,))


def test_one_answer_is_its_own_consensus() -> None:
    only = answer("ann", 1, {0: 30})
    made = consensus([only], AREA, SIGMAS)
    assert made.correction.after.same(only.after)
    assert (made.correction.state, made.correction.keypoints) == (State.REVIEWED, only.keypoints)
    assert np.isnan(made.agreement)


def test_who_errs_is_outvoted_and_everybody_elses_point_stays_bit_by_bit() -> None:
    answers = [answer("ann", 1, {0: 30.125}), answer("bob", 2, {0: 31}), answer("eve", 3, {0: 80, 1: 0})]
    made = consensus(answers, AREA, SIGMAS)
    assert made.correction.after.xy[0].tolist() in ([30.125] * 2, [31.0] * 2)
    assert np.array_equal(made.correction.after.xy[1:], SENT.xy[1:])
    assert made.correction.keypoints == (MOVED, KEPT, KEPT)
    assert (made.correction.state, made.disputed) == (State.REVIEWED, ())
    assert (made.correction.by, made.correction.when) == ("ann, bob, eve", "2026-11-22T20:03:00Z")
    assert (made.correction.seconds, made.correction.clicks) == (15.0, 3)


def test_the_middle_one_of_three_is_taken() -> None:
    made = consensus([answer(by, i, {0: 30 + 4 * i}) for i, by in enumerate("abc")], AREA, SIGMAS)
    assert made.correction.after.xy[0].tolist() == [34.0, 34.0]


def test_two_who_agree_settle_and_the_later_ones_point_is_taken() -> None:
    made = consensus([answer("bob", 2, {0: 31}), answer("ann", 1, {0: 30})], AREA, SIGMAS)
    assert made.correction.after.xy[0].tolist() == [31.0, 31.0]
    assert made.correction.state is State.REVIEWED
    assert 0.95 < made.agreement < 1.0


def test_two_who_differ_settle_nothing() -> None:
    made = consensus([answer("ann", 1, {0: 30}), answer("bob", 2, {0: 60})], AREA, SIGMAS)
    assert (made.correction.state, made.disputed) == (State.EXPERT, (0,))
    assert made.correction.after.xy[0].tolist() == [60.0, 60.0]
    assert made.agreement == pytest.approx(2 / 3, abs=1e-3)


def test_absence_is_a_place_that_one_can_agree_on() -> None:
    both = consensus([answer("ann", 1, {0: None}), answer("bob", 2, {0: None})], AREA, SIGMAS)
    assert (both.correction.keypoints[0], both.correction.state, both.agreement) == (REMOVED, State.REVIEWED, 1.0)
    one = consensus([answer("ann", 1, {0: None}), answer("bob", 2)], AREA, SIGMAS)
    assert (one.disputed, one.correction.keypoints[0]) == ((0,), KEPT)
    assert one.agreement == pytest.approx(2 / 3)


def test_the_last_answer_of_every_person_counts() -> None:
    made = consensus([answer("ann", 1, {0: 80}), answer("ann", 5), answer("bob", 3)], AREA, SIGMAS)
    assert (made.people, made.disputed, made.agreement) == (("bob", "ann"), (), 1.0)


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([rejected("ann", 1), rejected("bob", 2), answer("eve", 3, {0: 30})], State.REJECTED),
        ([rejected("ann", 1), answer("bob", 2), answer("eve", 3)], State.REVIEWED),
        ([rejected("ann", 1), answer("bob", 2)], State.EXPERT),
        ([rejected("ann", 1), rejected("bob", 2)], State.REJECTED),
        ([answer("ann", 1, state=State.EXPERT), answer("bob", 2), answer("eve", 3)], State.REVIEWED),
        ([answer("ann", 1, state=State.EXPERT), answer("bob", 2)], State.EXPERT),
        ([answer("a", 1, state=State.EXPERT), rejected("b", 2), answer("c", 3)], State.EXPERT),
    ],
)
def test_a_pose_stands_as_more_than_half_say(answers: list[Correction], state: State) -> None:
    correction = consensus(answers, AREA, SIGMAS).correction
    assert correction.state is state
    assert (correction.change is PoseChange.REJECTED) == (state is State.REJECTED)


def test_who_rejects_places_nothing() -> None:
    made = consensus([rejected("ann", 4), answer("bob", 2, {0: 30}), answer("eve", 3, {0: 30})], AREA, SIGMAS)
    assert made.correction.after.xy[0].tolist() == [30.0, 30.0]
    assert made.correction.verdict == ()


def test_a_box_and_a_verdict_need_more_than_half() -> None:
    moved = Stated(SENT.xy, SENT.visibility, BOX + 1)
    boxed = {"change": PoseChange.BOX_MOVED, "after": moved, "verdict": (Verdict.SWAPPED,)}
    two = consensus([answer("a", 1, **boxed), answer("b", 2, **boxed), answer("c", 3)], AREA, SIGMAS).correction
    assert (two.change, two.after.box[0], two.verdict) == (PoseChange.BOX_MOVED, 1.0, (Verdict.SWAPPED,))
    one = consensus([answer("a", 1, **boxed), answer("b", 2)], AREA, SIGMAS).correction
    assert (one.change, one.after.box[0], one.verdict) == (PoseChange.KEPT, 0.0, ())


def test_unknown_time_stays_unknown() -> None:
    assert consensus([answer("a", 1, seconds=None), answer("b", 2)], AREA, SIGMAS).correction.seconds is None
