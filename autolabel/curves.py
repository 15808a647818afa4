"""Log-odds to probabilities that mean what they say: isotonic curves, one for each cell of a partition.

A curve is fitted by isotonic regression (Zadrozny and Elkan, KDD 2002) on log-odds of rows that the model was not
fitted on. Its blocks become knots in log-odds, between which it is straight and beyond which it goes on with slope one,
so that the order of any two rows of a cell survives: the least doubted poses, which matter most, are never thrown
together. A cell with few rows leans on the curve of all rows.
"""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.optimize import isotonic_regression  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from scipy.special import expit  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from autolabel.settings import Settings

Floats = NDArray[np.float64]

LEAN = 2_000
"""Rows of a cell that count as much as the curve of all rows."""

CELL_LEAST = 50
"""A cell with fewer rows has no curve of its own."""

BLOCK_LEAST = 20
"""Blocks of fewer rows are joined with the next one: their rates are noise."""


class Curve(Settings):
    """A rising curve from log-odds to log-odds.

    Attributes:
        at: (T,) knots, ascending; none for the identity.
        to: (T,) what they become, ascending.
        rows: How many rows it was fitted on.
    """

    at: tuple[float, ...] = ()
    to: tuple[float, ...] = ()
    rows: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _rising(self) -> "Curve":
        if len(self.at) != len(self.to):
            raise ValueError(f"{len(self.at)} knots for {len(self.to)} values")
        if np.any(np.diff(self.at) <= 0) or np.any(np.diff(self.to) < 0):
            raise ValueError("knots and values must ascend")
        return self

    def __call__(self, z: Floats) -> Floats:
        """(M,) log-odds to (M,) log-odds."""
        if not self.at:
            return z
        first, last = self.at[0], self.at[-1]
        return np.interp(z, self.at, self.to) + np.minimum(z - first, 0.0) + np.maximum(z - last, 0.0)


class Curves(Settings):
    """A curve for each of G groups and S size bins.

    Attributes:
        borders: (S - 1,) log sizes between the bins.
        overall: The curve of all rows.
        cells: (G, S) curves of their own; a cell without one has no knots.
    """

    borders: tuple[float, ...]
    overall: Curve
    cells: tuple[tuple[Curve, ...], ...]

    @model_validator(mode="after")
    def _rectangular(self) -> "Curves":
        if {len(row) for row in self.cells} != {len(self.borders) + 1}:
            raise ValueError("every group needs a curve for each size bin")
        return self

    def __call__(self, z: Floats, group: NDArray[np.intp], log_size: Floats) -> Floats:
        """(M,) log-odds, groups and log sizes to (M,) probabilities."""
        cell = group * (len(self.borders) + 1) + np.searchsorted(self.borders, log_size)
        total = self.overall(z)
        result = total.copy()
        for i, curve in enumerate(curve for row in self.cells for curve in row):
            if curve.at and (rows := cell == i).any():
                own = curve.rows / (curve.rows + LEAN)
                result[rows] = own * curve(z[rows]) + (1 - own) * total[rows]
        return np.asarray(expit(result))


def fit_curves(
    z: Floats, y: NDArray[np.bool_], group: NDArray[np.intp], log_size: Floats, *, groups: int, bins: int = 3
) -> Curves:
    """Fit all curves.

    Args:
        z: (M,) log-odds, each by a model that did not see the row.
        y: (M,) answers.
        group: (M,) in 0..groups-1.
        log_size: (M,) logarithm of the size.
        groups: G.
        bins: S, with equally many rows in each.
    """
    borders = np.unique(np.quantile(log_size, np.linspace(0, 1, bins + 1)[1:-1])) if len(z) else np.zeros(0)
    place = np.searchsorted(borders, log_size)
    cells = tuple(
        tuple(fit_curve(z[rows], y[rows]) for s in range(len(borders) + 1) for rows in [(group == g) & (place == s)])
        for g in range(groups)
    )
    return Curves(borders=tuple(borders.tolist()), overall=fit_curve(z, y), cells=cells)


def fit_curve(z: Floats, y: NDArray[np.bool_]) -> Curve:
    """Fit one curve to (M,) log-odds and answers; the identity where there are few, or all answers are one."""
    if len(z) < CELL_LEAST or y.all() or not y.any():
        return Curve()
    order = np.argsort(z, kind="stable")
    ascending, answers = z[order], y[order].astype(np.float64)
    fitted = np.asarray(cast("Any", isotonic_regression)(answers).x, np.float64)
    starts = np.flatnonzero(np.diff(fitted, prepend=-1.0) > 0)
    starts = _joined(starts, len(z))
    count = np.diff(np.append(starts, len(z)))
    mean = np.add.reduceat(ascending, starts) / count
    # A block of 0 of n is no certainty: half an answer of each kind is added (Krichevsky and Trofimov, 1981).
    rate = (np.add.reduceat(answers, starts) + 0.5) / (count + 1.0)
    value = np.maximum.accumulate(np.log(rate / (1 - rate)))
    # Only knots at which both rise: a level stretch would throw poses together.
    keep = np.append(True, (np.diff(mean) > 0) & (np.diff(value) > 0))
    return Curve(at=tuple(mean[keep].tolist()), to=tuple(value[keep].tolist()), rows=len(z))


def _joined(starts: NDArray[np.intp], rows: int) -> NDArray[np.intp]:
    """First rows of blocks, without those that would begin a block of too few rows."""
    kept = [0]
    for start in starts[1:].tolist():
        if start - kept[-1] >= BLOCK_LEAST and rows - start >= BLOCK_LEAST:
            kept.append(start)
    return np.array(kept, np.intp)
