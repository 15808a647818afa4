"""How much of people's time a corpus takes until it is good enough, spent in seven ways.

    python -m benchmarks.effort --out DIR --data ../shared/data --jobs 2

Every way is simulated with five seeds of all that is drawn: the poses for
calibration and development, the audit, the order, the reviewer's noise and what is overlooked. The networks stay as
they are: they do not learn from the corrections. Writes ``benchmarks/results/effort.json``,
pictures, and the tables of ``docs/confidence.md``. Exits with 1 where a bar is not met.

With ``--loop`` they learn: whole loops, with three seeds, against a real Label Studio. See
:mod:`benchmarks.effort_loop`.
"""

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from autolabel.effort import COSTS
from benchmarks.effort_cases import CERTIFIED, EVERYTHING, of_pool, sessions
from benchmarks.effort_loop import SEEDS as LOOP_SEEDS
from benchmarks.effort_loop import prove
from benchmarks.effort_loop_cases import PLANS
from benchmarks.effort_report import write_report
from benchmarks.effort_rows import bars, reached, row, summary, thinned
from benchmarks.promise_pools import PromisePools
from benchmarks.results import table, write_result
from pipelines.demo_size import NOISE
from pipelines.effort_review import Reviewer

SEEDS = 5

CASES: Mapping[str, tuple[str, float]] = {
    "drawn": ("drawn", NOISE),
    "drawn, full noise": ("drawn", 1.0),
    "fashion17": ("fashion17", 1.0),
    "openfield": ("openfield", 1.0),
}
"""The pool of each case, and how far the reviewer's points scatter, as a share of what COCO's annotators do: drawn
joints are plain to see, as the demo has it."""


@dataclass(frozen=True)
class Task:
    """One seed of one case.

    Attributes:
        data: ``shared/data``.
        out: Where the pools are.
        case: Its name.
        seed: Of everything.
    """

    data: Path
    out: Path
    case: str
    seed: int


def measured(task: Task) -> dict[str, Any]:
    """All arms of one seed: rows, and the curves of the first seed."""
    pool, noise = CASES[task.case]
    case = of_pool(PromisePools.of(task.out, task.data).pool(pool), task.seed)
    found = sessions(case, task.seed, noise)
    everything = found[EVERYTHING][0]
    rows = [row(arm, session, outcome, everything) for arm, (session, outcome) in found.items()]
    curves = {arm: thinned(session.curve) for arm, (session, _) in found.items()} if task.seed == 0 else {}
    return {"poses": len(case.corpus), "rows": rows, "curves": curves}


def together(tasks: Sequence[Task], jobs: int) -> dict[str, Any]:
    """All seeds of one case."""
    if jobs == 1:
        found = [measured(task) for task in tasks]
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as workers:
            found = list(workers.map(measured, tasks))
    return summary(tasks[0].case, found[0]["poses"], [one["rows"] for one in found], found[0]["curves"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pools; kept between calls")
    parser.add_argument("--data", type=Path, required=True, help="shared/data")
    parser.add_argument("--only", nargs="+", choices=dict.fromkeys([*CASES, *PLANS]), default=[], help="by default all")
    parser.add_argument("--seeds", type=int, default=0, help=f"by default {SEEDS}, with --loop {LOOP_SEEDS}")
    parser.add_argument("--loop", action="store_true", help="measure whole loops, whose networks learn")
    parser.add_argument("--jobs", type=int, default=1, help="seeds at a time")
    parser.add_argument("--rehearse", action="store_true", help="write nothing but the printed tables")
    options = parser.parse_args()
    known = PLANS if options.loop else CASES
    if unknown := sorted(set(options.only) - set(known)):
        parser.error(f"{unknown[0]!r} is not among: {', '.join(known)}")
    options.only, options.seeds = options.only or list(known), options.seeds or (LOOP_SEEDS if options.loop else SEEDS)
    if options.loop:
        met = prove(options.out, options.data, options.only, options.seeds, options.jobs, rehearse=options.rehearse)
        return 0 if met else 1
    cases: list[dict[str, Any]] = []
    for name in options.only:
        PromisePools.of(options.out, options.data).pool(CASES[name][0])  # once, before several processes ask for it
        tasks = [Task(options.data, options.out, name, i) for i in range(options.seeds)]
        cases.append(together(tasks, options.jobs))
        print(table([_short(name, one) for one in cases[-1]["arms"]]), flush=True)
    held = bars(cases)
    print(table([{**one, "met": "met" if one["met"] else "NOT MET"} for one in held]))
    if not options.rehearse:
        _write(cases, held, options)
    return 0 if reached(held) else 1


def _write(cases: Sequence[dict[str, Any]], held: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    arms = [{"case": case["case"], **one} for case in cases for one in case["arms"]]
    rest = [{name: value for name, value in case.items() if name not in ("arms", "curves")} for case in cases]
    write_result(
        "effort",
        arms,
        command=f"python -m benchmarks.effort --out DIR --data ../shared/data --seeds {options.seeds}",
        packages=("numpy", "scipy", "scikit-learn", "lightgbm"),
        bars=held,
        costs=asdict(COSTS),
        reviewer={name: value for name, value in asdict(Reviewer(0)).items() if name not in ("seed", "costs", "noise")},
        plans={arm: asdict(plan) for arm, plan in CERTIFIED.items()},
        noise={name: noise for name, (_, noise) in CASES.items()},
        cases=rest,
    )
    for name in write_report(cases, held):
        print(f"docs/confidence.md has no place for the table {name!r}")


def _short(case: str, one: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: value[0] if isinstance(value, list) else value for name, value in one.items()}
    return {"case": case, **{name: "–" if value is None else value for name, value in values.items()}}


if __name__ == "__main__":
    raise SystemExit(main())
