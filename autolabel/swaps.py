"""Which keypoints lie on another person of the same image.

The usual slip in a crowd: the wrist of one person is put on the wrist of the one beside. Every keypoint is compared
with the same and the mirrored keypoint of everybody else in the image, by keypoint similarity with that person's area
(the *swap* of Ronchi & Perona, ICCV 2017, section 3, without the truth).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.mirror import placed
from autolabel.poses import Poses
from autolabel.similarity import keypoint_similarity, similarity_area
from autolabel.skeleton import Skeleton

Floats = NDArray[np.float64]

CHUNK = 20_000
"""Pairs of people that are compared at a time, so that a crowd needs no more memory than a couple."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest other person's keypoint of each keypoint.

    Attributes:
        ks: (N, K) similarity with it, 0 where there is nobody else.
        row: (N, K) whose it is, -1 where there is nobody else.
    """

    ks: Floats
    row: NDArray[np.intp]


def nearest_neighbour(points: Poses, people: Poses, owner: NDArray[Any], skeleton: Skeleton) -> Nearest:
    """Compare every keypoint with those of the other people in its image; crowd regions are nobody.

    Args:
        points: N poses whose keypoints are asked about.
        people: N poses of the same people, in the same rows: where everybody is.
        owner: (N,) which image each is in.
        skeleton: Gives sigmas and mirror images.
    """
    ks = np.zeros(people.visibility.shape)
    nearest = np.full(people.visibility.shape, -1, np.intp)
    mine, theirs = _companions(owner, people.crowd)
    asked, there = placed(points), placed(people)
    area, flip = similarity_area(people), np.array(skeleton.flip)
    for start in range(0, len(mine), CHUNK):
        a, b = mine[start : start + CHUNK], theirs[start : start + CHUNK]
        same, mirrored = (
            keypoint_similarity(asked[a], place, area[b], skeleton.sigmas) for place in (there[b], there[b][:, flip])
        )
        _keep_best(ks, nearest, a, b, np.nan_to_num(np.fmax(same, mirrored)))
    return Nearest(ks, nearest)


def _companions(owner: NDArray[Any], crowd: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Every ordered pair of two different people of one image."""
    people = np.flatnonzero(~crowd)
    _, image, count = np.unique(owner[people], return_inverse=True, return_counts=True)
    order = people[np.argsort(image, kind="stable")]
    size = np.repeat(count, count)
    first = np.repeat(np.cumsum(count) - count, count)
    mine = np.repeat(order, size)
    within = np.arange(len(mine)) - np.repeat(np.cumsum(size) - size, size)
    theirs = order[np.repeat(first, size) + within]
    return mine[mine != theirs], theirs[mine != theirs]


def _keep_best(ks: Floats, nearest: NDArray[np.intp], a: NDArray[np.intp], b: NDArray[np.intp], alike: Floats) -> None:
    """Take over what is nearer than all before; pairs stand in the order of ``a``."""
    starts = np.flatnonzero(np.r_[True, a[1:] != a[:-1]]) if len(a) else np.empty(0, np.intp)
    if not len(starts):
        return
    best = np.maximum.reduceat(alike, starts, axis=0)
    is_best = alike == np.repeat(best, np.diff(np.r_[starts, len(a)]), axis=0)
    who = np.maximum.reduceat(np.where(is_best, b[:, None], -1), starts, axis=0)
    rows = a[starts]
    better = best > ks[rows]
    nearest[rows] = np.where(better, who, nearest[rows])
    ks[rows] = np.where(better, best, ks[rows])
