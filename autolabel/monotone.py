"""Monotone models of one answer: a logistic regression, and boosted trees that correct it.

Evidence of doubt has a direction: a lower peak never makes a keypoint more trustworthy. Both parts keep to the
directions they are told, the logistic by the signs of its weights (a bounded optimisation), the trees by LightGBM's
monotone constraints (Ke et al., NeurIPS 2017). The trees start where the logistic ends, so that a few dozen checked
poses give a plain logistic and thousands give more; how many trees there are is decided by what they are worth on rows
that they were not fitted on.

Everything is data: numbers, and the trees in LightGBM's text format, which is checked before it is handed on.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from scipy.optimize import minimize  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from scipy.special import expit, log_expit  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from autolabel.settings import Settings

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MIN_SPREAD = 1e-6
"""An input that varies less than this is a constant, and is not blown up to unit variance."""

PENALTY = 10.0
"""Of the squared weights of the logistic, against the sum of log-losses."""

TREES = (0, 20, 40, 80, 160, 320)
"""How many trees are tried."""

_BOOSTING: dict[str, Any] = {
    "learning_rate": 0.04,
    "num_leaves": 8,
    "lambda_l2": 5.0,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "monotone_constraints_method": "intermediate",
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
_LEAF_SHARE, _LEAF_LEAST = 0.01, 20


class Trees(Settings):
    """Boosted trees as LightGBM writes them; "" for none.

    Attributes:
        text: The model file.
        inputs: How many inputs it takes.
    """

    text: str = ""
    inputs: int

    @model_validator(mode="after")
    def _readable(self) -> "Trees":
        if self.text and self._booster.num_feature() != self.inputs:
            raise ValueError(f"the trees take {self._booster.num_feature()} inputs, not {self.inputs}")
        return self

    @cached_property
    def _booster(self) -> Any:
        from lightgbm import Booster  # pyright: ignore[reportMissingTypeStubs]  # it has none
        from lightgbm.basic import LightGBMError  # pyright: ignore[reportMissingTypeStubs]

        if not self.text.startswith("tree\n"):
            raise ValueError("these are no trees in LightGBM's text format")
        try:
            return Booster(model_str=self.text)
        except LightGBMError as error:
            raise ValueError(f"LightGBM cannot read the trees: {error}") from error

    def __call__(self, x: Floats) -> Floats:
        """(M, F) inputs, NaN where unknown, to (M,) sums of leaves."""
        if not self.text or not len(x):
            return np.zeros(len(x))
        return np.asarray(self._booster.predict(x, raw_score=True, num_threads=1), np.float64)


class Ranker(Settings):
    """A monotone logistic regression and the trees that correct it.

    Attributes:
        names: (F,) of the inputs.
        mean: (F,) subtracted before the logistic; also what stands in for an unknown input there.
        scale: (F,) divided by.
        weights: (F,).
        bias: Of the sum.
        trees: On the inputs as they are.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    trees: Trees

    @model_validator(mode="after")
    def _consistent(self) -> "Ranker":
        lengths = {len(self.names), len(self.mean), len(self.scale), len(self.weights), self.trees.inputs}
        if len(lengths) > 1 or min(self.scale, default=1.0) <= 0:
            raise ValueError("names, mean, scale, weights and inputs must be equally many, and every scale positive")
        return self

    def __call__(self, x: Floats) -> Floats:
        """(M, F) inputs, NaN where unknown, to (M,) log-odds."""
        return self.linear(x) + self.trees(x)

    def linear(self, x: Floats) -> Floats:
        """The logistic's part of it."""
        z = np.nan_to_num((x - np.array(self.mean)) / np.array(self.scale), nan=0.0)
        return z @ np.array(self.weights) + self.bias


def fit_ranker(
    names: Sequence[str],
    x: Floats,
    y: Bools,
    directions: Sequence[int],
    fold: NDArray[np.intp],
    *,
    seed: int = 0,
) -> tuple[Ranker, Floats]:
    """Fit both parts, and say what they say about rows that they were not fitted on.

    Args:
        names: F inputs.
        x: (M, F), NaN where unknown.
        y: (M,) answers.
        directions: (F,) 1 where more of an input means a likelier yes, -1 where less does, 0 where either may.
        fold: (M,) which fold each row is in; rows that hang together share one.
        seed: Of the trees.

    Returns:
        The model fitted on all rows, and (M,) log-odds of each row by a model that did not see its fold.
    """
    steps = [fold == i for i in np.unique(fold)]
    held_out = np.zeros((len(TREES), len(y)))
    for held in steps:
        base = _logistic(names, x[~held], y[~held], directions)
        staged = _stages(_boosted(base, x[~held], y[~held], directions, TREES[-1], seed), x[held])
        held_out[:, held] = base.linear(x[held]) + staged
    loss = [-float(log_expit(np.where(y, z, -z)).mean()) for z in held_out]
    best = int(np.argmin(loss))
    base = _logistic(names, x, y, directions)
    trees = _boosted(base, x, y, directions, TREES[best], seed)
    return base.model_copy(update={"trees": trees}), held_out[best]


def fit_regression(
    x: Floats, y: Floats, directions: Sequence[int], *, trees: int = TREES[4], seed: int = 0
) -> tuple[Trees, float]:
    """Trees for the mean of y, none below 0: (M, F), (M,) -> the trees and what is to be added to their sum."""
    start = float(y.mean()) if len(y) else 0.0
    if len(y) < 2 * _LEAF_LEAST or float(y.std()) < MIN_SPREAD:
        return Trees(inputs=x.shape[1]), start
    settings = {**_BOOSTING, "objective": "regression", "boost_from_average": False}
    return _train(x, y, np.full(len(y), start), directions, settings, trees, seed), start


def _logistic(names: Sequence[str], x: Floats, y: Bools, directions: Sequence[int]) -> Ranker:
    """A logistic regression without trees whose weights have the signs of their directions."""
    known = np.isfinite(x)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, x, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(known, x - mean, 0.0) ** 2).sum(axis=0) / count)
    scale = np.where(spread > MIN_SPREAD, spread, 1.0)
    z = np.where(known, (x - mean) / scale, 0.0)
    sign = np.where(y, 1.0, -1.0)
    rate = (y.sum() + 0.5) / (len(y) + 1)
    start = np.zeros(x.shape[1] + 1)
    start[-1] = np.log(rate / (1 - rate))
    weights = start
    if y.any() and not y.all():  # otherwise the smoothed base rate: one of the two answers never occurs

        def objective(w: Floats) -> tuple[float, Floats]:
            margin = sign * (z @ w[:-1] + w[-1])
            pull = -sign * expit(-margin)
            gradient = np.append(z.T @ pull + PENALTY * w[:-1], pull.sum())
            return float(-log_expit(margin).sum() + PENALTY / 2 * (w[:-1] ** 2).sum()), gradient

        free: list[tuple[float | None, float | None]] = [
            (0.0 if way > 0 else None, 0.0 if way < 0 else None) for way in directions
        ]
        found = cast("Any", minimize)(objective, start, jac=True, bounds=[*free, (None, None)], method="L-BFGS-B")
        weights = np.asarray(found.x, np.float64)
    return Ranker(
        names=tuple(names),
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        weights=tuple(weights[:-1].tolist()),
        bias=float(weights[-1]),
        trees=Trees(inputs=x.shape[1]),
    )


def _boosted(base: Ranker, x: Floats, y: Bools, directions: Sequence[int], trees: int, seed: int) -> Trees:
    """Trees that go on from the logistic; none where there is too little to grow them on."""
    if not trees or min(y.sum(), (~y).sum()) < _LEAF_LEAST:
        return Trees(inputs=x.shape[1])
    settings = {**_BOOSTING, "objective": "binary"}
    return _train(x, y.astype(np.float64), base.linear(x), directions, settings, trees, seed)


def _train(
    x: Floats, y: Floats, start: Floats, directions: Sequence[int], settings: dict[str, Any], trees: int, seed: int
) -> Trees:
    import lightgbm  # pyright: ignore[reportMissingTypeStubs]  # it has none

    leaf = max(int(_LEAF_SHARE * len(y)), _LEAF_LEAST)
    settings = {**settings, "monotone_constraints": list(directions), "min_data_in_leaf": leaf, "seed": seed}
    names = [f"f{i}" for i in range(x.shape[1])]
    data = cast("Any", lightgbm).Dataset(
        x, y, init_score=start, feature_name=names, params={"feature_pre_filter": False, "verbosity": -1}
    )
    booster = cast("Any", lightgbm).train(settings, data, num_boost_round=trees)
    return Trees(text=booster.model_to_string(), inputs=x.shape[1])


def _stages(trees: Trees, x: Floats) -> Floats:
    """(T, M) what the first ``TREES[t]`` trees add up to."""
    if not trees.text:
        return np.zeros((len(TREES), len(x)))
    grown: Any = trees._booster  # pyright: ignore[reportPrivateUsage]  # one idea, one file
    raw = (grown.predict(x, raw_score=True, num_iteration=count) if count else np.zeros(len(x)) for count in TREES)
    return np.stack([np.asarray(stage, np.float64) for stage in raw])
