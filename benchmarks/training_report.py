"""Tables, sentences and pictures of the training benchmarks, from whatever runs are finished.

``docs/training.md`` holds a pair of comments ``<!-- table NAME -->`` and ``<!-- end -->`` for each; what stands between
them is written here. The pictures hold no photograph.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.report.plots import INK, MUTED, RANDOM, ROUTED, styled_figure
from benchmarks.pages import fill
from benchmarks.partial_bodies import KINDS, RESAMPLES, Cases, compare, presence_row, rows_by_kind, told
from benchmarks.training_claims import CLAIMS, Floats, verdict
from benchmarks.training_costs import attention, sizes
from benchmarks.training_plan import (
    ABLATION,
    FASHION_VAL,
    FULL,
    LABELS,
    METHODS,
    PAIRS,
    SHARES,
    TABLES,
    VAL,
    WINDOWS,
)

Row = Mapping[str, Any]

PLAIN, OURS = RANDOM, ROUTED
_DPI = 144
_COLORS = (ROUTED, RANDOM, "#3d9a50", "#8a5cc2", MUTED)


class Finished:
    """What was done: rows and arrays by run and seed.

    Args:
        rows: Of all finished runs.
        folder: That holds the runs' folders.
    """

    def __init__(self, rows: Sequence[Row], folder: Path) -> None:
        self.rows, self._folder = rows, folder

    def of(self, table: str) -> list[Row]:
        """The rows of a table."""
        return [row for row in self.rows if table in row["tables"]]

    def errors(self, test: str) -> dict[str, list[Floats]]:
        """By run, (P, K) errors of each seed."""
        found: dict[str, list[Floats]] = {}
        for row in sorted(self.rows, key=lambda row: row["seed"]):
            file = self._place(row) / f"errors-{test}.npz"
            if file.is_file():
                with np.load(file) as arrays:
                    error, limbs = arrays["error"], arrays["limbs"]
                # Where fashion17 is mapped, only the limbs are the same joints.
                found.setdefault(row["name"], []).append(error[:, limbs] if test == "fashion17-lsp14-val" else error)
        return found

    def cases(self, name: str) -> list[Cases]:
        """Partial bodies, by seed."""
        files = [self._place(row) / "cases.npz" for row in self.rows if row["name"] == name]
        return [Cases.load(file) for file in files if file.is_file()]

    def pairs(self) -> dict[str, tuple[list[Cases], list[Cases]]]:
        """Partial bodies with the plain recipe and with ours, by corpus, where both are finished; each by seed."""
        found = {corpus: (self.cases(plain), self.cases(ours)) for corpus, (plain, ours) in PAIRS.items()}
        return {corpus: both for corpus, both in found.items() if all(both)}

    def _place(self, row: Row) -> Path:
        return self._folder / row["folder"]


def sections(done: Finished) -> dict[str, str]:
    """Markdown by table's name; a table of which nothing is finished says so. Costs need no run."""
    made = {name: _section(name, done) for name in TABLES if name not in ("6", "6+")}
    return {**made, "6": _partial(done), "presence": _presence(done), "costs": _costs()}


_MISSING = "*Not measured yet.*"

_ALT: Mapping[str, str] = {
    "partial": "PCK@0.1 of the joints that remain, by kind of cut, plain recipe and ours",
    "presence": "Said and true presence of joints on partial bodies",
    "attention": "PCK@0.1 of attention variants against their operations and their memory",
    "labels": "PCK@0.1 by number of labelled people and by what is trained",
}
_PICTURE_OF = {"3": "attention", "4": "labels"}


def _image(name: str) -> str:
    return f"![{_ALT[name]}](pictures/training-{name}.png)"


def _section(name: str, done: Finished) -> str:
    rows = done.of(name)
    if not rows:
        return _MISSING
    tests = {
        **dict.fromkeys(("2", "3"), FASHION_VAL),
        "4": ("fashion17-lsp14-val limbs",),
        "5": tuple(f"{corpus}-val" for corpus in SHARES),
        "visibility": (),
    }
    columns = [f"{test} PCK@{t}" for test in tests.get(name, VAL) for t in ("0.1", "0.2")]
    more = {"2": ("GMACs", "activations_mib"), "3": ("GMACs", "activations_mib")}.get(name, ())
    own = ("visibility AUROC", "visible") if name == "visibility" else ()
    lines = [("run", "seed", "steps", *columns, *own, *more, "crops/s", "minutes")]
    for row in sorted(rows, key=lambda row: (row["seed"],)):
        cells = [row["name"], str(row["seed"]), str(row["steps"])]
        cells += [_number(row.get(column)) for column in (*columns, *own, *more)]
        lines.append((*cells, f"{row['crops_per_second']:.0f}", f"{row['minutes']:.1f}"))
    picture = [_image(_PICTURE_OF[name])] if name in _PICTURE_OF else []
    return "\n\n".join([_table(lines), *picture, *_verdicts(name, done)])


def _verdicts(name: str, done: Finished) -> list[str]:
    errors = {test: done.errors(test) for test in {claim.test for claim in CLAIMS}}
    said = [verdict(claim, errors[claim.test]) for claim in CLAIMS if claim.table == name]
    lines = [line for line in said if line]
    return ["\n".join(lines)] if lines else []


def _costs() -> str:
    tables = ([tuple(rows[0]), *(tuple(row.values()) for row in rows)] for rows in (sizes(), attention()))
    return "\n\n".join(_table(lines, names=1) for lines in tables)


def _partial(done: Finished) -> str:
    parts = [_partial_of(corpus, *both) for corpus, both in done.pairs().items()]
    if not parts:
        return _MISSING
    return "\n\n".join([_image("partial"), *parts, *_ablation(done)])


def _partial_of(corpus: str, plain: list[Cases], ours: list[Cases]) -> str:
    rows = [*rows_by_kind(plain[0], "plain"), *rows_by_kind(ours[0], "ours")]
    columns = [name for name in rows[0] if name not in ("recipe", "part")]
    lines = [("part", "recipe", *columns)]
    for kind in (*KINDS, "all"):
        lines += [
            (kind, row["recipe"], *(_number(row[name]) for name in columns)) for row in rows if row["part"] == kind
        ]
    pairs = list(zip(plain, ours, strict=False))
    said = [f"Seed {i}. {told(compare(*pair))}" for i, pair in enumerate(pairs)]
    return "\n\n".join([f"**{corpus}**, {len(plain[0].whole)} people, seed 0:", _table(lines), *said])


def _ablation(done: Finished) -> list[str]:
    """Truncation crops without a presence head, where that was run."""
    corpus, name = ABLATION
    plain, only = done.cases(PAIRS[corpus][0]), done.cases(name)
    said = f"Without the heads, on {corpus}, seed 0."
    return [f"{said} {told(compare(plain[0], only[0]), 'truncation crops alone')}"] if plain and only else []


def _presence(done: Finished) -> str:
    rows = [
        {"corpus": corpus, "seed": seed, **presence_row(cases, name)}
        for corpus, both in done.pairs().items()
        for seed, pair in enumerate(zip(*both, strict=False))
        for name, cases in zip(("plain", "ours"), pair, strict=True)
    ]
    if not rows:
        return _MISSING
    columns = ("corpus", "seed", "recipe", "score", "joints", "inside", "AUROC", "Brier", "Brier skill", "ECE")
    lines = [columns, *(tuple(_number(row.get(name)) for name in columns) for row in rows)]
    return "\n\n".join([_table(lines, names=4), _image("presence")])


def _number(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"
    return str(value)


def _table(lines: Sequence[Sequence[str]], *, names: int = 2) -> str:
    """The first line is the head, the first ``names`` columns are words."""
    head, *rows = ["| " + " | ".join(line) + " |" for line in lines]
    rule = "|" + "|".join("---" if i < names else "--:" for i in range(len(lines[0]))) + "|"
    return "\n".join([head, rule, *rows])


def pictures(done: Finished) -> dict[str, bytes]:
    """PNG by name, of what is finished."""
    made: dict[str, bytes] = {}
    if pairs := done.pairs():
        corpus, (plain, ours) = next(iter(pairs.items()))
        made["partial"] = _partial_picture(plain[0], ours[0], corpus)
        made["presence"] = _presence_picture(ours[0], corpus)
    if done.of("3"):
        made["attention"] = _attention_picture(done.of("3"))
    if done.of("4"):
        made["labels"] = _labels_picture(done.rows)
    return made


def _partial_picture(plain: Cases, ours: Cases, corpus: str) -> bytes:
    kinds = (*KINDS, "all")
    with styled_figure(9.0, 3.2, 1, 1) as (figure, grid):
        axes = grid[0][0]
        for offset, color, name, cases in ((-0.2, PLAIN, "plain recipe", plain), (0.2, OURS, "ours", ours)):
            rows = rows_by_kind(cases, name)
            x = np.arange(len(kinds)) + offset
            part = [100 * row["part@0.1"] for row in rows]
            axes.bar(x, part, 0.36, color=color, label=f"{name}: the part")
            whole = [100 * row["whole@0.1"] for row in rows]
            marked = {} if offset > 0 else {"label": "the same joints, whole person"}
            axes.plot(x, whole, "_", color=INK, markersize=16, **marked)
        axes.set_xticks(np.arange(len(kinds)), kinds)
        axes.set_ylabel("PCK@0.1, %")
        axes.set_title(f"Joints that are still in the picture, {corpus}, seed 0")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncol=3)
        return _png(figure)


def _presence_picture(cases: Cases, corpus: str) -> bytes:
    said, true, count = presence_row(cases, "ours")["bins"]
    with styled_figure(4.2, 4.0, 1, 1) as (figure, grid):
        axes = grid[0][0]
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
        axes.scatter(said, true, s=20 + 300 * np.array(count) / max(count), color=OURS)
        axes.set_xlabel("said: lies inside the image")
        axes.set_ylabel("true")
        axes.set_title(f"Presence on partial bodies, {corpus}")
        return _png(figure)


def _attention_picture(rows: Sequence[Row]) -> bytes:
    with styled_figure(9.0, 3.6, 1, 2) as (figure, grid):
        for axes, key, what in zip(
            grid[0], ("GMACs", "activations_mib"), ("GMACs a crop", "MiB kept for a batch of 64"), strict=True
        ):
            named = set[str]()
            for row in rows:  # every seed has its mark; the legend says each once
                name = "full" if row["name"] == FULL else str(row["name"]).removeprefix("attention ")
                y = 100 * row[f"{FASHION_VAL[0]} PCK@0.1"]
                kind = list(WINDOWS).index(name.rsplit(" ", 1)[0]) if name != "full" else -1
                marker = "s" if name.endswith("8x6") else "*" if name == "full" else "o"
                label = f"_{name}" if name in named else name
                axes.plot(row[key], y, marker, color=INK if kind < 0 else _COLORS[kind], label=label)
                named.add(name)
            axes.set_xlabel(what)
            axes.set_ylabel("PCK@0.1, %")
        grid[0][0].set_title("Attention at stride 8, 16x12 tokens")
        figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncol=5, fontsize=7.5)
        return _png(figure)


def _labels_picture(rows: Sequence[Row]) -> bytes:
    column = "fashion17-lsp14-val limbs PCK@0.1"
    with styled_figure(5.4, 3.6, 1, 1) as (figure, grid):
        axes = grid[0][0]
        for color, method in zip(_COLORS, METHODS, strict=False):
            points = [
                (labels, 100 * float(np.mean(values)))
                for labels in LABELS
                if (values := [row[column] for row in rows if row["name"] == f"{method} {labels}"])
            ]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", color=color, label=method)
        before = [100 * row[column] for row in rows if row["name"] == "base"]
        if before:
            axes.axhline(before[0], color=MUTED, linestyle=":", label="before")
        axes.set_xscale("log")
        axes.set_xticks(LABELS, [str(labels) for labels in LABELS])
        axes.minorticks_off()
        axes.set_xlabel("labelled people of fashion17")
        axes.set_ylabel("PCK@0.1 of limbs, %")
        axes.legend()
        return _png(figure)


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def write_pictures(made: Mapping[str, bytes], folder: Path) -> Iterable[Path]:
    """As ``training-NAME.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in made.items():
        path = folder / f"training-{name}.png"
        path.write_bytes(data)
        yield path


__all__ = ["RESAMPLES", "Finished", "fill", "pictures", "sections", "write_pictures"]
