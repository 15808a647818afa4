"""The loop ends its rounds: at the budget of all rounds, where the next round buys too little, or with the last one."""

import json
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import FormatError
from autolabel.planner import Forecast, Range
from autolabel.progress import SILENT
from autolabel.project import Corpus, Project, Rounds
from autolabel.stop_rule import Cause
from pipelines import loop
from pipelines.loop_state import Loop
from pipelines.loop_stop import ended, note_stop, read_stop, round_budget, stop_before, stop_unsent
from pipelines.simulated_reviewer import SimulatedReviewer

SHARE = Range(0.1, 0.1, 0.1)
TEN_AN_HOUR = Forecast(
    4, 0, Range(1.0, 0.0, 3.0), SHARE, Range(360.0, 1.0, 999.0), SHARE, SHARE, SHARE, SHARE, 0.9, 1
).to_dict()


def record(project: Path, n: int, name: str = "round.json") -> dict[str, Any]:
    return json.loads((project / "rounds" / f"{n:02d}" / name).read_text())


def change(project: Path, old: str, new: str) -> None:
    file = project / "autolabel.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def opened(folder: Path, **rounds: Any) -> Loop:
    return Loop(folder, Project(name="p", corpus=Corpus(images="i"), rounds=Rounds(**rounds)), None, None, SILENT)


def write(file: Path, value: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))


@pytest.fixture(scope="module")
def spent(drawn_case: Any, tiny_weights: Path) -> tuple[Path, loop.LoopResult]:
    """Three rounds of four tasks were asked for, and six openings allowed."""
    rounds = {"count": 3, "budget": 4, "budget_total": 6}
    project = drawn_case.project("spent", rounds=rounds, network={"weights": str(tiny_weights)})
    return project, loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0))


def test_the_rounds_end_when_their_budget_is_spent_and_the_audit_follows(spent: tuple[Path, loop.LoopResult]) -> None:
    project, result = spent
    assert (result.state, result.rounds, result.planned) == ("done", 2, 3)
    assert [record(project, n)["effort"]["poses_opened"] for n in range(3)] == [0, 4, 6], "the last round is cut"
    assert [record(project, n).get("stop") for n in range(2)] == [None, None]
    assert record(project, 2)["stop"] == {
        "cause": "budget",
        "reason": "people opened 6 of 6 poses (rounds.budget_total)",
    }
    assert not (project / "rounds" / "03").exists(), "nothing is drawn for a round that there is no budget for"
    assert result.certificate is not None
    assert result.effort.poses_opened > 6, "the audit is not charged to the rounds"


def test_the_end_is_told(spent: tuple[Path, loop.LoopResult]) -> None:
    project, _ = spent
    told = "with round 2: people opened 6 of 6 poses (rounds.budget_total)"
    status = loop.status(project)
    assert status.board is not None
    assert [step.state for step in status.board.steps] == ["done", "done", "done", "skipped", "done", "done"]
    assert (status.board.stop, status.summary()["stop"]) == (told, told)
    assert f"rounds ended: {told}" in status.table()
    assert f"The rounds of review ended {told}." in (project / "dataset-card.md").read_text()


def test_once_the_audit_is_drawn_nothing_is_decided_anew(spent: tuple[Path, loop.LoopResult]) -> None:
    project, result = spent
    before = (project / "autolabel.toml").read_text()
    change(project, "budget_total = 6", "budget_total = 60")
    try:
        assert loop.run(project) == result
    finally:
        (project / "autolabel.toml").write_text(before)
    assert record(project, 2)["stop"]["cause"] == "budget"


def test_rounds_that_buy_too_little_are_not_sent_until_the_price_is_lowered(
    drawn_case: Any, tiny_weights: Path
) -> None:
    rounds = {"count": 1, "budget": 4, "least_gain": 1e6}
    project = drawn_case.project("dear", rounds=rounds, network={"weights": str(tiny_weights)})
    reviewer = SimulatedReviewer(drawn_case.truth, seed=0)
    loop.run(project, reviewer=reviewer, audit=False)
    assert record(project, 1)["stop"] == {"cause": "count", "reason": "1 round of review was asked for"}

    change(project, "count = 1", "count = 2")
    (project / "rounds" / "01" / "calibrator.json").write_text("{}")  # a forecast needs one, whatever is in it
    for _ in range(2):  # a killed loop decides the same
        assert loop.run(project, reviewer=reviewer, audit=False).rounds == 1
        assert record(project, 1)["stop"]["cause"] == "gain"
    assert "bad poses an hour, fewer than the 1e+06 of rounds.least_gain" in record(project, 1)["stop"]["reason"]
    drawn = record(project, 2, "routing/routing.json")
    assert drawn["forecast"]["reviews"] == 4
    assert not (project / "rounds" / "02" / "pulled").exists(), "its tasks were sent to nobody"
    assert [step.state for step in loop.status(project).board.steps] == ["done", "done", "skipped", "next", "later"]  # type: ignore[union-attr]

    change(project, "least_gain = 1000000.0", "least_gain = 0.5")
    (project / "rounds" / "01" / "calibrator.json").unlink()
    assert loop.run(project, reviewer=reviewer, audit=False).rounds == 2
    assert record(project, 2, "routing/routing.json") == drawn, "what was drawn once stays drawn"
    assert record(project, 1)["stop"] is None
    assert record(project, 2)["stop"]["cause"] == "count"


@pytest.mark.parametrize(
    ("n", "tasks", "forecast", "least", "cause"),
    [
        (1, 4, TEN_AN_HOUR, 99, None),  # the first round is always done
        (2, 4, TEN_AN_HOUR, 99, Cause.GAIN),
        (2, 4, TEN_AN_HOUR, 9, None),
        (2, 4, TEN_AN_HOUR, 0, None),
        (2, 4, None, 99, None),
        (2, 0, TEN_AN_HOUR, 0, Cause.NOTHING),
        (1, 0, None, 0, Cause.NOTHING),
    ],
)
def test_a_routed_round_is_sent_or_not(
    tmp_path: Path, n: int, tasks: int, forecast: object, least: float, cause: Cause | None
) -> None:
    here = opened(tmp_path, least_gain=least)
    told = {"digest": "d", **({"forecast": forecast} if forecast else {})}
    write(tmp_path / "rounds" / f"{n:02d}" / "routing" / "routing.json", told)
    stop = stop_unsent(here, n, tasks)
    assert (stop.cause if stop else None) == cause


def test_a_round_that_was_sent_goes_on_whatever_the_settings_say_now(drawn_case: Any, tiny_weights: Path) -> None:
    project = drawn_case.project("sent", rounds={"count": 2}, network={"weights": str(tiny_weights)})
    assert loop.run(project).state == "waiting"
    SimulatedReviewer(drawn_case.truth, seed=0).review(project)
    (file,) = (project / "labelstudio" / "exports").glob("*.json")
    file.write_text(json.dumps(json.loads(file.read_text())[:3]))
    assert loop.run(project).effort.poses_opened == 3
    stricter = opened(project, least_gain=1e6, budget_total=1)
    assert stop_before(stricter, 1) is None, "the fourth task has gone out"
    assert stop_before(stricter, 2) is not None

    drawn = record(project, 1, "routing/routing.json")
    write(project / "rounds" / "02" / "routing" / "routing.json", {**drawn, "forecast": TEN_AN_HOUR})
    assert stop_unsent(stricter, 2, 4) is None, "people have tasks of this digest"
    write(project / "rounds" / "02" / "routing" / "routing.json", {"digest": "x", "forecast": TEN_AN_HOUR})
    assert stop_unsent(stricter, 2, 4) is not None


def test_a_stop_is_written_once_and_taken_back(tmp_path: Path) -> None:
    here, file = opened(tmp_path, budget=4, budget_total=3), tmp_path / "rounds" / "00" / "round.json"
    write(file, {"round": 0})
    assert (round_budget(here), stop_before(here, 1), ended(here)) == (3, None, "")
    stop = stop_unsent(here, 1, 0)
    note_stop(here, 0, stop)
    assert (read_stop(here, 0), ended(here)) == (stop, "with round 0: nothing is left to review")
    before = file.stat().st_mtime_ns
    note_stop(here, 0, stop)
    assert file.stat().st_mtime_ns == before
    note_stop(here, 0, None)
    assert (read_stop(here, 0), json.loads(file.read_text())["round"]) == (None, 0)
    write(tmp_path / "audit" / "routing" / "routing.json", {})
    note_stop(here, 0, stop)
    assert read_stop(here, 0) is None, "once the audit is drawn, what ended the rounds stays as it was"


def test_a_stop_that_cannot_be_read_says_where(tmp_path: Path) -> None:
    write(tmp_path / "rounds" / "00" / "round.json", {"round": 0, "stop": {"cause": "rain", "reason": ""}})
    with pytest.raises(FormatError, match=r"round\.json: stop\.cause: is 'rain', expected one of: count, budget"):
        read_stop(opened(tmp_path), 0)
