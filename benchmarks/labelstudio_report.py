"""What the Label Studio benchmark shows: its bars, its printed tables and those of the documentation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.labelstudio_storm import COMMAND, SERVER
from benchmarks.pages import markdown

GROWTH = 1.5
"""A task among ten times as many may cost at most so many times the processor time, of command and server together."""

WHOLE = ("lost", "doubled", "wrong")
_HIDDEN = ("error", "first wrong", "notices")

Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]


def shown(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows for the terminal, without what is long."""
    return [{name: value for name, value in row.items() if name not in _HIDDEN} for row in rows]


def bars(rows: Rows) -> list[dict[str, Any]]:
    """What must hold, of the parts that were measured, and whether it does."""
    made = [_whole(part, some) for part, some in rows.items() if some]
    if sizes := rows.get("sizes"):
        made += _of_sizes(sizes)
    if storm := rows.get("storm"):
        sound = sum(not row["sound"] for row in storm)
        made.append(_bar("storm", "the server's database is sound after every kill", sound, 0))
    return made


def sections(rows: Rows, held: Sequence[Row]) -> dict[str, str]:
    """The tables of the page, by marker, of the parts that were measured."""
    makers = {"sizes": _sizes, "pushers": _pushers, "storm": _storm, "busy": _busy, "fuzz": _fuzz}
    made = {f"labelstudio-{part}": maker(rows[part]) for part, maker in makers.items() if rows.get(part)}
    lines = [["part", "bar", "measured", "at most", ""]]
    lines += [
        [
            one["part"],
            one["bar"],
            f"{one['measured']:,g}",
            f"{one['at most']:,g}",
            "met" if one["met"] else "**not met**",
        ]
        for one in held
    ]
    return {**made, "labelstudio-bars": markdown(lines)}


def _whole(part: str, rows: Sequence[Row]) -> dict[str, Any]:
    bad = sum(row.get(name, 0) for row in rows for name in WHOLE)
    return _bar(part, "tasks and answers lost, doubled or wrong", bad, 0)


def _of_sizes(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Time of the largest project against the smallest."""
    return [
        _bar(name, f"CPU time a task of {many['tasks']:,} against {few['tasks']:,}", _cpu(many) / _cpu(few), GROWTH)
        for name in ("push", "pull")
        for few, many in _ends(rows, name)
    ]


def _ends(rows: Sequence[Row], name: str) -> list[tuple[Row, Row]]:
    """The smallest and the largest project's row; nothing where there is but one size."""
    small, large = (pick(row["tasks"] for row in rows) for pick in (min, max))
    return [] if small == large else [(_row(rows, name, small), _row(rows, name, large))]


def _growth(rows: Sequence[Row]) -> str:
    """What has no bar: how memory grows, and what a full project adds."""
    said: list[str] = []
    for name in ("push", "pull"):
        for few, many in _ends(rows, name):
            kib = 1024 * (many["peak MiB"] - few["peak MiB"]) / (many["tasks"] - few["tasks"])
            times = _cpu(_row(rows, f"{name} more", few["tasks"])) / _cpu(few)
            said.append(
                f"For `{name}`, each further task costs {kib:.0f} KiB of memory, and {few['tasks']:,} more among "
                f"{many['tasks']:,} cost {times:.1f} times the processor time of the first {few['tasks']:,}."
            )
    return "\n".join(said)


def _row(rows: Sequence[Row], what: str, tasks: int) -> Row:
    return next(row for row in rows if row["what"] == what and row["tasks"] == tasks)


def _cpu(row: Row) -> float:
    """Milliseconds a task: unlike the time on the clock, they do not depend on what else a machine does."""
    return row["CPU ms a task"] + row["server CPU ms a task"]


def _bar(part: str, bar: str, measured: float, most: float) -> dict[str, Any]:
    return {"part": part, "bar": bar, "measured": round(measured, 2), "at most": most, "met": measured <= most}


def _sizes(rows: Sequence[Row]) -> str:
    names = ["tasks", "already there", "seconds", "ms a task", "CPU ms a task", "server CPU ms a task", "peak MiB"]
    names += ["server MiB", "database MB"]
    lines = [["", *names], *([row["what"], *(_number(row[name]) for name in names)] for row in rows)]
    return f"{markdown(lines, names=1)}\n\n{_growth(rows)}"


def _pushers(rows: Sequence[Row]) -> str:
    head = ["two pushers of one queue", "tasks", "seconds", "sent", "copies deleted", "lost", "doubled", "wrong"]
    lines = [
        [
            row["pushers"], f"{row['tasks']:,}", _each(row["seconds"]), _each(row["sent"]),
            str(row["surplus deleted"]), *(str(row[name]) for name in WHOLE),
        ]
        for row in rows
    ]  # fmt: skip
    return markdown([head, *lines], names=1)


def _storm(rows: Sequence[Row]) -> str:
    """A line a kind of kill."""
    head = ["killed", "in the middle of", "kills", "% done at each kill", "went on by itself", "resumed at most"]
    head += [*WHOLE, "empty projects left"]
    lines: list[list[str]] = []
    for what in ("push", "pull"):
        for whom in (COMMAND, SERVER):
            some = [row for row in rows if (row["what"], row["killed"]) == (what, whom)]
            if not some:
                continue
            came = sorted(row["came"] for row in some)
            alone = sum(row["resumes"] == 0 for row in some)
            counts = [str(sum(row[name] for row in some)) for name in (*WHOLE, "spare projects")]
            lines.append(
                [
                    f"the {whom}", what, str(len(some)), ", ".join(map(str, came)), str(alone),
                    str(max(row["resumes"] for row in some)), *counts,
                ]
            )  # fmt: skip
    return markdown([head, *lines])


def _busy(rows: Sequence[Row]) -> str:
    names = ["tasks", "pulls", "pulls killed", "server killed", "answers of unknown end", "submitted again", *WHOLE]
    return markdown([names, *([_number(row[name]) for name in names] for row in rows)], names=0)


def _fuzz(rows: Sequence[Row]) -> str:
    head = [
        "fuzzed answers",
        "by hand",
        "by hypothesis",
        "seconds",
        "used",
        "set aside, with a reason",
        "lost",
        "wrong",
    ]
    names = ("results", "by hand", "by hypothesis", "seconds", "used", "set aside", "lost", "wrong")
    return markdown([head, *([_number(row[name]) for name in names] for row in rows)], names=0)


def _each(values: Iterable[float]) -> str:
    return " and ".join(map(_number, values))


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
