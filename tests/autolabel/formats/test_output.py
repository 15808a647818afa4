import os
import subprocess
import sys
from pathlib import Path

import pytest

from autolabel.errors import ExistsError
from autolabel.formats.output import new_file, new_folder


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    with new_file(path, overwrite=False) as file:
        file.write("é\n")
        assert not path.exists()
    assert path.read_bytes() == "é\n".encode() and [*path.parent.iterdir()] == [path]


def test_what_stood_before_survives_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), new_file(path, overwrite=True) as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text() == "old" and [*tmp_path.iterdir()] == [path]


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ExistsError, match="stands already"), new_file(path, overwrite=False):
        pass
    # A folder is no file to be replaced, even when asked.
    with pytest.raises(ExistsError), new_file(tmp_path, overwrite=True):
        pass


def test_a_link_that_leads_nowhere_says_where_to_write(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "there.txt")
    with new_file(tmp_path / "link", overwrite=False) as file:
        file.write("1")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there.txt").read_text() == "1"


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "set"
    path.mkdir()  # an empty one may stand there
    with new_folder(path, overwrite=False) as folder:
        (folder / "data.yaml").write_text("1")
        assert not [*path.iterdir()]
    with new_folder(path, overwrite=True) as folder:
        (folder / "data.yaml").write_text("2")
    assert (path / "data.yaml").read_text() == "2" and [*tmp_path.iterdir()] == [path]


def test_only_a_folder_that_an_export_made_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("precious")
    (tmp_path / "photos" / "data.yaml").write_text("by hand")
    with pytest.raises(ExistsError), new_folder(tmp_path / "photos", overwrite=True):
        pass
    assert (tmp_path / "photos" / "a.jpg").read_text() == "precious"


def test_a_failure_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_folder(tmp_path / "set", overwrite=False) as folder:
        (folder / "m").write_text("half")
        raise RuntimeError
    assert not [*tmp_path.iterdir()]


def test_the_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".a.txt.{dead.pid}.tmp").write_text("killed")
    (tmp_path / f".set.{dead.pid}.tmp").mkdir()
    living, other = tmp_path / f".a.txt.{os.getppid()}.tmp", tmp_path / ".a.txt.notes.tmp"
    living.write_text("at work")
    other.write_text("not ours")
    with new_file(tmp_path / "a.txt", overwrite=False) as file:
        file.write("done")
    with new_folder(tmp_path / "set", overwrite=False) as folder:
        (folder / "m").write_text("done")
    assert sorted(tmp_path.iterdir()) == sorted([living, other, tmp_path / "a.txt", tmp_path / "set"])


def test_a_link_leads_to_the_place_and_stays(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "set").symlink_to(tmp_path / "disk")
    with new_folder(tmp_path / "set", overwrite=False) as folder:
        (folder / "a").write_text("1")
    assert (tmp_path / "set").is_symlink() and (tmp_path / "disk" / "a").read_text() == "1"


def test_the_folder_where_one_stands_is_a_place_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with new_folder(".", overwrite=False) as folder:
        (folder / "a").write_text("1")
    assert (tmp_path / "here" / "a").read_text() == "1"


def test_a_file_is_no_folder_to_write_into(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("x")
    message = "a file stands where a folder is to be made"
    with pytest.raises(ExistsError, match=message), new_file(tmp_path / "a.jpg" / "out.json", overwrite=False):
        pass
