"""``autolabel merge``: corrections laid over a manifest, human over model.

The base is streamed part by part and keeps its order, its parts and its features. What did not fit is listed in
``conflicts.jsonl``: a pose that somebody else has changed since a person saw it, one that is no longer in the base
(it is put back at the end of its image: what a person labelled never vanishes), one whose image is not there at all.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.manifest import Existing, Manifest, ManifestWriter, Parent, write_text
from autolabel.merge import (
    CORRECTIONS,
    Conflict,
    Correction,
    changed_since,
    correct,
    latest,
    read_corrections,
)
from autolabel.poses import Poses, Sample
from autolabel.prediction_record import carry_over
from autolabel.progress import SILENT, Progress
from autolabel.run import Run, RunState, file_digest

CONFLICTS = "conflicts.jsonl"
_MISSING = "its image is not in the base"
_PUT_BACK = "no longer in the base; put back"

Features = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class MergeResult:
    """What a merge made.

    Attributes:
        manifest: The base with the corrections.
        corrected: Poses that were corrected.
        conflicts: Corrections that did not fit; listed in ``conflicts.jsonl``.
    """

    manifest: Manifest
    corrected: int
    conflicts: int

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "manifest": self.manifest.path,
            **self.manifest.counts,
            "digest": self.manifest.digest,
            "corrected": self.corrected,
            "conflicts": self.conflicts,
        }


def merge(
    base: str | Path | Manifest,
    corrections: str | Path | Manifest,
    *,
    out: str | Path,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> MergeResult:
    """Lay corrections over a manifest.

    Args:
        base: The manifest that was reviewed.
        corrections: What ``pull`` wrote: the folder with ``corrections.jsonl``.
        out: The manifest to write.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        SkeletonError: The corrections are of another skeleton.
        FormatError: The corrections cannot be read.
        ExistsError: ``out`` holds another result.
    """
    base, pulled = _opened(base), _opened(corrections)
    base.skeleton.require_same(pulled.skeleton, str(pulled.path))
    file = pulled.path / CORRECTIONS
    chosen, conflicts = latest(read_corrections(file, base.skeleton.num_keypoints))
    inputs = {"base": base.digest, "corrections": file_digest(file)}
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "merge", config={}, inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            _work(run, base, pulled, chosen, conflicts, progress)
        manifest = Manifest.open(run.path)
    listed = [json.loads(line) for line in (run.path / CONFLICTS).read_text(encoding="utf-8").splitlines()]
    if listed:
        progress.note(f"{len(listed)} corrections did not fit as they were: see {run.path / CONFLICTS}")
    missing = sum(conflict["what"] == _MISSING for conflict in listed)
    return MergeResult(manifest, len(chosen) - missing, len(listed))


def _work(
    run: Run,
    base: Manifest,
    pulled: Manifest,
    corrections: Mapping[str, Correction],
    conflicts: Sequence[Conflict],
    progress: Progress,
) -> None:
    """Write the parts that are not there yet, then the conflicts, then the commit."""
    parents = [Parent("base", base.digest), Parent("corrections", pulled.digest)]
    writer = ManifestWriter(
        run.path, base.skeleton, base.roots, stage="merge", parents=parents, existing=Existing.RESUME
    )
    carry_over(base.path, run.path)
    done = writer.finished_parts()
    found, conflicts, human = set[str](), list(conflicts), _answered(pulled, corrections)
    with progress.task("merge", len(base), "image") as task:
        for i in range(base.num_parts):
            samples, features, vanished = _put_back(base.part(i), base.features(i), human)
            conflicts += [Conflict(pose, _PUT_BACK, f"by {corrections[pose].by}") for pose in vanished]
            for sample in samples:
                found.update(corrections.keys() & set(sample.poses.id.tolist()))
                conflicts += changed_since(sample.poses, corrections, base.skeleton.keypoints)
            if i not in done:
                writer.write_part(i, [correct(sample, corrections) for sample in samples], features)
            task.advance(len(samples))
    lost = [c for pose, c in corrections.items() if pose not in found]
    conflicts += [Conflict(c.pose, _MISSING, f"by {c.by} at {c.when}, image {c.sample[2]}") for c in lost]
    lines = [json.dumps(asdict(conflict), ensure_ascii=False) + "\n" for conflict in conflicts]
    write_text(run.path / CONFLICTS, "".join(lines))
    writer.commit()


def _answered(pulled: Manifest, corrections: Mapping[str, Correction]) -> dict[tuple[str, str, str], Poses]:
    """The corrected poses as people left them, by the key of their sample."""
    chosen = (sample.with_poses(sample.poses.take([p in corrections for p in sample.poses.id])) for sample in pulled)
    return {sample.key: sample.poses for sample in chosen if len(sample.poses)}


def _put_back(
    samples: list[Sample], features: Features | None, human: Mapping[tuple[str, str, str], Poses]
) -> tuple[list[Sample], Features | None, list[str]]:
    """Add the poses that people answered and that these samples of a part no longer hold.

    Returns:
        The samples; the features, unknown for added poses; the ids of those.
    """
    whole, rows, vanished, first = list[Sample](), list[int](), list[str](), 0
    for sample in samples:
        rows += range(first, first + len(sample.poses))
        first += len(sample.poses)
        if theirs := human.get(sample.key):
            lost = theirs.take(~np.isin(theirs.id, sample.poses.id))
            vanished += lost.id.tolist()
            rows += [-1] * len(lost)
            sample = sample.with_poses(Poses.concat([sample.poses, lost]))
        whole.append(sample)
    if vanished and features is not None:
        features = {name: _spread(array, np.array(rows)) for name, array in features.items()}
    return whole, features, vanished


def _spread(values: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[Any]:
    """The values at these rows, NaN where a row is -1."""
    spread = np.full((len(rows), *values.shape[1:]), np.nan, values.dtype)
    spread[rows >= 0] = values[rows[rows >= 0]]
    return spread


def _opened(manifest: str | Path | Manifest) -> Manifest:
    return manifest if isinstance(manifest, Manifest) else Manifest.open(manifest)
