"""Reading other tools' JSON with errors that say where: the file, the record and the field.

Everything that comes from outside passes through :class:`Record`, whose methods give a value of the asked
kind or refuse the file. JSON's own extensions (NaN, Infinity) are refused wherever they stand.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NoReturn, cast

from autolabel.errors import FormatError

TOO_LARGE = 2.0**128 - 2.0**103
"""From here on a number rounds to infinity in single precision."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Record:
    """One JSON object of a file, which knows where it stands.

    Args:
        value: What was read.
        place: Such as ``annotations[12]``.
        subject: The file.

    Raises:
        FormatError: ``value`` is not an object.
    """

    def __init__(self, value: object, place: str, subject: str) -> None:
        self.place = place
        self.subject = subject
        if not isinstance(value, dict):
            raise FormatError(f"is {_kind(value)}, expected an object", record=place, subject=subject)
        self.data = cast("dict[str, Any]", value)

    def fail(self, field: str | None, message: str, remedy: str | None = None) -> NoReturn:
        """Refuse the file because of this record."""
        raise FormatError(message, record=self.place, field=field, subject=self.subject, remedy=remedy)

    def require(self, field: str) -> Any:
        """The field's value, whatever it is."""
        if field not in self.data:
            self.fail(field, "is missing")
        return self.data[field]

    def identifier(self, field: str) -> int | str:
        """A whole number or a text that names a record."""
        value = self.require(field)
        if isinstance(value, bool) or not isinstance(value, int | str):
            self.fail(field, f"is {_kind(value)}, expected a whole number or a text")
        return value

    def text(self, field: str, default: str | None = None) -> str:
        """A text."""
        value = self.require(field) if default is None else self.data.get(field, default)
        if not isinstance(value, str):
            self.fail(field, f"is {_kind(value)}, expected a text")
        return value

    def number(self, field: str, default: float | None = None) -> float:
        """A finite number; ``default``, which may be NaN, where the field is missing."""
        if default is not None and field not in self.data:
            return default
        value = self.require(field)
        if not _is_number(value):
            self._refuse_number(field, value)
        return float(value)

    def size(self, field: str) -> int:
        """A whole number above zero."""
        value = self.number(field)
        if value < 1 or not value.is_integer():
            self.fail(field, f"is {value:g}, expected a whole number of pixels")
        return int(value)

    def numbers(self, field: str, length: int) -> list[float]:
        """A list of ``length`` finite numbers."""
        values = self.items(field, length)
        for i, value in enumerate(values):
            if not _is_number(value):
                self._refuse_number(f"{field}[{i}]", value)
        return [float(value) for value in values]

    def optional_numbers(self, field: str, length: int) -> list[float]:
        """A list of ``length`` finite numbers or nulls; null becomes NaN."""
        values = self.items(field, length)
        for i, value in enumerate(values):
            if value is not None and not _is_number(value):
                self._refuse_number(f"{field}[{i}]", value)
        return [math.nan if value is None else float(value) for value in values]

    def items(self, field: str, length: int | None = None) -> list[Any]:
        """A list, of ``length`` entries where that is given."""
        value = self.require(field)
        if not isinstance(value, list):
            self.fail(field, f"is {_kind(value)}, expected a list")
        values = cast("list[Any]", value)
        if length is not None and len(values) != length:
            self.fail(field, f"has {len(values)} entries, expected {length}")
        return values

    def indices(self, field: str, below: int) -> list[int]:
        """A list of different whole numbers from 0 to ``below`` - 1; empty where the field is missing."""
        if field not in self.data:
            return []
        values = self.levels(field, len(self.items(field)), below, [])
        if len(set(values)) != len(values):
            self.fail(field, "names a keypoint twice")
        return values

    def levels(self, field: str, length: int, count: int, default: list[int]) -> list[int]:
        """A list of ``length`` whole numbers below ``count``; ``default`` where the field is missing."""
        if field not in self.data:
            return default
        values = self.items(field, length)
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
                self.fail(field, f"holds {value!r}, expected whole numbers from 0 to {count - 1}")
        return values

    def relative_path(self, field: str) -> str:
        """A path that stays below its root, in its plain form with forward slashes."""
        text = self.text(field)
        windows = PureWindowsPath(text)
        escapes = text.startswith(("/", "\\")) or windows.drive or ".." in windows.parts
        plain = PurePosixPath(text).as_posix()
        if escapes or plain == "." or "\0" in text:
            self.fail(field, f"is {text!r}, expected a path below the folder of the images")
        return plain

    def record(self, field: str) -> "Record":
        """The object in a field; an empty one where the field is missing."""
        return Record(self.data.get(field, {}), f"{self.place}.{field}" if self.place else field, self.subject)

    def records(self, field: str) -> Iterator["Record"]:
        """The objects of the list in a field; ``field`` alone is their place where this is the whole file."""
        prefix = f"{self.place}." if self.place else ""
        for i, value in enumerate(self.items(field)):
            yield Record(value, f"{prefix}{field}[{i}]", self.subject)

    def without(self, fields: Sequence[str]) -> dict[str, Any]:
        """Everything but some fields."""
        return {name: value for name, value in self.data.items() if name not in fields}

    def _refuse_number(self, field: str, value: object) -> NoReturn:
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.fail(field, "is not a finite number in single precision")
        self.fail(field, f"is {_kind(value)}, expected a number")


def refuse_repeated_images(
    images: Iterable[tuple[str, str, str]], field: str | None = None, remedy: str | None = None
) -> None:
    """Refuse two records of one image.

    Args:
        images: Of each one its path, the record that names it, and the file that the record stands in.
        field: Of the record, which holds the path.
        remedy: What to do about it.

    Raises:
        FormatError: There are such; names both.
    """
    seen: dict[str, tuple[str, str]] = {}
    for path, record, subject in images:
        if path in seen:
            first, where = seen[path]
            place = first if where == subject else f"{first} of {where}"
            message = f"is {path!r}, the image of {place} already"
            raise FormatError(message, record=record, field=field, subject=subject, remedy=remedy)
        seen[path] = (record, subject)


def read_json(path: str | Path) -> Any:
    """The value in a JSON file.

    Raises:
        FormatError: It cannot be read, is not JSON (names line and column), or holds NaN or an infinity
            (names the place).
    """
    return parse_json(read_text(path), subject=str(path))


def read_text(path: str | Path) -> str:
    """The text in a UTF-8 file, without its byte order mark.

    Raises:
        FormatError: It cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", subject=str(path)) from error
    except UnicodeDecodeError as error:
        raise FormatError(f"is not UTF-8 at byte {error.start}", subject=str(path)) from error


def parse_json(text: str, *, subject: str) -> Any:
    """The value that a JSON text holds; errors as :func:`read_json`, which call it ``subject``."""
    extensions: list[str] = []

    def extension(name: str) -> float:
        extensions.append(name)
        return float(name)

    try:
        value = json.loads(text, parse_constant=extension)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise FormatError(f"is not JSON: {error.msg} at {place}", subject=subject) from error
    except ValueError as error:  # Python refuses integers of thousands of digits
        raise FormatError(f"cannot be read: {error}", subject=subject) from error
    except RecursionError as error:
        raise FormatError("is nested too deeply to be read", subject=subject) from error
    # Walking every value is slow, so only files that show one of the two signs are searched for the place.
    if extensions or _SURROGATE.search(text):
        _refuse_unstorable(value, subject)
    return value


def json_line(line: bytes, number: int, subject: str) -> Record:
    """The object in one line of a JSON-lines file.

    Raises:
        FormatError: It holds something else; names the line.
    """
    place = f"line {number}"
    try:
        value = parse_json(line.decode("utf-8"), subject=subject)
    except UnicodeDecodeError as error:
        raise FormatError(f"is not UTF-8 at byte {error.start}", record=place, subject=subject) from error
    except FormatError as error:
        raise FormatError(error.message, record=place, subject=subject) from error
    return Record(value, place, subject)


def _refuse_unstorable(value: Any, subject: str) -> None:
    for steps, leaf in _leaves(value, ()):
        name = max((i for i, step in enumerate(steps) if isinstance(step, str)), default=0)
        place = {
            "record": _place(steps[:name]) or None,
            "field": _place(steps[name:]) or None,
            "subject": subject,
        }
        if isinstance(leaf, float) and not math.isfinite(leaf):
            raise FormatError("NaN and Infinity are not JSON numbers", **place, remedy="Leave unknown values out.")
        if isinstance(leaf, str) and any("\ud800" <= character <= "\udfff" for character in leaf):
            raise FormatError("holds half a surrogate pair, which is no character", **place)


def _leaves(value: Any, steps: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every name and every value that holds no other, with the way to it."""
    if isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            yield (*steps, name), name
            yield from _leaves(item, (*steps, name))
    elif isinstance(value, list):
        for i, item in enumerate(cast("list[Any]", value)):
            yield from _leaves(item, (*steps, i))
    else:
        yield steps, value


def _place(steps: Sequence[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def _is_number(value: object) -> bool:
    """Whether it is a number within single precision: 1e999 reads as infinite, and integers have no end."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -TOO_LARGE < value < TOO_LARGE


def _kind(value: object) -> str:
    if value is None:
        return "null"
    kinds: dict[type, str] = {bool: "a truth value", dict: "an object", list: "a list", str: "a text"}
    return kinds.get(type(value), repr(value))
