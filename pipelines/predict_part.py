"""One part of ``autolabel predict``: the samples of a part in, the same samples with predicted poses out.

All poses of the part are handled as one value; the network's answers, which come for the boxes that could be
predicted, are scattered into it.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ImageError
from autolabel.formats.coco_boxes import Boxes
from autolabel.images import read_image
from autolabel.manifest import Manifest
from autolabel.poses import Origin, Poses, Sample, Visibility, pose_id, split
from autolabel.progress import Task
from autolabel.skeleton import Skeleton
from autolabel.suppress import oks_nms, rescore

if TYPE_CHECKING:
    from torch import Tensor

    from model.predict import Prediction, Predictor

WHOLE_IMAGE = "whole-image"
DECODERS = 4
LOOKAHEAD = 16
"""Images that are decoded ahead of the network, at most."""
PADDED_AREA = 1.25**2
"""OKS-NMS measures by the padded box (``vitpose.md`` 3.6)."""


@dataclass(frozen=True)
class Job:
    """What every part needs.

    Attributes:
        manifest: The corpus.
        boxes: By file name, instead of the manifest's own; None for those.
        boxes_source: What to call them in the ids of their poses.
        predictor: The network.
        by: What its poses are signed with.
    """

    manifest: Manifest
    boxes: Mapping[str, Boxes] | None
    boxes_source: str
    predictor: "Predictor"
    by: str

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the poses that come out."""
        return self.predictor.model.skeleton


@dataclass
class PartReport:
    """What happened to a part, besides its poses.

    Attributes:
        quarantined: Images that could not be read: ``path`` and ``reason``.
        whole_image: Images without a box, taken as one person.
        suppressed: Poses dropped because a better one of the same image is nearly the same.
    """

    quarantined: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    whole_image: int = 0
    suppressed: int = 0


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
    boxed = [_boxed(job, sample, report) for sample in samples]
    if not boxed:
        return [], {}, report
    readable = np.ones(len(boxed), bool)
    answers = list(job.predictor.predict(_images(job, boxed, readable, report, task)))
    poses = Poses.concat([sample.poses for sample in boxed])
    owner = np.repeat(np.arange(len(boxed)), [len(sample.poses) for sample in boxed])
    poses, features = _scattered(job, poses, np.flatnonzero(_usable(poses) & readable[owner]), answers)
    keep = _unsuppressed(poses, owner, job.skeleton)
    report.suppressed = int((~keep).sum())
    kept = [sample.with_poses(sample.poses.take(keep[owner == i])) for i, sample in enumerate(boxed)]
    done = split(kept, poses.take(keep))
    return done, {name: array[keep] for name, array in features.items()}, report


def _boxed(job: Job, sample: Sample, report: PartReport) -> Sample:
    """The sample with the boxes to predict, as poses of the network's skeleton."""
    k = job.skeleton.num_keypoints
    if job.boxes is not None:
        found = job.boxes.get(sample.path, job.boxes.get(sample.path.rsplit("/", 1)[-1]))
        if found is not None and len(found):
            ids = [
                pose_id(sample.id, sample.path, box, job.boxes_source, record)
                for box, record in zip(found.box, found.record, strict=True)
            ]
            return sample.with_poses(Poses.create(k, id=ids, box=found.box, box_score=found.score))
    elif len(sample.poses):
        return sample.with_poses(_in_skeleton(sample.poses, job))
    report.whole_image += 1
    width, height = sample.size
    box = [-0.5, -0.5, width - 0.5, height - 0.5]
    name = pose_id(sample.id, sample.path, box, WHOLE_IMAGE, 0)
    return sample.with_poses(Poses.create(k, id=[name], box=[box], attributes=[{"box_source": WHOLE_IMAGE}]))


def _in_skeleton(poses: Poses, job: Job) -> Poses:
    """Poses that only have boxes may take any skeleton; labels of another one are refused."""
    if job.manifest.skeleton.fingerprint == job.skeleton.fingerprint:
        return poses
    if poses.labelled.any():
        job.skeleton.require_same(job.manifest.skeleton, str(job.manifest.path))
    fields = ("id", "box", "box_score", "area", "crowd", "group", "attributes")
    return Poses.create(job.skeleton.num_keypoints, **{name: getattr(poses, name) for name in fields})


def _usable(poses: Poses) -> NDArray[np.bool_]:
    """(N,) poses that hold one person in a box."""
    return ~poses.crowd & np.isfinite(poses.box).all(axis=1)


def _images(
    job: Job, samples: Sequence[Sample], readable: NDArray[np.bool_], report: PartReport, task: Task
) -> "Iterator[tuple[Tensor, NDArray[np.float64]]]":
    """Decoded images with their boxes, in order; marks what could not be read in ``readable`` and reports it."""
    import torch

    with ThreadPoolExecutor(DECODERS) as pool:
        waiting = deque[tuple[int, Future[NDArray[np.uint8] | ImageError]]]()
        for i in range(len(samples) + LOOKAHEAD):
            if i < len(samples):
                waiting.append((i, pool.submit(_decoded, job.manifest, samples[i])))
            if i < LOOKAHEAD or not waiting:
                continue
            which, future = waiting.popleft()
            image = future.result()
            task.advance()
            if isinstance(image, ImageError):
                readable[which] = False
                report.quarantined.append({"path": samples[which].path, "reason": image.message})
                continue
            poses = samples[which].poses
            yield torch.from_numpy(image).permute(2, 0, 1), poses.box[_usable(poses)]


def _decoded(manifest: Manifest, sample: Sample) -> "NDArray[np.uint8] | ImageError":
    """The image, or why there is none: one bad image never stops a job."""
    try:
        image = read_image(manifest.image_path(sample))
    except ImageError as error:
        return error
    if image.shape[:2] != (sample.size[1], sample.size[0]):
        return ImageError(
            f"is {image.shape[1]}x{image.shape[0]} now, the manifest says {sample.size[0]}x{sample.size[1]}"
        )
    return image


def _scattered(
    job: Job, poses: Poses, rows: NDArray[np.intp], answers: "Sequence[Prediction]"
) -> tuple[Poses, dict[str, NDArray[Any]]]:
    """The poses with the network's answers at ``rows``, and features with NaN where there is no answer."""

    def spread(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
        values = np.concatenate(parts)
        full = np.full((len(poses), *values.shape[1:]), np.nan, values.dtype)
        full[rows] = values
        return full

    if not answers:
        return poses, {}
    xy = spread([a.xy for a in answers])
    score = spread([a.score for a in answers])
    there = np.isfinite(score)
    absent = there & (score < job.predictor.model.config.absent_below)
    visibility = np.where(there, Visibility.VISIBLE, Visibility.UNLABELLED)
    by = poses.by.copy()
    by[rows] = job.by
    predicted = Poses.create(
        job.skeleton.num_keypoints,
        xy=xy,
        score=score,
        visibility=np.where(absent, Visibility.ABSENT, visibility),
        origin=np.where(there, Origin.MODEL, Origin.NONE),
        by=by,
        **{name: getattr(poses, name) for name in ("id", "box", "box_score", "area", "crowd", "group", "attributes")},
    )
    return predicted, {name: spread([a.features[name] for a in answers]) for name in answers[0].features}


def _unsuppressed(poses: Poses, owner: NDArray[np.intp], skeleton: Skeleton) -> NDArray[np.bool_]:
    """(N,) poses to keep: a detector's boxes often hold one person twice; boxes without a score were drawn."""
    keep = np.ones(len(poses), bool)
    detected = np.isfinite(poses.box_score) & np.isfinite(poses.xy).all(axis=(1, 2))
    area = (poses.box[:, 2] - poses.box[:, 0]) * (poses.box[:, 3] - poses.box[:, 1])
    scores = rescore(poses.box_score, poses.score)
    several = np.flatnonzero(np.bincount(owner[detected]) > 1)
    starts, stops = np.searchsorted(owner, several, "left"), np.searchsorted(owner, several, "right")
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        rows = np.arange(start, stop)[detected[start:stop]]
        best = oks_nms(poses.xy[rows], scores[rows], area[rows] * PADDED_AREA, skeleton.sigmas)
        keep[rows] = False
        keep[rows[best]] = True
    return keep
