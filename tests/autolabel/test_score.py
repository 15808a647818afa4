"""Doubt: what ranks, what is calibrated, and what is refused."""

import numpy as np
import pytest

from autolabel.errors import ConfigError, InputError
from autolabel.poses import Origin, Poses, Visibility
from autolabel.score import Calibrator, fit_calibrator, prior, score, score_quality

K = 6


def make(n: int, seed: int = 0, *, flip: bool = True) -> tuple[Poses, dict[str, np.ndarray], np.ndarray]:
    """Predicted poses whose keypoints are gross the more likely the lower their peak is: p = 1 - peak."""
    rng = np.random.default_rng(seed)
    ability = rng.uniform(0.3, 1.0, (n, 1))
    peak = np.clip(ability + rng.normal(0, 0.1, (n, K)), 0.02, 0.98)
    gross = rng.random((n, K)) < 1 - peak
    poses = Poses.create(
        K,
        xy=rng.uniform(0, 90, (n, K, 2)),
        visibility=np.full((n, K), Visibility.VISIBLE),
        origin=np.full((n, K), Origin.MODEL),
        box=np.tile([5.0, 5.0, 60.0, 90.0], (n, 1)),
        by=["net"] * n,
    )
    features = {"peak": peak.astype(np.float32)}
    if flip:
        agree = np.clip(peak + rng.normal(0, 0.05, (n, K)), 0, 1).astype(np.float32)
        features |= {"flip_peak": features["peak"], "flip_ks": agree, "swap_ks": np.zeros((n, K), np.float32)}
    return poses, features, gross


def fitted(n: int = 600, **kwargs: bool) -> tuple[Calibrator, np.ndarray]:
    poses, features, gross = make(n, **kwargs)
    bad = gross.sum(axis=1) >= 2
    sizes = np.full((n, 2), 100.0)
    return fit_calibrator(poses, features, sizes, gross=gross, scored=np.ones_like(gross), bad=bad), bad


def test_the_prior_doubts_low_peaks_and_disagreement_more() -> None:
    poses, features, _ = make(1)
    low = {**features, "peak": features["peak"] * 0.5}
    apart = {**features, "flip_ks": features["flip_ks"] * 0.1}
    p_gross, p_bad = prior(poses, features)
    for worse in (low, apart):
        worse_gross, worse_bad = prior(poses, worse)
        assert (worse_gross >= p_gross).all()
        assert worse_bad > p_bad
    assert ((p_gross >= 0) & (p_gross <= 1)).all()


def test_an_absent_keypoint_is_doubted_as_its_map_is_not_empty() -> None:
    poses, features, _ = make(2)
    absent = poses.replace(visibility=np.full((2, K), Visibility.ABSENT))
    p_gross, _ = prior(absent, {**features, "peak": np.array([[0.01] * K, [0.4] * K], np.float32)})
    assert (p_gross[0] < 0.05).all()
    assert (p_gross[1] > 0.7).all()


@pytest.mark.parametrize("flip", [True, False])
def test_calibrated_probabilities_mean_what_they_say(flip: bool) -> None:
    """On average they are right; the least doubted poses are better than promised, none is worse by much."""
    calibrator, _ = fitted(flip=flip)
    poses, features, gross = make(4000, seed=1, flip=flip)
    scored = score(poses, features, np.full((4000, 2), 100.0), calibrator)
    bad = gross.sum(axis=1) >= 2
    for p, truth in ((scored.p_gross.ravel(), gross.ravel()), (scored.p_bad, bad)):
        assert abs(p.mean() - truth.mean()) < 0.03
        for rows in np.array_split(np.argsort(p), 8):
            assert abs(truth[rows].mean() - p[rows].mean()) < 0.09
    quality = score_quality(scored.p_bad, bad)
    assert quality is not None
    assert quality["auroc_bad"] > 0.75


def test_a_calibrator_is_data_and_comes_back_the_same(tmp_path) -> None:
    calibrator, bad = fitted(80)
    calibrator.save(tmp_path / "c.json")
    assert Calibrator.read(tmp_path / "c.json") == calibrator
    assert (calibrator.poses, calibrator.bad) == (80, int(bad.sum()))
    (tmp_path / "c.json").write_text("[]")
    with pytest.raises(ConfigError, match="not a calibrator"):
        Calibrator.read(tmp_path / "c.json")


def test_poses_of_another_network_or_way_to_predict_are_refused() -> None:
    calibrator, _ = fitted(80)
    poses, features, _ = make(3)
    sizes = np.full((3, 2), 100.0)
    with pytest.raises(InputError, match="fitted for network net"):
        score(poses.replace(by=["other"] * 3), features, sizes, calibrator)
    with pytest.raises(InputError, match="without a flip test"):
        score(poses, {"peak": features["peak"]}, sizes, calibrator)


def test_a_pose_without_a_prediction_keeps_no_doubt() -> None:
    poses, features, _ = make(3)
    features["peak"][1] = np.nan
    scored = score(poses, features, np.full((3, 2), 100.0), None)
    assert np.isnan(scored.p_bad).tolist() == [False, True, False]


def test_too_few_checked_poses_fit_nothing() -> None:
    poses, features, gross = make(30)
    with pytest.raises(InputError, match="too few"):
        fit_calibrator(
            poses, features, np.ones((30, 2)), gross=gross, scored=np.ones_like(gross), bad=np.zeros(30, bool)
        )


def test_risk_and_coverage_of_a_perfect_and_a_reversed_doubt() -> None:
    bad = np.array([False] * 6 + [True] * 2)
    perfect = score_quality(np.linspace(0, 1, 8), bad)
    reversed_ = score_quality(np.linspace(1, 0, 8), bad)
    assert perfect is not None
    assert reversed_ is not None
    assert perfect["auroc_bad"] == 1
    assert perfect["risk_coverage"][5] == [0.75, 0.0]
    assert perfect["risk_coverage"][-1] == [1.0, 0.25]
    assert reversed_["auroc_bad"] == 0
    assert score_quality(np.zeros(4), np.zeros(4, bool)) is None
