"""Parts of the population: who belongs to which, and what the audit says about each."""

import numpy as np
import pytest

from autolabel.bounds import residual_bound
from autolabel.strata import CROWDED, GROUP, MAX_GROUPS, SMALL, TRUNCATED, report, strata_of

SIZE = np.tile([100, 80], (8, 1))
BOX = np.array(
    [
        [10, 10, 50, 50],
        [0, 10, 50, 50],  # at the left edge
        [10, 10, 99, 50],  # at the right one
        [10, 10, 50, 79.5],  # at the bottom
        [10, 10, 12, 12],  # small
        [10, 10, 13, 13],  # small
        [np.nan] * 4,
        [10, 10, 60, 60],
    ]
)
IN_IMAGE = np.array([1, 1, 1, 1, 1, 1, 2, 2])
GROUPS = np.array(["a", "a", "a", "a", "b", "b", "", ""], object)


def members(**changes: object) -> dict[str, list[int]]:
    given = {"box": BOX, "image_size": SIZE, "poses_in_image": IN_IMAGE, "group": GROUPS} | changes
    return {name: np.flatnonzero(chosen).tolist() for name, chosen in strata_of(**given).items()}  # type: ignore[arg-type]


def test_every_pose_is_in_the_strata_that_it_belongs_to() -> None:
    assert members() == {
        TRUNCATED: [1, 2, 3],
        SMALL: [4, 5],
        CROWDED: [6, 7],
        GROUP + "a": [0, 1, 2, 3],
        GROUP + "b": [4, 5],
    }


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"poses_in_image": np.ones(8, int)}, CROWDED),  # nobody
        ({"poses_in_image": np.full(8, 3)}, CROWDED),  # everybody
        ({"group": np.array(["one"] * 8, object)}, GROUP + "one"),
        ({"box": np.full((8, 4), np.nan)}, TRUNCATED),
        ({"box": np.full((8, 4), np.nan)}, SMALL),
    ],
)
def test_a_stratum_of_nobody_or_everybody_says_nothing(changes: dict[str, object], gone: str) -> None:
    assert gone not in members(**changes)


def test_many_groups_are_no_strata() -> None:
    n = MAX_GROUPS + 1
    groups = np.array([f"g{i}" for i in range(n)], object)
    found = strata_of(np.tile(BOX[:1], (n, 1)), np.tile(SIZE[:1], (n, 1)), np.ones(n), groups)
    assert not [name for name in found if name.startswith(GROUP)]


def test_what_is_small_was_fixed_before_it_was_known_which_poses_are_certified() -> None:
    width = np.array([30, 31, 32, 33, 2, 3, 34, 35])
    box = np.stack([np.full(8, 10), np.full(8, 10), 10 + width, np.full(8, 40)], axis=1)
    assert members(box=box)[SMALL] == [4, 5]
    assert SMALL not in members(box=box, first=4), "the smallest of the certified poses are not small"
    assert members(box=box, first=5)[SMALL] == [4]
    groups = np.array([f"g{i}" for i in range(MAX_GROUPS + 1)], object)
    n = len(groups)
    found = strata_of(np.tile(BOX[:1], (n, 1)), np.tile(SIZE[:1], (n, 1)), np.ones(n), groups, 2)
    assert found == {}, "too many groups before are too many groups after"


def test_no_poses_have_no_strata() -> None:
    assert strata_of(np.empty((0, 4)), np.empty((0, 2)), np.empty(0), np.empty(0, object)) == {}


def test_each_stratum_has_its_own_exact_limit() -> None:
    inside = np.arange(40) < 30
    audited = np.array([0, 1, 2, 35, 36, 29, 28, 27, 26, 25])
    bad = np.array([True, False, False, True, False, False, False, True, False, False])
    corrected = bad.copy()
    corrected[7] = False  # found by somebody else's answer
    rejected = np.zeros(10, bool)
    rejected[0] = True
    [first, rest] = report({"first": inside, "rest": ~inside}, audited, bad, corrected, rejected, confidence=0.9)
    assert (first.size, first.audited, first.bad) == (30, 8, 2)
    assert first.bound == residual_bound(2, 8, 30, 0.9, rejected=1, corrected=1)
    assert (rest.size, rest.audited, rest.bad) == (10, 2, 1)
    [tested] = report({"rest": ~inside}, audited, bad, corrected, rejected, confidence=0.9, sensitivity=0.7)
    assert tested.bound >= rest.bound
    [empty] = report({"rest": ~inside}, audited[:3], bad[:3], corrected[:3], rejected[:3], confidence=0.9)
    assert (empty.audited, empty.bound) == (0, 1.0)
