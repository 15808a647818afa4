"""The certificate benchmark on made-up pools: nothing is trained or predicted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.poses import Origin, Poses, Visibility
from autolabel.prediction_record import Predicted
from autolabel.skeleton import Skeleton
from benchmarks.certificate_planted import (
    BEFORE,
    GOOD,
    LEFT,
    Case,
    Terms,
    cases,
    compose,
    most_found,
    planted_runs,
)
from benchmarks.certificate_redraw import (
    OURS,
    PEAKS,
    SAME_LABELS,
    Plan,
    Stage,
    certified,
    left_bad,
    loosest,
    planted,
    redraw,
    worst_of_image,
)
from benchmarks.certificate_report import PICTURE, TABLES, sections, write_report
from benchmarks.certificate_reviewers import REVIEWERS, UNFOUNDED, Answers, Ground, Reviewer, answer, truth_of
from benchmarks.certificate_rows import COVERED_AT, bars, reached, summary
from pipelines.check import Checked

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
PLAN = Plan(calibration=150, development=100, budget=300, plants=20, alphas=(0.05,))


def some_ground(poses: int = 2_000, share: float = 0.1, seed: int = 0) -> Ground:
    """Two people an image, judged by their boxes; the peak tells much of who is bad."""
    rng = np.random.default_rng(seed)
    bad = rng.random(poses) < share
    truth = rng.uniform(20, 180, (poses, K, 2))
    off = np.where(bad[:, None], 60.0, 1.0)[..., None] * rng.standard_normal((poses, K, 2))
    shape = (poses, K)
    predicted = Poses.create(
        K,
        id=[f"p{i}" for i in range(poses)],
        xy=truth + off,
        visibility=np.full(shape, Visibility.VISIBLE),
        origin=np.full(shape, Origin.MODEL),
        by=["network"] * poses,
        box=np.tile([10.0, 10, 190, 190], (poses, 1)),
    )
    peak = np.clip(np.where(bad, 0.55, 0.8)[:, None] + rng.normal(0, 0.12, shape), 0, 1)
    checked = Checked(
        predicted,
        {"peak": peak},
        sizes=np.full((poses, 2), 200.0),
        gross=np.zeros(shape, bool),
        scored=np.ones(shape, bool),
        bad=bad,
        oks=np.where(bad, 0.6, 0.95),
        error=np.linalg.norm(off, axis=-1),
        truth=truth,
        group=np.arange(poses) // 2,
        area=np.full(poses, 0.53 * 180 * 180),
    )
    how = {"model": "network", "flip_test": False, "larger_crop": False, "input_size": None, "boxes": "manifest"}
    record = Predicted.parse({**how, "precision": "fp32", "backend": "torch", "device": "cpu"}, subject="test")
    everybody = np.ones(poses, bool)
    return Ground("drawn", SKELETON, checked, np.arange(poses) // 2, record, "digest", peak.mean(axis=1), everybody)


def some_stage(ground: Ground, seed: int = 1) -> Stage:
    """The first 250 poses are checked; the doubts are good ones, and calibrated."""
    odds = np.random.default_rng(seed).normal(np.where(ground.bad, 2.0, -6.0), 1.2)
    return Stage(ground, np.arange(150), np.arange(150, 250), 1 / (1 + np.exp(-odds)))


@pytest.mark.parametrize(
    ("reviewer", "finds", "leaves"),
    [
        (Reviewer("perfect"), (1.0, 1.0), (0.0, 0.0)),
        (Reviewer("half overlooked", overlook=0.5), (0.4, 0.6), (0.4, 0.6)),
        (Reviewer("all overlooked", overlook=1.0), (0.0, 0.0), (1.0, 1.0)),
        (Reviewer("a still hand", noise=1e-9), (1.0, 1.0), (0.0, 0.0)),
        (Reviewer("a shaking hand", noise=1.0), (0.9, 1.0), (0.0, 0.1)),
        (Reviewer("a wild hand", noise=20.0), (0.9, 1.0), (0.9, 1.0)),
    ],
)
def test_reviewers_find_and_correct_what_they_should(
    reviewer: Reviewer, finds: tuple[float, float], leaves: tuple[float, float]
) -> None:
    ground = some_ground()
    answers = answer(ground, np.arange(len(ground)), reviewer, np.random.default_rng(9))
    found, left = answers.bad[ground.bad].mean(), answers.left[ground.bad].mean()
    assert finds[0] <= found <= finds[1] and leaves[0] <= left <= leaves[1]
    assert not answers.bad[~ground.bad].any() and not answers.left[~ground.bad].any()  # nothing there was to be moved


def test_noise_makes_false_alarms_where_points_had_to_be_moved() -> None:
    ground = some_ground(share=0.0)
    xy = truth_of(ground.checked).xy + np.array([9.0, 0])  # off enough for many points, bad for no pose
    ground = replace(ground, checked=replace(ground.checked, poses=ground.checked.poses.replace(xy=xy)))
    answers = answer(ground, np.arange(400), Reviewer("shaking", noise=1.0), np.random.default_rng(0))
    assert 0 < answers.bad.mean() < 1 and not answers.left.any()


def test_absent_and_unlabelled_keypoints_are_answered_as_such() -> None:
    ground = some_ground(4)
    truth, scored = ground.checked.truth.copy(), ground.checked.scored.copy()
    truth[:, :2] = np.nan
    scored[:, 1] = False
    said = truth_of(replace(ground.checked, truth=truth, scored=scored)).visibility
    assert (said[:, 0] == Visibility.ABSENT).all()
    assert (said[:, 1] == Visibility.UNLABELLED).all()
    assert (said[:, 2:] == Visibility.VISIBLE).all()


@pytest.mark.parametrize(
    ("p_bad", "bad", "alpha", "limit"),
    [
        ([0.1, 0.2, 0.3], [0, 0, 1], 0.0, 0.2),
        ([0.1, 0.2, 0.3], [0, 0, 1], 0.4, 0.3),
        ([0.1, 0.2, 0.2], [0, 0, 1], 0.2, 0.1),  # equal doubts are not told apart
        ([0.1, 0.2, 0.3], [1, 0, 0], 0.2, -np.inf),
        ([0.1, 0.2, 0.3], [1, 0, 0], 0.34, 0.3),  # the loosest, whatever lies before it
        ([], [], 0.2, -np.inf),
    ],
)
def test_the_empirical_limit(p_bad: list[float], bad: list[int], alpha: float, limit: float) -> None:
    assert loosest(np.array(p_bad, float), np.array(bad, bool), alpha) == limit


def test_what_is_left_bad_counts_the_set_alone() -> None:
    ground = some_ground(10)
    ground = replace(ground, checked=replace(ground.checked, bad=np.arange(10) < 4))
    answers = Answers(bad=np.array([True, True, False]), left=np.array([False, False, True]))
    rows = np.array([9, 0, 1, 8])
    assert left_bad(ground, rows, np.array([1, 3, 7]), answers) == 0.25  # 0 corrected, 1 stays; place 7 is not in it
    assert left_bad(ground, rows, np.array([0, 1, 2]), answers) == 0.25  # corrected but for the last


def test_doubts_are_the_worst_of_the_image() -> None:
    worst = worst_of_image(np.array([0.1, 0.5, 0.2, 0.3]), np.array([7, 7, 2, 9]))
    assert worst.tolist() == [0.5, 0.5, 0.2, 0.3]
    assert worst_of_image(np.empty(0), np.empty(0, int)).shape == (0,)


def test_plants_are_checked_and_bad() -> None:
    ground = some_ground()
    stage = some_stage(ground)
    rows = planted(stage, ground.bad[stage.checked], 8)
    assert len(rows) == 8 and ground.bad[rows].all() and np.isin(rows, stage.checked).all()
    assert len(planted(stage, ground.bad[stage.checked], 0)) == 0


@pytest.mark.parametrize("reviewer", REVIEWERS.values(), ids=REVIEWERS)
def test_a_certificate_and_its_truth(reviewer: Reviewer) -> None:
    stage = some_stage(some_ground(4_000))
    row = certified(stage, PLAN, 0.05, reviewer, np.random.default_rng(0))
    assert row["arm"] == OURS and row["audited"] <= PLAN.budget
    assert (row["sensitivity"] == 1.0) == (not reviewer.tested)
    assert row["plants"] <= PLAN.plants and (row["plants"] > 0) == reviewer.tested
    assert row["issued"] and row["certified"] > 2_000 and row["true"] <= 0.05
    weak = replace(stage, p_bad=np.full(len(stage.ground), 0.1))
    none = certified(weak, PLAN, 0.05, reviewer, np.random.default_rng(0))
    assert not none["issued"] and none["certified"] == none["audited"] == 0 and none["reason"]


def test_a_redraw_draws_anew_and_is_repeatable() -> None:
    ground, plan = some_ground(400, 0.3), replace(PLAN, calibration=80, development=40, budget=100)
    first, again, other = (redraw(ground, plan, seed) for seed in (0, 0, 1))
    assert first == again and first != other
    arms = {row["arm"] for row in first}
    assert arms > {OURS, SAME_LABELS, *(f"peak >= {least}" for least in PEAKS)}
    assert len([row for row in first if row["arm"] == OURS]) == len(REVIEWERS)
    json.dumps(first)


def test_nested_sets_hold_the_planted_poses() -> None:
    ground = some_ground()
    stage = some_stage(ground)
    rows = compose(stage, [200, 400], [5, 30])
    assert rows is not None and len(set(rows.tolist())) == 400
    assert ground.bad[rows[:200]].sum() == 5 and ground.bad[rows].sum() == 30
    assert not np.isin(rows, stage.checked).any()
    assert compose(stage, [200, 400], [5, 399]) is None
    assert compose(stage, [1_900], [0]) is None


@pytest.mark.parametrize(
    ("alpha", "size", "audit"), [(0.02, 1_000, 400), (0.05, 600, 200), (0.05, 600, 600), (0.01, 600, 5)]
)
def test_a_planted_share_is_left_whatever_a_passing_audit_found(alpha: float, size: int, audit: int) -> None:
    from autolabel.bounds import residual_bound

    found = most_found(alpha, audit, size, 0.95, 1.0)
    assert found == audit or residual_bound(found + 1, audit, size, 0.95) > alpha
    assert residual_bound(found, audit, size, 0.95) <= alpha or found == 0


@pytest.mark.parametrize(
    ("reviewer", "most"), [("perfect", 0.05), ("perfect, untested", 0.07), ("5 % overlooked", 0.05)]
)
def test_planted_sets_are_certified_rarely_where_too_bad_and_mostly_where_good(reviewer: str, most: float) -> None:
    stage = some_stage(some_ground(3_000, share=0.2))
    for kind, factor in ((LEFT, 1.01), (BEFORE, 1.5), ("all steps", 1.25), ("loosest", 1.25)):
        row = planted_runs(stage, PLAN, Case(0.05, 1_000, factor, kind, reviewer), 300)
        assert row["wrong"] <= most * row["runs"], kind
        assert kind != LEFT or row["issued"] == row["wrong"]
    row = planted_runs(stage, PLAN, Case(0.05, 1_000, GOOD, BEFORE, reviewer), 100)
    assert row["issued"] >= 80


def test_reviewers_who_are_taken_to_find_all_break_promises() -> None:
    stage = some_stage(some_ground(3_000, share=0.2))
    case = Case(0.05, 1_000, 1.01, LEFT, "perfect, untested")
    perfect, overlooking = (
        planted_runs(stage, PLAN, replace(case, reviewer=name), 1_500)["wrong"] for name in (case.reviewer, UNFOUNDED)
    )
    assert perfect <= 75 < overlooking


def test_sets_that_cannot_be_planted_are_said_to_be() -> None:
    stage = some_stage(some_ground(600))
    assert "too few" in planted_runs(stage, PLAN, Case(0.05, 10_000, 1.01, LEFT, "perfect"), 3)["note"]
    assert "no audit" in planted_runs(stage, PLAN, Case(0.001, 300, 1.01, LEFT, "perfect"), 3)["note"]
    terms = Terms.of(stage, PLAN, 0.02, REVIEWERS["perfect, untested"])
    assert (terms.planned, terms.best, len(terms.plants)) == (1.0, 1.0, 0)
    assert terms.promise.draw == pytest.approx(PLAN.confidence)
    tested = Terms.of(stage, PLAN, 0.02, REVIEWERS["perfect"])
    assert tested.planned <= tested.best < 1.0 and tested.promise.draw > terms.promise.draw
    assert len(list(cases(0.02, "perfect"))) == 28


def some_row(**changed: object) -> dict[str, Any]:
    row = {"arm": OURS, "reviewer": "perfect", "alpha": COVERED_AT, "issued": True, "certified": 60, "true": 0.01}
    costs = {"audited": 10, "found": 1, "plants": 3, "checked": 5, "proposed": 70, "steps": 2, "sensitivity": 0.9}
    return {**row, **costs, **changed}


def some_planted(**changed: object) -> dict[str, Any]:
    row = {"alpha": 0.02, "size": 600, "factor": 1.01, "kind": LEFT, "reviewer": "perfect", "runs": 300, "share": 0.03}
    return {**row, "audited": 100, "plants": 3, "issued": 21, "largest": 21, "wrong": 21, **changed}


def some_pool(redraws: list[list[dict[str, Any]]]) -> dict[str, Any]:
    made = summary("drawn", [100] * len(redraws), [0.1] * len(redraws), redraws)
    return made | {"network": "final", "plan": {"calibration": 1, "development": 1, "budget": 1, "plants": 1}}


@pytest.mark.parametrize(
    ("wrong", "covered", "met"), [(0, 60, True), (7, 60, True), (8, 60, False), (0, 50, True), (0, 49, False)]
)
def test_bars_of_a_pool(wrong: int, covered: int, met: bool) -> None:
    rows = [[some_row(certified=covered, true=0.03 if i < wrong else 0.02)] for i in range(100)]
    held = bars([some_pool(rows)], [])
    assert len(held) == 2 and reached(held) is met
    nobody = bars([some_pool([[some_row(reviewer=UNFOUNDED, true=1.0)]])], [])
    assert not nobody and not reached(nobody)


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (some_planted(), True),
        (some_planted(issued=22), False),
        (some_planted(kind=BEFORE, issued=200), True),
        (some_planted(kind=BEFORE, wrong=22), False),
        (some_planted(factor=GOOD, kind=BEFORE, issued=240), True),
        (some_planted(factor=GOOD, kind=BEFORE, issued=239), False),
    ],
)
def test_bars_of_planted_sets(row: dict[str, Any], met: bool) -> None:
    assert reached(bars([], [row])) is met
    assert bars([], [{**row, "reviewer": UNFOUNDED}]) == []
    assert bars([], [{**row, "runs": 0}]) == []


def test_a_run_without_a_certificate_covers_nothing() -> None:
    none = some_row(issued=False, certified=0, true=None, proposed=0)
    pool = some_pool([[none], [none], [some_row()]])
    assert pool["arms"][0]["coverage"] == 0.0 and pool["arms"][0]["nothing accepted"] == 2
    assert pool["points"][0]["true"] == [0.01]


def test_the_page_and_the_picture(tmp_path: Path) -> None:
    other = {
        "arm": SAME_LABELS,
        "reviewer": "",
        "alpha": 0.02,
        "issued": True,
        "certified": 9,
        "true": 0.5,
        "checked": 5,
    }
    pool = some_pool([[some_row(), other], [some_row(issued=False, certified=0, true=None), other]])
    rows = [some_planted(), some_planted(factor=GOOD, kind=BEFORE), {**some_planted(size=10_000), "runs": 0}]
    page = tmp_path / "page.md"
    page.write_text("\n".join(f"<!-- table {name} -->\n<!-- end {name} -->" for name in TABLES), encoding="utf-8")
    write_report([pool], rows, bars([pool], rows), page, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "1 of 2" in text and "50.00 %" in text and "7.0 %" in text and "**not met**" in text
    assert (tmp_path / PICTURE).read_bytes().startswith(b"\x89PNG")
    assert set(sections([], [], [])) == set(TABLES)
