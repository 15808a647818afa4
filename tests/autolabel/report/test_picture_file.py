"""A picture stands whole in its place, and one that fails leaves nothing but the older one."""

from pathlib import Path

import pytest

from autolabel.report.picture_file import write_picture


def test_folders_are_made_and_an_older_picture_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "picture.png"
    for content in (b"old", b"new"):
        write_picture(path, lambda file, content=content: file.write_bytes(content))
        assert path.read_bytes() == content
        assert list(path.parent.iterdir()) == [path]


def test_half_a_picture_leaves_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def fail(file: Path) -> None:
        file.write_bytes(b"ha")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_picture(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_whose_place_is_taken_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.mkdir()
    with pytest.raises(OSError, match="picture"):
        write_picture(path, lambda file: file.write_bytes(b"new"))
    assert list(tmp_path.iterdir()) == [path]
