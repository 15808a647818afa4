"""People whom the image cuts, looked at again at the scale of whole people.

A box that ends where the image ends may hold a part of a person only. Cropped to it, a lone arm fills the input: a size
at which the network has to know every part of every body, where whole people come at one size. So such a person is
looked at twice. The first look goes beyond the image where the box ends there, and tells how far the whole person
reaches (:class:`model.heads.WholeBoxHead`); the second look has the crop of that box, with black where there is no
image, and its answers count (decision 0010).

Boxes are (N, 4) xyxy. How far somebody *reaches* is (N, 4), to the left, top, right and bottom of the crop's middle, in
half heights of the crop.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import Codec
from model.crop import Regions, crop, crop_matrices

TOUCH = 0.02
"""A box reaches the edge of the image where it is nearer than this share of its longer side, or than a pixel."""

BEYOND = 0.5
"""How far a first look goes beyond the edge that a box reaches, as a share of the box's longer side."""

LARGER = 1.2
"""A person whose whole box is not so much longer than what the image shows is not cut."""

SAME = 0.7
"""A whole person's box that overlaps the first look's by less (IoU) is worth another look."""

MIRRORED = (2, 1, 0, 3)
"""The side that each side becomes in a mirror."""

_LEAST = 0.05
"""A person whom the crop shows far from its middle may end before it; nothing is told of less than this."""

_MOST = 6.0
"""The whole person's box is at most so many times as long as the part's."""


def touches(box: Tensor, image: Tensor) -> Tensor:
    """On which sides, (N, 4) left, top, right, bottom, boxes reach the edge of their images.

    Args:
        box: (N, 4).
        image: (N, 4) edges of the images in the same frame; :func:`image_edges` in full-image pixels.
    """
    near = (TOUCH * _longer(box)).clamp_min(1.0)[:, None]
    return torch.cat([box[:, :2] - image[:, :2], image[:, 2:] - box[:, 2:]], dim=1) < near


def image_edges(size: Tensor) -> Tensor:
    """(N, 4) edges of images of ``size`` (N, 2), width and height, in their own pixels."""
    low = torch.full_like(size, -0.5)
    return torch.cat([low, low + size], dim=1)


def may_be_cut(box: Tensor, image: Tensor) -> Tensor:
    """On which sides, (N, 4), images may cut people: where boxes reach the edge, but are not the whole image.

    Such a box was given where nobody was detected, and says nothing of where a person ends.

    Args:
        box: (N, 4).
        image: (N, 4) as for :func:`touches`.
    """
    sides = touches(box, image)
    return sides & ~sides.all(dim=1, keepdim=True)


def first_look(box: Tensor, image: Tensor) -> Tensor:
    """(N, 4) boxes that go beyond the image where it may cut people; those of others as they are.

    What is left of a body is then nearer to the size that it has on whole people.

    Args:
        box: (N, 4).
        image: (N, 4) as for :func:`touches`.
    """
    more = BEYOND * _longer(box)[:, None] * may_be_cut(box, image)
    return box + torch.cat([-more[:, :2], more[:, 2:]], dim=1)


def reaches(box: Tensor, regions: Regions, matrices: Tensor) -> Tensor:
    """(N, 4) how far people reach in their crops.

    Turned crops turn the box's middle; its sides stay as long as they were.

    Args:
        box: (N, 4) of the whole people.
        regions: Of the crops, in the frame of the boxes.
        matrices: (N, 2, 3) from that frame to the crops.
    """
    linear = matrices[:, :, :2]
    offset = (box[:, :2] + box[:, 2:]) / 2 - regions.centre
    scale = linear[:, 0].norm(dim=1, keepdim=True)
    offset = (linear * offset[:, None]).sum(dim=2) / scale
    half = (box[:, 2:] - box[:, :2]) / 2
    return torch.cat([half - offset, half + offset], dim=1) / (regions.size[:, 1:] / 2)


def log_reach(reach: Tensor) -> Tensor:
    """What a network is to tell of a reach (N, 4): its logarithm, of ``_LEAST`` at least."""
    return reach.clamp_min(_LEAST).log()


def whole_boxes(predicted: Tensor, box: Tensor, regions: Regions) -> Tensor:
    """(N, 4) boxes of whole people; of those who are hardly larger than what the image shows, that.

    Args:
        predicted: (N, 4) :func:`log_reach` by the network about the crops of ``regions``.
        box: (N, 4) of what the image shows of them, which lies in the answer.
        regions: Upright.
    """
    reach = predicted.to(box).exp() * regions.size[:, 1:] / 2
    most = (_MOST - 0.5) * _longer(box)[:, None]
    middle = (box[:, :2] + box[:, 2:]) / 2
    low = torch.maximum(torch.minimum(regions.centre - reach[:, :2], box[:, :2]), middle - most)
    high = torch.minimum(torch.maximum(regions.centre + reach[:, 2:], box[:, 2:]), middle + most)
    whole = torch.cat([low, high], dim=1)
    return torch.where((_longer(whole) > LARGER * _longer(box))[:, None], whole, box)


def worth_another_look(looked: Tensor, whole: Tensor) -> Tensor:
    """(N,) whether the whole person's box is another than that of the first look."""
    low, high = torch.maximum(looked[:, :2], whole[:, :2]), torch.minimum(looked[:, 2:], whole[:, 2:])
    common = (high - low).clamp_min(0).prod(dim=1)
    area, other = ((box[:, 2:] - box[:, :2]).prod(dim=1) for box in (looked, whole))
    return common < SAME * (area + other - common)


@dataclass(frozen=True)
class Surroundings:
    """What an image shows about a box, as finely as the box's crop at most: all that a second look needs.

    Keeping images until a batch has been predicted would take gigabytes of large photographs.

    Attributes:
        pixels: (3, h, w) uint8.
        zoom: Its pixels by image pixels, 1 at most.
        corner: x and y of its first pixel's outer corner, in image pixels.
    """

    pixels: Tensor
    zoom: float
    corner: tuple[float, float]

    def crop(self, regions: Regions, *, input_size: tuple[int, int], codec: Codec) -> Tensor:
        """Crops (B, 3, H, W) of regions of the image, black beyond what is kept."""
        matrices = crop_matrices(regions, input_size=input_size, codec=codec)
        offset = -matrices.new_tensor(self.corner) * self.zoom - 0.5  # where the image's first pixel lies
        linear = matrices[:, :, :2] / self.zoom
        shift = matrices[:, :, 2] - (linear * offset).sum(dim=2)
        return crop(self.pixels, torch.cat([linear, shift[:, :, None]], dim=2), input_size)


def second_crops(
    about: Sequence[Surroundings], regions: Regions, *, input_size: tuple[int, int], codec: Codec
) -> Tensor:
    """Crops (N, 3, H, W) of N regions, each of its own image; N is at least 1."""
    crops = [
        one.crop(regions.rows(slice(row, row + 1)), input_size=input_size, codec=codec) for row, one in enumerate(about)
    ]
    return torch.cat(crops)


def surroundings(image: Tensor, centre: Tensor, reach: float, zoom: float) -> Surroundings:
    """What an image shows about a person.

    Args:
        image: (3, H, W) uint8.
        centre: (2,) of the first look, full-image pixels.
        reach: So far to each side, in full-image pixels: as far as the first look is high.
        zoom: Pixels by image pixel, if it is below 1; those of the crop of the person's own box.
    """
    height, width = image.shape[1:]
    x, y = centre.tolist()
    x0, x1 = max(math.floor(x - reach), 0), min(math.ceil(x + reach) + 1, width)
    y0, y1 = max(math.floor(y - reach), 0), min(math.ceil(y + reach) + 1, height)
    # A box may lie beyond the image: a pixel is kept of it all the same.
    x0, y0 = min(x0, width - 1), min(y0, height - 1)
    part = image[:, y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    if zoom >= 1:
        return Surroundings(part.clone(), 1.0, (x0 - 0.5, y0 - 0.5))
    size = (max(int(part.shape[1] * zoom), 1), max(int(part.shape[2] * zoom), 1))  # no pixel reads beyond the part
    middle = 0.5 * zoom - 0.5
    matrix = torch.tensor([[[zoom, 0.0, middle], [0.0, zoom, middle]]], dtype=torch.float64)
    return Surroundings(crop(part, matrix, size)[0], zoom, (x0 - 0.5, y0 - 0.5))


def _longer(box: Tensor) -> Tensor:
    """(N,) longer sides, a pixel at least."""
    return (box[:, 2:] - box[:, :2]).amax(dim=1).clamp_min(1.0)
