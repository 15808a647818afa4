"""One part of ``autolabel predict``: the samples of a part in, the same samples with predicted poses out.

All poses of the part are handled as one value; the network's answers, which come for the boxes that could be
predicted, are scattered into it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ImageError
from autolabel.formats.coco_boxes import Boxes
from autolabel.images import read_image
from autolabel.manifest import Manifest
from autolabel.merge import State
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.progress import Task
from autolabel.skeleton import Skeleton
from autolabel.suppress import oks_nms, rescore
from pipelines.boxes import boxes_of_detector, boxes_of_file, detected, signed, usable, whole_image

if TYPE_CHECKING:
    from torch import Tensor

    from model.config import ViTPoseConfig
    from model.detect import Detector
    from model.predict import Predictor
    from model.prediction import Prediction

OTHER_SIZE = "other size"
"""Reason to set an image aside that :class:`autolabel.images.Reason` does not have."""

DECODERS = 4
LOOKAHEAD = 16
"""Images that are decoded ahead of the network, at most."""


@dataclass(frozen=True)
class Job:
    """What every part needs.

    Attributes:
        manifest: The corpus. If it holds no pose at all and there are no ``boxes``, every image is taken as one person.
        boxes: By root and path of the sample, instead of the manifest's own; None for those.
        boxes_source: What to call them in the ids of their poses.
        predictor: The network.
        by: What its poses are signed with.
        quality: Digest of its quality head; empty without one.
        detector: Finds the people in every image, instead of the manifest's boxes; None where boxes are given.
        detector_batch: Images that it looks at together.
    """

    manifest: Manifest
    boxes: Mapping[tuple[str, str], Boxes] | None
    boxes_source: str
    predictor: "Predictor"
    by: str
    quality: str = ""
    detector: "Detector | None" = None
    detector_batch: int = 8

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the poses that come out."""
        return self.predictor.model.skeleton

    @property
    def whole_images(self) -> bool:
        """Whether nobody gave boxes."""
        return self.boxes is None and self.detector is None and not self.manifest.counts["poses"]


@dataclass
class PartReport:
    """What happened to a part, besides its poses.

    Attributes:
        quarantined: Images that could not be read: ``path``, ``reason`` and ``detail``.
        unboxed: Images in which there is no box, while others have some: nothing was predicted there.
        suppressed: Poses dropped because a better one of the same image is nearly the same.
        larger_crops: Poses that were looked at a second time, in a larger crop.
    """

    quarantined: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    unboxed: int = 0
    suppressed: int = 0
    larger_crops: int = 0


def predict_part(
    job: Job, samples: Sequence[Sample], task: Task
) -> tuple[list[Sample], dict[str, NDArray[Any]], PartReport]:
    """Predict every box of the samples.

    Returns:
        The samples with their poses, the features of those poses in the same order, and the report.

    Raises:
        SkeletonError: The samples' labels have another skeleton than the network.
    """
    report = PartReport()
    boxed = [sample.with_poses(_people(job, sample)) for sample in samples]
    readable = np.ones(len(boxed), bool)
    images = _images(job, boxed, readable, report, task)
    answers = list(job.predictor.predict(images))  # where there is a detector, this boxes the people too
    report.unboxed = sum(not usable(sample.poses).any() for sample, read in zip(boxed, readable, strict=True) if read)
    report.larger_crops = sum(int(answer.again.sum()) for answer in answers)
    poses = Poses.concat([Poses.empty(job.skeleton.num_keypoints), *(sample.poses for sample in boxed)])
    owner = np.repeat(np.arange(len(boxed)), [len(sample.poses) for sample in boxed])
    poses, features = _scattered(job, poses, np.flatnonzero(usable(poses) & readable[owner]), answers)
    kept = np.flatnonzero(_unsuppressed(job, poses, owner))
    report.suppressed = len(poses) - len(kept)
    bounds = np.searchsorted(owner[kept], np.arange(len(boxed) + 1)).tolist()
    own = [poses.take(kept[start:stop]) for start, stop in pairwise(bounds)]
    done = [sample.with_poses(its) for sample, its in zip(boxed, own, strict=True)]
    return done, {name: array[kept] for name, array in features.items()}, report


def _people(job: Job, sample: Sample) -> Poses:
    """The boxes to predict, as poses of the network's skeleton; none yet where a detector is to find them."""
    k = job.skeleton.num_keypoints
    if job.detector is not None:
        return Poses.empty(k)
    if job.whole_images:
        return whole_image(k, sample)
    if job.boxes is None:
        return _in_skeleton(sample.poses, job)
    return boxes_of_file(k, sample, job.boxes.get((sample.root, sample.path)), job.boxes_source)


def _in_skeleton(poses: Poses, job: Job) -> Poses:
    """What a prediction leaves of poses; labels are refused if they are of another skeleton, boxes never are."""
    if poses.labelled.any():
        job.skeleton.require_same(job.manifest.skeleton, str(job.manifest.path))
    fields: dict[str, Any] = {name: getattr(poses, name) for name in _OF_THE_INSTANCE}
    attributes = [_of_the_instance(attributes) for attributes in poses.attributes]
    return Poses.create(job.skeleton.num_keypoints, **fields, attributes=attributes)


_OF_THE_INSTANCE = ("id", "box", "box_score", "area", "crowd", "group")


_OF_THE_KEYPOINTS = ("state", "verdict", "reasons", "lint", "lint_repaired")
"""What was said about keypoints that are predicted anew."""


def _of_the_instance(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """A person's verdict falls with the keypoints that it was about, except that there is nobody to be labelled."""
    if attributes.get("state") == State.REJECTED:
        return attributes
    return {name: value for name, value in attributes.items() if name not in _OF_THE_KEYPOINTS}


def _images(
    job: Job, boxed: list[Sample], readable: NDArray[np.bool_], report: PartReport, task: Task
) -> "Iterator[tuple[Tensor, NDArray[np.float64]]]":
    """Decoded images with their boxes, in order; each is decoded once, whoever looks at it.

    Marks what could not be read in ``readable`` and reports it; puts the people whom a detector found into ``boxed``.
    """
    if job.detector is None:
        boxes = [sample.poses.box[usable(sample.poses)] for sample in boxed]
        wanted = [i for i in range(len(boxed)) if len(boxes[i])]
        task.advance(len(boxed) - len(wanted))
        for i, image in read_images(job.manifest, boxed, wanted, readable, report.quarantined, task):
            yield image, boxes[i]
        return
    by, k = signed(job.detector), job.skeleton.num_keypoints
    images = read_images(job.manifest, boxed, range(len(boxed)), readable, report.quarantined, task)
    for i, image, found in detected(job.detector, images, job.detector_batch):
        boxed[i] = boxed[i].with_poses(boxes_of_detector(k, boxed[i], found, by))
        if len(found.box):
            yield image, found.box


def read_images(
    manifest: Manifest,
    samples: Sequence[Sample],
    wanted: Sequence[int],
    readable: NDArray[np.bool_],
    quarantined: list[dict[str, str]],
    task: Task,
) -> "Iterator[tuple[int, Tensor]]":
    """Images of samples, decoded by threads ahead of their use.

    Args:
        manifest: Knows where they are.
        samples: N of them.
        wanted: Which, ascending.
        readable: (N,) where it becomes False for an image that cannot be read.
        quarantined: Where such an image is told, with the reason.
        task: Told of every image.

    Yields:
        The number of a sample and its image, (3, H, W) uint8.
    """
    import torch

    to_tensor: Callable[[NDArray[np.uint8]], Tensor] = cast("Any", torch).from_numpy  # untyped in torch
    for i, image in decoded_ahead(manifest, samples, wanted):
        task.advance()
        if isinstance(image, ImageError):
            readable[i] = False
            quarantined.append({"path": samples[i].path, "reason": image.reason, "detail": image.message})
        else:
            yield i, to_tensor(image).permute(2, 0, 1)


def decoded_ahead(
    manifest: Manifest, samples: Sequence[Sample], wanted: Sequence[int]
) -> "Iterator[tuple[int, NDArray[np.uint8] | ImageError]]":
    """The images of the wanted samples, in order, decoded by threads while the network works on earlier ones."""
    waiting = deque[tuple[int, Future[NDArray[np.uint8] | ImageError]]]()
    pool = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")
    try:
        for i in wanted:
            waiting.append((i, pool.submit(_decoded, manifest, samples[i])))
            if len(waiting) > LOOKAHEAD:
                first, future = waiting.popleft()
                yield first, future.result()
        for i, future in waiting:
            yield i, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decoded(manifest: Manifest, sample: Sample) -> "NDArray[np.uint8] | ImageError":
    """The image, or why there is none: one bad image never stops a job."""
    try:
        image = read_image(manifest.image_path(sample))
    except ImageError as error:
        return error
    if image.shape[1::-1] != sample.size:
        now, then = ("x".join(map(str, size)) for size in (image.shape[1::-1], sample.size))
        return ImageError(f"is {now} now, the manifest says {then}", reason=OTHER_SIZE)
    return image


def _scattered(
    job: Job, poses: Poses, rows: NDArray[np.intp], answers: "Sequence[Prediction]"
) -> tuple[Poses, dict[str, NDArray[Any]]]:
    """The poses with the network's answers at ``rows``, and features with NaN where there is no answer."""
    # So that arrays and features have their shapes where nothing at all was predicted.
    answers = [job.predictor.nothing(), *answers]

    def spread(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
        values = np.concatenate(parts)
        full = np.full((len(poses), *values.shape[1:]), np.nan, values.dtype)
        full[rows] = values
        return full

    score, presence, visible = (
        spread([getattr(answer, name) for answer in answers]) for name in ("score", "presence", "visible")
    )
    by = np.full(len(poses), "", object)
    by[rows] = job.by
    predicted = poses.replace(
        xy=spread([answer.xy for answer in answers]),
        score=score,
        presence=presence,
        visibility=stated(job.predictor.model.config, score, presence, visible),
        origin=np.where(np.isfinite(score), Origin.MODEL, Origin.NONE),
        by=by,
    )
    names = answers[0].features
    features = {name: spread([answer.features[name] for answer in answers]) for name in names}
    # The detector's word for a box is known whatever became of its pose.
    return predicted, {**features, "box_score": poses.box_score.astype(np.float32)}


def stated(
    config: "ViTPoseConfig", score: NDArray[np.float32], presence: NDArray[np.float32], visible: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """(N, K) what the numbers come to, by the thresholds of the network's config; without an answer, nothing.

    A presence head's word goes before the height of the peak, which is all there is without one (decision 0005). A
    keypoint keeps its place whatever is said of it.
    """
    there, known = np.isfinite(score), np.isfinite(presence)
    absent = np.where(known, presence < config.presence_threshold, score < config.absent_below)
    hidden = known & (visible < config.visible_threshold)
    said = np.select([absent, hidden], [Visibility.ABSENT, Visibility.HIDDEN], Visibility.VISIBLE)
    return np.where(there, said, Visibility.UNLABELLED).astype(np.uint8)


def _unsuppressed(job: Job, poses: Poses, owner: NDArray[np.intp]) -> NDArray[np.bool_]:
    """(N,) poses to keep: a detector's boxes often hold one person twice; boxes without a score were drawn.

    Args:
        job: Tells the network's padded box, by which the official evaluation measures (``vitpose.md`` 3.6).
        poses: N predicted poses.
        owner: (N,) which image each is in, ascending.
    """
    keep = np.ones(len(poses), bool)
    detected = np.isfinite(poses.box_score) & np.isfinite(poses.xy).all(axis=(1, 2))
    rivals = np.flatnonzero(detected)
    scores = rescore(poses.box_score[rivals], poses.score[rivals])
    area = job.predictor.padded_area(poses.box[rivals])
    for group in np.split(np.arange(len(rivals)), np.flatnonzero(np.diff(owner[rivals])) + 1):
        best = oks_nms(poses.xy[rivals[group]], scores[group], area[group], job.skeleton.sigmas)
        keep[np.delete(rivals[group], best)] = False
    return keep
