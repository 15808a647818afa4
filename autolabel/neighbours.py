"""Two people who claim one place: the sign of a keypoint that was put on somebody else.

A network that looks at one person's box sees parts of the neighbours, too, and where a limb is hidden it takes theirs
(a *swap* in the words of Ronchi and Perona, ICCV 2017). In the poses of the whole image that is plain: the keypoint
lies where another pose has the same joint, or the mirrored one. Two poses of one person show up the same way.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.disagreement import image_numbers
from autolabel.errors import PosesError
from autolabel.poses import Poses, Visibility
from autolabel.similarity import keypoint_similarity, similarity_area
from autolabel.skeleton import Skeleton

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

CHUNK = 1 << 20
"""Pairs of keypoints that are compared at a time, about: it bounds the memory."""


def conflicts(poses: Poses, owner: ArrayLike, skeleton: Skeleton, chunk: int = CHUNK) -> Floats:
    """The largest KS of every keypoint with the same or the mirrored joint of another pose of its image.

    KS is measured with the smaller of the two areas, so that a small person before a large one is not in conflict with
    all of it. Crowd regions and keypoints that the other pose calls absent claim no place.

    Args:
        poses: N poses of any number of images.
        owner: (N,) number of the image of each, ascending.
        skeleton: Gives sigmas and mirrored joints.
        chunk: Pairs of keypoints at a time.

    Returns:
        (N, K) in 0..1; 0 for a pose that is alone in its image; NaN where the keypoint itself has no place
        or is absent.

    Raises:
        PosesError: The poses have another K than the skeleton.
        InputError: The numbers of the images do not ascend, or are not one for each pose.
    """
    if poses.num_keypoints != skeleton.num_keypoints:
        raise PosesError(f"poses of {poses.num_keypoints} keypoints, the skeleton has {skeleton.num_keypoints}")
    numbers = image_numbers(poses, owner)
    xy = np.where((poses.visibility == Visibility.ABSENT)[..., None], np.nan, poses.xy.astype(np.float64))
    claimed = np.where(poses.crowd[:, None, None], np.nan, xy)
    area, flip = similarity_area(poses), list(skeleton.flip)
    answer = np.zeros(xy.shape[:2])
    for mine, theirs in _pairs(numbers, max(chunk // skeleton.num_keypoints, 1)):
        smaller = np.fmin(area[mine], area[theirs])
        same, mirrored = (
            keypoint_similarity(xy[mine], place, smaller, skeleton.sigmas)
            for place in (claimed[theirs], claimed[theirs][:, flip])
        )
        first = np.flatnonzero(np.diff(mine, prepend=-1))
        largest = np.maximum.reduceat(np.nan_to_num(np.fmax(same, mirrored), nan=0.0), first, axis=0)
        answer[mine[first]] = np.maximum(answer[mine[first]], largest)
    return np.where(np.isnan(xy[..., 0]), np.nan, answer)


def _pairs(numbers: NDArray[np.int64], most: int) -> Iterator[tuple[Rows, Rows]]:
    """All ordered pairs of two poses of one image, about ``most`` at a time; a pose's pairs stay in a row."""
    start = np.searchsorted(numbers, numbers, side="left")
    others = np.searchsorted(numbers, numbers, side="right") - start - 1
    rows = np.flatnonzero(others > 0)
    # Where the running number of pairs passes another multiple of ``most``, a new chunk begins.
    chunk = (np.cumsum(others[rows]) - 1) // most
    for part in np.split(rows, np.flatnonzero(np.diff(chunk)) + 1):
        if part.size:
            mine = np.repeat(part, others[part])
            place = np.arange(len(mine)) - np.repeat(np.cumsum(others[part]) - others[part], others[part])
            theirs = start[mine] + place
            yield mine, theirs + (theirs >= mine)  # past the pose itself
