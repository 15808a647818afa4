"""Tables and pictures of the effort benchmark, from what was measured.

A page that tells of it holds a pair of comments ``<!-- table NAME -->`` and ``<!-- end NAME -->`` for each of
``effort``, ``effort-ends`` and ``effort-bars``. The pictures hold no photograph.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.report.plots import INK, MUTED, ROUTED, styled_figure
from autolabel.report.plots import RANDOM as ORANGE
from benchmarks.effort_cases import EVERYTHING, HAND, ORACLE, OURS, PEAK, RANDOM
from benchmarks.effort_rows import MAX_BAD
from benchmarks.pages import fill, markdown
from benchmarks.scores_report import PAGE, PICTURES, picture_bytes

Row = Mapping[str, Any]

LOOKS: Mapping[str, tuple[str, str]] = {
    HAND: (MUTED, "-."),
    RANDOM: (MUTED, ":"),
    PEAK: (ORANGE, "--"),
    OURS: (ROUTED, "-"),
    ORACLE: (INK, ":"),
}
"""Colour and dash of each arm; checking everything is the random order to its end."""

DRAWN_CASES = ("drawn", "fashion17")
"""Cases with a picture."""


def write_report(cases: Sequence[Row], held: Sequence[Row], page: Path = PAGE, pictures: Path = PICTURES) -> list[str]:
    """Write the pictures, and the tables where the page has a place for them.

    Returns:
        The names of tables that the page has no place for.
    """
    pictures.mkdir(parents=True, exist_ok=True)
    for case in cases:
        if case["case"] in DRAWN_CASES:
            (pictures / f"effort-{case['case']}.png").write_bytes(picture(case))
    text, made = page.read_text(encoding="utf-8"), sections(cases, held)
    placed = {name: table for name, table in made.items() if f"<!-- table {name} -->" in text}
    page.write_text(fill(text, placed), encoding="utf-8")
    return [name for name in made if name not in placed]


def sections(cases: Sequence[Row], held: Sequence[Row]) -> dict[str, str]:
    """Markdown by table's name."""
    return {"effort": _efforts(cases), "effort-ends": _ends(cases), "effort-bars": _bars(held)}


def _efforts(cases: Sequence[Row]) -> str:
    lines = [("corpus", "way", "clicks and openings", "of checking everything", "hours", "gross", "bad", "good enough")]
    for case in cases:
        for row in case["arms"]:
            lines.append(
                (
                    f"{case['case']}, {case['poses']:,} poses",
                    row["arm"],
                    _mean(row["effort"], "{:,.0f}"),
                    _mean(row["of everything"], "{:.1%}", spread=True),
                    _mean(row["seconds"], "{:.1f}", 1 / 3600),
                    _mean(row["gross"], "{:.2%}"),
                    _mean(row["bad"], "{:.2%}"),
                    f"{row['reached']} of {row['seeds']}",
                )
            )
    return markdown(lines)


def _ends(cases: Sequence[Row]) -> str:
    """How the certified arms ended, seed by seed."""
    head = ("corpus", "way", "seed", "accepted", "proven", "truly bad", "audit", "found bad", "reviewers")
    lines: list[tuple[str, ...]] = [(*head, "why not more")]
    for case in cases:
        for seed, rows in enumerate(case["seeds"]):
            lines += [_ended(case["case"], seed, row) for row in rows if "bill" in row]
    return markdown(lines)


def _ended(case: str, seed: int, row: Row) -> tuple[str, ...]:
    audited, bad = row["audit"][-1] if row["audit"] else (0, 0)
    reviewers = row["reviewers"]
    caught = "–"
    if reviewers is not None:
        shown = reviewers["planted"] + reviewers["blind_bad"]
        caught = f"{reviewers['planted_caught'] + reviewers['blind_caught']} of {shown}"
    shares = (_share(row[name]) for name in ("bound", "accepted bad"))
    return (case, row["arm"], str(seed), f"{row['accepted']:,}", *shares, str(audited), str(bad), caught, row["reason"])


def _bars(held: Sequence[Row]) -> str:
    lines = [("corpus", "way", "bar", "found", "")]
    lines += [
        (row["case"], row["arm"], row["bar"], row["found"], "met" if row["met"] else "**not met**") for row in held
    ]
    return markdown(lines, names=4)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _mean(value: Sequence[float] | None, form: str, scale: float = 1.0, *, spread: bool = False) -> str:
    """The mean over the seeds, and with ``spread`` the smallest and the largest; a dash where a seed has none."""
    if value is None:
        return "–"
    mean, low, high = (form.format(scale * number) for number in value)
    return f"{mean} ({low} to {high})" if spread and low != high else mean


def picture(case: Row) -> bytes:
    """Gross and bad shares of the corpus against effort and against time, in the first seed."""
    curves = case["curves"]
    most = {axis: 1.05 * curves[EVERYTHING][axis][-1] for axis in ("effort", "seconds")}
    with styled_figure(9.6, 6.4, 2, 2) as (figure, grid):
        for line, rate in zip(grid, ("gross", "bad"), strict=True):
            for axes, (axis, scale, label) in zip(
                line, (("effort", 1.0, "clicks and openings"), ("seconds", 1 / 3600, "hours")), strict=True
            ):
                for arm, (color, dash) in LOOKS.items():
                    x, y = scale * np.array(curves[arm][axis]), 100 * np.array(curves[arm][rate])
                    axes.plot(x, y, dash, color=color, label=arm, linewidth=1.4)
                    if arm == OURS:
                        axes.plot(x[-1:], y[-1:], "o", color=color)
                axes.axhline(100 * MAX_BAD, color=ORANGE, linewidth=0.8, alpha=0.6)
                axes.set_xlim(0, scale * most[axis])
                axes.set_ylim(0, 115 * case[rate])
                axes.set_xlabel(label)
                axes.set_ylabel(f"{rate} {'keypoints' if rate == 'gross' else 'poses'} of the corpus, %")
        grid[0][0].set_title(f"{case['case']}: {case['poses']:,} poses")
        figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncol=6, fontsize=7.5)
        return picture_bytes(figure)
