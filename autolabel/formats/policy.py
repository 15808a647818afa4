"""Which images and poses an export writes: the same choice for every format."""

from dataclasses import replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from autolabel.merge import SETTLED, State
from autolabel.poses import Origin, Poses, Sample, Visibility

_SETTLED = frozenset({None, "", "accepted", *SETTLED})
"""A pose without a state, such as an imported one, waits for nobody. Every other word leaves a pose open: sent to
review or audit, handed to an expert, rejected by the model alone, or a word that we do not know.
"""


class ImagePolicy(Enum):
    """What to do with images of which some people are not settled."""

    COMPLETE = "complete"
    """Leave them out: a training set must not call an unlabelled person background."""
    IGNORE_REGIONS = "ignore-regions"
    """Write them, with each unsettled person as a crowd region that trainers and evaluators skip."""
    ALL = "all"
    """Write every pose as it stands."""


def settled(poses: Poses) -> NDArray[np.bool_]:
    """(N,) whether nothing about the pose waits for a person; crowd regions never do."""
    return np.array([_is_settled(attributes.get("state")) for attributes in poses.attributes], bool) | poses.crowd


def _is_settled(state: object) -> bool:
    """Attributes hold whatever a table said: a state that is no word is one that we do not know."""
    return (state is None or isinstance(state, str)) and state in _SETTLED


def rejected(poses: Poses) -> NDArray[np.bool_]:
    """(N,) whether a person said that the pose is on nobody."""
    return np.array([attributes.get("state") == State.REJECTED for attributes in poses.attributes], bool)


def select(sample: Sample, policy: ImagePolicy) -> Sample | None:
    """The sample as the policy wants it written, or None where the image is left out.

    But for ``ALL``, poses that a person rejected are not written, and neither are images that a person rejected.
    An unsettled pose without a box cannot be made an ignore region, so that its image is left out.
    """
    if policy is ImagePolicy.ALL:
        return sample
    if sample.attributes.get("state") == State.REJECTED:
        return None
    refused = rejected(sample.poses)
    poses = sample.poses.take(~refused) if refused.any() else sample.poses
    done = settled(poses)
    if done.all():
        return sample if poses is sample.poses else sample.with_poses(poses)
    boxed = ~np.isnan(poses.box[:, 0])
    if policy is ImagePolicy.COMPLETE or not (done | boxed).all():
        return None
    return replace(sample, poses=_ignored(poses, ~done))


def _ignored(poses: Poses, which: NDArray[np.bool_]) -> Poses:
    keypoints = which[:, None]
    return poses.replace(
        crowd=poses.crowd | which,
        xy=np.where(keypoints[..., None], np.nan, poses.xy),
        score=np.where(keypoints, np.nan, poses.score),
        presence=np.where(keypoints, np.nan, poses.presence),
        p_gross=np.where(keypoints, np.nan, poses.p_gross),
        visibility=np.where(keypoints, Visibility.UNLABELLED, poses.visibility),
        origin=np.where(keypoints, Origin.NONE, poses.origin),
        area=np.where(which, np.nan, poses.area),
    )
