"""The seal of a routing: digests of its lists and of its planted poses, and of ``routing.json`` itself.

What was accepted and what was drawn may not change once an answer is known. A seal does not stop somebody who wants to
cheat; it stops an edit that nobody remembers from becoming part of a promise. Routings of before there was one carry
none, and are protected by the digest of their accepted poses alone.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from autolabel.errors import InputError
from autolabel.manifest import Manifest
from autolabel.run import file_digest

FILES, SEAL = "files", "seal"
PLANTS = "plants"
LISTS = (
    "accepted.txt",
    "audit.txt",
    "review.txt",
    "rejected.txt",
    "blind.txt",
    "decoys.txt",
    "held.txt",
    "keypoints.jsonl",
    "images.jsonl",
    "plants.jsonl",
    "queue.jsonl",
)


def sealed(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A routing's record with the digests of the lists that lie in its folder, and then one of all that it holds.

    Args:
        record: What ``routing.json`` is to hold.
        folder: The routing's, with all lists written.
    """
    files = {name: file_digest(folder / name) for name in LISTS if (folder / name).is_file()}
    whole = {**record, FILES: files}
    return {**whole, SEAL: _digest(whole)}


def require_unedited(record: Mapping[str, Any], folder: Path) -> None:
    """Refuse a routing that differs from what was sealed.

    Without a seal only the files are compared whose digests the record names; it may name none.

    Args:
        record: What ``routing.json`` holds.
        folder: Where it lies.

    Raises:
        InputError: The record or a list was changed, removed or added.
    """
    files: Any = record.get(FILES, {})
    if not isinstance(files, dict) or (SEAL in record and record[SEAL] != _digest(record)):
        raise _edited(folder / "routing.json")
    named = cast("dict[str, object]", files)
    for name in sorted({*named, *(LISTS if SEAL in record else ())}):
        file = folder / name
        if (file_digest(file) if file.is_file() else None) != named.get(name):
            raise _edited(file)


def require_plants(record: Mapping[str, Any], folder: Path) -> None:
    """Refuse planted poses that are not those whose digest the record names; a record of before names none.

    Args:
        record: What ``routing.json`` holds.
        folder: Where it lies; the planted poses are in its folder ``plants``.

    Raises:
        InputError: They were changed, or the record is malformed.
        FormatError: There are none.
    """
    plants: Any = record.get("plants", {})
    if not isinstance(plants, dict):
        raise _edited(folder / "routing.json")
    named = cast("dict[str, object]", plants).get("digest")
    if named is not None and Manifest.open(folder / PLANTS).digest != named:
        raise _edited(folder / PLANTS)


def _digest(record: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in record.items() if name != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _edited(file: Path) -> InputError:
    return InputError(
        "is not what routing wrote",
        subject=str(file),
        remedy="Put back what was routed and drawn: it may not be changed once it is frozen.",
    )
