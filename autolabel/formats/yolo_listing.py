"""Which images a YOLO data set names, and where the labels of each lie; ``yolo_pose.py`` tells the dialect.

``data.yaml`` was often written on another machine, where its ``path`` meant another place. Its entries are looked
for below ``path``, below its own folder, and below the images folder that the user gives, in this order; and what
is found must lie below the last.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from autolabel.errors import FormatError
from autolabel.formats.records import read_text
from autolabel.formats.yolo_data import DataFile
from autolabel.images import Reason
from autolabel.listing import Quarantined, list_images

_MAX_LIST_BYTES = 2**28


@dataclass(frozen=True)
class LabelledImage:
    """An image of the data set.

    Attributes:
        path: Below the images folder, with forward slashes.
        labels: Its file of labels, which need not be there.
        split: ``train``, ``val`` or ``test``.
    """

    path: str
    labels: Path
    split: str


def labels_file(image: str) -> str:
    """Where trainers look for an image's labels: the last folder ``images`` of its path becomes ``labels``."""
    head, found, tail = image.rpartition("/images/")
    return os.path.splitext(f"{head}/labels/{tail}" if found else image)[0] + ".txt"  # noqa: PTH122 - no path yet


def list_data_set(data: DataFile, images: Path, split: str | None = None) -> tuple[list[LabelledImage], list[str]]:
    """The images that a data set names, and what a user should know of how they were found.

    An image that stands in several splits is given once, in the first of them.

    Args:
        data: Its ``data.yaml``.
        images: The folder that all images must lie below.
        split: The only split to list; None for all that are there.

    Raises:
        FormatError: A folder or a list is missing or leads out of ``images``, or two images share a file of labels.
    """
    if split is not None and split not in data.entries:
        named = ", ".join(data.entries)
        raise FormatError("is not stated", record=split, subject=str(data.file), remedy=f"Stated: {named}.")
    finder = _Finder(data, images)
    for name in data.splits if split is None else (split,):
        for i, entry in enumerate(data.entries[name]):
            finder.add(name, entry, f"{name}[{i}]" if len(data.entries[name]) > 1 else name)
    return finder.result(all_asked=split is None)


class _Finder:
    """Gathers the images of one entry after the other."""

    def __init__(self, data: DataFile, images: Path) -> None:
        self._data = data
        self._images = _absolute(images)
        home = _absolute(data.file.parent)
        self._bases = list(dict.fromkeys((home / _slashes(data.path), home, self._images)))
        self._found: dict[str, LabelledImage] = {}
        self._owner: dict[str, str] = {}
        self._folders: list[Path] = []
        self._missing: list[FormatError] = []
        self._again = Counter[tuple[str, str]]()
        self._badly_named: list[str] = []

    def add(self, split: str, entry: str, field: str) -> None:
        """Add the images of an entry of ``data.yaml``; one that is not there is remembered."""
        place = self._place(entry, field)
        if place is None:
            looked = f"Looked below {', '.join(map(str, self._bases))}."
            self._missing.append(self._error(field, f"is {entry!r}, which is not there", looked))
        elif place.is_dir():
            self._folders.append(place)
            for path in self._in_folder(place):
                self._take(split, path)
        elif place.suffix == ".txt":
            for path in self._in_list(place):
                self._take(split, path)
        else:
            raise self._error(field, f"is {entry!r}, which is neither a folder nor a .txt file")

    def result(self, *, all_asked: bool) -> tuple[list[LabelledImage], list[str]]:
        """The images, and notes; a missing entry is an error unless others of all were found."""
        if self._missing and not (all_asked and self._found):
            raise self._missing[0]
        notes = [f"Left out: {error}" for error in self._missing]
        for (split, again), count in self._again.items():
            where = "twice" if split == again else f"in {split} and again in {again}"
            notes.append(f"{count:,} images stand {where}; each is read once, as {split}.")
        if self._badly_named:
            count, first = len(self._badly_named), ascii(self._badly_named[0])
            notes.append(f"{count:,} images left out, because their names are not valid UTF-8, such as {first}.")
        if orphans := list(self._without_image()):
            notes.append(f"{len(orphans):,} files of labels have no image and are left out, such as {orphans[0]}.")
        return list(self._found.values()), notes

    def _take(self, split: str, path: str) -> None:
        if path in self._found:
            self._again[self._found[path].split, split] += 1
            return
        labels = labels_file(f"{self._images}/{path}")
        owner = self._owner.setdefault(labels, path)
        if owner != path and _exists(Path(labels)):
            raise FormatError(
                f"are the labels of both {owner} and {path}",
                subject=labels,
                remedy="Rename one of the images and its labels.",
            )
        self._found[path] = LabelledImage(path, Path(labels), split)

    def _place(self, entry: str, field: str) -> Path | None:
        """Where an entry lies: the first place that is there and lies below the images folder."""
        there = [place for place in chain(self._candidates(entry), self._shortened(entry)) if _exists(place)]
        inside = [place for place in map(self._inside, there) if place is not None]
        if there and not inside:
            message = f"is {there[0]}, outside of the images folder {self._images}"
            raise self._error(field, message, "Give the folder that all images lie below.")
        return inside[0] if inside else None

    def _candidates(self, entry: str, *further: Path) -> Iterator[Path]:
        plain = _slashes(entry)
        for form in dict.fromkeys((entry, plain)):
            yield from (_absolute(base / form) for base in self._bases)
        yield from further
        yield from self._moved(plain)

    def _shortened(self, entry: str) -> Iterator[Path]:
        """Some tools write ../train/images into a ``data.yaml`` that stands beside train; trainers put up with it."""
        plain = _slashes(entry)
        while plain.startswith("../"):
            plain = plain.removeprefix("../")
            yield from (_absolute(base / plain) for base in self._bases)

    def _moved(self, place: str) -> Iterator[Path]:
        """An absolute path of the machine that ``data.yaml`` was written on."""
        before = _slashes(self._data.path).rstrip("/") + "/"
        if before != "/" and place.startswith(before):
            yield from (_absolute(base / place.removeprefix(before)) for base in self._bases[1:])

    def _inside(self, place: Path) -> Path | None:
        """The place as it is called from the images folder; None where it does not lie below it."""
        if place.is_relative_to(self._images):
            return place
        real, top = Path(os.path.realpath(place)), Path(os.path.realpath(self._images))
        return self._images / real.relative_to(top) if real.is_relative_to(top) else None

    def _in_folder(self, folder: Path) -> Iterator[str]:
        top = folder.relative_to(self._images).as_posix()
        prefix = "" if top == "." else f"{top}/"
        for item in list_images(folder):
            if isinstance(item, Quarantined) and item.reason == Reason.BAD_NAME:
                self._badly_named.append(prefix + item.path)
            else:
                yield prefix + item.path

    def _in_list(self, file: Path) -> Iterator[str]:
        if file.stat().st_size > _MAX_LIST_BYTES:
            raise FormatError(f"is larger than {_MAX_LIST_BYTES >> 20} MiB", subject=str(file))
        for number, line in enumerate(read_text(file).split("\n"), 1):
            if entry := line.strip():
                yield self._listed(entry, file, f"line {number}")

    def _listed(self, entry: str, file: Path, record: str) -> str:
        """An image that a list names; it need not be there, but it must lie below the images folder."""
        beside = _absolute(file.parent / _slashes(entry))
        places = chain([beside], self._candidates(entry)) if entry.startswith("./") else self._candidates(entry, beside)
        first: Path | None = None
        for place in places if "\0" not in entry else ():
            inside = self._inside(place)
            if inside is not None and inside != self._images:
                if _exists(place):
                    return inside.relative_to(self._images).as_posix()
                first = first or inside
        if first is None:
            raise FormatError(
                f"{entry!r:.200} does not lie below the images folder {self._images}",
                record=record,
                subject=str(file),
                remedy="Give the folder that all images lie below, or correct the list.",
            )
        return first.relative_to(self._images).as_posix()

    def _without_image(self) -> Iterator[str]:
        """Files of labels below the listed folders that belong to no image."""
        tops = dict.fromkeys(os.path.dirname(labels_file(f"{folder}/x.jpg")) for folder in self._folders)  # noqa: PTH120
        for top in tops:
            for folder, below, names in os.walk(top):
                below.sort()
                for name in sorted(names):
                    if name.endswith(".txt") and f"{folder}/{name}" not in self._owner:
                        yield os.path.relpath(f"{folder}/{name}", self._images)

    def _error(self, field: str, message: str, remedy: str | None = None) -> FormatError:
        return FormatError(message, record=field, subject=str(self._data.file), remedy=remedy)


def _absolute(path: Path) -> Path:
    """Without ``..``; links stay as they are called."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _slashes(path: str) -> str:
    return path.replace("\\", "/")


def _exists(path: Path) -> bool:
    """Whether something is there; a name that no file can have is nowhere."""
    try:
        return path.exists()
    except OSError:
        return False
