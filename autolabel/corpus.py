"""A folder of images becomes samples: found, verified, hashed, grouped, repetitions marked.

The order of files is fixed by their names alone, and the first file that shows a picture is the one that its
copies point to, so that the same folder gives the same samples whatever the number of threads. A file that
cannot be used is never passed over in silence: it comes out as :class:`Quarantined`, with the reason.
"""

import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from autolabel.duplicates import SIDE, Duplicates, Thumbnail, look
from autolabel.errors import ConfigError, ImageError
from autolabel.images import MAX_PIXELS, decode_thumbnail, read_bytes
from autolabel.listing import ROOT, ImageFile, Quarantined, list_images
from autolabel.poses import Poses, Sample

Roots = Mapping[str, Path]
"""Folders by the names of their corpus roots."""

_ID_LENGTH = 32
_AHEAD = 4
"""Files in work or waiting, per thread: enough that none idles, few enough that memory stays flat."""

_LOOK = 0.1
"""Seconds of a wait for a thread."""

_NUMBER = re.compile(r"[ _.-]*[0-9]+$")

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def scan_images(
    folder: str | Path | Roots,
    listing: Iterable[ImageFile | Quarantined] | None = None,
    *,
    num_keypoints: int,
    group_by: str | None = None,
    frames_root: str | None = None,
    duplicates: Duplicates | None = None,
    max_pixels: int = MAX_PIXELS,
    threads: int | None = None,
) -> Iterator[Sample | Quarantined]:
    """Verify and hash images; mark those that repeat earlier ones.

    Args:
        folder: The corpus root, called ``ROOT``; or several, by name.
        listing: What to scan, of :func:`autolabel.listing.list_images`; by default all of it.
        num_keypoints: K of the samples' (empty) poses.
        group_by: See :func:`grouping`. An image that it gives no group is a group of its own, together with those
            that repeat it. A copy keeps its own group; that no split parts it from its original is the work of
            :mod:`autolabel.split`.
        frames_root: Which root holds the frames of videos; it is not counted where others are told apart.
        duplicates: The images seen so far; by default none.
        max_pixels: Larger images are set aside.
        threads: How many decode; by default one a processor.

    Yields:
        In the order of the listing, a sample without poses for each image, and what was set aside.

    Raises:
        InputError: The folder is not there.
        ConfigError: ``group_by`` cannot be used.
    """
    roots = _by_name(folder)
    group_of = partial(_group, grouping(group_by), several=len(set(roots) - {frames_root}) > 1)
    seen = Duplicates(thumbnail_reader(roots, max_pixels)) if duplicates is None else duplicates
    poses = Poses.empty(num_keypoints)
    work = partial(_examined, roots, hashed=seen.near, max_pixels=max_pixels)
    everything = (item for root, top in roots.items() for item in list_images(top, root))
    for item in in_order(work, everything if listing is None else listing, threads):
        if isinstance(item, Quarantined):
            yield item
            continue
        file = item.file
        first = seen.settle(item.id, _address(roots, file.root, file.path), item.look, item.thumbnail)
        yield Sample(
            id=item.id,
            root=file.root,
            path=file.path,
            size=item.thumbnail.size,
            poses=poses,
            group=group_of(file) or (item.id if first is None else first.id),
            duplicate_of="" if first is None else first.path.removeprefix(f"/{file.root}/"),
            attributes=_origin(file),
        )


def grouping(group_by: str | None) -> Callable[[str], str]:
    """How the place of a file gives the name of its group, "" for none.

    A place is the path below the corpus root; where there are several roots, the name of the root and the path.
    For a frame it is that of its video, so that the frames of one video are always in one group; ``video`` is exactly
    that for them.

    Args:
        group_by: None for no groups; ``folder``; ``video`` for images that are numbered frames, whose group is their
            name without the number at its end (``walk_0001.jpg`` is of ``walk``, ``0001.jpg`` of its folder); or a
            regular expression that is searched in the place: its bracketed parts, joined by ``/``, name the group,
            as in ``(?P<video>[^/]+)_[0-9]+[.]jpg``.

    Raises:
        ConfigError: It is not a regular expression, or has no bracketed part.
    """
    if group_by is None:
        return lambda path: ""
    if group_by == "folder":
        return lambda path: str(PurePosixPath(path).parent)
    if group_by == "video":
        return _film
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise ConfigError(f"is not a regular expression: {error}", subject=f"group_by {group_by!r}") from error
    if not pattern.groups:
        raise ConfigError(
            "has no bracketed part",
            subject=f"group_by {group_by!r}",
            remedy="Bracket what names the group, as in (?P<video>[^/]+)_[0-9]+; or give 'folder' or 'video'.",
        )

    def group_of(path: str) -> str:
        found = pattern.search(path)
        return "/".join(part for part in found.groups() if part) if found else ""

    return group_of


def thumbnail_reader(root: Path | Roots, max_pixels: int = MAX_PIXELS) -> Callable[[str], Thumbnail]:
    """Reads images below the roots again, in small, for :class:`autolabel.duplicates.Duplicates`."""
    roots = _by_name(root)

    def read(address: str) -> Thumbnail:
        name, _, path = address[1:].partition("/") if address.startswith("/") else (ROOT, "", address)
        file = str(roots[name] / path)
        return _thumbnail(read_bytes(file), file, max_pixels)

    return read


def _by_name(folder: str | Path | Roots) -> Roots:
    return folder if isinstance(folder, Mapping) else {ROOT: Path(folder)}


def _address(roots: Roots, root: str, path: str) -> str:
    """What :class:`Duplicates` knows a file by: as ``Sample.duplicate_of`` names it from another root."""
    return path if len(roots) == 1 else f"/{root}/{path}"


def _film(path: str) -> str:
    pure = PurePosixPath(path)
    return str(pure.with_name(name)) if (name := _NUMBER.sub("", pure.stem)) else str(pure.parent)


def _group(group_of: Callable[[str], str], file: ImageFile, several: bool) -> str:
    frame = file.frame
    root, path = (file.root, file.path) if frame is None else (frame.root, frame.video)
    place = f"{root}/{path}" if several else path
    if frame is not None and group_of is _film:
        return place  # a number at the end of a video's name tells videos apart, not frames
    return group_of(place) or ("" if frame is None else place)


def _origin(file: ImageFile) -> dict[str, str | int | float]:
    """What a sample's attributes say of the video that it is a frame of."""
    if file.frame is None:
        return {}
    frame = file.frame
    return {"video": frame.video, "video_root": frame.root, "index": frame.index, "time": frame.time}


@dataclass(frozen=True, eq=False)
class _Examined:
    file: ImageFile
    id: str
    thumbnail: Thumbnail
    look: bytes


def _examined(roots: Roots, item: ImageFile | Quarantined, *, hashed: bool, max_pixels: int) -> _Examined | Quarantined:
    """Read a file once: hash, decode, shrink. One bad file never stops a scan."""
    if isinstance(item, Quarantined):
        return item
    subject = str(roots[item.root] / item.path)
    try:
        data = read_bytes(subject)
        thumbnail = _thumbnail(data, subject, max_pixels)
    except ImageError as error:
        return Quarantined(item.path, error.reason, error.message, item.root)
    id = hashlib.sha256(data).hexdigest()[:_ID_LENGTH]
    return _Examined(item, id, thumbnail, look(thumbnail) if hashed else b"")


def _thumbnail(data: bytes, subject: str, max_pixels: int) -> Thumbnail:
    info, grey = decode_thumbnail(data, SIDE, subject=subject, max_pixels=max_pixels)
    return Thumbnail(info.size, grey)


def in_order(
    work: Callable[[_In], _Out],
    items: Iterable[_In],
    threads: int | None = None,
    stop: Callable[[], None] = lambda: None,
) -> Iterator[_Out]:
    """``map`` on threads, which pay because Pillow, FFmpeg and hashlib let go of the interpreter.

    Args:
        work: What to do with an item.
        items: Few of them are taken ahead of what is asked for.
        threads: By default one a processor.
        stop: Is called at the end, an early one too: items in work are waited for, and may take long.
    """
    threads = threads or os.cpu_count() or 1
    waiting: deque[Future[_Out]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="scan")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= _AHEAD * threads:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        stop()
        pool.shutdown(cancel_futures=True)


def _result(future: Future[_Out]) -> _Out:
    """What comes of it. A signal that arrives just before a wait does not end the wait: none of them is long."""
    while not future.done():
        wait([future], timeout=_LOOK)
    return future.result()
