"""Images in object stores, through fsspec: ``s3://bucket/photos`` stands wherever a corpus root may.

A place in a store is a :class:`~pathlib.Path` whose first part is the store's scheme, ``s3:/bucket/photos``: what
``Path("s3://bucket/photos")`` makes of itself. Paths on this machine are absolute wherever they are kept, so that none
is taken for one of a store. Who joins paths and compares them needs to know nothing of all this; who lists or reads
asks here. What must be a file of this machine (a link to it, a server's folder) cannot lie in a store.

A store that does not answer stops the job, which goes on when the same command is given again: otherwise all of a
corpus would be set aside in a minute.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from autolabel.errors import ImageError, InputError, LostServerError
from autolabel.image_faults import Reason

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:")
_LOGIN = re.compile(r"//[^/@\s]*@")
"""Name and password in an address, which nobody is told."""

_EXTRAS = {"s3": "pip install 'skeleton-autolabel[s3]'", "gs": "pip install gcsfs", "abfs": "pip install adlfs"}


def is_stored(path: str | Path) -> bool:
    """Whether a place is in a store, and not on this machine."""
    first = str(path).partition("/")[0]
    return _SCHEME.fullmatch(first) is not None


def url_of(path: str | Path) -> str:
    """A place in a store as everybody writes it: ``s3://bucket/photos``."""
    scheme, _, rest = str(Path(path)).partition(":/")
    return f"{scheme}://{rest}"


def kept_place(place: Path, folder: Path) -> str:
    """How a place is written down in a folder; one below or beside it relative, so that both can move together."""
    if is_stored(place):
        return url_of(place)
    place, folder = place.resolve(), folder.resolve()
    return os.path.relpath(place, folder) if place.is_relative_to(folder.parent) else str(place)


def place_of(folder: Path, kept: str) -> Path:
    """The place that :func:`kept_place` wrote down in ``folder``."""
    return Path(kept) if is_stored(kept) else folder / kept


def read_stored(path: str | Path, most: int) -> bytes:
    """An object of ``most`` bytes at most.

    Raises:
        ImageError: It is not there, is larger, or may not be read.
        LostServerError: The store does not answer, or lets nobody in any more.
        InputError: Nothing here reads such stores.
    """
    url = url_of(path)
    store, key = _store(url)
    try:
        size = int(store.info(key)["size"] or 0)
        if size > most:
            raise ImageError(f"{size} bytes, more than the {most} that are read", reason=Reason.TOO_LARGE, subject=url)
        return store.cat_file(key)
    except (FileNotFoundError, IsADirectoryError) as error:
        _require_answer(store, key, url)
        raise ImageError("cannot be read: there is no such object", reason=Reason.VANISHED, subject=url) from error
    except PermissionError as error:
        _require_answer(store, key, url)
        raise ImageError("cannot be read: no permission", reason=Reason.NO_PERMISSION, subject=url) from error
    except ImageError:
        raise
    except Exception as error:
        raise _lost(url, error) from error


def stored_file(path: str | Path) -> tuple[int, int]:
    """Bytes of a single object, and when it was last written, in nanoseconds.

    Raises:
        InputError: There is none, it may not be read, or nothing here reads such stores.
        LostServerError: The store does not answer.
    """
    url = url_of(path)
    store, key = _store(url)
    entry = _told(lambda: store.info(key), url)
    return int(entry["size"] or 0), _written(entry)


def list_stored(folder: str | Path) -> Iterator[tuple[str, int, int]]:
    """Everything below a place: paths below it, bytes, and when each was last written, in nanoseconds.

    In each folder its objects by name, then its folders by name, as on this machine; names that begin with a dot are
    left out. One folder's names are held at a time.

    Raises:
        InputError: There is nothing, it may not be read, or nothing here reads such stores.
        LostServerError: The store does not answer.
    """
    url = url_of(folder)
    store, top = _store(url)
    pending = [""]
    while pending:
        relative = pending.pop()
        key = f"{top}/{relative}" if relative else top
        below = list[str]()
        for entry in sorted(_told(lambda key=key: store.ls(key, detail=True), url), key=lambda one: str(one["name"])):
            name = str(entry["name"]).rstrip("/")
            if name == key.rstrip("/"):
                continue  # a folder that somebody made by hand holds an empty object of its own name
            name = name.rpartition("/")[2]
            path = f"{relative}/{name}" if relative else name
            if name.startswith("."):
                continue
            if entry["type"] == "directory":
                below.append(path)
            else:
                yield path, int(entry["size"] or 0), _written(entry)
        pending.extend(reversed(below))


def _told(ask: Callable[[], Any], url: str) -> Any:
    """What a store says of a place that somebody named."""
    try:
        return ask()
    except FileNotFoundError as error:
        raise InputError("holds nothing", subject=url, remedy="Give a folder that holds images.") from error
    except PermissionError as error:
        raise InputError("may not be read", subject=url, remedy="Check the credentials.") from error
    except Exception as error:
        raise _lost(url, error) from error


def _require_answer(store: Any, key: str, url: str) -> None:
    """See that the store itself is still there, and lets us in, where it did not give an object.

    Raises:
        LostServerError: It does not.
    """
    top = key.partition("/")[0]
    if ":" in top:  # a web server, of which there is nothing to ask
        return
    try:
        store.info(top)
    except Exception as error:
        raise _lost(url, error) from error


def _written(entry: Mapping[str, Any]) -> int:
    """When an object was last written, in nanoseconds; stores call it differently, and some say nothing."""
    when = next((entry[name] for name in ("LastModified", "last_modified", "mtime", "updated") if entry.get(name)), 0)
    if isinstance(when, datetime):
        return int(when.timestamp() * 1e9)
    return int(float(when) * 1e9) if isinstance(when, int | float) else 0


def _store(url: str) -> tuple[Any, str]:
    """The file system of a store, and what it calls a place there.

    Raises:
        InputError: Nothing here reads such stores.
    """
    import fsspec.core  # pyright: ignore[reportMissingTypeStubs]

    scheme = url.partition("://")[0]
    try:
        return cast("Any", fsspec.core).url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        remedy = _EXTRAS.get(scheme, "Install what fsspec needs for it.")
        raise InputError(f"needs a library: {error}", subject=f"{scheme}://", remedy=remedy) from error
    except ValueError as error:
        raise InputError("no such kind of store is known", subject=f"{scheme}://") from error
    except Exception as error:
        raise _lost(url, error) from error


def _lost(url: str, error: Exception) -> LostServerError:
    said = _LOGIN.sub("//", f"{type(error).__name__}: {error}")
    return LostServerError(
        f"the store does not answer: {said}",
        subject=_LOGIN.sub("//", url),
        remedy="Check address and credentials; the same command then goes on where it stopped.",
    )
