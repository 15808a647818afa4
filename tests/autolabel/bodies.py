"""Poses that tests make up: people of a few fixed proportions, seen at many sizes, places and angles."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.poses import Poses, Visibility
from autolabel.skeleton import Skeleton

COCO17 = Skeleton.load("coco17")

STANDING = np.array(
    [
        *[(0, -52), (3, -55), (-3, -55), (6, -53), (-6, -53)],
        *[(14, -36), (-14, -36), (20, -14), (-20, -14), (24, 6), (-24, 6)],
        *[(9, 8), (-9, 8), (11, 42), (-11, 42), (12, 76), (-12, 76)],
    ],
    np.float64,
)
"""(17, 2) a person from the front, the left side on the right, about 130 high."""


def people(n: int, seed: int = 0, **given: Any) -> Poses:
    """N people whose limbs are shorter than they can be by a random foreshortening, and placed with a little noise."""
    rng = np.random.default_rng(seed)
    place = np.broadcast_to(STANDING, (n, 17, 2)) * rng.uniform(0.7, 1.0, (n, 1, 2))
    size = np.exp(rng.uniform(-1, 1.5, n))
    xy = (place + rng.normal(0, 1.0, place.shape)) * size[:, None, None] + rng.uniform(0, 500, (n, 1, 2))
    box = np.concatenate([xy.min(axis=1), xy.max(axis=1)], axis=1)
    values = {"xy": xy, "box": box, "visibility": np.full((n, 17), Visibility.VISIBLE), **given}
    return Poses.create(17, **values)


def moved(poses: Poses, keypoint: str, shares: tuple[float, float]) -> Poses:
    """The poses with one keypoint moved by shares of the height of their boxes."""
    xy = poses.xy.copy()
    height = poses.box[:, 3] - poses.box[:, 1]
    xy[:, COCO17.index(keypoint)] += (height[:, None] * np.array(shares)).astype(np.float32)
    return poses.replace(xy=xy)


def mirrored(poses: Poses) -> Poses:
    """The poses as they are in the mirrored image."""
    return poses.replace(xy=(poses.xy * (-1, 1))[:, list(COCO17.flip)], box=poses.box[:, [2, 1, 0, 3]] * (-1, 1, -1, 1))


def unknown(poses: Poses, which: NDArray[np.bool_]) -> Poses:
    """The poses with nothing said about some keypoints (N, K)."""
    xy, visibility = poses.xy.copy(), poses.visibility.copy()
    xy[which], visibility[which] = np.nan, Visibility.UNLABELLED
    return poses.replace(xy=xy, visibility=visibility)
