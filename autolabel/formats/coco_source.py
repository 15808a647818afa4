"""What a COCO file said of an image or a pose and we have no field for: the attribute ``coco``, read again.

Attributes can come out of anybody's table, so that nothing is taken for granted here: what is not of the kind that the
COCO reader leaves says nothing.

At an image stand the keys of its record. At a pose stand those of the annotation, and as ``category`` the record of
its category. An annotation's own key of that name stands in the block ``autolabel``, a key that an annotation cannot
leave there itself because it is ours in the file too.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, cast

from autolabel.formats.coco_reading import ANNOTATION_KEYS, CATEGORY, IMAGE_KEYS, OURS, THEIRS
from autolabel.poses import Sample


def source_id(attributes: Mapping[str, Any]) -> int | str | None:
    """The id that the image or the annotation had; None where none is known."""
    return _id(_theirs(attributes))


def image_keys(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The other keys of the image."""
    return {name: value for name, value in _theirs(attributes).items() if name not in IMAGE_KEYS}


def annotation_keys(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The other keys of the annotation."""
    theirs = _theirs(attributes)
    own = {name: value for name, value in theirs.items() if name not in ANNOTATION_KEYS and name != CATEGORY}
    return own | {name: value for name, value in _mapping(theirs.get(OURS)).items() if name == CATEGORY}


def category(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record of a pose's category; nothing where it has none with an id."""
    found = _mapping(_theirs(attributes).get(CATEGORY))
    return found if _id(found) is not None else {}


def file_name(sample: Sample) -> str:
    """The image's name as the source spelled it, where it still leads to the sample's image; else its path."""
    name = _theirs(sample.attributes).get("file_name")
    return name if isinstance(name, str) and PurePosixPath(name).as_posix() == sample.path else sample.path


def _theirs(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(attributes.get(THEIRS))


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _id(record: Mapping[str, Any]) -> int | str | None:
    value = record.get("id")
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None
