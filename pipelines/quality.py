"""Training of a network's quality head on poses that people checked: their images are looked at once more.

``calibrate --weights`` does this beside the calibrator. The head is written to a file, for ``predict --quality``. The
calibrator is to be fitted with what the head says of the same poses; so this gives the features that ``predict`` would
have written for them, each from a head that had not learnt from that pose.

The poses are judged where they stand in the manifest, on the crops of first looks. A student's head learns from its
teacher's, too, about people whom nobody checked (:mod:`pipelines.quality_taught`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ExistsError
from autolabel.manifest import Manifest
from autolabel.progress import SILENT, Progress
from pipelines.check import Checked
from pipelines.pose_images import PoseImages, judgeable, require_its_own
from pipelines.quality_taught import QualityTeacher, look_at_taught

if TYPE_CHECKING:
    from model.predict import Predictor
    from model.quality import Quality
    from model.quality_lesson import CheckedPoses

MOST_BYTES = 2**30
"""Features are kept for as many poses as fit in this, some 7,000 for a ViTPose-S at 256 x 192; and of those whom a
teacher judges, too, for as many as fit in it with both networks' features."""


@dataclass(frozen=True, eq=False)
class LearnedQuality:
    """A trained quality head.

    Attributes:
        path: Its file.
        digest: Names it, as in ``prediction.json``.
        features: Its words about the checked poses, rows as theirs, by the names that ``predict`` gives them; from
            heads that had not learnt from the pose. NaN where a pose has no prediction, where its image could not be
            read, and where all poses are of one group.
        poses: How many it learnt from.
        unread: Images that could not be read.
        taught: How many people whom nobody checked its teacher judged.
    """

    path: Path
    digest: str
    features: dict[str, NDArray[np.float32]]
    poses: int
    unread: tuple[str, ...]
    taught: int = 0


def learn_quality(
    predicted: Manifest,
    checked: Checked,
    *,
    weights: str | Path,
    out: str | Path,
    dataset: str | None = None,
    taught: QualityTeacher | None = None,
    device: str = "auto",
    precision: str = "auto",
    larger_crop: bool = True,
    batch_size: int = 32,
    folds: int = 5,
    seed: int = 0,
    steps: int | None = None,
    most_bytes: int = MOST_BYTES,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> LearnedQuality:
    """Train a quality head for a network on checked poses of its own.

    Args:
        predicted: What ``predict`` wrote; its images are read again.
        checked: Some of its poses beside the truth, in its order; not ones that the network was trained on.
        weights: The network, as ``predict`` took it.
        out: The head's file.
        dataset: Which expert and head of a ViTPose++, as ``predict`` took it.
        taught: A teacher of the network, which judges people whom nobody checked; the head learns its judgement.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        larger_crop: Whether the poses were predicted with larger crops, as ``predict`` took it.
        batch_size: Crops a batch.
        folds: Into how many parts the poses are divided, to be judged by a head that learnt from the other parts.
        seed: Of the head, of the planted errors and of the folds.
        steps: Of each head; see :func:`model.quality_training.train_quality`.
        most_bytes: Where the features of more poses than fit in this were to be kept, some are left out, by chance.
        overwrite: Replace another head in ``out``.
        progress: Where to report.

    Raises:
        InputError: Nothing to learn from, or poses of another network.
        CheckpointError: The teacher's quality head is of another network, or damaged.
        SkeletonError: The teacher has other keypoints.
        ExistsError: Another file stands at ``out``.
    """
    from model.checkpoint import load_model, model_digest
    from model.predict import Predictor
    from model.quality import quality_digest, save_quality
    from model.quality_looks import look_bytes
    from model.quality_training import train_quality

    model = load_model(weights, dataset=dataset)
    rows = np.flatnonzero(judgeable(checked.poses))
    require_its_own(checked.poses.take(rows), model_digest(model)[:12], str(weights))
    predictor = Predictor(model, device=device, precision=precision, larger_crop=larger_crop, batch_size=batch_size)
    # Before the long look at the checked poses, so that a teacher of another kind is told at once.
    judged = taught and look_at_taught(taught, predictor, most_bytes=most_bytes, seed=seed, progress=progress)
    fitting = most_bytes // look_bytes(model)
    if len(rows) > fitting:
        progress.note(f"the quality head learns from {fitting:,} of {len(rows):,} checked poses, to save memory")
        rows = np.sort(np.random.default_rng(seed).choice(rows, fitting, replace=False))
    poses, rows, unread = look(predicted, checked, rows, predictor, progress)
    if unread:
        progress.note(f"{len(unread):,} images could not be read; the quality head learns from the others")
    how: dict[str, Any] = {"folds": folds, "seed": seed, "steps": steps, "device": predictor.device}
    trained = train_quality(poses, predicted.skeleton, taught=judged, **how, progress=progress)
    _require_free(Path(out), trained.head, model, overwrite)
    about = {"poses": str(len(rows)), "folds": str(trained.folds), "seed": str(seed)}
    by_teacher = len(judged) if judged else 0
    about |= {"taught": str(by_teacher)} if by_teacher else {}
    path = save_quality(trained.head, out, model, about)
    features = _features(trained.said, rows, checked)
    return LearnedQuality(path, quality_digest(trained.head), features, len(rows), unread, by_teacher)


def look(
    predicted: Manifest, checked: Checked, rows: NDArray[np.intp], predictor: "Predictor", progress: Progress = SILENT
) -> "tuple[CheckedPoses, NDArray[np.intp], tuple[str, ...]]":
    """What a network sees of checked poses.

    Args:
        predicted: Where the checked poses are from, in the same order.
        checked: The poses.
        rows: (M,) which of them to look at, ascending; each has a box.
        predictor: The network.
        progress: Where to report.

    Returns:
        The poses, the rows that they are of, and the images that could not be read, whose rows are missing.
    """
    from model.quality_lesson import CheckedPoses
    from model.quality_looks import look_at

    images = PoseImages(predicted, checked.poses, rows)
    with progress.task("look", len(predicted), "image") as task:
        looks = look_at(predictor, images.decoded(task), len(rows))
    read = np.array(images.read, np.intp)
    others = images.neighbours(checked.truth)[read]
    poses = CheckedPoses(
        looks=looks,
        predicted=checked.poses.xy[read].astype(np.float64),
        truth=checked.truth[read],
        area=checked.area[read],
        scored=checked.scored[read],
        gross=checked.gross[read],
        bad=checked.bad[read],
        # Nobody is mistaken for somebody whom the crop does not show.
        neighbours=np.where(looks.shows(others)[..., None], others, np.nan),
        group=checked.group[read],
    )
    return poses, read, tuple(images.unread)


def _require_free(out: Path, head: Any, model: Any, overwrite: bool) -> None:
    from model.quality import load_quality, quality_digest

    if out.exists() and not overwrite and quality_digest(load_quality(out, model)) != quality_digest(head):
        raise ExistsError("stands already", subject=str(out), remedy="Give another --out, or --overwrite.")


def _features(said: "Quality", rows: NDArray[np.intp], checked: Checked) -> dict[str, NDArray[np.float32]]:
    """What was said of the poses at ``rows``, for all; NaN elsewhere."""
    from model.prediction import POSE_QUALITY, QUALITY_FEATURES

    found: dict[str, NDArray[np.float32]] = {}
    for name, values in zip((*QUALITY_FEATURES, POSE_QUALITY), said, strict=True):
        found[name] = np.full((len(checked.poses), *values.shape[1:]), np.nan, np.float32)
        found[name][rows] = np.asarray(values)
    return found
