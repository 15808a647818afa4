"""How sure a heatmap is of its peak: numbers that a height alone does not tell.

A peak's height ignores the other hills of its map, how wide it is, and how large the person is; each of these says
something of whether the keypoint is where the peak is. So beside the height a heatmap gives five numbers: how high the
second hill is (``second``), how evenly the hills share the height (``entropy``), how far the map's mass lies from the
peak (``spread``), what similarity with the truth is to be expected if the map is taken at its word (``expected_ks``),
and how high the map is where the mirror partner was found (``other_side``). They rank; a calibrator makes probabilities
of them.

Everything is batched over B crops and K keypoints and stays on the maps' device. A map is read where it is positive;
what is below zero, NaN or infinite counts as zero. There is no convolution or matrix product, as in
:mod:`model.heatmap` and for the same reason; and no sort over all cells, so that the numbers cost a few passes.

Sources: the entropy of several peaks, Liu & Ferrari, ICCV 2017 (doi 10.1109/ICCV.2017.468); the expected similarity,
the idea of ProbPose, Purkrabek & Matas, CVPR 2025 (arXiv 2412.02254); the kernel is COCO's OKS.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

HILLS = 5
"""So many hills at most share the entropy: the highest. Lower ones are the ripple of the network's last layer."""

_REACH = 2  # cells: no two hills are nearer to each other, so that noise beside a peak is not a second one
_LEAST_KERNEL = 1e-3  # cells: of a box without area, only the peak's own cell is like the truth


class Doubt(NamedTuple):
    """What B x K maps say of themselves, each (B, K) float32; NaN where a map has no finite cell.

    Attributes:
        second: The height of the second highest hill by that of the highest, 0..1; 0 where there is one hill or none.
        entropy: Of the heights of the :data:`HILLS` highest hills as a distribution, nats: 0 for one hill or none,
            log n for n equal ones.
        spread: Root mean square distance of the map's mass from the peak, cells.
        expected_ks: Mean keypoint similarity of the peak with a true place that is distributed as the map, 0..1.
        other_side: The map at the peak of the mirror partner's map, by its own peak, 0..1; 0 for a keypoint without a
            partner, and where either map has no peak.
    """

    second: Tensor
    entropy: Tensor
    spread: Tensor
    expected_ks: Tensor
    other_side: Tensor


@torch.no_grad()
def doubt(heatmaps: Tensor, cell: Tensor, kernel: Tensor, flip: Tensor) -> Doubt:
    """How sure each heatmap is of its peak.

    A hill is a cell that is higher than all within two cells of it; of equal ones the first in reading order, so that
    a level top is one hill. A map that is nowhere positive has no hill, and its mass is taken to lie everywhere alike.

    Args:
        heatmaps: (B, K, h, w) of any floating type; computed in float32.
        cell: (B, K) int64, the highest cell of each in reading order, from :func:`model.heatmap.decode`.
        kernel: (B, K, 2) standard deviations of the similarity's Gaussian along x and y, cells of this crop:
            2 sigma_k sqrt(area), see :func:`similarity_kernel`.
        flip: (K,) the keypoint that each keypoint becomes in a mirror; itself where it has no partner.
    """
    mass = heatmaps.float().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).clamp_(min=0.0)
    heights = _hills(mass)
    highest = heights[..., 0]
    second = heights[..., 1] / highest
    share = heights / heights.sum(-1, keepdim=True)
    entropy = -torch.xlogy(share, share).sum(-1)
    found = highest > 0
    spread, expected = _about_the_peak(mass, cell, kernel)
    there = mass.flatten(2).gather(2, cell[:, flip, None])[..., 0] / highest
    paired = (flip != torch.arange(len(flip), device=flip.device)) & found[:, flip] & found
    nothing = ~torch.isfinite(heatmaps).flatten(2).any(-1)
    return Doubt(
        *(
            values.masked_fill(nothing, torch.nan)
            for values in (
                torch.where(found, second, 0.0),
                torch.where(found, entropy, 0.0),
                spread,
                expected,
                torch.where(paired, there, 0.0),
            )
        )
    )


def similarity_kernel(area: Tensor, sigmas: Tensor, cells_per_pixel: Tensor) -> Tensor:
    """(B, K, 2) standard deviations of KS = exp(-d² / (2 A (2σ)²)), in cells along x and y.

    Args:
        area: (B,) A, square pixels.
        sigmas: (K,) σ.
        cells_per_pixel: (B, 2) along x and y.
    """
    return 2 * sigmas[:, None] * (area.clamp_min(0).sqrt()[:, None] * cells_per_pixel)[:, None]


def _hills(mass: Tensor) -> Tensor:
    """(B, K, HILLS) heights of the highest hills of maps (B, K, h, w) that are nowhere negative; 0 where none is."""
    height, width = mass.shape[-2:]
    padded = F.pad(mass, (_REACH, _REACH, _REACH, _REACH))
    # The 24 cells around each, those before it in reading order and those after it: higher than the former, and as
    # high as the latter. The padding is 0, so a hill is above 0.
    left = torch.maximum(padded[..., :width], padded[..., 1 : width + 1])
    right = torch.maximum(padded[..., 3 : width + 3], padded[..., 4:])
    rows = torch.maximum(torch.maximum(left, right), padded[..., 2 : width + 2])
    before = torch.maximum(rows[..., :height, :], rows[..., 1 : height + 1, :])
    before = torch.maximum(before, left[..., 2 : height + 2, :])
    after = torch.maximum(rows[..., 3 : height + 3, :], rows[..., 4:, :])
    after = torch.maximum(after, right[..., 2 : height + 2, :])
    tops = mass * ((mass > before) & (mass >= after))
    # Three by three cells hold one hill at most, so this loses none and leaves a ninth to sort.
    thinned = F.max_pool2d(tops, 3, ceil_mode=True).flatten(2)
    few = thinned.shape[-1]
    return thinned.topk(HILLS).values if few >= HILLS else F.pad(thinned, (0, HILLS - few)).topk(HILLS).values


def _about_the_peak(mass: Tensor, cell: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Spread and expected similarity (B, K) each, of maps as distributions; both separate into x and y."""
    height, width = mass.shape[-2:]
    kernel = kernel.to(mass).clamp_min(_LEAST_KERNEL)
    far_x = (torch.arange(width, device=mass.device) - cell[..., None] % width).square().float()
    far_y = (torch.arange(height, device=mass.device) - cell[..., None] // width).square().float()
    like_x, like_y = (
        torch.exp(-far / (2 * kernel[..., axis, None].square())) for axis, far in enumerate((far_x, far_y))
    )
    in_rows, in_columns = mass.sum(-1), mass.sum(-2)
    alike = ((mass * like_x[..., None, :]).sum(-1) * like_y).sum(-1)
    total = in_rows.sum(-1)
    squared = (in_columns * far_x).sum(-1) + (in_rows * far_y).sum(-1)
    empty = total <= 0
    spread = torch.where(empty, far_x.mean(-1) + far_y.mean(-1), squared / total).sqrt()
    return spread, torch.where(empty, like_x.mean(-1) * like_y.mean(-1), alike / total)
