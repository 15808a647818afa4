"""The round trips: file -> poses -> file, and poses -> file -> poses."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolabel.formats.coco import read_coco, write_coco
from autolabel.formats.policy import ImagePolicy
from autolabel.poses import Sample
from tests.autolabel.formats.poses_strategies import (
    TRIANGLE,
    K,
    assert_same_bits,
    json_values,
    samples,
    without_coco,
    words,
)

DATA = Path(__file__).parents[4] / "shared/data"


@settings(max_examples=150)
@given(samples())
def test_poses_come_back_from_a_file_bit_by_bit(wanted: list[Sample]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        write_coco(path, wanted, TRIANGLE, policy=ImagePolicy.ALL)
        data = read_coco(path)
        again = Path(folder) / "b.json"
        write_coco(again, data.samples, data.skeleton, policy=ImagePolicy.ALL)
        assert again.read_text() == path.read_text()
    assert data.skeleton == TRIANGLE
    assert len(data.samples) == len(wanted)
    for mine, theirs in zip(wanted, data.samples, strict=True):
        for name in ("id", "path", "size", "group", "duplicate_of"):
            assert getattr(mine, name) == getattr(theirs, name)
        assert without_coco(mine.attributes) == without_coco(theirs.attributes)
        assert_same_bits(mine.poses, theirs.poses)


# Files of others

numbers = st.integers(-5_000, 5_000) | st.floats(-5_000, 5_000).map(lambda x: round(x, 2))
extras = st.dictionaries(words.map(lambda name: f"x_{name}"), json_values, max_size=3)


@st.composite
def annotation(draw: st.DrawFn) -> dict[str, Any]:
    triples = [[draw(numbers), draw(numbers), draw(st.integers(0, 2))] for _ in range(K)]
    triples = [[0, 0, 0] if draw(st.booleans()) else triple for triple in triples]
    record: dict[str, Any] = {
        "keypoints": [number for triple in triples for number in triple],
        "num_keypoints": sum(triple[2] > 0 for triple in triples),
        "bbox": [draw(numbers), draw(numbers), abs(draw(numbers)), abs(draw(numbers))],
        "area": abs(draw(numbers)),
        "iscrowd": draw(st.integers(0, 1)),
        **draw(extras),
    }
    if draw(st.booleans()):
        record["segmentation"] = [[draw(numbers) for _ in range(6)]]
    if draw(st.booleans()):
        record["score"] = draw(st.floats(0, 1).map(lambda x: round(x, 4)))
    return record


@st.composite
def coco_files(draw: st.DrawFn) -> dict[str, Any]:
    ids = st.integers(0, 10**12) | st.text("abc", min_size=1, max_size=3)
    image_ids = draw(st.lists(ids, min_size=1, max_size=4, unique=True))
    category = {"id": draw(ids), "name": "thing", "keypoints": list("pqr"), "skeleton": [[1, 2], [3, 2]]}
    images = [
        {"id": image, "file_name": f"{i}.png", "width": 640, "height": 480, **draw(extras)}
        for i, image in enumerate(image_ids)
    ]
    found = [
        {
            "id": key,
            "image_id": draw(st.sampled_from(image_ids)),
            "category_id": category["id"],
            **draw(annotation()),
        }
        for key in draw(st.lists(ids, max_size=5, unique=True))
    ]
    return {
        "info": draw(json_values),
        "categories": [category | {"supercategory": "x"}],
        "images": images,
        "annotations": found,
    }


def stripped(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "autolabel"}


@settings(max_examples=150)
@given(coco_files())
def test_a_file_comes_back_with_everything_it_held(wanted: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in.json", Path(folder) / "out.json"
        source.write_text(json.dumps(wanted), encoding="utf-8")
        data = read_coco(source)
        write_coco(out, data.samples, data.skeleton, header=data.header)
        got = json.loads(out.read_text(encoding="utf-8"))
    assert got["info"] == wanted["info"]
    assert [stripped(category) for category in got["categories"]] == wanted["categories"]
    assert [stripped(image) for image in got["images"]] == wanted["images"]
    by_id = {record["id"]: stripped(record) for record in got["annotations"]}
    assert by_id == {record["id"]: record for record in wanted["annotations"]}


@pytest.mark.parametrize(
    "name",
    [
        "coco25/annotations.json",
        "fashion17/annotations_val.json",
        "lspet/annotations_val.json",
        "openfield/annotations.json",
        "reaching/annotations.json",
    ],
)
def test_real_files_come_back(name: str, tmp_path: Path) -> None:
    if not (DATA / name).is_file():
        pytest.skip(f"shared/data/{name} is not here")
    data = read_coco(DATA / name)
    write_coco(tmp_path / "out.json", data.samples, data.skeleton, header=data.header)
    got, wanted = json.loads((tmp_path / "out.json").read_text()), json.loads((DATA / name).read_text())
    assert got["info"] == wanted["info"]
    assert [stripped(image) for image in got["images"]] == wanted["images"]
    order = {record["id"]: stripped(record) for record in got["annotations"]}
    for record in wanted["annotations"]:
        assert order[record["id"]] == record
    assert got["categories"][0]["skeleton"] == wanted["categories"][0]["skeleton"]
