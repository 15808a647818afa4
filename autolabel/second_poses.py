"""Poses that nearly coincide with a better one of their image: two of them on one person.

A detector's boxes often hold one person twice. Which of the two poses is in the way is the network's guess alone, so
such a pose is not thrown away: it is set aside, and a person confirms it.
"""

import numpy as np
from numpy.typing import NDArray

from autolabel.similarity import keypoint_similarity
from autolabel.suppress import OKS_THRESHOLD, oks_nms

PADDING = 1.25
"""Side of a network's crop box, as a part of the box; suppression measures by the crop's area."""


def second_poses(
    xy: NDArray[np.floating],
    box: NDArray[np.floating],
    image: NDArray[np.integer],
    score: NDArray[np.floating],
    sigmas: NDArray[np.floating] | tuple[float, ...],
    threshold: float = OKS_THRESHOLD,
) -> NDArray[np.bool_]:
    """Which of N poses a better pose of the same image nearly coincides with (:func:`autolabel.suppress.oks_nms`).

    Args:
        xy: (N, K, 2) places in pixels, NaN where nothing was predicted.
        box: (N, 4) xyxy in pixels; a pose without one coincides with none.
        image: (N,) number of the image; poses of one image stand together.
        score: (N,) the higher one of two stays.
        sigmas: (K,) of the skeleton.
        threshold: OKS, the mean over all K keypoints, above which two poses coincide.

    Returns:
        (N,) bool.
    """
    second = np.zeros(len(xy), bool)
    area = np.prod(PADDING * (box[:, 2:] - box[:, :2]), axis=1)
    for group in _crowded(xy, area, image, sigmas, threshold):
        second[np.delete(group, oks_nms(xy[group], score[group], area[group], sigmas, threshold))] = True
    return second


def _crowded(
    xy: NDArray[np.floating],
    area: NDArray[np.floating],
    image: NDArray[np.integer],
    sigmas: NDArray[np.floating] | tuple[float, ...],
    threshold: float,
) -> list[NDArray[np.intp]]:
    """The rows of the images in which two poses coincide: few of them, found for all images at once."""
    found = set[int]()
    for apart in range(1, len(image)):
        first = np.flatnonzero(image[apart:] == image[:-apart])
        if not len(first):
            break
        alike = keypoint_similarity(xy[first], xy[first + apart], (area[first] + area[first + apart]) / 2, sigmas)
        close = np.nan_to_num(alike, nan=0.0).mean(axis=1) > threshold
        found.update(image[first[close]].tolist())
    return [np.flatnonzero(image == number) for number in sorted(found)]
