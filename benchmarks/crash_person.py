"""The person beside a loop that is killed: answers every open task once, whatever happens to the loop or the server.

What is answered comes from the simulated reviewer, which works in a folder of its own that mirrors the project's tasks.
There are two desks. At the server's, one answer after another is submitted over the API as a browser would do it, and
a task of which nobody knows whether its answer arrived is looked at again; at the other, answers lie in exports in the
project. The person works on while the loop is dead.
"""

import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from autolabel.errors import AutolabelError
from autolabel.formats.records import read_json
from autolabel.labelstudio.access import Access, save_token, write_settings
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.project import read_project
from benchmarks.labelstudio_requests import listed
from pipelines.simulated_reviewer import SimulatedReviewer

_PAUSE = 0.2
"""Seconds between two looks at what is open."""
_BETWEEN = 0.02
"""Seconds from one answer to the next."""

Items = list[dict[str, Any]]


@dataclass(frozen=True)
class Answer:
    """What was submitted for a task.

    Attributes:
        result: Its regions.
        seconds: How long it took, as the person's browser would tell.
    """

    result: Items
    seconds: float


class Desk(Protocol):
    """Where a person finds tasks and leaves answers."""

    def answer(self) -> None:
        """Answer what is open."""
        ...

    @property
    def given(self) -> dict[str, Answer]:
        """What was submitted so far, by the task's key."""
        ...

    def there(self) -> Counter[str]:
        """How often each task is where people find it, by key."""
        ...

    def answers(self) -> Counter[str]:
        """How many answers each task has there, by key."""
        ...


@dataclass
class _Mind:
    """What the reviewer says to the tasks of a project, worked out in a folder beside it.

    Attributes:
        project: The project.
        reviewer: The person.
        mirror: Another project folder, with the same tasks and with the exports that the reviewer writes.
        answers: What is said, by the task's key.
    """

    project: Path
    reviewer: SimulatedReviewer
    mirror: Path
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])

    def think(self) -> list[Path]:
        """Answer the tasks that are new; gives the exports that this added."""
        here, mirror = ReviewFolder.of(self.project), ReviewFolder.of(self.mirror)
        for made in (mirror.tasks, mirror.exports):
            made.mkdir(parents=True, exist_ok=True)
        new = [file for file in here.task_files() if not (mirror.tasks / file.name).exists()]
        if not new:
            return []
        for file in new:
            shutil.copy(file, mirror.tasks)
        # Afterwards: a task's line of the map is written before the file that it stands in.
        shutil.copy(here.taskmap, mirror.taskmap)
        before = set(mirror.exports.iterdir())
        self.reviewer.review(self.mirror)
        added = sorted(set(mirror.exports.iterdir()) - before)
        for task in (task for file in added for task in read_json(file)):
            said = task["annotations"][0]
            self.answers[task["data"]["task_key"]] = Answer(said["result"], said["lead_time"])
        return added


class ExportDesk:
    """Answers lie in ``labelstudio/exports``, as somebody would put them there who exports by hand.

    Args:
        project: The project.
        reviewer: The person.
        mirror: A folder of the person's own.
    """

    def __init__(self, project: Path, reviewer: SimulatedReviewer, mirror: Path) -> None:
        self._mind = _Mind(project, reviewer, mirror)

    @property
    def given(self) -> dict[str, Answer]:
        return self._mind.answers

    def answer(self) -> None:
        exports = ReviewFolder.of(self._mind.project).exports
        for file in self._mind.think():
            begun = exports / f".{file.name}.tmp"
            shutil.copy(file, begun)
            begun.rename(exports / file.name)

    def there(self) -> Counter[str]:
        files = ReviewFolder.of(self._mind.project).task_files()
        return Counter(task["data"]["task_key"] for file in files for task in read_json(file))

    def answers(self) -> Counter[str]:
        files = ReviewFolder.of(self._mind.project).exports.glob("*.json")
        return Counter(task["data"]["task_key"] for file in files for task in read_json(file))


class ServerDesk:
    """Answers are submitted to the project on the server, each task's when it has none there.

    Args:
        project: The project; is told of the server.
        reviewer: The person.
        mirror: A folder of the person's own.
        access: The server.
    """

    def __init__(self, project: Path, reviewer: SimulatedReviewer, mirror: Path, access: Access) -> None:
        write_settings(project, url=access.url)
        save_token(project, access.token)
        self._mind, self._given = _Mind(project, reviewer, mirror), dict[str, Answer]()
        self._access, self._client = access, Client(access, tries=1)

    @property
    def given(self) -> dict[str, Answer]:
        return self._given

    @property
    def number(self) -> int:
        """The server's number of the project; 0 before the first push."""
        return read_project(self._mind.project).labelstudio.project

    def answer(self) -> None:
        if not self.number:
            return
        self._mind.think()
        try:
            for task in self._client.task_list(self.number):
                said = self._mind.answers.get(task.key)
                if said is None:  # was sent since we looked
                    continue
                if not task.annotations:
                    self._client.annotate(task.id, said.result, lead_time=said.seconds)
                    time.sleep(_BETWEEN)
                self._given[task.key] = said
        except AutolabelError:  # the server is gone: the next look shows what arrived
            return

    def there(self) -> Counter[str]:
        return Counter(task["data"]["task_key"] for task in listed(self._access, self.number))

    def answers(self) -> Counter[str]:
        tasks = listed(self._access, self.number)
        return Counter({task["data"]["task_key"]: len(task["annotations"]) for task in tasks})


class Person:
    """Somebody at a desk, for as long as a ``with`` block lasts.

    Args:
        desk: Where to work.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk, self._home = desk, threading.Event()
        self._hands = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> Self:
        self._work = self._hands.submit(self._answer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._home.set()
        self._hands.shutdown()

    def require_well(self) -> None:
        """Check that nothing keeps the person from answering.

        Raises:
            RuntimeError: Something does.
        """
        if self._work.done() and (trouble := self._work.exception()):
            raise RuntimeError("the person could not go on") from trouble

    def _answer(self) -> None:
        while not self._home.wait(_PAUSE):
            self._desk.answer()
