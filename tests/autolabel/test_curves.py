"""Curves from log-odds to probabilities: calibrated, rising, and never throwing poses together."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit

from autolabel.curves import Curve, Curves, fit_curve, fit_curves


def planted(n: int, seed: int, slope: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds that are wrong by a factor, and answers."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 3, n)
    return z, rng.random(n) < expit(slope * z - 1)


def test_a_curve_corrects_log_odds() -> None:
    z, y = planted(20_000, 0)
    fresh, _ = planted(2_000, 1)
    assert np.abs(expit(fit_curve(z, y)(fresh)) - expit(0.5 * fresh - 1)).mean() < 0.02


def test_the_order_survives_strictly_at_both_ends() -> None:
    z, y = planted(1_000, 2)
    ends = np.concatenate([np.linspace(-30, -8, 50), np.linspace(8, 30, 50)])
    said = fit_curve(z, y)(ends)
    assert (np.diff(said[:50]) > 0).all()
    assert (np.diff(said[50:]) > 0).all()


@pytest.mark.parametrize(
    ("z", "y"),
    [
        (np.zeros(0), np.zeros(0, bool)),
        (np.arange(10.0), np.arange(10) > 5),  # too few
        (np.arange(100.0), np.zeros(100, bool)),  # all answers alike
        (np.arange(100.0), np.ones(100, bool)),
    ],
)
def test_where_nothing_can_be_learnt_the_curve_is_the_identity(z: np.ndarray, y: np.ndarray) -> None:
    assert fit_curve(z, y) == Curve()
    assert fit_curve(z, y)(np.array([-1.0, 2.0])).tolist() == [-1, 2]


def test_constant_log_odds_become_the_rate() -> None:
    y = np.arange(200) % 4 == 0
    assert expit(fit_curve(np.zeros(200), y)(np.zeros(1))) == pytest.approx(0.25, abs=0.01)


def test_a_cell_has_its_own_curve_and_a_small_one_leans_on_all() -> None:
    rng = np.random.default_rng(3)
    n = 20_000
    z, size = rng.normal(0, 2, n), rng.uniform(3, 6, n)
    group = np.where(np.arange(n) < 19_950, 0, 1)
    shift = np.where(size > 5, 2.0, 0.0)  # large people are wrong more often than their log-odds say
    y = rng.random(n) < expit(z + shift)
    curves = fit_curves(z, y, group, size, groups=2)
    zero = np.zeros(2, np.intp)
    small, large = curves(np.zeros(2), zero, np.array([3.5, 5.8]))
    assert small == pytest.approx(0.5, abs=0.05)
    assert large == pytest.approx(expit(2.0), abs=0.05)
    other = curves(np.zeros(2), zero + 1, np.array([3.5, 5.8]))
    assert other == pytest.approx(expit(curves.overall(np.zeros(2))), abs=0.05)


def test_no_rows_are_no_trouble() -> None:
    none = np.zeros(0)
    curves = fit_curves(none, none.astype(bool), none.astype(np.intp), none, groups=3)
    assert curves(np.zeros(1), np.zeros(1, np.intp), np.zeros(1)).tolist() == [0.5]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Curve(at=(0.0, 0.0), to=(0.0, 1.0)), "must ascend"),
        (lambda: Curve(at=(0.0, 1.0), to=(1.0, 0.0)), "must ascend"),
        (lambda: Curve(at=(0.0,), to=()), "1 knots for 0 values"),
        (lambda: Curves(borders=(1.0,), overall=Curve(), cells=((Curve(),),)), "a curve for each size bin"),
    ],
)
def test_a_curve_cannot_exist_wrong(make: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make()  # type: ignore[operator]
