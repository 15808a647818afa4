"""A MongoDB of one's own: its folder, and the process that serves it on this machine.

    db/           its data, readable by its owner alone
    mongod.port   where it listens, and did the last time
    mongod.pid    its process
    mongod.log    what it says; begins anew with every start

It listens on this machine alone, without a password: whoever else works on the machine can reach it. It outlives the
command that starts it, because the App and the next commands use it.

The shell that starts it notes its process at once, so that a command killed in the middle leaves no server that nobody
knows. A process counts as ours only while its command line names this folder: a number that was left behind by a
crash, and given to another program since, is never stopped.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autolabel.curate.database import ping
from autolabel.errors import AutolabelError, InputError, WorkError
from autolabel.labelstudio.lock import turn
from autolabel.manifest import write_text
from autolabel.progress import SILENT, Progress

HOST = "127.0.0.1"
START_SECONDS = 120.0
"""It takes a second, and longer where a crash left much to put right."""

STOP_SECONDS = 60.0
_PORT_SECONDS = 1.0

_LAUNCH = """
umask 077
log=$1 pid=$2
shift 2
"$@" </dev/null >"$log" 2>&1 &
echo $! >"$pid" || { kill $!; exit 1; }
"""


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
        port = _number(self.port_file)
        return port if port < 1 << 16 else 0

    def uri(self) -> str:
        """Its address, now or the last time; empty before the first start."""
        port = self.port()
        return f"mongodb://{HOST}:{port}" if port else ""

    def process(self) -> int:
        """The process that serves this folder; 0 where none does."""
        pid = _number(self.pid_file)
        return pid if pid and _command_line(pid).endswith(_mark(self)) else 0

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
            write_text(server.port_file, f"{_choose_port(server, progress)}\n")
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
        pid = server.process()
        for kind in (signal.SIGTERM, signal.SIGKILL):
            end = time.monotonic() + seconds
            if server.process():
                with contextlib.suppress(ProcessLookupError):  # it ended in this moment
                    os.kill(pid, kind)
            while server.process() and time.monotonic() < end:
                time.sleep(0.05)
        return bool(pid)


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


def _choose_port(server: OwnMongodb, progress: Progress) -> int:
    before = server.port()
    if before and _frees(before):
        return before
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        chosen = int(probe.getsockname()[1])
    if before:
        progress.note(f"port {before} of the last time is taken by another program: it is {chosen} now")
    return chosen


def _frees(port: int) -> bool:
    """Whether a port is free, or soon is: the threads of a killed server keep its own for a moment."""
    end = time.monotonic() + _PORT_SECONDS
    while not (free := _free(port)) and time.monotonic() < end:
        time.sleep(0.02)
    return free


def _free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does it: a port whose last connections are still winding down is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _launch(server: OwnMongodb, program: Path) -> None:
    listen = ["--bind_ip", HOST, "--port", str(server.port()), "--nounixsocket"]
    # Neither connections in the log, which would grow for as long as it runs, nor 200 MB of measurements of itself.
    modest = ["--quiet", "--setParameter", "diagnosticDataCollectionEnabled=false"]
    command = [str(program), *listen, *modest, *_mark(server).split(" ", 1)]
    shell = ["/bin/sh", "-c", _LAUNCH, "sh", str(server.log), str(server.pid_file)]
    # A session and a folder of its own: the server outlives this command, its terminal, and where it was given.
    done = subprocess.run([*shell, *command], cwd=server.folder, start_new_session=True, stderr=subprocess.PIPE,
                          check=False)  # fmt: skip
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip()
        raise WorkError(f"MongoDB cannot be started: {why}", subject=str(server.folder))


def _wait(server: OwnMongodb, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not server.answers():
        if not server.process():
            raise WorkError(f"MongoDB stopped while it started: {_last_words(server.log)}", subject=str(server.log),
                            remedy="Put right what it names and give the same command again.")  # fmt: skip
        if time.monotonic() > end:
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


def _number(path: Path) -> int:
    """What a file of one number holds; 0 where it is missing or damaged."""
    try:
        return max(0, int(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return 0


def _mark(server: OwnMongodb) -> str:
    """How the command line of a folder's server ends."""
    return f"--dbpath {server.data}"


def _command_line(pid: int) -> str:
    """The words of a process; empty where there is none, or one that has ended and was not collected yet."""
    if not Path("/proc/self/cmdline").exists():
        listed = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
        return listed.stdout.decode(errors="replace").strip()
    # For a moment while a program takes the place of another, such as the shell's, it has no words.
    for _ in range(100):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        if words or stat.rpartition(")")[2].split()[0] in "ZX":
            return words.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        time.sleep(0.005)
    return ""
