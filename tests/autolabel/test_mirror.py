import numpy as np
import pytest

from autolabel.limbs import limbs
from autolabel.mirror import (
    DOUBT,
    FACE,
    SEEN_DOUBT,
    UNSEEN_DOUBT,
    against_itself,
    bounded,
    face_seen,
    facing,
    mirror_evidence,
    repair_mirrored,
    side_doubt,
)
from autolabel.poses import Poses
from autolabel.skeleton import Skeleton
from tests.standing import COCO, moved, people

N = 8
ALL = np.arange(N)
K = COCO.num_keypoints


def test_a_mirrored_pose_is_told_from_a_straight_one_by_a_prediction() -> None:
    truth, seen = people(N), people(N, shake=1.0)
    straight = mirror_evidence(truth, COCO, other=seen)
    turned = mirror_evidence(repair_mirrored(truth, ALL, COCO), COCO, other=seen)
    assert (straight.whole < -3).sum() == 6  # of the two who look away the network itself may be mirrored
    assert (turned.whole > 3).sum() == 6
    assert (turned.agreeing == 1).all()
    assert (turned.pairs[:, 2:] > 0).all()


def test_one_limb_is_told_from_the_rest() -> None:
    truth = people(N)
    turned = moved(truth, 0, {"left_knee": (38, 130), "right_knee": (62, 130), "left_ankle": (37, 170)})
    turned = moved(turned, 0, {"right_ankle": (63, 170)})
    evidence = mirror_evidence(turned, COCO, other=truth)
    legs = [limb.name for limb in limbs(COCO)].index("hip, knee and ankle")
    assert evidence.limbs[0, legs] > 2
    assert (np.delete(evidence.limbs[0], legs) <= 0).all()
    assert evidence.whole[0] < 0


def test_the_networks_own_doubt_bounds_what_it_can_tell() -> None:
    assert bounded(np.array([100.0, -100.0]), np.array([0.02, 0.02])) == pytest.approx([np.log(49), -np.log(49)])
    assert bounded(np.array([1e9]), np.array([0.5])) == pytest.approx([0.0])
    weak = bounded(np.array([0.1]), np.array([0.02]))
    assert 0 < weak[0] < 0.1
    assert np.isnan(bounded(np.array([np.nan]), np.array([0.02]))).all()


def test_doubt_follows_face_and_features() -> None:
    poses = people(N)  # the fourth and the eighth look away
    assert side_doubt(poses, None, COCO)[:4, 0] == pytest.approx([*[SEEN_DOUBT] * 3, UNSEEN_DOUBT])
    everybody = poses.replace(visibility=np.full((N, K), 2))  # visibility was not labelled
    assert face_seen(everybody, COCO) is None
    assert (side_doubt(everybody, None, COCO) == DOUBT).all()
    half = side_doubt(everybody, {"flip_ks": np.full((N, K), 0.9)}, COCO)
    assert half == pytest.approx(np.full((N, 8), 2 * DOUBT))
    other_side = np.zeros((N, K))
    other_side[0, [5, 6]] = 0.8
    assert side_doubt(everybody, {"other_side": other_side}, COCO)[0, 2] == pytest.approx(0.32)
    assert np.isfinite(side_doubt(everybody, {"flip_ks": np.full((N, K), np.nan)}, COCO)).all()


def test_the_face_says_which_side_is_which() -> None:
    poses = people(4)
    assert facing(poses, COCO)[:3] == pytest.approx([-FACE] * 3, abs=0.05)
    assert facing(poses, COCO)[3] == 0  # not seen
    assert facing(repair_mirrored(poses, np.arange(4), COCO), COCO)[:3] == pytest.approx([FACE] * 3, abs=0.05)
    upside_down = poses.replace(xy=-poses.xy, box=np.full((4, 4), np.nan))
    assert facing(upside_down, COCO)[:3] == pytest.approx([-FACE] * 3, abs=0.05)
    sideways = moved(poses, 0, {"left_eye": (50, 15), "right_eye": (50, 15)})
    assert facing(sideways, COCO)[0] == pytest.approx(0, abs=0.1)
    assert (facing(Poses.empty(14), Skeleton.load("lsp14")) == 0).all()


def test_a_flip_test_that_changes_sides_speaks_against_a_prediction() -> None:
    features = {"flip_ks": np.full((2, K), 0.9), "swap_ks": np.full((2, K), 0.1)}
    features["flip_ks"][1], features["swap_ks"][1] = 0.1, 0.9
    assert against_itself(features, COCO, 2)[:, 0] == pytest.approx([-np.log(0.93 / 0.13), np.log(0.93 / 0.13)])
    evidence = mirror_evidence(people(2), COCO, features=features)
    assert evidence.whole[0] < 0 < evidence.whole[1]
    assert np.isnan(against_itself({"peak": np.ones((2, K))}, COCO, 2)).all()


def test_repair_changes_all_that_belongs_to_a_side_and_nothing_else() -> None:
    poses = people(3).replace(
        score=np.arange(51).reshape(3, 17), presence=np.linspace(0, 1, 51).reshape(3, 17), origin=np.full((3, 17), 1)
    )
    repaired = repair_mirrored(poses, np.array([1]), COCO)
    flip = list(COCO.flip)
    for name in ("xy", "score", "presence", "visibility"):
        assert np.array_equal(getattr(repaired, name)[1], getattr(poses, name)[1, flip])
        assert np.array_equal(getattr(repaired, name)[[0, 2]], getattr(poses, name)[[0, 2]])
    assert repair_mirrored(repaired, np.array([False, True, False]), COCO).equals(poses)
    assert repair_mirrored(Poses.empty(17), np.zeros(0, bool), COCO).equals(Poses.empty(17))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_nothing_known_is_nothing_said(count: int) -> None:
    blank = Poses.create(17, xy=np.full((count, 17, 2), np.nan))
    evidence = mirror_evidence(people(count), COCO, other=blank)
    assert np.isnan(evidence.whole).all()
    assert np.isnan(evidence.limbs).all()
    assert evidence.limbs.shape == (count, 3)
    assert np.isnan(mirror_evidence(people(count), COCO).whole).all()


def test_a_skeleton_without_pairs_has_no_sides() -> None:
    skeleton = Skeleton.from_dict({"name": "one", "keypoints": ["nose"]})
    poses = Poses.create(1, xy=[[[1, 2]]], visibility=[[2]], box=[[0, 0, 9, 9]])
    features = {"flip_ks": np.ones((1, 1)), "swap_ks": np.ones((1, 1)), "other_side": np.zeros((1, 1))}
    evidence = mirror_evidence(poses, skeleton, features=features, other=poses, other_features=features)
    assert np.isnan(evidence.whole).all()
    assert evidence.pairs.shape == (1, 0) == evidence.limbs.shape
