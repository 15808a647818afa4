"""Reading annotations: who answered which task when, and what they submitted.

An export is Label Studio's "JSON" (a list of tasks with their annotations), from its menu or its API; what the server
tells itself (fetch.py) has the same annotations. Everything ever read goes into the journal (journal.py). What counts
now is decided by the journal alone: of every annotation the last known version, skipped and deleted ones void. A
version that cannot be read voids nothing: the one before it stands on, and it is told beside it.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from autolabel.errors import FormatError
from autolabel.formats.records import Record, read_json
from autolabel.labelstudio.answers import read_answer
from autolabel.labelstudio.regions import Regions
from autolabel.merge import read_time
from autolabel.skeleton import Skeleton

UNKNOWN = "annotator-unknown"
"""Who answered, where that is not known: the server forgets it when an account is deleted."""

_AT_ONCE = timedelta(seconds=1)
"""An answer is made and saved within this time: what changed it later was somebody's rework."""


@dataclass(frozen=True)
class Annotation:
    """One version of one annotation: a line of the journal.

    Attributes:
        task: Key of the task.
        annotation: Label Studio's id of it, unique in the installation.
        by: Who stated this version: who changed it last, else who submitted it.
        updated: ISO 8601 time of this version.
        seconds: How long it took, or None when unknown.
        skipped: Whether it was skipped instead of submitted.
        result: The submitted regions and choices as they came; kept as their JSON text, whatever sequence is given.
        created: ISO 8601 time when it was made; the same in a file and from the server, which tell its id differently.
            Empty where an old journal does not say.
        origin: Of one that came from the server, when its task was made there: tells an answer that was deleted from
            a task that was imported anew. Empty where it came from a file.
        deleted: Whether it is gone from the server.
        fault: Why it cannot be read; its result is then empty. Such a one is set aside.
        first: Who submitted it, where somebody else changed it since; else empty.
    """

    task: str
    annotation: str
    by: str
    updated: str
    seconds: float | None
    skipped: bool
    result: Sequence[Any]
    created: str = ""
    origin: str = ""
    deleted: bool = False
    fault: str = ""
    first: str = ""

    def __post_init__(self) -> None:
        """Keep the result as text."""
        if not isinstance(self.result, Regions):
            object.__setattr__(self, "result", Regions(self.result))

    @property
    def key(self) -> tuple[str, str]:
        """What stays the same over all versions of it."""
        return (self.task, self.annotation)

    @property
    def time(self) -> datetime:
        """When this version was made."""
        return read_time(self.updated)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {"result": list(self.result)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Annotation":
        """The inverse of :meth:`to_dict`."""
        return cls(**data)


@dataclass(frozen=True)
class ExportedTask:
    """One task of an export.

    Attributes:
        task: Its key, "" where it carries none.
        place: Where it stands in the file.
        annotations: Those it has.
        known: Whether it is one of ours; annotations of others are not read.
    """

    task: str
    place: str
    annotations: tuple[Annotation, ...]
    known: bool


def read_export(path: Path, tasks: Container[str], skeleton: Skeleton) -> Iterator[ExportedTask]:
    """The tasks of an export, each annotation checked to be one we understand.

    Args:
        path: A JSON export.
        tasks: Keys of the tasks that are ours.
        skeleton: Its keypoints are the labels that may occur.

    Raises:
        FormatError: It is malformed; names record and field.
    """
    content = read_json(path)
    if not isinstance(content, list):
        remedy = "Export the project as JSON, not as another format."
        raise FormatError("is not a list of tasks", subject=str(path), remedy=remedy)
    whole: dict[str, Any] = {"tasks": content}
    for record in Record(whole, "", str(path)).records("tasks"):
        key = record.record("data").text("task_key", "")
        known = key in tasks
        annotations = tuple(_annotations(record, key, skeleton)) if known else ()
        yield ExportedTask(key, record.place, annotations, known)


@dataclass(frozen=True)
class Latest:
    """The last version of every annotation.

    Of two versions the one of the later time counts, and of one time the one that came last. But two that both came
    from the server count in the order in which they came: it tells what is so now, and its clock may be set back.

    Attributes:
        last: By :attr:`Annotation.key`. One that cannot be read only where none could be read.
        faulty: A later version that cannot be read, beside the one that stands on.
    """

    last: dict[tuple[str, str], Annotation] = field(default_factory=dict[tuple[str, str], Annotation])
    faulty: dict[tuple[str, str], Annotation] = field(default_factory=dict[tuple[str, str], Annotation])

    def add(self, entry: Annotation) -> None:
        """Add what came after all that is there."""
        last = self.last.get(entry.key)
        if last is not None and not replaces(entry, last):
            return
        if last is not None and entry.fault and not (last.fault or entry.deleted or last.deleted):
            self.faulty[entry.key] = entry
            return
        self.last[entry.key] = entry
        self.faulty.pop(entry.key, None)


def replaces(entry: Annotation, last: Annotation) -> bool:
    """Whether a version that came later is also the later one."""
    return bool(entry.origin and last.origin) or entry.time >= last.time


def latest_versions(journal: Iterable[Annotation]) -> list[Annotation]:
    """The last version of every annotation, in the order of their times, whatever cannot be read left out."""
    return sorted(_latest(journal).last.values(), key=lambda entry: entry.time)


def standing(journal: Iterable[Annotation]) -> dict[str, list[Annotation]]:
    """The annotations that count now, by task, in the order of their times.

    A later version that cannot be read is among them, so that it is told; it says nothing, and voids nothing.
    """
    tasks: dict[str, list[Annotation]] = {}
    latest = _latest(journal)
    for entry in sorted([*latest.last.values(), *latest.faulty.values()], key=lambda entry: entry.time):
        if not (entry.skipped or entry.deleted):
            tasks.setdefault(entry.task, []).append(entry)
    return tasks


def _latest(journal: Iterable[Annotation]) -> Latest:
    latest = Latest()
    for entry in journal:
        latest.add(entry)
    return latest


def read_annotation(record: Record, task: str, people: Mapping[int | str, str]) -> Annotation:
    """One annotation of an export or of the server; its result is a list of anything.

    Args:
        record: The annotation.
        task: Key of its task.
        people: E-mail addresses by the server's number, where they are known.

    Raises:
        FormatError: A field is missing or holds something else.
    """
    skipped = record.data.get("was_cancelled", False)
    if not isinstance(skipped, bool):
        record.fail("was_cancelled", "is not a truth value")
    by, first = signed(record, people)
    return Annotation(
        task=task,
        annotation=str(record.identifier("unique_id" if record.data.get("unique_id") else "id")),
        by=by,
        updated=_time(record, "updated_at"),
        seconds=None if record.data.get("lead_time") is None else record.number("lead_time"),
        skipped=skipped,
        result=record.items("result"),
        created=_time(record, "created_at") if record.data.get("created_at") is not None else "",
        first=first,
    )


def signed(record: Record, people: Mapping[int | str, str]) -> tuple[str, str]:
    """Who stated an annotation as it is now, and who submitted it where that was somebody else.

    Args:
        record: The annotation.
        people: E-mail addresses by the server's number, where they are known.

    Raises:
        FormatError: Nothing can be read of who submitted it.
    """
    who, last = record.require("completed_by"), record.data.get("updated_by")
    first, number = UNKNOWN, None
    if isinstance(who, dict):
        person = record.record("completed_by")
        number = person.data.get("id")
        first = person.text("email", "") or f"annotator-{person.identifier('id')}"
    elif who is not None:
        number = record.identifier("completed_by")
        first = _person(number, people)
    if isinstance(last, bool) or not isinstance(last, int | str) or last == number or not _reworked(record):
        return first, ""
    return _person(last, people), first


def _annotations(task: Record, key: str, skeleton: Skeleton) -> Iterator[Annotation]:
    if "annotations" not in task.data:
        task.fail("annotations", "is missing", "Export the project as JSON, not as JSON-MIN.")
    for record in task.records("annotations"):
        annotation = read_annotation(record, key, {})
        if not annotation.skipped:
            read_answer(annotation.result, skeleton, place=f"{record.place}.result", subject=record.subject)
        yield annotation


def _person(number: int | str, people: Mapping[int | str, str]) -> str:
    """The e-mail address where it is known, else the number: exports and lists hold only that."""
    return people.get(number) or f"annotator-{number}"


def _reworked(record: Record) -> bool:
    """Whether it was changed after it was made; the server names who sent it, on whose behalf ever, as its changer."""
    if record.data.get("created_at") is None:
        return False
    made, changed = (read_time(_time(record, field)) for field in ("created_at", "updated_at"))
    return changed - made > _AT_ONCE


def _time(record: Record, field: str) -> str:
    text = record.text(field)
    try:
        read_time(text)
    except ValueError:
        record.fail(field, f"is {text!r}, expected an ISO 8601 time")
    return text
