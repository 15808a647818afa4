"""Measures of doubt, against their definitions by brute force."""

from itertools import permutations

import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.presence import auroc
from autolabel.score_quality import (
    RiskCurve,
    brier_skill,
    doubt_quality,
    equal_mass,
    risk_curve,
)

NAN = float("nan")


def doubts(count: int = 60, levels: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities with ties, and what came true."""
    rng = np.random.default_rng(seed)
    doubt = rng.integers(0, levels + 1, count) / levels
    return doubt, rng.random(count) < 0.1 + 0.7 * doubt


def mean_risk(bad: np.ndarray) -> float:
    """AURC of poses in a given order, by its definition."""
    return float(np.mean([bad[: n + 1].mean() for n in range(len(bad))]))


def all_orders(doubt: np.ndarray, bad: np.ndarray) -> list[np.ndarray]:
    """The truths in every order that the doubts allow."""
    rows = (np.array(order) for order in permutations(range(len(doubt))))
    return [bad[order] for order in rows if (np.diff(doubt[order]) >= 0).all()]


@pytest.mark.parametrize("seed", range(3))
def test_without_ties_the_measures_are_their_definitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    doubt, bad = rng.random(40), rng.random(40) < 0.3
    ordered, curve = bad[np.argsort(doubt)], risk_curve(doubt, bad)
    assert curve.aurc()[0] == pytest.approx(mean_risk(ordered))
    assert curve.excess_aurc()[0] == pytest.approx(mean_risk(ordered) - mean_risk(np.sort(bad)))
    for limit in (0.0, 0.05, 0.2, 1.0):
        allowed = [n for n in range(1, 41) if ordered[:n].mean() <= limit]
        assert curve.coverage(limit)[0] == pytest.approx(max(allowed, default=0) / 40)
    for share in (0.01, 0.5, 0.51, 1.0):
        assert curve.risk_at(share)[0] == pytest.approx(ordered[: int(np.ceil(share * 40))].mean())
    assert curve.auroc()[0] == pytest.approx(auroc(doubt, bad))
    assert curve.risk[0, 1:] == pytest.approx(np.cumsum(ordered) / np.arange(1, 41))


@pytest.mark.parametrize(
    ("doubt", "bad"),
    [
        ([0.1, 0.1, 0.1, 0.5, 0.5, 0.9], [0, 1, 0, 1, 0, 1]),
        ([0.5] * 6, [1, 0, 0, 0, 1, 0]),  # nothing is ranked
        ([0.1, 0.2, 0.2, 0.2, 0.2, 0.3], [1, 0, 0, 1, 1, 0]),
    ],
)
def test_equal_doubts_are_averaged_over_their_orders(doubt: list[float], bad: list[int]) -> None:
    doubts, truth = np.array(doubt), np.array(bad, bool)
    orders, curve = all_orders(doubts, truth), risk_curve(doubts, truth)
    assert curve.aurc()[0] == pytest.approx(np.mean([mean_risk(order) for order in orders]))
    for n in range(1, 7):
        assert curve.risk_at(n / 6)[0] == pytest.approx(np.mean([order[:n].mean() for order in orders]))
    assert curve.auroc()[0] == pytest.approx(auroc(doubts, truth))


def test_a_block_is_kept_whole_or_not_at_all() -> None:
    curve = risk_curve([0.1, 0.4, 0.4, 0.4, 0.9], [False, False, False, True, False])
    assert curve.coverage(0.2)[0] == pytest.approx(1.0)  # 1 of 5
    assert curve.coverage(0.19)[0] == pytest.approx(0.2)  # with the block it would be 1 of 4
    assert risk_curve([0.5, 0.5], [True, False]).coverage(0.4)[0] == 0


def test_weights_are_the_poses_repeated() -> None:
    doubt, bad = doubts()
    weights = np.random.default_rng(1).integers(0, 4, (7, len(doubt)))
    weights[6] = 0  # a resample without any of them
    curve = risk_curve(doubt, bad, weights)
    for b in range(6):
        alone = risk_curve(np.repeat(doubt, weights[b]), np.repeat(bad, weights[b]))
        for measure in (RiskCurve.aurc, RiskCurve.excess_aurc, RiskCurve.auroc):
            assert measure(curve)[b] == pytest.approx(measure(alone)[0])
        assert curve.coverage(0.2)[b] == pytest.approx(alone.coverage(0.2)[0])
        assert curve.risk_at(0.7)[b] == pytest.approx(alone.risk_at(0.7)[0])
    assert np.isnan([curve.aurc()[6], curve.coverage(0.2)[6], curve.risk_at(0.7)[6], curve.auroc()[6]]).all()


@pytest.mark.parametrize(("count", "bins"), [(45, 15), (47, 15), (10, 15), (1, 15)])
def test_bins_hold_equally_many_and_the_order_of_equals_does_not_matter(count: int, bins: int) -> None:
    doubt, bad = doubts(count)
    found = equal_mass(doubt, bad, bins)
    assert found.count.sum() == count and np.ptp(found.count) <= 1 and len(found.count) == min(bins, count)
    assert (np.diff(found.said) >= 0).all()
    assert np.average(found.true, weights=found.count) == pytest.approx(bad.mean())
    shuffled = np.random.default_rng(3).permutation(count)
    assert equal_mass(doubt[shuffled], bad[shuffled], bins).error == pytest.approx(found.error)


def test_calibration_error_by_hand() -> None:
    said, bad = [0.1, 0.1, 0.2, 0.3, 0.8, 0.9], [False, False, True, False, True, True]
    assert equal_mass(said, bad, 3).error == pytest.approx((0.1 + 0.25 + 0.15) / 3)


def test_a_constant_at_the_base_rate_is_calibrated_and_has_no_skill() -> None:
    bad = np.random.default_rng(0).random(1000) < 0.2
    said = np.full(1000, bad.mean())
    assert equal_mass(said, bad).error == pytest.approx(0, abs=1e-12)
    assert brier_skill(said, bad) == pytest.approx(0)
    assert brier_skill(bad.astype(float), bad) == 1
    assert brier_skill(~bad, bad) < 0


def test_everything_at_once_leaves_out_what_has_no_doubt() -> None:
    doubt, bad = doubts()
    found = doubt_quality([*doubt, NAN], [*bad, True])
    assert (found.poses, found.bad) == (60, pytest.approx(bad.mean()))
    curve = risk_curve(doubt, bad)
    assert found.aurc == curve.aurc()[0] and found.excess_aurc == curve.excess_aurc()[0]
    assert found.coverage == {limit: curve.coverage(limit)[0] for limit in (0.01, 0.02, 0.05)}
    assert found.risk[0.7] == curve.risk_at(0.7)[0]
    assert found.reliability.error == equal_mass(doubt, bad).error
    assert "60 poses" in found.told() and "AUROC" in found.told()


@pytest.mark.parametrize("bad", [[False, False], [True, True], [True]])
def test_alike_poses_cannot_be_ranked(bad: list[bool]) -> None:
    found = doubt_quality([0.2, 0.4][: len(bad)], bad)
    assert np.isnan(found.auroc) and np.isnan(found.brier_skill)
    assert found.aurc == pytest.approx(float(bad[0])) and found.excess_aurc == pytest.approx(0)
    assert found.coverage[0.02] == 1 - bad[0]


def test_nothing() -> None:
    curve = risk_curve([], [])
    assert np.isnan([curve.aurc()[0], curve.coverage(0.1)[0], curve.risk_at(0.5)[0], curve.auroc()[0]]).all()
    assert len(equal_mass([], []).count) == 0 and np.isnan(brier_skill([], []))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: risk_curve([0.1, NAN], [True, False]), "doubt 1 is NaN"),
        (lambda: risk_curve([0.1], [True, False]), r"not \(N,\) each"),
        (lambda: risk_curve([[0.1]], [[True]]), r"not \(N,\) each"),
        (lambda: risk_curve([0.1, 0.2], [True, False], [[1]]), r"not \(B, N\)"),
        (lambda: equal_mass([1.5], [True]), "not in 0..1"),
        (lambda: brier_skill([NAN], [True]), "NaN"),
        (lambda: doubt_quality([NAN, NAN], [True, False]), "no pose has a doubt"),
        (lambda: doubt_quality([0.5], [True, False]), r"not \(N,\) each"),
    ],
)
def test_refusals(call, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()
