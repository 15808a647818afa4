"""The backend over HTTP: what Label Studio asks, who may ask, and what a broken request is told."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from autolabel.labelstudio.smart import read_served
from autolabel.labelstudio.tasks import read_task_map
from autolabel.skeleton import Skeleton
from pipelines.loop_wait import signs
from pipelines.push import push
from pipelines.serve import listening
from pipelines.serve_app import MAX_BODY, serve_app
from pipelines.serve_login import basic
from tests.doubles import Recorder
from tests.pipelines.plants import whole
from tests.pipelines.served import Middle, backend, request

PASSWORD = "open sesame"


@dataclass(frozen=True)
class Place:
    """A running backend, its project, and the key of its only task."""

    url: str
    project: Path
    key: str
    told: Recorder

    def ask(
        self, method: str, path: str, body: object = None, password: str | None = PASSWORD, **headers: str
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        if password is not None:
            headers["Authorization"] = basic(password)
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


class Failing(Middle):
    """A network that fails."""

    def pose(self, image: Any, box: Any) -> Any:
        raise ZeroDivisionError("division by zero")


@pytest.fixture
def place(review_case: Any) -> Iterator[Place]:
    push(review_case.route(whole(1)), project=review_case.project)
    answering, told = backend(review_case.project), Recorder()
    (key,) = read_task_map(answering.folder.taskmap)
    with listening(serve_app(answering, PASSWORD, told), "127.0.0.1", 0) as url:
        yield Place(url, review_case.project, key, told)


def test_the_protocol(place: Place) -> None:
    assert place.ask("GET", "/health", password=None) == (200, {"status": "UP", "model_class": "autolabel"})
    setup = {"project": "7.1", "schema": "<View/>", "access_token": "sesame", "hostname": "http://labels.example"}
    assert place.ask("POST", "/setup", setup) == (200, {"model_version": "autolabel"})
    status, answer = place.ask("POST", "/predict", request(place.key))
    assert status == 200
    assert len(answer["results"][0]["result"]) == 2 * 17 + 1
    assert place.told.notes == [], "nothing of a request is told"


@pytest.mark.parametrize(
    ("body", "woken"),
    [
        ({"action": "ANNOTATION_CREATED"}, True),
        ({"action": "ANNOTATIONS_CREATED"}, True),
        ({"action": "ANNOTATION_UPDATED"}, True),
        ({"action": "ANNOTATIONS_DELETED"}, True),
        ({"action": "START_TRAINING"}, False),
        ({"action": "TASKS_CREATED"}, False),
        ({"action": ["ANNOTATION_CREATED"]}, False),
        ({}, False),
    ],
)
def test_an_answer_wakes_the_loop_and_nothing_else_does(place: Place, body: dict[str, Any], woken: bool) -> None:
    before = signs(place.project)
    assert place.ask("POST", "/webhook", body) == (200, {"woken": woken})
    assert (signs(place.project) != before) == woken


@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook"])
@pytest.mark.parametrize("password", [None, "", "wrong", "öpen sesame"])
def test_nobody_without_the_password_is_answered(place: Place, path: str, password: str | None) -> None:
    before = signs(place.project)
    status, answer = place.ask("POST", path, {"action": "ANNOTATION_CREATED"}, password)
    assert (status, answer) == (401, {"error": "the password is missing or wrong"})
    assert signs(place.project) == before


def test_several_annotators_draw_at_once(place: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: place.ask("POST", "/predict", request(place.key))[0], range(40)))
    assert statuses == [200] * 40
    assert len((place.project / "labelstudio" / "served.jsonl").read_text().splitlines()) == 40
    assert read_served(place.project / "labelstudio")


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Bearer b3Blbg==", "Basic b3Blbg=="])
def test_a_malformed_header_is_no_password(place: Place, header: str) -> None:
    status, _ = place.ask("POST", "/setup", {}, None, Authorization=header)
    assert status == 401


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/predict", b"{", 400, "the request is no JSON"),
        ("/predict", b"\xff\xfe", 400, "the request is no JSON"),
        ("/predict", b"[" * 100_000, 400, "the request is no JSON"),
        ("/predict", b"[]", 400, "the request is no JSON object"),
        ("/webhook", b"", 400, "the request is no JSON"),
        ("/predict", b"{}", 400, "request.tasks: is no list"),
        ("/predict", json.dumps(request("stranger")).encode(), 404, "task 'stranger' was not sent by this project"),
        ("/setup", b" " * (MAX_BODY + 1), 413, f"the request has more than {MAX_BODY} bytes"),
        ("/train", b"{}", 404, "POST /train is nothing that Label Studio asks a backend"),
        ("/health", b"{}", 405, "POST /health is nothing that Label Studio asks a backend"),
    ],
)
def test_every_error_is_a_sentence_in_json(place: Place, path: str, body: bytes, status: int, says: str) -> None:
    found, answer = place.ask("POST", path, body)
    assert found == status
    assert says in answer["error"]


def test_an_error_that_nobody_foresaw_is_json_too_and_is_told(review_case: Any) -> None:
    push(review_case.route(whole(1)), project=review_case.project)
    answering, told = replace(backend(review_case.project), poser=Failing(Skeleton.load("coco17"))), Recorder()
    (key,) = read_task_map(answering.folder.taskmap)
    with listening(serve_app(answering, PASSWORD, told), "127.0.0.1", 0) as url:
        place = Place(url, review_case.project, key, told)
        assert place.ask("POST", "/predict", request(key)) == (
            500, {"error": "the backend failed with ZeroDivisionError; where it runs it says more"}
        )  # fmt: skip
        assert place.ask("GET", "/health")[0] == 200, "it goes on"
    assert told.notes == ["/predict: failed with ZeroDivisionError: division by zero"]


def test_a_network_of_another_skeleton_is_a_conflict_that_is_told(review_case: Any) -> None:
    push(review_case.route(whole(1)), project=review_case.project)
    answering, told = backend(review_case.project, "lsp14"), Recorder()
    (key,) = read_task_map(answering.folder.taskmap)
    with listening(serve_app(answering, PASSWORD, told), "127.0.0.1", 0) as url:
        status, answer = Place(url, review_case.project, key, told).ask("POST", "/predict", request(key))
    assert status == 409
    assert [f"/predict: {answer['error']}"] == told.notes
