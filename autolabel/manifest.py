"""A manifest: an immutable dataset of samples and poses on disk.

A folder of numbered parts, ``samples-00000.parquet``, ``poses-00000.parquet`` and, where the network ran,
``features-00000.parquet``, and ``manifest.json``, which is written last: a folder without it is unfinished
work, whose finished parts a later call keeps. Parts are written under another name and renamed, the samples
file last, so that a part is there entirely or not at all. Reading streams part by part; memory does not grow
with the corpus.
"""

# pyarrow ships no types: what comes out of it is unknown to pyright until it is an array or a value of ours.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from operator import index
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from autolabel.errors import ExistsError, ManifestError
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from autolabel.stores import kept_place, place_of
from autolabel.tables import (
    Features,
    digest_samples,
    features_from_table,
    features_table,
    poses_from_table,
    poses_table,
    samples_from_table,
    samples_table,
)
from autolabel.writing import naming

SCHEMA_VERSION = 1
COMMIT = "manifest.json"
PART_SIZE = 2_000
"""Samples a part."""

_KINDS = ("samples", "poses", "features")
_DIGEST_KEY = b"autolabel.digest"
_COUNT_KEY = b"autolabel.poses"


class Existing(Enum):
    """What to do with a result that stands already."""

    ERROR = "error"
    RESUME = "resume"
    OVERWRITE = "overwrite"


@dataclass(frozen=True)
class Parent:
    """What a manifest was made from: the stage's word for it, and its digest."""

    role: str
    digest: str


class Manifest:
    """A finished manifest, opened for reading.

    Iterating gives samples in order; ``len`` counts samples.

    Attributes:
        path: The folder.
        skeleton: The skeleton of all its poses.
        roots: Corpus roots by name: absolute folders, or relative to the manifest's own folder.
        digest: Hex digest of skeleton, samples and poses; not of times, part sizes, features or where the
            corpus lies.
        parents: What it was made from.
        stage: What made it.
        counts: How many ``samples`` and ``poses``.
        num_parts: How many parts.
    """

    def __init__(self, path: Path, record: Mapping[str, Any]) -> None:
        self.path = path
        self.skeleton = Skeleton.from_dict(record["skeleton"], subject=str(path / COMMIT))
        self.roots = {name: place_of(path, folder) for name, folder in record["roots"].items()}
        self.digest: str = record["digest"]
        self.parents = tuple(Parent(p["role"], p["digest"]) for p in record["parents"])
        self.stage: str = record["stage"]
        self.counts = {name: index(record["counts"][name]) for name in ("samples", "poses")}
        self.num_parts = index(record["parts"])

    @classmethod
    def open(cls, path: str | Path) -> "Manifest":
        """Open a manifest folder.

        Raises:
            ManifestError: There is none, or it is unfinished, damaged or of a newer schema.
        """
        path = Path(path)
        commit = path / COMMIT
        if not commit.is_file():
            unfinished = any(path.glob("samples-*.parquet"))
            raise ManifestError(
                "an unfinished manifest" if unfinished else "not a manifest folder",
                subject=str(path),
                remedy="Run the command that makes it again: it goes on where it stopped."
                if unfinished
                else f"A manifest folder holds {COMMIT}; `autolabel scan` or `autolabel import` makes one.",
            )
        try:
            record = json.loads(commit.read_text(encoding="utf-8"))
            if record["schema"] > SCHEMA_VERSION:
                raise ManifestError(
                    f"schema {record['schema']} is newer than this version reads ({SCHEMA_VERSION})",
                    subject=str(commit),
                    remedy="Upgrade autolabel.",
                )
            return cls(path, record)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ManifestError(f"is damaged: {error!r}", subject=str(commit)) from error

    def __len__(self) -> int:
        return self.counts["samples"]

    def __iter__(self) -> Iterator[Sample]:
        for i in range(self.num_parts):
            yield from self.part(i)

    def batches(self, size: int = 1024) -> Iterator[list[Sample]]:
        """Samples in lists of ``size``, the last one shorter."""
        samples = iter(self)
        while batch := list(islice(samples, size)):
            yield batch

    def part(self, i: int) -> list[Sample]:
        """The samples of part ``i``."""
        return samples_from_table(self._read("samples", i), self.poses(i))

    def poses(self, i: int) -> Poses:
        """All poses of part ``i`` as one value, in the order of its samples; features are aligned with it."""
        return poses_from_table(self._read("poses", i), self.skeleton.num_keypoints)

    def owners(self, i: int) -> NDArray[np.int64]:
        """(N,) for each pose of part ``i`` the place of its sample in that part."""
        return self._read("poses", i).column("sample").to_numpy().astype(np.int64)

    def part_length(self, i: int) -> int:
        """How many samples part ``i`` has."""
        return pq.read_metadata(part_file(self.path, "samples", i)).num_rows

    def features(self, i: int) -> dict[str, Any] | None:
        """The features of part ``i``, rows aligned with :meth:`poses`, or None where there are none."""
        return features_from_table(self._read("features", i)) if self.feature_names(i) is not None else None

    def feature_names(self, i: int) -> list[str] | None:
        """Names of the features of part ``i``, or None where there are none."""
        file = part_file(self.path, "features", i)
        return list(pq.read_schema(file).names) if file.is_file() else None

    def image_path(self, sample: Sample) -> Path:
        """Where a sample's image lies.

        Raises:
            ManifestError: Its root is unknown, or its path leaves the root.
        """
        if sample.root not in self.roots:
            raise ManifestError(f"corpus root {sample.root!r} is unknown", subject=str(self.path))
        return inside(self.roots[sample.root], sample.path)

    def _read(self, kind: str, i: int) -> pa.Table:
        path = part_file(self.path, kind, i)
        try:
            return pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise ManifestError(
                f"cannot be read: {error}",
                subject=str(path),
                remedy="Restore the file or make the manifest again.",
            ) from error


class ManifestWriter:
    """Writes a manifest part by part; nothing exists as a manifest until :meth:`commit`.

    Args:
        path: The folder.
        skeleton: The skeleton of all poses.
        roots: Corpus roots by name.
        stage: What makes it.
        parents: What it is made from.
        existing: ERROR refuses a folder that holds a manifest or parts; RESUME keeps finished parts;
            OVERWRITE removes them first.

    Raises:
        ExistsError: Something stands there and ``existing`` is ERROR, or a finished manifest with RESUME.
    """

    def __init__(
        self,
        path: str | Path,
        skeleton: Skeleton,
        roots: Mapping[str, str | Path],
        *,
        stage: str,
        parents: Sequence[Parent] = (),
        existing: Existing = Existing.ERROR,
    ) -> None:
        self.path = Path(path)
        self.skeleton = skeleton
        self.roots = {name: Path(root) for name, root in roots.items()}
        self.stage = stage
        self.parents = tuple(parents)
        make_folder(self.path)
        self._settle(existing)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not (self.path / COMMIT).exists():
            self.commit()

    def write_part(self, i: int, samples: Sequence[Sample], features: Features | None = None) -> None:
        """Write part ``i``, all of it or nothing.

        Args:
            i: Its number, from 0.
            samples: What it holds.
            features: Arrays whose rows are the poses of ``samples`` in order.

        Raises:
            ManifestError: Poses have another K, features another length, or text is not valid UTF-8.
        """
        k = self.skeleton.num_keypoints
        poses = Poses.concat([s.poses for s in samples]) if samples else Poses.empty(k)
        if poses.num_keypoints != k:
            raise ManifestError(f"poses with {poses.num_keypoints} keypoints, skeleton has {k}", subject=str(self.path))
        if wrong := [name for name, array in (features or {}).items() if len(array) != len(poses)]:
            raise ManifestError(f"feature {wrong[0]!r} has another length than the poses", subject=str(self.path))
        try:
            pose_rows, sample_rows = poses_table(poses, samples), samples_table(samples)
        except UnicodeEncodeError as error:
            raise ManifestError(f"text {error.object!r} is not valid UTF-8", subject=str(self.path)) from error
        digest = f"{digest_samples(samples, poses):064x}"
        described = {_DIGEST_KEY: digest.encode(), _COUNT_KEY: str(len(poses)).encode()}
        if features is not None:
            _write(features_table(features), part_file(self.path, "features", i))
        _write(pose_rows, part_file(self.path, "poses", i))
        _write(sample_rows.replace_schema_metadata(described), part_file(self.path, "samples", i))

    def finished_parts(self) -> set[int]:
        """Numbers of the parts that are there."""
        return {int(file.stem.split("-")[1]) for file in self.path.glob("samples-*.parquet")}

    def commit(self) -> Manifest:
        """Make it a manifest.

        Raises:
            ManifestError: A part is missing.
        """
        parts = sorted(self.finished_parts())
        if parts != list(range(len(parts))):
            missing = next(i for i in range(len(parts)) if i not in parts)
            raise ManifestError(f"part {missing} is missing", subject=str(self.path))
        total, samples, poses = 0, 0, 0
        for i in parts:
            described = pq.read_metadata(part_file(self.path, "samples", i))
            metadata = cast("dict[bytes, bytes]", described.metadata)
            total += int(metadata[_DIGEST_KEY], 16)
            samples += described.num_rows
            poses += int(metadata[_COUNT_KEY])
        record = {
            "schema": SCHEMA_VERSION,
            "stage": self.stage,
            "skeleton": self.skeleton.to_dict(),
            "roots": {name: kept_place(root, self.path) for name, root in self.roots.items()},
            "parents": [{"role": p.role, "digest": p.digest} for p in self.parents],
            "counts": {"samples": samples, "poses": poses},
            "parts": len(parts),
            "digest": self._digest(total),
        }
        write_text(self.path / COMMIT, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        return Manifest.open(self.path)

    def _digest(self, total: int) -> str:
        samples = f"{total % 2**256:064x}"
        head = [SCHEMA_VERSION, self.skeleton.fingerprint, list(self.skeleton.sigmas), samples]
        return hashlib.sha256(json.dumps(head).encode()).hexdigest()

    def _settle(self, existing: Existing) -> None:
        standing = [*self.path.glob(COMMIT)]  # first, so that no half of the rest passes for a whole
        standing += [file for kind in _KINDS for file in self.path.glob(f"{kind}-[0-9]*.parquet")]
        if not standing or (existing is Existing.RESUME and not (self.path / COMMIT).exists()):
            return
        if existing is not Existing.OVERWRITE:
            raise ExistsError(
                "holds a manifest already",
                subject=str(self.path),
                remedy="Give another --out, or --overwrite.",
            )
        for file in standing:
            file.unlink()


def write_manifest(
    path: str | Path,
    samples: Iterable[Sample],
    skeleton: Skeleton,
    roots: Mapping[str, str | Path],
    *,
    stage: str,
    parents: Sequence[Parent] = (),
    part_size: int = PART_SIZE,
    existing: Existing = Existing.ERROR,
) -> Manifest:
    """Write samples as a manifest, ``part_size`` at a time.

    Raises:
        ExistsError: As :class:`ManifestWriter`.
        ManifestError: Poses do not fit the skeleton.
    """
    writer = ManifestWriter(path, skeleton, roots, stage=stage, parents=parents, existing=existing)
    stream = iter(samples)
    done = writer.finished_parts()
    i = 0
    while batch := list(islice(stream, part_size)):
        if i not in done:
            writer.write_part(i, batch)
        i += 1
    if i == 0:
        writer.write_part(0, [])
    return writer.commit()


def part_file(folder: Path, kind: str, i: int) -> Path:
    """The file of one part: ``samples``, ``poses`` or ``features``."""
    return folder / f"{kind}-{i:05d}.parquet"


def inside(root: Path, relative: str) -> Path:
    """``root / relative``, refused when it leaves the root by ``..`` or by an absolute path.

    Raises:
        ManifestError: It does.
    """
    pure = PurePosixPath(relative)
    if pure.is_absolute() or ".." in pure.parts or not relative:
        raise ManifestError(f"path {relative!r} leaves its corpus root", subject=str(root))
    return root / relative


def make_folder(path: Path) -> None:
    """Make a folder for a result, and those above it.

    Raises:
        ExistsError: A file stands there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ExistsError(
            "a file stands where a folder is to be made", subject=str(path), remedy="Give another --out."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # What UTF-8 cannot hold, such as a file name in another encoding, is escaped as JSON would.
    with naming(path), temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _write(table: pa.Table, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path), temporary.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
