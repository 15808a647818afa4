"""Reading a table of poses; ``csv_table.py`` tells the columns.

The whole table is checked before anything is given out, column by column for all rows at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import FormatError, PosesError
from autolabel.formats.csv_cells import csv_lines, read_numbers
from autolabel.formats.csv_header import BOX, Columns
from autolabel.formats.file_skeletons import file_skeleton
from autolabel.formats.labels import UNKNOWN_SIZE, Labels
from autolabel.formats.records import Record, parse_json, read_text
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton

_VISIBILITY = {state.name.lower(): int(state) for state in Visibility}
_ORIGIN = {origin.name.lower(): int(origin) for origin in Origin}
_YES_NO = {"no": 0, "yes": 1, "0": 0, "1": 1, "false": 0, "true": 1}
_UNSAID = -1


def read_csv(path: str | Path, *, skeleton: Skeleton | None = None) -> Labels:
    """Read a table of poses.

    Args:
        path: The CSV file, UTF-8.
        skeleton: What its keypoints are; its names must be the table's, in any order. Left out, it is the built-in
            skeleton with the same names in the same order, else one without edges.

    Raises:
        FormatError: The table is malformed; names line and column.
    """
    subject = str(path)
    text = read_text(path)
    columns = Columns.of_text(text, subject)
    lines = csv_lines(text, subject)
    next(lines)
    skeleton = file_skeleton(
        columns.keypoints, name="csv", subject=subject, record="line 1", tool="a CSV table", given=skeleton
    )
    table = _Table(columns, list(lines), subject)
    paths = table.paths()
    images = _images(table, paths, skeleton.num_keypoints)
    posed = [i for i, (_, cells) in enumerate(table.rows) if any(cells[c] for c in columns.of_pose)]
    poses = _poses(table.take(posed), skeleton.keypoints)
    places: dict[str, list[int]] = {sample.path: [] for sample in images}
    for place, row in enumerate(posed):
        places[paths[row]].append(place)
    samples = [sample.with_poses(poses.take(np.array(places[sample.path], np.intp))) for sample in images]
    return Labels(skeleton, samples)


class _Table:
    """Rows of a table, whose columns are given as arrays.

    Args:
        columns: What the header says.
        rows: The line and the cells of each row.
        subject: The file.

    Raises:
        FormatError: A row of another length than the header.
    """

    def __init__(self, columns: Columns, rows: Sequence[tuple[int, list[str]]], subject: str) -> None:
        self.columns, self.rows, self._subject = columns, rows, subject
        self._place = {name: i for i, name in enumerate(columns.header)}
        for i, (_, cells) in enumerate(rows):
            if len(cells) != len(columns.header):
                self.fail(i, None, f"has {len(cells)} cells, the header has {len(columns.header)}")

    def take(self, which: Sequence[int]) -> "_Table":
        """Some of the rows."""
        return _Table(self.columns, [self.rows[i] for i in which], self._subject)

    def fail(self, row: int, column: str | None, message: str) -> NoReturn:
        """Refuse the file because of a row."""
        raise FormatError(message, record=f"line {self.rows[row][0]}", field=column, subject=self._subject)

    def texts(self, column: str) -> list[str]:
        """R texts, empty where there is no such column."""
        place = self._place.get(column)
        return [""] * len(self.rows) if place is None else [cells[place] for _, cells in self.rows]

    def numbers(self, columns: Sequence[str]) -> NDArray[np.float64]:
        """(R, C) numbers; NaN where a cell is empty or there is no such column."""

        def fail(i: int, message: str) -> NoReturn:
            self.fail(i // len(columns), columns[i % len(columns)], message)

        if self._place.keys().isdisjoint(columns):
            return np.full((len(self.rows), len(columns)), np.nan)
        return read_numbers(self._cells(columns), fail).reshape(len(self.rows), len(columns))

    def words(self, columns: Sequence[str], known: Mapping[str, int]) -> NDArray[np.int64]:
        """(R, C) what known words mean; ``_UNSAID`` for empty cells and where there is no such column."""
        unknown = _UNSAID - 1
        meaning = {"": _UNSAID, **known}
        cells = self._cells(columns)
        found = np.array([meaning.get(cell.strip().lower(), unknown) for cell in cells], np.int64)
        if (found == unknown).any():
            i = int((found == unknown).argmax())
            message = f"is {cells[i].strip().lower()[:40]!r}, expected one of: {', '.join(known)}"
            self.fail(i // len(columns), columns[i % len(columns)], message)
        return found.reshape(len(self.rows), len(columns))

    def attributes(self, column: str) -> list[dict[str, Any]]:
        """R objects; empty where a cell is."""
        found: list[dict[str, Any]] = []
        for i, cell in enumerate(self.texts(column)):
            try:
                value: Any = parse_json(cell, subject=self._subject) if cell else {}
            except FormatError as error:
                self.fail(i, column, error.message)
            found.append(self._record(i, {column: value}).record(column).data)
        return found

    def paths(self) -> list[str]:
        """R paths below the folder of the images."""
        return [self._record(i, {"image": text}).relative_path("image") for i, text in enumerate(self.texts("image"))]

    def _cells(self, columns: Sequence[str]) -> list[str]:
        places = [self._place.get(name) for name in columns]
        return ["" if place is None else cells[place] for _, cells in self.rows for place in places]

    def _record(self, row: int, value: dict[str, Any]) -> Record:
        return Record(value, f"line {self.rows[row][0]}", self._subject)


@dataclass(frozen=True)
class _Image:
    """What a row says of its image; all rows of an image must say the same."""

    size: tuple[int, int]
    id: str
    group: str
    duplicate_of: str
    attributes: Mapping[str, Any]


_COLUMN = {"size": "width", "id": "image_id", "group": "image_group", "duplicate_of": "duplicate_of"}


def _images(table: _Table, paths: Sequence[str], num_keypoints: int) -> list[Sample]:
    """The images in the order in which they are first named, without their poses."""
    first: dict[str, tuple[int, _Image]] = {}
    stated = zip(
        _sizes(table),
        table.texts("image_id"),
        table.texts("image_group"),
        table.texts("duplicate_of"),
        table.attributes("image_attributes"),
        strict=True,
    )
    for row, (path, values) in enumerate(zip(paths, stated, strict=True)):
        image = _Image(*values)
        start, before = first.setdefault(path, (row, image))
        for field, value in vars(image).items():
            if getattr(before, field) != value:
                column = _COLUMN.get(field, "image_attributes")
                line = table.rows[start][0]
                table.fail(row, column, f"tells another {field} of {path!r} than line {line} does")
    nobody = Poses.empty(num_keypoints)
    return [
        Sample(
            id=image.id,
            root="",
            path=path,
            size=image.size,
            poses=nobody,
            group=image.group,
            duplicate_of=image.duplicate_of,
            attributes=image.attributes,
        )
        for path, (_, image) in first.items()
    ]


def _sizes(table: _Table) -> list[tuple[int, int]]:
    sizes = table.numbers(("width", "height"))
    known = ~np.isnan(sizes)
    odd = (known & ((sizes < 1) | (sizes != np.floor(sizes)))).any(axis=1)
    if odd.any():
        row = int(odd.argmax())
        table.fail(row, "width", f"{sizes[row, 0]:g} x {sizes[row, 1]:g} is no size in pixels")
    rows: list[list[float]] = sizes.tolist()
    return [UNKNOWN_SIZE if np.isnan([w, h]).any() else (int(w), int(h)) for w, h in rows]


def _poses(table: _Table, names: Sequence[str]) -> Poses:
    """The poses of all rows."""
    if not table.rows:
        return Poses.empty(len(names))
    fields = _fields(table, names)
    try:
        return Poses.create(len(names), **fields)
    except PosesError as error:
        _blame(table, fields, len(names), error)


def _fields(table: _Table, names: Sequence[str]) -> dict[str, Any]:
    def columns(part: str) -> list[str]:
        return [table.columns.part(name, part) for name in names]

    xy = np.stack([table.numbers(columns("x")), table.numbers(columns("y"))], axis=2)
    visibility = table.words(columns("visibility"), _VISIBILITY)
    placed = np.where(np.isnan(xy[..., 0]), Visibility.UNLABELLED, Visibility.VISIBLE)
    visibility = np.where(visibility == _UNSAID, placed, visibility)
    labelled = (visibility == Visibility.VISIBLE) | (visibility == Visibility.HIDDEN)
    origin = table.words(columns("origin"), _ORIGIN)
    single = table.numbers(("detector", "area", "p_bad"))
    return {
        "id": table.texts("pose"),
        "xy": xy,
        "score": table.numbers(columns("score")),
        "presence": table.numbers(columns("presence")),
        "visibility": visibility,
        "box": table.numbers(BOX),
        "box_score": single[:, 0],
        "area": single[:, 1],
        "crowd": table.words(("crowd",), _YES_NO)[:, 0] == 1,
        "p_gross": table.numbers(columns("p_gross")),
        "p_bad": single[:, 2],
        "origin": np.where(origin == _UNSAID, np.where(labelled, Origin.IMPORTED, Origin.NONE), origin),
        "by": table.texts("by"),
        "group": table.texts("group"),
        "attributes": table.attributes("attributes"),
    }


def _blame(table: _Table, fields: Mapping[str, Any], k: int, error: PosesError) -> NoReturn:
    """Find the row whose values are impossible."""
    for row in range(len(table.rows)):
        try:
            Poses.create(k, **{name: values[row : row + 1] for name, values in fields.items()})
        except PosesError as own:
            table.fail(row, None, own.message)
    raise error
