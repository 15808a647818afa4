"""A small finished project, measured from its files: what is told, what breaks one part alone, and old projects."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autolabel.manifest import Manifest
from autolabel.report.evidence import Evidence
from autolabel.report.gaps import gaps
from autolabel.report.rounds import read_rounds
from pipelines import loop
from pipelines.report import report
from pipelines.report_evidence import evidence
from pipelines.simulated_reviewer import SimulatedReviewer


@pytest.fixture(scope="module")
def finished(drawn_case: Any, tiny_weights: Path) -> Path:
    """One round of six tasks, half of them drawn at random, and an audit."""
    project = drawn_case.project(
        "told", rounds={"count": 1, "budget": 6}, network={"weights": str(tiny_weights)}, corpus={"base": "../labelled"}
    )
    tables = (project / "autolabel.toml").read_text()
    (project / "autolabel.toml").write_text(tables.replace('labelled = "../labelled"\n', ""))
    loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0))
    return project


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy beside the manifests that it names."""
    place = finished.parent / tmp_path.name
    shutil.copytree(finished, place)
    return place


def whole(project: Path) -> Evidence:
    return evidence(project, None, read_rounds(project)[-1].number)


def forget(project: Path, setting: str) -> None:
    file = project / "autolabel.toml"
    lines = [line for line in file.read_text().splitlines() if not line.startswith(f"{setting} = ")]
    assert len(lines) < len(file.read_text().splitlines())
    file.write_text("\n".join(lines) + "\n")


def test_networks_are_measured_on_the_test(finished: Path) -> None:
    told = whole(finished)
    (test,) = told.yardsticks
    people = {name: Manifest.open(finished.parent / name).counts["poses"] for name in ("test", "labelled")}
    assert (test.name, test.people, [r.round for r in test.readings]) == ("held-out test", people["test"], [0, 1])


def test_every_opening_is_counted_once(finished: Path) -> None:
    said = whole(finished).answered
    assert said is not None
    tasks = [json.loads(line) for line in (finished / "labelstudio" / "taskmap.jsonl").read_text().splitlines()]
    opened = {work.step: work.opened for work in said.work}
    assert opened["round 1"] == 6
    assert sum(opened.values()) == len(tasks)
    clicks = sum(work.clicks for work in said.work)
    assert clicks == loop.status(finished).effort.clicks
    assert all(work.timed == work.opened for work in said.work)
    alone = evidence(finished, 1, 1).answered
    assert alone is not None and [work.step for work in alone.work] == ["round 1"]


def test_the_datasets_states_and_the_speed_are_told(finished: Path) -> None:
    told = whole(finished)
    assert sum(told.states.values()) == Manifest.open(finished / "dataset").counts["poses"]
    assert told.states["review"] >= 6
    assert told.speed is not None
    images, seconds = told.speed
    assert images == 2 * len(Manifest.open(finished / "rounds" / "00" / "predicted")) and seconds > 0
    assert evidence(finished, 0, 0).states == {}


def test_every_round_and_the_project_have_a_page(finished: Path, tmp_path: Path) -> None:
    pages = [finished / "rounds" / "00", finished / "rounds" / "01", finished]
    first, second, project = ((page / "report.html").read_text(encoding="utf-8") for page in pages)
    assert "round 0</title>" in first and "round 1</title>" in second
    assert "Cost board" not in first and "No answer has come back yet" in first
    for words in ("Kinds of error, before and after", "Keypoint by keypoint", "Cost board", "What opening poses found"):
        assert words in second and words in project
    assert report(finished / "rounds" / "01", out=tmp_path / "again.html").path.read_text() == second


def test_a_report_that_was_not_written_is_written_by_the_next_run(project: Path, drawn_case: Any) -> None:
    (project / "rounds" / "00" / "report.html").unlink()
    kept = project / "rounds" / "01" / "report.html"
    kept.write_text("mine")
    loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0))
    assert (project / "rounds" / "00" / "report.html").stat().st_size > 50_000
    assert kept.read_text() == "mine"
    loop.report(project)
    assert kept.stat().st_size > 50_000


@pytest.mark.parametrize(
    ("spoil", "lost", "words"),
    [
        (lambda p: (p / "labelstudio" / "journal.jsonl").write_text("{]\n"), "People's answers", "journal"),
        (lambda p: (p / "rounds" / "01" / "calibrator.json").write_text("{}"), "Doubt of the held-out test", ""),
        (lambda p: (p / "rounds" / "01" / "test" / "manifest.json").write_text("{"), "held-out test", "test"),
        (lambda p: (p / "autolabel.toml").write_text("name = 3"), "measured from the project's files", "name"),
        (lambda p: (p / "autolabel.toml").unlink(), "measured from the project's files", "not there any more"),
    ],
)
def test_what_cannot_be_read_leaves_the_rest(
    project: Path, spoil: Callable[[Path], object], lost: str, words: str
) -> None:
    spoil(project)
    told = whole(project)
    reasons = {name: reason for name, reason in told.gaps if lost in name}
    assert reasons and all(words in reason for reason in reasons.values())
    assert report(project, overwrite=True).size > 50_000
    listed = dict(gap for block in gaps(read_rounds(project), None, told) for gap in block.gaps)
    assert reasons.items() <= listed.items(), "the reader is told"


def test_answers_beside_a_pre_label_measure_no_network(project: Path) -> None:
    """Joints that were left alone are the network's own: it would agree with itself to the bit."""
    forget(project, "test")
    told = whole(project)
    assert told.yardsticks == ()
    ((what, why),) = told.gaps
    assert what == "Learning on answers" and "0 were placed without one, and fewer than 30 tell nothing" in why
    assert all("random draws" in on for on, _ in told.doubt)
    report(project, overwrite=True)
    page = (project / "report.html").read_text(encoding="utf-8")
    assert "median error" not in page and "Kinds of error" not in page
    assert "corrected" in page and why[:50] in page


def test_a_project_before_any_answer_tells_its_first_network(project: Path) -> None:
    for gone in ("audit", "dataset", "labelstudio", "rounds/01"):
        shutil.rmtree(project / gone)
    told = whole(project)
    assert told.answered is None and told.gaps == ()
    assert [len(yardstick.readings) for yardstick in told.yardsticks] == [1]
