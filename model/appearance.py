"""What a crop's pixels look like: read from the canvases, recoloured, partly covered; all crops of a batch at once.

Only the picture is recoloured: beyond the image's border (or the line along which truncation cut it) a crop is black,
as it is when a person at the border is predicted.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from model.constant import constant
from model.crop import IMAGENET_MEAN, IMAGENET_STD

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow's grey
_BRIGHTNESS = 58.0  # grey levels for a ``colour`` of 1: the standard deviation of ImageNet's
_RECTANGLES = 2


def read(canvases: Tensor, places: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Read canvases between their pixels, black beyond the image.

    Bytes are gathered as they are: the canvases, which are several times as large as the crops, are not converted. No
    number depends on a canvas' size, so that a person gives the same crop in every batch.

    Args:
        canvases: (B, 3, Hc, Wc) uint8.
        places: (B, H, W, 2) x and y in canvas pixels.
        image: (B, 4) edges of the image in canvas pixels.

    Returns:
        Grey levels (B, 3, H, W) float32 in 0..255, and (B, H, W) the share of each pixel that the image covers.
    """
    count, _, height, width = canvases.shape
    kind = torch.int32 if canvases.numel() < 2**31 else torch.int64
    x, y = places.unbind(-1)
    flat = canvases.reshape(-1)
    first = torch.arange(count, dtype=kind, device=canvases.device)[:, None, None] * (3 * height * width)
    levels = places.new_zeros(3, *x.shape)
    cover = torch.zeros_like(x)
    columns = list(_taps(x, image[:, 0], image[:, 2], width, kind))
    for row, row_weight in _taps(y, image[:, 1], image[:, 3], height, kind):
        start = row * width + first
        for column, column_weight in columns:
            index = (start + column).flatten()
            weight = row_weight * column_weight
            cover += weight
            for channel in range(3):
                pixels = flat[channel * height * width :].index_select(0, index)
                levels[channel].addcmul_(pixels.view_as(weight), weight)
    return levels.transpose(0, 1), cover


def recolour(levels: Tensor, cover: Tensor, *, colour: float, tint: float, grey: float, drawn: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and the balance of the channels, one draw a crop.

    Args:
        levels: (B, 3, H, W) in 0..255.
        cover: (B, H, W) share of each pixel that shows the image; the rest stays black.
        colour: Largest change of contrast, as a share, and of brightness, in standard deviations of ImageNet's.
        tint: Largest change of saturation, as a share; the channels' gains change by half of it.
        grey: Share of crops without colours.
        drawn: (B, 7) uniform numbers.

    Returns:
        (B, 3, H, W), within 0..255.
    """
    if colour == tint == grey == 0:
        return levels
    signed = 2 * drawn - 1
    contrast, brightness = 1 + colour * signed[:, 0], colour * _BRIGHTNESS * signed[:, 1]
    saturation = torch.where(drawn[:, 3] < grey, 0.0, 1 + tint * signed[:, 2])[:, None]
    gain = contrast[:, None] * (1 + tint / 2 * signed[:, 4:7])
    # Contrast is about ImageNet's mean rather than the crop's own, so that pixels do not depend on the framing.
    offset = (1 - contrast)[:, None] * 255 * constant(IMAGENET_MEAN, levels) + brightness[:, None]
    luma = (levels * constant(_LUMA, levels)[:, None, None]).sum(dim=1)
    own, shared = (gain * saturation)[:, :, None, None], (gain * (1 - saturation))[:, :, None, None]
    changed = own * levels + shared * luma[:, None] + offset[:, :, None, None] * cover[:, None]
    return changed.clamp_(0, 255)


def rectangles(size: tuple[int, int], *, probability: float, share: float, drawn: Tensor) -> Tensor:
    """Rectangles that cover parts of crops: none, one or two of them.

    Args:
        size: (H, W) of the crops.
        probability: Share of crops with rectangles.
        share: Largest area of a rectangle, as a share of the crop's.
        drawn: (B, 11) uniform numbers.

    Returns:
        (B, 2, 4) xyxy edges in crop pixels; empty, with x1 < x0, where there is none.
    """
    height, width = size
    one, area, aspect, x, y = drawn[:, 1:].unflatten(1, (5, _RECTANGLES)).unbind(1)
    one = (drawn[:, :1] < probability) & (one < constant((1.0, 0.5), one))
    pixels, aspect = area * share * height * width, 2 ** (2 * aspect - 1)
    half = torch.stack([(pixels * aspect).sqrt(), (pixels / aspect).sqrt()], dim=-1) / 2
    centre = torch.stack([x * width, y * height], dim=-1) - 0.5
    edges = torch.cat([centre - half, centre + half], dim=-1)
    return torch.where(one[..., None], edges, constant((0.0, 0.0, -1.0, -1.0), edges))


def cover_up(levels: Tensor, edges: Tensor, drawn: Tensor) -> Tensor:
    """Fill rectangles, half of them with ImageNet's mean colour, the others with any colour.

    Args:
        levels: (B, 3, H, W) in 0..255.
        edges: (B, R, 4) xyxy in crop pixels.
        drawn: (B, 4 R) uniform numbers.
    """
    drawn = drawn.unflatten(1, (-1, 4))
    mean = 255 * constant(IMAGENET_MEAN, levels)
    fill = torch.where(drawn[..., :1] < 0.5, mean, 255 * drawn[..., 1:])
    x = torch.arange(levels.shape[3], device=levels.device)
    y = torch.arange(levels.shape[2], device=levels.device)[:, None]
    for which in range(edges.shape[1]):
        x0, y0, x1, y1 = edges[:, which, :, None, None].unbind(1)
        covered = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
        levels = torch.where(covered[:, None], fill[:, which, :, None, None], levels)
    return levels


def normalised(levels: Tensor) -> Tensor:
    """Grey levels (B, 3, H, W) as networks take them, in place."""
    mean, std = (255 * constant(values, levels)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return levels.sub_(mean).div_(std)


def grey_levels(normalised: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 of what a network is given."""
    mean, std = (255 * constant(values, normalised)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (normalised * std + mean).round().clamp(0, 255).to(torch.uint8)


def _taps(place: Tensor, low: Tensor, high: Tensor, length: int, kind: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
    """The two pixels about each place along one axis, and their weights, 0 beyond the edges (B,) or the canvas."""
    # A pixel counts if its centre lies within the edges.
    low = low.clamp(0, length)[:, None, None]
    high = high.clamp(-1, length - 1)[:, None, None]
    pixel = place.floor()
    fraction = place - pixel
    for tap, weight in ((pixel, 1 - fraction), (pixel + 1, fraction)):
        inside = (tap >= low) & (tap <= high)
        yield tap.clamp(0, length - 1).to(kind), weight * inside
