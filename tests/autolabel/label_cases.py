"""Labelled people whom a sure network sees right, and what it then says: for tests to spoil."""

import numpy as np
from numpy.typing import NDArray

from autolabel.label_quality import Evidence
from autolabel.poses import Poses, Visibility
from autolabel.similarity import keypoint_similarity, similarity_area
from autolabel.skeleton import Skeleton

LSP = Skeleton.load("lsp14")
STANDING = np.array(
    [
        (84, 205), (86, 160), (88, 115), (112, 115), (114, 160), (116, 205), (60, 105),
        (70, 80), (80, 62), (120, 62), (132, 80), (138, 105), (100, 50), (100, 20),
    ],
    np.float64,
)  # fmt: skip
"""Somebody who stands, facing us, in the order of lsp14."""


def people(count: int, seed: int = 0, skeleton: Skeleton = LSP) -> Poses:
    """``count`` right labels."""
    rng = np.random.default_rng(seed)
    standing = STANDING if skeleton is LSP else np.tile(STANDING.mean(axis=0), (skeleton.num_keypoints, 1))
    xy = standing + rng.normal(0, 3, (count, *standing.shape))
    box = np.tile([40.0, 0.0, 160.0, 220.0], (count, 1))
    visible = np.full(xy.shape[:2], Visibility.VISIBLE)
    return Poses.create(skeleton.num_keypoints, id=[f"p{i}" for i in range(count)], xy=xy, box=box, visibility=visible)


def seen(poses: Poses, truth: NDArray[np.floating], skeleton: Skeleton = LSP, doubt: float = 0.0) -> Evidence:
    """What a network that sees the truth (N, K, 2) says about labels; with ``doubt`` (0..1) it says so of itself."""
    area = similarity_area(poses)
    flip = list(skeleton.flip)
    label = np.where(poses.labelled[..., None], poses.xy.astype(np.float64), np.nan)
    ks = keypoint_similarity(truth, label, area, skeleton.sigmas)
    mirror = keypoint_similarity(truth, label[:, flip], area, skeleton.sigmas)
    shape = poses.xy.shape[:2]
    numbers = {
        "peak": np.full(shape, 0.9 - 0.6 * doubt),
        "second": np.full(shape, doubt),
        "expected_ks": np.full(shape, 0.6 - 0.4 * doubt),
        "sharpness": np.full(shape, 0.95 - 0.6 * doubt),
        "other_side": np.full(shape, doubt),
        "flip_ks": np.full(shape, 0.98 - 0.7 * doubt),
        "level": 1 - 0.7 * ks,
        "label_ks": 0.9 * ks,
        "mirror_ks": np.where(np.array(flip) == np.arange(len(flip)), np.nan, 0.9 * mirror),
        "height": ks,
    }
    return Evidence(np.asarray(truth, np.float64), numbers)
