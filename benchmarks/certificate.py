"""Does the promise hold? Certificates against hidden truth, with everything redrawn that is drawn.

    python -m benchmarks.certificate --out DIR --data ../shared/data --jobs 2

Redraws certificates on the pools of ``benchmarks.promise_pools`` below DIR, and on sets with planted shares of bad
poses; counts those that were issued and are not true; writes ``benchmarks/results/certificate.json``, the tables of
``docs/confidence.md`` and its picture, unless it was told to do less. Exits with 1 where a bar is not met. What is
finished is kept below DIR and not done again, unless the code that judges has changed.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from autolabel.manifest import write_text
from benchmarks.certificate_planted import cases, planted_runs
from benchmarks.certificate_redraw import PLANS, Plan, Stage, redraw, staged
from benchmarks.certificate_report import PAGE, PICTURES, write_report
from benchmarks.certificate_reviewers import REVIEWERS, Ground
from benchmarks.certificate_rows import bars, reached, summary
from benchmarks.promise_pools import PromisePools
from benchmarks.results import table, write_result
from benchmarks.scores_networks import Networks
from benchmarks.scores_pools import Predictions
from benchmarks.training_data import Corpora
from pipelines.console import LineProgress

RUNS = 300
PLANTED, PLANTED_OF = "planted", "drawn"
MORE = 10
NETWORKS = 5
SOURCES: Mapping[str, Sequence[str]] = {"promise": tuple(PLANS), "scores": ("drawn", "fashion17")}
"""Whose pools: those of ``benchmarks.promise_pools``, or those of ``benchmarks.scores_pools`` with small networks."""

JUDGES = (
    "autolabel/bounds.py",
    "autolabel/calibration.py",
    "autolabel/calibrator.py",
    "autolabel/evidence.py",
    "autolabel/plants.py",
    "autolabel/propose.py",
    "autolabel/reviewers.py",
    "autolabel/walk.py",
    "benchmarks/certificate_planted.py",
    "benchmarks/certificate_redraw.py",
    "benchmarks/certificate_reviewers.py",
    "pipelines/route_promise.py",
)
"""Files on which results hang: what is kept from others is done again."""


@dataclass(frozen=True)
class Task:
    """One redraw of a pool, or all planted sets of a promise to one kind of people.

    Attributes:
        data: ``shared/data``.
        out: Where everything is kept.
        pool: Its name; the planted sets are made of ``drawn``.
        network: Whose predictions they are, of ``SOURCES``.
        plan: What may be spent.
        number: Of the redraw.
        alpha: Of planted sets, 0 otherwise.
        reviewer: Of planted sets.
        runs: Of planted sets.
    """

    data: Path
    out: Path
    pool: str
    network: str
    plan: Plan
    number: int = 0
    alpha: float = 0.0
    reviewer: str = ""
    runs: int = 0

    @property
    def file(self) -> Path:
        """Where its result is kept."""
        folder = self.out / "certificate" / f"{self.pool}-{self.network}"
        if not self.alpha:
            return folder / f"{self.number:04d}.json"
        return folder / PLANTED / f"{self.alpha:g} {list(REVIEWERS).index(self.reviewer)}.json"

    def ground(self) -> Ground:
        """Its pool; ``scores`` has several networks for fashion17, and the redraws take turns."""
        several = (self.network, self.pool) == ("scores", "fashion17")
        return _ground(self.data, self.out, self.pool, self.network, self.number % NETWORKS if several else 0)


@cache
def _code() -> str:
    root = Path(__file__).parent.parent
    return hashlib.sha256(b"".join((root / name).read_bytes() for name in JUDGES)).hexdigest()


@cache
def _ground(data: Path, out: Path, pool: str, network: str, number: int) -> Ground:
    if network == "promise":
        return Ground.of(PromisePools.of(out, data).pool(pool))
    return Ground.of(Predictions(Networks(Corpora(data, out / "corpora"), out)).pool(pool, number))


@cache
def _stage(data: Path, out: Path, network: str, plan: Plan) -> Stage:
    """What the planted sets are made of: one calibrator's doubts."""
    return staged(_ground(data, out, PLANTED_OF, network, 0), plan, RUNS)


def found(task: Task) -> dict[str, Any]:
    """What came of a task; done now unless it is kept from the same predictions and the same plan."""
    ground = task.ground()
    about = {name: str(value) for name, value in asdict(task).items() if name not in ("data", "out")}
    key = json.dumps({"code": _code(), "predictions": ground.digest, **about}, sort_keys=True)
    if task.file.is_file():
        kept = json.loads(task.file.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return kept
    if task.alpha:
        stage = _stage(task.data, task.out, task.network, task.plan)
        rows = [planted_runs(stage, task.plan, case, task.runs) for case in cases(task.alpha, task.reviewer)]
    else:
        rows = redraw(ground, task.plan, task.number)
    made = {"key": key, "poses": len(ground), "bad": float(ground.bad.mean()), "rows": rows}
    task.file.parent.mkdir(parents=True, exist_ok=True)
    write_text(task.file, json.dumps(made))
    return made


def spread(tasks: Sequence[Task], jobs: int, what: str) -> list[dict[str, Any]]:
    """What came of the tasks, in their order."""
    results: list[dict[str, Any]] = []
    tasks[0].ground()  # so that nothing is trained or predicted by two processes at a time
    with LineProgress(sys.stderr).task(what, len(tasks), "run") as progress:
        for result in _mapped(found, tasks, jobs):
            results.append(result)
            progress.advance(1)
    return results


def _mapped(do: Callable[[Task], dict[str, Any]], tasks: Sequence[Task], jobs: int) -> Iterator[dict[str, Any]]:
    if jobs == 1:
        yield from map(do, tasks)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as workers:
        yield from workers.map(do, tasks)


def measure(options: argparse.Namespace, pool: str) -> dict[str, Any]:
    """Redraw a pool and sum it up."""
    base = _task(options, pool)
    results = spread([replace(base, number=i) for i in range(options.runs)], options.jobs, pool)
    rows = [result["rows"] for result in results]
    made = summary(pool, [result["poses"] for result in results], [result["bad"] for result in results], rows)
    return made | {"network": base.network, "plan": asdict(base.plan)}


def plant(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Audit the planted sets."""
    base = _task(options, PLANTED_OF)
    pairs = [(alpha, reviewer) for alpha in base.plan.alphas for reviewer in REVIEWERS]
    tasks = [replace(base, alpha=alpha, reviewer=name, runs=_planted_runs(options.runs, name)) for alpha, name in pairs]
    return [row for result in spread(tasks, options.jobs, PLANTED) for row in result["rows"]]


def _planted_runs(runs: int, reviewer: str) -> int:
    """More than of the pools where they cost little: a promise that just holds should not fail a bar by chance."""
    return runs if REVIEWERS[reviewer].noise else MORE * runs


def _task(options: argparse.Namespace, pool: str) -> Task:
    return Task(options.data, options.out, pool, options.network, PLANS[pool])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of benchmarks.scores; redraws are kept in it")
    parser.add_argument("--data", type=Path, required=True, help="shared/data")
    parser.add_argument("--network", choices=SOURCES, default="promise", help="which benchmark's predictions")
    parser.add_argument("--only", nargs="+", choices=[*PLANS, PLANTED], default=[*PLANS, PLANTED])
    parser.add_argument("--runs", type=int, default=RUNS, help="redraws; with fewer nothing is written")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    pools = [measure(options, pool) for pool in SOURCES[options.network] if pool in options.only]
    planted = plant(options) if PLANTED in options.only else []
    held = bars(pools, planted)
    print(table([{**row, "met": "met" if row["met"] else "NOT MET"} for row in held]))
    if options.runs >= RUNS and set(options.only) == {*PLANS, PLANTED}:
        command = f"python -m benchmarks.certificate --out DIR --data ../shared/data --network {options.network}"
        command += f" --runs {options.runs}"
        arms = [{"pool": pool["pool"], **row} for pool in pools for row in pool["arms"]]
        rest = [{name: value for name, value in pool.items() if name not in ("arms", "points")} for pool in pools]
        packages = ("numpy", "scipy", "scikit-learn", "lightgbm")
        write_result("certificate", arms, command=command, packages=packages, bars=held, planted=planted, pools=rest)
        write_report(pools, planted, held, PAGE, PICTURES)
    return 0 if reached(held) else 1


if __name__ == "__main__":
    raise SystemExit(main())
