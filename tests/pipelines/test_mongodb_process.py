"""A MongoDB of one's own is started once, outlives the command, and is the only process that is ever stopped."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autolabel.curate.database import ping
from autolabel.errors import InputError, WorkError
from pipelines.mongodb_process import OwnMongodb, start, stop
from tests.mongod_fake import FAILS, MUTE, make_mongod


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return make_mongod(tmp_path / "mongod")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnMongodb]:
    own = OwnMongodb.at(tmp_path / "a user's data" / "curation")
    yield own
    stop(own, seconds=5)


class Words(list[str]):
    def note(self, message: str) -> None:
        self.append(message)


def test_it_is_started_once_and_keeps_its_port(server: OwnMongodb, program: Path) -> None:
    assert (server.uri(), server.process(), server.answers(), stop(server)) == ("", 0, False, False)
    start(server, program)
    first, uri = server.process(), server.uri()
    start(server, program)
    assert server.process() == first
    ping(uri)
    assert stop(server)
    assert not server.answers()
    assert not stop(server)
    start(server, program)
    assert server.uri() == uri
    assert server.process() != first


def test_its_folder_is_private(server: OwnMongodb, program: Path) -> None:
    server.data.mkdir(parents=True, mode=0o755)
    start(server, program)
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (server.folder, server.data)} == {0o700}
    assert stat.S_IMODE(server.log.stat().st_mode) == 0o600


def test_two_at_once_start_one(server: OwnMongodb, program: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(start, server, program) for _ in range(2)]:
            one.result(20)
    words = subprocess.run(["ps", "-ww", "-e", "-o", "command="], capture_output=True, text=True, check=True).stdout
    assert sum(line.endswith(f"--dbpath {server.data}") for line in words.splitlines()) == 1


def test_it_outlives_the_command_and_its_group(server: OwnMongodb, program: Path) -> None:
    code = "import os; from pathlib import Path; from pipelines.mongodb_process import OwnMongodb, start; "
    code += f"start(OwnMongodb.at({str(server.folder)!r}), Path({str(program)!r})); os.killpg(0, 15)"
    done = subprocess.run([sys.executable, "-c", code], start_new_session=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGTERM
    assert server.answers()


def test_a_killed_one_is_started_again_where_it_was(server: OwnMongodb, program: Path) -> None:
    start(server, program)
    uri = server.uri()
    os.kill(server.process(), signal.SIGKILL)
    while server.process():
        time.sleep(0.01)
    start(server, program)
    assert server.uri() == uri
    assert server.answers()


def test_a_process_of_others_is_not_ours(server: OwnMongodb, program: Path) -> None:
    """Its number was ours before a crash; or it serves a folder beside ours."""
    beside = OwnMongodb.at(server.folder.with_name("beside"))
    start(beside, program)
    start(server, program)
    try:
        ours = server.process()
        for other in (os.getpid(), beside.process()):
            server.pid_file.write_text(f"{other}\n")
            assert server.process() == 0
            assert not stop(server)
        assert beside.answers()
        server.pid_file.write_text(f"{ours}\n")
        assert stop(server)
        assert beside.answers()
    finally:
        stop(beside)


@pytest.mark.parametrize("number", ["", "words", "0", "-1", "999999999"])
def test_a_damaged_file_is_as_good_as_none(number: str, server: OwnMongodb, program: Path) -> None:
    server.folder.mkdir(parents=True)
    for file in (server.pid_file, server.port_file):
        file.write_text(number)
    assert server.process() == 0
    assert not stop(server)
    start(server, program)
    assert server.answers()


def test_a_port_that_another_program_took_is_given_up_and_told(server: OwnMongodb, program: Path) -> None:
    notes = Words()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server.folder.mkdir(parents=True)
        server.port_file.write_text(f"{port}\n")
        start(server, program, progress=notes)
    assert server.port() != port
    assert notes[0] == f"port {port} of the last time is taken by another program: it is {server.port()} now"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", "it said nothing"),
        ("one\ntwo\nthree\nfour\n", "two / three / four"),
        (  # the error, not the farewell that follows it
            '{"s": "E", "msg": "initAndListen", "attr": {"error": "DBPathInUse: Unable to lock"}}\n{"s": "I"}\nbye',
            "initAndListen: DBPathInUse: Unable to lock",
        ),
        ('{"s": "F", "msg": "Fatal assertion", "attr": {"msgid": 1, "reason": "full"}}', "Fatal assertion: full"),
        (json.dumps({"s": "E", "msg": "no more"}), f"{json.dumps({'s': 'E', 'msg': 'no more'})}"),
        ("[1]\nnull\n7", "[1] / null / 7"),
    ],
)
def test_what_stops_while_it_starts_is_told_with_its_words(
    said: str, expected: str, server: OwnMongodb, program: Path
) -> None:
    server.folder.mkdir(parents=True)
    (server.folder / FAILS).write_text(said)
    with pytest.raises(WorkError) as raised:
        start(server, program)
    assert raised.value.message == f"MongoDB stopped while it started: {expected}"
    assert raised.value.subject == str(server.log)


def test_one_that_does_not_answer_is_told_and_can_be_waited_for(server: OwnMongodb, program: Path) -> None:
    server.folder.mkdir(parents=True)
    (server.folder / MUTE).touch()
    for _ in range(2):
        with pytest.raises(WorkError, match=r"does not answer on mongodb://127.0.0.1:\d+ after 0 s"):
            start(server, program, seconds=0.2)
    first = server.process()
    assert first
    assert stop(server)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, program: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/curation: cannot be made .*: Not a directory\. .*XDG_DATA_HOME"):
        start(OwnMongodb.at(tmp_path / "file" / "curation"), program)


def test_a_program_that_is_gone_is_told(server: OwnMongodb, tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"stopped while it started: .*not found"):
        start(server, tmp_path / "gone")
