"""Is the doubt worth more than the height of the peaks? Measured on poses that neither network nor calibrator learnt.

    python -m benchmarks.scores --out DIR --data ../shared/data

Trains the small networks and predicts the pools where that is not done yet, fits every arm on five splits of each pool,
measures what was held out, and writes ``benchmarks/results/scores.json``, the tables of ``docs/confidence.md`` and its
pictures. Exits with 1 where a bar is met by no arm. What is finished is kept below DIR and not done again.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.manifest import write_text
from autolabel.progress import SILENT
from benchmarks.results import table, write_result
from benchmarks.scores_ablation import ablated
from benchmarks.scores_arms import EVIDENCE, Trial, fit_part
from benchmarks.scores_measures import Held
from benchmarks.scores_networks import Networks
from benchmarks.scores_pools import POOLS, Pool, Predictions
from benchmarks.scores_quality import with_head
from benchmarks.scores_report import PAGE, PICTURES, write_report
from benchmarks.scores_rows import bars, reached, summary
from benchmarks.training_data import Corpora
from pipelines.console import LineProgress

SEEDS, RESAMPLES = 5, 500
ABLATED = ("fashion17", "drawn")
"""Pools that say what each piece of evidence is worth."""


@dataclass(frozen=True)
class Task:
    """One split to fit.

    Attributes:
        data: ``shared/data``.
        out: Where everything is kept.
        pool: Its name.
        seed: Of the split; for ``fashion17`` the network's number too.
        what: ``arms`` or ``ablation``.
        head: Whether a quality head is an arm too.
        steps: Of a head, 0 for as many as it takes.
        images: Of the drawn pool, for a rehearsal; 0 for all.
    """

    data: Path
    out: Path
    pool: str
    seed: int
    what: str
    head: bool = True
    steps: int = 0
    images: int = 0

    @property
    def number(self) -> int:
        """Of the network."""
        return self.seed if self.pool == "fashion17" else 0

    @property
    def file(self) -> Path:
        """Where its doubts are kept."""
        return self.out / "doubts" / f"{self.pool}-{self.seed}-{self.what}.npz"

    def load(self, *, silent: bool = True) -> Pool:
        """Its pool; predicted now if it is not there."""
        return _pool(self.data, self.out, self.pool, self.number, self.images, silent)

    def trial(self) -> Trial:
        """The split, with a head where there is to be one."""
        pool = self.load()
        if self.what != "arms" or not self.head:
            return Trial(pool, self.seed)
        predictions = _predictions(self.data, self.out, self.images, True)
        return Trial(pool, self.seed, headed=with_head(predictions, pool, self.number, self.seed, self.steps or None))


def _predictions(data: Path, out: Path, images: int, silent: bool) -> Predictions:
    progress = SILENT if silent else LineProgress(sys.stderr)
    return Predictions(Networks(Corpora(data, out / "corpora", progress=progress), out, progress=progress), images)


@cache
def _pool(data: Path, out: Path, name: str, number: int, images: int, silent: bool) -> Pool:
    return _predictions(data, out, images, silent).pool(name, number)


def fitted(task: Task) -> tuple[Held, int]:
    """The doubts of a task and how many poses they were fitted on; done now unless they are kept of the same poses."""
    pool = task.load()
    digests = [manifest.digest for manifest in pool.predicted]
    key = json.dumps([digests, sorted(EVIDENCE), sorted(pool.checked.features), task.head, task.steps])
    found = _kept(task.file, key)
    if found is None:
        found = task.trial().arms() if task.what == "arms" else ablated(task.trial())
        _keep(task.file, found, key)
    return found, int(fit_part(pool, task.seed).sum())


def _keep(file: Path, held: Held, key: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    named: dict[str, Any] = {f"doubt {name}": values for name, values in held.doubts.items()}
    named |= {f"stratum {name}": mask for name, mask in held.strata.items()}
    writing = file.with_suffix(".part.npz")
    np.savez_compressed(writing, key=key, bad=held.bad, oks=held.oks, clusters=held.clusters, **named)
    writing.replace(file)


def _kept(file: Path, key: str) -> Held | None:
    if not file.is_file():
        return None
    with np.load(file) as arrays:
        if str(arrays["key"]) != key:
            return None
        doubts = {name.removeprefix("doubt "): arrays[name] for name in arrays if name.startswith("doubt ")}
        strata = {name.removeprefix("stratum "): arrays[name] for name in arrays if name.startswith("stratum ")}
        return Held(arrays["bad"], arrays["oks"], arrays["clusters"], doubts, strata)


def measure(tasks: Sequence[Task], *, jobs: int, resamples: int) -> dict[str, Any]:
    """Fit the tasks of one pool and sum them up."""
    for task in tasks:  # one after the other, so that nothing is trained or predicted twice at a time
        task.load(silent=False)
    pairs = list(zip(tasks, _spread(tasks, jobs), strict=True))
    arms = [found for task, found in pairs if task.what == "arms"]
    return summary(
        tasks[0].pool,
        [held for held, _ in arms],
        clusters=tasks[0].load(silent=False).num_clusters,
        fitted=[count for _, count in arms],
        ablation=[held for task, (held, _) in pairs if task.what == "ablation"],
        resamples=resamples,
    )


def _spread(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Held, int]]:
    if jobs == 1:
        yield from map(fitted, tasks)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as workers:
        yield from workers.map(fitted, tasks)


def _tasks(options: argparse.Namespace, pool: str) -> list[Task]:
    asked = [("arms", seed) for seed in range(options.seeds)]
    if pool in ABLATED:
        asked += [("ablation", seed) for seed in range(min(options.ablate, options.seeds))]
    head = not options.no_head
    return [
        Task(options.data, options.out, pool, seed, what, head, options.head_steps, options.images)
        for what, seed in asked
    ]


def report(out: Path, command: str, *, write: bool) -> bool:
    """Put together the pools that are measured; whether each bar is met by some arm."""
    files = [out / "measured" / f"{pool}.json" for pool in POOLS]
    pools = [_with_ablation(file) for file in files if file.is_file()]
    held = bars(pools)
    print(table([{**row, "met": "met" if row["met"] else "NOT MET"} for row in held]))
    if write and pools:
        arms = [{"pool": pool["pool"], **row} for pool in pools for row in pool["arms"]]
        rest = [{name: value for name, value in pool.items() if name != "arms"} for pool in pools]
        packages = ("numpy", "scipy", "scikit-learn", "lightgbm", "torch")
        write_result("scores", arms, command=command, packages=packages, bars=held, pools=rest)
        write_report(pools, held, PAGE, PICTURES)
    return reached(held)


def _with_ablation(file: Path) -> dict[str, Any]:
    """A measured pool; where it was measured without an ablation, with the one that was measured before."""
    pool: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    before = file.with_suffix(".ablation.json")
    if not pool["ablation"] and before.is_file():
        pool["ablation"] = json.loads(before.read_text(encoding="utf-8"))
    return pool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for everything; kept between calls")
    parser.add_argument("--data", type=Path, required=True, help="shared/data")
    parser.add_argument("--only", nargs="+", choices=POOLS, default=list(POOLS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--ablate", type=int, default=1, help="of the seeds, how many also say what evidence is worth")
    parser.add_argument("--no-head", action="store_true", help="leave out the arm with a quality head")
    parser.add_argument("--head-steps", type=int, default=0, help="of a quality head; by default as many as it takes")
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--jobs", type=int, default=1, help="processes that fit")
    parser.add_argument("--images", type=int, default=0, help="of the drawn pool, for a rehearsal: nothing is written")
    parser.add_argument("--report", action="store_true", help="only write what is measured already")
    options = parser.parse_args()
    for pool in () if options.report else options.only:
        found = measure(_tasks(options, pool), jobs=options.jobs, resamples=options.resamples)
        (options.out / "measured").mkdir(parents=True, exist_ok=True)
        file = options.out / "measured" / f"{pool}.json"
        write_text(file, json.dumps(found))
        if found["ablation"]:
            write_text(file.with_suffix(".ablation.json"), json.dumps(found["ablation"]))
        print(table([_short(pool, row) for row in found["arms"]]), flush=True)
    steps = f" --head-steps {options.head_steps}" if options.head_steps else ""
    command = f"python -m benchmarks.scores --out DIR --data ../shared/data --seeds {options.seeds}{steps}"
    return 0 if report(options.out, command, write=not options.images) else 1


def _short(pool: str, row: dict[str, Any]) -> dict[str, Any]:
    values = {name: value[0] if isinstance(value, list) else value for name, value in row.items()}
    return {"pool": pool, **{name: value for name, value in values.items() if not name.startswith("risk")}}


if __name__ == "__main__":
    raise SystemExit(main())
