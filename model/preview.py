"""Training crops as arrays, for a picture that a person looks at before training."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.appearance import grey_levels
from model.augment import Augmented
from model.targets import Targets

FIRST_LOOK = "a first look: teaches presence and the whole box, no place"


@dataclass(frozen=True)
class Preview:
    """n crops with what they teach.

    Attributes:
        crops: (n, H, W, 3) uint8 RGB.
        xy: (n, K, 2) float32 in crop pixels, also of joints outside the crop.
        visibility: (n, K) uint8, see :class:`autolabel.poses.Visibility`; unlabelled beyond a skeleton's own K.
        inside: (n, K) bool, labelled keypoints inside the image, on the crop or not.
        dataset: (n,) int64, the head that each crop is for, and with it the skeleton.
        heatmaps: (n, K, h, w) float32.
        weights: (n, K) float32 of the heatmaps.
        captions: (n,) what a picture should say of each beside that.
    """

    crops: NDArray[np.uint8]
    xy: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    inside: NDArray[np.bool_]
    dataset: NDArray[np.int64]
    heatmaps: NDArray[np.float32]
    weights: NDArray[np.float32]
    captions: tuple[str, ...]


def preview(crops: Augmented, targets: Targets) -> Preview:
    """What a network will be shown and taught.

    Args:
        crops: As :func:`model.augment.augment` draws them, on any device.
        targets: Of the same crops.
    """
    return Preview(
        crops=grey_levels(crops.images).permute(0, 2, 3, 1).cpu().numpy(),
        xy=crops.xy.cpu().numpy(),
        visibility=crops.visibility.cpu().numpy(),
        inside=crops.inside.cpu().numpy(),
        dataset=crops.dataset.cpu().numpy(),
        heatmaps=targets.heatmaps.cpu().numpy(),
        weights=targets.weights.cpu().numpy(),
        captions=tuple(FIRST_LOOK if first else "" for first in crops.first_look.tolist()),
    )
