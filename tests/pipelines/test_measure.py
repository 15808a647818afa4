"""A round's numbers: what was opened, what was clicked, how good the rest is."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.labelstudio.images import ImageCheck
from autolabel.ledger import LEDGER, Entry, write_ledger
from autolabel.manifest import Manifest
from autolabel.merge import Correction, KeypointChange, PoseChange, State, Stated, write_corrections
from autolabel.poses import Origin, Poses
from autolabel.report.rounds import read_round
from pipelines.check import check
from pipelines.measure import Effort, every_answer, quality, round_record, seen

STATES = ["reviewed", "rejected", "expert", "review", "", "accepted"]


def correction(poses: Poses, i: int, clicks: int) -> Correction:
    stated = Stated.of(poses[i])
    return Correction(
        pose=poses.id[i],
        sample=("s", "images", "0.png"),
        change=PoseChange.KEPT,
        keypoints=(KeypointChange.KEPT,) * 17,
        before=stated,
        after=stated,
        state=State.REVIEWED,
        verdict=(),
        by="ann",
        when="2026-11-22T20:00:00Z",
        seconds=None,
        clicks=clicks,
        task=f"t{i}",
    )


@pytest.fixture
def scored(review_case: Any) -> Manifest:
    model = review_case.model.replace(attributes=[{"state": s} for s in STATES], p_bad=[0.1, 0.9, 0.2, 0.3, 0.4, 0.5])
    return review_case.write("scored", model)


def record(scored: Manifest, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "model": "ab" * 32,
        "scored": scored,
        "effort": Effort(3, 12),
        "trained_on": 40,
        "truth": None,
        "test": None,
        "seconds": {"train": 1.23456},
    }
    return round_record(2, **{**arguments, **changes})


def test_effort_is_the_sum_of_all_that_was_pulled(review_case: Any) -> None:
    pulled = review_case.write("pulled", review_case.truth)
    write_corrections(pulled.path / "corrections.jsonl", [correction(review_case.model, i, i + 1) for i in (0, 2, 4)])
    assert Effort.of(pulled.path) == Effort(3, 9)
    assert Effort.of(None) == Effort(0, 0)


def test_what_checks_reviewers_and_images_is_charged_too(review_case: Any) -> None:
    pulled = review_case.write("pulled", review_case.truth)
    write_corrections(pulled.path / "corrections.jsonl", [correction(review_case.model, 0, 1)])
    write_corrections(pulled.path / "checks.jsonl", [correction(review_case.model, i, 5) for i in (0, 1)])
    image = ImageCheck(("s0", "images", "0.png"), 1, (), 2, "annotator-1", "2026-11-22T20:00:00Z", 9.0, 3, "t")
    (pulled.path / "images.jsonl").write_text(json.dumps(image.to_dict()) + "\n")
    assert Effort.of(pulled.path) == Effort(4, 14)


def entry(made: Correction, annotation: str, kind: str = "review") -> Entry:
    return Entry(made, annotation, kind, "ab" * 32, "net", np.full(17, Origin.MODEL, np.uint8))


def test_a_pose_that_was_opened_again_is_charged_for_both(review_case: Any) -> None:
    pulled, model = review_case.write("pulled", review_case.truth), review_case.model
    review, changed = correction(model, 0, 3), replace(correction(model, 0, 5), when="2026-11-22T21:00:00Z")
    again = replace(correction(model, 0, 1), task="second look", when="2026-11-23T20:00:00Z")
    other, planted = correction(model, 1, 2), replace(correction(model, 2, 7), task="planted")
    together = replace(other, by="ann, ben", clicks=40)
    write_corrections(pulled.path / "corrections.jsonl", [again, together])
    write_corrections(pulled.path / "checks.jsonl", [planted, other])
    entries = [entry(review, "1"), entry(changed, "1"), entry(again, "2", "keypoint"), entry(other, "3")]
    entries += [entry(replace(other, by="ben", clicks=4), "4"), entry(together, "")]
    write_ledger(pulled.path / LEDGER, entries)
    told = sorted((answer.task, answer.by, answer.clicks) for answer in every_answer(pulled.path))
    assert told == [
        ("planted", "ann", 7),
        ("second look", "ann", 1),
        ("t0", "ann", 5),  # as it was changed last, and no second time
        ("t1", "ann", 2),
        ("t1", "ben", 4),
    ]
    assert Effort.of(pulled.path) == Effort(5, 19)


def test_who_was_opened_is_not_untouched(review_case: Any, scored: Manifest) -> None:
    assert seen(scored.poses(0)).tolist() == [True, True, True, False]
    truth = review_case.write("truth", review_case.truth)
    made = record(scored, truth=truth)
    assert made["counts"] == {"review": 3, "untouched": 3}
    expected = quality(check(scored, truth).take(np.arange(6) >= 3))
    assert made["routed"] == {"untouched": expected, "test": None}
    assert expected is not None
    assert expected["n"] == 3


def test_the_report_reads_what_is_written(review_case: Any, scored: Manifest, tmp_path: Path) -> None:
    import json

    truth = review_case.write("truth", review_case.truth)
    judged = check(scored, truth)
    file = tmp_path / "round.json"
    file.write_text(json.dumps(record(scored, truth=truth, test=judged)))
    read = read_round(file)
    assert (read.number, read.model, read.trained_on, read.opened, read.clicks) == (2, "ab" * 32, 40, 3, 12)
    assert read.seconds == {"train": 1.23}
    assert read.routed.test is not None
    assert read.routed.test.poses == 6
    assert read.routed.test.bad == judged.bad.mean()


def test_without_a_truth_nothing_is_claimed(scored: Manifest) -> None:
    made = record(scored)
    assert made["routed"] == {"untouched": None, "test": None}
    assert made["score"] is None


def test_a_state_that_is_no_word_tells_nothing() -> None:
    states = ["reviewed", ["reviewed"], {"state": "reviewed"}, None, 1]
    poses = Poses.create(1, xy=np.zeros((5, 1, 2)), attributes=[{"state": state} for state in states])
    assert seen(poses).tolist() == [True, False, False, False, False]


def test_quality_of_poses(review_case: Any, scored: Manifest) -> None:
    checked = check(scored, review_case.write("truth", review_case.truth))
    measured = quality(checked)
    assert measured is not None
    assert measured["bad"] == checked.bad.sum() / 6
    assert measured["gross"] == checked.gross.sum() / checked.scored.sum()
    distance = np.linalg.norm(review_case.model.xy - review_case.truth.xy, axis=-1)[:, :16]  # the last one is absent
    assert measured["epe"] == pytest.approx(distance.mean(), rel=1e-5)
    silent = replace(
        checked, scored=np.zeros_like(checked.scored), error=np.full_like(checked.error, np.nan), oks=np.full(6, np.nan)
    )
    assert quality(silent) == {"n": 6, "bad": measured["bad"], "gross": None, "epe": None, "oks": None}
    assert quality(checked.take(np.zeros(6, bool))) is None
