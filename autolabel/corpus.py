"""A folder of images becomes samples: found, verified, hashed, grouped, repetitions marked.

The order of files is fixed by their names alone, and the first file that shows a picture is the one that its
copies point to, so that the same folder gives the same samples whatever the number of threads. A file that
cannot be used is never passed over in silence: it comes out as :class:`Quarantined`, with the reason.
"""

import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from autolabel.duplicates import SIDE, Duplicates, Thumbnail, look
from autolabel.errors import ConfigError, ImageError, InputError
from autolabel.images import (
    MAX_PIXELS,
    SNIFF_BYTES,
    SUFFIXES,
    Reason,
    access_error,
    decode_thumbnail,
    looks_like_image,
    read_bytes,
)
from autolabel.poses import Poses, Sample

ROOT = "images"
"""Name of the corpus root in the manifests of a scanned folder."""

_ID_LENGTH = 32
_AHEAD = 4
"""Files in work or waiting, per thread: enough that none idles, few enough that memory stays flat."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class ImageFile:
    """A file that looks like an image, not yet opened.

    Attributes:
        path: Below the corpus root, with forward slashes.
        bytes: Its size.
        mtime_ns: When it was last written.
    """

    path: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Quarantined:
    """A file or folder that is not used, and why.

    Attributes:
        path: Below the corpus root, with forward slashes.
        reason: The kind of trouble, a :class:`autolabel.images.Reason`.
        detail: What exactly is wrong.
    """

    path: str
    reason: str
    detail: str


def scan_images(
    folder: str | Path,
    listing: Iterable[ImageFile | Quarantined] | None = None,
    *,
    num_keypoints: int,
    group_by: str | None = None,
    duplicates: Duplicates | None = None,
    max_pixels: int = MAX_PIXELS,
    threads: int | None = None,
) -> Iterator[Sample | Quarantined]:
    """Verify and hash images; mark those that repeat earlier ones.

    Args:
        folder: The corpus root.
        listing: What to scan, of :func:`list_images`; by default all of it.
        num_keypoints: K of the samples' (empty) poses.
        group_by: See :func:`grouping`. Without it every picture is its own group. A copy always belongs to
            the group of the image that it repeats, so that no split parts them.
        duplicates: The images seen so far; by default none.
        max_pixels: Larger images are set aside.
        threads: How many decode; by default one a processor.

    Yields:
        In the order of the listing, a sample without poses for each image, and what was set aside.

    Raises:
        InputError: The folder is not there.
        ConfigError: ``group_by`` cannot be used.
    """
    root = Path(folder)
    group_of = grouping(group_by)
    seen = Duplicates(thumbnail_reader(root, max_pixels)) if duplicates is None else duplicates
    poses = Poses.empty(num_keypoints)
    work = partial(_examined, root, hashed=seen.near, max_pixels=max_pixels)
    for item in _in_order(work, list_images(root) if listing is None else listing, threads or _processors()):
        if isinstance(item, Quarantined):
            yield item
            continue
        first = seen.settle(item.id, item.path, item.look, item.thumbnail)
        id, path = (item.id, item.path) if first is None else first
        yield Sample(
            id=item.id,
            root=ROOT,
            path=item.path,
            size=item.thumbnail.size,
            poses=poses,
            group=group_of(path) or id,
            duplicate_of="" if first is None else path,
        )


def list_images(folder: str | Path) -> Iterator[ImageFile | Quarantined]:
    """All files below a folder that look like images, by name or by their first bytes, in a fixed order.

    Names that begin with a dot are skipped. Links are followed, but no folder is visited twice.

    Yields:
        In each folder its files by name, then its folders by name; what cannot be used is quarantined.

    Raises:
        InputError: The folder is not there or cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError("is not a folder", subject=str(folder), remedy="Give the folder that holds the images.")
    home = os.path.realpath(root)
    visited = {_identity(home)}
    pending = [""]
    while pending:
        relative = pending.pop()
        try:
            with os.scandir(root / relative) as found:
                entries = sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            if not relative:
                raise InputError(f"cannot be read: {error.strerror}", subject=str(folder)) from error
            yield _set_aside(relative, access_error(error, relative))
            continue
        folders: list[str] = []
        for entry in entries:
            path = f"{relative}/{entry.name}" if relative else entry.name
            if not _is_folder(entry):
                yield from _file(entry, path)
            elif _is_new(entry, home, visited):
                folders.append(path)
        pending.extend(reversed(folders))


def listing_digest(listing: Iterable[ImageFile | Quarantined]) -> tuple[str, int]:
    """A hex digest of names, sizes and times, cheap because no file is read, and how many there are."""
    digest, count = hashlib.sha256(), 0
    for item in listing:
        count += 1
        digest.update(f"{item!r}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest(), count


def grouping(group_by: str | None) -> Callable[[str], str]:
    """How a path below the root gives the name of its group, "" for none.

    Args:
        group_by: None for no groups, ``folder``, or a regular expression that is searched in the path: its
            bracketed parts, joined by ``/``, name the group, as in ``(?P<video>[^/]+)_[0-9]+[.]jpg``.

    Raises:
        ConfigError: It is not a regular expression, or has no bracketed part.
    """
    if group_by is None:
        return lambda path: ""
    if group_by == "folder":
        return lambda path: str(PurePosixPath(path).parent)
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise ConfigError(f"is not a regular expression: {error}", subject=f"group_by {group_by!r}") from error
    if not pattern.groups:
        raise ConfigError(
            "has no bracketed part",
            subject=f"group_by {group_by!r}",
            remedy="Bracket what names the group, as in (?P<video>[^/]+)_[0-9]+; or give 'folder'.",
        )

    def group_of(path: str) -> str:
        found = pattern.search(path)
        return "/".join(part for part in found.groups() if part) if found else ""

    return group_of


def thumbnail_reader(root: Path, max_pixels: int = MAX_PIXELS) -> Callable[[str], Thumbnail]:
    """Reads images below ``root`` again, in small, for :class:`autolabel.duplicates.Duplicates`."""
    return lambda path: _thumbnail(read_bytes(root / path), str(root / path), max_pixels)


@dataclass(frozen=True, eq=False)
class _Examined:
    path: str
    id: str
    thumbnail: Thumbnail
    look: bytes


def _examined(root: Path, item: ImageFile | Quarantined, *, hashed: bool, max_pixels: int) -> _Examined | Quarantined:
    """Read a file once: hash, decode, shrink. One bad file never stops a scan."""
    if isinstance(item, Quarantined):
        return item
    subject = str(root / item.path)
    try:
        data = read_bytes(subject)
        thumbnail = _thumbnail(data, subject, max_pixels)
    except ImageError as error:
        return _set_aside(item.path, error)
    id = hashlib.sha256(data).hexdigest()[:_ID_LENGTH]
    return _Examined(item.path, id, thumbnail, look(thumbnail) if hashed else b"")


def _thumbnail(data: bytes, subject: str, max_pixels: int) -> Thumbnail:
    info, grey = decode_thumbnail(data, SIDE, subject=subject, max_pixels=max_pixels)
    return Thumbnail(info.size, grey)


def _in_order(work: Callable[[_In], _Out], items: Iterable[_In], threads: int) -> Iterator[_Out]:
    """``map`` on threads, which pay because Pillow and hashlib let go of the interpreter; few items ahead."""
    waiting: deque[Future[_Out]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="scan")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _processors() -> int:
    return os.cpu_count() or 1


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - a million times faster is a reason
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or through a folder that may not be read
        return False


def _is_new(entry: os.DirEntry[str], home: str, visited: set[tuple[int, int]]) -> bool:
    """Whether a folder is to be visited: each once, under its own name rather than a link's."""
    if entry.is_symlink() and Path(os.path.realpath(entry.path)).is_relative_to(home):
        return False
    try:
        identity = _identity(entry.path)
    except OSError:
        return True  # opening it will fail, and say why
    if identity in visited:
        return False
    visited.add(identity)
    return True


def _file(entry: os.DirEntry[str], path: str) -> Iterator[ImageFile | Quarantined]:
    """The file as something to scan, as something to set aside, or nothing when it is no image at all."""
    named = PurePosixPath(entry.name).suffix.lower() in SUFFIXES
    try:
        if not entry.is_file():
            if named:
                entry.stat()  # of a broken link, this says so
                raise ImageError("is not a regular file", reason=Reason.NOT_A_FILE, subject=path)
            return
        if not named and not _sniffed(entry.path):
            return
        status = entry.stat()
        path.encode("utf-8")
    except OSError as error:
        yield _set_aside(path, access_error(error, path))
    except UnicodeEncodeError:
        yield Quarantined(path, Reason.BAD_NAME, "the file's name is not valid UTF-8: rename it")
    except ImageError as error:
        yield _set_aside(path, error)
    else:
        yield ImageFile(path, status.st_size, status.st_mtime_ns)


def _sniffed(path: str) -> bool:
    with open(path, "rb") as file:  # noqa: PTH123 - DirEntry's own path
        return looks_like_image(file.read(SNIFF_BYTES))


def _set_aside(path: str, error: ImageError) -> Quarantined:
    return Quarantined(path, error.reason, error.message)
