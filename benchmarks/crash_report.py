"""What the kills show: the bars, a line a kind of step, and the tables of the documentation."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.pages import markdown

Row = Mapping[str, Any]

WHOLE = tuple(f"{of} {name}" for of in ("tasks", "answers") for name in ("lost", "doubled", "wrong"))


def by_kind(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """How often each kind of step was hit, by project, the server's kills in brackets."""
    kills = [row for row in rows if row["what"] == "kill"]
    names = list(dict.fromkeys(row["project"] for row in kills))
    kinds = list(dict.fromkeys(row["kind"] for row in kills))
    made = list[dict[str, Any]]()
    for kind in sorted(kinds):
        line: dict[str, Any] = {"killed in the step that leaves": kind}
        for name in names:
            mine = [row for row in kills if (row["project"], row["kind"]) == (name, kind)]
            server = sum(row["server"] for row in mine)
            line[name] = f"{len(mine)} ({server})" if server else str(len(mine) or "")
        made.append(line)
    return made


def section(rows: Sequence[Row]) -> str:
    """The tables of the page: a line a run, and a line a kind of step."""
    head = ["project", "run", "kills", "where aimed", "with the server", "answers"]
    lines = [[*head, "values that differ", "lost", "doubled", "wrong"]]
    for row in (row for row in rows if row["what"] == "run"):
        parts = (sum(row[f"{of} {name}"] for of in ("tasks", "answers")) for name in ("lost", "doubled", "wrong"))
        names = ("kills", "where aimed", "server killed", "answers", "differences")
        lines.append([row["project"], row["run"], *(f"{value:,}" for value in (*(row[n] for n in names), *parts))])
    kinds = by_kind(rows)
    steps = [list(kinds[0]), *([str(cell) for cell in line.values()] for line in kinds)] if kinds else []
    return "\n\n".join([markdown(lines), *([markdown(steps, names=1)] if steps else [])])


def bars(rows: Sequence[Row], *, kills: int, server_kills: int) -> list[dict[str, Any]]:
    """What must hold of each project, and whether it does.

    Args:
        rows: Of all runs and kills.
        kills: How many kills were asked for, of each project.
        server_kills: How many of them with the server.
    """
    made = list[dict[str, Any]]()
    for name in dict.fromkeys(row["project"] for row in rows):
        runs = [row for row in rows if row["what"] == "run" and row["project"] == name]
        bad = sum(row[part] for row in runs for part in WHOLE)
        made += [
            _bar(name, "values that differ from the undisturbed run", sum(row["differences"] for row in runs), 0),
            _bar(name, "tasks and answers lost, doubled or wrong", bad, 0),
            _bar(name, "kills that are missing", kills - sum(row["kills"] for row in runs), 0),
            _bar(name, "kills of the server that are missing",
                 server_kills - sum(row["server killed"] for row in runs), 0),
        ]  # fmt: skip
    return made


def _bar(project: str, bar: str, measured: int, most: int) -> dict[str, Any]:
    return {"project": project, "bar": bar, "measured": measured, "at most": most, "met": measured <= most}
