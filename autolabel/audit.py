"""What people found when they audited accepted poses.

An audited pose has one answer that stands, which corrects it or throws it out, and may have others: of a second person,
or of somebody who placed it without seeing the network's pose. It is bad if any of them says so, and put right only if
the one that stands does. The verdict on it, and what it says about the poses that nobody audited, is
``autolabel/certify.py``.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.poses import Poses, Visibility
from autolabel.similarity import BadRule, bad_poses, gross_keypoints, mean_similarity, pair_similarity
from autolabel.skeleton import Skeleton

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class AuditCounts:
    """What people found in an audit.

    Attributes:
        audited: Poses in the audit.
        bad: Bad poses, the rejected ones among them.
        rejected: Poses on no instance, or a second time on one; they are thrown out.
        keypoints: Keypoints that people said something about.
        gross: Gross keypoints among them.
        uncorrected: Bad poses that the standing answer left as they are.
    """

    audited: int
    bad: int
    rejected: int
    keypoints: int
    gross: int
    uncorrected: int = 0

    @property
    def corrected(self) -> int:
        """Bad poses that the audit put right or threw out."""
        return self.bad - self.uncorrected


@dataclass(frozen=True, eq=False)
class Findings:
    """What people found in each of N audited poses.

    Attributes:
        bad: (N,) some answer shows the pose to be bad.
        corrected: (N,) the standing answer does, and thereby puts it right or throws it out.
        rejected: (N,) the standing answer throws it out.
        scored: (N, K) keypoints that the standing answer says something about.
        gross: (N, K) gross ones among them.
    """

    bad: Bools
    corrected: Bools
    rejected: Bools
    scored: Bools
    gross: Bools

    def found_too(self, bad: Bools) -> "Findings":
        """With (N,) poses that other answers show to be bad; they correct nothing."""
        return replace(self, bad=self.bad | bad)

    def among(self, chosen: Bools) -> "Findings":
        """Of the (N,) chosen poses alone."""
        arrays = (self.bad, self.corrected, self.rejected, self.scored, self.gross)
        return Findings(*(array[chosen] for array in arrays))

    def counts(self) -> AuditCounts:
        """How many there are of each."""
        return AuditCounts(
            audited=len(self.bad),
            bad=int(self.bad.sum()),
            rejected=int(self.rejected.sum()),
            keypoints=int(self.scored.sum()),
            gross=int(self.gross.sum()),
            uncorrected=int((self.bad & ~self.corrected).sum()),
        )


def find(poses: Poses, answers: Poses, rejected: Bools, skeleton: Skeleton, rule: BadRule) -> Findings:
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
    bad, gross = shown_bad(poses, answers, rejected, skeleton, rule)
    return Findings(bad, bad, rejected, scored, gross)


def shown_bad(poses: Poses, answers: Poses, rejected: Bools, skeleton: Skeleton, rule: BadRule) -> tuple[Bools, Bools]:
    """(N,) poses that their answers show to be bad, and (N, K) keypoints that these show to be gross.

    Args:
        poses: N poses as they were shown, or would have been.
        answers: What somebody made of each.
        rejected: (N,) which of them that person rejected: bad, and no keypoint of theirs is said to be gross.
        skeleton: Gives the sigmas.
        rule: When a keypoint is gross and a pose is bad.
    """
    ks = pair_similarity(poses, answers, skeleton)
    gross = gross_keypoints(poses, answers, ks, rule) & ~rejected[:, None]
    return bad_poses(mean_similarity(ks), gross, rule) | rejected, gross
