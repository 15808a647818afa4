"""Label Studio in an environment of its own, because it pins half of what we use to other versions.

It is installed once a user, below the folder for data (``$XDG_DATA_HOME``, else ``~/.local/share``), in the versions
that were tested (``labelstudio-constraints.txt``). ``AUTOLABEL_LABELSTUDIO`` names another folder: an empty or new
one is filled, one that holds a Label Studio is used as it is.

The file ``.ready`` comes last and holds what was installed. Without it, an install was killed or failed: it is made
again from the start, but only in a folder that this module made, which the lock file beside it says.
"""

import os
import shutil
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

from autolabel.errors import InputError, WorkError
from autolabel.labelstudio.lock import turn
from autolabel.progress import SILENT, Progress

PLACE = "AUTOLABEL_LABELSTUDIO"
CONSTRAINTS = Path(__file__).with_name("labelstudio-constraints.txt")
READY = ".ready"
SERVER, LIBRARY = "label-studio", "label-studio-sdk"
_OURS = "autolabel review-server installs into the folder beside this file\n"


def pinned_version(package: str = SERVER) -> str:
    """The version of Label Studio, or of another package of its environment, that was tested."""
    pins = dict(line.split("==") for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if "==" in line)
    return pins[package]


def environment_folder() -> Path:
    """Where Label Studio is, or will be."""
    if named := os.environ.get(PLACE):
        return Path(named).absolute()
    data = os.environ.get("XDG_DATA_HOME", "")
    # What the standard calls invalid, it wants ignored.
    base = Path(data) if Path(data).is_absolute() else Path.home() / ".local" / "share"
    return base / "autolabel" / f"labelstudio-{pinned_version()}"


def pip_install(folder: Path) -> None:
    """Make an environment and install Label Studio into it; a few minutes and about a gigabyte.

    Raises:
        WorkError: Python or pip cannot; carries what they say.
    """
    remedy = f"Give the same command again, or name an environment that has Label Studio in {PLACE}."
    try:
        venv.create(folder, with_pip=True)
    except subprocess.CalledProcessError as error:
        why = _last_words(error.output) or str(error)
        raise WorkError(f"Python cannot make an environment: {why}", subject=str(folder), remedy=remedy) from error
    command = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]
    done = subprocess.run(
        [*command, "--constraint", CONSTRAINTS, "label-studio"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    if done.returncode:
        why = f"Label Studio {pinned_version()} cannot be installed: {_last_words(done.stderr)}"
        needs = "It needs a connection to a package index and a gigabyte of disk space."
        raise WorkError(why, subject=str(folder), remedy=f"{needs} {remedy}")


def install(folder: Path, *, fill: Callable[[Path], None] = pip_install, progress: Progress = SILENT) -> Path:
    """Label Studio's program, installed where it is missing.

    Args:
        folder: The environment.
        fill: Makes the environment and installs into it.
        progress: Where to report.

    Raises:
        InputError: The folder holds something else, which is left alone.
        WorkError: It cannot be installed; nothing is left behind.
    """
    lock = folder.with_name(f"{folder.name}.lock")
    wanted = CONSTRAINTS.read_text(encoding="utf-8")
    with turn(lock, lambda: progress.note(f"{folder}: waiting for another command that installs Label Studio")):
        ready, program = folder / READY, folder / "bin" / "label-studio"
        if ready.is_file() and ready.read_text(encoding="utf-8") == wanted:
            return program
        ours = ready.is_file() or lock.read_text(encoding="utf-8") == _OURS
        if not ours and program.is_file():
            return program
        if not ours and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError("holds something else than Label Studio", subject=str(folder),
                             remedy=f"Name an empty or a new folder in {PLACE}.")  # fmt: skip
        lock.write_text(_OURS, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        progress.note(f"installing Label Studio {pinned_version()} into {folder}, once; this takes some minutes")
        _fill(folder, fill)
        ready.write_text(wanted, encoding="utf-8")
        return program


def _fill(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder that is not there yet, or leave none."""
    try:
        fill(folder)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _last_words(said: bytes | None) -> str:
    """What a program said last, in one line; of pip, its errors alone.

    Without a network pip speaks of conflicting dependencies, and of the connection only in a warning before.
    """
    lines = (said or b"").decode(errors="replace").splitlines()
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if any("connection broken" in line for line in lines):
        errors = ["there is no connection to the package index", *errors[:1]]
    return ": ".join(line.strip() for line in errors or lines[-3:] if line.strip())[-600:]
