"""``autolabel curate --pull``: what curators decided in FiftyOne, as corrections and as poses to review.

Writes what ``pull`` writes, so that ``merge`` lays it over the manifest and the ledger keeps who and when:
``corrections.jsonl``, ``ledger.jsonl`` and the corrected poses as a manifest. Poses that were sent to review are a
manifest of their own, ``review``, which ``push`` takes as it is. What could not be followed is in ``notices.jsonl``.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.curate.database import database, open_fiftyone
from autolabel.curate.dataset import existing_dataset
from autolabel.curate.decisions import Decided, decide, order_of_review
from autolabel.curate.marks import WRONG_BOX, Mark, read_marks
from autolabel.errors import InputError
from autolabel.ledger import LEDGER, write_ledger
from autolabel.manifest import Existing, Manifest, Parent, write_manifest, write_text
from autolabel.merge import CORRECTIONS, PoseChange, State, correct, write_corrections
from autolabel.poses import Poses, Sample
from autolabel.progress import SILENT, Progress
from autolabel.run import Run, RunState
from pipelines.mongodb import find_mongodb

REVIEW, NOTICES = "review", "notices.jsonl"
ASKED = "asked"
"""Attribute of a pose to review: the tags that asked for it."""

_NOTED = 20


@dataclass(frozen=True)
class CuratePullResult:
    """What curators decided.

    Attributes:
        manifest: The corrected poses; ``corrections.jsonl`` and ``ledger.jsonl`` lie beside.
        accepted: Poses that were accepted as they are.
        edited: Poses whose points were edited.
        rejected: Poses that are not to be labelled.
        review: Poses to send to review; they are the manifest ``review`` below this one.
        notices: Marks that were not followed as they came; listed in ``notices.jsonl``.
    """

    manifest: Manifest
    accepted: int
    edited: int
    rejected: int
    review: int
    notices: int

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "manifest": self.manifest.path,
            "digest": self.manifest.digest,
            "accepted": self.accepted,
            "edited": self.edited,
            "rejected": self.rejected,
            "review": self.review,
            "notices": self.notices,
        }


def pull_decisions(
    source: Manifest, name: str, *, out: str | Path, by: str, overwrite: bool = False, progress: Progress = SILENT
) -> CuratePullResult:
    """Bring home what curators did in the data set of a manifest.

    Asking again without new marks writes nothing new, and tells the same who and when.

    Args:
        source: What the data set shows.
        name: Of the data set.
        out: The manifest of corrected poses to write.
        by: Who tagged, where FiftyOne's plugin did not write it down.
        overwrite: Replace what was pulled before.
        progress: Where to report.

    Raises:
        InputError: There is no such data set, or it is somebody else's.
        SkeletonError: It shows another skeleton.
        WorkError: No database can be had, or it stopped answering.
        ExistsError: ``out`` holds another result, such as what was pulled before.
    """
    fiftyone = open_fiftyone(find_mongodb(progress=progress))
    with database():
        marks = _marks(fiftyone, name, source, by)
    decided = decide(source, marks, dataset=name)
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    inputs = {"manifest": source.digest, "marks": _digest(decided)}
    with Run.open(out, "curate", config={"dataset": name}, inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            _write(run.path, source, decided)
        pulled = Manifest.open(run.path)
    for notice in decided.notices[:_NOTED]:
        progress.note(f"pose {notice.pose} {notice.path}: {notice.what}")
    if len(decided.notices) > _NOTED:
        progress.note(f"and {len(decided.notices) - _NOTED} more: see {pulled.path / NOTICES}")
    return _result(pulled, decided)


def _marks(fiftyone: Any, name: str, source: Manifest, by: str) -> list[Mark]:
    dataset = existing_dataset(fiftyone, name, source.skeleton, shows="images")
    if dataset is None:
        raise InputError(
            "there is no such FiftyOne data set",
            subject=name,
            remedy="`autolabel curate` without --pull makes it; give --name if it was made with one.",
        )
    people = existing_dataset(fiftyone, f"{name}-people", source.skeleton, shows="people")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return list(read_marks(dataset, people, by=by, now=now))


def _write(out: Path, source: Manifest, decided: Decided) -> None:
    """Write everything, and the manifest last: it is the commit."""
    corrections = {correction.pose: correction for correction in decided.corrections}
    write_corrections(out / CORRECTIONS, decided.corrections)
    write_ledger(out / LEDGER, decided.entries)
    write_text(out / NOTICES, "".join(json.dumps(asdict(n), ensure_ascii=False) + "\n" for n in decided.notices))
    parents = [Parent("manifest", source.digest)]
    if decided.review:
        write_manifest(
            out / REVIEW, _asked(source, decided), source.skeleton, source.roots,
            stage="curate", parents=parents, existing=Existing.OVERWRITE,
        )  # fmt: skip
    corrected = (correct(sample, corrections) for sample in _with(source, corrections))
    write_manifest(
        out, corrected, source.skeleton, source.roots, stage="curate", parents=parents, existing=Existing.RESUME
    )


def _with(source: Manifest, poses: "dict[str, Any]") -> Iterator[Sample]:
    """The samples that have some of the poses, with those alone."""
    for sample in source:
        rows = [i for i, pose in enumerate(sample.poses.id.tolist()) if pose in poses]
        if rows:
            yield sample.with_poses(sample.poses.take(rows))


def _asked(source: Manifest, decided: Decided) -> Iterator[Sample]:
    """The poses to review, as people are to find them: open, a wrong box before all others."""
    place = {pose: i for i, pose in enumerate(order_of_review(decided.review))}
    for sample in _with(source, place):
        yield sample.with_poses(_to_review(sample.poses, decided))


def _to_review(poses: Poses, decided: Decided) -> Poses:
    tags = [decided.review[pose] for pose in poses.id.tolist()]
    attributes = [
        {**{k: v for k, v in a.items() if k != "state" or v != State.REJECTED}, ASKED: list(asked)}
        for a, asked in zip(poses.attributes, tags, strict=True)
    ]
    wrong_box = np.array([WRONG_BOX in asked for asked in tags])
    return poses.replace(p_bad=np.where(wrong_box, np.float32(1), poses.p_bad), attributes=attributes)


def _digest(decided: Decided) -> str:
    """Hex digest of all that was decided."""
    lines = [*(entry.to_dict() for entry in decided.entries), decided.review, [asdict(n) for n in decided.notices]]
    return hashlib.sha256(json.dumps(lines, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def _result(pulled: Manifest, decided: Decided) -> CuratePullResult:
    rejected = sum(c.change is PoseChange.REJECTED for c in decided.corrections)
    edited = sum(c.clicks > 1 for c in decided.corrections)
    return CuratePullResult(
        pulled,
        accepted=len(decided.corrections) - rejected - edited,
        edited=edited,
        rejected=rejected,
        review=len(decided.review),
        notices=len(decided.notices),
    )
