"""Images with boxes in, batches of crops out, whichever images the people of a batch are in.

Everything that a person may be looked at in is cut at once, while the image is at hand: the first crop, the larger one
(:mod:`model.larger_crop`), the slightly other ones (:mod:`model.jitter`), and what the image shows around somebody whom
it may cut (:mod:`model.whole_box`). To keep the images until a batch has been predicted would take gigabytes.

A large photograph need not be decoded whole for people whose crops are coarse: a JPEG file gives a half, a quarter or
an eighth of itself in a fraction of the time. Each of its pixels is then the mean of those that it stands for, where a
crop of the whole image reads four in its neighbourhood and leaves the others out. Images below a megapixel are decoded
whole, because little would be gained: what is known of a network on COCO's images is known of just those pixels.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autolabel.errors import InputError
from autolabel.images import REDUCTIONS
from autolabel.stages import Stages
from model.config import ViTPoseConfig
from model.crop import Regions, crop, crop_matrices, of_reduced, regions_from_boxes
from model.jitter import LOOKS, jittered
from model.larger_crop import enlarged, sides_beyond
from model.whole_box import Surroundings, all_surroundings, first_look, image_edges

LARGE_PIXELS = 1_000_000
"""Smaller images are never reduced."""


@dataclass(frozen=True)
class Reduced:
    """An image that was decoded at a fraction of its size.

    Attributes:
        pixels: (3, h, w) uint8 RGB; the first is the mean of the image's first ``by`` x ``by``.
        size: (width, height) of the image itself, in whose pixels its boxes are.
        by: Pixels of the image by one of these, along each side.
    """

    pixels: Tensor
    size: tuple[int, int]
    by: int


Image = Tensor | Reduced
"""(3, H, W) uint8 RGB, or a fraction of such an image."""


@dataclass(frozen=True)
class Crops:
    """A batch, or less, of people.

    Attributes:
        crops: (n, 3, H, W) uint8, what is looked at first.
        larger: (m, 3, H, W) uint8, the larger crops of those m of whom there is more to see.
        jittered: (n, L, 3, H, W) uint8, the slightly other crops; L is 0 without jitter.
        about: n times what the image shows about a person whom it may cut, None for others.
        beyond: (n,) bool, who those m are.
        boxes: (n, 4) xyxy.
        looked: (n, 4) the boxes that were cropped, for a first look beyond the image larger than their own.
        image_size: (n, 2) width and height of each one's image.
    """

    crops: Tensor
    larger: Tensor
    jittered: Tensor
    about: tuple[Surroundings | None, ...]
    beyond: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    looked: NDArray[np.float64]
    image_size: NDArray[np.float64]


@dataclass(frozen=True)
class Cutter:
    """Cuts the crops that a network is to see.

    Attributes:
        config: Of the network.
        device: Where crops are cut.
        batch_size: People a batch.
        larger_crop: Cut larger crops too.
        whole_box: Let first looks go beyond the image, and keep what it shows around those people.
        jitter: Cut slightly other crops too.
        stages: Told of the time.
    """

    config: ViTPoseConfig
    device: torch.device
    batch_size: int
    larger_crop: bool
    whole_box: bool
    jitter: bool
    stages: Stages

    @property
    def looks(self) -> int:
        """L, slightly other crops a person."""
        return len(LOOKS) if self.jitter else 0

    def regions(self, boxes: NDArray[np.float64]) -> Regions:
        """What is cropped around boxes (n, 4)."""
        return regions_from_boxes(
            torch.tensor(boxes), input_size=self.config.input_size, padding=self.config.box_padding
        )

    def reduction(self, boxes: NDArray[np.float64], size: tuple[int, int]) -> int:
        """By how much a large image may be reduced: no crop then has more pixels than it reads.

        Args:
            boxes: (n, 4) of all its people.
            size: (width, height) of the image.

        Returns:
            One of :data:`autolabel.images.REDUCTIONS`, or 1.
        """
        if not len(boxes) or size[0] * size[1] < LARGE_PIXELS:
            return 1
        if self.whole_box and np.any(self._looked(boxes, _sizes(size, len(boxes))) != boxes):
            return 1  # whose surroundings are kept, as finely as they are
        every = np.concatenate([boxes, jittered(boxes)[:, : self.looks].reshape(-1, 4)])
        coarsest = float(self.regions(every).size[:, 1].min()) / self.config.input_size[0]
        return next((by for by in REDUCTIONS if by <= coarsest), 1)

    def batches(self, images: Iterable[tuple[Image, NDArray[np.float64]]]) -> Generator[Crops]:
        """Cut crops of images and their boxes (n, 4), and hand them on a batch at a time."""
        cut, room = list[Crops](), self.batch_size
        for image, boxes in self.stages.each("wait for images", images):
            whole = Reduced(image, (image.shape[2], image.shape[1]), 1) if isinstance(image, Tensor) else image
            on_device = Reduced(whole.pixels.to(self.device), whole.size, whole.by)
            left = boxes
            while len(left):
                now, left = left[:room], left[room:]
                with self.stages("cut crops"):
                    cut.append(self._cut(on_device, now))
                    if self.stages.exact and self.device.type == "cuda":
                        torch.cuda.synchronize(self.device)
                room -= len(now)
                if room == 0:
                    yield _joined(cut)
                    cut, room = [], self.batch_size
        if cut:
            yield _joined(cut)

    def _cut(self, image: Reduced, boxes: NDArray[np.float64]) -> Crops:
        """Crops around boxes of one image."""
        input_size, codec = self.config.input_size, self.config.codec
        image_size = _sizes(image.size, len(boxes))
        looked = self._looked(boxes, image_size)
        beyond = np.zeros(len(boxes), bool)
        about: tuple[Surroundings | None, ...] = (None,) * len(boxes)
        regions = self.regions(looked)
        if np.any(another := np.any(looked != boxes, axis=1)):
            if image.by > 1:
                raise InputError("is reduced, and may cut people: their surroundings are wanted", subject="an image")
            zoom = input_size[0] / self.regions(boxes).size[:, 1]
            about = all_surroundings(image.pixels, regions, zoom, another)
        if self.larger_crop:
            beyond = np.any(sides_beyond(regions.edges(), image_size, self.config.heatmap_size), axis=1)
        # Further looks before it is known who needs them, because the alternative is to keep a whole batch's images.
        further = np.concatenate([enlarged(looked[beyond]), jittered(looked)[:, : self.looks].reshape(-1, 4)])
        if len(further):
            regions = self.regions(np.concatenate([looked, further]))
        matrices = of_reduced(crop_matrices(regions, input_size=input_size, codec=codec), image.by)
        crops = crop(image.pixels, matrices, input_size)
        first, larger, slightly = crops.split([len(boxes), int(beyond.sum()), len(boxes) * self.looks])
        slightly = slightly.unflatten(0, (len(boxes), self.looks))
        return Crops(first, larger, slightly, about, beyond, boxes, looked, image_size)

    def _looked(self, boxes: NDArray[np.float64], image_size: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 4) what is looked at first of people in boxes (n, 4) of images of sizes (n, 2)."""
        if not self.whole_box:
            return boxes
        return first_look(torch.from_numpy(boxes), image_edges(torch.from_numpy(image_size))).numpy()


def _sizes(size: tuple[int, int], count: int) -> NDArray[np.float64]:
    """(count, 2) times the same size."""
    return np.tile(np.array(size, np.float64), (count, 1))


def _joined(parts: Sequence[Crops]) -> Crops:
    named = ("beyond", "boxes", "looked", "image_size")
    return Crops(
        torch.cat([part.crops for part in parts]),
        torch.cat([part.larger for part in parts]),
        torch.cat([part.jittered for part in parts]),
        tuple(one for part in parts for one in part.about),
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in named},
    )
