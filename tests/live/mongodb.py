"""A MongoDB of one's own for as long as a test or a look at it lasts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autolabel.errors import AutolabelError
from pipelines.mongodb import PLACE, bundled_mongod, find_mongod
from pipelines.mongodb_process import OwnMongodb, start, stop

ROOT = Path(__file__).parents[2]


def mongod() -> Path:
    """The program that the user has or names, else one that is fetched into the repository; skips where none is."""
    try:
        return find_mongod(bundled_mongod(), folder=ROOT / ".venv-mongodb")
    except AutolabelError as error:
        if os.environ.get(PLACE):
            raise
        pytest.skip(f"there is no MongoDB: {error}")


@contextmanager
def own_mongodb(folder: Path) -> Iterator[str]:
    """The URI of a server that has its data in a folder, and is stopped at the end."""
    server = OwnMongodb.at(folder)
    start(server, mongod())
    try:
        yield server.uri()
    finally:
        stop(server)
