"""Our client with a real Label Studio, once with each kind of token."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import InputError, WorkError
from autolabel.labelstudio.access import Access
from autolabel.labelstudio.client import Client
from tests.live.labelstudio_client import Server
from tests.live.personal_token import Newcomer, newcomer

pytestmark = [pytest.mark.live, pytest.mark.slow]

FORM = """<View>
  <Header value="$header"/>
  <Image name="image" value="$image"/>
  <KeyPointLabels name="points" toName="image"><Label value="nose"/></KeyPointLabels>
</View>"""
MISSING = 10**8


@pytest.fixture(scope="module")
def person(server: Server) -> Newcomer:
    return newcomer(server)


@pytest.fixture(scope="module")
def personal(person: Newcomer) -> str:
    return person.new_token()


@pytest.fixture(params=["legacy", "personal"])
def client(request: pytest.FixtureRequest, server: Server) -> Client:
    token = server.token if request.param == "legacy" else request.getfixturevalue("personal")
    client = Client(Access(server.url, token), sleep=lambda _: None)
    assert client.token_kind == request.param
    return client


@pytest.fixture
def project(client: Client) -> Iterator[int]:
    number = client.create_project("client test")
    yield number
    client.delete_project(number)


def crops(folder: Path, count: int) -> list[Path]:
    rng = np.random.default_rng(5)
    files = [folder / f"{i:024x}.jpg" for i in range(count)]
    for file in files:
        Image.fromarray(rng.integers(0, 255, (24, 16, 3), dtype=np.uint8)).save(file)
    return files


def region(x: float) -> dict[str, Any]:
    size = {"original_width": 16, "original_height": 24, "image_rotation": 0}
    value = {"x": x, "y": 100 / 3, "width": 1.2, "keypointlabels": ["nose"]}
    return {"id": "r", "type": "keypointlabels", "from_name": "points", "to_name": "image", **size, "value": value}


def task(key: str, image: str = "/data/upload/1/none.jpg") -> dict[str, Any]:
    data = {"task_key": key, "image": image, "header": "Handgelenk über 手首?", "priority": 1 / 3}
    prediction = {"model_version": "autolabel", "result": [region(200 / 3)]}
    return {"data": data, "meta": {"ours": [1e-17]}, "predictions": [prediction]}


def test_it_knows_the_server_and_whose_token_it_is(client: Client, server: Server, person: Newcomer) -> None:
    me = client.who()
    assert (me.email == person.email) == (client.token_kind == "personal")
    assert me in client.users()
    assert client.version().split(".")[0] == "1"
    assert client.url == server.url


def test_uploads_are_served_byte_for_byte(client: Client, project: int, tmp_path: Path) -> None:
    files = crops(tmp_path, 103)  # more than one request may carry
    places = client.upload(project, files)
    assert client.uploads(project) == places
    for file in (files[0], files[99], files[100], files[102]):
        assert client.served(places[file.name]) == file.read_bytes()
    assert client.project(project).tasks == 0


def test_a_form_is_set_after_the_upload_and_read_back(client: Client, project: int) -> None:
    client.update_project(project, label_config=FORM, maximum_annotations=3, show_collab_predictions=False)
    found = client.project(project)
    assert (found.form, found.annotators, found.shows_predictions) == (FORM, 3, False)
    assert (found.title, found.sampling, found.tasks) == ("client test", "Sequential sampling", 0)


def test_the_version_to_show_is_set_once_there_are_predictions(client: Client, project: int) -> None:
    with pytest.raises(WorkError, match="Model version doesn't exist"):
        client.update_project(project, model_version="autolabel")
    client.import_tasks(project, [task("a")])
    client.update_project(project, model_version="autolabel")
    assert client.project(project).model_version == "autolabel"


def test_tasks_go_in_and_are_found_by_our_keys(client: Client, project: int) -> None:
    client.update_project(project, label_config=FORM)
    sent = [task(f"{i:024x}") for i in range(150)]
    numbers = client.import_tasks(project, sent)
    listed = list(client.task_list(project))
    assert [found.id for found in listed] == numbers
    assert [found.data for found in listed] == [one["data"] for one in sent]
    assert all(found.annotations == 0 for found in listed)
    found = client.find(project, [one["data"]["task_key"] for one in sent[::2]] + ["none"])
    assert {key: there.id for key, there in found.items()} == {
        one["data"]["task_key"]: number for one, number in zip(sent[::2], numbers[::2], strict=True)
    }
    client.delete_tasks(project, numbers[:-1])
    client.delete_tasks(project, numbers[:-1])
    assert [left.id for left in client.task_list(project)] == numbers[-1:]


def test_of_doubles_the_answered_one_is_found(client: Client, project: int) -> None:
    numbers = client.import_tasks(project, [task("a"), task("a"), task("a")])
    assert client.find(project, ["a"])["a"].id == numbers[0]
    client.annotate(numbers[1], [], was_cancelled=True)
    assert client.find(project, ["a"])["a"].id == numbers[1]


def test_data_and_predictions_are_exchanged(client: Client, project: int) -> None:
    [number] = client.import_tasks(project, [task("a")])
    [old] = client.predictions(number)
    assert (old.version, old.result) == ("autolabel", [region(200 / 3)])
    new = client.add_prediction(number, [region(0.1)], "autolabel")
    assert [there.id for there in client.predictions(number)] == [old.id, new]
    client.delete_prediction(old.id)
    client.delete_prediction(old.id)
    client.update_task(number, {**task("a")["data"], "priority": 0.25})
    [left] = client.predictions(number)
    assert left.result == [region(0.1)]
    [there] = client.task_list(project)
    assert there.data["priority"] == 0.25


def test_every_change_moves_a_task_to_the_end(client: Client, project: int) -> None:
    a, b, c, d = client.import_tasks(project, [task(key) for key in "abcd"])
    cursor = max(found.updated_at for found in client.task_list(project))
    me = client.who().id

    def changed() -> list[dict[str, Any]]:
        return list(client.changed_since(project, cursor, page=2))

    assert a not in [found["id"] for found in changed()]
    answer = client.annotate(b, [region(1 / 3)], lead_time=2.5)
    client.annotate(c, [region(0.5)], was_cancelled=True)
    gone = client.annotate(a, [])
    client.delete_annotation(gone)
    client.delete_annotation(gone)
    latest = {found["id"]: found for found in changed()}
    assert [found for found in latest if found != d] == [b, c, a]
    [kept] = latest[b]["annotations"]
    assert (kept["id"], kept["completed_by"], kept["lead_time"]) == (answer, me, 2.5)
    assert kept["result"][0]["value"] == region(1 / 3)["value"]
    [skipped] = latest[c]["annotations"]
    assert skipped["was_cancelled"] is True
    assert latest[a]["annotations"] == []
    assert latest[b]["data"] == task("b")["data"]

    client.update_annotation(answer, result=[region(0.7)])
    last = changed()[-1]
    assert (last["id"], last["annotations"][0]["result"][0]["value"]["x"]) == (b, 0.7)


def test_tasks_of_one_time_come_once_each(client: Client, project: int, server: Server) -> None:
    numbers = client.import_tasks(project, [task(f"{i}") for i in range(9)])
    [database] = server.data.rglob("label_studio.sqlite3")
    with closing(sqlite3.connect(database, timeout=30)) as base, base:
        base.execute("UPDATE task SET updated_at = ? WHERE project_id = ?", ("2026-01-02 03:04:05.678901", project))
    for page in (2, 3, 9, 100):
        found = [one["id"] for one in client.changed_since(project, "", page=page)]
        assert found == numbers
    assert [one["id"] for one in client.answers_of(project, numbers[2:5])] == numbers[2:5]
    assert [one["id"] for one in client.changed_since(project, "2026-01-02T03:04:05.678902Z")] == []
    with closing(sqlite3.connect(database, timeout=30)) as base, base:
        base.execute("UPDATE task SET updated_at = ? WHERE project_id = ?", ("2026-01-02 03:04:05", project))
    for cursor in ("", "2026-01-02T03:04:05Z"):  # as the server writes it, which fails where it is asked so
        assert [one["id"] for one in client.changed_since(project, cursor, page=2)] == numbers


def test_the_tab_shows_our_order(client: Client, project: int) -> None:
    first = client.save_view(project, "Review queue", {"ordering": ["tasks:id"]})
    order = {"ordering": ["-tasks:data.priority"], "filters": {"conjunction": "and", "items": []}}
    assert client.save_view(project, "Review queue", order) == first
    assert client.views(project)["Review queue"] == first


def test_who_is_at_work_on_a_task(client: Client, project: int, server: Server) -> None:
    free, answered, skipped, begun, other = client.import_tasks(project, [task(key) for key in "abcde"])
    client.annotate(answered, [])
    client.annotate(skipped, [], was_cancelled=True)
    server.json("POST", f"/api/tasks/{begun}/drafts", {"result": [], "lead_time": 1.0})
    found = client.untouched(project, [free, answered, skipped, begun, MISSING])
    assert {number: found[number].key for number in found} == {free: "a"}
    assert set(client.untouched(project, [other, free])) == {free, other}
    assert client.untouched(project, []) == {}
    elsewhere = client.create_project("client elsewhere")
    assert client.untouched(elsewhere, [free]) == {}
    client.delete_project(elsewhere)


def test_tasks_without_our_predictions(client: Client, project: int) -> None:
    """The server's own count still says 1 of a task whose prediction is gone."""
    ours, lost, others, none = client.import_tasks(project, [task(key) for key in "abcd"])
    for number in (ours, lost, others, none):
        for prediction in client.predictions(number):
            client.delete_prediction(prediction.id)
    client.add_prediction(ours, [region(0.1)], "autolabel")
    client.add_prediction(ours, [region(0.1)], "other")
    client.add_prediction(others, [region(0.1)], "other")
    assert client.unlabelled(project, "autolabel") == {lost, others, none}


def test_projects_that_nobody_uses(client: Client) -> None:
    title = "client left over"
    empty, used, form, named = (client.create_project(name) for name in (title, title, title, f"{title} too"))
    client.import_tasks(used, [{"data": {"text": "x"}}])
    client.update_project(form, label_config='<View><Text name="t" value="$text"/></View>')
    assert client.empty_projects(title) == [empty]
    for number in (empty, used, form, named):
        client.delete_project(number)


def test_a_folder_is_shared_and_taken_back(client: Client, project: int, server: Server) -> None:
    folder = server.files / f"shared {project}"
    folder.mkdir(parents=True)
    [file] = crops(folder, 1)
    place = f"/data/local-files/?d=shared%20{project}/{file.name}"
    connection = client.share(project, folder)
    assert connection is not None
    assert client.shared_folders(project) == [folder]
    assert client.served(place) == file.read_bytes()
    client.unshare(connection)
    client.unshare(connection)
    assert client.shared_folders(project) == []
    with pytest.raises(InputError, match="is not there"):
        client.served(place)
    for refused in (Path("/"), server.files, folder / "none"):
        assert client.share(project, refused) is None


def test_files_of_the_server_s_machine_are_shown(client: Client, project: int, server: Server) -> None:
    folder = server.files / f"client {project}"
    folder.mkdir(parents=True)
    [file] = crops(folder, 1)
    place = f"/data/local-files/?d=client%20{project}/{file.name}"
    with pytest.raises(InputError, match="is not there"):
        client.served(place)
    client.local_storage(project, folder)
    client.local_storage(project, folder)
    assert client.served(place) == file.read_bytes()
    with pytest.raises(WorkError, match="LOCAL_FILES_DOCUMENT_ROOT"):
        client.local_storage(project, Path("/"))


@pytest.mark.parametrize(
    "work",
    [
        lambda it, n: it.project(n),
        lambda it, n: it.update_project(n, title="other"),
        lambda it, n: list(it.task_list(n)),
        lambda it, n: it.find(n, ["a"]),
        lambda it, n: it.import_tasks(n, [task("a")]),
        lambda it, n: it.delete_tasks(n, [1]),
        lambda it, n: it.uploads(n),
        lambda it, n: it.upload(n, [Path(__file__)]),
        lambda it, n: list(it.changed_since(n, "")),
        lambda it, n: it.views(n),
        lambda it, n: it.local_storage(n, Path("/")),
    ],
)
def test_a_project_that_is_gone_is_said(server: Server, work: Any) -> None:
    client = Client(Access(server.url, server.token))
    number = client.create_project("client gone")
    client.delete_project(number)
    client.delete_project(number)
    with pytest.raises(InputError, match=f"project {number} is not there: it was deleted"):
        work(client, number)


@pytest.mark.parametrize(
    "work",
    [
        lambda it: it.update_task(MISSING, {}),
        lambda it: it.annotate(MISSING, []),
        lambda it: it.update_annotation(MISSING, result=[]),
        lambda it: it.served("/data/local-files/?d=none.jpg"),
    ],
)
def test_what_is_gone_is_said(client: Client, work: Any) -> None:
    with pytest.raises(InputError, match="is not there"):
        work(client)


def test_tokens_that_are_no_good(server: Server, person: Newcomer) -> None:
    with pytest.raises(InputError, match="does not know this legacy token"):
        Client(Access(server.url, "0" * 40)).who()
    fresh = newcomer(server)
    token = fresh.new_token()
    client = Client(Access(server.url, token))
    assert client.who().email == fresh.email
    fresh.revoke(token)
    with pytest.raises(InputError, match="this personal access token was revoked"):
        Client(Access(server.url, token)).who()
    head, body, _ = token.split(".")
    with pytest.raises(InputError, match="does not accept this personal access token"):
        Client(Access(server.url, f"{head}.{body}.c2ln")).who()
    short = server.json("POST", "/api/token/refresh", {"refresh": fresh.new_token()})["access"]
    with pytest.raises(InputError, match="this is a short-lived access token"):
        Client(Access(server.url, short)).who()


def test_a_title_that_the_server_does_not_take(client: Client) -> None:
    with pytest.raises(WorkError, match="Ensure this field has at least 3 characters"):
        client.create_project("x")
