"""Tables and pictures of the doubt benchmark, from what was measured.

``docs/confidence.md`` holds a pair of comments ``<!-- table NAME -->`` and ``<!-- end NAME -->`` for each; what stands
between them is written here. The pictures hold no photograph.
"""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.report.plots import INK, MUTED, RANDOM, ROUTED, styled_figure
from benchmarks.pages import fill, markdown
from benchmarks.scores_ablation import MEASURES
from benchmarks.scores_arms import FEATURES, PEAK, QUALITY, RAW
from benchmarks.scores_measures import COVERAGE
from benchmarks.scores_rows import LIMIT, ONLY_RANKED

Row = Mapping[str, Any]

ROOT = Path(__file__).parent.parent
PAGE, PICTURES = ROOT / "docs" / "confidence.md", ROOT / "docs" / "pictures"

LOOKS: Mapping[str, tuple[str, str, str]] = {
    RAW: (MUTED, ":", "s"),
    PEAK: (RANDOM, "--", "^"),
    FEATURES: (ROUTED, "-", "o"),
    QUALITY: ("#3d9a50", "-.", "D"),
}
"""Colour, dash and marker of each arm."""

_MISSING = "*Not measured yet.*"
_DPI = 144
_OF_TRUTH = (*COVERAGE, "Brier", "Brier skill", "ECE")
"""What is not told where labels are too often wrong."""


def write_report(pools: Sequence[Row], reached: Sequence[Row], page: Path, pictures: Path) -> None:
    """Write what is measured into the page, and the pictures beside it."""
    page.write_text(fill(page.read_text(encoding="utf-8"), sections(pools, reached)), encoding="utf-8")
    pictures.mkdir(parents=True, exist_ok=True)
    (pictures / "scores-risk.png").write_bytes(risk_picture(pools))
    (pictures / "scores-reliability.png").write_bytes(reliability_picture(pools))


def sections(pools: Sequence[Row], reached: Sequence[Row]) -> dict[str, str]:
    """Markdown by table's name."""
    made = {"pools": _pools, "arms": _arms, "gains": _gains, "strata": _strata, "ablation": _ablation}
    found = {name: make(pools) or _MISSING for name, make in made.items()} if pools else dict.fromkeys(made, _MISSING)
    return {**found, "bars": _bars(reached)}


def _pools(pools: Sequence[Row]) -> str:
    lines = [("pool", "images", "splits", "fitted on", "held out", "bad")]
    for pool in pools:
        fitted, held = (f"{round(np.mean(pool[name])):,}" for name in ("fitted", "held out"))
        lines.append(
            (pool["pool"], f"{pool['images']:,}", str(pool["splits"]), fitted, held, f"{100 * pool['bad']:.1f} %")
        )
    return markdown(lines, names=1)


def _arms(pools: Sequence[Row]) -> str:
    names = ("AURC", "excess AURC", "AUROC", "Spearman", *COVERAGE, "ECE", "Brier", "Brier skill")
    lines: list[tuple[str, ...]] = [("pool", "doubt", *names)]
    for pool in pools:
        for row in pool["arms"]:
            cells = [_untold(pool, name) or _value(name, row[name]) for name in names]
            lines.append((pool["pool"], row["arm"], *cells))
    return markdown(lines)


def _gains(pools: Sequence[Row]) -> str:
    names = ("Spearman", LIMIT, "AURC", "AUROC")
    lines: list[tuple[str, ...]] = [("pool", "doubt", "over", *names)]
    for pool in pools:
        rows = {(row["arm"], row["over"], row["measure"]): row["gain"] for row in pool["gains"]}
        for arm, over in dict.fromkeys(key[:2] for key in rows):
            cells = [_untold(pool, name) or _interval(name, rows[arm, over, name]) for name in names]
            lines.append((pool["pool"], arm, over, *cells))
    return markdown(lines, names=3)


def _strata(pools: Sequence[Row]) -> str:
    names = ("AURC", "AUROC", "Spearman", LIMIT, "ECE", "Brier skill")
    lines: list[tuple[str, ...]] = [("pool", "people", "poses", "bad", "doubt", *names, "AURC gain")]
    for pool in pools:
        for row in pool["strata"]:
            cells = [_untold(pool, name) or _value(name, row[name]) for name in names]
            who = (pool["pool"], row["stratum"], f"{round(row['poses']):,}", f"{100 * row['bad']:.1f} %", row["arm"])
            lines.append((*who, *cells, "" if row["arm"] == RAW else _interval("AURC", row["AURC gain"])))
    return markdown(lines, names=5)


def _ablation(pools: Sequence[Row]) -> str:
    columns = [f"{measure} {what}" for measure in MEASURES for what in ("lost without", "added to the peak")]
    lines = [("pool", "evidence", *columns)]
    idle: list[set[str]] = []
    for pool in pools:
        for row in pool["ablation"]:
            cells = (_interval(column.split()[0], row[column]) for column in columns)
            lines.append((pool["pool"], row["evidence"], *cells))
        if pool["ablation"]:
            idle.append({row["evidence"] for row in pool["ablation"] if row["worth nothing"]})
    if not idle:
        return ""
    nothing = ", ".join(sorted(set.intersection(*idle))) or "none"
    return f"{markdown(lines)}\n\nWorth nothing by every one of these figures: {nothing}."


def _bars(reached: Sequence[Row]) -> str:
    lines = [("pool", "doubt", "bar", "found", "")]
    lines += [
        (row["pool"], row["arm"], row["bar"], row["found"], "met" if row["met"] else "**not met**") for row in reached
    ]
    return markdown(lines, names=4)


def _untold(pool: Row, name: str) -> str:
    return "–" if pool["pool"] in ONLY_RANKED and name in _OF_TRUTH else ""


def _value(name: str, value: Any) -> str:
    """A number; coverages in percent."""
    number = value[0] if isinstance(value, list) else value
    if number is None or math.isnan(number):
        return "–"
    return f"{100 * number:.1f} %" if name in COVERAGE else f"{number:.4f}" if "AURC" in name else f"{number:.3f}"


def _interval(name: str, gain: Sequence[float]) -> str:
    """A difference with its 95 % interval; coverages in percentage points, AURC in thousandths."""
    scale = 100 if name in COVERAGE else 1000 if name == "AURC" else 1
    if any(math.isnan(value) for value in gain):
        return "–"
    value, low, high = (scale * number for number in gain)
    digits = 1 if scale == 100 else 2 if scale == 1000 else 3
    return f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def risk_picture(pools: Sequence[Row]) -> bytes:
    """Share of bad poses among those kept against the share kept, a panel for each pool."""
    with styled_figure(3.4 * len(pools), 3.6, 1, len(pools)) as (figure, grid):
        for axes, pool in zip(grid[0], pools, strict=True):
            for arm, curve in pool["curves"].items():
                color, dash, _ = LOOKS[arm]
                axes.plot(
                    100 * np.array(curve["coverage"]), 100 * np.array(curve["risk"]), dash, color=color, label=arm
                )
            least = np.maximum(0, 1 - (1 - pool["bad"]) / np.linspace(0.01, 1, 100))
            axes.plot(np.linspace(1, 100, 100), 100 * least, color=INK, linewidth=0.8, label="a perfect doubt")
            if pool["pool"] not in ONLY_RANKED:
                axes.axhline(2, color=RANDOM, linewidth=0.8, alpha=0.6)
            axes.set_title(_titled(pool))
            axes.set_xlabel("poses kept, %")
            axes.set_ylabel("bad ones among them, %")
            axes.set_xlim(0, 100)
            axes.set_ylim(bottom=0)
        figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncol=5, fontsize=7.5)
        return picture_bytes(figure)


def reliability_picture(pools: Sequence[Row]) -> bytes:
    """What was said against what was true, for the doubts that are probabilities."""
    told = [pool for pool in pools if pool["pool"] not in ONLY_RANKED] or list(pools)
    with styled_figure(4.2 * len(told), 4.2, 1, len(told)) as (figure, grid):
        for axes, pool in zip(grid[0], told, strict=True):
            axes.plot([0, 100], [0, 100], color=INK, linewidth=0.8)
            for arm, curve in pool["curves"].items():
                color, dash, marker = LOOKS[arm]
                said, true = 100 * np.array(curve["said"]), 100 * np.array(curve["true"])
                axes.plot(said, true, dash, marker=marker, markersize=3.5, linewidth=1.2, color=color, label=arm)
            axes.set_title(_titled(pool))
            axes.set_xlabel("said to be bad, %")
            axes.set_ylabel("bad, %")
            axes.set_xlim(0, 100)
            axes.set_ylim(0, 100)
        figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncol=4, fontsize=7.5)
        return picture_bytes(figure)


def _titled(pool: Row) -> str:
    ending = ", noisy labels" if pool["pool"] in ONLY_RANKED else ""
    return f"{pool['pool']}{ending}: {round(np.mean(pool['held out'])):,} held out"


def picture_bytes(figure: Any) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
