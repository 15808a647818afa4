"""Affine warps of images in OpenCV's arithmetic, on every device, and of many images at once.

OpenCV reads an image at multiples of 1/32 pixel and blends in integers. So does this. What is warped, and where to, is
the business of :mod:`model.crop`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

# OpenCV's fixed point: image positions are summed in 1/1024 pixel and read in 1/32.
_STEP_BITS, _READ_BITS = 10, 5
_READ = 1 << _READ_BITS
_CROPS_AT_A_TIME = {"cpu": 16, "cuda": 128}  # bounds what blending holds at once: some 4 MB a crop of 256 x 192
# What OpenCV's numbers hold: sides in 16 bits, places in 32 of which ten are behind the point.
_OPENCV_SIDE, _OPENCV_PLACE = 2**15 - 1, 2.0**20


def fits_opencv(image: Tensor, inverse: Tensor, input_size: tuple[int, int]) -> bool:
    """Whether the pixels lie as OpenCV wants them, and it can count that far."""
    if image.device.type != "cpu" or not image.permute(1, 2, 0).is_contiguous():
        return False
    furthest = inverse.abs().amax().item() * (sum(input_size) + 1) if len(inverse) else 0.0
    return max(image.shape) < _OPENCV_SIDE and furthest < _OPENCV_PLACE


@cache
def opencv() -> Any:
    """The module, or nothing on a GPU's bare host."""
    try:
        import cv2
    except ImportError:
        return None
    return cv2


def warp_by_opencv(cv2: Any, image: Tensor, inverse: Tensor, input_size: tuple[int, int]) -> Tensor:
    """Crops (B, 3, height, width) of an image that :func:`fits_opencv`; ``inverse`` as for :func:`warp`."""
    height, width = input_size
    pixels = image.permute(1, 2, 0).numpy()
    crops = np.empty((len(inverse), height, width, 3), np.uint8)
    for matrix, into in zip(inverse.cpu().numpy(), crops, strict=True):
        cv2.warpAffine(pixels, matrix, (width, height), dst=into, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Flat:
    """Images one after the other.

    Attributes:
        pixels: (n,) uint8 on the device.
        layout: (images, 5) integers on the CPU: where each begins, its height and width, and how far it is from a pixel
            to the next one of its row, and to its next colour.
    """

    pixels: Tensor
    layout: Tensor


def flat(images: Sequence[Tensor], device: torch.device) -> Flat:
    """Images in one piece of memory of a device; for a GPU, by way of memory that it can read by itself."""
    packed = [image.permute(1, 2, 0).is_contiguous() for image in images]  # as decoders give them
    parts = [(image.permute(1, 2, 0) if own else image).reshape(-1) for image, own in zip(images, packed, strict=True)]
    begins, layout = 0, list[tuple[int, ...]]()
    for image, part, own in zip(images, parts, packed, strict=True):
        height, width = image.shape[1:]
        layout.append((begins, height, width, *((3, 1) if own else (1, height * width))))
        begins += len(part)
    where = torch.tensor(layout, dtype=torch.int32 if begins < 2**31 else torch.int64)
    if device.type != "cuda" or all(part.is_cuda for part in parts):
        return Flat(parts[0] if len(parts) == 1 else torch.cat(parts), where)
    pinned = torch.empty(begins, dtype=torch.uint8, pin_memory=True)
    torch.cat([part.cpu() for part in parts], out=pinned)
    return Flat(pinned.to(device, non_blocking=True), where)


def warp(images: Flat, owner: Tensor, inverse: Tensor, input_size: tuple[int, int]) -> Tensor:
    """Crops (B, 3, height, width) uint8 on the images' device, black outside of them.

    Args:
        images: All of them.
        owner: (B,) int64, which of them each crop is of.
        inverse: (B, 2, 3) float64, on the CPU, maps from input pixels to those of the image.
        input_size: (height, width) of the crops.
    """
    size = _CROPS_AT_A_TIME["cuda" if images.pixels.is_cuda else "cpu"]
    parts = zip(owner.split(size), inverse.split(size), strict=True)
    return torch.cat([_blended(images, own, part, input_size) for own, part in parts])


def _blended(images: Flat, owner: Tensor, inverse: Tensor, input_size: tuple[int, int]) -> Tensor:
    """Blend the four pixels around where ``inverse`` (B, 2, 3) float64 sends each input pixel."""
    device = images.pixels.device
    x, y = _read_positions(inverse, input_size, device).unbind(1)
    layout = images.layout[owner].to(device, non_blocking=True)
    begins, height, width, pixel, plane = layout[:, :, None, None].unbind(1)
    # Starting from one half, in the weights' unit of 1/1024, so that the final shift rounds.
    total = torch.full((3, *x.shape), _READ * _READ // 2, dtype=torch.int32, device=device)
    columns = list(_taps(x, width))
    for row, row_weight in _taps(y, height):
        for column, column_weight in columns:
            first = begins + (row * width + column) * pixel
            weight = row_weight * column_weight
            for colour, sums in enumerate(total):
                place = first + colour * plane
                sums.addcmul_(images.pixels.index_select(0, place.flatten()).view_as(weight), weight)
    return (total >> 2 * _READ_BITS).to(torch.uint8).transpose(0, 1)


def _read_positions(inverse: Tensor, input_size: tuple[int, int], device: torch.device) -> Tensor:
    """The image position of every input pixel, (B, 2, height, width) int32 in 1/32 pixel, as OpenCV rounds.

    The steps along a row and down a column are rounded to 1/1024 pixel each, and their sum to 1/32.
    """
    height, width = input_size
    column = torch.arange(width, device=inverse.device)
    row = torch.arange(height, device=inverse.device)[:, None]
    along = _fixed_point(inverse[:, :, 0, None, None] * column)
    down = _fixed_point(inverse[:, :, 1, None, None] * row + inverse[:, :, 2, None, None])
    shift = _STEP_BITS - _READ_BITS
    return (along.to(device) + (down + (1 << shift - 1)).to(device)) >> shift


def _fixed_point(pixels: Tensor) -> Tensor:
    # Clamped, so that a far-fetched map reads outside the image and does not overflow back into it.
    return (pixels * (1 << _STEP_BITS)).round().clamp(-(2**29), 2**29).int()


def _taps(position: Tensor, length: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The two pixels about each position along one axis, and their weights in 1/32, 0 outside the image."""
    pixel, fraction = position >> _READ_BITS, position & _READ - 1
    for tap, weight in ((pixel, _READ - fraction), (pixel + 1, fraction)):
        inside = (tap >= 0) & (tap < length)
        yield torch.minimum(tap.clamp_min(0), length - 1), weight * inside
