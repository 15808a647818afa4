"""A new project."""

from pathlib import Path

import pytest

from autolabel.errors import ExistsError, InputError, SkeletonError
from autolabel.project import read_project
from pipelines.init import init


def test_the_settings_of_a_new_project_are_read_back(tmp_path: Path) -> None:
    images = tmp_path / 'odd "name" ä'
    images.mkdir()
    result = init(tmp_path / "p", images=images, skeleton="coco17")
    assert read_project(tmp_path / "p") == result.project
    assert Path(result.project.corpus.images) == images.resolve()
    commented = [line for line in (tmp_path / "p" / "autolabel.toml").read_text().splitlines() if line.startswith("# ")]
    assert len(commented) > 15, "every default is shown"


def test_a_commented_default_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    first = init(tmp_path / "p", images=tmp_path / "images", skeleton="coco17").project
    file = tmp_path / "p" / "autolabel.toml"
    spoken = [line.removeprefix("# ") if " = " in line else line for line in file.read_text().splitlines()]
    section = spoken.index("[training]")
    file.write_text("\n".join(spoken[:section]))
    assert read_project(tmp_path / "p") == first


def test_what_is_there_is_never_overwritten_and_what_is_not_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    init(tmp_path / "p", images=tmp_path / "images", skeleton="coco17")
    with pytest.raises(ExistsError, match="a project already"):
        init(tmp_path / "p", images=tmp_path / "images", skeleton="coco17")
    with pytest.raises(InputError, match="not a folder"):
        init(tmp_path / "q", images=tmp_path / "nothing", skeleton="coco17")
    with pytest.raises(SkeletonError, match="coco17"):
        init(tmp_path / "q", images=tmp_path / "images", skeleton="coco18")
    assert not (tmp_path / "q").exists()
