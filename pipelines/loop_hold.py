"""One ``loop run`` at a time on a project: the second does not wait, it says who is at work.

The lock belongs to the open file, so it ends with the process however that dies, and a file that a dead one left is no
obstacle. The file says who holds it. Processes that a run forks, such as readers of training images, do not keep the
lock: they may outlive a killed run by seconds.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from autolabel.errors import WorkError
from autolabel.writing import naming

LOCK = ".loop.lock"

_TRIES, _PAUSE = 5, 0.1
"""Somebody who only asks who is at work holds the lock for a moment."""

_open: set[IO[bytes]] = set()


def _let_go() -> None:
    for file in _open:
        file.close()
    _open.clear()


os.register_at_fork(after_in_child=_let_go)


@dataclass(frozen=True)
class Holder:
    """Who works on a project.

    Attributes:
        pid: Of the process.
        host: The machine it runs on.
        since: ISO 8601 time at which it began.
    """

    pid: int
    host: str
    since: str

    def words(self) -> str:
        """For people: ``process 4242 on farm since 2026-01-31T12:00:00+00:00``."""
        return f"process {self.pid} on {self.host} since {self.since}"


@contextmanager
def held(project: Path) -> Generator[None]:
    """Hold a project for as long as a block lasts.

    Args:
        project: The project folder; it must be there.

    Raises:
        WorkError: Another process holds it; says which.
    """
    lock = project / LOCK
    with naming(lock):
        file = lock.open("a+b")
    with file:
        if not _taken(file):
            raise WorkError(
                f"another `loop run` is at work here: {_words(lock)}",
                subject=str(project),
                remedy="Wait until it has finished, or stop it there and run this again: nothing is lost.",
            )
        _open.add(file)
        try:
            with naming(lock):
                _write(file)
            yield
        finally:
            file.truncate(0)
            _open.discard(file)


def holder(project: Path) -> Holder | None:
    """Who works on a project just now; None where nobody does, or where nobody can tell who."""
    lock = project / LOCK
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(lock)
    except OSError:  # nobody ever ran the loop, or we may not look
        return None
    return None


def _taken(file: IO[bytes]) -> bool:
    for i in range(_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE if i + 1 < _TRIES else 0)
        else:
            return True
    return False


def _write(file: IO[bytes]) -> None:
    """Say in the lock's file who holds it."""
    file.truncate(0)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    file.write(json.dumps(asdict(Holder(os.getpid(), socket.gethostname(), now))).encode() + b"\n")
    file.flush()


def _words(lock: Path) -> str:
    who = _read(lock)
    return who.words() if who else "a process that has just begun"


def _read(lock: Path) -> Holder | None:
    try:
        return Holder(**json.loads(lock.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return None
