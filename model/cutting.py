"""Images with boxes in, batches of crops out, whichever images the people of a batch are in.

Everything that a person may be looked at in is cut at once, while the images are at hand: the first crop, the larger
one (:mod:`model.larger_crop`), the slightly other ones (:mod:`model.jitter`), and what the image shows around somebody
whom it may cut (:mod:`model.whole_box`). To keep the images until a batch has been predicted would take gigabytes.

A large photograph need not be decoded whole for people whose crops are coarse: a JPEG file gives a half, a quarter or
an eighth of itself in a fraction of the time. Each of its pixels is then the mean of those that it stands for, where a
crop of the whole image reads four in its neighbourhood and leaves the others out. Images below a megapixel are decoded
whole, because little would be gained: what is known of a network on COCO's images is known of just those pixels.
"""

from collections.abc import Generator, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autolabel.errors import InputError
from autolabel.images import REDUCTIONS
from autolabel.stages import Stages
from model.config import ViTPoseConfig
from model.crop import Regions, crop_each, crop_matrices, of_reduced, regions_from_boxes
from model.jitter import LOOKS, jittered
from model.larger_crop import enlarged, sides_beyond
from model.whole_box import Surroundings, first_look, image_edges, surroundings

LARGE_PIXELS = 1_000_000
"""Smaller images are never reduced."""

HELD_PIXELS = 16_000_000
"""Crops are cut when a batch is full, or when its images have so many pixels together."""


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


class _Held(NamedTuple):
    """An image, and the boxes (n, 4) around which it is to be cut; full-image pixels."""

    image: Reduced
    boxes: NDArray[np.float64]


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
        ready: When a GPU will have cut them; None on a CPU, where they are.
    """

    crops: Tensor
    larger: Tensor
    jittered: Tensor
    about: tuple[Surroundings | None, ...]
    beyond: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    looked: NDArray[np.float64]
    image_size: NDArray[np.float64]
    ready: torch.cuda.Event | None = None

    def handed_over(self) -> "Crops":
        """The same, for whoever goes on with them in a GPU's current stream; the program does not wait."""
        if self.ready is not None:
            stream = torch.cuda.current_stream(self.crops.device)
            stream.wait_event(self.ready)
            for tensor in (self.crops, self.larger, self.jittered):
                tensor.record_stream(stream)
        return self


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
        stream: Of a GPU, in which crops are cut beside the network's own; None on a CPU.
    """

    config: ViTPoseConfig
    device: torch.device
    batch_size: int
    larger_crop: bool
    whole_box: bool
    jitter: bool
    stages: Stages
    stream: torch.cuda.Stream | None = None

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
        """Cut crops of images and their boxes (n, 4), and hand them on a batch at a time.

        Of a GPU's crops it is not waited that they are cut; see :meth:`Crops.handed_over`.
        """
        cut, held, room, pixels = list[Crops](), list[_Held](), self.batch_size, 0
        for image, boxes in self.stages.each("wait for images", images):
            whole = Reduced(image, (image.shape[2], image.shape[1]), 1) if isinstance(image, Tensor) else image
            left = boxes
            while len(left):
                now, left = left[:room], left[room:]
                held.append(_Held(whole, now))
                room, pixels = room - len(now), pixels + whole.pixels[0].numel()
                if room and pixels < HELD_PIXELS:
                    continue
                cut, held, pixels = [*cut, self._cut(held)], [], 0
                if room == 0:
                    yield self._batch(cut)
                    cut, room = [], self.batch_size
        if held:
            cut.append(self._cut(held))
        if cut:
            yield self._batch(cut)

    def _batch(self, cut: Sequence[Crops]) -> Crops:
        if self.stream is None:
            return _joined(cut)
        with torch.cuda.stream(self.stream):
            joined, ready = _joined(cut), torch.cuda.Event()
            self.stream.record_event(ready)
            return replace(joined, ready=ready)

    def _cut(self, held: "Sequence[_Held]") -> Crops:
        """Crops around boxes of some images."""
        with self.stages("cut crops"), nullcontext() if self.stream is None else torch.cuda.stream(self.stream):
            cut = self._cut_all(held)
            if self.stages.exact and self.stream is not None:
                self.stream.synchronize()
            return cut

    def _cut_all(self, held: "Sequence[_Held]") -> Crops:
        input_size, codec = self.config.input_size, self.config.codec
        counts = [len(one.boxes) for one in held]
        owner = np.repeat(np.arange(len(held)), counts)
        boxes = np.concatenate([one.boxes for one in held])
        image_size = np.array([one.image.size for one in held], np.float64)[owner]
        looked = self._looked(boxes, image_size)
        regions = self.regions(looked)
        beyond = np.zeros(len(boxes), bool)
        if self.larger_crop:
            beyond = np.any(sides_beyond(regions.edges(), image_size, self.config.heatmap_size), axis=1)
        about = self._about(held, owner, boxes, looked, regions)
        # Further looks before it is known who needs them, because the alternative is to keep a whole batch's images.
        around = [looked, enlarged(looked[beyond]), jittered(looked)[:, : self.looks].reshape(-1, 4)]
        owner = np.concatenate([owner, owner[beyond], owner.repeat(self.looks)])
        if len(owner) > len(boxes):
            regions = self.regions(np.concatenate(around))
        by = torch.tensor([one.image.by for one in held])[torch.from_numpy(owner)]
        matrices = of_reduced(crop_matrices(regions, input_size=input_size, codec=codec), by)
        crops = crop_each(
            [one.image.pixels for one in held], torch.from_numpy(owner), matrices, input_size, self.device
        )
        first, larger, slightly = crops.split([len(boxes), int(beyond.sum()), len(boxes) * self.looks])
        slightly = slightly.unflatten(0, (len(boxes), self.looks))
        return Crops(first, larger, slightly, about, beyond, boxes, looked, image_size)

    def _about(
        self,
        held: "Sequence[_Held]",
        owner: NDArray[np.intp],
        boxes: NDArray[np.float64],
        looked: NDArray[np.float64],
        regions: Regions,
    ) -> tuple[Surroundings | None, ...]:
        """What the images show about those of N people whose first look, ``regions``, is not their box."""
        about: list[Surroundings | None] = [None] * len(boxes)
        another = np.flatnonzero(np.any(looked != boxes, axis=1))
        if not len(another):
            return tuple(about)
        zooms = (self.config.input_size[0] / self.regions(boxes[another]).size[:, 1]).tolist()
        for row, zoom in zip(another.tolist(), zooms, strict=True):
            image = held[int(owner[row])].image
            if image.by > 1:
                raise InputError("is reduced, and may cut people: their surroundings are wanted", subject="an image")
            about[row] = surroundings(image.pixels, regions.centre[row], float(regions.size[row, 1]), zoom)
        return tuple(about)

    def _looked(self, boxes: NDArray[np.float64], image_size: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 4) what is looked at first of people in boxes (n, 4) of images of sizes (n, 2)."""
        if not self.whole_box:
            return boxes
        return first_look(torch.from_numpy(boxes), image_edges(torch.from_numpy(image_size))).numpy()


def _sizes(size: tuple[int, int], count: int) -> NDArray[np.float64]:
    """(count, 2) times the same size."""
    return np.tile(np.array(size, np.float64), (count, 1))


def _joined(parts: Sequence[Crops]) -> Crops:
    def every(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    return Crops(
        torch.cat([part.crops for part in parts]),
        torch.cat([part.larger for part in parts]),
        torch.cat([part.jittered for part in parts]),
        tuple(one for part in parts for one in part.about),
        every("beyond"),
        every("boxes"),
        every("looked"),
        every("image_size"),
    )
