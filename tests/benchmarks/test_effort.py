"""The effort benchmark on made-up corpora: nothing is predicted, and the doubt is made up too."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.effort_cases import ARMS, CERTIFIED, EVERYTHING, HAND, ORACLE, OURS, PEAK, RANDOM, Case, sessions
from benchmarks.effort_report import sections, write_report
from benchmarks.effort_rows import bars, reached, row, summary, thinned
from pipelines.effort_review import Corpus
from tests.people import Knowing, knows_nothing, some_corpus


def some_case(name: str, corpus: Corpus, known: float = 0.97) -> Case:
    peak = corpus.by_truth().bad + np.random.default_rng(0).normal(0, 0.5, len(corpus))
    return Case(name, corpus, peak, Knowing(corpus, known))


def measured(case: Case, seeds: int = 1) -> dict[str, Any]:
    rows: list[list[dict[str, Any]]] = []
    curves: dict[str, Any] = {}
    for seed in range(seeds):
        found = sessions(case, seed)
        rows.append([row(arm, session, outcome, found[EVERYTHING][0]) for arm, (session, outcome) in found.items()])
        curves = curves or {arm: thinned(session.curve) for arm, (session, _) in found.items()}
    return summary(case.name, len(case.corpus), rows, curves)


def arms(case: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["arm"]: one for one in case["arms"]}


@pytest.fixture(scope="module")
def drawn() -> dict[str, Any]:
    return measured(some_case("drawn", some_corpus(15_000, bad=0.08, image=2)), seeds=2)


@pytest.fixture(scope="module")
def hard() -> dict[str, Any]:
    """As ``fashion17`` is: most poses are bad, and the doubt knows little."""
    return measured(some_case("fashion17", some_corpus(800, bad=0.5), known=0.3))


def test_all_arms_are_there_and_each_costs_what_it_should(drawn: dict[str, Any]) -> None:
    found = arms(drawn)
    assert tuple(found) == ARMS
    share = {name: one["of everything"][0] for name, one in found.items()}
    assert share[EVERYTHING] == 1
    assert share[HAND] > 5 and share[RANDOM] < 1
    assert share[ORACLE] < share[PEAK] < share[RANDOM]
    assert share[ORACLE] < share[OURS] < 0.4
    assert found[OURS]["certificates"] == 2 and found[OURS]["broken"] == 0 and found[OURS]["reached"] == 2


def test_what_needs_the_truth_to_stop_is_charged_up_to_there(drawn: dict[str, Any]) -> None:
    for rows in drawn["seeds"]:
        for one in rows:
            if one["arm"] in (RANDOM, PEAK, ORACLE):
                assert one["effort"] == one["reached at"] and one["bad"] <= 0.02
            elif one["arm"] in CERTIFIED:  # it does not know where it could have stopped
                assert one["effort"] > one["reached at"]
                assert sum(clicks for clicks, *_ in one["bill"].values()) == one["clicks"]


def test_bars_are_met_where_work_is_saved_and_not_where_it_is_not(drawn: dict[str, Any], hard: dict[str, Any]) -> None:
    held = {(one["case"], one["arm"], one["bar"][:4]): one for one in bars([drawn, hard])}
    assert held["drawn", OURS, "gros"]["met"] and held["drawn", OURS, "no s"]["met"]
    assert held["fashion17", OURS, "no s"]["met"]
    spent = arms(hard)[OURS]
    assert held["fashion17", OURS, "gros"]["met"] == (spent["of everything"][0] < 1 and spent["reached"] == 1)
    worse = json.loads(json.dumps(drawn))
    next(one for one in worse["arms"] if one["arm"] == OURS)["of everything"] = [0.41, 0.4, 1.06]
    assert [one["met"] for one in bars([worse]) if one["case"] == "drawn" and one["arm"] == OURS] == [False, False]


def test_a_case_that_is_not_measured_has_not_met_its_bar(hard: dict[str, Any]) -> None:
    held = bars([hard])
    missing = [one for one in held if one["case"] == "drawn"]
    assert missing and not any(one["met"] for one in missing) and not reached(held)
    assert not reached([])


def test_a_census_is_cheaper_for_one_mouse() -> None:
    """As ``openfield`` is: 116 poses. Too few to fit doubt on, and to audit: all are opened, and no more."""
    corpus = some_corpus(116, bad=0.1)
    for doubting in (Knowing(corpus), knows_nothing):
        found = arms(measured(replace(some_case("openfield", corpus), doubting=doubting)))
        assert found[OURS]["of everything"][0] <= 1 and found[OURS]["certificates"] == 0
        assert found[OURS]["accepted"] == [0, 0, 0]


def test_the_report_says_it_all(drawn: dict[str, Any], hard: dict[str, Any], tmp_path: Path) -> None:
    cases = json.loads(json.dumps([drawn, hard]))  # all of it is JSON
    page, held = tmp_path / "page.md", bars(cases)
    page.write_text("<!-- table effort -->\n<!-- end effort -->\n<!-- table effort-bars -->\n<!-- end -->\n")
    assert write_report(cases, held, page, tmp_path / "pictures") == ["effort-ends"]
    text = page.read_text()
    assert all(f"| {name} |" in text for name in ARMS) and "15,000 poses" in text
    ends = sections(cases, held)["effort-ends"]
    assert len(ends.splitlines()) == 2 + (2 + 1)
    for name in ("effort-drawn.png", "effort-fashion17.png"):
        assert (tmp_path / "pictures" / name).read_bytes().startswith(b"\x89PNG")


def test_a_thinned_curve_keeps_its_ends(drawn: dict[str, Any]) -> None:
    for curve in drawn["curves"].values():
        assert curve["effort"][0] == 0 and len(curve["effort"]) <= 121
        assert np.all(np.diff(curve["effort"]) >= 0)
    ours = next(one for one in drawn["seeds"][0] if one["arm"] == OURS)
    assert drawn["curves"][OURS]["effort"][-1] == ours["effort"]
