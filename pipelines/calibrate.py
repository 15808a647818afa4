"""``autolabel calibrate``: fit the score model on poses that people checked.

The checked poses must not have been trained on: on its own training data a network looks better than it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autolabel.calibration import MIN_BAD, require_enough
from autolabel.calibration import fit as fit_calibrator
from autolabel.calibrator import Calibrator
from autolabel.errors import ExistsError, InputError
from autolabel.manifest import Manifest
from autolabel.prediction_record import UNKNOWN, Predicted
from autolabel.progress import SILENT, Progress
from autolabel.score import predicted
from autolabel.score_quality import DoubtQuality, doubt_quality
from autolabel.skeleton import Skeleton
from pipelines.check import Checked, check
from pipelines.predicted import predicted_how
from pipelines.quality import learn_quality
from pipelines.quality_taught import QualityTeacher

FEW = 200
"""With fewer checked poses, the curves of a calibrator are rough, and it says so."""


@dataclass(frozen=True)
class CalibrateResult:
    """A fitted calibrator.

    Attributes:
        path: Its file.
        calibrator: Its content.
        plot: Picture of how good it is about poses that it had not seen.
        quality: The same in numbers.
        head: The quality head's file, if one was asked for.
    """

    path: Path
    calibrator: Calibrator
    plot: Path
    quality: DoubtQuality
    head: Path | None = None

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "calibrator": self.path,
            "poses": self.calibrator.poses,
            "bad": self.calibrator.bad,
            "model": self.calibrator.predicted.model,
            "plot": self.plot,
            "quality_head": self.head,
            "auroc": self.quality.auroc,
            "aurc": self.quality.aurc,
            "calibration_error": self.quality.reliability.error,
            "brier_skill": self.quality.brier_skill,
            "coverage": {f"{limit:g}": share for limit, share in self.quality.coverage.items()},
            "evidence": sorted(self.calibrator.uses),
        }

    def told(self) -> str:
        """For a person."""
        return f"{self.path}: held out, {self.quality.told()}"


def calibrate(
    manifest: str | Path,
    *,
    truth: str | Path,
    out: str | Path,
    weights: str | Path | None = None,
    dataset: str | None = None,
    taught: QualityTeacher | None = None,
    quality_steps: int | None = None,
    against: str | Path | None = None,
    without: Sequence[str] | None = None,
    device: str = "auto",
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> CalibrateResult:
    """Fit ``p_gross``, ``p_bad`` and the distance to expect to checked poses.

    Args:
        manifest: What ``predict`` wrote, with its features.
        truth: Checked poses of the same images. Where they carry the predicted poses' ids, as corrections do, only
            those are used; otherwise they are matched by place.
        out: The calibrator's file; fitting the same again changes nothing. Its reliability plot lies beside it.
        weights: The network that predicted: teach it a quality head on the same poses, the stronger option. The head
            lies beside ``out`` (:func:`quality_file`); the calibrator is then for poses that are predicted with it.
        dataset: Which expert and head of a ViTPose++, as ``predict`` took it.
        taught: With ``weights``, a teacher of that network, from whose quality head its own learns, too.
        quality_steps: Of that head, and of each fold's; by default as many as its poses take.
        against: Another manifest of the same images, of another network; ``score`` needs it then, too.
        without: Evidence to leave out, by name.
        device: For the quality head: ``auto``, ``cpu`` or ``cuda``.
        seed: Of the cross-fitting, and of the quality head.
        overwrite: Replace another calibrator, and quality head, in ``out``.
        progress: Where to report.

    Raises:
        InputError: Nothing to fit on, or too little; unknown evidence; a teacher without weights.
        CheckpointError: The teacher's quality head is not the teacher's.
        ExistsError: Another file stands at ``out``.
    """
    from autolabel.report.doubt_plots import draw_doubt

    if taught is not None and weights is None:
        raise InputError(
            "a teacher was given, and no network whose quality head is to learn from it",
            subject="calibrate",
            remedy="Give the weights that predicted.",
        )
    source = Manifest.open(manifest)
    other = Manifest.open(against) if against is not None else None
    checked = check(source, Manifest.open(truth), progress, against=other)
    out, how, head = Path(out), predicted_how(source), None
    if weights is not None:
        checked = checked.take(predicted(checked.features))
        require_enough(checked)
        _require_no_other(out, overwrite)
        out.parent.mkdir(parents=True, exist_ok=True)
        learned = learn_quality(
            source,
            checked,
            weights=weights,
            out=quality_file(out),
            dataset=dataset,
            taught=taught,
            device=device,
            precision=how.precision if how.precision != UNKNOWN else "auto",
            larger_crop=how.larger_crop,
            seed=seed,
            steps=quality_steps,
            overwrite=overwrite,
            progress=progress,
        )
        head = learned.path
        checked = replace(checked, features={**checked.features, **learned.features})
        how = how.model_copy(update={"quality": learned.digest})
    fitted = fit(checked, skeleton=source.skeleton, how=how, without=without or (), seed=seed)
    if out.exists() and not overwrite and out.read_bytes() != fitted.to_json().encode():
        raise ExistsError("stands already", subject=str(out), remedy="Give another --out, or --overwrite.")
    out.parent.mkdir(parents=True, exist_ok=True)
    fitted.save(out)
    plot = out.with_name(out.name + ".png")
    quality = held_out_quality(fitted)
    draw_doubt(fitted.held_out, quality, plot)
    if head is not None:
        progress.note(f"predict with --quality {head} from now on: the calibrator is for poses that it has judged")
    if fitted.poses < FEW:
        progress.note(f"{fitted.poses} checked poses are few: expect p_bad to be off by several points")
    return CalibrateResult(out, fitted, plot, quality, head)


def calibrated(out: Path) -> CalibrateResult:
    """What :func:`calibrate` left at ``out``."""
    fitted, head = Calibrator.read(out), quality_file(out)
    knows_head = bool(fitted.predicted.quality)
    return CalibrateResult(
        out, fitted, out.with_name(out.name + ".png"), held_out_quality(fitted), head if knows_head else None
    )


def _require_no_other(out: Path, overwrite: bool) -> None:
    """Refuse, before anything is learnt, to put a calibrator that knows a quality head in the place of one without.

    Raises:
        ExistsError: One stands there.
    """
    if out.exists() and not overwrite and not Calibrator.read(out).predicted.quality:
        raise ExistsError("stands already", subject=str(out), remedy="Give another --out, or --overwrite.")


def quality_file(calibrator: Path) -> Path:
    """Where the quality head lies that belongs to a calibrator."""
    return calibrator.with_name(f"{calibrator.stem}.quality.safetensors")


def fit(
    checked: Checked, *, skeleton: Skeleton, how: Predicted, without: Sequence[str] = (), seed: int = 0
) -> Calibrator:
    """Fit on poses that were compared already; those without a prediction are left out.

    Raises:
        InputError: Too few checked poses, or too few of one kind; of several networks; unknown evidence.
    """
    if how.others:
        raise InputError(
            f"{how.model} placed some of these poses and {how.others[0].model} others, by how hard they are",
            subject="calibrate",
            remedy="Let one network predict all of the checked poses: `autolabel predict`.",
        )
    checked = checked.take(predicted(checked.features))
    if strangers := sorted(set(checked.poses.by.tolist()) - {how.model}):
        raise InputError(
            f"some poses are of {strangers[0] or 'no network'}, others of {how.model}",
            subject="calibrate",
            remedy="Fit it on the poses of one network.",
        )
    return fit_calibrator(checked, skeleton=skeleton, predicted=how, seed=seed, without=without)


def held_out_quality(fitted: Calibrator) -> DoubtQuality:
    """How good the doubt is about the checked poses, each judged by models that had not seen it."""
    said, bad = zip(*fitted.held_out, strict=True)
    return doubt_quality(said, bad)


def enough(checked: Checked) -> bool:
    """Whether a calibrator can be fitted at all; until then the prior ranks."""
    bad = checked.bad[predicted(checked.features)] if checked.features else checked.bad[:0]
    return min(int(bad.sum()), int((~bad).sum())) >= MIN_BAD
