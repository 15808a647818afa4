"""The validator: every task that we make is sound, and every damage that a server would store is found."""

import copy
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autolabel.labelstudio.frame import frame_of
from autolabel.labelstudio.images import image_key, image_task
from autolabel.labelstudio.tasks import IMAGE, KINDS, TaskRecord, review_task, task_key
from autolabel.labelstudio.validate import problems
from autolabel.poses import Pose, Poses, Sample
from autolabel.skeleton import Skeleton, builtin_skeletons

SKELETON = Skeleton.load("coco17")
SIZE = (200, 300)
POINT, CHOICE, LIMB, BOX = 0, 1, -3, -1


def make_pose(skeleton: Skeleton = SKELETON, **given: Any) -> Pose:
    k = skeleton.num_keypoints
    rng = np.random.default_rng(3)
    values = {
        "id": "pose-1",
        "xy": rng.uniform((60, 50), (140, 250), (k, 2)),
        "box": (50, 40, 150, 260),
        "score": np.linspace(0.2, 0.9, k),
        "presence": np.where(np.arange(k) % 5, 0.9, 0.1),
        "by": "net",
    }
    return Poses.create(k, **{name: [value] for name, value in {**values, **given}.items()})[0]


def make_task(
    pose: Pose, skeleton: Skeleton = SKELETON, *, kind: str = "review", blind: bool = False
) -> dict[str, Any]:
    key = task_key("ab" * 32, pose.id, kind)
    record = TaskRecord(key, pose.id, ("s", "r", "a.jpg"), frame_of(pose, SIZE), "ab" * 32, kind, blind, pose.by)
    return review_task(record, pose, skeleton)


def result_of(task: dict[str, Any]) -> list[dict[str, Any]]:
    return task["predictions"][0]["result"]


@pytest.mark.parametrize("name", builtin_skeletons())
def test_tasks_of_all_skeletons_are_sound(name: str) -> None:
    skeleton = Skeleton.load(name)
    assert problems(make_task(make_pose(skeleton), skeleton), skeleton) == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != IMAGE])
def test_tasks_of_all_kinds_are_sound(kind: str) -> None:
    assert problems(make_task(make_pose(), kind=kind, blind=kind == "blind"), SKELETON) == []


@pytest.mark.parametrize(
    "given",
    [
        {"box": (np.nan,) * 4},
        {"box": (-50, -40, 400, 500)},
        {"xy": np.full((17, 2), np.nan)},
        {"xy": np.full((17, 2), 1e6)},
        {"xy": np.full((17, 2), -1e6), "box": (np.nan,) * 4},
    ],
)
def test_tasks_of_odd_poses_are_sound(given: dict[str, Any]) -> None:
    assert problems(make_task(make_pose(**given)), SKELETON) == []


def test_tasks_of_whole_images_are_sound() -> None:
    poses = Poses.create(17, id=["a", "b"], box=[(0, 0, 50, 60), (90, 100, 200, 300)])
    sample = Sample("s", "r", "a.jpg", SIZE, poses)
    frame = frame_of(make_pose(xy=np.full((17, 2), np.nan), box=(np.nan,) * 4), SIZE)
    key = image_key("ab" * 32, sample.key)
    record = TaskRecord(key, "", sample.key, frame, "ab" * 32, IMAGE, False, "", poses=("a", "b"))
    task = image_task(record, sample)
    assert problems(task, SKELETON) == []
    result_of(task)[0]["readonly"] = True
    assert problems(task, SKELETON) == ["result[0]: is read-only"], "a box of nobody could not be deleted"
    del result_of(task)[0]["readonly"]
    result_of(task)[-1]["value"]["choices"] = ["a part"]
    (problem,) = problems(task, SKELETON)
    assert problem.startswith("result[2]: value.choices is ['a part']"), "the form would show joints"


def value(i: int, **changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda task: result_of(task)[i]["value"].update(changes)


def item(i: int, **changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda task: result_of(task)[i].update(changes)


def without(i: int, name: str) -> Callable[[dict[str, Any]], object]:
    return lambda task: result_of(task)[i].pop(name)


def data(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda task: task["data"].update(changes)


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    # what the server takes without a word, by what an annotator or the reader would make of it
    "point right of the picture": (value(POINT, x=100.1), r"result\[0\]: value.x is 100.1"),
    "point left of the picture": (value(POINT, x=-5), "value.x is -5"),
    "no place": (value(POINT, y=None), "value.y is None"),
    "text for a place": (value(POINT, y="12"), "value.y is '12'"),
    "truth for a place": (value(POINT, x=True), "value.x is True"),
    "not a number": (value(POINT, x=math.nan), "value.x is nan"),
    "infinite": (value(POINT, width=math.inf), "value.width is inf"),
    "missing place": (lambda task: result_of(task)[POINT]["value"].pop("x"), "value.x is missing"),
    "unknown label": (value(POINT, keypointlabels=["tail"]), r"value.keypointlabels is \['tail'\]"),
    "two labels": (value(POINT, keypointlabels=["nose", "left_eye"]), "value.keypointlabels is"),
    "no label": (value(POINT, keypointlabels=[]), "value.keypointlabels is"),
    "label as text": (value(POINT, keypointlabels="nose"), "value.keypointlabels is 'nose'"),
    "label that cannot be looked up": (value(POINT, keypointlabels=[["nose"]]), r"value.keypointlabels is \[\["),
    "box label that cannot be looked up": (value(BOX, rectanglelabels=[{}]), r"value.rectanglelabels is \[\{\}\]"),
    "choice that cannot be looked up": (value(CHOICE, choices=[{"a": []}]), "value.choices is"),
    "place beyond every float": (value(POINT, x=10**400), "value.x is 1000"),
    "priority beyond every float": (lambda task: task["data"].update(priority=10**400), "data.priority is 1000"),
    "parent that cannot be looked up": (item(POINT, parentID=["a"]), r"parentID is \['a'\]"),
    "parent that is none": (item(POINT, parentID=None), "parentID is None"),
    "unknown choice": (value(CHOICE, choices=["maybe"]), r"value.choices is \['maybe'\]"),
    "choice of the whole task": (item(CHOICE, from_name="verdict"), "value.choices is"),
    "unknown control": (item(POINT, from_name="points"), "from_name is 'points'"),
    "control of another type": (item(POINT, from_name="box"), "from_name is 'box'"),
    "missing control": (without(POINT, "from_name"), "from_name is missing"),
    "unknown picture": (item(POINT, to_name="skel"), "is not about 'image'"),
    "unknown type": (item(POINT, type="keypoint"), "type is 'keypoint'"),
    "type that cannot be looked up": (item(POINT, type=["keypointlabels"]), "type is"),
    "missing id": (without(POINT, "id"), "id is missing"),
    "id of another task": (item(POINT, id="0123456789ab-k0"), "id is '0123456789ab-k0'"),
    "id twice": (lambda task: result_of(task)[2].update(id=result_of(task)[0]["id"]), "occurs more than once"),
    "keypoint twice": (
        lambda task: result_of(task)[2]["value"].update(keypointlabels=result_of(task)[0]["value"]["keypointlabels"]),
        "keypoint '.*' occurs more than once",
    ),
    "dangling parent": (item(POINT, parentID="nobody"), "parentID 'nobody' is no box"),
    "no canvas": (without(POINT, "original_width"), "original_width is missing"),
    "canvas of nothing": (item(POINT, original_width=0), "expected pixels"),
    "another canvas": (item(2, original_width=7), "of a picture of another size"),
    "turned": (item(POINT, image_rotation=90), "unturned"),
    "point that cannot be moved": (item(POINT, readonly=True), "is read-only"),
    "box that takes every press": (item(BOX, readonly=False), "is not read-only"),
    "box not marked": (without(BOX, "readonly"), "is not read-only"),
    "limbs that can be moved": (without(LIMB, "readonly"), "is not read-only"),
    "box left of the picture": (value(BOX, x=-1), "value.x is -1"),
    "box beyond the picture": (value(BOX, x=60, width=60), "value.x and value.width reach beyond"),
    "box below the picture": (value(BOX, y=60, height=60), "value.y and value.height reach beyond"),
    "box turned": (value(BOX, rotation=5), "rotation is 5"),
    "box of nothing known": (value(BOX, rectanglelabels=["person"]), r"value.rectanglelabels is \['person'\]"),
    "no vertices": (value(LIMB, vertices=[]), "not a list of two"),
    "vertices that are none": (value(LIMB, vertices=[1, 2]), "not a list of two"),
    "vertex outside": (lambda task: result_of(task)[LIMB]["value"]["vertices"][0].update(x=101), r"vertices\[0\].x"),
    "vertex that hangs on nothing": (
        lambda task: result_of(task)[LIMB]["value"]["vertices"][1].update(prevPointId="v99"), "does not come before",
    ),
    "vertex that hangs on what cannot be looked up": (
        lambda task: result_of(task)[LIMB]["value"]["vertices"][1].update(prevPointId=["v0"]), "does not come before",
    ),
    "first vertex that hangs on something": (
        lambda task: result_of(task)[LIMB]["value"]["vertices"][0].update(prevPointId={}), "does not come before",
    ),
    "vertex whose id cannot be looked up": (
        lambda task: result_of(task)[LIMB]["value"]["vertices"][1].update(id=["v0"]), "expected one of its own",
    ),
    "vertex twice": (
        lambda task: result_of(task)[LIMB]["value"]["vertices"][1].update(
            id=result_of(task)[LIMB]["value"]["vertices"][0]["id"]
        ),
        "expected one of its own",
    ),
    "box on top": (lambda task: result_of(task).insert(0, result_of(task).pop()), "where no mouse reaches it"),
    "limbs on top": (lambda task: result_of(task).insert(0, result_of(task).pop(LIMB)), "where no mouse reaches it"),
    "choice of no point": (lambda task: result_of(task).pop(POINT), "does not follow the point"),
    "point without a choice": (lambda task: result_of(task).pop(CHOICE), "nothing is chosen"),
    "choice elsewhere": (value(CHOICE, x=1.0), "does not follow the point"),
    "item that is none": (lambda task: result_of(task).append(None), "is not an object"),
    "item without a value": (item(POINT, value=None), "is not an object with a value"),
    # what is around
    "no result": (lambda task: task["predictions"][0].pop("result"), "result is not a list"),
    "result as text": (lambda task: task["predictions"][0].update(result="none"), "result is not a list"),
    "another version": (lambda task: task["predictions"][0].update(model_version="r2"), "would not be shown"),
    "no version": (lambda task: task["predictions"][0].pop("model_version"), "model_version is None"),
    "no prediction": (lambda task: task.pop("predictions"), "predictions is not a list of one"),
    "two predictions": (lambda task: task["predictions"].append({}), "predictions is not a list of one"),
    "no data": (lambda task: task.pop("data"), "data is not an object"),
    "no picture": (lambda task: task["data"].pop("image"), "data.image is missing"),
    "empty picture": (data(image=""), "data.image is ''"),
    "no header": (lambda task: task["data"].pop("header"), "data.header is missing"),
    "no key": (lambda task: task["data"].pop("task_key"), "data.task_key is missing"),
    "key that is none": (data(task_key="pose-1"), "expected 24 hexadecimal digits"),
    "crop of another task": (data(crop="other.jpg"), "data.crop is 'other.jpg'"),
    "no priority": (lambda task: task["data"].pop("priority"), "data.priority is missing"),
    "priority of nothing": (data(priority=0), "data.priority is 0"),
    "priority above all": (data(priority=1.5), "data.priority is 1.5"),
    "priority as text": (data(priority="1"), "data.priority is '1'"),
    "priority that is not a number": (data(priority=math.nan), "data.priority is nan"),
    # what tells a task's kind
    "kind": (data(kind="audit"), "data holds 'kind', which not every task does"),
    "doubt": (data(p_bad=0.2), "data holds 'p_bad'"),
    "meta": (lambda task: task["meta"].update(routing="ab"), "meta is not"),
    "score of the prediction": (lambda task: task["predictions"][0].update(score=0.5), "holds 'score'"),
    "score of a region": (item(POINT, score=0.5), "holds score"),
    "meta of a region": (item(POINT, meta={"text": ["planted"]}), "holds meta"),
    "value of a region": (value(POINT, conf=0.2), "holds value.conf"),
    "field of the task": (lambda task: task.update(inner_id=3), "holds 'inner_id'"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_task_is_refused(name: str) -> None:
    damage, message = DAMAGES[name]
    task = copy.deepcopy(make_task(make_pose()))
    damage(task)
    found = problems(task, SKELETON)
    assert any(re.search(message, problem) for problem in found), found


@pytest.mark.parametrize("task", [None, 5, "task", [], [{}]])
def test_what_is_no_task_is_refused(task: Any) -> None:
    assert problems(task, SKELETON) == ["is not an object"]
