"""Poses for boxes: crops of many images fill batches of one fixed shape, and only a few numbers a pose come back.

A batch always has the same shape; the last one is filled up with empty crops. What a pose gets therefore does not
depend on who else, or how many others, were predicted with it.

A network with a presence head also says whether a keypoint lies inside the image. Where it does and the crop does not
hold it, the person is looked at again in a larger crop (:mod:`model.larger_crop`). One whose box ends where the image
ends may be cut: a network with a whole-box head looks at them again at the scale of a whole person
(:mod:`model.whole_box`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autolabel.similarity import MASK_SHARE, keypoint_similarity
from model.crop import Regions, back_project, crop, crop_matrices, normalise, regions_from_boxes
from model.device import pick_device, pick_precision
from model.heatmap import decode, flip_back
from model.larger_crop import call_for_larger, enlarged, sides_beyond
from model.prediction import FEATURES, FLIP_FEATURES, HEAD_FEATURES, LARGER_FEATURES, Prediction, concatenated
from model.vitpose import ViTPose
from model.whole_box import (
    Surroundings,
    all_surroundings,
    first_look,
    image_edges,
    second_crops,
    whole_boxes,
    worth_another_look,
)

BATCH_SIZE = 32

SECOND_BATCHES = 4
"""Second looks are taken this many batches at a time, so that few crops are empty; until then predictions wait."""


@dataclass(frozen=True)
class _Crops:
    """A batch, or less, of people: crops (n, 3, H, W) uint8, boxes (n, 4), image sizes (n, 2).

    ``looked`` (n, 4) are the boxes that were cropped, for a first look beyond the image larger than their own.
    ``beyond`` (n,) says beyond whose crop there is more to see; ``larger`` are those m people's larger crops.
    ``about`` holds n times what the image shows about a person whom it may cut, None for others.
    """

    crops: Tensor
    larger: Tensor
    about: tuple[Surroundings | None, ...]
    beyond: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    looked: NDArray[np.float64]
    image_size: NDArray[np.float64]


@dataclass(frozen=True)
class _FirstLook:
    """What was said of a batch, the keypoints (n, K) that call for another look, and those m people's crops.

    ``boxes`` (m, 4) are theirs, ``around`` (m, 4) the boxes of the crops.
    """

    said: Prediction
    calls: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    around: NDArray[np.float64]
    crops: Tensor


class Predictor:
    """A network ready to predict, on a device and in a precision.

    Args:
        model: From ``load_model``; of several heads the first one answers.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        flip_test: Also predict the mirrored crop and average the heatmaps, and the probabilities.
        larger_crop: Look again at people whose crop seems to cut a keypoint off that is inside the image, and at those
            whom the image seems to cut. Only a network with a presence head, or a whole-box head, can tell.
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
        larger_crop: bool = True,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        self.model = model.to(self.device).eval()
        self.flip_test = flip_test
        self.larger_crop = larger_crop and model.config.presence
        self.whole_box = larger_crop and model.config.whole_box
        self.batch_size = batch_size
        self._flip = torch.tensor(model.skeleton.flip, device=self.device)
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]

    @property
    def _looks_again(self) -> bool:
        return self.larger_crop or self.whole_box

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features of its predictions."""
        agreement = FLIP_FEATURES if self.flip_test else FEATURES
        head = HEAD_FEATURES if self.model.config.presence else ()
        return agreement + head + (LARGER_FEATURES if self._looks_again else ())

    def nothing(self) -> Prediction:
        """What there is to say about no boxes: every array that :meth:`predict` gives, with no rows."""
        none = np.zeros((0, self.model.skeleton.num_keypoints), np.float32)
        return Prediction(
            xy=np.zeros((*none.shape, 2), np.float32),
            score=none,
            presence=none,
            visible=none,
            again=np.zeros(0, bool),
            features={name: none[:, 0] if name in LARGER_FEATURES else none for name in self.feature_names},
        )

    def predict(self, images: Iterable[tuple[Tensor, NDArray[np.float64]]]) -> Iterator[Prediction]:
        """Predict every box of every image.

        Args:
            images: Pairs of an image (3, H, W) uint8 RGB and its boxes (n, 4) xyxy. They are consumed as batches
                fill, so a generator keeps memory flat.

        Yields:
            Predictions of one batch, in the order of the boxes.
        """
        waiting, calls = list[_FirstLook](), 0
        for people in self._filled(images):
            look = self._first_look(people)
            waiting.append(look)
            calls += len(look.boxes)
            if not calls or calls >= SECOND_BATCHES * self.batch_size:
                yield from self._second_look(waiting)
                waiting, calls = [], 0
        yield from self._second_look(waiting)

    def padded_area(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) square pixels of what is cropped around boxes (N, 4): padded, and in the input's aspect."""
        return self._regions(boxes).size.prod(dim=-1).numpy()

    def _filled(self, images: Iterable[tuple[Tensor, NDArray[np.float64]]]) -> Iterator[_Crops]:
        """Cut crops, and hand them on a batch at a time."""
        cut, room = list[_Crops](), self.batch_size
        for image, boxes in images:
            pixels, left = image.to(self.device), boxes
            while len(left):
                now, left = left[:room], left[room:]
                cut.append(self._cut(pixels, now))
                room -= len(now)
                if room == 0:
                    yield _joined(cut)
                    cut, room = [], self.batch_size
        if cut:
            yield _joined(cut)

    def _cut(self, pixels: Tensor, boxes: NDArray[np.float64]) -> _Crops:
        """Crops around boxes of one image (3, H, W)."""
        size, codec = self.model.input_size, self.model.config.codec

        def around(regions: Regions) -> Tensor:
            return crop(pixels, crop_matrices(regions, input_size=size, codec=codec), size)

        image_size = np.tile(np.array(pixels.shape[:0:-1], np.float64), (len(boxes), 1))
        looked, beyond = boxes, np.zeros(len(boxes), bool)
        if self.whole_box:
            looked = first_look(torch.from_numpy(boxes), image_edges(torch.from_numpy(image_size))).numpy()
        regions = self._regions(looked)
        if self.larger_crop:
            beyond = np.any(sides_beyond(_edges(regions), image_size, self.model.heatmap_size), axis=1)
        # Before it is known who needs them, because the alternative is to keep the images of a whole batch.
        larger = self._regions(enlarged(looked[beyond]))
        own = regions if looked is boxes else self._regions(boxes)
        zoom = size[0] / own.size[:, 1]
        about = all_surroundings(pixels, regions, zoom, np.any(looked != boxes, axis=1))
        return _Crops(around(regions), around(larger), about, beyond, boxes, looked, image_size)

    def _regions(self, boxes: NDArray[np.float64]) -> Regions:
        return regions_from_boxes(
            torch.tensor(boxes), input_size=self.model.input_size, padding=self.model.config.box_padding
        )

    def _first_look(self, people: _Crops) -> _FirstLook:
        """Predict a batch, and see who needs another look."""
        regions = self._regions(people.looked)
        said, told = self._batch(people.crops, people.boxes, regions)
        calls = np.zeros(said.score.shape, bool)
        around, crops = enlarged(people.looked), people.crops
        if self.larger_crop and people.beyond.any():
            calls = call_for_larger(
                said.xy,
                said.score,
                said.presence >= self.model.config.presence_threshold,
                crop=_edges(regions),
                image_size=people.image_size,
                heatmap_size=self.model.heatmap_size,
            )
            crops = crops.clone()
            crops[torch.from_numpy(people.beyond)] = people.larger
        cut, whole = self._cut_by_image(people, said.presence, told)
        if len(cut):
            calls[cut] = True  # of a whole person, all is looked for anew
            around[cut] = whole
            about = [one for row in cut if (one := people.about[row])]
            size, codec = self.model.input_size, self.model.config.codec
            crops = crops.clone()
            crops[torch.from_numpy(cut)] = second_crops(about, self._regions(whole), input_size=size, codec=codec)
        rows = np.any(calls, axis=1)
        return _FirstLook(said, calls, people.boxes[rows], around[rows], crops[torch.from_numpy(rows)])

    def _cut_by_image(
        self, people: _Crops, presence: NDArray[np.float32], told: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Rows of people whose whole box, as the heads told (n, K) and (n, 4), is another than what was looked at."""
        rows = np.flatnonzero([one is not None for one in people.about])
        boxes, looked = people.boxes[rows], people.looked[rows]
        whole = whole_boxes(torch.from_numpy(told[rows]), torch.from_numpy(boxes), self._regions(looked)).numpy()
        complete = np.all(presence[rows] >= self.model.config.presence_threshold, axis=1)  # NaN says nothing
        whole[complete] = boxes[complete]
        another = worth_another_look(torch.from_numpy(looked), torch.from_numpy(whole)).numpy()
        return rows[another], whole[another]

    def _second_look(self, looks: Sequence[_FirstLook]) -> Iterator[Prediction]:
        """Predict all second crops of some batches, and hand the batches on with what they said."""
        if not looks:
            return
        boxes, around = (np.concatenate([getattr(look, name) for look in looks]) for name in ("boxes", "around"))
        crops, found = torch.cat([look.crops for look in looks]), [self.nothing()]
        for start in range(0, len(boxes), self.batch_size):
            rows = slice(start, start + self.batch_size)
            found.append(self._batch(crops[rows], boxes[rows], self._regions(around[rows]))[0])
        second, done = concatenated(found), 0
        for look in looks:
            yield _corrected(look, second, slice(done, done + len(look.boxes)))
            done += len(look.boxes)

    @torch.inference_mode()
    def _batch(
        self, crops: Tensor, boxes: NDArray[np.float64], regions: Regions
    ) -> tuple[Prediction, NDArray[np.float32]]:
        """Predict crops (n, 3, H, W) of regions around boxes (n, 4), n at most a batch.

        Also gives what the whole-box head says (n, 4), NaN without one.
        """
        n = len(crops)
        filled = crops.new_zeros(self.batch_size, *crops.shape[1:])
        filled[:n] = crops
        images = normalise(filled)
        if not self.flip_test:
            heatmaps, chances, told = self._forward(images)
            peaks = decode(heatmaps[:n], self.model.config.codec)
            score = _numpy(peaks.score)
            return self._said(self._home(peaks.xy, regions), score, chances[:n], {"peak": score}), _numpy(told[:n])
        heatmaps, chances, told = self._forward(torch.cat([images, images.flip(-1)]))
        straight, mirrored = heatmaps.split(self.batch_size)
        mirrored = flip_back(mirrored[:n], self._flip, self.model.config.codec)
        own, other = chances.split(self.batch_size)
        reach, reflected = told.split(self.batch_size)
        told = (reach[:n] + reflected[:n, [2, 1, 0, 3]]) / 2
        chances = (own[:n] + other[:n, self._flip]) / 2
        return self._agreement(straight[:n], mirrored, chances, regions, boxes), _numpy(told)

    def _agreement(
        self, straight: Tensor, mirrored: Tensor, chances: Tensor, regions: Regions, boxes: NDArray[np.float64]
    ) -> Prediction:
        """Decode the mean of the two maps (n, K, h, w) each, and measure how far they agree."""
        codec = self.model.config.codec
        peaks, one, other = (decode(maps, codec) for maps in ((straight + mirrored) / 2, straight, mirrored))
        xy, own, flipped = (self._home(found.xy, regions) for found in (peaks, one, other))
        area = MASK_SHARE * (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        sigmas = self.model.skeleton.sigmas
        swapped = flipped[:, list(self.model.skeleton.flip)]
        features = {
            "peak": _numpy(peaks.score),
            "flip_peak": _numpy(torch.minimum(one.score, other.score)),
            "flip_ks": keypoint_similarity(own, flipped, area, sigmas).astype(np.float32),
            "swap_ks": keypoint_similarity(own, swapped, area, sigmas).astype(np.float32),
        }
        return self._said(xy, features["peak"], chances, features)

    def _said(
        self,
        xy: NDArray[np.float32],
        score: NDArray[np.float32],
        chances: Tensor,
        features: Mapping[str, NDArray[np.float32]],
    ) -> Prediction:
        """A first look at places (n, K, 2), peaks (n, K), probabilities (n, K, 2) and the features of the peaks."""
        presence, visible = (_numpy(answer) for answer in chances.unbind(-1))
        head = {"presence": presence, "visible": visible} if self.model.config.presence else {}
        larger = {"again": np.zeros(len(xy), np.float32)} if self._looks_again else {}
        return Prediction(xy, score, presence, visible, np.zeros(len(xy), bool), {**features, **head, **larger})

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Heatmaps (B, K, h, w), probabilities (B, K, 2) and reaches (B, 4), float32; NaN without their heads."""
        with torch.autocast(self.device.type, self._dtype, enabled=self.precision != "fp32"):
            heatmaps, logits, told = self.model.forward_all(images)
        heatmaps = heatmaps.float()
        count, keypoints = heatmaps.shape[:2]
        chances = heatmaps.new_full((count, keypoints, 2), torch.nan) if logits is None else logits.float().sigmoid()
        return heatmaps, chances, heatmaps.new_full((count, 4), torch.nan) if told is None else told.float()

    def _home(self, cells: Tensor, regions: Regions) -> NDArray[np.float32]:
        """Cells (n, K, 2) in full-image pixels; in float64 on the CPU, where the regions are."""
        xy = back_project(
            cells.cpu().double(), regions, heatmap_size=self.model.heatmap_size, codec=self.model.config.codec
        )
        return xy.numpy().astype(np.float32)


def _corrected(look: _FirstLook, second_look: Prediction, rows: slice) -> Prediction:
    """The first look, in which keypoints that called for another one have its answer; ``rows`` are theirs."""
    again = look.calls.any(axis=1)
    calls = look.calls[again]

    def mixed(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        values = first.copy()
        which = calls[..., None] if first.ndim == 3 else calls
        values[again] = np.where(which, second[rows], first[again])
        return values

    said = look.said
    return replace(
        said,
        xy=mixed(said.xy, second_look.xy),
        score=mixed(said.score, second_look.score),
        presence=mixed(said.presence, second_look.presence),
        visible=mixed(said.visible, second_look.visible),
        again=again,
        features={
            name: again.astype(np.float32) if name in LARGER_FEATURES else mixed(values, second_look.features[name])
            for name, values in said.features.items()
        },
    )


def _joined(parts: Sequence[_Crops]) -> _Crops:
    named = ("beyond", "boxes", "looked", "image_size")
    return _Crops(
        torch.cat([part.crops for part in parts]),
        torch.cat([part.larger for part in parts]),
        tuple(one for part in parts for one in part.about),
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in named},
    )


def _edges(regions: Regions) -> NDArray[np.float64]:
    """(n, 4) xyxy edges of regions, full-image pixels."""
    return torch.cat([regions.centre - regions.size / 2, regions.centre + regions.size / 2], dim=1).numpy()


def _numpy(values: Tensor) -> NDArray[np.float32]:
    return values.cpu().numpy()
