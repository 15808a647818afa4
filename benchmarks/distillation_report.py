"""Tables and the picture of the distillation benchmark, from whatever arms are finished.

``docs/distillation.md`` holds a pair of comments ``<!-- table NAME -->`` and ``<!-- end NAME -->`` for each; what
stands between them is written here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.report.plots import INK, MUTED, RANDOM, ROUTED, styled_figure
from benchmarks.distillation_cascade import cascade_lines
from benchmarks.distillation_measures import REAL, Bar, Errors, bars, difference, pairs
from benchmarks.distillation_plan import FINAL, PAPER, STAGES, TABLES, VALIDATION
from benchmarks.distillation_runs import Bench
from benchmarks.distillation_speed import ratio
from benchmarks.pages import markdown
from benchmarks.scores_report import picture_bytes

Row = Mapping[str, Any]

MISSING = "*Not measured yet.*"
PICTURE = "distillation-pareto.png"

SAME_SIZE: Mapping[str, str] = {
    "labels sliced": "output",
    "unlabelled": "output",
    "labels 192x8": "output 192x8",
    "labels 192x4": "output 192x4",
}
"""Networks that cost what another one does, which was timed."""

TICKS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""People a second that the picture's axis names."""

BASE: Mapping[str, str] = {
    "main": "labels",
    "recipes": "labels short",
    "start": "output short",
    "views": "views 0",
}
"""What the arms of a table are compared with."""


@dataclass(frozen=True)
class Done:
    """What was done.

    Attributes:
        bench: Where.
        rows: Of the finished arms.
        speeds: Of the networks that were timed.
        cascades: Of the student alone, of cascades and of the teacher alone.
    """

    bench: Bench
    rows: Sequence[Row]
    speeds: Sequence[Row] = ()
    cascades: Sequence[Row] = ()

    @cached_property
    def errors(self) -> dict[str, list[Errors]]:
        """By arm, then by seed."""
        found: dict[str, list[Errors]] = {}
        for row in sorted(self.rows, key=lambda row: row["seed"]):
            file = self.bench.errors(row["folder"])
            if "GMACs" in row and file.is_file():
                found.setdefault(row["arm"], []).append(Errors.load(file))
        return found

    @cached_property
    def rates(self) -> dict[str, float]:
        """People a second by arm, of those that were timed and of those that cost the same."""
        timed = {row["network"]: row["people/s"] for row in self.speeds}
        return {**timed, **{name: timed[like] for name, like in SAME_SIZE.items() if like in timed}}

    def of(self, table: str) -> dict[str, list[Row]]:
        """The rows of a table, by arm."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            if table in row["tables"]:
                found.setdefault(row["arm"], []).append(row)
        return found

    def bars(self) -> list[Bar]:
        """What was asked, and whether it is met."""
        return bars(self.errors, self.rows, ratio(self.speeds, "output", FINAL))


def sections(done: Done) -> dict[str, str]:
    """Markdown by table's name; a table of which nothing is finished says so."""
    made = {name: _table(name, done) for name in TABLES if name != "main"}
    made |= {"main": _main(done), "bars": _bars(done), "paper": _paper(done), "speed": _speed(done)}
    return {**made, "cascade": markdown(cascade_lines(done.cascades), names=1) if done.cascades else MISSING}


def _bars(done: Done) -> str:
    lines = [("bar", "found", ""), *((bar.bar, bar.found or "–", bar.verdict()) for bar in done.bars())]
    return markdown(lines, names=3)


def _main(done: Done) -> str:
    table = _table("main", done)
    if table == MISSING:
        return MISSING
    picture = f"![People a second against PCK@0.1, teacher and students](pictures/{PICTURE})"
    return "\n\n".join([table, *_unlabelled(done), picture])


def _unlabelled(done: Done) -> list[str]:
    """What a student is that never saw a label."""
    said: list[str] = []
    for other in ("teacher", "labels", "output"):
        both = pairs(done.errors, "unlabelled", other)
        if both is not None:
            real = difference(*both, REAL)
            said.append(f"{difference(*both).points()} from `{other}` (real people alone {real.points()})")
    if not said:
        return []
    return [f"A student that saw no label, in points of PCK@0.1 over the three kinds: {'; '.join(said)}."]


def _table(name: str, done: Done) -> str:
    """A line for each arm: mean over the seeds, and the lowest and highest where there are several."""
    arms = {arm: rows for arm, rows in done.of(name).items() if "GMACs" in rows[0]}
    if not arms:
        return MISSING
    base = BASE.get(name, "")
    columns = [f"{kind} PCK@0.1" for kind in VALIDATION]
    against = (f"macro less that of `{base}`, points",) if base else ()
    head = ("arm", "seeds", "steps", *columns, "macro PCK@0.1", *against, "M parameters", "GMACs", "people/s")
    lines: list[tuple[str, ...]] = [(*head, "minutes", "crops/s", "crops/s at the end")]
    for arm, rows in arms.items():
        numbers = [_spread([row[column] for row in rows]) for column in (*columns, "macro PCK@0.1")]
        both = pairs(done.errors, arm, base) if base and arm != base else None
        gained = (difference(*both).points() if both else "–",) if base else ()
        rate = f"{done.rates[arm]:.0f}" if arm in done.rates else "–"
        costs = (f"{rows[0]['parameters'] / 1e6:.2f}", f"{rows[0]['GMACs']:.3f}", rate)
        trained = tuple(
            f"{np.median([row[key] for row in rows]):.0f}" for key in ("minutes", "crops/s", "crops/s at the end")
        )
        lines.append((f"`{arm}`", str(len(rows)), str(rows[0]["steps"]), *numbers, *gained, *costs, *trained))
    return markdown(lines, names=1)


def _spread(values: Sequence[float]) -> str:
    """A mean, with the least and the most of several."""
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f}–{max(values):.3f})"


def _paper(done: Done) -> str:
    """The paper's four students beside ours: its AP, our PCK, and what each gains."""
    base = next(iter(PAPER))
    if base not in done.errors:
        return MISSING
    lines: list[tuple[str, ...]] = [
        ("student", "paper: AP", "gain", "ours: macro PCK@0.1", "gain, points", "gain on real people, points")
    ]
    rows = done.of("recipes")
    for arm, (name, precision) in PAPER.items():
        gain = f"{precision - PAPER[base][1]:+.1f}" if arm != base else ""
        ours = _spread([row["macro PCK@0.1"] for row in rows[arm]]) if arm in done.errors else "–"
        both = pairs(done.errors, arm, base) if arm != base else None
        gained = tuple(difference(*both, kinds).points() if both else "" for kinds in (VALIDATION, REAL))
        lines.append((f"{name} (`{arm}`)", f"{precision:.1f}", gain, ours, *gained))
    return markdown(lines, names=1)


def _speed(done: Done) -> str:
    if not done.speeds:
        return MISSING
    kinds = [f"{kind} people/s" for kind in VALIDATION]
    lines: list[tuple[str, ...]] = [("network", *kinds, "people/s", "times the teacher's")]
    for row in done.speeds:
        times = ratio(done.speeds, row["network"], FINAL)
        rates = (f"{row[kind]:.0f}" for kind in (*kinds, "people/s"))
        lines.append((f"`{row['network']}`", *rates, "–" if times is None else f"{times:.2f}"))
    return markdown(lines, names=1)


def pareto(done: Done) -> bytes | None:
    """People a second against macro PCK; None where nothing was timed and measured."""
    rates = done.rates
    arms = {name: rows for table in ("main", "sizes") for name, rows in done.of(table).items() if name in rates}
    if not arms:
        return None
    with styled_figure(6.4, 4.4, 1, 1) as (figure, grid):
        axes = grid[0][0]
        points = {name: (rates[name], [100 * row["macro PCK@0.1"] for row in rows]) for name, rows in arms.items()}
        for name, (rate, values) in points.items():
            color, marker = _look(name)
            low, high = np.mean(values) - min(values), max(values) - np.mean(values)
            axes.errorbar(
                rate, np.mean(values), [[low], [high]], color=color, marker=marker, linestyle="none", capsize=3
            )
            axes.annotate(
                name, (rate, np.mean(values)), xytext=(6, 4), textcoords="offset points", fontsize=7.5, color=INK
            )
        best = sorted(((rate, float(np.mean(v))) for rate, v in points.values()), reverse=True)
        front = [p for i, p in enumerate(best) if p[1] > max((q[1] for q in best[:i]), default=-1.0)]
        axes.plot(*zip(*front, strict=True), color=MUTED, linewidth=1, linestyle="--", zorder=0)
        axes.set_xscale("log")
        low, high = min(rates[name] for name in arms), max(rates[name] for name in arms)
        ticks = [tick for tick in TICKS if low / 2 < tick < 2 * high]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlim(low / 1.3, 1.6 * high)
        axes.set_xlabel("people a second, from files to a manifest")
        axes.set_ylabel("PCK@0.1, mean of three kinds of people, %")
        axes.set_title("What speed costs: mean of the seeds, bars from the lowest to the highest")
        return picture_bytes(figure)


def _look(name: str) -> tuple[str, str]:
    """Colour and marker: teachers, students with labels alone, distilled students."""
    if name in STAGES:
        return INK, "s"
    return (RANDOM, "^") if name.startswith("labels") else (ROUTED, "o")


def write_picture(done: Done, folder: Path) -> None:
    """Where there is something to be shown."""
    if (data := pareto(done)) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PICTURE).write_bytes(data)
