"""Keypoints that nobody said anything about, filled in with what a network says where it is nearly always right.

A network that learns from partly labelled poses forgets the keypoints that they leave out. What the network of before
says of these keeps them, as far as it can be believed: where the calibrated probability that the place is gross is
small. This is the memory replay of SuperAnimal (Ye et al., Nature Communications 15:5165, 2024), with a calibrated
probability in the place of their threshold on the confidence.

What is filled in is named in the pose's attribute :data:`autolabel.poses.FILLED`; it is trained on with a lower weight,
and is for training alone.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import PosesError
from autolabel.poses import FILLED, Origin, Poses, Visibility
from autolabel.skeleton import Skeleton


def stated(poses: Poses) -> NDArray[np.bool_]:
    """(N, K) keypoints about which something is said: labelled, absent, or taken back by a person."""
    return (poses.visibility != Visibility.UNLABELLED) | (poses.origin == Origin.HUMAN)


def fill(poses: Poses, teacher: Poses, said: NDArray[np.bool_], skeleton: Skeleton, *, below: float) -> Poses:
    """Fill in what people left open.

    Args:
        poses: N poses as people left them.
        teacher: The same N poses by a network, with calibrated ``p_gross``; NaN where it says nothing.
        said: (N, K) keypoints that people said something about. They stay as they are, absent ones too; of the others
            nothing that the poses state is kept.
        skeleton: Names the keypoints.
        below: A keypoint is filled in where its ``p_gross`` is less than this and the network places it.

    Returns:
        The poses, filled keypoints of origin MODEL and named in the attribute ``filled``.

    Raises:
        PosesError: The two do not hold the same poses in the same order, or ``said`` has another shape.
    """
    if said.shape != poses.visibility.shape or teacher.visibility.shape != said.shape:
        raise PosesError(
            f"said is {said.shape}, the teacher {teacher.visibility.shape}, poses {poses.visibility.shape}"
        )
    if not np.array_equal(poses.id, teacher.id):
        raise PosesError("the teacher's poses are others, or in another order")
    taken = ~said & teacher.labelled & (teacher.p_gross < below)

    def chosen(mine: NDArray[Any], theirs: NDArray[Any], nothing: Any) -> NDArray[Any]:
        shape = (...,) + (None,) * (mine.ndim - 2)
        return np.where(said[shape], mine, np.where(taken[shape], theirs, nothing))

    names = np.array(skeleton.keypoints, object)
    return poses.replace(
        xy=chosen(poses.xy, teacher.xy, np.nan),
        visibility=chosen(poses.visibility, teacher.visibility, Visibility.UNLABELLED),
        origin=chosen(poses.origin, np.full(said.shape, Origin.MODEL), Origin.NONE),
        score=chosen(poses.score, teacher.score, np.nan),
        presence=chosen(poses.presence, teacher.presence, np.nan),
        p_gross=chosen(poses.p_gross, teacher.p_gross, np.nan),
        attributes=[
            {**known, FILLED: names[row].tolist()} if row.any() else known
            for known, row in zip(poses.attributes, taken, strict=True)
        ],
    )
