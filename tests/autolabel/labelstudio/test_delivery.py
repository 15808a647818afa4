"""What a task says about its picture, and what is uploaded for it."""

from pathlib import Path

import pytest

from autolabel.errors import InputError
from autolabel.labelstudio.delivery import Delivery, deliver
from tests.doubles import Recorder
from tests.memory_server import BATCH, MemoryServer


def crops(folder: Path, count: int) -> list[Path]:
    made = [folder / "crops" / f"{i:024x}.jpg" for i in range(count)]
    made[0].parent.mkdir(parents=True)
    for crop in made:
        crop.write_bytes(b"picture")
    return made


def linked(server: MemoryServer, root: Path, prefix: str, folder: Path) -> None:
    """Let the server show a folder by a link below its document root, as ``review-server`` does."""
    server.root, link = root, root / prefix / folder.name
    link.parent.mkdir(parents=True)
    link.symlink_to(folder)
    server.local_storage(7, link)


@pytest.mark.parametrize("fault", ["not connected", "another prefix", "another picture"])
def test_local_files_that_the_server_does_not_show_are_told(tmp_path: Path, fault: str) -> None:
    server, (crop,) = MemoryServer(), crops(tmp_path, 1)
    other = tmp_path / "other" / "crops"
    other.mkdir(parents=True)
    (other / crop.name).write_bytes(b"another")
    if fault != "not connected":
        linked(server, tmp_path / "root", "", other if fault == "another picture" else crop.parent)
    with pytest.raises(InputError, match=r"does not show .*\.jpg at /data/local-files/\?d=.*Link .*Add Source Storage"):
        deliver(server, 7, [crop], Delivery.LOCAL_FILES, "mice" if fault == "another prefix" else "")


@pytest.mark.parametrize(
    ("delivery", "prefix", "expected"),
    [
        (Delivery.URL_PREFIX, "https://host/folder", "https://host/folder/"),
        (Delivery.URL_PREFIX, "s3://bucket/folder/", "s3://bucket/folder/"),
        (Delivery.LOCAL_FILES, "", "/data/local-files/?d=crops/"),
        (Delivery.LOCAL_FILES, "/mouse one/labelstudio/", "/data/local-files/?d=mouse%20one/labelstudio/crops/"),
        (Delivery.UPLOAD, "", "/data/upload/7/12345678-"),
    ],
)
def test_the_address_of_a_crop(tmp_path: Path, delivery: Delivery, prefix: str, expected: str) -> None:
    server, (crop,) = MemoryServer(), crops(tmp_path, 1)
    linked(server, tmp_path / "root", prefix.strip("/"), crop.parent)
    assert deliver(server, 7, [crop], delivery, prefix) == {crop.name: f"{expected}{crop.name}"}
    assert server.files == ({7: [crop.name]} if delivery is Delivery.UPLOAD else {})


def test_only_what_is_missing_is_uploaded(tmp_path: Path) -> None:
    server, made, progress = MemoryServer(), crops(tmp_path, BATCH + 3), Recorder()
    deliver(server, 7, made[:2], Delivery.UPLOAD)
    server.calls.clear()
    found = deliver(server, 7, made, Delivery.UPLOAD, progress=progress)
    assert set(found) == {crop.name for crop in made}
    assert server.files[7] == [crop.name for crop in made]
    assert server.calls == ["uploads", "upload", "upload"]
    assert progress.steps["upload"] == [BATCH, 1]


@pytest.mark.parametrize("delivery", list(Delivery))
def test_nothing_needs_nothing(delivery: Delivery) -> None:
    server = MemoryServer()
    assert deliver(server, 7, [], delivery) == {}
    assert not server.calls


def test_a_missing_crop_is_named_before_anything_is_uploaded(tmp_path: Path) -> None:
    server, made = MemoryServer(), crops(tmp_path, 3)
    made[2].unlink()
    with pytest.raises(InputError, match=f"{made[2].name}: is missing"):
        deliver(server, 7, made, Delivery.UPLOAD)
    assert not server.files
