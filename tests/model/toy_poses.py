"""Checked poses of a frozen encoder that is known: channel k of its features shines where keypoint k truly is."""

import numpy as np
import torch

from autolabel.similarity import bad_poses, keypoint_similarity, mean_similarity
from autolabel.skeleton import Skeleton
from autolabel.synthetic_errors import corrupt
from model.quality import person_size
from model.quality_lesson import CheckedPoses
from model.quality_looks import Looks

SIDE = 160.0
GRID = (12, 9)


def toy_poses(
    skeleton: Skeleton, count: int, *, seed: int = 0, width: int = 16, errors: float = 1.0, noise: float = 0.1
) -> CheckedPoses:
    """``count`` people whose network misplaces keypoints as :mod:`autolabel.synthetic_errors` plants them.

    Each lies in a crop of its own in the corner of its image; two of them share an image, and so a group. The seed
    gives people and errors, whatever the width and the noise of the encoder that sees them.
    """
    rng = np.random.default_rng([seed, 99])
    k, (height, columns) = skeleton.num_keypoints, GRID
    crop = np.array([SIDE * columns / height, SIDE])
    xy = crop * rng.uniform(0.15, 0.85, (count, k, 2))
    area = np.full(count, 0.3 * crop.prod())
    neighbours = crop * rng.uniform(0.1, 0.9, (count, k, 2))
    predicted, _ = corrupt(
        xy,
        np.ones((count, k), bool),
        area,
        skeleton,
        rng,
        neighbours=neighbours,
        kept=xy + rng.normal(0, 0.5, xy.shape),
        strength=errors * rng.random(count),
    )
    x, y = (np.arange(columns) + 0.5) / columns, (np.arange(height) + 0.5) / height
    at = xy / crop
    squared = ((x - at[..., None, None, 0]) * columns) ** 2 + ((y[:, None] - at[..., None, None, 1]) * height) ** 2
    features = rng.normal(0, noise, (count, width, *GRID))
    features[:, :k] += np.exp(-squared / 2)
    ks = keypoint_similarity(predicted, xy, area, skeleton.sigmas)
    to_crop = np.zeros((count, 2, 3))
    to_crop[:, 0, 0], to_crop[:, 1, 1] = 1 / crop
    boxes = torch.from_numpy(np.tile([0.0, 0.0, *crop / 1.25], (count, 1)))
    size = person_size(boxes, torch.from_numpy(np.tile(crop, (count, 1))))
    return CheckedPoses(
        looks=Looks(torch.from_numpy(features).half(), torch.from_numpy(to_crop), size),
        predicted=predicted,
        truth=xy,
        area=area,
        scored=np.ones((count, k), bool),
        gross=ks < 0.5,
        bad=bad_poses(mean_similarity(ks), ks < 0.5),
        neighbours=neighbours,
        group=np.array([f"image-{i // 2}" for i in range(count)], object),
    )
