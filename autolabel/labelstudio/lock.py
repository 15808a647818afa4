"""Commands that must not work on one folder at the same time take turns.

Two pushes at the same moment would write the same files and send them twice. The lock belongs to the open file, so it
ends with the process however that dies; the file itself stays.
"""

import fcntl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from autolabel.labelstudio.folder import ReviewFolder
from autolabel.progress import SILENT, Progress


@contextmanager
def alone_in(folder: ReviewFolder, progress: Progress = SILENT) -> Generator[None]:
    """Hold a review folder's lock; waits while another process holds it, and says so.

    Args:
        folder: Made if it is not there.
        progress: Where to say that another one is waited for.
    """
    waiting = f"another command is at work in {folder.path}: waiting until it has finished"
    with turn(folder.path / ".lock", lambda: progress.note(waiting)):
        yield


@contextmanager
def turn(lock: Path, waiting: Callable[[], None]) -> Generator[None]:
    """Hold a lock for as long as a block lasts.

    Args:
        lock: The file to lock; made if it is not there, with its folder.
        waiting: Called before the wait, where another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
