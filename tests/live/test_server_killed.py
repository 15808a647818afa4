"""The server is killed, with SIGKILL, in the middle of a push and of a pull: nothing is lost and nothing doubled.

And it is brought into the state that only a restart ends, which the doctor must notice, and pull must bear.

The server is one of its own: a copy of the shared one's data, which starts in seconds. That a kill hit the middle is
read off its database, or off our journal, while it is dead: some of the work was there, and not all.
"""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from autolabel.labelstudio.access import write_settings
from autolabel.labelstudio.fetch import PAGE
from autolabel.labelstudio.folder import ReviewFolder, read_lines
from autolabel.labelstudio.sync import CHUNK_TASKS
from pipelines.doctor_check import Outcome
from pipelines.doctor_scratch import Scratch
from pipelines.labelstudio_environment import install
from pipelines.labelstudio_process import OwnServer, start, stop
from pipelines.pull import pull
from tests.live.labelstudio_client import Server
from tests.live.labelstudio_server import environment
from tests.live.test_pull_server import Desk
from tests.live.test_push_server import Case, make_case, wait_for

pytestmark = [pytest.mark.live, pytest.mark.slow]

DATABASE = "label_studio.sqlite3"
DELETIONS = 4
ATTEMPTS = 12


@dataclass(frozen=True)
class Mortal:
    """A server that may be killed, and what its database holds."""

    own: OwnServer
    program: Path

    def kill(self) -> None:
        """End it as a power cut would."""
        os.kill(self.own.process(), signal.SIGKILL)
        while self.own.process():
            time.sleep(0.01)

    def restart(self) -> None:
        start(self.own, self.program)

    def count(self, table: str, project: int) -> int:
        """Rows of a project; sqlite itself takes back what was not finished when the server died."""
        with sqlite3.connect(self.own.folder / DATABASE, timeout=60) as database:
            query = f"SELECT COUNT(*) FROM {table} WHERE project_id = ?"
            return int(database.execute(query, (project,)).fetchone()[0])


@pytest.fixture(scope="module")
def mortal(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    data = tmp_path_factory.mktemp("mortal") / "data"
    left = shutil.ignore_patterns("server.*", "media", "files", "export", f"{DATABASE}*")
    shutil.copytree(server.data, data, ignore=left)
    with sqlite3.connect(server.data / DATABASE) as source, sqlite3.connect(data / DATABASE) as target:
        source.backup(target)
    made = Mortal(OwnServer.at(data), install(environment()))
    try:
        made.restart()
        yield made
    finally:
        stop(made.own)


@pytest.fixture
def server_of(mortal: Mortal) -> Server:
    own = mortal.own
    return Server(own.url(), own.read_account().token, own.files, own.folder)


def unsent(folder: Path, count: int, server: Server) -> Case:
    """A project whose tasks are written and not sent; its crops need no upload."""
    case = make_case(folder, server, count)
    write_settings(case.project, url="")
    case.push()
    write_settings(case.project, url=server.url, delivery="url-prefix", prefix="https://images.example.com")
    return case


def end(process: "subprocess.Popen[str]") -> None:
    """Wait for a command: it got over it, or stopped with an error of ours."""
    _, said = process.communicate(timeout=300)
    assert process.returncode in (0, 1), said
    assert "Traceback" not in said


def test_in_the_middle_of_a_push(mortal: Mortal, server_of: Server, tmp_path: Path) -> None:
    count, rng = CHUNK_TASKS + 200, random.Random(1)
    case = unsent(tmp_path, count, server_of)
    log = ReviewFolder.of(case.project).server

    def noted(arrived: bool) -> bool:
        return any(line["task"] and bool(line["number"]) == arrived for line in read_lines(log))

    process = case.process()
    wait_for(lambda: noted(arrived=False), process)
    begun = time.monotonic()
    wait_for(lambda: noted(arrived=True), process)
    time.sleep(rng.uniform(0, 0.2) * (time.monotonic() - begun))
    mortal.kill()
    assert 0 < mortal.count("task", case.number) < count, "the kill hit the middle"
    mortal.restart()
    end(process)
    last = case.push().server
    assert last is not None
    assert last.sent + last.changed + last.standing == count
    there = Counter(task.key for task in case.client.task_list(case.number))
    assert there == Counter(task["data"]["task_key"] for task in case.written())
    assert mortal.count("prediction", case.number) == count
    again = case.push().server
    assert again is not None
    assert again.standing == count


def test_in_the_middle_of_a_pull(mortal: Mortal, server_of: Server, tmp_path: Path) -> None:
    count, answers, rng = 2 * PAGE, PAGE + 20, random.Random(2)
    case = unsent(tmp_path, count, server_of)
    desk = Desk(case)
    for i in range(answers):
        desk.answer(f"pose-{i}", 20.0 + i / 4)
    journal = ReviewFolder.of(case.project).journal
    process = case.command("pull", "--out", tmp_path / "killed")
    wait_for(lambda: any(True for _ in read_lines(journal)), process)
    time.sleep(rng.uniform(0, 0.02))
    mortal.kill()
    assert 0 < len(list(read_lines(journal))) < answers, "the kill hit the middle"
    mortal.restart()
    end(process)
    last = desk.pull("last")
    lines = journal.read_bytes().splitlines()
    assert len(lines) == len(set(lines)) == len({entry.key for entry in desk.journal.entries}) == answers
    assert (last.answered, last.notices) == (answers, 0)
    shutil.copytree(case.project, tmp_path / "fresh", ignore=shutil.ignore_patterns("journal.jsonl", "cursor.json"))
    assert pull(project=tmp_path / "fresh", out=tmp_path / "anew").manifest.digest == last.manifest.digest


def counted(case: Case) -> Outcome:
    """What the doctor's scratch project says of answers."""
    scratch = Scratch(case.client)
    scratch.make()
    scratch.fill()
    _, check = scratch.answer()
    scratch.remove()
    return check.outcome


def overlap_deletions(case: Case, mortal: Mortal) -> None:
    """Delete projects at once: a lock on the database holds each until all have begun.

    The server's signals are lost for good unless the deletion that began first happens to end last.
    """
    projects = [case.client.create_project(f"overlap {i}") for i in range(DELETIONS)]
    database = mortal.own.folder / DATABASE
    with (
        ThreadPoolExecutor(DELETIONS) as pool,
        closing(sqlite3.connect(database, isolation_level=None, timeout=60)) as lock,
    ):
        lock.execute("BEGIN IMMEDIATE")
        for project in projects:
            pool.submit(case.client.delete_project, project)
        time.sleep(1)  # the server waits 5 seconds for a lock


def test_deletions_that_overlap_are_noticed_and_lose_no_answer(
    mortal: Mortal, server_of: Server, tmp_path: Path
) -> None:
    desk = Desk(unsent(tmp_path, 4, server_of))
    desk.answer("pose-0")
    assert desk.pull().new == 1
    assert counted(desk.case) is Outcome.OK
    for _ in range(ATTEMPTS):
        overlap_deletions(desk.case, mortal)
        if counted(desk.case) is Outcome.FAILED:
            break
    else:
        pytest.fail("the deletions did not overlap")
    desk.answer("pose-1")
    assert desk.pull().new == 1, "not counted there, and pulled all the same"
    mortal.kill()
    mortal.restart()
    assert counted(desk.case) is Outcome.OK
    assert desk.pull("all", full=True).answered == 2
