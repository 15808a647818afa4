"""How long push and pull take, in how much memory, and what changes as a project grows.

For each size a project of its own: pushed, pushed again, answered, pulled, pulled again. Into the largest the tasks of
the smallest are pushed once more, as another queue, and their answers pulled: what a project that is full already adds
to the cost. Every row is checked: each task and each answer once, and as it was sent.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autolabel.labelstudio.fetch import OVERLAP
from autolabel.manifest import Manifest
from benchmarks.labelstudio_answers import Answer, answer_all, check_answers, check_tasks
from benchmarks.labelstudio_case import Bench, Case, keys_of
from benchmarks.labelstudio_child import Took, work

QUIET = OVERLAP.total_seconds()
"""A pull reads the last minute before the last answer again: here that would be thousands of answers, where people give
a few."""

Row = dict[str, Any]


def sizes(bench: Bench, tasks: Sequence[int], seed: int, *, quiet: float = QUIET) -> Iterator[Row]:
    """The rows of every size, the largest last.

    Args:
        bench: The server.
        tasks: The sizes.
        seed: Of the answers.
        quiet: Seconds before the last answer of each project.
    """
    for number in sorted(tasks):
        case, queue = bench.case(f"size-{number}"), bench.queue(number)
        keys = keys_of(queue)
        for name in ("push", "push again"):
            yield _pushed(name, number, 0, bench, case, queue, keys)
        given = answer_all(case, seed, keys=set(keys[1:]))
        time.sleep(quiet)
        given |= answer_all(case, seed, keys=set(keys[:1]))
        for name in ("pull", "pull again"):
            yield _pulled(name, number, 0, bench, case, given)
        if number == max(tasks):
            few = min(tasks)
            queue = bench.queue(few, first=1)
            new = keys_of(queue)
            yield _pushed("push more", few, number, bench, case, queue, [*keys, *new])
            given |= answer_all(case, seed, keys=set(new))
            yield _pulled("pull more", few, number, bench, case, given)


def _pushed(name: str, number: int, there: int, bench: Bench, case: Case, queue: Manifest, keys: Sequence[str]) -> Row:
    before = bench.cpu()
    took = work("push", queue.path, "--project", case.project)
    return _row(name, number, there, took, bench, before) | vars(check_tasks(case, keys))


def _pulled(name: str, number: int, there: int, bench: Bench, case: Case, given: Mapping[str, Answer]) -> Row:
    out = bench.folder / "pulled" / case.project.name
    out.parent.mkdir(exist_ok=True)
    again = ["--overwrite"] if there else []
    before = bench.cpu()
    took = work("pull", "--project", case.project, "--out", out, *again)
    return _row(name, number, there, took, bench, before) | vars(check_answers(case, out, given))


def _row(name: str, number: int, there: int, took: Took, bench: Bench, before: float) -> Row:
    """One line of the table.

    Args:
        name: What was done.
        number: With how many tasks.
        there: How many others the project had before.
        took: What it took.
        bench: Whose server did it.
        before: Seconds of processor time that the server had used before it.
    """
    server = bench.cpu() - before
    megabytes, sound = bench.database()
    return {
        "what": name,
        "tasks": number,
        "already there": there,
        "seconds": round(took.seconds, 2),
        "ms a task": round(1000 * took.seconds / number, 2),
        "CPU ms a task": round(1000 * took.cpu / number, 2),
        "server CPU ms a task": round(1000 * server / number, 2),
        "before MiB": round(took.before),
        "peak MiB": round(took.peak),
        "server MiB": round(bench.memory()),
        "database MB": round(megabytes, 1),
        "sound": sound,
    }
