"""``autolabel calibrate``: fit the score model on poses that people checked.

The checked poses must not have been trained on: on its own training data a network looks better than it is.
"""

from dataclasses import dataclass
from pathlib import Path

from autolabel.errors import ExistsError
from autolabel.manifest import Manifest
from autolabel.progress import SILENT, Progress
from autolabel.score import Calibrator, fit_calibrator
from pipelines.check import Checked, check


@dataclass(frozen=True)
class CalibrateResult:
    """A fitted calibrator.

    Attributes:
        path: Its file.
        calibrator: Its content.
    """

    path: Path
    calibrator: Calibrator

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "calibrator": self.path,
            "poses": self.calibrator.poses,
            "bad": self.calibrator.bad,
            "model": self.calibrator.model,
        }


def calibrate(
    manifest: str | Path,
    *,
    truth: str | Path,
    out: str | Path,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> CalibrateResult:
    """Fit ``p_gross`` and ``p_bad`` to checked poses.

    Args:
        manifest: What ``predict`` wrote, with its features.
        truth: Checked poses of the same images. Where they carry the predicted poses' ids, as corrections do, only
            those are used; otherwise they are matched by place.
        out: The calibrator's file.
        seed: Of the cross-fitting.
        overwrite: Replace ``out``.
        progress: Where to report.

    Raises:
        InputError: Nothing to fit on.
        ExistsError: ``out`` exists.
    """
    out = Path(out)
    if out.exists() and not overwrite:
        raise ExistsError("exists already", subject=str(out), remedy="Give another --out, or --overwrite.")
    return fit(check(Manifest.open(manifest), Manifest.open(truth), progress), out=out, seed=seed)


def fit(checked: Checked, *, out: Path, seed: int = 0) -> CalibrateResult:
    """Fit on poses that were compared already, and write the file.

    Raises:
        InputError: Too few checked poses, or all of one kind.
    """
    fitted = fit_calibrator(
        checked.poses,
        checked.features,
        checked.sizes,
        gross=checked.gross,
        scored=checked.scored,
        bad=checked.bad,
        seed=seed,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    fitted.save(out)
    return CalibrateResult(out, fitted)
