"""Reading one file of YOLO-pose labels; ``yolo_pose.py`` tells the dialect.

Every line is either understood whole or refused, with the field that is wrong. A line is never dropped because it
has an odd length: people have trained on data sets of which a sixth was silently missing.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Context, Decimal

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import FormatError

FARTHEST = 1.0
"""How far outside the image, in widths or heights, a place may lie. Further out it is no place but a mistake, such
as pixels where parts of the image should stand."""

_NUMBERS = re.compile(r"[0-9eE+\-. \t\r\n]*")
_LONGEST_NUMBER = 64
_EXACT = Context(prec=60, traps=[])
_MINUS_HALF = Decimal("-0.5")
_HALF = Decimal("0.5")


@dataclass(frozen=True)
class Layout:
    """What a line of labels holds.

    Attributes:
        classes: How many there are.
        keypoints: K names, for errors.
        dims: 2 for x, y; 3 for x, y, v.
    """

    classes: int
    keypoints: Sequence[str]
    dims: int

    @property
    def length(self) -> int:
        """Fields in a line."""
        return 5 + self.dims * len(self.keypoints)

    def field(self, i: int) -> str:
        """What the i-th field of a line is called."""
        if i < 5:
            name = ("class", "x", "y", "width", "height")[i]
        else:
            keypoint, part = divmod(i - 5, self.dims)
            name = f"{self.keypoints[keypoint]} {'xyv'[part]}"
        return f"field {i + 1} ({name})"


@dataclass(frozen=True, eq=False)
class Lines:
    """The lines of a file.

    Attributes:
        label: (N,) int64, the class.
        box: (N, 4) exact decimals x, y, width, height.
        keypoints: (N, K, dims) float64.
        repeated: How many further lines said the same as an earlier one.
    """

    label: NDArray[np.int64]
    box: tuple[tuple[Decimal, ...], ...]
    keypoints: NDArray[np.float64]
    repeated: int

    def __len__(self) -> int:
        return len(self.label)


def parse_lines(data: bytes, layout: Layout, subject: str) -> tuple[Lines, list[FormatError]]:
    """The lines of a file of labels, and what is wrong with any of them, one error a line.

    Args:
        data: The file's bytes.
        layout: What a line must hold.
        subject: What errors call the file.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _empty(layout), [FormatError(f"is not UTF-8 at byte {error.start}", subject=subject)]
    numbered = [(i, line.split()) for i, line in enumerate(text.split("\n"), 1) if line and not line.isspace()]
    plain = _NUMBERS.fullmatch(text) is not None
    errors: list[FormatError] = []
    rows: list[list[str]] = []
    values: list[list[float]] = []
    places: list[int] = []
    for number, tokens in numbered:
        found = _values(tokens, layout, plain=plain)
        if isinstance(found, _Fault):
            errors.append(found.at(number, subject))
        else:
            rows.append(tokens)
            values.append(found)
            places.append(number)
    array = np.array(values, np.float64).reshape(-1, layout.length)
    errors += [fault.at(places[i], subject) for i, fault in _faults(array, layout)]
    return (_empty(layout), errors) if errors else (_lines(rows, array, layout), [])


def edges(centre: Decimal, extent: Decimal, size: int) -> tuple[float, float]:
    """Where a box begins and ends in pixels, computed with decimals and rounded once."""
    scale = Decimal(size)
    low = _EXACT.multiply(_EXACT.fma(extent, _MINUS_HALF, centre), scale)
    high = _EXACT.multiply(_EXACT.fma(extent, _HALF, centre), scale)
    return float(low), float(high)


@dataclass(frozen=True)
class _Fault:
    """What is wrong with a line."""

    message: str
    field: str | None = None
    remedy: str | None = None

    def at(self, number: int, subject: str) -> FormatError:
        return FormatError(self.message, record=f"line {number}", field=self.field, subject=subject, remedy=self.remedy)


def _values(tokens: list[str], layout: Layout, *, plain: bool) -> list[float] | _Fault:
    """The numbers of a line; ``plain`` where the whole file is known to hold nothing but what numbers are made of."""
    if len(tokens) != layout.length:
        return _Fault(f"has {len(tokens)} fields, expected {layout.length}{_hint(len(tokens), layout)}")
    if plain and max(map(len, tokens)) <= _LONGEST_NUMBER:
        with suppress(ValueError):
            return list(map(float, tokens))
    values = [_number(token) for token in tokens]
    known = [value for value in values if value is not None]
    if len(known) == len(values):
        return known
    i = values.index(None)
    return _Fault(f"is {tokens[i]!r:.40}, expected a number", layout.field(i))


def _number(token: str) -> float | None:
    if len(token) > _LONGEST_NUMBER or not _NUMBERS.fullmatch(token):
        return None
    try:
        return float(token)
    except ValueError:
        return None


def _hint(count: int, layout: Layout) -> str:
    k, other = len(layout.keypoints), 5 - layout.dims
    if count == 5:
        return ": a box without keypoints"
    if count == layout.length + 1:
        return ": a prediction with its box's score at the end is no label"
    if count == 5 + other * k:
        return f": kpt_shape says [{k}, {layout.dims}], but this is [{k}, {other}]"
    if count > 5 and (count - 5) % layout.dims == 0:
        return f": this is {(count - 5) // layout.dims} keypoints, kpt_shape says {k}"
    return ""


def _faults(values: NDArray[np.float64], layout: Layout) -> list[tuple[int, _Fault]]:
    """Which rows cannot be, with the first field that is wrong."""
    wrong = ~((values >= -FARTHEST) & (values <= 1 + FARTHEST))
    label = values[:, 0]
    wrong[:, 0] = ~((label >= 0) & (label < layout.classes) & (label == np.floor(label)))
    wrong[:, 3:5] |= values[:, 3:5] < 0
    if layout.dims == 3:
        v = values[:, 7::3]
        wrong[:, 7::3] = ~((v == 0) | (v == 1) | (v == 2))
    rows: list[int] = np.flatnonzero(wrong.any(axis=1)).tolist()
    return [(i, _fault(values[i], int(wrong[i].argmax()), layout)) for i in rows]


def _fault(row: NDArray[np.float64], i: int, layout: Layout) -> _Fault:
    value, field = row[i], layout.field(i)
    if i == 0:
        return _Fault(f"is {value:g}, expected a class from 0 to {layout.classes - 1}", field)
    if i in (3, 4) and value < 0:
        return _Fault(f"is {value:g}; it cannot be negative", field)
    if layout.dims == 2 or i < 7 or (i - 7) % 3:
        return _Fault(f"is {value:g}, far outside the image: places are parts of its width and height", field)
    if not 0 < value < 1:
        return _Fault(f"is {value:g}, expected 0, 1 or 2", field)
    remedy = "Decide from which score on a keypoint is labelled, and write 2 there and 0 elsewhere."
    return _Fault(f"is {value:g}, expected 0, 1 or 2: a prediction's score is no label", field, remedy)


def _lines(rows: list[list[str]], values: NDArray[np.float64], layout: Layout) -> Lines:
    seen: dict[tuple[float, ...], int] = {}
    for i, row in enumerate(values.tolist()):
        seen.setdefault(tuple(row), i)
    kept = list(seen.values())
    values = values[kept]
    return Lines(
        label=values[:, 0].astype(np.int64),
        box=tuple(tuple(map(Decimal, rows[i][1:5])) for i in kept),
        keypoints=values[:, 5:].reshape(len(kept), len(layout.keypoints), layout.dims),
        repeated=len(rows) - len(kept),
    )


def _empty(layout: Layout) -> Lines:
    keypoints = np.empty((0, len(layout.keypoints), layout.dims))
    return Lines(np.empty(0, np.int64), (), keypoints, 0)
