"""One audit for nested sets: what is certified, where the walk stops, and how often it is wrong."""

import math
from functools import cache

import numpy as np
import pytest

from autolabel.bounds import residual_bound, upper_bound
from autolabel.errors import InputError
from autolabel.walk import StepCounts, Walk, count_steps, judge, walk


def step(size: int, audited: int, bad: int = 0, corrected: int | None = None, rejected: int = 0) -> StepCounts:
    return StepCounts(size, audited, bad, bad if corrected is None else corrected, rejected)


STRICT = step(1000, 300)  # at most 0.8 % bad
LOOSE = step(1500, 460, 1)
TOO_BAD = step(1500, 460, 20)


@pytest.mark.parametrize(
    ("steps", "certified", "tested"),
    [
        ([], -1, 0),
        ([STRICT], 0, 1),
        ([STRICT, LOOSE], 1, 2),
        ([STRICT, TOO_BAD], 0, 2),  # a loose set that fails costs nothing
        ([STRICT, TOO_BAD, step(90_000, 40_460, 20)], 0, 2),  # behind a failure nothing is looked at
        ([step(1000, 20), step(1500, 460)], -1, 1),  # the strict set has too few audits of its own
        ([step(40, 40, 3)], 0, 1),  # everything seen and corrected
        ([step(3, 3, 3, 3, 3)], -1, 1),  # everything thrown out: nothing is left to certify
        ([step(0, 0)], -1, 1),
        ([step(1000, 0)], -1, 1),
        # After its corrections the first set passes, before them it does not: it is certified, and ends the walk.
        ([step(300, 200, 4), step(301, 201, 4)], 0, 1),
    ],
)
def test_the_largest_set_before_the_first_failure_is_certified(
    steps: list[StepCounts], certified: int, tested: int
) -> None:
    made = walk(steps, 0.02)
    assert (made.step, len(made.bounds), made.issued) == (certified, tested, certified >= 0)
    for counts, bound in zip(steps, made.bounds, strict=False):
        assert bound.before == upper_bound(counts.bad, counts.audited, counts.size)
        expected = residual_bound(counts.bad, counts.audited, counts.size, rejected=counts.rejected)
        assert bound.after == expected


def test_reviewers_who_miss_errors_prove_less() -> None:
    perfect, human = (walk([STRICT, step(2000, 420, 3)], 0.02, 0.95, share) for share in (1.0, 0.6))
    assert (perfect.step, human.step) == (1, 0)
    assert all(a.after > b.after for a, b in zip(human.bounds, perfect.bounds, strict=True))


def test_what_was_found_but_not_corrected_remains() -> None:
    corrected, left = (walk([step(500, 300, 4, corrected=c)], 0.02) for c in (4, 2))
    assert left.bounds[0].before == corrected.bounds[0].before
    assert left.bounds[0].after == pytest.approx(corrected.bounds[0].after + 2 / 500)


def test_arrays_are_counted_into_nested_sets() -> None:
    where = np.array([0, 2, 1, 0, 2, 1])
    bad = np.array([True, True, False, False, True, True])
    corrected = np.array([True, False, False, False, True, True])
    rejected = np.array([True, False, False, False, False, False])
    assert count_steps([10, 20, 30], where, bad, corrected, rejected) == (
        StepCounts(10, 2, 1, 1, 1),
        StepCounts(20, 4, 2, 2, 1),
        StepCounts(30, 6, 4, 3, 1),
    )
    assert count_steps([10, 20], np.array([], int), np.array([], bool)) == (step(10, 0), step(20, 0))
    made = judge([10, 20, 30], where, bad, max_bad=0.5)
    assert made == walk(count_steps([10, 20, 30], where, bad), 0.5)


yes, no = np.array([True]), np.array([False])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([5], np.array([0, 0]), yes), "steps of 2 audited poses, answers to 1"),
        (([5], np.array([1]), yes), "lies in none of the 1 sets"),
        (([5], np.array([-1]), yes), "lies in none of the 1 sets"),
        (([5], np.array([0]), no, yes), "corrected but not bad"),
        (([5], np.array([0]), yes, no, yes), "thrown out but not corrected"),
        (([0], np.array([0]), yes), "contradict each other"),
    ],
)
def test_contradicting_arrays_are_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        count_steps(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [(5, 6, 0, 0, 0), (5, 5, 6, 0, 0), (5, 5, 2, 3, 0), (5, 5, 2, 1, 2), (5, 5, 2, 1, -1)]
)
def test_contradicting_counts_are_refused(wrong: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="contradict each other"):
        StepCounts(*wrong)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([LOOSE, STRICT], "not nested"),
        ([STRICT, STRICT], "not nested"),
        ([step(10, 5, 3), step(20, 9, 2)], "not nested"),
        ([step(10, 2), step(12, 5)], "more poses audited between two steps"),
    ],
)
def test_sets_that_are_not_nested_are_refused(steps: list[StepCounts], message: str) -> None:
    with pytest.raises(InputError, match=message):
        walk(steps, 0.02)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2, math.nan])
def test_a_promise_outside_0_1_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="max_bad is"):
        walk([STRICT], share)
    with pytest.raises(InputError, match="confidence is"):
        walk([STRICT], 0.02, share)


@cache
def verdict(steps: tuple[StepCounts, ...], max_bad: float, confidence: float, sensitivity: float) -> Walk:
    return walk(steps, max_bad, confidence, sensitivity)


@pytest.mark.parametrize(
    ("sizes", "bad", "audited", "seen"),
    [
        # Each set's own number of bad poses is just above 5 %, or soon after: every step is a chance to be wrong.
        ((100, 130, 170, 220), (6, 8, 11, 14), 160, 1.0),
        ((100, 130, 170, 220), (5, 7, 10, 14), 160, 1.0),
        ((60, 300), (4, 17), 150, 1.0),
        ((300, 320, 340), (16, 17, 18), 220, 1.0),
        ((300, 340), (14, 24), 240, 1.0),
        ((200, 260, 330), (11, 14, 18), 250, 0.8),
    ],
)
def test_a_walk_is_wrong_no_more_often_than_it_says(
    sizes: tuple[int, ...], bad: tuple[int, ...], audited: int, seen: float
) -> None:
    """Draws with planted errors, of which people see each one by chance; wrong is what remains above the promise."""
    max_bad, confidence, runs = 0.05, 0.9, 4000
    random = np.random.default_rng(11)
    where = np.searchsorted(sizes, np.arange(sizes[-1]), side="right")
    truth = np.zeros(sizes[-1], bool)
    for start, end, count in zip((0, *sizes), sizes, np.diff((0, *bad)), strict=False):
        truth[start : start + count] = True
        assert start + count <= end
    wrong = issued = later = 0
    for _ in range(runs):
        drawn = random.choice(sizes[-1], audited, replace=False)
        found = truth[drawn] & (random.random(audited) < seen)
        made = verdict(count_steps(sizes, where[drawn], found), max_bad, confidence, seen)
        if made.issued:
            left = bad[made.step] - made.counts[made.step].corrected
            wrong += left / made.counts[made.step].left > max_bad
            issued += 1
            later += made.step > 0
    delta = 1 - confidence
    assert wrong / runs <= delta + 3 * math.sqrt(delta * (1 - delta) / runs)
    assert issued, "a walk that never certifies would pass, and say nothing"


def test_a_walk_goes_as_far_as_the_sets_are_good() -> None:
    random = np.random.default_rng(2)
    sizes, runs = (800, 1200, 1600), 300
    truth = np.zeros(1600, bool)
    truth[[10, 900, 1000]] = True
    truth[1210:1300] = True  # the last set is far too bad
    where = np.searchsorted(sizes, np.arange(1600), side="right")
    steps = []
    for _ in range(runs):
        drawn = random.choice(1600, 700, replace=False)
        steps.append(verdict(count_steps(sizes, where[drawn], truth[drawn]), 0.02, 0.95, 1.0).step)
    assert np.mean(np.array(steps) == 1) > 0.9
    assert max(steps) == 1
