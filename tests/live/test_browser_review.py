"""What a person does with mouse and keys in the editor arrives through ``pull``, and nothing else does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.labelstudio.frame import Frame
from autolabel.labelstudio.tasks import doubtful
from autolabel.merge import KeypointChange, State, Verdict, read_corrections
from autolabel.poses import Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from pipelines.pull_answers import CHECKS
from tests.live.browser import SETTLED, Desk
from tests.live.labelstudio_client import Server
from tests.live.review_project import Import, drawn_people, for_review, make_review, own_copy, pulled

pytestmark = [pytest.mark.live, pytest.mark.slow]

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints

STATE = """() => {
  const annotation = Htx.annotationStore.selected, found = {keys: [], labels: [], choices: []};
  annotation.traverseTree((node) => {
    if (node.hotkey) found.keys.push(node.hotkey);
    if (node.type === "label" && node.selected) found.labels.push(node.parent.name + " " + node.value);
    if (node.type === "choice" && node.sel) found.choices.push(node.value);
  });
  const image = annotation.objects.find((object) => object.type === "image");
  const tool = image.getToolsManager().findSelectedTool();
  return {...found, zoom: image.currentZoom, tool: tool ? tool.toolName : null};
}"""


SELECTED = "() => Htx.annotationStore.selected.selectedRegions.map((region) => region.type)"


def seen_at(desk: Desk, frame: Frame, xy: Any) -> tuple[float, float]:
    """Where a point of the image lies in the window."""
    return desk.at(*frame.to_percent(xy).tolist())


def test_a_point_arrives_where_it_was_dropped_and_the_others_stay(
    server: Server, imported: Import, desk: Desk, people: tuple[Path, list[Sample]], tmp_path: Path
) -> None:
    folder, samples = own_copy(people, tmp_path)
    review, task, number = make_review(imported, folder, samples, for_review(samples))
    record, row = review.record(task), review.pose(task)
    before = review.model[row]
    k = doubtful(before, record)[0]
    desk.open_task(review.remote, number)
    wanted = before.xy[k] + np.array([9.25, -14.5])
    desk.drag(seen_at(desk, record.frame, before.xy[k]), seen_at(desk, record.frame, wanted))
    desk.submit()
    (answer,) = pulled(server, review, tmp_path / "out")
    assert np.abs(answer.after.xy[k] - wanted).max() < 1.0
    others = np.arange(K) != k
    assert np.array_equal(answer.after.xy[others], before.xy[others]), "untouched: bit by bit"
    assert np.array_equal(answer.after.box, before.box)
    assert [i for i, change in enumerate(answer.keypoints) if change != KeypointChange.KEPT] == [k]


def test_visibility_is_set_by_keys_alone(
    server: Server, imported: Import, desk: Desk, people: tuple[Path, list[Sample]], tmp_path: Path
) -> None:
    folder, samples = own_copy(people, tmp_path)
    review, task, number = make_review(imported, folder, samples, for_review(samples))
    before = review.model[review.pose(task)]
    first, second = doubtful(before, review.record(task))
    desk.open_task(review.remote, number)
    desk.press("c")  # nothing is selected: says nothing
    desk.press("Alt+.", "x", "Alt+.", "c", "s")
    desk.submit()
    (answer,) = pulled(server, review, tmp_path / "out")
    assert answer.verdict == (Verdict.SWAPPED,)
    flip = list(SKELETON.flip)
    assert answer.after.visibility[flip[first]] == Visibility.HIDDEN
    assert answer.after.visibility[flip[second]] == Visibility.ABSENT
    assert np.array_equal(answer.after.xy[flip], before.xy, equal_nan=True)
    assert answer.state is State.REVIEWED


def test_a_point_is_taken_away_and_another_put_in_its_place(
    server: Server, imported: Import, desk: Desk, people: tuple[Path, list[Sample]], tmp_path: Path
) -> None:
    folder, samples = own_copy(people, tmp_path)
    review, task, number = make_review(imported, folder, samples, for_review(samples))
    record, before = review.record(task), review.model[review.pose(task)]
    first, second = doubtful(before, record)
    desk.open_task(review.remote, number)
    desk.press("Alt+.", "Backspace", "Alt+.", "Backspace", "Escape", f"Shift+{chr(ord('A') + second)}")
    # What lies below the mouse takes the click: place it in a free corner, then drag it.
    wanted = before.xy[second] + np.array([6.0, 8.0])
    desk.page.mouse.click(*desk.at(3, 3))
    desk.page.wait_for_timeout(SETTLED)
    desk.drag(desk.at(3, 3), seen_at(desk, record.frame, wanted))
    desk.submit()
    (answer,) = pulled(server, review, tmp_path / "out")
    assert answer.keypoints[first] is KeypointChange.REMOVED
    assert answer.keypoints[second] is KeypointChange.MOVED
    assert np.abs(answer.after.xy[second] - wanted).max() < 1.0
    assert sum(change != KeypointChange.KEPT for change in answer.keypoints) == 2


def test_a_blind_task_is_answered_from_nothing(
    server: Server, imported: Import, desk: Desk, people: tuple[Path, list[Sample]], tmp_path: Path
) -> None:
    folder, samples = own_copy(people, tmp_path)
    (pose, *_) = samples[0].poses.id.tolist()
    review, task, number = make_review(imported, folder, samples, [{"pose": pose, "kind": "blind", "blind": True}])
    record, before = review.record(task), review.model[review.pose(task)]
    desk.open_task(review.remote, number)
    left, top, right, bottom = before.box.tolist()
    # Off the box, on its lines and corner: nothing may take a click.
    wanted = {0: before.xy[0], 5: (left, (top + bottom) / 2), 6: (right, bottom), 16: before.xy[16]}
    for k, place in wanted.items():
        desk.press("Escape", f"Shift+{chr(ord('A') + k)}")
        desk.page.mouse.click(*seen_at(desk, record.frame, place))
        desk.page.wait_for_timeout(200)
    desk.submit()
    pulled(server, review, tmp_path / "out")
    (answer,) = read_corrections(tmp_path / "out" / CHECKS, K)
    assert np.abs(answer.after.xy[list(wanted)] - list(wanted.values())).max() < 1.0
    assert (answer.after.visibility != Visibility.ABSENT).nonzero()[0].tolist() == list(wanted)


def test_a_blind_task_that_is_submitted_empty_is_told_as_what_it_is(
    server: Server, imported: Import, desk: Desk, people: tuple[Path, list[Sample]], tmp_path: Path
) -> None:
    folder, samples = own_copy(people, tmp_path)
    (pose, *_) = samples[0].poses.id.tolist()
    review, _, number = make_review(imported, folder, samples, [{"pose": pose, "kind": "blind", "blind": True}])
    desk.open_task(review.remote, number)
    desk.submit()
    assert pulled(server, review, tmp_path / "out") == []
    (notice,) = (tmp_path / "out" / "notices.jsonl").read_text().splitlines()
    assert "no joint placed" in notice
    assert "predictions" not in notice


def test_a_joint_is_put_to_its_place_and_marked_hidden(
    server: Server, imported: Import, desk: Desk, people: tuple[Path, list[Sample]], tmp_path: Path
) -> None:
    folder, samples = own_copy(people, tmp_path)
    review, task, number = make_review(imported, folder, samples, for_review(samples))
    record, before = review.record(task), review.model[review.pose(task)]
    dragged, stepped = doubtful(before, record)
    wanted = {k: before.xy[k] + np.array([11.0, -9.0]) for k in (dragged, stepped)}
    desk.open_task(review.remote, number)
    # A drag selects nothing: drag, click, x.
    there = seen_at(desk, record.frame, wanted[dragged])
    desk.drag(seen_at(desk, record.frame, before.xy[dragged]), there)
    assert not desk.page.evaluate(SELECTED)
    desk.page.mouse.click(*there)
    desk.page.wait_for_timeout(SETTLED)
    desk.press("x", "Escape")
    # Or step to it, drag, x.
    desk.press("Alt+.", "Alt+.")
    desk.drag(*(seen_at(desk, record.frame, xy) for xy in (before.xy[stepped], wanted[stepped])))
    desk.press("x")
    desk.submit()
    (answer,) = pulled(server, review, tmp_path / "out")
    assert np.flatnonzero(answer.after.visibility == Visibility.HIDDEN).tolist() == sorted(wanted)
    for k, xy in wanted.items():
        assert np.abs(answer.after.xy[k] - xy).max() < 1.0


def test_a_joint_that_has_no_point_is_placed_inside_the_box_and_may_be_hidden(
    server: Server, imported: Import, desk: Desk, people: tuple[Path, list[Sample]], tmp_path: Path
) -> None:
    folder, samples = own_copy(people, tmp_path)
    review, task, number = make_review(imported, folder, samples, for_review(samples))
    record, before = review.record(task), review.model[review.pose(task)]
    seen, hidden = doubtful(before, record)
    left, top, right, bottom = before.box.tolist()
    wanted = {seen: (left + 0.4 * (right - left), (top + bottom) / 2), hidden: (left + 4, top + 4)}
    desk.open_task(review.remote, number)
    desk.press("Alt+.", "Backspace", "Alt+.", "Backspace", "Escape", f"Shift+{chr(ord('A') + seen)}")
    desk.page.keyboard.down("Control")  # the box would take the click
    desk.page.mouse.click(*seen_at(desk, record.frame, wanted[seen]))
    desk.page.keyboard.up("Control")
    desk.page.wait_for_timeout(SETTLED)
    desk.press("Escape", f"Shift+{chr(ord('A') + hidden)}")
    for _ in range(2):  # placed in a free corner, then selected there
        desk.page.mouse.click(*desk.at(3, 3))
        desk.page.wait_for_timeout(SETTLED)
    desk.press("x")
    desk.drag(desk.at(3, 3), seen_at(desk, record.frame, wanted[hidden]))
    desk.submit()
    (answer,) = pulled(server, review, tmp_path / "out")
    assert [answer.after.visibility[k] for k in (seen, hidden)] == [Visibility.VISIBLE, Visibility.HIDDEN]
    for k, xy in wanted.items():
        assert np.abs(answer.after.xy[k] - xy).max() < 1.0


def many_joints(count: int, folder: Path) -> tuple[list[Sample], Skeleton]:
    """A pose of many keypoints in a drawn picture."""
    rng = np.random.default_rng(2)
    skeleton = Skeleton.load("wholebody133") if count == 133 else Skeleton.from_dict(
        {"name": "many", "keypoints": [f"k{i}" for i in range(count)]}
    )  # fmt: skip
    (sample, *_) = drawn_people(folder, images=1)
    box = sample.poses.box[0]
    poses = Poses.create(
        count,
        id=sample.poses.id[:1],
        box=[box],
        xy=rng.uniform(box[:2], box[2:], (1, count, 2)),
        score=[np.linspace(0.9, 0.2, count)],
        by=["net"],
    )
    return [sample.with_poses(poses)], skeleton


def test_of_133_keypoints_two_are_asked_about_and_the_others_stay(
    server: Server, imported: Import, desk: Desk, tmp_path: Path
) -> None:
    samples, skeleton = many_joints(133, tmp_path)
    review = imported(tmp_path, samples, skeleton, for_review(samples))
    ((task, number),) = review.tasks.items()
    before = review.model[0]
    desk.open_task(review.remote, number)
    points = [r for r in desk.regions() if r["type"] == "keypointlabels"]
    assert [p["value"]["keypointlabels"][0] for p in points] == list(skeleton.keypoints[:-3:-1])
    assert not [key for key in desk.page.evaluate(STATE)["keys"] if key.startswith("shift+")]
    wanted = before.xy[132] + np.array([4.0, 5.0])
    frame = review.record(task).frame
    desk.drag(seen_at(desk, frame, before.xy[132]), seen_at(desk, frame, wanted))
    desk.press("Escape", "Alt+.", "Alt+.", "x")
    desk.submit()
    (answer,) = pulled(server, review, tmp_path / "out")
    assert np.abs(answer.after.xy[132] - wanted).max() < 1.0
    assert np.array_equal(answer.after.xy[:132], before.xy[:132])
    assert np.array_equal(answer.after.visibility[:131], before.visibility[:131])
    assert answer.after.visibility[131] == Visibility.HIDDEN
    assert answer.state is State.REVIEWED


def test_every_key_does_one_thing(imported: Import, desk: Desk, tmp_path: Path) -> None:
    samples, skeleton = many_joints(26, tmp_path)
    review = imported(tmp_path, samples, skeleton, for_review(samples))
    desk.open_task(review.remote, next(iter(review.tasks.values())))
    desk.press("v")
    rest = desk.page.evaluate(STATE)
    assert len(rest["keys"]) == len(set(rest["keys"]))
    for i, keypoint in enumerate(skeleton.keypoints):
        desk.press(f"Shift+{chr(ord('A') + i)}")
        now = desk.page.evaluate(STATE)
        assert now["labels"] == [f"doubt {keypoint}"]
        assert {**now, "labels": [], "tool": rest["tool"]} == rest, "neither zoomed nor ticked"
        desk.press("Escape", "v")
    ours = {"s": Verdict.SWAPPED, "n": Verdict.NO_PERSON, "i": Verdict.BAD_IMAGE, "q": Verdict.EXPERT}
    for key in "abdefgijklmnopqrstuw0123456789":
        desk.press(key)
        now = desk.page.evaluate(STATE)
        assert now["choices"] == ([ours[key]] if key in ours else []), key
        assert not now["labels"], f"{key} is a key that the editor gave to a label"
        desk.press(*[key] * (key in ours), "v")
    assert json.loads(json.dumps(desk.page.evaluate(STATE))) == rest
