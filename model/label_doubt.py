"""What a network's heatmaps say about labels that people made: where a label falls in the map, and its mirror image.

A prediction is a place; a heatmap is much more. Read as a distribution, the map of a left knee says how much of its
mass lies where the network is surer than at the label (the highest-density level at which the label falls), how
similar the true place is to the label in expectation, and whether it would rather lie where the label has the right
knee. All of it is computed for a batch at once, from the mean of the straight and the mirrored crop's maps, and only a
few numbers a keypoint come back. What they mean is for :mod:`autolabel.label_quality` to say.

The network should never have seen the labels: one that learnt them believes them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from autolabel.errors import InputError
from autolabel.similarity import MASK_SHARE
from model.config import Codec
from model.crop import Regions, apply, back_project, crop, crop_matrices, normalise, regions_from_boxes
from model.device import pick_device, pick_precision
from model.heatmap import decode, flip_back
from model.vitpose import ViTPose

BATCH_SIZE = 32

TARGET_SIGMA = 2.0
"""Cells: what networks learn to draw (:func:`model.heatmap.encode`)."""

NEAR_PEAK = 2
"""Cells about a peak that belong to it, when the second highest one is looked for."""

BACKGROUND = 0.05
"""What a map holds everywhere, as a share of its peak: taken off before the map is read as a distribution."""

NUMBERS = (
    "peak", "second", "expected_ks", "sharpness", "other_side", "flip_ks", "level", "label_ks", "mirror_ks", "height",
)  # fmt: skip
"""Names of the numbers a keypoint, in the order in which they are computed."""


@dataclass(frozen=True)
class LabelReading:
    """What the maps say about N poses; NaN where there is nothing to say, as about labels that are missing.

    Attributes:
        xy: (N, K, 2) float32, the predicted places in full-image pixels.
        numbers: (N, K) float32 each, by name. Of the prediction: ``peak`` the map's height; ``second`` the second
            highest maximum / peak; ``expected_ks`` the expected KS at the peak, where the normalised map is the
            distribution of the true place; ``sharpness`` that / the same of the Gaussian that networks learn to draw,
            which is as sure as a network can be; ``other_side`` the map at the peak of the mirror partner / own peak (0
            for unpaired keypoints); ``flip_ks`` the KS between the answers to the straight and to the mirrored crop. Of
            the label: ``level`` the share of mass in cells that are higher than the label's own (0: it lies on the
            highest cell, 1: where the map says nothing); ``label_ks`` the expected KS at the label; ``mirror_ks`` the
            expected KS at the label of the mirror partner; ``height`` the map at the label / peak.
    """

    xy: NDArray[np.float32]
    numbers: dict[str, NDArray[np.float32]]


Labelled = tuple[Tensor, NDArray[np.float64], NDArray[np.float32]]
"""An image (3, H, W) uint8 RGB, the boxes in it (n, 4) xyxy, and their labels (n, K, 2), NaN where there is none."""


class LabelReader:
    """A network ready to look at labels.

    Args:
        model: From ``load_model``; of several heads the first one answers.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        batch_size: Crops a batch; each is looked at straight and mirrored.

    Raises:
        ConfigError: The device is not there, or cannot compute in the precision.
    """

    def __init__(
        self, model: ViTPose, *, device: str = "auto", precision: str = "auto", batch_size: int = BATCH_SIZE
    ) -> None:
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        self.model = model.to(self.device).eval()
        self.batch_size = batch_size
        self._flip = torch.tensor(model.skeleton.flip, device=self.device)
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]

    def read(self, people: Iterable[Labelled]) -> LabelReading:
        """Look at every label.

        Args:
            people: Consumed as batches fill, so that a generator keeps memory flat.

        Raises:
            InputError: Labels of another number of keypoints than the network's.
        """
        parts = [self._nothing(), *map(self._batch, self._batches(people))]
        numbers = {name: np.concatenate([part.numbers[name] for part in parts]) for name in NUMBERS}
        return LabelReading(np.concatenate([part.xy for part in parts]), numbers)

    def _nothing(self) -> LabelReading:
        none = np.zeros((0, self.model.skeleton.num_keypoints), np.float32)
        return LabelReading(np.zeros((*none.shape, 2), np.float32), dict.fromkeys(NUMBERS, none))

    def _batches(self, people: Iterable[Labelled]) -> Iterator[list[tuple[Tensor, Tensor, Tensor]]]:
        """Crops (1, 3, H, W), boxes (4,) and labels (K, 2), a batch at a time."""
        waiting = list[tuple[Tensor, Tensor, Tensor]]()
        size, codec = self.model.input_size, self.model.config.codec
        keypoints = self.model.skeleton.num_keypoints
        for image, boxes, labels in people:
            if labels.shape[1:] != (keypoints, 2):
                raise InputError(f"labels have the shape {labels.shape}, the network has {keypoints} keypoints")
            box = torch.tensor(boxes)
            crops = crop(image.to(self.device), crop_matrices(self._regions(box), input_size=size, codec=codec), size)
            waiting.extend(zip(crops.split(1), box, torch.tensor(labels, dtype=torch.float64), strict=True))
            while len(waiting) >= self.batch_size:
                yield waiting[: self.batch_size]
                waiting = waiting[self.batch_size :]
        if waiting:
            yield waiting

    def _regions(self, box: Tensor) -> Regions:
        return regions_from_boxes(box, input_size=self.model.input_size, padding=self.model.config.box_padding)

    @torch.inference_mode()
    def _batch(self, rows: list[tuple[Tensor, Tensor, Tensor]]) -> LabelReading:
        crops = torch.cat([row[0] for row in rows])
        box, labels = (torch.stack([row[i] for row in rows]) for i in (1, 2))
        images = normalise(crops)
        with torch.autocast(self.device.type, self._dtype, enabled=self.precision != "fp32"):
            maps = self.model(torch.cat([images, images.flip(-1)])).float()
        straight, mirrored = maps.split(len(rows))
        codec, size = self.model.config.codec, self.model.heatmap_size
        mirrored = flip_back(mirrored, self._flip, codec)
        regions = self._regions(box)
        matrices = crop_matrices(regions, input_size=size, codec=codec)  # to heatmap cells
        # Cells a pixel, the same along both sides but for rounding.
        scale = matrices[:, 0, 0].abs()
        area = MASK_SHARE * (box[:, 2:] - box[:, :2]).clamp_min(1.0).prod(dim=1) * scale**2
        sigma = torch.tensor(self.model.skeleton.sigmas, dtype=torch.float64)
        spread = (2 * area[:, None] * (2 * sigma) ** 2).float().to(self.device)
        cells = apply(matrices, labels).float().to(self.device)
        peaks, numbers = label_numbers(straight, mirrored, cells, spread, self._flip, codec=codec)
        xy = back_project(peaks.cpu().double(), regions, heatmap_size=size, codec=codec)
        return LabelReading(
            xy.numpy().astype(np.float32), {name: values.cpu().numpy() for name, values in numbers.items()}
        )


def label_numbers(
    straight: Tensor, mirrored: Tensor, label: Tensor, spread: Tensor, flip: Tensor, *, codec: Codec
) -> tuple[Tensor, dict[str, Tensor]]:
    """Read maps at their peaks and at labels.

    Args:
        straight: (B, K, h, w) maps.
        mirrored: (B, K, h, w) maps of the mirrored crops, turned back (:func:`model.heatmap.flip_back`).
        label: (B, K, 2) labels in cells, NaN where there is none.
        spread: (B, K) square cells: KS = exp(-d² / spread).
        flip: (K,) the mirror partner of each keypoint.
        codec: ``"udp"`` or ``"plain"``.

    Returns:
        The peaks (B, K, 2) in cells, and (B, K) each of :data:`NUMBERS`, float32. A map without a positive finite
        cell says nothing: NaN, and so are the numbers about it.
    """
    found, one, other = (decode(maps, codec) for maps in ((straight + mirrored) / 2, straight, mirrored))
    maps = ((straight + mirrored) / 2).nan_to_num(0.0, 0.0, 0.0).clamp_min(0.0)
    top = maps.amax(dim=(-2, -1))
    empty = top <= 0
    mass = (maps - BACKGROUND * top[..., None, None]).clamp_min(0.0)
    total = mass.sum(dim=(-2, -1))
    share = mass / total.clamp_min(torch.finfo(maps.dtype).tiny)[..., None, None]
    partner = label[:, flip]
    paired = flip != torch.arange(len(flip), device=flip.device)
    at_label = _at(maps, label)
    other_side = torch.where(paired, _at(maps, found.xy[:, flip]).nan_to_num(0.0) / top, 0.0)
    expected = _expected_ks(share, found.xy, spread)
    numbers = {
        "peak": found.score,
        "second": _second(maps) / top,
        "expected_ks": expected,
        # The mean of exp(-d² / spread) over a Gaussian about the peak is spread / (spread + 2 sigma²).
        "sharpness": (expected * (1 + 2 * TARGET_SIGMA**2 / spread)).clamp_max(1.0),
        "other_side": other_side,
        "flip_ks": torch.exp(-((one.xy - other.xy) ** 2).sum(dim=-1) / spread),
        "level": (share * (maps > at_label[..., None, None])).sum(dim=(-2, -1)) + 0 * label[..., 0],
        "label_ks": _expected_ks(share, label, spread),
        "mirror_ks": torch.where(paired, _expected_ks(share, partner, spread), torch.nan),
        "height": at_label / top,
    }
    return found.xy, {name: values.masked_fill(empty, torch.nan) for name, values in numbers.items()}


def _at(maps: Tensor, cells: Tensor) -> Tensor:
    """(B, K) the maps' values at the nearest cells; 0 outside the maps, NaN where ``cells`` (B, K, 2) is."""
    height, width = maps.shape[-2:]
    unknown = cells.isnan().any(dim=-1)
    x, y = cells.nan_to_num(0.0).clamp(-1, max(height, width)).round().long().unbind(-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    index = (y * width + x).masked_fill(~inside, 0)
    values = maps.flatten(2).gather(-1, index[..., None])[..., 0]
    return (values * inside).masked_fill(unknown, torch.nan)


def _expected_ks(share: Tensor, cells: Tensor, spread: Tensor) -> Tensor:
    """(B, K) expected KS at ``cells`` (B, K, 2) where ``share`` (B, K, h, w) is the distribution of the true place.

    The kernel is a product of one along each axis, so that a map is summed twice and no distance is stored.
    """
    height, width = share.shape[-2:]
    along = [torch.arange(n, device=share.device, dtype=share.dtype) for n in (width, height)]
    x, y = (
        torch.exp(-((axis - cells[..., i, None]) ** 2) / spread[..., None]) for i, axis in enumerate(along)
    )  # (B, K, w), (B, K, h)
    return ((share * x[..., None, :]).sum(dim=-1) * y).sum(dim=-1)


def _second(maps: Tensor) -> Tensor:
    """(B, K) the highest local maximum that is not about the peak."""
    height, width = maps.shape[-2:]
    local = F.max_pool2d(maps, 3, stride=1, padding=1)
    cell = maps.flatten(2).argmax(dim=-1)
    rows = torch.arange(height, device=maps.device)[:, None] - (cell // width)[..., None, None]
    columns = torch.arange(width, device=maps.device) - (cell % width)[..., None, None]
    far = (rows.abs() > NEAR_PEAK) | (columns.abs() > NEAR_PEAK)
    return (maps * (far & (maps >= local))).amax(dim=(-2, -1))
