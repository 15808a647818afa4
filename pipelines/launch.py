"""One command in several processes, through torchrun, which ``accelerate launch`` uses too.

Only one process talks to the user. While all goes well that is the first one of the job; a failure is written by the
process that failed into the file which torchrun names to it, and told by the process that launched the job.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from autolabel.errors import AutolabelError, InputError, WorkError

_OURS = "AUTOLABEL_LAUNCHED"
"""Set in the processes of a job that :func:`launch` started."""

_FILE = "TORCHELASTIC_ERROR_FILE"
"""Where torchrun tells each of its processes to write what went wrong."""

_STOPPING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class _Ended(NamedTuple):
    """How a job ended: its exit code, and the signals that this process got meanwhile."""

    code: int
    signals: Sequence[int]


def is_launched() -> bool:
    """Whether this is one of several processes that torchrun started."""
    return "RANK" in os.environ


def launch(arguments: Sequence[str], processes: int) -> None:
    """Run a command of ours in several processes on this machine; they report on stderr.

    A signal that asks this process to stop is passed on to all of them, and takes its course here when they have ended:
    none stays behind.

    Args:
        arguments: What follows ``autolabel``.
        processes: How many.

    Raises:
        InputError: What one of them was given is wrong.
        WorkError: One of them failed.
    """
    with tempfile.TemporaryDirectory(prefix="autolabel-") as folder:
        options = ["--standalone", "--log-dir", folder, "--nproc-per-node", str(processes), "-m", "pipelines.cli"]
        # Left to itself, torchrun gives each process one thread, and says so at length.
        threads = str(max(1, _cores() // processes))
        command = [sys.executable, "-m", "pipelines.torchrun", *options, *arguments]
        ended = _run(command, {"OMP_NUM_THREADS": threads, **os.environ, _OURS: "1"})
        words = _words(Path(folder))
    if ended.signals:
        signal.raise_signal(ended.signals[-1])
    if ended.code:
        raise _error(words, ended.code, processes, arguments[0])


def tell_launcher(message: str, exit_code: int) -> bool:
    """Leave word of a failure for who started this job.

    Args:
        message: What the user should read.
        exit_code: As which it counts.

    Returns:
        Whether this process should be silent: the launcher tells it, or at least (torchrun, where it was called by
        somebody else) that of the other processes than the first one.
    """
    if _FILE not in os.environ:
        return False
    word = {"message": message, "timestamp": time.time(), "exit_code": exit_code}  # the first two are read by torchrun
    try:
        Path(os.environ[_FILE]).write_text(json.dumps(word), encoding="utf-8")
    except OSError:  # a full disk, which may be what there is to tell
        return False
    return _OURS in os.environ or os.environ.get("RANK", "0") != "0"


def _cores() -> int:
    """Those that this process may use, where the system tells it (Linux)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _run(command: Sequence[str], environment: Mapping[str, str]) -> _Ended:
    """Run torchrun to its end, whatever asks this process to stop meanwhile."""
    received: list[int] = []
    started: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _: object) -> None:
        received.append(number)
        for process in started:
            process.send_signal(number)

    # Signals can be handled in the main thread only. One that is ignored, as under nohup, stays so.
    main = threading.current_thread() is threading.main_thread()
    handled = [s for s in _STOPPING if main and signal.getsignal(s) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, forward) for number in handled}
    try:
        # In a session of its own: Ctrl-C in the terminal reaches it once, from here.
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
        started.append(process)
        for number in received[:]:  # that came before there was a process
            process.send_signal(number)
        return _Ended(process.wait(), received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _words(folder: Path) -> list[dict[str, Any]]:
    """What the processes left word of: the first process' before that of others, then by time."""
    found: list[tuple[bool, float, dict[str, Any]]] = []
    for file in folder.rglob("error.json"):
        try:
            word = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:  # killed while it wrote
            continue
        found.append((file.parent.name != "0", word["timestamp"], word))
    return [word for *_, word in sorted(found, key=lambda item: item[:2])]


def _error(words: Sequence[Mapping[str, Any]], code: int, processes: int, subject: str) -> AutolabelError:
    """What to tell the user of a job that failed."""
    if words:
        kind = InputError if words[0]["exit_code"] == InputError.exit_code else WorkError
        return kind(words[0]["message"].removeprefix("error: "))
    what = f"one of the {processes} processes failed, and said why above"
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        what = f"one of the {processes} processes was ended by a signal, {signal.strsignal(number)}"
    return WorkError(what, subject=subject, remedy="The same command goes on from the last saved state.")
