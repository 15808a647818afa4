"""Reading exports: who answered which task when, and what they submitted.

An export is Label Studio's "JSON" (a list of tasks with their annotations), from its menu or its API.
Everything ever read goes into a journal that is only appended to, so that nothing is lost when a project is
emptied, and nothing counts twice when an export is read again. What counts now is decided by the journal
alone: of every annotation the last known version, skipped and deleted ones void.
"""

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from autolabel.errors import FormatError
from autolabel.formats.records import Record, read_json
from autolabel.labelstudio.answers import read_answer
from autolabel.merge import read_time
from autolabel.skeleton import Skeleton


@dataclass(frozen=True)
class Annotation:
    """One version of one annotation: a line of the journal.

    Attributes:
        task: Key of the task.
        annotation: Label Studio's id of it, unique in the installation.
        by: Who submitted it.
        updated: ISO 8601 time of this version.
        seconds: How long it took, or None when unknown.
        skipped: Whether it was skipped instead of submitted.
        result: The submitted regions and choices as they came.
    """

    task: str
    annotation: str
    by: str
    updated: str
    seconds: float | None
    skipped: bool
    result: tuple[Any, ...]

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
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Annotation":
        """The inverse of :meth:`to_dict`."""
        values: dict[str, Any] = {**data, "result": tuple(data["result"])}
        return cls(**values)


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


def new_entries(journal: Iterable[Annotation], exported: Iterable[ExportedTask]) -> list[Annotation]:
    """What an export tells that the journal does not hold yet; older versions than it holds are left out."""
    entries = list(journal)
    seen = {_fingerprint(entry) for entry in entries}
    last = {entry.key: entry.time for entry in _by_time(entries)}
    fresh: list[Annotation] = []
    for annotation in (annotation for task in exported for annotation in task.annotations):
        fingerprint = _fingerprint(annotation)
        if fingerprint not in seen and annotation.time >= last.get(annotation.key, annotation.time):
            seen.add(fingerprint)
            last[annotation.key] = annotation.time
            fresh.append(annotation)
    return fresh


def standing(journal: Iterable[Annotation]) -> dict[str, list[Annotation]]:
    """The annotations that count now, by task, in the order of their times."""
    last = {entry.key: entry for entry in _by_time(journal)}
    tasks: dict[str, list[Annotation]] = {}
    for entry in _by_time(last.values()):
        if not entry.skipped:
            tasks.setdefault(entry.task, []).append(entry)
    return tasks


def _annotations(task: Record, key: str, skeleton: Skeleton) -> Iterator[Annotation]:
    if "annotations" not in task.data:
        task.fail("annotations", "is missing", "Export the project as JSON, not as JSON-MIN.")
    for record in task.records("annotations"):
        cancelled = record.data.get("was_cancelled", False)
        if not isinstance(cancelled, bool):
            record.fail("was_cancelled", "is not a truth value")
        result = record.items("result")
        if not cancelled:
            read_answer(result, skeleton, place=f"{record.place}.result", subject=record.subject)
        yield Annotation(
            task=key,
            annotation=str(record.identifier("unique_id" if record.data.get("unique_id") else "id")),
            by=_annotator(record),
            updated=_time(record, "updated_at"),
            seconds=None if record.data.get("lead_time") is None else record.number("lead_time"),
            skipped=cancelled,
            result=tuple(result),
        )


def _annotator(record: Record) -> str:
    """The e-mail address where the server tells it, else the number: exports hold only that."""
    who = record.require("completed_by")
    if isinstance(who, dict):
        person = record.record("completed_by")
        return person.text("email", "") or f"annotator-{person.identifier('id')}"
    return f"annotator-{record.identifier('completed_by')}"


def _time(record: Record, field: str) -> str:
    text = record.text(field)
    try:
        read_time(text)
    except ValueError:
        record.fail(field, f"is {text!r}, expected an ISO 8601 time")
    return text


def _by_time(entries: Iterable[Annotation]) -> list[Annotation]:
    return sorted(entries, key=lambda entry: entry.time)


def _fingerprint(entry: Annotation) -> str:
    return json.dumps(entry.to_dict(), sort_keys=True)
