"""Tasks: what an annotator gets to see, and what they must not be able to tell."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.label_interface import LabelInterface

from autolabel.errors import FormatError
from autolabel.labelstudio.folder import append_lines
from autolabel.labelstudio.form import labelling_form
from autolabel.labelstudio.frame import frame_of
from autolabel.labelstudio.tasks import (
    KINDS,
    TaskRecord,
    asked,
    doubtful,
    limb_trees,
    read_task_map,
    review_task,
    sent_points,
    sent_visibility,
    task_key,
)
from autolabel.labelstudio.validate import problems
from autolabel.poses import Pose, Poses, Visibility
from autolabel.skeleton import Skeleton, builtin_skeletons

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
SIZE = (200, 300)


def make_pose(**given: Any) -> Pose:
    rng = np.random.default_rng(3)
    values = {
        "id": "pose-1",
        "xy": rng.uniform((60, 50), (140, 250), (K, 2)),
        "box": (50, 40, 150, 260),
        "score": np.linspace(0.2, 0.9, K),
        "presence": np.full(K, 0.9),
        "by": "net",
    }
    return Poses.create(K, **{name: [value] for name, value in {**values, **given}.items()})[0]


def make_record(pose: Pose, *, kind: str = "review", blind: bool = False) -> TaskRecord:
    frame = frame_of(pose, SIZE)
    key = task_key("ab" * 32, pose.id, kind)
    return TaskRecord(key, pose.id, ("s", "root", "a/b.jpg"), frame, "ab" * 32, kind, blind, pose.by)


def items_of(task: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [item for item in task["predictions"][0]["result"] if item["type"] == kind]


def test_keypoints_lie_on_top_the_doubtful_ones_first_and_the_box_at_the_bottom() -> None:
    pose = make_pose()
    task = review_task(make_record(pose), pose, SKELETON)
    kinds = [item["type"] for item in task["predictions"][0]["result"]]
    assert kinds[: 2 * K] == ["keypointlabels", "choices"] * K
    assert kinds[-1] == "rectanglelabels"
    assert set(kinds[2 * K : -1]) == {"vectorlabels"}
    assert [item["from_name"] for item in items_of(task, "keypointlabels")] == ["doubt"] * 2 + ["sure"] * (K - 2)


def test_a_task_marks_as_many_keypoints_as_it_is_told_and_names_two() -> None:
    pose = make_pose(p_gross=np.linspace(0.01, 0.5, K))
    for marks in (2, 5, K):
        task = review_task(replace(make_record(pose), marks=marks), pose, SKELETON)
        marked = [item["from_name"] for item in items_of(task, "keypointlabels")]
        assert marked == ["doubt"] * marks + ["sure"] * (K - marks)
        assert task["data"]["header"] == f"Check these first: {SKELETON.keypoints[K - 1]}, {SKELETON.keypoints[K - 2]}"


def test_only_what_nobody_should_move_is_read_only() -> None:
    pose = make_pose()
    result = review_task(make_record(pose), pose, SKELETON)["predictions"][0]["result"]
    assert {item["type"] for item in result if item.get("readonly")} == {"vectorlabels", "rectanglelabels"}


def test_points_stand_where_the_model_put_them() -> None:
    pose = make_pose()
    record = make_record(pose)
    for item in items_of(review_task(record, pose, SKELETON), "keypointlabels"):
        k = SKELETON.index(item["value"]["keypointlabels"][0])
        x = (float(pose.xy[k, 0]) + 0.5 - record.frame.origin[0]) / record.frame.size[0] * 100
        y = (float(pose.xy[k, 1]) + 0.5 - record.frame.origin[1]) / record.frame.size[1] * 100
        assert (item["value"]["x"], item["value"]["y"]) == pytest.approx((x, y), abs=1e-10)
        assert (item["original_width"], item["original_height"]) == record.frame.shown


def test_the_box_is_where_the_crop_shows_it() -> None:
    pose = make_pose()
    (box,) = items_of(review_task(make_record(pose), pose, SKELETON), "rectanglelabels")
    # The part shown is x 6..194 (0.2 of 220 beside the box), y 0..300 (the image).
    assert [box["value"][name] for name in ("x", "y", "width", "height")] == pytest.approx(
        [44 / 1.88, 40 / 3, 100 / 1.88, 220 / 3]
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("blind", "image")])
def test_a_task_does_not_tell_what_it_is_for(kind: str) -> None:
    pose = make_pose(p_bad=0.87, p_gross=np.full(K, 0.87))
    record = replace(make_record(pose, kind=kind), of="the pose that it was made from")
    task = review_task(record, pose, SKELETON)
    reference = review_task(make_record(pose), pose, SKELETON)
    assert re.fullmatch("[0-9a-f]{24}", record.task)
    assert record.crop == f"{record.task}.jpg"
    text, expected = (json.dumps(t).replace(t["data"]["task_key"][:12], "T") for t in (task, reference))
    text, expected = (re.sub("T[0-9a-f]{12}", "T", t) for t in (text, expected))
    assert text == expected
    assert "0.87" not in text
    assert "score" not in text


def test_tasks_carry_our_marker_and_every_field_that_the_form_shows() -> None:
    pose = make_pose()
    task = review_task(make_record(pose), pose, SKELETON)
    assert set(re.findall(r"\$(\w+)", labelling_form(SKELETON))) <= set(task["data"])
    assert task["meta"]["autolabel"]["schema"] == 1
    assert task["data"]["image"] == f"/data/local-files/?d=crops/{task['data']['crop']}"


@pytest.mark.parametrize("name", builtin_skeletons())
@pytest.mark.parametrize("blind", [False, True])
def test_label_studio_accepts_the_prediction(name: str, blind: bool) -> None:
    skeleton = Skeleton.load(name)
    rng = np.random.default_rng(1)
    k = skeleton.num_keypoints
    xy = rng.uniform(-50, 350, (1, k, 2))  # some outside the image
    xy[0, 0] = np.nan
    pose = Poses.create(k, id=["p"], xy=xy, box=[(50, 40, 150, 260)], presence=rng.random((1, k)))[0]
    task = review_task(make_record(pose, blind=blind), pose, skeleton)
    assert (
        LabelInterface(labelling_form(skeleton)).validate_prediction(task["predictions"][0], return_errors=True) == []
    )
    ids = Counter((item["id"], item["type"]) for item in task["predictions"][0]["result"])
    assert set(ids.values()) == (set() if blind else {1})


@pytest.mark.parametrize(
    ("visibility", "presence", "shown"),
    [
        (Visibility.UNLABELLED, 0.9, "visible"),
        (Visibility.UNLABELLED, 0.5, "visible"),
        (Visibility.UNLABELLED, 0.49, "absent"),
        (Visibility.UNLABELLED, np.nan, "visible"),
        (Visibility.HIDDEN, 0.1, "hidden"),  # what is stated counts more than a probability
        (Visibility.VISIBLE, 0.1, "visible"),
        (Visibility.ABSENT, 0.9, "absent"),
    ],
)
def test_visibility_is_filled_in(visibility: Visibility, presence: float, shown: str) -> None:
    pose = make_pose(visibility=np.full(K, visibility), presence=np.full(K, presence))
    task = review_task(make_record(pose), pose, SKELETON)
    assert [item["value"]["choices"] for item in items_of(task, "choices")] == [[shown]] * K
    tags = {item["from_name"] for item in items_of(task, "keypointlabels")[2:]}
    assert tags == ({"gone"} if shown == "absent" else {"sure"})


def test_what_was_never_predicted_is_not_shown() -> None:
    xy = make_pose().xy.copy()
    xy[5] = np.nan
    pose = make_pose(xy=xy)
    record = make_record(pose)
    task = review_task(record, pose, SKELETON)
    assert len(items_of(task, "keypointlabels")) == K - 1
    assert sent_visibility(pose, record)[5] == Visibility.UNLABELLED
    assert np.isnan(sent_points(pose, record)[5]).all()
    drawn = {vertex["id"] for item in items_of(task, "vectorlabels") for vertex in item["value"]["vertices"]}
    assert "v5" not in drawn


def test_a_blind_task_has_no_region_that_could_take_a_click() -> None:
    pose = make_pose()
    record = make_record(pose, blind=True)
    task = review_task(record, pose, SKELETON)
    assert task["predictions"][0]["result"] == []
    assert problems(task, SKELETON) == []
    assert "every joint" in task["data"]["header"]
    assert (sent_visibility(pose, record) == Visibility.UNLABELLED).all()


def test_a_pose_without_a_box_has_no_parent_region() -> None:
    pose = make_pose(box=(np.nan,) * 4)
    result = review_task(make_record(pose), pose, SKELETON)["predictions"][0]["result"]
    assert not [item for item in result if item["type"] == "rectanglelabels" or "parentID" in item]


def weak(**given: Any) -> list[str]:
    pose = make_pose(**given)
    return [SKELETON.keypoints[k] for k in doubtful(pose, make_record(pose))]


def with_value(value: float, others: float, *keypoints: str) -> list[float]:
    return [value if name in keypoints else others for name in SKELETON.keypoints]


def test_the_doubtful_two() -> None:
    doubt = with_value(0.3, 0.1, "left_knee")
    doubt[SKELETON.index("nose")] = 0.9
    assert weak(p_gross=doubt) == ["nose", "left_knee"]
    # Unscored: the lowest of the network's own numbers.
    assert weak() == ["nose", "left_eye"]
    # A joint that is taken for absent has a low score by nature: others first.
    presence = with_value(0.1, 0.9, "nose", "left_eye")
    assert weak(presence=presence) == ["right_eye", "left_ear"]
    # But calibrated doubt counts for absent ones too.
    assert weak(presence=presence, p_gross=doubt) == ["nose", "left_knee"]
    assert weak(score=np.full(K, np.nan)) == []


def test_the_header_names_the_doubtful_two() -> None:
    pose = make_pose()
    assert review_task(make_record(pose), pose, SKELETON)["data"]["header"] == "Check these first: nose, left_eye"
    pose = make_pose(score=np.full(K, np.nan))
    assert review_task(make_record(pose), pose, SKELETON)["data"]["header"] == "Check these first: every joint"


edges = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda edge: edge[0] < edge[1]), unique=True)


@given(edges, st.sets(st.integers(0, 9)))
def test_every_drawn_edge_stands_in_exactly_one_tree(edges: list[tuple[int, int]], drawn: set[int]) -> None:
    trees = limb_trees(edges, drawn)
    found = [tuple(sorted((k, parent))) for tree in trees for k, parent in tree if parent is not None]
    assert sorted(found) == sorted(edge for edge in edges if drawn.issuperset(edge))
    for tree in trees:
        members = [k for k, _ in tree]
        assert tree[0][1] is None
        assert len(set(members)) == len(members)
        # Each hangs on an earlier one: Label Studio reads them in order.
        assert all(parent in members[:i] for i, (_, parent) in enumerate(tree) if i)


def test_the_task_map_comes_back(tmp_path: Path) -> None:
    pose = make_pose()
    records = [make_record(pose, kind=kind) for kind in ("review", "audit")]
    records.append(replace(make_record(pose, kind="planted"), of="another"))
    records.append(replace(make_record(pose, kind="image"), pose="", poses=("a", "b")))
    append_lines(tmp_path / "taskmap.jsonl", (record.to_dict() for record in records))
    assert read_task_map(tmp_path / "taskmap.jsonl") == {record.task: record for record in records}
    assert len({record.task for record in records}) == 4


def test_a_task_map_of_before_there_were_planted_poses_is_read(tmp_path: Path) -> None:
    record = make_record(make_pose())
    old = {name: value for name, value in record.to_dict().items() if name not in ("of", "poses")}
    append_lines(tmp_path / "taskmap.jsonl", [old])
    assert read_task_map(tmp_path / "taskmap.jsonl") == {record.task: record}


@pytest.mark.parametrize("damage", [{"sample": ["a"]}, {"frame": {"origin": [0, 0]}}, {"unknown": 1}, {"frame": 7}])
def test_a_damaged_task_map_is_refused(tmp_path: Path, damage: dict[str, Any]) -> None:
    record = make_record(make_pose()).to_dict()
    append_lines(tmp_path / "taskmap.jsonl", [record, {**record, **damage}])
    with pytest.raises(FormatError, match="line 2"):
        read_task_map(tmp_path / "taskmap.jsonl")


@pytest.mark.parametrize("routing", ["", "../../x", "ab", 7, None, ["ab" * 32]])
def test_a_routing_that_is_no_digest_is_refused(tmp_path: Path, routing: Any) -> None:
    """It names the folder in which the poses that were sent are looked for."""
    record = make_record(make_pose()).to_dict()
    append_lines(tmp_path / "taskmap.jsonl", [record, {**record, "routing": routing}])
    with pytest.raises(FormatError, match=r"taskmap.jsonl: line 2: routing: is .*, expected 64 hexadecimal digits"):
        read_task_map(tmp_path / "taskmap.jsonl")


def make_large(**given: Any) -> Pose:
    """A pose of 133 keypoints, the later the weaker."""
    k, rng = 133, np.random.default_rng(5)
    values = {
        "id": "pose-1",
        "xy": rng.uniform((60, 50), (140, 250), (k, 2)),
        "box": (50, 40, 150, 260),
        "score": np.linspace(0.9, 0.2, k),
    }
    return Poses.create(k, **{name: [value] for name, value in {**values, **given}.items()})[0]


LARGE = Skeleton.load("wholebody133")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [131, 132]),
        ({"p_gross": np.linspace(0.5, 0.1, 133)}, [0, 1]),
        ({"xy": np.where(np.arange(133)[:, None] > 100, np.nan, (100.0, 90.0))}, [99, 100]),
        ({"score": np.full(133, np.nan)}, list(range(133))),  # nothing tells which are weak
    ],
)
def test_of_a_large_skeleton_only_the_weakest_are_asked_about(given: dict[str, Any], expected: list[int]) -> None:
    pose = make_large(**given)
    record = make_record(pose)
    assert np.flatnonzero(asked(pose, record)).tolist() == expected
    sent = np.flatnonzero(~np.isnan(sent_points(pose, record)[:, 0]))
    assert sent.tolist() == [k for k in expected if not np.isnan(pose.xy[k, 0])]
    assert set(doubtful(pose, record)) <= set(expected)
    unasked = ~asked(pose, record)
    assert (sent_visibility(pose, record)[unasked] == Visibility.UNLABELLED).all()


def test_a_large_skeleton_is_drawn_whole_and_its_task_is_sound() -> None:
    pose = make_large()
    for blind in (False, True):
        task = review_task(make_record(pose, blind=blind), pose, LARGE)
        assert problems(task, LARGE) == []
        points = [item["value"]["keypointlabels"][0] for item in items_of(task, "keypointlabels")]
        assert points == ([] if blind else [LARGE.keypoints[132], LARGE.keypoints[131]])
        limbs = [item for item in items_of(task, "vectorlabels") if item["value"]["vectorlabels"] == ["limbs"]]
        vertices = {vertex["id"] for item in limbs for vertex in item["value"]["vertices"]}
        edges = {f"v{k}" for edge in LARGE.edges for k in edge}
        assert vertices == (set() if blind else edges)


@pytest.mark.parametrize(
    ("pose", "skeleton", "header"),
    [
        (make_pose(), SKELETON, "Place every joint, hidden ones too"),
        (make_large(), LARGE, f"Place {LARGE.keypoints[131]}, {LARGE.keypoints[132]}, hidden ones too"),
    ],
)
def test_a_blind_task_says_what_to_place(pose: Pose, skeleton: Skeleton, header: str) -> None:
    assert review_task(make_record(pose, blind=True), pose, skeleton)["data"]["header"].startswith(header)


def test_points_are_as_large_on_the_screen_whatever_the_shape_of_the_crop() -> None:
    pose = make_pose()
    tall = make_record(pose)
    wide = replace(tall, frame=replace(tall.frame, size=(400, 100), shown=(1600, 400)))
    drawn = []
    for record in (tall, wide):
        (first, *_) = items_of(review_task(record, pose, SKELETON), "keypointlabels")
        drawn.append(first["value"]["width"] * record.frame.shown[0] / max(record.frame.shown))
    assert drawn[0] == pytest.approx(drawn[1])
