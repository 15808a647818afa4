"""Whose fault a disagreement is, told from the corpus alone."""

import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.label_blame import SURE, fit_blame


def corpus(rows: int, floor: float, slope: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Disagreements that come from labels at a rate, and from the network as its doubt says; and which are which."""
    rng = np.random.default_rng(seed)
    doubts = rng.beta(1, 3, (rows, 1))
    network = rng.random(rows) < 1 / (1 + np.exp(-(SURE + slope * doubts[:, 0])))
    label = rng.random(rows) < floor
    return network | label, doubts, label


@pytest.mark.parametrize("floor", [0.005, 0.02, 0.1])
@pytest.mark.parametrize("slope", [6.0, 12.0])
def test_rate_of_label_errors_and_weight_of_doubt_are_recovered(floor: float, slope: float) -> None:
    disagree, doubts, label = corpus(60_000, floor, slope)
    blame = fit_blame(disagree, doubts, [8.0])
    assert blame.floor == pytest.approx(floor, rel=0.25)
    assert blame.weights == pytest.approx([slope], rel=0.1)
    told = blame.label_at_fault(doubts)
    for low, high in ((0.0, 0.5), (0.5, 0.8), (0.8, 1.0)):  # the chances are what they say they are
        rows = disagree & (told >= low) & (told < high)
        if rows.sum() > 200:
            assert told[rows].mean() == pytest.approx(label[rows].mean(), abs=0.08)


def test_a_sure_network_blames_the_label_and_a_lost_one_itself() -> None:
    disagree, doubts, _ = corpus(20_000, 0.03, 10.0)
    sure, lost = fit_blame(disagree, doubts, [8.0]).label_at_fault([[0.0], [1.0]])
    assert sure > 0.9
    assert lost < 0.1


@pytest.mark.parametrize(
    ("disagree", "doubts"),
    [
        ([], np.zeros((0, 2))),  # nothing at all: the prior
        ([True], [[0.0, 0.0]]),  # one row
        ([False] * 50, np.zeros((50, 2))),  # nobody disagrees, nobody doubts
        ([True] * 50, np.ones((50, 2))),  # everybody does
        ([True, False] * 25, np.zeros((50, 2))),  # constant doubts that tell nothing
    ],
)
def test_degenerate_corpora_give_a_finite_model(disagree: list[bool], doubts: np.ndarray) -> None:
    blame = fit_blame(disagree, doubts, [3.0, 3.0])
    assert 0 < blame.floor < 1
    assert np.isfinite(blame.weights).all()
    assert (blame.weights >= 0).all()
    told = blame.label_at_fault([[0.0, 0.0], [1.0, 1.0]])
    assert told[0] > told[1] > 0


def test_more_doubt_never_blames_the_label_more() -> None:
    disagree, doubts, _ = corpus(3_000, 0.05, 8.0)
    backwards = fit_blame(disagree, 1 - doubts, [4.0])  # a doubt that is highest where the network is sure
    told = backwards.label_at_fault(np.linspace(0, 1, 20)[:, None])
    assert (np.diff(told) <= 0).all()


@pytest.mark.parametrize(
    ("disagree", "doubts", "prior"),
    [([True], np.zeros((2, 1)), [1.0]), ([True], np.zeros((1, 2)), [1.0]), ([True], np.zeros(1), [1.0])],
)
def test_shapes_that_do_not_fit_are_refused(disagree: list[bool], doubts: np.ndarray, prior: list[float]) -> None:
    with pytest.raises(InputError, match="differ"):
        fit_blame(disagree, doubts, prior)
