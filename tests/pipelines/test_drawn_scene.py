from dataclasses import replace

import numpy as np
import pytest

from autolabel.errors import ConfigError
from autolabel.poses import Visibility
from pipelines.drawn_canvas import OBJECT
from pipelines.drawn_figure import BONES
from pipelines.drawn_scene import DrawnSettings, Scene, compose, develop, paint, read_truth
from pipelines.drawn_scenery import Objects

HARD = DrawnSettings(pose_spread=1, clutter=0.5, occlusion=0.6, neighbours=0.7, truncation=0.4, lighting=0.5)
EASY = DrawnSettings(pose_spread=0, clutter=0, occlusion=0, neighbours=0, truncation=0, lighting=0)


def scenes(settings: DrawnSettings, count: int) -> list[Scene]:
    return [compose(np.random.default_rng((7, i)), settings) for i in range(count)]


def visibility(settings: DrawnSettings, count: int = 25) -> np.ndarray:
    """(N, 17) of all people of some scenes."""
    return np.concatenate([read_truth(paint(s), s.people).visibility for s in scenes(settings, count)])


@pytest.mark.parametrize("index", range(12))
def test_truth_in_company_agrees_with_everybody_drawn_alone(index: int):
    scene = compose(np.random.default_rng((1, index)), HARD)
    canvas = paint(scene)
    poses = read_truth(canvas, scene.people)
    for p, person in enumerate(scene.people):
        bare = paint(replace(scene, people=(person,), objects=Objects()))
        alone = read_truth(bare, (person,))
        # Company hides, it shows nothing that was hidden, and it moves nothing.
        assert np.array_equal(poses.xy[p], alone.xy[0])
        assert np.array_equal(poses.visibility[p] == Visibility.ABSENT, alone.visibility[0] == Visibility.ABSENT)
        assert poses.area[p] <= alone.area[0]
        lost = (alone.visibility[0] == Visibility.VISIBLE) & (poses.visibility[p] == Visibility.HIDDEN)
        gained = (alone.visibility[0] == Visibility.HIDDEN) & (poses.visibility[p] == Visibility.VISIBLE)
        assert not gained.any()
        # What hides it is something nearer that is not the person itself.
        for x, y in np.rint(poses.xy[p][lost]).astype(int):
            owner = OBJECT if canvas.label[y, x] == OBJECT else (canvas.label[y, x] - 1) // len(BONES)
            assert owner != p
            assert canvas.depth[y, x] > bare.depth[y, x]


@pytest.mark.parametrize("index", range(12))
def test_keypoints_are_absent_just_where_they_are_outside_and_boxes_hold_what_is_seen(index: int):
    scene = compose(np.random.default_rng((2, index)), HARD)
    canvas = paint(scene)
    poses = read_truth(canvas, scene.people)
    x, y = poses.xy[..., 0], poses.xy[..., 1]
    outside = (x < -0.5) | (y < -0.5) | (x >= canvas.width - 0.5) | (y >= canvas.height - 0.5)
    assert np.isfinite(poses.xy).all()
    assert np.array_equal(outside, poses.visibility == Visibility.ABSENT)
    assert (poses.visibility != Visibility.UNLABELLED).all()
    for p in range(len(poses)):
        mask = (canvas.label != OBJECT) & (canvas.label > 0) & ((canvas.label - 1) // len(BONES) == p)
        rows, columns = np.nonzero(mask)
        assert poses.area[p] == len(rows)
        if not len(rows):
            continue
        x0, y0, x1, y1 = poses.box[p]
        assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        seen = poses.xy[p][poses.visibility[p] == Visibility.VISIBLE]
        assert ((seen >= [x0 - 0.5, y0 - 0.5]) & (seen <= [x1 - 0.5, y1 - 0.5])).all()


def test_joints_lie_inside_the_solids_that_meet_there():
    for scene in scenes(EASY, 10):
        (person,) = scene.people
        poses = read_truth(paint(scene), scene.people)
        for k, bone in ((7, "left_forearm"), (8, "right_forearm"), (13, "left_shank"), (14, "right_shank")):
            solids = person.figure.solids
            starts = solids.start[solids.label == BONES.index(bone) + 1]
            assert np.abs(starts[:, :2] - poses.xy[0, k]).max(axis=1).min() < 1e-3


def test_easy_people_are_alone_whole_and_mostly_visible():
    seen = visibility(EASY)
    assert len(seen) == 25
    assert (seen != Visibility.ABSENT).all()
    assert (seen == Visibility.VISIBLE).mean() > 0.9


@pytest.mark.parametrize(
    ("knob", "state", "least"),
    [
        ("truncation", Visibility.ABSENT, 0.1),
        ("occlusion", Visibility.HIDDEN, 0.1),
        ("neighbours", Visibility.HIDDEN, 0.05),
        ("pose_spread", Visibility.HIDDEN, 0.1),
    ],
)
def test_knobs_make_keypoints_harder_to_see(knob: str, state: Visibility, least: float):
    without = (visibility(EASY) == state).mean()
    assert (visibility(replace(EASY, **{knob: 1.0})) == state).mean() > without + least


def test_neighbours_are_up_to_four_people():
    assert {len(s.people) for s in scenes(replace(EASY, neighbours=1.0), 5)} == {4}
    assert {len(s.people) for s in scenes(replace(EASY, neighbours=0.5), 80)} == {1, 2, 3, 4}


def test_sizes_keep_their_limits():
    settings = replace(EASY, smallest=(100, 200), largest=(120, 300), person=(60, 80))
    for scene in scenes(settings, 20):
        height, width = scene.background.shape[:2]
        assert 100 <= width <= 120
        assert 200 <= height <= 300
        assert 55 <= (scene.people[0].high - scene.people[0].low).max() <= 80.1


def test_lighting_changes_the_photograph_and_its_absence_changes_nothing():
    scene = scenes(EASY, 1)[0]
    colour = paint(scene).colour
    plain = develop(colour, np.random.default_rng(0), 0)
    assert plain.dtype == np.uint8
    assert np.abs(plain - np.clip(colour, 0, 255)).max() <= 1
    means = [develop(colour, np.random.default_rng(s), 1.0).astype(float).mean() for s in range(20)]
    assert np.std(means) > 10


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"clutter": 1.2}, "clutter is 1.2, not within 0..1"),
        ({"truncation": -0.1}, "truncation is -0.1"),
        ({"lighting": float("nan")}, "lighting is nan"),
        ({"smallest": (400, 100)}, "width from 400 to 320"),
        ({"largest": (320, 100)}, "height from 192 to 100"),
        ({"person": (0, 100)}, "person from 0 to 100"),
    ],
)
def test_impossible_settings_are_refused(changed: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        replace(EASY, **changed)
