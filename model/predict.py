"""Poses for boxes: crops of many images fill batches of one fixed shape, and only a few numbers a pose come back.

A batch always has the same shape; the last one is filled up with empty crops. What a pose gets therefore does not
depend on who else, or how many others, were predicted with it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autolabel.similarity import MASK_SHARE, keypoint_similarity
from model.crop import Regions, back_project, crop, crop_matrices, normalise, regions_from_boxes
from model.device import pick_device, pick_precision
from model.heatmap import decode, flip_back
from model.vitpose import ViTPose

BATCH_SIZE = 32

FEATURES = ("peak",)
FLIP_FEATURES = ("peak", "flip_peak", "flip_ks", "swap_ks")
"""Names of the features, without and with a flip test."""


@dataclass(frozen=True)
class Prediction:
    """What the network says about N boxes.

    Attributes:
        xy: (N, K, 2) float32, full-image pixels.
        score: (N, K) float32, the height of the heatmap's peak.
        features: Numbers a pose for the score model: ``peak`` (N, K); with a flip test also ``flip_ks`` (N, K), the
            similarity of what the image and its mirror image say, ``flip_peak`` (N, K), the lower of the two peaks,
            and ``swap_ks`` (N, K), the similarity with the mirror image's answer for the other side.
    """

    xy: NDArray[np.float32]
    score: NDArray[np.float32]
    features: Mapping[str, NDArray[np.float32]]


class Predictor:
    """A network ready to predict, on a device and in a precision.

    Args:
        model: From ``load_model``; of several heads the first one answers.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        flip_test: Also predict the mirrored crop and average the heatmaps.
        batch_size: Crops a batch.

    Raises:
        ConfigError: The device is not there, or cannot compute in the precision.
    """

    def __init__(
        self,
        model: ViTPose,
        *,
        device: str = "auto",
        precision: str = "auto",
        flip_test: bool = False,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        self.model = model.to(self.device).eval()
        self.flip_test = flip_test
        self.batch_size = batch_size
        self._flip = torch.tensor(model.skeleton.flip, device=self.device)
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]

    def nothing(self) -> Prediction:
        """What there is to say about no boxes: every array that :meth:`predict` gives, with no rows."""
        none = np.zeros((0, self.model.skeleton.num_keypoints), np.float32)
        names = FLIP_FEATURES if self.flip_test else FEATURES
        return Prediction(np.zeros((*none.shape, 2), np.float32), none, dict.fromkeys(names, none))

    def predict(self, images: Iterable[tuple[Tensor, NDArray[np.float64]]]) -> Iterator[Prediction]:
        """Predict every box of every image.

        Args:
            images: Pairs of an image (3, H, W) uint8 RGB and its boxes (n, 4) xyxy. They are consumed as batches
                fill, so a generator keeps memory flat.

        Yields:
            Predictions of one batch, in the order of the boxes.
        """
        for crops, boxes in self._filled(images):
            yield self._batch(crops, boxes)

    def padded_area(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) square pixels of what is cropped around boxes (N, 4): padded, and in the input's aspect."""
        return self._regions(boxes).size.prod(dim=-1).numpy()

    def _filled(
        self, images: Iterable[tuple[Tensor, NDArray[np.float64]]]
    ) -> Iterator[tuple[Tensor, NDArray[np.float64]]]:
        """Cut crops, and hand them on a batch at a time with their boxes."""
        size, codec = self.model.input_size, self.model.config.codec
        crops, around, room = list[Tensor](), list[NDArray[np.float64]](), self.batch_size
        for image, boxes in images:
            pixels, left = image.to(self.device), boxes
            while len(left):
                now, left = left[:room], left[room:]
                crops.append(crop(pixels, crop_matrices(self._regions(now), input_size=size, codec=codec), size))
                around.append(now)
                room -= len(now)
                if room == 0:
                    yield torch.cat(crops), np.concatenate(around)
                    crops, around, room = [], [], self.batch_size
        if crops:
            yield torch.cat(crops), np.concatenate(around)

    def _regions(self, boxes: NDArray[np.float64]) -> Regions:
        return regions_from_boxes(
            torch.tensor(boxes), input_size=self.model.input_size, padding=self.model.config.box_padding
        )

    @torch.inference_mode()
    def _batch(self, crops: Tensor, boxes: NDArray[np.float64]) -> Prediction:
        n, regions = len(crops), self._regions(boxes)
        filled = crops.new_zeros(self.batch_size, *crops.shape[1:])
        filled[:n] = crops
        images = normalise(filled)
        if not self.flip_test:
            peaks = decode(self._heatmaps(images)[:n], self.model.config.codec)
            score = _numpy(peaks.score)
            return Prediction(self._home(peaks.xy, regions), score, {"peak": score})
        straight, mirrored = self._heatmaps(torch.cat([images, images.flip(-1)])).split(self.batch_size)
        return self._agreement(
            straight[:n], flip_back(mirrored[:n], self._flip, self.model.config.codec), regions, boxes
        )

    def _agreement(
        self, straight: Tensor, mirrored: Tensor, regions: Regions, boxes: NDArray[np.float64]
    ) -> Prediction:
        """Decode the mean of the two maps (n, K, h, w) each, and measure how far they agree."""
        codec = self.model.config.codec
        peaks, one, other = (decode(maps, codec) for maps in ((straight + mirrored) / 2, straight, mirrored))
        xy, own, flipped = (self._home(found.xy, regions) for found in (peaks, one, other))
        area = MASK_SHARE * (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        sigmas = self.model.skeleton.sigmas
        swapped = flipped[:, list(self.model.skeleton.flip)]
        return Prediction(
            xy=xy,
            score=_numpy(peaks.score),
            features={
                "peak": _numpy(peaks.score),
                "flip_peak": _numpy(torch.minimum(one.score, other.score)),
                "flip_ks": keypoint_similarity(own, flipped, area, sigmas).astype(np.float32),
                "swap_ks": keypoint_similarity(own, swapped, area, sigmas).astype(np.float32),
            },
        )

    def _heatmaps(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, self._dtype, enabled=self.precision != "fp32"):
            return self.model(images).float()

    def _home(self, cells: Tensor, regions: Regions) -> NDArray[np.float32]:
        """Cells (n, K, 2) in full-image pixels; in float64 on the CPU, where the regions are."""
        xy = back_project(
            cells.cpu().double(), regions, heatmap_size=self.model.heatmap_size, codec=self.model.config.codec
        )
        return xy.numpy().astype(np.float32)


def _numpy(values: Tensor) -> NDArray[np.float32]:
    return values.cpu().numpy()
