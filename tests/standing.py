"""Drawn by hand: a person who stands facing the camera, and crowds of such people."""

import numpy as np
from numpy.typing import NDArray

from autolabel.poses import Poses
from autolabel.skeleton import Skeleton

COCO = Skeleton.load("coco17")

# Nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; the person's left is on the image's right.
PERSON = np.array(
    [
        *([50, 18], [53, 15], [47, 15], [57, 17], [43, 17], [65, 35], [35, 35], [72, 60], [28, 60]),
        *([75, 82], [25, 82], [60, 90], [40, 90], [62, 130], [38, 130], [63, 170], [37, 170]),
    ],
    float,
)


def people(count: int, *, shake: float = 0.0, apart: float = 0.0, seed: int = 0) -> Poses:
    """``count`` people, each ``apart`` pixels to the right of the one before, every joint ``shake`` pixels off."""
    rng = np.random.default_rng(seed)
    xy = PERSON + rng.normal(0, 1, (count, 17, 2)) * shake + np.arange(count)[:, None, None] * [apart, 0]
    return with_places(xy)


def with_places(xy: NDArray[np.float64]) -> Poses:
    """(N, 17, 2) places, all visible but the face of every fourth person."""
    visibility = np.full(xy.shape[:2], 2)
    visibility[3::4, :5] = 1
    low, high = np.nanmin(xy, axis=1) - 5, np.nanmax(xy, axis=1) + 5
    names = [f"pose{i}" for i in range(len(xy))]
    return Poses.create(17, id=names, xy=xy, visibility=visibility, box=np.concatenate([low, high], axis=1))


def moved(poses: Poses, row: int, places: dict[str, tuple[float, float]]) -> Poses:
    """The poses with some keypoints of one of them elsewhere."""
    xy = poses.xy.copy()
    for name, place in places.items():
        xy[row, COCO.index(name)] = place
    return poses.replace(xy=xy)
