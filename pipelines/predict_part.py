"""One part of ``autolabel predict``: the samples of a part in, the same samples with predicted poses out.

All poses of the part are handled as one value; the network's answers, which come for the boxes that could be
predicted, are scattered into it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autolabel.formats.coco_boxes import Boxes
from autolabel.manifest import Manifest
from autolabel.merge import State
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.progress import Task
from autolabel.skeleton import Skeleton
from autolabel.suppress import oks_nms, rescore
from pipelines.boxes import boxes_of_detector, boxes_of_file, detected, signed, usable, whole_image
from pipelines.decoding import ImageReader

if TYPE_CHECKING:
    from model.config import ViTPoseConfig
    from model.cutting import Image
    from model.detect import Detector
    from model.predict import Predictor
    from model.prediction import Prediction


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
        reduced: Decode large photographs no finer than the crops of their people are.
    """

    manifest: Manifest
    boxes: Mapping[tuple[str, str], Boxes] | None
    boxes_source: str
    predictor: "Predictor"
    by: str
    quality: str = ""
    detector: "Detector | None" = None
    detector_batch: int = 8
    reduced: bool = True

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
    with job.predictor.stages("put together"):
        return _with_answers(job, boxed, readable, answers, report)


def _with_answers(
    job: Job, boxed: Sequence[Sample], readable: NDArray[np.bool_], answers: "Sequence[Prediction]", report: PartReport
) -> tuple[list[Sample], dict[str, NDArray[Any]], PartReport]:
    """What :func:`predict_part` gives, of what the network said."""
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
) -> "Iterator[tuple[Image, NDArray[np.float64]]]":
    """Decoded images with their boxes, in order; each is decoded once, whoever looks at it.

    Marks what could not be read in ``readable`` and reports it; puts the people whom a detector found into ``boxed``.
    """
    stages = job.predictor.stages
    images = ImageReader(job.manifest, boxed, readable, report.quarantined, task, stages)
    if job.detector is None:
        boxes = [sample.poses.box[usable(sample.poses)] for sample in boxed]
        wanted = [i for i in range(len(boxed)) if len(boxes[i])]
        task.advance(len(boxed) - len(wanted))
        by = [job.predictor.reduction(boxes[i], boxed[i].size) if job.reduced else 1 for i in wanted]
        for i, image in images.reduced(wanted, by):
            yield image, boxes[i]
        return
    by, k = signed(job.detector), job.skeleton.num_keypoints
    whole = stages.each("wait for images", images.whole(range(len(boxed))))
    for i, image, found in stages.each("detect", detected(job.detector, whole, job.detector_batch)):
        boxed[i] = boxed[i].with_poses(boxes_of_detector(k, boxed[i], found, by))
        if len(found.box):
            yield image, found.box


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
