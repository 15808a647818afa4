"""Starts ``autolabel loop run --wait`` again and again without the seconds that imports take.

A process of its own imports everything once and forks for each run that it is asked for: the child becomes the command
line and runs the real command, so that what is killed is a process that does nothing else. Lines of its input
and output are JSON: asked for the words of a command and a log, it tells the child's number and, when it has ended,
how::

    > {"words": ["loop", "run", "project", "--wait"], "log": "run.log"}
    < {"pid": 4242}
    < {"status": -9}
"""

import json
import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE, Popen
from types import TracebackType
from typing import Any, Self

from pipelines.loop_hold import LOCK

ROOT = Path(__file__).parents[1]
_POLL = "0.5"
_LOOK = 0.02
"""Seconds between two looks at whether a child has ended."""


class Launcher:
    """The forking process; use it as a context manager, which ends it."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        # Unbuffered: what is read ahead would not be seen by `select`.
        self._process = Popen(
            [sys.executable, "-m", "benchmarks.crash_launcher"],
            cwd=ROOT, env=environment, stdin=PIPE, stdout=PIPE, bufsize=0,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def loop(self, project: Path, log: Path) -> "Command":
        """Run a project's loop.

        Args:
            project: Its folder.
            log: What the command says is appended there.
        """
        words = ["loop", "run", str(project), "--wait", "--poll", _POLL]
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"words": words, "log": str(log)}).encode() + b"\n")
        return Command(self._process, self._told()["pid"], project, log)

    def _told(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the launching process has ended")
        return json.loads(line)


class Command:
    """A running command.

    Attributes:
        pid: Its number.
        log: What it says.
    """

    def __init__(self, process: "Popen[bytes]", pid: int, project: Path, log: Path) -> None:
        self.pid, self.log = pid, log
        self._process, self._lock = process, project / LOCK
        self._status: int | None = None

    def ended(self, seconds: float = 0.0) -> bool:
        """Whether it has ended, after so many seconds at most."""
        assert self._process.stdout
        if self._status is None and select.select([self._process.stdout], [], [], seconds)[0]:
            self._status = int(json.loads(self._process.stdout.readline())["status"])
        return self._status is not None

    def at_work(self) -> bool:
        """Whether it holds the project: its lock names the process."""
        try:
            return json.loads(self._lock.read_text(encoding="utf-8"))["pid"] == self.pid
        except (OSError, ValueError):
            return False

    def kill(self) -> None:
        """End it as a power cut would."""
        os.kill(self.pid, signal.SIGKILL)
        while not self.ended(1.0):
            pass

    def require_success(self) -> None:
        """Check that it ended by itself and well.

        Raises:
            RuntimeError: It did not; with the last of what it said.
        """
        if self._status:
            said = self.log.read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"`loop run` ended with {self._status}: {said[-3000:]}")


def _become(words: Sequence[str], log: str) -> None:
    """Be the command, in a forked child; does not return."""
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, out), (2, out)):
        os.dup2(source, target)
    from pipelines.cli import main

    main(words)


def serve() -> None:
    """Fork for every line of the input."""
    import matplotlib.figure  # noqa: F401 -- these take seconds, and the command imports them when it needs them
    import pyarrow.parquet  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    from label_studio_sdk import LabelStudio  # noqa: F401

    import model.predict
    import model.train  # noqa: F401
    import pipelines.cli
    import pipelines.loop  # noqa: F401

    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(asked["words"], asked["log"])
        print(json.dumps({"pid": pid}), flush=True)
        print(json.dumps({"status": os.waitstatus_to_exitcode(_waited(pid))}), flush=True)


def _waited(pid: int) -> int:
    """Wait for a child; gives how it ended. It dies when whoever asked for it is gone: it might wait for ever."""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if select.select([sys.stdin], [], [], _LOOK)[0]:  # nothing is asked meanwhile, so this is the end
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve()
