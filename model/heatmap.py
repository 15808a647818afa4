"""Keypoints to heatmaps and back, in the two conventions that ViTPose weights were trained with.

``udp`` (COCO, MPII) measures an image by the distance between its first and last pixel centre, so the
input's W - 1 maps onto the heatmap's w - 1 and nothing moves when the image is mirrored. ``plain`` (AIC,
AP-10K, APT-36K, WholeBody, CrowdPose) measures it by its number of pixels, so the stride is W / w. Weights
only reach their published accuracy with the convention they were trained with; mixing the two moves a point
by up to a cell.

Heatmap cells have their centres at integers, x right and y down. Everything is batched over B crops and K
keypoints and stays on the tensors' device. There is no convolution or matrix product here, on purpose: under
autocast or with TF32 both would lose the digits that sub-cell decoding lives on.

Sources: UDP, Huang et al., CVPR 2020 (arXiv 1911.07524); DARK, Zhang et al., CVPR 2020 (arXiv 1910.06278);
constants as in the official ViTPose code (mmpose 0.24, ``top_down_transform.py`` and ``top_down_eval.py``).
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from autolabel.errors import ConfigError
from model.config import Codec
from model.constant import constant

_BLUR_RADIUS = 5  # an 11 x 11 kernel
_BLUR_SIGMA = 2.0  # what OpenCV takes for 11 taps when told sigma 0: 0.3 * ((11 - 1) / 2 - 1) + 0.8
_LOG_RANGE = (0.001, 50.0)
_EPS = torch.finfo(torch.float32).eps
# Curvature of the log map below which a step is rounding noise: differences of float32 logarithms carry an
# error of 1e-6, which from here on would move the point by 0.01 cell. A Gaussian this flat has sigma 100.
_MIN_CURVATURE = 1e-4


class Peaks(NamedTuple):
    """One peak for every heatmap: ``xy`` (B, K, 2) in heatmap cells and ``score`` (B, K), both float32.

    ``cell`` (B, K) int64 is the highest cell, counted in reading order: where the step to ``xy`` began.
    """

    xy: Tensor
    score: Tensor
    cell: Tensor


def is_udp(codec: Codec) -> bool:
    """Whether ``codec`` is ``"udp"`` rather than ``"plain"``.

    Raises:
        ConfigError: It is neither.
    """
    if codec not in ("udp", "plain"):
        raise ConfigError(f"unknown codec {codec!r}", subject="codec", remedy='Use "udp" or "plain"')
    return codec == "udp"


def extent(size: tuple[int, int], codec: Codec) -> tuple[int, int]:
    """The (width, height) of an image or heatmap of ``size`` (height, width) as the codec measures it.

    Raises:
        ConfigError: The codec is unknown, or a side has fewer cells than the codec can measure.
    """
    height, width = size
    udp = is_udp(codec)
    if min(size) < 1 + udp:
        raise ConfigError(f"a size of {height} x {width} is too small for the {codec} codec", subject="size")
    return width - udp, height - udp


def input_to_cells(xy: Tensor, *, input_size: tuple[int, int], heatmap_size: tuple[int, int], codec: Codec) -> Tensor:
    """Map ``xy`` (..., 2) from input pixels to heatmap cells; sizes are (height, width)."""
    return xy / _stride(xy, input_size, heatmap_size, codec)


def cells_to_input(xy: Tensor, *, input_size: tuple[int, int], heatmap_size: tuple[int, int], codec: Codec) -> Tensor:
    """Map ``xy`` (..., 2) from heatmap cells to input pixels; the inverse of :func:`input_to_cells`."""
    return xy * _stride(xy, input_size, heatmap_size, codec)


def _stride(xy: Tensor, input_size: tuple[int, int], heatmap_size: tuple[int, int], codec: Codec) -> Tensor:
    return constant(extent(input_size, codec), xy) / constant(extent(heatmap_size, codec), xy)


@torch.no_grad()
def encode(
    xy: Tensor,
    weight: Tensor,
    *,
    input_size: tuple[int, int],
    heatmap_size: tuple[int, int],
    codec: Codec,
    sigma: float = 2.0,
) -> tuple[Tensor, Tensor]:
    """Draw the training target of every keypoint: a Gaussian cut to ±3 sigma around the nearest cell.

    UDP centres the Gaussian on the keypoint itself, so its largest cell is generally below 1; plain centres
    it on the nearest cell. A keypoint is left out, with an empty target and weight 0, if its weight is not
    positive, its coordinates are not finite, or no cell of its patch lies on the map.

    Args:
        xy: (B, K, 2) keypoints in input pixels; NaN where there is none.
        weight: (B, K) weight of each keypoint in the loss, 0 where it must not train.
        input_size: (height, width) of the network's input in pixels.
        heatmap_size: (h, w) of the heatmaps in cells.
        codec: ``"udp"`` or ``"plain"``.
        sigma: Standard deviation of the Gaussian in cells.

    Returns:
        Targets (B, K, h, w) and weights (B, K), both float32.
    """
    # In float64, because float32 could round a keypoint halfway between two cells to the other one.
    mean = input_to_cells(xy.double(), input_size=input_size, heatmap_size=heatmap_size, codec=codec)
    cell = (mean + 0.5).trunc()  # toward zero, as int() does in the official code
    reach = int(3 * sigma)
    last = constant((heatmap_size[1] - 1, heatmap_size[0] - 1), mean)
    on_map = ((cell >= -reach) & (cell <= last + reach)).all(-1)  # false for NaN
    weights = torch.where(on_map & (weight > 0), weight.float(), 0.0)

    def profile(axis: int, length: int) -> Tensor:
        """The Gaussian along one axis, (B, K, length); the target is the outer product of the two."""
        cells = torch.arange(length, device=xy.device, dtype=mean.dtype)
        distance = cells - (mean if is_udp(codec) else cell)[..., axis, None]
        inside = ((cells - cell[..., axis, None]).abs() <= reach) & (weights > 0)[..., None]
        return torch.where(inside, torch.exp(-(distance**2) / (2 * sigma**2)), 0.0).float()

    height, width = heatmap_size
    return profile(1, height)[..., :, None] * profile(0, width)[..., None, :], weights


@torch.no_grad()
def decode(heatmaps: Tensor, codec: Codec) -> Peaks:
    """Find the peak of every heatmap, to a fraction of a cell.

    The score is the largest value of the raw map. From its cell (the first in reading order among equals),
    plain moves a quarter of a cell toward the larger neighbour on each axis, and UDP takes one Newton step on
    the logarithm of the blurred map (DARK). As published, that step is not clamped: if the blurred map has no
    maximum near the peak, it can leave the map. Maps that are not a clean peak:

    - Flat, or a Hessian that is singular within rounding: no step.
    - Nowhere positive: the largest cell, its value as it is, no step (published: the point (-1, -1)).
    - Largest on the border: UDP repeats the border outward, so the step on that axis is half a cell outward
      (exactly, where the axes are uncorrelated); plain takes no step.
    - Some cells NaN or infinite: they are never the peak, and where the step would read one there is none.
    - No finite cell: xy and score are NaN, because nothing was predicted.

    Args:
        heatmaps: (B, K, h, w) of any floating type and any size; computed in float32.
        codec: ``"udp"`` or ``"plain"``.

    Returns:
        Peaks in heatmap cells.
    """
    refine = _dark_step if is_udp(codec) else _quarter_step
    height, width = heatmaps.shape[-2:]
    maps = heatmaps.float().flatten(2)
    lowest = -torch.inf
    score, index = maps.nan_to_num(nan=lowest, posinf=lowest, neginf=lowest).max(-1)
    cell = torch.stack((index % width, index // width), dim=-1)
    xy = cell + refine(maps, cell, height, width) * (score > 0)[..., None]
    empty = score == lowest
    return Peaks(xy.masked_fill(empty[..., None], torch.nan), score.masked_fill(empty, torch.nan), index)


def flip_back(heatmaps: Tensor, flip: Tensor | Sequence[int], codec: Codec) -> Tensor:
    """Turn the heatmaps of a mirrored input into those of the input, ready to be averaged with them.

    Mirrored UDP heatmaps line up with the others. Plain ones come out three quarters of a cell too far left
    at stride 4, so they are shifted right by one column; the first column stays, as in the official code
    (``shift_heatmap``).

    Args:
        heatmaps: (B, K, h, w) of the mirrored input.
        flip: (K,) the keypoint that each keypoint becomes in a mirror.
        codec: ``"udp"`` or ``"plain"``.

    Returns:
        (B, K, h, w), a copy.
    """
    swapped = heatmaps[:, torch.as_tensor(flip, device=heatmaps.device)].flip(-1)
    if is_udp(codec):
        return swapped
    return torch.cat((swapped[..., :1], swapped[..., :-1]), dim=-1)


def _quarter_step(maps: Tensor, cell: Tensor, height: int, width: int) -> Tensor:
    """The (B, K, 2) step of a quarter cell toward the larger neighbour, none at the border."""
    x, y = cell.unbind(-1)
    # The official bounds: one cell more is left out on the left and top than on the right and bottom.
    inner = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    middle = (y * width + x).masked_fill(~inner, 0)[..., None]
    offsets = constant((-1, 1, -width, width), middle)
    left, right, up, down = maps.gather(-1, (middle + offsets).masked_fill(~inner[..., None], 0)).unbind(-1)
    slope = torch.stack((right - left, down - up), dim=-1)
    return 0.25 * torch.where(inner[..., None] & slope.isfinite(), slope, 0.0).sign()


def _dark_step(maps: Tensor, cell: Tensor, height: int, width: int) -> Tensor:
    """The (B, K, 2) Newton step from ``cell`` toward the maximum of the log of the blurred map."""
    near = _blurred_neighbours(maps, cell, height, width).clamp(*_LOG_RANGE).log()
    (upper_left, up, _), (left, centre, right), (_, down, lower_right) = (row.unbind(-1) for row in near.unbind(-2))
    dx = 0.5 * (right - left)
    dy = 0.5 * (down - up)
    dxx = right - 2 * centre + left + _EPS
    dyy = down - 2 * centre + up + _EPS
    dxy = 0.5 * (lower_right - right - down + 2 * centre - left - up + upper_left)
    determinant = dxx * dyy - dxy * dxy
    step = torch.stack((dxy * dy - dyy * dx, dxy * dx - dxx * dy), dim=-1) / determinant[..., None]

    # The smaller of the absolute eigenvalues of the symmetric Hessian.
    curvature = (0.5 * (dxx + dyy).abs() - torch.hypot(0.5 * (dxx - dyy), dxy)).abs()
    usable = (curvature > _MIN_CURVATURE)[..., None] & step.isfinite()
    return torch.where(usable, step, 0.0)


def _blurred_neighbours(maps: Tensor, cell: Tensor, height: int, width: int) -> Tensor:
    """The 3 x 3 cells around ``cell`` of the blurred and then edge-padded maps, (B, K, 3, 3), rows first.

    Only the 13 x 13 raw cells that they depend on are read, so the blur costs 169 values a map whatever its
    size. They come out as NaN where one of those is not finite.
    """
    blur = constant(_blur(), maps).view(3, -1)
    window = torch.arange(-_BLUR_RADIUS - 1, _BLUR_RADIUS + 2, device=maps.device)
    x, y = cell[..., 0, None], cell[..., 1, None]
    index = _reflect(y + window, height)[..., :, None] * width + _reflect(x + window, width)[..., None, :]
    raw = maps.gather(-1, index.flatten(2)).unflatten(-1, (len(window), len(window)))
    raw = torch.where(raw.isfinite(), raw, torch.nan)
    rows = (raw[..., None, :, :] * blur[:, :, None]).sum(-2)
    near = (rows[..., None, :] * blur).sum(-1)

    ring = torch.arange(-1, 2, device=maps.device)
    inside_y = (y + ring).clamp(0, height - 1) - y + 1
    inside_x = (x + ring).clamp(0, width - 1) - x + 1
    near = near.gather(-2, inside_y[..., :, None].expand(*near.shape))
    return near.gather(-1, inside_x[..., None, :].expand(*near.shape))


@cache
def _blur() -> tuple[float, ...]:
    """What turns 13 cells of a row into 3 blurred ones, as a matrix (3, 13), flat; its numbers are float32's."""
    taps = torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1, dtype=torch.float64)
    kernel = torch.exp(-(taps**2) / (2 * _BLUR_SIGMA**2))
    kernel = (kernel / kernel.sum()).float()
    blur = torch.zeros(3, len(taps) + 2)
    for row in range(3):
        blur[row, row : row + len(taps)] = kernel
    return tuple(blur.flatten().tolist())


def _reflect(index: Tensor, length: int) -> Tensor:
    """Fold indices back into [0, length) without repeating the edge (OpenCV's ``BORDER_REFLECT_101``)."""
    period = max(2 * (length - 1), 1)
    folded = index.remainder(period)
    return torch.minimum(folded, period - folded)
