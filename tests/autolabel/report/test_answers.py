"""What made-up answers come to: work, doubt as it was sent, swaps found, planted errors missed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.merge import Stated, Verdict
from autolabel.poses import Visibility
from autolabel.report.answers import Answer, Work, exchanged, read_answers, score_of
from tests.looks import SENT, STICK, look, sent_pose

FAR = {0: (90.0, 60.0), 1: (75.0, 30.0)}
"""Two gross keypoints: a bad pose."""

STEPS = ("round 1", "audit")


def answer(
    name: str, to: dict[int, tuple[float, float]] | None = None, *, step: str = "round 1", kind: str = "review",
    p_bad: float = np.nan, by: str = "ann", **about: Any,
) -> Answer:  # fmt: skip
    given = look(by, to, pose=sent_pose(name), task=f"{step} {name} {kind}", **about)
    return Answer(step, kind, given, p_bad, Path("nowhere.png"), "nowhere.png")


def test_work_is_counted_step_by_step() -> None:
    said = read_answers(
        [
            answer("a", FAR, seconds=20.0),
            answer("b", seconds=4.0),
            answer("c", FAR, kind="calibration", seconds=None),
            answer("d", kind="calibration", seconds=3.0),
            answer("e", {0: (50.5, 20.0)}, step="audit", kind="audit", seconds=6.0),
            answer("p", step="audit", kind="planted", planted=True, seconds=2.0),
            answer("q", FAR, step="audit", kind="planted", planted=True, seconds=9.0),
            answer("e", FAR, step="audit", kind="blind", blind=True, seconds=30.0),
        ],
        STICK,
        STEPS,
        [Work("audit", 1, 3, 12.0, 1), Work("audit", 1, 2)],
    )
    first, audit = said.work
    assert first == Work("round 1", 4, 4, 27.0, 3, ordinary=4, kept=2, bad=2, fixed=4, fixed_timed=2,
                         fixing_seconds=27.0, drawn=2, drawn_bad=1)  # fmt: skip
    assert (audit.opened, audit.clicks, audit.seconds, audit.timed) == (6, 9, 59.0, 5)
    assert (audit.ordinary, audit.kept, audit.bad, audit.fixed) == (1, 0, 0, 1), "blind and planted ones are others"
    assert said.fixed == {"top": 3, "left_end": 2, "right_end": 0}
    assert (said.ordinary, said.caught.hits, said.caught.of) == (5, 1, 2)
    assert [missed.look.pose.id for missed in said.missed] == ["p"]


def test_random_draws_without_a_pre_label_tell_what_was_bad_but_not_what_a_pre_label_cost() -> None:
    """In a cold start nothing had been placed: nobody was wrong there."""
    given = [answer("a", FAR, kind="gate", blind=True, seconds=40.0), answer("b", kind="gate", blind=True)]
    bare = answer("c", FAR, kind="calibration", blind=True)
    pose = bare.look.pose
    nothing = replace(pose, xy=np.full_like(pose.xy, np.nan), visibility=np.zeros_like(pose.visibility))
    (work,) = read_answers([*given, replace(bare, look=replace(bare.look, pose=nothing))], STICK, STEPS).work
    assert (work.opened, work.ordinary, work.fixed, work.fixing_seconds) == (3, 0, 0, 0)
    assert (work.drawn, work.drawn_bad, work.bad) == (3, 1, 1)


def test_of_several_answers_of_one_person_the_last_counts() -> None:
    first, last = answer("a", FAR, minute=1), answer("a", minute=2)
    assert read_answers([last, first], STICK, STEPS).work[0].kept == 1
    both = read_answers([first, answer("a", by="bob", minute=2)], STICK, STEPS).work[0]
    assert (both.opened, both.kept, both.bad) == (2, 1, 1), "two people are two openings, and one pose"


def test_steps_come_in_their_order_and_only_where_somebody_answered() -> None:
    said = read_answers([answer("a", step="audit"), answer("b")], STICK, ("round 0", *STEPS))
    assert [work.step for work in said.work] == ["round 1", "audit"]
    assert read_answers([], STICK, STEPS).work == ()


def test_a_rejected_pose_is_bad_and_none_of_its_keypoints_changed() -> None:
    (work,) = read_answers([answer("a", rejected=True)], STICK, STEPS).work
    assert (work.bad, work.fixed, work.kept) == (1, 0, 0)


def test_doubt_is_judged_by_random_draws_whose_doubt_was_a_probability() -> None:
    drawn = [answer(f"g{i}", p_bad=0.1, kind="calibration") for i in range(24)]
    drawn += [answer(f"b{i}", FAR, p_bad=0.8, kind="development") for i in range(8)]
    others = [answer("x", FAR, p_bad=0.0), answer("y", kind="random")]  # by doubt; and before any calibrator
    said = read_answers([*drawn, *others], STICK, STEPS)
    assert said.drawn == 32
    assert said.doubt is not None
    assert said.doubt.auroc_bad == 1.0
    assert said.doubt.risk_coverage[-1] == (1.0, 0.25)
    assert [n for *_, n in said.doubt.reliability] == [16, 16], "few poses have few bins"
    assert read_answers(drawn[:29], STICK, STEPS).doubt is None, "29 poses tell nothing"


@pytest.mark.parametrize("bad", [[False] * 40, [True] * 40])
def test_where_all_poses_are_alike_nothing_ranks(bad: list[bool]) -> None:
    assert score_of(np.linspace(0, 1, 40), bad) is None


def test_doubts_that_are_missing_are_left_out() -> None:
    p_bad, bad = np.linspace(0, 1, 60), np.arange(60) > 40
    score = score_of(np.where(np.arange(60) < 20, np.nan, p_bad), bad)
    assert score is not None and sum(n for *_, n in score.reliability) == 40


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ({1: (70, 80), 2: (30, 80)}, [False, True, True]),
        ({1: (66, 78), 2: (35, 82)}, [False, True, True]),  # about there
        ({1: (70, 80)}, [False, False, False]),  # one side alone
        ({1: (52, 80), 2: (48, 80)}, [False, True, True]),  # past the middle
        ({1: (48, 80), 2: (52, 80)}, [False, False, False]),  # not past it
        ({}, [False, False, False]),
    ],
)
def test_sides_are_exchanged_where_both_joints_cross(to: dict[int, tuple[float, float]], expected: list[bool]) -> None:
    c = look("ann", to).correction
    assert exchanged(c.before, c.after, STICK).tolist() == expected


def test_joints_without_a_place_are_not_exchanged() -> None:
    xy = SENT.astype(np.float32)
    xy[1] = np.nan
    before = Stated(xy, np.full(3, Visibility.VISIBLE, np.uint8), np.full(4, np.nan))
    assert not exchanged(before, replace(before, xy=xy[::-1]), STICK).any()


def test_swaps_are_listed_once_a_pose_and_never_from_plants() -> None:
    swap = {1: (70.0, 80.0), 2: (30.0, 80.0)}
    said = read_answers(
        [
            answer("a", swap, minute=1),
            answer("a", swap, minute=2, by="bob"),
            answer("b", verdict=[Verdict.SWAPPED]),
            answer("p", swap, planted=True, kind="planted"),
        ],
        STICK,
        STEPS,
    )
    assert [(found.look.pose.id, int(joints.sum())) for found, joints in said.swapped] == [("a", 2), ("b", 0)]
