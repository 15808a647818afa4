"""The round trip poses -> tasks -> poses, and what becomes of it where people changed something in between."""

import copy
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from label_studio_sdk.label_interface import LabelInterface

from autolabel.errors import ExistsError, FormatError
from autolabel.formats.labels import UNKNOWN_SIZE
from autolabel.formats.labelstudio import AnnotationChoice, TaskKind, read_labelstudio, write_labelstudio
from autolabel.formats.labelstudio_writing import TASKS_PER_FILE
from autolabel.formats.policy import ImagePolicy
from autolabel.poses import Origin, Pose, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from tests.autolabel.formats.poses_strategies import TRIANGLE, K, assert_same_bits, samples
from tests.doubles import Recorder

CHOICES = {TaskKind.ANNOTATIONS: AnnotationChoice.LATEST, TaskKind.PREDICTIONS: AnnotationChoice.PREDICTIONS}


def tasks_in(folder: Path) -> list[dict[str, Any]]:
    return [task for file in sorted(folder.glob("tasks-*.json")) for task in json.loads(file.read_text("utf-8"))]


@cache
def interface(form: str) -> LabelInterface:
    return LabelInterface(form)


def problems(folder: Path) -> list[str]:
    """What Label Studio's validator, the server's own, has against the tasks of a folder."""
    form = interface((folder / "form.xml").read_text())
    answers = [a for task in tasks_in(folder) for name in TaskKind for a in task.get(name.value, ())]
    assert answers
    return [error for answer in answers for error in form.validate_prediction(answer, return_errors=True)]


@pytest.mark.parametrize("kind", TaskKind)
@settings(max_examples=30)
@given(wanted=samples())
def test_poses_come_back_from_tasks_bit_by_bit(kind: TaskKind, wanted: list[Sample]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        write_labelstudio(path, wanted, TRIANGLE, kind=kind, policy=ImagePolicy.ALL)
        labels = read_labelstudio(path, annotations=CHOICES[kind])
        again = Path(folder) / "b"
        write_labelstudio(again, labels.samples, labels.skeleton, kind=kind, policy=ImagePolicy.ALL)
        assert tasks_in(again) == tasks_in(path)
        assert not wanted or problems(path) == []
    if wanted:
        assert labels.skeleton == TRIANGLE
    assert labels.notes == ()
    assert len(labels.samples) == len(wanted)
    for mine, theirs in zip(wanted, labels.samples, strict=True):
        for name in ("id", "path", "size", "group", "duplicate_of", "attributes"):
            assert getattr(mine, name) == getattr(theirs, name)
        assert_same_bits(mine.poses, theirs.poses)


# People's changes

SIZE = (200, 100)
POSE = "0123456789abcdef0123456789abcdef"


def one_pose(**given: Any) -> Sample:
    base = {
        "id": [POSE],
        "xy": [[[10.3, 20.7], [30, 40], [50, 60]]],
        "visibility": [[2, 1, 3]],
        "score": [[0.5, 0.25, 0.125]],
        "p_gross": [[0.1, 0.2, 0.3]],
        "origin": [[Origin.MODEL, Origin.HUMAN, Origin.IMPORTED]],
        "box": [[5.1, 6.2, 70.3, 80.4]],
        "box_score": [0.9],
        "area": [1234.5],
        "p_bad": [0.25],
        "by": ["net"],
    }
    return Sample("s", "", "a.jpg", SIZE, Poses.create(K, **{**base, **given}))


def after(change: Callable[[dict[str, Any]], None], folder: Path, **given: Any) -> Pose:
    """The pose that comes back from a server where somebody made a change; ``change`` gets the annotation."""
    write_labelstudio(folder / "x", [one_pose(**given)], TRIANGLE, policy=ImagePolicy.ALL)
    (task,) = tasks_in(folder / "x")
    task |= {"id": 9}
    task["annotations"][0] |= {"id": 4, "completed_by": 7, "lead_time": 5.5}
    change(task["annotations"][0])
    (folder / "export.json").write_text(json.dumps([task]))
    labels = read_labelstudio(folder / "export.json", skeleton=TRIANGLE)
    assert len(labels.samples[0].poses) == 1
    return labels.samples[0].poses[0]


def items(annotation: dict[str, Any], region: str) -> list[dict[str, Any]]:
    return [item for item in annotation["result"] if item["id"] == region]


def nothing(_: dict[str, Any]) -> None:
    pass


def move_nose(annotation: dict[str, Any]) -> None:
    for item in items(annotation, f"{POSE}-k0"):
        item["value"] |= {"x": 25.0, "y": 50.0}


def call_nose_hidden(annotation: dict[str, Any]) -> None:
    items(annotation, f"{POSE}-k0")[1]["value"]["choices"] = ["hidden"]


def forget_choices(annotation: dict[str, Any]) -> None:
    annotation["result"] = [item for item in annotation["result"] if item["type"] != "choices"]


def delete(*regions: str) -> Callable[[dict[str, Any]], None]:
    def change(annotation: dict[str, Any]) -> None:
        annotation["result"] = [item for item in annotation["result"] if item["id"] not in regions]

    return change


def move_box(annotation: dict[str, Any]) -> None:
    items(annotation, POSE)[0]["value"]["x"] = 1.0


def rename_nose(annotation: dict[str, Any]) -> None:
    annotation["result"] = [item for item in annotation["result"] if item["id"] != f"{POSE}-k1"]
    items(annotation, f"{POSE}-k0")[0]["value"]["keypointlabels"] = [TRIANGLE.keypoints[1]]


def test_untouched_poses_keep_everything_but_who_stated_them(tmp_path: Path) -> None:
    found, sent = after(nothing, tmp_path), one_pose().poses[0]
    for name in (
        "id",
        "xy",
        "score",
        "presence",
        "visibility",
        "box",
        "box_score",
        "area",
        "p_gross",
        "p_bad",
        "origin",
    ):
        assert np.array_equal(getattr(found, name), getattr(sent, name), equal_nan=name not in ("id",)), name
    assert found.by == "annotator-7"


def test_a_moved_keypoint_keeps_its_name_and_its_visibility(tmp_path: Path) -> None:
    found, sent = after(move_nose, tmp_path), one_pose().poses[0]
    assert found.xy[0].tolist() == [49.5, 49.5]
    assert np.array_equal(found.xy[1:], sent.xy[1:])
    assert np.isnan(found.score[0]) and np.isnan(found.p_gross[0]) and np.isnan(found.p_bad)
    assert found.score[1:].tolist() == sent.score[1:].tolist()
    assert found.origin.tolist() == [Origin.IMPORTED, Origin.HUMAN, Origin.IMPORTED]
    assert found.visibility.tolist() == [2, 1, 3]


@pytest.mark.parametrize(
    ("change", "visibility"),
    [
        (call_nose_hidden, [1, 1, 3]),
        (forget_choices, [2, 1, 3]),  # a second press on a key takes the answer away: what was sent stands
        (delete(f"{POSE}-k1"), [2, 0, 3]),
        (delete(POSE), [2, 1, 3]),  # without their box, keypoints are one person's all the same
        (rename_nose, [0, 2, 3]),
    ],
)
def test_visibility_after_a_change(
    change: Callable[[dict[str, Any]], None], visibility: list[int], tmp_path: Path
) -> None:
    found = after(change, tmp_path)
    assert found.visibility.tolist() == visibility
    assert found.id == POSE
    # The doubt is of the keypoints that were sent.
    assert np.isnan(found.p_bad) == (change not in (call_nose_hidden, forget_choices))


def test_a_renamed_keypoint_is_another_one(tmp_path: Path) -> None:
    found = after(rename_nose, tmp_path)
    assert found.origin[1] == Origin.IMPORTED
    assert np.allclose(found.xy[1], [10.3, 20.7], atol=1e-4)


def test_a_moved_box_has_no_area_of_before(tmp_path: Path) -> None:
    found = after(move_box, tmp_path)
    assert np.allclose(found.box, [2, 6.2, 67.2, 80.4], atol=1e-9)
    assert np.isnan(found.area) and np.isnan(found.box_score)


def test_a_pose_without_a_box_has_none_afterwards_unless_somebody_moved_it(tmp_path: Path) -> None:
    none = [[np.nan] * 4]
    assert np.isnan(after(nothing, tmp_path / "a", box=none).box).all()
    # It was drawn around the keypoints: x from 10.3 to 51.
    assert np.allclose(after(move_box, tmp_path / "b", box=none).box, [2, 20.7, 42.7, 61], atol=1e-5)


def test_who_submits_a_doubtful_pose_settles_it(tmp_path: Path) -> None:
    assert after(nothing, tmp_path, attributes=[{"state": "review"}]).attributes == {"state": "reviewed"}


def test_a_copied_person_is_another_one(tmp_path: Path) -> None:
    write_labelstudio(tmp_path / "x", [one_pose()], TRIANGLE)
    (task,) = tasks_in(tmp_path / "x")
    result = task["annotations"][0]["result"]
    copied = copy.deepcopy(result)
    for item in copied:
        item["id"] = f"copy-{item['id']}"
        item["parentID"] = f"copy-{POSE}" if "parentID" in item else ""
    task["annotations"][0]["result"] = result + copied
    (tmp_path / "export.json").write_text(json.dumps([task]))
    (sample,) = read_labelstudio(tmp_path / "export.json", skeleton=TRIANGLE).samples
    assert sample.poses.id.tolist() == [POSE, ""]


def test_accepted_predictions_are_stated_and_predictions_are_not(tmp_path: Path) -> None:
    proposed = one_pose(visibility=[[0, 0, 0]], origin=[[Origin.MODEL] * K])
    write_labelstudio(tmp_path / "x", [proposed], TRIANGLE, kind=TaskKind.PREDICTIONS)
    (back,) = read_labelstudio(tmp_path / "x", annotations=AnnotationChoice.PREDICTIONS).samples
    assert back.poses.visibility.tolist() == [[Visibility.UNLABELLED] * K]
    (task,) = tasks_in(tmp_path / "x")
    task["annotations"] = [{"id": 1, "completed_by": 7, "lead_time": 3, **task["predictions"][0]}]
    (tmp_path / "export.json").write_text(json.dumps([task]))
    (accepted,) = read_labelstudio(tmp_path / "export.json", skeleton=TRIANGLE).samples
    assert accepted.poses.visibility.tolist() == [[Visibility.VISIBLE] * K]
    assert accepted.poses.origin.tolist() == [[Origin.MODEL] * K]
    assert np.array_equal(accepted.poses.xy, proposed.poses.xy)


def test_annotations_show_only_what_is_stated_and_predictions_what_has_a_place(tmp_path: Path) -> None:
    sample = one_pose(visibility=[[2, 0, 3]])
    shown: dict[TaskKind, list[str]] = {}
    for kind in TaskKind:
        note = Recorder()
        write_labelstudio(tmp_path / kind, [sample], TRIANGLE, kind=kind, progress=note)
        assert [line.split(" are")[0] for line in note.notes] == ["1 keypoints that nobody stated"][
            : kind == "annotations"
        ]
        (task,) = tasks_in(tmp_path / kind)
        result = task[kind.value][0]["result"]
        shown[kind] = [item["value"]["keypointlabels"][0] for item in result if "keypointlabels" in item["value"]]
        assert result[-1]["type"] == "rectanglelabels", "a box on top would swallow the mouse"
    assert shown == {TaskKind.ANNOTATIONS: ["left_a", "b"], TaskKind.PREDICTIONS: ["left_a", "right_a", "b"]}


# The folder


def test_what_is_outside_is_clipped_and_said(tmp_path: Path) -> None:
    note = Recorder()
    sample = one_pose(xy=[[[-5, 50], [210.5, 50], [50, 99]]])
    write_labelstudio(tmp_path / "x", [sample], TRIANGLE, progress=note)
    assert [line.split(" reach")[0] for line in note.notes] == ["2 keypoints and boxes"]
    assert problems(tmp_path / "x") == []
    (back,) = read_labelstudio(tmp_path / "x").samples
    assert np.array_equal(back.poses.xy, sample.poses.xy)


def test_a_thousand_tasks_a_file(tmp_path: Path) -> None:
    many = [Sample("", "", f"{i}.jpg", SIZE, Poses.empty(K)) for i in range(TASKS_PER_FILE + 1)]
    written = write_labelstudio(tmp_path / "x", iter(many), TRIANGLE)
    assert (written.images, written.poses) == (1001, 0)
    assert [len(json.loads(file.read_text())) for file in sorted((tmp_path / "x").glob("tasks-*"))] == [1000, 1]
    assert [sample.path for sample in read_labelstudio(tmp_path / "x").samples] == [sample.path for sample in many]


def test_addresses(tmp_path: Path) -> None:
    sample = Sample("", "", "ä b/c+d.jpg", SIZE, Poses.empty(K), attributes={"labelstudio": {"data": {"cam": 2}}})
    expected = {
        "/data/local-files/?d=": "/data/local-files/?d=%C3%A4%20b/c%2Bd.jpg",
        "s3://bucket/": "s3://bucket/ä b/c+d.jpg",  # keys of cloud storage are not escaped
    }
    for i, (prefix, address) in enumerate(expected.items()):
        write_labelstudio(tmp_path / f"{i}", [sample], TRIANGLE, image_url=prefix)
        (task,) = tasks_in(tmp_path / f"{i}")
        assert task["data"] == {"cam": 2, "image": address}
        del task["meta"]
        (tmp_path / "bare.json").write_text(json.dumps([task]))
        (bare,) = read_labelstudio(tmp_path / "bare.json", skeleton=TRIANGLE).samples
        assert bare.path.endswith("ä b/c+d.jpg")


def test_ids_that_label_studio_cannot_take_are_replaced(tmp_path: Path) -> None:
    poses = Poses.create(K, id=["a#1", "b c", ""], xy=[[[1, 1]] * K] * 3, visibility=[[2] * K] * 3)
    write_labelstudio(tmp_path / "x", [Sample("", "", "a.jpg", SIZE, poses)], TRIANGLE)
    (task,) = tasks_in(tmp_path / "x")
    regions = [item["id"] for item in task["annotations"][0]["result"] if item["type"] == "rectanglelabels"]
    assert len(set(regions)) == 3 and not any(set(region) & set("# ") for region in regions)
    assert read_labelstudio(tmp_path / "x").samples[0].poses.id.tolist() == ["a#1", "b c", ""]


def test_an_export_stands_once_and_appears_whole(tmp_path: Path) -> None:
    write_labelstudio(tmp_path / "x", [one_pose()], TRIANGLE)
    with pytest.raises(ExistsError):
        write_labelstudio(tmp_path / "x", [one_pose()], TRIANGLE)
    with pytest.raises(FormatError, match="size of the image is not known"):
        write_labelstudio(tmp_path / "x", [Sample("", "", "a", UNKNOWN_SIZE, Poses.empty(K))], TRIANGLE, overwrite=True)
    with pytest.raises(FormatError, match="cannot be written as JSON"):
        write_labelstudio(tmp_path / "y", [one_pose(attributes=[{"a": {1, 2}}])], TRIANGLE)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert len(tasks_in(tmp_path / "x")) == 1


def test_the_skeleton_of_an_export_from_a_server_is_known_by_its_fingerprint(tmp_path: Path) -> None:
    """Even where few keypoints occur: a built-in one, or the one whose file lies beside the export."""
    coco = Skeleton.load("coco17")
    some = Sample("", "", "a.jpg", SIZE, Poses.create(17, xy=[[[1, 1]] * 17], visibility=[[2] + [0] * 16]))
    write_labelstudio(tmp_path / "x", [some], coco)
    (tmp_path / "export.json").write_text(json.dumps(tasks_in(tmp_path / "x")))
    assert read_labelstudio(tmp_path / "export.json").skeleton == coco
    write_labelstudio(tmp_path / "y", [one_pose(visibility=[[2, 0, 0]])], TRIANGLE)
    (tmp_path / "y" / "tasks-00000.json").rename(tmp_path / "y" / "export.json")
    assert read_labelstudio(tmp_path / "y" / "export.json").skeleton == TRIANGLE
