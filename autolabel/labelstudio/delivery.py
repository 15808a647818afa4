"""How a browser gets the crops: the policy, and the addresses that tasks then hold in ``data.image``.

``upload`` hands every crop to the server, which keeps it: works with any server. ``local-files`` lets the server
read them from a folder that it shares with us, which holds a link to the crops and nothing else of ours (exposure.py);
``url-prefix`` names a place where somebody else serves them, a web
server or a bucket that is connected to the project. A crop's file name is the key of its task, so neither the name
nor the address tells what the task is for, and a crop that was uploaded is found again by its name.
"""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from autolabel.errors import InputError
from autolabel.labelstudio.exposure import place_of
from autolabel.labelstudio.server import Server
from autolabel.progress import SILENT, Progress


class Delivery(StrEnum):
    """How crops reach the browser."""

    UPLOAD = "upload"
    LOCAL_FILES = "local-files"
    URL_PREFIX = "url-prefix"


def deliver(
    server: Server,
    project: int,
    crops: Sequence[Path],
    delivery: Delivery,
    prefix: str = "",
    progress: Progress = SILENT,
) -> dict[str, str]:
    """Make crops available to the browser.

    Args:
        server: Where the project is.
        project: Label Studio's id of it.
        crops: The files; what was uploaded before, by its name, is not uploaded again.
        delivery: The policy.
        prefix: What stands before a crop's name: with :attr:`Delivery.URL_PREFIX` an address, with
            :attr:`Delivery.LOCAL_FILES` where the folder with the link to the crops lies below the server's document
            root, "" where it is the root.
        progress: Where to report.

    Returns:
        By file name, what ``data.image`` says.

    Raises:
        InputError: A crop is missing, or the server does not show it.
        WorkError: The server failed.
    """
    if not crops:
        return {}
    if delivery is Delivery.URL_PREFIX:
        return {crop.name: f"{prefix.rstrip('/')}/{crop.name}" for crop in crops}
    if delivery is Delivery.LOCAL_FILES:
        places = {crop.name: place_of(prefix, f"{crop.parent.name}/{crop.name}") for crop in crops}
        _require_served(server, project, crops[0], places[crops[0].name])
        return places
    return _uploaded(server, project, crops, progress)


def _require_served(server: Server, project: int, crop: Path, place: str) -> None:
    _require_there(crop)
    try:
        same = server.served(place) == crop.read_bytes()
    except InputError:
        same = False
    if not same:
        raise InputError(
            f"the server does not show {crop} at {place}",
            subject=f"{server.url}/projects/{project}/settings/storage",
            remedy=f"Link {crop.parent} below its document root, connect the link there (Add Source Storage, Local "
            "files), set `prefix` to where the link's folder lies below the root, and push again.",
        )


def _require_there(crop: Path) -> None:
    if not crop.is_file():
        raise InputError("is missing", subject=str(crop), remedy="Delete its task file and push again.")


def _uploaded(server: Server, project: int, crops: Sequence[Path], progress: Progress) -> dict[str, str]:
    there = dict(server.uploads(project))
    missing = [crop for crop in crops if crop.name not in there]
    for crop in missing:
        _require_there(crop)
    with progress.task("upload", len(missing), "crop") as task:
        there.update(server.upload(project, missing, told=task.advance))
    return {crop.name: there[crop.name] for crop in crops}
