"""How ``loop run --wait`` waits: for people, whose answers it fetches every so often, and for a server that is gone.

A loop without :class:`Patience` returns at once and says what it waits for. With it, the same step looks again: after
``poll`` seconds, or as soon as there is a sign of news, which is a new export or a changed ``labelstudio/wake``, the
file that ``autolabel serve`` touches when somebody submits. A server that does not answer is tried again after pauses
that grow. A wait can be interrupted at any time: it holds nothing that is not on disk.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from autolabel.errors import ConfigError, LostServerError, UnsureError
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.progress import SILENT, Progress, Task

T = TypeVar("T")
Signs = frozenset[tuple[str, int]]
"""Names and times of the files that tell of news."""

WAKE = "wake"
"""File in the review folder that is touched when somebody answered."""

POLL = 60.0
_LONGEST_PAUSE = 900.0
_SLICE = 1.0
"""Seconds between two looks at the files that tell of news."""


@dataclass(frozen=True)
class Patience:
    """Waiting for people and servers instead of returning.

    Attributes:
        poll: Seconds from one look at the server to the next, more than 0.
        sleep: How to wait.
    """

    poll: float = POLL
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        if not self.poll > 0:
            raise ConfigError("must be more than 0 seconds", subject=f"poll {self.poll:g}")

    def rest(self, project: Path, before: Signs) -> None:
        """Wait until there is news, or until it is time to look.

        Args:
            project: The project folder.
            before: The signs before the last look; what came during it is news.
        """
        left = self.poll
        while left > 0 and signs(project) == before:
            self.sleep(min(_SLICE, left))
            left -= _SLICE

    def reach(self, work: Callable[[], T], progress: Progress) -> T:
        """Do some work with a server, as often as it takes until the server answers.

        Args:
            work: May be done again: what is done is not done twice.
            progress: Where to say what is waited for.
        """
        pause = self.poll
        while True:
            try:
                return work()
            except (LostServerError, UnsureError) as error:
                told = str(error).rstrip(".")
                progress.note(f"{told}. Waiting {pause:g} s for the server")
            self.sleep(pause)
            pause = min(2 * pause, max(_LONGEST_PAUSE, self.poll))


def signs(project: Path) -> Signs:
    """What tells of news in a project."""
    review = ReviewFolder.of(project)
    found = set[tuple[str, int]]()
    for file in (review.path / WAKE, *review.exports.glob("*.json")):
        try:
            found.add((file.name, file.stat().st_mtime_ns))
        except FileNotFoundError:
            continue
    return frozenset(found)


class Fresh:
    """Progress of work that is done again and again: each thing is said once, and no bars are drawn.

    Args:
        progress: Where to say it.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._said = set[str]()

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "it") -> Generator[Task]:
        """A task that nobody sees."""
        with SILENT.task(label, total, unit) as task:
            yield task

    def note(self, message: str) -> None:
        """Say what was not said before."""
        if message not in self._said:
            self._said.add(message)
            self._progress.note(message)
