"""One batch of crops through a network, and what its answers mean: places, probabilities, features.

A batch always has the same shape, filled up with empty crops, and everything that sums over a map or over tokens is
computed on the whole batch. What a pose gets therefore does not depend on who else is in its batch.

    crops (n,3,H,W) uint8 -> encoder features, heatmaps, presence, reach -> peaks and doubts -> full-image pixels

On a GPU all of that but the last step is one recording (:mod:`model.graphs`), and a few numbers a keypoint come back
while the next batch is on its way: :meth:`Reader.ask` does not wait for them, :meth:`Reader.hear` does.

With a flip test the mirrored crop is predicted too. Then maps, probabilities, reaches and the pooled features are the
means of both, and the features say besides how far the two agree. A quality head judges the places that come out on the
encoder's features of the crop itself.
"""

import weakref
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autolabel.similarity import MASK_SHARE, keypoint_similarity
from autolabel.stages import Stages
from model.backends import TYPES, Backend, Forward, forward_of
from model.constant import constant
from model.crop import Regions, back_project, normalise
from model.graphs import Graphed
from model.heads import QualityHead
from model.heatmap import decode, extent, flip_back
from model.heatmap_doubt import Doubt, doubt, similarity_kernel
from model.prediction import FEATURES, FLIP_FEATURES, HEAD_FEATURES, QUALITY_FEATURES, Prediction, nothing
from model.quality import fractions, judge, person_size
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


@dataclass(frozen=True)
class Asked:
    """n crops that a network was asked about; of a GPU, the answers may still be on their way.

    Attributes:
        boxes: (n, 4) of full-image pixels.
        regions: That were cropped.
        points: (n, K, F) float32 on the CPU, of each keypoint, see :attr:`Reader.columns`.
        poses: (n, 5 + D) float32 on the CPU: reach, how likely the pose is bad, the mean of the encoder's features.
        ready: When a GPU's answers are there; None on a CPU.
    """

    boxes: NDArray[np.float64]
    regions: Regions
    points: Tensor
    poses: Tensor
    ready: torch.cuda.Event | None


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
        graph: On a GPU, what computes :meth:`answer`.
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
    graph: Graphed | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Have what a GPU does with a batch recorded with the first one."""
        if self.device.type == "cuda":
            answer = weakref.WeakMethod(self.answer)  # the recording goes with its reader, and not some time later

            def asked(*given: Tensor) -> tuple[Tensor, ...]:
                own = answer()
                assert own is not None, "it is the reader that asks"
                return own(*given)

            object.__setattr__(self, "graph", Graphed(asked, self.device))

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

    @property
    def columns(self) -> tuple[str, ...]:
        """What the device says of each keypoint, places in heatmap cells."""
        own = ("x", "y", "score", "presence", "visible")
        doubts = Doubt._fields if self.doubts else ()
        both = self.doubts and self.flip_test
        looks = tuple(f"{look} {name}" for look in ("straight", "mirrored") for name in own[:3]) if both else ()
        return own + doubts + looks + (QUALITY_FEATURES if self.doubts and self.quality else ())

    def read(self, crops: Tensor, boxes: NDArray[np.float64], regions: Regions) -> Reading:
        """Predict crops (n, 3, H, W) uint8 of regions around boxes (n, 4) of full-image pixels, n at most a batch."""
        return self.hear(self.ask(crops, boxes, regions))

    @torch.inference_mode()
    def ask(self, crops: Tensor, boxes: NDArray[np.float64], regions: Regions) -> Asked:
        """Let the network look at crops, as for :meth:`read`; a GPU is not waited for."""
        with self.stages("read the answers"):
            n = len(crops)
            kernel, size = self._kernel(boxes, regions), self._sizes(boxes, regions)
            if self.graph is None:
                points, poses = self.answer(self._batch(crops), kernel, size)
                return Asked(boxes, regions, points[:n], poses[:n], None)
            with self.stages("network"):
                points, poses = self.graph(self._batch(crops), kernel, size)
                points, poses = (made[:n].to("cpu", non_blocking=True) for made in (points, poses))
                ready = torch.cuda.Event()
                torch.cuda.current_stream(self.device).record_event(ready)
            return Asked(boxes, regions, points, poses, ready)

    def hear(self, asked: Asked) -> Reading:
        """What the network says of the crops that it was asked about."""
        if asked.ready is not None:
            with self.stages("wait for answers"):
                asked.ready.synchronize()
        with self.stages("read the answers"):
            return self._heard(asked)

    def answer(self, crops: Tensor, kernel: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """What is computed on the device: (B, K, F) and (B, 5 + D), see :class:`Asked`.

        Args:
            crops: (B, 3, H, W) uint8, a whole batch.
            kernel: (B, K, 2) of :func:`model.heatmap_doubt.similarity_kernel`.
            size: (B, 2) of :func:`model.quality.person_size`.
        """
        images, looks = normalise(crops), tuple[Tensor, ...]()
        if not self.flip_test:
            encoded, answers = self._forward(images)
        else:
            encoded, both = self._forward(torch.cat([images, images.flip(-1)]))
            own, other = both.rows(slice(self.batch_size)), self._unflipped(both.rows(slice(self.batch_size, None)))
            answers = _Answers(*((one + another) / 2 for one, another in zip(own, other, strict=True)))
            looks = (own.maps, other.maps)
        codec = self.model.config.codec
        peaks = decode(answers.maps, codec)
        columns = [*peaks.xy.unbind(-1), peaks.score, *answers.chances.unbind(-1)]
        bad = answers.reach.new_full((self.batch_size,), torch.nan)
        if self.doubts:
            columns += doubt(answers.maps, peaks.cell, kernel, self.flip)
            for found in (decode(maps, codec) for maps in looks):
                columns += [*found.xy.unbind(-1), found.score]
        if self.doubts and self.quality:
            at = fractions(peaks.xy, self.model.heatmap_size)
            quality = judge(self.quality, encoded[: self.batch_size], at, size)
            columns += [quality.ks, quality.gross]
            bad = quality.bad
        points = torch.stack([column.float() for column in columns], dim=-1)
        return points, torch.cat([answers.reach, bad.float()[:, None], answers.embedding], dim=1)

    def _heard(self, asked: Asked) -> Reading:
        found = dict(zip(self.columns, asked.points.unbind(-1), strict=True))
        named = {name: values.numpy() for name, values in found.items()}
        xy, score = self._home(found, "", asked.regions), named["score"]
        features: dict[str, NDArray[np.float32]] = {"peak": score}
        if self.doubts:
            features |= {name: named[name] for name in Doubt._fields}
            if self.flip_test:
                features |= self._agreement(found, asked)
            if self.model.config.presence:
                features |= {name: named[name] for name in HEAD_FEATURES}
            if self.quality:
                features |= {name: named[name] for name in QUALITY_FEATURES}
        again = np.zeros(len(score), bool)
        said = Prediction(xy, score, named["presence"], named["visible"], again, features)
        reach, bad, embedding = (part.numpy() for part in asked.poses.split([4, 1, asked.poses.shape[1] - 5], dim=1))
        return Reading(said, reach, embedding, bad[:, 0])

    @torch.inference_mode()
    def encode(self, crops: Tensor) -> Tensor:
        """(n, D, Hp, Wp) the encoder's features of crops (n, 3, H, W) uint8, n at most a batch."""
        with torch.autocast(self.device.type, TYPES[self.precision], enabled=self.precision != "fp32"):
            return self.model.forward_features(normalise(self._batch(crops)))[: len(crops)]

    def _batch(self, crops: Tensor) -> Tensor:
        """A whole batch of crops, the last ones empty."""
        if len(crops) == self.batch_size:
            return crops
        filled = crops.new_zeros(self.batch_size, *crops.shape[1:])
        filled[: len(crops)] = crops
        return filled

    def _forward(self, images: Tensor) -> tuple[Tensor, _Answers]:
        """The encoder's features of normalised images (B, 3, H, W), and what the heads say; NaN where one lacks."""
        with self.stages("network") if self.graph is None else nullcontext():
            features, maps, logits, told = self.forward(images)
        maps = maps.float()
        count, keypoints = maps.shape[:2]
        chances = maps.new_full((count, keypoints, 2), torch.nan) if logits is None else logits.float().sigmoid()
        reach = maps.new_full((count, 4), torch.nan) if told is None else told.float()
        return features, _Answers(maps, chances, reach, features.float().mean((2, 3)))

    def _sizes(self, boxes: NDArray[np.float64], regions: Regions) -> Tensor:
        """(B, 2) how large n people are, for the quality head; 0 for nobody."""
        size = torch.zeros(self.batch_size, 2)
        if self.doubts and self.quality:
            size[: len(boxes)] = person_size(torch.from_numpy(boxes), regions.size)
        return size

    def _kernel(self, boxes: NDArray[np.float64], regions: Regions) -> Tensor:
        """(B, K, 2) the Gaussian of similarity for n people, in heatmap cells; 0 for nobody."""
        skeleton = self.model.skeleton
        kernel = torch.zeros(self.batch_size, skeleton.num_keypoints, 2)
        if self.doubts:
            cells = torch.tensor(extent(self.model.heatmap_size, self.model.config.codec)) / regions.size
            sigmas = torch.tensor(skeleton.sigmas, dtype=torch.float64)
            kernel[: len(boxes)] = similarity_kernel(torch.from_numpy(_area(boxes)), sigmas, cells)
        return kernel

    def _unflipped(self, answers: _Answers) -> _Answers:
        """What mirrored crops say of the crops."""
        maps = flip_back(answers.maps, self.flip, self.model.config.codec)
        return _Answers(
            maps, answers.chances[:, self.flip], answers.reach[:, constant(MIRRORED, self.flip)], answers.embedding
        )

    def _agreement(self, found: Mapping[str, Tensor], asked: Asked) -> Mapping[str, NDArray[np.float32]]:
        """How far a crop and its mirror image agree."""
        own, flipped = (self._home(found, f"{look} ", asked.regions) for look in ("straight", "mirrored"))
        skeleton, area = self.model.skeleton, _area(asked.boxes)
        swapped = flipped[:, list(skeleton.flip)]
        return {
            "flip_peak": torch.minimum(found["straight score"], found["mirrored score"]).numpy(),
            "flip_ks": keypoint_similarity(own, flipped, area, skeleton.sigmas).astype(np.float32),
            "swap_ks": keypoint_similarity(own, swapped, area, skeleton.sigmas).astype(np.float32),
        }

    def _home(self, found: Mapping[str, Tensor], look: str, regions: Regions) -> NDArray[np.float32]:
        """(n, K, 2) places in heatmap cells as full-image pixels; in float64 on the CPU, where the regions are."""
        cells = torch.stack([found[f"{look}x"], found[f"{look}y"]], dim=-1).double()
        xy = back_project(cells, regions, heatmap_size=self.model.heatmap_size, codec=self.model.config.codec)
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
