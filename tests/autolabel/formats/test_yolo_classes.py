from typing import Any

import pytest

from autolabel.formats.yolo_classes import Classes, says_more
from autolabel.poses import Poses, Sample


def sample(*attributes: dict[str, Any]) -> Sample:
    poses = Poses.create(1, id=[""] * len(attributes), attributes=attributes) if attributes else Poses.empty(1)
    return Sample("", "images", "a.jpg", (10, 10), poses)


def of(name: str, key: object = None) -> dict[str, Any]:
    return {"coco": {"category": {"name": name} | ({} if key is None else {"id": key})}}


@pytest.mark.parametrize(
    ("samples", "header", "names"),
    [
        pytest.param([], {}, ("fox17",), id="nothing known"),
        pytest.param([sample({}), sample({"coco": 3}), sample({"coco": {"category": "x"}})], {}, ("fox17",), id="odd"),
        pytest.param([sample(of("b", 2), of("a", 1)), sample(of("b", 2))], {}, ("a", "b"), id="in the order of ids"),
        pytest.param([sample(of("b", "x"), of("a", 7), of("c"))], {}, ("a", "b", "c"), id="ids that are no numbers"),
        pytest.param(
            [sample(of("b", 1))],
            {"categories": [{"id": 5, "name": "c"}, {"id": 9, "name": "b"}]},
            ("c", "b"),
            id="header",
        ),
        pytest.param([sample(of(" "))], {"categories": [{"id": 1}]}, ("fox17",), id="names of nothing"),
    ],
)
def test_what_the_classes_are(samples: list[Sample], header: dict[str, Any], names: tuple[str, ...]) -> None:
    classes = Classes(samples, header, "fox17")
    assert classes.names == names
    assert [classes.index(of(name)) for name in names] == list(range(len(names)))
    assert classes.index({}) == 0


@pytest.mark.parametrize(
    ("attributes", "more"),
    [
        ({}, False),
        (of("a", 3), False),
        ({"note": ""}, False),
        ({"note": 1}, True),
        ({"coco": {"id": 4, "category": {"id": 1, "name": "a"}}}, True),
        ({"coco": {"category": {"id": 1, "name": "a", "supercategory": "animal"}}}, True),
        ({"coco": "mine"}, True),
        ({"note": 0}, True),
        ({"coco": {"iscrowd": False}}, True),
        ({"coco": {"category": "fox"}}, True),  # names no class that we know of
        ({"coco": {"category": {"id": 0, "name": " "}}}, True),
        ({"coco": {"category": {}}}, False),
    ],
)
def test_whether_more_than_the_class_would_be_lost(attributes: dict[str, Any], more: bool) -> None:
    assert says_more(attributes) == more
