"""People made of three coloured dots: keypoint k shines in channel k, so that pixels tell where it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from model.crop import IMAGENET_MEAN, IMAGENET_STD

SKELETON = Skeleton("dots", ("nose", "left", "right"), (), (0, 2, 1), (0.05,) * 3, "test")


@dataclass(frozen=True)
class Dots:
    """Draws and finds them.

    Attributes:
        folder: Where pictures and manifests lie.
        skeleton: A nose, and a left and a right that change places in a mirror.
    """

    folder: Path
    skeleton: Skeleton = SKELETON

    def picture(self, xy: NDArray[np.float64], size: tuple[int, int], sigma: float) -> NDArray[np.uint8]:
        """(H, W, 3) with one Gaussian dot a channel at ``xy`` (3, 2); ``size`` is (W, H)."""
        x, y = np.arange(size[0]), np.arange(size[1])[:, None]
        squared = [(x - cx) ** 2 + (y - cy) ** 2 for cx, cy in xy]
        return np.stack([np.round(250 * np.exp(-d / (2 * sigma**2))) for d in squared], axis=-1).astype(np.uint8)

    def person(self, rng: np.random.Generator, side: float, image: tuple[int, int]) -> NDArray[np.float64]:
        """(3, 2) dots in a square of ``side`` pixels somewhere well inside the image."""
        corner = rng.uniform(0.3 * side, np.array(image) - 1.3 * side)
        return corner + rng.uniform(0.2 * side, 0.8 * side, (3, 2))

    def sample(self, name: str, poses: Poses, picture: NDArray[np.uint8]) -> Sample:
        """Write the picture and describe it."""
        Image.fromarray(picture).save(self.folder / name)
        return Sample(f"id-{name}", "dots", name, (picture.shape[1], picture.shape[0]), poses)

    def manifest(
        self,
        name: str,
        count: int,
        *,
        seed: int = 0,
        sides: tuple[float, float] = (20, 90),
        image: tuple[int, int] = (240, 200),
        visibility: Sequence[int] = (Visibility.VISIBLE,) * 3,
    ) -> Manifest:
        """``count`` pictures of one person each."""
        rng = np.random.default_rng(seed)
        samples: list[Sample] = []
        for i in range(count):
            side = rng.uniform(*sides)
            xy = self.person(rng, side, image)
            box = [[*(xy.mean(axis=0) - side / 2), *(xy.mean(axis=0) + side / 2)]]
            poses = Poses.create(3, id=[f"{name}-{i}"], xy=xy[None], visibility=[visibility], box=box)
            samples.append(self.sample(f"{name}-{i}.png", poses, self.picture(xy, image, side / 20)))
        return write_manifest(self.folder / name, samples, SKELETON, {"dots": self.folder}, stage="test")

    def grey(self, normalised: NDArray[np.float32]) -> NDArray[np.float64]:
        """Grey levels (B, 3, H, W) of what a network is given."""
        mean, std = (np.array(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        return 255 * (normalised.astype(np.float64) * std + mean)

    def found(self, grey: NDArray[np.generic]) -> NDArray[np.float64]:
        """(B, 3, 2) centre of mass of each channel of (B, 3, H, W): where the dots are."""
        mass = np.asarray(grey, np.float64)
        total = mass.sum(axis=(2, 3))
        x = (mass * np.arange(mass.shape[3])).sum(axis=(2, 3)) / total
        y = (mass * np.arange(mass.shape[2])[:, None]).sum(axis=(2, 3)) / total
        return np.stack([x, y], axis=-1)


@pytest.fixture
def dots(tmp_path: Path) -> Dots:
    folder = tmp_path / "dots"
    folder.mkdir()
    return Dots(folder)
