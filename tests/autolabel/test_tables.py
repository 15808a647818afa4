"""Tables give back exactly what they were made of, and the digest sees every value and nothing else."""

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autolabel.errors import ManifestError
from autolabel.poses import Poses, Sample
from autolabel.tables import (
    digest_samples,
    features_from_table,
    features_table,
    poses_from_table,
    poses_table,
    samples_from_table,
    samples_table,
)

K = 3
NAN = float("nan")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def numbers(shape: tuple[int, ...], dtype: type, least: float, most: float) -> st.SearchStrategy[Any]:
    width = np.dtype(dtype).itemsize * 8
    return hnp.arrays(dtype, shape, elements=st.floats(least, most, width=width) | st.just(NAN))


@st.composite
def poses(draw: st.DrawFn, n: int) -> Poses:
    """N poses with NaN wherever NaN may stand."""
    xy = draw(numbers((n, K, 2), np.float32, -1e4, 1e4))
    xy[np.isnan(xy).any(-1)] = NAN
    visibility = draw(hnp.arrays(np.uint8, (n, K), elements=st.integers(0, 3)))
    visibility[np.isnan(xy[..., 0]) & (visibility != 3)] = 0
    box = draw(numbers((n, 4), np.float64, -1e5, 1e5))
    box[np.isnan(box).any(-1)] = NAN
    return Poses.create(
        K,
        id=draw(st.lists(TEXT, min_size=n, max_size=n)),
        xy=xy,
        score=draw(numbers((n, K), np.float32, -9, 9)),
        presence=draw(numbers((n, K), np.float32, 0, 1)),
        visibility=visibility,
        box=np.concatenate([np.minimum(box[:, :2], box[:, 2:]), np.maximum(box[:, :2], box[:, 2:])], axis=1),
        box_score=draw(numbers((n,), np.float32, 0, 1)),
        area=draw(numbers((n,), np.float64, 0, 1e9)),
        crowd=draw(hnp.arrays(np.bool_, (n,))),
        p_gross=draw(numbers((n, K), np.float32, 0, 1)),
        p_bad=draw(numbers((n,), np.float32, 0, 1)),
        origin=draw(hnp.arrays(np.uint8, (n, K), elements=st.integers(0, 3))),
        by=draw(st.lists(TEXT, min_size=n, max_size=n)),
        group=draw(st.lists(TEXT, min_size=n, max_size=n)),
        attributes=draw(st.lists(st.dictionaries(TEXT, JSON, max_size=2), min_size=n, max_size=n)),
    )


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    return Sample(
        id=draw(TEXT),
        root=draw(TEXT),
        path=draw(TEXT),
        size=(draw(st.integers(1, 2**31 - 1)), draw(st.integers(1, 9))),
        poses=draw(poses(draw(st.integers(0, 3)))),
        group=draw(TEXT),
        duplicate_of=draw(TEXT),
        attributes=draw(st.dictionaries(TEXT, JSON, max_size=2)),
    )


def through_parquet(table: pa.Table) -> pa.Table:
    file = io.BytesIO()
    pq.write_table(table, file)
    file.seek(0)
    return pq.read_table(file)


def all_poses(given_samples: list[Sample]) -> Poses:
    return Poses.concat([s.poses for s in given_samples]) if given_samples else Poses.empty(K)


@settings(max_examples=60)
@given(st.lists(samples(), max_size=4))
def test_samples_and_poses_come_back_as_they_were(given_samples: list[Sample]) -> None:
    joined = all_poses(given_samples)
    back = poses_from_table(through_parquet(poses_table(joined, given_samples)), K)
    assert back.equals(joined)
    read = samples_from_table(through_parquet(samples_table(given_samples)), back)
    assert len(read) == len(given_samples)
    for one, other in zip(read, given_samples, strict=True):
        assert one.poses.equals(other.poses)
        assert vars(one) | {"poses": None} == vars(other) | {"poses": None}


@settings(max_examples=60)
@given(st.lists(samples(), max_size=5), st.randoms(use_true_random=False), st.integers(0, 5))
def test_the_digest_knows_neither_order_nor_parts(given_samples: list[Sample], random: Any, cut: int) -> None:
    whole = digest_samples(given_samples, all_poses(given_samples))
    shuffled = list(given_samples)
    random.shuffle(shuffled)
    parts = [shuffled[:cut], shuffled[cut:]]
    assert sum(digest_samples(part, all_poses(part)) for part in parts) % 2**256 == whole


ONE = Sample(
    id="s",
    root="images",
    path="a.jpg",
    size=(4, 3),
    group="g",
    attributes={"camera": 1},
    poses=Poses.create(
        2,
        id=["p", "q"],
        xy=[[[0, 0], [1, 1]], [[NAN, NAN], [2, 2]]],
        visibility=[[2, 2], [0, 2]],
        box=[[0, 0, 1, 1], [NAN] * 4],
        attributes=[{"track": 1}, {}],
    ),
)


def digest(sample: Sample) -> int:
    return digest_samples([sample], sample.poses)


CHANGES: dict[str, Any] = {
    "id": ["p", "r"],
    "xy": [[[0, 0], [1, 1]], [[NAN, NAN], [2, np.nextafter(np.float32(2), np.float32(3))]]],
    "score": [[NAN, NAN], [NAN, 0]],
    "presence": [[NAN, 1], [NAN, NAN]],
    "visibility": [[2, 1], [0, 2]],
    "box": [[0, 0, 1, np.nextafter(1, 2)], [NAN] * 4],
    "box_score": [NAN, 0.5],
    "area": [NAN, 1],
    "crowd": [True, False],
    "p_gross": [[0, NAN], [NAN, NAN]],
    "p_bad": [0, NAN],
    "origin": [[0, 0], [0, 1]],
    "by": ["", "anna"],
    "group": ["x", ""],
    "attributes": [{"track": 2}, {}],
}


@pytest.mark.parametrize("field", vars(ONE.poses))
def test_the_digest_sees_every_value_of_a_pose(field: str) -> None:
    assert digest(ONE.with_poses(ONE.poses.replace(**{field: CHANGES[field]}))) != digest(ONE)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "t"},
        {"root": "other"},
        {"path": "b.jpg"},
        {"size": (3, 4)},
        {"group": ""},
        {"duplicate_of": "b.jpg"},
        {"attributes": {"camera": 2}},
        {"id": "si", "root": "mages"},  # the same letters, cut elsewhere
    ],
)
def test_the_digest_sees_every_value_of_a_sample(change: dict[str, Any]) -> None:
    assert digest(replace(ONE, **change)) != digest(ONE)


def test_the_digest_sees_order_and_number_of_poses() -> None:
    assert digest(ONE.with_poses(ONE.poses.take([1, 0]))) != digest(ONE)
    assert digest(ONE.with_poses(ONE.poses.take([0]))) != digest(ONE)
    twice = Poses.concat([ONE.poses, ONE.poses])
    assert digest_samples([ONE, ONE], twice) != digest_samples([ONE], ONE.poses)


def test_every_nan_is_the_same_nan() -> None:
    other_nan = np.array([0x7FC00001, 0xFFC00000], np.uint32).view(np.float32)
    assert np.isnan(other_nan).all()
    assert digest(ONE.with_poses(ONE.poses.replace(box_score=other_nan))) == digest(ONE)


def test_the_order_of_keys_means_nothing() -> None:
    a, b = ({"x": 1, "y": 2}, {"y": 2, "x": 1})
    assert digest(replace(ONE, attributes=a)) == digest(replace(ONE, attributes=b))


def test_a_row_says_whose_pose_it_is() -> None:
    other = replace(ONE, id="t", poses=ONE.poses.take([0]))
    none = replace(ONE, id="u", poses=Poses.empty(2))
    given_samples = [ONE, none, other]
    rows = poses_table(all_poses(given_samples), given_samples).to_pydict()
    assert rows["sample"] == [0, 0, 2]
    assert rows["sample_id"] == ["s", "s", "t"]
    assert samples_table(given_samples).to_pydict()["poses"] == [2, 0, 1]


def test_other_programs_read_plain_columns() -> None:
    """Nothing but strings, numbers and fixed lists: what DuckDB, pandas and Spark take."""
    table = through_parquet(poses_table(ONE.poses, [ONE]))
    assert table.column("xy").to_pylist()[0] == [0, 0, 1, 1]
    assert table.column("box").to_pylist()[0] == [0, 0, 1, 1]
    assert json.loads(table.column("attributes").to_pylist()[0]) == {"track": 1}
    assert table.column("score").null_count == 0


@pytest.mark.parametrize("n", [0, 4])
def test_features_come_back_as_they_were(n: int) -> None:
    rng = np.random.default_rng(0)
    features = {
        "peak": rng.random((n, K), np.float32),
        "entropy": rng.random(n),
        "embedding": rng.random((n, 8)).astype(np.float16),
        "swapped": rng.random((n, K)) > 0.5,
        "rank": rng.integers(0, 9, (n, 2)),
    }
    back = features_from_table(through_parquet(features_table(features)))
    assert set(back) == set(features)
    for name, array in features.items():
        assert back[name].dtype == array.dtype
        assert np.array_equal(back[name], array), name


def test_a_missing_column_is_named() -> None:
    table = poses_table(ONE.poses, [ONE]).drop_columns(["p_bad"])
    with pytest.raises(ManifestError, match="no column 'p_bad'"):
        poses_from_table(table, 2)
