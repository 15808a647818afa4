"""From probabilities to words: where a presence head's numbers are cut into present, absent, visible and hidden.

The cut is chosen on labelled people that were not trained on, and stored with the network
(``ViTPoseConfig.presence_threshold`` and ``visible_threshold``).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.errors import InputError

FALLBACK = 0.5
"""The threshold where the data cannot tell: what a calibrated probability would be cut at."""

MIN_EACH = 20
"""With fewer keypoints on either side, a best threshold is an accident of which they are."""


def choose_threshold(probability: ArrayLike, truth: ArrayLike, fallback: float = FALLBACK) -> float:
    """The threshold of highest balanced accuracy: the mean of the shares of true and false ones that it gets right.

    Balanced, because validation data holds few absent keypoints, and plain accuracy would call nothing absent.
    Thresholds lie half-way between neighbouring probabilities; of equally good ones, the nearest to ``fallback`` is
    taken, the lower of two.

    Args:
        probability: (M,) in 0..1; NaN where nothing was said, which does not count.
        truth: (M,) bool.
        fallback: The answer where fewer than :data:`MIN_EACH` are true, or false, or where no threshold does better
            than chance.

    Returns:
        A number of 0..1: ``probability >= threshold`` says true.

    Raises:
        InputError: The shapes differ, or a probability is not in 0..1.
    """
    said, true = np.asarray(probability, np.float64), np.asarray(truth, bool)
    if said.ndim != 1 or said.shape != true.shape:
        raise InputError(f"probabilities {said.shape} and truth {true.shape} are not (M,) each")
    known = ~np.isnan(said)
    said, true = said[known], true[known]
    if len(said) and not 0 <= said.min() <= said.max() <= 1:
        raise InputError(f"probabilities of {said.min():g} to {said.max():g} are not in 0..1")
    if min(true.sum(), (~true).sum()) < MIN_EACH:
        return fallback
    cuts, accuracy = _cuts(said, true)
    if not len(cuts) or accuracy.max() <= 0.5:
        return fallback
    best = cuts[accuracy > accuracy.max() - 1e-12]  # sums in another order must not decide
    return float(best[np.abs(best - fallback).argmin()])


def _cuts(said: NDArray[np.float64], true: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All thresholds that part the probabilities (M,), ascending, and the balanced accuracy of each."""
    values, place = np.unique(said, return_inverse=True)
    hits, misses = (np.bincount(place, which, len(values)) for which in (true, ~true))
    right = 1 - np.cumsum(hits)[:-1] / hits.sum()  # share of the true ones that lie above
    accuracy = (right + np.cumsum(misses)[:-1] / misses.sum()) / 2
    middle = (values[:-1] + values[1:]) / 2
    # Between two neighbouring floats there is nothing: then the upper one is the threshold.
    return np.where(middle > values[:-1], middle, values[1:]), accuracy
