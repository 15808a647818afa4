"""Frames: what is shown, and that a percentage points at the pixel that is seen there."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autolabel.labelstudio.frame import Frame, cut, frame_of
from autolabel.poses import Pose, Poses

NAN = float("nan")


def pose(box: tuple[float, ...] = (NAN,) * 4, xy: tuple[tuple[float, float], ...] = ((NAN, NAN),)) -> Pose:
    return Poses.create(len(xy), xy=[xy], box=[box])[0]


@pytest.mark.parametrize(
    ("box", "xy", "size", "origin", "extent"),
    [
        # A box of 40 x 100 gets 20 pixels (0.2 of 100) on every side, and width for 0.6 of the height.
        ((100, 50, 140, 150), ((NAN, NAN),), (400, 300), (78, 30), (84, 140)),
        # The image ends first.
        ((10, 50, 50, 150), ((NAN, NAN),), (400, 160), (0, 30), (72, 130)),
        # A keypoint outside the box is shown with it.
        ((100, 100, 200, 200), ((260.0, 150.0),), (400, 400), (68, 68), (224, 164)),
        # A keypoint far outside the image is not followed there.
        ((0, 0, 100, 100), ((1e7, 50.0),), (100, 100), (0, 0), (100, 100)),
        # Neither box nor keypoint: the whole image.
        ((NAN,) * 4, ((NAN, NAN),), (64, 48), (0, 0), (64, 48)),
        # A box without extent, at the far corner and outside.
        ((64, 48, 64, 48), ((NAN, NAN),), (64, 48), (56, 40), (8, 8)),
        ((500, 500, 500, 500), ((NAN, NAN),), (64, 48), (56, 40), (8, 8)),
        # An image smaller than the smallest part.
        ((1, 1, 2, 2), ((NAN, NAN),), (3, 2), (0, 0), (3, 2)),
    ],
)
def test_what_is_shown(
    box: tuple[float, ...],
    xy: tuple[tuple[float, float], ...],
    size: tuple[int, int],
    origin: tuple[int, int],
    extent: tuple[int, int],
) -> None:
    frame = frame_of(pose(box, xy), size)
    assert (frame.origin, frame.size) == (origin, extent)


@pytest.mark.parametrize(
    ("size", "shown"),
    [((32, 20), (640, 400)), ((640, 400), (640, 400)), ((1000, 700), (1000, 700)), ((3200, 1600), (1600, 800))],
)
def test_small_parts_are_enlarged_and_huge_ones_reduced(size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert frame_of(pose(), size).shown == shown


def test_percent_counts_from_the_edge_of_the_first_pixel() -> None:
    frame = Frame((10, 20), (50, 200), (160, 640))
    assert frame.to_percent([10, 20]).tolist() == [1.0, 0.25]
    assert frame.to_percent([59, 219]).tolist() == [99.0, 99.75]
    assert frame.box_to_percent([10, 20, 60, 120]) == [0.0, 0.0, 100.0, 50.0]  # boxes are edges: no half pixel


def test_what_lies_outside_is_clipped() -> None:
    frame = Frame((10, 20), (50, 200), (160, 640))
    assert frame.to_percent([-5, 500]).tolist() == [0.0, 100.0]
    assert frame.box_to_percent([0, 0, 35, 500]) == [0.0, 0.0, 50.0, 100.0]


frames = st.builds(
    lambda x, y, w, h: Frame((x, y), (w, h), (640, 640)),
    *(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 5000), st.integers(1, 5000)),
)


@given(frames, st.floats(0, 1), st.floats(0, 1))
def test_there_and_back(frame: Frame, u: float, v: float) -> None:
    xy = np.array(frame.origin) - 0.5 + np.array([u, v]) * frame.size
    assert np.abs(frame.to_image(frame.to_percent(xy)) - xy).max() < 1e-8
    box = np.array([*frame.origin, *(np.array(frame.origin) + np.array([u, v]) * frame.size)])
    assert np.abs(frame.box_to_image(frame.box_to_percent(box)) - box).max() < 1e-8


@pytest.mark.parametrize(("x", "y"), [(30, 40), (47, 61), (25, 95)])
def test_a_percentage_points_at_the_pixel_that_is_seen_there(x: int, y: int) -> None:
    image = np.zeros((120, 80, 3), np.uint8)
    image[y, x] = 255
    frame = frame_of(pose((25, 35, 55, 95)), (80, 120))
    crop = np.asarray(Image.open(io.BytesIO(cut(image, frame))).convert("L")).astype(np.float64)
    assert crop.shape == frame.shown[::-1]
    assert frame.shown[1] > 5 * frame.size[1], "the crop must be enlarged for this test to mean something"
    crop[crop < 40] = 0  # JPEG's ringing
    rows, columns = np.indices(crop.shape)
    seen = np.array([(columns * crop).sum(), (rows * crop).sum()]) / crop.sum()
    expected = frame.to_percent([x, y]) / 100 * frame.shown - 0.5
    assert np.abs(seen - expected).max() < 0.5


@pytest.mark.parametrize(
    ("frame", "line"), [(Frame((10, 20), (50, 200), (160, 640)), 1), (Frame((0, 0), (80, 120), (1000, 1500)), 3)]
)
def test_a_box_is_drawn_thinly_around_what_it_holds(frame: Frame, line: int) -> None:
    box = (20.0, 60.0, 50.0, 110.0)
    image = np.full((300, 80, 3), 255, np.uint8)
    plain, boxed = (np.asarray(Image.open(io.BytesIO(cut(image, frame, given))), int)[..., 1] for given in (None, box))
    assert (plain == 255).all()
    x, y, width, height = (np.array(frame.box_to_percent(box)) / 100 * np.tile(frame.shown, 2)).round().astype(int)
    inside = boxed[y + 8 : y + height - 8, x + 8 : x + width - 8]
    assert (inside > 245).all(), "nothing of the person is painted over"
    for across in (boxed[y + height // 2], boxed[:, x + width // 2]):
        assert line * 2 <= (across < 200).sum() <= line * 2 + 2


def test_a_box_at_the_edge_of_the_crop_is_drawn_and_one_that_is_unknown_is_not() -> None:
    image, frame = np.full((300, 80, 3), 255, np.uint8), Frame((10, 20), (50, 200), (160, 640))
    boxed = np.asarray(Image.open(io.BytesIO(cut(image, frame, (-5, 0, 500, 500)))), int)[..., 1]
    assert all((edge < 200).all() for edge in (boxed[0], boxed[-1], boxed[:, 0], boxed[:, -1]))
    assert cut(image, frame, (NAN,) * 4) == cut(image, frame)


def test_a_crop_that_needs_no_resizing_shows_the_very_pixels() -> None:
    image = np.full((700, 700, 3), (200, 30, 90), np.uint8)
    crop = np.asarray(Image.open(io.BytesIO(cut(image, Frame((10, 20), (640, 400), (640, 400))))))
    assert crop.shape == (400, 640, 3)
    assert np.abs(crop.astype(int) - (200, 30, 90)).max() <= 3
