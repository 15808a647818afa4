"""Training crops: from a manifest's images and labels to batches that the device augments.

Each person is cut to a *canvas* at about the network's resolution: the padded box with margins for every rotation
and scale that augmentation may draw. A batch holds canvases; augmentation is then one affine map and one resampling
of the whole batch, on the device (``model/augment.py``). Canvases are kept in memory where all of them fit, so that
an image is decoded once for each of its people and not once an epoch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from autolabel.errors import ConfigError, ImageError, InputError
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
        canvas: (B, 3, Hc, Wc) uint8 RGB, black outside the image.
        box: (B, 4) float32 xyxy in canvas pixels, centres at integers.
        xy: (B, K, 2) float32 in canvas pixels; without meaning where there is no coordinate.
        visibility: (B, K) uint8, see :class:`autolabel.poses.Visibility`.
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
    image_size: tuple[int, int]
    box: NDArray[np.float64]
    xy: NDArray[np.float32]
    visibility: NDArray[np.uint8]


class PoseCrops(Dataset[PoseBatch]):
    """Every labelled pose of some manifests, as canvases.

    Indexed with a list of places, it gives the batch of those people: the data loader is to be told
    ``batch_size=None`` and a sampler of such lists (:class:`MixedBatches`).

    Args:
        manifests: Where the poses come from. Poses without a box, crowds, and poses in which nothing is labelled
            or absent are left out.
        input_size: The network's (H, W).
        padding: How much the box is enlarged before it fills the input.
        canvas_size: (Hc, Wc) of the canvases; see :meth:`model.augment.Augmentation.canvas_size`.
        cache_bytes: Canvases are kept if all of them take no more than this. Each worker of a data loader keeps
            its own.

    Attributes:
        sizes: How many people each manifest gave; their places run through the manifests in order.

    Raises:
        InputError: Nothing is left to train on in one of them.
    """

    def __init__(
        self,
        manifests: Sequence[Manifest],
        *,
        input_size: tuple[int, int],
        padding: float,
        canvas_size: tuple[int, int],
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        people = [list(_people(manifest)) for manifest in manifests]
        for manifest, found in zip(manifests, people, strict=True):
            if not found:
                raise InputError(
                    "no labelled pose with a box",
                    subject=str(manifest.path),
                    remedy="Training needs poses whose keypoints are visible, hidden or absent.",
                )
        self._people = [person for found in people for person in found]
        self.sizes = [len(found) for found in people]
        self.input_size = input_size
        self.padding = padding
        self.canvas_size = canvas_size
        self._cached = len(self) * 3 * canvas_size[0] * canvas_size[1] <= cache_bytes
        self._cache: dict[int, PoseBatch] = {}

    def __len__(self) -> int:
        return len(self._people)

    def __getitem__(self, places: Sequence[int]) -> PoseBatch:
        """The batch of the people at ``places``.

        Raises:
            ImageError: An image cannot be read, or has another size than the manifest says.
        """
        rows = [self._row(place) for place in places]
        return PoseBatch(
            canvas=torch.cat([row.canvas for row in rows]),
            box=torch.cat([row.box for row in rows]),
            xy=torch.cat([row.xy for row in rows]),
            visibility=torch.cat([row.visibility for row in rows]),
        )

    def _row(self, place: int) -> PoseBatch:
        row = self._cache.get(place)
        if row is None:
            row = self._cut(self._people[place])
            if self._cached:
                self._cache[place] = row
        return row

    def _cut(self, person: _Person) -> PoseBatch:
        """Cut the canvas: by translation where the person is small, by one bilinear reduction where it is large.

        A small person is not enlarged here, so that augmentation resamples its original pixels.
        """
        image = read_image(person.image)
        if image.shape[1::-1] != person.image_size:
            raise ImageError(
                f"is {image.shape[1]}x{image.shape[0]} now, it was labelled as "
                f"{person.image_size[0]}x{person.image_size[1]}",
                subject=person.image,
                remedy="Restore the image, or scan and label it anew.",
            )
        box = torch.tensor(person.box)[None]
        region = regions_from_boxes(box, input_size=self.input_size, padding=self.padding)
        scale = min(self.input_size[1] / region.size[0, 0].item(), 1.0)
        middle = torch.tensor([self.canvas_size[1] - 1, self.canvas_size[0] - 1]) / 2
        offset = middle - scale * region.centre[0]
        matrix = torch.cat([scale * torch.eye(2, dtype=box.dtype), offset[:, None]], dim=1)[None]
        return PoseBatch(
            canvas=crop(torch.from_numpy(image).permute(2, 0, 1), matrix, self.canvas_size),
            box=apply(matrix, box.reshape(1, 2, 2)).reshape(1, 4).float(),
            xy=apply(matrix, torch.tensor(np.nan_to_num(person.xy))[None]).float(),
            visibility=torch.tensor(person.visibility)[None],
        )


class MixedBatches(Sampler[list[int]]):
    """Batches with a fixed number of each source, the same for the same seed.

    Every source is walked in random permutations of its own, so that a small source is seen evenly however
    large the others are. Batch ``n`` depends on the seed and ``n`` alone: training resumes anywhere.

    Args:
        sizes: Number of items of each source; places run through the sources in order.
        shares: Relative number of items of each source in a batch.
        batch_size: Items a batch.
        start: The first batch.
        stop: One past the last batch.
        seed: Of the permutations, from 0.

    Raises:
        ConfigError: A share is so small that its source would never be seen.
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
        for share, count in zip(shares, self.counts, strict=True):
            if share > 0 and count == 0:
                raise ConfigError(
                    f"a share of {share:g} is less than one item in a batch of {batch_size}",
                    subject="share",
                    remedy="Raise the share or the batch size, or leave the source out.",
                )
        self.start, self.stop, self.seed = start, stop, seed
        self._orders: dict[int, tuple[int, NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[int]]:
        firsts = np.cumsum([0, *self.sizes[:-1]]).tolist()
        for n in range(self.start, self.stop):
            yield [
                first + self._item(source, n * count + j)
                for source, (first, count) in enumerate(zip(firsts, self.counts, strict=True))
                for j in range(count)
            ]

    def _item(self, source: int, position: int) -> int:
        """What stands at a position of the endless walk through a source."""
        turn, place = divmod(position, self.sizes[source])
        if source not in self._orders or self._orders[source][0] != turn:
            order = np.random.default_rng([self.seed, source, turn]).permutation(self.sizes[source])
            self._orders[source] = (turn, order)
        return int(self._orders[source][1][place])


def _apportion(shares: Sequence[float], total: int) -> list[int]:
    """Whole numbers that sum to ``total``, nearest to the shares (largest remainder, the earlier among equals)."""
    exact = np.asarray(shares, dtype=np.float64) / np.sum(shares) * total
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return counts.tolist()


def _people(manifest: Manifest) -> Iterator[_Person]:
    for sample in manifest:
        poses = sample.poses
        stated = (poses.visibility != Visibility.UNLABELLED).any(axis=1)
        usable = stated & ~poses.crowd & np.isfinite(poses.box).all(axis=1)
        path = str(manifest.image_path(sample)) if usable.any() else ""
        for i in np.flatnonzero(usable):
            yield _Person(path, sample.size, poses.box[i], poses.xy[i], poses.visibility[i])
