"""Labels that no body has: what the labels of a corpus say about each other, without any network.

Bones and postures of the whole corpus are the measure (:mod:`autolabel.pose_prior`): most labels are right, and what is
fitted to them is hardly moved by the others. A hip that was put on a wrist makes bones too long and lies far from where
the rest of the body has it. An unusual posture does too, so this is not enough to accuse a label: it counts as far as
a network does not have the keypoint in the same place.
"""

import numpy as np
from numpy.typing import NDArray

from autolabel.evidence import largest
from autolabel.pose_prior import fit_prior
from autolabel.poses import Poses
from autolabel.skeleton import Skeleton

Floats = NDArray[np.float64]

LONG = 0.4
"""Steps by which the longest bone exceeds what 99 % of the corpus have, that count as one unit of evidence."""

USUAL, FAR = 3.0, 6.0
"""Residuals up to the first, in typical ones, say nothing; so much beyond counts as one unit of evidence."""


def implausible(poses: Poses, skeleton: Skeleton) -> Floats:
    """How little a keypoint's label fits the rest of its body.

    One unit of evidence makes 1 - 1/e, two make 1 - 1/e², and so on; long bones and postures add up.

    Args:
        poses: N labelled poses.
        skeleton: Names the bones.

    Returns:
        (N, K) in 0..1; 0 where nothing is labelled, and for all of a corpus too small to learn from.
    """
    prior = fit_prior(poses, skeleton)
    if prior is None:
        return np.zeros(poses.visibility.shape)
    bones, residual = np.nan_to_num(prior.bones(poses)), np.nan_to_num(prior.residual(poses))
    # A label in the wrong place draws others out of theirs, or its bone is long; one that is far off all by itself
    # mostly has neighbours that nobody labelled.
    together = np.minimum(residual, largest(residual, 2)[:, None])
    units = bones / LONG + np.maximum(together - USUAL, 0.0) / FAR
    return np.where(poses.labelled, 1.0 - np.exp(-units), 0.0)
