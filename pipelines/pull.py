"""``autolabel pull``: answers from Label Studio become corrections and a manifest of what people stated.

Exports in the project's ``labelstudio/exports`` are read, what is new in them goes into the journal, and the
whole journal is worked out again: the manifest always holds the full state, every answered pose once, and
reading the same exports twice changes nothing. Answers that check reviewers are no part of it: they go to
``checks.jsonl``, what was found in whole images to ``images.jsonl``, and what cannot be used is listed with its
reason in ``notices.jsonl``.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autolabel.errors import FormatError
from autolabel.labelstudio.exports import Annotation, new_entries, read_export, standing
from autolabel.labelstudio.folder import ReviewFolder, append_lines, read_lines
from autolabel.labelstudio.images import IMAGES
from autolabel.manifest import Existing, Manifest, Parent, write_manifest, write_text
from autolabel.merge import CORRECTIONS, Correction, correct, write_corrections
from autolabel.poses import Poses, Sample
from autolabel.progress import SILENT, Progress
from autolabel.run import Run, RunState, file_digest
from pipelines.pull_answers import CHECKS, Answers, Notice, Sent, read_answers

NOTICES = "notices.jsonl"


@dataclass(frozen=True)
class PullResult:
    """What a pull brought.

    Attributes:
        manifest: Every answered pose, as people left it.
        new: Annotations that the journal did not hold before.
        answered: Poses with an answer that stands.
        checks: Answers that are laid over nothing: to planted and blind tasks, further ones to audited poses.
        images: Answers about whole images.
        open: Tasks without one.
        unknown: Tasks in the exports that are not ours; they were left alone.
        notices: Answers that were not used as they came; listed in ``notices.jsonl``.
    """

    manifest: Manifest
    new: int
    answered: int
    checks: int
    images: int
    open: int
    unknown: int
    notices: int

    @property
    def corrections(self) -> Path:
        """The file with what people changed, a correction a line."""
        return self.manifest.path / CORRECTIONS

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "manifest": self.manifest.path,
            "digest": self.manifest.digest,
            "new": self.new,
            "answered": self.answered,
            "checks": self.checks,
            "images": self.images,
            "open": self.open,
            "unknown": self.unknown,
            "notices": self.notices,
        }


def pull(*, project: str | Path, out: str | Path, overwrite: bool = False, progress: Progress = SILENT) -> PullResult:
    """Read what reviewers answered.

    Args:
        project: The project folder.
        out: The manifest of answered poses to write; ``corrections.jsonl`` lies beside its tables.
        overwrite: Replace what another pull wrote there.
        progress: Where to report.

    Raises:
        InputError: Nothing was pushed.
        FormatError: An export is malformed; names record and field. Nothing of any export is taken.
        ExistsError: ``out`` holds the result of an earlier pull, or of something else.
    """
    folder = ReviewFolder.of(project)
    sent = Sent.read(folder)
    fresh, unknown = _read_exports(folder, sent, progress)
    append_lines(folder.journal, (entry.to_dict() for entry in fresh))
    annotations = standing(_journal(folder))
    answers = read_answers(annotations, sent)
    journal = file_digest(folder.journal) if folder.journal.exists() else ""
    inputs = {"taskmap": file_digest(folder.taskmap), "journal": journal}
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "pull", config={}, inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            _write(run.path, sent, answers, inputs)
        manifest = Manifest.open(run.path)
    for notice in answers.notices:
        progress.note(f"task {notice.task}, {_subject(notice)}: {notice.what}")
    return PullResult(
        manifest,
        new=len(fresh),
        answered=len(answers.corrections),
        checks=len(answers.checks),
        images=len(answers.images),
        open=sum(task not in annotations for task in sent.records),
        unknown=unknown,
        notices=len(answers.notices),
    )


def _read_exports(folder: ReviewFolder, sent: Sent, progress: Progress) -> tuple[list[Annotation], int]:
    """What the exports tell that the journal does not hold yet, and how many of their tasks are not ours."""
    journal = list(_journal(folder))
    fresh: list[Annotation] = []
    unknown = 0
    files = sorted(folder.exports.glob("*.json"))
    with progress.task("read exports", len(files), "file") as task:
        for file in files:
            exported = list(read_export(file, sent.records, sent.skeleton))
            fresh += new_entries([*journal, *fresh], exported)
            strangers = [entry.place for entry in exported if not entry.known]
            if strangers:
                progress.note(f"{file}: {len(strangers)} unknown tasks left alone, the first is {strangers[0]}")
            unknown += len(strangers)
            task.advance()
    return fresh, unknown


def _journal(folder: ReviewFolder) -> Iterator[Annotation]:
    for number, data in enumerate(read_lines(folder.journal), start=1):
        try:
            yield Annotation.from_dict(data)
        except (KeyError, TypeError) as error:
            raise FormatError(f"{error!r}", record=f"line {number}", subject=str(folder.journal)) from error


def _subject(notice: Notice) -> str:
    return f"pose {notice.pose}" if notice.pose else "whole image"


def _write(path: Path, sent: Sent, answers: Answers, inputs: Mapping[str, str]) -> None:
    """Write corrections, checks, findings and notices, and the manifest last: it is the commit."""
    write_corrections(path / CORRECTIONS, answers.corrections.values())
    write_corrections(path / CHECKS, answers.checks)
    _write_lines(path / IMAGES, (check.to_dict() for check in answers.images))
    _write_lines(path / NOTICES, map(asdict, answers.notices))
    parents = [Parent(f"sent {routing[:12]}", manifest.digest) for routing, manifest in sent.manifests.items()]
    parents += [Parent(role, digest) for role, digest in inputs.items() if digest]
    samples = _samples(sent, answers.corrections)
    write_manifest(path, samples, sent.skeleton, sent.roots, stage="pull", parents=parents, existing=Existing.RESUME)


def _write_lines(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))


def _samples(sent: Sent, corrections: Mapping[str, Correction]) -> list[Sample]:
    """The answered poses by image; an image that was sent several times stands there once."""
    merged: dict[tuple[str, str, str], Sample] = {}
    for routing, manifest in sent.manifests.items():
        mine = {pose: c for pose, c in corrections.items() if sent.records[c.task].routing == routing}
        for sample in manifest:
            rows = [i for i, pose in enumerate(sample.poses.id) if pose in mine]
            if not rows:
                continue
            part = correct(sample.with_poses(sample.poses.take(rows)), mine)
            if before := merged.get(part.key):
                poses = Poses.concat([before.poses, part.poses])
                part = replace(part, poses=poses, attributes={**before.attributes, **part.attributes})
            merged[part.key] = part
    return list(merged.values())
