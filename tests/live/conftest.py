"""What the live tests share: one Label Studio for all of them, because it takes a minute to start, and one FiftyOne."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autolabel.curate.database import DATABASE_URI, open_fiftyone
from autolabel.manifest import Manifest
from autolabel.poses import Sample
from tests.curation import some_manifest
from tests.live.browser import Desk, browser, sit_down
from tests.live.labelstudio_client import Server
from tests.live.mongodb import own_mongodb
from tests.live.review_project import Import, Review, drawn_people, import_review

SCRIPT = Path(__file__).with_name("labelstudio_server.py")
CANNOT_INSTALL = 3
START_SECONDS = 840
"""To install it, which takes minutes, and to make its database."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("labelstudio") / "data"
    command = [sys.executable, str(SCRIPT), str(data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stdout and process.stderr
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        line = process.stdout.readline() if ready else b""
        try:
            if not line:
                process.stdin.close()
                code, why = process.wait(60), process.stderr.read().decode()
                if code == CANNOT_INSTALL:
                    pytest.skip(f"Label Studio cannot be installed here: {why.strip()[-300:]}")
                pytest.fail(f"Label Studio did not start: {why}")
            access = json.loads(line)
            yield Server(access["url"], access["token"], data / "files", data)
        finally:
            process.stdin.close()
            process.wait(60)


@pytest.fixture(scope="session")
def fiftyone_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """FiftyOne with a database of its own: one for all tests of a process, because it cannot change it."""
    with own_mongodb(tmp_path_factory.mktemp("mongodb")) as uri:
        before = os.environ.get(DATABASE_URI)
        os.environ[DATABASE_URI] = uri
        yield open_fiftyone(uri)
        os.environ.pop(DATABASE_URI) if before is None else os.environ.update({DATABASE_URI: before})


@pytest.fixture
def name(fiftyone_module: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """A data set's name that no other test has; what was made is deleted at the end."""
    called = request.node.name.replace("[", "-").replace("]", "")[:60]
    yield called
    for dataset in (called, f"{called}-people"):
        if fiftyone_module.dataset_exists(dataset):
            fiftyone_module.delete_dataset(dataset)


@pytest.fixture
def shown(tmp_path: Path) -> Manifest:
    """A small manifest, to be shown in FiftyOne."""
    return some_manifest(tmp_path)


@pytest.fixture
def imported(server: Server) -> Iterator[Import]:
    """Imports a queue for review into a project of its own."""
    made: list[int] = []

    def make(*arguments: Any) -> Review:
        review = import_review(server, *arguments)
        made.append(review.remote)
        return review

    yield make
    for number in made:
        server.call("DELETE", f"/api/projects/{number}/")


@pytest.fixture(scope="module")
def desk(server: Server) -> Iterator[Desk]:
    with browser() as chromium:
        yield sit_down(chromium, server)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Sample]]:
    folder = tmp_path_factory.mktemp("people")
    return folder, drawn_people(folder, images=2)
