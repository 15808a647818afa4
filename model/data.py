"""Training crops: from a manifest's images and labels to batches that the device augments.

Each person is cut to a *canvas*: the padded box with room for every rotation, scale and shift that augmentation may
draw, as far as the image reaches. A batch holds canvases; augmentation is then one affine map and one resampling of the
whole batch, on the device (``model/augment.py``). A canvas has at most ``detail`` times the network's resolution: crops
that show a part of the person enlarge it, and what the image has to show is not to be lost before. Canvases are kept in
memory where all of them fit, so that an image is decoded once for each of its people and not once an epoch.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from autolabel.errors import ImageError, InputError
from autolabel.images import read_image
from autolabel.manifest import Manifest
from autolabel.poses import FILLED, Visibility
from model.crop import crop, regions_from_boxes

CACHE_BYTES = 2 * 2**30
"""Canvases are kept in memory as long as all of them fit in this."""

BATCH_BYTES = 2**30
"""Canvases of one batch take no more than this, if they can be had with less detail."""

DETAIL = 2.0
"""Canvas pixels per pixel of the network's input, for a person who is that large in the image. With 2, the smallest
scale of the official recipe (half the box) still finds a pixel of the image for each of its own."""


FILLED_WEIGHT = math.sqrt(0.5)
"""Weight of a keypoint that a network filled in; squared, as the heatmaps' loss has it, it counts half."""


@dataclass(frozen=True)
class PoseBatch:
    """B people, each on its own canvas; pixel centres at integers, edges half a pixel from them.

    K is that of the largest skeleton among the data; a keypoint beyond a person's own skeleton is unlabelled.

    Attributes:
        canvas: (B, 3, Hc, Wc) uint8 RGB, black outside the image.
        box: (B, 4) float32 xyxy in canvas pixels.
        xy: (B, K, 2) float32 in canvas pixels; without meaning where there is no coordinate.
        visibility: (B, K) uint8, see :class:`autolabel.poses.Visibility`.
        dataset: (B,) int64, the network's head that the labels are for.
        image: (B, 4) float32 xyxy edges of the image in canvas pixels; it may reach beyond the canvas.
        tells_hidden: (B,) bool, whether the labels come from somebody who said of some keypoints that they are hidden.
            Where nobody ever did, "visible" means no more than "labelled".
        trust: (B, K) float32 weight of what is said of each keypoint: 1, or less where a network filled it in.
    """

    canvas: Tensor
    box: Tensor
    xy: Tensor
    visibility: Tensor
    dataset: Tensor
    image: Tensor
    tells_hidden: Tensor
    trust: Tensor

    def __len__(self) -> int:
        """The number of people, B."""
        return len(self.canvas)

    def to(self, device: torch.device) -> "PoseBatch":
        """The same batch on a device; a GPU is not waited for, so that a pinned batch is copied while it computes."""
        # Only there: what comes from a GPU without waiting may not have come yet when it is read.
        soon = device.type == "cuda"
        return PoseBatch(*(getattr(self, field.name).to(device, non_blocking=soon) for field in fields(self)))

    def pin_memory(self) -> "PoseBatch":
        """The same batch in memory that a GPU can copy from by itself; ``DataLoader(pin_memory=True)`` calls this."""
        return PoseBatch(*(getattr(self, field.name).pin_memory() for field in fields(self)))

    def rows(self, rows: slice | Tensor) -> "PoseBatch":
        """Some of the people."""
        return PoseBatch(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class _Person:
    """A pose and its image, of which ``source`` tells the manifest; ``image_size`` is (W, H)."""

    source: int
    image: str
    image_size: tuple[int, int]
    box: NDArray[np.float64]
    xy: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    trust: NDArray[np.float32]


@dataclass(frozen=True)
class _Places:
    """The parts of their images that the canvases of N people show.

    Attributes:
        scale: (N,) float64 canvas pixels per image pixel, at most 1.
        corner: (N, 2) int64 x and y of the canvas' first pixel in the scaled image.
        size: (N, 2) int64 (Hc, Wc) of each person's own canvas.
    """

    scale: NDArray[np.float64]
    corner: NDArray[np.int64]
    size: NDArray[np.int64]


class PoseCrops(Dataset[PoseBatch]):
    """Every labelled pose of some manifests, as canvases; of some, every pose that has a box.

    Indexed with a list of places, it gives the batch of those people: the data loader is to be told
    ``batch_size=None`` and a sampler of such lists (:class:`model.batches.MixedBatches`).

    Args:
        manifests: Where the poses come from. Poses without a box, crowds, and poses in which nothing is labelled
            or absent are left out.
        datasets: Which head of the network each manifest is for; empty where all are for the first.
        unlabelled: Which of the manifests are taken as without labels. Of their poses all that have a box are there;
            what is said of keypoints has no weight, and only tells augmentation where there are joints to cut between.
        input_size: The network's (H, W).
        padding: How much the box is enlarged before it fills the input.
        canvas_size: Largest (Hc, Wc) of a canvas; see :meth:`model.augment.Augmentation.canvas_size`.
        detail: Canvas pixels per input pixel for which ``canvas_size`` was computed. It is reduced, to 1 at least,
            until a batch of the largest canvases among the people fits in ``batch_bytes``.
        batch_size: People a batch, for ``batch_bytes``. Give that of a whole step, over all processes: detail, and
            with it the crops, then does not depend on their number.
        batch_bytes: Most bytes of a batch's canvases.
        cache_bytes: Canvases are kept if all of them take no more than this. Each worker of a data loader keeps
            its own.

    Attributes:
        sizes: How many people each manifest gave; their places run through the manifests in order.
        num_keypoints: K, of the largest skeleton.
        detail: As it was reduced.
        note: What was reduced and why, a sentence to be shown; empty where nothing was.

    Raises:
        InputError: One of them has no labelled keypoint to train on.
    """

    def __init__(
        self,
        manifests: Sequence[Manifest],
        *,
        datasets: Sequence[int] = (),
        unlabelled: Collection[int] = (),
        input_size: tuple[int, int],
        padding: float,
        canvas_size: tuple[int, int],
        detail: float = DETAIL,
        batch_size: int = 1,
        batch_bytes: int = BATCH_BYTES,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        people = [
            list(_people(manifest, source, labelled=source not in unlabelled))
            for source, manifest in enumerate(manifests)
        ]
        for source, (manifest, found) in enumerate(zip(manifests, people, strict=True)):
            _require_people(found, manifest, labelled=source not in unlabelled)
        self._datasets = torch.tensor(list(datasets) or [0] * len(manifests))
        self._tells_hidden = torch.tensor([any(_says_hidden(person) for person in found) for found in people])
        self._people = [person for found in people for person in found]
        self.sizes = [len(found) for found in people]
        self.num_keypoints = max(manifest.skeleton.num_keypoints for manifest in manifests)
        cut = _Cut(self._people, input_size, padding, canvas_size, detail)
        self._places, self.detail = _fitting(cut, detail, batch_bytes / batch_size)
        self.note = _reduced(self._places, detail, self.detail, batch_size) if self.detail < detail else ""
        self._cached = 3 * int(self._places.size.prod(axis=1).sum()) <= cache_bytes
        self._cache: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._people)

    def __getitem__(self, places: Sequence[int]) -> PoseBatch:
        """The batch of the people at ``places``; its canvas is as large as the largest of theirs.

        Raises:
            ImageError: An image cannot be read, or has another size than the manifest says.
        """
        people = [self._people[place] for place in places]
        chosen = list(places)
        scale, corner = self._places.scale[chosen], self._places.corner[chosen]
        height, width = self._places.size[chosen].max(axis=0).tolist()
        canvas = torch.zeros(len(people), 3, height, width, dtype=torch.uint8)
        xy = np.zeros((len(people), self.num_keypoints, 2), np.float32)
        visibility = np.full((len(people), self.num_keypoints), Visibility.UNLABELLED, np.uint8)
        trust = np.ones(visibility.shape, np.float32)
        for i, (place, person) in enumerate(zip(places, people, strict=True)):
            own = self._canvas(place)
            canvas[i, :, : own.shape[1], : own.shape[2]] = own
            known = len(person.visibility)
            xy[i, :known] = np.nan_to_num(person.xy) * scale[i] - corner[i]
            visibility[i, :known] = person.visibility
            trust[i, :known] = person.trust
        source = torch.tensor([person.source for person in people])
        box = np.stack([person.box for person in people])
        size = np.array([person.image_size for person in people])
        edges = np.concatenate([np.full((len(people), 2), -0.5), size - 0.5], axis=1)

        def on_canvas(rectangle: NDArray[np.float64]) -> Tensor:
            return torch.tensor(rectangle * scale[:, None] - np.tile(corner, 2), dtype=torch.float32)

        return PoseBatch(
            canvas=canvas,
            box=on_canvas(box),
            xy=torch.from_numpy(xy),
            visibility=torch.from_numpy(visibility),
            dataset=self._datasets[source],
            image=on_canvas(edges),
            tells_hidden=self._tells_hidden[source],
            trust=torch.from_numpy(trust),
        )

    def names(self, places: Sequence[int]) -> list[str]:
        """The images of the people at ``places``."""
        return [self._people[place].image for place in places]

    def _canvas(self, place: int) -> Tensor:
        canvas = self._cache.get(place)
        if canvas is None:
            at = self._places
            x, y = at.corner[place].tolist()
            height, width = at.size[place].tolist()
            canvas = _cut_canvas(self._people[place], float(at.scale[place]), (x, y), (height, width))
            if self._cached:
                self._cache[place] = canvas
        return canvas


class _Cut:
    """How canvases are cut; see :class:`PoseCrops`.

    Args:
        people: N people.
        input_size: (H, W).
        padding: About their boxes.
        canvas_size: Largest (Hc, Wc) of a canvas with ``detail``; in proportion with another one.
        detail: Canvas pixels per input pixel.
    """

    def __init__(
        self,
        people: Sequence[_Person],
        input_size: tuple[int, int],
        padding: float,
        canvas_size: tuple[int, int],
        detail: float,
    ) -> None:
        regions = regions_from_boxes(
            torch.tensor(np.stack([person.box for person in people])), input_size=input_size, padding=padding
        )
        self._centre, self._padded = regions.centre.numpy(), regions.size.numpy()
        self._image = np.array([person.image_size for person in people])
        self._width = input_size[1]
        self._extent = np.array(canvas_size[::-1]) / detail

    def __call__(self, detail: float) -> _Places:
        needed = self._padded[:, :1] / (detail * self._width)  # image pixels per canvas pixel
        scale = np.minimum(1 / needed, 1.0)
        centre = self._centre * scale
        half = np.ceil(np.round(self._extent * detail, 3)) * needed * scale / 2
        # Only what the image has: the rest of a canvas is black and needs no memory.
        last = np.ceil(self._image * scale) - 1
        low = np.clip(np.floor(centre - half), 0, last).astype(np.int64)
        size = np.clip(np.ceil(centre + half), 0, last).astype(np.int64) - low + 1
        return _Places(scale[:, 0], low, size[:, ::-1])


def _fitting(cut: _Cut, detail: float, most: float) -> tuple[_Places, float]:
    """Canvases of which none needs more than ``most`` bytes in a batch with the others, and their detail."""
    while True:
        places = cut(detail)
        if detail <= 1 or 3 * math.prod(places.size.max(axis=0).tolist()) <= most:
            return places, detail
        detail = max(1.0, 0.9 * detail)


def _reduced(places: _Places, wanted: float, detail: float, batch_size: int) -> str:
    height, width = places.size.max(axis=0).tolist()
    return (
        f"People are kept with detail {detail:.2g} instead of {wanted:g}, to save memory: "
        f"{batch_size} of them in a batch take up to {batch_size * 3 * height * width / 2**20:,.0f} MiB."
    )


def _says_hidden(person: _Person) -> bool:
    """Whether somebody, and not a network that filled it in, said of a keypoint that it is hidden."""
    return bool(((person.visibility == Visibility.HIDDEN) & (person.trust == 1)).any())


def _require_people(people: Sequence[_Person], manifest: Manifest, *, labelled: bool) -> None:
    if labelled and not any(np.isin(one.visibility, (Visibility.VISIBLE, Visibility.HIDDEN)).any() for one in people):
        raise InputError(
            "no labelled keypoint to train on",
            subject=str(manifest.path),
            remedy="Training needs poses with a box, whose keypoints are visible or hidden.",
        )
    if not people:
        raise InputError(
            "nobody with a box to learn from",
            subject=str(manifest.path),
            remedy="Import people with boxes, or give boxes to `autolabel predict --boxes`.",
        )


def _people(manifest: Manifest, source: int, *, labelled: bool) -> Iterator[_Person]:
    names = manifest.skeleton.keypoints
    for sample in manifest:
        poses = sample.poses
        stated = (poses.visibility != Visibility.UNLABELLED).any(axis=1) | (not labelled)
        usable = np.flatnonzero(stated & ~poses.crowd & np.isfinite(poses.box).all(axis=1))
        path = str(manifest.image_path(sample)) if len(usable) else ""
        for i in usable:
            told = np.isin(names, poses.attributes[i].get(FILLED, ()))
            trust = np.where(told, FILLED_WEIGHT, 1).astype(np.float32) * labelled
            yield _Person(source, path, sample.size, poses.box[i], poses.xy[i], poses.visibility[i], trust)


def _cut_canvas(person: _Person, scale: float, corner: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The person's own canvas, (3, Hc, Wc) uint8.

    The image's own pixels where the person is small, so that augmentation resamples these; where the person is
    large, one bilinear reduction, as prediction cuts a crop.
    """
    image = read_image(person.image)
    if image.shape[1::-1] != person.image_size:
        raise ImageError(
            f"is {image.shape[1]}x{image.shape[0]} now, it was labelled as "
            f"{person.image_size[0]}x{person.image_size[1]}",
            subject=person.image,
            remedy="Restore the image, or scan and label it anew.",
        )
    planes = torch.from_numpy(image).permute(2, 0, 1)
    (height, width), (x, y) = size, corner
    if scale == 1.0:
        return planes[:, y : y + height, x : x + width].contiguous()
    matrix = torch.tensor([[[scale, 0, -x], [0, scale, -y]]], dtype=torch.float64)
    return crop(planes, matrix, size)[0]
