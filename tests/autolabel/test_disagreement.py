import numpy as np
import pytest

from autolabel.disagreement import against, match_by_id, match_by_place, pose_disagreement
from autolabel.errors import InputError, PosesError
from autolabel.poses import Poses, Visibility
from autolabel.similarity import pair_similarity
from tests.autolabel.bodies import COCO17, moved, people, unknown

WRIST = COCO17.index("left_wrist")


def ids(*names: str) -> np.ndarray:
    return np.array(names, object)


def test_rows_of_the_same_id() -> None:
    mine, other = people(4, id=ids("a", "b", "", "d")), people(5, id=ids("d", "", "b", "x", "b"))
    assert match_by_id(mine, other).tolist() == [-1, 2, -1, 0]
    assert match_by_id(mine, Poses.empty(17)).tolist() == [-1] * 4
    assert match_by_id(Poses.empty(17), other).tolist() == []


def test_similarity_with_the_pose_of_the_same_id() -> None:
    mine = people(3, id=ids("a", "b", "c"))
    other = moved(mine, "left_wrist", (0.3, 0.0)).take([2, 0])
    ks = against(mine, other, COCO17)
    assert np.isnan(ks[1]).all()
    assert ks[[0, 2]] == pytest.approx(pair_similarity(mine.take([0, 2]), other.take([1, 0]), COCO17))
    assert ks[[0, 2], WRIST].max() < 0.1
    assert np.delete(ks[[0, 2]], WRIST, axis=1).min() == 1.0


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        (Visibility.VISIBLE, Visibility.HIDDEN, 1.0),  # the place counts
        (Visibility.ABSENT, Visibility.ABSENT, 1.0),
        (Visibility.ABSENT, Visibility.VISIBLE, 0.0),
        (Visibility.VISIBLE, Visibility.ABSENT, 0.0),
        (Visibility.UNLABELLED, Visibility.UNLABELLED, 1.0),  # made elsewhere: a place without a word about it
    ],
)
def test_absent_keypoints(mine: Visibility, theirs: Visibility, expected: float) -> None:
    one = people(1, id=ids("a"))
    state, state_there = one.visibility.copy(), one.visibility.copy()
    state[0, WRIST], state_there[0, WRIST] = mine, theirs
    ks = against(one.replace(visibility=state), one.replace(visibility=state_there), COCO17)
    assert ks[0, WRIST] == expected


def test_unknown_places() -> None:
    one = people(1, id=ids("a"))
    hole = np.zeros((1, 17), bool)
    hole[0, WRIST] = True
    assert np.isnan(against(one, unknown(one, hole), COCO17)[0, WRIST])
    assert against(unknown(one, hole), one, COCO17)[0, WRIST] == 0.0
    everything = np.ones((1, 17), bool)
    assert np.isnan(against(one, unknown(one, everything), COCO17)).all()


def test_area_of_the_partner_where_a_pose_has_none() -> None:
    one = people(1, id=ids("a"))
    bare = one.replace(box=np.full((1, 4), np.nan), visibility=np.zeros((1, 17)))
    assert against(bare, moved(one, "left_wrist", (0.01, 0)), COCO17)[0, WRIST] > 0.5


def test_another_skeleton_is_refused() -> None:
    with pytest.raises(PosesError, match="of 17 and of 4 keypoints"):
        against(people(1), Poses.empty(4), COCO17)


def test_by_place_within_the_images() -> None:
    mine = people(6, seed=3)
    other = mine.take([1, 0, 3, 5, 2])
    # Images 0 (two people), 2 (two) and 7 (two); in the other manifest, pose 2 is in an image of its own.
    partner = match_by_place(mine, [0, 0, 2, 2, 7, 7], other, [0, 0, 2, 7, 9], COCO17)
    assert partner.tolist() == [1, 0, -1, 2, -1, 3]
    ks = against(mine, other, COCO17, partner)
    assert np.nanmin(ks) == 1.0
    assert np.isnan(ks).all(axis=1).tolist() == [False, False, True, False, True, False]
    assert match_by_place(Poses.empty(17), [], other, [0] * 5, COCO17).tolist() == []


@pytest.mark.parametrize("owner", [[1, 0], [0], [[0], [0]]])
def test_image_numbers_are_checked(owner: list[int]) -> None:
    with pytest.raises(InputError):
        match_by_place(people(2), owner, people(2), [0, 0], COCO17)


def test_disagreement_of_a_pose() -> None:
    ks = np.array([[1.0, 1.0, np.nan], [0.0, 0.5, 0.1], [np.nan] * 3])
    assert pose_disagreement(ks) == pytest.approx([0.0, 0.8, np.nan], nan_ok=True)
    assert pose_disagreement(np.empty((0, 3))).shape == (0,)
