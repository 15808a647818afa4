import numpy as np
import pytest

from pipelines.drawn_figure import BONES
from pipelines.drawn_person import ACTIVITIES, cloth, draw_person, skin

# Usual active ranges of motion, degrees, with some room for the shoulder girdle and the spine.
LIMITS = {
    "forearm flex": (0, 150),
    "shank flex": (0, 140),
    "thigh flex": (-30, 125),
    "thigh spread": (-5, 45),
    "foot flex": (-50, 30),
    "head turn": (-80, 80),
    "arm flex": (-60, 180),
}


@pytest.mark.parametrize("activity", ACTIVITIES)
def test_activities_stay_within_joint_limits_and_name_real_bones(activity: str):
    bones = {*BONES, *(bone.split("_")[-1] for bone in BONES)}
    for key, (least, most) in ACTIVITIES[activity].items():
        bone, angle = key.split()
        assert bone in bones
        assert angle in ("flex", "turn", "spread")
        assert least <= most
        low, high = LIMITS.get(f"{bone.split('_')[-1]} {angle}", (-180, 180))
        assert low <= least
        assert most <= high


def torso(seed: int, pose_spread: float) -> np.ndarray:
    """Person's left shoulder seen from the right one, and the nose from the ears: (2, 3)."""
    joints = draw_person(np.random.default_rng(seed), pose_spread).joints
    return np.stack([joints[5] - joints[6], joints[0] - joints[3:5].mean(axis=0)])


def test_without_spread_everybody_stands_upright_and_faces_the_viewer():
    for seed in range(40):
        joints = draw_person(np.random.default_rng(seed), 0).joints
        shoulders, nose = torso(seed, 0)
        assert shoulders[0] > 0
        assert nose[2] > 0
        # y grows downwards: eyes, shoulders, hips, knees, ankles.
        heights = [joints[k : k + 2, 1].mean() for k in (1, 5, 11, 13, 15)]
        assert heights == sorted(heights)


def test_with_spread_people_are_seen_from_all_sides_and_in_all_poses():
    shoulders, noses = np.stack([torso(seed, 1) for seed in range(300)], axis=1)
    assert 0.25 < (shoulders[:, 0] > 0).mean() < 0.75
    assert 0.25 < (noses[:, 2] > 0).mean() < 0.8
    joints = np.stack([draw_person(np.random.default_rng(seed), 1).joints for seed in range(300)])
    wrists_up = joints[:, 9, 1] < joints[:, 0, 1]
    knees_at_hips = np.abs(joints[:, 13, 1] - joints[:, 11, 1]) < 0.12
    assert 0.05 < wrists_up.mean() < 0.5
    assert 0.05 < knees_at_hips.mean() < 0.6


def test_one_seed_gives_one_person():
    a, b, c = (draw_person(np.random.default_rng(seed), 0.7) for seed in (3, 3, 4))
    assert np.array_equal(a.joints, b.joints)
    assert np.array_equal(a.solids.colour, b.solids.colour)
    assert not np.array_equal(a.joints, c.joints)


@pytest.mark.parametrize("colour", [cloth, skin])
def test_colours_are_colours(colour):
    drawn = np.stack([colour(np.random.default_rng(seed)) for seed in range(200)])
    assert drawn.shape == (200, 3)
    assert drawn.min() >= 0
    assert drawn.max() < 280
    assert drawn.std(axis=0).min() > 20
