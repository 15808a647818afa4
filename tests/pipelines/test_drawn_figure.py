import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from autolabel.poses import Visibility
from autolabel.skeleton import Skeleton
from pipelines.drawn_canvas import OBJECT, Canvas, Light
from pipelines.drawn_figure import (
    BONES,
    SLOTS,
    Figure,
    Wardrobe,
    draw_build,
    pose_figure,
    rotations,
)
from pipelines.drawn_scene import Person, read_truth

SKELETON = Skeleton.load("coco17")
NAMES = SKELETON.keypoints
GREY = Wardrobe(
    np.full((len(SLOTS), 3, 3), 128, np.float32), np.full(len(SLOTS), 2.0), np.zeros(len(SLOTS), np.float32)
)
BUILD = np.ones((len(BONES), 3), np.float32)
LIMBS = [
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
]


def figure(yaw: float = 0, styles: tuple[str, ...] = (), build=BUILD, **bones: tuple[float, float, float]) -> Figure:
    """A body whose named bones (without a side: both) have flexion, turn and spread in degrees."""
    angles = np.zeros((len(BONES), 3))
    for i, bone in enumerate(BONES):
        for name in (bone, bone.split("_")[-1]):
            angles[i] = bones.get(name, angles[i])
    view = rotations(np.deg2rad(np.array([0.0, yaw, 0])))
    return pose_figure(angles, view, build, GREY, set(styles))


def at(made: Figure, name: str) -> np.ndarray:
    return made.joints[NAMES.index(name)]


def seen(made: Figure) -> dict[str, bool]:
    """Which keypoints show in a picture 300 pixels high."""
    scale, offset = 250.0, np.array([150.0, 150, 0])
    canvas = Canvas(np.zeros((300, 300, 3), np.float32), Light(np.array([0.0, 0, 1]), 0.5), np.ones((300, 300)))
    placed = Figure(made.solids.moved(offset, scale), made.joints * scale + offset)
    canvas.draw(placed.solids)
    poses = read_truth(canvas, (Person(placed, scale, *placed.solids.extent()),))
    return {name: poses.visibility[0, k] == Visibility.VISIBLE for k, name in enumerate(NAMES)}


@given(st.lists(st.floats(-4, 4), min_size=3, max_size=3))
@settings(max_examples=50)
def test_rotations_are_those_of_scipy(angles: list[float]):
    x, y, z = angles
    expected = Rotation.from_euler("ZXY", [z, x, y]).as_matrix()
    assert rotations(np.array(angles)) == pytest.approx(expected, abs=1e-6)


def test_facing_the_viewer_the_left_is_on_the_right_and_the_face_is_seen():
    front = figure(arm=(0, 0, 15))
    for left, right in SKELETON.flip_pairs:
        assert NAMES[left].startswith("left")
        assert front.joints[left, 0] > 0 > front.joints[right, 0]
        assert front.joints[left] == pytest.approx(front.joints[right] * [-1, 1, 1], abs=1e-6)
    assert at(front, "nose")[2] > at(front, "left_ear")[2]
    assert all(seen(front).values())


def test_from_behind_the_left_is_on_the_left_and_the_face_is_hidden():
    back = figure(yaw=180, styles=("short",), arm=(0, 0, 15))
    for left, right in SKELETON.flip_pairs:
        assert back.joints[left, 0] < 0 < back.joints[right, 0]
    shown = seen(back)
    assert not any(shown[name] for name in ("nose", "left_eye", "right_eye"))
    assert all(shown[f"{side}_{j}"] for side in ("left", "right") for j in ("shoulder", "elbow", "hip", "knee"))


@pytest.mark.parametrize(("yaw", "near", "far"), [(90, "right", "left"), (-90, "left", "right")])
def test_in_profile_the_far_side_is_hidden(yaw: float, near: str, far: str):
    shown = seen(figure(yaw=yaw, arm=(50, 0, 10)))
    for joint in ("eye", "ear", "shoulder", "elbow", "hip", "knee"):
        assert shown[f"{near}_{joint}"], joint
        assert not shown[f"{far}_{joint}"], joint


def test_from_above_down_to_the_feet():
    heights = [at(figure(), f"left_{j}")[1] for j in ("eye", "ear", "shoulder", "elbow", "hip", "knee", "ankle")]
    assert heights == sorted(heights)
    # Drillis and Contini: hip to ankle 0.491 of the stature, shoulder to wrist 0.332.
    assert heights[6] - heights[4] == pytest.approx(0.491, abs=0.015)
    assert np.linalg.norm(at(figure(), "left_wrist") - at(figure(), "left_shoulder")) == pytest.approx(0.33, abs=0.01)


@pytest.mark.parametrize(
    ("bone", "angles", "moved", "axis", "sign"),
    [
        ("arm", (60, 0, 0), "elbow", 2, 1),  # raised to the front
        ("arm", (0, 0, 60), "elbow", 0, 1),  # lifted sideways, outwards
        ("forearm", (80, 0, 0), "wrist", 2, 1),  # elbows bend forwards
        ("thigh", (60, 0, 0), "knee", 2, 1),  # hips bend forwards
        ("thigh", (0, 0, 20), "knee", 0, 1),  # legs spread outwards
        ("shank", (60, 0, 0), "ankle", 2, -1),  # knees bend backwards
        ("chest", (30, 0, 0), "shoulder", 2, 1),  # bows to the front
    ],
)
@pytest.mark.parametrize("side", ["left", "right"])
def test_joints_bend_as_bodies_do(bone, angles, moved, axis, sign, side):
    rest, bent = figure(), figure(**{bone: angles})
    outwards = -1 if side == "right" and axis == 0 else 1
    shift = (at(bent, f"{side}_{moved}") - at(rest, f"{side}_{moved}"))[axis]
    assert shift * sign * outwards > 0.05


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_bones_keep_their_length_in_every_pose(seed: int):
    rng = np.random.default_rng(seed)
    build = draw_build(rng)
    rest = figure(build=build)
    made = pose_figure(rng.uniform(-180, 180, (len(BONES), 3)), rotations(rng.uniform(-3, 3, 3)), build, GREY, set())
    for a, b in LIMBS:
        length = np.linalg.norm(at(rest, a) - at(rest, b))
        assert np.linalg.norm(at(made, a) - at(made, b)) == pytest.approx(length, rel=1e-4)


def test_an_arm_stretched_at_the_viewer_hides_what_is_behind_it():
    shown = seen(figure(left_arm=(90, 0, 0), right_arm=(0, 0, 15)))
    assert not shown["left_shoulder"]
    assert not shown["left_elbow"]
    assert shown["right_shoulder"]
    assert shown["right_elbow"]


def test_styles_add_their_parts_and_nothing_else():
    plain = len(figure().solids)
    assert len(figure(styles=("cap",)).solids) == plain + 2
    assert len(figure(styles=("bag",)).solids) == plain + 3
    stool = figure(styles=("stool",)).solids
    assert (stool.label == OBJECT).sum() == 5
    assert (figure().solids.label != OBJECT).all()
