"""Two simulated people with known faults, measured from what they left in a project's exports."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import ConfigError, ExistsError, InputError
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.manifest import Manifest
from autolabel.reviewer_quality import Share
from autolabel.skeleton import Skeleton
from pipelines.cli import main
from pipelines.pull import pull
from pipelines.push import push
from pipelines.reviewers import ReviewersResult, reviewers
from tests.pipelines.plants import QUEUED, checked, plant
from tests.pipelines.two_people import answer

ANN, BOB = "person-1@example.org", "person-2@example.org"
BLIND = [{"pose": f"pose-{i}", "kind": "blind", "blind": True} for i in range(6)]
AUDIT = [{"pose": f"pose-{i}", "kind": "audit"} for i in range(6)]


def measured(case: Any, people: list[dict[str, Any]], out: str = "reviewers") -> ReviewersResult:
    """A project with a plant, six audited poses and the same six blind, answered by these people."""
    routing = case.route(QUEUED, *AUDIT, *BLIND)
    plant(case, routing)
    push(routing, project=case.project)
    truth = [case.write("truth", case.truth), checked(case)]
    for i, ways in enumerate(people, start=1):
        answer(case.project, truth, i, seed=i, **ways)
    pull(project=case.project, out=case.folder / "answers")
    return reviewers(project=case.project, out=case.folder / out)


def test_a_careful_and_a_careless_person_are_told_apart(review_case: Any) -> None:
    result = measured(review_case, [{}, {"overlook": 1.0}])
    ann, bob = result.report.people
    assert (ann.name, bob.name) == (ANN, BOB)
    assert (ann.caught, bob.caught) == (Share(1, 1), Share(0, 1))
    assert (ann.answers, bob.answers) == (13, 13)
    # Pose 1 has two gross keypoints and pose 2 is mirrored; blind, both see it.
    assert (ann.anchoring.poses, ann.anchoring.blind_bad, ann.anchoring.both) == (6, 2, 2)
    assert bob.anchoring.overlooked == Share(2, 2)
    assert bob.anchoring.keypoints.value == 1.0
    assert bob.kept == Share(6, 6)
    assert result.report.together.caught == Share(1, 2)
    assert ann.blind_seconds is not None
    assert ann.seconds is not None
    assert ann.blind_seconds > ann.seconds
    assert (ann.blind_agreement.pairs, ann.shown_agreement.pairs) == (6, 7)


def test_a_box_that_is_asked_about_without_keypoints_is_placed_from_nothing(review_case: Any) -> None:
    """A manifest of boxes makes tasks of kind review that are blind: nobody was persuaded, and nothing was kept."""
    bare = review_case.model.replace(
        xy=np.full_like(review_case.model.xy, np.nan), visibility=np.zeros_like(review_case.model.visibility)
    )
    push(review_case.write("boxes", bare).path, project=review_case.project)
    for person in (1, 2):
        answer(review_case.project, review_case.write("truth", review_case.truth), person, seed=person, noise=1.0)
    pull(project=review_case.project, out=review_case.folder / "answers")
    report = reviewers(project=review_case.project, out=review_case.folder / "reviewers").report
    assert report.together.kept == Share(0, 0)
    assert (report.together.blind_agreement.pairs, report.together.shown_agreement.pairs) == (6, 0)
    assert (report.together.seconds, report.together.blind_seconds is None) == (None, False)
    assert report.sigmas[0].n == 6


def test_sigmas_of_blind_double_labels_are_those_of_the_noise(review_case: Any) -> None:
    result = measured(review_case, [{"noise": 1.0}] * 9)
    skeleton = Skeleton.load("coco17")
    found = np.array([s.value for s in result.report.sigmas[:15]])
    assert found == pytest.approx(np.array(skeleton.sigmas[:15]), rel=0.35)
    assert np.mean(found / skeleton.sigmas[:15]) == pytest.approx(1.0, abs=0.08)
    assert all(s.source == "blind" for s in result.report.sigmas[:15])
    assert result.skeleton is not None
    written = Skeleton.load(result.skeleton)
    assert written.fingerprint == skeleton.fingerprint
    assert "by 9 people, until 2026-01-01" in written.sigma_source
    assert ANN not in result.skeleton.read_text()
    assert "autolabel map" in result.table()


def test_the_files_say_what_the_table_does(review_case: Any) -> None:
    result = measured(review_case, [{}, {"overlook": 1.0}])
    numbers = json.loads((result.path / "reviewers.json").read_text())
    assert [person["name"] for person in numbers["people"]] == [ANN, BOB]
    assert numbers["people"][0]["caught"]["share"] == 1.0
    assert len(numbers["sigmas"]) == len(numbers["distances"]) == 17
    with Image.open(result.path / "reviewers.png") as picture:
        assert picture.size[0] > 1000
    assert result.skeleton is None, "two people on six poses are too few"
    assert not (result.path / "skeleton.json").exists()
    for word in (
        ANN,
        BOB,
        "together",
        "0 of 1",
        "2 are bad by the blind answers and 0 by the others",
        "nose",
        "too few",
    ):
        assert word in result.table()


def test_the_same_answers_again_change_nothing_and_others_need_overwriting(review_case: Any) -> None:
    first = measured(review_case, [{}])
    before = {file: file.stat().st_mtime_ns for file in first.path.iterdir() if file.suffix in (".json", ".png")}
    again = reviewers(project=review_case.project, out=first.path)
    assert again.report.to_dict() == first.report.to_dict()
    assert {file: file.stat().st_mtime_ns for file in before} == before
    answer(review_case.project, [Manifest.open(review_case.folder / name) for name in ("truth", "checked")], 2, seed=2)
    pull(project=review_case.project, out=review_case.folder / "answers", overwrite=True)
    with pytest.raises(ExistsError):
        reviewers(project=review_case.project, out=first.path)
    assert len(reviewers(project=review_case.project, out=first.path, overwrite=True).report.people) == 2


def test_one_person_without_plants_is_told_what_is_not_known(review_case: Any) -> None:
    push(review_case.route(), project=review_case.project)
    answer(review_case.project, review_case.write("truth", review_case.truth), 1, seed=1)
    pull(project=review_case.project, out=review_case.folder / "answers")
    result = reviewers(project=review_case.project, out=review_case.folder / "reviewers")
    remarks = result.summary()["remarks"]
    assert isinstance(remarks, list)
    assert len(remarks) == 3
    assert all("not known" in remark for remark in remarks)


@pytest.mark.parametrize("pushed", [False, True])
def test_nothing_to_measure(pushed: bool, review_case: Any) -> None:
    if pushed:
        push(review_case.route(), project=review_case.project)
    with pytest.raises(InputError):
        reviewers(project=review_case.project, out=review_case.folder / "reviewers")
    assert not (review_case.folder / "reviewers").exists()


def test_a_project_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope: there is no such project folder.*autolabel init"):
        reviewers(project=tmp_path / "nope", out=tmp_path / "reviewers")


def test_the_command_shows_the_table(review_case: Any, capsys: pytest.CaptureFixture[str]) -> None:
    measured(review_case, [{}])
    arguments = ["reviewers", "--project", str(review_case.project), "--out", str(review_case.folder / "other")]
    for more, word in (([], "planted errors found"), (["--json"], '"people"')):
        with pytest.raises(SystemExit) as left:
            main([*arguments, *more])
        assert left.value.code == 0
        assert word in capsys.readouterr().out


def test_nothing_of_a_person_reaches_what_is_sent(review_case: Any) -> None:
    measured(review_case, [{}])
    folder = ReviewFolder.of(review_case.project)
    sent: list[Path] = [*folder.task_files(), folder.form]
    assert all(b"@" not in file.read_bytes() for file in sent)
