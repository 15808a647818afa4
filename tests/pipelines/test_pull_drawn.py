"""People boxed and posed in a whole image: whose joints they are, what stays the network's, and who counts once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.labelstudio.folder import read_lines
from autolabel.labelstudio.smart import read_served
from autolabel.labelstudio.tasks import TaskRecord, canvas
from autolabel.manifest import Manifest
from autolabel.merge import BOXED
from autolabel.poses import Origin, Visibility
from autolabel.skeleton import Skeleton
from pipelines.merge import merge
from tests.pipelines.plants import whole
from tests.pipelines.review_table import ReviewTable, notices_of, poses_of
from tests.pipelines.served import backend, served

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
NEW = np.array([40.0, 5.0, 120.0, 60.0])  # overlaps nobody by half
PERCENT = (25.0, 100 * 5 / 120, 50.0, 100 * 55 / 120)
APART = (2.0, 60.0, 20.0, 35.0)


@pytest.fixture
def table(review_case: Any, tmp_path: Path) -> ReviewTable:
    table = ReviewTable(review_case.project, tmp_path)
    table.push(review_case.route(whole(1)))
    return table


@pytest.fixture
def image(table: ReviewTable) -> TaskRecord:
    return table.record("1.png", "image")


def joint(record: TaskRecord, name: str, x: float, y: float, parent: str = "", region: str = "") -> dict[str, Any]:
    """A joint that somebody placed by hand."""
    hangs = {"parentID": parent} if parent else {}
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [name]}
    region = {"id": region or f"own-{name}-{x:g}", "type": "keypointlabels", "from_name": "doubt", **hangs}
    return {**region, **canvas(record), "value": value}


def test_a_served_pose_that_nobody_touched_is_the_network_s_and_reviewed(
    review_case: Any, table: ReviewTable, image: TaskRecord, tmp_path: Path
) -> None:
    table.answer(image, *served(backend(review_case.project), image, PERCENT))
    result = table.pull("answers")
    assert (result.answered, result.boxed, result.images, result.notices) == (1, 0, 1, 0)
    ((name, pose),) = poses_of(result.manifest).items()
    (network,) = (one.pose() for one in read_served(table.folder.path).values())
    assert np.array_equal(pose.xy, network.xy)
    assert pose.box == pytest.approx(NEW)
    assert (pose.attributes["state"], pose.attributes[BOXED]) == ("reviewed", image.task)
    assert set(pose.origin.tolist()) == {Origin.MODEL}
    assert pose.score == pytest.approx(network.score)
    lines = list(read_lines(result.manifest.path / "ledger.jsonl"))
    assert [line["pose"] for line in lines] == [name]
    done = merge(review_case.folder / "routing-scored", result.manifest, out=tmp_path / "merged")
    assert (done.added, done.waiting, done.conflicts) == (1, 0, 0)
    assert [len(sample.poses) for sample in done.manifest] == [2, 3, 2]
    assert name in poses_of(done.manifest)


def test_what_was_moved_deleted_and_said_is_the_person_s(
    review_case: Any, table: ReviewTable, image: TaskRecord
) -> None:
    regions = served(backend(review_case.project), image, PERCENT)
    names = {r["value"]["keypointlabels"][0]: r["id"] for r in regions if "keypointlabels" in r["value"]}
    for region in regions:
        if region["id"] == names["nose"] and region["type"] == "keypointlabels":
            region["value"] |= {"x": 30.0, "y": 20.0}
        if region["id"] == names["left_hip"] and region["type"] == "choices":
            region["value"] |= {"choices": ["hidden"]}
    table.answer(image, *(region for region in regions if region["id"] != names["right_knee"]))
    result = table.pull("answers")
    (pose,) = poses_of(result.manifest).values()
    nose, hip, knee = (SKELETON.index(name) for name in ("nose", "left_hip", "right_knee"))
    assert pose.xy[nose] == pytest.approx([0.3 * 160 - 0.5, 0.2 * 120 - 0.5])
    assert pose.visibility[[nose, hip, knee]].tolist() == [Visibility.VISIBLE, Visibility.HIDDEN, Visibility.ABSENT]
    human = np.flatnonzero(pose.origin == Origin.HUMAN).tolist()
    assert human == sorted([nose, hip, knee])
    (line,) = result.corrections.read_text().splitlines()
    assert (json.loads(line)["clicks"], json.loads(line)["seconds"]) == (3, None), "time and submit are the image's"


def test_joints_by_hand_belong_to_the_box_they_hang_on_or_the_only_one_around(
    table: ReviewTable, image: TaskRecord
) -> None:
    inner = np.array([45.0, 8.0, 115.0, 57.0])
    boxes = [table.drawn(image, NEW, "one"), table.drawn(image, inner + 0.1, "two")]
    hung = [joint(image, "nose", 50, 10, "one"), joint(image, "nose", 51, 11, "two", "own-2")]
    loose = [
        joint(image, "left_eye", 50, 12),  # two boxes around it lack it
        joint(image, "left_eye", 52, 12, "one", "own-3"),
        joint(image, "left_ear", 95, 95),  # no box around it
        joint(image, "nose", 53, 13),  # both boxes around it have one
    ]
    table.answer(image, *boxes, *hung, *loose)
    result = table.pull("answers")
    assert (result.answered, result.boxed) == (2, 0)
    placed = sorted(tuple(np.flatnonzero(~np.isnan(p.xy[:, 0])).tolist()) for p in poses_of(result.manifest).values())
    nose, eye = SKELETON.index("nose"), SKELETON.index("left_eye")
    assert placed == [(nose, eye), (nose, eye)], "the eye on nothing is the second's: the first has one"
    assert notices_of(result) == ["2 joints not used: they hang on no box, and could be anybody's"]
    for pose in poses_of(result.manifest).values():
        assert set(pose.visibility.tolist()) == {Visibility.VISIBLE, Visibility.ABSENT}, "what was left out is absent"
        assert set(pose.origin.tolist()) == {Origin.HUMAN}


def test_a_box_without_joints_waits_beside_one_with_them(
    review_case: Any, table: ReviewTable, image: TaskRecord
) -> None:
    apart = image.frame.box_to_image(APART)
    table.answer(image, *served(backend(review_case.project), image, PERCENT), table.drawn(image, apart))
    result = table.pull("answers")
    assert (result.answered, result.boxed, result.unasked) == (1, 1, 1)
    assert result.boxes is not None
    (waiting,) = poses_of(result.boxes).values()
    assert waiting.box == pytest.approx(apart)


@pytest.mark.parametrize("first", ["boxed", "posed"])
def test_one_person_in_two_answers_is_one_pose_the_last_one(
    review_case: Any, table: ReviewTable, image: TaskRecord, first: str
) -> None:
    answering = backend(review_case.project)
    if first == "boxed":
        table.answer(image, table.drawn(image, NEW), number=1)
    else:
        table.answer(image, *served(answering, image, PERCENT), number=1)
    before = table.pull("before")
    (name,) = poses_of(before.boxes if before.boxes else before.manifest)
    table.answer(image, *served(answering, image, (26.0, *PERCENT[1:])), number=2, minute=5)
    result = table.pull("after")
    ((again, pose),) = poses_of(result.manifest).items()
    assert again == name
    assert pose.by == "annotator-2"
    assert (result.answered, result.boxed) == (1, 0)


def test_what_was_served_in_another_task_is_no_pose_of_this_one(
    review_case: Any, table: ReviewTable, image: TaskRecord
) -> None:
    regions = served(backend(review_case.project), image, PERCENT)
    line = json.loads((table.folder.path / "served.jsonl").read_text())
    (table.folder.path / "served.jsonl").write_text(json.dumps({**line, "task": "another"}) + "\n")
    table.answer(image, *regions)
    (pose,) = poses_of(table.pull("answers").manifest).values()
    assert set(pose.origin.tolist()) == {Origin.HUMAN}, "nobody knows that a network placed it"


def test_an_image_that_was_rejected_gives_nobody(review_case: Any, table: ReviewTable, image: TaskRecord) -> None:
    regions = served(backend(review_case.project), image, PERCENT)
    table.answer(image, *regions, table.verdict(image, "reject image"))
    result = table.pull("answers")
    assert (result.answered, result.boxed) == (0, 0)
    assert Manifest.open(result.manifest.path).counts["poses"] == 0
