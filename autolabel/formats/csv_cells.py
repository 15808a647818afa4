"""The cells of a CSV file: its lines, and numbers as people, pandas and R write them."""

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import FormatError
from autolabel.formats.records import TOO_LARGE

FIELD_LIMIT = 2**24
"""Characters of one cell: attributes can be long, but not endless."""

MISSING = frozenset({"", "nan", "-nan", "na", "n/a", "#n/a", "<na>", "null", "none"})
"""What an unknown number looks like here, in R, and to pandas, in small letters."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NUMBER_LENGTH = 64
"""Longer cells are no numbers; the expression above is slow on endless digits."""


def csv_lines(text: str, subject: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row that has any, and the line that it ends on.

    Raises:
        FormatError: The text is not CSV; names the line.
    """
    csv.field_size_limit(FIELD_LIMIT)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise FormatError(f"is not CSV: {error}", record=f"line {reader.line_num}", subject=subject) from error


def read_numbers(cells: Sequence[str], fail: Callable[[int, str], NoReturn]) -> NDArray[np.float64]:
    """The numbers in cells, NaN where one is missing.

    Args:
        cells: N cells.
        fail: Refuses the file because of the cell of an index, with a message.

    Returns:
        (N,) float64, all of which single precision can hold.
    """
    values = np.array([_number(cell) for cell in cells], np.float64)
    wrong = np.flatnonzero(np.abs(values) >= TOO_LARGE)
    if len(wrong):
        i = int(wrong[0])
        if is_number(cells[i]):
            fail(i, "is not a finite number in single precision")
        fail(i, f"is {cells[i].strip()[:40]!r}, expected a number or nothing")
    return values


def is_number(cell: str) -> bool:
    """Whether a cell holds a decimal number: NaN, Infinity and Python's 1_000 are none."""
    text = cell.strip()
    return len(text) <= _NUMBER_LENGTH and _NUMBER.fullmatch(text) is not None


def _number(cell: str) -> float:
    """NaN for a missing number, infinity for what is none."""
    if is_number(cell):
        return float(cell)
    return math.nan if cell.strip().lower() in MISSING else math.inf
