"""Training crops: from a manifest's images and labels to batches that the device augments.

An image is decoded once for each of its people, cut to a *canvas* (the padded box with enough margin for every
rotation and scale that augmentation may draw, at about the network's resolution), and the canvas is what a batch
holds. Augmentation is then one affine map and one resampling for the whole batch, on the device
(``model/augment.py``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from autolabel.errors import InputError
from autolabel.images import read_image
from autolabel.manifest import Manifest
from autolabel.poses import Visibility
from model.crop import apply, crop, regions_from_boxes

CACHE_BYTES = 2 * 2**30
"""Canvases are kept in memory as long as all of them fit in this."""


@dataclass(frozen=True)
class PoseBatch:
    """B people, each on its own canvas.

    Attributes:
        canvas: (B, 3, Hc, Wc) uint8 RGB.
        box: (B, 4) xyxy in canvas pixels.
        xy: (B, K, 2) float32 in canvas pixels; 0 where there is no coordinate.
        visibility: (B, K) uint8, see ``autolabel.poses.Visibility``.
    """

    canvas: Tensor
    box: Tensor
    xy: Tensor
    visibility: Tensor

    def to(self, device: torch.device) -> "PoseBatch":
        """The same batch on a device."""
        return PoseBatch(*(t.to(device) for t in (self.canvas, self.box, self.xy, self.visibility)))


@dataclass(frozen=True)
class _Person:
    image: str
    box: np.ndarray
    xy: np.ndarray
    visibility: np.ndarray


class PoseCrops(Dataset[PoseBatch]):
    """Every labelled pose of some manifests, as canvases.

    Args:
        manifests: Where the poses come from. Poses without a box, crowds, and poses in which nothing is labelled
            or absent are left out.
        input_size: The network's (H, W).
        padding: How much the box is enlarged before it fills the input.
        margin: How much larger than the padded box the canvas is, along each side.

    Attributes:
        people: All of them, manifest after manifest.
        sizes: How many there are of each manifest.

    Raises:
        InputError: Nothing is left to train on in one of them.
    """

    def __init__(
        self, manifests: Sequence[Manifest], *, input_size: tuple[int, int], padding: float, margin: float
    ) -> None:
        people = [list(_people(manifest)) for manifest in manifests]
        for manifest, found in zip(manifests, people, strict=True):
            if not found:
                raise InputError(
                    "no labelled pose with a box",
                    subject=str(manifest.path),
                    remedy="Training needs poses whose keypoints are visible, hidden or absent.",
                )
        self.people = [person for found in people for person in found]
        self.sizes = [len(found) for found in people]
        self.input_size = input_size
        self.padding = padding
        self.margin = margin
        self.canvas_size = (round(input_size[0] * margin), round(input_size[1] * margin))
        size = 3 * self.canvas_size[0] * self.canvas_size[1]
        self._cache: dict[int, PoseBatch] | None = {} if size * len(self.people) <= CACHE_BYTES else None

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, i: int) -> PoseBatch:
        return self.__getitems__([i])

    def __getitems__(self, indices: list[int]) -> PoseBatch:
        """A batch; the data loader asks for whole batches at once."""
        rows = [self._row(i) for i in indices]
        return PoseBatch(
            *(
                torch.cat([getattr(row, name) for row in rows])
                for name in ("canvas", "box", "xy", "visibility")
            )
        )

    def _row(self, i: int) -> PoseBatch:
        if self._cache is None:
            return self._canvas(self.people[i])
        if i not in self._cache:
            self._cache[i] = self._canvas(self.people[i])
        return self._cache[i]

    def _canvas(self, person: _Person) -> PoseBatch:
        """Cut the canvas by translation where the person is small, by one bilinear reduction where it is large.

        A small person is not enlarged here, so that augmentation resamples its original pixels.
        """
        image = torch.from_numpy(read_image(person.image)).permute(2, 0, 1)
        box = torch.tensor(person.box)[None]
        region = regions_from_boxes(box, input_size=self.input_size, padding=self.padding)
        scale = (self.input_size[1] / region.size[0, 0]).clamp(max=1.0).item()
        height, width = self.canvas_size
        centre = region.centre[0].double()
        shift = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64) - scale * centre
        matrix = torch.eye(2, 3, dtype=torch.float64) * scale
        matrix[:, 2] = shift
        matrices = matrix[None].to(region.centre.dtype)
        corners = apply(matrices, box.reshape(1, 2, 2).to(matrices.dtype))
        xy = torch.from_numpy(np.nan_to_num(person.xy))[None].to(matrices.dtype)
        return PoseBatch(
            canvas=crop(image, matrices, self.canvas_size),
            box=corners.reshape(1, 4).float(),
            xy=apply(matrices, xy).float(),
            visibility=torch.tensor(person.visibility)[None],
        )


class MixedBatches(Sampler[list[int]]):
    """Batches with a fixed share of each source, without end, the same for the same seed.

    Every source is walked in random permutations of its own, so that a small source is seen evenly however
    large the others are. Batch ``n`` depends on the seed and ``n`` alone: training resumes anywhere.

    Args:
        sizes: Number of items of each source; item indices run through the sources in order.
        shares: Relative number of items of each source in a batch.
        batch_size: Items a batch.
        start: The first batch.
        stop: One past the last batch.
        seed: Of the permutations.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        shares: Sequence[float],
        *,
        batch_size: int,
        start: int,
        stop: int,
        seed: int,
    ) -> None:
        self.sizes = list(sizes)
        self.counts = _apportion(shares, batch_size)
        self.start, self.stop, self.seed = start, stop, seed
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[int]]:
        for n in range(self.start, self.stop):
            first, batch = 0, list[int]()
            for source, (size, count) in enumerate(zip(self.sizes, self.counts, strict=True)):
                batch += [first + self._item(source, size, n * count + j) for j in range(count)]
                first += size
            yield batch

    def _item(self, source: int, size: int, position: int) -> int:
        turn, place = divmod(position, size)
        if source not in self._orders or self._orders[source][0] != turn:
            order = np.random.default_rng([self.seed, source, turn]).permutation(size)
            self._orders[source] = (turn, order)
        return int(self._orders[source][1][place])


def _apportion(shares: Sequence[float], total: int) -> list[int]:
    """Whole numbers that sum to ``total``, nearest to the shares (largest remainder)."""
    exact = np.asarray(shares, dtype=np.float64) / np.sum(shares) * total
    counts = np.floor(exact).astype(int)
    for i in np.argsort(counts - exact)[: total - counts.sum()]:
        counts[i] += 1
    return counts.tolist()


def _people(manifest: Manifest) -> Iterator[_Person]:
    for sample in manifest:
        poses = sample.poses
        said = (poses.visibility != Visibility.UNLABELLED).any(axis=1)
        usable = said & ~poses.crowd & np.isfinite(poses.box).all(axis=1)
        path = str(manifest.image_path(sample)) if usable.any() else ""
        for i in np.flatnonzero(usable):
            yield _Person(path, poses.box[i], poses.xy[i], poses.visibility[i])
