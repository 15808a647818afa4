"""One batch of crops through a network, and what its answers mean: places, probabilities, features.

A batch always has the same shape, filled up with empty crops, and everything that sums over a map or over tokens is
computed on the whole batch. What a pose gets therefore does not depend on who else is in its batch.

    crops (n,3,H,W) uint8 -> encoder features, heatmaps, presence, reach -> peaks and doubts -> full-image pixels

With a flip test the mirrored crop is predicted too. Then maps, probabilities, reaches and the pooled features are the
means of both, and the features say besides how far the two agree. A quality head judges the places that come out on the
encoder's features of the crop itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autolabel.similarity import MASK_SHARE, keypoint_similarity
from autolabel.stages import Stages
from model.backends import TYPES, Backend, Forward, forward_of
from model.crop import Regions, back_project, normalise
from model.heads import QualityHead
from model.heatmap import decode, extent, flip_back
from model.heatmap_doubt import doubt, similarity_kernel
from model.prediction import FEATURES, FLIP_FEATURES, HEAD_FEATURES, QUALITY_FEATURES, Prediction, nothing
from model.quality import Quality, fractions, judge, person_size
from model.vitpose import ViTPose
from model.whole_box import MIRRORED, image_edges, touches


@dataclass(frozen=True)
class Reading:
    """What a network says about n crops.

    Attributes:
        said: Of their people, with the features of keypoints and not those of poses.
        reach: (n, 4) float32 of the whole-box head; NaN without one.
        embedding: (n, D) float32, the mean of the encoder's last features over the tokens.
        bad: (n,) float32, how likely the quality head thinks each pose bad; NaN without one.
    """

    said: Prediction
    reach: NDArray[np.float32]
    embedding: NDArray[np.float32]
    bad: NDArray[np.float32]


class _Answers(NamedTuple):
    """What a network says of B crops, float32: maps (B,K,h,w), probabilities (B,K,2), reaches (B,4), features (B,D)."""

    maps: Tensor
    chances: Tensor
    reach: Tensor
    embedding: Tensor

    def rows(self, rows: slice) -> "_Answers":
        return _Answers(*(values[rows] for values in self))


@dataclass(frozen=True)
class Reader:
    """A network in evaluation mode, on its device, and how its answers are read.

    Attributes:
        model: The network; of several heads the first one answers.
        forward: What computes its answers, for ``batch_size`` crops at a time, with a flip test twice as many.
        flip: (K,) int64 on its device, the keypoint that each keypoint becomes in a mirror.
        device: Where it is.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        flip_test: Also predict the mirrored crop and average.
        batch_size: Crops a batch.
        doubts: Give all features. Without, only the places, their peaks and the probabilities.
        quality: The network's quality head, in evaluation mode and on the device, if there is one.
        stages: Told of the time.
    """

    model: ViTPose
    forward: Forward
    flip: Tensor
    device: torch.device
    precision: str
    flip_test: bool
    batch_size: int
    doubts: bool = True
    quality: QualityHead | None = None
    stages: Stages = field(default_factory=Stages)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features of keypoints that it gives."""
        if not self.doubts:
            return FEATURES[:1]
        agreement = FLIP_FEATURES if self.flip_test else ()
        quality = QUALITY_FEATURES if self.quality else ()
        return FEATURES + agreement + (HEAD_FEATURES if self.model.config.presence else ()) + quality

    def nothing(self) -> Prediction:
        """What it says of no crops."""
        return nothing(self.model.skeleton.num_keypoints, self.feature_names)

    @torch.inference_mode()
    def read(self, crops: Tensor, boxes: NDArray[np.float64], regions: Regions) -> Reading:
        """Predict crops (n, 3, H, W) uint8 of regions around boxes (n, 4) of full-image pixels, n at most a batch."""
        with self.stages("read the answers"):
            return self._read(crops, boxes, regions)

    def _read(self, crops: Tensor, boxes: NDArray[np.float64], regions: Regions) -> Reading:
        n, images = len(crops), self._filled(crops)
        if not self.flip_test:
            encoded, answers = self._forward(images)
            looks = ()
        else:
            encoded, both = self._forward(torch.cat([images, images.flip(-1)]))
            own, other = both.rows(slice(self.batch_size)), self._unflipped(both.rows(slice(self.batch_size, None)))
            answers = _Answers(*((one + another) / 2 for one, another in zip(own, other, strict=True)))
            looks = (own.maps, other.maps)
        peaks = decode(answers.maps, self.model.config.codec)
        xy, score = self._home(peaks.xy[:n], regions), _numpy(peaks.score[:n])
        presence, visible = (_numpy(chance) for chance in answers.chances[:n].unbind(-1))
        features: dict[str, NDArray[np.float32]] = {"peak": score}
        if self.doubts:
            features |= self._doubts(answers.maps, peaks.cell, boxes, regions)
            if looks:
                features |= self._agreement(looks[0][:n], looks[1][:n], boxes, regions)
            if self.model.config.presence:
                features |= {"presence": presence, "visible": visible}
        bad = np.full(n, np.nan, np.float32)
        if self.doubts and self.quality:
            quality = self._quality(self.quality, encoded[: self.batch_size], peaks.xy, boxes, regions)
            features |= dict(zip(QUALITY_FEATURES, (_numpy(quality.ks[:n]), _numpy(quality.gross[:n])), strict=True))
            bad = _numpy(quality.bad[:n])
        said = Prediction(xy, score, presence, visible, np.zeros(n, bool), features)
        return Reading(said, _numpy(answers.reach[:n]), _numpy(answers.embedding[:n]), bad)

    @torch.inference_mode()
    def encode(self, crops: Tensor) -> Tensor:
        """(n, D, Hp, Wp) the encoder's features of crops (n, 3, H, W) uint8, n at most a batch."""
        with torch.autocast(self.device.type, TYPES[self.precision], enabled=self.precision != "fp32"):
            return self.model.forward_features(self._filled(crops))[: len(crops)]

    def _filled(self, crops: Tensor) -> Tensor:
        """A whole batch of normalised crops, the last ones empty."""
        filled = crops.new_zeros(self.batch_size, *crops.shape[1:])
        filled[: len(crops)] = crops
        return normalise(filled)

    def _forward(self, images: Tensor) -> tuple[Tensor, _Answers]:
        """The encoder's features of normalised images (B, 3, H, W), and what the heads say; NaN where one lacks."""
        with self.stages("network"):
            features, maps, logits, told = self.forward(images)
            if self.stages.exact and self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
        maps = maps.float()
        count, keypoints = maps.shape[:2]
        chances = maps.new_full((count, keypoints, 2), torch.nan) if logits is None else logits.float().sigmoid()
        reach = maps.new_full((count, 4), torch.nan) if told is None else told.float()
        return features, _Answers(maps, chances, reach, features.float().mean((2, 3)))

    def _quality(
        self, head: QualityHead, encoded: Tensor, cells: Tensor, boxes: NDArray[np.float64], regions: Regions
    ) -> Quality:
        """What the quality head says of places in heatmap cells (B, K, 2), on features (B, D, Hp, Wp) of n people."""
        size = torch.zeros(len(encoded), 2)
        size[: len(boxes)] = person_size(torch.from_numpy(boxes), regions.size)
        return judge(head, encoded, fractions(cells, self.model.heatmap_size), size.to(self.device))

    def _unflipped(self, answers: _Answers) -> _Answers:
        """What mirrored crops say of the crops."""
        maps = flip_back(answers.maps, self.flip, self.model.config.codec)
        return _Answers(maps, answers.chances[:, self.flip], answers.reach[:, list(MIRRORED)], answers.embedding)

    def _doubts(
        self, maps: Tensor, cell: Tensor, boxes: NDArray[np.float64], regions: Regions
    ) -> Mapping[str, NDArray[np.float32]]:
        """What maps (B, K, h, w) with peaks in cells (B, K) say of themselves, of the n people that there are."""
        n, skeleton = len(boxes), self.model.skeleton
        cells = torch.tensor(extent(self.model.heatmap_size, self.model.config.codec)) / regions.size
        sigmas = torch.tensor(skeleton.sigmas, dtype=torch.float64)
        kernel = torch.zeros(*maps.shape[:2], 2)
        kernel[:n] = similarity_kernel(torch.from_numpy(_area(boxes)), sigmas, cells)
        found = doubt(maps, cell, kernel.to(self.device, non_blocking=True), self.flip)
        every = _numpy(torch.stack(found)[:, :n])  # one copy from the device
        return dict(zip(found._fields, every, strict=True))

    def _agreement(
        self, straight: Tensor, mirrored: Tensor, boxes: NDArray[np.float64], regions: Regions
    ) -> Mapping[str, NDArray[np.float32]]:
        """How far two maps (n, K, h, w) each agree."""
        one, other = (decode(maps, self.model.config.codec) for maps in (straight, mirrored))
        own, flipped = (self._home(found.xy, regions) for found in (one, other))
        skeleton, area = self.model.skeleton, _area(boxes)
        swapped = flipped[:, list(skeleton.flip)]
        return {
            "flip_peak": _numpy(torch.minimum(one.score, other.score)),
            "flip_ks": keypoint_similarity(own, flipped, area, skeleton.sigmas).astype(np.float32),
            "swap_ks": keypoint_similarity(own, swapped, area, skeleton.sigmas).astype(np.float32),
        }

    def _home(self, cells: Tensor, regions: Regions) -> NDArray[np.float32]:
        """Cells (n, K, 2) in full-image pixels; in float64 on the CPU, where the regions are."""
        xy = back_project(
            cells.cpu().double(), regions, heatmap_size=self.model.heatmap_size, codec=self.model.config.codec
        )
        return xy.numpy().astype(np.float32)


def reader(
    model: ViTPose,
    device: torch.device,
    precision: str,
    backend: Backend,
    flip_test: bool,
    batch_size: int,
    *,
    quality: QualityHead | None = None,
    stages: Stages | None = None,
) -> Reader:
    """A reader of a network, and of its quality head; arguments as of :class:`Reader`."""
    flip = torch.tensor(model.skeleton.flip, device=device)
    forward = forward_of(backend, model, device, precision, batch_size * (2 if flip_test else 1))
    head = None if quality is None else quality.to(device).eval()
    stages = Stages() if stages is None else stages
    return Reader(model, forward, flip, device, precision, flip_test, batch_size, quality=head, stages=stages)


def framing(
    boxes: NDArray[np.float64], regions: Regions, image_size: NDArray[np.float64]
) -> Mapping[str, NDArray[np.float32]]:
    """How people lie in their images: the features ``size``, ``edge`` and ``outside``, each (N,).

    Args:
        boxes: (N, 4) xyxy, full-image pixels.
        regions: Their N crops, upright.
        image_size: (N, 2) width and height of the images.
    """
    ends = image_edges(torch.from_numpy(image_size))
    half = regions.size / 2
    low, high = torch.maximum(regions.centre - half, ends[:, :2]), torch.minimum(regions.centre + half, ends[:, 2:])
    inside = (high - low).clamp_min(0).prod(1) / regions.size.prod(1)
    return {
        "size": (boxes[:, 2:] - boxes[:, :2]).max(axis=1).astype(np.float32),
        "edge": _numpy(touches(torch.from_numpy(boxes), ends).sum(1).float()),
        "outside": _numpy((1 - inside).float()),
    }


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) square pixels that people in boxes (N, 4) are taken to cover, for similarity."""
    return MASK_SHARE * (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _numpy(values: Tensor) -> NDArray[np.float32]:
    return values.cpu().numpy()
