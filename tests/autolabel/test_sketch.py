"""Sketches tell pictures apart by edges and colours, whatever the size and wherever the box lies."""

import numpy as np
import pytest
from numpy.typing import NDArray

from autolabel.sketch import SIZE, sketch

WHOLE = (0.0, 0.0, 96.0, 128.0)
EDGES = 8 * 6 * 8


def flat(level: int) -> NDArray[np.uint8]:
    return np.full((128, 96, 3), level, np.uint8)


def stripes(*, upright: bool) -> NDArray[np.uint8]:
    line = (np.arange(128) // 8 % 2 * 255).astype(np.uint8)
    grey = np.tile(line[:96], (128, 1)) if upright else np.tile(line[:, None], (1, 96))
    return np.repeat(grey[..., None], 3, axis=2)


def apart(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(one - other))


def test_a_picture_without_edges_is_its_colours_alone() -> None:
    black, white = sketch(flat(0), WHOLE), sketch(flat(255), WHOLE)
    assert black.shape == (SIZE,)
    assert black.dtype == np.float32
    assert not black.any()
    assert apart(black, white) == pytest.approx(1)


def test_directions_of_edges_tell_pictures_of_the_same_colours_apart() -> None:
    standing, lying = sketch(stripes(upright=True), WHOLE), sketch(stripes(upright=False), WHOLE)
    assert np.linalg.norm(standing[:EDGES]) == pytest.approx(1)
    assert apart(standing, lying) > 1


def test_the_same_picture_in_another_size_is_nearly_the_same() -> None:
    large = np.repeat(np.repeat(stripes(upright=True), 2, axis=0), 2, axis=1)
    assert apart(sketch(large, (0, 0, 192, 256)), sketch(stripes(upright=True), WHOLE)) < 0.1


@pytest.mark.parametrize(
    ("box", "same_as"),
    [
        ((-50, -20, 96, 128), (0, 0, 96, 128)),  # what lies outside is left out
        ((10, 20, 500, 500), (10, 20, 96, 128)),
        ((40, 40, 40, 40), (40, 40, 41, 41)),  # no size: one pixel
        ((200, 300, 210, 320), (95, 127, 96, 128)),  # outside altogether: the nearest corner
    ],
)
def test_boxes_are_cut_at_the_image(box: tuple[float, ...], same_as: tuple[float, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (128, 96, 3), dtype=np.uint8)
    assert np.array_equal(sketch(image, box), sketch(image, same_as))
    assert np.isfinite(sketch(image, box)).all()
