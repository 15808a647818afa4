"""What people found when they audited accepted poses.

The verdict on it, and what it says about the poses that nobody audited, is ``autolabel/certify.py``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.poses import Poses, Visibility
from autolabel.similarity import BadRule, bad_poses, gross_keypoints, mean_similarity, pair_similarity
from autolabel.skeleton import Skeleton


@dataclass(frozen=True)
class AuditCounts:
    """What people found in an audit.

    Attributes:
        audited: Poses in the audit.
        bad: Bad poses, the rejected ones among them.
        rejected: Poses on no instance, or a second time on one.
        keypoints: Keypoints that people said something about.
        gross: Gross keypoints among them.
    """

    audited: int
    bad: int
    rejected: int
    keypoints: int
    gross: int


def count_audit(
    poses: Poses, answers: Poses, rejected: NDArray[np.bool_], skeleton: Skeleton, rule: BadRule
) -> AuditCounts:
    """Compare audited poses, as they were accepted, with what people made of them.

    Args:
        poses: The N audited poses, as accepted.
        answers: The same N poses in the same order, as people left them; these are the truth.
        rejected: (N,) which of them people rejected; such a pose is bad, whatever its keypoints.
        skeleton: Gives the sigmas.
        rule: When a keypoint is gross and a pose is bad.

    Raises:
        InputError: An answer that is not a rejection and says nothing about any keypoint.
    """
    scored = (answers.visibility != Visibility.UNLABELLED) & ~rejected[:, None]
    silent = ~scored.any(axis=1) & ~rejected
    if silent.any():
        raise InputError(
            "an answer that labels no keypoint is no answer",
            subject=f"pose {answers.id[np.argmax(silent)]}",
            remedy="Label its keypoints, mark them absent, or reject the pose.",
        )
    ks = pair_similarity(poses, answers, skeleton)
    gross = gross_keypoints(poses, answers, ks, rule) & scored
    bad = bad_poses(mean_similarity(ks), gross, rule) | rejected
    return AuditCounts(
        audited=len(poses),
        bad=int(bad.sum()),
        rejected=int(rejected.sum()),
        keypoints=int(scored.sum()),
        gross=int(gross.sum()),
    )
