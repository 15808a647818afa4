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
from autolabel.manifest import make_folder
from autolabel.writing import naming

MARKER = ".autolabel-export"
"""In every folder that an export made: no other tool writes it, and none minds it."""

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
    given, path = path, Path(path).resolve()
    _require_free(given, free=not path.exists() or (overwrite and path.is_file()))
    temporary = _temporary(path)
    try:
        with naming(given):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: str | Path, *, overwrite: bool) -> Generator[Path]:
    """A folder to fill, which takes its name when the block ends well.

    Args:
        path: Its name; folders above it are made. An empty folder may stand there.
        overwrite: Replace a folder that stands already, if this function made it, which ``MARKER`` in it tells.

    Raises:
        ExistsError: Something stands already.
    """
    given, path = path, Path(path).resolve()
    empty = path.is_dir() and not any(path.iterdir())
    _require_free(given, free=not path.exists() or empty or (overwrite and (path / MARKER).is_file()))
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        (temporary / MARKER).write_text("Made by autolabel export, which may replace this folder.\n", encoding="utf-8")
        if path.exists():
            old = _temporary(path.with_name(f"{path.name}.old"))
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _require_free(path: str | Path, *, free: bool) -> None:
    if not free:
        remedy = "Give another --out; --overwrite replaces only what an export made."
        raise ExistsError("stands already", subject=str(path), remedy=remedy)


def _temporary(path: Path) -> Path:
    """The hidden name of this process; what dead processes left under theirs is removed."""
    make_folder(path.parent)
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
