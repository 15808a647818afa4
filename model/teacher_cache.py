"""A teacher's outputs, kept on disk for as long as its crops come again.

A folder of three files. ``identity.json`` says whose outputs these are and of which crops; another teacher, other data
or another augmentation is refused, and never mixed in. ``rows.f16`` has one row a crop, at its place, with all outputs
one after the other by name as float16; it has its full size from the start, and takes room on the disk as it fills.
``checks.u32`` has a checksum of each row. A row is believed only if its checksum is right: what was torn by a kill, a
full disk or another process' writing counts as not there, and is computed anew. So nothing is locked, and nothing needs
to be flushed.

Files are read and written through the system's calls and not mapped into memory, where a full disk or a lost one would
end the process without a word.
"""

import json
import math
import os
import shutil
import zlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import CheckpointError, InputError, WorkError
from model.tensor_files import of_json, write_together

IDENTITY, ROWS, CHECKS = "identity.json", "rows.f16", "checks.u32"

FORMAT = 1
"""Of the folder; caches of another one are refused."""

_LARGEST = 65504.0  # of float16
_ITEM = np.dtype(np.float16).itemsize
_CHECK = np.dtype(np.uint32).itemsize

Shapes = Mapping[str, tuple[int, ...]]
"""The outputs of one crop, by name."""


def bytes_needed(rows: int, shapes: Shapes) -> int:
    """What a full cache takes on the disk.

    Args:
        rows: Crops.
        shapes: Of the outputs of each.
    """
    return rows * (_CHECK + _ITEM * _width(shapes))


@dataclass(frozen=True)
class TeacherCache:
    """The outputs of one teacher for some crops; made by :meth:`open`. It can be pickled, and many can be open at once.

    Attributes:
        folder: Where it lies.
        rows: Crops that there is room for.
        shapes: Of each crop's outputs, by name.
        start: What checksums start from, which belongs to the identity: rows of another folder are not believed.
    """

    folder: Path
    rows: int
    shapes: Shapes
    start: int

    @classmethod
    def open(cls, folder: str | Path, *, identity: Mapping[str, Any], rows: int, shapes: Shapes) -> "TeacherCache":
        """Open a cache, or make one.

        Args:
            folder: Where it lies, or will.
            identity: JSON values on which the outputs depend, by part: ``teacher``, its digest, and what decides the
                crops.
            rows: Crops, over all places.
            shapes: Of each crop's outputs, by name.

        Raises:
            CheckpointError: The folder has outputs of another teacher or of other crops, or is no cache of ours.
            WorkError: The disk has no room for all rows, or refuses.
        """
        folder = Path(folder)
        shapes = dict(sorted(shapes.items()))  # in which order they are named says nothing
        parts = {
            "format": FORMAT,
            **identity,
            "rows": rows,
            "outputs": {name: list(shape) for name, shape in shapes.items()},
        }
        with _told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            known = (folder / IDENTITY).is_file()
            if known:
                _require_same(folder, parts)
            _require_room(folder, bytes_needed(rows, shapes))
            if not known:
                write_together([of_json(folder / IDENTITY, parts)])
            for name, size in ((ROWS, rows * _ITEM * _width(shapes)), (CHECKS, rows * _CHECK)):
                _extend(folder / name, size)
        start = zlib.crc32(json.dumps(parts, sort_keys=True).encode())
        return cls(folder, rows, shapes, start)

    @property
    def filled(self) -> int:
        """How many rows were written; those that were torn count, until they are read and written anew."""
        with _told(self.folder):
            return int(np.count_nonzero(np.fromfile(self.folder / CHECKS, np.uint32)))

    def read(
        self, places: Sequence[int] | NDArray[np.int64]
    ) -> tuple[dict[str, NDArray[np.float16]], NDArray[np.bool_]]:
        """What is kept of B crops.

        Args:
            places: (B,) of the crops.

        Returns:
            The outputs by name, (B, ...) float16 of their shapes, 0 where nothing is kept; and (B,) whether it is.

        Raises:
            InputError: A place is beyond the cache's rows.
            WorkError: The files cannot be read.
        """
        at = self._at(places)
        rows = np.zeros((len(at), _width(self.shapes)), np.float16)
        known = np.zeros(len(at), np.bool_)
        with self._files("rb") as (kept, checks):
            for row, place in enumerate(at):
                check = int.from_bytes(os.pread(checks, _CHECK, place * _CHECK), "little")
                if not check:
                    continue
                os.preadv(kept, [rows[row].data], place * rows[row].nbytes)
                known[row] = check == self._check(rows[row])
        rows[~known] = 0
        return self._split(rows), known

    def write(self, places: Sequence[int] | NDArray[np.int64], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Keep the outputs of B crops, each as its nearest float16.

        Args:
            places: (B,) of the crops.
            outputs: (B, ...) floats by name; what is beyond float16 becomes its largest number.

        Raises:
            InputError: A place is beyond the cache's rows, or an output is missing or has another shape.
            WorkError: An output is no number, or the disk is full or refuses.
        """
        at = self._at(places)
        rows = self._joined(len(at), outputs)
        if np.isnan(rows).any():
            raise WorkError(
                f"the teacher's outputs are no numbers at {int(np.isnan(rows).any(axis=1).sum())} of {len(at)} crops",
                subject=str(self.folder),
                remedy="Try the teacher with precision fp32; if that does not help, its weights are damaged.",
            )
        with self._files("r+b") as (kept, checks):
            for row, place in zip(rows, at, strict=True):
                _write_all(kept, row.tobytes(), place * row.nbytes)
                _write_all(checks, self._check(row).to_bytes(_CHECK, "little"), place * _CHECK)

    def _at(self, places: Sequence[int] | NDArray[np.int64]) -> list[int]:
        at = [int(place) for place in places]
        beyond = [place for place in at if not 0 <= place < self.rows]
        if beyond:
            raise InputError(f"there is no place {beyond[0]} among {self.rows}", subject=str(self.folder))
        return at

    @contextmanager
    def _files(self, mode: str) -> Generator[tuple[int, int]]:
        """Descriptors of the rows and the checksums."""
        with _told(self.folder), (self.folder / ROWS).open(mode) as rows, (self.folder / CHECKS).open(mode) as checks:
            yield rows.fileno(), checks.fileno()

    def _check(self, row: NDArray[np.float16]) -> int:
        """The row's checksum, of which 0 would mean that there is no row."""
        return zlib.crc32(row.data, self.start) or 1

    def _split(self, rows: NDArray[np.float16]) -> dict[str, NDArray[np.float16]]:
        ends = np.cumsum([math.prod(shape) for shape in self.shapes.values()])[:-1]
        parts = np.split(rows, ends, axis=1)
        return {
            name: part.reshape(len(rows), *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def _joined(self, count: int, outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float16]:
        found = {name: tuple(array.shape) for name, array in outputs.items()}
        wanted = {name: (count, *shape) for name, shape in self.shapes.items()}
        if found != wanted:
            raise InputError(f"the outputs have shapes {found}, expected {wanted}", subject=str(self.folder))
        rows = np.empty((count, _width(self.shapes)), np.float16)
        for name, part in self._split(rows).items():
            np.clip(outputs[name], -_LARGEST, _LARGEST, out=part, casting="same_kind")
        return rows


def _width(shapes: Shapes) -> int:
    """Numbers a row."""
    return sum(math.prod(shape) for shape in shapes.values())


def _require_same(folder: Path, parts: Mapping[str, Any]) -> None:
    remedy = "Remove the folder to have the outputs computed anew, or give another one."
    try:
        found = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{IDENTITY} is damaged: {error}", subject=str(folder), remedy=remedy) from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{IDENTITY} is damaged: no JSON object", subject=str(folder), remedy=remedy)
    asked = json.loads(json.dumps(parts))  # tuples as lists, as they are read
    other = [name for name in {**asked, **found} if found.get(name) != asked.get(name)]
    if "teacher" in other:
        raise CheckpointError("the cached targets are of another teacher", subject=str(folder), remedy=remedy)
    if other:
        raise CheckpointError(
            f"the cached targets are of other crops or outputs; other than here: {', '.join(other)}",
            subject=str(folder),
            remedy=remedy,
        )


def _require_room(folder: Path, needed: int) -> None:
    """Sparse files promise room that nobody has set aside."""
    there = [folder / name for name in (ROWS, CHECKS)]
    taken = sum(512 * path.stat().st_blocks for path in there if path.is_file())
    free = shutil.disk_usage(folder).free
    if needed - taken > free:
        raise WorkError(
            f"the teacher's outputs take {needed / 2**30:,.1f} GiB when all are kept; "
            f"{taken / 2**30:,.1f} are there, and the disk has {free / 2**30:,.1f} free",
            subject=str(folder),
            remedy="Make room, give a folder on another disk, or ask for fewer views; with views = 0 nothing is kept.",
        )


def _extend(path: Path, size: int) -> None:
    """Give a file its size. What it has stays, also if another process does the same at the same time."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if os.fstat(descriptor).st_size != size:
            os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Near a full disk, a part may be written without an error; the next call tells it."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], offset + done)


@contextmanager
def _told(folder: Path) -> Generator[None]:
    """The system's errors, with what to do."""
    try:
        yield
    except OSError as error:
        raise WorkError(
            f"cannot be used: {error.strerror or error}",
            subject=str(error.filename or folder),
            remedy="Make room, or see who may write there; then give the same command again.",
        ) from error
