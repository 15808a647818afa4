import numpy as np
import pytest

from autolabel.errors import ConfigError, PosesError, SkeletonError
from autolabel.pose_prior import LEAST_POSES, PosePrior, fit_prior
from autolabel.poses import Poses, Visibility
from autolabel.skeleton import Skeleton
from tests.autolabel.bodies import COCO17, mirrored, moved, people, unknown

PRIOR = fit_prior(people(300), COCO17)
assert PRIOR is not None


def at(names: str) -> list[int]:
    return [COCO17.index(name) for name in names.split()]


# Bones


def test_bones_of_ordinary_people_are_not_too_long() -> None:
    bones = PRIOR.bones(people(200, seed=1))
    assert bones.shape == (200, 17)
    assert (bones > 0).mean() < 0.06  # 1 % of the bones of the checked ones are long, and each has two ends
    assert np.median(bones) == 0


@pytest.mark.parametrize(
    ("keypoint", "move", "blamed", "less", "free"),
    [
        # A wrist far out: the forearm alone is long, and the wrist has no other bone that is not.
        ("left_wrist", (0.6, 0.0), "left_wrist", "left_elbow", "left_shoulder right_wrist nose"),
        # An elbow: both bones at it are long, so its neighbours are less suspect.
        ("left_elbow", (0.7, 0.0), "left_elbow", "left_wrist left_shoulder", "left_hip right_elbow nose"),
        ("right_ankle", (-0.3, 0.4), "right_ankle", "right_knee", "right_hip left_ankle"),
    ],
)
def test_long_bone_is_blamed_on_the_likelier_end(
    keypoint: str, move: tuple[float, float], blamed: str, less: str, free: str
) -> None:
    bones = PRIOR.bones(moved(people(50, seed=2), keypoint, move))
    full, half, none = (np.median(bones[:, at(names)], axis=0) for names in (blamed, less, free))
    assert full.min() > 2
    assert (half < full.min()).all()
    assert half.min() > 0
    assert none.max() == 0


def test_both_ends_are_blamed_where_neither_is_likelier() -> None:
    # The lower leg on somebody else: only the thigh is long.
    gone = moved(moved(people(20, seed=3), "left_knee", (0.8, 0.0)), "left_ankle", (0.8, 0.0))
    bones = PRIOR.bones(gone)
    assert (bones[:, at("left_hip")] == bones[:, at("left_knee")]).mean() > 0.8  # but for chance
    assert bones[:, at("left_hip")].min() > 1


def test_short_bones_are_no_evidence() -> None:
    folded = people(50, seed=4)
    xy = folded.xy.copy()
    xy[:, at("left_wrist left_elbow")] = xy[:, at("left_shoulder")]
    assert np.median(PRIOR.bones(folded.replace(xy=xy))[:, at("left_wrist left_elbow left_shoulder")]) == 0


def test_box_does_not_matter_within_a_size_bin() -> None:
    someone = people(30, seed=5)
    wider = someone.box * (1, 1, 1, 1) + np.array([0, 0, 0, 0.01])
    assert np.array_equal(PRIOR.bones(someone), PRIOR.bones(someone.replace(box=wider)))


def test_small_poses_have_looser_limits() -> None:
    """Noise of two pixels is much for a small person and nothing for a large one."""
    rng = np.random.default_rng(6)
    everyone = people(900, seed=6)
    noisy = everyone.replace(xy=everyone.xy + rng.normal(0, 2, everyone.xy.shape))
    prior = fit_prior(noisy, COCO17)
    assert prior is not None
    assert len(prior.sizes) == 2
    small, _, large = np.array(prior.long).mean(axis=1)
    assert small > 1.5 * large


# Residual


def test_residual_is_about_one_for_ordinary_people() -> None:
    assert np.median(PRIOR.residual(people(200, seed=7))) == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("keypoint", ["nose", "left_wrist", "right_knee", "right_ear"])
def test_moved_keypoint_stands_out_and_leaves_the_others(keypoint: str) -> None:
    residual = PRIOR.residual(moved(people(50, seed=8), keypoint, (0.4, -0.2)))
    others = np.delete(residual, at(keypoint), axis=1)
    assert np.median(residual[:, at(keypoint)]) > 8
    assert np.median(others) < 2


@pytest.mark.parametrize("method", ["bones", "residual"])
def test_no_favourite_side(method: str) -> None:
    someone = moved(people(40, seed=9), "left_wrist", (0.2, 0.3))
    straight, turned = getattr(PRIOR, method)(someone), getattr(PRIOR, method)(mirrored(someone))
    assert turned[:, list(COCO17.flip)] == pytest.approx(straight, rel=0.02, abs=0.02)


@pytest.mark.parametrize("method", ["bones", "residual"])
def test_place_and_scale_do_not_matter(method: str) -> None:
    # Not so small that a bone is one pixel, nor across a size bin.
    someone = people(40, seed=10)
    grown = someone.replace(xy=someone.xy * 1.01 + 1000, box=someone.box)
    expected = getattr(PRIOR, method)(someone)
    assert getattr(PRIOR, method)(grown) == pytest.approx(expected, rel=0.02, abs=0.02)


def test_turn_does_not_matter_for_the_posture() -> None:
    someone = moved(people(40, seed=10), "left_wrist", (0.3, 0.3))
    lying = someone.replace(xy=someone.xy[..., ::-1] * (1, -1))
    assert PRIOR.residual(lying) == pytest.approx(PRIOR.residual(someone), rel=0.01, abs=0.01)


# What is not known


@pytest.mark.parametrize("method", ["bones", "residual"])
def test_missing_and_absent_keypoints_are_left_out(method: str) -> None:
    someone = moved(people(20, seed=11), "left_wrist", (0.9, 0.0))
    hole = np.zeros((20, 17), bool)
    hole[:, at("left_wrist")] = True
    marked = someone.replace(visibility=np.where(hole, Visibility.ABSENT, someone.visibility))
    missing, absent = getattr(PRIOR, method)(unknown(someone, hole)), getattr(PRIOR, method)(marked)
    assert np.array_equal(missing, absent, equal_nan=True)
    assert np.isnan(missing[hole]).all()
    assert np.isfinite(missing[~hole]).all()
    assert np.median(missing[:, at("left_elbow")]) < 2


def test_half_a_body_has_a_residual_of_its_own() -> None:
    hole = np.zeros((50, 17), bool)
    hole[:, 11:] = True
    upper = PRIOR.residual(unknown(people(50, seed=12), hole))
    assert np.median(upper[:, :11]) < 2
    wild = PRIOR.residual(unknown(moved(people(50, seed=12), "left_wrist", (0.5, -0.5)), hole))
    assert np.median(wild[:, at("left_wrist")]) > 5


@pytest.mark.parametrize("known", [0, 1, 3])
def test_too_few_keypoints_have_no_residual(known: int) -> None:
    hole = np.ones((5, 17), bool)
    hole[:, :known] = False
    few = unknown(people(5), hole)
    assert np.isnan(PRIOR.residual(few)).all()
    assert np.isfinite(PRIOR.bones(few)).sum() == (15 if known == 3 else 0)


def test_all_in_one_point() -> None:
    point = people(3).replace(xy=np.full((3, 17, 2), 7.0), box=np.full((3, 4), 7.0))
    assert np.isnan(PRIOR.residual(point)).all()
    assert np.isfinite(PRIOR.bones(point)).all()


@pytest.mark.parametrize("poses", [Poses.empty(17), people(1)])
def test_no_pose_and_one(poses: Poses) -> None:
    assert PRIOR.bones(poses).shape == PRIOR.residual(poses).shape == (len(poses), 17)


# Fitting


@pytest.mark.parametrize(
    ("poses", "skeleton"),
    [
        (Poses.empty(17), COCO17),
        (people(LEAST_POSES - 1), COCO17),
        (unknown(people(100), np.ones((100, 17), bool)), COCO17),
        (Poses.create(1, xy=np.zeros((100, 1, 2))), Skeleton("dot", ("a",), (), (0,), (0.05,), "test")),
    ],
)
def test_too_little_to_fit(poses: Poses, skeleton: Skeleton) -> None:
    assert fit_prior(poses, skeleton) is None


def test_least_number_is_enough() -> None:
    assert fit_prior(people(LEAST_POSES), COCO17) is not None


def test_constant_poses_and_a_skeleton_without_bones() -> None:
    plain = Skeleton("plain", COCO17.keypoints, (), COCO17.flip, COCO17.sigmas, "test")
    same = people(1).take(np.zeros(40, int))
    prior = fit_prior(same, plain)
    assert prior is not None
    assert np.isnan(prior.bones(same)).all()
    # The mean of a pose and its mirror image is neither, but one component tells them apart.
    assert prior.residual(same).max() < 5


def test_keypoint_that_was_never_seen_is_not_judged() -> None:
    hole = np.zeros((100, 17), bool)
    hole[:, at("left_wrist right_wrist")] = True
    prior = fit_prior(unknown(people(100), hole), COCO17)
    assert prior is not None
    whole = people(10, seed=13)
    for values in (prior.bones(whole), prior.residual(whole)):
        assert np.isnan(values[:, at("left_wrist right_wrist")]).all()
        assert np.isfinite(np.delete(values, at("left_wrist right_wrist"), axis=1)).all()


def test_missing_keypoints_while_fitting() -> None:
    hole = np.random.default_rng(14).random((300, 17)) < 0.3
    prior = fit_prior(unknown(people(300), hole), COCO17)
    assert prior is not None
    residual = prior.residual(moved(people(50, seed=15), "left_wrist", (0.4, -0.2)))
    assert np.median(residual[:, at("left_wrist")]) > 5
    assert np.median(residual) < 2


def test_keypoints_that_coincide_have_no_posture() -> None:
    points = people(40).replace(xy=np.full((40, 17, 2), 7.0))
    prior = fit_prior(points, COCO17)
    assert prior is not None
    assert np.isnan(prior.residual(people(5))).all()
    assert np.isfinite(prior.bones(people(5))).all()


def test_four_keypoints_seen_from_above() -> None:
    """An animal that turns every way: the mean of its places is a point, that of its postures is not."""
    rng = np.random.default_rng(16)
    shape = np.array([[0.0, 30.0], [-9.0, 22.0], [9.0, 22.0], [0.0, -30.0]])
    angle, bend = rng.uniform(0, 2 * np.pi, 200), rng.normal(0, 8, 200)
    body = np.broadcast_to(shape, (200, 4, 2)) + rng.normal(0, 0.7, (200, 4, 2))
    body[:, 3, 0] += bend
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(-1, 2, 2)
    mice = Poses.create(4, xy=np.einsum("nij,nkj->nki", turn, body) + 300)
    skeleton = Skeleton(
        "mouse", ("snout", "l", "r", "tail"), ((0, 1), (0, 2), (1, 3)), (0, 2, 1, 3), (0.05,) * 4, "test"
    )
    prior = fit_prior(mice, skeleton)
    assert prior is not None
    wrong = mice.xy.copy()
    wrong[:, [1, 3]] = wrong[:, [3, 1]]
    assert np.median(prior.residual(mice)) < 1.5
    assert np.median(prior.residual(mice.replace(xy=wrong)).max(axis=1)) > 5


def test_is_stored_as_json() -> None:
    again = PosePrior.model_validate_json(PRIOR.model_dump_json())
    assert again == PRIOR
    assert np.array_equal(again.residual(people(9)), PRIOR.residual(people(9)))


def test_wrong_skeletons_and_damaged_files() -> None:
    with pytest.raises(SkeletonError, match="17 keypoints, the poses 4"):
        fit_prior(Poses.empty(4), COCO17)
    with pytest.raises(PosesError, match="poses of 4 keypoints, the pose prior was fitted on 17"):
        PRIOR.bones(Poses.empty(4))
    with pytest.raises(PosesError):
        PRIOR.residual(Poses.empty(4))
    for change in ({"typical": (1.0,)}, {"length": ()}, {"num_keypoints": 3}, {"variance": ()}, {"sizes": ()}):
        with pytest.raises(ConfigError):
            PosePrior.parse(PRIOR.model_dump() | change, subject="prior")
