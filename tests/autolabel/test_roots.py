"""Folders get the names that people give or expect, and no file can lie in two corpus roots."""

from pathlib import Path

import pytest

from autolabel.errors import InputError
from autolabel.listing import ROOT
from autolabel.roots import Root, corpus_roots


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("photos/sub", "cam1/photos", "cam2", "with=sign", "films"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("films/a.mp4", "films/b.mp4", "cam2/a.jpg", "cam2/notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "link").symlink_to("cam2")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        pytest.param("photos", {ROOT: "photos"}, id="one folder"),
        pytest.param(Path("photos"), {ROOT: "photos"}, id="as a path"),
        pytest.param(["photos"], {ROOT: "photos"}, id="in a list"),
        pytest.param("left=photos", {"left": "photos"}, id="one with a name"),
        pytest.param(["photos", "right=cam2"], {ROOT: "photos", "right": "cam2"}, id="one without a name"),
        pytest.param(["photos", "cam2"], {"photos": "photos", "cam2": "cam2"}, id="their own names"),
        pytest.param({"a": "photos", "b": Path("cam2")}, {"a": "photos", "b": "cam2"}, id="by name"),
        pytest.param("with=sign", {ROOT: "with=sign"}, id="a sign in a folder's name"),
        pytest.param("x=with=sign", {"x": "with=sign"}, id="a sign in a named folder's name"),
        pytest.param("my photos, 2=cam2", {"my photos, 2": "cam2"}, id="spaces in a name"),
        pytest.param("link", {ROOT: "cam2"}, id="a link is what it leads to"),
        pytest.param(["photos", "."], None, id="see below"),
    ],
)
def test_folders_get_their_names(folders: Path, images: object, expected: dict[str, str] | None) -> None:
    if expected is None:
        with pytest.raises(InputError, match=r"lies inside .*, which is given too\. Give the outer folder only"):
            corpus_roots(images)  # pyright: ignore[reportArgumentType]
        return
    found = corpus_roots(images)  # pyright: ignore[reportArgumentType]
    assert {root.name: root.folder for root in found} == {name: folders / path for name, path in expected.items()}
    assert [root.name for root in found] == sorted(expected)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "no folder is given"),
        ("nowhere", "nowhere: is not a folder"),
        ("a=nowhere", "nowhere: is not a folder"),
        (["photos", "photos"], "photos: is given twice"),
        (["link", "cam2"], "cam2: is given twice"),
        (["a=cam2", "b=link"], "cam2: is given twice"),
        (["photos/sub", "x=photos"], "photos/sub: lies inside .*/photos, which is given too"),
        (["photos", "cam1/photos"], "two folders are called 'photos': .*Name them: NAME=DIR"),
        (["a=photos", "a=cam2"], "two folders are called 'a'"),
        (["films/a.mp4", "films"], "films: is given twice"),
        ({"a/b": "photos"}, "'a/b' cannot name a corpus root"),
        ({"..": "photos"}, "cannot name a corpus root"),
        ({"a\nb": "photos"}, "cannot name a corpus root"),
        ({"a\udcff": "photos"}, "cannot name a corpus root"),
    ],
)
def test_what_would_be_unclear_is_refused(folders: Path, images: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        corpus_roots(images)  # pyright: ignore[reportArgumentType]


def test_single_files_are_listed_and_nothing_else(folders: Path) -> None:
    (root,) = corpus_roots("films/b.mp4")
    assert root == Root(ROOT, folders / "films", ("b.mp4",))
    assert [item.path for item in root.files()] == ["b.mp4"]
    (both,) = corpus_roots(["films/b.mp4", "films/a.mp4", "films/b.mp4"])
    assert [item.path for item in both.files()] == ["a.mp4", "b.mp4"]
    (named,) = corpus_roots("film=films/a.mp4")
    assert [(item.root, item.path) for item in named.files()] == [("film", "a.mp4")]
    (text,) = corpus_roots("cam2/notes.txt")
    with pytest.raises(InputError, match="neither an image nor a video"):
        list(text.files())


def test_files_know_their_root(folders: Path) -> None:
    found = [(item.root, item.path) for root in corpus_roots(["a=cam2", "b=films"]) for item in root.files()]
    assert found == [("a", "a.jpg"), ("b", "a.mp4"), ("b", "b.mp4")]
