"""A MongoDB of one's own: its folder, and the process that serves it on this machine.

    db/           its data, readable by its owner alone
    mongod.port   where it listens, and did the last time
    mongod.pid    its process
    mongod.log    what it says; begins anew with every start

It listens on this machine alone, without a password: whoever else works on the machine can reach it. It outlives the
command that starts it, because the App and the next commands use it.
How it is started, known again and stopped: ``pipelines/own_process.py``.
"""

import contextlib
import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autolabel.curate.database import ping
from autolabel.errors import AutolabelError, InputError, WorkError
from autolabel.labelstudio.lock import turn
from autolabel.manifest import write_text
from autolabel.progress import SILENT, Progress
from pipelines.own_process import HOST, choose_port, command_line, end, launch, read_number, read_port

START_SECONDS = 120.0
"""It takes a second, and longer where a crash left much to put right."""

STOP_SECONDS = 60.0


@dataclass(frozen=True)
class OwnMongodb:
    """Where the things of a server lie.

    Attributes:
        folder: Absolute; made by the first start.
    """

    folder: Path

    @classmethod
    def at(cls, folder: str | Path) -> "OwnMongodb":
        """The server of a folder, which need not exist yet."""
        return cls(Path(folder).resolve())

    @property
    def data(self) -> Path:
        """What it stores."""
        return self.folder / "db"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / "mongod.log"

    @property
    def lock(self) -> Path:
        """Held by the command that starts or stops it."""
        return self.folder / "mongod.lock"

    @property
    def pid_file(self) -> Path:
        """Holds the number of its process."""
        return self.folder / "mongod.pid"

    @property
    def port_file(self) -> Path:
        """Holds where it listens."""
        return self.folder / "mongod.port"

    def port(self) -> int:
        """Where it listens, now or the last time; 0 before the first start."""
        return read_port(self.port_file)

    def uri(self) -> str:
        """Its address, now or the last time; empty before the first start."""
        port = self.port()
        return f"mongodb://{HOST}:{port}" if port else ""

    def process(self) -> int:
        """The process that serves this folder; 0 where none does."""
        pid = read_number(self.pid_file)
        return pid if pid and command_line(pid).endswith(_mark(self)) else 0

    def answers(self) -> bool:
        """Whether this very server answers at its port."""
        if not self.process():
            return False
        with contextlib.suppress(OSError, AutolabelError):
            # While it starts nobody listens: a socket knows at once, and pymongo only after its whole wait.
            socket.create_connection((HOST, self.port()), timeout=1).close()
            ping(self.uri())
            return True
        return False


def start(server: OwnMongodb, program: Path, *, seconds: float = START_SECONDS, progress: Progress = SILENT) -> None:
    """Start a server, or wait for the one that is starting; does nothing where it runs.

    It listens where it did the last time, or else at any free port.

    Args:
        server: Its folder; made where it is missing.
        program: A mongod.
        seconds: How long to wait until it answers.
        progress: Where to report.

    Raises:
        InputError: The folder cannot be made, or is somebody else's.
        WorkError: The server stops again or does not answer in time.
    """
    _make_private(server)
    with turn(server.lock, lambda: progress.note(f"{server.folder}: waiting for another command")):
        if not server.process():
            write_text(server.port_file, f"{choose_port(server.port(), progress.note)}\n")
            progress.note(f"starting MongoDB on {server.uri()}")
            _launch(server, program)
        _wait(server, seconds)


def stop(server: OwnMongodb, *, seconds: float = STOP_SECONDS, progress: Progress = SILENT) -> bool:
    """Stop a server; its data stays.

    Args:
        server: Its folder.
        seconds: How long it may take to finish before it is killed, which its data survives.
        progress: Where to report.

    Returns:
        Whether one ran.
    """
    if not server.folder.is_dir():
        return False
    with turn(server.lock, lambda: progress.note(f"{server.folder}: waiting for another command")):
        return end(server.process, seconds)


def _make_private(server: OwnMongodb) -> None:
    """Let nobody else look into the folder, which may have been there before."""
    try:
        server.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        server.data.mkdir(exist_ok=True)
        for folder in (server.folder, server.data):
            folder.chmod(0o700)
    except OSError as error:
        raise InputError(f"cannot be made a folder of one's own: {error.strerror}", subject=str(server.folder),
                         remedy="Name another folder for data in XDG_DATA_HOME.") from error  # fmt: skip


def _launch(server: OwnMongodb, program: Path) -> None:
    listen = ["--bind_ip", HOST, "--port", str(server.port()), "--nounixsocket"]
    # Neither connections in the log, which would grow for as long as it runs, nor 200 MB of measurements of itself.
    modest = ["--quiet", "--setParameter", "diagnosticDataCollectionEnabled=false"]
    command = [str(program), *listen, *modest, *_mark(server).split(" ", 1)]
    launch(command, name="MongoDB", folder=server.folder, log=server.log, pid_file=server.pid_file, cwd=server.folder)


def _wait(server: OwnMongodb, seconds: float) -> None:
    last = time.monotonic() + seconds
    while not server.answers():
        if not server.process():
            raise WorkError(f"MongoDB stopped while it started: {_last_words(server.log)}", subject=str(server.log),
                            remedy="Put right what it names and give the same command again.")  # fmt: skip
        if time.monotonic() > last:
            raise WorkError(f"MongoDB does not answer on {server.uri()} after {seconds:.0f} s: "
                            f"{_last_words(server.log)}", subject=str(server.log),
                            remedy="Give the same command again to wait on.")  # fmt: skip
        time.sleep(0.05)


def _last_words(log: Path) -> str:
    """What a server said went wrong, or else said last; in one line."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    errors = [said for line in lines if (said := _error(line))]
    words = errors[:2] or [line.strip() for line in lines if line.strip()][-3:]
    return " / ".join(words)[-600:] or "it said nothing"


def _error(line: str) -> str:
    """The error that a line of the log tells of; empty of any other line."""
    try:
        entry: Any = json.loads(line)
        if entry["s"] not in ("E", "F"):
            return ""
        return ": ".join(
            [entry["msg"], *(str(entry["attr"][key]) for key in ("error", "reason") if key in entry["attr"])]
        )
    except (ValueError, KeyError, TypeError):
        return ""


def _mark(server: OwnMongodb) -> str:
    """How the command line of a folder's server ends."""
    return f"--dbpath {server.data}"
