"""The journal: every version of every annotation that was ever pulled, only appended to.

So nothing is lost when a project is emptied or a server is gone, and nothing counts twice when the same export is read
again or the same task comes from the server again. An annotation that vanished from the server is written once more,
as deleted. A version that cannot be read takes nothing from one that could: of the same time, or from before, it is
left out. Nor does the server make us forget who answered when the account is deleted there.

A file and the server tell the same annotation under two names, the one by a long id, the other by a number; that they
are one is seen by the moment it was made. The name that came first stays.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Self

from autolabel.errors import FormatError
from autolabel.labelstudio.exports import UNKNOWN, Annotation, Latest, replaces
from autolabel.labelstudio.folder import append_lines, read_lines

_NUMBERED = "annotator-"


class Journal:
    """What a journal file holds; what is taken is appended to the file at once.

    Args:
        path: The file.
        entries: Its lines.
    """

    def __init__(self, path: Path, entries: Iterable[Annotation] = ()) -> None:
        self.path = path
        self._entries: list[Annotation] = []
        self._versions: dict[bytes, Annotation] = {}
        self._latest = Latest()
        self._tasks: dict[str, set[str]] = {}
        self._names: dict[tuple[str, str], str] = {}
        for entry in entries:
            self._add(entry)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a journal; an empty one where there is no file.

        Raises:
            FormatError: A line is damaged; names it.
        """
        journal = cls(path)
        for number, data in enumerate(read_lines(path), start=1):
            try:
                entry = Annotation.from_dict(data)
                _ = entry.time
            except (KeyError, TypeError, ValueError) as error:
                raise FormatError(f"{error!r}", record=f"line {number}", subject=str(path)) from error
            journal._add(entry)
        return journal

    @property
    def entries(self) -> tuple[Annotation, ...]:
        """All versions, in the order in which they came."""
        return tuple(self._entries)

    def take(self, annotations: Iterable[Annotation]) -> list[Annotation]:
        """Append what the journal does not hold yet; safely on disk when this returns.

        A version that is older than what is known of its annotation is left out.

        Returns:
            What was appended.
        """
        fresh = self.look_at(annotations)
        append_lines(self.path, (entry.to_dict() for entry in fresh))
        return fresh

    def look_at(self, annotations: Iterable[Annotation]) -> list[Annotation]:
        """Like :meth:`take`, but for this object alone: the file stays as it is."""
        fresh: list[Annotation] = []
        for annotation in map(self._signed, map(self._named, annotations)):
            if self._tells_more(annotation):
                self._add(annotation)
                fresh.append(annotation)
        return fresh

    def gone(self, task: str, origin: str, there: Iterable[Annotation]) -> list[Annotation]:
        """Append, as deleted, what came from a task of the server and is not there any more.

        Args:
            task: Key of the task.
            origin: When the server's task was made: what came from a file, or from another task of this key, is left
                alone.
            there: The annotations that it has now.

        Returns:
            What was appended.
        """
        names = {self._named(annotation).annotation for annotation in there}
        lost = [entry for entry in self.live(task, origin) if entry.annotation not in names]
        return self.take(replace(entry, deleted=True) for entry in lost)

    def live(self, task: str, origin: str) -> list[Annotation]:
        """The last version of each annotation that a task of the server had when it was last read, by name.

        Args:
            task: Key of the task.
            origin: When the server's task was made; "" has none.
        """
        keys = [(task, name) for name in sorted(self._tasks.get(task, ()))]
        told = [(self._latest.faulty.get(key), self._latest.last[key]) for key in keys]
        from_there = [next((e for e in pair if e and e.origin == origin), None) for pair in told]
        return [entry for entry in from_there if entry and origin and not entry.deleted]

    def _add(self, entry: Annotation) -> None:
        self._entries.append(entry)
        self._versions[_fingerprint(entry)] = entry
        self._latest.add(entry)
        self._tasks.setdefault(entry.task, set()).add(entry.annotation)
        # An old journal does not say when an annotation was made: there its last change must do.
        made = entry.created or entry.updated
        self._names.setdefault((entry.task, made), entry.annotation)

    def _named(self, annotation: Annotation) -> Annotation:
        """The annotation under the name by which the journal knows it."""
        if not annotation.created:
            return annotation
        for made in (annotation.created, annotation.updated):
            name = self._names.get((annotation.task, made), annotation.annotation)
            if name.isdigit() != annotation.annotation.isdigit():
                return replace(annotation, annotation=name)
        last = self._latest.last.get(annotation.key)
        if last and last.created not in ("", annotation.created):  # the same number on another server
            return replace(annotation, annotation=f"{annotation.annotation} of {annotation.created}")
        return annotation

    def _signed(self, annotation: Annotation) -> Annotation:
        """The annotation with the people that the journal knows, where the server has forgotten them."""
        last = self._latest.last.get(annotation.key)
        if last is None or UNKNOWN not in (annotation.by, annotation.first):
            return annotation
        if annotation.by == UNKNOWN:
            return replace(annotation, by=last.by, first=last.first)
        first = last.first or last.by
        return replace(annotation, first="" if first == annotation.by else first)

    def _tells_more(self, annotation: Annotation) -> bool:
        last = self._latest.last.get(annotation.key)
        if last and not self._may_replace(annotation, last):
            return False
        if (known := self._versions.get(_fingerprint(annotation))) is None:
            return True
        if annotation.deleted or not annotation.origin:
            return False
        # The server was set back to an older state, or what could not be read can be read again.
        changed = annotation.key in self._latest.faulty or (last is not None and not _same(annotation, last))
        back = (last is not None and last.deleted) or (changed and not annotation.fault)
        numbered = known.by.startswith(_NUMBERED) and not annotation.by.startswith(_NUMBERED)
        reworked = bool(annotation.first) and not known.first  # an old journal does not say
        return back or numbered or reworked or not known.origin

    @staticmethod
    def _may_replace(annotation: Annotation, last: Annotation) -> bool:
        """Whether a version may count for more than the last one."""
        if annotation.fault and not (annotation.deleted or last.fault or last.deleted):
            return annotation.time > last.time
        return replaces(annotation, last)


def _same(entry: Annotation, other: Annotation) -> bool:
    return _fingerprint(entry) == _fingerprint(other)


def _fingerprint(entry: Annotation) -> bytes:
    """Of what a version says, without who tells it."""
    data = entry.to_dict()
    told = {name: value for name, value in data.items() if name not in ("by", "first", "created", "origin")}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()
