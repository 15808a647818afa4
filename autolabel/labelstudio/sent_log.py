"""What a server was sent: ``labelstudio/server.jsonl``, a line each time that a task goes out or its number is learnt.

The server keeps a task's data but tells about its prediction only one task at a time; the digest of what was sent
says whether a task is still what it should be without asking. A line without a number stands before every import:
if we die before the answer comes, the task that is then found there has the content of that line.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autolabel.errors import FormatError
from autolabel.labelstudio.folder import append_lines, read_lines

FORM = ""
"""Stands for the task where a line is about the project's form."""


@dataclass(frozen=True)
class Sent:
    """One line.

    Attributes:
        project: The server's number of the project.
        task: Key of the task; :data:`FORM` for the labelling form.
        number: The server's number of the task; 0 while nobody knows whether it arrived.
        digest: Of what was sent.
        when: ISO 8601 time.
        url: The server's address: another server may have another project of this number. Empty in old lines.
    """

    project: int
    task: str
    number: int
    digest: str
    when: str
    url: str = ""


def read_sent(path: Path, url: str, project: int) -> dict[str, Sent]:
    """The last line of each task of a project.

    Args:
        path: The log; it need not exist.
        url: The server's address.
        project: The server's number of the project.

    Raises:
        FormatError: A line is damaged.
    """
    last: dict[str, Sent] = {}
    for number, data in enumerate(read_lines(path), start=1):
        sent = _sent(data, number, path)
        if (sent.url, sent.project) == (url, project):
            last[sent.task] = sent
    return last


def log_sent(path: Path, url: str, project: int, lines: Iterable[tuple[str, int, str]]) -> None:
    """Append lines of (task, number, digest), and see them safely on disk."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    append_lines(path, [asdict(Sent(project, task, number, digest, now, url)) for task, number, digest in lines])


def _sent(data: Mapping[str, Any], number: int, path: Path) -> Sent:
    try:
        return Sent(**data)
    except TypeError as error:
        raise FormatError(f"{error}", record=f"line {number}", subject=str(path)) from error
