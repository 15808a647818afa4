"""Picture files that appear whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

from autolabel.writing import naming


def write_picture(path: Path, write: Callable[[Path], object]) -> None:
    """Write a picture beside its place and put it there when it is complete; nothing is left of one that failed.

    Args:
        path: Its place; folders above it are made, and an older picture is replaced.
        write: Writes to the path that it is given.

    Raises:
        OSError: It cannot be written; the older picture stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with naming(path):
            write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
