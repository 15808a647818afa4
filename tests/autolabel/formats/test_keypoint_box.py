import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.formats.keypoint_box import keypoint_box

SIZE = (64, 48)


@pytest.mark.parametrize(
    ("xy", "size", "box"),
    [
        ([[10, 20]], None, [10, 20, 11, 21]),  # one keypoint: the pixel that it lies in
        ([[10, 20], [30, 5.5]], None, [10, 5.5, 31, 21]),
        ([[-3, 20], [90, 5]], None, [-3, 5, 91, 21]),
        ([[63, 47]], SIZE, [63, 47, 64, 48]),  # the last pixel
        ([[64, 48]], SIZE, [63, 47, 64, 48]),  # the image's corner, which a place may reach
        ([[0, 0], [63.5, 1]], SIZE, [0, 0, 64, 2]),
    ],
)
def test_boxes(xy: list[list[float]], size: tuple[int, int] | None, box: list[float]) -> None:
    assert keypoint_box(np.array(xy, np.float32), size).tolist() == box


inside = st.tuples(st.floats(0, 64, width=32), st.floats(0, 48, width=32))


@given(st.lists(inside, min_size=1, max_size=5))
def test_a_box_holds_its_keypoints_lies_in_the_image_and_has_an_area(points: list[tuple[float, float]]) -> None:
    xy = np.array(points, np.float32)
    box = keypoint_box(xy, SIZE)
    assert (box[:2] <= xy).all() and (xy <= box[2:]).all()
    assert (box >= 0).all() and (box[2:] <= SIZE).all()
    assert (box[2:] - box[:2] > 0.99).all()
