from pathlib import Path

import pytest

from autolabel.errors import FormatError, InputError
from autolabel.formats.image_files import ImageFiles, is_file, put_image, require_image, require_slashes


@pytest.mark.parametrize(
    ("name", "there"),
    [("a.png", True), ("b.png", False), (".", False), ("x" * 300, False), ("a\0b", False), ("a.png/b.png", False)],
)
def test_a_file_is_there_or_not(tmp_path: Path, name: str, there: bool) -> None:
    (tmp_path / "a.png").touch()
    assert is_file(tmp_path / name) == there


@pytest.mark.parametrize(
    ("option", "remedy"), [("", "Scan again."), ("--image-files", "Scan again, or give --image-files none.")]
)
def test_an_image_must_be_there(tmp_path: Path, option: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        require_image(tmp_path / "a.png", option=option)
    assert str(caught.value) == f"{tmp_path / 'a.png'}: is not there. {remedy}"
    (tmp_path / "a.png").touch()
    assert require_image(tmp_path / "a.png", option=option) == tmp_path / "a.png"


def test_how_an_image_comes_in(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(b"image")
    for how in ImageFiles:
        put_image(source, tmp_path / how / "deep/b.png", how)
    assert not (tmp_path / "none").exists()
    link, copy = (tmp_path / how / "deep/b.png" for how in (ImageFiles.LINK, ImageFiles.COPY))
    assert link.is_symlink() and link.readlink() == source
    assert not copy.is_symlink() and copy.read_bytes() == b"image"


@pytest.mark.parametrize(("option", "remedy"), [("", ""), ("--image-files", ". Try --image-files copy.")])
def test_a_place_that_is_taken(tmp_path: Path, option: str, remedy: str) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    with pytest.raises(InputError) as caught:
        put_image(tmp_path / "a.png", tmp_path / "b.png", option=option)
    assert str(caught.value) == f"{tmp_path / 'b.png'}: cannot be made of {tmp_path / 'a.png'}: File exists{remedy}"


def test_backslashes() -> None:
    assert require_slashes("a/b.png", "SLEAP") == "a/b.png"
    with pytest.raises(FormatError, match=r"a\\b.png: has a backslash in its path, which SLEAP takes for a slash"):
        require_slashes("a\\b.png", "SLEAP")
