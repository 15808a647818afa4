"""Sentences, tables and pictures that are made of numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.training import PAGE
from benchmarks.training_claims import CLAIMS, Claim, Floats, difference, verdict
from benchmarks.training_plan import PAIRS, TABLES, Run, plan
from benchmarks.training_report import Finished, fill, pictures, sections, write_pictures
from benchmarks.training_runs import pck_row, speed
from tests.benchmarks.test_partial_bodies import cases

CLAIM = Claim("1", "more is better (76 against 75 AP)", "more", "less")


def errors(share: float, *, seed: int, people: int = 300) -> Floats:
    """So large a share of keypoints is right; some are not labelled."""
    rng = np.random.default_rng(seed)
    error = np.where(rng.random((people, 14)) < share, 0.05, 0.3)
    # The same for every network: labels belong to the people.
    error[np.random.default_rng(99).random((people, 14)) < 0.1] = np.nan
    return error


def test_difference_is_of_shares() -> None:
    one, other = errors(0.6, seed=0), errors(0.4, seed=1)
    found = difference([one], [other])
    known = np.isfinite(one)
    assert found.value == pytest.approx((one[known] <= 0.1).mean() - (other[known] <= 0.1).mean())
    assert found.low < found.value < found.high
    assert found.low > 0.1


def test_difference_of_a_network_and_itself_is_nothing() -> None:
    one = errors(0.6, seed=0)
    found = difference([one], [one])
    assert (found.value, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ([0.6], [0.5], "agrees"),
        ([0.5], [0.6], "does not agree"),
        ([0.5], [0.5], "nothing that could not be chance"),
        ([0.6, 0.6], [0.5, 0.5], "agrees"),
        # The mean is far from 0, but the two seeds point different ways.
        ([0.7, 0.48], [0.4, 0.5], "nothing that could not be chance"),
    ],
)
def test_verdicts(one: list[float], other: list[float], says: str) -> None:
    found = verdict(
        CLAIM,
        {
            "more": [errors(share, seed=i) for i, share in enumerate(one)],
            "less": [errors(share, seed=10 + i) for i, share in enumerate(other)],
        },
    )
    assert found is not None
    assert f"**{says}**" in found
    assert ("one seed" in found) is (len(one) == 1)


def test_verdict_needs_both_runs_and_uses_the_seeds_that_both_have() -> None:
    assert verdict(CLAIM, {"more": [errors(0.5, seed=0)]}) is None
    found = verdict(CLAIM, {"more": [errors(0.6, seed=0)] * 2, "less": [errors(0.5, seed=1)]})
    assert found is not None
    assert "one seed" in found


def test_what_the_paper_does_not_say_is_not_agreed_with() -> None:
    claim = Claim("1", "(not in the paper) twice as long", "more", "less")
    found = verdict(claim, {"more": [errors(0.6, seed=0)], "less": [errors(0.4, seed=1)]})
    assert found is not None
    assert "**a clear gain**" in found


def test_pck_row() -> None:
    error = np.array([[0.05, 0.15, np.nan], [0.3, 0.1, 0.2]])
    row = pck_row("val", error, [0, 1])
    assert row["val PCK@0.1"] == pytest.approx(2 / 5)
    assert row["val PCK@0.2"] == pytest.approx(4 / 5)
    assert row["val limbs PCK@0.1"] == pytest.approx(2 / 4)


def test_speed_is_the_median(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps({"crops_per_second": rate}) + "\n" for rate in (3.0, 64.0, 64.0)))
    assert speed(file, 60) == {"crops_per_second": 64.0, "minutes": 1.0}


def finished(folder: Path, runs: list[Run]) -> Finished:
    """All runs of the plan as if they were done, with numbers of nobody."""
    rows: list[dict[str, Any]] = []
    for i, run in enumerate(runs):
        here = folder / run.folder
        here.mkdir()
        row = {"name": run.name, "seed": run.seed, "tables": list(run.tables), "steps": run.steps, "folder": run.folder}
        row |= {"GMACs": 0.1 + i / 100, "activations_mib": 100.0 + i, "crops_per_second": 80.0, "minutes": 2.0}
        for test in run.test:
            error = errors(0.3 + i / 100, seed=i)
            np.savez(here / f"errors-{test}.npz", error=error, limbs=np.arange(12))
            row |= pck_row(test, error, list(range(12)))
        if {"6", "6+"} & set(run.tables):
            heads = {"presence", "whole_box"} & set(run.network)  # either comes with a presence head
            cases(0.6, 0.3, seed=i, probable=bool(heads)).save(here / "cases.npz")
        rows.append(row)
    return Finished(rows, folder)


def test_the_page_has_a_place_for_every_table_and_is_filled_again_and_again(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    made = sections(finished(tmp_path, plan(TABLES, seeds=2)))
    full = fill(page, made)
    assert "Not measured yet" not in full
    assert fill(full, made) == full
    assert full.count("<!-- end -->") == page.count("<!-- end -->") == len(made)
    for claim in CLAIMS:
        assert claim.paper in full, claim
    for corpus in PAIRS:
        assert f"**{corpus}**" in full
    empty = fill(full, sections(Finished([], tmp_path)))
    assert empty.count("Not measured yet") == len(made) - 1
    assert "| b | 17.10 |" in empty  # what a network costs is known without training it


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="table 3"):
        fill("nothing", {"3": "text"})


def test_backslashes_in_a_section_stay() -> None:
    assert fill("<!-- table 1 -->\n<!-- end -->", {"1": r"a\1b"}) == "<!-- table 1 -->\na\\1b\n<!-- end -->"


def test_pictures_of_what_is_there(tmp_path: Path) -> None:
    runs = plan(TABLES)
    made = pictures(finished(tmp_path, runs))
    assert set(made) == {"partial", "presence", "attention", "labels"}
    for path in write_pictures(made, tmp_path / "pictures"):
        assert path.read_bytes().startswith(b"\x89PNG")
    assert pictures(Finished([], tmp_path)) == {}
