"""An S3 store for tests: a server in this process, on a free port."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

BUCKET = "photos"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server whose only bucket is empty."""
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def store(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The bucket, empty again afterwards."""
    point_to(server, monkeypatch)
    bucket = fsspec.filesystem("s3", use_listings_cache=False)
    bucket.mkdir(BUCKET)
    yield bucket
    bucket.rm(BUCKET, recursive=True)
    forget()


def point_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    forget()


def forget() -> None:
    """Clients know their address for ever."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def upload(folder: Path, store: Any) -> str:
    for file in folder.rglob("*"):
        if file.is_file():
            store.pipe(f"{BUCKET}/corpus/{file.relative_to(folder).as_posix()}", file.read_bytes())
    return f"s3://{BUCKET}/corpus"
