"""What augmented crops teach: heatmaps, and whether each keypoint lies inside the image and is visible.

| a keypoint is | heatmap | presence | visibility |
|---|---|---|---|
| labelled, on the crop | its Gaussian | inside | whether visible, where labels tell |
| labelled, outside the crop but inside the image | its Gaussian | inside: it calls for a larger crop | the same |
| labelled, outside the image | its Gaussian | not inside | no weight |
| absent: labelled so, or cut away by truncation | zeros, with weight | not inside | no weight |
| unlabelled, or beyond the skeleton's K | no weight | no weight | no weight |

A first look (:mod:`model.whole_box`) teaches no heatmap. Places are nearly always taken from the second one; and a
network that learns to find small whole people in black frames finds parts of people, in theirs, worse (decision 0010).

A Gaussian whose patch does not reach the map has no weight; of a keypoint just outside the crop it does, and counts
(official rule). Every weight is multiplied by the trust in the keypoint: less than 1 where a network filled it in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autolabel.poses import Visibility
from model.augment import Augmented
from model.config import Codec
from model.constant import constant
from model.heatmap import encode
from model.truncation import labelled


@dataclass(frozen=True)
class Targets:
    """What B crops teach, all float32.

    Attributes:
        heatmaps: (B, K, h, w).
        weights: (B, K) of the heatmaps.
        presence: (B, K, 2): 1 where the keypoint lies inside the image, and where it is visible.
        presence_weights: (B, K, 2).
    """

    heatmaps: Tensor
    weights: Tensor
    presence: Tensor
    presence_weights: Tensor


@torch.no_grad()
def targets(
    crops: Augmented,
    *,
    input_size: tuple[int, int],
    heatmap_size: tuple[int, int],
    codecs: Sequence[Codec],
    sigma: float = 2.0,
) -> Targets:
    """What crops teach.

    Args:
        crops: As drawn.
        input_size: (H, W) of the crops.
        heatmap_size: (h, w) in cells.
        codecs: Heatmap convention of each head, by ``crops.dataset``.
        sigma: Of the Gaussians, in cells.
    """
    stated = labelled(crops.visibility)

    def encoded(codec: Codec) -> tuple[Tensor, Tensor]:
        return encode(crops.xy, stated, input_size=input_size, heatmap_size=heatmap_size, codec=codec, sigma=sigma)

    heatmaps, weights = encoded(codecs[0])
    if len(set(codecs)) > 1:
        other = "plain" if codecs[0] == "udp" else "udp"
        differs = constant(tuple(codec == other for codec in codecs), crops.inside)[crops.dataset]
        maps, factors = encoded(other)
        heatmaps = torch.where(differs[:, None, None, None], maps, heatmaps)
        weights = torch.where(differs[:, None], factors, weights)
    heatmaps, weights = absent_targets(heatmaps, weights, crops.visibility)
    # Empty as well as without weight, as of keypoints that nobody labelled: what is drawn is what is taught.
    heatmaps = heatmaps.masked_fill(crops.first_look[:, None, None, None], 0.0)
    weights = weights.masked_fill(crops.first_look[:, None], 0.0)
    known = stated | (crops.visibility == Visibility.ABSENT)
    weights = weights * crops.trust
    visible = crops.inside & (crops.visibility == Visibility.VISIBLE)
    told = crops.inside & crops.tells_hidden[:, None]
    return Targets(
        heatmaps=heatmaps,
        weights=weights,
        presence=torch.stack([crops.inside, visible], dim=-1).float(),
        presence_weights=torch.stack([known, told], dim=-1).float() * crops.trust.square()[..., None],
    )


def absent_targets(heatmaps: Tensor, weights: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
    """Let absent keypoints teach that there is nothing: a target of zeros that counts.

    The official recipe gives every keypoint without a coordinate weight 0, so that a network never learns to
    say "not here". A joint that a person called absent is evidence; one that nobody labelled is not.

    Args:
        heatmaps: (B, K, h, w) of the labelled keypoints.
        weights: (B, K) their weights.
        visibility: (B, K) uint8.

    Returns:
        Heatmaps and weights of the same shapes.
    """
    absent = visibility == Visibility.ABSENT
    return heatmaps.masked_fill(absent[:, :, None, None], 0.0), weights.masked_fill(absent, 1.0)
