"""Crops for pre-training: people or whole images of a corpus that nobody labelled, as batches of canvases.

With boxes, a crop shows a person in the padded box that fine-tuning will use, what the paper calls COCO crops
(ViTPose, section 4.3); without, any part of an image. Either way, an image gives a *canvas*, on which a rectangle, the
*frame*, says where crops may lie; :func:`random_crops` draws them on the device. A corpus of this size holds files that
cannot be read: each is passed over, told with its reason, and its place taken by the next one.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from autolabel.errors import ImageError, InputError
from autolabel.images import read_image
from autolabel.manifest import Manifest
from model.crop import normalise, regions_from_boxes
from model.data import CACHE_BYTES
from model.draws import RandomNumbers

Cuts = Literal["auto", "people", "images"]
"""What a manifest gives: a crop of each person with a box, or of each image; ``auto``: people where it has any."""

_WIDE = math.sqrt(4 / 3)
"""A square canvas this much longer than the root of an area holds a 4:3 photograph of that area."""


@dataclass(frozen=True)
class ImageBatch:
    """B images or people, each on its own canvas.

    Attributes:
        canvas: (B, 3, Hc, Wc) uint8 RGB, black outside the image.
        frame: (B, 4) float32 xyxy edges in canvas pixels, 0 being the left or top edge of the first: crops lie in it.
        refused: Images that could not be read on the way here, and why; their places were taken by others.
    """

    canvas: Tensor
    frame: Tensor
    refused: Mapping[str, str]

    def __len__(self) -> int:
        """The number of images or people, B."""
        return len(self.canvas)

    def to(self, device: torch.device) -> "ImageBatch":
        """The same batch on a device."""
        return replace(self, canvas=self.canvas.to(device), frame=self.frame.to(device))

    def rows(self, rows: slice) -> "ImageBatch":
        """Some of them; what was refused is told with every part."""
        return replace(self, canvas=self.canvas[rows], frame=self.frame[rows])


@dataclass(frozen=True)
class _Part:
    """What is shown of an image: the xyxy edges of a rectangle that may reach beyond it; all of it where None."""

    image: str
    size: tuple[int, int]
    frame: tuple[float, float, float, float] | None


class ImageCrops(Dataset[ImageBatch]):
    """Every person with a box, or every image, of some manifests, as canvases.

    Indexed with a list of places, it gives the batch of those: the data loader is to be told ``batch_size=None`` and a
    sampler of such lists (:class:`model.batches.MixedBatches`). An image is decoded once for all of its people where
    canvases are kept, else once a crop.

    Args:
        manifests: The corpus.
        cuts: What each manifest gives.
        input_size: The network's (H, W).
        padding: How much a box is enlarged.
        area: Smallest and largest share of a frame that a crop will show: canvases are so large that neither is
            resampled by much.
        cache_bytes: Canvases are kept if all of them take no more than this. Each worker of a data loader keeps its
            own.

    Attributes:
        sizes: How many canvases each manifest gives; their places run through the manifests in order.

    Raises:
        InputError: A manifest gives none.
    """

    def __init__(
        self,
        manifests: Sequence[Manifest],
        *,
        cuts: Sequence[Cuts],
        input_size: tuple[int, int],
        padding: float,
        area: tuple[float, float],
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        found = [_parts(manifest, cut, input_size, padding) for manifest, cut in zip(manifests, cuts, strict=True)]
        self._parts = [part for parts in found for part in parts]
        self.sizes = [len(parts) for parts in found]
        self._ends = list(accumulate(self.sizes))
        self.canvas_size = _canvas_size(self._parts, input_size, area)
        self._cached = len(self) * 3 * self.canvas_size[0] * self.canvas_size[1] <= cache_bytes
        self._cache: dict[int, tuple[Tensor, Tensor]] = {}
        self._refused: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def names(self, places: Sequence[int]) -> list[str]:
        """The images' paths, for errors."""
        return [self._parts[place].image for place in places]

    def __getitem__(self, places: Sequence[int]) -> ImageBatch:
        """The batch at ``places``; where an image cannot be read, of the next one of its manifest that can.

        Raises:
            InputError: A manifest has no image that can be read.
        """
        refused: dict[str, str] = {}
        rows = [self._row(place, refused) for place in places]
        return ImageBatch(torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows]), refused)

    def _row(self, place: int, refused: dict[str, str]) -> tuple[Tensor, Tensor]:
        """Canvas (3, Hc, Wc) and frame (4,) at a place, or at the next that can be read, walking round its manifest."""
        end = next(end for end in self._ends if place < end)
        source = self._ends.index(end)
        first = end - self.sizes[source]
        for step in range(self.sizes[source]):
            candidate = first + (place - first + step) % self.sizes[source]
            image = self._parts[candidate].image
            if image not in self._refused:
                try:
                    return self._canvas(candidate)
                except ImageError as error:
                    self._refused[image] = error.message
            refused[image] = self._refused[image]
        image = self._parts[first].image
        raise InputError(
            f"{self._refused[image]}; and no other image of its manifest can be read",
            subject=image,
            remedy="Check where the corpus lies: a manifest keeps the folder that it was made from.",
        )

    def _canvas(self, place: int) -> tuple[Tensor, Tensor]:
        if place in self._cache:
            return self._cache[place]
        part = self._parts[place]
        image = read_image(part.image)
        if not self._cached:
            return _cut(image, part, self.canvas_size)
        # The people of an image stand side by side: all of them, while it is decoded.
        first, last = place, place + 1
        while first and self._parts[first - 1].image == part.image:
            first -= 1
        while last < len(self) and self._parts[last].image == part.image:
            last += 1
        self._cache |= {i: _cut(image, self._parts[i], self.canvas_size) for i in range(first, last)}
        return self._cache[place]


def random_crops(
    batch: ImageBatch,
    *,
    area: tuple[float, float],
    aspect: float,
    flip: float,
    input_size: tuple[int, int],
    draws: RandomNumbers,
) -> Tensor:
    """One random crop of each canvas: MAE's (a share of the area, another aspect, mirrored), within the frame.

    Args:
        batch: Canvases.
        area: Smallest and largest share of the frame.
        aspect: Largest factor by which width / height differs from the input's.
        flip: Share of mirrored crops.
        input_size: (H, W) of the crops.
        draws: Five numbers a crop are taken.

    Returns:
        (B, 3, H, W) float32, ImageNet-normalised.
    """
    drawn = draws.uniform(5)
    low, high = batch.frame[:, :2], batch.frame[:, 2:]
    whole = high - low
    share = area[0] + (area[1] - area[0]) * drawn[:, 0]
    ratio = input_size[1] / input_size[0] * aspect ** (2 * drawn[:, 1] - 1)
    pixels = share * whole.prod(dim=1)
    # What would be longer than its frame is as long as the frame.
    size = torch.minimum(torch.stack([(pixels * ratio).sqrt(), (pixels / ratio).sqrt()], dim=1), whole)
    centre = low + size / 2 + (whole - size) * drawn[:, 2:4]
    mirrored = torch.where(drawn[:, 4] < flip, -1.0, 1.0)
    canvas = batch.frame.new_tensor([batch.canvas.shape[3], batch.canvas.shape[2]])
    scale, offset = size / canvas, 2 * centre / canvas - 1  # affine_grid measures from edge to edge, -1 to 1
    theta = torch.diag_embed(torch.stack([scale[:, 0] * mirrored, scale[:, 1]], dim=1))
    theta = torch.cat([theta, offset[:, :, None]], dim=2)
    grid = F.affine_grid(theta, [len(batch), 3, *input_size], align_corners=False)
    crops = F.grid_sample(batch.canvas.float(), grid, padding_mode="border", align_corners=False)
    return normalise(crops)


def _parts(manifest: Manifest, cut: Cuts, input_size: tuple[int, int], padding: float) -> list[_Part]:
    """What a manifest gives, in its order.

    Raises:
        InputError: Nothing.
    """
    people = [] if cut == "images" else list(_people(manifest, input_size, padding))
    if cut == "people" and not people:
        raise InputError(
            "has no person with a box",
            subject=str(manifest.path),
            remedy='Give one made with boxes, or crops = "images" for crops of whole images.',
        )
    parts = people or [_Part(str(manifest.image_path(s)), s.size, None) for s in manifest]
    if not parts:
        raise InputError("has no images", subject=str(manifest.path), remedy="Scan a folder that has some.")
    return parts


def _people(manifest: Manifest, input_size: tuple[int, int], padding: float) -> Iterator[_Part]:
    for sample in manifest:
        boxes = sample.poses.box[~sample.poses.crowd & np.isfinite(sample.poses.box).all(axis=1)]
        if not len(boxes):
            continue
        path = str(manifest.image_path(sample))
        regions = regions_from_boxes(torch.tensor(boxes).double(), input_size=input_size, padding=padding)
        edges = torch.cat([regions.centre - regions.size / 2, regions.centre + regions.size / 2], dim=1)
        for x0, y0, x1, y1 in edges.tolist():
            yield _Part(path, sample.size, (x0, y0, x1, y1))


def _canvas_size(parts: Sequence[_Part], input_size: tuple[int, int], area: tuple[float, float]) -> tuple[int, int]:
    """(Hc, Wc) such that the smallest crop is enlarged as much as the largest is reduced."""
    detail = (area[0] * area[1]) ** -0.25
    height, width = (math.ceil(detail * side) for side in input_size)
    if all(part.frame is not None for part in parts):
        return height, width
    side = math.ceil(detail * math.sqrt(input_size[0] * input_size[1]) * _WIDE)
    if all(part.frame is None for part in parts):
        return side, side
    return max(height, side), max(width, side)


def _cut(image: NDArray[np.uint8], part: _Part, canvas_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The canvas (3, Hc, Wc) that shows a part, reduced to fit and never enlarged, and its frame (4,).

    Raises:
        ImageError: A box was given in an image of another size.
    """
    height, width = image.shape[:2]
    if part.frame is not None and (width, height) != part.size:
        raise ImageError(
            f"is {width}x{height} now, its boxes were given in {part.size[0]}x{part.size[1]}", subject=part.image
        )
    x0, y0, x1, y1 = part.frame or (0.0, 0.0, float(width), float(height))
    scale = min(canvas_size[1] / (x1 - x0), canvas_size[0] / (y1 - y0), 1.0)
    canvas = Image.new("RGB", (canvas_size[1], canvas_size[0]))
    inside = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if inside[0] < inside[2] and inside[1] < inside[3]:
        # Whole pixels of the canvas, which moves the picture by half of one at most: no label depends on it.
        left, top, right, bottom = (
            round(scale * (edge - start)) for edge, start in zip(inside, (x0, y0) * 2, strict=True)
        )
        size = (max(right - left, 1), max(bottom - top, 1))
        # Pillow's filter widens with the reduction, so that nothing aliases into what is to be predicted.
        canvas.paste(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box=inside), (left, top))
    pixels = torch.from_numpy(np.array(canvas)).permute(2, 0, 1).contiguous()
    return pixels, torch.tensor([0.0, 0.0, scale * (x1 - x0), scale * (y1 - y0)])
