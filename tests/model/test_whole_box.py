"""Where the whole person would be: geometry by hand, and a regression that finds what it was fitted on."""

import numpy as np
import pytest

from model.whole_box import (
    GROWTHS,
    answers,
    best_growth,
    count_answers,
    cut_sides,
    grown,
    nearest,
    told_growth,
    touches,
    usual_aspect,
    weigh,
)

IMAGE = (-0.5, -0.5, 199.5, 99.5)  # 200 x 100 pixels


def sides(*which):
    return np.array([[name in which for name in ("left", "top", "right", "bottom")]])


def edges(*box):
    return np.array([box], np.float64)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((20, 20, 60, 80), ()),
        ((-0.5, 20, 60, 80), ("left",)),
        ((0.6, 20, 60, 80), ("left",)),  # 1.1 of 1.2 pixels, which are 2 % of 60
        ((0.8, 20, 60, 80), ()),
        ((0.4, 20, 20, 40), ("left",)),  # less than a pixel, however small the box
        ((0.6, 20, 20, 40), ()),
        ((20, -9, 60, 80), ("top",)),  # beyond the image
        ((150, 20, 199.5, 99.5), ("right", "bottom")),
        (IMAGE, ("left", "top", "right", "bottom")),
    ],
)
def test_where_a_box_reaches_the_edge(box, expected) -> None:
    assert touches(edges(*box), edges(*IMAGE)).tolist() == sides(*expected).tolist()


def test_a_box_that_is_the_whole_image_says_nothing_of_a_cut() -> None:
    boxes = np.concatenate([edges(*IMAGE), edges(-0.5, -0.5, 199.5, 80), edges(20, 20, 60, 80)])
    images = np.repeat(edges(*IMAGE), 3, axis=0)
    assert cut_sides(boxes, images).tolist() == [[False] * 4, [True, True, True, False], [False] * 4]


@pytest.mark.parametrize(
    ("box", "which", "growth", "expected"),
    [
        ((10, 20, 30, 60), (), 4.0, (10, 20, 30, 60)),  # the image goes on all around: nothing is missing
        ((10, 20, 30, 60), ("bottom",), 1.0, (10, 20, 30, 60)),
        ((10, 20, 30, 60), ("bottom",), 2.0, (10, 20, 30, 100)),  # twice 40 high
        ((10, 20, 30, 60), ("top",), 2.0, (10, -20, 30, 60)),
        ((10, 20, 30, 60), ("top", "bottom"), 2.0, (10, 0, 30, 80)),
        ((10, 20, 30, 60), ("left",), 2.0, (-10, 20, 30, 60)),  # half of twice 40 wide
        ((10, 20, 30, 60), ("right", "left"), 2.0, (0, 20, 40, 60)),
        ((10, 20, 30, 60), ("left", "bottom"), 2.0, (-10, 20, 30, 100)),
        ((10, 20, 90, 60), ("right",), 2.0, (10, 20, 90, 60)),  # as wide as that already
        ((10, 20, 90, 60), ("bottom",), 1.0, (10, 20, 90, 100)),  # as high as it is wide
        ((10, 20, 10, 20), ("bottom",), 2.0, (10, 20, 10, 22)),  # a point counts as a pixel
    ],
)
def test_how_a_box_grows(box, which, growth, expected) -> None:
    assert grown(edges(*box), sides(*which), np.array([growth]), 0.5).tolist() == [list(expected)]


def test_people_are_as_wide_as_most_of_them() -> None:
    assert usual_aspect(np.array([[0, 0, 30, 100], [5, 5, 45, 105], [0, 0, 100, 100.0]])) == pytest.approx(0.4)
    assert usual_aspect(edges(0, 0, 300, 100)) == 1.0
    assert usual_aspect(edges(0, 0, 1, 100)) == 0.25
    assert grown(edges(0, 0, 40, 60), sides("left"), np.array([2.0]), 1.0).tolist() == [[-80, 0, 40, 60]]


def test_the_best_growth_is_the_one_that_was_cut_off() -> None:
    rng = np.random.default_rng(0)
    low, size = rng.uniform(0, 50, (200, 2)), rng.uniform(20, 60, (200, 2))
    box = np.concatenate([low, low + size], axis=1)
    which, growth = rng.random((200, 4)) < 0.5, np.exp(rng.uniform(0, np.log(GROWTHS[-1]), 200))
    moved = ~np.isclose(grown(box, which, growth, 0.4), box).all(axis=1)
    found = best_growth(box, grown(box, which, growth, 0.4), which, 0.4)
    step = GROWTHS[-1] ** (1 / 28)
    assert moved.sum() > 100
    assert np.abs(np.log(found[moved] / growth[moved])).max() < np.log(step)
    # Of those that keep their size, and of those who lost nothing, nothing is to grow.
    assert (best_growth(box, box, which, 0.4) < 2).all()
    assert (best_growth(box, grown(box, which, np.full(200, 9.0), 0.4), which, 0.4)[which[:, 3]] == GROWTHS[-1]).all()


def looks(count, keypoints=5, seed=0):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 50, (count, 2))
    box = np.concatenate([low, low + rng.uniform(20, 60, (count, 2))], axis=1)
    xy = low[:, None] + rng.uniform(0, 60, (count, keypoints, 2))
    score, presence = rng.random((2, count, keypoints))
    return xy, score, presence, box, rng.random((count, 4)) < 0.5


def test_answers_are_each_persons_own_and_know_neither_place_nor_size() -> None:
    given = looks(20)
    seen = answers(*given)
    assert seen.shape == (20, count_answers(5)) and (seen[:, 0] == 1).all()
    assert np.array_equal(seen[7:8], answers(*(part[7:8] for part in given)))
    xy, score, presence, box, which = given
    elsewhere = answers(3 * xy + 100, score, presence, 3 * box + 100, which)
    assert np.allclose(elsewhere, seen)
    nobody = answers(*(part[:0] for part in given))
    assert nobody.shape == (0, count_answers(5)) and told_growth(nobody, [0.0] * count_answers(5)).shape == (0,)


def test_absent_keypoints_say_nothing_of_places() -> None:
    xy, score, presence, box, which = looks(20)
    presence[:, 2] = 0
    before = answers(xy, score, presence, box, which)
    xy[:, 2] += 1e3
    assert np.array_equal(answers(xy, score, presence, box, which), before)


def test_a_regression_tells_what_depends_on_the_answers() -> None:
    seen = answers(*looks(3000))
    rule = np.random.default_rng(1).normal(0, 0.1, seen.shape[1])
    rule[0] = 0.7
    growth = np.exp(np.clip(seen @ rule, 0.01, 1.3))
    told = told_growth(answers(*looks(500, seed=2)), weigh(seen, growth))
    truth = np.exp(np.clip(answers(*looks(500, seed=2)) @ rule, 0.01, 1.3))
    assert np.abs(np.log(told / truth)).mean() < 0.25 * np.abs(np.log(truth) - np.log(truth).mean()).mean()


def test_growth_is_bounded() -> None:
    seen = answers(*looks(4))
    far = [9.0] + [0.0] * (seen.shape[1] - 1)
    assert told_growth(seen, far).tolist() == pytest.approx([GROWTHS[-1]] * 4)
    assert told_growth(seen, [-value for value in far]).tolist() == [1.0] * 4


@pytest.mark.parametrize(("growth", "place"), [(1.0, 0), (1.18, 0), (1.19, 1), (1.67, 1), (1.68, 2), (4.0, 4)])
def test_the_nearest_growth_by_ratio(growth, place) -> None:
    assert nearest(np.array([growth])).tolist() == [place]
