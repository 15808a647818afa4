"""One CSV table of DeepLabCut, checked whole; ``deeplabcut.py`` tells the format."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import FormatError
from autolabel.formats.csv_cells import csv_lines, read_numbers
from autolabel.formats.records import Record, read_text

SCENE = "single"
"""The individual that holds a multi-animal project's unique body parts."""

_COORDS = ("x", "y", "likelihood")


@dataclass(frozen=True, eq=False)
class Row:
    """One image.

    Attributes:
        line: Where its row ends, from 1.
        path: As the table has it, with forward slashes, from ``labeled-data`` on where that is in it.
        values: (M, K, 3) float32 x, y, likelihood of M individuals; NaN where the cell is empty.
    """

    line: int
    path: str
    values: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Table:
    """A table.

    Attributes:
        subject: The file.
        scorer: Who labelled, "" where the table does not say.
        individuals: M names; one empty name in a single-animal project.
        bodyparts: K names.
        rows: The images.
        scene_points: How many points of the scene were left out.
    """

    subject: str
    scorer: str
    individuals: tuple[str, ...]
    bodyparts: tuple[str, ...]
    rows: list[Row] = field(default_factory=list[Row])
    scene_points: int = 0


def read_table(path: str | Path) -> Table:
    """Read a table.

    Raises:
        FormatError: It is malformed; names the line and the cell.
    """
    subject = str(path)
    lines = csv_lines(read_text(path), subject)
    header = _Header.parse(lines, subject)
    rows: list[Row] = []
    scene_points = 0
    for line, cells in lines:
        row, left_out = header.row(line, cells)
        rows.append(row)
        scene_points += left_out
    return Table(subject, header.scorer, header.individuals, header.bodyparts, rows, scene_points)


@dataclass(frozen=True)
class _Header:
    """What the header's rows say of each column.

    Attributes:
        subject: The file.
        scorer: The scorer's name.
        individuals: M names.
        bodyparts: K names.
        names: What errors call each column, those of the path included.
        slots: Where each column's number goes in an (M, K, 3) array; -1 for a point of the scene.
    """

    subject: str
    scorer: str
    individuals: tuple[str, ...]
    bodyparts: tuple[str, ...]
    names: tuple[str, ...]
    slots: tuple[int, ...]

    @classmethod
    def parse(cls, lines: Iterator[tuple[int, list[str]]], subject: str) -> "_Header":
        levels = _levels(lines, subject)
        coords = levels["coords"]
        width = next((i for i, cell in enumerate(coords) if i and cell), len(coords))
        if width not in (1, 3) or width == len(coords):
            found = "no point" if width == len(coords) else f"{width} columns before the first point"
            _fail(subject, "coords", None, f"has {found}; the image's path takes one column or three")
        individuals = levels.get("individuals", [""] * len(coords))[width:]
        columns = list(zip(individuals, levels["bodyparts"][width:], coords[width:], strict=True))
        _check_columns(columns, subject)
        parts = _parts_of_animals(columns, subject)
        animals = tuple(parts)
        bodyparts = next(iter(parts.values()))
        slot = {
            (animal, part, coord): (m * len(bodyparts) + k) * 3 + c
            for m, animal in enumerate(animals)
            for k, part in enumerate(bodyparts)
            for c, coord in enumerate(_COORDS)
        }
        names = [" ".join(filter(None, column)) for column in columns]
        scorer = next(filter(None, levels["scorer"][width:]), "")
        slots = tuple(slot.get(column, -1) for column in columns)
        return cls(subject, scorer, animals, bodyparts, (*("image",) * width, *names), slots)

    def row(self, line: int, cells: Sequence[str]) -> tuple[Row, int]:
        """A row of the table, and how many points of the scene it has besides."""
        place = f"line {line}"
        if len(cells) != len(self.names):
            self._fail(place, None, f"has {len(cells)} cells, the header has {len(self.names)}")
        width = len(self.names) - len(self.slots)
        path = self._path(place, cells[:width])
        numbers = read_numbers(cells[width:], lambda i, message: self._fail(place, self.names[width + i], message))
        slots = np.array(self.slots)
        flat = np.full(len(self.individuals) * len(self.bodyparts) * 3, np.nan, np.float32)
        flat[slots[slots >= 0]] = numbers[slots >= 0]
        known: list[int] = np.flatnonzero((slots < 0) & ~np.isnan(numbers)).tolist()
        scene = sum(self.names[width + i].endswith(" x") for i in known)
        values = flat.reshape(len(self.individuals), len(self.bodyparts), 3)
        self._check_pairs(place, values)
        return Row(line, path, values), scene

    def _path(self, place: str, cells: Sequence[str]) -> str:
        text = "/".join(cells).replace("\\", "/")
        if len(cells) == 1 and re.fullmatch(r"[0-9]{1,20}", text):
            remedy = "Give labels of images: labeled-data/VIDEO/CollectedData_SCORER.csv."
            message = f"is the number {text} of a video's frame, not an image"
            raise FormatError(message, record=place, field="image", subject=self.subject, remedy=remedy)
        before, found, after = text.rpartition("labeled-data/")
        if found and (not before or before.endswith("/")):
            text = found + after
        return Record({"image": text}, place, self.subject).relative_path("image")

    def _check_pairs(self, place: str, values: NDArray[np.float32]) -> None:
        odd = np.isnan(values[..., 0]) != np.isnan(values[..., 1])
        if odd.any():
            individual, part = divmod(int(np.flatnonzero(odd)[0]), len(self.bodyparts))
            name = " ".join(filter(None, (self.individuals[individual], self.bodyparts[part])))
            self._fail(place, name, "has one coordinate and no other")

    def _fail(self, place: str, name: str | None, message: str) -> NoReturn:
        _fail(self.subject, place, name, message)


def _fail(subject: str, record: str | None, name: str | None, message: str) -> NoReturn:
    raise FormatError(message, record=record, field=name, subject=subject)


def _levels(lines: Iterator[tuple[int, list[str]]], subject: str) -> dict[str, list[str]]:
    """The rows of the header by their names."""
    levels: dict[str, list[str]] = {}
    expected: tuple[str, ...] = ("scorer",)
    while expected:
        line, cells = next(lines, (len(levels) + 1, [""]))
        name = cells[0].strip()
        if name not in expected:
            wanted = " or ".join(map(repr, expected))
            remedy = "DeepLabCut's tables begin with the rows scorer, (individuals,) bodyparts, coords."
            message = f"begins with {name[:40]!r}, expected {wanted}"
            raise FormatError(message, record=f"line {line}", subject=subject, remedy=remedy)
        levels[name] = cells
        if len(cells) != len(levels["scorer"]):
            _fail(subject, f"line {line}", None, f"has {len(cells)} cells, the first row has {len(levels['scorer'])}")
        after = {"scorer": ("individuals", "bodyparts"), "individuals": ("bodyparts",), "bodyparts": ("coords",)}
        expected = after.get(name, ())
    return levels


def _check_columns(columns: Sequence[tuple[str, str, str]], subject: str) -> None:
    seen: set[tuple[str, str, str]] = set()
    for column in columns:
        individual, part, coord = column
        name = " ".join(filter(None, (individual, part)))
        if not part:
            _fail(subject, "bodyparts", None, "has an empty name")
        if coord not in _COORDS:
            _fail(subject, "coords", name, f"is {coord[:40]!r}, expected x, y or likelihood")
        if column in seen:
            _fail(subject, "bodyparts", name, f"stands twice with {coord}")
        seen.add(column)
    for individual, part, _ in columns:
        for coord in ("x", "y"):
            if (individual, part, coord) not in seen:
                _fail(subject, "coords", " ".join(filter(None, (individual, part))), f"has no {coord}")


def _parts_of_animals(columns: Sequence[tuple[str, str, str]], subject: str) -> dict[str, tuple[str, ...]]:
    """The body parts of every animal, in one order; the scene's own points are not among them."""
    parts: dict[str, dict[str, None]] = {}
    for individual, part, _ in columns:
        parts.setdefault(individual, {})[part] = None
    first, *others = parts.values()
    if any(set(own) != set(first) for own in others) and len(parts) > 1 and SCENE in parts:
        del parts[SCENE]
    first = next(iter(parts.values()))
    for individual, own in parts.items():
        if odd := set(own) ^ set(first):
            name = f"{individual} {min(odd)}"
            _fail(subject, "bodyparts", name, f"differs: {next(iter(parts))!r} and {individual!r} have different parts")
    return dict.fromkeys(parts, tuple(first))
