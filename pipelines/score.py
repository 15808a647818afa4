"""``autolabel score``: how much each pose is to be doubted."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.manifest import Existing, Manifest, ManifestWriter, Parent
from autolabel.merge import SEEN
from autolabel.poses import Poses, Sample, split
from autolabel.progress import SILENT, Progress
from autolabel.run import Run, RunState, file_digest
from autolabel.score import Calibrator
from autolabel.score import score as score_poses

CALIBRATOR = "calibrator"
"""Role of the calibrator among a manifest's parents: where it stands, ``p_bad`` is a probability."""


@dataclass(frozen=True)
class ScoreResult:
    """What was scored.

    Attributes:
        manifest: The same poses with ``p_gross`` and ``p_bad``.
        calibrated: Whether those are probabilities, or a ranking only.
        mean_p_bad: Over the poses that have one: with a calibrator, the share of bad poses to expect.
    """

    manifest: Manifest
    calibrated: bool
    mean_p_bad: float

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "manifest": self.manifest.path,
            **self.manifest.counts,
            "digest": self.manifest.digest,
            "calibrated": self.calibrated,
            "mean_p_bad": self.mean_p_bad,
        }


def score(
    manifest: str | Path,
    *,
    out: str | Path,
    calibrator: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ScoreResult:
    """Score every predicted pose that no person has seen.

    Args:
        manifest: What ``predict`` wrote, with its features.
        out: The manifest to write.
        calibrator: What ``calibrate`` wrote; without it a prior ranks the poses, and says that it is one.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        InputError: The manifest has no features, or the calibrator was fitted for another network.
        ExistsError: ``out`` holds another result.
    """
    source = Manifest.open(manifest)
    fitted = Calibrator.read(calibrator) if calibrator is not None else None
    inputs = {"manifest": source.digest}
    if calibrator is not None:
        inputs[CALIBRATOR] = file_digest(calibrator)
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "score", config={}, inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            _work(run.path, source, fitted, inputs, progress)
        scored = Manifest.open(run.path)
    if fitted is None:
        progress.note("scored by the prior: a ranking, not probabilities, until a calibrator is fitted")
    return ScoreResult(scored, fitted is not None, _mean(scored))


def image_sizes(samples: list[Sample]) -> NDArray[np.float64]:
    """(N, 2) width and height of the image of each pose of the samples, in order."""
    sizes = np.array([sample.size for sample in samples], np.float64).reshape(-1, 2)
    return np.repeat(sizes, [len(sample.poses) for sample in samples], axis=0)


def _work(out: Path, source: Manifest, fitted: Calibrator | None, inputs: dict[str, str], progress: Progress) -> None:
    writer = ManifestWriter(
        out,
        source.skeleton,
        source.roots,
        stage="score",
        parents=[Parent(role, digest) for role, digest in inputs.items()],
        existing=Existing.RESUME,
    )
    done = writer.finished_parts()
    with progress.task("score", len(source), "image") as task:
        for i in range(source.num_parts):
            samples, features = source.part(i), source.features(i)
            if i not in done:
                writer.write_part(i, _scored(source, samples, features, fitted), features)
            task.advance(len(samples))
    writer.commit()


def _scored(
    source: Manifest, samples: list[Sample], features: dict[str, NDArray[np.float32]] | None, fitted: Calibrator | None
) -> list[Sample]:
    """The samples with scores; a pose that a person has seen gets none, as its features tell what was there before."""
    poses = Poses.concat([Poses.empty(source.skeleton.num_keypoints), *(sample.poses for sample in samples)])
    p_gross, p_bad = np.full(poses.p_gross.shape, np.nan), np.full(len(poses), np.nan)
    rows = np.flatnonzero([a.get("state") not in SEEN for a in poses.attributes])
    if features is not None:
        chosen = {name: values[rows] for name, values in features.items()}
        doubted = score_poses(poses.take(rows), chosen, image_sizes(samples)[rows], fitted)
        p_gross[rows], p_bad[rows] = doubted.p_gross, doubted.p_bad
    elif np.isfinite(poses.xy[rows]).any():  # a part of which nothing could be predicted has no features either
        raise InputError(
            "has no features to score by",
            subject=str(source.path),
            remedy="Score the manifest that `autolabel predict` wrote.",
        )
    return split(samples, poses.replace(p_gross=p_gross, p_bad=p_bad))


def _mean(manifest: Manifest) -> float:
    """Mean ``p_bad`` of the poses that have one, NaN where none has."""
    total, count = 0.0, 0
    for i in range(manifest.num_parts):
        p_bad = manifest.poses(i).p_bad
        total, count = total + float(np.nansum(p_bad)), count + int(np.isfinite(p_bad).sum())
    return total / count if count else float("nan")
