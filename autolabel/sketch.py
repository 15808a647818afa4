"""What a picture looks like, in a few hundred numbers and without any network.

Where edges run and which colours lie where is enough to tell near-copies from other scenes and an upright figure from a
lying one, and so to choose images that differ before anything is learnt. It knows nothing of people: two poses in front
of one wall look more alike than one pose in two places. Histograms of edge directions follow Dalal and Triggs (CVPR
2005), over a fixed grid and without their overlapping blocks.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

HEIGHT, WIDTH = 64, 48
"""Pixels that a picture is brought to, whatever its aspect."""

_CELL, _COLOUR_CELL = 8, 16
_DIRECTIONS = 8

SIZE = (HEIGHT // _CELL) * (WIDTH // _CELL) * _DIRECTIONS + (HEIGHT // _COLOUR_CELL) * (WIDTH // _COLOUR_CELL) * 3
"""D, numbers of a sketch."""


def sketch(image: NDArray[np.uint8], box: ArrayLike) -> NDArray[np.float32]:
    """Sketch a part of an image; Euclidean distances between sketches tell how unlike two are.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: (4,) xyxy in image pixels; what lies outside the image is left out.

    Returns:
        (SIZE,) float32: the edges, of length 1 or 0, then the colours, of which black and white are 1 apart.
    """
    small = _cut(image, np.asarray(box, np.float64))
    return np.concatenate([_edges(small.mean(axis=2)), _colours(small)]).astype(np.float32)


def _cut(image: NDArray[np.uint8], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """(HEIGHT, WIDTH, 3) of what lies in the box; of at least one pixel."""
    height, width = image.shape[:2]
    low = np.clip(box[:2], 0, (width - 1, height - 1))
    high = np.clip(box[2:], low + 1, (width, height))
    part = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    small = Image.fromarray(image).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=part)
    return np.asarray(small, np.float64)


def _edges(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much edge runs in each direction in each cell, as square roots of shares: few do not outweigh all."""
    down, right = np.gradient(grey)
    strength = np.hypot(down, right)
    direction = np.minimum(np.arctan2(down, right) % np.pi / np.pi * _DIRECTIONS, _DIRECTIONS - 1).astype(np.intp)
    y, x = np.indices(grey.shape) // _CELL
    cells = np.zeros((HEIGHT // _CELL, WIDTH // _CELL, _DIRECTIONS))
    np.add.at(cells, (y, x, direction), strength)
    return np.sqrt(cells / max(float(cells.sum()), 1.0)).ravel()


def _colours(small: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, columns = HEIGHT // _COLOUR_CELL, WIDTH // _COLOUR_CELL
    mean = small.reshape(rows, _COLOUR_CELL, columns, _COLOUR_CELL, 3).mean(axis=(1, 3))
    return (mean / 255 / np.sqrt(mean.size)).ravel()
