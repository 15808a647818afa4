"""The picture holds every panel, where it is said to be."""

import io

import numpy as np
from PIL import Image

from autolabel.report.reconstructions import GAP, draw_reconstructions


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_three_crops_in_two_columns() -> None:
    rng = np.random.default_rng(0)
    masked, reconstructed, original = rng.integers(0, 250, (3, 3, 144, 96, 3)).astype(np.uint8)
    found = opened(draw_reconstructions(masked, reconstructed, original))
    wide, high = 3 * 96 + 4 * GAP, 144 + GAP
    assert found.shape == (2 * high + GAP, 2 * wide, 3)
    for i, (row, column) in enumerate([(0, 0), (0, 1), (1, 0)]):
        for panel, images in enumerate((masked, reconstructed, original)):
            top, left = GAP + row * high, column * wide + GAP + panel * (96 + GAP)
            np.testing.assert_array_equal(found[top : top + 144, left : left + 96], images[i])
    assert (found[high + GAP :, wide:] == 255).all(), "the fourth place is empty"


def test_small_crops_are_enlarged_by_a_whole_number() -> None:
    crops = np.arange(48 * 32 * 3, dtype=np.uint8).reshape(1, 48, 32, 3)
    found = opened(draw_reconstructions(crops, crops, crops))
    assert found.shape == (3 * (48 + 2 * GAP), 3 * (3 * 32 + 4 * GAP), 3)
    np.testing.assert_array_equal(found[1::3, 1::3][GAP : GAP + 48, GAP : GAP + 32], crops[0])
