"""A student's own doubt: its calibrator, and its quality head, fitted on poses that people checked.

A student errs elsewhere than its teacher, and where it is unsure its peaks are of another height. So nothing of the
teacher's calibrator holds for it, and it is fitted anew on the student's own answers. Its quality head is taught on the
same poses, and learns besides what its teacher's quality head says of people whom nobody checked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import Field

from autolabel.errors import ConfigError, ExistsError, InputError
from autolabel.manifest import Existing, Manifest
from autolabel.progress import SILENT, Progress
from autolabel.run import DONE, Run, RunState, file_digest
from autolabel.settings import Settings
from autolabel.skeleton import Skeleton
from pipelines.calibrate import CalibrateResult, calibrate, calibrated
from pipelines.predict import predict
from pipelines.quality_taught import QualityTeacher, judging
from pipelines.unchecked import unchecked

_T = TypeVar("_T")

CALIBRATOR = "calibrator.json"
"""In the student's folder; its plot and the quality head lie beside it."""

PREDICTED = "doubt"
"""What the student said of the checked poses, in its folder."""

FITTED = "doubt-fitted"
"""In its folder: the record of what its calibrator was fitted to."""

TAUGHT = "doubt-taught"
"""In its folder: people whom nobody checked, and what the student and its teacher said of them."""


class Doubt(Settings):
    """What a student's doubt is fitted on, and for which predictions.

    Attributes:
        checked: Manifest of checked poses that neither student nor teacher was trained on; relative to the TOML file.
        quality: Teach the student a quality head, too.
        teacher_quality: The teacher's quality head, from which the student's learns; relative to the TOML file. By
            default it learns from checked poses alone.
        taught: How many people at most. They are of the unlabelled manifests, or else of the labelled ones.
        flip_test: Predict as ``predict --flip-test`` does.
        jitter: Predict as ``predict --jitter`` does.
        larger_crop: Predict as ``predict --larger-crop`` does.
        seed: Of the cross-fitting, of the quality head, and of who those people are.
    """

    checked: str
    quality: bool = True
    teacher_quality: str = ""
    taught: int = Field(default=2000, ge=1)
    flip_test: bool = False
    jitter: bool = False
    larger_crop: bool = True
    seed: int = 0

    def beside(self, file: Path) -> Self:
        """The same with the paths that are relative to a file."""
        paths = {
            name: str(file.parent / path) for name in ("checked", "teacher_quality") if (path := getattr(self, name))
        }
        return self.model_copy(update=paths)


@dataclass(frozen=True)
class Judge:
    """A student's teacher, and people whom it may judge.

    Attributes:
        weights: The teacher.
        people: Manifests of one skeleton, of which only the boxes count.
        dataset: Expert and head of a ViTPose++ teacher.
    """

    weights: str
    people: Sequence[Manifest]
    dataset: str | None = None


@dataclass(frozen=True)
class StudentDoubt:
    """A student's calibrator.

    Attributes:
        calibrator: Its file, and how good it is.
        predicted: What it was fitted to.
    """

    calibrator: CalibrateResult
    predicted: Manifest


def require_checked(doubt: Doubt, data: Sequence[Manifest], student: Skeleton, subject: str) -> None:
    """Refuse before a long distillation checked poses that no doubt could be fitted on after it.

    Args:
        doubt: What is wanted, with whole paths.
        data: What the student learns with its labels.
        student: The student's skeleton.
        subject: What errors call the settings.

    Raises:
        ManifestError: There is no such manifest.
        SkeletonError: It has other keypoints.
        InputError: It has no poses, or images that the student learns with their labels: of what it learnt by heart
            it would be too sure.
    """
    checked = Manifest.open(doubt.checked)
    student.require_same(checked.skeleton, str(checked.path))
    if not checked.counts["poses"]:
        raise InputError("has no poses to fit doubt on", subject=str(checked.path), remedy="Give checked poses.")
    images = {sample.id for sample in checked}
    learnt = images.intersection(sample.id for manifest in data for sample in manifest)
    if learnt:
        raise InputError(
            f"{len(learnt):,} of its {len(images):,} images are in [[data]] too: the student would be too sure of them",
            subject=f"{subject}: doubt: checked",
            remedy="Keep checked poses for the doubt alone, such as the calibration part of a project.",
        )


def require_judge(doubt: Doubt, judge: Judge, student: Skeleton, subject: str) -> None:
    """Refuse before a long distillation a quality head that could not teach after it.

    Args:
        doubt: What is wanted, with whole paths.
        judge: The teacher.
        student: The student's skeleton.
        subject: What errors call the settings.

    Raises:
        ConfigError: The student is to have no quality head.
        CheckpointError: The quality head is not there, damaged, or not the teacher's.
        SkeletonError: The student has other keypoints.
    """
    if not doubt.teacher_quality:
        return
    if not doubt.quality:
        raise ConfigError(
            "teacher_quality is given, and the student is to have no quality head",
            subject=f"{subject}: doubt",
            remedy="Leave one of quality = false and teacher_quality out.",
        )
    judging(judge.weights, doubt.teacher_quality, judge.dataset, student)


def refit_doubt(
    doubt: Doubt,
    *,
    student: Path,
    judge: Judge | None = None,
    quality_steps: int | None = None,
    progress: Progress = SILENT,
) -> StudentDoubt:
    """Let the student label the checked poses, and fit its doubt to what came out; the same again does nothing.

    Args:
        doubt: On what, and for which predictions.
        student: Its checkpoint folder, in which the calibrator is put.
        judge: The teacher, where ``doubt`` has its quality head.
        quality_steps: Of the student's quality head; see :func:`pipelines.calibrate.calibrate`.
        progress: Where to report.

    Raises:
        InputError: There are no such poses, or too few.
        CheckpointError: The teacher's quality head is not the teacher's.
    """
    predicted = _predicted(doubt, doubt.checked, str(student), student / PREDICTED, progress, jitter=doubt.jitter)
    taught = None
    if judge is not None and doubt.teacher_quality:
        taught = judged_people(doubt, student=student, judge=judge, progress=progress)
    out, inputs = student / CALIBRATOR, {"predicted": predicted.digest, "checked": Manifest.open(doubt.checked).digest}
    if taught is not None:
        inputs |= {"taught": taught.own.digest, "judged": taught.its.digest, "head": file_digest(Path(taught.quality))}
    config: dict[str, Any] = {"quality": doubt.quality, "seed": doubt.seed}
    if quality_steps is not None:
        config["quality_steps"] = quality_steps

    def opened(again: bool) -> Run:
        existing = Existing.OVERWRITE if again else Existing.RESUME
        return Run.open(student / FITTED, "doubt", config=config, inputs=inputs, existing=existing, commit=DONE)

    with _renewed(opened) as run:
        if run.state is RunState.DONE and out.is_file():
            return StudentDoubt(calibrated(out), predicted)
        fitted = calibrate(
            predicted.path,
            truth=doubt.checked,
            out=out,
            weights=str(student) if doubt.quality else None,
            taught=taught,
            quality_steps=quality_steps,
            seed=doubt.seed,
            overwrite=True,
            progress=progress,
        )
        run.finish({"calibrator": out.name})
    return StudentDoubt(fitted, predicted)


def judged_people(doubt: Doubt, *, student: Path, judge: Judge, progress: Progress = SILENT) -> QualityTeacher | None:
    """Let student and teacher label people whom nobody checked; what is there is not done again.

    Args:
        doubt: How many people, and how they are labelled.
        student: Its checkpoint folder, below which everything is put.
        judge: The teacher.
        progress: Where to report.

    Returns:
        None where nobody is left who is not of a group that was checked.

    Raises:
        ManifestError: There are no checked poses.
        SkeletonError: The manifests have several skeletons.
    """
    checked, folder = Manifest.open(doubt.checked), student / TAUGHT
    people = _renewed(
        lambda overwrite: unchecked(
            judge.people, checked, most=doubt.taught, seed=doubt.seed, out=folder / "people", overwrite=overwrite
        )
    )
    if not people.counts["poses"]:
        progress.note(
            "the teacher's quality head has nobody to judge: all people in boxes are of groups that were checked; the "
            "student's learns from checked poses alone"
        )
        return None
    own = _predicted(doubt, people.path, str(student), folder / "student", progress)
    its = _predicted(doubt, people.path, judge.weights, folder / "teacher", progress, dataset=judge.dataset)
    return QualityTeacher(judge.weights, doubt.teacher_quality, own, its, judge.dataset)


def _predicted(
    doubt: Doubt,
    source: str | Path,
    weights: str,
    out: Path,
    progress: Progress,
    *,
    jitter: bool = False,
    dataset: str | None = None,
) -> Manifest:
    """What a network says of people, as it is to be doubted; goes on where it stopped."""
    return _renewed(
        lambda overwrite: predict(
            source,
            weights=weights,
            out=out,
            dataset=dataset,
            flip_test=doubt.flip_test,
            jitter=jitter,
            larger_crop=doubt.larger_crop,
            overwrite=overwrite,
            progress=progress,
        )
    ).manifest


def _renewed(make: Callable[[bool], _T]) -> _T:
    """What stands already if it is the same or can go on, else made in the place of what stands there."""
    try:
        return make(False)
    except ExistsError:
        return make(True)
