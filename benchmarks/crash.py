"""The loop killed anywhere, with Label Studio beside it: it ends where an undisturbed one does.

    python -m benchmarks.crash --out DIR --data ../shared/data

Two projects, the demo's and the mouse of ``docs/tutorial-openfield.md``, are run by ``loop run --wait`` against a Label
Studio of our own in DIR, which is emptied first, while a simulated person answers over its API. An undisturbed run
tells which steps there are. Then each project is run again, with ``kill -9`` at moments that are drawn over all steps;
at some of them Label Studio is killed and started again too. What comes of it must be the same as undisturbed: every
coordinate, origin and routing, networks weight by weight, only times and the server's own numbers aside; every task is
there once, and every answer counts once and as it was submitted. Writes ``benchmarks/results/crash.json`` and the table
of ``docs/loop.md``. Exits with 1 where anything differs.
"""

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from autolabel.labelstudio.access import Access
from benchmarks.crash_compare import counted, differences
from benchmarks.crash_launcher import Launcher
from benchmarks.crash_person import Desk, ExportDesk, ServerDesk
from benchmarks.crash_projects import DEMO, OPENFIELD, Subject, demo, emptied, openfield
from benchmarks.crash_report import bars, by_kind, section
from benchmarks.crash_steps import moments, with_server
from benchmarks.crash_storm import Ran, Server, run
from benchmarks.labelstudio_case import environment_of_user
from benchmarks.pages import DOCS, fill, write_section
from benchmarks.results import table, write_result
from pipelines.labelstudio_environment import install, pinned_version
from pipelines.labelstudio_process import OwnServer, start, stop

PAGE = DOCS / "loop.md"
PACKAGES = ("torch", "label-studio-sdk", "httpx", "numpy", "pyarrow")
_MOST_RUNS = 3
"""Further runs for moments that the loop had passed before their time."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Site:
    """Where runs take place.

    Attributes:
        launcher: Starts the loop.
        access: The server, where people answer there; None where they answer by exports.
        server: The same server as something that can be killed.
    """

    launcher: Launcher
    access: Access | None = None
    server: Server | None = None

    def desk(self, subject: Subject, project: Path) -> ExportDesk | ServerDesk:
        """A person's desk for a project."""
        mirror = project.with_name(f"{project.name}-person")
        if self.access is None:
            return ExportDesk(project, subject.reviewer(), mirror)
        return ServerDesk(project, subject.reviewer(), mirror, self.access)


@contextmanager
def site(folder: Path, environment: Path | None = None) -> Iterator[Site]:
    """A server of one's own and a launcher, both stopped at the end.

    Args:
        folder: The server's.
        environment: Where Label Studio is installed; by default the repository's own, or where the user says.
    """
    own, program = OwnServer.at(folder), install(environment or environment_of_user())
    try:
        account = start(own, program)
        with Launcher() as launcher:
            yield Site(launcher, Access(own.url(), account.token), Server(own, program))
    finally:
        stop(own)


def crash(
    subject: Subject, site: Site, *, kills: int, server_kills: int = 0, runs: int = 1, seed: int = 0
) -> list[Row]:
    """Run a project undisturbed, and again with kills; the rows of both.

    Args:
        subject: The project.
        site: Where.
        kills: How often the loop is killed.
        server_kills: At how many of these moments the server is killed too.
        runs: Over how many runs the kills are spread.
        seed: Of the moments.

    Returns:
        A row a run, and after each run a row a kill in it.

    Raises:
        RuntimeError: A run stopped with an error.
    """
    rng = random.Random(f"{subject.name}/{seed}")
    whole = subject.project("undisturbed")
    desk = site.desk(subject, whole)
    before = run(whole, desk, site.launcher)
    rows = [_row(subject, whole, desk, before, [])]
    drawn = moments(before.steps, kills, rng)
    deadly = with_server(drawn, server_kills, rng)
    left = [drawn[i::runs] for i in range(runs)]
    for number in range(1, runs + _MOST_RUNS + 1):
        if not left:
            break
        project = subject.project(f"killed-{number}")
        desk = site.desk(subject, project)
        ran = run(project, desk, site.launcher, steps=before.steps, moments=left.pop(0), server=site.server,
                  deadly=deadly)  # fmt: skip
        rows += [_row(subject, project, desk, ran, differences(whole, project)), *_kills(subject, project, ran)]
        left += [ran.missed] if ran.missed else []
    return rows


def _row(subject: Subject, project: Path, desk: Desk, ran: Ran, differs: Sequence[str]) -> Row:
    """What came of a run."""
    return {
        "what": "run",
        "project": subject.name,
        "run": project.name,
        "seconds": round(ran.seconds, 1),
        "steps": len(ran.steps),
        "kills": len(ran.rows),
        "where aimed": sum(row["hit"] == row["aimed"] for row in ran.rows),
        "server killed": sum(row["server"] for row in ran.rows),
        "answers": len(desk.given),
        **{
            f"{of} {name}": count for of, found in counted(project, desk).items() for name, count in vars(found).items()
        },
        "differences": len(differs),
        "differs": list(differs),
    }


def _kills(subject: Subject, project: Path, ran: Ran) -> list[Row]:
    return [{"what": "kill", "project": subject.name, "run": project.name, **row} for row in ran.rows]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the server and the projects; emptied first")
    parser.add_argument("--data", type=Path, required=True, help="folder of the downloaded data sets")
    parser.add_argument("--only", nargs="+", choices=(DEMO, OPENFIELD), default=[DEMO, OPENFIELD])
    parser.add_argument("--kills", type=int, default=30, help="of each project's loop")
    parser.add_argument("--server-kills", type=int, default=5, help="of them with a kill of Label Studio")
    parser.add_argument("--runs", type=int, default=2, help="over which the kills are spread")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--environment", type=Path, help="where Label Studio is installed, or is to be")
    parser.add_argument("--rehearse", action="store_true", help="write nothing but the printed tables")
    given = parser.parse_args(words)
    if not given.rehearse:
        # Known now, not after twenty minutes.
        fill(PAGE.read_text(encoding="utf-8"), {"crash": ""})
    out = emptied(given.out)
    makers = {DEMO: partial(demo, seed=given.seed),
              OPENFIELD: partial(openfield, data=given.data / OPENFIELD, seed=given.seed)}  # fmt: skip
    rows = list[Row]()
    with site(out / "server", given.environment) as running:
        for name in given.only:
            made = crash(makers[name](out / name), running, kills=given.kills, server_kills=given.server_kills,
                         runs=given.runs, seed=given.seed)  # fmt: skip
            _tell(made)
            rows += made
    held = bars(rows, kills=given.kills, server_kills=given.server_kills)
    print(table(by_kind(rows)), table(held), sep="\n\n")
    if not given.rehearse:
        options = f"--kills {given.kills} --server-kills {given.server_kills} --runs {given.runs} --seed {given.seed}"
        write_result(
            "crash",
            rows,
            command=f"python -m benchmarks.crash --out DIR --data DATA --only {' '.join(given.only)} {options}",
            packages=PACKAGES,
            server={"label-studio": pinned_version(), "database": "SQLite"},
            bars=held,
        )
        write_section(PAGE, "crash", section(rows))
    return 0 if all(one["met"] for one in held) else 1


def _tell(rows: Sequence[Row]) -> None:
    runs = [row for row in rows if row["what"] == "run"]
    print(table([{name: row[name] for name in row if name not in ("what", "differs")} for row in runs]), flush=True)
    for row in runs:
        for what in row["differs"]:
            sys.stderr.write(f"{row['run']}: {what}\n")


if __name__ == "__main__":
    raise SystemExit(main())
