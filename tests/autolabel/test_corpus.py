"""Whatever lies in a folder, every image comes out once, in a fixed order, and nothing is lost in silence."""

import hashlib
import io
import os
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
from autolabel.listing import ROOT, ImageFile, Quarantined, list_images
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


# Groups


@pytest.mark.parametrize(
    ("group_by", "path", "group"),
    [
        (None, "a/b.jpg", ""),
        ("folder", "a/b/c.jpg", "a/b"),
        ("folder", "c.jpg", "."),
        ("video", "cam1/walk_0001.jpg", "cam1/walk"),
        ("video", "cam1/walk - 12.jpg", "cam1/walk"),
        ("video", "cam1/walk.jpg", "cam1/walk"),
        ("video", "cam1/0001.jpg", "cam1"),
        ("video", "0001.jpg", "."),
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


def test_large_images_are_set_aside(tmp_path: Path) -> None:
    put(tmp_path, {"a.jpg": jpeg(1, (40, 40)), "b.jpg": jpeg(1, (41, 40))})
    small, large = scan(tmp_path, max_pixels=1600)
    assert isinstance(small, Sample)
    assert isinstance(large, Quarantined)
    assert large.reason == Reason.TOO_LARGE
