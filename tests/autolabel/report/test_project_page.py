"""What the page about a project says, against what the loop wrote."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from autolabel.audit import AuditCounts
from autolabel.certify import Certificate, certificate
from autolabel.errors import InputError
from autolabel.report.answers import Answered, Work
from autolabel.report.deeds_table import deeds_table
from autolabel.report.evidence import Evidence
from autolabel.report.page import Gaps, Page
from autolabel.report.project_page import project_page, verdict
from autolabel.report.rounds import read_rounds
from autolabel.reviewer_quality import Share
from autolabel.similarity import BadRule
from tests.autolabel.report.yardsticks import yardstick


def quality(bad: float, n: int = 200) -> dict[str, Any]:
    return {"n": n, "bad": bad, "gross": bad / 4, "epe": 20 * bad, "oks": 1 - bad / 2}


def write_round(project: Path, number: int, bad: float, random: float | None = None, **changes: Any) -> None:
    folder = project / "rounds" / f"{number:02d}"
    folder.mkdir(parents=True)
    arm = {"untouched": quality(bad), "test": quality(bad + 0.01, 50)}
    other = None if random is None else {"untouched": quality(random), "test": quality(random, 50)}
    record = {
        "round": number,
        "model": "0123456789abcdef",
        "trained_on": 100 + 20 * number,
        "counts": {"accepted": 60 * number, "review": 20, "untouched": 180 - 60 * number, "elsewhere": 1},
        "effort": {"poses_opened": 20 * number, "clicks": 50 * number},
        "routed": arm,
        "random": other,
        "score": {"auroc_bad": 0.8, "risk_coverage": [[0.5, 0.02], [1, 0.3]], "reliability": [[0.2, 0.25, 80]]},
        "seconds": {"predict": 3.25, "train": 3725.0},
    }
    (folder / "round.json").write_text(json.dumps(record | changes))


def audited(bad: int) -> Certificate:
    return certificate(
        AuditCounts(audited=100, bad=bad, rejected=0, keypoints=1400, gross=3 * bad),
        max_bad=0.05,
        confidence=0.95,
        population=120,
        digest_before="0" * 64,
        digest_after="1" * 64,
        audit=["a"],
        rule=BadRule(),
        routing="r",
        answers="a",
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("projects") / "mice"
    for number, (bad, random) in enumerate([(0.4, 0.4), (0.3, 0.35), (0.1, 0.25)]):
        write_round(project, number, bad, random)
    (project / "certificate.json").write_text(json.dumps(audited(1).to_dict()))
    return project


@pytest.fixture(scope="module")
def page(project: Path) -> Page:
    return project_page(project)


def cells(page: Page, title: str) -> tuple[tuple[str, ...], ...]:
    table = next(table for table in page.tables if table.title.startswith(title))
    return (table.columns, *(tuple(cell.replace("\u202f", " ") for cell in row) for row in table.rows))


def test_the_tables_tell_both_arms_round_by_round(page: Page) -> None:
    heads, *rows = cells(page, "Untouched")
    assert heads == (
        *("Round", "poses", "bad", "bad, random", "gross keypoints"),
        *("mean OKS", "mean error", "mean error, random"),
    )
    assert rows[2] == ("2", "200", "10.0 %", "25.0 %", "2.5 %", "0.950", "2.0 px", "5.0 px")
    assert cells(page, "Held-out")[1][:4] == ("0", "50", "41.0 %", "40.0 %")
    work = cells(page, "Work")
    assert work[0] == (
        *("Round", "model", "trained on, poses", "opened, poses", "clicks"),
        *("predict", "train", "all steps"),
    )
    assert work[2] == ("1", "0123456789ab", "120", "20", "50", "3.25 s", "1 h 02 min", "1 h 02 min")


def test_tiles_compare_with_the_first_round_and_with_random_routing(page: Page) -> None:
    tiles = {tile.label: tile for tile in page.tiles}
    assert tiles["Accepted"].value == "120"
    assert tiles["Accepted"].note == "of 201 poses, by an audit of 100"
    assert tiles["Opened by people"].note == "100 clicks, 2.5 a pose"
    bad = tiles["Bad, untouched poses"]
    assert (bad.value + " " + bad.note).replace("\u202f", " ") == (
        "10.0 % 40.0 % in round 0, 25.0 % with random routing, n = 200"
    )


def test_the_audit_is_charged_in_full(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "mice")
    (tmp_path / "mice" / "audit").mkdir()
    record = {
        "effort": {"poses_opened": 140, "clicks": 210},
        "tasks": {"audit": 90, "review": 10},
        "seconds": {"review": 2.0},
    }
    (tmp_path / "mice" / "audit" / "audit.json").write_text(json.dumps(record))
    page = project_page(tmp_path / "mice")
    (opened,) = [tile for tile in page.tiles if tile.label == "Opened by people"]
    assert (opened.value, opened.note) == ("140", "210 clicks, 1.5 a pose; 90 poses of the audit included")
    heads, *rows = cells(page, "Work")
    assert heads[5:] == ("predict", "train", "review", "all steps")
    assert rows[-1] == ("audit", "–", "–", "140", "210", "–", "–", "2 s", "2 s")
    earlier = project_page(tmp_path / "mice", upto=1)
    assert [tile.value for tile in earlier.tiles if tile.label == "Opened by people"] == ["20"]


def test_where_poses_went_includes_what_we_have_no_name_for(page: Page) -> None:
    bars = page.bars[0]
    assert [name for name, _ in bars.kinds] == ["accepted", "review", "untouched", "elsewhere"]
    assert bars.rows[2] == ("Round 2", (120, 20, 60, 1))


@pytest.mark.parametrize(
    ("bad", "kind", "sentence"),
    [
        (None, "open", "Nothing is promised yet"),
        (1, "kept", "The promise is proven: at most 5 % of the 120 accepted poses are bad"),
        (30, "refused", "The promise is not proven: it was not shown that at most 5 % of 120 poses are bad"),
    ],
)
def test_the_first_sentence_is_the_promise(bad: int | None, kind: str, sentence: str) -> None:
    said = verdict(None if bad is None else audited(bad))
    assert said.kind == kind
    assert said.sentence.startswith(sentence)
    if bad:
        assert f"{bad} of 100 audited poses were bad" in said.reason


def test_the_certificate_is_on_the_page(page: Page) -> None:
    assert page.verdict is not None and page.verdict.kind == "kept"
    assert "1 bad (0 rejected)" in dict(page.facts)["audit"]
    assert "1" * 16 in dict(page.facts)["population"]


def test_an_earlier_round_is_told_without_what_came_later(project: Path) -> None:
    earlier = project_page(project, upto=1)
    assert earlier.title == "mice: round 1"
    assert [row[0] for row in cells(earlier, "Untouched")[1:]] == ["0", "1"]
    assert earlier.verdict is not None and earlier.verdict.kind == "open"


def test_a_project_without_truth_tells_what_it_knows(tmp_path: Path) -> None:
    write_round(tmp_path, 0, 0.5, routed={"untouched": None, "test": None}, score=None)
    page = project_page(tmp_path)
    assert [table.title for table in page.tables] == ["Work, round by round"]
    assert [tile.label for tile in page.tiles] == ["Opened by people"]
    assert page.tiles[0].note == "no clicks"
    assert not page.plots


def test_random_columns_are_left_out_where_nobody_tried(tmp_path: Path) -> None:
    write_round(tmp_path, 0, 0.5, score=None)
    page = project_page(tmp_path)
    assert "bad, random" not in cells(page, "Untouched")[0]
    assert [plot.title for plot in page.plots] == ["Error, round by round"]  # of effort there is only one point


def test_a_project_without_rounds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no round is finished"):
        project_page(tmp_path)


def test_what_was_measured_beside_the_rounds_fills_the_chapters(project: Path) -> None:
    work = Work("round 1", opened=50, clicks=120, ordinary=50, kept=5, bad=20, fixed=90)
    answered = Answered((work,), None, 0, Share(0, 0), {"nose": 7}, 50, (), ())
    test = yardstick({0, 1}, {1})
    evidence = Evidence(yardsticks=(test,), base=test, answered=answered, states={"accepted": 60, "untouched": 60})
    page = project_page(project, evidence=evidence)
    assert [chapter.title for chapter in page.chapters] == ["Quality", "Doubt", "Learning", "Effort", "Not told"]
    titles = {chapter.title: [block.title for block in chapter.blocks] for chapter in page.chapters}
    assert titles["Learning"] == [
        *("Learning", "Forgetting", "Kinds of error, before and after", "Kinds of error in numbers"),
        "Keypoint by keypoint",
    ]
    assert titles["Effort"][1:] == ["What opening poses found", "Cost board", "The machine's work"]
    assert page.bars[0].rows[-1] == ("Dataset", (60, 0, 60, 0))
    tiles = {tile.label: tile.value.replace("\u202f", " ") for tile in page.tiles}
    assert (tiles["Opened by people"], tiles["Accepted without a touch"]) == ("50", "50 %")


def test_without_truth_answers_tell_what_effort_taught(tmp_path: Path) -> None:
    for number in range(2):
        write_round(tmp_path, number, 0.5, routed={"untouched": None, "test": None}, score=None)
    evidence = Evidence(yardsticks=(yardstick({0, 1}, {1}, name="answers kept from training"),))
    page = project_page(tmp_path, evidence=evidence)
    assert [plot.title for plot in page.plots] == ["Learning", "What effort taught the networks"]
    (gaps,) = [block for chapter in page.chapters for block in chapter.blocks if isinstance(block, Gaps)]
    assert "Error of untouched poses" in dict(gaps.gaps)


def test_the_gate_table_has_no_column_that_nothing_is_known_for(tmp_path: Path) -> None:
    two = {"poses": 30, "oks": 0.9, "old_oks": 0.8, "fixed": 4, "broken": 1}
    blind = {"decision": "promoted", "reason": "nothing is held out", "gate": None, "base": None}
    write_round(tmp_path, 1, 0.5, gate=blind)
    assert cells(project_page(tmp_path), "New networks")[0] == ("Round", "network", "why")
    write_round(tmp_path, 2, 0.5, gate={**blind, "gate": two})
    heads, *rows = cells(project_page(tmp_path), "New networks")
    assert heads == ("Round", "network", "gate poses, OKS old", "new", "fixed", "broken", "why")
    assert rows[0][2] == "–" and rows[1][2:6] == ("0.800", "0.900", "4", "1")


def test_each_round_tells_what_it_did(tmp_path: Path) -> None:
    cold = {"looks": "ViT-S", "boxes": False, "candidates": 1200, "chosen": 40, "by_lot": 8}
    found = {"poses": 160, "faulty": 12, "answered": 0, "answered_faulty": 0, "kinds": {"bone": 12}}
    write_round(tmp_path, 0, 0.5, cold=cold, lint=found, stop=None, learning=None)
    assert cells(project_page(tmp_path), "What each") == (
        ("Round", "labelled first, by hand", "faults, unseen poses"),
        ("0", "40 of 1,200 images, chosen by ViT-S", "12 of 160"),
    )
    learnt = [
        {"from": "corrected", "poses": 20, "share": 0.25, "filled": 31},
        {"from": "base", "poses": 300, "share": 0.75, "filled": 0},
    ]
    stop = {"cause": "count", "reason": "1 round of review was asked for"}
    found |= {"answered": 20, "answered_faulty": 3}
    write_round(tmp_path, 1, 0.4, lint=found, stop=stop, learning={"corrected": 20, "sources": learnt})
    told = dict(zip(*cells(project_page(tmp_path), "What each")[::2], strict=True))
    assert told["learnt from"] == ("20 corrected (25 %) with 31 keypoints filled in, 300 base (75 %)")
    assert (told["faults, answered"], told["why the rounds ended"]) == ("3 of 20", stop["reason"])


def test_rounds_that_tell_nothing_of_what_they_did_have_no_such_table(project: Path) -> None:
    assert deeds_table(read_rounds(project)) is None


def test_a_round_of_a_certified_project_refers_to_the_project(project: Path) -> None:
    last = project_page(project, upto=2)
    assert last.verdict is not None and "in the project's report" in last.verdict.sentence
    assert "Accepted" not in [tile.label for tile in last.tiles]
