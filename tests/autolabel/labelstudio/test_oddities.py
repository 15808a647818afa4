"""Each oddity's rule, on results as an annotator, a script or a broken program leaves them."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autolabel.labelstudio.answers import correction
from autolabel.labelstudio.exports import Annotation
from autolabel.labelstudio.frame import frame_of
from autolabel.labelstudio.oddities import NEAR, Oddity, Reading, understand
from autolabel.labelstudio.tasks import TaskRecord, box_region, keypoint_region, review_task, task_key
from autolabel.merge import Correction, KeypointChange
from autolabel.poses import Origin, Poses
from autolabel.skeleton import Skeleton

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
NOSE, LEFT_EYE = SKELETON.index("nose"), SKELETON.index("left_eye")
POSE = Poses.create(
    K,
    id=["pose-1"],
    xy=[np.random.default_rng(3).uniform((60, 50), (140, 250), (K, 2)).astype(np.float32)],
    box=[(50, 40, 150, 260)],
    presence=[np.full(K, 0.9)],
    origin=[np.full(K, Origin.MODEL)],
)[0]
KEY = task_key("ab" * 32, POSE.id, "review")
RECORD = TaskRecord(KEY, POSE.id, ("s", "r", "a.jpg"), frame_of(POSE, (200, 300)), "ab" * 32, "review", False, "net")
SENT: list[dict[str, Any]] = review_task(RECORD, POSE, SKELETON)["predictions"][0]["result"]

Items = list[Any]


def read(act: Callable[[Items], Any]) -> tuple[Reading, Correction | None]:
    """What is made of our own prediction after something was done to it."""
    items = copy.deepcopy(SENT)
    act(items)
    annotation = Annotation(KEY, "1", "ann", "2026-11-22T20:00:00Z", 1.0, False, tuple(items))
    reading = understand(annotation, RECORD, SKELETON, POSE)
    if reading.answer is None:
        return reading, None
    return reading, correction(annotation, reading.answer, RECORD, POSE, SKELETON)


def kinds(reading: Reading) -> list[Oddity]:
    return [odd.kind for odd in reading.odd]


def item(items: Items, keypoint: int, kind: str = "keypointlabels") -> dict[str, Any]:
    region = keypoint_region(KEY, keypoint)
    return next(one for one in items if one["id"] == region and one["type"] == kind)


def box(items: Items) -> dict[str, Any]:
    return next(one for one in items if one["id"] == box_region(KEY))


def set_value(keypoint: int, **values: Any) -> Callable[[Items], Any]:
    return lambda items: item(items, keypoint)["value"].update(values)


def set_box(**values: Any) -> Callable[[Items], Any]:
    return lambda items: box(items)["value"].update(values)


def add(**values: Any) -> Callable[[Items], Any]:
    return lambda items: items.append({"id": "fo_1", "type": "keypointlabels", "from_name": "doubt", "value": values})


def unlabel(items: Items) -> None:
    del item(items, NOSE)["value"]["keypointlabels"]


def unlabel_as_the_editor_does(items: Items) -> None:
    unlabel(items)
    item(items, NOSE)["type"] = "keypoint"


def untouched_but(made: Correction | None, *keypoints: int) -> bool:
    """Whether all others are bit by bit as they were sent, and were told to be kept."""
    assert made is not None
    others = [k for k in range(K) if k not in keypoints]
    kept = all(made.keypoints[k] is KeypointChange.KEPT for k in others)
    return kept and np.array_equal(made.after.xy[others], POSE.xy[others])


def test_what_is_as_it_should_be_is_not_odd() -> None:
    reading, made = read(lambda items: None)
    assert reading.odd == ()
    assert untouched_but(made)
    assert made and np.array_equal(made.after.box, POSE.box)


@pytest.mark.parametrize(
    ("x", "y", "edge"),
    [(-0.01, 50, (0, 50)), (100 + NEAR, 20, (100, 20)), (-NEAR, 100.5, (0, 100)), (104, -1, (100, 0))],
)
def test_a_point_just_outside_is_put_on_the_edge(x: float, y: float, edge: tuple[float, float]) -> None:
    reading, made = read(set_value(NOSE, x=x, y=y))
    assert kinds(reading) == [Oddity.OUTSIDE]
    assert "nose" in reading.odd[0].what
    assert made and np.allclose(made.after.xy[NOSE], RECORD.frame.to_image(edge), atol=1e-4)
    assert untouched_but(made, NOSE)


MALFORMED: dict[str, Callable[[Items], Any]] = {
    "far outside": set_value(NOSE, x=100 + NEAR + 0.1),
    "very far outside": set_value(NOSE, y=-1e30),
    "a number without end": set_value(NOSE, x=10**400),
    "NaN": set_value(NOSE, x=float("nan")),
    "a text": set_value(NOSE, x="12"),
    "a truth value": set_value(NOSE, x=True),
    "nothing": set_value(NOSE, y=None),
    "an unknown label": set_value(NOSE, keypointlabels=["tail"]),
    "two labels": set_value(NOSE, keypointlabels=["nose", "left_eye"]),
    "a label that is no text": set_value(NOSE, keypointlabels=[["nose"]]),
    "a point of nobody without label": add(x=5, y=5, keypointlabels=[]),
    "an item that is none": lambda items: items.append(5),
    "an item that is empty of sense": lambda items: items.append([[[{}]]]),
    "a value that is none": lambda items: item(items, NOSE).update(value=5),
    "an id that is a list": lambda items: item(items, NOSE).update(id=[]),
    "an unknown choice": lambda items: item(items, NOSE, "choices")["value"].update(choices=["maybe"]),
    "two choices": lambda items: item(items, NOSE, "choices")["value"].update(choices=["visible", "hidden"]),
    "an unknown verdict": lambda items: items.append(
        {"id": "v", "type": "choices", "from_name": "verdict", "value": {"choices": ["nice"]}}
    ),
    "a box without numbers": set_box(width="wide"),
    "a box without end": set_box(width=10**400),
    "a turn that is no number": lambda items: item(items, NOSE).update(image_rotation="left"),
    "one region for two keypoints": lambda items: item(items, LEFT_EYE).update(id=keypoint_region(KEY, NOSE)),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_damaged_is_set_aside_whole(name: str) -> None:
    reading, made = read(MALFORMED[name])
    assert (made, kinds(reading)) == (None, [Oddity.MALFORMED])
    assert reading.odd[0].what.startswith("not used: ")


def test_a_fault_is_told() -> None:
    annotation = Annotation(KEY, "9", "ann", "2026-11-22T20:00:00Z", None, False, (), fault="result: is 5")
    reading = understand(annotation, RECORD, SKELETON, POSE)
    assert (reading.answer, kinds(reading)) == (None, [Oddity.MALFORMED])
    assert "annotation 9: result: is 5" in reading.odd[0].what


@pytest.mark.parametrize("region", ["k0", "k99", "box", "limb0", "p3"])
def test_a_region_of_another_task_sets_the_answer_aside(region: str) -> None:
    reading, _ = read(lambda items: items.append({**items[0], "id": f"{'0' * 12}-{region}"}))
    assert (reading.answer, kinds(reading)) == (None, [Oddity.FOREIGN])


@pytest.mark.parametrize("act", [unlabel, unlabel_as_the_editor_does, set_value(NOSE, keypointlabels=[])])
def test_a_point_of_ours_without_label_is_read_by_its_region(act: Callable[[Items], Any]) -> None:
    reading, made = read(act)
    assert kinds(reading) == [Oddity.UNLABELLED]
    assert untouched_but(made)


def test_a_changed_label_counts_and_not_the_region() -> None:
    reading, made = read(set_value(NOSE, keypointlabels=["left_eye"]))
    assert kinds(reading) == [Oddity.DOUBLED]
    assert made and made.keypoints[NOSE] is KeypointChange.REMOVED
    assert untouched_but(made, NOSE, LEFT_EYE)


def test_of_a_keypoint_placed_twice_the_last_counts() -> None:
    reading, made = read(add(x=50, y=50, keypointlabels=["nose"]))
    assert kinds(reading) == [Oddity.DOUBLED]
    assert made and np.allclose(made.after.xy[NOSE], RECORD.frame.to_image((50, 50)), atol=1e-4)
    assert untouched_but(made, NOSE)


def test_a_deleted_box_stays_as_it_was_sent() -> None:
    reading, made = read(lambda items: items.remove(box(items)))
    assert kinds(reading) == [Oddity.NO_BOX]
    assert untouched_but(made)
    assert made and np.array_equal(made.after.box, POSE.box)


@pytest.mark.parametrize(
    ("values", "cut"),
    [
        ({"x": -10, "y": 0, "width": 60, "height": 120}, (0, 0, 50, 100)),
        ({"x": 50, "y": 50, "width": -20, "height": -30}, (30, 20, 20, 30)),
        ({"x": -1e30, "y": -1e30, "width": 2e30, "height": 2e30}, (0, 0, 100, 100)),
    ],
)
def test_a_box_is_cut_at_the_edge_of_the_picture(values: dict[str, float], cut: tuple[float, ...]) -> None:
    reading, made = read(set_box(**values))
    assert kinds(reading) == [Oddity.BOX]
    assert untouched_but(made)
    assert made and np.allclose(made.after.box, RECORD.frame.box_to_image(cut), atol=1e-4)


def test_a_box_outside_the_picture_is_left_out() -> None:
    reading, made = read(set_box(x=120, y=0, width=10, height=10))
    assert kinds(reading) == [Oddity.BOX, Oddity.NO_BOX]
    assert made and np.array_equal(made.after.box, POSE.box)


@pytest.mark.parametrize("act", [list.clear, lambda items: item(items, NOSE).update(image_rotation=90)])
def test_what_says_nothing_is_set_aside(act: Callable[[Items], Any]) -> None:
    assert kinds(read(act)[0]) == [Oddity.UNUSABLE]


def test_regions_of_controls_that_are_not_ours_say_nothing() -> None:
    shapes = [{"id": f"o{i}", "type": kind, "value": {"x": -900}} for i, kind in enumerate(("ellipse", "brush", ""))]
    reading, made = read(lambda items: items.extend(shapes))
    assert reading.odd == ()
    assert untouched_but(made)


def test_a_whole_image_has_no_pose() -> None:
    record = replace(RECORD, pose="", kind="image", poses=())
    annotation = Annotation(KEY, "1", "ann", "2026-11-22T20:00:00Z", 1.0, False, ())
    assert understand(annotation, record, SKELETON).answer is not None
