"""What is said of people, together and singly, and the distances between their points."""

import json

import pytest

from autolabel.reviewer_quality import Share, looks_of
from autolabel.reviewer_report import measure_reviewers, remarks
from tests.looks import STICK, K, look, sent_pose

FAR = {0: (90.0, 60.0), 1: (75.0, 30.0)}


def test_people_and_all_together() -> None:
    answers = [look("ann", FAR, planted=True, seconds=9.0), look("bob", planted=True), look("bob", seconds=2.0)]
    report = measure_reviewers(looks_of(answers, K), STICK)
    assert [person.name for person in report.people] == ["ann", "bob"]
    assert [person.caught for person in report.people] == [Share(1, 1), Share(0, 1)]
    assert report.together.caught == Share(1, 2)
    assert [person.kept for person in report.people] == [Share(0, 0), Share(1, 1)]
    assert [person.seconds for person in report.people] == [9.0, 3.5]
    json.dumps(report.to_dict(), allow_nan=False)


def test_distances_between_two_people() -> None:
    steps = (0.0, 3.0, 4.0)
    poses = [sent_pose(f"p{i}") for i in range(3)]
    moved = [look("ann", {0: (50.0 + step, 20.0)}, pose=pose) for step, pose in zip(steps, poses, strict=True)]
    report = measure_reviewers(looks_of([*moved, *(look("bob", pose=pose) for pose in poses)], K), STICK)
    top, left, _ = report.distances
    assert (top.pairs, top.median, top.relative) == (3, 3.0, pytest.approx(3 / 50))
    assert top.far == pytest.approx(3.8)
    assert (left.median, left.far) == (0.0, 0.0)


def test_a_rubber_stamp_is_named_and_a_careful_person_is_not() -> None:
    plants = [sent_pose(f"plant-{i}") for i in range(12)]
    answers = [look("bob", pose=pose, planted=True) for pose in plants]
    answers += [look("ann", FAR, pose=pose, planted=True) for pose in plants]
    answers += [look("bob", pose=sent_pose(f"p{i}")) for i in range(4)]
    told = remarks(measure_reviewers(looks_of(answers, K), STICK))
    assert [line for line in told if line.startswith("bob found 0 of 12 planted errors")]
    assert "100 % of the tasks were kept" in told[0]
    assert not [line for line in told if line.startswith("ann")]


def test_what_was_not_measured_is_said() -> None:
    report = measure_reviewers(looks_of([look("ann")], K), STICK)
    assert [line.split(":")[0] for line in remarks(report)] == [
        "No planted error was answered",
        "No pose was answered both blind and with its pre-label",
        "No task was answered by two people",
    ]
    assert (report.distances[0].pairs, report.distances[0].median) == (0, None)
