"""Push and pull against a real Label Studio: how fast, in how much memory, and whether anything is lost in a storm.

    python -m benchmarks.labelstudio --out DIR

Starts a Label Studio of its own with SQLite in DIR, which is emptied first. Parts, of which ``--only`` takes some:
``sizes`` pushes and pulls projects of 500 and 5,000 tasks; ``pushers`` pushes one queue twice at once; ``storm`` kills
the command, and the server, in the middle of push and of pull, ten times each, and counts every task and answer;
``busy`` does so while somebody answers; ``fuzz`` sends 10,000 broken answers through ``pull``. Writes
``benchmarks/results/labelstudio.json`` and the tables of ``docs/review.md``. Exits with 1 where anything was lost,
doubled or wrong, or a bar is not met.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.labelstudio_busy import busy
from benchmarks.labelstudio_case import Bench, bench
from benchmarks.labelstudio_fuzz import fuzz
from benchmarks.labelstudio_report import bars, sections, shown
from benchmarks.labelstudio_sizes import sizes
from benchmarks.labelstudio_storm import pushers, storm
from benchmarks.pages import DOCS, fill, write_section
from benchmarks.results import table, write_result
from pipelines.labelstudio_environment import pinned_version

PAGE = DOCS / "review.md"
PARTS = ("sizes", "pushers", "storm", "busy", "fuzz")
PACKAGES = ("label-studio-sdk", "httpx", "numpy", "pyarrow", "pillow", "hypothesis")

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the server and its projects; emptied first")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--tasks", type=int, nargs="+", default=[500, 5000], help="sizes of the projects")
    parser.add_argument("--storm-tasks", type=int, default=600, help="of a push or pull that is killed")
    parser.add_argument("--kills", type=int, default=10, help="of each kind")
    parser.add_argument("--results", type=int, default=10_000, help="fuzzed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--environment", type=Path, help="where Label Studio is installed, or is to be")
    parser.add_argument("--rehearse", action="store_true", help="write nothing but the printed tables")
    given = parser.parse_args(words)
    if not given.rehearse:
        # Known now, not after half an hour.
        fill(PAGE.read_text(encoding="utf-8"), {f"labelstudio-{part}": "" for part in [*given.only, "bars"]})
    rows: dict[str, list[dict[str, Any]]] = {}
    if set(given.only) - {"fuzz"}:
        with bench(given.out, environment=given.environment) as running:
            rows = _on_server(running, given)
    if "fuzz" in given.only:
        rows["fuzz"] = _told(fuzz(given.out / "fuzz", given.results, given.seed))
    held = bars(rows)
    print(table([{**one, "met": "met" if one["met"] else "NOT MET"} for one in held]))
    if not given.rehearse:
        _write(rows, held, given)
    return 0 if all(one["met"] for one in held) else 1


def _on_server(running: Bench, given: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    parts = {
        "sizes": lambda: sizes(running, given.tasks, given.seed),
        "pushers": lambda: pushers(running, min(given.tasks)),
        "storm": lambda: storm(running, given.storm_tasks, given.kills, given.seed),
        "busy": lambda: busy(running, given.storm_tasks, 2 * given.kills, given.seed),
    }
    return {name: _told(part()) for name, part in parts.items() if name in given.only}


def _told(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each of which is told on the way, and all of them at the end."""
    told: list[dict[str, Any]] = []
    for row in rows:
        sys.stderr.write(f"{row}\n")
        told.append(row)
    print(table(shown(told)), flush=True)
    return told


def _write(rows: Rows, held: Sequence[Mapping[str, Any]], given: argparse.Namespace) -> None:
    every = [{"part": part, **row} for part, some in rows.items() for row in some]
    options = f"--tasks {' '.join(map(str, given.tasks))} --storm-tasks {given.storm_tasks} --kills {given.kills}"
    options += f" --results {given.results} --seed {given.seed}"
    write_result(
        "labelstudio",
        every,
        command=f"python -m benchmarks.labelstudio --out DIR --only {' '.join(rows)} {options}",
        packages=PACKAGES,
        server={"label-studio": pinned_version(), "database": "SQLite"},
        bars=held,
    )
    for name, text in sections(rows, held).items():
        write_section(PAGE, name, text)


if __name__ == "__main__":
    raise SystemExit(main())
