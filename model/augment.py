"""Augmentation of a batch on the device: flip, scale, rotation and colour, in one resampling.

The geometry is the official recipe's (``vitpose.md`` 4.3): scale drawn as clip(N(1, s), 1 - s, 1 + s), rotation as
clip(N(0, r), -2r, 2r) degrees with a probability, horizontal flip with probability one half. Random numbers come
from a generator on the CPU that the caller seeds, so that a step draws the same numbers on every device.
"""

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import grid_sample

from autolabel.poses import Visibility
from autolabel.settings import Settings
from autolabel.skeleton import Skeleton
from model.config import Codec
from model.crop import Regions, apply, crop_matrices, invert, normalise, regions_from_boxes
from model.data import PoseBatch


class Augmentation(Settings):
    """How training crops vary.

    Attributes:
        flip: Probability of a mirrored crop.
        scale: Half the range and the standard deviation of the box scale.
        rotation: Standard deviation in degrees; twice that is the limit.
        rotation_probability: Share of crops that are rotated at all.
        shift: Largest shift of the centre, as a share of the padded box.
        colour: Largest change of brightness, in ImageNet's standard deviations, and of contrast, as a share.
    """

    flip: float = Field(default=0.5, ge=0, le=1)
    scale: float = Field(default=0.5, ge=0, lt=1)
    rotation: float = Field(default=40.0, ge=0)
    rotation_probability: float = Field(default=0.6, ge=0, le=1)
    shift: float = Field(default=0.0, ge=0)
    colour: float = Field(default=0.0, ge=0, lt=1)

    def canvas_size(self, input_size: tuple[int, int]) -> tuple[int, int]:
        """(Hc, Wc) of a canvas on which every crop lies that can be drawn.

        Args:
            input_size: (H, W) of the network, which the padded box fills at the canvas' resolution.
        """
        height, width = input_size
        return self._reach(height, width), self._reach(width, height)

    def _reach(self, along: int, across: int) -> int:
        """The extent along one axis of all rectangles ``along`` x ``across`` that can be drawn, in pixels."""
        limit = math.radians(2 * self.rotation) if self.rotation_probability > 0 else 0.0
        widest = min(limit, math.atan2(across, along))  # there, a diagonal lies along the axis
        turned = along * math.cos(widest) + across * math.sin(widest)
        # One more, because n pixel centres span n - 1; rounded first, so that 64.000001 is 64.
        return math.ceil(round((1 + self.scale) * turned + 2 * self.shift * along, 3)) + 1


def augment(
    batch: PoseBatch,
    how: Augmentation,
    skeleton: Skeleton,
    *,
    input_size: tuple[int, int],
    padding: float,
    codec: Codec,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw one crop of every person in the batch.

    Args:
        batch: People on canvases.
        how: The ranges.
        skeleton: Tells which keypoints change places in a mirrored crop.
        input_size: (H, W) of the crops.
        padding: As in training and prediction alike.
        codec: ``udp`` or ``plain``.
        generator: On the CPU; as many numbers are drawn whatever the ranges, but for ``colour``.

    Returns:
        Normalised crops (B, 3, H, W), keypoints (B, K, 2) in crop pixels, and visibility (B, K).
    """
    regions = _vary(regions_from_boxes(batch.box, input_size=input_size, padding=padding), how, generator)
    matrices = crop_matrices(regions, input_size=input_size, codec=codec)
    crops = normalise(_warp(batch.canvas, matrices, input_size))
    xy = apply(matrices, batch.xy)
    partner = torch.tensor(skeleton.flip, device=xy.device)
    mirrored = regions.flip[:, None]
    xy = torch.where(mirrored[..., None], xy[:, partner], xy)
    visibility = torch.where(mirrored, batch.visibility[:, partner], batch.visibility)
    return _recolour(crops, how.colour, generator), xy, visibility


def absent_targets(targets: Tensor, weights: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
    """Let absent keypoints teach that there is nothing: a target of zeros that counts.

    The official recipe gives every keypoint without a coordinate weight 0, so that a network never learns to
    say "not here". A joint that a person called absent is evidence; one that nobody labelled is not.

    Args:
        targets: (B, K, h, w) heatmaps of the labelled keypoints.
        weights: (B, K) their weights.
        visibility: (B, K) uint8.

    Returns:
        Targets and weights of the same shapes.
    """
    absent = visibility == Visibility.ABSENT
    return targets.masked_fill(absent[:, :, None, None], 0.0), weights.masked_fill(absent, 1.0)


def _warp(canvases: Tensor, matrices: Tensor, input_size: tuple[int, int]) -> Tensor:
    """Crops (B, 3, H, W) float32 in 0..255, each from its own canvas (B, 3, Hc, Wc), black outside it.

    What ``model.crop.crop`` gives for one image, without its rounding to grey levels and to 1/32 of a pixel.
    """
    height, width = input_size
    rows = torch.arange(height, device=canvases.device, dtype=torch.float32)
    columns = torch.arange(width, device=canvases.device, dtype=torch.float32)
    pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    size = pixels.new_tensor([canvases.shape[3], canvases.shape[2]])
    places = apply(invert(matrices), pixels.expand(len(matrices), -1, -1, -1))
    # grid_sample measures from edge to edge: the first pixel's centre is at 1 / size - 1.
    return grid_sample(canvases.float(), (2 * places + 1) / size - 1, align_corners=False)


def _vary(regions: Regions, how: Augmentation, generator: torch.Generator) -> Regions:
    """Other regions about the same people: scaled, turned, moved, mirrored."""
    n, device = len(regions), regions.centre.device

    def normal() -> Tensor:
        return torch.randn(n, generator=generator).to(device)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator).to(device)

    scale = (1 + how.scale * normal()).clamp(1 - how.scale, 1 + how.scale)
    rotation = (how.rotation * normal()).clamp(-2 * how.rotation, 2 * how.rotation)
    rotation = torch.where(uniform() < how.rotation_probability, rotation, 0.0)
    shift = (2 * uniform(2) - 1) * how.shift * regions.size
    return Regions(
        centre=regions.centre + shift,
        size=regions.size * scale[:, None],
        rotation=rotation.to(regions.size.dtype),
        flip=uniform() < how.flip,
    )


def _recolour(crops: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Change brightness and contrast of normalised crops, one draw a crop."""
    if amount == 0:
        return crops
    draw = (2 * torch.rand(2, len(crops), 1, 1, 1, generator=generator) - 1).to(crops.device) * amount
    mean = crops.mean(dim=(1, 2, 3), keepdim=True)
    return (crops - mean) * (1 + draw[0]) + mean + draw[1]
