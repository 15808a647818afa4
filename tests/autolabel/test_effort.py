from typing import Any

import numpy as np
import pytest

from autolabel.effort import (
    Costs,
    Effort,
    Total,
    blind_effort,
    hand_effort,
    image_effort,
    quality_curve,
    review_effort,
)
from autolabel.errors import InputError


@pytest.mark.parametrize(
    ("acts", "clicks", "seconds"),
    [
        ({"moved": [0]}, 1, 3.0),  # looked at and accepted
        ({"moved": [2]}, 3, 8.0),
        ({"moved": [0], "marked": [3]}, 4, 10.5),
        ({"moved": [1], "mirrored": [True]}, 3, 8.0),
        ({"moved": [0], "rejected": 1}, 2, 5.5),
        ({"moved": [0], "boxed": 1}, 3, 8.0),
    ],
)
def test_a_review_costs_its_opening_and_its_acts(acts: dict[str, Any], clicks: float, seconds: float) -> None:
    effort = review_effort(**acts)
    assert (effort.clicks[0], effort.seconds[0], effort.opened[0]) == (clicks, seconds, 1)


def test_labelling_from_nothing_costs_every_keypoint() -> None:
    by_hand, blind = hand_effort([17, 4]), blind_effort([17, 4])
    assert by_hand.clicks.tolist() == [19, 6]
    assert by_hand.seconds.tolist() == [47.5, 15]
    assert blind.clicks.tolist() == [18, 5]
    assert blind.seconds.tolist() == [45.5, 13]
    assert hand_effort([0], marked=[2]).clicks.tolist() == [4]


def test_whole_images_are_looked_at_box_by_box() -> None:
    effort = image_effort([0, 1, 4], missed=[0, 0, 2], nobody=[0, 1, 0])
    assert effort.clicks.tolist() == [1, 2, 5]
    assert effort.seconds.tolist() == [3, 5.5, 22]


def test_costs_are_settings() -> None:
    costs = Costs(move=2, accept=0, view=10, fix=1)
    assert review_effort([3], costs=costs).total == Total(6, 13, 1)


def test_the_cheaper_way_is_taken_pose_by_pose() -> None:
    moved = review_effort([6, 1])
    mirrored = review_effort([0, 5], mirrored=1)
    best = moved.cheaper(mirrored)
    assert best.clicks.tolist() == [2, 2]
    assert best.seconds.tolist() == [5.5, 5.5]
    with pytest.raises(InputError, match="2 and 1"):
        moved.cheaper(review_effort([1]))


def test_efforts_are_joined_and_added() -> None:
    joined = Effort.joined([review_effort([1, 0]), hand_effort([17]), Effort.none(2)])
    assert len(joined) == 5
    assert joined.total == Total(22, 56, 3) == joined.take([0, 1]).total + joined.take([2, 3, 4]).total
    assert Effort.joined([]).total == Total(0, 0, 0)
    assert joined.take(np.array([True, False, True, False, False])).clicks.tolist() == [2, 19]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: review_effort([-1]), "0 or more"),
        (lambda: review_effort([np.nan]), "never NaN"),
        (lambda: review_effort([1, 2], marked=[1]), "2 tasks"),
        (lambda: review_effort(3), "shape"),
        (lambda: image_effort([1], nobody=[2]), "fewer boxes"),
        (lambda: Costs(view=-1), "view is -1"),
        (lambda: Costs(fix=float("nan")), "fix is nan"),
        (lambda: Effort(np.zeros(2), np.zeros(1), np.zeros(2)), "shapes"),
    ],
)
def test_impossible_work_is_refused(call: object, match: str) -> None:
    with pytest.raises(InputError, match=match):
        call()  # type: ignore[operator]


def test_no_task_costs_nothing() -> None:
    assert review_effort([]).total == Total(0, 0, 0)


CORPUS = {"gross": ([3, 0, 1, 0], [0, 0, 1, 0]), "bad": ([1, 0, 1, 0], [0, 0, 0, 0]), "keypoints": 40}


def test_a_curve_says_what_the_corpus_is_worth_after_each_task() -> None:
    curve = quality_curve(review_effort([3, 0, 0, 0]), [0, 2, 0, 1], **CORPUS)  # the second visit of 0 changes nothing
    assert curve.clicks.tolist() == [0, 4, 5, 9, 10]
    assert curve.opened.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(curve.gross, [0.1, 0.025, 0.025, 0.025, 0.025])
    np.testing.assert_allclose(curve.bad, [0.5, 0.25, 0, 0, 0])
    assert curve.reached(0.03, 0.1) == 2
    assert curve.reached(1, 1) == 0
    assert curve.reached(0, 0) is None


def test_a_share_that_is_lost_again_was_not_reached() -> None:
    curve = quality_curve(
        review_effort([0, 0, 0]), [0, 1, 2], gross=([1, 0, 1], [0, 1, 0]), bad=([0] * 3, [0] * 3), keypoints=10
    )
    np.testing.assert_allclose(curve.gross, [0.2, 0.1, 0.2, 0.1])
    assert curve.reached(0.1, 0) == 3


@pytest.mark.parametrize(
    ("change", "order"),
    [({"keypoints": 0}, [0]), ({"bad": ([1], [0])}, [0]), ({}, [4]), ({}, [-1]), ({}, [[0]])],
)
def test_curves_of_contradictory_corpora_are_refused(change: dict[str, object], order: list[int]) -> None:
    with pytest.raises(InputError):
        quality_curve(review_effort([0] * 4), order, **{**CORPUS, **change})
