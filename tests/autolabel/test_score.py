"""Doubt: the prior's order, what a calibrator's word becomes, and how good doubts are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.errors import InputError
from autolabel.poses import Poses, Visibility
from autolabel.score import REASONS, predicted, prior, score, score_quality
from autolabel.skeleton import Skeleton

NAMES = ("nose", "neck", "left_hand", "right_hand", "left_foot", "right_foot")
SKELETON = Skeleton(
    name="six", keypoints=NAMES, edges=((0, 1), (1, 2), (1, 3), (1, 4), (1, 5)), flip=(0, 1, 3, 2, 5, 4),
    sigmas=(0.05,) * 6, sigma_source="",
)  # fmt: skip
K = 6


def make_poses(n: int, **given: Any) -> Poses:
    values = {
        "id": [f"p{i}" for i in range(n)],
        "xy": np.zeros((n, K, 2)),
        "visibility": np.full((n, K), Visibility.VISIBLE),
        "box": np.tile([10.0, 10.0, 50.0, 90.0], (n, 1)),
        "by": ["net"] * n,
    }
    return Poses.create(K, **{**values, **given})


def with_flip(peak: np.ndarray, ks: np.ndarray | float = 0.9) -> dict[str, np.ndarray]:
    agreement = np.broadcast_to(ks, peak.shape)
    return {"peak": peak, "flip_peak": peak, "flip_ks": agreement, "swap_ks": 1 - agreement}


peaks = st.floats(0, 1.2)


@given(peaks, peaks, st.floats(0, 1), st.booleans())
def test_a_lower_peak_is_never_less_doubtful(a: float, b: float, ks: float, flip: bool) -> None:
    low, high = sorted((a, b))
    peak = np.full((2, K), 0.7)
    peak[:, 2] = low, high
    features = with_flip(peak, ks) if flip else {"peak": peak}
    p_gross, p_bad = prior(make_poses(2), features)
    assert p_gross[0, 2] >= p_gross[1, 2]
    assert p_bad[0] >= p_bad[1]
    assert ((p_gross >= 0) & (p_gross <= 1)).all()
    assert ((p_bad >= 0) & (p_bad <= 1)).all()


def test_disagreement_with_the_mirrored_image_is_doubtful() -> None:
    agreement = np.full((2, K), 0.95)
    agreement[1, :2] = 0.1
    p_gross, p_bad = prior(make_poses(2), with_flip(np.full((2, K), 0.8), agreement))
    assert (p_gross[1, :2] > p_gross[0, :2] + 0.3).all()
    assert p_bad[1] > p_bad[0] + 0.3, "two doubtful keypoints make a doubtful pose"


def test_one_doubtful_keypoint_makes_no_doubtful_pose() -> None:
    peak = np.full((2, K), 0.9)
    peak[0, 0] = 0.0
    _, p_bad = prior(make_poses(2), {"peak": peak})
    assert p_bad[0] == pytest.approx(max(p_bad[1], (1 + 5 * (1 - np.sqrt(0.9))) / 6))


def test_an_absent_keypoint_is_doubtful_where_its_map_is_not_empty() -> None:
    visibility = np.full((2, K), Visibility.VISIBLE)
    visibility[:, 0] = Visibility.ABSENT
    peak = np.full((2, K), 0.9)
    peak[:, 0] = 0.02, 0.4
    p_gross, _ = prior(make_poses(2, visibility=visibility), {"peak": peak})
    assert p_gross[:, 0] == pytest.approx([0.04, 0.8])


def test_an_unpredicted_pose_keeps_what_it_had() -> None:
    peak = np.full((3, K), 0.5)
    peak[1] = np.nan
    poses = make_poses(3, by=["net", "", "net"], box=[[0, 0, 9, 9], [np.nan] * 4, [0, 0, 9, 9]])
    assert predicted({"peak": peak}).tolist() == [True, False, True]
    scored = score(poses, {"peak": peak}, SKELETON, None)
    assert np.isnan(scored.poses.p_bad).tolist() == [False, True, False]
    assert np.isnan(scored.poses.p_gross).all(axis=1).tolist() == [False, True, False]
    assert np.isnan(scored.expected_error).all(), "a prior expects no distance"


def test_no_poses_are_no_trouble() -> None:
    scored = score(make_poses(0), {"peak": np.empty((0, K))}, SKELETON, None)
    assert (len(scored.poses), scored.expected_error.shape) == (0, (0, K))


def test_without_peaks_there_is_nothing_to_score_by() -> None:
    with pytest.raises(InputError, match="no features to score by"):
        score(make_poses(1), {"entropy": np.zeros((1, K))}, SKELETON, None)


def test_reasons_are_told_anew_and_only_where_there_are_some() -> None:
    peak = np.full((2, K), 0.95)
    peak[0, 2] = 0.05
    attributes = [{REASONS: ["old"], "state": "review"}, {REASONS: ["old"]}]
    poses = score(make_poses(2, attributes=attributes), {"peak": peak}, SKELETON, None).poses
    assert poses.attributes[0]["state"] == "review"
    told = poses.attributes[0][REASONS]
    assert told[0]["keypoints"] == ["left_hand"]
    assert "left hand" in told[0]["text"]
    assert told[0]["feature"] == "peak"
    assert REASONS not in poses.attributes[1]


def test_quality_of_a_perfect_and_of_a_useless_doubt() -> None:
    bad = np.arange(100) < 20
    perfect = score_quality(np.where(bad, 0.9, 0.1), bad)
    assert perfect is not None
    assert perfect["auroc_bad"] == 1
    coverage = dict(perfect["risk_coverage"])
    assert coverage[1.0] == pytest.approx(0.2)
    assert all(risk == 0 for share, risk in coverage.items() if share <= 0.8)
    assert sum(n for *_, n in perfect["reliability"]) == 100
    useless = score_quality(np.full(100, 0.2), bad)
    assert useless is not None
    assert useless["auroc_bad"] == 0.5
    assert score_quality([0.1, np.nan], [False, True]) is None, "what has no doubt is left out"
    assert score_quality([], []) is None
