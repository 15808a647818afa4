"""What a server's trouble becomes: tried again where that is safe, else an error that says what to do."""

import base64
import json
import logging
import socket
import time
from collections.abc import Callable

import pytest

from autolabel.errors import AutolabelError, InputError, UnsureError, WorkError
from autolabel.labelstudio.access import Access
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.connection import library_complaint
from autolabel.labelstudio.form import labelling_form
from autolabel.skeleton import Skeleton
from tests.labelstudio_double import LEGACY, Asked, Said, serving

ME = {"id": 3, "email": "a@example.com"}
PROJECT = {"id": 7, "title": "mice", "label_config": "<View/>", "task_number": 2, "maximum_annotations": 1}
PAGE = "<!doctype html><html>nginx</html>"


def token(expires: float, kind: str = "refresh") -> str:
    """A personal access token, unsigned: only a server checks that."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'exp': int(expires), 'token_type': kind})}.c2ln"


PERSONAL = token(time.time() + 10_000)


def client(url: str, secret: str = LEGACY, *, timeout: float = 5.0) -> tuple[Client, list[float]]:
    """A client, and how long it waited between its tries, without waiting."""
    waits: list[float] = []
    return Client(Access(url, secret), timeout=timeout, sleep=waits.append), waits


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("passing", "waited"),
    [
        (Said(500, {"detail": "database is locked"}), [1.0]),
        (Said(502, PAGE), [1.0]),
        (Said(503, PAGE, {"Retry-After": "7"}), [7.0]),
        (Said(504), [1.0]),
        (Said(408), [1.0]),
        (Said(429, {}, {"Retry-After": "0"}), [0.0]),
        (Said(429, {}, {"Retry-After": "nonsense"}), [1.0]),
        (Said(429), [1.0]),
        (Said(cut=True), [1.0]),
    ],
)
def test_a_read_is_tried_again(passing: Said, waited: list[float]) -> None:
    with serving(passing, Said(200, ME)) as double:
        it, waits = client(double.url)
        assert it.who().email == "a@example.com"
    assert waits == waited
    assert len(double.asked) == 2


def test_each_wait_is_told() -> None:
    notes: list[str] = []
    busy, broken = Said(429, {}, {"Retry-After": "7"}), Said(cut=True)
    with serving(busy, broken, Said(503), Said(200, ME)) as double:
        Client(Access(double.url, LEGACY), sleep=lambda _: None, note=notes.append).who()
    assert notes == [
        "Label Studio does not answer (429): waiting 7 s, try 2 of 5",
        "Label Studio does not answer (the connection broke): waiting 2 s, try 3 of 5",
        "Label Studio does not answer (503): waiting 4 s, try 4 of 5",
    ]


@pytest.mark.parametrize("secret", [LEGACY, PERSONAL])
def test_a_token_that_is_not_known_is_named_by_its_place(secret: str) -> None:
    said = r"\(401\); the token is from p/labelstudio/token\. Make a new"
    with serving(Said(401, {"detail": "Invalid token."})) as double, pytest.raises(InputError, match=said) as raised:
        Client(Access(double.url, secret, "p/labelstudio/token")).who()
    assert secret not in str(raised.value)


def test_waits_grow_and_end() -> None:
    with serving(Said(500, {"detail": "database is locked"})) as double:
        it, waits = client(double.url)
        with pytest.raises(WorkError, match=r"project 7: the server failed \(500\): database is locked. See"):
            it.project(7)
    assert waits == [1.0, 2.0, 4.0, 8.0]
    assert len(double.asked) == 5


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (Said(401, {"detail": "Invalid token."}), InputError, "does not know this legacy token"),
        (
            Said(401, {"detail": "legacy token authentication has been disabled for this organization"}),
            InputError,
            "legacy tokens are switched off there .* Use a personal access token, or have an owner switch",
        ),
        (
            Said(403, {"detail": "You do not have permission"}),
            InputError,
            "may not do that: You do not have permission",
        ),
        (
            Said(404, {"detail": "No Project matches the given query."}),
            InputError,
            "project 7 is not there: it was deleted, .* Set `project = 0`",
        ),
        (Said(404, PAGE), InputError, "project 7 is not there"),
        (
            Said(400, {"detail": "Validation error", "validation_errors": {"project": ["Select a valid choice. No."]}}),
            InputError,
            "project 7 is not there",
        ),
        (Said(400, {"detail": "Validation error", "validation_errors": {"x": ["bad"]}}), WorkError, r"\(400\).*bad"),
        (Said(413, PAGE), WorkError, r"larger than the server allows \(413\). .*client_max_body_size"),
        (
            Said(429, {}, {"Retry-After": "4000"}),
            WorkError,
            r"too many requests \(429\), and asks to wait 4000 s. Wait",
        ),
        (Said(301, "", {"Location": "https://x.test/api"}), InputError, "sends on to https://x.test/api"),
        (Said(200, PAGE), InputError, "what answers there is no Label Studio"),
        (Said(418, "a teapot"), WorkError, r"refuses it \(418\): a teapot"),
    ],
)
def test_what_does_not_pass_is_an_error_at_once(said: Said, kind: type[AutolabelError], text: str) -> None:
    with serving(said) as double:
        it, waits = client(double.url)
        with pytest.raises(kind, match=text) as caught:
            it.project(7)
    assert not waits
    assert len(double.asked) == 1
    assert caught.value.subject == double.url
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("said", [Said(404, PAGE), Said(200, PAGE), Said(200, "[1")])
def test_another_program_is_no_label_studio(said: Said) -> None:
    with serving(said) as double:
        it, _ = client(double.url)
        with pytest.raises(InputError, match=r"Correct `url` in \[labelstudio\]|correct `url` in"):
            it.who()


def test_a_host_that_never_answered_is_not_waited_for() -> None:
    it, waits = client(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(WorkError, match=r"nobody answers there: Connection refused\. Start the server"):
        it.who()
    assert not waits


def test_an_unknown_host_is_named() -> None:
    it, waits = client("http://no-such-host.invalid:8080")
    with pytest.raises(InputError, match=r"there is no host no-such-host\.invalid:8080\. Correct `url`"):
        it.who()
    assert not waits


def test_https_where_none_is_spoken_is_said() -> None:
    with serving(Said(200, ME)) as double:
        it, waits = client(double.url.replace("http:", "https:"))
        with pytest.raises(
            InputError, match=r"it does not speak https .*\. Write http:// instead of https:// in `url`"
        ):
            it.who()
    assert not waits


def test_a_server_that_restarts_is_waited_for() -> None:
    with serving(Said(200, ME)) as double:
        it, waits = client(double.url)
        it.who()
    with pytest.raises(WorkError, match="nobody answers there"):
        it.who()
    assert waits == [1.0, 2.0, 4.0, 8.0]


def test_a_slow_answer_is_an_error_with_its_time() -> None:
    with serving(Said(200, ME), Said(slow=True)) as double:
        it, waits = client(double.url, timeout=0.2)
        it.who()
        with pytest.raises(WorkError, match=r"project 7: no answer within 0\.2 s\. The server is busy or stuck"):
            it.project(7)
    assert len(waits) == 4


ONCE: list[tuple[str, Callable[[Client], object]]] = [
    ("import of 1 tasks into project 7", lambda it: it.import_tasks(7, [{"data": {"task_key": "k"}}])),
    ("new project 'mice'", lambda it: it.create_project("mice")),
    ("prediction of task 5", lambda it: it.add_prediction(5, [], "autolabel")),
    ("answer to task 5", lambda it: it.annotate(5, [])),
]


@pytest.mark.parametrize(("about", "work"), ONCE)
@pytest.mark.parametrize("said", [Said(500), Said(502, PAGE), Said(503), Said(cut=True)])
def test_what_may_not_be_done_twice_is_sent_once(said: Said, about: str, work: Callable[[Client], object]) -> None:
    with serving(said) as double:
        it, waits = client(double.url)
        with pytest.raises(UnsureError, match=f"{about}.*nobody can tell whether it was done"):
            work(it)
    assert not waits
    assert len(double.asked) == 1


def test_a_slow_import_is_unsure() -> None:
    with serving(Said(slow=True)) as double:
        it, _ = client(double.url, timeout=0.02)
        with pytest.raises(UnsureError, match="no answer in time"):
            it.import_tasks(7, [])
    assert len(double.asked) == 1


def test_what_was_certainly_not_done_is_sent_again() -> None:
    with serving(Said(429, {}, {"Retry-After": "3"}), Said(201, {"task_ids": [4]})) as double:
        it, waits = client(double.url)
        assert it.import_tasks(7, [{"data": {}}]) == [4]
    assert waits == [3.0]


def test_an_import_too_large_says_its_size() -> None:
    with serving(Said(413, PAGE)) as double:
        it, _ = client(double.url)
        with pytest.raises(WorkError, match=r"import of 2 tasks into project 7 \(1.5 MB\): is larger"):
            it.import_tasks(7, [{"data": {"x": "a" * 750_000}}] * 2)


@pytest.mark.parametrize(
    "delete",
    [
        lambda it: it.delete_project(7),
        lambda it: it.delete_prediction(7),
        lambda it: it.delete_annotation(7),
    ],
)
def test_what_is_gone_may_be_deleted(delete: Callable[[Client], object]) -> None:
    with serving(Said(500), Said(404, {"detail": "No Prediction matches the given query."})) as double:
        it, waits = client(double.url)
        delete(it)
    assert waits == [1.0]


class Swapping:
    """A server that wants access tokens: it gives one for the personal token, and lets only its newest one in."""

    def __init__(self, swap: Said | None = None) -> None:
        self.swap, self.given = swap, 0
        self.until = time.time() + 300

    @property
    def newest(self) -> str:
        return token(self.until + self.given, "access")

    def __call__(self, asked: Asked) -> Said:
        if asked.path == "/api/token/refresh/":
            self.given += 1
            return self.swap or Said(200, {"access": self.newest})
        fresh = asked.headers["Authorization"] in (f"Bearer {self.newest}", f"Token {LEGACY}")
        return Said(200, ME) if fresh else Said(401, {"detail": "Given token not valid for any token type"})


def test_a_personal_token_is_swapped_once() -> None:
    swapping = Swapping()
    with serving(swapping) as double:
        it, _ = client(double.url, PERSONAL)
        assert it.token_kind == "personal"
        assert [it.who().id for _ in range(3)] == [3, 3, 3]
    assert swapping.given == 1
    assert [asked.json for asked in double.asked if "token" in asked.path] == [{"refresh": PERSONAL}]


def test_an_access_token_that_the_server_ends_sooner_is_swapped_again() -> None:
    swapping = Swapping()
    with serving(swapping) as double:
        it, waits = client(double.url, PERSONAL)
        it.who()
        swapping.given += 1
        assert it.who().id == 3
    assert not waits


@pytest.mark.parametrize(
    ("swap", "text"),
    [
        (Said(401, {"detail": "Token is blacklisted"}), "this personal access token was revoked"),
        (Said(401, {"detail": "Token is invalid"}), "does not accept this personal access token"),
        (Said(401, {"detail": "Token is expired"}), "this personal access token has expired"),
        (Said(401, {"detail": "Token has wrong type"}), "a short-lived access token, not a personal one"),
        (Said(404, PAGE), "is not there"),
        (Said(200, PAGE), "no Label Studio"),
    ],
)
def test_a_personal_token_that_is_refused(swap: Said, text: str) -> None:
    with serving(Swapping(swap)) as double:
        it, waits = client(double.url, PERSONAL)
        with pytest.raises(InputError, match=text):
            it.who()
    assert not waits


def test_a_swap_is_tried_again() -> None:
    with serving(Said(502, PAGE), Swapping()) as double:
        it, waits = client(double.url, PERSONAL)
        assert it.who().id == 3
    assert waits == [1.0]


def test_an_expired_personal_token_is_not_even_sent() -> None:
    with pytest.raises(InputError, match=r"this personal access token has expired .* Make a new one"):
        client("http://127.0.0.1:9", token(time.time() - 1))


def test_a_path_in_the_address_is_kept() -> None:
    with serving(Said(200, {"access": token(time.time() + 300, "access")}), Said(200, ME)) as double:
        it, _ = client(f"{double.url}/labels", PERSONAL)
        it.who()
        it.served("/data/upload/1/a.jpg")
    assert [asked.path for asked in double.asked] == [
        "/labels/api/token/refresh/",
        "/labels/api/current-user/whoami",
        "/labels/data/upload/1/a.jpg",
    ]


def test_the_token_goes_to_no_other_host() -> None:
    with (
        serving(Said(200, "crop")) as storage,
        serving(Said(302, "", {"Location": f"{storage.url}/crop.jpg"})) as double,
    ):
        it, _ = client(double.url)
        # The same host on another port is another server.
        assert it.served(f"{storage.url}/direct.jpg") == b"crop"
        assert it.served("/tasks/1/resolve") == b"crop"
    assert [asked.path for asked in storage.asked] == ["/direct.jpg", "/crop.jpg"]
    assert all("Authorization" not in asked.headers for asked in storage.asked)
    assert "Authorization" in double.asked[0].headers


@pytest.mark.parametrize("secret", [LEGACY, PERSONAL])
def test_the_token_is_nowhere_to_be_read(secret: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = Said(403, {"detail": f"no rights for {secret}"})
    with serving(lambda asked: echo if "project" in asked.path else Swapping()(asked)) as double:
        it, _ = client(double.url, secret)
        with pytest.raises(InputError) as caught:
            it.project(7)
    assert "[token]" in str(caught.value)
    for text in (str(caught.value), repr(caught.value), repr(it), repr(Access(double.url, secret)), caplog.text):
        assert secret not in text


@pytest.mark.parametrize("before", [0, 280, 290, 299])
@pytest.mark.parametrize("secret", [LEGACY, PERSONAL])
def test_no_part_of_a_token_is_left_where_a_long_answer_is_cut(secret: str, before: int) -> None:
    swapping = Swapping()

    def echo(asked: Asked) -> Said:
        if "project" not in asked.path:
            return swapping(asked)
        return Said(403, {"detail": f"{'x' * before}{asked.headers['Authorization'].split()[1]}{secret}"})

    with serving(echo) as double:
        it, _ = client(double.url, secret)
        with pytest.raises(InputError) as caught:
            it.project(7)
        used = double.asked[-1].headers["Authorization"].split()[1]
    assert (used == secret) == (secret == LEGACY), "a personal one is swapped"
    said = str(caught.value)
    assert secret[:8] not in said
    assert used[:8] not in said, "nor of the one that it was swapped for"


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with serving(Said(200, ME)) as double:
        assert client(double.url)[0].who().id == 3


@pytest.mark.parametrize(
    ("form", "complains"),
    [
        (labelling_form(Skeleton.load("coco17")), False),
        (labelling_form(Skeleton.load("wholebody133")), False),
        ('<View><KeyPointLabels name="a" toName="nobody"><Label value="b"/></KeyPointLabels></View>', True),
        ("<View", True),
    ],
)
def test_the_library_judges_a_form(form: str, complains: bool) -> None:
    assert bool(library_complaint(form)) == complains
