"""``autolabel pull``: answers from Label Studio become corrections and a manifest of what people stated.

Exports in the project's ``labelstudio/exports`` are read, and where the project names a server, what changed there
since the last pull. What is new goes into the journal, and the whole journal is worked out again: the manifest always
holds the full state, every answered pose once, and reading the same twice changes nothing. Answers that check reviewers
are no part of it: they go to ``checks.jsonl``, what was found in whole images to ``images.jsonl``, and what was not
used as it came is listed with its reason in ``notices.jsonl``. People whom reviewers boxed, and who have no pose yet,
stand in a manifest of their own, ``boxes``. Every keypoint's history is ``ledger.jsonl``.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autolabel.errors import ExistsError
from autolabel.labelstudio.access import read_access
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.exports import Annotation, read_export, standing
from autolabel.labelstudio.fetch import Fetched, fetch
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.images import IMAGES
from autolabel.labelstudio.journal import Journal
from autolabel.labelstudio.lock import alone_in
from autolabel.labelstudio.oddities import Oddity
from autolabel.labelstudio.smart import read_served
from autolabel.ledger import LEDGER, write_ledger
from autolabel.manifest import Existing, Manifest, Parent, write_manifest, write_text
from autolabel.merge import BOXES, CORRECTIONS, Correction, correct, write_corrections
from autolabel.phrases import counted
from autolabel.poses import Poses, Sample
from autolabel.progress import SILENT, Progress
from autolabel.project import FILE, LabelStudio, read_project, require_folder
from autolabel.run import Run, RunState, file_digest
from pipelines.pull_answers import CHECKS, Answers, Notice, Rule, Sent, read_answers
from pipelines.pull_boxes import Boxed, read_boxed, read_people_boxed, what_to_do, write_boxed
from pipelines.pull_drawn import Posed, laid, posed_people
from pipelines.pull_ledger import ledger_entries, sent_times
from pipelines.pull_people import PersonCounts, count_people, told_people

NOTICES = "notices.jsonl"

_NOTED = 20
"""Notices that are said aloud; the others stand in the file alone."""


@dataclass(frozen=True)
class PullResult:
    """What a pull brought.

    Attributes:
        manifest: Every answered pose, as people left it.
        new: Annotations that the journal did not hold before.
        deleted: Annotations that are gone from the server since the last pull; they count no more.
        answered: Poses with an answer that stands.
        checks: Answers that are laid over nothing: to planted and blind tasks, further ones to audited poses.
        images: Answers about whole images.
        boxed: People whom somebody boxed and who have no answered pose; in the manifest ``boxes`` below this one.
        unasked: Those of them who have no task yet.
        open: Tasks without an answer.
        unknown: Tasks in the exports and on the server that are not ours; they were left alone.
        notices: Answers that were not used as they came; listed in ``notices.jsonl``.
        kinds: How many notices there are of each kind.
        people: What each person's answers that stand come to.
    """

    manifest: Manifest
    new: int
    deleted: int
    answered: int
    checks: int
    images: int
    boxed: int
    unasked: int
    open: int
    unknown: int
    notices: int
    kinds: Mapping[str, int]
    people: tuple[PersonCounts, ...]

    @property
    def corrections(self) -> Path:
        """The file with what people changed, a correction a line."""
        return self.manifest.path / CORRECTIONS

    @property
    def boxes(self) -> Path | None:
        """The manifest of boxed people; None where there are none."""
        return self.manifest.path / BOXES if self.boxed else None

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "manifest": self.manifest.path,
            "digest": self.manifest.digest,
            "new": self.new,
            "deleted": self.deleted,
            "answered": self.answered,
            "checks": self.checks,
            "images": self.images,
            "boxed": self.boxed,
            "unasked": self.unasked,
            "open": self.open,
            "unknown": self.unknown,
            "notices": self.notices,
            "kinds": dict(self.kinds),
            "people": {person.by: person.to_dict() for person in self.people},
        }

    def told(self) -> str:
        """For people: the counts, a table of the annotators, and of the notices by kind."""
        return told_people(self.summary(), self.people, self.kinds)


def pull(
    *,
    project: str | Path,
    out: str | Path,
    full: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> PullResult:
    """Read what reviewers answered.

    Args:
        project: The project folder.
        out: The manifest of answered poses to write; ``corrections.jsonl`` lies beside its tables.
        full: Read everything on the server again, not only what changed since the last pull.
        overwrite: Replace what another pull wrote there.
        progress: Where to report.

    Raises:
        InputError: There is no such project folder, nothing was pushed, or the server refuses.
        FormatError: An export is malformed; names record and field. Nothing of any export is taken.
        WorkError: The server fails. What came until then is kept, and the next pull goes on from there.
        ExistsError: ``out`` holds the result of an earlier pull, or of something else.
    """
    require_folder(project)
    folder, settings = ReviewFolder.of(project), _settings(project)
    brought = _bring(project, settings, full, progress)
    sent, inputs = brought.sent, brought.inputs
    annotations, rule = standing(brought.journal), Rule(settings.rule)
    answers = read_answers(annotations, sent, rule)
    people = read_people_boxed(annotations, sent, answers.corrections, answers.understood, answers.notices)
    every_posed = posed_people(people, sent, answers, read_served(folder.path))
    posed = laid(every_posed, answers)
    answers.usable.extend(one.correction for one in every_posed)
    boxed = read_boxed(people, annotations, sent, answers.corrections, brought.journal)
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    config = {} if rule is Rule.LATEST else {"rule": rule.value}  # what was pulled before there were rules stays good
    with _open(out, config, inputs, existing) as run:
        if run.state is not RunState.DONE:
            standing_now, times = answers.corrections.values(), sent_times(folder)
            history = ledger_entries(brought.journal, sent, standing_now, times, answers.usable, every_posed)
            write_ledger(run.path / LEDGER, history)
            _write(run.path, sent, answers, posed, boxed, inputs)
        manifest = Manifest.open(run.path)
    _tell(answers.notices, manifest.path / NOTICES, progress)
    if boxed.unasked:
        progress.note(what_to_do(boxed, manifest.path, project))
    return PullResult(
        manifest,
        new=brought.new,
        deleted=brought.deleted,
        answered=len(answers.corrections),
        checks=len(answers.checks),
        images=len(answers.images),
        boxed=boxed.waiting,
        unasked=boxed.unasked,
        open=sum(task not in annotations for task in sent.records),
        unknown=brought.unknown,
        notices=len(answers.notices),
        kinds=_by_kind(answers.notices),
        people=count_people(answers, brought.journal),
    )


def _open(out: str | Path, config: Mapping[str, Any], inputs: Mapping[str, str], existing: Existing) -> Run:
    try:
        return Run.open(out, "pull", config=config, inputs=inputs, existing=existing)
    except ExistsError as error:
        remedy = f"{error.remedy} Nothing is lost: what was fetched is kept in the journal."
        raise ExistsError(error.message, subject=error.subject, remedy=remedy) from None


@dataclass(frozen=True)
class _Brought:
    """The journal after this pull, what was sent, and what was new; ``inputs`` are their digests by role."""

    sent: Sent
    journal: tuple[Annotation, ...]
    inputs: Mapping[str, str]
    new: int
    deleted: int
    unknown: int


def _bring(project: str | Path, settings: LabelStudio, full: bool, progress: Progress) -> _Brought:
    """Bring what the exports and the server tell into the journal."""
    folder = ReviewFolder.of(project)
    if not folder.taskmap.exists():
        Sent.read(folder)  # refuses, before anything is made there
    # Reading the task map is part of it: an answer to a task that a push adds meanwhile would be a stranger's.
    with alone_in(folder, progress):
        sent = Sent.read(folder)
        journal = Journal.read(folder.journal)
        exported, unknown = _read_exports(folder, sent, progress)
        new = journal.take(exported)
        fetched = _fetch(project, settings, journal, sent, full, progress)
        inputs = {"taskmap": file_digest(folder.taskmap)}
        inputs["journal"] = file_digest(folder.journal) if folder.journal.exists() else ""
    unknown += fetched.unknown
    return _Brought(sent, journal.entries, inputs, len(new) + len(fetched.new), len(fetched.deleted), unknown)


def _settings(project: str | Path) -> LabelStudio:
    """The project's own; the ones by default where there is but a review folder."""
    return read_project(project).labelstudio if (Path(project) / FILE).is_file() else LabelStudio()


def _fetch(
    project: str | Path, settings: LabelStudio, journal: Journal, sent: Sent, full: bool, progress: Progress
) -> Fetched:
    """What the project's server tells; nothing where there is none."""
    access = read_access(project) if settings.url else None
    if access is None:
        return Fetched(0, (), (), 0)
    if not settings.project:
        progress.note(f"nothing was pushed to {settings.url} yet: only the exports were read")
        return Fetched(0, (), (), 0)
    server = Client(access, note=progress.note)
    return fetch(server, settings.project, journal, sent.records, full=full, progress=progress)


def _read_exports(folder: ReviewFolder, sent: Sent, progress: Progress) -> tuple[list[Annotation], int]:
    """The annotations in the exports, and how many of their tasks are not ours."""
    annotations: list[Annotation] = []
    unknown = 0
    files = sorted(folder.exports.glob("*.json"))
    with progress.task("read exports", len(files), "file") as task:
        for file in files:
            exported = list(read_export(file, sent.records, sent.skeleton))
            annotations += (annotation for entry in exported for annotation in entry.annotations)
            strangers = [entry.place for entry in exported if not entry.known]
            if strangers:
                progress.note(
                    f"{file}: {counted(len(strangers), 'unknown task')} left alone, the first is {strangers[0]}"
                )
            unknown += len(strangers)
            task.advance()
    return annotations, unknown


def _tell(notices: Iterable[Notice], file: Path, progress: Progress) -> None:
    """Say the notices aloud, a few of them; that a task was answered several times is no news."""
    loud = [notice for notice in notices if notice.kind is not Oddity.SEVERAL]
    for notice in loud[:_NOTED]:
        by = f", {notice.by}" if notice.by else ""
        progress.note(f"task {notice.task}, {_subject(notice)}{by}: {notice.what}")
    if len(loud) > _NOTED:
        progress.note(f"and {len(loud) - _NOTED} more: see {file}")


def _by_kind(notices: Iterable[Notice]) -> dict[str, int]:
    return dict(Counter(notice.kind.value for notice in notices).most_common())


def _subject(notice: Notice) -> str:
    return f"pose {notice.pose}" if notice.pose else "whole image"


def _write(
    path: Path, sent: Sent, answers: Answers, posed: Sequence[Posed], boxed: Boxed, inputs: Mapping[str, str]
) -> None:
    """Write corrections, checks, findings, notices and boxed people, and the manifest last: it is the commit."""
    write_corrections(path / CORRECTIONS, answers.corrections.values())
    write_corrections(path / CHECKS, answers.checks)
    _write_lines(path / IMAGES, (check.to_dict() for check in answers.images))
    _write_lines(path / NOTICES, map(asdict, answers.notices))
    parents = [Parent(f"sent {routing[:12]}", manifest.digest) for routing, manifest in sent.manifests.items()]
    parents += [Parent(role, digest) for role, digest in inputs.items() if digest]
    write_boxed(path, boxed, sent, parents)
    samples = _samples(sent, answers.corrections, posed)
    write_manifest(path, samples, sent.skeleton, sent.roots, stage="pull", parents=parents, existing=Existing.RESUME)


def _write_lines(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))


def _samples(sent: Sent, corrections: Mapping[str, Correction], posed: Sequence[Posed]) -> list[Sample]:
    """The answered poses by image, those of people who were in no task too; each image stands there once."""
    drawn: dict[tuple[str, tuple[str, str, str]], list[Poses]] = {}
    for one in posed:
        drawn.setdefault((one.record.routing, one.record.sample), []).append(one.poses())
    placed = {one.pose.id for one in posed}
    merged: dict[tuple[str, str, str], Sample] = {}
    for routing, manifest in sent.manifests.items():
        mine = {pose: c for pose, c in corrections.items() if sent.records[c.task].routing == routing}
        for sample in manifest:
            rows = [i for i, pose in enumerate(sample.poses.id) if pose in mine and pose not in placed]
            new = drawn.get((routing, sample.key), [])
            if not rows and not new:
                continue
            part = correct(sample.with_poses(Poses.concat([sample.poses.take(rows), *new])), mine)
            if before := merged.get(part.key):
                poses = Poses.concat([before.poses, part.poses])
                part = replace(part, poses=poses, attributes={**before.attributes, **part.attributes})
            merged[part.key] = part
    return list(merged.values())
