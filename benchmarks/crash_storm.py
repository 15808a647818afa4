"""One project run to its end: undisturbed, or killed at drawn moments and begun again each time.

A killed process gets SIGKILL and is started again at once, with the same words. Where the server is killed too, it is
started again while the loop already runs, and the loop waits for it. A moment that the loop has passed when its time
comes, because this run was faster, is given back to be used in another run.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.crash_launcher import Command, Launcher
from benchmarks.crash_person import Desk, Person
from benchmarks.crash_steps import Moment, Step, Watch
from pipelines.labelstudio_process import OwnServer, start

_LOOK = 0.005
"""Seconds between two looks at what the loop has left."""
_LONGEST = 1800.0

Row = dict[str, Any]


@dataclass(frozen=True)
class Server:
    """The server as something that can die.

    Attributes:
        own: The server.
        program: Label Studio.
    """

    own: OwnServer
    program: Path

    def kill(self) -> None:
        """End it as a power cut would."""
        os.kill(self.own.process(), signal.SIGKILL)
        while self.own.process():
            time.sleep(0.01)

    def restart(self) -> None:
        """Start it again; returns when it answers."""
        start(self.own, self.program)


@dataclass(frozen=True)
class Ran:
    """A run that has ended.

    Attributes:
        steps: As it took them.
        seconds: In all.
        rows: A row a kill.
        missed: Moments that were passed before their time.
    """

    steps: list[Step]
    seconds: float
    rows: list[Row]
    missed: list[Moment]


def run(
    project: Path,
    desk: Desk,
    launcher: Launcher,
    *,
    steps: Sequence[Step] = (),
    moments: Sequence[Moment] = (),
    server: Server | None = None,
    deadly: Collection[Moment] = (),
) -> Ran:
    """Run a project's loop to its end.

    Args:
        project: A new project.
        desk: Of the person who answers.
        launcher: Starts the loop.
        steps: Those of an undisturbed run; needed for moments.
        moments: When to kill, in the order of the run.
        server: What is killed at the ``deadly`` moments, if there is one.
        deadly: Moments at which the server is killed too.

    Raises:
        RuntimeError: The loop stopped with an error, the person could not go on, or it took half an hour.
    """
    log, start, watch = project.with_suffix(".log"), time.monotonic(), Watch(project)
    rows, missed, restarts = list[Row](), list[Moment](), list[threading.Thread]()
    with Person(desk) as person:
        command = launcher.loop(project, log)
        for i, moment in enumerate(moments):
            if not _reached(moment, command, watch, person, start + _LONGEST):
                missed += moments[i:]
                break
            command.kill()
            watch.look(time.monotonic())
            hit = watch.at(steps)
            rows.append({"aimed": moment.step.leaves, "share": round(moment.share, 2), "hit": hit.leaves,
                         "kind": hit.kind, "server": moment in deadly})  # fmt: skip
            if server and moment in deadly:
                _all(restarts)
                server.kill()
                restarts.append(_begun(server.restart))
            command = launcher.loop(project, log)
        while not command.ended(_LOOK):
            watch.look(time.monotonic())
            _require_well(person, start + _LONGEST)
        command.require_success()
        _all(restarts)
    watch.look(time.monotonic())
    return Ran(watch.steps(start), time.monotonic() - start, rows, missed)


def _reached(moment: Moment, command: Command, watch: Watch, person: Person, latest: float) -> bool:
    """Wait until a moment; False where the command has ended before.

    The step's time counts from when the command is at work, which it is when it holds the project.
    """
    since: float | None = None
    while not command.ended(_LOOK):
        now = time.monotonic()
        _require_well(person, latest)
        watch.look(now)
        if since is None and watch.has(moment.step.after) and command.at_work():
            since = now
        if since is not None and now >= since + moment.delay:
            return True
    command.require_success()
    return False


def _require_well(person: Person, latest: float) -> None:
    person.require_well()
    if time.monotonic() > latest:
        raise RuntimeError(f"the loop has not ended after {_LONGEST:.0f} s")


def _begun(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def _all(threads: list[threading.Thread]) -> None:
    while threads:
        threads.pop().join()
