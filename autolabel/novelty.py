"""How unlike everything checked a pose looks: the distance of its embedding to the nearest checked one.

It says where the calibration has nothing to go by, and so which poses a person should see next. It is no measure of
being right: a novel pose may be a perfect one, and detectors of novelty that look excellent leave most of the errors
in place when poses are accepted by them. So it is a feature among others and a reason to look, never the score.

Checked poses may be many; a few centres that cover them (k-centre greedy: Gonzalez 1985; Sener and Savarese, ICLR
2018, use it as *core-set*) stand for all, in the first principal components.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import model_validator

from autolabel.errors import InputError
from autolabel.settings import Settings

Floats = NDArray[np.float64]

LEAST_POSES = 10
"""Fewer checked poses have no usual distance."""

COMPONENTS = 16
CHUNK = 1 << 12
"""Rows that are compared with the centres at a time."""

SMALLEST_SPREAD = 1e-6
"""A component that varies less, against its own size, is a constant."""


class Novelty(Settings):
    """The centres of the checked embeddings, as data; :func:`fit_novelty` makes one.

    Attributes:
        mean: (D,) subtracted.
        projection: (D, R) from there to the components; it divides by the spread of each of the D numbers, too.
        centres: (C, R).
        scale: The median distance of a checked embedding to the nearest centre that it is not itself.
    """

    mean: tuple[float, ...]
    projection: tuple[tuple[float, ...], ...]
    centres: tuple[tuple[float, ...], ...]
    scale: float

    @model_validator(mode="after")
    def _consistent(self) -> "Novelty":
        widths = {len(row) for row in (*self.projection, *self.centres)}
        if len(self.projection) != len(self.mean) or len(widths) > 1 or not self.centres or not self.scale > 0:
            raise ValueError("projection needs a row for each number of mean, centres its width, and scale be positive")
        return self

    @property
    def width(self) -> int:
        """D, numbers of an embedding."""
        return len(self.mean)

    def distance(self, embedding: ArrayLike) -> Floats:
        """Distances to the nearest checked embedding; 1 is usual.

        Args:
            embedding: (N, D).

        Returns:
            (N,), NaN where the embedding has a NaN.

        Raises:
            InputError: It has another D.
        """
        given = np.asarray(embedding)
        if given.ndim != 2 or given.shape[1] != len(self.mean):
            raise InputError(
                f"embeddings of shape {given.shape}, expected (N, {len(self.mean)})",
                subject="novelty",
                remedy="Fit it on embeddings of this network: `autolabel calibrate`.",
            )
        centres, projection = np.array(self.centres), np.array(self.projection)
        bounds = [*range(0, len(given), CHUNK), len(given)]
        mean = np.array(self.mean)
        parts = ((given[a:b].astype(np.float64) - mean) @ projection for a, b in pairwise(bounds))
        found = [np.sqrt(_squared(part, centres).min(axis=1)) / self.scale for part in parts]
        return np.concatenate(found) if found else np.empty(0)


def fit_novelty(embedding: ArrayLike, most: int = 256, seed: int = 0) -> Novelty | None:
    """Fit on the embeddings of checked poses.

    Args:
        embedding: (M, D); rows with a NaN are left out.
        most: How many centres may be kept.
        seed: Of the first centre.

    Returns:
        None where fewer than ``LEAST_POSES`` rows are known, or D is 0.

    Raises:
        InputError: It is no matrix, or ``most`` is less than 2.
    """
    given = np.asarray(embedding, np.float64)
    if given.ndim != 2 or most < 2:
        raise InputError(f"embeddings of shape {given.shape} and {most} centres, expected (M, D) and 2 at least")
    given = given[np.isfinite(given).all(axis=1)]
    if len(given) < LEAST_POSES or not given.shape[1]:
        return None
    mean, spread = given.mean(axis=0), given.std(axis=0)
    varied = spread > SMALLEST_SPREAD * np.maximum(np.abs(mean), 1.0)
    weight = np.where(varied, 1.0 / np.where(varied, spread, 1.0), 0.0)
    standard = (given - mean) * weight
    _, vectors = np.linalg.eigh(standard.T @ standard)
    projection = weight[:, None] * vectors[:, ::-1][:, :COMPONENTS]
    # What is stored is what is used: the scale belongs to the rounded numbers.
    stored_mean, stored_projection = _stored(mean), _stored(projection)
    points = (given - stored_mean) @ stored_projection
    chosen = _covering(points, most, seed)
    nearest = np.median(_nearest_other(points, chosen))
    return Novelty(
        mean=tuple(stored_mean.tolist()),
        projection=tuple(tuple(row) for row in stored_projection.tolist()),
        centres=tuple(tuple(row) for row in _stored(points[chosen]).tolist()),
        scale=float(nearest) if nearest > SMALLEST_SPREAD else 1.0,
    )


def _covering(points: Floats, most: int, seed: int) -> NDArray[np.intp]:
    """Rows of points of which each next one is the farthest from those before it; equal points stand once."""
    chosen = [int(np.random.default_rng(seed).integers(len(points)))]
    distance = _squared(points, points[chosen])[:, 0]
    while len(chosen) < most and distance.max() > SMALLEST_SPREAD**2:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, _squared(points, points[chosen[-1:]])[:, 0])
    return np.array(chosen, np.intp)


def _nearest_other(points: Floats, chosen: NDArray[np.intp]) -> Floats:
    """(M,) distance of each point to the nearest chosen one, itself left out."""
    nearest = np.sqrt(_squared(points, points[chosen]).min(axis=1))
    among = _squared(points[chosen], points[chosen])
    np.fill_diagonal(among, np.inf)
    nearest[chosen] = np.sqrt(among.min(axis=1))
    return np.where(np.isfinite(nearest), nearest, 0.0)  # a single centre has no other


def _squared(a: Floats, b: Floats) -> Floats:
    """(N, C) squared distances of (N, R) and (C, R)."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * (a @ b.T)
    # What is left of equal points is rounding, and less than a millionth of a millionth of their size.
    return np.where(squares <= 1e-12 * ((a**2).sum(axis=1)[:, None] + 1.0), 0.0, squares)


def _stored(values: Floats) -> Floats:
    """The numbers as they are written: in single precision, with no more digits than that has."""
    return values.astype(np.float32).astype(str).astype(np.float64)
