"""Pulling from a real Label Studio: what changed and no more, nothing twice, nothing lost, whatever happens between."""

import copy
import json
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.labelstudio.access import write_settings
from autolabel.labelstudio.exports import Annotation, standing
from autolabel.labelstudio.folder import ReviewFolder, read_lines
from autolabel.labelstudio.journal import Journal
from autolabel.labelstudio.tasks import read_task_map
from autolabel.merge import KeypointChange, State, read_corrections
from autolabel.poses import Origin, Poses
from autolabel.skeleton import Skeleton
from pipelines.pull import PullResult, pull
from tests.live.labelstudio_client import Server
from tests.live.test_push_server import Case, make_case, wait_for

pytestmark = [pytest.mark.live, pytest.mark.slow]

SKELETON = Skeleton.load("coco17")
NOSE = SKELETON.index("nose")
MANY = 120  # more than one page


class Desk:
    """A pushed project and the people who answer it."""

    def __init__(self, case: Case) -> None:
        self.case = case
        case.push()
        folder = ReviewFolder.of(case.project)
        self.poses = {record.pose: record for record in read_task_map(folder.taskmap).values()}
        self.shown = {task["data"]["task_key"]: task["predictions"][0]["result"] for task in case.written()}
        self.numbers = {task.key: task.id for task in case.client.task_list(case.number)}

    @property
    def journal(self) -> Journal:
        return Journal.read(ReviewFolder.of(self.case.project).journal)

    def result(self, pose: str, x: float | None = None) -> list[dict[str, Any]]:
        """The shown regions; with the nose moved to x percent where one is given."""
        items = copy.deepcopy(self.shown[self.poses[pose].task])
        nose = next(item["id"] for item in items if item["value"].get("keypointlabels") == ["nose"])
        for item in items:
            if x is not None and item["id"] == nose:
                item["value"]["x"] = x
        return items

    def answer(self, pose: str, x: float | None = None, result: Any = None, **fields: Any) -> int:
        result = self.result(pose, x) if result is None else result
        return self.case.client.annotate(self.numbers[self.poses[pose].task], result, lead_time=4.5, **fields)

    def pull(self, out: str = "answers", **options: Any) -> PullResult:
        return pull(project=self.case.project, out=self.case.folder / out, **{"overwrite": True, **options})

    def export(self, name: str) -> None:
        """The server's JSON export, as its menu gives it, put where pull looks."""
        content = self.case.server.call("GET", f"/api/projects/{self.case.number}/export?exportType=JSON")
        (ReviewFolder.of(self.case.project).exports / name).write_bytes(content)

    def use_server(self, yes: bool) -> None:
        write_settings(self.case.project, url=self.case.server.url if yes else "")


@pytest.fixture
def desk(server: Server, tmp_path: Path) -> Iterator[Desk]:
    case = make_case(tmp_path, server)
    try:
        yield Desk(case)
    finally:
        if case.number:
            case.client.delete_project(case.number)


def poses_of(result: PullResult) -> dict[str, Any]:
    poses = Poses.concat([sample.poses for sample in result.manifest])
    return {pose: poses[i] for i, pose in enumerate(poses.id)}


def live_answers(journal: Journal) -> list[Annotation]:
    return [annotation for answers in standing(journal.entries).values() for annotation in answers]


def test_every_pull_brings_what_is_new_and_only_that(desk: Desk) -> None:
    assert (desk.pull().new, desk.pull().open) == (0, 6)
    desk.answer("pose-0")
    desk.answer("pose-1", 44.0)
    first = desk.pull()
    assert (first.new, first.answered, first.open, first.notices) == (2, 2, 4, 0)
    mail = desk.case.client.who().email
    assert {pose.by for pose in poses_of(first).values()} == {mail}
    desk.answer("pose-2")
    second = desk.pull()
    assert (second.new, second.answered) == (1, 3)
    third = desk.pull("again")
    assert (third.new, third.manifest.digest) == (0, second.manifest.digest)
    assert desk.pull("all", full=True).manifest.digest == second.manifest.digest
    assert len(desk.journal.entries) == 3
    assert desk.case.server.token not in "".join(
        file.read_text(errors="replace")
        for folder in (first.manifest.path, ReviewFolder.of(desk.case.project).path)
        for file in folder.rglob("*")
        if file.is_file() and file.name != "token"
    )


def test_untouched_points_are_bit_equal_and_a_moved_one_is_told_with_its_distance(desk: Desk) -> None:
    sent = desk.pull("nothing").manifest
    desk.answer("pose-1", 44.0)
    result = desk.pull()
    (correction,) = read_corrections(result.corrections, 17)
    assert correction.keypoints == (KeypointChange.MOVED, *(KeypointChange.KEPT,) * 16)
    record = desk.poses["pose-1"]
    place = record.frame.origin[0] + 0.44 * record.frame.size[0] - 0.5
    assert correction.after.xy[NOSE, 0] == pytest.approx(place, abs=1e-4)
    assert np.array_equal(correction.after.xy[1:], correction.before.xy[1:])
    far = float(abs(correction.after.xy[NOSE, 0] - correction.before.xy[NOSE, 0]))
    assert correction.distance[0] == pytest.approx(far, abs=1e-6)
    line = json.loads(result.corrections.read_text())
    assert (line["by"], line["seconds"], line["task"]) == (correction.by, 4.5, record.task)
    assert line["distance"][:2] == [pytest.approx(far, abs=1e-4), 0.0]
    (person,) = result.people
    assert (person.answers, person.keypoints["moved"], person.keypoints["kept"]) == (1, 1, 16)
    assert person.pixels == pytest.approx(far, abs=1e-4)
    assert correction.by in result.told()
    assert len(sent) == 0


def test_an_edited_answer_replaces_the_old_one_and_a_deleted_one_is_gone(desk: Desk) -> None:
    number = desk.answer("pose-1")
    other = desk.answer("pose-2", 30.0)
    desk.pull()
    desk.case.client.update_annotation(number, result=desk.result("pose-1", 44.0))
    edited = desk.pull()
    assert (edited.new, edited.answered, edited.deleted, edited.notices) == (1, 2, 0, 0)
    assert poses_of(edited)["pose-1"].origin[NOSE] == Origin.HUMAN
    desk.case.client.delete_annotation(other)
    gone = desk.pull()
    assert (gone.new, gone.deleted, gone.answered, gone.open) == (0, 1, 1, 5)
    assert list(poses_of(gone)) == ["pose-1"]
    assert (desk.pull(full=True).deleted, desk.pull().answered) == (0, 1)


def test_a_skip_is_void_and_counted(desk: Desk) -> None:
    desk.answer("pose-1", 44.0, was_cancelled=True)
    result = desk.pull()
    assert (result.new, result.answered, result.open) == (1, 0, 6)
    assert [person.skipped for person in result.people] == [1]


def second_person(desk: Desk) -> int:
    """Another user of the server; gives the number."""
    people = {person.email: person.id for person in desk.case.client.users()}
    if "second@example.com" not in people:
        user = {"email": "second@example.com", "username": "second@example.com", "first_name": "S", "last_name": "T"}
        return desk.case.server.json("POST", "/api/users/", user)["id"]
    return people["second@example.com"]


def test_two_annotators(desk: Desk) -> None:
    other = second_person(desk)
    for pose, x, y in (("pose-0", 44.0, 44.2), ("pose-1", 30.0, 70.0)):
        desk.answer(pose, x)
        desk.answer(pose, y, completed_by=other)
    last = desk.pull()
    assert (last.answered, last.notices) == (2, 2)
    assert {pose.by for pose in poses_of(last).values()} == {"second@example.com"}
    assert {person.by for person in last.people} == {"second@example.com", desk.case.client.who().email}
    write_settings(desk.case.project, rule="consensus")
    both = poses_of(desk.pull())
    assert "second@example.com" in both["pose-0"].by and ", " in both["pose-0"].by
    assert both["pose-0"].attributes["state"] == State.REVIEWED
    assert both["pose-1"].attributes["state"] == State.EXPERT, "30 and 70 percent: nobody knows"


def test_an_answer_outlives_the_account_of_its_person(desk: Desk) -> None:
    person = desk.case.server.json("POST", "/api/users/", {"email": "gone@example.com", "username": "gone@example.com"})
    number = desk.answer("pose-1", 44.0, completed_by=person["id"])
    desk.pull()
    desk.case.server.call("DELETE", f"/api/users/{person['id']}/")
    again = desk.pull(full=True)
    assert (again.new, again.answered, again.notices) == (0, 1, 0)
    assert {pose.by for pose in poses_of(again).values()} == {"gone@example.com"}
    desk.case.client.delete_annotation(number)
    assert desk.pull().deleted == 1


def test_a_reworked_answer_is_signed_by_who_reworked_it(desk: Desk) -> None:
    number = desk.answer("pose-1", 44.0, completed_by=second_person(desk))
    assert {pose.by for pose in poses_of(desk.pull()).values()} == {"second@example.com"}
    time.sleep(1.1)  # sooner, it counts as sent on somebody's behalf
    desk.case.client.update_annotation(number, result=desk.result("pose-1", 55.0))
    result, me = desk.pull(), desk.case.client.who().email
    (correction,) = read_corrections(result.corrections, 17)
    assert correction.by == me
    assert [(entry.by, entry.first) for entry in desk.journal.entries] == [
        ("second@example.com", ""),
        (me, "second@example.com"),
    ]


def test_nothing_is_lost_when_the_server_s_clock_was_set_back(desk: Desk) -> None:
    desk.answer("pose-0")
    desk.pull()
    cursor = ReviewFolder.of(desk.case.project).path / "cursor.json"
    ahead = {**json.loads(cursor.read_text()), "updated_at": "2099-01-01T00:00:00Z"}
    cursor.write_text(json.dumps(ahead) + "\n")
    desk.answer("pose-1", 44.0)
    assert desk.pull().new == 1
    cursor.write_text(json.dumps({**ahead, "url": "http://other.example.com"}) + "\n")
    desk.answer("pose-2")
    assert desk.pull().new == 1
    assert json.loads(cursor.read_text())["url"] == desk.case.server.url


def test_one_bad_answer_stops_no_other(desk: Desk) -> None:
    desk.answer("pose-0", 44.0)
    broken = desk.result("pose-1")
    broken[0]["value"]["x"] = "left"
    desk.answer("pose-1", result=broken)
    desk.answer("pose-2", result=[{"id": 5, "value": [[[]]]}])
    desk.answer("pose-3", result=desk.result("pose-4"))
    far = desk.result("pose-5", 1e9)
    desk.answer("pose-5", result=far)
    result = desk.pull()
    assert list(poses_of(result)) == ["pose-0"]
    assert sum(result.kinds.values()) == result.notices == 4
    assert result.kinds["of another task, set aside"] == 1
    lines = [json.loads(line) for line in (result.manifest.path / "notices.jsonl").read_text().splitlines()]
    assert {line["pose"] for line in lines} == {"pose-1", "pose-2", "pose-3", "pose-5"}
    assert all(line["what"].startswith("not used: ") for line in lines)


def test_old_exports_and_the_server_tell_the_same_answers_once(desk: Desk) -> None:
    desk.answer("pose-0")
    number = desk.answer("pose-1", 44.0)
    desk.export("before.json")
    desk.use_server(False)
    by_file = desk.pull()
    desk.use_server(True)
    both = desk.pull()
    assert (by_file.answered, both.answered, both.notices) == (2, 2, 0)
    assert len(live_answers(desk.journal)) == 2
    desk.answer("pose-2")
    desk.case.client.update_annotation(number, result=desk.result("pose-1", 66.0))
    desk.export("after.json")
    late = desk.pull()
    assert (late.answered, late.notices, len(live_answers(desk.journal))) == (3, 0, 3)
    desk.case.client.delete_annotation(number)
    gone = desk.pull()
    assert (gone.deleted, gone.answered) == (1, 2), "though both exports still hold it"
    assert desk.pull().answered == 2


def test_answers_outlive_their_project(desk: Desk) -> None:
    desk.answer("pose-0")
    first = desk.pull()
    desk.case.client.delete_project(desk.case.number)
    with pytest.raises(InputError):
        desk.pull()
    write_settings(desk.case.project, project=0)
    desk.case.push()
    again = desk.pull(full=True)
    assert (again.deleted, again.manifest.digest) == (0, first.manifest.digest)


def test_a_project_that_was_not_pushed_to_the_server_yet(desk: Desk) -> None:
    number = desk.case.number
    write_settings(desk.case.project, project=0)
    assert desk.pull().new == 0
    write_settings(desk.case.project, project=number)


def test_killed_in_the_middle_nothing_is_lost_and_nothing_doubled(server: Server, tmp_path: Path) -> None:
    case = make_case(tmp_path, server, MANY)
    desk = Desk(case)
    for i in range(0, MANY, 2):
        desk.answer(f"pose-{i}", 20.0 + i / 2)
    expected = desk.pull("expected")
    folder = ReviewFolder.of(case.project)
    for file in (folder.journal, folder.path / "cursor.json"):
        file.unlink()
    rng, size = random.Random(3), 0
    for attempt in range(3):
        with case.command("pull", "--out", tmp_path / "killed", "--overwrite") as process:
            wait_for(lambda size=size: folder.journal.exists() and folder.journal.stat().st_size > size, process)
            time.sleep(rng.uniform(0, 0.3) if attempt else 0)
            process.kill()
            killed = process.wait() == -signal.SIGKILL
        if not attempt:
            assert killed
            assert 0 < len(list(read_lines(folder.journal))) < MANY // 2, "one page was read, and not the other"
        size = folder.journal.stat().st_size
        desk.answer(f"pose-{rng.randrange(1, MANY, 2)}")
    final = desk.pull("final")
    lines = folder.journal.read_bytes().splitlines()
    assert len(lines) == len(set(lines)) == len({entry.key for entry in desk.journal.entries})
    assert final.answered > expected.answered == MANY // 2
    shutil.copytree(case.project, tmp_path / "fresh", ignore=shutil.ignore_patterns("journal.jsonl", "cursor.json"))
    fresh = pull(project=tmp_path / "fresh", out=tmp_path / "anew")
    assert fresh.manifest.digest == final.manifest.digest
    case.client.delete_project(case.number)
