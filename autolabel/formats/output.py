"""Files and folders that appear whole or not at all.

What is written stands under a hidden name beside its place until it is complete. A killed process leaves that behind;
the next one that writes to the same place removes it.
"""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from autolabel.errors import ExistsError

_SUFFIX = ".tmp"


@contextmanager
def new_file(path: str | Path, *, overwrite: bool, newline: str | None = None) -> Generator[IO[str]]:
    """A text file to write, UTF-8, which takes its name when the block ends well.

    Args:
        path: Its name; folders above it are made.
        overwrite: Replace a file that stands already.
        newline: As in :func:`open`.

    Raises:
        ExistsError: Something stands already.
    """
    with (
        new_path(path, overwrite=overwrite) as temporary,
        temporary.open("w", encoding="utf-8", newline=newline) as file,
    ):
        yield file


@contextmanager
def new_path(path: str | Path, *, overwrite: bool) -> Generator[Path]:
    """A name under which the block, or a library that it calls, writes one file; the file takes its own name after.

    Args:
        path: Its own name; folders above it are made.
        overwrite: Replace a file that stands already.

    Raises:
        ExistsError: Something stands already.
    """
    path = Path(path)
    _require_free(path, overwrite=overwrite and path.is_file())
    temporary = _temporary(path)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: str | Path, *, overwrite: bool, marker: str) -> Generator[Path]:
    """A folder to fill, which takes its name when the block ends well.

    Args:
        path: Its name; folders above it are made. An empty folder may stand there.
        overwrite: Replace a folder that stands already, if it holds ``marker``: only what an export made is removed.
        marker: A file that the block writes into every such folder.

    Raises:
        ExistsError: Something stands already.
    """
    path = Path(path)
    empty = path.is_dir() and not any(path.iterdir())
    _require_free(path, overwrite=empty or (overwrite and (path / marker).is_file()))
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            old = _temporary(path.with_name(f"{path.name}.old"))
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _require_free(path: Path, *, overwrite: bool) -> None:
    if (path.exists() or path.is_symlink()) and not overwrite:
        remedy = "Give another --out, or --overwrite where an export made it."
        raise ExistsError("stands already", subject=str(path), remedy=remedy)


def _temporary(path: Path) -> Path:
    """The hidden name of this process; what dead processes left under theirs is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}."
    for leftover in path.parent.iterdir():
        pid = leftover.name.removeprefix(prefix).removesuffix(_SUFFIX)
        if leftover.name == f"{prefix}{pid}{_SUFFIX}" and pid.isdecimal() and not _alive(int(pid)):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
    return path.with_name(f"{prefix}{os.getpid()}{_SUFFIX}")


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return False  # a leftover of an earlier process with our number
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
