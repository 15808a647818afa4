"""A student's own doubt: its calibrator, and its quality head, fitted on poses that people checked.

A student errs elsewhere than its teacher, and where it is unsure its peaks are of another height. So nothing of the
teacher's calibrator holds for it, and it is fitted anew on the student's own answers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from autolabel.manifest import Manifest
from autolabel.progress import SILENT, Progress
from autolabel.settings import Settings
from pipelines.calibrate import CalibrateResult, calibrate
from pipelines.predict import predict

CALIBRATOR = "calibrator.json"
"""In the student's folder; its plot and the quality head lie beside it."""

PREDICTED = "doubt"
"""What the student said of the checked poses, in its folder."""


class Doubt(Settings):
    """What a student's doubt is fitted on, and for which predictions.

    Attributes:
        checked: Manifest of checked poses that neither student nor teacher was trained on; relative to the TOML file.
        quality: Teach the student a quality head, too.
        flip_test: Predict as ``predict --flip-test`` does.
        jitter: Predict as ``predict --jitter`` does.
        larger_crop: Predict as ``predict --larger-crop`` does.
        seed: Of the cross-fitting, and of the quality head.
    """

    checked: str
    quality: bool = True
    flip_test: bool = False
    jitter: bool = False
    larger_crop: bool = True
    seed: int = 0

    def beside(self, file: Path) -> Self:
        """The same with the manifest's path, which is relative to a file."""
        return self.model_copy(update={"checked": str(file.parent / self.checked)})


@dataclass(frozen=True)
class StudentDoubt:
    """A student's calibrator.

    Attributes:
        calibrator: Its file, and how good it is.
        predicted: What it was fitted to.
    """

    calibrator: CalibrateResult
    predicted: Manifest


def refit_doubt(doubt: Doubt, *, student: Path, progress: Progress = SILENT) -> StudentDoubt:
    """Let the student label the checked poses, and fit its doubt to what came out; the same again does nothing.

    Args:
        doubt: On what, and for which predictions.
        student: Its checkpoint folder, in which the calibrator is put.
        progress: Where to report.

    Raises:
        InputError: There are no such poses, or too few.
    """
    predicted = predict(
        doubt.checked,
        weights=str(student),
        out=student / PREDICTED,
        flip_test=doubt.flip_test,
        jitter=doubt.jitter,
        larger_crop=doubt.larger_crop,
        overwrite=True,
        progress=progress,
    ).manifest
    fitted = calibrate(
        predicted.path,
        truth=doubt.checked,
        out=student / CALIBRATOR,
        weights=str(student) if doubt.quality else None,
        seed=doubt.seed,
        overwrite=True,
        progress=progress,
    )
    return StudentDoubt(fitted, predicted)
