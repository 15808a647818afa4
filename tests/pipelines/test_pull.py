"""Pulling: what comes back, what is left alone, and that nothing counts twice or vanishes."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ExistsError, FormatError, InputError
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import read_task_map
from autolabel.manifest import Manifest
from autolabel.merge import read_corrections
from autolabel.poses import Origin, Poses, Visibility
from autolabel.skeleton import Skeleton
from pipelines.pull import PullResult, pull
from pipelines.push import push

SKELETON = Skeleton.load("coco17")
NOSE = SKELETON.index("nose")


class Desk:
    """A reviewer's desk: answers tasks by hand and puts exports into the project."""

    def __init__(self, review_case: Any, *entries: dict[str, Any], **routing: Any) -> None:
        self.case = review_case
        self.folder = ReviewFolder(push(review_case.route(*entries, **routing), project=review_case.project).folder)
        self.records = read_task_map(self.folder.taskmap)
        tasks = [task for file in self.folder.task_files() for task in json.loads(file.read_text())]
        self.tasks = {self.records[t["data"]["task_key"]].pose: t for t in tasks}

    def answer(
        self,
        pose: str,
        act: Callable[[list[dict[str, Any]]], Any] = lambda items: None,
        *,
        minute: int = 0,
        number: int = 1,
        by: int = 1,
        **changes: Any,
    ) -> dict[str, Any]:
        """The exported task of a pose, with what ``act`` did to the pre-filled items."""
        task = copy.deepcopy(self.tasks[pose])
        items = task.pop("predictions")[0]["result"]
        act(items)
        annotation = {
            "id": number,
            "unique_id": f"{pose}-{number}",
            "completed_by": by,
            "result": items,
            "was_cancelled": False,
            "updated_at": f"2026-11-22T20:{minute:02}:00.123456Z",
            "lead_time": 7.25,
        }
        return {**task, "id": 1, "annotations": [{**annotation, **changes}]}

    def export(self, *tasks: dict[str, Any], name: str = "project-1.json") -> None:
        (self.folder.exports / name).write_text(json.dumps(tasks))

    def pull(self, out: str = "answers", **options: Any) -> PullResult:
        return pull(project=self.case.project, out=self.case.folder / out, **options)


@pytest.fixture
def desk(review_case: Any) -> Desk:
    return Desk(review_case)


def poses_of(manifest: Manifest) -> dict[str, Any]:
    poses = Poses.concat([sample.poses for sample in manifest])
    return {pose: poses[i] for i, pose in enumerate(poses.id)}


def notices(result: PullResult) -> list[dict[str, str]]:
    return [json.loads(line) for line in (result.manifest.path / "notices.jsonl").read_text().splitlines()]


def move_nose(items: list[dict[str, Any]]) -> None:
    (nose,) = [item for item in items if item["value"].get("keypointlabels") == ["nose"]]
    for item in items:
        if item["id"] == nose["id"]:
            item["value"]["x"] = 25.0


def verdict(value: str) -> Callable[[list[dict[str, Any]]], None]:
    item = {"id": "v", "type": "choices", "from_name": "verdict", "to_name": "image", "value": {"choices": [value]}}
    return lambda items: items.append(item)


def test_answers_become_a_manifest_and_corrections(desk: Desk) -> None:
    desk.export(desk.answer("pose-1", move_nose), desk.answer("pose-4"))
    result = desk.pull()
    assert (result.new, result.answered, result.open, result.unknown, result.notices) == (2, 2, 4, 0, 0)
    poses = poses_of(result.manifest)
    assert set(poses) == {"pose-1", "pose-4"}
    sent = desk.case.model
    assert np.array_equal(poses["pose-4"].xy, sent.xy[4])
    assert np.array_equal(poses["pose-1"].xy[1:], sent.xy[1, 1:])
    assert poses["pose-1"].origin.tolist() == [Origin.HUMAN] + [Origin.MODEL] * 16
    frame = next(record.frame for record in desk.records.values() if record.pose == "pose-1")
    assert poses["pose-1"].xy[NOSE, 0] == pytest.approx(frame.origin[0] + frame.size[0] / 4 - 0.5, abs=1e-4)
    assert {pose.attributes["state"] for pose in poses.values()} == {"reviewed"}
    assert {pose.by for pose in poses.values()} == {"annotator-1"}
    assert poses["pose-4"].visibility.tolist() == [2] * 15 + [Visibility.HIDDEN, Visibility.ABSENT]
    corrections = read_corrections(result.corrections, 17)
    assert {c.pose: (c.clicks, c.seconds) for c in corrections} == {"pose-1": (2, 7.25), "pose-4": (1, 7.25)}
    assert result.summary()["answered"] == 2


def test_the_same_export_pulled_twice_changes_nothing(desk: Desk) -> None:
    desk.export(desk.answer("pose-1", move_nose), desk.answer("pose-4"))
    first = desk.pull()
    journal = desk.folder.journal.read_bytes()
    second = desk.pull()
    assert (second.new, second.manifest.digest) == (0, first.manifest.digest)
    desk.export(desk.answer("pose-4"), name="project-1-again.json")
    third = desk.pull("elsewhere")
    assert third.new == 0
    assert third.manifest.digest == first.manifest.digest
    assert (third.corrections.read_bytes(), desk.folder.journal.read_bytes()) == (
        first.corrections.read_bytes(),
        journal,
    )


def test_what_was_pulled_stays_when_the_exports_are_gone(desk: Desk) -> None:
    desk.export(desk.answer("pose-1", move_nose))
    first = desk.pull()
    (desk.folder.exports / "project-1.json").unlink()
    assert desk.pull("later").manifest.digest == first.manifest.digest


def test_more_answers_need_another_place_or_overwriting(desk: Desk) -> None:
    desk.export(desk.answer("pose-1"))
    desk.pull()
    desk.export(desk.answer("pose-2"), name="project-2.json")
    with pytest.raises(ExistsError):
        desk.pull()
    result = desk.pull(overwrite=True)
    assert (result.new, result.answered) == (0, 2), "the journal had taken it when the place was refused"


def test_a_changed_answer_replaces_the_old_one(desk: Desk) -> None:
    desk.export(desk.answer("pose-1", minute=1))
    desk.pull()
    desk.export(desk.answer("pose-1", move_nose, minute=2))
    result = desk.pull(overwrite=True)
    assert result.new == 1
    assert poses_of(result.manifest)["pose-1"].origin[NOSE] == Origin.HUMAN
    assert result.notices == 0
    assert len(desk.folder.journal.read_text().splitlines()) == 2


def test_of_two_answers_the_last_wins_and_it_is_reported(desk: Desk) -> None:
    early = desk.answer("pose-1", move_nose, minute=1, number=1, by=1)
    late = desk.answer("pose-1", minute=2, number=2, by=2)
    desk.export({**early, "annotations": [*late["annotations"], *early["annotations"]]})
    result = desk.pull()
    assert poses_of(result.manifest)["pose-1"].by == "annotator-2"
    (notice,) = notices(result)
    assert notice["pose"] == "pose-1"
    assert "answered 2 times, last taken" in notice["what"]
    assert "annotator-1 at 2026-11-22T20:01" in notice["what"]


@pytest.mark.parametrize("act", [lambda items: None, move_nose])
def test_a_skip_is_void(desk: Desk, act: Callable[[list[dict[str, Any]]], None]) -> None:
    desk.export(desk.answer("pose-1", act, was_cancelled=True))
    result = desk.pull()
    assert (result.new, result.answered, result.open) == (1, 0, 6)
    assert result.manifest.counts == {"samples": 0, "poses": 0}


def test_an_empty_submit_is_void_and_said_aloud(desk: Desk) -> None:
    desk.export(desk.answer("pose-1", list.clear))
    result = desk.pull()
    assert result.answered == 0
    assert "submitted empty" in notices(result)[0]["what"]


def test_swapped_sides(desk: Desk) -> None:
    desk.export(desk.answer("pose-2", verdict("left and right swapped")))
    pose = poses_of(desk.pull().manifest)["pose-2"]
    assert np.array_equal(pose.xy, desk.case.model.xy[2][list(SKELETON.flip)])
    assert pose.attributes["verdict"] == ["left and right swapped"]
    assert pose.attributes["state"] == "reviewed"


@pytest.mark.parametrize(
    ("said", "state"),
    [("person missing or wrong", "rejected"), ("reject image", "rejected"), ("needs expert", "expert")],
)
def test_verdicts(desk: Desk, said: str, state: str) -> None:
    desk.export(desk.answer("pose-2", verdict(said)))
    (sample,) = desk.pull().manifest
    assert sample.poses.attributes[0]["state"] == state
    assert sample.attributes == ({"state": "rejected"} if said == "reject image" else {})


def test_unknown_tasks_are_left_alone(desk: Desk) -> None:
    stranger = desk.answer("pose-1")
    stranger["data"]["task_key"] = "somebody-else's"
    bare = {"id": 5, "data": {"image": "x.jpg"}, "annotations": []}
    desk.export(stranger, bare, desk.answer("pose-0"))
    result = desk.pull()
    assert (result.unknown, result.answered) == (2, 1)


def test_a_malformed_export_takes_nothing(desk: Desk) -> None:
    desk.export(desk.answer("pose-0"), name="a.json")
    broken = desk.answer("pose-1")
    del broken["annotations"][0]["result"][0]["value"]["y"]
    desk.export(desk.answer("pose-2"), broken, name="b.json")
    with pytest.raises(FormatError, match=r"b\.json: tasks\[1\]\.annotations\[0\]\.result\[0\]\.value\.y: is missing"):
        desk.pull()
    assert not desk.folder.journal.exists()
    assert not (desk.case.folder / "answers").exists()


def test_answers_of_several_routings_come_together_and_the_last_wins(review_case: Any) -> None:
    first = Desk(review_case, {"pose": "pose-0"}, {"pose": "pose-1"})
    first.export(first.answer("pose-0", minute=1), first.answer("pose-1", minute=1), name="1.json")
    before = review_case.model.xy
    review_case.model = review_case.model.replace(xy=before + np.float32(1))  # predicted anew
    second = Desk(review_case, {"pose": "pose-1"}, {"pose": "pose-5"}, name="next", digest="cd" * 32)
    second.export(second.answer("pose-1", minute=2), second.answer("pose-5", minute=2), name="2.json")
    result = second.pull()
    poses = poses_of(result.manifest)
    assert set(poses) == {"pose-0", "pose-1", "pose-5"}
    assert [len(sample.poses) for sample in result.manifest] == [2, 1], "one image, one sample"
    assert np.array_equal(poses["pose-0"].xy, before[0])
    assert np.array_equal(poses["pose-1"].xy, review_case.model.xy[1])
    (notice,) = notices(result)
    assert "corrected twice" in notice["what"]


def test_a_blind_answer(review_case: Any) -> None:
    desk = Desk(review_case, {"pose": "pose-3", "blind": True})
    point = {"id": "n", "type": "keypointlabels", "from_name": "doubt", "to_name": "image"}
    desk.export(
        desk.answer(
            "pose-3", lambda items: items.append({**point, "value": {"x": 50, "y": 50, "keypointlabels": ["nose"]}})
        )
    )
    pose = poses_of(desk.pull().manifest)["pose-3"]
    assert pose.visibility.tolist() == [Visibility.VISIBLE] + [Visibility.ABSENT] * 16
    assert pose.origin[NOSE] == Origin.HUMAN


def test_a_project_without_tasks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="autolabel push"):
        pull(project=tmp_path, out=tmp_path / "answers")


def test_a_pull_killed_between_the_journal_and_the_manifest_goes_on(desk: Desk) -> None:
    desk.export(desk.answer("pose-1", move_nose))
    expected = desk.pull("undisturbed")
    with desk.folder.journal.open("a") as torn:
        torn.write('{"task": "half')
    result = desk.pull("again")
    assert result.manifest.digest == expected.manifest.digest
    unfinished = desk.case.folder / "again"
    (unfinished / "manifest.json").unlink()
    (unfinished / "corrections.jsonl").unlink()
    resumed = desk.pull("again")
    assert resumed.manifest.digest == expected.manifest.digest
    assert resumed.corrections.read_bytes() == expected.corrections.read_bytes()
