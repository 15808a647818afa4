"""Test doubles that several tests share."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from autolabel.progress import Task


class Stopped(BaseException):
    """What a kill looks like from inside."""


def stop() -> NoReturn:
    """End the work as a kill does, and let the test go on."""
    raise Stopped


def kill() -> None:
    """End this process, as no handler can see."""
    os.kill(os.getpid(), signal.SIGKILL)


class Recorder:
    """A progress that remembers what it was told, and may end the work in its middle.

    Attributes:
        notes: What it was told.
        steps: By task, the sizes of its steps; steps of nothing are left out.
        totals: By task, how much work was announced.
    """

    def __init__(self, after: int | None = None, end: Callable[[], None] = stop) -> None:
        self.notes: list[str] = []
        self.steps: dict[str, list[int]] = {}
        self.totals: dict[str, int | None] = {}
        self._label = ""
        self._after, self._end = after, end

    @property
    def done(self) -> int:
        """Units of all tasks together."""
        return sum(map(sum, self.steps.values()))

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "it") -> Iterator[Task]:
        outer, self._label = self._label, label
        self.steps[label], self.totals[label] = [], total
        yield self
        self._label = outer

    def advance(self, n: int = 1, **numbers: float) -> None:
        self.steps.setdefault(self._label, []).extend([n] * (n > 0))
        if self._after is not None and self.done >= self._after:
            self._end()

    def note(self, message: str) -> None:
        self.notes.append(message)
