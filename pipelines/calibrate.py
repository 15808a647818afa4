"""``autolabel calibrate``: fit the score model on poses that people checked.

The checked poses must not have been trained on: on its own training data a network looks better than it is.
"""

from dataclasses import dataclass
from pathlib import Path

from autolabel.errors import ExistsError
from autolabel.manifest import Manifest
from autolabel.progress import SILENT, Progress
from autolabel.score import MIN_BAD, Calibrator, fit_calibrator, predicted
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
        out: The calibrator's file; fitting the same again changes nothing.
        seed: Of the cross-fitting.
        overwrite: Replace another calibrator in ``out``.
        progress: Where to report.

    Raises:
        InputError: Nothing to fit on, or too little.
        ExistsError: Another file stands at ``out``.
    """
    fitted = fit(check(Manifest.open(manifest), Manifest.open(truth), progress), seed=seed)
    out = Path(out)
    if out.exists() and not overwrite and out.read_bytes() != fitted.to_json().encode():
        raise ExistsError("stands already", subject=str(out), remedy="Give another --out, or --overwrite.")
    out.parent.mkdir(parents=True, exist_ok=True)
    fitted.save(out)
    return CalibrateResult(out, fitted)


def fit(checked: Checked, *, seed: int = 0) -> Calibrator:
    """Fit on poses that were compared already; those without a prediction are left out.

    Raises:
        InputError: Too few checked poses, or too few of one kind.
    """
    checked = checked.take(predicted(checked.features))
    return fit_calibrator(
        checked.poses,
        checked.features,
        checked.sizes,
        gross=checked.gross,
        scored=checked.scored,
        bad=checked.bad,
        seed=seed,
    )


def enough(checked: Checked) -> bool:
    """Whether a calibrator can be fitted at all; until then the prior ranks."""
    bad = checked.bad[predicted(checked.features)] if checked.features else checked.bad[:0]
    return min(int(bad.sum()), int((~bad).sum())) >= MIN_BAD
