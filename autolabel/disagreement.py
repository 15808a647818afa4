"""Two manifests about the same people: how far their poses agree, keypoint by keypoint.

Where two networks of different training agree, both are seldom wrong; where they differ, at least one is. Semi-
supervised pose estimation selects its pseudo-labels so (SSPCM, CVPR 2023) and finds it better than a threshold on the
confidence. Poses are paired by their id, which they keep through all rounds, or by their place where the second
manifest has boxes of its own.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.errors import InputError, PosesError
from autolabel.poses import Poses, Visibility
from autolabel.similarity import keypoint_similarity, match, mean_similarity, similarity_area
from autolabel.skeleton import Skeleton

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


def match_by_id(poses: Poses, other: Poses) -> Rows:
    """(N,) the row of the other pose of the same id, the first of several; -1 where there is none.

    Poses without an id are nobody's partner.
    """
    row: dict[str, int] = {}
    for i, pose in enumerate(other.id.tolist()):
        row.setdefault(pose, i)
    row[""] = -1
    return np.array([row.get(pose, -1) for pose in poses.id.tolist()], np.intp)


def match_by_place(poses: Poses, owner: ArrayLike, other: Poses, other_owner: ArrayLike, skeleton: Skeleton) -> Rows:
    """Pair poses of the same image one to one, greedily by OKS, as :func:`autolabel.similarity.match` does.

    Args:
        poses: N poses.
        owner: (N,) number of the image of each, ascending.
        other: T other poses.
        other_owner: (T,) number of the image of each, ascending, with the same numbers.
        skeleton: Gives the sigmas.

    Returns:
        (N,) row of the other pose; -1 where there is none.

    Raises:
        InputError: The numbers of the images do not ascend, or are not one for each pose.
    """
    mine, theirs = image_numbers(poses, owner), image_numbers(other, other_owner)
    partner = np.full(len(poses), -1, np.intp)
    shared = np.intersect1d(mine, theirs)
    starts, ends = (np.searchsorted(mine, shared, side=side) for side in ("left", "right"))
    firsts, lasts = (np.searchsorted(theirs, shared, side=side) for side in ("left", "right"))
    bounds = (edge.tolist() for edge in (starts, ends, firsts, lasts))
    for start, end, first, last in zip(*bounds, strict=True):
        found = match(
            poses.take(np.arange(start, end, dtype=np.intp)),
            other.take(np.arange(first, last, dtype=np.intp)),
            skeleton,
        )
        partner[start:end] = np.where(found >= 0, found + first, -1)
    return partner


def against(poses: Poses, other: Poses, skeleton: Skeleton, partner: Rows | None = None) -> Floats:
    """KS of every keypoint with the same keypoint of its partner pose.

    The area is the pose's own, or its partner's where it has none. A keypoint that both call absent agrees (1), one
    that only one of them calls absent does not (0).

    Args:
        poses: N poses.
        other: T other poses.
        skeleton: Gives the sigmas.
        partner: (N,) rows of ``other``, -1 where there is none; left out, the poses of the same ids.

    Returns:
        (N, K) in 0..1; NaN where there is no partner, or where the partner says nothing about the keypoint.

    Raises:
        PosesError: The two differ in K, or from the skeleton.
    """
    if {poses.num_keypoints, other.num_keypoints} != {skeleton.num_keypoints}:
        raise PosesError(
            f"poses of {poses.num_keypoints} and of {other.num_keypoints} keypoints cannot be compared "
            f"by skeleton {skeleton.name!r} of {skeleton.num_keypoints}"
        )
    partner = match_by_id(poses, other) if partner is None else partner
    answer = np.full((len(poses), skeleton.num_keypoints), np.nan)
    rows = np.flatnonzero(partner >= 0)
    mine, theirs = poses.take(rows), other.take(partner[rows])
    own = similarity_area(mine)
    area = np.where(own > 0, own, similarity_area(theirs))
    ks = keypoint_similarity(mine.xy, theirs.xy, area, skeleton.sigmas)
    absent, absent_there = (side.visibility == Visibility.ABSENT for side in (mine, theirs))
    ks = np.where(absent_there, absent.astype(np.float64), np.where(absent & ~np.isnan(ks), 0.0, ks))
    answer[rows] = ks
    return answer


def pose_disagreement(ks: Floats) -> Floats:
    """(N,) one less the mean KS (N, K) of each pose; NaN where nothing could be compared."""
    return 1.0 - mean_similarity(ks)


def image_numbers(poses: Poses, owner: ArrayLike) -> NDArray[np.int64]:
    """(N,) the number of the image of each pose, checked.

    Raises:
        InputError: They do not ascend, or are not one for each pose.
    """
    numbers = np.asarray(owner, np.int64)
    if numbers.shape != (len(poses),):
        raise InputError(f"image numbers of shape {numbers.shape} for {len(poses)} poses")
    if (np.diff(numbers) < 0).any():
        raise InputError(
            "the images of the poses are not in order",
            remedy="Give the poses of each image together, images ascending.",
        )
    return numbers
