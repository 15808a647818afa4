"""Posed people beside other answers about them: one pose a person, whose joints are whose, and what it all cost."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.labelstudio.folder import read_lines
from autolabel.labelstudio.tasks import TaskRecord, canvas
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Origin
from autolabel.skeleton import Skeleton
from pipelines.measure import Effort
from pipelines.merge import merge
from tests.pipelines.plants import whole
from tests.pipelines.review_table import Items, ReviewTable, notices_of, poses_of
from tests.pipelines.served import backend, served

SKELETON = Skeleton.load("coco17")
NOSE = SKELETON.index("nose")
PERCENT = (25.0, 100 * 5 / 120, 50.0, 100 * 55 / 120)
WIDER = (26.0, *PERCENT[1:])


@pytest.fixture
def table(review_case: Any, tmp_path: Path) -> ReviewTable:
    table = ReviewTable(review_case.project, tmp_path)
    table.push(review_case.route(whole(1)))
    return table


@pytest.fixture
def image(table: ReviewTable) -> TaskRecord:
    return table.record("1.png", "image")


def posed(table: ReviewTable, image: TaskRecord, box: tuple[float, ...] = PERCENT, **moved: float) -> Items:
    """The regions of a posed box, with joints moved to an x in percent."""
    regions = served(backend(table.project), image, box)
    for region in regions:
        if (name := region["value"].get("keypointlabels", [""])[0]) in moved:
            region["value"] |= {"x": moved[name]}
    return regions


def box_of(regions: Items) -> dict[str, Any]:
    return next(region for region in regions if region["type"] == "rectanglelabels")


def moved_nose(table: ReviewTable, record: TaskRecord, minute: int) -> None:
    """Answer a person's own task with the nose at x = 40 percent of its picture."""
    shown = table.task(record)["predictions"][0]["result"]
    (nose,) = (r for r in shown if r["value"].get("keypointlabels") == ["nose"] and r["type"] == "keypointlabels")
    table.answer(record, {**nose, "value": {**nose["value"], "x": 40.0}}, minute=minute, drop=(nose["id"],))


def test_the_task_of_a_posed_person_s_own_counts(
    review_case: Any, table: ReviewTable, image: TaskRecord, tmp_path: Path
) -> None:
    table.answer(image, *posed(table, image))
    first = table.pull("first")
    merged = merge(review_case.folder / "routing-scored", first.manifest, out=tmp_path / "merged").manifest
    (name,) = poses_of(first.manifest)
    table.push(merged.path)
    moved_nose(table, table.record(name), minute=30)
    second = table.pull("second")
    ((again, pose),) = poses_of(second.manifest).items()
    assert (again, second.answered, second.boxed) == (name, 1, 0)
    assert np.flatnonzero(pose.origin == Origin.HUMAN).tolist() == [NOSE]
    assert [what for what in notices_of(second) if "a task of their own" in what], "that two answers stand is told"


@pytest.mark.parametrize("minute", [5, 20])
def test_the_own_task_of_a_boxed_person_counts_whenever_somebody_else_poses_them(
    table: ReviewTable, image: TaskRecord, tmp_path: Path, minute: int
) -> None:
    table.answer(image, table.drawn(image, image.frame.box_to_image(PERCENT)))
    first = table.pull("first")
    assert first.boxes is not None
    (name,) = poses_of(first.boxes)
    boxes = Manifest.open(first.boxes)
    k = SKELETON.num_keypoints
    xy = np.linspace((45, 10), (115, 55), k)[None]
    samples = [
        s.with_poses(s.poses.replace(xy=xy, visibility=np.full((1, k), 2), origin=np.full((1, k), Origin.MODEL)))
        for s in boxes
    ]
    table.push(write_manifest(tmp_path / "boxed.m", samples, SKELETON, boxes.roots, stage="test").path)
    moved_nose(table, table.record(name), minute=10)
    table.answer(image, *posed(table, image, WIDER), minute=minute, number=2)
    result = table.pull("second")
    ((again, pose),) = poses_of(result.manifest).items()
    assert (again, pose.by, result.boxed) == (name, "annotator-1", 0)
    assert np.flatnonzero(pose.origin == Origin.HUMAN).tolist() == [NOSE]
    assert len([what for what in notices_of(result) if "a task of their own" in what]) == 1


def test_two_neighbours_in_a_later_answer_are_two_people(table: ReviewTable, image: TaskRecord) -> None:
    table.answer(image, *posed(table, image), number=1)
    (name,) = poses_of(table.pull("first").manifest)
    x, y, width, height = PERCENT
    neighbour = (x + 0.25 * width, y, width, height)
    table.answer(
        image, *posed(table, image, (x + 0.5, y, width, height)), *posed(table, image, neighbour), number=2, minute=5
    )
    result = table.pull("second")
    poses = poses_of(result.manifest)
    assert (len(poses), result.boxed) == (2, 0)
    assert poses[name].box[0] == pytest.approx(0.01 * (x + 0.5) * 160)
    assert {pose.by for pose in poses.values()} == {"annotator-2"}


def test_who_is_boxed_in_a_crop_and_posed_in_the_image_is_one_person(review_case: Any, tmp_path: Path) -> None:
    table = ReviewTable(review_case.project, tmp_path)
    table.push(review_case.route(whole(1), {"pose": "pose-2"}))
    image, crop = table.record("1.png", "image"), table.record("pose-2")
    _, high = crop.frame.box_to_image([0.0, 0.0, 100.0, 100.0]).reshape(2, 2)
    assert high[0] < 120, "the crop ends within the picture"
    edge = np.array([high[0] - 20.0, 2.0, high[0], 60.0])  # as much of somebody as the crop shows
    table.answer(crop, table.drawn(crop, edge))
    body = image.frame.box_to_percent(np.add(edge, [0.0, 0.0, 22.0, 0.0]))
    table.answer(image, *posed(table, image, tuple(body)), minute=5, number=2)
    result = table.pull("answers")
    people = [name for name in poses_of(result.manifest) if name != "pose-2"]
    assert (len(people), result.boxed, result.unasked) == (1, 0, 0)


@pytest.mark.parametrize("how", ["redrawn", "deleted"])
def test_a_posed_person_who_is_redrawn_or_deleted_leaves_the_base(
    review_case: Any, table: ReviewTable, image: TaskRecord, tmp_path: Path, how: str
) -> None:
    regions = posed(table, image)
    table.answer(image, *regions)
    first = table.pull("first")
    base = merge(review_case.folder / "routing-scored", first.manifest, out=tmp_path / "1").manifest
    box = box_of(regions)
    box["value"] |= {"width": box["value"]["width"] + 3.0}
    table.answer(image, *(regions if how == "redrawn" else ()), minute=5)
    done = merge(base, table.pull("second").manifest, out=tmp_path / "2")
    assert [len(sample.poses) for sample in done.manifest] == [2, 3 if how == "redrawn" else 2, 2]
    assert done.taken_out == 1


def test_everybody_s_clicks_in_one_image_count_and_open_it_once(table: ReviewTable, image: TaskRecord) -> None:
    apart = (2.0, 60.0, 20.0, 35.0)
    moves = ({"nose": 40.0, "left_eye": 41.0}, {"nose": 10.0})
    table.answer(image, *posed(table, image, PERCENT, **moves[0]), *posed(table, image, apart, **moves[1]))
    result = table.pull("answers")
    assert Effort.of(result.manifest.path) == Effort(poses_opened=1, clicks=5 + 2 + 1)
    (person,) = result.people
    assert (person.answers, person.images, person.keypoints["moved"]) == (2, 1, 3)


def test_a_posed_answer_that_another_one_overrules_stays_in_the_ledger_and_costs(
    table: ReviewTable, image: TaskRecord
) -> None:
    table.answer(image, *posed(table, image, PERCENT, nose=40.0), number=1)
    table.answer(image, *posed(table, image, WIDER), number=2, minute=5)
    result = table.pull("answers")
    lines = list(read_lines(result.manifest.path / "ledger.jsonl"))
    assert ([line["by"] for line in lines], len({line["pose"] for line in lines})) == (
        ["annotator-1", "annotator-2"],
        1,
    )
    assert Effort.of(result.manifest.path) == Effort(poses_opened=2, clicks=3 + 3 + 1)


def joint(record: TaskRecord, name: str, x: float, y: float, parent: str) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [name]}
    region = {"id": f"own-{name}", "type": "keypointlabels", "from_name": "doubt", "parentID": parent}
    return {**region, **canvas(record), "value": value}


def test_a_joint_on_the_box_of_somebody_shown_is_nobody_else_s(table: ReviewTable, image: TaskRecord) -> None:
    regions = posed(table, image)
    regions = [r for r in regions if r["value"].get("keypointlabels") != ["nose"]]
    table.answer(image, *regions, joint(image, "nose", 50, 20, f"{image.task[:12]}-p0"))
    result = table.pull("answers")
    (line,) = result.corrections.read_text().splitlines()
    assert json.loads(line)["keypoints"][NOSE] == "removed"
    assert notices_of(result) == ["1 joint not used: hangs on a box that was not drawn here, or was not used"]


def test_a_second_joint_on_a_served_box_is_told(table: ReviewTable, image: TaskRecord) -> None:
    regions = posed(table, image)
    table.answer(image, *regions, joint(image, "nose", 50, 20, box_of(regions)["id"]))
    result = table.pull("answers")
    assert notices_of(result) == ["placed twice, the last was taken: nose"]
    assert result.kinds == {"placed twice, the last taken": 1}
