"""FiftyOne is opened with a database that answers, and no message ever shows a password."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    CursorNotFound,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from autolabel.curate.database import DATABASE_URI, VALIDATION, database, open_fiftyone, ping, show_uri
from autolabel.errors import AutolabelError, InputError, LostServerError, WorkError
from tests.mongod_fake import serving

NOBODY = "mongodb://127.0.0.1:9"
FAKE = {
    "__init__.py": """
import os
import fiftyone.core.config, fiftyone.core.service, fiftyone.core.odm.database
__version__ = "1.22.1"
environment = dict(os.environ)
class config:
    database_uri = os.environ.get("FIFTYONE_DATABASE_URI")
    database_validation = do_not_track = None
failure = None
def list_datasets():
    fiftyone.core.odm.database._client = "connected"
    if failure: raise failure
    return []
""",
    "core/__init__.py": "",
    "core/config.py": "class FiftyOneConfigError(Exception): pass",
    "core/service.py": "class ServiceException(Exception): pass",
    "core/odm/__init__.py": "",
    "core/odm/database.py": "_client = None",
}


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    kept = dict(os.environ)
    for name in (DATABASE_URI, VALIDATION, "FIFTYONE_DO_NOT_TRACK"):
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A FiftyOne that imports at once and remembers the environment of its import."""
    for name, text in FAKE.items():
        file = tmp_path / "fiftyone" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    real = _forget()
    yield tmp_path / "fiftyone"
    _forget()
    sys.modules.update(real)


def _forget() -> dict[str, Any]:
    names = [name for name in sys.modules if name.partition(".")[0] == "fiftyone"]
    return {name: sys.modules.pop(name) for name in names}


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mongodb://{}", "mongodb://{}/?serverSelectionTimeoutMS=2500"),
        ("mongodb://{}/", "mongodb://{}/?serverSelectionTimeoutMS=2500"),
        ("mongodb://{}/db", "mongodb://{}/db?serverSelectionTimeoutMS=2500"),
        ("mongodb://{}/?appName=x", "mongodb://{}/?appName=x&serverSelectionTimeoutMS=2500"),
        ("mongodb://{}/?", "mongodb://{}/?serverSelectionTimeoutMS=2500"),
        ("mongodb://{}/?serverselectiontimeoutms=900", "mongodb://{}/?serverselectiontimeoutms=900"),
    ],
)
def test_the_address_is_set_before_the_import_with_a_short_wait(uri: str, expected: str) -> None:
    with serving() as place:
        fiftyone = open_fiftyone(uri.format(place), seconds=2.5)
        assert fiftyone.environment[DATABASE_URI] == expected.format(place)
        assert fiftyone.environment[VALIDATION] == "false"
        assert fiftyone.environment["FIFTYONE_DO_NOT_TRACK"] == "true"


@pytest.mark.usefixtures("package")
def test_what_the_user_said_about_validation_stays_and_tracking_is_off() -> None:
    os.environ |= {VALIDATION: "true", "FIFTYONE_DO_NOT_TRACK": "false"}
    with serving() as place:
        fiftyone = open_fiftyone(f"mongodb://{place}")
        assert fiftyone.environment[VALIDATION] == "true"
        assert fiftyone.environment["FIFTYONE_DO_NOT_TRACK"] == "true"


@pytest.mark.usefixtures("package")
def test_fiftyones_own_is_left_to_fiftyone() -> None:
    fiftyone = open_fiftyone("")
    assert DATABASE_URI not in fiftyone.environment
    assert fiftyone.environment[VALIDATION] == "false"


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("uri", "kind"), [(NOBODY, LostServerError), ("localhost", InputError), ("mongodb://h:port", InputError)]
)
def test_without_an_answer_fiftyone_is_not_even_imported(uri: str, kind: type[AutolabelError]) -> None:
    with pytest.raises(kind, match=DATABASE_URI):
        open_fiftyone(uri, seconds=0.2)
    assert "fiftyone" not in sys.modules
    assert DATABASE_URI not in os.environ


def test_one_that_was_imported_and_not_used_is_moved(package: Path) -> None:
    import fiftyone

    assert fiftyone.__file__ == str(package / "__init__.py")
    with serving() as place:
        assert open_fiftyone(f"mongodb://{place}") is fiftyone
        assert fiftyone.config.database_uri == f"mongodb://{place}/?serverSelectionTimeoutMS=5000"
        assert (fiftyone.config.database_validation, fiftyone.config.do_not_track) == (False, True)


@pytest.mark.usefixtures("package")
def test_one_that_has_another_database_open_is_refused() -> None:
    with serving() as first, serving() as second:
        open_fiftyone(f"mongodb://somebody:secret@{first}/?authMechanism=PLAIN")
        open_fiftyone(f"mongodb://somebody:secret@{first}/?authMechanism=PLAIN", seconds=1)
        with pytest.raises(InputError) as raised:
            open_fiftyone(f"mongodb://{second}")
        told = str(raised.value)
        assert told.startswith(f"mongodb://{second}: FiftyOne has another database open in this process: mongodb://127")
        assert "secret" not in told
        assert first in os.environ[DATABASE_URI]


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    "failure",
    [
        OSError("Cannot connect to database v9 with client v1"),
        ConnectionError("Cannot connect to database type 'a' with client type 'b'"),
        RuntimeError("Found `mongod` version 4"),
        OperationFailure("command find requires authentication", 13),
    ],
)
def test_a_database_that_fiftyone_cannot_use_is_told(failure: Exception) -> None:
    import fiftyone

    fiftyone.failure = failure
    with serving() as place, pytest.raises(WorkError, match=f"cannot open its database: {failure}. Set {DATABASE_URI}"):
        open_fiftyone(f"mongodb://{place}")


@pytest.mark.usefixtures("package")
def test_fiftyones_own_that_does_not_start_is_told() -> None:
    import fiftyone

    for kind in (fiftyone.core.config.FiftyOneConfigError, fiftyone.core.service.ServiceException):
        fiftyone.failure = kind("no mongod")
        with pytest.raises(WorkError, match=f"FiftyOne cannot open its database: no mongod. Set {DATABASE_URI}"):
            open_fiftyone("")
        with pytest.raises(LostServerError, match="FiftyOne: the database stopped answering: no mongod"), database():
            raise kind("no mongod")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mongodb://h:99999", "Port must be an integer"),
        ("mongodb://", "Empty host"),
        ("mongodb://u:se@cret@h", "InvalidURI"),  # not escaped: what pymongo says of it may quote it
        ("mongodb://u:se/cret@h/", "InvalidURI"),
        ("http://h", "does not begin with mongodb://"),
        ("mongodb+srv://localhost", "not a valid hostname"),
    ],
)
def test_a_wrong_uri_is_the_users_to_put_right(uri: str, expected: str) -> None:
    with pytest.raises(
        InputError, match=f"this is no URI of a MongoDB: .*{expected}.* Put {DATABASE_URI} right"
    ) as told:
        ping(uri)
    assert "u:" not in str(told.value)
    assert "cret" not in str(told.value)
    assert told.value.__context__ is None or told.value.__suppress_context__


def test_a_database_that_refuses_its_user_is_the_users_to_put_right() -> None:
    refused = {"saslStart": (18, "Authentication failed.")}
    with serving(refused) as place, pytest.raises(InputError) as raised:
        ping(f"mongodb://somebody:secret@{place}/?authMechanism=PLAIN")
    assert str(raised.value) == (
        f"mongodb://{place}: the database lets nobody in: Authentication failed. "
        f"Put right user and password in {DATABASE_URI}."
    )


@pytest.mark.parametrize("user", ["", "somebody:secret@"])
def test_a_database_that_is_down_is_told_in_time(user: str) -> None:
    with pytest.raises(LostServerError) as raised:
        ping(f"mongodb://{user}127.0.0.1:9", seconds=0.2)
    assert raised.value.subject == "mongodb://127.0.0.1:9"
    assert raised.value.message.endswith("Connection refused")


def test_a_server_of_another_kind_is_told_in_time() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(LostServerError, match="no MongoDB answers"):
        ping(f"mongodb://127.0.0.1:{mute.getsockname()[1]}", seconds=0.2)


@pytest.mark.parametrize(
    ("error", "kind", "expected"),
    [
        (ServerSelectionTimeoutError("h:1: [Errno 111] Connection refused (configured timeouts: …), Timeout: 5s, …"),
         LostServerError, "the database stopped answering: h:1: [Errno 111] Connection refused. See that it runs"),
        (AutoReconnect("connection closed"), LostServerError, "stopped answering: connection closed"),
        (ConnectionError("Could not connect to `mongod`"), LostServerError, "stopped answering: Could not connect"),
        (CursorNotFound("cursor id 1 not found", 43), LostServerError, "it goes on where it stopped"),
        (PyMongoError("something else"), LostServerError, "stopped answering: something else"),
        (OperationFailure("not authorized", 13), WorkError, "the database refuses: not authorized"),
        (BulkWriteError({"writeErrors": []}), WorkError, "the database refuses: batch op errors occurred"),
    ],
)  # fmt: skip
def test_a_database_that_fails_in_use_is_one_error(error: Exception, kind: type[WorkError], expected: str) -> None:
    with pytest.raises(WorkError) as raised, database():
        raise error
    assert type(raised.value) is kind
    assert expected in str(raised.value)
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), ValueError("x"), InputError("y"), KeyError("z")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, database():
        raise error
    assert raised.value is error


def test_the_database_is_named_without_its_password() -> None:
    os.environ[DATABASE_URI] = "mongodb://somebody:secret@db.example/?tls=true"
    with pytest.raises(LostServerError) as raised, database():
        raise ServerSelectionTimeoutError("secret:27017: [Errno -2] Name or service not known (configured timeouts: x")
    assert str(raised.value).startswith("mongodb://db.example: the database stopped answering: Name or service not kno")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mongodb://127.0.0.1:27017", "mongodb://127.0.0.1:27017"),
        ("mongodb://u:p@a:1,b:2/db?authSource=x", "mongodb://a:1,b:2/db"),
        ("mongodb+srv://u:p@cluster.example/?x=y", "mongodb+srv://cluster.example"),
        ("mongodb://h/?tlsCertificateKeyFilePassword=secret", "mongodb://h"),
        ("mongodb://u:what?@h", "mongodb://…"),  # nobody knows where this password ends
        ("u:p@h", "h"),
        ("", ""),
    ],
)
def test_what_is_shown_of_a_uri(uri: str, expected: str) -> None:
    assert show_uri(uri) == expected


@given(st.text(), st.text())
@example("u", "p://w@x")
@example("u", "p/w?x@y")
def test_no_password_is_ever_shown(user: str, password: str) -> None:
    assert show_uri(f"mongodb://{user}:{password}@host/db?x=y") in ("mongodb://host/db", "mongodb://…")
