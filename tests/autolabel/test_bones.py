import numpy as np
import pytest

from autolabel.bones import DEFAULT_LIMIT, BoneLengths
from autolabel.poses import Poses
from autolabel.skeleton import Skeleton
from tests.standing import COCO, moved, people

MANY = people(200, shake=1.0)
FITTED = BoneLengths.fit(MANY, COCO)


def test_people_like_the_others_have_no_long_bones() -> None:
    assert (FITTED.bones(people(200, shake=1.0, seed=1)) > 0.05).mean() < 0.001


def test_a_pulled_joint_is_the_most_to_blame() -> None:
    excess = FITTED.bones(moved(MANY, 7, {"left_elbow": (160, 60)}))
    assert excess[7].argmax() == COCO.index("left_elbow")
    assert excess[7].max() > 0.5
    assert (np.delete(excess, 7, axis=0) < 0.05).all()


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_size_is_no_fault(scale: float) -> None:
    same = people(3).replace(xy=people(3).xy * scale, box=people(3).box * scale)
    assert (FITTED.bones(same) <= 0.05).all()


def test_short_bones_are_no_fault() -> None:
    folded = moved(people(2), 0, {"left_wrist": (72, 61), "left_ankle": (62, 131)})
    assert (FITTED.bones(folded) <= 0.05).all()


def test_a_bone_as_long_as_its_other_side_is_no_fault() -> None:
    both = moved(people(2), 0, {"left_wrist": (75, 130), "right_wrist": (25, 130)})
    one = moved(people(2), 0, {"left_wrist": (75, 130)})
    assert FITTED.bones(both)[0, COCO.index("left_wrist")] == 0
    assert FITTED.bones(one)[0, COCO.index("left_wrist")] > 0


def test_the_fit_is_not_moved_by_faults() -> None:
    xy = MANY.xy.copy()
    xy[:4, COCO.index("left_wrist")] = 900
    faulty = BoneLengths.fit(MANY.replace(xy=xy), COCO)
    assert (faulty.limit < 2.2 * FITTED.limit).all()
    assert (faulty.bones(MANY.replace(xy=xy))[:4].max(axis=1) > 0.5).all()


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_poses_leave_a_wide_limit(count: int) -> None:
    fitted = BoneLengths.fit(people(count), COCO)
    assert fitted.limit == pytest.approx(np.full(19, DEFAULT_LIMIT))
    assert (np.nan_to_num(fitted.bones(people(count))) <= 0).all()


def test_what_is_not_labelled_has_no_bones() -> None:
    blank = Poses.create(17, xy=np.full((3, 17, 2), np.nan))
    assert np.isnan(FITTED.bones(blank)).all()
    assert np.isnan(BoneLengths.fit(blank, COCO).usual).all()
    constant = Poses.create(17, xy=np.zeros((40, 17, 2)), visibility=np.full((40, 17), 2))
    assert (BoneLengths.fit(constant, COCO).bones(constant) == 0).all()


def test_a_skeleton_without_edges_knows_nothing() -> None:
    skeleton = Skeleton.from_dict({"name": "one", "keypoints": ["nose"]})
    one = Poses.create(1, xy=[[[1, 2]]], visibility=[[2]])
    assert np.isnan(BoneLengths.fit(one, skeleton).bones(one)).all()
