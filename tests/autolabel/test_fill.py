"""What a network may fill in: open keypoints that it is nearly sure of, and no word that a person said."""

from typing import Any

import numpy as np
import pytest

from autolabel.errors import PosesError
from autolabel.fill import fill, stated
from autolabel.poses import FILLED, Origin, Poses, Visibility
from autolabel.skeleton import Skeleton

THREE = Skeleton.from_dict({"name": "three", "keypoints": ["nose", "left_ear", "right_ear"]})
U, H, V, A = Visibility.UNLABELLED, Visibility.HIDDEN, Visibility.VISIBLE, Visibility.ABSENT
NONE, MODEL, HUMAN, IMPORTED = Origin


def poses(**fields: Any) -> Poses:
    return Poses.create(3, id=["a"], **fields)


PEOPLE = poses(
    xy=[[[1, 1], [np.nan, np.nan], [np.nan, np.nan]]],
    visibility=[[V, U, U]],
    origin=[[IMPORTED, NONE, NONE]],
    attributes=[{"state": "reviewed"}],
)
TEACHER = poses(
    xy=[[[9, 9], [8, 8], [7, 7]]], visibility=[[V, V, H]], score=[[0.9] * 3], p_gross=[[0.001, 0.01, 0.019]]
)


def test_open_keypoints_are_filled_in_and_named() -> None:
    made = fill(PEOPLE, TEACHER, stated(PEOPLE), THREE, below=0.02)
    assert made.xy.tolist() == [[[1, 1], [8, 8], [7, 7]]]
    assert made.visibility.tolist() == [[V, V, H]]
    assert made.origin.tolist() == [[IMPORTED, MODEL, MODEL]]
    assert made.attributes == ({"state": "reviewed", FILLED: ["left_ear", "right_ear"]},)
    assert PEOPLE.attributes == ({"state": "reviewed"},)


@pytest.mark.parametrize(
    ("people", "teacher", "below"),
    [
        ({}, {}, 0.01),  # less than, not as much as
        ({}, {"p_gross": [[0, np.nan, np.nan]]}, 1.0),  # no calibrated doubt, no word
        ({}, {"visibility": [[V, A, U]]}, 1.0),  # the network places nothing
        ({"visibility": [[V, A, A]]}, {}, 1.0),  # somebody said that they are absent
        ({"origin": [[IMPORTED, HUMAN, HUMAN]]}, {}, 1.0),  # somebody took them back
        ({}, {}, 0.0),
    ],
)
def test_nothing_else_is_touched(people: dict[str, Any], teacher: dict[str, Any], below: float) -> None:
    mine = PEOPLE.replace(**people)
    assert fill(mine, TEACHER.replace(**teacher), stated(mine), THREE, below=below).equals(mine)


def test_what_nobody_looked_at_is_not_taken_for_said() -> None:
    """Of a large skeleton people see a few keypoints: the others still state what an older network said."""
    old = PEOPLE.replace(xy=[[[1, 1], [2, 2], [3, 3]]], visibility=[[V, V, V]], origin=[[HUMAN, MODEL, MODEL]])
    made = fill(old, TEACHER, np.array([[True, True, False]]), THREE, below=0.01)
    assert made.visibility.tolist() == [[V, V, U]]
    assert made.origin.tolist() == [[HUMAN, MODEL, NONE]]
    assert np.isnan(made.xy[0, 2]).all() and made.xy[0, :2].tolist() == [[1, 1], [2, 2]]
    assert FILLED not in made.attributes[0]


@pytest.mark.parametrize(
    ("teacher", "said", "message"),
    [
        (TEACHER.replace(id=["b"]), np.ones((1, 3), bool), "are others, or in another order"),
        (TEACHER.take([0, 0]), np.ones((1, 3), bool), r"teacher \(2, 3\)"),
        (TEACHER, np.ones((1, 2), bool), r"said is \(1, 2\)"),
    ],
)
def test_what_does_not_fit_is_told(teacher: Poses, said: Any, message: str) -> None:
    with pytest.raises(PosesError, match=message):
        fill(PEOPLE, teacher, said, THREE, below=0.5)


def test_no_poses_are_no_trouble() -> None:
    nobody = Poses.empty(3)
    assert len(fill(nobody, nobody, np.empty((0, 3), bool), THREE, below=0.5)) == 0
