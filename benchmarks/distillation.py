"""Distillation, measured: a teacher, its students, and students of the same size that labels alone taught.

    python -m benchmarks.distillation --out DIR --only main --seeds 3
    python -m benchmarks.distillation --out DIR --speed
    python -m benchmarks.distillation --out DIR --cascade
    python -m benchmarks.distillation --out DIR --report

Which networks, with which settings and for how many steps, is one file: ``benchmarks/distillation_plan.py``. They are
kept in ``--out`` and never done twice; one that was stopped goes on. ``--speed`` times them on the machine as it is, so
it should have nothing else to do. ``--cascade`` measures what a cascade of student and teacher saves and keeps.
``--report`` writes, from whatever is finished, the tables of ``docs/distillation.md``,
``docs/pictures/distillation-pareto.png`` and ``benchmarks/results/distillation.json``, and says whether the bars are
met.

Tables: ``main`` teacher and students, ``recipes`` what a student learns from, ``start`` where it begins, ``views`` a
new crop every time or few fixed ones, ``sizes`` other students.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autolabel.errors import InputError
from autolabel.manifest import write_text
from benchmarks import distillation_plan
from benchmarks.distillation_cascade import measure_cascades
from benchmarks.distillation_data import People
from benchmarks.distillation_plan import BUDGETS, FINAL, FIRST, SEEDS, SMALL, TABLES, VALIDATION, Arm, plan
from benchmarks.distillation_report import Done, sections, write_picture
from benchmarks.distillation_runs import Bench
from benchmarks.distillation_speed import TURNS, timed
from benchmarks.pages import DOCS, fill
from benchmarks.results import table, write_result
from benchmarks.scores_networks import Networks
from benchmarks.training_data import Corpora
from pipelines.console import LineProgress

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
PAGE = DOCS / "distillation.md"

TIMED = (SMALL, FINAL, "labels", "output", "output 192x8", "output 192x4")
"""Arms that are timed, those that are finished; the others are as large as one of them."""

SMOKE_IMAGES, SMOKE_STEPS = 8, 2
SMOKE_TRAINING: Mapping[str, Any] = {
    "batch_size": 16, "accumulate": 1, "warmup_steps": 1, "log_every": 1, "precision": "fp32", "compile": False,
}  # fmt: skip
SMOKE_STUDENT: Mapping[str, Any] = {"width": 16, "depth": 2, "heads": 2, "input_size": (64, 48)}
SMOKE_SIZES: Mapping[str, Mapping[str, Any]] = {
    FIRST: {"width": 32, "depth": 3, "heads": 2, "input_size": (64, 48)},
    SMALL: {"input_size": (64, 48)},
    FINAL: {"input_size": (128, 96)},
}


def smoke(arm: Arm) -> Arm:
    """The same arm, so small that it only shows that everything fits together."""
    return replace(
        arm,
        steps=SMOKE_STEPS,
        network={**arm.network, **SMOKE_SIZES.get(arm.name, SMOKE_STUDENT)},
        training={**arm.training, **SMOKE_TRAINING},
        knowledge=min(arm.knowledge, SMOKE_STEPS),
        head=min(arm.head, SMOKE_STEPS),
    )


def perform(
    bench: Bench, arms: Sequence[Arm], *, limit: float = float("inf"), keep: bool = False
) -> list[dict[str, Any]]:
    """Do arms one after the other; none is begun after ``limit`` minutes.

    What the teacher said takes gigabytes, and is removed in the end, but with ``keep``.
    """
    rows: dict[str, dict[str, Any]] = {}
    start = time.perf_counter()
    for arm in arms:
        if (time.perf_counter() - start) / 60 > limit:
            print(f"{limit:g} minutes are over: {arm.folder} and what follows is left out", file=sys.stderr)
            break
        rows[arm.folder] = bench.do(arm, rows)
        print(table([_short(rows[arm.folder])]), flush=True)
    if not keep:
        bench.forget_outputs()
    return list(rows.values())


def finished(bench: Bench, arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """The rows of those arms that are done."""
    rows: dict[str, dict[str, Any]] = {}
    for arm in arms:
        if (row := bench.finished(arm, rows)) is not None:
            rows[arm.folder] = {**row, "folder": arm.folder}
    return list(rows.values())


def measure_speed(bench: Bench, arms: Sequence[Arm], *, turns: int = TURNS) -> list[dict[str, Any]]:
    """Time the finished networks of seed 0, and keep what was found."""
    done = {row["arm"]: bench.network(row["folder"]) for row in finished(bench, arms) if row["seed"] == 0}
    networks = {name: done[name] for name in TIMED if name in done}
    boxes = {name: bench.people.boxes(name) for name in VALIDATION}
    rows = timed(networks, boxes, bench.out / "timed", turns=turns).rows()
    write_text(_kept(bench, "speed"), json.dumps(rows, indent=1) + "\n")
    return rows


def measure_cascade(bench: Bench, arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """Measure cascades of the student ``output`` and its teacher, of seed 0, and keep what was found.

    Raises:
        InputError: One of them is not finished.
    """
    there = {row["arm"]: bench.network(row["folder"]) for row in finished(bench, arms) if row["seed"] == 0}
    if missing := [name for name in ("output", FINAL) if name not in there]:
        raise InputError(f"{missing[0]} is not finished", subject=str(bench.out), remedy="Do --only main first.")
    rows = measure_cascades(bench.people, there["output"], there[FINAL], bench.out / "cascades")
    write_text(_kept(bench, "cascade"), json.dumps(rows, indent=1) + "\n")
    return rows


def done(bench: Bench, arms: Sequence[Arm]) -> Done:
    """Everything that is finished, for the report."""
    speeds, cascades = (_read(_kept(bench, name)) for name in ("speed", "cascade"))
    return Done(bench, finished(bench, arms), speeds, cascades)


def report(found: Done, page: Path, pictures: Path) -> None:
    """Write what is finished into the page, the picture and the results."""
    page.write_text(fill(page.read_text(encoding="utf-8"), sections(found)), encoding="utf-8")
    write_picture(found, pictures)
    write_result(
        "distillation",
        [{name: value for name, value in row.items() if name not in ("settings", "folder")} for row in found.rows],
        command="python -m benchmarks.distillation --out DIR",
        speed=list(found.speeds),
        cascade=list(found.cascades),
        bars=[vars(bar) for bar in found.bars()],
        plan={name: getattr(distillation_plan, name) for name in ("TEACHER", "STUDENT", "TRAINING", "AUGMENTATION")},
    )
    for bar in found.bars():
        print(f"{bar.verdict().strip('*'):16}  {bar.bar}: {bar.found or 'nothing'}")


def _kept(bench: Bench, name: str) -> Path:
    return bench.out / "measured" / f"{name}.json"


def _read(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("settings", "tables", "digest")}


def opened(out: Path, data: Path, corpora: Path | None = None, *, few: bool = False) -> Bench:
    """The bench below a folder.

    Args:
        out: For networks and what is measured.
        data: ``shared/data``.
        corpora: Folder of corpora and drawn people, such as another benchmark left; ``out`` where left out.
        few: A rehearsal with a few images.
    """
    progress, most = LineProgress(sys.stderr), SMOKE_IMAGES if few else 0
    out, place = (out / "smoke", out / "smoke") if few else (out, corpora or out)
    networks = Networks(Corpora(data, place / "corpora", most=most, progress=progress), place, progress=progress)
    return Bench(People(networks, images=most), out, progress)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for networks; kept between calls")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--corpora", type=Path, help="folder of corpora and drawn people; --out where left out")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="tables, the first one first")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="of these tables only these, as --list names them")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--limit", type=float, default=float("inf"), help="minutes after which no arm is begun")
    parser.add_argument("--keep", action="store_true", help="keep what teachers said of fixed views")
    parser.add_argument("--list", action="store_true", help="tell what would be done")
    parser.add_argument("--speed", action="store_true", help="time what is finished")
    parser.add_argument("--cascade", action="store_true", help="let student and teacher label as a cascade")
    parser.add_argument("--report", action="store_true", help="write tables and the picture of what is finished")
    parser.add_argument("--smoke", action="store_true", help="a few steps of a tiny network each, on a few people")
    parser.add_argument(
        "--budget", choices=BUDGETS, default="cpu", help="networks and steps, by what machine does them"
    )
    options = parser.parse_args()
    if options.report and options.smoke:
        parser.error("a rehearsal is not reported")
    bench = opened(options.out, options.data, options.corpora, few=options.smoke)
    budget = BUDGETS[options.budget]
    arms = plan(options.only, options.seeds, budget)
    arms = [smoke(arm) for arm in arms] if options.smoke else arms
    if options.list:
        there = {row["folder"] for row in finished(bench, arms)}
        print("\n".join(f"{'done' if arm.folder in there else '    '}  {arm.steps:5}  {arm.folder}" for arm in arms))
    elif options.report:
        report(done(bench, plan(TABLES, budget=budget)), PAGE, DOCS / "pictures")
    elif options.speed:
        print(table(measure_speed(bench, arms)))
    elif options.cascade:
        print(table(measure_cascade(bench, arms)))
    else:
        perform(bench, chosen(arms, options.arms) if options.arms else arms, limit=options.limit, keep=options.keep)
    return 0


def chosen(arms: Sequence[Arm], folders: Sequence[str]) -> list[Arm]:
    """Those in these folders, and what they need, in the same order."""
    wanted = set(folders)
    for arm in reversed(arms):
        if arm.folder in wanted:
            wanted |= set(arm.needs)
    return [arm for arm in arms if arm.folder in wanted]


if __name__ == "__main__":
    raise SystemExit(main())
