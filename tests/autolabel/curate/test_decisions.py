"""Marks become corrections, poses to review and notices."""

from typing import Any

import numpy as np
import pytest

from autolabel.curate.decisions import KIND, decide, order_of_review
from autolabel.curate.documents import SAID, sample_key, to_shares
from autolabel.curate.marks import Mark
from autolabel.merge import KeypointChange, PoseChange, State, Verdict, correct
from autolabel.poses import Origin, Visibility
from tests.curation import some_samples

SAMPLES = some_samples()
SAMPLE = SAMPLES[0]
KEPT = KeypointChange.KEPT


def mark(*tags: str, row: int = 0, **given: Any) -> Mark:
    pose = str(SAMPLE.poses.id[row])
    values = {"on_image": (), "shares": None, "visibility": (), "by": "ann", "at": "2026-11-27T10:00:00+00:00"}
    return Mark(sample_key(SAMPLE), pose, tags, **{**values, "left": False, **given})


def edited(change: Any = None, said: dict[int, str] | None = None, row: int = 0) -> dict[str, Any]:
    """What FiftyOne holds of a pose after somebody changed some points of it."""
    poses = SAMPLE.poses
    shares = to_shares(poses.xy, np.array([SAMPLE.size, SAMPLE.size], float))[row]
    shares[~poses.labelled[row]] = np.nan
    for k, place in (change or {}).items():
        shares[k] = place
    words = [SAID[v] for v in poses.visibility[row]]
    for k, word in (said or {}).items():
        words[k] = word
    return {"shares": shares, "visibility": tuple(words)}


def decided(*marks: Mark):
    return decide(SAMPLES, marks, dataset="d")


def test_accepting_keeps_every_point_and_settles_the_pose() -> None:
    (correction,) = decided(mark("accept")).corrections
    assert (correction.state, correction.change, set(correction.keypoints)) == (State.REVIEWED, PoseChange.KEPT, {KEPT})
    assert (correction.by, correction.when) == ("ann", "2026-11-27T10:00:00+00:00")
    assert correction.after.same(correction.before)
    after = correct(SAMPLE, {correction.pose: correction}).poses
    assert np.array_equal(after.xy[0], SAMPLE.poses.xy[0], equal_nan=True)
    assert after.attributes[0]["state"] == State.REVIEWED


@pytest.mark.parametrize(
    ("on_image", "verdict", "image"), [((), Verdict.NO_PERSON, None), (("reject",), Verdict.BAD_IMAGE, "rejected")]
)
def test_rejecting_a_pose_or_its_image(on_image: Any, verdict: Verdict, image: Any) -> None:
    (correction,) = decided(mark("reject", on_image=on_image)).corrections
    assert (correction.state, correction.verdict) == (State.REJECTED, (verdict,))
    after = correct(SAMPLE, {correction.pose: correction})
    assert after.attributes.get("state") == image
    assert after.poses.attributes[0]["state"] == "rejected"


def test_an_edit_moves_adds_removes_and_marks() -> None:
    change = edited({0: [0.5, 0.25], 3: [0.1, 0.2], 5: [np.nan, np.nan]}, {6: "hidden", 5: "visible"})
    (correction,) = decided(mark(**change)).corrections
    found = {k: c for k, c in enumerate(correction.keypoints) if c is not KEPT}
    assert found == {
        0: KeypointChange.MOVED,
        3: KeypointChange.ADDED,
        5: KeypointChange.REMOVED,
        6: KeypointChange.MARKED,
    }
    assert correction.after.xy[0].tolist() == [0.5 * 300 - 0.5, 0.25 * 240 - 0.5]
    assert correction.after.visibility[[3, 5, 6, 15]].tolist() == [
        Visibility.VISIBLE,
        Visibility.ABSENT,
        Visibility.HIDDEN,
        Visibility.ABSENT,
    ]
    kept = np.array([c is KEPT for c in correction.keypoints])
    assert np.array_equal(correction.after.xy[kept], SAMPLE.poses.xy[0][kept]), "bit by bit"
    after = correct(SAMPLE, {correction.pose: correction}).poses
    assert after.origin[0, [0, 3, 5, 6]].tolist() == [Origin.HUMAN] * 4


def test_the_ledger_knows_who_what_and_when() -> None:
    (entry,) = decided(mark("accept", **edited({0: [0.5, 0.25]}))).entries
    assert (entry.kind, entry.annotation, entry.model, entry.laid) == (KIND, "accept+edited", "net", True)
    assert entry.correction.distance[0] > 1
    assert entry.correction.clicks == 2


@pytest.mark.parametrize("tags", [("send-to-review",), ("wrong-box",)])
def test_what_is_sent_to_review_is_no_correction(tags: tuple[str, ...]) -> None:
    found = decided(mark(*tags))
    assert (found.corrections, found.review, found.notices) == ([], {SAMPLE.poses.id[0]: tags}, [])


def test_an_edited_pose_that_is_sent_to_review_is_both() -> None:
    found = decided(mark("send-to-review", **edited({0: [0.5, 0.25]})))
    assert len(found.corrections) == 1
    assert list(found.review) == [SAMPLE.poses.id[0]]


@pytest.mark.parametrize("tags", [("accept", "reject"), ("accept", "send-to-review"), ("reject", "wrong-box")])
def test_contradictions_go_to_people_and_are_told(tags: tuple[str, ...]) -> None:
    found = decided(mark(*tags))
    assert found.corrections == []
    assert list(found.review) == [SAMPLE.poses.id[0]]
    assert "contradict" in found.notices[0].what


def test_marks_on_what_left_the_manifest_are_told() -> None:
    gone = mark("accept")
    gone = Mark("f" * 32, "e" * 32, gone.tags, (), None, (), gone.by, gone.at, left=True)
    found = decided(gone, mark("accept", row=1))
    assert [c.pose for c in found.corrections] == [SAMPLE.poses.id[1]]
    assert "not in the manifest" in found.notices[0].what


def test_an_edit_back_to_what_the_manifest_says_is_no_correction() -> None:
    found = decided(mark(**edited()))
    assert found.corrections == []
    assert "says already" in found.notices[0].what


def test_wrong_boxes_are_reviewed_first() -> None:
    assert order_of_review({"a": ["send-to-review"], "b": ["wrong-box"]}) == ["b", "a"]
