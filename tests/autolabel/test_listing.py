"""Whatever lies in a folder is listed once, in a fixed order, or set aside with its reason, at little cost."""

import io
import os
import socket
import subprocess
import sys
import tracemalloc
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import InputError
from autolabel.images import Reason
from autolabel.listing import (
    ROOT,
    ImageFile,
    Quarantined,
    VideoFile,
    list_files,
    list_images,
    listed,
    listing_digest,
)


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 12, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def put(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def paths(root: Path) -> list[str]:
    return [item.path for item in list_images(root)]


def test_the_order_is_that_of_the_names(tmp_path: Path) -> None:
    names = ["b.jpg", "a.jpg", "b/z.png", "b/y/1.jpg", "a/c.jpeg", "B.JPG"]
    put(tmp_path, dict.fromkeys(names, b"x"))
    assert paths(tmp_path) == ["B.JPG", "a.jpg", "b.jpg", "a/c.jpeg", "b/z.png", "b/y/1.jpg"]


def test_an_image_is_found_by_its_name_or_by_its_bytes(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "a.jpg": b"",
            "claims.HEIC": b"",
            "no suffix": jpeg(0),
            "odd.dat": jpeg(1),
            "notes.txt": b"text",
            "labels.json": b"{}",
            ".hidden.jpg": jpeg(2),
            ".cache/a.jpg": jpeg(2),
        },
    )
    assert paths(tmp_path) == ["a.jpg", "claims.HEIC", "no suffix", "odd.dat"]


def test_size_and_time_are_listed(tmp_path: Path) -> None:
    put(tmp_path, {"a.jpg": b"12345"})
    os.utime(tmp_path / "a.jpg", ns=(1, 123456789))
    assert list(list_images(tmp_path)) == [ImageFile("a.jpg", 5, 123456789)]


def test_links_are_followed_but_no_folder_is_visited_twice(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    put(root, {"sub/a.jpg": b"x"})
    put(outside, {"b.jpg": b"x", "deep/c.jpg": b"x"})
    (root / "loop").symlink_to(root)
    (root / "sub" / "up").symlink_to("..")
    (root / "again").symlink_to(root / "sub")
    (root / "out").symlink_to(outside)
    (root / "out too").symlink_to(outside)
    (outside / "back").symlink_to(root)
    (outside / "parent").symlink_to(tmp_path)  # contains the root and itself
    (root / "file.jpg").symlink_to(outside / "b.jpg")
    assert sorted(paths(root)) == ["file.jpg", "out/b.jpg", "out/deep/c.jpg", "sub/a.jpg"]


def test_links_to_nothing_and_pipes_are_told_of(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")  # promises no image
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    found = {item.path: item.reason for item in list_images(tmp_path) if isinstance(item, Quarantined)}
    assert found == {
        "gone.jpg": Reason.VANISHED,
        "self.jpg": Reason.UNREADABLE,
        "pipe.jpg": Reason.NOT_A_FILE,
    }


def test_names_that_cannot_be_stored_are_set_aside(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    for name in (b"bad\xff.jpg", b"good.jpg"):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(jpeg(0))
    os.mkdir(folder + b"/bad\xfe")  # noqa: PTH102 - bytes
    Path(os.fsdecode(folder + b"/bad\xfe/a.jpg")).write_bytes(jpeg(0))
    found = list(list_images(tmp_path))
    assert [(item.path, getattr(item, "reason", "")) for item in found] == [
        ("bad\udcff.jpg", Reason.BAD_NAME),
        ("good.jpg", ""),
        ("bad\udcfe/a.jpg", Reason.BAD_NAME),
    ]


def test_depth_does_not_matter(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 200
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("a.jpg", os.O_CREAT, dir_fd=here))
    os.close(here)
    try:
        assert paths(tmp_path) == ["d/" * depth + "a.jpg"]
    finally:  # pytest's own cleaning recurses, and fails
        subprocess.run(["rm", "-r", str(tmp_path / "d")], check=True)


@pytest.mark.parametrize("name", ["nowhere", "file.jpg"])
def test_only_a_folder_can_be_listed(tmp_path: Path, name: str) -> None:
    put(tmp_path, {"file.jpg": jpeg(0)})
    with pytest.raises(InputError, match="is not a folder"):
        next(list_images(tmp_path / name))


def test_the_digest_of_a_listing_sees_names_sizes_and_times(tmp_path: Path) -> None:
    def digest() -> tuple[str, int]:
        return listing_digest(list_images(tmp_path))

    put(tmp_path, {"a.jpg": b"12345", "b.jpg": b"1"})
    os.utime(tmp_path / "a.jpg", ns=(0, 1))
    first = digest()
    assert first[1] == 2
    put(tmp_path, {"notes.txt": b"no image"})
    assert digest() == first
    os.utime(tmp_path / "a.jpg", ns=(0, 2))
    touched = digest()
    put(tmp_path, {"a.jpg": b"123456"})
    os.utime(tmp_path / "a.jpg", ns=(0, 1))
    grown = digest()
    (tmp_path / "a.jpg").rename(tmp_path / "c.jpg")
    renamed = digest()
    assert len({first, touched, grown, renamed}) == 4


def test_a_socket_is_no_image(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "s.jpg"))
        assert [(i.path, getattr(i, "reason", "")) for i in list_images(tmp_path)] == [("s.jpg", Reason.NOT_A_FILE)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a device")
def test_a_device_is_no_image(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "zero.jpg", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("devices cannot be made here")
    assert [(i.path, getattr(i, "reason", "")) for i in list_images(tmp_path)] == [("zero.jpg", Reason.NOT_A_FILE)]


ODD_NAMES = [
    "a\nb.jpg",
    "tab\t.jpg",
    "quote\"'`$(x).jpg",
    "-rf.jpg",
    " leading and trailing .jpg ",  # no suffix of an image: found by its bytes
    "back\\slash.jpg",
    "\x1b[31mred.jpg",
    "\u202egpj.exe.jpg",
    "%s%n{}.jpg",
    "a:b|c*?.jpg",
    "x" * 251 + ".jpg",
    "é" * 125 + "a.jpg",  # 255 bytes
    "IMG.jpg",
    "img.jpg",
    "img.JPG",
    unicodedata.normalize("NFC", "é.jpg"),
    unicodedata.normalize("NFD", "é.jpg"),
    "~.jpg",
    "😀.jpg",
]


def test_odd_names_are_names(tmp_path: Path) -> None:
    assert max(len(name.encode()) for name in ODD_NAMES) == 255
    put(tmp_path, {name: jpeg(i) for i, name in enumerate(ODD_NAMES)})
    assert paths(tmp_path) == sorted(ODD_NAMES)


def test_a_link_to_a_file_is_that_file_under_another_name(tmp_path: Path) -> None:
    put(tmp_path, {"a.jpg": jpeg(0)})
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    os.link(tmp_path / "a.jpg", tmp_path / "c.jpg")
    assert paths(tmp_path) == ["a.jpg", "b.jpg", "c.jpg"]


def test_an_empty_folder_and_hidden_files_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    put(tmp_path, {".a.jpg": jpeg(0), ".b.mp4": b"", ".c/d.jpg": jpeg(0)})
    assert list(list_files(tmp_path)) == []


# Videos


def test_videos_are_listed_beside_images(tmp_path: Path) -> None:
    put(tmp_path, {"a.jpg": b"1", "b.MP4": b"12", "c/d.mkv": b"", "e.ts": b"let a = 1", "f.mp4": jpeg(0)})
    for file in tmp_path.rglob("*.*"):
        os.utime(file, ns=(1, 2))
    found = list(list_files(tmp_path, "cam"))
    assert found == [
        ImageFile("a.jpg", 1, 2, "cam"),
        VideoFile("b.MP4", 2, 2, "cam"),
        ImageFile("f.mp4", len(jpeg(0)), 2, "cam"),  # whatever its name promises
        VideoFile("c/d.mkv", 0, 2, "cam"),
    ]
    assert list(list_images(tmp_path, "cam")) == [item for item in found if isinstance(item, ImageFile)]


def test_one_file_is_listed_as_its_folder_lists_it(tmp_path: Path) -> None:
    put(tmp_path, {"a.jpg": b"1", "b.mp4": b"12", "c.txt": b"text"})
    os.mkfifo(tmp_path / "d.jpg")
    assert [listed(tmp_path, name, ROOT) for name in ("a.jpg", "b.mp4", "d.jpg")] == list(list_files(tmp_path))
    assert listed(tmp_path, "c.txt", ROOT) is None


# Other folders


def test_other_roots_and_results_are_none_of_its_business(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    put(root, {"a.jpg": b"", "result/frames/b.jpg": b""})
    put(other, {"sub/c.jpg": b""})
    (root / "other").symlink_to(other)
    (root / "sub").symlink_to(other / "sub")
    assert paths(root) == ["a.jpg", "result/frames/b.jpg", "sub/c.jpg"]
    missing = tmp_path / "not made yet"
    assert [i.path for i in list_images(root, others=[other, root / "result", missing])] == ["a.jpg"]


def test_a_result_folder_above_hides_nothing(tmp_path: Path) -> None:
    root, beside = tmp_path / "data" / "root", tmp_path / "data" / "beside"
    put(root, {"a.jpg": b""})
    put(beside, {"b.jpg": b""})
    (root / "link").symlink_to(beside)
    assert [i.path for i in list_images(root, others=[tmp_path / "data"])] == ["a.jpg", "link/b.jpg"]


# Size


def test_many_files_in_one_folder_cost_their_names(tmp_path: Path) -> None:
    """About 75 bytes each as texts in a list; entries of the folder would be five times as much."""
    count = 10_000
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for i in range(count):
            os.close(os.open(f"{i:08}.jpg", os.O_CREAT, dir_fd=here))
    finally:
        os.close(here)
    tracemalloc.start()
    try:
        assert sum(1 for _ in list_images(tmp_path)) == count
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / count < 150
