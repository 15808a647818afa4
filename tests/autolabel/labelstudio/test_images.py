"""Whole images: what the task shows, and what a hand does to its rectangles comes to."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_studio_sdk.label_interface import LabelInterface

from autolabel.errors import FormatError
from autolabel.labelstudio.answers import Answer, read_answer
from autolabel.labelstudio.form import labelling_form
from autolabel.labelstudio.frame import whole
from autolabel.labelstudio.images import (
    ImageCheck,
    image_check,
    image_key,
    image_region,
    image_task,
    moved_boxes,
    read_images,
    shown_poses,
    why_void_image,
)
from autolabel.labelstudio.tasks import TaskRecord, review_task
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
SIZE = (200, 300)

Items = list[dict[str, Any]]


@dataclass(frozen=True)
class Who:
    by: str = "annotator-7"
    updated: str = "2026-11-22T20:00:00Z"
    seconds: float | None = 4.5


def people(**given: Any) -> Poses:
    xy = np.tile(np.linspace((60, 50), (140, 250), K), (3, 1, 1))
    box = [(10, 20, 190, 280), (50, 60, 90, 120), (np.nan,) * 4]
    return Poses.create(K, **{"id": ["large", "small", "boxless"], "xy": xy, "box": box, **given})


def made(poses: Poses) -> tuple[TaskRecord, dict[str, Any]]:
    sample = Sample("s", "root", "a/b.jpg", SIZE, poses)
    shown = tuple(poses.id[shown_poses(sample)].tolist())
    key = image_key("ab" * 32, sample.key)
    record = TaskRecord(key, "", sample.key, whole(SIZE), "ab" * 32, "image", False, "", poses=shown)
    return record, image_task(record, sample)


def drop(*rows: int) -> Callable[[Items], Items]:
    return lambda items: [item for item in items if not item["id"].endswith(tuple(f"-p{row}" for row in rows))]


def drawn(name: str = "fo_l1oAHdz") -> Callable[[Items], Items]:
    item = {"id": name, "type": "rectanglelabels", "from_name": "box", "to_name": "image", "origin": "manual"}
    value = {"x": 1.0, "y": 2.0, "width": 30.0, "height": 40.0, "rectanglelabels": ["box"]}
    return lambda items: [*items, {**item, "value": value}]


def tick(*verdicts: str) -> Callable[[Items], Items]:
    item = {"id": "v", "type": "choices", "from_name": "verdict", "to_name": "image"}
    return lambda items: [*items, {**item, "value": {"choices": list(verdicts)}}]


def drag(items: Items) -> Items:
    sides = {"x": 0.0, "width": 99.0}
    return [{**item, "value": {**item["value"], **sides}} if "x" in item["value"] else item for item in items]


def shift(row: int, by: float) -> Callable[[Items], Items]:
    def act(items: Items) -> Items:
        (item,) = [item for item in items if item["id"].endswith(f"-p{row}")]
        item["value"]["y"] += by
        return items

    return act


def turn(items: Items) -> Items:
    return [{**item, "image_rotation": 90} for item in items]


def answer_of(task: dict[str, Any], *acts: Callable[[Items], Items]) -> Answer:
    items: Items = copy.deepcopy(task["predictions"][0]["result"])
    for act in acts:
        items = act(items)
    return read_answer(items, SKELETON, place="result", subject="test")


def answered(poses: Poses, *acts: Callable[[Items], Items]) -> tuple[str, ImageCheck]:
    record, task = made(poses)
    answer = answer_of(task, *acts)
    return why_void_image(answer, record), image_check(Who(), answer, record)


def test_everybody_has_a_rectangle_that_can_be_moved_and_the_small_ones_lie_on_top() -> None:
    record, task = made(people())
    *items, about = task["predictions"][0]["result"]
    assert [item["id"] for item in items] == [image_region(record.task, i) for i in (1, 2, 0)]
    assert about["value"] == {"choices": ["whole picture"]}, "else the form shows joints"
    assert not [item for item in items if "readonly" in item]
    assert [items[2]["value"][side] for side in ("x", "y", "width", "height")] == pytest.approx(
        [5, 20 / 3, 90, 260 / 3]
    )
    interface = LabelInterface(labelling_form(SKELETON))
    assert interface.validate_prediction(task["predictions"][0], return_errors=True) == []


def test_who_has_no_box_gets_one_around_the_keypoints() -> None:
    _, task = made(people())
    value = task["predictions"][0]["result"][1]["value"]
    assert [value[side] for side in ("x", "y", "width", "height")] == pytest.approx([30, 50 / 3, 40.5, 67])


def test_a_task_has_the_form_of_every_other_and_names_no_pose() -> None:
    record, task = made(people())
    pose = people()[0]
    other = review_task(record, pose, SKELETON)
    assert [set(part) for part in (task, task["data"], task["meta"])] == [
        set(part) for part in (other, other["data"], other["meta"])
    ]
    assert re.fullmatch("[0-9a-f]{24}", record.task)
    text = json.dumps(task)
    assert not [name for name in ("large", "small", "boxless", "a/b") if name in text]


def test_whom_people_rejected_and_who_has_no_place_is_not_shown() -> None:
    poses = people(
        attributes=[{}, {"state": "rejected"}, {"state": "reviewed"}],
        xy=np.stack([np.zeros((K, 2))] * 2 + [np.full((K, 2), np.nan)]),
    )
    record, task = made(poses)
    assert record.poses == ("large",)
    assert len(task["predictions"][0]["result"]) == 2, "one box, and that it is a whole image"


@pytest.mark.parametrize(
    ("acts", "missed", "nobody", "clicks"),
    [
        ((), 0, (), 1),
        ((drag,), 0, (), 1),  # the same people, in better boxes
        ((drawn(),), 1, (), 3),
        ((drawn("a"), drawn("b")), 2, (), 5),
        ((drop(1),), 0, ("small",), 2),
        ((drop(0, 2), drawn()), 1, ("large", "boxless"), 5),
        ((drop(0, 1, 2), tick("person missing or wrong")), 0, ("large", "small", "boxless"), 5),
        ((drop(0, 1, 2), drawn(), tick("person missing or wrong")), 1, ("large", "small", "boxless"), 7),
        ((drop(1), tick("person missing or wrong")), 0, ("small",), 3),
    ],
)
def test_what_is_found(
    acts: tuple[Callable[[Items], Items], ...], missed: int, nobody: tuple[str, ...], clicks: int
) -> None:
    why, found = answered(people(), *acts)
    assert (why, found.missed, found.nobody, found.shown, found.clicks) == ("", missed, nobody, 3, clicks)
    assert (found.by, found.when, found.seconds) == ("annotator-7", "2026-11-22T20:00:00Z", 4.5)
    assert ImageCheck.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize(
    ("acts", "moved"),
    [
        ((), []),
        ((shift(1, 0.9),), []),
        ((shift(1, 1.1),), ["small"]),
        ((drag, drop(0)), ["small", "boxless"]),
        ((drawn(),), []),
    ],
)
def test_given_boxes_that_were_moved_are_named(acts: tuple[Callable[[Items], Items], ...], moved: list[str]) -> None:
    record, task = made(people())
    sample = Sample("s", "root", "a/b.jpg", SIZE, people())
    assert moved_boxes(answer_of(task, *acts), record, sample) == moved


def test_findings_are_read_back_and_damage_is_named(tmp_path: Path) -> None:
    _, found = answered(people(), drop(1), drawn())
    file = tmp_path / "images.jsonl"
    assert read_images(file) == []
    file.write_text(json.dumps(found.to_dict()) + "\n")
    assert read_images(file) == [found]
    file.write_text(json.dumps(found.to_dict()) + "\n" + json.dumps({"sample": ["a", "b", "c"]}) + "\n")
    with pytest.raises(FormatError, match="line 2"):
        read_images(file)


def test_an_image_without_poses_is_answered_by_leaving_it_empty() -> None:
    why, found = answered(people().take([]))
    assert (why, found.missed, found.nobody) == ("", 0, ())


@pytest.mark.parametrize(
    ("acts", "why"),
    [
        ((drop(0, 1, 2),), "no box came back"),  # or none was shown
        ((drop(0, 1, 2), drawn()), "no box came back"),
        ((turn,), "rotated"),
        ((tick("person missing or wrong"),), "no box was drawn"),
        ((tick("needs expert"),), "must be boxed"),
        ((drawn(), tick("reject image")), "must be boxed"),
    ],
)
def test_answers_that_cannot_be_used(acts: tuple[Callable[[Items], Items], ...], why: str) -> None:
    assert why in answered(people(), *acts)[0]
