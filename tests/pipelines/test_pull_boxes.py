"""Boxed people: who becomes one, under which id, and the whole way from a rectangle to a merged pose."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autolabel.formats.policy import ImagePolicy, select
from autolabel.labelstudio.images import image_region, read_images
from autolabel.manifest import Manifest
from autolabel.merge import BOXED
from autolabel.poses import Origin, Visibility
from autolabel.skeleton import Skeleton
from model.checkpoint import save_model
from model.config import ViTPoseConfig
from model.vitpose import build_vitpose
from pipelines.merge import merge
from pipelines.predict import predict
from tests.pipelines.plants import QUEUED, plant, whole
from tests.pipelines.review_table import ReviewTable, notices_of, poses_of

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
NEW = np.array([40.0, 5.0, 120.0, 60.0])  # overlaps nobody by half
NO_PERSON = "person missing or wrong"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = build_vitpose(
        ViTPoseConfig(input_size=(64, 48), patch_size=8, width=32, depth=1, heads=2, deconv_channels=16), SKELETON
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return save_model(model, tmp_path_factory.mktemp("weights") / "w")


@pytest.fixture
def table(review_case: Any, tmp_path: Path) -> ReviewTable:
    return ReviewTable(review_case.project, tmp_path)


def only(manifest: Path) -> Any:
    (pose,) = poses_of(manifest).values()
    return pose


def complete(manifest: Manifest) -> list[bool]:
    return [select(sample, ImagePolicy.COMPLETE) is not None for sample in manifest]


def test_the_whole_way_of_a_missed_person(review_case: Any, table: ReviewTable, weights: Path, tmp_path: Path) -> None:
    table.push(review_case.route(whole(1)))
    image = table.record("1.png", "image")
    table.answer(image, table.drawn(image, NEW))
    first = table.pull("answers")
    assert (first.boxed, first.unasked, first.images, first.answered, first.notices) == (1, 1, 1, 0, 0)
    assert first.boxes is not None
    boxed = only(first.boxes)
    assert boxed.box == pytest.approx(NEW, abs=1e-9)
    assert (boxed.by, boxed.group, boxed.attributes) == ("annotator-1", "", {"state": "boxed", BOXED: image.task})
    assert np.isnan(boxed.xy).all()
    assert only(table.pull("again").manifest.path / "boxes").id == boxed.id, "pulled twice: the same id"
    base = Manifest.open(review_case.folder / "routing-scored")

    waiting = merge(base, first.manifest, out=tmp_path / "waiting")
    assert (waiting.corrected, waiting.conflicts, waiting.added, waiting.waiting) == (0, 0, 0, 1)
    assert complete(base) == [True, True, True]
    assert complete(waiting.manifest) == [True, False, True], "nobody has seen a pose of the boxed person"

    predicted = predict(first.boxes, weights=weights, out=tmp_path / "boxed.m", precision="fp32").manifest
    guess = only(predicted.path)
    assert (guess.id, guess.box.tolist(), guess.attributes) == (boxed.id, boxed.box.tolist(), {BOXED: image.task})
    assert np.isfinite(guess.xy).all()
    assert table.push(predicted.path).added == 1
    second = table.pull("asked")
    assert (second.boxed, second.unasked, second.open) == (1, 0, 1)
    assert table.push(predicted.path).added == 0

    table.answer(table.record(boxed.id), minute=5)
    third = table.pull("answered")
    assert (third.boxed, third.unasked, third.answered, third.open, third.boxes) == (0, 0, 1, 0, None)
    for start, out in ((base, "from-base"), (waiting.manifest, "from-waiting")):
        done = merge(start, third.manifest, out=tmp_path / out)
        assert (done.corrected, done.conflicts, done.added, done.waiting) == (1, 0, 1, 0)
        assert [len(sample.poses) for sample in done.manifest] == [2, 3, 2]
        pose = poses_of(done.manifest)[boxed.id]
        assert np.array_equal(pose.xy, guess.xy), "kept bit by bit"
        assert pose.origin.tolist() == [Origin.MODEL] * K
        assert (pose.by, pose.attributes["state"]) == ("annotator-1", "reviewed")
        assert complete(done.manifest) == [True, True, True]
        assert merge(done.manifest, third.manifest, out=tmp_path / f"{out}-twice").added == 0


def test_a_wrong_box_rejects_the_pose_and_asks_about_the_new_one(
    review_case: Any, table: ReviewTable, tmp_path: Path
) -> None:
    table.push(review_case.route())
    record = table.record("pose-0")
    table.answer(record, table.drawn(record, review_case.model.box[0] + [4, 4, 4, 4]), table.verdict(record, NO_PERSON))
    result = table.pull("answers")
    assert (result.boxed, result.unasked, result.notices) == (1, 1, 0), "half over the pose that is rejected"
    merged = merge(review_case.folder / "routing-scored", result.manifest, out=tmp_path / "merged")
    (sample, *_) = merged.manifest
    assert [attributes.get("state") for attributes in sample.poses.attributes] == ["rejected", None, "boxed"]
    assert complete(merged.manifest) == [False, True, True]


def test_a_box_that_nobody_predicted_is_asked_about_without_a_pre_label(review_case: Any, table: ReviewTable) -> None:
    table.push(review_case.route())
    record = table.record("pose-0")
    table.answer(record, table.drawn(record, [20, 30, 80, 60]))
    boxes = table.pull("answers").boxes
    assert boxes is not None
    assert table.push(boxes).added == 1
    asked = table.record(only(boxes).id)
    assert asked.blind
    shown = table.task(asked)
    assert shown["predictions"][0]["result"] == []
    point = {"id": "n", "type": "keypointlabels", "from_name": "doubt", "to_name": "image"}
    table.answer(asked, {**point, "value": {"x": 50, "y": 50, "keypointlabels": ["nose"]}}, minute=9)
    pose = poses_of(table.pull("more").manifest)[asked.pose]
    assert pose.visibility.tolist() == [Visibility.VISIBLE] + [Visibility.ABSENT] * (K - 1)


def test_whoever_has_a_pose_is_not_boxed_again(review_case: Any, table: ReviewTable) -> None:
    """Not even where the neighbour was in no queue: a crop does not tell whether it has a pose."""
    table.push(review_case.route({"pose": "pose-0"}))
    record = table.record("pose-0")
    table.answer(record, table.drawn(record, review_case.model.box[0], "own"), number=1)
    table.answer(record, table.drawn(record, [78, 12, 150, 107], "other"), minute=1, number=2)
    result = table.pull("answers")
    assert (result.boxed, result.boxes) == (0, None)
    told = [what for what in notices_of(result) if "there already" in what]
    assert [what.split()[5] for what in told] == ["pose-0", "pose-1"]


def test_in_a_whole_image_a_box_beside_shown_ones_is_meant(review_case: Any, table: ReviewTable) -> None:
    table.push(review_case.route(whole(0)))
    record = table.record("0.png", "image")
    table.answer(record, table.drawn(record, review_case.model.box[0]))
    assert table.pull("answers").boxed == 1
    (check,) = read_images(table.out / "answers" / "images.jsonl")
    assert (check.missed, check.nobody) == (1, ())


def test_a_box_drawn_anew_replaces_nothing_but_is_asked_about(review_case: Any, table: ReviewTable) -> None:
    table.push(review_case.route(whole(0)))
    record = table.record("0.png", "image")
    table.answer(record, table.drawn(record, review_case.model.box[0] + 5), drop=(image_region(record.task, 0),))
    result = table.pull("answers")
    assert (result.boxed, result.answered) == (1, 0)


def test_two_reviewers_who_box_one_person_ask_about_it_once(review_case: Any, table: ReviewTable) -> None:
    table.push(review_case.route(whole(1), {"pose": "pose-2"}))
    image, crop = table.record("1.png", "image"), table.record("pose-2")
    table.answer(image, table.drawn(image, NEW, "early"), minute=1)
    table.answer(crop, table.drawn(crop, np.add(NEW, [2, 1, -30, 3]), "late"), minute=2, number=2)
    boxes = table.pull("answers").boxes
    assert boxes is not None
    one = only(boxes)
    assert one.box == pytest.approx(NEW, abs=1e-9), "the first one stands"
    assert one.attributes[BOXED] == image.task


def test_a_box_that_is_moved_after_it_was_sent_keeps_its_task(review_case: Any, table: ReviewTable) -> None:
    table.push(review_case.route(whole(1)))
    image = table.record("1.png", "image")
    table.answer(image, table.drawn(image, NEW), minute=1)
    before = table.pull("answers").boxes
    assert before is not None
    table.push(before)
    table.answer(
        image,
        table.drawn(image, np.add(NEW, [3, 0, 3, 0])),
        table.drawn(image, np.add(NEW, [20, 58, 0, 58]), "b"),
        minute=2,
    )
    after = table.pull("later")
    assert (after.boxed, after.unasked) == (2, 1)
    assert after.boxes is not None
    assert only(before).id in poses_of(after.boxes)
    assert table.push(after.boxes).added == 1, "only the other one is new"


def test_a_box_that_was_taken_back_waits_no_longer(review_case: Any, table: ReviewTable) -> None:
    table.push(review_case.route(whole(1)))
    image = table.record("1.png", "image")
    table.answer(image, table.drawn(image, NEW), minute=1)
    assert table.pull("answers").boxed == 1
    table.answer(image, minute=2)
    assert table.pull("later").boxed == 0


def retracted(result: Any) -> set[str]:
    return {json.loads(line)["pose"] for line in (result.manifest.path / "retracted.jsonl").read_text().splitlines()}


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("again", [None, [41.0, 60.0, 121.0, 115.0]])
def test_a_box_that_is_drawn_elsewhere_or_deleted_leaves_a_merged_base(
    review_case: Any, table: ReviewTable, tmp_path: Path, again: Any, asked: bool
) -> None:
    table.push(review_case.route(whole(1)))
    image = table.record("1.png", "image")
    table.answer(image, table.drawn(image, NEW), minute=1)
    first = table.pull("answers")
    assert first.boxes is not None
    old = only(first.boxes).id
    assert retracted(first) == set()
    base = merge(review_case.folder / "routing-scored", first.manifest, out=tmp_path / "1").manifest
    if asked:
        table.push(first.boxes)
    table.answer(image, *([] if again is None else [table.drawn(image, again)]), minute=2)
    second = table.pull("later")
    assert retracted(second) == {old}
    merged = merge(base, second.manifest, out=tmp_path / "2")
    assert (merged.waiting, merged.taken_out) == (int(again is not None), 1)
    assert old not in poses_of(merged.manifest)
    assert complete(merged.manifest) == [True, again is None, True]
    assert merge(merged.manifest, second.manifest, out=tmp_path / "3").manifest.digest == merged.manifest.digest


def test_an_answered_person_is_not_retracted(review_case: Any, table: ReviewTable) -> None:
    """Its pose is stated by a person, whatever becomes of the rectangle that it began with."""
    table.push(review_case.route(whole(1)))
    image = table.record("1.png", "image")
    table.answer(image, table.drawn(image, NEW), minute=1)
    boxes = table.pull("answers").boxes
    assert boxes is not None
    table.push(boxes)
    asked = table.record(only(boxes).id)
    point = {"id": "n", "type": "keypointlabels", "from_name": "doubt", "to_name": "image"}
    table.answer(asked, {**point, "value": {"x": 50, "y": 50, "keypointlabels": ["nose"]}}, minute=2)
    table.answer(image, minute=3)
    result = table.pull("later")
    assert (result.answered, result.boxed, retracted(result)) == (1, 0, set())


@pytest.mark.parametrize(
    ("verdicts", "boxed"), [((), 1), (("needs expert",), 1), (("left and right swapped",), 1), (("reject image",), 0)]
)
def test_verdicts(review_case: Any, table: ReviewTable, verdicts: tuple[str, ...], boxed: int) -> None:
    table.push(review_case.route())
    record = table.record("pose-3")
    table.answer(record, table.drawn(record, [95, 30, 140, 60]), table.verdict(record, *verdicts))
    result = table.pull("answers")
    assert result.boxed == boxed
    assert ("image was rejected" in "".join(notices_of(result))) == (not boxed)


def test_tasks_that_check_their_reviewer_box_nobody(review_case: Any, table: ReviewTable) -> None:
    routing = review_case.route(
        QUEUED, {"pose": "pose-0", "kind": "audit"}, {"pose": "pose-0", "kind": "blind", "blind": True}
    )
    plant(review_case, routing)
    table.push(routing)
    for record, box in (
        (table.record("plant-1", "planted"), [100, 20, 130, 60]),
        (table.record("pose-0", "blind"), [20, 20, 60, 60]),
    ):
        point = {"id": "n", "type": "keypointlabels", "from_name": "doubt", "to_name": "image"}
        placed = {**point, "value": {"x": 50, "y": 50, "keypointlabels": ["nose"]}}
        table.answer(record, table.drawn(record, box), placed)
    result = table.pull("answers")
    assert result.boxed == 0
    assert sum("checks its reviewer" in what for what in notices_of(result)) == 2


@pytest.mark.parametrize(
    ("value", "boxed"),
    [
        ({"x": 90.0, "width": 30.0}, 1),
        ({"x": -50.0, "width": 200.0, "y": -1e30, "height": 2e30}, 1),
        ({"width": 0.5}, 0),
        ({"width": 0.0, "height": 0.0}, 0),
        ({"x": 200.0}, 0),
        ({"x": 3e38, "width": 3e38, "rotation": 33.0}, 0),
        ({"x": 60.0, "width": -40.0}, 1),
    ],
)
def test_hostile_boxes(review_case: Any, table: ReviewTable, value: dict[str, float], boxed: int) -> None:
    review_case.model = review_case.model.replace(attributes=[{"state": "rejected"}] * 6)
    table.push(review_case.route(whole(1)))
    record = table.record("1.png", "image")
    item = table.drawn(record, [40, 30, 120, 90])
    table.answer(record, {**item, "value": {**item["value"], **value}})
    result = table.pull("answers")
    assert result.boxed == boxed
    if result.boxes is not None:
        left, top, right, bottom = only(result.boxes).box
        assert 0 <= left < right <= 160
        assert 0 <= top < bottom <= 120


def test_the_commands_that_follow_are_told(review_case: Any, table: ReviewTable) -> None:
    table.push(review_case.route(whole(1)))
    record = table.record("1.png", "image")
    table.answer(record, table.drawn(record, NEW))
    summary = table.pull("answers").summary()
    assert (summary["boxed"], summary["unasked"]) == (1, 1)
    assert json.dumps(summary, default=str)
