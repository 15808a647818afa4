"""One number for a pose, and one pose for a person: rescoring and OKS non-maximum suppression.

The two steps that ViTPose's official COCO evaluation runs between the network and the metric (mmpose
``TopDownCocoDataset.evaluate``): the detector's score is multiplied by the mean of the confident keypoint
scores, and of poses that nearly coincide only the best survives.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.similarity import keypoint_similarity

KEYPOINT_THRESHOLD = 0.2
OKS_THRESHOLD = 0.9


def rescore(
    box_score: ArrayLike, keypoint_score: ArrayLike, threshold: float = KEYPOINT_THRESHOLD
) -> NDArray[np.float64]:
    """(N,) box score times the mean of the keypoint scores above the threshold.

    Args:
        box_score: (N,) the detector's; NaN (a box that nobody scored) counts as 1.
        keypoint_score: (N, K) the network's; NaN is left out.
        threshold: Scores must exceed it to enter the mean.

    Returns:
        (N,) 0 where no keypoint score exceeds the threshold; the box score where a pose has no keypoint
        scores at all (a pose drawn by a person is not a bad prediction).
    """
    boxes = np.nan_to_num(np.asarray(box_score, np.float64), nan=1.0)
    scores = np.asarray(keypoint_score, np.float32)
    # In single precision, as poses hold it: otherwise a score of 0.2 would exceed 0.2.
    confident = scores > np.float32(threshold)
    mean = np.where(confident, scores, 0.0).sum(axis=1, dtype=np.float64) / np.maximum(confident.sum(axis=1), 1)
    unscored = np.isnan(scores).all(axis=1)
    return boxes * np.where(unscored, 1.0, mean)


def oks_nms(
    xy: ArrayLike, score: ArrayLike, area: ArrayLike, sigmas: ArrayLike, threshold: float = OKS_THRESHOLD
) -> NDArray[np.intp]:
    """Keep the best of poses that nearly coincide, greedily from the highest score down.

    Args:
        xy: (N, K, 2) poses of one image, in pixels.
        score: (N,) from :func:`rescore`.
        area: (N,) area of each *padded* crop box (width x height); a pair uses the mean of its two areas.
        sigmas: (K,) of the skeleton.
        threshold: A pose whose OKS (mean over all K keypoints) with a kept one exceeds it is dropped.

    Returns:
        Indices of the kept poses, best first; equal scores keep their order.
    """
    points = np.asarray(xy, np.float64)
    areas = np.asarray(area, np.float64)
    left = np.argsort(-np.asarray(score, np.float64), kind="stable")
    kept: list[int] = []
    while len(left):
        best, left = int(left[0]), left[1:]
        kept.append(best)
        alike = keypoint_similarity(points[left], points[best], (areas[left] + areas[best]) / 2, sigmas)
        # A keypoint that nobody placed is evidence for nothing.
        left = left[np.nan_to_num(alike, nan=0.0).mean(axis=1) <= threshold]
    return np.array(kept, np.intp)
