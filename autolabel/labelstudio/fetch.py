"""Fetching answers from the server: what changed since the last time, and what is gone.

``labelstudio/cursor.json`` says up to which ``updated_at`` of which project of which server everything is in the
journal. A task's ``updated_at`` moves whenever one of its annotations is made, changed, skipped or deleted, so it alone
tells what to read again. A little of what was read before is read again too, because a busy server shows a change a
moment after its time; what the journal knows counts once. That time is of the server's clock, which may be set back: so
afterwards a list of all tasks, without their answers, is held against the journal, and the tasks that differ are read
again. A server that was killed between an answer and its count of answers shows no sign of that answer, neither a time
nor a number: so where few tasks are left without one, all of these are read again too.

The journal is written first, the cursor after it, a page at a time: a process that is killed anywhere reads a page
again and loses nothing. One annotation that cannot be read stops no other: it is kept with its fault, without its
result, and stands for nothing.
"""

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, cast

from autolabel.errors import FormatError
from autolabel.formats.records import Record, json_line
from autolabel.labelstudio.exports import UNKNOWN, Annotation, read_annotation, signed
from autolabel.labelstudio.journal import Journal
from autolabel.labelstudio.server import RemoteTask, Server
from autolabel.manifest import write_text
from autolabel.merge import read_time
from autolabel.progress import SILENT, Progress

CURSOR = "cursor.json"
"""The file of the review folder that says how far the server was read."""

PAGE = 100
"""Tasks a request, and at most as many between two writes of the cursor."""

OVERLAP = timedelta(seconds=60)
"""How long before the cursor reading starts."""

DEEPEST = 40
"""A result whose values lie in more lists and objects than this is none that an editor made."""

_NEVER = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Fetched:
    """What a server told.

    Attributes:
        tasks: Tasks that were looked at.
        new: Annotations, or versions of them, that the journal did not hold.
        deleted: Annotations that were found to be gone.
        unknown: Tasks that are not ours; they were left alone.
    """

    tasks: int
    new: tuple[Annotation, ...]
    deleted: tuple[Annotation, ...]
    unknown: int


def fetch(
    server: Server,
    project: int,
    journal: Journal,
    tasks: Container[str],
    *,
    full: bool = False,
    progress: Progress = SILENT,
) -> Fetched:
    """Read what changed on the server into the journal.

    Args:
        server: Where people answer.
        project: The server's number of the project.
        journal: In the review folder, where the cursor lies too.
        tasks: Keys of the tasks that are ours.
        full: Read everything from the start, whatever the cursor says.
        progress: Where to report.

    Raises:
        FormatError: The cursor's file is damaged.
        InputError: The server refuses, or the project is not there.
        WorkError: The server fails. What was read until then is kept.
    """
    path = journal.path.with_name(CURSOR)
    start = reached = "" if full else read_cursor(path, server.url, project)
    people: dict[int | str, str] = {person.id: person.email for person in server.users() if person.email}
    reading = _Reading(journal, tasks, people)
    with progress.task("fetch answers", None, "task") as task:
        for page in _pages(server.changed_since(project, _before(reached), page=PAGE)):
            reading.take(page)
            reached = max([reached, *map(_time, page)], key=lambda time: read_time(time or _NEVER))
            write_text(path, json.dumps({"url": server.url, "project": project, "updated_at": reached}) + "\n")
            task.advance(len(page), new=len(reading.new))
        if start:
            missed = _to_read_again(reading, server.task_list(project))
            for page in _pages(server.answers_of(project, missed) if missed else iter(())):
                reading.take(page)
                task.advance(len(page), new=len(reading.new))
    return Fetched(reading.seen, tuple(reading.new), tuple(reading.deleted), reading.unknown)


@dataclass
class _Reading:
    """What was read so far."""

    journal: Journal
    tasks: Container[str]
    people: Mapping[int | str, str]
    new: list[Annotation] = field(default_factory=list[Annotation])
    deleted: list[Annotation] = field(default_factory=list[Annotation])
    seen: int = 0
    unknown: int = 0

    def take(self, page: Iterable[Mapping[str, Any]]) -> None:
        """Bring some tasks of the server into the journal."""
        page = list(page)
        ours = [remote for remote in page if _key(remote) in self.tasks]
        answers = [list(_annotations(remote, self.people)) for remote in ours]
        self.new += self.journal.take(answer for there in answers for answer in there)
        for remote, there in zip(ours, answers, strict=True):
            # Where an answer cannot be made out, nobody can tell which are gone.
            if _whole(remote, there):
                self.deleted += self.journal.gone(_key(remote), _text(remote, "created_at"), there)
        self.seen += len(page)
        self.unknown += len(page) - len(ours)

    def unanswered(self, remote: RemoteTask) -> bool:
        """Whether a task is ours and the journal holds no answer to it."""
        return remote.key in self.tasks and not self.journal.live(remote.key, remote.created_at)

    def missed(self, remote: RemoteTask) -> bool:
        """Whether a task was answered otherwise than the journal holds, by the count of its answers and its time."""
        if remote.key not in self.tasks:
            return False
        known = self.journal.live(remote.key, remote.created_at)
        if len(known) != remote.annotations:
            return True
        changed = _time({"updated_at": remote.updated_at})
        if not known or not changed:
            return False
        since = read_time(changed) - max(entry.time for entry in known)
        return not timedelta() <= since <= OVERLAP


def _to_read_again(reading: _Reading, listed: Iterable[RemoteTask]) -> list[int]:
    """Numbers of the tasks that differ from the journal; and of those without an answer, if they are a page at most."""
    differ, unanswered = list[int](), list[int]()
    for remote in listed:
        if reading.missed(remote):
            differ.append(remote.id)
        elif len(unanswered) <= PAGE and reading.unanswered(remote):
            unanswered.append(remote.id)
    return differ + (unanswered if len(unanswered) <= PAGE else [])


def read_cursor(path: Path, url: str, project: int) -> str:
    """How far a project was read: an ``updated_at`` of the server, "" where nothing of this project was.

    Args:
        path: The file; it need not exist.
        url: The server's address: another server may have another project of this number.
        project: The server's number of the project.

    Raises:
        FormatError: The file is damaged.
    """
    if not path.is_file():
        return ""
    cursor = json_line(path.read_bytes(), 1, str(path))
    reached = cursor.text("updated_at")
    try:
        read_time(reached or _NEVER)
    except ValueError:
        cursor.fail("updated_at", f"is {reached!r}, expected an ISO 8601 time", "Delete the file: all is read again.")
    same = cursor.identifier("project") == project and cursor.text("url", "") == url
    return reached if same else ""


def why_unstorable(value: object) -> str:
    """Why a value cannot be kept in a line of JSON, or "" when it can."""
    level, depth = [value], 0
    while level:
        if (depth := depth + 1) > DEEPEST:
            return f"is nested more than {DEEPEST} levels deep"
        level = [inner for outer in level for inner in _inside(outer)]
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError) as error:  # numbers that JSON lacks or of thousands of digits, half a character
        return f"is no JSON: {error}"
    return ""


def _inside(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(cast("dict[str, Any]", value).values())
    return cast("list[Any]", value) if isinstance(value, list) else []


def _pages(tasks: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while page := list(islice(tasks, PAGE)):
        yield page


def _before(reached: str) -> str:
    return (read_time(reached) - OVERLAP).isoformat().replace("+00:00", "Z") if reached else ""


def _annotations(remote: Mapping[str, Any], people: Mapping[int | str, str]) -> Iterator[Annotation]:
    """The annotations of a task of the server; what cannot be read has a fault, what has no id is passed over."""
    key, origin = _key(remote), _text(remote, "created_at")
    annotations = remote.get("annotations")
    for data in cast("list[Any]", annotations) if isinstance(annotations, list) else []:
        if not isinstance(data, dict):
            continue
        record = Record(cast("object", data), "annotation", f"task {key}")
        if isinstance(record.data.get("id"), bool) or not isinstance(record.data.get("id"), int | str):
            continue
        try:
            if why := why_unstorable(record.data):
                raise FormatError(why, record=record.place)
            yield replace(read_annotation(record, key, people), origin=origin)
        except FormatError as error:
            yield _faulty(record, people, error.message, key, origin, _time(remote))


def _faulty(
    record: Record, people: Mapping[int | str, str], fault: str, task: str, origin: str, when: str
) -> Annotation:
    """An annotation that cannot be read: which, who and when as far as it can be told, and nothing else of it."""
    number = ascii(record.data.get("unique_id") or record.data.get("id")).strip("'")
    updated, created = _time(record.data) or when or _NEVER, _time(record.data, "created_at")
    by = UNKNOWN
    with suppress(FormatError):
        by, _ = signed(record, people)
    return Annotation(task, number, _storable(by), updated, None, False, (), created, origin, fault=ascii(fault)[1:-1])


def _storable(text: str) -> str:
    return ascii(text)[1:-1][:80]


def _whole(remote: Mapping[str, Any], read: list[Annotation]) -> bool:
    """Whether all annotations of a task were made out: which they are, if not what they say."""
    told = remote.get("annotations")
    if not isinstance(told, list) or len(cast("list[Any]", told)) != len(read):
        return False
    return all(annotation.created or not annotation.fault for annotation in read)


def _key(remote: Mapping[str, Any]) -> str:
    """Our key of a task of the server; "" for one that is not ours."""
    data = remote.get("data")
    return _text(cast("dict[str, Any]", data), "task_key") if isinstance(data, dict) else ""


def _text(values: Mapping[str, Any], field: str) -> str:
    value = values.get(field)
    return value if isinstance(value, str) else ""


def _time(values: Mapping[str, Any], field: str = "updated_at") -> str:
    """When a task or an annotation last changed; "" where that cannot be read."""
    time = _text(values, field)
    try:
        read_time(time)
    except ValueError:
        return ""
    return time
