"""What lies in a folder: images, videos, and files that promise to be one and cannot be used.

The order is fixed by the names alone. A folder's names are held while it is listed, nothing else, so that a
hundred thousand files in one folder cost a few megabytes.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from autolabel.errors import ImageError, InputError
from autolabel.images import SNIFF_BYTES, SUFFIXES, Reason, access_error, looks_like_image
from autolabel.stores import is_stored, list_stored, stored_file

ROOT = "images"
"""Name of the corpus root in the manifests of one scanned folder."""

VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".qt", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m2v", ".wmv", ".asf"),
        *(".flv", ".3gp", ".3g2", ".mts", ".m2ts", ".ogv", ".mxf", ".vob"),
    }
)
"""File names that promise a video. ``.ts`` is not among them: it is source code more often than a video."""


@dataclass(frozen=True)
class Frame:
    """Where a frame comes from.

    Attributes:
        root: Name of the corpus root of its video.
        video: The video's path below that root.
        index: Its number among all frames of the video, from 0.
        time: When it is shown, in seconds from the video's beginning.
    """

    root: str
    video: str
    index: int
    time: float


@dataclass(frozen=True)
class ImageFile:
    """A file that looks like an image, not yet opened.

    Attributes:
        path: Below the corpus root, with forward slashes.
        bytes: Its size.
        mtime_ns: When it was last written.
        root: Name of the corpus root.
        frame: The frame of a video that it holds, if it is one.
    """

    path: str
    bytes: int
    mtime_ns: int
    root: str = field(default=ROOT, repr=False)
    frame: Frame | None = field(default=None, repr=False)


@dataclass(frozen=True)
class VideoFile:
    """A file that looks like a video, not yet opened; its fields are those of :class:`ImageFile`."""

    path: str
    bytes: int
    mtime_ns: int
    root: str = field(default=ROOT, repr=False)


@dataclass(frozen=True)
class Quarantined:
    """A file or folder that is not used, and why.

    Attributes:
        path: Below the corpus root, with forward slashes.
        reason: The kind of trouble, a :class:`autolabel.images.Reason`.
        detail: What exactly is wrong.
        root: Name of the corpus root.
    """

    path: str
    reason: str
    detail: str
    root: str = field(default=ROOT, repr=False)


Listed = ImageFile | VideoFile | Quarantined


def list_images(
    folder: str | Path, root: str = ROOT, *, others: Iterable[str | Path] = ()
) -> Iterator[ImageFile | Quarantined]:
    """All files below a folder that look like images; :func:`list_files` without the videos.

    Raises:
        InputError: The folder is not there or cannot be read.
    """
    return (item for item in list_files(folder, root, others=others) if not isinstance(item, VideoFile))


def list_files(folder: str | Path, root: str = ROOT, *, others: Iterable[str | Path] = ()) -> Iterator[Listed]:
    """All files below a folder that look like images or videos, by name or by their first bytes.

    Names that begin with a dot are skipped. Links are followed, but no folder is visited twice.

    Args:
        folder: The corpus root, which may lie in an object store.
        root: Its name.
        others: Folders that are none of its business: other corpus roots, and where results are written.

    Yields:
        In each folder its files by name, then its folders by name; what cannot be used is quarantined.

    Raises:
        InputError: The folder is not there or cannot be read.
    """
    top = Path(folder)
    if is_stored(top):
        yield from _stored(top, root)
        return
    if not top.is_dir():
        raise InputError("is not a folder", subject=str(folder), remedy="Give the folder that holds the images.")
    home = os.path.realpath(top)
    # Of a folder above this one nothing is left out: what lies in it and not here may well be linked here.
    apart = [path for other in others if not Path(home).is_relative_to(path := os.path.realpath(other))]
    homes = [home, *apart]
    visited = {identity for home in homes if (identity := _identity(home)) is not None}
    pending = [""]
    while pending:
        relative = pending.pop()
        try:
            files, folders = _names(top / relative)
        except OSError as error:
            if not relative:
                raise InputError(f"cannot be read: {error.strerror}", subject=str(folder)) from error
            yield _set_aside(relative, root, access_error(error, relative))
            continue
        for name in files:
            yield from _file(f"{top}/{relative}/{name}", _joined(relative, name), root)
        below = [_joined(relative, name) for name in folders]
        pending.extend(reversed([path for path in below if _is_new(f"{top}/{path}", homes, visited)]))


def _stored(top: Path, root: str) -> Iterator[Listed]:
    """What lies in an object store; what a file is, is told by its name alone, because to look costs a request."""
    for path, size, written in list_stored(top):
        if (found := _as_named(path, size, written, root)) is not None:
            yield found


def _as_named(path: str, size: int, written: int, root: str) -> Listed | None:
    suffix = PurePosixPath(path).suffix.lower()
    kind = ImageFile if suffix in SUFFIXES else VideoFile if suffix in VIDEO_SUFFIXES else None
    return None if kind is None else kind(path, size, written, root)


def listed(folder: Path, path: str, root: str) -> Listed | None:
    """One file as :func:`list_files` would list it; None when it is neither an image nor a video."""
    if is_stored(folder):
        return _as_named(path, *stored_file(folder / path), root)
    return next(_file(f"{folder}/{path}", path, root), None)


def listing_digest(listing: Iterable[Listed]) -> tuple[str, int]:
    """A hex digest of names, sizes and times, cheap because no file is read, and how many there are."""
    digest, count = hashlib.sha256(), 0
    for item in listing:
        count += 1
        digest.update(f"{item!r}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest(), count


def _joined(relative: str, name: str) -> str:
    return f"{relative}/{name}" if relative else name


def _names(folder: Path) -> tuple[list[str], list[str]]:
    """The names of files and of folders, each in order, without hidden ones."""
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as found:
        for entry in found:
            if not entry.name.startswith("."):
                (folders if _is_folder(entry) else files).append(entry.name)
    files.sort()
    folders.sort()
    return files, folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or through a folder that may not be read
        return False


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - a million times faster is a reason
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_new(path: str, homes: list[str], visited: set[tuple[int, int]]) -> bool:
    """Whether a folder is to be visited: each once, under its own name rather than a link's."""
    if os.path.islink(path):  # noqa: PTH114
        target = Path(os.path.realpath(path))
        if any(target.is_relative_to(home) for home in homes):
            return False
    identity = _identity(path)
    if identity is None:
        return True  # opening it will fail, and say why
    if identity in visited:
        return False
    visited.add(identity)
    return True


def _file(file: str, path: str, root: str) -> Iterator[Listed]:
    """The file as something to scan, as something to set aside, or nothing when it is neither image nor video."""
    try:
        found = _kind(file, path)
    except OSError as error:
        yield _set_aside(path, root, access_error(error, path))
        return
    except ImageError as error:
        yield _set_aside(path, root, error)
        return
    if found is None:
        return
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        yield Quarantined(path, Reason.BAD_NAME, "the file's name is not valid UTF-8: rename it", root)
        return
    kind, status = found
    yield kind(path, status.st_size, status.st_mtime_ns, root)


def _kind(file: str, path: str) -> tuple[type[ImageFile] | type[VideoFile], os.stat_result] | None:
    """What a file is by its name, or by its first bytes where the name does not promise an image."""
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - pathlib would keep every name it ever saw
    kind = ImageFile if suffix in SUFFIXES else VideoFile if suffix in VIDEO_SUFFIXES else None
    try:
        status = os.stat(file)  # noqa: PTH116 - a million times faster is a reason
    except OSError as error:
        if kind is None and error.errno in (errno.ENOENT, errno.ELOOP):
            return None  # a broken link that promises nothing
        raise
    if not stat.S_ISREG(status.st_mode):
        if kind is None:
            return None
        raise ImageError("is not a regular file", reason=Reason.NOT_A_FILE, subject=path)
    if kind is not ImageFile and _sniffed(file):
        kind = ImageFile
    return None if kind is None else (kind, status)


def _sniffed(file: str) -> bool:
    with open(file, "rb") as opened:  # noqa: PTH123 - a name as the system gave it
        return looks_like_image(opened.read(SNIFF_BYTES))


def _set_aside(path: str, root: str, error: ImageError) -> Quarantined:
    return Quarantined(path, error.reason, error.message, root)
