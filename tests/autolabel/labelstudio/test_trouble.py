"""Failed requests in plain words."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from autolabel.errors import InputError, LostServerError, UnsureError, WorkError
from autolabel.labelstudio.trouble import Trouble, answered, explained, unsure

URL = "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("trouble", "passes", "undone"),
    [
        (Trouble("answer", 400), False, True),
        (Trouble("answer", 401), False, True),
        (Trouble("answer", 404), False, True),
        (Trouble("answer", 408), True, False),
        (Trouble("answer", 413), False, True),
        (Trouble("answer", 429), True, True),
        (Trouble("answer", 429, wait=300), True, True),
        (Trouble("answer", 429, wait=301), False, True),  # longer than anybody waits
        (Trouble("answer", 500), True, False),
        (Trouble("answer", 501), False, False),
        (Trouble("answer", 502), True, False),
        (Trouble("answer", 503), True, False),
        (Trouble("answer", 504), True, False),
        (Trouble("refused"), True, True),
        (Trouble("slow"), True, False),
        (Trouble("cut"), True, False),
        (Trouble("unknown"), False, True),
        (Trouble("untrusted"), False, True),
        (Trouble("plain"), False, True),
        (Trouble("foreign"), False, True),
    ],
)
def test_what_passes_and_what_was_not_done(trouble: Trouble, passes: bool, undone: bool) -> None:
    assert (trouble.passes, trouble.undone) == (passes, undone)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"detail": "No Task matches.", "status_code": 404}, "No Task matches"),
        (
            {"detail": "Validation error", "validation_errors": {"title": ["short"]}},
            "Validation error: {'title': ['short']}",
        ),
        (b'{"detail": "as bytes"}', "as bytes"),
        ('{"error": "as text"}', "as text"),
        ({"image": ["key is expected"]}, "{'image': ['key is expected']}"),
        (["several", "things"], "['several', 'things']"),
        ("two\nlines\t of text", "two lines of text"),
        ("<html>a page</html>", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("x" * 400, "x" * 400),  # it is cut when it is shown: a secret in it must be whole until then
        ("", ""),
        (None, ""),
        ({}, "{}"),
    ],
)
def test_what_the_server_said_is_one_line(body: Any, detail: str) -> None:
    assert answered(400, body, {}).detail == detail


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("-3", None),
        ("soon", None),
        ("", None),
        (format_datetime(datetime(2026, 1, 1, tzinfo=UTC), usegmt=True), 0.0),
    ],
)
def test_how_long_to_wait(value: str, wait: float | None) -> None:
    assert answered(429, "", {"RETRY-After": value}).wait == wait


def test_how_long_to_wait_until_a_date() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    wait = answered(503, "", {"retry-after": until}).wait
    assert wait is not None
    assert 90 < wait <= 100


@pytest.mark.parametrize(
    ("trouble", "kind", "text"),
    [
        (
            Trouble("untrusted", detail="self-signed certificate"),
            InputError,
            "not trusted: self-signed .*SSL_CERT_FILE",
        ),
        (
            Trouble("cut", detail="reset"),
            LostServerError,
            "task 3: the connection broke: reset. See whether the server",
        ),
        (Trouble("answer", 413), WorkError, r"larger than the server allows \(413\)"),
        (Trouble("refused", detail="Connection refused"), LostServerError, "nobody answers there: Connection refused"),
        (Trouble("slow"), LostServerError, "no answer within 60 s. The server is busy or stuck"),
        (Trouble("answer", 500, "x" * 400), LostServerError, r"the server failed \(500\): x{300}\.{3} See"),
        (Trouble("answer", 302), InputError, "sends on to another address"),
        (Trouble("answer", 404, "No Task matches"), InputError, "task 3 is not there: No Task matches. It was deleted"),
        (
            Trouble("answer", 429),
            LostServerError,
            r"task 3: too many requests \(429\). Wait. Then run the command again",
        ),
    ],
)
def test_every_error_says_where_what_and_what_to_do(trouble: Trouble, kind: type[Exception], text: str) -> None:
    error = explained(trouble, "task 3", url=URL, token_kind="legacy", seconds=60)
    assert type(error) is kind
    assert str(error).startswith(f"{URL}: ")
    with pytest.raises(kind, match=text):
        raise error


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (Trouble("answer", 502), "answered 502"),
        (Trouble("slow"), "no answer in time"),
        (Trouble("cut"), "the connection broke"),
    ],
)
def test_what_nobody_can_tell(trouble: Trouble, why: str) -> None:
    error = unsure(trouble, "import", url=URL)
    assert type(error) is UnsureError
    assert f"import: {why}, so nobody can tell whether it was done" in str(error)
