"""Pulling: what comes back, what is left alone, and that nothing counts twice or vanishes."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import AutolabelError, ExistsError, FormatError, InputError
from autolabel.labelstudio.access import save_token
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import read_task_map
from autolabel.manifest import Manifest
from autolabel.merge import read_corrections
from autolabel.poses import Origin, Poses, Visibility
from autolabel.skeleton import Skeleton
from pipelines.pull import PullResult, pull
from pipelines.push import push
from tests.doubles import Recorder
from tests.labelstudio_double import LEGACY, Said, serving

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
    with pytest.raises(ExistsError, match=r"another run.*--overwrite.*what was fetched is kept in the journal"):
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
    (person,) = desk.pull(overwrite=True).people
    assert (person.swapped, sum(person.keypoints.values()), person.pixels) == (1, 0, None)
    assert person.to_dict()["swapped"] == 1


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


def test_a_project_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nope: there is no such project folder.*autolabel init"):
        pull(project=tmp_path / "nope", out=tmp_path / "answers")


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


def test_a_second_pull_waits_for_no_file_of_ours(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        pull(project=tmp_path / "nowhere", out=tmp_path / "answers")
    assert not (tmp_path / "nowhere").exists(), "nothing is made where nothing was pushed"


def test_a_wrong_cursor_or_journal_is_named(desk: Desk) -> None:
    desk.export(desk.answer("pose-1"))
    desk.folder.journal.write_text('{"task": 5}\n')
    with pytest.raises(FormatError, match=r"journal\.jsonl: line 1"):
        desk.pull()


def test_a_bad_annotation_in_the_journal_is_set_aside_with_its_reason(desk: Desk) -> None:
    """As a server gives them; a file with such a one is refused whole."""
    desk.export(desk.answer("pose-1", move_nose), desk.answer("pose-2"))
    desk.pull("first")
    lines = [json.loads(line) for line in desk.folder.journal.read_text().splitlines()]
    lines[0]["result"][0]["value"]["x"] = "left"
    lines += [{**lines[1], "task": desk.tasks["pose-3"]["data"]["task_key"], "annotation": "x", "result": [5]}]
    lines += [{**lines[1], "task": desk.tasks["pose-4"]["data"]["task_key"], "annotation": "y", "fault": "is junk"}]
    lines += [
        {**lines[1], "annotation": "z", "result": [{"id": "a" * 9000, "type": "choices", "from_name": "verdict"}]}
    ]
    desk.folder.journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (desk.folder.exports / "project-1.json").unlink()
    result = desk.pull()
    assert list(poses_of(result.manifest)) == ["pose-2"]
    assert result.kinds == {"malformed, set aside": 4}
    told = {notice["pose"]: notice for notice in notices(result)}
    assert set(told) == {"pose-1", "pose-2", "pose-3", "pose-4"}
    assert all(notice["what"].startswith("not used: ") and len(notice["what"]) < 450 for notice in told.values())
    assert told["pose-1"]["by"] == "annotator-1"


def make_rule(desk: Desk, rule: str) -> None:
    toml = f'name = "x"\n[corpus]\nimages = "../images"\n[labelstudio]\nrule = "{rule}"\n'
    (desk.case.project / "autolabel.toml").write_text(toml)


def test_the_consensus_of_several_answers(desk: Desk) -> None:
    make_rule(desk, "consensus")

    def at(x: float) -> Callable[[list[dict[str, Any]]], None]:
        def act(items: list[dict[str, Any]]) -> None:
            move_nose(items)
            for item in items:
                if item["value"].get("x") == 25.0:
                    item["value"]["x"] = x

        return act

    answers = [desk.answer("pose-1", at(x), minute=i, number=i, by=i) for i, x in enumerate((30, 30.5, 90), start=1)]
    desk.export({**answers[0], "annotations": [a for task in answers for a in task["annotations"]]})
    result = desk.pull()
    pose = poses_of(result.manifest)["pose-1"]
    frame = next(record.frame for record in desk.records.values() if record.pose == "pose-1")
    assert pose.xy[NOSE, 0] < frame.origin[0] + 0.31 * frame.size[0]
    assert (pose.by, pose.attributes["state"]) == ("annotator-1, annotator-2, annotator-3", "reviewed")
    (notice,) = notices(result)
    assert "consensus taken, OKS between them 0.9" in notice["what"]
    assert [person.answers for person in result.people] == [1, 1, 1]
    make_rule(desk, "latest")
    with pytest.raises(ExistsError):
        desk.pull()


def test_two_who_differ_send_a_pose_to_an_expert_and_it_is_told(desk: Desk) -> None:
    make_rule(desk, "consensus")
    answers = [desk.answer("pose-1", act, minute=i, number=i, by=i) for i, act in enumerate((move_nose, len))]
    desk.export({**answers[0], "annotations": [a for task in answers for a in task["annotations"]]})
    result = desk.pull()
    assert poses_of(result.manifest)["pose-1"].attributes["state"] == "expert"
    assert result.kinds == {"people disagree": 1}
    assert "disputed: nose" in notices(result)[0]["what"]


def test_what_is_said_aloud_is_short(desk: Desk) -> None:
    empty = [desk.answer(f"pose-{i % 6}", list.clear, number=i, by=i) for i in range(30)]
    desk.export(*empty)
    notes = Recorder()
    result = desk.pull(progress=notes)
    assert result.notices == 30
    assert len([note for note in notes.notes if "submitted empty" in note]) == 20
    assert any("and 10 more: see" in note for note in notes.notes)


def test_a_project_with_a_server_that_has_nothing_of_it_yet(desk: Desk) -> None:
    toml = 'name = "x"\n[corpus]\nimages = "../images"\n[labelstudio]\nurl = "http://127.0.0.1:9"\n'
    (desk.case.project / "autolabel.toml").write_text(toml)
    save_token(desk.case.project, "0" * 40)
    desk.export(desk.answer("pose-1"))
    notes = Recorder()
    assert desk.pull(progress=notes).answered == 1
    assert any("nothing was pushed to http://127.0.0.1:9 yet" in note for note in notes.notes)


def test_a_server_that_is_waited_for_is_told(desk: Desk) -> None:
    save_token(desk.case.project, LEGACY)
    notes, busy = Recorder(), Said(429, {}, {"Retry-After": "0"})
    with serving(busy, Said(403)) as double:
        toml = f'name = "x"\n[corpus]\nimages = "../images"\n[labelstudio]\nurl = "{double.url}"\nproject = 3\n'
        (desk.case.project / "autolabel.toml").write_text(toml)
        with pytest.raises(AutolabelError):
            desk.pull(progress=notes)
    assert "Label Studio does not answer (429): waiting 0 s, try 2 of 5" in notes.notes


def test_a_server_that_is_not_there_takes_nothing_of_the_exports_away(desk: Desk) -> None:
    toml = 'name = "x"\n[corpus]\nimages = "../images"\n[labelstudio]\nurl = "http://127.0.0.1:9"\nproject = 3\n'
    desk.export(desk.answer("pose-1"))
    (desk.case.project / "autolabel.toml").write_text(toml)
    save_token(desk.case.project, "0" * 40)
    with pytest.raises(AutolabelError, match=r"127\.0\.0\.1:9"):
        desk.pull()
    (desk.case.project / "autolabel.toml").write_text(toml.replace("project = 3", ""))
    assert desk.pull().answered == 1
