"""Wrong poses made from right ones: the errors that pose networks make, planted where one knows what is right.

What judges poses has to have seen wrong ones, and a good network makes few. So some keypoints of true poses are moved
as networks misplace them, in the vocabulary of :mod:`autolabel.taxonomy`:

========= ===================================================== =====
kind      the keypoint goes                                     share
========= ===================================================== =====
jitter    to where its similarity is between 0.85 and 0.5       0.16
inversion to the place of its own mirror image                  0.03
swap      to the place of somebody else's same joint            0.08
miss      to where its similarity is between 0.5 and 0.1        0.10
========= ===================================================== =====

The distances are those of PoseFix (Moon et al., CVPR 2019, section 4), by keypoint similarity, so that a small person
is misplaced by few pixels; the shares are the ones DeepLabCut trains with. What a keypoint's error comes to is to be
measured against the truth all the same: a mirror image may stand at nearly the same place.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.skeleton import Skeleton
from autolabel.taxonomy import GOOD_KS, JITTER_KS, State

MISS_KS = 0.1
"""A planted miss is more like the truth than this: what is farther away is easily told."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ErrorShares:
    """How many keypoints get which error.

    Attributes:
        jitter: Of all, 0..1; so are the others, and their sum is at most 1.
        inversion: Where the keypoint has a mirror image that is labelled.
        swap: Where somebody else's joint is known.
        miss: Of all.
    """

    jitter: float = 0.16
    inversion: float = 0.03
    swap: float = 0.08
    miss: float = 0.10


DEFAULT_SHARES = ErrorShares()


def corrupt(
    xy: ArrayLike,
    labelled: ArrayLike,
    area: ArrayLike,
    skeleton: Skeleton,
    rng: np.random.Generator,
    *,
    neighbours: ArrayLike | None = None,
    kept: ArrayLike | None = None,
    strength: ArrayLike = 1.0,
    shares: ErrorShares = DEFAULT_SHARES,
) -> tuple[Floats, NDArray[np.uint8]]:
    """Move some keypoints of true poses as networks misplace them.

    Args:
        xy: (N, K, 2) true places in pixels.
        labelled: (N, K) whether they are known; others are left alone.
        area: (N,) square pixels, :func:`autolabel.similarity.similarity_area`; a pose without one is left alone.
        skeleton: K keypoints; gives sigmas and mirror images.
        rng: The same generator gives the same errors.
        neighbours: (N, K, 2) places of the same joints of somebody else in the image, NaN where there is none.
        kept: (N, K, 2) what to return where nothing is planted, such as what a network says; by default ``xy``.
        strength: (N,) or a number, 0..1, by which a pose's shares are multiplied.
        shares: How many keypoints get which error.

    Returns:
        (N, K, 2) places, and (N, K) which :class:`autolabel.taxonomy.State` was planted: GOOD where nothing was, as
        where an inversion or a swap was drawn and has nowhere to go, and UNKNOWN where the truth is not known.
    """
    true = np.asarray(xy, np.float64)
    areas = np.asarray(area, np.float64)
    known = np.asarray(labelled, bool) & np.isfinite(true).all(axis=-1) & (areas > 0)[:, None]
    flip = np.array(skeleton.flip, np.intp)
    mirrored = np.where(known[:, flip, None] & (flip != np.arange(len(flip)))[:, None], true[:, flip], np.nan)
    other = np.full(true.shape, np.nan) if neighbours is None else np.asarray(neighbours, np.float64)
    # All numbers are drawn whatever they are needed for, so that one pose's errors do not hang on the others'.
    drawn, reach, turn = (rng.random(known.shape) for _ in range(3))
    kinds = (State.JITTER, State.INVERSION, State.SWAP, State.MISS)
    factor = np.broadcast_to(np.asarray(strength, np.float64), areas.shape)
    ends = np.cumsum([shares.jitter, shares.inversion, shares.swap, shares.miss]) * factor[:, None]
    chosen = (drawn[..., None] >= ends[:, None]).sum(axis=-1)  # (N, K) 0..3 as in `kinds`, 4 for none
    near, middle, far = (similarity_distance(ks, areas, skeleton.sigmas) for ks in (GOOD_KS, JITTER_KS, MISS_KS))
    aside = np.stack([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)], axis=-1)
    jittered = true + (near + reach * (middle - near))[..., None] * aside
    missed = true + (middle + (1 - reach) * (far - middle))[..., None] * aside
    places = np.stack([jittered, mirrored, other, missed])
    planted = np.take_along_axis(places, np.minimum(chosen, 3)[None, ..., None], axis=0)[0]
    moved = known & (chosen < len(kinds)) & np.isfinite(planted).all(axis=-1)
    rest = true if kept is None else np.asarray(kept, np.float64)
    state = np.array([*kinds, State.GOOD], np.uint8)[np.where(moved, chosen, len(kinds))]
    return np.where(moved[..., None], planted, rest), np.where(known, state, np.uint8(State.UNKNOWN))


def similarity_distance(ks: float, area: ArrayLike, sigmas: ArrayLike) -> Floats:
    """(..., K) pixels at which keypoint similarity is ``ks``: sqrt(-2 A (2σ)² ln ks), the inverse of KS.

    Args:
        ks: Above 0, at most 1.
        area: (...) square pixels, A; NaN gives NaN.
        sigmas: (K,) σ.
    """
    side = np.sqrt(np.asarray(area, np.float64))[..., None]
    return side * 2.0 * np.asarray(sigmas, np.float64) * np.sqrt(-2.0 * np.log(ks))


def nearest_neighbours(xy: ArrayLike, labelled: ArrayLike, image: ArrayLike) -> Floats:
    """(N, K, 2) for each joint the nearest same joint of somebody else in the image, NaN where there is none.

    Args:
        xy: (N, K, 2) true places in pixels.
        labelled: (N, K) whether they are known; nothing is near a place that is not.
        image: (N,) which image each pose is in; those of one image stand together.
    """
    places = np.where(np.asarray(labelled, bool)[..., None], np.asarray(xy, np.float64), np.nan)
    owner = np.asarray(image)
    bounds = [0, *(np.flatnonzero(owner[1:] != owner[:-1]) + 1).tolist(), len(owner)]
    return np.concatenate([places[:0], *(_nearest(places[a:b]) for a, b in pairwise(bounds))])


def _nearest(places: Floats) -> Floats:
    """(n, K, 2) the nearest same joint among n people of one image."""
    squared = ((places[:, None] - places[None]) ** 2).sum(axis=-1)  # (n, n, K)
    squared[np.arange(len(places)), np.arange(len(places))] = np.inf
    squared = np.where(np.isnan(squared), np.inf, squared)
    if not len(places):
        return places
    best = squared.argmin(axis=1)  # (n, K)
    found = np.take_along_axis(places, best[..., None], axis=0)
    return np.where(np.isfinite(squared.min(axis=1))[..., None], found, np.nan)
