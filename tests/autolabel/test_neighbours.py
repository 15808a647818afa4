import numpy as np
import pytest

from autolabel.errors import InputError, PosesError
from autolabel.neighbours import conflicts
from autolabel.poses import Poses, Visibility
from autolabel.similarity import keypoint_similarity, similarity_area
from tests.autolabel.bodies import COCO17, people, unknown

LEFT, RIGHT, KNEE = (COCO17.index(name) for name in ("left_wrist", "right_wrist", "left_knee"))


def expected(poses: Poses, owner: list[int]) -> np.ndarray:
    """The definition, one pair after the other."""
    answer, area = np.zeros(poses.xy.shape[:2]), similarity_area(poses)
    for i in range(len(poses)):
        for j in range(len(poses)):
            if i != j and owner[i] == owner[j]:
                smaller = min(area[i], area[j])
                for place in (poses.xy[j], poses.xy[j][list(COCO17.flip)]):
                    ks = keypoint_similarity(poses.xy[i], place, smaller, COCO17.sigmas)
                    answer[i] = np.maximum(answer[i], ks)
    return answer


def with_wrist_at(poses: Poses, i: int, joint: int, j: int) -> Poses:
    """The left wrist of pose i on a joint of pose j."""
    xy = poses.xy.copy()
    xy[i, LEFT] = xy[j, joint]
    return poses.replace(xy=xy)


@pytest.mark.parametrize("owner", [[0] * 12, [0, 1, 1, 1, 4, 4, 5, 6, 6, 6, 6, 6], list(range(12))])
def test_is_the_largest_similarity_with_another_pose_of_the_image(owner: list[int]) -> None:
    crowd = people(12, seed=1)
    near = crowd.replace(xy=crowd.xy * 0.3, box=crowd.box * 0.3)
    assert expected(near, [0] * 12).max() > 0.5
    assert conflicts(near, owner, COCO17) == pytest.approx(expected(near, owner))


@pytest.mark.parametrize("chunk", [1, 17 * 20, 17 * 100])
def test_chunks_do_not_matter(chunk: int) -> None:
    many, owner = people(60, seed=2), sorted(np.random.default_rng(0).integers(0, 9, 60).tolist())
    whole = conflicts(many, owner, COCO17)
    assert whole.any()
    assert np.array_equal(conflicts(many, owner, COCO17, chunk), whole)


@pytest.mark.parametrize(
    ("joint", "owner", "conflict"),
    [
        (LEFT, [0, 0], True),  # the same joint
        (RIGHT, [0, 0], True),  # the mirrored one
        (KNEE, [0, 0], False),  # another one is no rival
        (LEFT, [0, 1], False),  # another image
    ],
)
def test_two_people_claim_one_place(joint: int, owner: list[int], conflict: bool) -> None:
    found = conflicts(with_wrist_at(people(2, seed=3), 0, joint, 1), owner, COCO17)
    assert (found[0, LEFT] > 0.99) == conflict


def test_keypoints_without_a_place_claim_none() -> None:
    two = with_wrist_at(people(2, seed=3), 0, LEFT, 1)
    hole = np.zeros((2, 17), bool)
    hole[1, LEFT] = True
    for there in (unknown(two, hole), two.replace(visibility=np.where(hole, Visibility.ABSENT, two.visibility))):
        found = conflicts(there, [0, 0], COCO17)
        assert found[0, LEFT] < 0.5
        assert np.isnan(found[1, LEFT])
    assert conflicts(two.replace(crowd=[False, True]), [0, 0], COCO17)[0, LEFT] == 0


@pytest.mark.parametrize("n", [0, 1])
def test_nobody_and_one_alone(n: int) -> None:
    found = conflicts(people(n), [0] * n, COCO17)
    assert found.shape == (n, 17)
    assert not found.any()


def test_bad_input_is_refused() -> None:
    with pytest.raises(PosesError, match="poses of 4 keypoints, the skeleton has 17"):
        conflicts(Poses.empty(4), [], COCO17)
    with pytest.raises(InputError, match="not in order"):
        conflicts(people(3), [0, 1, 0], COCO17)
