"""The threshold is the best of all, however it is looked for, and a stated one where the data cannot tell."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from autolabel.errors import InputError
from model.thresholds import MIN_EACH, choose_threshold


def said(count: int, seed: int, steps: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that rank, but are far from calibrated, and a rare "false"; rounded where there are steps."""
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < 0.85
    probability = np.clip(rng.normal(np.where(truth, 0.9, 0.7), 0.1), 0, 1)
    return (np.round(probability * steps) / steps if steps else probability), truth


@pytest.mark.parametrize(("count", "steps"), [(300, 0), (300, 12), (2000, 40)])
@pytest.mark.parametrize("seed", range(3))
def test_no_threshold_is_better(count: int, steps: int, seed: int) -> None:
    probability, truth = said(count, seed, steps)
    found = choose_threshold(probability, truth)
    above = probability >= np.linspace(0, 1, 2001)[:, None]
    accuracy = (above[:, truth].mean(axis=1) + (~above[:, ~truth]).mean(axis=1)) / 2
    best = balanced_accuracy_score(truth, probability >= found)
    assert best >= accuracy.max() - 1e-12
    assert 0.7 < found < 0.95 and best > 0.7
    order = np.random.default_rng(9).permutation(count)
    assert choose_threshold(probability[order], truth[order]) == found
    assert choose_threshold(probability.astype(np.float32), truth) == pytest.approx(found, abs=1e-6)


def test_of_equally_good_ones_the_nearest_to_one_half() -> None:
    """Everything between 0.2 and 0.9 parts these; half-way is 0.55. Two gaps are as good, and 0.5 is nearer to one."""
    low, high = np.full(MIN_EACH, 0.2), np.full(MIN_EACH, 0.9)
    truth = np.repeat([False, True], MIN_EACH)
    assert choose_threshold(np.concatenate([low, high]), truth) == pytest.approx(0.55)
    # 0.4 is as often true as false, so that below and above it are the same.
    middle = np.full(2 * MIN_EACH, 0.4)
    probability = np.concatenate([low, high, middle])
    both = np.concatenate([truth, np.arange(2 * MIN_EACH) % 2 == 0])
    assert choose_threshold(probability, both) == pytest.approx(0.65)
    assert choose_threshold(probability, both, fallback=0.3) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("probability", "truth"),
    [
        ([], []),
        ([0.9] * 100, [True] * 100),  # nothing absent
        ([0.9] * 100 + [0.1] * (MIN_EACH - 1), [True] * 100 + [False] * (MIN_EACH - 1)),  # too few
        ([0.9] * 100, [True] * 50 + [False] * 50),  # one number for all
        ([0.1] * 50 + [0.9] * 50, [True] * 50 + [False] * 50),  # the wrong way round
        ([0.9] * 100 + [np.nan] * 100, [True] * 100 + [False] * 100),  # nothing was said of the others
    ],
)
def test_data_that_cannot_tell(probability: list[float], truth: list[bool]) -> None:
    assert choose_threshold(probability, truth) == 0.5
    assert choose_threshold(probability, truth, fallback=0.3) == 0.3


def test_neighbouring_floats_are_told_apart() -> None:
    low = np.float64(0.5)
    high = np.nextafter(low, 1)
    probability, truth = np.repeat([low, high], MIN_EACH), np.repeat([False, True], MIN_EACH)
    assert ((probability >= choose_threshold(probability, truth)) == truth).all()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(3,\) and truth \(2,\)"):
        choose_threshold(np.zeros(3), np.zeros(2, bool))
    with pytest.raises(InputError, match=r"0 to 1\.5 are not in 0\.\.1"):
        choose_threshold([0, 1.5], [True, False])
