"""Whom a crop cuts off: keypoints that are said to lie inside the image and were not found inside the crop.

A box that is too small, or a truncated detection, leaves joints outside the crop. They are not absent, they call for a
larger crop (``product.md``, *presence*; ``confidence.md`` 5c). A keypoint calls for one if its presence reaches the
network's threshold, and either

- its peak lies on the outermost cells of the heatmap, on a side where the image goes on: a target outside the map, but
  within three sigma of it, is taught as the slope of a Gaussian that rises towards that border; or
- its peak is lower than :data:`LOW` of the median peak of the pose's keypoints that are inside, while the image goes
  on at any side: further outside, there is nothing to be found. The pose's own median, because a peak's height also
  tells how well the network knows such images, and a fixed height would call for everybody of a weak one.

Where the whole image is in the crop there is nothing more to see, and nobody is looked at twice.

Only those keypoints take the second answer, whatever it is: the larger crop shows all that the first showed, and more.
The others keep the first one, in which they have half as many pixels again and a place that was believed.
"""

import numpy as np
from numpy.typing import NDArray

LARGER = 1.5
"""How much larger the second crop is, both sides. Of the range that ``confidence.md`` 5c gives the upper end, because
there is no third."""

LOW = 0.25
"""A peak is low below this share of the pose's median peak."""


def call_for_larger(
    xy: NDArray[np.float32],
    score: NDArray[np.float32],
    inside: NDArray[np.bool_],
    *,
    crop: NDArray[np.float64],
    image_size: NDArray[np.float64],
    heatmap_size: tuple[int, int],
) -> NDArray[np.bool_]:
    """Which keypoints were not found in their crop, although they are said to lie in the image.

    Args:
        xy: (N, K, 2) where they were found, full-image pixels.
        score: (N, K) heights of their peaks; NaN where there is none, which calls for nothing.
        inside: (N, K) whether they are said to lie inside the image.
        crop: (N, 4) xyxy edges of the upright crops, full-image pixels.
        image_size: (N, 2) width and height of the images.
        heatmap_size: (h, w) cells.

    Returns:
        (N, K).
    """
    low, high = crop[:, :2], crop[:, 2:]
    more, cell = sides_beyond(crop, image_size, heatmap_size), _cell(crop, heatmap_size)
    near = np.concatenate([xy - low[:, None] < cell[:, None], high[:, None] - xy < cell[:, None]], axis=2)
    border = (near & more[:, None]).any(axis=2)
    faint = (score < LOW * _typical(score, inside)[:, None]) & np.any(more, axis=1, keepdims=True)
    return inside & np.isfinite(score) & (border | faint)


def sides_beyond(
    crop: NDArray[np.float64], image_size: NDArray[np.float64], heatmap_size: tuple[int, int]
) -> NDArray[np.bool_]:
    """On which sides the image goes on beyond a crop, by more than a cell: where on none, nobody calls for a larger.

    Args:
        crop: (N, 4) xyxy edges of the upright crops, full-image pixels.
        image_size: (N, 2) width and height of the images.
        heatmap_size: (h, w) cells.

    Returns:
        (N, 4): left, top, right, bottom.
    """
    cell = _cell(crop, heatmap_size)
    # Pixel centres are at integers, so the image reaches from -0.5 to its size less 0.5.
    return np.concatenate([crop[:, :2] + 0.5 > cell, image_size - 0.5 - crop[:, 2:] > cell], axis=1)


def enlarged(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes (N, 4) larger by :data:`LARGER` about their centres; what is thinner than a pixel counts as a pixel."""
    centre = (box[:, :2] + box[:, 2:]) / 2
    half = np.maximum(box[:, 2:] - box[:, :2], 1.0) * LARGER / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _cell(crop: NDArray[np.float64], heatmap_size: tuple[int, int]) -> NDArray[np.float64]:
    """(N, 2) width and height of a heatmap's cell in pixels."""
    return (crop[:, 2:] - crop[:, :2]) / np.array([heatmap_size[1], heatmap_size[0]])


def _typical(score: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) the median peak of the keypoints inside; 0 where there is none, so that none is low."""
    known = np.where(inside, score, np.nan).astype(np.float64)
    known[~np.isfinite(known).any(axis=1)] = 0.0
    return np.asarray(np.nanmedian(known, axis=1))
