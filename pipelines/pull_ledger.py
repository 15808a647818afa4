"""Every answer that was ever given, with the task and the pose that it is about: what the ledger is made from.

``pull`` lets one answer a pose stand. The ledger and the measures of reviewers need all of them: those that were
overruled or changed later, those to planted and blind tasks, and every one where several people answered a task.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from autolabel.formats.records import Record
from autolabel.labelstudio.answers import correction as correction_of
from autolabel.labelstudio.exports import Annotation
from autolabel.labelstudio.folder import ReviewFolder, read_lines
from autolabel.labelstudio.oddities import understand
from autolabel.labelstudio.tasks import BLIND, IMAGE, PLANTED, TaskRecord
from autolabel.ledger import Entry
from autolabel.merge import Correction
from autolabel.poses import Pose
from pipelines.pull_answers import Sent
from pipelines.pull_drawn import Posed


@dataclass(frozen=True, eq=False)
class Given:
    """A usable answer about a pose.

    Attributes:
        record: The task.
        pose: As it was sent.
        annotation: The answer as it came.
        correction: What it says.
    """

    record: TaskRecord
    pose: Pose
    annotation: Annotation
    correction: Correction


def given_answers(annotations: Iterable[Annotation], sent: Sent, known: Iterable[Correction] = ()) -> Iterator[Given]:
    """The usable answers about poses, whole images left out; what cannot be used is passed over (``pull`` says why).

    Args:
        annotations: In any order; skipped and deleted ones say nothing.
        sent: What the tasks showed.
        known: What some of them say, where it was worked out already; that takes most of the time.
    """
    said = _only_ones(known)
    mine: dict[tuple[str, str], list[Annotation]] = {}
    for annotation in annotations:
        record = sent.records.get(annotation.task)
        if record is not None and record.kind != IMAGE and not (annotation.skipped or annotation.deleted):
            mine.setdefault((record.routing, record.pose), []).append(annotation)
    for key, pose in _poses(sent, mine):
        for annotation in mine[key]:
            record = sent.records[annotation.task]
            correction = said.get((record.task, annotation.by, annotation.updated))
            if correction is None:
                correction = _understood(annotation, record, pose, sent)
            if correction is not None:
                yield Given(record, pose, annotation, correction)


def _only_ones(corrections: Iterable[Correction]) -> dict[tuple[str, str, str], Correction]:
    """Corrections by task, person and time, where these name one alone."""
    found: dict[tuple[str, str, str], list[Correction]] = {}
    for c in corrections:
        found.setdefault((c.task, c.by, c.when), []).append(c)
    return {key: same[0] for key, same in found.items() if len(same) == 1}


def _understood(annotation: Annotation, record: TaskRecord, pose: Pose, sent: Sent) -> Correction | None:
    answer = understand(annotation, record, sent.skeleton, pose).answer
    return None if answer is None else correction_of(annotation, answer, record, pose, sent.skeleton)


def _poses(sent: Sent, wanted: Container[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], Pose]]:
    """The wanted poses as they were sent, by routing and id."""
    for routing, manifest in sent.manifests.items():
        for sample in manifest:
            for i, name in enumerate(sample.poses.id.tolist()):
                if (routing, name) in wanted:
                    yield (routing, name), sample.poses[i]


def ledger_entries(
    journal: Iterable[Annotation],
    sent: Sent,
    standing: Iterable[Correction] = (),
    times: Mapping[str, str] | None = None,
    known: Iterable[Correction] = (),
    posed: Iterable[Posed] = (),
) -> list[Entry]:
    """The ledger of a project: every version of every usable answer about a pose, planted ones left out.

    Of people who were posed in a whole image it tells the last version of each answer alone.

    Args:
        journal: Every annotation ever pulled.
        sent: What the tasks showed.
        standing: The corrections that stand; one that is no person's own answer but was made from several gets a line.
        times: When each task was sent, by its key, as far as that is known.
        known: See :func:`given_answers`.
        posed: People who were posed in a whole image, once for each answer.
    """
    times = times or {}
    entries = [
        _entry(given.correction, given.annotation.annotation, given.record, given.pose, times)
        for given in given_answers(journal, sent, known)
        if given.record.kind != PLANTED
    ]
    entries += [_entry(one.correction, one.annotation, one.record, one.pose, times) for one in posed]
    own = {_name(entry.correction) for entry in entries}
    made = {(sent.records[c.task].routing, c.pose): c for c in standing if _name(c) not in own}
    return [
        *entries,
        *(_entry(made[key], "", sent.records[made[key].task], pose, times) for key, pose in _poses(sent, made)),
    ]


def sent_times(folder: ReviewFolder) -> dict[str, str]:
    """When each task was sent to a server first, by its key; empty where tasks were imported by hand."""
    times: dict[str, str] = {}
    for number, data in enumerate(read_lines(folder.server), start=1):
        line = Record(data, f"line {number}", str(folder.server))
        times.setdefault(line.text("task"), line.text("when"))
    return times


def _name(c: Correction) -> tuple[str, str, str, bytes, bytes]:
    """What tells a correction from others: who, when, and what is stated since."""
    return c.task, c.by, c.when, c.after.xy.tobytes(), c.after.visibility.tobytes()


def _entry(c: Correction, annotation: str, record: TaskRecord, pose: Pose, times: Mapping[str, str]) -> Entry:
    return Entry(
        correction=c,
        annotation=annotation,
        kind=record.kind,
        routing=record.routing,
        model=record.model,
        origin=pose.origin,
        laid=record.kind != BLIND,
        sent=times.get(record.task, ""),
    )
