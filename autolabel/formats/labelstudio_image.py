"""Which image a task shows: from the address in it to a path below the images folder.

Addresses are of many kinds (uploads, local files, cloud storage, the web), and what stands before the image's own
path is the server's business. So ever shorter ends of an address are tried; where none is a file, the file's name is
looked for below the folder, and must be there once. No address leads out of the folder. Links in it are the user's own
and are followed, but the search by name does not enter a folder that is a link.
"""

import os
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from autolabel.formats.image_files import is_file
from autolabel.formats.labelstudio_writing import OURS
from autolabel.formats.records import Record

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".jp2"})
_MAX_ADDRESS = 10_000
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What a server puts before the name of an uploaded file."""


def image_key(tasks: Iterable[Record], stated: str = "") -> str:
    """The field of the tasks' ``data`` that holds the image.

    Args:
        tasks: Tasks of one project.
        stated: The field that the labelling configuration names, if there is one.

    Raises:
        FormatError: No field, or several, look like an image.
    """
    if stated:
        return stated
    found: dict[str, Record] = {}
    last = None
    for task in tasks:
        last = task
        for key, value in task.record("data").data.items():
            if _looks_like_an_image(value):
                found.setdefault(key, task)
    if len(found) == 1 or "image" in found:
        return "image" if "image" in found else next(iter(found))
    if found:
        keys = ", ".join(found)
        next(iter(found.values())).fail(
            "data",
            f"has several fields that look like images: {keys}",
            "Give the labelling configuration with --labelling-config: it says which one the keypoints are on.",
        )
    if last is not None:
        last.fail("data", "has no field that looks like an image")
    return "image"


class ImageFinder:
    """Finds the images of tasks below a folder.

    Args:
        folder: The images folder; without one, paths are taken as the addresses give them.
        key: The field of a task's ``data`` that holds the address.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder, self._key = folder, key

    def find(self, task: Record) -> str:
        """The path of a task's image, relative to the folder; the whole one of the address where there is no file.

        Raises:
            FormatError: The task names no image, one outside the folder, or one of several.
        """
        ours = task.record("meta").record(OURS)
        stated = ours.relative_path("path") if "path" in ours.data else None
        if stated is not None and (self._folder is None or is_file(self._folder / stated)):
            return stated
        parts = self._parts(task)
        names = ["/".join(variant) for variant in parts]
        if self._folder is None:
            return names[0]
        for variant in parts:
            for start in range(len(variant)):
                path = "/".join(variant[start:])
                if is_file(self._folder / path):
                    return path
        return self._by_name(task, parts) or stated or names[0]

    def _parts(self, task: Record) -> list[tuple[str, ...]]:
        """The path in the address, and the other ways to read it."""
        data = task.record("data")
        value: Any = data.data.get(self._key)
        if isinstance(value, list):
            data.fail(self._key, "holds several images", "A task must show one image.")
        if not isinstance(value, str) or not value or value.startswith("data:"):
            value = task.data.get("file_upload")
            if not isinstance(value, str) or not value:
                data.fail(self._key, "names no image file")
        variants: dict[tuple[str, ...], None] = {}
        for text in _paths(value):
            parts = tuple(part for part in text.split("/") if part not in ("", "."))
            if not parts or ".." in parts or "\0" in text:
                data.fail(self._key, f"is {value!r}, expected the address of an image below the images folder")
            variants[parts] = None
            if (match := _UPLOAD.match(parts[-1])) is not None:
                variants[(*parts[:-1], parts[-1][match.end() :])] = None
        return list(variants)

    def _by_name(self, task: Record, variants: Sequence[tuple[str, ...]]) -> str | None:
        """The one file of that name, wherever it is; among several the one whose path agrees the furthest."""
        for parts in variants:
            paths = self._index.get(parts[-1], [])
            agreement = [_agreement(path.split("/"), parts) for path in paths]
            best = [path for path, n in zip(paths, agreement, strict=True) if n == max(agreement)]
            if len(best) > 1:
                among = ", ".join(best[:3])
                message = f"could be several files below {self._folder}: {among}"
                task.fail(f"data.{self._key}", message, "Give the folder that the addresses start from as --images.")
            if best:
                return best[0]
        return None

    @cached_property
    def _index(self) -> dict[str, list[str]]:
        """Paths by file name; walked once, and only where an address alone does not lead to a file."""
        index: dict[str, list[str]] = {}
        assert self._folder is not None
        for folder, folders, files in os.walk(self._folder):
            folders.sort()
            below = Path(folder).relative_to(self._folder)
            for name in files:
                index.setdefault(name, []).append((below / name).as_posix())
        return index


def _paths(address: str) -> list[str]:
    """The path in an address, decoded as its kind has it; other ways to read it follow."""
    scheme, separator, rest = address.partition("://")
    path, _, query = address.partition("?")
    named = [part.removeprefix("d=") for part in query.split("&") if part.startswith("d=")]
    if path.endswith("/data/local-files/") and named:
        plain = unquote(named[0])
        return list(dict.fromkeys([plain, plain.replace("+", " "), plain.replace("\\", "/")]))
    if scheme in ("http", "https") and separator:
        path = path.partition("://")[2].partition("/")[2]
        return [unquote(path.partition("#")[0])]
    if address.startswith("/data/"):
        return [unquote(path.removeprefix("/data/"))]
    plain = rest if separator else address
    return list(dict.fromkeys([plain, unquote(plain), plain.replace("\\", "/")]))


def _looks_like_an_image(value: object) -> bool:
    if isinstance(value, list):
        items = cast("list[object]", value)
        return bool(items) and all(isinstance(item, str) and _looks_like_an_image(item) for item in items)
    if not isinstance(value, str):
        return False
    named = len(value) < _MAX_ADDRESS and any(Path(path).suffix.lower() in _SUFFIXES for path in _paths(value))
    return named or value.startswith("data:image/")


def _agreement(path: Sequence[str], wanted: Sequence[str]) -> int:
    """How many parts agree, counted from the end."""
    n = 0
    for a, b in zip(reversed(path), reversed(wanted), strict=False):
        if a != b:
            break
        n += 1
    return n
