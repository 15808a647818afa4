"""Which poses a person should look at, and which keypoints of them.

There are two reasons to look. *Cleaning* spends time where errors are: poses are ordered by the expected errors that a
second of work removes (:func:`clean_up`). *Learning* spends it where the network would learn most: poses that look
unlike all that was labelled while the network is bad, doubtful ones when it is good (:func:`learning_batch`). Doubt
alone picks the same kind of pose again and again, and loses to chance in published comparisons (Horse-10).

A part of every round is drawn uniformly whatever the rule is (:func:`uniform_draw`): only from that part, with the
probability with which each pose got into it, can one tell how good the corpus is. Poses that repeat one another
(:class:`autolabel.repeats.Repeats`) are not looked at twice in one batch.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.effort import COSTS, Costs
from autolabel.errors import InputError
from autolabel.repeats import Repeats

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]

WEAKEST = 2
"""A pose that is shown has at least so many keypoints asked about."""

_CELLS = 1 << 22
"""Distances that are held at a time: 16 MB."""


def errors_per_second(
    p_bad: ArrayLike, p_gross: ArrayLike, *, gross_weight: float = 0.0, costs: Costs = COSTS
) -> Floats:
    """Expected errors that reviewing a pose removes in a second of a person's time.

    With u = p_bad and e = Σ p_gross, the expected number of keypoints to fix: (u + w e) / (view + fix · e).

    Args:
        p_bad: (N,) calibrated; a pose without one (NaN) is as bad as can be.
        p_gross: (N, K) calibrated; a keypoint without one (NaN) is not expected to be fixed.
        gross_weight: w, how many bad poses a gross keypoint counts for; 0 counts bad poses alone.
        costs: Seconds of looking and fixing.

    Raises:
        InputError: Shapes do not fit, or there are numbers outside 0..1.
    """
    bad, gross = _share(p_bad, "p_bad", 1), _share(p_gross, "p_gross", 2)
    if len(bad) != len(gross) or not gross_weight >= 0:
        raise InputError(f"p_bad of {len(bad)} and p_gross of {len(gross)} poses, gross_weight {gross_weight}")
    fixes = np.nansum(gross, axis=1)
    seconds = costs.view + costs.fix * fixes
    if (seconds <= 0).any():
        raise InputError("looking at a pose takes no time: there are no errors a second", subject="costs")
    return (np.nan_to_num(bad, nan=1.0) + gross_weight * fixes) / seconds


def clean_up(worth: ArrayLike, candidates: Indices, count: int, repeats: Repeats | None = None) -> Indices:
    """The rows whose review is worth most, first things first; repeats of an image that is looked at come last.

    Args:
        worth: (N,) of each pose, such as :func:`errors_per_second`; NaN is worth most.
        candidates: (C,) rows that may be reviewed.
        count: How many to take at most.
        repeats: Of all N poses.

    Raises:
        InputError: Lengths do not fit, or the count is negative.
    """
    value = np.asarray(worth, np.float64)
    repeats = _checked(value, candidates, count, repeats)
    order = candidates[np.argsort(-np.nan_to_num(value[candidates], nan=np.inf), kind="stable")]
    later = repeats.deferred(order)
    return np.concatenate([order[~later], order[later]])[:count]


def uniform_draw(
    candidates: Indices, count: int, rng: np.random.Generator, repeats: Repeats | None = None
) -> tuple[Indices, Floats]:
    """A draw that any mean over the candidates can be estimated from: at most one pose of each group.

    A pose of a group of g gets in with probability π = min(λ, 1/g), λ such that Σ π = count: the same for all but those
    of groups too large for it. Systematic sampling with unequal probabilities (W. G. Madow, Annals of Mathematical
    Statistics 20, 1949) over the groups in random order gives exactly these. Σ y/π over the drawn poses then estimates
    the sum of y over the candidates without bias (Horvitz and Thompson, 1952).

    Args:
        candidates: (C,) rows; all of them, or what is estimated is about a part.
        count: How many to draw; fewer come where there are fewer groups.
        rng: Decides the draw.
        repeats: Of all poses; None lets any pose join any other.

    Returns:
        (n,) the rows, ascending, and (n,) the probabilities π with which they were drawn.

    Raises:
        InputError: The count is negative.
    """
    if count < 0:
        raise InputError(f"{count} poses cannot be drawn")
    if not len(candidates) or not count:
        return candidates[:0], np.empty(0)
    group = np.arange(len(candidates)) if repeats is None else repeats.group[candidates]
    number, size = np.unique(group, return_inverse=True, return_counts=True)[1:]
    chance = _group_chances(size.astype(np.float64), min(count, len(size)))
    order = rng.permutation(len(size))
    ends = np.cumsum(chance[order])
    # The chances add up to a whole number but for rounding: one point falls in each stretch of length 1.
    points = rng.random() + np.arange(round(ends[-1]))
    chosen = order[np.minimum(np.searchsorted(ends, points, side="right"), len(order) - 1)]
    members = np.argsort(number, kind="stable")
    start = np.cumsum(size) - size
    rows = members[start[chosen] + rng.integers(size[chosen])]
    drawn = np.argsort(candidates[rows], kind="stable")
    return candidates[rows][drawn], (chance / size)[chosen][drawn]


def learning_batch(
    embedding: NDArray[np.floating],
    doubt: ArrayLike,
    candidates: Indices,
    count: int,
    *,
    known: NDArray[np.floating] | None = None,
    taken: Indices | None = None,
    maturity: float = 0.0,
    doubt_weight: float = 1.0,
    repeats: Repeats | None = None,
) -> Indices:
    """The rows to learn from next: k-centre greedy, in which doubt weighs more the better the network is.

    One after the other, the row of the largest (1 - m) d + λ m u is taken: d is the distance to the nearest embedding
    that is labelled or taken, as a part of the largest one at the start; u the doubt, m the maturity. (K-centre greedy:
    Gonzalez 1985, *core-set* in Sener and Savarese, ICLR 2018; weighting by maturity: VATL4Pose, WACV 2024, whose
    distances have another scale.) Where nothing is labelled, the first one is the most ordinary: nearest to the mean.

    Args:
        embedding: (N, D) of a network that stays the same through the rounds. With a NaN in it a pose has no distance
            and is chosen by its doubt alone.
        doubt: (N,) ``p_bad``; NaN counts as 1.
        candidates: (C,) rows that may be taken.
        count: How many to take; fewer are where there are fewer groups.
        known: (L, D) embeddings of what is labelled.
        taken: (T,) rows that this batch holds already, such as its uniform share.
        maturity: m, mean OKS of the network's poses in the last batch that was reviewed; 0 before any.
        doubt_weight: λ.
        repeats: Of all N poses: one image of a group is taken.

    Returns:
        (n,) rows in the order they were taken.

    Raises:
        InputError: Shapes do not fit, or a number is out of its range.
    """
    if embedding.ndim != 2 or not 0 <= maturity <= 1 or not (np.isfinite(doubt_weight) and doubt_weight >= 0):
        raise InputError(f"embedding {embedding.shape}, maturity {maturity}, doubt_weight {doubt_weight}")
    share = _share(doubt, "doubt", 1)
    if len(share) != len(embedding):
        raise InputError(f"{len(share)} doubts of {len(embedding)} embeddings")
    repeats = _checked(share, candidates, count, repeats)
    taken = np.empty(0, np.intp) if taken is None else taken
    known = embedding[:0] if known is None else known
    if known.ndim != 2 or known.shape[1] != embedding.shape[1]:
        raise InputError(f"labelled embeddings of shape {known.shape}, expected (L, {embedding.shape[1]})")
    centres = np.concatenate([_finite(known), _finite(embedding[taken])])
    cover = _Cover(embedding[candidates], centres)
    free = ~np.isin(candidates, taken)
    for row in taken.tolist():
        free &= ~_repeated(repeats, candidates, row)
    push = doubt_weight * maturity * np.nan_to_num(share[candidates], nan=1.0)
    chosen = list[int]()
    while len(chosen) < count and free.any():
        if cover.empty and (free & cover.placed).any():
            i = int(np.where(free & cover.placed, cover.from_mean, np.inf).argmin())
        else:
            i = int(np.where(free, (1 - maturity) * cover.distance + push, -np.inf).argmax())
        chosen.append(i)
        cover.add(i)
        free[i] = False
        free &= ~_repeated(repeats, candidates, int(candidates[i]))
    return candidates[np.array(chosen, np.intp)]


def asked(
    p_gross: ArrayLike, max_gross: float, *, may: NDArray[np.bool_] | None = None, weakest: int = WEAKEST
) -> NDArray[np.bool_]:
    """The keypoints of reviewed poses that a person is asked about; the others are taken as they are.

    As many as possible are left, the least doubtful ones of all N poses together, while their mean ``p_gross``, the
    expected share of gross ones among those left, is at most ``max_gross``.

    Args:
        p_gross: (N, K) calibrated; keypoints without one (NaN) are asked about.
        max_gross: The expected share that is allowed; 0 asks about everything that is in doubt at all.
        may: (N, K) keypoints that can be asked about, all by default; others are neither asked about nor left.
        weakest: So many of each pose are asked about in any case, the most doubtful ones.

    Returns:
        (N, K) bool.

    Raises:
        InputError: Shapes do not fit, or a share is outside 0..1.
    """
    doubt = np.nan_to_num(_share(p_gross, "p_gross", 2), nan=1.0)
    can = np.ones(doubt.shape, bool) if may is None else may
    if can.shape != doubt.shape or not 0 <= max_gross <= 1 or weakest < 0:
        raise InputError(f"keypoints {can.shape} of {doubt.shape}, max_gross {max_gross}, weakest {weakest}")
    place = np.argsort(np.argsort(-np.where(can, doubt, -1), axis=1, kind="stable"), axis=1, kind="stable")
    answer = can & ((place < weakest) | np.isnan(np.asarray(p_gross, np.float64)))
    rest = np.flatnonzero((can & ~answer).ravel())
    rest = rest[np.argsort(doubt.ravel()[rest], kind="stable")]
    mean = np.cumsum(doubt.ravel()[rest]) / np.arange(1, len(rest) + 1)
    # The mean of the first n grows with n; a rounding error must not ask about what is exactly at the limit.
    left = int(np.searchsorted(mean, max_gross + 1e-12, side="right"))
    answer.ravel()[rest[left:]] = True
    return answer


class _Cover:
    """How far each of C points is from the nearest centre, while centres are added.

    Args:
        points: (C, D); one with a NaN has no place, and no distance from anything.
        centres: (L, D) the first ones.
    """

    def __init__(self, points: NDArray[np.floating], centres: NDArray[np.floating]) -> None:
        self.placed: NDArray[np.bool_] = np.asarray(np.isfinite(points).all(axis=1))
        mean = points[self.placed].mean(axis=0, dtype=np.float64) if self.placed.any() else np.zeros(points.shape[1])
        # Around their mean single precision loses nothing that matters, and takes half the time.
        self._points = np.where(self.placed[:, None], points - mean, 0).astype(np.float32)
        self.from_mean = np.einsum("cd,cd->c", self._points, self._points)
        self._squared = np.where(self.placed, np.inf, 0).astype(np.float32)
        step = max(_CELLS // max(len(points), 1), 1)
        for first in range(0, len(centres), step):
            self._near((centres[first : first + step] - mean).astype(np.float32))
        self._scale = self._largest()

    @property
    def empty(self) -> bool:
        """Whether there is no centre, but there are points."""
        return bool(np.isinf(self._squared).any())

    @property
    def distance(self) -> Floats:
        """(C,) to the nearest centre, as a part of the largest one that there was at first."""
        return np.sqrt(self._squared, dtype=np.float64) / (self._scale or 1.0)

    def add(self, i: int) -> None:
        """Make a point a centre."""
        if self.placed[i]:
            self._near(self._points[i : i + 1])
            self._scale = self._scale or self._largest()

    def _near(self, centres: NDArray[np.float32]) -> None:
        across = (centres**2).sum(axis=1) - 2 * (self._points @ centres.T)
        nearest = np.maximum(self.from_mean + across.min(axis=1), 0)
        self._squared = np.where(self.placed, np.minimum(self._squared, nearest), 0)

    def _largest(self) -> float:
        return 0.0 if self.empty else float(np.sqrt(self._squared.max(initial=0)))


def _group_chances(size: Floats, count: int) -> Floats:
    """(G,) the probability of each group to be drawn: min(λ size, 1), adding up to ``count``."""
    order = np.argsort(-size, kind="stable")
    largest, total = size[order], size.sum()
    # With the c largest groups certain, the others share what is left.
    certain = np.arange(len(size))
    rate = (count - certain) / (total - (np.cumsum(largest) - largest))
    enough = np.flatnonzero((rate * largest <= 1 + 1e-12) & (certain <= count))
    certainly = int(enough[0]) if len(enough) else len(size)
    chance = np.ones(len(size))
    if certainly < len(size):
        chance[order[certainly:]] = rate[certainly] * largest[certainly:]
    return np.minimum(chance, 1)


def _repeated(repeats: Repeats, candidates: Indices, row: int) -> NDArray[np.bool_]:
    """(C,) candidates that may not join a row: other images of its group."""
    return (repeats.group[candidates] == repeats.group[row]) & (repeats.image[candidates] != repeats.image[row])


def _checked(values: Floats, candidates: Indices, count: int, repeats: Repeats | None) -> Repeats:
    if values.ndim != 1 or count < 0:
        raise InputError(f"values of shape {values.shape}, {count} wanted: expected (N,) and 0 or more")
    repeats = Repeats.none(len(values)) if repeats is None else repeats
    if len(repeats) != len(values):
        raise InputError(f"groups of {len(repeats)} poses, but values of {len(values)}")
    return repeats


def _finite(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    return rows[np.asarray(np.isfinite(rows).all(axis=1))]


def _share(values: ArrayLike, name: str, ndim: int) -> Floats:
    array = np.asarray(values, np.float64)
    if array.ndim != ndim or ((array < 0) | (array > 1)).any():
        raise InputError(f"{name} of shape {array.shape} must have {ndim} axes and lie in 0..1")
    return array
