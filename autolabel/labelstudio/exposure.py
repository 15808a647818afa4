"""Whether a server that shows local files would show the review folder's secrets too.

Whoever may sign in to a released Label Studio may connect any folder below its document root to a project, and then
read every file in it. The token, and the task map that tells which tasks are planted, therefore may not lie below that
root: only a folder may that holds nothing but a link to the crops. Where the root is, no server tells. So it is tried:
an empty folder that is made beside the crops must be one that the server refuses to connect, by every way to it that
we know, and our files must not be served where they would stand beside the crops.
"""

import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from autolabel.errors import InputError
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.server import Server
from autolabel.manifest import make_folder

LOCAL = "/data/local-files/?d="
"""Where the server shows a file, by its place below the document root."""


def place_of(prefix: str, name: str) -> str:
    """Where a file of the folder that holds the link to the crops would be shown.

    Args:
        prefix: Where that folder lies below the document root; "" where it is the root.
        name: The file's place in it.
    """
    return LOCAL + quote("/".join(part for part in (prefix.strip("/"), name) if part))


def exposed(server: Server, project: int, folder: ReviewFolder, prefix: str = "") -> str:
    """What of the review folder the server would show to anybody who may sign in.

    Connections that are made to find out are taken back, and show an empty folder only.

    Args:
        server: The server.
        project: Its number of a project.
        folder: The review folder.
        prefix: As in :func:`place_of`.

    Returns:
        What was found, for people; "" where nothing was.

    Raises:
        InputError: The token may not ask.
        WorkError: The server failed.
    """
    for file in (folder.taskmap, folder.path / "token"):
        if file.is_file() and _served(server, place_of(prefix, file.name)) == file.read_bytes():
            return f"it serves {file}"
    with _trial(folder) as trial:
        for way in _ways(server, project, folder):
            connection = server.share(project, way / trial)
            if connection is not None:
                server.unshare(connection)
                return f"anybody may connect {way} to a project and read it"
    return ""


def require_private(server: Server, project: int, folder: ReviewFolder, prefix: str = "") -> None:
    """Refuse a server that would show more of the review folder than its crops.

    Raises:
        InputError: It would.
        WorkError: The server failed.
    """
    if found := exposed(server, project, folder, prefix):
        raise InputError(
            f"local files of this server would show the token and what tasks are for: {found}",
            subject=f"{server.url}, project {project}",
            remedy=f"Let its document root be a folder of its own that holds only a link to {folder.crops}.",
        )


def _ways(server: Server, project: int, folder: ReviewFolder) -> list[Path]:
    """Ways by which the server may reach the review folder: its paths, and what stands around connected crops."""
    around = [shared.parent for shared in server.shared_folders(project) if shared.name == folder.crops.name]
    return list(dict.fromkeys([folder.path.absolute(), folder.path.resolve(), *around]))


@contextmanager
def _trial(folder: ReviewFolder) -> Generator[str]:
    """The name of an empty folder in the review folder, as long as it is needed."""
    made = folder.path / f"trial-{secrets.token_hex(8)}"
    make_folder(made)
    try:
        yield made.name
    finally:
        made.rmdir()


def _served(server: Server, place: str) -> bytes | None:
    with suppress(InputError):
        return server.served(place)
    return None
