"""Boxed people: which rectangles are meant, which are one person, and what a file of known people holds."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import FormatError
from autolabel.labelstudio.answers import read_answer
from autolabel.labelstudio.boxed import (
    PEOPLE,
    Drawn,
    boxed_people,
    drawn_boxes,
    people_line,
    read_people,
    waiting_poses,
)
from autolabel.labelstudio.folder import append_lines
from autolabel.labelstudio.frame import Frame
from autolabel.labelstudio.images import image_region
from autolabel.labelstudio.tasks import TaskRecord, box_region, rectangle
from autolabel.merge import BOXED
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton

SKELETON = Skeleton.load("coco17")
KEY = ("sample", "root", "a.png")
FRAME = Frame((100, 50), (80, 60), (640, 480))
CROP = TaskRecord("0123456789ab" * 2, "pose", KEY, FRAME, "ab" * 32, "review", False, "net")
WHOLE = replace(CROP, pose="", frame=Frame((0, 0), (400, 300), (640, 480)), kind="image", poses=("p", "q"))
FAR = np.array([0.0, 0.0, 4000.0, 3000.0])


@dataclass(frozen=True)
class Who:
    by: str = "annotator-7"
    updated: str = "2026-11-22T20:00:00Z"
    seconds: float | None = 4.5


def drawn(record: TaskRecord, *items: dict[str, Any], verdict: str = "") -> tuple[list[Drawn], list[str]]:
    ticked = {"id": "v", "type": "choices", "from_name": "verdict", "value": {"choices": [verdict]}}
    result = [*items, *([ticked] if verdict else [])]
    return drawn_boxes(Who(), read_answer(result, SKELETON, place="result", subject="test"), record)


def box(*corners: float, task: str = "t", view: Any = FAR, deliberate: tuple[str, ...] = ()) -> Drawn:
    return Drawn(KEY, np.array(corners, float), np.array(view, float), "r", task, "ann", frozenset(deliberate))


def test_the_boxes_of_the_task_are_none_and_others_stand_in_the_image() -> None:
    own = rectangle(CROP, box_region(CROP.task), [110, 60, 150, 100])
    new = rectangle(CROP, "fo_1", [120, 60, 160, 90])
    ((found,), why) = drawn(CROP, own, new)
    assert why == []
    assert found.box == pytest.approx([120, 60, 160, 90])
    assert found.view.tolist() == [100, 50, 180, 110]
    assert (found.region, found.task, found.by, found.deliberate) == ("fo_1", CROP.task, "annotator-7", frozenset())


def test_in_a_whole_image_the_shown_poses_have_boxes_already() -> None:
    items = [rectangle(WHOLE, image_region(WHOLE.task, i), [0, 0, 50, 50]) for i in range(2)]
    ((found,), _) = drawn(WHOLE, *items, rectangle(WHOLE, "fo_1", [10, 10, 90, 90]))
    assert found.deliberate == {"p", "q"}


def test_the_id_says_image_box_task_and_region() -> None:
    ((one,), _) = drawn(CROP, rectangle(CROP, "fo_1", [120, 60, 160, 90]))
    ((again,), _) = drawn(CROP, rectangle(CROP, "fo_1", [120, 60, 160, 90]))
    assert one.pose == again.pose
    ids = {
        one.pose,
        replace(one, box=one.box + 1).pose,
        replace(one, task="u").pose,
        replace(one, region="s").pose,
        replace(one, sample=("sample", "root", "b.png")).pose,
    }
    assert len(ids) == 5


@pytest.mark.parametrize(
    ("corners", "verdict", "why"),
    [
        ((120, 60, 121, 90), "", "less than 2 pixels"),
        ((120, 60, 160, 60), "", "less than 2 pixels"),
        ((120, 60, 160, 90), "reject image", "the image was rejected"),
    ],
)
def test_what_is_no_box(corners: tuple[float, ...], verdict: str, why: str) -> None:
    found, told = drawn(CROP, rectangle(CROP, "fo_1", corners), verdict=verdict)
    assert found == []
    assert why in told[0]


def test_what_lies_outside_the_picture_is_cut_off() -> None:
    item = rectangle(CROP, "fo_1", [120, 60, 160, 90])
    item["value"] |= {"x": -25.0, "width": 75.0, "y": 50.0, "height": 500.0}
    ((found,), _) = drawn(CROP, item)
    assert found.box.tolist() == [100, 80, 140, 110]


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        (0, [120, 70, 140, 100]),
        (90, [90, 70, 120, 90]),  # the left edge becomes the top one
        (-90, [120, 50, 150, 70]),
        (180, [100, 40, 120, 70]),
        (45, [120 - 30 / 2**0.5, 70, 120 + 20 / 2**0.5, 70 + 50 / 2**0.5]),
    ],
)
def test_a_turned_box_is_what_encloses_it(rotation: float, expected: list[float]) -> None:
    """It turns clockwise about its first corner, in pixels; the picture is wider than high."""
    record = replace(CROP, frame=Frame((0, 0), (320, 240), (640, 480)))
    item = rectangle(record, "fo_1", [120, 70, 140, 100])
    item["value"]["rotation"] = rotation
    ((found,), _) = drawn(record, item)
    assert found.box == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answers", "people"),
    [
        ([[box(0, 0, 100, 100)]], 1),
        ([[box(0, 0, 100, 100), box(5, 0, 100, 100)]], 2),  # one answer: two people, however close
        ([[box(0, 0, 100, 100)], [box(5, 0, 100, 100)]], 1),
        ([[box(0, 0, 100, 100)], [box(60, 0, 160, 100)]], 2),
        ([[box(0, 0, 100, 100), box(10, 0, 110, 100)], [box(4, 0, 104, 100), box(9, 0, 109, 100)]], 2),
        ([[box(0, 0, 100, 100)], [box(0, 0, 60, 40, view=(0, 0, 150, 40))]], 1),  # a crop shows a part of it
        ([[box(0, 0, 60, 40, view=(0, 0, 150, 40))], [box(0, 0, 100, 100)]], 1),
        ([[box(0, 0, 50, 100, view=(0, 0, 55, 100))], [box(45, 0, 95, 100, view=(45, 0, 100, 100))]], 2),
    ],
)
def test_who_is_one_person(answers: list[list[Drawn]], people: int) -> None:
    found, refused = boxed_people(answers, {}, {})
    assert (len(found), refused) == (people, [])
    first = answers[0][0]
    assert (found[0].pose, found[0].task, found[0].by, found[0].asked) == (first.pose, "t", "ann", False)


def test_who_was_asked_about_keeps_id_and_box() -> None:
    asked = {"before": np.array([0.0, 0.0, 100.0, 100.0]), "gone": np.array([500.0, 0.0, 600.0, 100.0])}
    found, _ = boxed_people([[box(3, 0, 103, 100), box(200, 0, 300, 100)]], asked, {})
    assert [(person.pose, person.asked) for person in found] == [("before", True), (box(200, 0, 300, 100).pose, False)]
    assert found[0].box.tolist() == [0, 0, 100, 100]


@pytest.mark.parametrize(
    ("one", "refused"),
    [
        (box(0, 0, 100, 100), True),
        (box(0, 0, 100, 100, deliberate=("known",)), False),
        (box(0, 0, 40, 100, view=(0, 0, 45, 100)), True),  # all of it that the task shows
        (box(0, 0, 40, 40), False),
        (box(70, 0, 170, 100), False),
    ],
)
def test_whoever_has_a_pose_is_nobody_new(one: Drawn, refused: bool) -> None:
    found, told = boxed_people([[one]], {}, {"known": np.array([0.0, 0.0, 100.0, 100.0])})
    assert (len(found), len(told)) == ((0, 1) if refused else (1, 0))
    assert all("pose known is there already" in why for _, why in told)


def test_people_wait_as_boxes_without_keypoints() -> None:
    found, _ = boxed_people([[box(0, 0, 100, 100)]], {}, {})
    poses = waiting_poses(found, 17)
    assert (poses.id.tolist(), poses.by.tolist()) == ([found[0].pose], ["ann"])
    assert poses.attributes == ({"state": "boxed", BOXED: "t"},)
    assert not poses.labelled.any()
    assert len(waiting_poses([], 17)) == 0


def test_known_people_are_read_back(tmp_path: Path) -> None:
    attributes = [{}, {"state": "rejected"}, {BOXED: "t"}, {}]
    corners = [(0, 0, 9, 9), (1, 1, 9, 9), (2, 2, 9, 9), (np.nan,) * 4]
    poses = Poses.create(17, id=["a", "rejected", "boxed", "nowhere"], box=corners, attributes=attributes)
    file = tmp_path / PEOPLE
    assert read_people(file) == {}
    append_lines(file, [people_line(Sample(*KEY, (20, 20), poses))])
    (people,) = read_people(file).values()
    assert {pose: place.tolist() for pose, place in people.items()} == {"a": [0, 0, 9, 9]}
    append_lines(file, [{"sample": ["a", "b"], "people": {}}])
    with pytest.raises(FormatError, match="line 2"):
        read_people(file)
