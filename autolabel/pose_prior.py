"""What a body looks like: bones that are too long and postures that nobody has, found without looking at pixels.

A prior is fitted on checked poses and gives two numbers for each keypoint of any other pose. *Bones* asks whether a
bone is longer, against the rest of its pose, than in nearly all checked poses. It is one-sided: a bone that points at
the camera looks short, but nothing makes it look long. *Residual* asks how far a keypoint lies from where the others,
through a few principal components of the checked poses, would have it. Both are evidence and no verdict: a rare
posture is not a wrong one, so the calibrated score weighs them with everything else.

The size of a pose is read from its own bones and not from its box: a box that is cut at the image's edge, or drawn
around two people, would make every bone of the pose look long or short.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import model_validator

from autolabel.errors import PosesError, SkeletonError
from autolabel.poses import Poses, Visibility
from autolabel.settings import Settings
from autolabel.similarity import longer_side
from autolabel.skeleton import Skeleton

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEAST_POSES = 30
"""Fewer checked poses say nothing about what is rare."""

LEAST_KEYPOINTS = 4
"""A pose of fewer known keypoints has no posture."""

LEAST_VALUES = 100
"""A bone measured less often than this in a size bin takes the limits of all sizes together."""

SIZE_BINS = 3
QUANTILE = 0.99
"""A bone is long from this quantile of the checked poses on."""

SMALLEST_STEP = 0.05
"""Log ratios nearer to each other than this are one length: checked poses are placed by hand."""

SMALLEST_RESIDUAL = 0.01
"""Residuals below this share of the pose's size are one residual, for the same reason."""

COMPONENTS = 8
NOISE = 0.1
"""Share of the pose's size by which the components may miss a keypoint before it counts as an outlier."""

SMALLEST_FACTOR = 0.3
MISALIGNED = 0.5
"""Share of the pose's size off which a keypoint counts little when a pose is turned and scaled to the mean."""

ROUNDS = 3


class PosePrior(Settings):
    """The lengths and postures of checked poses, as data; :func:`fit_prior` makes one.

    Attributes:
        num_keypoints: K.
        edges: (E, 2) the bones that were seen often enough, as pairs of keypoints.
        length: (E,) log of the typical length of each bone, against the pose's size.
        sizes: (B - 1,) pixels of the longer side of the box that part the B size bins, ascending.
        long: (B, E) log ratio to the typical length from which a bone is long.
        step: (B, E) from the typical length to there: the unit of the excess.
        keypoints: (J,) the keypoints that were seen often enough to have a place in a posture.
        mean: (2J,) mean posture, x and y in turn; centred, of size 1.
        components: (R, 2J) the principal components.
        variance: (R,) of them.
        typical: (J,) typical residual of each keypoint.
    """

    num_keypoints: int
    edges: tuple[tuple[int, int], ...]
    length: tuple[float, ...]
    sizes: tuple[float, ...]
    long: tuple[tuple[float, ...], ...]
    step: tuple[tuple[float, ...], ...]
    keypoints: tuple[int, ...]
    mean: tuple[float, ...]
    components: tuple[tuple[float, ...], ...]
    variance: tuple[float, ...]
    typical: tuple[float, ...]

    @model_validator(mode="after")
    def _consistent(self) -> "PosePrior":
        e, j = len(self.edges), len(self.keypoints)
        rows = {len(row) for row in (*self.long, *self.step)} | {len(self.length)}
        if rows != {e} or len(self.long) != len(self.step) or len(self.long) != len(self.sizes) + 1:
            raise ValueError("length, long and step must have a number for each bone, and a row for each size bin")
        if {len(row) for row in self.components} | {len(self.mean)} > {2 * j} or len(self.typical) != j:
            raise ValueError("mean, components and typical must have numbers for each keypoint")
        if len(self.variance) != len(self.components) or min((*self.typical, 1.0)) <= 0:
            raise ValueError("every component needs a variance, and every typical residual must be positive")
        if any(not 0 <= i < self.num_keypoints for i in (*self.keypoints, *(i for edge in self.edges for i in edge))):
            raise ValueError(f"names a keypoint outside 0..{self.num_keypoints - 1}")
        return self

    def bones(self, poses: Poses) -> Floats:
        """How much too long the bones at each keypoint are.

        The excess of a bone is log(length / (typical length x size of the pose)), less the limit of its size bin, in
        steps; 0 for all that are not long. Of a long bone that one end has the whole excess at which more of the
        *other* bones are long, too; its other end has half of it, and both have the whole where neither is the
        likelier one. An end that has no other known bone counts as half suspect.

        Args:
            poses: N poses.

        Returns:
            (N, K), at least 0; NaN for keypoints without a place or without a known bone.

        Raises:
            PosesError: The poses have another K.
        """
        self._require_fits(poses)
        logs = _log_lengths(poses, self.edges)
        ratio = logs - np.array(self.length)
        ratio = ratio - _median(ratio, axis=1)[:, None]
        size = np.searchsorted(np.array(self.sizes), np.nan_to_num(longer_side(poses)), side="right")
        long, step = (np.array(rows).reshape(len(self.sizes) + 1, -1) for rows in (self.long, self.step))
        excess = np.maximum((ratio - long[size]) / step[size], 0.0)
        return _blamed(excess, self.edges, self.num_keypoints)

    def residual(self, poses: Poses) -> Floats:
        """How far each keypoint lies from where the principal components have it.

        Place, turn, size and components are fitted to the known keypoints by least squares, the components with their
        variance as a prior, in a few rounds that give outliers less weight (Cauchy), so that one wild keypoint does
        not draw the others away from their places.

        Args:
            poses: N poses.

        Returns:
            (N, K) in typical residuals of the keypoint (1 is usual); NaN for keypoints without a place, and for poses
            of fewer than ``LEAST_KEYPOINTS`` known ones.

        Raises:
            PosesError: The poses have another K.
        """
        self._require_fits(poses)
        answer = np.full((len(poses), self.num_keypoints), np.nan)
        if self.keypoints and len(poses):
            columns = list(self.keypoints)
            z = _normalised(_places(poses)[:, columns])
            basis = np.array(self.components).reshape(-1, 2 * len(columns))
            found = _residuals(z, np.array(self.mean), basis, np.array(self.variance))
            answer[:, columns] = found / np.array(self.typical)
        return answer

    def _require_fits(self, poses: Poses) -> None:
        if poses.num_keypoints != self.num_keypoints:
            raise PosesError(
                f"poses of {poses.num_keypoints} keypoints, the pose prior was fitted on {self.num_keypoints}"
            )


def fit_prior(poses: Poses, skeleton: Skeleton) -> PosePrior | None:
    """Fit a prior on checked poses and on their mirror images, so that it has no favourite side.

    Args:
        poses: N checked poses; keypoints that are absent or have no place are left out.
        skeleton: Gives the bones and the mirrored keypoints.

    Returns:
        None where fewer than ``LEAST_POSES`` poses have ``LEAST_KEYPOINTS`` known keypoints.

    Raises:
        SkeletonError: The poses are of another skeleton.
    """
    if poses.num_keypoints != skeleton.num_keypoints:
        raise SkeletonError(f"has {skeleton.num_keypoints} keypoints, the poses {poses.num_keypoints}", subject="prior")
    places = _places(poses)
    useful = (~np.isnan(places[..., 0])).sum(axis=1) >= LEAST_KEYPOINTS
    if useful.sum() < LEAST_POSES:
        return None
    return PosePrior.model_validate(
        {"num_keypoints": len(skeleton.keypoints)}
        | _fitted_bones(poses.take(useful), skeleton)
        | _fitted_postures(places[useful], skeleton.flip)
    )


def _fitted_bones(poses: Poses, skeleton: Skeleton) -> dict[str, object]:
    logs = _log_lengths(poses, skeleton.edges)
    mirror = _mirrored_edges(skeleton)
    both = np.concatenate([logs, logs[:, mirror]])
    seen = (~np.isnan(both)).sum(axis=0) >= LEAST_POSES
    both = both[:, seen]
    # Median polish (Tukey, Exploratory Data Analysis, 1977): log length = size of the pose + length of the bone.
    length = np.zeros(both.shape[1])
    for _ in range(ROUNDS * 3):
        length = length + _median(both - length - _median(both - length, axis=1)[:, None], axis=0)
    length = length - (length.mean() if length.size else 0.0)
    ratio = both - length
    ratio = ratio - _median(ratio, axis=1)[:, None]
    side = longer_side(poses)
    inner = np.linspace(0, 1, SIZE_BINS + 1)[1:-1]
    sizes = np.unique(np.quantile(side[np.isfinite(side)], inner)) if np.isfinite(side).any() else np.empty(0)
    bins = np.tile(np.searchsorted(sizes, np.nan_to_num(side), side="right"), 2)
    limits = [_limits(ratio, ratio[bins == b]) for b in range(len(sizes) + 1)]
    return {
        "edges": tuple(edge for edge, there in zip(skeleton.edges, seen, strict=True) if there),
        "length": _rounded(length),
        "sizes": _rounded(sizes),
        "long": tuple(_rounded(long) for long, _ in limits),
        "step": tuple(_rounded(step) for _, step in limits),
    }


def _limits(everything: Floats, own: Floats) -> tuple[Floats, Floats]:
    """(E,) where long begins and (E,) the unit of the excess: of the bin, or of all sizes where the bin has too few."""
    few = (~np.isnan(own)).sum(axis=0) < LEAST_VALUES
    long, middle = np.empty(few.size), np.empty(few.size)
    for values, which in ((own, ~few), (everything, few)):
        if which.any():
            middle[which], long[which] = np.nanquantile(values[:, which], [0.5, QUANTILE], axis=0)
    return long, np.maximum(long - middle, SMALLEST_STEP)


def _fitted_postures(places: Floats, flip: Sequence[int]) -> dict[str, object]:
    mirrored = places[:, list(flip)] * (-1.0, 1.0)
    both = np.concatenate([places, mirrored])
    columns = np.flatnonzero((~np.isnan(both[..., 0])).sum(axis=0) >= LEAST_POSES)
    z = _normalised(both[:, columns])
    z = z[(~np.isnan(z)).sum(axis=1) >= 2 * LEAST_KEYPOINTS]
    if len(z) < LEAST_POSES or np.isnan(z).all(axis=0).any():
        return {"keypoints": (), "mean": (), "components": (), "variance": (), "typical": ()}
    mean = _mean_posture(z)
    z = _aligned(z, mean)
    known = ~np.isnan(z)
    rank = min(COMPONENTS, len(columns) // 2, len(z) // 20)
    mean, components, variance = _principal(np.where(known, z, mean), rank)
    fitted = _reconstructed(z, mean, components, variance)
    # Missing keypoints are filled from the components, and these fitted again: a few rounds of EM.
    for _ in range(0 if known.all() else ROUNDS):
        mean, components, variance = _principal(np.where(known, z, fitted), rank)
        fitted = _reconstructed(z, mean, components, variance)
    typical = np.maximum(_median(_residuals(z, mean, components, variance), axis=0), SMALLEST_RESIDUAL)
    return {
        "keypoints": tuple(columns.tolist()),
        "mean": _rounded(mean),
        "components": tuple(_rounded(row) for row in components),
        "variance": _rounded(variance),
        "typical": _rounded(typical),
    }


def _principal(z: Floats, rank: int) -> tuple[Floats, Floats, Floats]:
    """Mean (2J,), the first components (R, 2J) and their variances (R,) of (N, 2J)."""
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(z.T)))
    return z.mean(axis=0), vectors.T[::-1][:rank], np.maximum(values[::-1][:rank], 1e-6)


def _residuals(z: Floats, mean: Floats, components: Floats, variance: Floats) -> Floats:
    """(N, J) distances to the nearest posture, in sizes of the whole pose, however much of it is known."""
    z = _aligned(z, mean)
    return _distances(z, _reconstructed(z, mean, components, variance))


def _mean_posture(z: Floats) -> Floats:
    """(2J,) mean of poses that are turned and scaled to it (generalised Procrustes: Gower, Psychometrika 1975)."""
    mean = z[np.isnan(z).sum(axis=1).argmin()]
    for _ in range(ROUNDS):
        mean = np.nanmean(_aligned(z, mean), axis=0)
        mean = _normalised(mean.reshape(1, -1, 2))[0]
    return mean


def _aligned(z: Floats, mean: Floats) -> Floats:
    """(N, 2J) the poses moved, turned and scaled onto the mean: whichever way a body lies, it has the same postures.

    By least squares in complex numbers, where a turn and a scale are one factor, with less weight on outliers.
    """
    points, target = (values[..., ::2] + 1j * values[..., 1::2] for values in (z, mean))
    known = ~np.isnan(points) & ~np.isnan(target)
    p, m = np.where(known, points, 0), np.where(known, target, 0)
    weight, aligned = known.astype(np.float64), points
    for _ in range(ROUNDS):
        total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
        here, there = ((weight * values).sum(axis=1, keepdims=True) / total for values in (p, m))
        own = (weight * np.abs(p - here) ** 2).sum(axis=1, keepdims=True)
        factor = (weight * (m - there) * np.conj(p - here)).sum(axis=1, keepdims=True) / np.maximum(own, 1e-9)
        # A pose that is nothing like the mean must not shrink into one point.
        factor = factor * np.maximum(1.0, SMALLEST_FACTOR / np.maximum(np.abs(factor), 1e-9))
        aligned = (points - here) * factor + there
        weight = known / (1.0 + np.where(known, np.abs(aligned - target) / MISALIGNED, 0.0) ** 2)
    return np.stack([aligned.real, aligned.imag], axis=-1).reshape(z.shape)


def _reconstructed(z: Floats, mean: Floats, components: Floats, variance: Floats) -> Floats:
    """(N, 2J) the nearest place + turned and scaled mean + components, by robust ridge regression."""
    j = mean.size // 2
    x, y = np.tile([1.0, 0.0], j), np.tile([0.0, 1.0], j)
    turned = np.stack([-mean[1::2], mean[::2]], axis=1).reshape(-1)
    basis = np.stack([x, y, mean, turned, *components])
    # Place, size and turn are free; what is added to them only keeps a posture in one point solvable.
    penalty = np.concatenate([np.full(4, 1e-6), NOISE**2 / variance])
    products = (basis[:, None] * basis[None]).reshape(-1, basis.shape[1]).T
    known = ~np.isnan(z)
    target, weight = np.where(known, z, 0.0), known.astype(np.float64)
    fitted = np.zeros_like(z)
    for _ in range(ROUNDS + 1):
        normal = (weight @ products).reshape(-1, len(basis), len(basis)) + np.diag(penalty)
        right = (weight * target) @ basis.T
        fitted = np.linalg.solve(normal, right[..., None])[..., 0] @ basis
        distance = np.repeat(_distances(z, fitted), 2, axis=1)
        weight = known / (1.0 + np.nan_to_num(distance / (2 * NOISE)) ** 2)
    return fitted


def _normalised(places: Floats) -> Floats:
    """(N, J, 2) to (N, 2J): the median keypoint at 0 and the median distance from it 1; NaN where too few are known."""
    centred = places - _median(places, axis=1)[:, None]
    scale = _median(np.linalg.norm(centred, axis=-1), axis=1)
    few = (~np.isnan(places[..., 0])).sum(axis=1) < LEAST_KEYPOINTS
    scale = np.where(few | ~(scale > 0), np.nan, scale)
    return (centred / scale[:, None, None]).reshape(len(places), -1)


def _distances(z: Floats, fitted: Floats) -> Floats:
    """(N, J) distances between (N, 2J) places."""
    return np.linalg.norm((z - fitted).reshape(len(z), -1, 2), axis=-1)


def _places(poses: Poses) -> Floats:
    """(N, K, 2) where the keypoints are; NaN where they are absent or nothing is known."""
    return np.where((poses.visibility == Visibility.ABSENT)[..., None], np.nan, poses.xy.astype(np.float64))


def _log_lengths(poses: Poses, edges: Sequence[tuple[int, int]]) -> Floats:
    """(N, E) log of the length of each bone in pixels, never below that of one pixel; NaN where an end is unknown."""
    a, b = np.array(edges, np.intp).reshape(-1, 2).T
    places = _places(poses)
    return np.log(np.maximum(np.linalg.norm(places[:, a] - places[:, b], axis=-1), 1.0))


def _mirrored_edges(skeleton: Skeleton) -> list[int]:
    """(E,) the bone that each one becomes in the mirrored image; itself where the skeleton has no such bone."""
    place = {frozenset(edge): i for i, edge in enumerate(skeleton.edges)}
    flip = skeleton.flip
    return [place.get(frozenset((flip[a], flip[b])), i) for i, (a, b) in enumerate(skeleton.edges)]


def _blamed(excess: Floats, edges: Sequence[tuple[int, int]], k: int) -> Floats:
    """Share the excess of bones (N, E) among their ends (N, K), as :meth:`PosePrior.bones` says."""
    answer = np.full((len(excess), k), np.nan)
    at = [[e for e, edge in enumerate(edges) if i in edge] for i in range(k)]
    # Loops over the few bones of a skeleton; the poses are in the arrays.
    for e, edge in enumerate(edges):
        own = excess[:, e]
        for i, far in (edge, edge[::-1]):
            suspect, other = (_most(excess, [o for o in at[end] if o != e], own / 2) for end in (i, far))
            answer[:, i] = np.fmax(answer[:, i], np.where(suspect >= other, own, own / 2))
    return answer


def _most(excess: Floats, columns: Sequence[int], default: Floats) -> Floats:
    """(N,) the largest known of some columns; ``default`` where none is known."""
    most = np.fmax.reduce(excess[:, list(columns)], axis=1, initial=np.nan)
    return np.where(np.isnan(most), default, most)


def _median(values: Floats, axis: int) -> Floats:
    """The median of what is known along axis 0 or 1; NaN where nothing is. ``np.nanmedian`` warns there and is slow."""
    ordered = np.sort(values, axis=axis)  # NaN comes last
    count = (~np.isnan(values)).sum(axis=axis, keepdims=True)
    if not values.shape[axis]:
        return np.full([n for d, n in enumerate(values.shape) if d != axis], np.nan)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    high = np.minimum(high, np.maximum(count - 1, 0))
    middle = (np.take_along_axis(ordered, low, axis) + np.take_along_axis(ordered, high, axis)) / 2
    return middle[:, 0] if axis else middle[0]


def _rounded(values: ArrayLike) -> tuple[float, ...]:
    """Numbers as they are stored: six digits are more than a fitted number knows."""
    return tuple(float(f"{value:.6g}") for value in np.asarray(values, np.float64))
