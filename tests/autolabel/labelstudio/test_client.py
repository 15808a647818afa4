"""What the client asks of a server, and what it makes of the answers; the real one is in tests/live/test_client.py."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import InputError, WorkError
from autolabel.labelstudio.access import Access
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.server import Person, RemoteProject, RemoteTask, Server
from tests.labelstudio_double import LEGACY, Asked, Said, serving


def client(url: str) -> Client:
    return Client(Access(url, LEGACY), timeout=5, sleep=lambda _: None)


def test_the_client_is_what_the_protocol_says() -> None:
    for name, promised in inspect.getmembers(Server, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(Client, name)) == inspect.signature(promised), name
    for name in ("url", "token_kind"):
        assert isinstance(getattr(Client, name), property)


def record(number: int, at: int = 0, *, key: object = None, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "data": {"task_key": f"k{number}" if key is None else key},
        "updated_at": f"2026-01-01T00:00:{at:02d}.000000Z",
        "annotations": [],
        **more,
    }


class Tasks:
    """A server's list of tasks, which may change behind the back of who reads it page by page."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self.records = records
        self.meanwhile: list[Any] = []
        self.most = 10**6  # tasks a page, whatever is asked for

    def __call__(self, asked: Asked) -> Said:
        query = json.loads(asked.query["query"])
        [order] = query["ordering"]
        field = order.removeprefix("tasks:")
        tasks = sorted(self.records, key=lambda task: (task[field], task["id"]))
        for item in query.get("filters", {"items": []})["items"]:
            tasks = [task for task in tasks if self.passes(task, item)]
        page = [dict(task) for task in tasks[: min(self.most, int(asked.query["page_size"]))]]
        if self.meanwhile:
            self.meanwhile.pop(0)(self)
        return Said(200, {"tasks": page, "total": len(tasks)})

    @staticmethod
    def passes(task: dict[str, Any], item: dict[str, Any]) -> bool:
        column = item["filter"].removeprefix("filter:tasks:")
        assert item["type"] != "Datetime" or "." in item["value"], "the server fails at a time without a fraction"
        value = task["data"]["task_key"] if column == "data.task_key" else task[column]
        match item["operator"]:
            case "greater":
                return value > item["value"]
            case "greater_or_equal":
                return value >= item["value"]
            case "equal":
                return value == item["value"]
            case _:
                return value in item["value"]

    def touch(self, number: int, at: int) -> None:
        """A task changes, and so moves to the end of the order."""
        self.records = [
            {**task, "updated_at": record(0, at)["updated_at"]} if task["id"] == number else task
            for task in self.records
        ]


@pytest.mark.parametrize("page", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    "times",
    [
        [1, 2, 3, 4, 5, 6, 7],  # all different
        [1, 1, 1, 1, 1, 1, 1],  # an import in one moment
        [1, 2, 2, 2, 2, 2, 3],  # more of one moment than a page holds
        [1, 1, 2, 2, 3, 3, 3],
    ],
)
def test_every_changed_task_comes_once(times: list[int], page: int) -> None:
    with serving(Tasks([record(i, at) for i, at in enumerate(times)])) as double:
        found = list(client(double.url).changed_since(7, "", page=page))
        assert [task["id"] for task in found] == list(range(7))
        cursor = record(0, times[3])["updated_at"]
        later = list(client(double.url).changed_since(7, cursor, page=page))
        assert [task["id"] for task in later] == [i for i, at in enumerate(times) if at >= times[3]]


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_a_server_that_gives_fewer_than_asked_for_is_read_to_the_end(most: int) -> None:
    tasks = Tasks([record(i, at) for i, at in enumerate([1, 1, 2, 2, 2, 2, 3], start=1)])
    tasks.most = most
    with serving(tasks) as double:
        it = client(double.url)
        assert [task["id"] for task in it.changed_since(7, "")] == list(range(1, 8))
        assert [task["id"] for task in it.changed_since(7, record(0, 2)["updated_at"])] == list(range(3, 8))
        assert list(it.changed_since(7, "2026-01-01T00:00:09Z")) == []
        assert [task.id for task in it.task_list(7)] == list(range(1, 8))
        assert set(it.find(7, [f"k{i}" for i in range(1, 8)])) == {f"k{i}" for i in range(1, 8)}
        assert [task["id"] for task in it.answers_of(7, range(2, 7))] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_change_between_two_pages_hides_no_task(page: int) -> None:
    tasks = Tasks([record(i, i + 1) for i in range(6)])
    tasks.meanwhile = [lambda tasks: tasks.touch(0, 30), lambda tasks: tasks.touch(1, 31)]
    with serving(tasks) as double:
        found = [task["id"] for task in client(double.url).changed_since(7, "", page=page)]
    assert set(found) == set(range(6))
    assert found[-2:] == [0, 1]


def test_answers_are_asked_for_with_their_results() -> None:
    # The server leaves out without a word what is not named, inside the annotations too.
    with serving(Tasks([])) as double:
        assert list(client(double.url).changed_since(7, "")) == []
    [asked] = double.asked
    assert asked.query["fields"] == "all"
    assert {"id", "data", "annotations", "result", "was_cancelled", "completed_by", "updated_by"} <= set(
        asked.query["include"].split(",")
    )
    assert "predictions" not in asked.query["include"]


def test_a_list_goes_on_where_a_task_vanished() -> None:
    def vanish(tasks: Tasks) -> None:
        tasks.records = tasks.records[1:]

    tasks = Tasks([record(i) for i in range(1, 1501)])
    tasks.meanwhile = [vanish]
    with serving(tasks) as double:
        found = list(client(double.url).task_list(7))
        assert [task.id for task in found] == list(range(1, 1501))
        assert [task.id for task in client(double.url).task_list(7, after=1498)] == [1499, 1500]
    assert len(double.asked) == 3


@pytest.mark.parametrize("key", [5, None, ["k"], ""])
def test_a_task_of_others_has_no_key(key: object) -> None:
    task = {**record(3), "data": {} if key is None else {"task_key": key}}
    with serving(Tasks([task])) as double:
        [found] = client(double.url).task_list(7)
    assert found == RemoteTask(3, "", task["data"], task["updated_at"], 0)


def test_keys_are_found_in_addresses_that_any_web_server_takes() -> None:
    keys = [f"{i:024x}" for i in range(250)]
    with serving(Tasks([record(i, key=keys[i]) for i in range(200)])) as double:
        found = client(double.url).find(7, keys)
    assert {key: task.id for key, task in found.items()} == {keys[i]: i for i in range(200)}
    assert len(double.asked) == 3


def test_many_keys_are_found_in_the_list_of_all() -> None:
    keys = [f"{i:024x}" for i in range(1200)]
    with serving(Tasks([record(i, key=f"{i:024x}") for i in range(1, 1400)])) as double:
        found = client(double.url).find(7, keys)
    assert {key: task.id for key, task in found.items()} == {keys[i]: i for i in range(1, 1200)}
    assert len(double.asked) == 2


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        ([0, 0, 0], 1),
        ([0, 1, 0], 2),
        ([2, 1, 0], 1),
        ([0, 0, 1], 3),
    ],
)
def test_of_doubles_the_answered_one_is_found(counts: list[int], kept: int) -> None:
    records = [record(i, key="k", total_annotations=n) for i, n in enumerate(counts, start=1)]
    with serving(Tasks(records)) as double:
        assert client(double.url).find(7, ["k"])["k"].id == kept


def test_a_skipped_task_counts_as_answered() -> None:
    with serving(Tasks([record(1, total_annotations=0, cancelled_annotations=1)])) as double:
        assert client(double.url).find(7, ["k1"])["k1"].annotations == 1


def test_tasks_are_sent_to_the_last_digit() -> None:
    tasks = [{"data": {"task_key": "ключ", "x": 1 / 3}, "meta": {"kept": [1e-17]}, "unknown": None}]
    with serving(Said(201, {"task_ids": [9]})) as double:
        assert client(double.url).import_tasks(7, tasks) == [9]
    [asked] = double.asked
    assert asked.json == tasks
    assert asked.query == {"return_task_ids": "true"}


class Uploads:
    """A server's files."""

    def __init__(self) -> None:
        self.places: dict[int, str] = {}
        self.requests: list[tuple[int, int]] = []
        self.listed: list[int] = []

    def __call__(self, asked: Asked) -> Said:
        if asked.method == "GET":
            wanted = json.loads(asked.query["ids"]) if "ids" in asked.query else list(self.places)
            self.listed.append(len(wanted))
            # The library's own list, not in the order of upload.
            return Said(200, [{"id": i, "file": self.places[i]} for i in reversed(self.places) if i in wanted])
        names = [part.split(b'"')[0].decode() for part in asked.body.split(b'filename="')[1:]]
        self.requests.append((len(names), len(asked.body)))
        new = range(len(self.places), len(self.places) + len(names))
        self.places |= {i: f"upload/7/{i:08x}-{name}" for i, name in zip(new, names, strict=True)}
        return Said(201, {"file_upload_ids": list(new)})


def test_uploads_go_in_batches(tmp_path: Path) -> None:
    files = [tmp_path / f"crop{i}.jpg" for i in range(230)]
    for file in files:
        file.write_bytes(b"x")
    uploads, told = Uploads(), list[int]()
    with serving(uploads) as double:
        places = client(double.url).upload(7, files, told=told.append)
        assert uploads.listed == [100, 100, 30], "the list of all grows with every batch"
        assert told == [100, 100, 30]
        assert client(double.url).uploads(7) == places
    assert [n for n, _ in uploads.requests] == [100, 100, 30]
    assert places["crop201.jpg"] == f"/data/upload/7/{201:08x}-crop201.jpg"
    assert list(places) == [file.name for file in files]


def test_what_was_uploaded_before_it_was_cut_off_is_there(tmp_path: Path) -> None:
    files = [tmp_path / f"crop{i}.jpg" for i in range(230)]
    for file in files:
        file.write_bytes(b"x")
    uploads, refuses = Uploads(), [True, False]
    with serving(lambda asked: Said(413) if asked.method == "POST" and refuses.pop() else uploads(asked)) as double:
        with pytest.raises(WorkError):
            client(double.url).upload(7, files)
        assert list(client(double.url).uploads(7)) == [file.name for file in files[:100]]


def test_large_uploads_are_split(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.png" for i in range(5)]
    for file in files:
        file.write_bytes(b"x" * 9_000_000)
    uploads = Uploads()
    with serving(uploads) as double:
        client(double.url).upload(7, files)
    assert [n for n, _ in uploads.requests] == [2, 2, 1]


def test_of_one_name_the_later_upload_counts(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with serving(Uploads()) as double:
        it = client(double.url)
        it.upload(7, [tmp_path / "a.jpg"])
        second = it.upload(7, [tmp_path / "a.jpg"])
        assert it.uploads(7) == second == {"a.jpg": f"/data/upload/7/{1:08x}-a.jpg"}


def test_what_cannot_be_uploaded_is_said(tmp_path: Path) -> None:
    with serving(Uploads()) as double:
        it = client(double.url)
        with pytest.raises(InputError, match=r"gone\.jpg: cannot be read"):
            it.upload(7, [tmp_path / "gone.jpg"])
        with pytest.raises(InputError, match="two files to upload have the same name"):
            it.upload(7, [tmp_path / "a" / "x.jpg", tmp_path / "b" / "x.jpg"])
        assert it.upload(7, []) == {}
    assert not double.asked


def test_a_place_in_a_bucket_is_not_fetched() -> None:
    with serving(Said()) as double, pytest.raises(InputError, match=r"s3://b/x\.jpg: is served by the storage"):
        client(double.url).served("s3://b/x.jpg")


def test_a_tab_is_made_once_and_then_changed() -> None:
    views: list[dict[str, Any]] = [{"id": 1, "data": {"title": "Default"}}, {"id": 2, "data": None}]

    def answer(asked: Asked) -> Said:
        if asked.method == "GET":
            return Said(200, views)
        if asked.method == "POST":
            views.append({"id": 3, **asked.json})
            return Said(201, views[-1])
        assert asked.path == "/api/dm/views/3/"
        views[-1].update(asked.json)
        return Said(200, views[-1])

    with serving(answer) as double:
        it = client(double.url)
        assert it.save_view(7, "Review queue", {"ordering": ["-tasks:data.priority"]}) == 3
        assert it.save_view(7, "Review queue", {"ordering": ["tasks:id"]}) == 3
        assert it.views(7) == {"Default": 1, "Review queue": 3}
    assert views[-1]["data"] == {"ordering": ["tasks:id"], "title": "Review queue"}


def test_a_project_is_read_whole() -> None:
    answer = {
        "id": 7,
        "title": "mice",
        "label_config": "<View/>",
        "model_version": "autolabel",
        "sampling": "Sequential sampling",
        "task_number": 12,
        "maximum_annotations": 3,
        "show_collab_predictions": False,
    }
    with serving(Said(200, answer)) as double:
        found = client(double.url).project(7)
    assert found == RemoteProject(7, "mice", "<View/>", "autolabel", "Sequential sampling", 12, 3, False)


def test_people_without_an_address_are_people() -> None:
    with serving(Said(200, [{"id": 1, "email": "a@b.c"}, {"id": 2}])) as double:
        assert client(double.url).users() == [Person(1, "a@b.c"), Person(2, "")]


def test_many_tasks_are_deleted_in_parts() -> None:
    with serving(Said(200, {"processed_items": 1})) as double:
        client(double.url).delete_tasks(7, list(range(1200)))
    sent = [asked.json["selectedItems"] for asked in double.asked]
    assert [len(items["included"]) for items in sent] == [500, 500, 200]
    assert all(items["all"] is False for items in sent)
    assert all(asked.query == {"id": "delete_tasks", "project": "7"} for asked in double.asked)
