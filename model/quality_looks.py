"""What a frozen encoder sees of people, kept for training on it: features of first looks, and where their crops lie."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.crop import apply
from model.predict import Predictor
from model.quality import crop_fractions, person_size
from model.vitpose import ViTPose


@dataclass(frozen=True, eq=False)
class Looks:
    """What an encoder sees of M people.

    Attributes:
        features: (M, D, Hp, Wp) float16, on the CPU.
        to_crop: (M, 2, 3) float64 maps from full-image pixels to fractions of each crop.
        size: (M, 2) of :func:`model.quality.person_size`.
    """

    features: Tensor
    to_crop: Tensor
    size: Tensor

    def shows(self, xy: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(M, K) whether the crops show places (M, K, 2) in full-image pixels; NaN is nowhere."""
        at = apply(self.to_crop, torch.from_numpy(xy)).numpy()
        return np.all((at >= 0) & (at <= 1), axis=-1)


def look_at(predictor: Predictor, images: Iterable[tuple[NDArray[np.uint8], NDArray[np.float64]]], most: int) -> Looks:
    """Look at every box of every image, as a prediction does at first.

    Args:
        predictor: The network.
        images: Pairs of an image (H, W, 3) uint8 RGB and its boxes (n, 4) xyxy.
        most: At least how many boxes there are: memory for so many is taken.
    """
    model = predictor.model
    features = torch.zeros(most, model.config.width, *model.grid_size, dtype=torch.float16)
    to_crop, size = torch.zeros(most, 2, 3, dtype=torch.float64), torch.zeros(most, 2)
    done = 0
    for seen, boxes, regions in predictor.encode(_planes(images)):
        now = slice(done, done + len(seen))
        features[now] = seen.to("cpu", torch.float16)
        to_crop[now] = crop_fractions(regions, heatmap_size=model.heatmap_size, codec=model.config.codec)
        size[now] = person_size(torch.from_numpy(boxes), regions.size)
        done = now.stop
    return Looks(features[:done], to_crop[:done], size[:done])


def look_bytes(model: ViTPose) -> int:
    """Bytes that one person takes in :class:`Looks`, nearly."""
    return 2 * model.config.width * model.grid_size[0] * model.grid_size[1]


def _planes(
    images: Iterable[tuple[NDArray[np.uint8], NDArray[np.float64]]],
) -> Iterator[tuple[Tensor, NDArray[np.float64]]]:
    for image, boxes in images:
        yield torch.from_numpy(image).permute(2, 0, 1), boxes
