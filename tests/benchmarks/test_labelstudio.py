"""The Label Studio benchmark without a Label Studio: its checks find what is lost, doubled and wrong."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autolabel.labelstudio.access import Access, save_token, write_settings
from autolabel.labelstudio.tasks import read_task_map
from autolabel.manifest import Manifest
from benchmarks.labelstudio_answers import (
    Answer,
    Findings,
    check_answers,
    check_tasks,
    made_up,
    submitted,
)
from benchmarks.labelstudio_case import Bench, Case, keys_of
from benchmarks.labelstudio_child import begin, end
from benchmarks.labelstudio_fuzz import HOSTILE, fuzz
from benchmarks.labelstudio_report import bars, sections
from benchmarks.pages import fill
from pipelines.drawn_corpus import draw_corpus
from pipelines.labelstudio_process import Account, OwnServer
from pipelines.pull import pull
from pipelines.push import push
from tests.labelstudio_double import LEGACY, Asked, Said, serving

N = 7
Tasks = list[dict[str, Any]]


@pytest.fixture(scope="module")
def queued(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Manifest]:
    folder = tmp_path_factory.mktemp("bench")
    truth, _ = draw_corpus(folder / "drawn", images=2, seed=0)
    bench = Bench(folder, OwnServer.at(folder / "server"), Path(), Account("", "", LEGACY), truth)
    return bench, bench.queue(N)


@pytest.fixture
def case(queued: tuple[Bench, Manifest], tmp_path: Path) -> Case:
    """A project whose tasks were written, and sent nowhere."""
    (tmp_path / "autolabel.toml").write_text('name = "bench"\n[corpus]\nimages = "images"\n[labelstudio]\n')
    push(queued[1].path, project=tmp_path)
    for crop in (tmp_path / "labelstudio" / "crops").glob("*.jpg"):
        crop.write_text("a picture")  # the server in this process sends text alone
    save_token(tmp_path, LEGACY)
    return Case(tmp_path, Access("http://127.0.0.1:1", LEGACY))


def written(case: Case) -> Tasks:
    return [task for file in case.folder.task_files() for task in json.loads(file.read_text())]


def test_queues_hold_as_many_people_as_asked_and_share_none(queued: tuple[Bench, Manifest]) -> None:
    bench, queue = queued
    keys, others = keys_of(queue), keys_of(bench.queue(N, first=1))
    assert len(set(keys)) == len(set(others)) == N
    assert not set(keys) & set(others)
    assert bench.queue(N).digest == queue.digest
    poses = [{pose for i in range(m.num_parts) for pose in m.poses(i).id} for m in (queue, bench.queue(N, first=1))]
    assert not poses[0] & poses[1]


def test_the_keys_are_those_of_the_push(queued: tuple[Bench, Manifest], case: Case) -> None:
    assert set(keys_of(queued[1])) == set(read_task_map(case.folder.taskmap))


def lose(tasks: Tasks) -> None:
    del tasks[0]


def double(tasks: Tasks) -> None:
    tasks.append(copy.deepcopy(tasks[0]))


def move(tasks: Tasks) -> None:
    tasks[0]["predictions"][0]["result"][0]["value"]["x"] += 1e-9


def show_none(tasks: Tasks) -> None:
    tasks[0]["predictions"] = []


def show_two(tasks: Tasks) -> None:
    tasks[0]["predictions"] *= 2


def rename(tasks: Tasks) -> None:
    tasks[0]["data"]["header"] = "Audit"


def bring_a_stranger(tasks: Tasks) -> None:
    tasks[0]["data"]["task_key"] = "0" * 32


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda tasks: None, Findings(0, 0, 0)),
        (lose, Findings(1, 0, 0)),
        (double, Findings(0, 1, 0)),
        (move, Findings(0, 0, 1)),
        (show_none, Findings(0, 0, 1)),
        (show_two, Findings(0, 0, 1)),
        (rename, Findings(0, 0, 1)),
        (bring_a_stranger, Findings(1, 0, 1)),
    ],
)
def test_tasks_are_counted(
    queued: tuple[Bench, Manifest], case: Case, harm: Callable[[Tasks], None], found: Findings
) -> None:
    tasks = written(case)
    for task in tasks:
        task["data"]["image"] = f"/data/upload/{task['data']['crop']}"
    harm(tasks)

    def answer(asked: Asked) -> Said:
        return Said(body={"tasks": tasks, "total": len(tasks)} if asked.path == "/api/tasks" else "a picture")

    with serving(answer) as server:
        write_settings(case.project, url=server.url, project=1)
        assert check_tasks(replace(case, access=Access(server.url, LEGACY)), keys_of(queued[1])) == found


def test_a_picture_that_is_not_the_crop_is_wrong(queued: tuple[Bench, Manifest], case: Case) -> None:
    tasks = written(case)

    def answer(asked: Asked) -> Said:
        return Said(body={"tasks": tasks, "total": len(tasks)} if asked.path == "/api/tasks" else "another picture")

    with serving(answer) as server:
        write_settings(case.project, url=server.url, project=1)
        assert check_tasks(replace(case, access=Access(server.url, LEGACY)), keys_of(queued[1])) == Findings(0, 0, N)


def answered(case: Case) -> dict[str, Answer]:
    """Answer every task by a file, as an export would have it; the last one is skipped."""
    given: dict[str, Answer] = {}
    exported: Tasks = []
    for i, task in enumerate(written(case)):
        key = task["data"]["task_key"]
        given[key] = Answer(skipped=True) if i == N - 1 else Answer({3: (20.0 + i, 30.0), 5: (99.5, 0.25)})
        annotation = {
            "id": i, "result": submitted(task["predictions"][0]["result"], key, given[key]), "completed_by": 1,
            "was_cancelled": given[key].skipped, "updated_at": "2026-11-22T20:00:00Z", "lead_time": 2.0,
        }  # fmt: skip
        exported.append({**task, "annotations": [annotation]})
    (case.folder.exports / "all.json").write_text(json.dumps(exported))
    return given


def test_answers_are_compared_with_what_was_submitted(case: Case, tmp_path: Path) -> None:
    given = answered(case)
    out = pull(project=case.project, out=tmp_path / "pulled").manifest.path
    assert check_answers(case, out, given) == Findings(0, 0, 0)
    first, *_, last = given
    assert check_answers(case, out, {**given, first: Answer({3: (20.0, 31.0), 5: (99.5, 0.25)})}) == Findings(0, 0, 1)
    assert check_answers(case, out, {**given, first: Answer({3: (20.0, 30.0)})}) == Findings(0, 0, 1), "5 has moved"
    assert check_answers(case, out, {**given, last: Answer()}) == Findings(1, 0, 0), "one that counts was skipped"
    assert check_answers(case, out, {**given, first: Answer(skipped=True)}) == Findings(0, 1, 0)
    assert check_answers(case, out, {**given, "0" * 32: Answer()}) == Findings(2, 0, 0), "journal and correction"
    lines = case.folder.journal.read_text().splitlines(keepends=True)
    case.folder.journal.write_text("".join([*lines, lines[0]]))
    assert check_answers(case, out, given) == Findings(0, 1, 0)
    case.folder.journal.write_text("".join(lines[1:]))
    assert check_answers(case, out, given) == Findings(1, 0, 0)


def test_made_up_answers_differ_and_are_the_same_every_time() -> None:
    keys = [f"{i:032x}" for i in range(200)]
    answers = [made_up(key, 0) for key in keys]
    assert answers == [made_up(key, 0) for key in keys] != [made_up(key, 1) for key in keys]
    assert {len(answer.moved) for answer in answers} == {0, 1, 2}
    assert 5 < sum(answer.skipped for answer in answers) < 40


def test_a_process_tells_what_it_took_or_why_it_stopped(case: Case, queued: tuple[Bench, Manifest]) -> None:
    took = end(begin("push", queued[1].path, "--project", case.project))
    assert (took.error, took.summary["tasks"], took.summary["added"]) == ("", N, 0)
    assert took.seconds > 0 and took.peak >= took.before > 0
    stopped = end(begin("push", queued[1].path / "missing", "--project", case.project))
    assert "missing" in stopped.error


def test_broken_answers_go_through_the_pull(tmp_path: Path) -> None:
    count = len(HOSTILE) + 290  # more than a page of the server's list
    (row,) = fuzz(tmp_path, count, 3)
    assert (row["results"], row["lost"], row["wrong"]) == (count, 0, 0)
    assert row["used"] + row["set aside"] == count
    assert min(row["used"], row["set aside"]) > 10, "else the answers are too tame or too wild"


def some_rows() -> dict[str, list[dict[str, Any]]]:
    whole = {"lost": 0, "doubled": 0, "wrong": 0}
    sizes = [
        {"what": what, "tasks": tasks, "already there": 0, "seconds": tasks / 50, "ms a task": 20.0, "peak MiB": 200,
         "CPU ms a task": 4.0, "server CPU ms a task": 6.0,
         "server MiB": 300, "database MB": 5.5, "sound": True, **whole}
        for tasks in (50, 500) for what in ("push", "push again", "pull", "pull again")
    ]  # fmt: skip
    sizes += [{**sizes[0], "what": f"{what} more", "already there": 500} for what in ("push", "pull")]
    storm = [
        {"what": what, "killed": whom, "trial": i, "at": 0.5, "came": i, "resumes": 1, "sound": True,
         "spare projects": 0, **whole}
        for what in ("push", "pull") for whom in ("command", "server") for i in range(2)
    ]  # fmt: skip
    pushers = [
        {"pushers": "one folder", "tasks": 50, "seconds": [1.0, 2.0], "sent": [50, 0], "surplus deleted": 0, **whole}
    ]
    fuzzed = [
        {"results": 10_000, "by hand": 9, "by hypothesis": 8, "seconds": 9.5, "used": 4, "set aside": 5,
         "lost": 0, "wrong": 0}
    ]  # fmt: skip
    names = ("tasks", "pulls", "pulls killed", "server killed", "answers of unknown end", "submitted again")
    busy = [{**dict.fromkeys(names, 3), **whole}]
    return {"sizes": sizes, "pushers": pushers, "storm": storm, "busy": busy, "fuzz": fuzzed}


def test_bars() -> None:
    rows = some_rows()
    assert all(one["met"] for one in bars(rows))
    changes: list[tuple[str, int, dict[str, Any]]] = [
        ("sizes", 0, {"lost": 1}), ("pushers", 0, {"doubled": 1}), ("storm", 3, {"wrong": 1}),
        ("fuzz", 0, {"wrong": 1}), ("storm", 0, {"sound": False}), ("sizes", 4, {"server CPU ms a task": 11.1}),
("sizes", 6, {"CPU ms a task": 9.1}),
    ]  # fmt: skip
    for part, i, change in changes:
        worse = copy.deepcopy(rows)
        worse[part][i] |= change
        assert sum(not one["met"] for one in bars(worse)) == 1, change
    assert not [one for one in bars({"fuzz": rows["fuzz"]}) if one["part"] != "fuzz"], "only what was measured"
    assert len(bars({"sizes": [row for row in rows["sizes"] if row["tasks"] == 50]})) == 1, "one size does not grow"


def test_the_page_has_every_table() -> None:
    rows = some_rows()
    made = sections(rows, bars(rows))
    page = "".join(f"<!-- table {name} -->\n<!-- end -->\n" for name in made)
    filled = fill(page, made)
    assert "For `pull`, each further task costs 0 KiB of memory, and 50 more among 500 cost 1.0 times" in filled
    for text in (
        "| push more | 50 | 500 |",
        "| one folder | 50 | 1.0 and 2.0 | 50 and 0 |",
        "| 10,000 | 9 | 8 | 9.5 |",
    ):
        assert text in filled
    assert len(re.findall(r"^\| the (?:command|server) \| pu", filled, re.M)) == 4
    for table in made.values():
        assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1, table
    assert set(sections({"fuzz": rows["fuzz"]}, [])) == {"labelstudio-fuzz", "labelstudio-bars"}
