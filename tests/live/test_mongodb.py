"""The real MongoDB is started, stopped and killed, and what FiftyOne stored in it is there each time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest

from autolabel.curate.database import DATABASE_URI, database, ping
from autolabel.errors import LostServerError, WorkError
from pipelines.mongodb import PLACE, curation_folder, find_mongodb, stop_mongodb
from pipelines.mongodb_process import OwnMongodb, start, stop
from tests.live.mongodb import ROOT, mongod, own_mongodb

pytestmark = pytest.mark.live

OPEN = """
import sys
from autolabel.curate.database import database, open_fiftyone
from pipelines.mongodb import find_mongodb
fiftyone = open_fiftyone(find_mongodb())
with database():
    if sys.argv[1] == "write":
        dataset = fiftyone.Dataset("poses", persistent=True)
        dataset.add_sample(fiftyone.Sample(filepath="/nowhere/1.png", pose_id="p1"))
    print(fiftyone.load_dataset("poses").values("pose_id"), fiftyone.config.do_not_track)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnMongodb]:
    own = OwnMongodb.at(tmp_path / "curation")
    yield own
    stop(own)


def note(server: OwnMongodb, number: int) -> list[int]:
    """Store a number; what is stored then, with what was before."""
    with pymongo.MongoClient[dict[str, Any]](server.uri()) as client:
        table = client["test"]["numbers"]
        table.with_options(write_concern=pymongo.WriteConcern(j=True)).insert_one({"number": number})
        return [row["number"] for row in table.find().sort("number")]


def test_what_is_stored_outlives_a_stop_and_a_kill(server: OwnMongodb) -> None:
    program = mongod()
    start(server, program)
    first, uri = server.process(), server.uri()
    start(server, program)
    assert server.process() == first
    assert note(server, 1) == [1]
    assert stop(server)
    with pytest.raises(LostServerError, match="Connection refused"):
        ping(uri, seconds=0.2)
    start(server, program)
    assert server.uri() == uri
    assert note(server, 2) == [1, 2]
    os.kill(server.process(), signal.SIGKILL)
    while server.process():
        time.sleep(0.01)
    start(server, program)
    assert server.uri() == uri
    assert note(server, 3) == [1, 2, 3]
    assert {path.stat().st_mode & 0o77 for path in server.folder.rglob("*") if path.is_file()} <= {0, 0o44}
    assert server.folder.stat().st_mode & 0o77 == 0


def test_data_that_another_one_serves_is_told(server: OwnMongodb) -> None:
    program = mongod()
    start(server, program)
    number = server.pid_file.read_text()
    server.pid_file.unlink()
    with pytest.raises(WorkError, match=r"stopped while it started: .*DBPathInUse"):
        start(server, program)
    server.pid_file.write_text(number)
    assert server.process()


def test_one_that_dies_in_use_is_told_once_and_in_time(server: OwnMongodb) -> None:
    start(server, mongod())
    with pymongo.MongoClient[dict[str, Any]](server.uri(), serverSelectionTimeoutMS=500) as client:
        client.admin.command("ping")
        os.kill(server.process(), signal.SIGKILL)
        before = time.monotonic()
        with (
            pytest.raises(LostServerError, match=r"the database stopped answering: .*run the command again"),
            database(),
        ):
            client["test"]["numbers"].insert_one({"number": 1})
        assert time.monotonic() - before < 5


def test_the_context_manager_stops_what_it_started(tmp_path: Path) -> None:
    with own_mongodb(tmp_path / "own") as uri:
        ping(uri)
        assert OwnMongodb.at(tmp_path / "own").process()
    assert not OwnMongodb.at(tmp_path / "own").process()


@pytest.mark.slow
def test_fiftyone_keeps_its_data_there_from_one_command_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second command finds the server of the first; the third one starts it again."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(PLACE, str(mongod().parent))
    monkeypatch.delenv(DATABASE_URI, raising=False)
    try:
        for number, action in enumerate(["write", "read", "read"]):
            done = subprocess.run(
                [sys.executable, "-c", OPEN, action], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert done.stdout.splitlines()[-1:] == ["['p1'] True"], done.stderr
            assert OwnMongodb.at(curation_folder()).answers()
            if number == 1:
                assert stop_mongodb()
        assert find_mongodb() == OwnMongodb.at(curation_folder()).uri()
    finally:
        stop_mongodb()
