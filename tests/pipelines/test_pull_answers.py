"""Answers that check reviewers and images: where they go, and above all where they must not."""

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import read_task_map
from autolabel.merge import Correction, KeypointChange, State, read_corrections
from pipelines.pull import PullResult, pull
from pipelines.push import push
from tests.pipelines.plants import QUEUED, plant, whole

BLIND = {"pose": "pose-0", "kind": "blind", "blind": True}
AUDIT = {"pose": "pose-0", "kind": "audit"}

Items = list[dict[str, Any]]


class Desk:
    """Answers tasks by hand, by the kind and the pose they are about."""

    def __init__(self, case: Any, *entries: dict[str, Any]) -> None:
        self.case = case
        routing = case.route(*entries)
        if QUEUED in entries:
            plant(case, routing)
        self.folder = ReviewFolder(push(routing, project=case.project).folder)
        records = read_task_map(self.folder.taskmap)
        tasks = [task for file in self.folder.task_files() for task in json.loads(file.read_text())]
        self.tasks = {(records[t["data"]["task_key"]].kind, records[t["data"]["task_key"]].pose): t for t in tasks}
        self.exported: list[dict[str, Any]] = []

    def answer(
        self,
        kind: str,
        pose: str,
        act: Callable[[Items], Any] = lambda items: None,
        *more: Callable[[Items], Any],
        minute: int = 0,
    ) -> None:
        """An annotation for every act, a minute apart and by other people."""
        task = copy.deepcopy(self.tasks[kind, pose])
        shown = task.pop("predictions")[0]["result"]
        annotations: list[dict[str, Any]] = []
        for i, one in enumerate((act, *more)):
            items = copy.deepcopy(shown)
            one(items)
            who = {"id": i, "unique_id": f"{kind}-{pose}-{i}", "completed_by": i, "was_cancelled": False}
            time = f"2026-11-22T20:{minute + i:02}:00.123456Z"
            annotations.append({**who, "result": items, "updated_at": time, "lead_time": 7.25})
        self.exported.append({**task, "id": 1, "annotations": annotations})

    def pull(self) -> PullResult:
        (self.folder.exports / "1.json").write_text(json.dumps(self.exported))
        return pull(project=self.case.project, out=self.case.folder / "answers")


def nose(x: float) -> Callable[[Items], None]:
    def act(items: Items) -> None:
        region = next(item["id"] for item in items if item["value"].get("keypointlabels") == ["nose"])
        for item in items:
            if item["id"] == region:
                item["value"]["x"] = x

    return act


def place(items: Items) -> None:
    point = {"id": "n", "type": "keypointlabels", "from_name": "doubt", "to_name": "image"}
    items.append({**point, "value": {"x": 50, "y": 50, "keypointlabels": ["nose"]}})


def checks(result: PullResult) -> list[Correction]:
    return read_corrections(result.manifest.path / "checks.jsonl", 17)


def poses(result: PullResult) -> list[str]:
    return sorted(pose for sample in result.manifest for pose in sample.poses.id.tolist())


def test_answers_to_planted_poses_reach_neither_the_manifest_nor_the_corrections(review_case: Any) -> None:
    desk = Desk(review_case, QUEUED, {"pose": "pose-0"})
    desk.answer("planted", "plant-1", nose(3.0))
    desk.answer("review", "pose-0")
    result = desk.pull()
    assert (result.answered, result.checks, result.open) == (1, 1, 0)
    assert poses(result) == ["pose-0"]
    assert [c.pose for c in read_corrections(result.corrections, 17)] == ["pose-0"]
    for file in result.manifest.path.iterdir():
        assert file.name == "checks.jsonl" or b"plant" not in file.read_bytes(), file.name
    (check,) = checks(result)
    assert (check.pose, check.sample[0], check.keypoints[0]) == ("plant-1", "c0", KeypointChange.MOVED)
    assert set(result.manifest.roots) == {"images"}
    assert result.manifest.roots["images"].resolve() == (review_case.folder / "images").resolve()


@pytest.mark.parametrize("blind_minute", [1, 9])  # before and after the ordinary answer
def test_a_blind_answer_never_stands(review_case: Any, blind_minute: int) -> None:
    desk = Desk(review_case, BLIND, AUDIT)
    desk.answer("audit", "pose-0", minute=5)
    desk.answer("blind", "pose-0", place, minute=blind_minute)
    result = desk.pull()
    assert (result.answered, result.checks, result.notices) == (1, 1, 0)
    (sample,) = result.manifest
    assert np.array_equal(sample.poses.xy[0], review_case.model.xy[0])
    (check,) = checks(result)
    assert check.keypoints[0] is KeypointChange.MOVED


def test_a_blind_answer_alone_leaves_the_pose_unanswered(review_case: Any) -> None:
    desk = Desk(review_case, BLIND, AUDIT)
    desk.answer("blind", "pose-0", place)
    result = desk.pull()
    assert (result.answered, result.checks, result.open) == (0, 1, 1)
    assert poses(result) == []


def test_every_further_answer_to_an_audited_pose_is_a_check(review_case: Any) -> None:
    desk = Desk(review_case, AUDIT, {"pose": "pose-0"}, {"pose": "pose-1"})
    desk.answer("audit", "pose-0", nose(3.0), nose(4.0), minute=1)
    desk.answer("review", "pose-0", nose(5.0), minute=8)
    desk.answer("review", "pose-1", nose(6.0), nose(7.0), minute=1)
    result = desk.pull()
    (standing,) = [c for c in read_corrections(result.corrections, 17) if c.pose == "pose-0"]
    assert standing.when.startswith("2026-11-22T20:08")
    assert sorted((c.pose, c.when[:16]) for c in checks(result)) == [
        ("pose-0", "2026-11-22T20:01"),
        ("pose-0", "2026-11-22T20:02"),
    ], "pose 1 is not audited: of its answers the last counts"


def test_every_further_answer_to_a_keypoints_task_is_a_check(review_case: Any) -> None:
    desk = Desk(review_case, {"pose": "pose-0", "kind": "keypoint"}, {"pose": "pose-0"})
    desk.answer("keypoint", "pose-0", nose(3.0), nose(4.0), minute=1)
    desk.answer("review", "pose-0", nose(5.0), nose(6.0), minute=8)
    result = desk.pull()
    (standing,) = read_corrections(result.corrections, 17)
    assert standing.when.startswith("2026-11-22T20:09")
    assert sorted(c.when[:16] for c in checks(result)) == ["2026-11-22T20:01", "2026-11-22T20:02"]


@pytest.mark.parametrize(
    ("entries", "kind", "made"),
    [
        ([{"pose": "pose-0"}], "review", True),
        ([AUDIT], "audit", False),
        ([AUDIT, {"pose": "pose-0"}], "review", False),  # the pose is audited, whichever task asks
        ([{"pose": "pose-0", "kind": "keypoint"}], "keypoint", False),
    ],
)
def test_no_consensus_is_made_of_answers_that_a_certificate_counts(
    review_case: Any, entries: list[dict[str, Any]], kind: str, made: bool
) -> None:
    desk = Desk(review_case, *entries)
    toml = 'name = "x"\n[corpus]\nimages = "../images"\n[labelstudio]\nrule = "consensus"\n'
    (review_case.project / "autolabel.toml").write_text(toml)
    desk.answer(kind, "pose-0", nose(30.0), nose(30.2), minute=1)
    (standing,) = read_corrections(desk.pull().corrections, 17)
    assert (standing.by == "annotator-0, annotator-1") == made
    assert made or standing.by == "annotator-1"


@pytest.mark.parametrize(("second", "told"), [("keypoint", 0), ("random", 1)])
def test_a_second_look_that_was_asked_for_is_no_conflict(review_case: Any, second: str, told: int) -> None:
    desk = Desk(review_case, {"pose": "pose-0"}, {"pose": "pose-0", "kind": second})
    for minute, kind in enumerate(("review", second), start=1):
        desk.answer(kind, "pose-0", nose(2.0 + minute), minute=minute)
    assert desk.pull().notices == told


def test_what_cannot_be_used_is_no_check(review_case: Any) -> None:
    desk = Desk(review_case, QUEUED, AUDIT)
    desk.answer("planted", "plant-1", list.clear)
    desk.answer("audit", "pose-0", list.clear, nose(3.0))
    result = desk.pull()
    assert (result.answered, result.checks, result.notices) == (1, 0, 2)


def test_an_unsure_answer_is_kept_as_it_is(review_case: Any) -> None:
    verdict = {"id": "v", "type": "choices", "from_name": "verdict", "to_name": "image"}
    desk = Desk(review_case, QUEUED)
    desk.answer("planted", "plant-1", lambda items: items.append({**verdict, "value": {"choices": ["needs expert"]}}))
    (check,) = checks(desk.pull())
    assert check.state is State.EXPERT


def test_whole_images_are_counted_and_laid_over_nothing(review_case: Any) -> None:
    def drop(items: Items) -> None:
        del items[0]

    box = {"id": "b", "type": "rectanglelabels", "from_name": "box", "to_name": "image"}
    desk = Desk(review_case, whole(1))
    value = {"x": 1, "y": 2, "width": 3, "height": 4, "rectanglelabels": ["box"]}
    desk.answer("image", "", lambda items: items.append({**box, "value": value}), drop, list.clear)
    result = desk.pull()
    assert (result.answered, result.checks, result.images, result.notices, result.open) == (0, 0, 2, 1, 0)
    found = [json.loads(line) for line in (result.manifest.path / "images.jsonl").read_text().splitlines()]
    assert [(line["sample"], line["missed"], len(line["nobody"]), line["by"]) for line in found] == [
        (["s1", "images", "1.png"], 1, 0, "annotator-0"),
        (["s1", "images", "1.png"], 0, 1, "annotator-1"),
    ]
    assert poses(result) == []
    assert result.summary()["images"] == 2


def test_nothing_to_check_leaves_empty_files(review_case: Any) -> None:
    desk = Desk(review_case, {"pose": "pose-0"})
    result = desk.pull()
    assert [(result.manifest.path / name).read_text() for name in ("checks.jsonl", "images.jsonl")] == ["", ""]


def test_a_given_box_of_a_whole_image_that_was_moved_is_told(review_case: Any) -> None:
    """Whoever begins to draw inside a box moves it, and the person who was missed is lost."""
    (sample, *_) = review_case.samples(review_case.model)
    desk = Desk(review_case, {"pose": "", "kind": "image", "image": list(sample.key)})

    def push_aside(items: Items) -> None:
        items[0]["value"]["x"] += 5.0

    desk.answer("image", "", lambda items: None, push_aside)
    result = desk.pull()
    (notice,) = [json.loads(line) for line in (result.manifest.path / "notices.jsonl").read_text().splitlines()]
    assert "1 given box was moved" in notice["what"]
    assert notice["by"] == "annotator-1"
