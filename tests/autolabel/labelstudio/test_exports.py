"""Exports as Label Studio 1.23 writes them, their errors, and which of several versions stands."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import FormatError
from autolabel.labelstudio.exports import Annotation, ExportedTask, read_export, standing
from autolabel.skeleton import Skeleton

SKELETON = Skeleton.load("coco17")

# Put down field for field from a real export, without the long lists.
ANNOTATION: dict[str, Any] = {
    "id": 1,
    "completed_by": 1,
    "result": [
        {
            "original_width": 338,
            "original_height": 640,
            "image_rotation": 0,
            "value": {"x": 100, "y": 62.91621208190919, "width": 1.2, "keypointlabels": ["right_knee"]},
            "parentID": "4c0a246ec6d2-box",
            "id": "4c0a246ec6d2-k14",
            "from_name": "doubt",
            "to_name": "image",
            "type": "keypointlabels",
            "origin": "prediction",
        },
        {
            "value": {"choices": ["left and right swapped"]},
            "id": "S9-yPbMk4r",
            "from_name": "verdict",
            "to_name": "image",
            "type": "choices",
            "origin": "manual",
        },
    ],
    "was_cancelled": False,
    "ground_truth": False,
    "created_at": "2026-11-22T20:52:03.444458Z",
    "updated_at": "2026-11-22T20:52:03.444490Z",
    "draft_created_at": None,
    "lead_time": 10.907,
    "prediction": {"id": 53, "result": [], "model_version": "autolabel", "score": None, "task": 53, "project": 2},
    "result_count": 20,
    "unique_id": "87fc5c6e-e63f-4d94-9a34-09101d5b9486",
    "task": 53,
    "project": 2,
    "updated_by": 1,
    "parent_prediction": 53,
    "parent_annotation": None,
}
TASK: dict[str, Any] = {
    "id": 53,
    "annotations": [ANNOTATION],
    "drafts": [],
    "predictions": [53],
    "data": {"image": "/data/local-files/?d=crops/t1.jpg", "crop": "t1.jpg", "task_key": "t1", "header": "Check"},
    "meta": {"autolabel": {"schema": 1}},
    "created_at": "2026-11-22T20:51:01.864508Z",
    "updated_at": "2026-11-22T20:52:03.706768Z",
    "inner_id": 1,
    "total_annotations": 1,
    "project": 2,
    "updated_by": 1,
}


def read(tmp_path: Path, content: object) -> list[ExportedTask]:
    file = tmp_path / "export.json"
    file.write_text(json.dumps(content))
    return list(read_export(file, {"t1", "t2"}, SKELETON))


def with_annotation(**changes: Any) -> list[dict[str, Any]]:
    return [{**TASK, "annotations": [{**ANNOTATION, **changes}]}]


def test_a_real_export_is_read(tmp_path: Path) -> None:
    (task,) = read(tmp_path, [TASK])
    (annotation,) = task.annotations
    assert annotation == Annotation(
        task="t1",
        annotation="87fc5c6e-e63f-4d94-9a34-09101d5b9486",
        by="annotator-1",
        updated="2026-11-22T20:52:03.444490Z",
        seconds=10.907,
        skipped=False,
        result=tuple(ANNOTATION["result"]),
        created="2026-11-22T20:52:03.444458Z",
    )


@pytest.mark.parametrize(
    ("who", "by"),
    [
        (3, "annotator-3"),
        ({"id": 3, "email": "ann@example.com"}, "ann@example.com"),
        ({"id": 3}, "annotator-3"),
        (None, "annotator-unknown"),
    ],
)
def test_who_answered(tmp_path: Path, who: object, by: str) -> None:
    assert read(tmp_path, with_annotation(completed_by=who))[0].annotations[0].by == by


@pytest.mark.parametrize(
    ("who", "updated_by", "after", "by", "first"),
    [
        (3, 4, 60, "annotator-4", "annotator-3"),
        (3, 4, 0, "annotator-3", ""),  # sent by 4 on 3's behalf
        (3, 3, 60, "annotator-3", ""),
        ({"id": 3, "email": "ann@example.com"}, 3, 60, "ann@example.com", ""),
        (3, None, 60, "annotator-3", ""),
        (3, [{"user_id": 4}], 60, "annotator-3", ""),
        (None, 4, 60, "annotator-4", "annotator-unknown"),
    ],
)
def test_who_reworked_it_signs_it(
    tmp_path: Path, who: object, updated_by: object, after: int, by: str, first: str
) -> None:
    times = {"created_at": "2026-11-22T20:00:00Z", "updated_at": f"2026-11-22T20:{after // 60:02}:00.00003Z"}
    content = with_annotation(completed_by=who, updated_by=updated_by, **times)
    (annotation,) = read(tmp_path, content)[0].annotations
    assert (annotation.by, annotation.first) == (by, first)


def test_without_a_unique_id_the_number_serves(tmp_path: Path) -> None:
    assert read(tmp_path, with_annotation(unique_id=None))[0].annotations[0].annotation == "1"


def test_tasks_without_annotations_are_open(tmp_path: Path) -> None:
    assert read(tmp_path, [{**TASK, "annotations": []}])[0].annotations == ()


@pytest.mark.parametrize("data", [{"image": "x.jpg"}, {"task_key": "somebody-else's"}])
def test_tasks_of_others_are_passed_over_whatever_they_hold(tmp_path: Path, data: dict[str, str]) -> None:
    (stranger, ours) = read(tmp_path, [{"data": data, "annotations": [{"result": 5}]}, TASK])
    assert (stranger.known, stranger.place, stranger.annotations) == (False, "tasks[0]", ())
    assert ours.known


def test_a_skip_is_recognised_and_its_result_not_judged(tmp_path: Path) -> None:
    broken = [{"type": "keypointlabels", "id": "a", "value": {}}]
    assert read(tmp_path, with_annotation(was_cancelled=True, result=broken))[0].annotations[0].skipped


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"tasks": []}, "is not a list of tasks. Export the project as JSON"),
        ([5], r"tasks\[0\]: is 5, expected an object"),
        ([{**TASK, "data": 5}], r"tasks\[0\]\.data: is 5"),
        ([{**TASK, "data": {"task_key": 5}}], r"tasks\[0\]\.data\.task_key: is 5"),
        ([{name: value for name, value in TASK.items() if name != "annotations"}], r"annotations: is missing.*MIN"),
        ([TASK, {**TASK, "annotations": [5]}], r"tasks\[1\]\.annotations\[0\]: is 5"),
        (with_annotation(result=None), r"tasks\[0\]\.annotations\[0\]\.result: is null"),
        (with_annotation(was_cancelled="no"), r"annotations\[0\]\.was_cancelled"),
        (with_annotation(updated_at="yesterday"), r"annotations\[0\]\.updated_at: is 'yesterday'"),
        (with_annotation(created_at="once"), r"annotations\[0\]\.created_at: is 'once'"),
        (with_annotation(updated_at=None), r"annotations\[0\]\.updated_at: is null"),
        (with_annotation(lead_time="long"), r"annotations\[0\]\.lead_time"),
        (with_annotation(completed_by=[3]), r"annotations\[0\]\.completed_by"),
        (with_annotation(completed_by={"name": "x"}), r"annotations\[0\]\.completed_by\.id: is missing"),
        (
            with_annotation(result=[{**ANNOTATION["result"][0], "value": {"x": 1, "keypointlabels": ["nose"]}}]),
            r"export\.json: tasks\[0\]\.annotations\[0\]\.result\[0\]\.value\.y: is missing",
        ),
    ],
)
def test_a_malformed_export_is_refused_by_record_and_field(tmp_path: Path, content: object, place: str) -> None:
    with pytest.raises(FormatError, match=place):
        read(tmp_path, content)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text('[{"id": 1,')
    with pytest.raises(FormatError, match="is not JSON"):
        list(read_export(tmp_path / "export.json", {"t1"}, SKELETON))


def version(minute: int, annotation: str = "a", **changes: Any) -> Annotation:
    entry = Annotation("t1", annotation, "annotator-1", f"2026-11-22T20:{minute:02}:00Z", 1.0, False, ())
    return replace(entry, **changes)


def test_the_last_version_of_each_annotation_stands() -> None:
    a1, a2, b = version(1), version(3), version(2, "b")
    assert standing([a1, b, a2]) == {"t1": [b, a2]}
    assert standing([a2, b, a1]) == {"t1": [b, a2]}, "by their times, not by when they were pulled"


def test_times_are_compared_as_times() -> None:
    whole, later = version(1, updated="2026-11-22T20:01:00Z"), version(1, updated="2026-11-22T20:01:00.5Z")
    assert standing([later, whole]) == {"t1": [later]}
    abroad = version(1, updated="2026-11-22T23:00:59+03:00")  # 20:00:59 in UTC
    assert standing([whole, abroad]) == {"t1": [whole]}


def test_skipped_annotations_do_not_stand() -> None:
    assert standing([version(1, skipped=True)]) == {}
    assert standing([version(1), version(2, skipped=True)]) == {}, "taken back"
    assert standing([version(1), version(2, "b", skipped=True)]) == {"t1": [version(1)]}


def test_deleted_annotations_do_not_stand() -> None:
    assert standing([version(1), version(1, deleted=True)]) == {}, "of one time, what came last"
    assert standing([version(1), version(1, deleted=True), version(1)]) == {"t1": [version(1)]}, "it came back"
