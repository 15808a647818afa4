"""What a corpus is made of: one folder, several with names, or single files.

A manifest names its folders (*corpus roots*), so that they can move. One folder is called ``images``. Several
are named by the user (``cam2=/data/cam2``) or after themselves. No file may lie in two of them: it would be two
images with the same content, of which nobody knows why.
"""

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autolabel.errors import InputError
from autolabel.images import SUFFIXES
from autolabel.listing import ROOT, VIDEO_SUFFIXES, Listed, list_files, listed
from autolabel.stores import is_stored

Images = str | Path | Sequence[str | Path] | Mapping[str, str | Path]
"""A folder or file; several, of which a text may be ``NAME=DIR``; or folders by name."""


@dataclass(frozen=True)
class Root:
    """A corpus root.

    Attributes:
        name: What manifests call it.
        folder: Its absolute folder, or its place in an object store.
        only: The files in it that were asked for; none means all.
    """

    name: str
    folder: Path
    only: tuple[str, ...] = ()

    def files(self, others: Iterable[Path] = ()) -> Iterator[Listed]:
        """What lies in it, as :func:`autolabel.listing.list_files` lists it.

        Args:
            others: Folders that are none of its business.

        Raises:
            InputError: The folder cannot be read, or one of the single files is neither image nor video.
        """
        if not self.only:
            yield from list_files(self.folder, self.name, others=others)
        for name in self.only:
            found = listed(self.folder, name, self.name)
            if found is None:
                raise InputError("is neither an image nor a video", subject=str(self.folder / name))
            yield found


def corpus_roots(images: Images) -> list[Root]:
    """The corpus roots that somebody asks for, in the order of the names.

    Args:
        images: A single folder without a name becomes ``images``, several get the names of their folders.

    Raises:
        InputError: A folder is not there, lies in another, or has a name that cannot be used or is taken.
    """
    if isinstance(images, Mapping):
        given: list[tuple[str, str | Path]] = list(images.items())
    else:
        given = [_named(item) for item in ([images] if isinstance(images, str | Path) else images)]
    if not given:
        raise InputError("no folder is given", subject="IMAGES", remedy="Give the folder that holds the images.")
    roots = _merged([_root(name, Path(path)) for name, path in given])
    unnamed = [root for root in roots if not root.name]
    named = [root if root.name else replace(root, name=_own_name(root, len(unnamed))) for root in roots]
    for i, root in enumerate(named):
        _check(root, named[:i])
    return sorted(named, key=lambda root: root.name)


def _named(item: str | Path) -> tuple[str, str | Path]:
    """NAME and DIR; a folder whose own name has a ``=`` in it is taken as it is."""
    if isinstance(item, str) and not Path(item).exists():
        name, equals, folder = item.partition("=")
        if name and equals and "/" not in name:
            return name, folder
    return "", item


def _root(name: str, path: Path) -> Root:
    if is_stored(path):
        single = path.suffix.lower() in SUFFIXES | VIDEO_SUFFIXES
        return Root(name, path.parent, (path.name,)) if single else Root(name, path)
    if path.is_file():
        return Root(name, path.parent.resolve(), (path.name,))
    if not path.is_dir():
        raise InputError("is not a folder", subject=str(path), remedy="Give the folder that holds the images.")
    return Root(name, path.resolve())


def _merged(roots: list[Root]) -> list[Root]:
    """Single files of one folder are one root."""
    merged: dict[tuple[str, Path, bool], Root] = {}
    for i, root in enumerate(roots):
        key = (root.name, root.folder, bool(root.only)) if root.only else (str(i), root.folder, False)
        before = merged.get(key)
        merged[key] = replace(root, only=tuple(sorted({*before.only, *root.only}))) if before else root
    return list(merged.values())


def _own_name(root: Root, unnamed: int) -> str:
    return ROOT if unnamed == 1 else root.folder.name


def _check(root: Root, before: Sequence[Root]) -> None:
    if not _usable(root.name):
        raise InputError(
            f"{root.name!r} cannot name a corpus root",
            subject=str(root.folder),
            remedy="Write NAME=DIR, the name without slashes and control characters.",
        )
    for other in before:
        if root.folder == other.folder:
            raise InputError("is given twice", subject=str(root.folder), remedy="Give every folder once.")
        for inner, outer in ((root, other), (other, root)):
            if inner.folder.is_relative_to(outer.folder):
                raise InputError(
                    f"lies inside {outer.folder}, which is given too",
                    subject=str(inner.folder),
                    remedy="Give the outer folder only; --group-by folder tells the inner ones apart.",
                )
        if root.name == other.name:
            raise InputError(
                f"two folders are called {root.name!r}: {other.folder} and {root.folder}",
                subject="IMAGES",
                remedy="Name them: NAME=DIR.",
            )


def _usable(name: str) -> bool:
    try:
        os.fsencode(name).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return name not in ("", ".", "..") and "/" not in name and not any(unicodedata.category(c) == "Cc" for c in name)
