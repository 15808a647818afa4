"""Planted errors: bad poses that are known to be bad, shown to reviewers as ordinary tasks.

The share of them that people find bounds the share of bad poses that an audit overlooks. That bound is about the
errors of an audit only if those are no harder to see. So plants are the network's own errors on poses that people
checked: half of them the ones that it doubts least, half borderline ones, which are barely bad. Where there are too
few, others are made from good poses in the way networks err (:mod:`autolabel.synthetic_errors`), and counted apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.poses import Poses, Visibility
from autolabel.similarity import bad_poses, gross_keypoints, mean_similarity, pair_similarity
from autolabel.skeleton import Skeleton
from autolabel.synthetic_errors import corrupt, nearest_neighbours

BORDERLINE = (0.5, 0.75)
"""OKS of an error that is barely one."""

_TRIES = 16
"""Draws of errors for a good pose, until one makes it bad."""

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Plants:
    """P planted poses.

    Attributes:
        poses: Still with the ids of the checked poses that they were made from; each of these occurs once.
        oks: (P,) with the truth; NaN where a box holds nobody.
        synthetic: (P,) made up rather than predicted.
    """

    poses: Poses
    oks: NDArray[np.float64]
    synthetic: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.poses)


def natural_plants(
    p_bad: NDArray[np.floating], bad: NDArray[np.bool_], oks: NDArray[np.floating], count: int
) -> Indices:
    """Rows of the errors to plant: half of them the least doubted ones, half the least doubted borderline ones.

    Args:
        p_bad: (D,) doubts; a pose without one (NaN) comes last.
        bad: (D,) poses that are bad and may be planted.
        oks: (D,) with the truth.
        count: How many to choose; fewer come where there are fewer.

    Raises:
        InputError: The count is negative.
    """
    if count < 0:
        raise InputError(f"{count} poses cannot be planted", remedy="Give 0 or more.")
    rows = np.flatnonzero(bad)
    rows = rows[np.argsort(np.nan_to_num(p_bad[rows], nan=np.inf), kind="stable")]
    low, high = BORDERLINE
    first, rest = rows[: (count + 1) // 2], rows[(count + 1) // 2 :]
    barely = (oks[rest] >= low) & (oks[rest] < high)
    return np.concatenate([first, rest[barely], rest[~barely]])[:count]


def synthetic_plants(
    poses: Poses,
    truth: NDArray[np.floating],
    area: NDArray[np.floating],
    image: NDArray[np.integer],
    skeleton: Skeleton,
    count: int,
    rng: np.random.Generator,
) -> Plants:
    """Bad poses made from good ones: keypoints go where networks misplace them, the others stay as predicted.

    Args:
        poses: (G,) good poses as predicted, in the order in which they are to be used.
        truth: (G, K, 2) true places in pixels, NaN where nothing is known.
        area: (G,) square pixels of the true poses.
        image: (G,) which image each is in.
        skeleton: Of all of them.
        count: How many to make; fewer come where no draw makes a pose bad.
        rng: Decides the errors.
    """
    labelled: NDArray[np.bool_] = np.asarray(np.isfinite(truth).all(axis=-1))
    order = np.argsort(image, kind="stable")
    neighbours = np.empty(truth.shape)
    neighbours[order] = nearest_neighbours(truth[order], labelled[order], image[order])
    true = Poses.create(
        skeleton.num_keypoints,
        xy=truth,
        visibility=np.where(labelled, Visibility.VISIBLE, Visibility.UNLABELLED),
        box=poses.box,
        area=area,
    )
    xy, oks = np.array(poses.xy, np.float64), np.full(len(poses), np.nan)
    made = np.zeros(len(poses), bool)
    for _ in range(_TRIES):
        if made.sum() >= count:
            break
        moved, _ = corrupt(truth, labelled, area, skeleton, rng, neighbours=neighbours, kept=poses.xy)
        wrong = poses.replace(xy=moved)
        ks = pair_similarity(wrong, true, skeleton)
        new = bad_poses(mean_similarity(ks), gross_keypoints(wrong, true, ks)) & ~made
        xy[new], oks[new] = moved[new], mean_similarity(ks)[new]
        made |= new
    chosen = np.flatnonzero(made)[:count]
    return Plants(poses.take(chosen).replace(xy=xy[chosen]), oks[chosen], np.ones(len(chosen), bool))
