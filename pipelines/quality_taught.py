"""A teacher that judges people whom nobody checked, for its student's quality head (:mod:`model.quality_taught`).

Both networks have predicted the same people. Their images are looked at once more, by both, and what both see is kept
together with where each put the keypoints.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import SkeletonError, WorkError
from autolabel.manifest import Manifest
from autolabel.poses import Poses
from autolabel.progress import SILENT, Progress
from autolabel.similarity import similarity_area
from autolabel.skeleton import Skeleton
from pipelines.pose_images import PoseImages, judgeable, require_its_own
from pipelines.predicted import predicted_how

if TYPE_CHECKING:
    from model.heads import QualityHead
    from model.predict import Predictor
    from model.quality_looks import Looks
    from model.quality_taught import TaughtPoses
    from model.vitpose import ViTPose


@dataclass(frozen=True)
class QualityTeacher:
    """Whose word a student's quality head learns, and about whom.

    Attributes:
        weights: The teacher: anything ``model.checkpoint.load_model`` reads.
        quality: The file of its quality head.
        own: What the student predicted of people whom nobody checked, as ``predict`` wrote it. They are not in the
            images that were checked: of those the teacher's head may know the truth.
        its: What the teacher predicted of the same people; the poses' ids tell who is who.
        dataset: Which expert and head of a ViTPose++ teacher.
    """

    weights: str | Path
    quality: str | Path
    own: Manifest
    its: Manifest
    dataset: str | None = None


def judging(
    weights: str | Path, quality: str | Path, dataset: str | None, student: Skeleton
) -> "tuple[ViTPose, QualityHead]":
    """A teacher and its quality head, if they can teach a student of a skeleton.

    Raises:
        CheckpointError: There is no such file, it is damaged, or the head is of another network.
        SkeletonError: The student has other keypoints.
    """
    from model.checkpoint import load_model
    from model.quality import load_quality

    model = load_model(weights, dataset)
    head = load_quality(quality, model)
    if model.skeleton.fingerprint != student.fingerprint:
        raise SkeletonError(
            f"judges poses of {model.skeleton.name!r} ({model.skeleton.num_keypoints} keypoints), the student's are of "
            f"{student.name!r} ({student.num_keypoints})",
            subject=str(quality),
            remedy="Leave the teacher's quality head out: the student's learns from checked poses alone.",
        )
    return model, head


def look_at_taught(
    teacher: QualityTeacher, predictor: "Predictor", *, most_bytes: int, seed: int = 0, progress: Progress = SILENT
) -> "TaughtPoses | None":
    """What a student and its teacher see of people whom nobody checked.

    Args:
        teacher: The teacher, and what was predicted.
        predictor: The student.
        most_bytes: Where the features of more poses than fit in this were to be kept, some are left out, by chance.
        seed: Of that chance.
        progress: Where to report.

    Returns:
        None where both said something of nobody.

    Raises:
        CheckpointError: The quality head is not the teacher's, or damaged.
        SkeletonError: The teacher has other keypoints.
        InputError: A manifest is of another network.
        WorkError: An image could be read at first, and then no more.
    """
    from model.checkpoint import model_digest
    from model.predict import Predictor
    from model.quality_looks import look_bytes
    from model.quality_taught import TaughtPoses

    model, head = judging(teacher.weights, teacher.quality, teacher.dataset, predictor.model.skeleton)
    own, its = _paired(_all_poses(teacher.own), _all_poses(teacher.its))
    rows = np.flatnonzero(judgeable(own) & np.isfinite(its.xy).any(axis=(1, 2)))
    require_its_own(own.take(rows), model_digest(predictor.model)[:12], "student")
    require_its_own(its.take(rows), model_digest(model)[:12], str(teacher.weights))
    fitting = most_bytes // (look_bytes(predictor.model) + look_bytes(model))
    if len(rows) > fitting:
        progress.note(f"the teacher judges {fitting:,} of {len(rows):,} people, to save memory")
        rows = np.sort(np.random.default_rng(seed).choice(rows, fitting, replace=False))
    images, looks = _look(teacher.own, own, rows, predictor, "look", progress)
    if not images.read:
        return None
    if images.unread:
        progress.note(f"{len(images.unread):,} images could not be read; the teacher judges people in the others")
    read = np.array(images.read, np.intp)
    asked = Predictor(
        model,
        device=str(predictor.device),
        precision=predictor.precision,
        larger_crop=predicted_how(teacher.its).larger_crop,
        batch_size=predictor.batch_size,
    )
    again, seen = _look(teacher.own, own, read, asked, "teacher looks", progress)
    if again.read != images.read:
        raise WorkError("images changed while they were read", subject=str(teacher.own.path), remedy="Start it again.")
    places = its.xy.astype(np.float64)
    others = images.neighbours(places)[read]
    return TaughtPoses(
        looks=looks,
        predicted=own.xy[read].astype(np.float64),
        teacher=head,
        seen=seen,
        places=places[read],
        area=similarity_area(own)[read],
        # Nobody is mistaken for somebody whom the crop does not show.
        neighbours=np.where(looks.shows(others)[..., None], others, np.nan),
    )


def _look(
    manifest: Manifest, poses: Poses, rows: NDArray[np.intp], predictor: "Predictor", name: str, progress: Progress
) -> "tuple[PoseImages, Looks]":
    """What a network sees of the poses at ``rows``, and the images that they are in."""
    from model.quality_looks import look_at

    images = PoseImages(manifest, poses, rows)
    with progress.task(name, len(manifest), "image") as task:
        return images, look_at(predictor, images.decoded(task), len(rows))


def _all_poses(manifest: Manifest) -> Poses:
    parts: Sequence[Poses] = [manifest.poses(i) for i in range(manifest.num_parts)]
    return Poses.concat([Poses.empty(manifest.skeleton.num_keypoints), *parts])


def _paired(own: Poses, its: Poses) -> tuple[Poses, Poses]:
    """The poses whose ids are in both, in the order of the first."""
    row = {pose: i for i, pose in enumerate(its.id.tolist())}
    pairs = [(i, row[pose]) for i, pose in enumerate(own.id.tolist()) if pose in row]
    first, second = np.array(pairs, np.intp).reshape(-1, 2).T
    return own.take(first), its.take(second)
