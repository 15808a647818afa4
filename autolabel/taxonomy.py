"""What kind of error each keypoint is: good, jitter, inversion, swap or miss.

Ronchi & Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation", ICCV 2017, section 3. A predicted
keypoint is compared with every true place it may have been meant for: its own, its own mirror image's (left for
right), and the same and the mirrored joint of every other person in the image. The nearest in similarity says what
happened:

========== ============================================== ======
state      the most similar place is                      and KS
========== ============================================== ======
good       its own                                        >= 0.85
jitter     its own                                        0.5 to 0.85
inversion  its own mirror image's                         >= 0.5
swap       another person's, same joint or mirrored       >= 0.5
miss       any                                            < 0.5
========== ============================================== ======

Also the scoring error of the same paper: of several poses on one person, the most like is not the best scored.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.poses import Poses
from autolabel.similarity import keypoint_similarity, similarity_area
from autolabel.skeleton import Skeleton

GOOD_KS = 0.85
JITTER_KS = 0.5

MATCHED_OKS = 0.1
"""Only a pose more like its person than this says what went wrong with a keypoint."""

Floats = NDArray[np.float64]


class State(IntEnum):
    """What happened to a keypoint."""

    UNKNOWN = 0
    """The truth does not say where it is, or nobody found the person."""
    GOOD = 1
    JITTER = 2
    INVERSION = 3
    SWAP = 4
    MISS = 5


STATES = tuple(state for state in State if state)
"""The five states that are counted."""


def classify(xy: ArrayLike, person: ArrayLike, truth: Poses, skeleton: Skeleton) -> NDArray[np.uint8]:
    """The state of every keypoint of poses of one image.

    Equal similarities are decided in the order own, own mirror, others. The similarity with somebody else's joint is
    taken with that person's area. Crowd regions are nobody.

    Args:
        xy: (M, K, 2) pixels of the poses to judge; NaN where nothing was predicted.
        person: (M,) which true pose each one is matched with.
        truth: All T true poses of the image.
        skeleton: Gives sigmas and mirror images.

    Returns:
        (M, K) :class:`State`; UNKNOWN where the person's own keypoint is not labelled.
    """
    own_row = np.asarray(person, np.intp)
    points = np.asarray(xy, np.float64)[:, None]
    flip = np.array(skeleton.flip)
    place = np.where(truth.labelled[..., None], truth.xy.astype(np.float64), np.nan)[None]
    area = similarity_area(truth)[None]
    # (M, T, K) each; a place that nobody labelled is no candidate.
    same = _candidates(keypoint_similarity(points, place, area, skeleton.sigmas))
    mirrored = _candidates(keypoint_similarity(points, place[:, :, flip], area, skeleton.sigmas))
    row = np.arange(len(own_row))
    own = same[row, own_row]
    mirror = np.where(flip == np.arange(len(flip)), -1.0, mirrored[row, own_row])
    others = np.maximum(same, mirrored)
    others[row, own_row] = -1.0
    others[:, truth.crowd] = -1.0
    other = others.max(axis=1, initial=-1.0)
    states = np.select(
        [
            np.maximum(np.maximum(own, mirror), other) < JITTER_KS,
            (own >= mirror) & (own >= other),
            mirror >= other,
        ],
        [
            np.full(own.shape, State.MISS),
            np.where(own >= GOOD_KS, State.GOOD, State.JITTER),
            np.full(own.shape, State.INVERSION),
        ],
        State.SWAP,
    )
    return np.where(truth.labelled[own_row], states, State.UNKNOWN).astype(np.uint8)


def scoring_errors(oks: Floats, score: ArrayLike) -> tuple[int, int]:
    """How often the best of several poses on one person is not the best scored.

    A pose is on the person whom it is most like, if its OKS with them exceeds 0.1.

    Args:
        oks: (N, T) similarity of every pose with every true person of an image.
        score: (N,) the poses' scores.

    Returns:
        How many people have several poses, and with how many of them the most like has a lower score than another.
    """
    if not oks.size:
        return 0, 0
    scores = np.asarray(score, np.float64)
    person, best = oks.argmax(axis=1), oks.max(axis=1)
    on = best > MATCHED_OKS
    person, best, scores = person[on], best[on], scores[on]
    several = np.bincount(person, minlength=oks.shape[1]) > 1
    most_like, top_score, its_score = (np.full(oks.shape[1], -np.inf) for _ in range(3))
    np.maximum.at(most_like, person, best)
    np.maximum.at(top_score, person, scores)
    chosen = best == most_like[person]
    np.maximum.at(its_score, person[chosen], scores[chosen])
    return int(several.sum()), int((several & (its_score < top_score)).sum())


def _candidates(ks: Floats) -> Floats:
    return np.nan_to_num(ks, nan=-1.0)
