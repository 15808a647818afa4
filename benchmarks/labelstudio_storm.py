"""Kills in the middle: the command's process, or the server, at random moments of push and pull; and two pushers.

What is killed is a real process, with SIGKILL. The moment is drawn between the first line of the work and its last, as
an undisturbed run takes them; one that comes too late, because this run was faster, is drawn anew. Trials are spread
over that time, so that no part of the work is left out. A killed server is started again at once, while the command
still runs: the command may get over it, or stop with an error of ours that says to try again. Then the work is resumed
until it is done, and everything is counted: tasks against the queue by key, answers against what was submitted.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

from autolabel.labelstudio.access import write_settings
from autolabel.labelstudio.folder import read_lines
from benchmarks.labelstudio_answers import Answer, Findings, answer_all, check_answers, check_tasks
from benchmarks.labelstudio_case import Bench, Case, keys_of
from benchmarks.labelstudio_child import Took, begin, end, let_go, ready, work

COMMAND, SERVER = "command", "server"
_DRAWS, _RESUMES = 8, 4

Row = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """A push or a pull that can be done again and again from its beginning.

    Attributes:
        name: ``push`` or ``pull``.
        words: How it is called.
        fresh: Makes a project where nothing of it was done yet.
        progressed: How far it came, in percent: of crops written, uploaded and tasks imported; of answers journalled.
        check: What is not as it should be when it is done.
        away: Takes the project away again.
    """

    name: str
    words: Callable[[Case], tuple[object, ...]]
    fresh: Callable[[str], Case]
    progressed: Callable[[Case], int]
    check: Callable[[Case], Findings]
    away: Callable[[Case], None]


def storm(bench: Bench, tasks: int, kills: int, seed: int) -> Iterator[Row]:
    """Kill push and pull, and the server under each; a row a kill."""
    for make in (pushing, pulling):
        doing = make(bench, tasks, seed)
        case = doing.fresh(f"{doing.name}-undisturbed")
        whole = work(doing.name, *doing.words(case)).seconds
        doing.away(case)
        for whom in (COMMAND, SERVER):
            for trial in range(kills):
                yield _trial(bench, doing, whom, trial, (trial / kills, (trial + 1) / kills), whole, seed)


def pushing(bench: Bench, tasks: int, seed: int) -> Work:
    """Pushes of one queue, each into a project of its own."""
    queue = bench.queue(tasks)
    keys = keys_of(queue)
    return Work(
        "push",
        lambda case: (queue.path, "--project", case.project),
        bench.case,
        lambda case: _pushed(case, tasks),
        lambda case: check_tasks(case, keys),
        Case.discard,
    )


def _pushed(case: Case, tasks: int) -> int:
    """How far a push came, in percent."""
    done = sum(1 for _ in case.folder.crops.glob("*.jpg"))
    if case.number:
        done += len(case.client.uploads(case.number)) + case.client.project(case.number).tasks
    return 100 * done // (3 * tasks)


def pulling(bench: Bench, tasks: int, seed: int) -> Work:
    """Pulls of one answered project, each into a folder that has pulled nothing yet."""
    case, queue = bench.case("answered"), bench.queue(tasks)
    work("push", queue.path, "--project", case.project)
    given: dict[str, Answer] = answer_all(case, seed)
    return Work(
        "pull",
        lambda copy: ("--project", copy.project, "--out", copy.project / "pulled"),
        lambda name: case.copy(bench.folder / name),
        lambda copy: 100 * sum(1 for _ in read_lines(copy.folder.journal)) // tasks,
        lambda copy: check_answers(copy, copy.project / "pulled", given),
        Case.forget,
    )


def _trial(bench: Bench, doing: Work, whom: str, trial: int, part: tuple[float, float], whole: float, seed: int) -> Row:
    """One kill that hit, and what came of it.

    Raises:
        RuntimeError: No drawn moment was in the middle of the work, or the work did not recover.
    """
    rng = random.Random(f"{seed}/{doing.name}/{whom}/{trial}")
    for draw in range(_DRAWS):
        share = rng.uniform(*part)
        case = doing.fresh(f"{doing.name}-{whom}-{trial}-{draw}")
        process = begin(doing.name, *doing.words(case))
        time.sleep(share * whole)
        killed = _kill_command(doing, case, process) if whom == COMMAND else _kill_server(bench, doing, case, process)
        row = {"what": doing.name, "killed": whom, "trial": trial, "at": round(share, 2)}
        if killed:
            row |= {"came": killed.came, "restart seconds": round(killed.seconds, 1)}
            row |= _after(bench, doing, case, killed.ended)
        doing.away(case)
        if killed:
            return row
        part = (0.8 * part[0], 0.8 * part[1])
    raise RuntimeError(f"none of {_DRAWS} moments was in the middle of a {doing.name}")


@dataclass(frozen=True)
class _Killed:
    """A kill: how far the work had come, how the command ended by itself, and seconds until the server was back."""

    came: int
    ended: Took | None = None
    seconds: float = 0.0


def _kill_command(doing: Work, case: Case, process: "Popen[bytes]") -> _Killed | None:
    if process.poll() is not None:
        end(process)
        return None
    process.kill()
    process.communicate()
    return _Killed(doing.progressed(case))


def _kill_server(bench: Bench, doing: Work, case: Case, process: "Popen[bytes]") -> _Killed | None:
    came = doing.progressed(case)
    if process.poll() is not None:
        end(process)
        return None
    bench.kill()
    seconds = bench.restart()
    return _Killed(came, end(process), seconds)


def _after(bench: Bench, doing: Work, case: Case, ended: Took | None) -> Row:
    """How the work went on, and what is not as it should be at the end."""
    resumes, error = 0, ended.error if ended else ""
    while ended is None or ended.error:
        if resumes == _RESUMES:
            raise RuntimeError(f"{doing.name} did not recover: {error}")
        ended = end(begin(doing.name, *doing.words(case)))
        resumes, error = resumes + 1, ended.error or error
    return {
        "resumes": resumes,
        **vars(doing.check(case)),
        "spare projects": max(0, len(case.numbers()) - 1),
        "sound": bench.database()[1],
        "error": error,
    }


def pushers(bench: Bench, tasks: int) -> Iterator[Row]:
    """Two pushers of one queue at once: in one folder, where the second waits, and on two machines, where none does."""
    queue = bench.queue(tasks)
    keys = keys_of(queue)
    for name in ("one folder", "two machines"):
        case = bench.case(f"pushers, {name}")
        projects: list[Path] = [case.project] * 2
        if name == "two machines":
            write_settings(case.project, project=case.client.create_project(name))
            projects = [case.copy(bench.folder / f"machine-{i}").project for i in range(2)]
        processes = [ready("push", queue.path, "--project", project) for project in projects]
        for process in processes:
            let_go(process)
        took = [end(process) for process in processes]
        again = work("push", queue.path, "--project", projects[0])
        yield {
            "pushers": name,
            "tasks": tasks,
            "seconds": [round(one.seconds, 2) for one in took],
            "sent": [one.summary["server"]["sent"] if not one.error else 0 for one in took],
            "surplus deleted": sum(one.summary["server"]["doubles"] for one in [*took, again] if not one.error),
            "sent by a third": again.summary["server"]["sent"],
            "stopped": sum(bool(one.error) for one in took),
            **vars(check_tasks(Case(projects[0], case.access), keys)),
        }
