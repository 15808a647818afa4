"""The calibrator: probabilities against rates that were planted, what it refuses, and bad input of every kind."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.calibration import fit
from autolabel.calibrator import Calibrator, doubt
from autolabel.errors import ConfigError, InputError
from autolabel.poses import Poses, Visibility
from autolabel.prediction_record import Predicted
from autolabel.score_quality import doubt_quality
from autolabel.skeleton import Skeleton

SKELETON = Skeleton.load("lsp14")
K = 14
HOW = Predicted(model="net", flip_test=False, larger_crop=False, precision="fp32", device="cpu", boxes="manifest")


@dataclass(frozen=True, eq=False)
class Case:
    poses: Poses
    features: dict[str, np.ndarray]
    truth: np.ndarray
    gross: np.ndarray
    scored: np.ndarray
    bad: np.ndarray
    error: np.ndarray
    group: np.ndarray


def planted(n: int, seed: int = 0, **changes: Any) -> Case:
    """Keypoints are gross with probability 1 / (1 + exp(8 peak - 1.5)), poses bad from two of them on."""
    rng = np.random.default_rng(seed)
    quality = rng.beta(3, 2, n)[:, None]  # errors of one pose hang together
    peak = np.clip(quality + rng.normal(0, 0.15, (n, K)), 0, 1)
    gross = rng.random((n, K)) < 1 / (1 + np.exp(8 * peak - 1.5))
    side = rng.uniform(40, 200, n)
    truth = rng.uniform(0, 1, (n, K, 2)) * side[:, None, None]
    error = np.where(gross, 0.3, 0.02) * side[:, None] * rng.uniform(0.5, 1.5, (n, K))
    poses = Poses.create(
        K,
        id=[f"p{i}" for i in range(n)],
        xy=truth + error[..., None] / np.sqrt(2),
        visibility=np.full((n, K), Visibility.VISIBLE),
        box=np.stack([side * 0, side * 0, side, side], axis=1),
        by=["net"] * n,
    )
    features = {"peak": peak, "second": rng.random((n, K)), "embedding": rng.normal(size=(n, 8))}
    case = Case(poses, features, truth, gross, np.ones((n, K), bool), gross.sum(axis=1) >= 2, error, np.arange(n) // 2)
    return replace(case, **changes)


@pytest.fixture(scope="module")
def fitted() -> Calibrator:
    return fit(planted(2000), skeleton=SKELETON, predicted=HOW)


def test_probabilities_match_the_planted_rates_on_fresh_poses(fitted: Calibrator) -> None:
    fresh = planted(3000, 1)
    found = doubt(fitted, fresh.poses, fresh.features, SKELETON)
    true = 1 / (1 + np.exp(8 * fresh.features["peak"] - 1.5))
    assert np.abs(found.p_gross - true).mean() < 0.03
    quality = doubt_quality(found.p_bad, fresh.bad)
    peak = doubt_quality(1 - fresh.features["peak"].mean(axis=1), fresh.bad)
    assert quality.reliability.error < 0.04
    assert quality.brier_skill > 0.4
    assert quality.aurc < peak.aurc + 0.005, "it ranks as well as the one feature that tells anything"
    assert found.error.mean() == pytest.approx(fresh.error.mean(), rel=0.1)
    wrong = found.error[fresh.features["peak"] < 0.2].mean()
    assert wrong > 3 * found.error[fresh.features["peak"] > 0.8].mean()


def test_what_it_says_of_its_own_poses_is_held_out(fitted: Calibrator) -> None:
    said, bad = np.array(fitted.held_out).T
    assert (len(said), int(bad.sum())) == (fitted.poses, fitted.bad)
    fresh = planted(2000, 2)
    there = doubt_quality(doubt(fitted, fresh.poses, fresh.features, SKELETON).p_bad, fresh.bad)
    assert doubt_quality(said, bad.astype(bool)).auroc == pytest.approx(there.auroc, abs=0.02)


def test_no_two_poses_are_thrown_together(fitted: Calibrator) -> None:
    """Coverage at a small share of bad poses lives on the order of the least doubted."""
    fresh = planted(1000, 3)
    p_bad = doubt(fitted, fresh.poses, fresh.features, SKELETON).p_bad
    assert len(np.unique(p_bad)) > 950


def test_a_lower_peak_is_never_less_doubtful(fitted: Calibrator) -> None:
    one = planted(1, 4)
    poses = one.poses.take(np.zeros(40, int))
    peak = np.full((40, K), 0.7)
    peak[:, 5] = np.linspace(0, 1, 40)
    features = {"peak": peak, "second": np.full((40, K), 0.3), "embedding": np.zeros((40, 8))}
    found = doubt(fitted, poses, features, SKELETON)
    assert (np.diff(found.p_gross[:, 5]) <= 1e-9).all()
    assert (np.diff(found.p_bad) <= 1e-9).all()


def test_the_same_poses_give_the_same_calibrator() -> None:
    one, other = (fit(planted(150), skeleton=SKELETON, predicted=HOW) for _ in range(2))
    assert one == other
    assert fit(planted(150), skeleton=SKELETON, predicted=HOW, seed=1) != one


def test_a_calibrator_survives_its_file(fitted: Calibrator, tmp_path: Path) -> None:
    fitted.save(tmp_path / "c.json")
    again = Calibrator.read(tmp_path / "c.json")
    assert again == fitted
    fresh = planted(50, 5)
    one, other = (doubt(c, fresh.poses, fresh.features, SKELETON).p_bad for c in (fitted, again))
    assert np.array_equal(one, other)


def test_keypoints_that_the_truth_is_silent_about_teach_nothing() -> None:
    case = planted(300)
    scored = case.scored.copy()
    scored[:, 3:] = False
    lies = case.gross.copy()
    lies[:, 3:] = ~lies[:, 3:]
    truths = [replace(case, scored=scored, gross=gross) for gross in (case.gross, lies)]
    one, other = (fit(c, skeleton=SKELETON, predicted=HOW) for c in truths)
    assert one.keypoint == other.keypoint
    assert one.keypoint_curves == other.keypoint_curves


def test_evidence_can_be_left_out() -> None:
    found = fit(planted(200), skeleton=SKELETON, predicted=HOW, without=["second", "bones", "residual", "novelty"])
    assert found.uses == {"peak"}
    assert found.posture is None
    assert found.familiarity is None
    with pytest.raises(InputError, match="no such evidence: seconds"):
        fit(planted(200), skeleton=SKELETON, predicted=HOW, without=["seconds"])


def nothing_known(case: Case) -> Case:
    return replace(case, features={"peak": np.full_like(case.features["peak"], np.nan)})


def constant(case: Case) -> Case:
    return replace(case, features={"peak": np.full_like(case.features["peak"], 0.5)})


def one_fold_has_all_bad(case: Case) -> Case:
    return replace(case, group=np.where(case.bad, 0, case.group + 1))


def one_group(case: Case) -> Case:
    return replace(case, group=np.zeros(len(case.group), int))


def no_truth_of_places(case: Case) -> Case:
    return replace(case, truth=np.full_like(case.truth, np.nan), error=np.full_like(case.error, np.nan))


def all_absent(case: Case) -> Case:
    return replace(case, poses=case.poses.replace(visibility=np.full((len(case.bad), K), Visibility.ABSENT)))


def without_boxes(case: Case) -> Case:
    return replace(case, poses=case.poses.replace(box=np.full((len(case.bad), 4), np.nan)))


def infinite(case: Case) -> Case:
    peak = case.features["peak"].copy()
    peak[::7] = np.inf
    peak[::5] = np.nan
    return replace(case, features={**case.features, "peak": peak})


@pytest.mark.parametrize(
    "spoil",
    [
        nothing_known, constant, one_fold_has_all_bad, one_group, no_truth_of_places, all_absent, without_boxes,
        infinite,
    ],
)  # fmt: skip
@pytest.mark.parametrize("n", [40, 300])
def test_poor_poses_give_a_calibrator_all_the_same(spoil: Any, n: int) -> None:
    case = spoil(planted(n))
    found = fit(case, skeleton=SKELETON, predicted=HOW)
    said = doubt(found, case.poses, case.features, SKELETON)
    for values in (said.p_bad, said.p_gross):
        assert np.isfinite(values).all()
        assert ((values >= 0) & (values <= 1)).all()
    if spoil is not one_fold_has_all_bad:  # nothing was ever held out that was bad
        assert said.p_bad.mean() == pytest.approx(case.bad.mean(), abs=0.15)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(40, bool), "40 checked poses with 0 bad ones are too few"),
        (np.ones(40, bool), "40 checked poses with 40 bad ones are too few"),
        (np.arange(40) < 4, "with 4 bad ones are too few"),
        (np.zeros(0, bool), "0 checked poses with 0 bad ones"),
    ],
)
def test_too_few_of_one_kind_is_refused(bad: np.ndarray, message: str) -> None:
    case = replace(planted(len(bad)), bad=bad)
    with pytest.raises(InputError, match=message):
        fit(case, skeleton=SKELETON, predicted=HOW)


def test_a_truth_that_says_nothing_is_refused() -> None:
    case = planted(40)
    with pytest.raises(InputError, match="says nothing about any keypoint"):
        fit(replace(case, scored=np.zeros_like(case.scored)), skeleton=SKELETON, predicted=HOW)


FEATURES = ("peak", "second", "embedding")


@pytest.mark.parametrize(
    ("changes", "features", "skeleton", "message"),
    [
        ({"model": "other"}, FEATURES, "lsp14", "was fitted for model net, these other"),
        ({"flip_test": True}, FEATURES, "lsp14", "flip test off, these on"),
        ({"larger_crop": True}, FEATURES, "lsp14", "larger crop off, these on"),
        ({"jitter": True}, FEATURES, "lsp14", "jitter off, these on"),
        ({"quality": "abc"}, FEATURES, "lsp14", "quality none, these abc"),
        ({"input_size": (64, 48)}, FEATURES, "lsp14", "input size none, these .64, 48."),
        ({"precision": "bf16"}, FEATURES, "lsp14", "precision fp32, these bf16"),
        ({"backend": "openvino"}, FEATURES, "lsp14", "backend torch, these openvino"),
        ({"boxes": "file"}, FEATURES, "lsp14", "boxes manifest, these file"),
        ({}, ("peak", "embedding"), "lsp14", "features that these lack: second"),
        ({}, FEATURES, "coco17", "another skeleton"),
    ],
)
def test_a_calibrator_is_for_one_network_and_one_way_to_predict(
    fitted: Calibrator, changes: dict[str, Any], features: tuple[str, ...], skeleton: str, message: str
) -> None:
    assert "second" in fitted.uses
    assert not {"entropy", "novelty", "edge"} & fitted.uses, "worth nothing to the models"
    how = Predicted(**{**HOW.model_dump(), **changes})
    with pytest.raises(InputError, match=rf"(?s){message}.*--force"):
        fitted.require_fits(how, Skeleton.load(skeleton), features)
    fitted.require_fits(HOW, SKELETON, FEATURES)
    fitted.require_fits(Predicted(**{**HOW.model_dump(), "device": "cuda"}), SKELETON, FEATURES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, r"c\.json: cannot be read: .*No such file"),
        ("{", r"c\.json: cannot be read"),
        ("[]", r"c\.json: is not a calibrator"),
        ({"kind": "autolabel-calibrator-1"}, r"older version.*Fit it again"),
        ({"kind": "x"}, r"c\.json: kind: "),
        ({"bda": 3}, r"c\.json: unknown key 'bda'; did you mean 'bad'\?"),
        ({"error": {"text": "import os", "inputs": 3}}, r"no trees in LightGBM's text format"),
    ],
)
def test_a_file_that_is_no_calibrator_is_refused(fitted: Calibrator, tmp_path: Path, change: Any, message: str) -> None:
    if change is not None:
        text = change if isinstance(change, str) else json.dumps({**json.loads(fitted.to_json()), **change})
        (tmp_path / "c.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        Calibrator.read(tmp_path / "c.json")
