"""The review folder of a project, and files that are only ever appended to.

    labelstudio/form.xml                  the labelling form
    labelstudio/crops/TASK.jpg            what the tasks show
    labelstudio/tasks/ROUTING-00000.json  tasks to import, 1,000 a file
    labelstudio/taskmap.jsonl             which task is which pose; stays on our side
    labelstudio/sent/ROUTING/             manifest of the poses as they were sent
    labelstudio/exports/*.json            what came back
    labelstudio/journal.jsonl             every annotation ever pulled
    labelstudio/server.jsonl              what a server was sent

A process may die in the middle of an append. A last line without its newline therefore does not count:
readers leave it out, and the next append removes it first.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autolabel.formats.records import json_line
from autolabel.writing import naming


@dataclass(frozen=True)
class ReviewFolder:
    """Where things lie below a project folder.

    Attributes:
        path: ``PROJECT/labelstudio``.
    """

    path: Path

    @classmethod
    def of(cls, project: str | Path) -> "ReviewFolder":
        """The review folder of a project; it need not exist yet."""
        return cls(Path(project) / "labelstudio")

    @property
    def form(self) -> Path:
        """The labelling form."""
        return self.path / "form.xml"

    @property
    def crops(self) -> Path:
        """The folder of what the tasks show."""
        return self.path / "crops"

    @property
    def taskmap(self) -> Path:
        """Which task is which pose."""
        return self.path / "taskmap.jsonl"

    @property
    def journal(self) -> Path:
        """Every annotation ever pulled."""
        return self.path / "journal.jsonl"

    @property
    def server(self) -> Path:
        """What a server was sent."""
        return self.path / "server.jsonl"

    @property
    def exports(self) -> Path:
        """The folder where exports are put."""
        return self.path / "exports"

    @property
    def tasks(self) -> Path:
        """The folder of the tasks to import."""
        return self.path / "tasks"

    def task_file(self, routing: str, i: int) -> Path:
        """The i-th file of a routing's tasks."""
        return self.tasks / f"{routing[:12]}-{i:05d}.json"

    def task_files(self, routing: str = "") -> list[Path]:
        """All files of tasks, or those of one routing, in order."""
        return sorted(self.tasks.glob(f"{routing[:12] or '*'}-[0-9]*.json"))

    def sent(self, routing: str) -> Path:
        """The manifest of a routing's poses as they were sent."""
        return self.path / "sent" / routing[:12]


def is_digest(text: object) -> bool:
    """Whether it is a routing's digest, which names files and folders here: 64 hexadecimal digits."""
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None


def append_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Append JSON values, one a line, and see them safely on disk; several threads or processes take turns."""
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    if not text:
        return
    with naming(path), path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(_whole_lines(path))
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The values of an append-only file; nothing where there is none.

    Raises:
        FormatError: A line is damaged.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            yield json_line(line, number, str(path)).data


def _whole_lines(path: Path) -> int:
    """Length in bytes of everything up to the last newline."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 4096)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0
