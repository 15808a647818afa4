"""``autolabel pull``: answers from Label Studio become corrections and a manifest of what people stated.

Exports in the project's ``labelstudio/exports`` are read, what is new in them goes into the journal, and the
whole journal is worked out again: the manifest always holds the full state, every answered pose once, and
reading the same exports twice changes nothing. What cannot be used is listed with its reason in
``notices.jsonl``.
"""

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from autolabel.errors import FormatError, InputError
from autolabel.labelstudio.answers import correction, read_answer, why_void
from autolabel.labelstudio.exports import Annotation, new_entries, read_export, standing
from autolabel.labelstudio.folder import ReviewFolder, append_lines, read_lines
from autolabel.labelstudio.tasks import TaskRecord, read_task_map
from autolabel.manifest import Existing, Manifest, Parent, write_manifest, write_text
from autolabel.merge import CORRECTIONS, Correction, correct, latest, write_corrections
from autolabel.poses import Pose, Poses, Sample
from autolabel.progress import SILENT, Progress
from autolabel.run import Run, RunState, file_digest
from autolabel.skeleton import Skeleton

NOTICES = "notices.jsonl"


@dataclass(frozen=True)
class Notice:
    """An answer that was not used as it came, and why."""

    task: str
    pose: str
    what: str


@dataclass(frozen=True)
class PullResult:
    """What a pull brought.

    Attributes:
        manifest: Every answered pose, as people left it.
        new: Annotations that the journal did not hold before.
        answered: Poses with an answer.
        open: Tasks without one.
        unknown: Tasks in the exports that are not ours; they were left alone.
        notices: Answers that were not used as they came; listed in ``notices.jsonl``.
    """

    manifest: Manifest
    new: int
    answered: int
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
            "open": self.open,
            "unknown": self.unknown,
            "notices": self.notices,
        }


@dataclass(frozen=True)
class Sent:
    """All that was ever sent: the task map, and the poses of every routing in the order of the pushes."""

    records: Mapping[str, TaskRecord]
    manifests: Mapping[str, Manifest]

    @classmethod
    def read(cls, folder: ReviewFolder) -> "Sent":
        """Read it from a review folder.

        Raises:
            InputError: Nothing was sent.
        """
        records = read_task_map(folder.taskmap)
        if not records:
            raise InputError("has no tasks", subject=str(folder.path), remedy="`autolabel push` makes them.")
        routings = dict.fromkeys(record.routing for record in records.values())
        return cls(records, {routing: Manifest.open(folder.sent(routing)) for routing in routings})

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of all poses."""
        return next(iter(self.manifests.values())).skeleton

    @property
    def roots(self) -> dict[str, Path]:
        """Corpus roots by name; where a corpus has moved between pushes, its last place."""
        return {name: root for manifest in self.manifests.values() for name, root in manifest.roots.items()}


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
    answers = standing(_journal(folder))
    corrections, notices = _corrections(answers, sent)
    journal = file_digest(folder.journal) if folder.journal.exists() else ""
    inputs = {"taskmap": file_digest(folder.taskmap), "journal": journal}
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "pull", config={}, inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            _write(run.path, sent, corrections, notices, inputs)
        manifest = Manifest.open(run.path)
    for notice in notices:
        progress.note(f"task {notice.task}, pose {notice.pose}: {notice.what}")
    left = sum(task not in answers for task in sent.records)
    return PullResult(manifest, len(fresh), len(corrections), left, unknown, len(notices))


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


def _corrections(answers: Mapping[str, Sequence[Annotation]], sent: Sent) -> tuple[dict[str, Correction], list[Notice]]:
    """The correction of every answered pose, by its id."""
    found: list[Correction] = []
    notices: list[Notice] = []
    for record, pose in _answered(answers, sent):
        usable: list[Correction] = []
        for annotation in answers[record.task]:
            source = f"annotation {annotation.annotation}"
            answer = read_answer(annotation.result, sent.skeleton, place="result", subject=source)
            if why := why_void(answer, record):
                notices.append(Notice(record.task, record.pose, f"not used: {why}"))
                continue
            if twice := [sent.skeleton.keypoints[k] for k in answer.doubled]:
                what = f"placed twice, the last was taken: {', '.join(twice)}"
                notices.append(Notice(record.task, record.pose, what))
            usable.append(correction(annotation, answer, record, pose, sent.skeleton))
        if len(usable) > 1:
            by = ", ".join(f"{c.by} at {c.when}" for c in usable)
            notices.append(Notice(record.task, record.pose, f"answered {len(usable)} times, last taken: {by}"))
        found += usable[-1:]
    chosen, conflicts = latest(found)
    notices += [Notice(chosen[c.pose].task, c.pose, f"{c.what}: {c.detail}") for c in conflicts]
    return chosen, notices


def _answered(answers: Container[str], sent: Sent) -> Iterator[tuple[TaskRecord, Pose]]:
    """Answered tasks with their poses as they were sent."""
    tasks: dict[tuple[str, str], list[TaskRecord]] = {}
    for record in sent.records.values():
        if record.task in answers:
            tasks.setdefault((record.routing, record.pose), []).append(record)
    for routing, manifest in sent.manifests.items():
        for sample in manifest:
            for i, pose in enumerate(sample.poses.id):
                yield from ((record, sample.poses[i]) for record in tasks.get((routing, pose), ()))


def _write(
    path: Path,
    sent: Sent,
    corrections: Mapping[str, Correction],
    notices: Sequence[Notice],
    inputs: Mapping[str, str],
) -> None:
    """Write corrections and notices, and the manifest last: it is the commit."""
    write_corrections(path / CORRECTIONS, corrections.values())
    write_text(path / NOTICES, "".join(json.dumps(asdict(notice), ensure_ascii=False) + "\n" for notice in notices))
    parents = [Parent(f"sent {routing[:12]}", manifest.digest) for routing, manifest in sent.manifests.items()]
    parents += [Parent(role, digest) for role, digest in inputs.items() if digest]
    samples = _samples(sent, corrections)
    write_manifest(path, samples, sent.skeleton, sent.roots, stage="pull", parents=parents, existing=Existing.RESUME)


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
