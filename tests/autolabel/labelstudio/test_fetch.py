"""Fetching by the cursor: nothing twice, nothing lost, whatever stops it, no bad answer in the way of others."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from autolabel.errors import FormatError, WorkError
from autolabel.labelstudio.exports import standing
from autolabel.labelstudio.fetch import PAGE, Fetched, fetch, read_cursor, why_unstorable
from autolabel.labelstudio.journal import Journal
from autolabel.labelstudio.server import Person, RemoteTask, Server

KEYS = [f"t{i}" for i in range(3 * PAGE)]
HOUR = "2026-11-22T20"


def moment(second: float) -> str:
    return f"{HOUR}:{int(second) // 60:02}:{second % 60:09.6f}Z"


@dataclass
class Fake:
    """Tasks in memory; ``breaks_after`` of them the connection is cut."""

    tasks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    breaks_after: int | None = None
    asked: list[str] = field(default_factory=list[str])
    read_again: list[int] = field(default_factory=list[int])
    url: str = "http://fake"

    def users(self) -> list[Person]:
        return [Person(7, "ann@example.com"), Person(8, "")]

    def changed_since(self, project: int, cursor: str, *, page: int = 100) -> Iterator[dict[str, Any]]:
        assert project == 5
        self.asked.append(cursor)
        found = [task for task in self.tasks if task["updated_at"] >= cursor]
        for i, task in enumerate(sorted(found, key=lambda task: task["updated_at"])):
            if i == self.breaks_after:
                raise WorkError("the connection was cut")
            yield json.loads(json.dumps(task))

    def task_list(self, project: int) -> Iterator[RemoteTask]:
        for task in self.tasks:
            data, there = task["data"], task["annotations"]
            key = data.get("task_key") if isinstance(data, dict) else None
            count = task.get("counted", len(there) if isinstance(there, list) else 0)
            made = task.get("created_at", "")
            yield RemoteTask(task["id"], key if isinstance(key, str) else "", {}, task["updated_at"], count, made)

    def answers_of(self, project: int, tasks: Sequence[int]) -> Iterator[dict[str, Any]]:
        self.read_again += tasks
        yield from (json.loads(json.dumps(task)) for task in self.tasks if task["id"] in tasks)

    def answer(self, i: int, second: float, **changes: Any) -> dict[str, Any]:
        """Answer task i once more."""
        annotation = {
            "id": 1000 + len(self.tasks) + int(second),
            "result": [],
            "completed_by": 7,
            "was_cancelled": False,
            "lead_time": 2.5,
            "created_at": moment(second),
            "updated_at": moment(second),
            **changes,
        }
        self.tasks[i]["annotations"].append(annotation)
        self.tasks[i]["updated_at"] = moment(second + 0.25)
        return annotation


def imported(count: int) -> Fake:
    def task(i: int) -> dict[str, Any]:
        when = moment(i / 1000)
        return {"id": i, "data": {"task_key": KEYS[i]}, "created_at": when, "updated_at": when, "annotations": []}

    return Fake([task(i) for i in range(count)])


@dataclass
class Desk:
    folder: Path
    server: Fake

    def fetch(self, **options: Any) -> Fetched:
        return fetch(cast("Server", self.server), 5, self.journal, KEYS, **options)

    @property
    def journal(self) -> Journal:
        return Journal.read(self.folder / "journal.jsonl")

    @property
    def cursor(self) -> str:
        return read_cursor(self.folder / "cursor.json", self.server.url, 5)

    def standing(self) -> dict[str, list[str]]:
        return {task: [a.annotation for a in answers] for task, answers in standing(self.journal.entries).items()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, imported(3))


def test_only_what_changed_is_asked_for(desk: Desk) -> None:
    desk.server.answer(1, 600)
    first = desk.fetch()
    (annotation,) = first.new
    assert (annotation.task, annotation.by, annotation.seconds) == ("t1", "ann@example.com", 2.5)
    assert (annotation.created, annotation.origin) == (moment(600), moment(0.001))
    assert (first.tasks, desk.cursor) == (3, moment(600.25))
    desk.server.answer(2, 900)
    second = desk.fetch()
    assert desk.server.asked == ["", "2026-11-22T20:09:00.250000Z"], "a minute before the cursor"
    assert [a.task for a in second.new] == ["t2"]
    assert desk.fetch().new == ()


def test_full_asks_for_everything_and_takes_nothing_twice(desk: Desk) -> None:
    desk.server.answer(1, 600)
    desk.fetch()
    result = desk.fetch(full=True)
    assert (desk.server.asked[-1], result.tasks, result.new) == ("", 3, ())


def test_an_edited_answer_is_a_new_version(desk: Desk) -> None:
    annotation = desk.server.answer(1, 600)
    desk.fetch()
    annotation |= {"updated_at": moment(700), "result": [{"id": "x"}]}
    desk.server.tasks[1]["updated_at"] = moment(700.25)
    assert len(desk.fetch().new) == 1
    assert standing(desk.journal.entries)["t1"][0].result == ({"id": "x"},)


def test_a_deleted_answer_stands_no_more(desk: Desk) -> None:
    desk.server.answer(1, 600)
    desk.server.answer(2, 610)
    desk.fetch()
    desk.server.tasks[1] |= {"annotations": [], "updated_at": moment(700)}
    result = desk.fetch()
    assert [a.task for a in result.deleted] == ["t1"]
    assert list(desk.standing()) == ["t2"]
    assert desk.fetch(full=True).deleted == ()


def test_a_deletion_that_moved_no_time_is_seen(desk: Desk) -> None:
    desk.server.answer(1, 300)
    desk.server.answer(2, 900)
    desk.fetch()
    desk.server.tasks[1]["annotations"] = []
    assert len(desk.fetch().deleted) == 1
    assert desk.server.read_again == [1, 0], "and nothing else is read again but what has no answer"


def uncounted(server: Fake, i: int) -> None:
    """Answer task i on a server that dies before it counts the answer and moves the task's time."""
    before = server.tasks[i]["updated_at"]
    server.answer(i, 400)
    server.tasks[i] |= {"updated_at": before, "counted": 0}


def test_an_answer_that_the_server_never_counted_is_found_among_the_last_tasks(desk: Desk) -> None:
    desk.server.answer(0, 600)
    desk.server.answer(2, 610)
    desk.fetch()
    uncounted(desk.server, 1)
    assert [a.task for a in desk.fetch().new] == ["t1"]
    assert desk.server.read_again == [1]


@pytest.mark.parametrize(("open_tasks", "read"), [(PAGE, True), (PAGE + 1, False)])
def test_many_open_tasks_are_not_read_every_time(tmp_path: Path, open_tasks: int, read: bool) -> None:
    desk = Desk(tmp_path, imported(open_tasks + 1))
    desk.server.answer(0, 600)
    desk.fetch()
    desk.fetch()
    assert len(desk.server.read_again) == (open_tasks if read else 0)


def test_nothing_is_lost_when_the_server_s_clock_steps_back(desk: Desk) -> None:
    early = desk.server.answer(0, 300)
    late = desk.server.answer(1, 900)
    desk.fetch()
    desk.server.answer(2, 400)  # an hour later, by a clock that was set back
    assert [a.task for a in desk.fetch().new] == ["t2"]
    for i, (annotation, second) in enumerate(((early, 410), (late, 420))):
        annotation |= {"updated_at": moment(second), "result": [{"id": "edited"}]}
        desk.server.tasks[i]["updated_at"] = moment(second + 0.25)
    assert [a.task for a in desk.fetch().new] == ["t0", "t1"]
    answers = standing(desk.journal.entries)
    assert [answers[f"t{i}"][0].result for i in range(2)] == [({"id": "edited"},)] * 2
    desk.server.read_again.clear()
    assert (desk.fetch().new, desk.server.read_again) == ((), [])


def test_another_server_with_the_same_number_is_read_from_the_start(desk: Desk) -> None:
    desk.server.answer(1, 900)
    desk.fetch()
    other = Desk(desk.folder, imported(3))
    other.server.url = "http://other"
    for task in other.server.tasks:
        task["created_at"] = moment(50)
    other.server.answer(2, 300)
    assert [a.task for a in other.fetch().new] == ["t2"]
    assert other.server.asked == [""]
    assert set(other.standing()) == {"t1", "t2"}


@pytest.mark.parametrize("annotations", [None, 5, {}, "missing", [None], [{"id": None}], [{"id": True}]])
def test_what_cannot_be_made_out_is_not_taken_for_deleted(desk: Desk, annotations: Any) -> None:
    desk.server.answer(1, 300)
    desk.fetch()
    task = desk.server.tasks[1]
    task |= {"annotations": annotations, "updated_at": moment(500)}
    if annotations == "missing":
        task["annotations"] = None
    assert desk.fetch().deleted == desk.fetch(full=True).deleted == ()
    assert list(desk.standing()) == ["t1"]


def test_a_bad_second_reading_voids_no_answer(desk: Desk) -> None:
    annotation = desk.server.answer(1, 300)
    desk.fetch()
    for broken in ({"lead_time": "long"}, {"was_cancelled": 3}, {"created_at": "once"}, {"updated_at": "soon"}):
        whole = dict(annotation)
        annotation |= broken
        desk.fetch(full=True)
        (first, *others) = standing(desk.journal.entries)["t1"]
        assert (first.by, first.fault) == ("ann@example.com", "")
        assert all(other.fault for other in others)
        annotation |= whole
    desk.fetch(full=True)
    assert [entry.fault for entry in standing(desk.journal.entries)["t1"]] == [""]


def test_who_answered_is_not_forgotten_with_the_account(desk: Desk) -> None:
    annotation = desk.server.answer(1, 300)
    desk.server.answer(2, 310, completed_by=None)
    desk.fetch()
    annotation |= {"completed_by": None}
    assert desk.fetch(full=True).new == ()
    annotation |= {"updated_at": moment(400), "result": [{"id": "x"}]}
    (edited,) = desk.fetch(full=True).new
    assert (edited.by, edited.fault) == ("ann@example.com", "")
    assert standing(desk.journal.entries)["t2"][0].by == "annotator-unknown"


def test_an_answer_is_signed_by_who_reworked_it(desk: Desk) -> None:
    annotation = desk.server.answer(1, 300, updated_by=7)
    desk.fetch()
    annotation |= {"updated_at": moment(400), "updated_by": 8, "result": [{"id": "x"}]}
    desk.server.tasks[1]["updated_at"] = moment(400.25)
    (edited,) = desk.fetch().new
    assert (edited.by, edited.first) == ("annotator-8", "ann@example.com")
    assert [entry.first for entry in desk.journal.entries] == ["", "ann@example.com"]


def test_a_task_that_is_gone_takes_no_answer_with_it(desk: Desk) -> None:
    desk.server.answer(1, 600)
    desk.fetch()
    del desk.server.tasks[1]
    assert desk.fetch(full=True).deleted == ()
    assert list(desk.standing()) == ["t1"]


def test_two_copies_of_a_task_do_not_delete_each_others_answers(desk: Desk) -> None:
    desk.server.tasks.append({**desk.server.tasks[1], "id": 99, "created_at": moment(5), "annotations": []})
    desk.server.answer(1, 600)
    desk.server.answer(3, 650)
    assert (len(desk.fetch().new), len(desk.fetch(full=True).deleted)) == (2, 0)
    assert len(desk.standing()["t1"]) == 2


def test_tasks_of_others_are_left_alone(desk: Desk) -> None:
    when = moment(3)
    desk.server.tasks += [
        {"id": 50 + i, "data": data, "updated_at": when, "annotations": [{"id": 1}]}
        for i, data in enumerate(({"task_key": "strange"}, {"task_key": 5}, {}, 5, None))
    ]
    result = desk.fetch()
    assert (result.tasks, result.unknown, result.new) == (8, 5, ())


@pytest.mark.parametrize("cut", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 7])
def test_whatever_cuts_it_off_the_next_one_goes_on(tmp_path: Path, cut: int) -> None:
    desk = Desk(tmp_path, imported(3 * PAGE))
    for i in range(0, 3 * PAGE, 7):
        desk.server.answer(i, 60 + 3 * i)
    desk.server.breaks_after = cut
    with pytest.raises(WorkError):
        desk.fetch()
    whole_pages = cut // PAGE
    assert bool(desk.cursor) == bool(whole_pages)
    desk.server.breaks_after = None
    desk.fetch()
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines)) == len(desk.standing()) == len(range(0, 3 * PAGE, 7))


def test_a_kill_between_journal_and_cursor_loses_and_doubles_nothing(desk: Desk) -> None:
    desk.server.answer(1, 600)
    desk.fetch()
    (desk.folder / "cursor.json").unlink()
    assert desk.fetch().new == ()
    assert len(desk.journal.entries) == 1


def test_the_cursor_of_another_project_is_none(desk: Desk) -> None:
    (desk.folder / "cursor.json").write_text(json.dumps({"project": 4, "updated_at": moment(900)}) + "\n")
    desk.server.answer(1, 600)
    assert len(desk.fetch().new) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"project": 5}', '{"project": 5, "updated_at": "soon"}'])
def test_a_damaged_cursor_is_refused(desk: Desk, text: str) -> None:
    (desk.folder / "cursor.json").write_text(text)
    with pytest.raises(FormatError, match=r"cursor\.json"):
        desk.fetch()


DEEP: Any = []
for _ in range(60):
    DEEP = [DEEP]

BAD: dict[str, dict[str, Any]] = {
    "no list": {"result": {"a": 1}},
    "nothing": {"result": None},
    "NaN": {"result": [{"value": {"x": float("nan")}}]},
    "infinity": {"result": [{"value": {"x": float("inf")}}]},
    "half a surrogate": {"result": [{"id": "\ud800"}]},
    "nested junk": {"result": DEEP},
    "no person": {"completed_by": [7]},
    "no time": {"updated_at": "yesterday"},
    "skip that is no truth value": {"was_cancelled": "no"},
    "seconds that are none": {"lead_time": "long"},
}


@pytest.mark.parametrize("name", BAD)
def test_an_annotation_that_cannot_be_read_is_set_aside_with_its_fault(desk: Desk, name: str) -> None:
    desk.server.answer(0, 500)
    desk.server.answer(1, 510, **BAD[name])
    desk.server.answer(2, 520)
    desk.fetch()
    entries = desk.journal.entries
    assert [bool(entry.fault) for entry in entries] == [False, True, False]
    assert entries[1].result == ()
    assert desk.fetch(full=True).new == (), "told once"


@pytest.mark.parametrize("annotations", [None, 5, {}, [None, 5, "x", {}, {"id": None}]])
def test_what_is_no_annotation_is_passed_over(desk: Desk, annotations: Any) -> None:
    desk.server.tasks[1]["annotations"] = annotations
    desk.server.answer(2, 500)
    assert [a.task for a in desk.fetch().new] == ["t2"]


def test_a_task_without_a_time_does_not_stop_the_cursor(desk: Desk) -> None:
    desk.server.tasks[1]["updated_at"] = ""
    desk.server.tasks[2]["updated_at"] = "later"
    desk.fetch()
    assert desk.cursor == moment(0)


@pytest.mark.parametrize("value", [[], [{"a": [1, 2.5, None, True, "ü"]}], {"x": 1e300}])
def test_what_json_holds_is_storable(value: object) -> None:
    assert why_unstorable(value) == ""


@pytest.mark.parametrize("value", [10**5000, {1, 2}, [float("nan")], DEEP, {"\ud800": 1}], ids=range(5))
def test_what_json_does_not_hold_is_not(value: object) -> None:
    assert why_unstorable(value)
