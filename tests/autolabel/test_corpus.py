"""Whatever lies in a folder, every image comes out once, in a fixed order, and nothing is lost in silence."""

import hashlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autolabel.corpus import grouping, scan_images, thumbnail_reader
from autolabel.duplicates import Duplicates
from autolabel.errors import ConfigError, ImageError, InputError
from autolabel.images import Reason
from autolabel.listing import ROOT, ImageFile, Quarantined, list_images, listing_digest
from autolabel.poses import Sample


def jpeg(seed: int, size: tuple[int, int] = (96, 64), **options: object) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 12, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def put(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def paths(root: Path) -> list[str]:
    return [item.path for item in list_images(root)]


def scan(root: Path, **options: object) -> list[Sample | Quarantined]:
    return list(scan_images(root, num_keypoints=17, **options))  # pyright: ignore[reportArgumentType]


# Listing


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


@contextmanager
def as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_is_told_of() -> None:
    with tempfile.TemporaryDirectory() as base:
        root = Path(base)
        root.chmod(0o755)
        put(root, {"open/a.jpg": jpeg(0), "closed/b.jpg": jpeg(1), "open/secret.jpg": jpeg(2), "open/secret": b"x"})
        for name in ("closed", "open/secret.jpg", "open/secret"):
            (root / name).chmod(0)
        with as_nobody():  # who may not import either, hence no near-duplicates
            scanned = scan(root, duplicates=Duplicates(thumbnail_reader(root), near=False))
            with pytest.raises(InputError, match="cannot be read: Permission denied"):
                next(list_images(root / "closed"))
        (root / "closed").chmod(0o755)
    assert [(item.path, getattr(item, "reason", "")) for item in scanned] == [
        ("closed", Reason.NO_PERMISSION),
        ("open/a.jpg", ""),
        ("open/secret", Reason.NO_PERMISSION),
        ("open/secret.jpg", Reason.NO_PERMISSION),
    ]


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


# Groups


@pytest.mark.parametrize(
    ("group_by", "path", "group"),
    [
        (None, "a/b.jpg", ""),
        ("folder", "a/b/c.jpg", "a/b"),
        ("folder", "c.jpg", "."),
        (r"(?P<video>[^/]+)_\d+[.]jpg$", "cam1/walk_0001.jpg", "walk"),
        (r"^(\w+)/(\w+)_", "cam1/walk_0001.jpg", "cam1/walk"),
        (r"^(cam\d)?.*_(\d)", "walk_1", "1"),
        (r"(?P<video>x+)", "cam1/walk_0001.jpg", ""),
    ],
)
def test_a_path_names_its_group(group_by: str | None, path: str, group: str) -> None:
    assert grouping(group_by)(path) == group


@pytest.mark.parametrize(("group_by", "message"), [("(", "not a regular expression"), ("abc", "no bracketed part")])
def test_patterns_that_name_no_group_are_refused(group_by: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        grouping(group_by)


# Scanning


def test_samples_say_what_and_where_an_image_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg(1, exif=exif)
    put(tmp_path, {"sub/a.jpg": data})
    (sample,) = scan(tmp_path)
    assert isinstance(sample, Sample)
    assert sample.id == hashlib.sha256(data).hexdigest()[:32]
    assert (sample.root, sample.path, sample.size) == (ROOT, "sub/a.jpg", (64, 96))
    assert (len(sample.poses), sample.poses.num_keypoints) == (0, 17)
    assert (sample.group, sample.duplicate_of) == (sample.id, "")


def mixed(root: Path) -> None:
    put(
        root,
        {
            "a/one.jpg": jpeg(1, (192, 128)),
            "a/two.jpg": jpeg(2),
            "b/copy of one.jpg": jpeg(1, (192, 128)),
            "b/cut.jpg": jpeg(3)[:300],
            "b/empty.jpg": b"",
            "b/small one.jpg": jpeg(1, (96, 64)),
            "b/text.jpg": b"text",
            "b/three.jpg": jpeg(3),
        },
    )


def test_copies_point_to_the_first_and_bad_files_come_out_with_a_reason(tmp_path: Path) -> None:
    mixed(tmp_path)
    scanned = scan(tmp_path, group_by="folder")
    assert [item.path for item in scanned] == paths(tmp_path)
    samples = {item.path: item for item in scanned if isinstance(item, Sample)}
    assert {path: (s.duplicate_of, s.group) for path, s in samples.items()} == {
        "a/one.jpg": ("", "a"),
        "a/two.jpg": ("", "a"),
        "b/copy of one.jpg": ("a/one.jpg", "b"),
        "b/small one.jpg": ("a/one.jpg", "b"),
        "b/three.jpg": ("", "b"),
    }
    assert {item.path: item.reason for item in scanned if isinstance(item, Quarantined)} == {
        "b/cut.jpg": Reason.TRUNCATED,
        "b/empty.jpg": Reason.EMPTY,
        "b/text.jpg": Reason.NOT_AN_IMAGE,
    }


def test_without_groups_a_copy_shares_the_group_of_its_original(tmp_path: Path) -> None:
    mixed(tmp_path)
    groups = {item.path: item.group for item in scan(tmp_path) if isinstance(item, Sample)}
    assert groups["a/one.jpg"] == groups["b/copy of one.jpg"] == groups["b/small one.jpg"]
    assert len(set(groups.values())) == 3


@pytest.mark.parametrize("threads", [1, 5])
def test_the_number_of_threads_changes_nothing(tmp_path: Path, threads: int) -> None:
    mixed(tmp_path)
    put(tmp_path, {f"c/{i}.jpg": jpeg(i % 17) for i in range(60)})

    def told(item: Sample | Quarantined) -> object:
        return item if isinstance(item, Quarantined) else (*item.key, item.size, item.group, item.duplicate_of)

    assert [told(item) for item in scan(tmp_path, threads=threads)] == [told(item) for item in scan(tmp_path)]


def test_equal_bytes_only(tmp_path: Path) -> None:
    def read(path: str) -> None:
        raise AssertionError(f"{path} is read again")

    mixed(tmp_path)
    seen = Duplicates(read, near=False)  # pyright: ignore[reportArgumentType]
    repeats = {i.path: i.duplicate_of for i in scan(tmp_path, duplicates=seen) if isinstance(i, Sample)}
    assert [path for path, original in repeats.items() if original] == ["b/copy of one.jpg"]


def test_a_listing_may_be_scanned_in_pieces(tmp_path: Path) -> None:
    mixed(tmp_path)
    put(tmp_path, {"a/gone.jpg": jpeg(9)})
    listing = list(list_images(tmp_path))
    (tmp_path / "a" / "gone.jpg").unlink()

    def thumbnail(path: str) -> None:
        raise ImageError("is gone", subject=path)

    seen = Duplicates(thumbnail)  # pyright: ignore[reportArgumentType] - what is cached needs no reading
    pieces = [scan(tmp_path, listing=listing[i : i + 2], duplicates=seen) for i in range(0, len(listing), 2)]
    scanned = [item for piece in pieces for item in piece]
    assert [item.path for item in scanned] == [item.path for item in listing]
    assert {i.path: i.reason for i in scanned if isinstance(i, Quarantined)}["a/gone.jpg"] == Reason.VANISHED
    repeats = {i.path: i.duplicate_of for i in scanned if isinstance(i, Sample)}
    assert repeats["b/small one.jpg"] == "a/one.jpg"


def test_a_scan_can_be_left_early(tmp_path: Path) -> None:
    put(tmp_path, {f"{i}.jpg": jpeg(i) for i in range(40)})
    stream = scan_images(tmp_path, num_keypoints=17, threads=2)
    assert len(list(islice(stream, 3))) == 3
    stream.close()  # pyright: ignore[reportAttributeAccessIssue]


def test_few_files_are_taken_ahead_of_what_is_asked_for(tmp_path: Path) -> None:
    put(tmp_path, {f"{i:03}.jpg": jpeg(0) for i in range(100)})
    taken = 0

    def listing() -> Iterator[ImageFile | Quarantined]:
        nonlocal taken
        for item in list_images(tmp_path):
            taken += 1
            yield item

    stream = scan_images(tmp_path, listing(), num_keypoints=17, threads=2)
    next(stream)
    assert taken <= 10


def test_large_images_are_set_aside(tmp_path: Path) -> None:
    put(tmp_path, {"a.jpg": jpeg(1, (40, 40)), "b.jpg": jpeg(1, (41, 40))})
    small, large = scan(tmp_path, max_pixels=1600)
    assert isinstance(small, Sample)
    assert isinstance(large, Quarantined)
    assert large.reason == Reason.TOO_LARGE
