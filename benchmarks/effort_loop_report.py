"""Tables and pictures of the loop's proof, from what was measured.

A page that tells of it holds a pair of comments ``<!-- table NAME -->`` and ``<!-- end NAME -->`` for each of
``effort-loop`` (rounds), ``effort-loop-ends`` (seeds) and ``effort-loop-bars``. The pictures hold no photograph.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autolabel.report.plots import INK, MUTED, ROUTED, styled_figure
from benchmarks.effort_loop_runs import ARMS, EVERYTHING, LOOP, RANDOM
from benchmarks.pages import fill, markdown
from benchmarks.scores_report import PAGE, PICTURES, picture_bytes

Row = Mapping[str, Any]

_LOOKS = {LOOP: (ROUTED, "o-"), RANDOM: (MUTED, "s--"), EVERYTHING: (INK, "^:")}


def write_report(cases: Sequence[Row], held: Sequence[Row], page: Path = PAGE, pictures: Path = PICTURES) -> list[str]:
    """Write the pictures, and the tables where the page has a place for them.

    Returns:
        The names of tables that the page has no place for.
    """
    pictures.mkdir(parents=True, exist_ok=True)
    for case in cases:
        (pictures / f"effort-loop-{case['case']}.png").write_bytes(picture(case))
    text, made = page.read_text(encoding="utf-8"), sections(cases, held)
    placed = {name: table for name, table in made.items() if f"<!-- table {name} -->" in text}
    page.write_text(fill(text, placed), encoding="utf-8")
    return [name for name in made if name not in placed]


def sections(cases: Sequence[Row], held: Sequence[Row]) -> dict[str, str]:
    """Markdown by table's name."""
    return {"effort-loop": _rounds(cases), "effort-loop-ends": _ends(cases), "effort-loop-bars": _bars(held)}


def _rounds(cases: Sequence[Row]) -> str:
    head = ("corpus", "way", "round", "clicks a person", "opened", "would accept", "of these bad")
    lines: list[tuple[str, ...]] = [
        (*head, "untouched: PCK@0.1", "OKS", "bad", "same, first network: PCK@0.1", "held out: PCK@0.1", "base: OKS")
    ]
    for case in cases:
        for row in case["rounds"]:
            lines.append(
                (
                    *(case["case"], row["arm"], str(row["round"])),
                    _number(row["clicks a person"], ".2f"),
                    *(_number(row[name], ".1%") for name in ("opened", "proposed", "proposed bad")),
                    _number(row["untouched pck"], ".3f"),
                    _number(row["untouched oks"], ".3f"),
                    _number(row["untouched bad"], ".1%"),
                    _number(row["untouched, first network pck"], ".3f"),
                    _number(row["held pck"], ".3f"),
                    _number(row["base oks"], ".3f"),
                )
            )
    return markdown(lines)


def _ends(cases: Sequence[Row]) -> str:
    """Every seed: what was proven, and what it cost beside the other ways."""
    head = ("corpus", "seed", "certified", "truly bad", "left bad", "gross")
    ways = ("loop", "everything", "everything, to equal quality", "random, to equal quality", "hours", "of everything")
    lines: list[tuple[str, ...]] = [(*head, *ways)]
    for case in cases:
        for one in case["seeds"]:
            judged, end = one["certificate"] or {}, one["end"][LOOP]
            effort, equal, seconds = one["effort a person"], one["at equal quality"], one["seconds a person"]
            lines.append(
                (
                    *(case["case"], str(one["seed"])),
                    f"{judged['accepted']:,} of {one['people']:,}" if judged.get("issued") else "none",
                    _number(judged.get("true bad"), ".2%"),
                    *(_number(end[rate], ".2%") for rate in ("bad", "gross")),
                    *(_number(effort[arm], ".2f") for arm in (LOOP, EVERYTHING)),
                    *(_number(equal[arm]["effort a person"], ".2f") for arm in (EVERYTHING, RANDOM)),
                    *(_number(seconds[arm] * one["people"] / 3600, ".1f") for arm in (LOOP, EVERYTHING)),
                )
            )
    return markdown(lines)


def _bars(held: Sequence[Row]) -> str:
    lines = [("corpus", "bar", "found", "")]
    lines += [(row["case"], row["bar"], row["found"], "met" if row["met"] else "**not met**") for row in held]
    return markdown(lines, names=3)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def picture(case: Row) -> bytes:
    """What people have clicked, and what that made of the corpus and of the network: means over the seeds."""
    panels = (
        ("corpus bad", "bad poses of the corpus, %", 100.0),
        ("untouched bad", "bad of those nobody opened, %", 100.0),
        ("held pck", "PCK@0.1 outside the corpus", 1.0),
    )
    ends = {row["arm"]: row for row in case["arms"]}
    with styled_figure(10.2, 3.6, 1, 3) as (figure, grid):
        for axes, (name, label, scale) in zip(grid[0], panels, strict=True):
            for arm in ARMS:
                color, dash = _LOOKS[arm]
                rows = [row for row in case["rounds"] if row["arm"] == (arm if arm != EVERYTHING else LOOP)]
                if arm == EVERYTHING:
                    rows = rows[:1]
                known = [(row["clicks a person"], scale * row[name]) for row in rows if row[name] is not None]
                if name == "corpus bad":
                    end = ends[arm]
                    known.append((_mean(end["clicks a person"]), scale * _mean(end["bad"])))
                elif arm == EVERYTHING:
                    continue
                axes.plot(*zip(*known, strict=True), dash, color=color, label=arm, linewidth=1.4, markersize=4)
            axes.set_xlabel("clicks a person")
            axes.set_ylabel(label)
            axes.set_ylim(0, None)
        grid[0][0].set_title(f"{case['case']}: {case['seeds'][0]['people']:,} people")
        figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncol=3, fontsize=7.5)
        return picture_bytes(figure)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
