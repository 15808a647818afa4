"""Monotone models: they learn what was planted, keep to their directions, and take whatever is thrown at them."""

import json

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit

from autolabel.monotone import Ranker, Trees, fit_ranker, fit_regression

NAMES = ("a", "b", "c")


def planted(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs of which the first one matters downwards, the second in a step, the third not at all; answers; folds."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    y = rng.random(n) < expit(-1.5 * x[:, 0] + 3 * (x[:, 1] > 1))
    return x, y, np.arange(n) % 5


def loss(z: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, np.where(y, -z, z))))


def test_trees_are_grown_where_they_are_worth_something_and_only_there() -> None:
    x, y, fold = planted(4000)
    ranker, held = fit_ranker(NAMES, x, y, (-1, 1, 0), fold)
    fresh, answers, _ = planted(4000, 1)
    assert ranker.trees.text
    assert loss(ranker(fresh), answers) < loss(ranker.linear(fresh), answers) - 0.01
    assert loss(held, y) == pytest.approx(loss(ranker(fresh), answers), abs=0.03)
    few, answers, fold = planted(60)
    assert not fit_ranker(NAMES, few, answers, (-1, 1, 0), fold)[0].trees.text


def test_held_out_log_odds_do_not_depend_on_the_rows_own_answers() -> None:
    x, y, fold = planted(60)  # too few for trees, whose number all rows decide together
    _, held = fit_ranker(NAMES, x, y, (-1, 1, 0), fold)
    _, other = fit_ranker(NAMES, x, np.where(fold == 2, ~y, y), (-1, 1, 0), fold)
    assert np.array_equal(held[fold == 2], other[fold == 2])
    assert not np.allclose(held[fold == 1], other[fold == 1])


@pytest.mark.parametrize("seed", range(3))
def test_directions_hold_everywhere(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1500, 3))
    y = rng.random(1500) < expit(2 * x[:, 0] - np.abs(x[:, 1]))  # the first goes against its direction
    ranker, _ = fit_ranker(NAMES, x, y, (-1, -1, 0), np.arange(1500) % 5, seed=seed)
    line = np.linspace(-4, 4, 50)
    for column in (0, 1):
        rows = np.repeat(rng.normal(size=(20, 1, 3)), 50, axis=1)
        rows[..., column] = line
        assert (np.diff(ranker(rows.reshape(-1, 3)).reshape(20, 50)) <= 1e-9).all()


def test_unknown_inputs_are_taken() -> None:
    x, y, fold = planted(1000)
    x[::3, 1] = np.nan
    ranker, held = fit_ranker(NAMES, x, y, (-1, 1, 0), fold)
    assert np.isfinite(held).all()
    assert np.isfinite(ranker(np.full((2, 3), np.nan))).all()


def test_one_answer_only_gives_the_smoothed_rate() -> None:
    x, _, fold = planted(20)
    ranker, held = fit_ranker(NAMES, x, np.zeros(20, bool), (-1, 1, 0), fold)
    assert expit(ranker(x)) == pytest.approx(np.full(20, 0.5 / 21))
    assert np.isfinite(held).all()


def test_an_answer_that_one_fold_holds_alone_is_no_trouble() -> None:
    x, _, fold = planted(100)
    _, held = fit_ranker(NAMES, x, fold == 0, (-1, 1, 0), fold)
    assert np.isfinite(held).all()


def test_a_model_survives_json_and_is_the_same_for_the_same_seed() -> None:
    x, y, fold = planted(2000)
    one, other = (fit_ranker(NAMES, x, y, (-1, 1, 0), fold, seed=3)[0] for _ in range(2))
    assert one == other
    again = Ranker.parse(json.loads(one.model_dump_json()), subject="r")
    assert np.array_equal(again(x), one(x))


def test_a_regression_expects_the_mean() -> None:
    x, _, _ = planted(3000)
    rng = np.random.default_rng(0)
    y = rng.exponential(np.where(x[:, 1] > 0, 4.0, 1.0))
    trees, base = fit_regression(x, y, (-1, 1, 0))
    said = trees(x) + base
    assert said[x[:, 1] > 0.2].mean() == pytest.approx(4, rel=0.1)
    assert said[x[:, 1] < -0.2].mean() == pytest.approx(1, rel=0.3)
    assert fit_regression(x[:0], y[:0], (-1, 1, 0)) == (Trees(inputs=3), 0.0)
    assert fit_regression(x[:50], np.full(50, 2.0), (-1, 1, 0)) == (Trees(inputs=3), 2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [("import os", "no trees"), ("tree\nversion=v4\nrubbish", "cannot read|no trees|inputs")],
)
def test_what_is_no_model_of_trees_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Trees(text=text, inputs=3)


def test_trees_of_other_inputs_are_refused() -> None:
    x, y, fold = planted(2000)
    ranker, _ = fit_ranker(NAMES, x, y, (-1, 1, 0), fold)
    with pytest.raises(ValidationError, match="take 3 inputs, not 2"):
        Trees(text=ranker.trees.text, inputs=2)
    with pytest.raises(ValidationError, match="equally many"):
        Ranker(names=("a",), mean=(0.0,), scale=(1.0,), weights=(1.0,), bias=0.0, trees=Trees(inputs=2))
