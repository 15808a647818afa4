"""What answers mean. Each is made from our own prediction by what an annotator's hand does to it in the browser."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from autolabel.errors import FormatError
from autolabel.labelstudio.answers import correction, read_answer, why_void
from autolabel.labelstudio.frame import frame_of
from autolabel.labelstudio.tasks import TaskRecord, review_task, task_key
from autolabel.merge import Correction, KeypointChange, PoseChange, State, Verdict
from autolabel.poses import Origin, Pose, Poses, Visibility
from autolabel.skeleton import Skeleton

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
NOSE, LEFT_EYE, RIGHT_EYE = (SKELETON.index(name) for name in ("nose", "left_eye", "right_eye"))

Items = list[dict[str, Any]]


@dataclass(frozen=True)
class Who:
    by: str = "annotator-7"
    updated: str = "2026-11-22T20:00:00Z"
    seconds: float | None = 4.5


def make_pose(**given: Any) -> Pose:
    rng = np.random.default_rng(3)
    values = {
        "id": "pose-1",
        "xy": rng.uniform((60, 50), (140, 250), (K, 2)).astype(np.float32),
        "box": (50, 40, 150, 260),
        "presence": np.full(K, 0.9),
        "origin": np.full(K, Origin.MODEL),
        "by": "net",
    }
    return Poses.create(K, **{name: [value] for name, value in {**values, **given}.items()})[0]


def make_record(pose: Pose, *, blind: bool = False) -> TaskRecord:
    key = task_key("ab" * 32, pose.id, "review")
    return TaskRecord(key, pose.id, ("s", "r", "a.jpg"), frame_of(pose, (200, 300)), "ab" * 32, "review", blind, "net")


def prediction(pose: Pose, record: TaskRecord) -> Items:
    return copy.deepcopy(review_task(record, pose, SKELETON)["predictions"][0]["result"])


def of(items: Items, keypoint: str, kind: str = "keypointlabels") -> dict[str, Any]:
    (point,) = [i for i in items if i["value"].get("keypointlabels") == [keypoint]]
    return next(i for i in items if i["id"] == point["id"] and i["type"] == kind)


def move(keypoint: str, dx: float, dy: float) -> Callable[[Items], Items]:
    def act(items: Items) -> Items:
        for kind in ("keypointlabels", "choices"):
            of(items, keypoint, kind)["value"]["x"] += dx
            of(items, keypoint, kind)["value"]["y"] += dy
        return items

    return act


def say(keypoint: str, choice: str) -> Callable[[Items], Items]:
    def act(items: Items) -> Items:
        of(items, keypoint, "choices")["value"]["choices"] = [choice]
        return items

    return act


def unsay(keypoint: str) -> Callable[[Items], Items]:
    return lambda items: [i for i in items if i is not of(items, keypoint, "choices")]


def delete(*keypoints: str) -> Callable[[Items], Items]:
    def act(items: Items) -> Items:
        gone = {of(items, keypoint)["id"] for keypoint in keypoints}
        return [i for i in items if i["id"] not in gone]

    return act


def place(keypoint: str, x: float, y: float, region: str = "fo_l1oAHdz") -> Callable[[Items], Items]:
    item = {"id": region, "type": "keypointlabels", "from_name": "doubt", "to_name": "image", "origin": "manual"}
    value = {"x": x, "y": y, "width": 0.4, "keypointlabels": [keypoint]}
    return lambda items: [*items, {**item, "value": value}]


def verdict(*values: str) -> Callable[[Items], Items]:
    item = {"id": "S9-yPbMk4r", "type": "choices", "from_name": "verdict", "to_name": "image"}
    return lambda items: [*items, {**item, "value": {"choices": list(values)}}]


def answered(*acts: Callable[[Items], Items], pose: Pose | None = None, blind: bool = False) -> tuple[Correction, Pose]:
    pose = pose or make_pose()
    record = make_record(pose, blind=blind)
    items = prediction(pose, record)
    for act in acts:
        items = act(items)
    answer = read_answer(items, SKELETON, place="result", subject="test")
    assert not why_void(answer, record)
    return correction(Who(), answer, record, pose, SKELETON), pose


def test_a_plain_accept_changes_nothing_bit_by_bit() -> None:
    result, pose = answered()
    assert (result.state, result.change) == (State.REVIEWED, PoseChange.KEPT)
    assert result.keypoints == (KeypointChange.KEPT,) * K
    assert np.array_equal(result.after.xy, pose.xy)
    assert result.after.xy.dtype == np.float32
    assert np.array_equal(result.after.box, pose.box)
    assert (result.after.visibility == Visibility.VISIBLE).all(), "they accepted what the task said"
    assert (result.by, result.when, result.seconds, result.clicks) == ("annotator-7", "2026-11-22T20:00:00Z", 4.5, 1)


def test_clipped_points_that_nobody_moved_keep_their_place_outside_the_image() -> None:
    xy = make_pose().xy.copy()
    xy[NOSE] = (-40.25, 999.5)
    result, pose = answered(pose=make_pose(xy=xy))
    assert np.array_equal(result.after.xy, pose.xy)
    assert result.keypoints[NOSE] is KeypointChange.KEPT


def test_a_moved_point_lands_where_it_was_dropped_and_no_other_moves() -> None:
    result, pose = answered(move("nose", 2.5, -1.0))
    frame = make_record(pose).frame
    expected = pose.xy.astype(np.float64).copy()
    expected[NOSE] += np.array([0.025, -0.01]) * frame.size
    assert np.abs(result.after.xy - expected).max() < 1e-4
    assert result.keypoints == (KeypointChange.MOVED, *(KeypointChange.KEPT,) * (K - 1))
    assert np.array_equal(result.after.xy[1:], pose.xy[1:])
    assert result.clicks == 2


@pytest.mark.parametrize("tag", ["doubt", "sure", "gone"])
def test_the_tag_of_a_point_does_not_matter(tag: str) -> None:
    def retag(items: Items) -> Items:
        of(items, "nose")["from_name"] = tag
        return items

    assert answered(retag)[0].keypoints == (KeypointChange.KEPT,) * K


@pytest.mark.parametrize(
    ("choice", "visibility", "change"),
    [
        ("hidden", Visibility.HIDDEN, KeypointChange.MARKED),
        ("absent", Visibility.ABSENT, KeypointChange.REMOVED),
        ("visible", Visibility.VISIBLE, KeypointChange.KEPT),
    ],
)
def test_visibility_as_answered(choice: str, visibility: Visibility, change: KeypointChange) -> None:
    result, pose = answered(say("nose", choice))
    assert result.after.visibility[NOSE] == visibility
    assert result.keypoints[NOSE] is change
    assert result.clicks == (1 if change is KeypointChange.KEPT else 2)
    assert np.array_equal(result.after.xy, pose.xy), "a predicted place is never forgotten"


@pytest.mark.parametrize("stated", [Visibility.HIDDEN, Visibility.VISIBLE, Visibility.ABSENT])
def test_a_vanished_choice_was_kept(stated: Visibility) -> None:
    result, _ = answered(unsay("nose"), pose=make_pose(visibility=np.full(K, stated)))
    assert result.after.visibility[NOSE] == stated
    assert result.keypoints[NOSE] is KeypointChange.KEPT


def test_calling_an_absent_joint_visible_is_a_mark() -> None:
    result, _ = answered(say("nose", "visible"), pose=make_pose(presence=np.full(K, 0.1)))
    assert result.keypoints[NOSE] is KeypointChange.MARKED
    assert result.after.visibility.tolist() == [Visibility.VISIBLE] + [Visibility.ABSENT] * (K - 1)


def test_a_deleted_point_is_absent() -> None:
    result, pose = answered(delete("nose", "left_eye"))
    assert result.after.visibility[:3].tolist() == [Visibility.ABSENT, Visibility.ABSENT, Visibility.VISIBLE]
    assert result.keypoints[:3] == (KeypointChange.REMOVED, KeypointChange.REMOVED, KeypointChange.KEPT)
    assert np.array_equal(result.after.xy, pose.xy)
    assert result.clicks == 3


def test_a_point_that_was_never_predicted_can_be_added() -> None:
    xy = make_pose().xy.copy()
    xy[NOSE] = np.nan
    result, pose = answered(place("nose", 50, 50), pose=make_pose(xy=xy))
    frame = make_record(pose).frame
    assert result.keypoints[NOSE] is KeypointChange.ADDED
    assert result.after.visibility[NOSE] == Visibility.VISIBLE
    assert result.after.xy[NOSE] == pytest.approx(np.array(frame.origin) + np.array(frame.size) / 2 - 0.5)
    assert result.clicks == 2


def test_what_was_neither_shown_nor_placed_stays_unlabelled() -> None:
    xy = make_pose().xy.copy()
    xy[NOSE] = np.nan
    result, _ = answered(pose=make_pose(xy=xy))
    assert result.after.visibility[NOSE] == Visibility.UNLABELLED
    assert result.keypoints[NOSE] is KeypointChange.KEPT


def test_a_point_that_was_deleted_and_placed_again_was_moved() -> None:
    result, _ = answered(delete("nose"), place("nose", 50, 50))
    assert result.keypoints[NOSE] is KeypointChange.MOVED
    assert result.clicks == 2


def test_of_two_points_of_one_joint_the_last_counts() -> None:
    pose = make_pose()
    items = place("nose", 10, 10)(prediction(pose, make_record(pose)))
    answer = read_answer(items, SKELETON, place="result", subject="test")
    assert answer.doubled == (NOSE,)
    assert answer.percent[NOSE].tolist() == [10, 10]


def test_a_relabelled_point_counts_under_its_new_name() -> None:
    def relabel(items: Items) -> Items:
        of(items, "nose")["value"]["keypointlabels"] = ["left_eye"]
        return items

    result, pose = answered(delete("left_eye"), relabel)
    assert result.after.visibility[NOSE] == Visibility.ABSENT
    assert result.after.xy[LEFT_EYE] == pytest.approx(pose.xy[NOSE], abs=1e-4)


def test_swapped_sides_are_exchanged_after_all_else() -> None:
    visibility = np.full(K, Visibility.VISIBLE)
    visibility[LEFT_EYE] = Visibility.HIDDEN
    result, pose = answered(
        move("left_eye", 5, 5), verdict("left and right swapped"), pose=make_pose(visibility=visibility)
    )
    frame = make_record(pose).frame
    moved = pose.xy[LEFT_EYE].astype(np.float64) + 0.05 * np.array(frame.size)
    assert result.after.xy[RIGHT_EYE] == pytest.approx(moved, abs=1e-4)
    assert result.after.visibility[[LEFT_EYE, RIGHT_EYE]].tolist() == [Visibility.VISIBLE, Visibility.HIDDEN]
    others = [k for k in range(K) if k not in (LEFT_EYE, RIGHT_EYE)]
    assert np.array_equal(result.after.xy[others], pose.xy[[SKELETON.flip[k] for k in others]])
    assert result.keypoints[NOSE] is KeypointChange.KEPT
    assert result.keypoints.count(KeypointChange.MOVED) == K - 1
    assert result.clicks == 3  # moved, ticked, submitted
    assert result.state is State.REVIEWED


@pytest.mark.parametrize("said", ["person missing or wrong", "reject image"])
def test_a_rejected_pose_keeps_what_it_stated(said: str) -> None:
    result, pose = answered(move("nose", 5, 5), verdict(said))
    assert (result.state, result.change) == (State.REJECTED, PoseChange.REJECTED)
    assert result.verdict == (Verdict(said),)
    assert result.keypoints == (KeypointChange.KEPT,) * K
    assert result.after.same(result.before)
    assert np.array_equal(result.after.visibility, pose.visibility)


def test_a_task_all_of_whose_points_were_deleted_rejects_the_pose() -> None:
    assert answered(delete(*SKELETON.keypoints))[0].state is State.REJECTED


def test_an_expert_is_asked_and_the_changes_are_kept() -> None:
    result, _ = answered(move("nose", 5, 5), verdict("needs expert"))
    assert result.state is State.EXPERT
    assert result.keypoints[NOSE] is KeypointChange.MOVED


def test_a_blind_answer_is_the_whole_pose() -> None:
    result, pose = answered(place("nose", 50, 50, "a"), place("left_eye", 60, 40, "b"), blind=True)
    assert result.after.visibility.tolist() == [Visibility.VISIBLE] * 2 + [Visibility.ABSENT] * (K - 2)
    assert result.keypoints == (KeypointChange.MOVED,) * 2 + (KeypointChange.REMOVED,) * (K - 2)
    assert result.before.xy[NOSE] == pytest.approx(pose.xy[NOSE]), "how far from the model they are is worth knowing"
    assert result.clicks == 3


def test_a_box_that_was_moved() -> None:
    def drag(items: Items) -> Items:
        items[-1]["value"] |= {"x": 10.0, "y": 20.0, "width": 50.0, "height": 60.0}
        return items

    result, pose = answered(drag)
    frame = make_record(pose).frame
    assert result.change is PoseChange.BOX_MOVED
    low = np.array(frame.origin) + np.array([0.1, 0.2]) * frame.size
    assert result.after.box == pytest.approx([*low, *(low + np.array([0.5, 0.6]) * frame.size)])
    assert result.clicks == 3


def test_a_deleted_box_is_kept() -> None:
    result, pose = answered(lambda items: items[:-1])
    assert result.change is PoseChange.KEPT
    assert np.array_equal(result.after.box, pose.box)


def test_points_on_an_empty_canvas_are_kept_but_settle_nothing() -> None:
    result, pose = answered(lambda items: [], place("nose", 50, 50))
    assert result.state is State.EXPERT
    assert result.keypoints == (KeypointChange.MOVED, *(KeypointChange.KEPT,) * (K - 1))
    assert np.array_equal(result.after.xy[1:], pose.xy[1:])


def rotated(items: Items) -> Items:
    return [{**item, "image_rotation": 90} for item in items]


def rectangle_elsewhere(items: Items) -> Items:
    value = {"x": 1.0, "y": 2.0, "width": 30.0, "height": 40.0, "rectanglelabels": ["box"]}
    return [*items, {"id": "r", "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": value}]


@pytest.mark.parametrize(
    ("act", "blind", "why"),
    [
        (lambda items: [], False, "empty"),  # the prediction was not shown
        (lambda items: items, True, "no joint placed"),  # such a task shows no region
        (rectangle_elsewhere, True, "no joint placed"),
        (rotated, False, "rotated"),
        (verdict("reject image"), True, ""),
        (lambda items: items, False, ""),
    ],
)
def test_answers_that_cannot_be_used(act: Callable[[Items], Items], blind: bool, why: str) -> None:
    pose = make_pose()
    record = make_record(pose, blind=blind)
    items = act(prediction(pose, record))
    found = why_void(read_answer(items, SKELETON, place="result", subject="test"), record)
    assert why in found
    assert bool(found) == bool(why)


def test_controls_that_are_not_ours_are_left_alone() -> None:
    foreign = [
        {"id": "x", "type": "textarea", "from_name": "comment", "value": {"text": ["blurred"]}},
        {"id": "y", "type": "choices", "from_name": "weather", "value": {"choices": ["rain"]}},
        {"type": "relation", "from_id": "x", "to_id": "y"},
    ]
    assert answered(lambda items: [*items, *foreign])[0].keypoints == (KeypointChange.KEPT,) * K


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        ({"value": {"x": 1, "y": "2", "keypointlabels": ["nose"]}}, r"result\[0\]\.value\.y"),
        ({"value": {"x": None, "y": 2, "keypointlabels": ["nose"]}}, r"result\[0\]\.value\.x"),
        ({"value": {"y": 2, "keypointlabels": ["nose"]}}, r"result\[0\]\.value\.x: is missing"),
        ({"value": {"x": 1, "y": 2, "keypointlabels": ["tail"]}}, r"result\[0\]\.value\.keypointlabels: .*'tail'"),
        ({"value": {"x": 1, "y": 2, "keypointlabels": ["nose", "left_eye"]}}, r"keypointlabels: has 2 entries"),
        ({"value": {"x": 1, "y": 2}}, r"result\[0\]\.value\.keypointlabels: is missing"),
        ({"value": 5}, r"result\[0\]\.value: is 5, expected an object"),
        ({"id": 7}, r"result\[0\]\.id"),
        ({"type": "choices", "from_name": "visibility", "value": {"choices": ["gone"]}}, r"value\.choices: is 'gone'"),
        ({"type": "choices", "from_name": "visibility", "value": {"choices": []}}, r"value\.choices: has 0 entries"),
        ({"type": "choices", "from_name": "verdict", "value": {"choices": ["ok"]}}, r"value\.choices: is 'ok'"),
        ({"type": "rectanglelabels", "value": {"x": 1, "y": 2, "width": 3}}, r"value\.height: is missing"),
    ],
)
def test_a_malformed_item_is_named(damage: dict[str, Any], place: str) -> None:
    pose = make_pose()
    items = prediction(pose, make_record(pose))
    items[0] |= damage
    with pytest.raises(FormatError, match=place):
        read_answer(items, SKELETON, place="result", subject="export.json")


def test_an_item_that_is_no_object_is_named() -> None:
    with pytest.raises(FormatError, match=r"export\.json: result\[0\]: is a text, expected an object"):
        read_answer(["x"], SKELETON, place="result", subject="export.json")
