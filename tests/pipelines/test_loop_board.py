"""`loop status`: every step with its state, what it cost, what is foretold, and who is at work."""

import json
from pathlib import Path
from typing import Any

import pytest

from autolabel.progress import SILENT
from autolabel.project import Corpus, Project, Rounds
from pipelines import loop
from pipelines.loop_board import Board, board
from pipelines.loop_hold import held
from pipelines.loop_state import Loop
from pipelines.simulated_reviewer import SimulatedReviewer

WAITS = "reviewers: 3 of 4 tasks have no answer. Import x into Label Studio, and so on"
FIRST = ("00/model/done.json", "00/predicted/manifest.json", "00/scored/manifest.json", "00/round.json")
SECOND = ("01/routing/routing.json", "01/closed.json", "01/predicted/manifest.json", "01/round.json")


def looked_at(project: Path, *files: str, waits_for: str = "") -> Board:
    for name in files:
        file = project / "rounds" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{"digest": "d", "forecast": {"words": "The next 4 reviews should find 2"}}')
    settings = Project(name="p", corpus=Corpus(images="images"), rounds=Rounds(count=2))
    return board(Loop(project, settings, None, None, SILENT), waits_for, None)


@pytest.mark.parametrize(
    ("files", "waits_for", "expected"),
    [
        ((), "", ["next train", "later", "later", "later", "later"]),
        (FIRST[:1], "", ["next predict", "later", "later", "later", "later"]),
        (FIRST[1:3], "", ["next measure", "later", "later", "later", "later"]),  # with weights, nothing is trained
        (FIRST, "", ["done", "next route", "later", "later", "later"]),
        (
            (*FIRST, *SECOND[:1]),
            WAITS,
            ["done", "waiting reviewers: 3 of 4 tasks have no answer", "later", "later", "later"],
        ),
        ((*FIRST, *SECOND[:1]), "", ["done", "next review", "later", "later", "later"]),
        ((*FIRST, *SECOND[:2]), WAITS, ["done", "next fine-tune", "later", "later", "later"]),
        ((*FIRST, *SECOND[:3]), "", ["done", "next merge", "later", "later", "later"]),  # the last network stayed
        ((*FIRST, *SECOND), "", ["done", "done", "next route", "later", "later"]),
        ((*FIRST, *SECOND, "../audit/routing/routing.json"), "", ["done", "done", "skipped", "next review", "later"]),
        (
            SECOND,
            "",
            ["missing a later round is there: see `autolabel loop run`", "done", "next route", "later", "later"],
        ),
        ((*FIRST, *SECOND, "01.kept/round.json"), "", ["done", "done", "next route", "later", "later"]),
        (
            (*FIRST, *SECOND, "02/round.json", "../audit/audit.json", "../dataset/manifest.json", "../coco.json"),
            "",
            ["done"] * 5,
        ),
    ],
)
def test_the_first_step_that_is_not_done_is_at_hand(
    tmp_path: Path, files: tuple[str, ...], waits_for: str, expected: list[str]
) -> None:
    told = looked_at(tmp_path, *files, waits_for=waits_for)
    assert [step.name for step in told.steps] == ["round 0", "round 1", "round 2", "audit", "dataset"]
    assert [f"{step.state} {step.what}".rstrip() for step in told.steps] == expected


def test_the_forecast_is_that_of_the_round_under_way(tmp_path: Path) -> None:
    assert looked_at(tmp_path, *FIRST).forecast == ""
    told = looked_at(tmp_path, *SECOND[:1], waits_for=WAITS)
    assert told.forecast == "The next 4 reviews should find 2"
    assert "forecast: The next 4 reviews should find 2" in told.table()
    assert looked_at(tmp_path, SECOND[1]).forecast == "", "its review is over"


def test_machine_time_is_summed_by_what_was_done(tmp_path: Path) -> None:
    for n, seconds in enumerate(({"train": 90.0, "predict": 5.0}, {"predict": 7.0, "review": 1.0})):
        here = tmp_path / "rounds" / f"{n:02d}"
        here.mkdir(parents=True)
        (here / "seconds.json").write_text(json.dumps(seconds))
    told = looked_at(tmp_path)
    assert told.total.machine == {"train": 90.0, "predict": 12.0, "review": 1.0}
    assert [step.cost.machine for step in told.steps[:2]] == [
        {"train": 90.0, "predict": 5.0},
        {"predict": 7.0, "review": 1.0},
    ]
    assert "machine: train 1:30, predict 12 s, review 1 s" in told.table()


def test_status_counts_what_people_did_step_by_step(drawn_case: Any, tiny_weights: Path) -> None:
    project = drawn_case.project("board", rounds={"count": 1}, network={"weights": str(tiny_weights)})
    loop.run(project)
    before = loop.status(project)
    assert before.board is not None
    assert [step.state for step in before.board.steps] == ["done", "waiting", "later", "later"]
    assert before.board.total.openings == 0
    with held(project):
        at_work = loop.status(project)
        assert at_work.board is not None and at_work.board.at_work.startswith("process ")
        assert "\nat work: process " in at_work.table()

    result = loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0))
    after = loop.status(project)
    assert after.board is not None
    openings = [step.cost.openings for step in after.board.steps]
    assert openings == [0, 4, result.effort.poses_opened - 4, 0]
    total = after.board.total
    assert (total.openings, total.clicks) == (result.effort.poses_opened, result.effort.clicks)
    assert total.timed == total.openings and total.seconds >= 3 * total.openings
    assert {"predict", "review", "score"} <= set(total.machine)
    assert after.certificate is not None
    assert after.board.claim.startswith(after.certificate.claim.rstrip("."))

    table, summary = after.table(), after.summary()
    assert len(table.splitlines()) < 24, "one screen"
    assert table.splitlines()[0] == f"{project}: done"
    assert set(result.summary()) < set(summary), "what was there stays"
    assert json.loads(json.dumps(summary, default=str))["steps"][1]["openings"] == 4
