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
LABELLED = Corpus(images="images", labelled="labelled")


def looked_at(project: Path, *files: str, waits_for: str = "", corpus: Corpus = LABELLED) -> Board:
    for name in files:
        file = project / "rounds" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{"digest": "d", "forecast": {"words": "The next 4 reviews should find 2"}}')
    settings = Project(name="p", corpus=corpus, rounds=Rounds(count=2))
    return board(Loop(project, settings, None, None, SILENT), waits_for, None)


@pytest.mark.parametrize(
    ("files", "waits_for", "expected"),
    [
        ((), "", ["next train", "later", "later", "later", "later"]),
        (FIRST[:1], "", ["next predict", "later", "later", "later", "later"]),
        (FIRST[1:3], "", ["next lint", "later", "later", "later", "later"]),  # with weights, nothing is trained
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


def test_a_round_without_a_forecast_says_why(tmp_path: Path) -> None:
    file = tmp_path / "rounds" / SECOND[0]
    file.parent.mkdir(parents=True)
    file.write_text('{"digest": "d"}')
    told = looked_at(tmp_path, *FIRST, waits_for=WAITS)
    assert told.forecast == "none: too few checked poses so far to tell what a doubt is worth"


GATE = {"decision": "refused", "reason": "no better"}
LINT = {"poses": 9, "faulty": 2, "answered": 0, "answered_faulty": 0, "kinds": {"bone": 2}}
STOP = {"cause": "gain", "reason": "it pays no more"}


@pytest.mark.parametrize(
    ("records", "states", "gate", "lint", "stop"),
    [
        ([{}], ["done", "next", "later", "later", "later"], "", "", ""),  # a project of before
        ([{"gate": None, "lint": LINT, "stop": None}], ["done", "next", "later", "later", "later"], "", "2 of 9", ""),
        (
            [{}, {"gate": GATE}],
            ["done", "done new network refused", "next", "later", "later"],
            "the network of round 1 is refused: no better",
            "",
            "",
        ),
        (
            [{"lint": LINT}, {"gate": GATE, "stop": STOP}],
            ["done", "done new network refused", "skipped", "next", "later"],
            "the network of round 1 is refused: no better",
            "",
            "with round 1: it pays no more",
        ),
        (
            [{}, {"gate": GATE}, {"gate": None, "lint": LINT, "stop": {"cause": "count", "reason": "2 rounds"}}],
            ["done", "done new network refused", "done", "next", "later"],
            "the network of round 1 is refused: no better",
            "2 of 9",
            "with round 2: 2 rounds",
        ),
        (  # more rounds were asked for since
            [{}, {"stop": {"cause": "count", "reason": "1 round"}}],
            ["done", "done", "next", "later", "later"],
            "",
            "",
            "with round 1: 1 round",
        ),
    ],
)
def test_what_gates_lint_and_stops_said_is_told(
    tmp_path: Path, records: list[dict[str, Any]], states: list[str], gate: str, lint: str, stop: str
) -> None:
    for n, record in enumerate(records):
        file = tmp_path / "rounds" / f"{n:02d}" / "round.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(record))
    told = looked_at(tmp_path)
    shown = [f"{s.state} {s.what}".strip() if s.state == "done" else s.state for s in told.steps]
    assert shown == states
    assert (told.gate, told.stop) == (gate, stop)
    assert lint in told.lint and bool(lint) is bool(told.lint)
    for name, text in (("gate", gate), ("lint", told.lint), ("rounds ended", stop)):
        assert (f"\n{name}: {text}" in told.table()) is bool(text)
        assert told.to_dict()[name.replace("rounds ended", "stop")] == text


@pytest.mark.parametrize(
    ("files", "waits_for", "expected"),
    [
        ((), "", "next choose images"),
        (("00/cold/cold.json",), "", "next box people"),
        (
            ("00/cold/cold.json", "00/cold/routing/routing.json"),
            WAITS,
            "waiting reviewers: 3 of 4 tasks have no answer",
        ),
        (("00/cold/cold.json", "00/cold/routing/routing.json", "00/cold/closed.json"), "", "next label"),
        (("00/cold/closed.json", "00/routing/routing.json"), WAITS, "waiting reviewers: 3 of 4 tasks have no answer"),
        (("00/cold/closed.json", "00/routing/routing.json", "00/closed.json"), "", "next train"),
        (("00/cold/closed.json", "00/closed.json", *FIRST[:3]), "", "next lint"),
    ],
)
def test_a_cold_start_is_told_step_by_step(
    tmp_path: Path, files: tuple[str, ...], waits_for: str, expected: str
) -> None:
    told = looked_at(tmp_path, *files, waits_for=waits_for, corpus=Corpus(images="images"))
    assert f"{told.steps[0].state} {told.steps[0].what}" == expected


def test_nobody_is_boxed_where_boxes_are_given(tmp_path: Path) -> None:
    told = looked_at(tmp_path, "00/cold/cold.json", corpus=Corpus(images="images", boxes="boxes"))
    assert told.steps[0].what == "label"


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
