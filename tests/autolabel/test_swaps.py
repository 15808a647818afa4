import numpy as np
import pytest

from autolabel.poses import Poses
from autolabel.swaps import nearest_neighbour
from tests.standing import COCO, moved, people


def test_a_wrist_on_a_neighbours_wrist_is_found_with_whose_it_is() -> None:
    three = people(3, apart=200)
    x, y = three.xy[2, COCO.index("left_wrist")]
    taken = moved(three, 0, {"left_wrist": (x, y)})
    nearest = nearest_neighbour(taken, taken, np.zeros(3), COCO)
    assert nearest.ks[0, COCO.index("left_wrist")] == pytest.approx(1)
    assert nearest.row[0, COCO.index("left_wrist")] == 2
    assert nearest.row[2, COCO.index("left_wrist")] == 0
    assert (np.delete(nearest.ks[0], COCO.index("left_wrist")) < 0.01).all()


def test_a_neighbours_mirrored_joint_counts() -> None:
    two = people(2, apart=200)
    x, y = two.xy[1, COCO.index("right_wrist")]
    taken = moved(two, 0, {"left_wrist": (x, y)})
    assert nearest_neighbour(taken, taken, np.zeros(2), COCO).ks[0, COCO.index("left_wrist")] == pytest.approx(1)


@pytest.mark.parametrize(
    ("owner", "crowd"),
    [([0, 1, 2], [False] * 3), ([0, 0, 0], [False, True, True])],  # other images, crowd regions
)
def test_who_is_nobodys_neighbour(owner: list[int], crowd: list[bool]) -> None:
    same = people(3).replace(crowd=crowd)  # all in one place
    nearest = nearest_neighbour(same, same, np.array(owner), COCO)
    assert (nearest.ks == 0).all()
    assert (nearest.row == -1).all()


def test_images_need_not_be_in_order() -> None:
    crowd, owner = people(9, apart=3, shake=2), np.array([2, 0, 1, 2, 0, 1, 2, 0, 1])
    whole = nearest_neighbour(crowd, crowd, owner, COCO)
    assert (owner[whole.row] == owner[:, None]).all()
    order = np.argsort(owner, kind="stable")
    ordered = nearest_neighbour(crowd.take(order), crowd.take(order), owner[order], COCO)
    assert np.array_equal(ordered.ks, whole.ks[order])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_nothing_labelled_is_near_nothing(count: int) -> None:
    blank = Poses.create(17, xy=np.full((count, 17, 2), np.nan))
    nearest = nearest_neighbour(blank, blank, np.zeros(count), COCO)
    assert nearest.ks.shape == (count, 17)
    assert (nearest.ks == 0).all()
