import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import FormatError
from autolabel.formats.coco import read_boxes

IMAGES = [
    {"id": 1, "file_name": "a.jpg", "width": 9, "height": 9},
    {"id": 2, "file_name": "b/c.jpg", "width": 9, "height": 9},
]
PERSON = {"id": 1, "name": "person", "keypoints": ["nose"]}


def save(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def box(image: int, *xywh: float, category: int = 1, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": list(xywh), **more}


def listing(path: Path, *categories: dict[str, Any]) -> Path:
    return save(path / "images.json", {"images": IMAGES, "categories": list(categories)})


def test_boxes_of_annotations(tmp_path: Path) -> None:
    content = {
        "images": IMAGES,
        "categories": [PERSON],
        "annotations": [
            box(1, 1, 2, 3, 4, id=7),
            box(1, 0, 0, 5, 5, id=8, iscrowd=1),
            box(1, 5, 5, 1, 1, id=9),
        ],
    }
    boxes = read_boxes(save(tmp_path / "a.json", content))
    assert list(boxes) == ["a.jpg", "b/c.jpg"]
    assert boxes["a.jpg"].box.tolist() == [[1, 2, 4, 6], [5, 5, 6, 6]]  # the crowd is left out
    assert boxes["a.jpg"].record == (7, 9) and np.isnan(boxes["a.jpg"].score).all()
    assert len(boxes["b/c.jpg"]) == 0 and boxes["b/c.jpg"].box.shape == (0, 4)


def test_boxes_of_results(tmp_path: Path) -> None:
    results = [box(2, 1, 2, 3, 4, score=0.5), {**box(1), "keypoints": [3, 4, 1, 9, 2, 1], "score": 0.25}]
    del results[1]["bbox"]
    boxes = read_boxes(save(tmp_path / "r.json", results), listing(tmp_path, PERSON))
    assert boxes["b/c.jpg"].box.tolist() == [[1, 2, 4, 6]] and boxes["b/c.jpg"].score.tolist() == [0.5]
    assert boxes["a.jpg"].box.tolist() == [[3, 2, 9, 4]] and boxes["a.jpg"].record == (1,)


@pytest.mark.parametrize(
    ("categories", "wanted", "kept"),
    [
        ([PERSON, {"id": 2, "name": "dog"}], None, [1]),  # the one with keypoints
        ([{"id": 1, "name": "dog"}, {"id": 2, "name": "person"}], None, [2]),  # a detector's categories
        ([{"id": 1, "name": "dog"}, {"id": 2, "name": "person"}], "dog", [1]),
        ([{"id": 1, "name": "dog"}, {"id": 2, "name": "person"}], 1, [1]),
        ([], 2, [2]),
    ],
)
def test_the_category(tmp_path: Path, categories: list[Any], wanted: Any, kept: list[int]) -> None:
    results = save(tmp_path / "r.json", [box(1, i, 0, 1, 1, category=i) for i in (1, 2)])
    boxes = read_boxes(results, listing(tmp_path, *categories), category=wanted)
    assert boxes["a.jpg"].box[:, 0].tolist() == kept


def test_one_unnamed_category_is_taken_several_are_not(tmp_path: Path) -> None:
    one = save(tmp_path / "one.json", [box(1, 1, 1, 1, 1, category=18)])
    assert len(read_boxes(one, listing(tmp_path))["a.jpg"]) == 1
    two = save(tmp_path / "two.json", [box(1, 1, 1, 1, 1, category=c) for c in (17, 18)])
    with pytest.raises(FormatError, match="several categories: 17, 18"):
        read_boxes(two, listing(tmp_path))


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (
            [box(9, 1, 1, 1, 1)],
            r"results\[0\].image_id: is 9, which is not the id of any of the images of .*images.json",
        ),
        ([box(1, 1, 1, -1, 1)], r"results\[0\].bbox: has width -1"),
        ([box(1, 1, 1, 1)], r"results\[0\].bbox: has 3 entries"),
        ([{"image_id": 1, "category_id": 1}], r"results\[0\].keypoints: is missing"),
        ([{"image_id": 1, "category_id": 1, "keypoints": [1, 2]}], r"results\[0\].keypoints: has 2 entries"),
        ([{"image_id": 1, "bbox": [1, 1, 1, 1]}], r"results\[0\].category_id: is missing"),
        ([box(1, 1, 1, 1, 1, score="high")], r"results\[0\].score: is a text"),
        ([3], r"results\[0\]: is 3, expected an object"),
    ],
)
def test_malformed_results_are_refused(tmp_path: Path, results: list[Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_boxes(save(tmp_path / "r.json", results), listing(tmp_path, PERSON))


def test_results_need_the_file_that_names_the_images(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="--boxes-images"):
        read_boxes(save(tmp_path / "r.json", []))
