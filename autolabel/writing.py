"""Errors of writing name their file.

The system names a file that cannot be opened. Once it is open, a full disk or a limit on its size is told without a
name, and nobody knows where to free space.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: str | Path) -> Generator[None]:
    """Give an ``OSError`` of the block that names no file this one's name.

    Args:
        path: What is written; of a file that is written under another name first, its own.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
