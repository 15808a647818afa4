"""Doubt: the prior's order, and a calibrator's probabilities against rates that were planted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.errors import ConfigError, InputError
from autolabel.poses import Poses, Visibility
from autolabel.score import (
    KEYPOINT_FEATURES,
    POSE_FEATURES,
    Calibrator,
    Logistic,
    fit_calibrator,
    keypoint_features,
    predicted,
    prior,
    score,
    score_quality,
)

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


def sizes(n: int) -> np.ndarray:
    return np.tile([100.0, 100.0], (n, 1))


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


def test_without_a_flip_test_agreement_is_a_constant() -> None:
    x = keypoint_features(make_poses(3), {"peak": np.random.default_rng(0).random((3, K))})
    names = dict(zip(KEYPOINT_FEATURES, np.moveaxis(x, -1, 0), strict=True))
    assert (names["flip_ks"] == 1).all()
    assert (names["swap_ks"] == 1).all()
    assert np.isfinite(x).all()


def test_an_unpredicted_pose_keeps_what_it_had() -> None:
    peak = np.full((3, K), 0.5)
    peak[1] = np.nan
    poses = make_poses(3, by=["net", "", "net"], box=[[0, 0, 9, 9], [np.nan] * 4, [0, 0, 9, 9]])
    assert predicted({"peak": peak}).tolist() == [True, False, True]
    for calibrator in (None, CALIBRATOR):
        scored = score(poses, {"peak": peak}, sizes(3), calibrator)
        assert np.isnan(scored.p_bad).tolist() == [False, True, False]
        assert np.isnan(scored.p_gross).all(axis=1).tolist() == [False, True, False]


def test_no_poses_are_no_trouble() -> None:
    assert len(score(make_poses(0), {"peak": np.empty((0, K))}, sizes(0), CALIBRATOR)) == 0


def planted(n: int, seed: int) -> tuple[Poses, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Poses whose keypoints are gross with probability 1 / (1 + exp(8 peak - 3)), bad from two of them on."""
    rng = np.random.default_rng(seed)
    quality = rng.beta(2, 2, n)[:, None]  # errors of one pose hang together
    peak = np.clip(quality + rng.normal(0, 0.15, (n, K)), 0, 1)
    gross = rng.random((n, K)) < 1 / (1 + np.exp(8 * peak - 3))
    return make_poses(n), {"peak": peak}, gross, gross.sum(axis=1) >= 2


def fitted(n: int = 3000, seed: int = 0) -> Calibrator:
    poses, features, gross, bad = planted(n, seed)
    everything = np.ones(gross.shape, bool)
    return fit_calibrator(poses, features, sizes(n), gross=gross, scored=everything, bad=bad)


CALIBRATOR = fitted()


def bins(p: np.ndarray, happened: np.ndarray) -> list[tuple[float, float]]:
    order = np.argsort(p)
    return [(float(p[rows].mean()), float(happened[rows].mean())) for rows in np.array_split(order, 8)]


def test_probabilities_match_the_planted_rates_on_fresh_poses() -> None:
    poses, features, gross, bad = planted(4000, seed=1)
    scored = score(poses, features, sizes(4000), CALIBRATOR)
    true = 1 / (1 + np.exp(8 * features["peak"] - 3))
    assert np.abs(scored.p_gross - true).mean() < 0.03
    for mean, rate in bins(scored.p_gross.reshape(-1), gross.reshape(-1)):
        assert mean == pytest.approx(rate, abs=0.03)
    for mean, rate in bins(scored.p_bad, bad):
        assert mean == pytest.approx(rate, abs=0.07)
    assert scored.p_bad.mean() == pytest.approx(bad.mean(), abs=0.03)
    quality = score_quality(scored.p_bad, bad)
    assert quality is not None
    assert quality["auroc_bad"] > 0.85


def test_keypoints_that_the_truth_is_silent_about_teach_nothing() -> None:
    poses, features, gross, bad = planted(500, seed=2)
    scored = np.ones(gross.shape, bool)
    scored[:, 3:] = False
    lies = gross.copy()
    lies[:, 3:] = ~lies[:, 3:]
    one, other = (
        fit_calibrator(poses, features, sizes(500), gross=given, scored=scored, bad=bad) for given in (gross, lies)
    )
    assert one == other


@pytest.mark.parametrize(
    ("bad", "changes", "message"),
    [
        ([True] * 4 + [False] * 16, {}, "20 checked poses with 4 bad ones are too few"),
        ([True] * 16 + [False] * 4, {}, "20 checked poses with 16 bad ones are too few"),
        ([True, False] * 10, {"by": ["net"] * 19 + ["other"]}, "of one network"),
    ],
)
def test_what_cannot_be_fitted_is_refused(bad: list[bool], changes: dict[str, Any], message: str) -> None:
    gross = np.zeros((20, K), bool)
    with pytest.raises(InputError, match=message):
        fit_calibrator(
            make_poses(20, **changes),
            {"peak": np.full((20, K), 0.5)},
            sizes(20),
            gross=gross,
            scored=~gross,
            bad=np.array(bad),
        )


def test_one_kind_of_keypoint_only_gives_the_smoothed_rate() -> None:
    gross = np.zeros((20, K), bool)
    bad = np.arange(20) % 2 == 0  # bad for another reason than their keypoints
    calibrator = fit_calibrator(
        make_poses(20), {"peak": np.full((20, K), 0.5)}, sizes(20), gross=gross, scored=~gross, bad=bad
    )
    scored = score(make_poses(1), {"peak": np.full((1, K), 0.1)}, sizes(1), calibrator)
    assert scored.p_gross == pytest.approx(np.full((1, K), 0.5 / 121))
    assert scored.p_bad == pytest.approx([0.5], abs=0.01)


@pytest.mark.parametrize(
    ("by", "features", "message"),
    [
        ("other", {"peak": np.full((2, K), 0.5)}, "network net without a flip test, these poses are of other without"),
        ("net", with_flip(np.full((2, K), 0.5)), "these poses are of net with a flip test"),
        (
            "net",
            {"peak": np.full((2, K), 0.5), "again": np.zeros(2)},
            "of net without a flip test and with larger crops",
        ),
        ("", {"peak": np.full((2, K), 0.5)}, "these poses are of no network"),
        ("net", {"entropy": np.full((2, K), 0.5)}, "no features to score by"),
    ],
)
def test_a_calibrator_is_for_one_network_and_one_way_to_predict(
    by: str, features: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        score(make_poses(2, by=[by] * 2), features, sizes(2), CALIBRATOR)


def test_a_calibrator_survives_its_file(tmp_path: Path) -> None:
    CALIBRATOR.save(tmp_path / "c.json")
    assert Calibrator.read(tmp_path / "c.json") == CALIBRATOR


def test_a_calibrator_knows_of_larger_crops(tmp_path: Path) -> None:
    poses, features, gross, bad = planted(100, 0)
    everything = np.ones(gross.shape, bool)
    again = {**features, "again": np.zeros(100, np.float32)}
    found = fit_calibrator(poses, again, sizes(100), gross=gross, scored=everything, bad=bad)
    assert found.larger_crop and not CALIBRATOR.larger_crop
    assert np.isfinite(score(poses, again, sizes(100), found).p_bad).all()
    with pytest.raises(InputError, match="without a flip test and with larger crops, these poses are of net without"):
        score(poses, features, sizes(100), found)
    # Files of before there were larger crops.
    (tmp_path / "c.json").write_text(
        json.dumps({name: value for name, value in json.loads(CALIBRATOR.to_json()).items() if name != "larger_crop"})
    )
    assert Calibrator.read(tmp_path / "c.json") == CALIBRATOR


def changed(**values: Any) -> str:
    return json.dumps({**json.loads(CALIBRATOR.to_json()), **values})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"c\.json: cannot be read: .*No such file"),
        ("{", r"c\.json: cannot be read"),
        ("[]", r"c\.json: is not a calibrator"),
        (changed(bda=3), r"c\.json: unknown key 'bda'; did you mean 'bad'\?"),
        (changed(kind="x"), r"c\.json: kind: "),
        (changed(pose={**CALIBRATOR.keypoint.model_dump()}), r"c\.json: it was fitted on other inputs"),
        (changed(keypoint={**CALIBRATOR.keypoint.model_dump(), "weights": [1.0]}), r"keypoint: names, mean, scale"),
        (changed(keypoint={**CALIBRATOR.keypoint.model_dump(), "scale": [0.0] * 7}), r"every scale positive"),
    ],
)
def test_a_file_that_is_no_calibrator_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "c.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        Calibrator.read(tmp_path / "c.json")


def test_far_away_inputs_do_not_overflow() -> None:
    names = POSE_FEATURES[:1]
    steep = Logistic(names=names, mean=(0.0,), scale=(1e-6,), weights=(1.0,), bias=0.0)
    assert steep(np.array([[-1e9], [0.0], [1e9]])).tolist() == [0, 0.5, 1]


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
