"""Poses for boxes: crops of many images fill batches of one fixed shape, and only a few numbers a pose come back.

A batch always has the same shape; the last one is filled up with empty crops. What a pose gets therefore does not
depend on who else, or how many others, were predicted with it, but for the last bit of a float where several threads
share a matrix.

A network with a presence head also says whether a keypoint lies inside the image. Where it does and the crop does not
hold it, the person is looked at again in a larger crop (:mod:`model.larger_crop`). One whose box ends where the image
ends may be cut: a network with a whole-box head looks at them again at the scale of a whole person
(:mod:`model.whole_box`). With jitter, those of whom the network is half sure are looked at in slightly other crops too,
to see whether the answer stays (:mod:`model.jitter`).
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autolabel.stages import Stages
from model.ahead import ahead
from model.backends import pick_backend
from model.crop import Regions
from model.cutting import Crops, Cutter, Image
from model.device import pick_device, pick_precision
from model.heads import QualityHead
from model.jitter import jittered, steadiness, uncertain, unlooked
from model.larger_crop import call_for_larger, enlarged
from model.prediction import (
    EMBEDDING,
    JITTER_FEATURES,
    LARGER_FEATURES,
    POSE_FEATURES,
    POSE_QUALITY,
    Prediction,
    concatenated,
    nothing,
)
from model.reading import Asked, Reader, Reading, framing, reader
from model.vitpose import ViTPose
from model.whole_box import second_crops, whole_boxes, worth_another_look

BATCH_SIZE = 32

BATCHES_AHEAD = 2
"""That are cut while a GPU looks at one."""

BATCHES_ASKED = 1
"""That a GPU is asked about before it is waited for what it says of the ones before."""

SECOND_BATCHES = 4
"""Further looks are taken this many batches at a time, so that few crops are empty; until then predictions wait."""


@dataclass(frozen=True)
class _Wanted:
    """Further looks: crops (m, 3, H, W) around boxes (m, 4), of people whose own boxes are ``boxes`` (m, 4)."""

    crops: Tensor
    around: NDArray[np.float64]
    boxes: NDArray[np.float64]


@dataclass(frozen=True)
class _FirstLook:
    """What was said of a batch of n people, and what it takes to say more.

    ``calls`` (n, K) are the keypoints that call for another look, ``second`` those m people's crops. ``unsure`` (n,)
    are people to be looked at with jitter, ``jitter`` their crops, L for each, one person after the other.
    """

    said: Prediction
    boxes: NDArray[np.float64]
    calls: NDArray[np.bool_]
    second: _Wanted
    unsure: NDArray[np.bool_]
    jitter: _Wanted


class Predictor:
    """A network ready to predict, on a device and in a precision.

    Args:
        model: From ``load_model``; of several heads the first one answers.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        backend: ``auto``, ``torch``, ``compiled`` or ``openvino``.
        flip_test: Also predict the mirrored crop and average the heatmaps, and the probabilities.
        larger_crop: Look again at people whom their crop, or the image, seems to cut; presence or whole-box heads tell.
        jitter: Look again, in slightly other crops, at people of whom the network is half sure.
        batch_size: Crops a batch.
        quality: The network's quality head, which judges places on the crops they were found in, poses on the first.
        stages: Told of the time.

    Raises:
        ConfigError: The device or backend is not there, or cannot compute in the precision.
    """

    def __init__(
        self,
        model: ViTPose,
        *,
        device: str = "auto",
        precision: str = "auto",
        backend: str = "auto",
        flip_test: bool = False,
        larger_crop: bool = True,
        jitter: bool = False,
        batch_size: int = BATCH_SIZE,
        quality: QualityHead | None = None,
        stages: Stages | None = None,
    ) -> None:
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        self.model = model.to(self.device).eval()
        self.flip_test = flip_test
        self.larger_crop = larger_crop and model.config.presence
        self.whole_box = larger_crop and model.config.whole_box
        self.jitter = jitter
        self.batch_size = batch_size
        self.backend = pick_backend(backend, self.model, self.device)
        self.threads = torch.get_num_threads()
        self.stages = Stages() if stages is None else stages
        self._reader = reader(
            model,
            self.device,
            self.precision,
            self.backend,
            flip_test,
            batch_size,
            quality=quality,
            stages=self.stages,
        )
        self._slight = replace(self._reader, doubts=False)
        self._cutter = Cutter(
            model.config,
            self.device,
            batch_size,
            self.larger_crop,
            self.whole_box,
            jitter,
            self.stages,
            # Of those with a priority, which no recording is made in.
            torch.cuda.Stream(self.device, priority=-1) if self.device.type == "cuda" else None,
        )

    @property
    def looks_again(self) -> bool:
        """Whether it looks again at people whom their crop, or the image, seems to cut."""
        return self.larger_crop or self.whole_box

    @property
    def cuts_ahead(self) -> bool:
        """Whether a thread of its own cuts crops."""
        return self.device.type != "cpu"

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features of its predictions."""
        jitter = JITTER_FEATURES if self.jitter else ()
        again = LARGER_FEATURES if self.looks_again else ()
        quality = (POSE_QUALITY,) if self._reader.quality else ()
        return (*self._reader.feature_names, *jitter, *POSE_FEATURES, *again, *quality, EMBEDDING)

    def nothing(self) -> Prediction:
        """What there is to say about no boxes: every array that :meth:`predict` gives, with no rows."""
        return nothing(self.model.skeleton.num_keypoints, self.feature_names, self.model.config.width)

    def predict(self, images: Iterable[tuple[Image, NDArray[np.float64]]]) -> Iterator[Prediction]:
        """Predict every box of every image.

        Args:
            images: Pairs of an image (3, H, W) uint8 RGB, reduced by :meth:`reduction` or less if it is, and its
                boxes (n, 4) xyxy. They are consumed as batches fill, so a generator keeps memory flat.

        Yields:
            Predictions of one batch, in the order of the boxes.
        """
        waiting, calls = list[_FirstLook](), 0
        for people, asked in self._asked(images):
            look = self._first_look(people, asked)
            waiting.append(look)
            calls += len(look.second.crops) + len(look.jitter.crops)
            if not calls or calls >= SECOND_BATCHES * self.batch_size:
                yield from self._further_looks(waiting)
                waiting, calls = [], 0
        yield from self._further_looks(waiting)

    def encode(
        self, images: Iterable[tuple[Image, NDArray[np.float64]]]
    ) -> Iterator[tuple[Tensor, NDArray[np.float64], Regions]]:
        """First looks, as :meth:`predict` takes them: the encoder's features (n, D, Hp, Wp), boxes (n, 4) and crops."""
        for people in self._filled(images):
            yield self._reader.encode(people.crops), people.boxes, self._cutter.regions(people.looked)

    def padded_area(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) square pixels of what is cropped around boxes (N, 4): padded, and in the input's aspect."""
        return self._cutter.regions(boxes).size.prod(dim=-1).numpy()

    def reduction(self, boxes: NDArray[np.float64], size: tuple[int, int]) -> int:
        """By how much an image of ``size`` may be reduced for its boxes (n, 4): see :meth:`Cutter.reduction`."""
        return self._cutter.reduction(boxes, size)

    def _filled(self, images: Iterable[tuple[Image, NDArray[np.float64]]]) -> Iterator[Crops]:
        """Crops, a batch at a time; the next ones are cut while a GPU looks at one.

        On a CPU the network has all cores, and a second thread of matrices would only make it wait for its own.
        """
        batches = self._cutter.batches(images)
        if self.cuts_ahead:
            batches = ahead(batches, BATCHES_AHEAD)
        for people in self.stages.each("wait for crops", batches):
            yield people.handed_over()

    def _asked(self, images: Iterable[tuple[Image, NDArray[np.float64]]]) -> Iterator[tuple[Crops, Asked]]:
        """Batches that the network was asked about; a GPU has the next one before it is waited for the answers."""
        waiting = deque[tuple[Crops, Asked]]()
        for people in self._filled(images):
            regions = self._cutter.regions(people.looked)
            waiting.append((people, self._reader.ask(people.crops, people.boxes, regions)))
            if not self.cuts_ahead or len(waiting) > BATCHES_ASKED:
                yield waiting.popleft()
        yield from waiting

    def _first_look(self, people: Crops, asked: Asked) -> _FirstLook:
        """What was said of a batch, and who needs another look."""
        regions, reading = asked.regions, self._reader.hear(asked)
        said = self._with_pose_features(reading, people, regions)
        calls = np.zeros(said.score.shape, bool)
        around, crops = enlarged(people.looked), people.crops
        if self.larger_crop and people.beyond.any():
            calls = call_for_larger(
                said.xy,
                said.score,
                said.presence >= self.model.config.presence_threshold,
                crop=regions.edges(),
                image_size=people.image_size,
                heatmap_size=self.model.heatmap_size,
            )
            crops = crops.clone()
            crops[torch.from_numpy(people.beyond)] = people.larger
        cut, whole = self._cut_by_image(people, said.presence, reading.reach)
        if len(cut):
            calls[cut] = True  # of a whole person, all is looked for anew
            around[cut] = whole
            about = [one for row in cut if (one := people.about[row])]
            size, codec = self.model.input_size, self.model.config.codec
            crops = crops.clone()
            again = second_crops(about, self._cutter.regions(whole), input_size=size, codec=codec)
            rows = np.zeros(len(crops), bool)
            rows[cut] = True
            crops[torch.from_numpy(rows)] = _on(crops.device, again)
        rows = np.any(calls, axis=1)
        second = _Wanted(crops[torch.from_numpy(rows)], around[rows], people.boxes[rows])
        # Who is looked for anew has no place yet that could be steady.
        unsure = uncertain(said.score) & ~np.all(calls, axis=1) if self.jitter else np.zeros(len(rows), bool)
        return _FirstLook(said, people.boxes, calls, second, unsure, self._other_crops(people, unsure))

    def _other_crops(self, people: Crops, unsure: NDArray[np.bool_]) -> _Wanted:
        """The slightly other crops of some of a batch, L for each."""
        around = jittered(people.looked[unsure])[:, : self._cutter.looks].reshape(-1, 4)
        crops = people.jittered[torch.from_numpy(unsure)].flatten(0, 1)
        return _Wanted(crops, around, people.boxes[unsure].repeat(self._cutter.looks, axis=0))

    def _with_pose_features(self, reading: Reading, people: Crops, regions: Regions) -> Prediction:
        """What was said of a batch, with the features that are of poses and not of keypoints."""
        said, features = reading.said, dict(reading.said.features)
        if self._reader.doubts:
            features |= unlooked(said.score.shape) if self.jitter else {}
            features |= framing(people.boxes, regions, people.image_size)
            features |= {LARGER_FEATURES[0]: np.zeros(len(said.again), np.float32)} if self.looks_again else {}
            features |= {POSE_QUALITY: reading.bad} if self._reader.quality else {}
            features |= {EMBEDDING: reading.embedding}
        return replace(said, features=features)

    def _cut_by_image(
        self, people: Crops, presence: NDArray[np.float32], told: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Rows of people whose whole box, as the heads told (n, K) and (n, 4), is another than what was looked at."""
        rows = np.flatnonzero([one is not None for one in people.about])
        boxes, looked = people.boxes[rows], people.looked[rows]
        whole = whole_boxes(torch.from_numpy(told[rows]), torch.from_numpy(boxes), self._cutter.regions(looked)).numpy()
        complete = np.all(presence[rows] >= self.model.config.presence_threshold, axis=1)  # NaN says nothing
        whole[complete] = boxes[complete]
        another = worth_another_look(torch.from_numpy(looked), torch.from_numpy(whole)).numpy()
        return rows[another], whole[another]

    def _further_looks(self, looks: Sequence[_FirstLook]) -> Iterator[Prediction]:
        """Predict all further crops of some batches, and hand the batches on with what they said."""
        if not looks:
            return
        second = self._read_all(self._reader, [look.second for look in looks])
        other = self._read_all(self._slight, [look.jitter for look in looks])
        seconds = others = 0
        for look in looks:
            more, slightly = len(look.second.crops), len(look.jitter.crops)
            steady = self._steady(look, other, slice(others, others + slightly))
            yield _corrected(look, steady, second, slice(seconds, seconds + more))
            seconds, others = seconds + more, others + slightly

    def _read_all(self, reader: Reader, wanted: Sequence[_Wanted]) -> Prediction:
        """What is said of all of the crops, a batch at a time."""
        boxes, around = (np.concatenate([getattr(each, name) for each in wanted]) for name in ("boxes", "around"))
        crops, found = torch.cat([each.crops for each in wanted]), [reader.nothing()]
        for start in range(0, len(boxes), self.batch_size):
            rows = slice(start, start + self.batch_size)
            found.append(reader.read(crops[rows], boxes[rows], self._cutter.regions(around[rows])).said)
        return concatenated(found)

    def _steady(self, look: _FirstLook, other: Prediction, rows: slice) -> Prediction:
        """The first look, which knows how steady it is where it was unsure; ``rows`` are its slightly other looks."""
        said, unsure = look.said, look.unsure
        if not unsure.any():
            return said
        shape = (unsure.sum(), self._cutter.looks, *said.score.shape[1:])
        found = steadiness(
            said.xy[unsure],
            said.score[unsure],
            other.xy[rows].reshape(*shape, 2),
            other.score[rows].reshape(shape),
            box=look.boxes[unsure],
            sigmas=self.model.skeleton.sigmas,
        )
        features = dict(said.features)
        for name, values in found.items():
            features[name] = _replaced(features[name], unsure, values)
        return replace(said, features=features)


def _on(device: torch.device, crops: Tensor) -> Tensor:
    """Crops on a device; a GPU copies them by itself, and is not waited for."""
    if crops.device.type == device.type:
        return crops
    return crops.pin_memory().to(device, non_blocking=True)


def _corrected(look: _FirstLook, said: Prediction, second_look: Prediction, rows: slice) -> Prediction:
    """What was said, in which keypoints that called for another look have its answer; ``rows`` are theirs.

    Of those, nothing is known of slightly other crops; and what is said of a pose as a whole stays.
    """
    again = np.asarray(np.any(look.calls, axis=1))
    calls = look.calls[again]

    def mixed(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        which = calls[..., None] if first.ndim == 3 else calls
        return _replaced(first, again, np.where(which, second, first[again]))

    features: dict[str, NDArray[Any]] = dict(said.features)
    for name, values in second_look.features.items():
        features[name] = mixed(features[name], values[rows])
    for name in JITTER_FEATURES if JITTER_FEATURES[0] in features else ():
        features[name] = mixed(features[name], np.full_like(calls, np.nan, np.float32))
    for name in LARGER_FEATURES if LARGER_FEATURES[0] in features else ():
        features[name] = again.astype(np.float32)
    return replace(
        said,
        xy=mixed(said.xy, second_look.xy[rows]),
        score=mixed(said.score, second_look.score[rows]),
        presence=mixed(said.presence, second_look.presence[rows]),
        visible=mixed(said.visible, second_look.visible[rows]),
        again=again,
        features=features,
    )


def _replaced(values: NDArray[Any], rows: NDArray[np.bool_], new: NDArray[Any]) -> NDArray[Any]:
    copy = values.copy()
    copy[rows] = new
    return copy
