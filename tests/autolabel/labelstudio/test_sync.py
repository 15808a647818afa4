"""Bringing tasks to a server that knows no keys: each is there once, whatever happens on the way."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import autolabel.labelstudio.sync as syncing
from autolabel.errors import FormatError, InputError, UnsureError, WorkError
from autolabel.labelstudio.delivery import Delivery
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.sent_log import read_sent
from autolabel.labelstudio.server import Server
from autolabel.labelstudio.sync import SyncResult, sync
from tests.doubles import Stopped
from tests.memory_server import MemoryServer
from tests.sync_case import SKELETON, URL, Case, N


def test_new_tasks_are_imported_in_their_order(case: Case) -> None:
    assert case.sync() == SyncResult(case.project, URL, sent=N, changed=0, standing=0, left_answered=0, doubles=0)
    case.require_each_once()
    assert [task["data"]["task_key"] for task in case.server.tasks.values()] == list(case.keys)
    assert case.server.calls.count("import_tasks") == 3, "of 3 and 1, then of 3"
    assert len(case.server.calls) == CALLS
    log = read_sent(case.folder.server, case.server.url, case.project)
    assert {key: sent.number for key, sent in log.items()} == {key: case.number(i) for i, key in enumerate(case.keys)}


def test_doing_it_again_asks_and_sends_nothing(case: Case) -> None:
    case.sync()
    log, _ = case.folder.server.read_bytes(), case.server.calls.clear()
    assert case.sync() == SyncResult(case.project, URL, sent=0, changed=0, standing=N, left_answered=0, doubles=0)
    assert case.server.calls == ["task_list", "unlabelled"]
    assert case.folder.server.read_bytes() == log


def test_a_task_that_was_deleted_on_the_server_is_sent_again(case: Case) -> None:
    case.sync()
    del case.server.tasks[case.number(2)]
    assert case.sync().sent == 1
    case.require_each_once()
    assert case.server.files[case.project] == [f"{key}.jpg" for key in case.keys], "no crop is uploaded twice"


def test_another_project_gets_all_of_them(case: Case) -> None:
    case.sync()
    case.server.tasks.clear()
    other = replace(case, project=case.server.create_project("other"))
    assert other.sync().sent == N
    other.require_each_once()


def test_what_the_journal_has_an_answer_for_is_not_asked_again(case: Case) -> None:
    result = case.sync(answered={case.keys[1]})
    assert (result.sent, result.left_answered) == (N - 1, 1)
    assert case.keys[1] not in {task["data"]["task_key"] for task in case.server.tasks.values()}


CALLS = 13
"""How often a push of two files and three imports talks to the server."""


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("call", range(CALLS))
def test_a_kill_at_any_call_doubles_and_loses_nothing(case: Case, call: int, before: bool) -> None:
    def end(name: str, now: bool) -> None:
        if len(case.server.calls) == call + 1 and now == before:
            raise Stopped

    case.server.hook = end
    with pytest.raises(Stopped):
        case.sync()
    case.server.hook = lambda name, now: None
    result = case.sync()
    assert result.sent + result.standing == N
    case.require_each_once()
    assert case.sync().standing == N


@pytest.mark.parametrize("bytes_left", [1, 0.5, 0.1])
def test_a_torn_log_line_is_forgotten(case: Case, bytes_left: float) -> None:
    case.sync()
    whole = case.folder.server.read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    case.folder.server.write_bytes(whole[: last + int((len(whole) - last - 1) * bytes_left)])
    assert case.sync().standing + case.sync().standing == 2 * N
    case.require_each_once()


def test_without_the_log_the_server_is_compared(case: Case) -> None:
    case.sync()
    before = {n: dict(task["predictions"]) for n, task in case.server.tasks.items()}
    case.folder.server.unlink()
    result = case.sync()
    assert (result.changed, result.standing) == (0, N), "nothing was sent"
    assert {n: dict(task["predictions"]) for n, task in case.server.tasks.items()} == before, "nothing differed"
    assert case.sync().standing == N


@pytest.mark.parametrize(("arrived", "answer_lost"), [(True, 1), (False, 1), (False, 2), (True, 3)])
def test_an_import_whose_end_nobody_knows(case: Case, arrived: bool, answer_lost: int) -> None:
    def cut(name: str, before: bool) -> None:
        if name == "import_tasks" and before is not arrived and case.server.calls.count("import_tasks") <= answer_lost:
            raise UnsureError("the connection broke")

    case.server.hook = cut
    assert case.sync().sent == N
    case.require_each_once()


def test_an_import_that_never_ends_is_an_error_that_can_be_repeated(case: Case) -> None:
    def cut(name: str, before: bool) -> None:
        if name == "import_tasks" and before:
            raise UnsureError("the connection broke")

    case.server.hook = cut
    with pytest.raises(UnsureError):
        case.sync()
    case.server.hook = lambda name, before: None
    assert case.sync().sent == N
    case.require_each_once()


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_after_an_unsure_import_only_what_did_not_arrive_is_sent_again(case: Case, lost: int) -> None:
    imported: list[int] = []

    def cut(name: str, before: bool) -> None:
        if name != "import_tasks":
            return
        if before:
            imported.append(len(case.server.tasks))
        elif len(imported) == 1:
            for _ in range(lost):
                case.server.tasks.popitem()
            raise UnsureError("the connection broke")

    case.server.hook = cut
    assert case.sync() == SyncResult(case.project, URL, sent=N, changed=0, standing=0, left_answered=0, doubles=0)
    assert imported == [0, *([3 - lost] if lost else []), 3, 4], "no task goes out twice"
    case.require_each_once()


@pytest.mark.parametrize("given", [0, 2, 4])
def test_an_import_that_gives_too_few_or_too_many_numbers_is_unsure(
    case: Case, given: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = case.server.import_tasks
    monkeypatch.setattr(case.server, "import_tasks", lambda project, tasks: [*really(project, tasks), 999, 999][:given])
    assert (case.sync().sent, case.sync().standing) == (N, N)
    case.require_each_once()


def test_numbers_that_never_fit_are_an_unsure_error(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case.server, "import_tasks", lambda project, tasks: [])
    with pytest.raises(UnsureError, match="gave 0 numbers for 3 tasks"):
        case.sync()


def test_an_import_that_ends_too_late_is_found_out(case: Case) -> None:
    """The server is still at it when we look, so we send again; both arrive."""
    late: list[Any] = []
    really = case.server.import_tasks

    def slow(name: str, before: bool) -> None:
        if name == "import_tasks" and before and not late:
            late.append(case.server.calls)
            raise UnsureError("no answer in time")
        if name == "import_tasks" and not before and len(late) == 1:
            late.append("done")
            tasks = list(case.server.tasks.values())
            really(case.project, [{**task, "predictions": list(task["predictions"].values())} for task in tasks])

    case.server.hook = slow
    result = case.sync()
    assert (result.sent, result.doubles) == (N, 3)
    case.require_each_once()


def test_two_at_the_same_moment(case: Case, tmp_path: Path) -> None:
    """Another machine imports everything between our look and our import."""
    other = ReviewFolder(tmp_path / "elsewhere")
    other.path.mkdir()
    (other.path / "crops").symlink_to(case.folder.crops)
    begun: list[str] = []

    def race(name: str, before: bool) -> None:
        if name == "import_tasks" and before and not begun:
            begun.append(name)
            theirs = replace(case.to, folder=other)
            assert sync(theirs, case.files, SKELETON).sent == N

    case.server.hook = race
    result = case.sync()
    assert result.doubles == 3, "the first chunk; the others were looked for and found"
    case.require_each_once()
    assert sync(replace(case.to, folder=other), case.files, SKELETON).standing == N


def test_another_delivery_changes_the_addresses_alone(case: Case) -> None:
    case.sync()
    before = [list(task["predictions"]) for task in case.server.tasks.values()]
    to = replace(case.to, delivery=Delivery.URL_PREFIX, prefix="https://host/crops")
    assert sync(to, case.files, SKELETON).changed == N
    assert [list(task["predictions"]) for task in case.server.tasks.values()] == before
    images = {task["data"]["image"] for task in case.server.tasks.values()}
    assert images == {f"https://host/crops/{key}.jpg" for key in case.keys}
    assert sync(to, case.files, SKELETON).standing == N


def test_foreign_tasks_are_left_alone(case: Case) -> None:
    (foreign,) = case.server.import_tasks(case.project, [{"data": {"text": "mine"}}])
    case.sync()
    assert case.server.tasks.pop(foreign)["data"] == {"text": "mine"}
    case.require_each_once()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tasks: tasks[1]["data"].pop("header"), r"00001.json: \[1\]: data.header is missing"),
        (lambda tasks: tasks[0]["predictions"][0]["result"][0]["value"].update(x=101), r"x is 101"),
        (lambda tasks: tasks[0]["data"].pop("task_key"), r"\[0\]: has no data.task_key"),
        (lambda tasks: tasks.append(5), r"\[3\]: has no data.task_key"),
    ],
)
def test_an_unsound_task_stops_everything_before_anything_is_sent(case: Case, damage: Any, message: str) -> None:
    file = case.files[1]
    tasks = json.loads(file.read_text())
    damage(tasks)
    file.write_text(json.dumps(tasks))
    with pytest.raises(FormatError, match=message):
        case.sync()
    assert not case.server.tasks
    assert set(case.server.calls) <= {"task_list", "unlabelled"}


def test_a_file_that_is_no_list_is_named(case: Case) -> None:
    case.files[0].write_text("{}")
    with pytest.raises(FormatError, match=r"00000.json: is not a list of tasks"):
        case.sync()


def test_a_missing_crop_is_named(case: Case) -> None:
    (case.folder.crops / f"{case.keys[0]}.jpg").unlink()
    with pytest.raises(InputError, match=rf"{case.keys[0]}.jpg: is missing"):
        case.sync()


def test_tasks_that_vanish_on_the_way_are_an_error(case: Case) -> None:
    def lose(name: str, before: bool) -> None:
        if name == "import_tasks" and not before:
            case.server.tasks.popitem()

    case.server.hook = lose
    with pytest.raises(WorkError, match="lacks 3 of 7 tasks that it was sent"):
        case.sync()
    case.server.hook = lambda name, before: None
    assert case.sync().sent == 3
    case.require_each_once()


def test_chunks_are_limited_in_bytes(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "CHUNK_BYTES", 10)
    case.sync()
    assert case.server.calls.count("import_tasks") == N
    case.require_each_once()


def test_the_memory_server_is_a_server() -> None:
    server: Server = MemoryServer()
    assert server.version()
