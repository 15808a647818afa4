"""What the loop is worth where the network learns: ``python -m benchmarks.effort --loop``.

Every seed of every case is labelled in three ways (:mod:`benchmarks.effort_loop_runs`). One Label Studio serves all
loops, each with a project of its own. What is finished stays: the same command goes on where it was stopped. Writes
``benchmarks/results/effort-loop.json``, a picture a case, and the tables of ``docs/confidence.md``.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from autolabel.effort import COSTS
from autolabel.labelstudio.access import Access
from autolabel.manifest import write_text
from benchmarks.effort_loop_cases import PLANS, case_of
from benchmarks.effort_loop_measures import measured
from benchmarks.effort_loop_report import write_report
from benchmarks.effort_loop_rows import bars, summary
from benchmarks.effort_loop_runs import ARMS, LOOP, Run, first_round
from benchmarks.labelstudio_case import environment_of_user
from benchmarks.results import table, write_result
from pipelines.console import LineProgress
from pipelines.labelstudio_environment import install
from pipelines.labelstudio_process import OwnServer, start, stop

SEEDS = 3

_MEASURED = "measured.json"


@dataclass(frozen=True)
class Task:
    """One arm of one seed.

    Attributes:
        data: ``shared/data``.
        out: Where everything is.
        case: One of ``PLANS``.
        seed: Of everything.
        arm: One of ``ARMS``.
        access: The server.
    """

    data: Path
    out: Path
    case: str
    seed: int
    arm: str
    access: Access


def done(task: Task) -> dict[str, Any]:
    """What was measured of an arm; it is run now if it is not done."""
    access = task.access if task.arm == LOOP else None
    run = Run(case_of(task.case, task.out, task.data), task.arm, task.seed, access, LineProgress(sys.stderr))
    file = run.folder / _MEASURED
    if not file.is_file():
        run.go()
        write_text(file, json.dumps(measured(run)) + "\n")
    return json.loads(file.read_text(encoding="utf-8"))


def prove(out: Path, data: Path, only: Sequence[str], seeds: int, jobs: int, *, rehearse: bool = False) -> bool:
    """Run and compare all arms.

    Args:
        out: Folder of corpora, networks and projects; kept between calls.
        data: ``shared/data``.
        only: Which cases.
        seeds: How many.
        jobs: Arms at a time.
        rehearse: Write nothing but the printed tables.

    Returns:
        Whether every bar is met.
    """
    for name in only:  # once, before several processes ask for it
        first_round(case_of(name, out, data), LineProgress(sys.stderr))
    own = OwnServer.at(out / "loop" / "server")
    account = start(own, install(environment_of_user()))
    try:
        access = Access(own.url(), account.token)
        # The slowest first, so that none of them is left alone at the end.
        tasks = [Task(data, out, name, seed, arm, access) for arm in ARMS for name in only for seed in range(seeds)]
        found = _together(tasks, jobs)
    finally:
        stop(own)
    cases = [summary(name, [{arm: found[name, i, arm] for arm in ARMS} for i in range(seeds)]) for name in only]
    held = bars(cases)
    print(table([_short(row) for case in cases for row in case["rounds"]]))
    print(table([{**one, "met": "met" if one["met"] else "NOT MET"} for one in held]))
    if not rehearse:
        _write(cases, held, seeds)
    return all(one["met"] for one in held)


def _together(tasks: Sequence[Task], jobs: int) -> dict[tuple[str, int, str], dict[str, Any]]:
    """All arms; what one of them raises is raised when the others that have begun are done."""
    found: dict[tuple[str, int, str], dict[str, Any]] = {}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as workers:
        waiting = {workers.submit(done, task): task for task in tasks}
        for finished in as_completed(waiting):
            task = waiting[finished]
            found[task.case, task.seed, task.arm] = finished.result()
            print(f"{task.case}, seed {task.seed}, {task.arm}: {len(found)} of {len(tasks)} done", flush=True)
    return found


def _write(cases: Sequence[dict[str, Any]], held: Sequence[dict[str, Any]], seeds: int) -> None:
    write_result(
        "effort-loop",
        [row for case in cases for row in case["rounds"]],
        command=f"python -m benchmarks.effort --loop --out DIR --data ../shared/data --seeds {seeds}",
        bars=held,
        costs=asdict(COSTS),
        plans={name: asdict(plan) for name, plan in PLANS.items()},
        ends=[row for case in cases for row in case["arms"]],
        seeds={case["case"]: case["seeds"] for case in cases},
    )
    for name in write_report(cases, held):
        print(f"docs/confidence.md has no place for the table {name!r}")


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    wanted = (
        "case",
        "arm",
        "round",
        "clicks a person",
        "opened",
        "proposed",
        "untouched pck",
        "untouched bad",
        "held pck",
    )
    return {name: "–" if row[name] is None else row[name] for name in wanted}
