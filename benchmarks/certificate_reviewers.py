"""Simulated people who answer audited and planted poses, and what their answers leave of the truth.

A reviewer sees a predicted pose and says by an answer where the keypoints are. The pose is found bad where it is bad
beside that answer, by the product's own rule, and the answer then stands in its place. Reviewers differ in two ways:

* *noise*: points that are too far off are put right by a hand that shakes: normal, with a variance of
  noise² σ² A / 2 on each axis, as ``pipelines.simulated_reviewer`` has it. Such a reviewer takes some bad poses for
  good ones, the reverse too, and corrects imperfectly. Every pose is looked at with new noise.
* *overlook*: the chance that a pose which needs fixing is submitted as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autolabel.poses import Poses, Visibility
from autolabel.prediction_record import Predicted
from autolabel.similarity import (
    bad_poses,
    claims_present,
    gross_keypoints,
    mean_similarity,
    pair_similarity,
    similarity_area,
)
from autolabel.skeleton import Skeleton
from benchmarks.scores_arms import raw_peak
from benchmarks.scores_pools import Pool
from pipelines.check import Checked

Bools = NDArray[np.bool_]
Rows = NDArray[np.intp]

ACCEPT_KS = 0.75
"""A reviewer with noise leaves a point of at least this KS where it is."""


@dataclass(frozen=True)
class Reviewer:
    """A kind of people.

    Attributes:
        name: In tables.
        noise: Factor on the human standard deviation.
        overlook: Chance that a pose which needs fixing is submitted as it is.
        tested: Whether planted errors measure them; otherwise they are taken to find everything.
    """

    name: str
    noise: float = 0.0
    overlook: float = 0.0
    tested: bool = True


REVIEWERS: Mapping[str, Reviewer] = {
    reviewer.name: reviewer
    for reviewer in (
        Reviewer("perfect"),
        Reviewer("2 % overlooked", overlook=0.02),
        Reviewer("5 % overlooked", overlook=0.05),
        Reviewer("noise 0.5 sigma", noise=0.5),
        Reviewer("noise 1 sigma", noise=1.0),
        Reviewer("perfect, untested", tested=False),
        Reviewer("5 % overlooked, untested", overlook=0.05, tested=False),
    )
}
"""Who is simulated; the last one shows what an assumption that does not hold does, and is held against no bar."""

UNFOUNDED = "5 % overlooked, untested"


@dataclass(frozen=True, eq=False)
class Ground:
    """A pool beside its truth, judged as answers without masks judge it.

    Attributes:
        name: Of the pool.
        skeleton: Of its poses.
        checked: N predicted poses beside the truth.
        image: (N,) image of each pose, or the group of images.
        predicted: How they were predicted, the same for all.
        digest: Of the predictions.
        peak: (N,) mean height of the peaks of the keypoints that are said to be present.
        touched: (N,) poses of which a reviewer with noise changes something.
    """

    name: str
    skeleton: Skeleton
    checked: Checked
    image: Rows
    predicted: Predicted
    digest: str
    peak: NDArray[np.float64]
    touched: Bools

    @property
    def bad(self) -> Bools:
        """(N,) truly bad poses."""
        return self.checked.bad

    def __len__(self) -> int:
        return len(self.checked.poses)

    @classmethod
    def of(cls, pool: Pool) -> "Ground":
        """A pool of one network.

        People in an annotation tool draw no masks: similarity is measured by the boxes that were sent, for the truth
        and for every answer alike. So the poses are judged anew with the areas that answers will have.

        Raises:
            ValueError: There are several networks, or no record of them, or a pose that the truth does not know.
        """
        if len(pool.predicted) != 1 or (record := Predicted.read(pool.predicted[0].path)) is None:
            raise ValueError(f"{pool.name} is not the predictions of one network")
        checked = pool.checked
        if not checked.scored.any(axis=1).all():
            raise ValueError(f"{pool.name} holds poses of nobody")
        ks, gross = _compared(checked.poses, truth_of(checked), pool.skeleton, checked.scored)
        oks = mean_similarity(ks)
        area = similarity_area(checked.poses)
        touched = np.asarray((gross | (ks < ACCEPT_KS)).any(axis=1))
        checked = replace(checked, gross=gross, oks=oks, bad=bad_poses(oks, gross), area=area)
        digest, peak = pool.predicted[0].digest, 1 - raw_peak(pool)
        return cls(pool.name, pool.skeleton, checked, pool.clusters, record, digest, peak, touched)


@dataclass(frozen=True, eq=False)
class Answers:
    """What people made of m poses.

    Attributes:
        bad: (m,) found bad.
        left: (m,) truly bad as the answer leaves the pose.
    """

    bad: Bools
    left: Bools


def truth_of(checked: Checked) -> Poses:
    """The true poses as answers would state them, in the boxes that were sent."""
    placed = np.isfinite(checked.truth).all(axis=-1)
    said = np.where(checked.scored, np.uint8(Visibility.ABSENT), np.uint8(Visibility.UNLABELLED))
    return checked.poses.replace(
        xy=checked.truth.astype(np.float32), visibility=np.where(placed, np.uint8(Visibility.VISIBLE), said)
    )


def answer(ground: Ground, rows: Rows, reviewer: Reviewer, rng: np.random.Generator) -> Answers:
    """What a reviewer makes of the poses at ``rows``, (m,) of the ground."""
    bad = ground.bad[rows]
    overlooked = rng.random(len(rows)) < reviewer.overlook
    if not reviewer.noise:
        return Answers(bad & ~overlooked, bad & overlooked)
    found, after = np.zeros(len(rows), bool), bad.copy()
    touched = ground.touched[rows]
    checked = _taken(ground.checked, rows[touched])
    answered = _noisy(checked, ground.skeleton, reviewer.noise, rng)
    found[touched] = _bad(checked.poses, answered, ground.skeleton, checked.scored)
    after[touched] = _bad(answered, truth_of(checked), ground.skeleton, checked.scored)
    return Answers(found & ~overlooked, np.where(overlooked, bad, after))


def _noisy(checked: Checked, skeleton: Skeleton, noise: float, rng: np.random.Generator) -> Poses:
    """The poses with every point that is too far off, or not where it is said to be, moved near to the true place."""
    poses, truth = checked.poses, truth_of(checked)
    ks = pair_similarity(poses, truth, skeleton)
    moved = truth.labelled & ((ks < ACCEPT_KS) | ~claims_present(poses))
    deviation = noise * np.sqrt(similarity_area(poses) / 2)[:, None] * np.asarray(skeleton.sigmas)
    offset = deviation[..., None] * rng.standard_normal(truth.xy.shape)
    xy = np.where(moved[..., None], truth.xy + offset, poses.xy).astype(np.float32)
    xy[truth.visibility == Visibility.ABSENT] = np.nan
    return poses.replace(xy=xy, visibility=np.where(checked.scored, truth.visibility, poses.visibility))


def _bad(poses: Poses, truth: Poses, skeleton: Skeleton, scored: Bools) -> Bools:
    ks, gross = _compared(poses, truth, skeleton, scored)
    return bad_poses(mean_similarity(ks), gross)


def _compared(poses: Poses, truth: Poses, skeleton: Skeleton, scored: Bools) -> tuple[NDArray[np.float64], Bools]:
    """(N, K) KS and gross keypoints, of nothing but what the corpus speaks of."""
    ks = np.where(scored, pair_similarity(poses, truth, skeleton), np.nan)
    return ks, gross_keypoints(poses, truth, ks) & scored


def _taken(checked: Checked, rows: Rows) -> Checked:
    """The poses at ``rows`` in that order, without features."""
    names = ("sizes", "gross", "scored", "bad", "oks", "error", "truth", "group", "area")
    return Checked(checked.poses.take(rows), {}, **{name: getattr(checked, name)[rows] for name in names})
