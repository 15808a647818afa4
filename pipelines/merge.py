"""``autolabel merge``: corrections laid over a manifest, human over model.

The base is streamed part by part and keeps its order, its parts and its features. What did not fit is listed in
``conflicts.jsonl``: a pose that somebody else has changed since a person saw it, one that is no longer in the base
(it is put back at the end of its image: what a person labelled never vanishes), one whose image is not there at all.
People whom reviewers boxed are added to their images, with their answered poses or as people who wait for one; they
are listed in ``boxed.jsonl``, as are those who waited in the base and were boxed by mistake: they are taken out.
The ledgers beside both are carried on (:mod:`autolabel.ledger`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from autolabel.labelstudio.folder import read_lines
from autolabel.ledger import carry_on
from autolabel.manifest import Existing, Manifest, ManifestWriter, Parent, write_text
from autolabel.merge import (
    CORRECTIONS,
    RETRACTED,
    Conflict,
    Correction,
    changed_since,
    correct,
    latest,
    read_corrections,
)
from autolabel.prediction_record import carry_over
from autolabel.progress import SILENT, Progress
from autolabel.run import Run, RunState, file_digest
from pipelines.merge_boxed import ADDED, TAKEN_OUT, WAITING, Brought, SampleKey, Theirs, boxes_of, complete, left_over

CONFLICTS = "conflicts.jsonl"
BROUGHT = "boxed.jsonl"
_MISSING = "its image is not in the base"


@dataclass(frozen=True)
class MergeResult:
    """What a merge made.

    Attributes:
        manifest: The base with the corrections.
        corrected: Poses that were corrected.
        conflicts: Corrections that did not fit; listed in ``conflicts.jsonl``.
        added: Boxed people whom the base lacked and whose pose was answered; they are among the corrected.
        waiting: Boxed people without an answered pose: their images are not complete.
        taken_out: People who waited in the base and are boxed no more.
    """

    manifest: Manifest
    corrected: int
    conflicts: int
    added: int
    waiting: int
    taken_out: int

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "manifest": self.manifest.path,
            **self.manifest.counts,
            "digest": self.manifest.digest,
            "corrected": self.corrected,
            "conflicts": self.conflicts,
            "added": self.added,
            "waiting": self.waiting,
            "taken_out": self.taken_out,
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
    if (boxes := boxes_of(pulled)) is not None:
        inputs["boxes"] = boxes.digest
    if (gone := pulled.path / RETRACTED).is_file() and gone.stat().st_size:
        inputs["retracted"] = file_digest(gone)
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "merge", config={}, inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            _work(run, base, pulled, chosen, conflicts, progress)
        # Not only in new work: answers that change no correction are history all the same.
        carry_on(run.path, base.path, pulled.path)
        manifest = Manifest.open(run.path)
    listed = [json.loads(line) for line in (run.path / CONFLICTS).read_text(encoding="utf-8").splitlines()]
    if listed:
        progress.note(f"{len(listed)} corrections did not fit as they were: see {run.path / CONFLICTS}")
    missing = sum(conflict["what"] == _MISSING for conflict in listed)
    boxed = [line["what"] for line in read_lines(manifest.path / BROUGHT)]
    added, waiting, taken_out = (boxed.count(what) for what in (ADDED, WAITING, TAKEN_OUT))
    if waiting:
        progress.note(f"{waiting} boxed people wait for a pose: their images are not complete")
    if taken_out:
        progress.note(f"{taken_out} people were taken out who waited for a pose: nobody boxes them any more")
    return MergeResult(manifest, len(chosen) - missing, len(listed), added, waiting, taken_out)


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
    if (boxes := boxes_of(pulled)) is not None:
        parents.append(Parent("boxes", boxes.digest))
    writer = ManifestWriter(
        run.path, base.skeleton, base.roots, stage="merge", parents=parents, existing=Existing.RESUME
    )
    carry_over(base.path, run.path)
    done = writer.finished_parts()
    found, conflicts, theirs = set[str](), list(conflicts), Theirs.of(pulled, corrections)
    seen, brought = set[SampleKey](), list[Brought]()
    with progress.task("merge", len(base), "image") as task:
        for i in range(base.num_parts):
            part = complete(base.part(i), base.features(i), theirs, base.skeleton)
            conflicts += part.conflicts
            brought += part.brought
            for sample in part.samples:
                seen.add(sample.key)
                found.update(corrections.keys() & set(sample.poses.id.tolist()))
                conflicts += changed_since(sample.poses, corrections, base.skeleton.keypoints)
            if i not in done:
                writer.write_part(i, [correct(sample, corrections) for sample in part.samples], part.features)
            task.advance(len(part.samples))
    lost = [c for pose, c in corrections.items() if pose not in found]
    conflicts += [Conflict(c.pose, _MISSING, f"by {c.by} at {c.when}, image {c.sample[2]}") for c in lost]
    conflicts += left_over(theirs, seen)
    _write_lines(run.path / CONFLICTS, conflicts)
    _write_lines(run.path / BROUGHT, brought)
    writer.commit()


def _write_lines(path: Path, values: Iterable[Conflict] | Iterable[Brought]) -> None:
    write_text(path, "".join(json.dumps(asdict(value), ensure_ascii=False) + "\n" for value in values))


def _opened(manifest: str | Path | Manifest) -> Manifest:
    return manifest if isinstance(manifest, Manifest) else Manifest.open(manifest)
