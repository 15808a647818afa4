"""The ledger: every keypoint's history, over all rounds.

A line is one usable answer of one person about one pose: what the pose stated when it was sent and who or what had
placed each keypoint, what it states since, how far each keypoint moved, who, when, how long it took, and which task it
was. Answers that were overruled later stand there too, and so do those to blind tasks and second looks, which are laid
over nothing. ``pull`` writes the whole ledger of a project beside its corrections; ``merge`` carries it on. It is only
ever appended to: a line that stands is not changed, and no answer stands there twice.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import FormatError
from autolabel.formats.records import Record, json_line
from autolabel.manifest import write_text
from autolabel.merge import Correction, read_time
from autolabel.poses import Origin

LEDGER = "ledger.jsonl"
"""The ledger's file in the folder of a pulled or merged manifest."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One answer about one pose.

    Attributes:
        correction: What the person found and left, who, when, in which task.
        annotation: Label Studio's id of the answer; "" where several answers were brought together.
        kind: What the task was for, see :data:`autolabel.labelstudio.tasks.KINDS`.
        routing: Digest of the routing that sent it.
        model: Who or what had stated the pose last when it was sent.
        origin: (K,) what kind of hand had placed each keypoint then, see :class:`autolabel.poses.Origin`.
        laid: Whether the answer may be laid over its pose; a blind answer never is.
        sent: ISO 8601 time when the task was sent; "" where nobody wrote it down.
    """

    correction: Correction
    annotation: str
    kind: str
    routing: str
    model: str
    origin: NDArray[np.uint8]
    laid: bool = True
    sent: str = ""

    @property
    def pose(self) -> str:
        """Id of the pose."""
        return self.correction.pose

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What no other line has: task, answer, the time of this version of it, and the pose."""
        return (self.correction.task, self.annotation, self.correction.when, self.pose)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; ``distance`` stands there for readers."""
        return {
            **self.correction.to_dict(),
            "annotation": self.annotation,
            "kind": self.kind,
            "routing": self.routing,
            "model": self.model,
            "origin": self.origin.tolist(),
            "laid": self.laid,
            "sent": self.sent,
            "distance": [None if np.isnan(d) else round(d, 3) for d in self.correction.distance.tolist()],
        }

    @classmethod
    def from_record(cls, record: Record, num_keypoints: int) -> "Entry":
        """The inverse of :meth:`to_dict`.

        Raises:
            FormatError: A field is missing or holds something else.
        """
        laid, _ = record.require("laid"), record.require("origin")
        if not isinstance(laid, bool):
            record.fail("laid", "is not a truth value")
        return cls(
            correction=Correction.from_record(record, num_keypoints),
            annotation=record.text("annotation"),
            kind=record.text("kind"),
            routing=record.text("routing"),
            model=record.text("model"),
            origin=np.array(record.levels("origin", num_keypoints, len(Origin), []), np.uint8),
            laid=laid,
            sent=record.text("sent", ""),
        )


def write_ledger(path: Path, entries: Iterable[Entry]) -> None:
    """Write a ledger in the order of the answers' times, no answer twice.

    Args:
        path: The file.
        entries: Of an answer that is given several times the last one counts: what came later knows people by name.
    """
    found = {entry.key: entry for entry in entries}
    ordered = sorted(found.values(), key=lambda e: (read_time(e.correction.when), e.key))
    write_text(path, "".join(_line(entry.to_dict()) for entry in ordered))


def read_ledger(path: Path, num_keypoints: int, pose: str | None = None) -> list[Entry]:
    """Read a ledger, or what it says about one pose; nothing where there is none.

    Args:
        path: The file.
        num_keypoints: K.
        pose: Id of the pose whose lines are wanted; the others are not even read.

    Raises:
        FormatError: A line is malformed; names it and the field.
    """
    wanted = b"" if pose is None else json.dumps(pose, ensure_ascii=False).encode()
    records = (json_line(line, number, str(path)) for number, line in _lines(path) if wanted in line)
    entries = [Entry.from_record(record, num_keypoints) for record in records]
    return [entry for entry in entries if pose is None or entry.pose == pose]


def carry_on(folder: Path, *sources: Path) -> None:
    """Bring the ledgers beside other manifests into a folder: lines that stand there stay as they are and first.

    Nothing is written where none of them has one, or where nothing is new.

    Args:
        folder: The folder of a manifest; its own ledger, if it has one, is gone on with.
        *sources: Folders of manifests with or without a ledger, the oldest first.

    Raises:
        FormatError: A line is malformed.
    """
    target = folder / LEDGER
    lines = _by_key(target)
    before = len(lines)
    for source in sources:
        for key, line in _by_key(source / LEDGER).items():
            lines.setdefault(key, line)
    if len(lines) > before:
        write_text(target, "".join(lines.values()))


def _by_key(path: Path) -> dict[tuple[str, str, str, str], str]:
    found: dict[tuple[str, str, str, str], str] = {}
    for number, line in _lines(path):
        record = json_line(line, number, str(path))
        key = (record.text("task"), record.text("annotation"), record.text("when"), record.text("pose"))
        found.setdefault(key, _line(record.data))
    return found


def _lines(path: Path) -> Iterable[tuple[int, bytes]]:
    """The lines of a file with their numbers; none where there is no such file."""
    if not path.is_file():
        return []
    try:
        return [(number, line) for number, line in enumerate(path.read_bytes().split(b"\n"), start=1) if line]
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", subject=str(path)) from error


def _line(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False) + "\n"
