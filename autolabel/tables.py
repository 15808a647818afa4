"""Samples and poses as two flat tables, and the digest of what they say.

Two tables rather than nested rows, because sorting, routing, certifying and curating are per pose, and because
DuckDB, pandas, Spark, Ray Data and Hugging Face datasets read them as they are. Rows of the poses table stand in
the order of the samples; ``sample`` is the row of the samples table.
"""

# pyarrow ships no types: what comes out of it is unknown to pyright until it is an array or a value of ours.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from autolabel.errors import ManifestError
from autolabel.poses import Poses, Sample

Features = Mapping[str, NDArray[Any]]
"""Per-pose numbers that the network computed: arrays whose first axis is the poses of a part, in order."""

_NUMERIC = ("xy", "score", "presence", "visibility", "box", "box_score", "area", "crowd")
_NUMERIC_SCORES = ("p_gross", "p_bad", "origin")
_TEXT = ("id", "by", "group")


def samples_table(samples: Sequence[Sample]) -> pa.Table:
    """One row a sample, without its poses."""
    return pa.table(
        {
            "id": pa.array([s.id for s in samples], pa.string()),
            "root": pa.array([s.root for s in samples], pa.string()),
            "path": pa.array([s.path for s in samples], pa.string()),
            "width": pa.array([s.size[0] for s in samples], pa.int32()),
            "height": pa.array([s.size[1] for s in samples], pa.int32()),
            "group": pa.array([s.group for s in samples], pa.string()),
            "duplicate_of": pa.array([s.duplicate_of for s in samples], pa.string()),
            "attributes": pa.array([_json(s.attributes) for s in samples], pa.string()),
            "poses": pa.array([len(s.poses) for s in samples], pa.int32()),
        }
    )


def poses_table(poses: Poses, samples: Sequence[Sample]) -> pa.Table:
    """One row a pose; ``sample`` and ``sample_id`` say whose it is."""
    counts = [len(s.poses) for s in samples]
    row = np.repeat(np.arange(len(samples), dtype=np.int32), counts)
    columns: dict[str, pa.Array] = {
        "sample": pa.array(row),
        "sample_id": pa.array(np.repeat(np.array([s.id for s in samples], dtype=object), counts), pa.string()),
    }
    for name in (*_TEXT, *_NUMERIC, *_NUMERIC_SCORES):
        columns[name] = _column(getattr(poses, name))
    columns["attributes"] = pa.array([_json(a) for a in poses.attributes], pa.string())
    return pa.table(columns)


def poses_from_table(table: pa.Table, num_keypoints: int) -> Poses:
    """The inverse of :func:`poses_table`, for all samples at once.

    Raises:
        ManifestError: A column is missing.
    """
    given: dict[str, Any] = {}
    for name in (*_TEXT, *_NUMERIC, *_NUMERIC_SCORES):
        if name not in table.column_names:
            raise ManifestError(f"the poses table has no column {name!r}")
        given[name] = _array(table.column(name))
    given["xy"] = given["xy"].reshape(len(table), num_keypoints, 2)
    given["attributes"] = [json.loads(text) for text in table.column("attributes").to_pylist()]
    return Poses.create(num_keypoints, **given)


def samples_from_table(table: pa.Table, poses: Poses) -> list[Sample]:
    """Samples with their poses, which stand in ``poses`` in the order of the rows."""
    rows = cast("dict[str, list[Any]]", table.to_pydict())
    ends = np.cumsum(rows["poses"]).tolist() if len(table) else []
    samples: list[Sample] = []
    for i, end in enumerate(ends):
        count = rows["poses"][i]
        samples.append(
            Sample(
                id=rows["id"][i],
                root=rows["root"][i],
                path=rows["path"][i],
                size=(rows["width"][i], rows["height"][i]),
                group=rows["group"][i],
                duplicate_of=rows["duplicate_of"][i],
                attributes=json.loads(rows["attributes"][i]),
                poses=poses.take(np.arange(end - count, end)),
            )
        )
    return samples


def features_table(features: Features) -> pa.Table:
    """One row a pose, one column a feature."""
    return pa.table({name: _column(np.asarray(array)) for name, array in features.items()})


def features_from_table(table: pa.Table) -> dict[str, NDArray[Any]]:
    """The inverse of :func:`features_table`; a feature keeps one axis beside the poses."""
    return {name: _array(table.column(name)) for name in table.column_names}


def digest_samples(samples: Sequence[Sample], poses: Poses) -> int:
    """The sum modulo 2^256 of one SHA-256 a sample: the same whatever the order and the size of parts.

    It covers everything that is said about the samples and their poses, and nothing else.
    """
    matrix = _packed(poses)
    total, start = 0, 0
    for sample in samples:
        end = start + len(sample.poses)
        head = [*sample.key, *sample.size, sample.group, sample.duplicate_of, _json(sample.attributes)]
        text = [[getattr(poses, name)[i] for name in _TEXT] for i in range(start, end)]
        rest = [_json(poses.attributes[i]) for i in range(start, end)]
        record = hashlib.sha256(json.dumps([head, text, rest]).encode())
        record.update(matrix[start:end].tobytes())
        total += int.from_bytes(record.digest(), "big")
        start = end
    return total % 2**256


def _packed(poses: Poses) -> NDArray[np.uint8]:
    """All numbers of a pose as one row of bytes, every NaN the same NaN."""
    n = len(poses)
    if not n:
        return np.empty((0, 0), np.uint8)
    columns: list[NDArray[np.uint8]] = []
    for name in (*_NUMERIC, *_NUMERIC_SCORES):
        array = cast("NDArray[Any]", getattr(poses, name)).reshape(n, -1)
        if array.dtype.kind == "f":
            array = np.where(np.isnan(array), array.dtype.type(np.nan), array)
        columns.append(np.ascontiguousarray(array).view(np.uint8).reshape(n, -1))
    return np.concatenate(columns, axis=1)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _column(array: NDArray[Any]) -> pa.Array:
    if array.dtype == object:
        return pa.array(array.tolist(), pa.string())
    if array.ndim == 1:
        return pa.array(array)
    width = int(np.prod(array.shape[1:]))
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(array).reshape(-1)), width)


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    kind = column.type
    if pa.types.is_string(kind):
        return np.array(column.to_pylist(), dtype=object)
    if pa.types.is_fixed_size_list(kind):
        flat = column.combine_chunks().flatten()
        return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(column), kind.list_size)
    return np.asarray(column.to_numpy())
