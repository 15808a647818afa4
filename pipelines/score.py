"""``autolabel score``: how much each pose is to be doubted, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.ledger import carry_on
from autolabel.manifest import Existing, Manifest, ManifestWriter, Parent
from autolabel.merge import SEEN
from autolabel.poses import Poses, Sample, split
from autolabel.progress import SILENT, Progress
from autolabel.run import Run, RunState
from autolabel.score import EXPECTED_ERROR, REASONS
from autolabel.score import score as score_poses
from autolabel.skeleton import Skeleton
from pipelines.calibrators import Calibrators
from pipelines.lint import EMBEDDING, LINT, Linter
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
class Scorer:
    """How poses are scored.

    Attributes:
        skeleton: Of the poses.
        calibrators: Who judges them.
        linter: Looks for faults.
        second: Another manifest's opinion of them.
        other: What reasons call that manifest.
    """

    skeleton: Skeleton
    calibrators: Calibrators
    linter: Linter
    second: SecondOpinion | None = None
    other: str = ""


def score(
    manifest: str | Path,
    *,
    out: str | Path,
    calibrator: str | Path | Sequence[str | Path] | None = None,
    against: str | Path | None = None,
    force: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ScoreResult:
    """Score every predicted pose that no person has seen.

    Args:
        manifest: What ``predict`` wrote, with its features.
        out: The manifest to write.
        calibrator: What ``calibrate`` wrote; without it a prior ranks the poses, and says that it is one. Where several
            networks placed the poses, as in a cascade, one for each of them: poses of a network without one get no
            doubt.
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
    second = Manifest.open(against) if against is not None else None
    linter = Linter(source, second)
    files = [] if calibrator is None else [calibrator] if isinstance(calibrator, str | Path) else calibrator
    known = evidence_of(source, against=second is not None)
    calibrators = Calibrators.read(files, predicted_how(source), source.skeleton, known, force=force)
    how = Scorer(source.skeleton, calibrators, linter, linter.second, second.path.name if second is not None else "")
    inputs = {"manifest": source.digest}
    if files:
        inputs[CALIBRATOR if calibrators.trusted else FORCED] = calibrators.digest
    if second is not None:
        inputs[AGAINST] = second.digest
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    # Features are not in the manifest's digest, and what is scored depends on them.
    config = {"predicted": calibrators.predicted.model_dump(mode="json"), "features": sorted(_features(source))}
    with Run.open(out, "score", config=config, inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            score_parts(run.path, source, how, inputs, progress).commit()
        scored = Manifest.open(run.path)
    if not files:
        progress.note("scored by the prior: a ranking, not probabilities, until a calibrator is fitted")
    elif not calibrators.trusted:
        progress.note("scored by a calibrator that was fitted for something else: a ranking, not probabilities")
    if calibrators.silent:
        progress.note(f"no calibrator is for network {calibrators.silent[0]}: its poses have no p_bad")
    return ScoreResult(scored, bool(files) and calibrators.trusted, *_told(scored))


def evidence_of(source: Manifest, *, against: bool = False) -> list[str]:
    """Names of what is known of the poses of a manifest when they are scored; nothing where there are no features.

    Args:
        source: The poses.
        against: Whether another manifest is compared with.
    """
    names = _features(source)
    return [*names, "conflict", *([AGAINST] if against else [])] if names else []


def _features(source: Manifest) -> set[str]:
    """Names of the features that every part with features has."""
    common: set[str] | None = None
    for i in range(source.num_parts):
        if (names := source.feature_names(i)) is not None:
            common = set(names) if common is None else common.intersection(names)
    return common or set()


def score_parts(
    out: Path,
    source: Manifest,
    how: Scorer,
    inputs: Mapping[str, str],
    progress: Progress = SILENT,
    *,
    stage: str = "score",
) -> ManifestWriter:
    """Score the parts of a manifest that are not there yet; whoever asked for it commits.

    Args:
        out: The folder of an open run.
        source: The poses, with their features.
        how: How they are scored.
        inputs: Digests of what the result is made from, by role.
        progress: Where to report.
        stage: What makes it.

    Raises:
        InputError: There are no features, or poses of a network that nobody wrote down.
    """
    writer = ManifestWriter(
        out,
        source.skeleton,
        source.roots,
        stage=stage,
        parents=[Parent(role, digest) for role, digest in inputs.items()],
        existing=Existing.RESUME,
    )
    how.calibrators.predicted.write(out)
    carry_on(out, source.path)
    done = writer.finished_parts()
    with progress.task("score", len(source), "image") as task:
        for i in range(source.num_parts):
            if i not in done:
                writer.write_part(i, *_scored(source, how.linter.part(i), source.features(i), how))
            task.advance(source.part_length(i))
    return writer


def _scored(
    source: Manifest, samples: list[Sample], features: dict[str, NDArray[np.float32]] | None, how: Scorer
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
        error = np.full(poses.p_gross.shape, np.nan, np.float32)
        for share in how.calibrators.shares(poses.take(rows)):
            its = rows[share.rows]
            chosen = {name: values[its] for name, values in known.items() if share.first or name != EMBEDDING}
            doubted = score_poses(poses.take(its), chosen, how.skeleton, share.calibrator, other=how.other)
            p_gross[its], p_bad[its] = doubted.poses.p_gross, doubted.poses.p_bad
            error[its] = doubted.expected_error
            for row, said in zip(its.tolist(), doubted.poses.attributes, strict=True):
                attributes[row] = dict(said)
        features = {**known, EXPECTED_ERROR: error}
    elif np.isfinite(poses.xy[rows]).any():  # a part of which nothing could be predicted has no features either
        raise InputError(
            "has no features to score by",
            subject=str(source.path),
            remedy="Score the manifest that `autolabel predict` wrote.",
        )
    return split(samples, poses.replace(p_gross=p_gross, p_bad=p_bad, attributes=attributes)), features


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
