"""Measures of probabilities, against their definitions and scikit-learn."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score

from autolabel.errors import InputError
from autolabel.presence import auroc, brier, reliability


def said(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities in steps of 1/16, so that there are ties, and what came true."""
    rng = np.random.default_rng(seed)
    probability = rng.integers(0, 17, count) / 16
    return probability, rng.random(count) < 0.2 + 0.6 * probability


def by_pairs(score: np.ndarray, truth: np.ndarray) -> float:
    """The definition: over all pairs of a true and a false one."""
    above = score[truth][:, None] - score[~truth][None]
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


@pytest.mark.parametrize("seed", range(3))
def test_measures_are_the_references(seed: int) -> None:
    probability, truth = said(seed=seed)
    assert auroc(probability, truth) == pytest.approx(by_pairs(probability, truth), abs=1e-12)
    assert auroc(probability, truth) == pytest.approx(roc_auc_score(truth, probability))
    assert brier(probability, truth) == pytest.approx(brier_score_loss(truth, probability))
    found = reliability(
        probability + 1e-9 * (0.5 - probability), truth, bins=5
    )  # off the edges, which sklearn cuts right
    true, mean = calibration_curve(truth, probability + 1e-9 * (0.5 - probability), n_bins=5)
    assert found.said == pytest.approx(mean) and found.true == pytest.approx(true)
    assert found.error == pytest.approx(np.abs(found.said - found.true) @ found.count / len(truth))
    assert found.error > 0.05 and found.count.sum() == len(truth)


@pytest.mark.parametrize(
    ("score", "truth", "expected"),
    [
        ([0.1, 0.9], [False, True], 1.0),
        ([0.9, 0.1], [False, True], 0.0),
        ([0.5, 0.5, 0.5], [False, True, True], 0.5),  # nothing is ranked
        ([0.5, 0.9], [True, True], np.nan),  # no pair
        ([], [], np.nan),
    ],
)
def test_ranks(score: list[float], truth: list[bool], expected: float) -> None:
    assert auroc(score, truth) == pytest.approx(expected, nan_ok=True)


def test_bins_hold_their_lower_edge_and_the_last_one_its_upper() -> None:
    found = reliability([0.0, 0.1, 0.25, 0.5, 1.0], [False, False, True, True, True], bins=4)
    assert found.count.tolist() == [2, 1, 1, 1]
    assert found.said.tolist() == [0.05, 0.25, 0.5, 1.0]
    nothing = reliability([], [])
    assert nothing.count.tolist() == [] and np.isnan(nothing.error) and np.isnan(brier([], []))


def test_what_cannot_be_measured_is_refused() -> None:
    for measure in (auroc, brier, reliability):
        with pytest.raises(InputError, match="score 1 is NaN"):
            measure([0.5, np.nan], [True, False])
        with pytest.raises(InputError, match=r"\(2,\) and truth \(1,\)"):
            measure([0.5, 0.1], [True])
    with pytest.raises(InputError, match=r"0\.5 to 1\.5 are not in 0\.\.1"):
        reliability([0.5, 1.5], [True, True])
