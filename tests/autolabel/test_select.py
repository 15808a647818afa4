import numpy as np
import pytest

from autolabel.effort import Costs
from autolabel.errors import InputError
from autolabel.repeats import Repeats
from autolabel.select import asked, clean_up, errors_per_second, learning_batch, uniform_draw

NAN = float("nan")
ALL = np.arange


def groups(*numbers: int) -> Repeats:
    return Repeats(np.array(numbers), np.arange(len(numbers)))


def test_errors_are_counted_against_the_seconds_they_cost() -> None:
    p_gross = np.zeros((3, 4))
    p_gross[1] = 0.5
    p_gross[2, 0] = NAN
    worth = errors_per_second([0.3, 0.8, NAN], p_gross)
    np.testing.assert_allclose(worth, [0.3 / 3, 0.8 / (3 + 2.5 * 2), 1 / 3])
    both = errors_per_second([0.3, 0.8, NAN], p_gross, gross_weight=0.5, costs=Costs(view=1, fix=1))
    np.testing.assert_allclose(both, [0.3, 1.8 / 3, 1])


def test_a_bad_pose_that_is_cheap_to_repair_comes_before_one_that_is_not() -> None:
    p_gross = np.array([[1.0] * 17, [1.0] * 2 + [0.0] * 15])
    worth = errors_per_second([0.9, 0.9], p_gross)
    assert clean_up(worth, ALL(2), 2).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("worth", "candidates", "count", "repeats", "rows"),
    [
        ([0.1, 0.9, 0.5], [0, 1, 2], 2, None, [1, 2]),
        ([0.1, 0.9, 0.5], [0, 2], 5, None, [2, 0]),
        ([0.1, NAN, 0.5], [0, 1, 2], 1, None, [1]),
        ([0.5, 0.5, 0.5], [2, 0, 1], 3, None, [2, 0, 1]),  # constant: as they come
        ([0.1, 0.9, 0.5], [0, 1, 2], 2, groups(0, 1, 1), [1, 0]),  # the repeat waits ...
        ([0.1, 0.9, 0.5], [0, 1, 2], 3, groups(0, 1, 1), [1, 0, 2]),  # ... and comes when there is nothing else
        ([0.1], [0], 0, None, []),
        ([], [], 3, None, []),
    ],
)
def test_what_is_worth_most_comes_first(
    worth: list[float], candidates: list[int], count: int, repeats: Repeats | None, rows: list[int]
) -> None:
    assert clean_up(worth, np.array(candidates, np.intp), count, repeats).tolist() == rows


UNEQUAL = groups(*[0] * 30, *[1] * 6, *range(2, 26))
"""A group of half of all poses, one of a tenth, and 24 poses by themselves."""


def test_each_pose_is_drawn_as_often_as_its_probability_says() -> None:
    rng, drawn, told = np.random.default_rng(0), np.zeros(60), np.full(60, NAN)
    for _ in range(4000):
        rows, inclusion = uniform_draw(ALL(60), 6, rng, UNEQUAL)
        assert len(rows) == 6 == len(set(UNEQUAL.group[rows].tolist()))
        drawn[rows] += 1 / 4000
        told[rows] = inclusion
    np.testing.assert_allclose(told, np.where(UNEQUAL.group == 0, 1 / 30, 1 / 6))  # 5 of the other 30
    assert told.sum() == pytest.approx(6)
    assert (np.abs(drawn - told) < 4.5 * np.sqrt(told * (1 - told) / 4000)).all()


def test_the_probabilities_make_means_unbiased() -> None:
    rng, bad = np.random.default_rng(1), UNEQUAL.group < 2
    estimates = []
    for _ in range(3000):
        rows, inclusion = uniform_draw(ALL(60), 8, rng, UNEQUAL)
        estimates.append((bad[rows] / inclusion).sum())
    assert np.mean(estimates) == pytest.approx(bad.sum(), abs=4 * np.std(estimates) / np.sqrt(3000))


@pytest.mark.parametrize(
    ("candidates", "count", "repeats", "size", "inclusion"),
    [
        (10, 4, None, 4, 0.4),
        (10, 10, None, 10, 1.0),
        (10, 25, None, 10, 1.0),
        (4, 9, groups(0, 0, 1, 1), 2, 0.5),
        (4, 1, groups(0, 0, 0, 0), 1, 0.25),
        (10, 0, None, 0, NAN),
        (0, 3, None, 0, NAN),
    ],
)
def test_small_draws(candidates: int, count: int, repeats: Repeats | None, size: int, inclusion: float) -> None:
    rows, told = uniform_draw(ALL(candidates), count, np.random.default_rng(3), repeats)
    assert len(rows) == size == len(set(rows.tolist()))
    assert rows.tolist() == sorted(rows.tolist())
    np.testing.assert_allclose(told, np.full(size, inclusion))


def test_draws_are_repeatable_and_stay_within_the_candidates() -> None:
    candidates = ALL(60)[UNEQUAL.group > 0]
    first = uniform_draw(candidates, 7, np.random.default_rng(5), UNEQUAL)[0]
    assert first.tolist() == uniform_draw(candidates, 7, np.random.default_rng(5), UNEQUAL)[0].tolist()
    assert set(first.tolist()) <= set(candidates.tolist())


def plain_k_centre(points: np.ndarray, centres: np.ndarray, count: int) -> list[int]:
    """The same greedy rule, written without any shortcut."""
    chosen = list[int]()
    for _ in range(count):
        all_ = np.concatenate([centres, points[chosen]])
        distance = np.linalg.norm(points[:, None] - all_[None], axis=2).min(axis=1)
        distance[chosen] = -1
        chosen.append(int(distance.argmax()))
    return chosen


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_with_a_bad_network_it_is_k_centre_greedy(offset: float) -> None:
    rng = np.random.default_rng(2)
    points, known = rng.standard_normal((200, 6)) + offset, rng.standard_normal((15, 6)) + offset
    rows = learning_batch(points, rng.random(200), ALL(200), 40, known=known, maturity=0)
    assert rows.tolist() == plain_k_centre(points, known, 40)


def test_with_a_good_network_it_is_doubt() -> None:
    rng = np.random.default_rng(4)
    doubt = rng.random(50)
    rows = learning_batch(rng.standard_normal((50, 3)), doubt, ALL(50), 8, known=np.zeros((1, 3)), maturity=1)
    assert rows.tolist() == np.argsort(-doubt)[:8].tolist()


def test_in_between_both_count() -> None:
    points = np.array([[0.0], [10.0], [9.0], [1.0]])
    doubt = [0.0, 0.0, 0.9, 1.0]
    batch = {m: learning_batch(points, doubt, ALL(4), 1, known=np.zeros((1, 1)), maturity=m)[0] for m in (0, 0.3, 1)}
    assert batch == {0: 1, 0.3: 2, 1: 3}
    light = learning_batch(points, doubt, ALL(4), 1, known=np.zeros((1, 1)), maturity=0.3, doubt_weight=0)
    assert light.tolist() == [1]


def test_where_nothing_is_labelled_the_most_ordinary_pose_is_first() -> None:
    points = np.array([[0.0], [4.0], [5.0], [6.0], [11.0]])
    assert learning_batch(points, [0] * 5, ALL(5), 3).tolist() == [2, 4, 0]


def test_what_the_batch_holds_already_is_a_centre_and_is_not_taken_again() -> None:
    points = np.array([[0.0], [10.0], [9.0], [1.0]])
    rows = learning_batch(points, [0] * 4, ALL(4), 4, taken=np.array([1]))
    assert rows.tolist() == [0, 3, 2] or rows.tolist() == [0, 2, 3]


def test_one_image_of_a_group_is_enough_for_a_batch() -> None:
    repeats = Repeats(np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 2, 3]))
    points = np.array([[9.0], [8.0], [7.0], [1.0], [2.0]])
    assert set(learning_batch(points, [0] * 5, ALL(5), 5, repeats=repeats).tolist()) in ({0, 1, 3, 4}, {2, 3, 4})
    taken = learning_batch(points, [0] * 5, ALL(5), 5, taken=np.array([2]), repeats=repeats)
    assert sorted(taken.tolist()) == [3, 4]


def test_a_pose_without_an_embedding_is_chosen_by_its_doubt_alone() -> None:
    points = np.array([[0.0, 0], [3, 0], [NAN, 1], [1, 0]])
    known = np.array([[0.0, 0], [NAN, 0]])
    assert learning_batch(points, [0, 0, 1, 0], ALL(4), 4, known=known)[0] == 1
    assert learning_batch(points, [0, 0, 1, 0], ALL(4), 4, known=known, maturity=0.9)[0] == 2
    lost = np.full((3, 2), NAN)
    assert learning_batch(lost, [0.1, NAN, 0.3], ALL(3), 3, maturity=0.5).tolist() == [1, 2, 0]


def test_equal_embeddings_are_taken_all_the_same() -> None:
    assert sorted(learning_batch(np.ones((5, 3)), [0.5] * 5, ALL(5), 9).tolist()) == [0, 1, 2, 3, 4]
    assert learning_batch(np.ones((0, 3)), [], ALL(0), 2).tolist() == []
    assert learning_batch(np.ones((4, 3)), [0] * 4, ALL(4), 0).tolist() == []


@pytest.mark.parametrize(
    ("p_gross", "max_gross", "weakest", "expected"),
    [
        # 0.01, 0.02 and 0.03 may stay at 2 %, 0.5 and 0.9 may not.
        ([[0.01, 0.02, 0.03, 0.5, 0.9]], 0.02, 0, [[0, 0, 0, 1, 1]]),
        ([[0.01, 0.02, 0.03, 0.5, 0.9]], 0.02, 3, [[0, 0, 1, 1, 1]]),
        ([[0.01, 0.02, 0.03, 0.5, 0.9]], 1.0, 2, [[0, 0, 0, 1, 1]]),
        ([[0.01, 0.0, 0.03]], 0.0, 0, [[1, 0, 1]]),
        # All poses together: the good one leaves more, and pays for the other's 0.04.
        ([[0.0, 0.0, 0.0], [0.04, 0.5, 0.5]], 0.01, 0, [[0, 0, 0], [0, 1, 1]]),
        ([[NAN, 0.0, 0.0]], 0.5, 1, [[1, 0, 0]]),
        ([[NAN] * 3], 0.5, 2, [[1, 1, 1]]),
        ([[0.5] * 3], 0.4, 2, [[1, 1, 1]]),
        ([[0.2] * 3], 0.2, 1, [[1, 0, 0]]),
        (np.zeros((0, 3)), 0.1, 2, np.zeros((0, 3))),
    ],
)
def test_as_few_keypoints_as_possible_are_asked_about(
    p_gross: list[list[float]], max_gross: float, weakest: int, expected: list[list[int]]
) -> None:
    assert asked(p_gross, max_gross, weakest=weakest).astype(int).tolist() == np.asarray(expected).tolist()


def test_keypoints_that_cannot_be_asked_about_do_not_count() -> None:
    may = np.array([[True, True, False, True]])
    assert asked([[0.0, 0.3, 0.9, 0.1]], 0.05, may=may, weakest=1).tolist() == [[False, True, False, False]]


def test_what_is_left_has_the_share_that_was_allowed() -> None:
    p_gross = np.random.default_rng(6).random((500, 17)) ** 4
    question = asked(p_gross, 0.02)
    assert (question.sum(axis=1) >= 2).all()
    left = p_gross[~question]
    assert left.mean() <= 0.02 < np.append(left, p_gross[question].min() + 0.02 * len(left)).mean()


@pytest.mark.parametrize(
    "call",
    [
        lambda: errors_per_second([0.1], np.zeros((2, 3))),
        lambda: errors_per_second([1.1], np.zeros((1, 3))),
        lambda: errors_per_second([0.1], np.zeros((1, 3)), gross_weight=-1),
        lambda: errors_per_second([0.1], np.zeros((1, 3)), costs=Costs(view=0)),
        lambda: clean_up([0.1], ALL(1), -1),
        lambda: clean_up([0.1], ALL(1), 1, Repeats.none(2)),
        lambda: uniform_draw(ALL(3), -1, np.random.default_rng()),
        lambda: learning_batch(np.zeros((2, 3)), [0.1], ALL(2), 1),
        lambda: learning_batch(np.zeros((2, 3)), [0.1, 0.1], ALL(2), 1, known=np.zeros((2, 4))),
        lambda: learning_batch(np.zeros((2, 3)), [0.1, 0.1], ALL(2), 1, maturity=NAN),
        lambda: learning_batch(np.zeros((2, 3)), [0.1, 2.0], ALL(2), 1),
        lambda: learning_batch(np.zeros(2), [0.1, 0.1], ALL(2), 1),
        lambda: learning_batch(np.zeros((2, 3)), [0.1, 0.1], ALL(2), 1, doubt_weight=-1),
        lambda: asked([[0.1]], 1.5),
        lambda: asked([0.1], 0.1),
        lambda: asked([[0.1]], 0.1, may=np.ones((2, 1), bool)),
        lambda: asked([[0.1]], 0.1, weakest=-1),
    ],
)
def test_what_contradicts_itself_is_refused(call: object) -> None:
    with pytest.raises(InputError):
        call()  # type: ignore[operator]
