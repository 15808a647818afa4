"""Training, measured: pre-training, resolution, attention, partial fine-tuning, several datasets, partial bodies.

    python -m benchmarks.training --out runs --only 6 --seeds 2
    python -m benchmarks.training --out runs --report

Small ViTPoses on the photographs of ``--data`` (``shared/data``), on whatever there is to compute with. What is to be
run, with which settings and for how many steps, is one file: ``benchmarks/training_plan.py``. Runs are kept in
``--out`` and never done twice; a run that was stopped goes on. ``--report`` writes, from whatever is finished, the
tables in ``docs/training.md``, ``docs/pictures/training-*.png`` and ``benchmarks/results/training.json``.

Tables: 1 pre-training, 2 resolution and stride, 3 attention, 4 partial fine-tuning, 5 several datasets, 6 partial
bodies, ``6+`` the same without a presence head, ``visibility`` on drawn people.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import training_plan
from benchmarks.results import table, write_result
from benchmarks.training_data import Corpora
from benchmarks.training_plan import TABLES, Run, plan
from benchmarks.training_report import Finished, fill, pictures, sections, write_pictures
from benchmarks.training_runs import Bench
from pipelines.console import LineProgress

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
PAGE = ROOT / "docs" / "training.md"

SMOKE_STEPS, SMOKE_IMAGES = 2, 16
SMOKE_NETWORK = {"width": 16, "depth": 2, "heads": 2, "input_size": (32, 32)}


def smoke(run: Run) -> Run:
    """The same run, so small that it only shows that everything fits together."""
    size: dict[str, Any] = {} if run.tuned else dict(SMOKE_NETWORK)
    size |= {"expert_width": 4} if "expert_width" in run.network else {}
    own = {"batch_size": 4, "log_every": 1}
    return replace(run, steps=SMOKE_STEPS, network={**run.network, **size}, training={**run.training, **own})


def without(runs: Sequence[Run], skipped: Sequence[str]) -> list[Run]:
    """The runs but those in these folders, and those that start from one of them."""
    kept: dict[str, Run] = {}
    for run in runs:
        if run.folder not in skipped and (not run.init or run.parent in kept):
            kept[run.folder] = run
    return list(kept.values())


def perform(bench: Bench, runs: Sequence[Run], *, limit: float = float("inf")) -> list[dict[str, Any]]:
    """Do the runs one after the other; none is begun after ``limit`` minutes."""
    rows: dict[str, dict[str, Any]] = {}
    start = time.perf_counter()
    for run in runs:
        if (time.perf_counter() - start) / 60 > limit:
            print(f"{limit:g} minutes are over: {run.folder} and what follows is left out", file=sys.stderr)
            break
        rows[run.folder] = bench.do(run, rows)
        print(table([_short(rows[run.folder])]), flush=True)
    return list(rows.values())


def finished(bench: Bench, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The rows of those runs that are done."""
    rows: dict[str, dict[str, Any]] = {}
    for run in runs:
        parent = rows.get(run.parent)
        if run.init and parent is None:
            continue
        row = bench.finished(run, str(parent["digest"]) if parent else "")
        if row is not None:
            # A run can have come into another table since.
            rows[run.folder] = {**row, "tables": list(run.tables), "folder": run.folder}
    return list(rows.values())


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("settings", "tables", "digest", "crops")}


def report(bench: Bench, page: Path, folder: Path) -> None:
    """Write what is finished into the page, the pictures and the results."""
    rows = finished(bench, plan(TABLES, seeds=5))
    done = Finished(rows, bench.out / "runs")
    page.write_text(fill(page.read_text(encoding="utf-8"), sections(done)), encoding="utf-8")
    for path in write_pictures(pictures(done), folder):
        print(path.name)
    kept = [{name: value for name, value in row.items() if name not in ("settings", "folder")} for row in rows]
    common = {name: dict(getattr(training_plan, name)) for name in ("NETWORK", "TRAINING", "PAPER")}
    write_result("training", kept, command="python -m benchmarks.training --out DIR", **common)
    print(table([_short(row) for row in rows]) if rows else "nothing is finished")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for corpora and runs; kept between calls")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="tables, the first one first")
    parser.add_argument("--skip", nargs="+", default=[], metavar="RUN", help="runs to leave out, as --list names them")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--limit", type=float, default=float("inf"), help="minutes after which no run is begun")
    parser.add_argument("--list", action="store_true", help="tell what would be run")
    parser.add_argument("--report", action="store_true", help="write tables and pictures of what is finished")
    parser.add_argument("--smoke", action="store_true", help="a few steps of a tiny network each, on a few people")
    options = parser.parse_args()
    progress = LineProgress(sys.stderr)
    most = SMOKE_IMAGES if options.smoke else 0
    out = options.out / "smoke" if options.smoke else options.out
    bench = Bench(Corpora(options.data, out / "data", most=most, progress=progress), out, progress)
    if options.report:
        report(bench, PAGE, ROOT / "docs" / "pictures")
        return 0
    runs = without(plan(options.only, options.seeds), options.skip)
    runs = [smoke(run) for run in runs] if options.smoke else runs
    if options.list:
        done = {row["folder"] for row in finished(bench, runs)}
        print("\n".join(f"{'done' if run.folder in done else '    '}  {run.steps:5}  {run.folder}" for run in runs))
        return 0
    perform(bench, runs, limit=options.limit)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
