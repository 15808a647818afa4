"""Whether local files would show more of the review folder than its crops; the root's place is what no server tells."""

from collections.abc import Callable
from pathlib import Path

import pytest

from autolabel.errors import InputError
from autolabel.labelstudio.exposure import exposed, place_of, require_private
from autolabel.labelstudio.folder import ReviewFolder
from tests.memory_server import MemoryServer

PROJECT = 7


@pytest.fixture
def folder(tmp_path: Path) -> ReviewFolder:
    made = ReviewFolder.of(tmp_path / "projects" / "mice")
    made.crops.mkdir(parents=True)
    made.taskmap.write_text("planted\n")
    (made.path / "token").write_text("0123456789")
    return made


def link(place: Path, to: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(to)
    return place


def separate(server: MemoryServer, folder: ReviewFolder, top: Path) -> None:
    """What ``review-server`` does."""
    server.root = top / "root"
    server.share(PROJECT, link(top / "root" / "crops", folder.crops))


def nowhere(server: MemoryServer, folder: ReviewFolder, top: Path) -> None:
    """Local files are switched off."""


def elsewhere(server: MemoryServer, folder: ReviewFolder, top: Path) -> None:
    server.root = top / "root"
    (top / "root" / "other").mkdir(parents=True)
    assert server.share(PROJECT, top / "root" / "other")


@pytest.mark.parametrize("setup", [separate, nowhere, elsewhere])
def test_a_folder_of_its_own_shows_nothing(
    folder: ReviewFolder, tmp_path: Path, setup: Callable[[MemoryServer, ReviewFolder, Path], None]
) -> None:
    server = MemoryServer()
    setup(server, folder, tmp_path)
    before = list(server.folders)
    assert exposed(server, PROJECT, folder) == ""
    require_private(server, PROJECT, folder)
    assert server.folders == before
    assert sorted(path.name for path in folder.path.iterdir()) == ["crops", "taskmap.jsonl", "token"]


def at_the_root(server: MemoryServer, folder: ReviewFolder, top: Path) -> str:
    server.root = folder.path
    return ""


def above(server: MemoryServer, folder: ReviewFolder, top: Path) -> str:
    server.root = top
    return "projects/mice/labelstudio"


def linked_whole(server: MemoryServer, folder: ReviewFolder, top: Path) -> str:
    """The review folder is linked, though only its crops are connected."""
    server.root = top / "root"
    server.share(PROJECT, link(top / "root" / "mice", folder.path) / "crops")
    return "mice"


def connected_whole(server: MemoryServer, folder: ReviewFolder, top: Path) -> str:
    """Somebody has connected it under another name already."""
    server.root = top / "root"
    server.share(PROJECT, link(top / "root" / "of us" / "mice", folder.path))
    return "of us/mice"


@pytest.mark.parametrize("setup", [at_the_root, above, linked_whole, connected_whole])
def test_a_review_folder_below_the_root_is_refused(
    folder: ReviewFolder, tmp_path: Path, setup: Callable[[MemoryServer, ReviewFolder, Path], str]
) -> None:
    server = MemoryServer()
    prefix = setup(server, folder, tmp_path)
    before = list(server.folders)
    assert exposed(server, PROJECT, folder, prefix)
    assert server.folders == before, "what was tried is taken back"
    assert sorted(path.name for path in folder.path.iterdir()) == ["crops", "taskmap.jsonl", "token"]
    with pytest.raises(InputError, match=r"would show the token .*holds only a link to .*crops"):
        require_private(server, PROJECT, folder, prefix)


def test_a_token_alone_is_found(folder: ReviewFolder, tmp_path: Path) -> None:
    server = MemoryServer()
    server.root = tmp_path / "root"
    folder.taskmap.unlink()
    link(tmp_path / "root" / "mice" / "token", folder.path / "token")
    server.share(PROJECT, tmp_path / "root" / "mice")
    assert exposed(server, PROJECT, folder, "mice") == f"it serves {folder.path / 'token'}"


@pytest.mark.parametrize(
    ("prefix", "place"),
    [("", "crops/a.jpg"), ("/mice/", "mice/crops/a.jpg"), ("m ä", "m%20%C3%A4/crops/a.jpg")],
)
def test_places_are_quoted(prefix: str, place: str) -> None:
    assert place_of(prefix, "crops/a.jpg") == f"/data/local-files/?d={place}"
