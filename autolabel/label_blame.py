"""Whose fault a disagreement is: the network's, which errs where it is unsure, or the label's, which does not care.

Most labels of a corpus are right, so disagreements between labels and an out-of-fold network mostly tell how often the
*network* errs, and how that depends on what it says about itself. A mistaken label does not depend on that: it turns up
as often where the network is sure as where it is lost. So the rate of disagreements has a floor, however sure the
network is, and that floor is the labels':

    P(disagree | doubts) = ε + (1 - ε) σ(SURE + w · doubts)

and of a disagreement the chance that the label is at fault is ε / P(disagree | doubts): near 1 where the network is
never wrong by itself, near 0 where it often is. This is the logistic model of an answer that may be guessed (Birnbaum's
three parameters, in Lord & Novick, 1968), fitted to the very corpus that is audited; a prior decides where the corpus
is too small to tell. What keeps the two apart is the assumption that a network without any doubt hardly ever errs
(:data:`SURE`).
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]  # it has none

from autolabel.errors import InputError

FIT_ROWS = 200_000
"""A larger corpus is fitted on this many of its rows, evenly spaced."""

SURE = -7.0
"""Log-odds that a network without any doubt errs by itself: 1 in 1,100."""

_PRIOR_ROWS = 50.0
_PRIOR_FLOOR = 0.02
"""The floor's prior: as if so many labels had been looked at, of which this share is wrong."""

_RIDGE = 0.5
"""How firmly the weights are held at their prior: 1 / variance."""

_LEAST = 1e-12

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Blame:
    """A fitted model of whose fault disagreements are.

    Attributes:
        floor: ε, the share of labels that are wrong however sure the network is.
        weights: (F,) of the doubts, not negative.
    """

    floor: float
    weights: Floats

    def network_errs(self, doubts: ArrayLike) -> Floats:
        """(M,) the chance that the network is wrong by itself, given its doubts (M, F)."""
        return _sigmoid(SURE + np.asarray(doubts, np.float64) @ self.weights)

    def label_at_fault(self, doubts: ArrayLike) -> Floats:
        """(M,) of a disagreement, the chance that the label is wrong, given the network's doubts (M, F)."""
        return self.floor / (self.floor + (1 - self.floor) * self.network_errs(doubts))


def fit_blame(disagree: ArrayLike, doubts: ArrayLike, prior: ArrayLike) -> Blame:
    """Fit the model to a corpus: the posterior's mode.

    Args:
        disagree: (M,) whether label and network disagree.
        doubts: (M, F) what the network says about itself, each from 0 (sure) to about 1; finite.
        prior: (F,) weights of the doubts, for want of anything better.

    Raises:
        InputError: The arrays do not fit each other.
    """
    x, event, start = np.asarray(doubts, np.float64), np.asarray(disagree, np.float64), np.asarray(prior, np.float64)
    if x.ndim != 2 or event.shape != x.shape[:1] or start.shape != x.shape[1:]:
        raise InputError(f"disagree {event.shape}, doubts {x.shape} and prior {start.shape} differ")
    if len(x) > FIT_ROWS:
        rows = np.linspace(0, len(x) - 1, FIT_ROWS).astype(np.intp)
        x, event = x[rows], event[rows]
    first = np.concatenate([[_logit(_PRIOR_FLOOR)], start])
    # More doubt never makes the network surer: that would only be chance in a small corpus.
    bounds = [(-12.0, 2.0), *[(0.0, 30.0)] * len(start)]
    search = cast("Any", minimize)  # untyped in scipy
    best: Floats = search(_loss, first, (x, event, start), jac=True, method="L-BFGS-B", bounds=bounds).x
    return Blame(float(_sigmoid(best[0])), best[1:])


def _loss(values: Floats, x: Floats, event: Floats, prior: Floats) -> tuple[float, Floats]:
    """Negative log posterior, and its gradient, at the floor's log-odds and the weights."""
    floor, errs = _sigmoid(values[:1])[0], _sigmoid(SURE + x @ values[1:])
    p = np.clip(floor + (1 - floor) * errs, _LEAST, 1 - _LEAST)
    pseudo = _PRIOR_FLOOR * _PRIOR_ROWS
    off = values[1:] - prior
    told = (event * np.log(p) + (1 - event) * np.log1p(-p)).sum()
    told += pseudo * np.log(floor) + (_PRIOR_ROWS - pseudo) * np.log1p(-floor)
    by_p = (event - p) / (p * (1 - p))
    by_floor = (by_p * (1 - errs)).sum() * floor * (1 - floor) + pseudo - _PRIOR_ROWS * floor
    by_weights = x.T @ (by_p * (1 - floor) * errs * (1 - errs)) - _RIDGE * off
    return float(0.5 * _RIDGE * (off**2).sum() - told), -np.concatenate([[by_floor], by_weights])


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(x, -30.0, 30.0)))


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))
