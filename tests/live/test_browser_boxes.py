"""Boxes that a person draws in the editor, beside other boxes and inside them, arrive through ``pull``."""

from pathlib import Path

import numpy as np
import pytest

from autolabel.labelstudio.images import read_images
from autolabel.manifest import Manifest
from autolabel.merge import State, Verdict
from autolabel.poses import Sample
from autolabel.skeleton import Skeleton
from tests.live.browser import VIEW, Desk
from tests.live.labelstudio_client import Server
from tests.live.review_project import Import, for_review, make_review, own_copy, pulled

pytestmark = [pytest.mark.live, pytest.mark.slow]

SKELETON = Skeleton.load("coco17")


def box_with_ctrl(desk: Desk, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a box from one place to another, in percent of the picture, whatever lies below."""
    desk.press("y")
    desk.page.keyboard.down("Control")
    desk.drag(desk.at(*start), desk.at(*end))
    desk.page.keyboard.up("Control")


def test_somebody_inside_the_box_of_a_crop_is_boxed_with_ctrl(
    server: Server, imported: Import, desk: Desk, people: tuple[Path, list[Sample]], tmp_path: Path
) -> None:
    folder, samples = own_copy(people, tmp_path)
    review, task, number = make_review(imported, folder, samples, for_review(samples))
    x, y, width, height = review.record(task).frame.box_to_percent(review.model[review.pose(task)].box)
    desk.open_task(review.remote, number)
    box_with_ctrl(desk, (x + 0.1 * width, y + 0.4 * height), (x + 0.8 * width, y + 0.9 * height))
    desk.submit()
    (answer,) = pulled(server, review, tmp_path / "out")
    assert answer.state is State.REVIEWED
    (boxed,) = [pose for sample in Manifest.open(tmp_path / "out" / "boxes") for pose in sample.poses.box]
    frame = review.record(task).frame
    expected = frame.box_to_image([x + 0.1 * width, y + 0.4 * height, 0.7 * width, 0.5 * height])
    assert np.abs(boxed - expected).max() < 1.0


def test_a_missed_person_is_boxed_in_a_whole_image(
    server: Server, imported: Import, desk: Desk, people: tuple[Path, list[Sample]], tmp_path: Path
) -> None:
    folder, samples = own_copy(people, tmp_path)
    image = {"pose": "", "kind": "image", "image": list(samples[0].key), "blind": False}
    review, _, number = make_review(imported, folder, samples, [image])
    desk.open_task(review.remote, number)
    shown = desk.regions()
    desk.press("y")
    desk.drag(desk.at(2, 3), desk.at(18, 40))
    drawn = [region for region in desk.regions() if region["id"] not in {r["id"] for r in shown}]
    assert [region["value"]["rectanglelabels"] for region in drawn] == [["box"]]
    value = [drawn[0]["value"][name] for name in ("x", "y", "width", "height")]
    assert value == pytest.approx([2, 3, 16, 37], abs=0.5)
    desk.submit()
    pulled(server, review, tmp_path / "out")
    (check,) = read_images(tmp_path / "out" / "images.jsonl")
    assert (check.missed, check.nobody) == (1, ())
    assert (tmp_path / "out" / "notices.jsonl").read_text() == ""


def test_two_missed_people_inside_given_boxes_are_boxed_with_ctrl_and_without_it_pull_says_so(
    server: Server, imported: Import, desk: Desk, people: tuple[Path, list[Sample]], tmp_path: Path
) -> None:
    folder, samples = own_copy(people, tmp_path)
    image = {"pose": "", "kind": "image", "image": list(samples[0].key), "blind": False}
    review, task, number = make_review(imported, folder, samples, [image])
    boxes = [review.record(task).frame.box_to_percent(box) for box in samples[0].poses.box]
    desk.open_task(review.remote, number)
    for x, y, width, height in boxes:
        box_with_ctrl(desk, (x + 0.2 * width, y + 0.2 * height), (x + 0.9 * width, y + 0.5 * height))
    x, y, width, height = boxes[0]
    desk.press("y")
    desk.drag(desk.at(x + 0.3 * width, y + 0.7 * height), desk.at(x + 0.7 * width, y + 0.75 * height))
    desk.submit()
    pulled(server, review, tmp_path / "out")
    (check,) = read_images(tmp_path / "out" / "images.jsonl")
    assert (check.missed, check.nobody) == (2, ())
    (notice,) = (tmp_path / "out" / "notices.jsonl").read_text().splitlines()
    assert "1 given box was moved" in notice


def test_a_whole_image_shows_nothing_of_joints_and_a_larger_picture(
    server: Server, imported: Import, desk: Desk, people: tuple[Path, list[Sample]], tmp_path: Path
) -> None:
    folder, samples = own_copy(people, tmp_path)
    image = {"pose": "", "kind": "image", "image": list(samples[0].key), "blind": False}
    review, *_ = make_review(imported, folder, samples, [*for_review(samples)[:1], image])
    texts = (SKELETON.keypoints[1], Verdict.SWAPPED, Verdict.NO_PERSON)
    seen: list[list[bool]] = []
    for number in review.tasks.values():
        desk.open_task(review.remote, number)
        seen.append([desk.page.get_by_text(text).first.is_visible() for text in texts])
    assert seen == [[True, True, True], [False, False, True]]
    assert desk.at(100, 0)[0] - desk.at(0, 0)[0] > 0.4 * VIEW["width"], "the picture has the place of the joints"
