"""A server of one's own as a process: where it listens, how it is started, known again and stopped.

The shell that starts a server notes its process at once, so that a command killed in the middle leaves no server that
nobody knows. Whoever asks compares the process's command line with the folder that it serves: a number that was left
behind by a crash, and given to another program since, is never stopped.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autolabel.errors import WorkError

HOST = "127.0.0.1"

_PORT_SECONDS = 2.0
_PORTS = 1 << 16

_LAUNCH = """
umask 077
log=$1 pid=$2
shift 2
"$@" </dev/null >"$log" 2>&1 &
echo $! >"$pid" || { kill $!; exit 1; }
"""


def launch(
    command: Sequence[str],
    *,
    name: str,
    folder: Path,
    log: Path,
    pid_file: Path,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Start a server that outlives this command and its terminal.

    Args:
        command: The program and its arguments.
        name: What errors call it.
        folder: Its own.
        log: Begins anew.
        pid_file: Holds the number of its process from the first moment on.
        environment: All that it inherits; by default everything.
        cwd: Where it works; by default where this command was given.

    Raises:
        WorkError: It cannot be started.
    """
    shell = ["/bin/sh", "-c", _LAUNCH, "sh", str(log), str(pid_file)]
    done = subprocess.run([*shell, *command], env=environment, cwd=cwd, start_new_session=True,
                          stderr=subprocess.PIPE, check=False)  # fmt: skip
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip()
        raise WorkError(f"{name} cannot be started: {why}", subject=str(folder))


def end(process: Callable[[], int], seconds: float) -> bool:
    """Ask a process to finish, and kill it where it does not.

    Args:
        process: Its number; 0 where none runs.
        seconds: How long it may take.

    Returns:
        Whether one ran.
    """
    pid = process()
    for kind in (signal.SIGTERM, signal.SIGKILL):
        last = time.monotonic() + seconds
        if process():
            with contextlib.suppress(ProcessLookupError):  # it ended in this moment
                os.kill(pid, kind)
        while process() and time.monotonic() < last:
            time.sleep(0.05)
    return bool(pid)


def choose_port(before: int, note: Callable[[str], None]) -> int:
    """Where a server listened the last time, or else any free port.

    Args:
        before: The port of the last time; 0 where there was none.
        note: Told that another one was taken.
    """
    if before and frees(before):
        return before
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        chosen = int(probe.getsockname()[1])
    if before:
        note(f"port {before} of the last time is taken by another program: it is {chosen} now")
    return chosen


def frees(port: int) -> bool:
    """Whether a port is free, or soon is: a killed server keeps its own for a moment."""
    last = time.monotonic() + _PORT_SECONDS
    while not (free := is_free(port)) and time.monotonic() < last:
        time.sleep(0.02)
    return free


def is_free(port: int) -> bool:
    """Whether a server could listen on a port of this machine now."""
    with socket.socket() as probe:
        # As servers do it: a port whose last connections are still winding down is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def read_port(path: Path) -> int:
    """The port in a file; 0 where there is none."""
    port = read_number(path)
    return port if port < _PORTS else 0


def read_number(path: Path) -> int:
    """What a file of one number holds; 0 where it is missing or damaged."""
    try:
        return max(0, int(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return 0


def command_line(pid: int) -> str:
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
