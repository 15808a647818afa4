"""The plugin is copied whole, replaces itself, and nothing else."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import autolabel
from autolabel.curate.install import DESCRIPTION, FOLDER, PLUGIN, SOURCE, install_plugin
from autolabel.errors import InputError


def fiftyone(plugins: Path) -> Any:
    return SimpleNamespace(config=SimpleNamespace(plugins_dir=str(plugins)))


def files(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_it_is_copied_without_what_python_left_there(tmp_path: Path) -> None:
    target = install_plugin(fiftyone(tmp_path / "new" / "plugins"))
    assert target == tmp_path / "new" / "plugins" / FOLDER
    assert files(target) == {"__init__.py", DESCRIPTION}
    assert [file.name for file in target.parent.iterdir()] == [FOLDER]


def test_its_description_names_what_it_holds() -> None:
    said = yaml.safe_load((SOURCE / DESCRIPTION).read_text(encoding="utf-8"))
    assert (said["name"], str(said["version"])) == (PLUGIN, autolabel.__version__)
    decisions = ["accept", "reject", "wrong_box", "send_to_review"]
    assert said["operators"] == [*decisions, "explain_pose", "export_selection"]
    assert said["panels"] == ["round"]


def test_an_older_version_is_replaced_and_what_a_kill_left_is_cleared(tmp_path: Path) -> None:
    target = install_plugin(fiftyone(tmp_path))
    (target / "old.py").touch()
    (target / DESCRIPTION).write_text("name:   '@autolabel/curate'\nversion: 0.0.1\n", encoding="utf-8")
    (tmp_path / f".{FOLDER}.7.new").mkdir()
    (tmp_path / "other").mkdir()
    install_plugin(fiftyone(tmp_path))
    assert files(target) == {"__init__.py", DESCRIPTION}
    assert sorted(file.name for file in tmp_path.iterdir()) == [FOLDER, "other"]


@pytest.mark.parametrize("stands", ["file", "empty folder", "other plugin", "no plugin", "link"])
def test_what_is_not_ours_is_left_alone(stands: str, tmp_path: Path) -> None:
    target = tmp_path / FOLDER
    if stands == "file":
        target.write_text("mine", encoding="utf-8")
    elif stands == "link":
        target.symlink_to(SOURCE)
    else:
        target.mkdir()
        if stands == "other plugin":
            (target / DESCRIPTION).write_text("name: '@other/curate'\n", encoding="utf-8")
        elif stands == "no plugin":
            (target / "notes.txt").touch()
    before = files(tmp_path)
    with pytest.raises(InputError, match="something else") as refused:
        install_plugin(fiftyone(tmp_path))
    assert (files(tmp_path), refused.value.subject) == (before, str(target))


def test_the_old_one_comes_back_when_the_new_one_cannot_be_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = install_plugin(fiftyone(tmp_path)), Path.rename
    (target / "old.py").touch()

    def failing(self: Path, to: Path) -> Path:
        if self.name.endswith(".new"):
            raise OSError(28, "No space left on device")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(InputError, match="No space left"):
        install_plugin(fiftyone(tmp_path))
    assert "old.py" in files(target)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a folder that this user may not write")
def test_a_folder_that_may_not_be_written_is_told_in_words(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        install_plugin(fiftyone(tmp_path / "plugins"))
    tmp_path.chmod(0o700)


def test_a_file_in_place_of_the_folder_of_plugins_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "plugins").touch()
    with pytest.raises(InputError, match="cannot be written"):
        install_plugin(fiftyone(tmp_path / "plugins"))
