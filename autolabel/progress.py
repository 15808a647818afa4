"""How long jobs tell what they are doing.

Library code never prints. A function that takes long accepts a ``Progress``; the command line passes one
that draws bars or writes plain lines (``pipelines/console.py``), everybody else gets ``SILENT``.
"""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One counted piece of work."""

    def advance(self, n: int = 1, **numbers: float) -> None:
        """``n`` more units are done; ``numbers`` are shown beside the count (``loss=0.01``)."""
        ...


class Progress(Protocol):
    """Where jobs report to."""

    def task(self, label: str, total: int | None = None, unit: str = "it") -> AbstractContextManager[Task]:
        """Open a counted task; ``total`` is None when nobody knows it."""
        ...

    def note(self, message: str) -> None:
        """Say one thing that a user should read."""
        ...


class _SilentTask:
    def advance(self, n: int = 1, **numbers: float) -> None:
        del n, numbers


class _Silent:
    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "it") -> Generator[Task]:
        del label, total, unit
        yield _SilentTask()

    def note(self, message: str) -> None:
        del message


SILENT: Progress = _Silent()
