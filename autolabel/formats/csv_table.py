"""Poses as a CSV table: one row a pose, for spreadsheets, pandas and R.

Columns of the image: ``image`` (path below its root), ``width``, ``height``, ``image_id``, ``image_group``,
``duplicate_of``, ``image_attributes`` (JSON). Of the pose: ``pose``, ``by``, ``group``, ``left``, ``top``, ``right``,
``bottom``, ``detector``, ``area``, ``crowd``, ``p_bad``, ``attributes`` (JSON). Of each keypoint, here ``nose``:
``nose.x``, ``nose.y``, ``nose.visibility`` (unlabelled, hidden, visible or absent), ``nose.score``, ``nose.presence``,
``nose.p_gross``, ``nose.origin`` (none, model, human or imported).

An empty cell is "unknown". An image without people has one row whose cells of the pose are all empty. Only ``image``
and the x and y of at least one keypoint are needed to read a table; ``nose_x`` is as good as ``nose.x``, and a
keypoint with a place and no visibility is visible.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from autolabel.errors import FormatError, PosesError, SkeletonError
from autolabel.formats.coco_writing import shortest
from autolabel.formats.labels import UNKNOWN_SIZE, Aspect, Labels, Tally, Written
from autolabel.formats.output import new_file
from autolabel.formats.policy import ImagePolicy
from autolabel.formats.records import Record, parse_json, read_text
from autolabel.poses import Origin, Pose, Poses, Sample, Visibility
from autolabel.progress import SILENT, Progress
from autolabel.skeleton import DEFAULT_SIGMA, Skeleton, builtin_skeletons, flip_from_names

CANNOT = frozenset({Aspect.EDGES, Aspect.FLIP, Aspect.SIGMAS})
"""What the table cannot hold; ``--skeleton`` gives it back."""

_IMAGE = ("image", "width", "height", "image_id", "image_group", "duplicate_of", "image_attributes")
_POSE_TEXT = ("pose", "by", "group")
_BOX = ("left", "top", "right", "bottom")
_POSE = (*_POSE_TEXT, *_BOX, "detector", "area", "crowd", "p_bad", "attributes")
_PARTS = ("x", "y", "visibility", "score", "presence", "p_gross", "origin")
_FIELD_LIMIT = 2**24
"""Characters of one cell: attributes can be long, but not endless."""

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_UNKNOWN = ("", "na", "nan")
"""What an unknown number looks like here, in pandas and in R."""

_VISIBILITY = {state.name.lower(): int(state) for state in Visibility}
_ORIGIN = {origin.name.lower(): int(origin) for origin in Origin}


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
    rows = _rows(path)
    header = next((cells for cells, _ in rows), list[str]())
    columns = _Columns.parse(header, subject)
    skeleton = _skeleton(columns.keypoints, skeleton, subject)
    order = [columns.keypoints.index(name) for name in skeleton.keypoints]
    images: dict[str, Sample] = {}
    found: dict[str, list[tuple[int, list[str]]]] = {}
    for cells, line in rows:
        row = _Row(dict(zip(header, cells, strict=False)), line, subject)
        if len(cells) != len(header):
            row.fail(None, f"has {len(cells)} cells, the header has {len(header)}")
        image = _image(row, skeleton.num_keypoints)
        first = images.setdefault(image.path, image)
        if (first.size, first.id, first.group) != (image.size, image.id, image.group):
            row.fail("image", f"{image.path!r} has another size, id or group than before")
        found.setdefault(image.path, [])
        if any(cells[i] for i in columns.of_pose):
            found[image.path].append((line, cells))
    samples = [images[name].with_poses(_poses(own, header, columns, order, subject)) for name, own in found.items()]
    return Labels(skeleton, samples)


def write_csv(
    path: str | Path,
    samples: Iterable[Sample],
    skeleton: Skeleton,
    *,
    policy: ImagePolicy = ImagePolicy.COMPLETE,
    file_name: Callable[[Sample], str] | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Written:
    """Write poses as a table.

    Args:
        path: The CSV file.
        samples: Streamed.
        skeleton: Of all poses.
        policy: What to do with images of which some people are not settled.
        file_name: Gives the ``image`` of a sample; its path below its root by default.
        overwrite: Replace a file that stands already.
        progress: Where to report.

    Raises:
        ExistsError: The file stands already.
        FormatError: An attribute that JSON cannot hold.
    """
    tally = Tally(CANNOT)
    tally.skeleton(skeleton)
    with new_file(path, overwrite=overwrite, newline="") as out:
        table = csv.writer(out)  # RFC 4180's line ends, so that every cell with a CR or LF is quoted
        keypoints = [f"{name}.{part}" for name in skeleton.keypoints for part in _PARTS]
        table.writerow([*_IMAGE, *_POSE, *keypoints])
        for sample in tally.samples(samples, policy, progress):
            table.writerows(_written(sample, file_name(sample) if file_name else sample.path))
    return tally.written()


# Reading.


class _Row:
    """The cells of one line by column, with errors that say where."""

    def __init__(self, cells: Mapping[str, str], line: int, subject: str) -> None:
        self._cells, self._line, self._subject = cells, line, subject

    def fail(self, column: str | None, message: str) -> NoReturn:
        raise FormatError(message, record=f"line {self._line}", field=column, subject=self._subject)

    def text(self, column: str) -> str:
        return self._cells.get(column, "")

    def number(self, column: str) -> float:
        """A finite number, NaN for an empty cell."""
        cell = self.text(column).strip()
        if cell.lower() in _UNKNOWN:
            return np.nan
        if not _NUMBER.fullmatch(cell):
            self.fail(column, f"is {cell[:40]!r}, expected a number")
        return self._record({column: float(cell)}).number(column)

    def attributes(self, column: str) -> dict[str, Any]:
        cell = self.text(column)
        try:
            value: Any = parse_json(cell, subject=self._subject) if cell else {}
        except FormatError as error:
            self.fail(column, error.message)
        return self._record({column: value}).record(column).data

    def path(self, column: str) -> str:
        """A path below the folder of the images."""
        return self._record({column: self.text(column)}).relative_path(column)

    def word(self, column: str, known: Mapping[str, int], default: int) -> int:
        cell = self.text(column).strip().lower()
        if cell and cell not in known:
            self.fail(column, f"is {cell!r}, expected one of: {', '.join(known)}")
        return known[cell] if cell else default

    def _record(self, value: Mapping[str, Any]) -> Record:
        return Record(dict(value), f"line {self._line}", self._subject)


@dataclass(frozen=True)
class _Columns:
    """What the header says: the keypoints in its order, and what stands between name and part."""

    keypoints: tuple[str, ...]
    separator: str
    of_pose: tuple[int, ...]

    @classmethod
    def parse(cls, header: Sequence[str], subject: str) -> "_Columns":
        def fail(message: str) -> NoReturn:
            remedy = "Needed: image, and NAME.x and NAME.y for each keypoint."
            raise FormatError(message, record="line 1", subject=subject, remedy=remedy)

        if twice := next((name for name in header if header.count(name) > 1), None):
            fail(f"column {twice!r} stands twice")
        if "image" not in header:
            fail("has no column 'image'")
        own = {*_IMAGE, *_POSE}
        separator = "." if any(name.endswith(".x") for name in header if name not in own) else "_"
        rest = [name for name in header if name not in own]
        keypoints = tuple(name.removesuffix(f"{separator}x") for name in rest if name.endswith(f"{separator}x"))
        if not keypoints:
            fail("has no keypoint")
        known = {f"{name}{separator}{part}" for name in keypoints for part in _PARTS}
        if unknown := next((name for name in rest if name not in known), None):
            fail(f"column {unknown!r} is unknown")
        if missing := next((name for name in keypoints if f"{name}{separator}y" not in header), None):
            fail(f"keypoint {missing!r} has an x and no y")
        return cls(keypoints, separator, tuple(i for i, name in enumerate(header) if name not in _IMAGE))


def _rows(path: str | Path) -> Iterator[tuple[list[str], int]]:
    """The cells of every row and the line that it ends on."""
    subject = str(path)
    csv.field_size_limit(_FIELD_LIMIT)
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        for cells in reader:
            if cells:
                yield cells, reader.line_num
    except csv.Error as error:
        raise FormatError(f"is not CSV: {error}", record=f"line {reader.line_num}", subject=subject) from error


def _skeleton(names: tuple[str, ...], given: Skeleton | None, subject: str) -> Skeleton:
    if given is not None:
        if set(given.keypoints) != set(names):
            odd = next(name for name in (*names, *given.keypoints) if (name in names) != (name in given.keypoints))
            raise FormatError(
                f"keypoint {odd!r} is only in one of the table and skeleton {given.name!r}",
                record="line 1",
                subject=subject,
            )
        return given
    builtin = (Skeleton.load(name) for name in builtin_skeletons())
    if same := next((skeleton for skeleton in builtin if skeleton.keypoints == names), None):
        return same
    source = f"{DEFAULT_SIGMA} for every keypoint: a CSV table holds no sigmas"
    try:
        return Skeleton("csv", names, (), flip_from_names(names), (DEFAULT_SIGMA,) * len(names), source)
    except SkeletonError as error:
        raise FormatError(error.message, record="line 1", subject=subject) from error


def _image(row: _Row, num_keypoints: int) -> Sample:
    size = (row.number("width"), row.number("height"))
    if any(not np.isnan(side) and (side < 1 or not side.is_integer()) for side in size):
        row.fail("width", f"{size[0]:g} x {size[1]:g} is no size in pixels")
    return Sample(
        id=row.text("image_id"),
        root="",
        path=row.path("image"),
        size=UNKNOWN_SIZE if np.isnan(size).any() else (int(size[0]), int(size[1])),
        poses=Poses.empty(num_keypoints),
        group=row.text("image_group"),
        duplicate_of=row.text("duplicate_of"),
        attributes=row.attributes("image_attributes"),
    )


def _poses(
    own: Sequence[tuple[int, list[str]]], header: Sequence[str], columns: _Columns, order: Sequence[int], subject: str
) -> Poses:
    if not own:
        return Poses.empty(len(order))
    parts: list[Poses] = []
    names = [columns.keypoints[k] for k in order]
    for line, cells in own:
        row = _Row(dict(zip(header, cells, strict=True)), line, subject)
        try:
            parts.append(_pose(row, names, columns.separator))
        except PosesError as error:
            row.fail(None, error.message)
    return Poses.concat(parts)


def _pose(row: _Row, names: Sequence[str], separator: str) -> Poses:
    def numbers(part: str) -> list[float]:
        return [row.number(f"{name}{separator}{part}") for name in names]

    xy = np.array([numbers("x"), numbers("y")]).T
    placed = ~np.isnan(xy[:, 0])
    guess = np.where(placed, Visibility.VISIBLE, Visibility.UNLABELLED).tolist()
    visibility = [
        row.word(f"{name}{separator}visibility", _VISIBILITY, default)
        for name, default in zip(names, guess, strict=True)
    ]
    stated = [Origin.IMPORTED if v in (Visibility.HIDDEN, Visibility.VISIBLE) else Origin.NONE for v in visibility]
    origin = [
        row.word(f"{name}{separator}origin", _ORIGIN, default) for name, default in zip(names, stated, strict=True)
    ]
    return Poses.create(
        len(names),
        id=[row.text("pose")],
        xy=[xy],
        score=[numbers("score")],
        presence=[numbers("presence")],
        visibility=[visibility],
        box=[[row.number(side) for side in _BOX]],
        box_score=[row.number("detector")],
        area=[row.number("area")],
        crowd=[row.word("crowd", {"no": 0, "yes": 1, "0": 0, "1": 1, "false": 0, "true": 1}, 0)],
        p_gross=[numbers("p_gross")],
        p_bad=[row.number("p_bad")],
        origin=[origin],
        by=[row.text("by")],
        group=[row.text("group")],
        attributes=[row.attributes("attributes")],
    )


# Writing.


def _written(sample: Sample, name: str) -> list[list[Any]]:
    image = [name, *sample.size, sample.id, sample.group, sample.duplicate_of, _json(sample.attributes)]
    nothing = [""] * (len(_POSE) + len(_PARTS) * sample.poses.num_keypoints)
    return [[*image, *_cells(pose)] for pose in map(sample.poses.__getitem__, range(len(sample.poses)))] or [
        [*image, *nothing]
    ]


def _cells(pose: Pose) -> list[Any]:
    numbers = {part: _blank(shortest(values)) for part, values in (
        ("x", pose.xy[:, 0]), ("y", pose.xy[:, 1]), ("score", pose.score),
        ("presence", pose.presence), ("p_gross", pose.p_gross),
    )}  # fmt: skip
    words = {
        "visibility": [Visibility(v).name.lower() for v in pose.visibility.tolist()],
        "origin": [Origin(v).name.lower() for v in pose.origin.tolist()],
    }
    by_keypoint = zip(*({**numbers, **words}[part] for part in _PARTS), strict=True)
    single = _blank(shortest(np.array([pose.box_score, pose.p_bad], np.float32)))
    return [
        *(pose.id, pose.by, pose.group),
        *_blank([None if np.isnan(edge) else repr(float(edge)) for edge in pose.box]),
        single[0],
        "" if np.isnan(pose.area) else repr(float(pose.area)),
        "yes" if pose.crowd else "no",
        single[1],
        _json(pose.attributes),
        *(cell for cells in by_keypoint for cell in cells),
    ]


def _blank(values: Sequence[Any]) -> list[Any]:
    return ["" if value is None else value for value in values]


def _json(attributes: Mapping[str, Any]) -> str:
    try:
        return json.dumps(attributes, ensure_ascii=False, allow_nan=False) if attributes else ""
    except (TypeError, ValueError) as error:
        raise FormatError(f"an attribute cannot be written as JSON: {error}", record=str(attributes)[:80]) from error
