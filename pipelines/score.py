"""``autolabel score``: how much each pose is to be doubted, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.calibrator import Calibrator
from autolabel.errors import InputError
from autolabel.ledger import carry_on
from autolabel.manifest import Existing, Manifest, ManifestWriter, Parent
from autolabel.merge import SEEN
from autolabel.poses import Poses, Sample, split
from autolabel.prediction_record import Predicted
from autolabel.progress import SILENT, Progress
from autolabel.run import Run, RunState, file_digest
from autolabel.score import EXPECTED_ERROR, REASONS
from autolabel.score import score as score_poses
from autolabel.skeleton import Skeleton
from pipelines.lint import LINT, Linter
from pipelines.manifest_evidence import with_evidence
from pipelines.predicted import predicted_how
from pipelines.second_opinion import SecondOpinion

CALIBRATOR = "calibrator"
"""Role of the calibrator among a manifest's parents: where it stands, ``p_bad`` is a probability."""

FORCED = "forced calibrator"
"""Its role where it was fitted for something else: ``p_bad`` is a ranking then."""

AGAINST = "against"


@dataclass(frozen=True)
class ScoreResult:
    """What was scored.

    Attributes:
        manifest: The same poses with ``p_gross``, ``p_bad``, reasons and what ``lint`` finds.
        calibrated: Whether those are probabilities, or a ranking only.
        mean_p_bad: Over the poses that have one: with a calibrator, the share of bad poses to expect.
        with_reasons: Poses that there is a reason to doubt.
        with_findings: Poses in which ``lint`` finds a fault.
    """

    manifest: Manifest
    calibrated: bool
    mean_p_bad: float
    with_reasons: int
    with_findings: int

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "manifest": self.manifest.path,
            **self.manifest.counts,
            "digest": self.manifest.digest,
            "calibrated": self.calibrated,
            "mean_p_bad": self.mean_p_bad,
            "with_reasons": self.with_reasons,
            "with_findings": self.with_findings,
        }


@dataclass(frozen=True)
class _Scorer:
    """How poses are scored."""

    skeleton: Skeleton
    calibrator: Calibrator | None
    linter: Linter
    second: SecondOpinion | None
    other: str
    predicted: Predicted
    force: bool


def score(
    manifest: str | Path,
    *,
    out: str | Path,
    calibrator: str | Path | None = None,
    against: str | Path | None = None,
    force: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ScoreResult:
    """Score every predicted pose that no person has seen.

    Args:
        manifest: What ``predict`` wrote, with its features.
        out: The manifest to write.
        calibrator: What ``calibrate`` wrote; without it a prior ranks the poses, and says that it is one.
        against: Another manifest of the same images, of another network: where the two disagree there is doubt.
        force: Use a calibrator that was fitted for something else; what it says is a ranking then.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        InputError: The manifest has no features, or the calibrator was fitted for another network, skeleton or way to
            predict, or on features that are not there.
        SkeletonError: ``against`` has another skeleton.
        ExistsError: ``out`` holds another result.
    """
    source = Manifest.open(manifest)
    fitted = Calibrator.read(calibrator) if calibrator is not None else None
    second = Manifest.open(against) if against is not None else None
    linter = Linter(source, second)
    how = _Scorer(
        source.skeleton,
        fitted,
        linter,
        linter.second,
        second.path.name if second is not None else "",
        predicted_how(source),
        force,
    )
    trusted = fitted is None or _fits(how, source)
    inputs = {"manifest": source.digest}
    if calibrator is not None:
        inputs[CALIBRATOR if trusted else FORCED] = file_digest(calibrator)
    if second is not None:
        inputs[AGAINST] = second.digest
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    # Features are not in the manifest's digest, and what is scored depends on them.
    config = {"predicted": how.predicted.model_dump(mode="json"), "features": sorted(_features(source))}
    with Run.open(out, "score", config=config, inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            _work(run.path, source, how, inputs, progress)
        scored = Manifest.open(run.path)
    if fitted is None:
        progress.note("scored by the prior: a ranking, not probabilities, until a calibrator is fitted")
    elif not trusted:
        progress.note("scored by a calibrator that was fitted for something else: a ranking, not probabilities")
    return ScoreResult(scored, fitted is not None and trusted, *_told(scored))


def _fits(how: _Scorer, source: Manifest) -> bool:
    """Whether the calibrator is for these poses; where it is not, an error unless forced."""
    names = _features(source)
    if how.calibrator is None or not names:
        return True
    added = ["conflict", *([AGAINST] if how.second else [])]
    try:
        how.calibrator.require_fits(how.predicted, how.skeleton, [*names, *added])
    except InputError:
        if not how.force or how.calibrator.skeleton != how.skeleton.fingerprint:
            raise
        return False
    return True


def _features(source: Manifest) -> set[str]:
    """Names of the features that every part with features has."""
    common: set[str] | None = None
    for i in range(source.num_parts):
        if (names := source.feature_names(i)) is not None:
            common = set(names) if common is None else common.intersection(names)
    return common or set()


def _work(out: Path, source: Manifest, how: _Scorer, inputs: Mapping[str, str], progress: Progress) -> None:
    writer = ManifestWriter(
        out,
        source.skeleton,
        source.roots,
        stage="score",
        parents=[Parent(role, digest) for role, digest in inputs.items()],
        existing=Existing.RESUME,
    )
    how.predicted.write(out)
    carry_on(out, source.path)
    done = writer.finished_parts()
    with progress.task("score", len(source), "image") as task:
        for i in range(source.num_parts):
            if i not in done:
                writer.write_part(i, *_scored(source, how.linter.part(i), source.features(i), how))
            task.advance(source.part_length(i))
    writer.commit()


def _scored(
    source: Manifest, samples: list[Sample], features: dict[str, NDArray[np.float32]] | None, how: _Scorer
) -> tuple[list[Sample], dict[str, NDArray[Any]] | None]:
    """The samples with scores, and their features with the distance to expect.

    A pose that a person has seen gets no score, as its features tell what was there before.
    """
    poses = Poses.concat([Poses.empty(source.skeleton.num_keypoints), *(sample.poses for sample in samples)])
    p_gross, p_bad = np.full(poses.p_gross.shape, np.nan), np.full(len(poses), np.nan)
    unseen = [a.get("state") not in SEEN for a in poses.attributes]
    forgotten = [{REASONS} if fresh else {REASONS, LINT} for fresh in unseen]
    attributes = [
        {name: value for name, value in a.items() if name not in old}
        for a, old in zip(poses.attributes, forgotten, strict=True)
    ]
    rows = np.flatnonzero(unseen)
    if features is not None:
        known = with_evidence(samples, features, how.skeleton, how.second)
        chosen = {name: values[rows] for name, values in known.items()}
        _require_one_network(poses.take(rows), how)
        doubted = score_poses(poses.take(rows), chosen, how.skeleton, how.calibrator, other=how.other)
        p_gross[rows], p_bad[rows] = doubted.poses.p_gross, doubted.poses.p_bad
        for row, its in zip(rows.tolist(), doubted.poses.attributes, strict=True):
            attributes[row] = dict(its)
        error = np.full(poses.p_gross.shape, np.nan, np.float32)
        error[rows] = doubted.expected_error
        features = {**known, EXPECTED_ERROR: error}
    elif np.isfinite(poses.xy[rows]).any():  # a part of which nothing could be predicted has no features either
        raise InputError(
            "has no features to score by",
            subject=str(source.path),
            remedy="Score the manifest that `autolabel predict` wrote.",
        )
    return split(samples, poses.replace(p_gross=p_gross, p_bad=p_bad, attributes=attributes)), features


def _require_one_network(poses: Poses, how: _Scorer) -> None:
    """Refuse poses of networks that the calibrator does not know."""
    said = np.isfinite(poses.score).any(axis=1)
    strangers = sorted(set(poses.by[said].tolist()) - {how.predicted.model})
    if how.calibrator is not None and strangers and not how.force:
        raise InputError(
            f"some poses are of {strangers[0] or 'no network'}, others of {how.predicted.model}",
            subject="calibrator",
            remedy="Score the poses of one network at a time.",
        )


def _told(manifest: Manifest) -> tuple[float, int, int]:
    """Mean ``p_bad`` of the poses that have one, NaN where none has; how many have reasons, and how many findings."""
    total, count, reasons, findings = 0.0, 0, 0, 0
    for i in range(manifest.num_parts):
        poses = manifest.poses(i)
        total += float(np.nansum(poses.p_bad))
        count += int(np.isfinite(poses.p_bad).sum())
        reasons += sum(REASONS in attributes for attributes in poses.attributes)
        findings += sum(LINT in attributes for attributes in poses.attributes)
    return (total / count if count else float("nan")), reasons, findings
