"""What a quality head learns from in one step: checked poses, the same with errors planted in them, what each deserves.

Of each pose the head judges what the network said, and that with errors planted in it
(:mod:`autolabel.synthetic_errors`), every time others: a good network makes few errors, and those it does not make yet
are to be known too. What each place deserves is measured against the truth; or another head, whose network judges
better, says what it thinks of it (:mod:`model.quality_taught`). Both become a :class:`Lesson`, of which there is one
loss.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from autolabel.similarity import DEFAULT_RULE, bad_poses, keypoint_similarity, mean_similarity
from autolabel.skeleton import Skeleton
from autolabel.synthetic_errors import corrupt
from model.crop import apply
from model.heads import QualityHead
from model.quality_looks import Looks

PLANTED = 2
"""Poses with planted errors that are made of each pose in each step."""

PLANTED_WEIGHT = 0.5
"""Of one of them in the loss, where the network's own pose has 1: the head is to be right about those."""

WEIGHTS = np.array([1.0] + [PLANTED_WEIGHT] * PLANTED)
"""(V,) of a pose and of what is made of it, in the order of :func:`with_planted`."""


@dataclass(frozen=True, eq=False)
class CheckedPoses:
    """M checked poses as the network sees them, and what is true of them.

    Attributes:
        looks: What it sees.
        predicted: (M, K, 2) full-image pixels, NaN where there is no prediction.
        truth: (M, K, 2) true places, full-image pixels; NaN where nobody labelled one, as where a pose is nobody's.
        area: (M,) square pixels by which similarity is measured.
        scored: (M, K) whether the truth says anything: of labelled keypoints, and of those known to be absent.
        gross: (M, K) whether the prediction is gross.
        bad: (M,) whether the prediction is bad.
        neighbours: (M, K, 2) of :func:`autolabel.synthetic_errors.nearest_neighbours`.
        group: (M,) str; poses of one group are never in different folds.
    """

    looks: Looks
    predicted: NDArray[np.float64]
    truth: NDArray[np.float64]
    area: NDArray[np.float64]
    scored: NDArray[np.bool_]
    gross: NDArray[np.bool_]
    bad: NDArray[np.bool_]
    neighbours: NDArray[np.float64]
    group: NDArray[Any]

    def __len__(self) -> int:
        """The number of poses, M."""
        return len(self.predicted)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(M, K) keypoints whose true place is known."""
        return np.isfinite(self.truth[..., 0])


@dataclass(frozen=True, eq=False)
class Lesson:
    """A step's B poses, judged V times, as float32 on the CPU; a weight of 0 says nothing.

    Attributes:
        at: (B, V, K, 2) places as fractions of the crops, NaN where there is none; of any precision.
        ks: (B, V, K) the similarity that the head is to say.
        gross: (B, V, K) how likely it is to call a place gross.
        bad: (B, V) how likely it is to call a pose bad.
        of_similarities: (B, V, K) weights of ``ks``.
        of_places: (B, V, K) weights of ``gross``.
        of_poses: (B, V) weights of ``bad``.
    """

    at: Tensor
    ks: Tensor
    gross: Tensor
    bad: Tensor
    of_similarities: Tensor
    of_places: Tensor
    of_poses: Tensor


def checked_lesson(poses: CheckedPoses, rows: NDArray[np.intp], skeleton: Skeleton, rng: np.random.Generator) -> Lesson:
    """What the network says of the poses at ``rows``, and that with errors planted in it, beside what each deserves."""
    truth, area = poses.truth[rows], poses.area[rows]
    xy = with_planted(poses.predicted[rows], truth, area, poses.neighbours[rows], skeleton, rng)
    ks = keypoint_similarity(xy, truth[:, None], area[:, None], skeleton.sigmas)  # (B,V,K)
    # Whether a keypoint is rightly called absent, or not, is no matter of its place, and stays as it was.
    misplaced = np.asarray(ks < DEFAULT_RULE.gross_ks)
    as_said = np.where(misplaced[:, 0], False, poses.gross[rows])
    gross = misplaced | as_said[:, None]
    bad = bad_poses(mean_similarity(ks).reshape(-1), gross.reshape(-1, gross.shape[-1])).reshape(gross.shape[:2])
    bad[:, 0] = poses.bad[rows]
    labelled = poses.labelled[rows]
    judged = np.isfinite(xy[..., 0])
    taught = np.repeat(np.any(labelled, axis=-1)[:, None], 1 + PLANTED, axis=1)
    taught[:, 0] = True  # that somebody nobody knows was predicted is bad, whatever errors are planted in it
    return Lesson(
        at=apply(poses.looks.to_crop[torch.from_numpy(rows)], torch.from_numpy(xy)),
        ks=as_tensor(np.nan_to_num(ks)),
        gross=as_tensor(gross),
        bad=as_tensor(bad),
        of_similarities=as_tensor(WEIGHTS[:, None] * (judged & labelled[:, None])),
        of_places=as_tensor(WEIGHTS[:, None] * (judged & poses.scored[rows, None])),
        of_poses=as_tensor(WEIGHTS * (judged.any(axis=-1) & taught)),
    )


def with_planted(
    said: NDArray[np.float64],
    truth: NDArray[np.float64],
    area: NDArray[np.float64],
    neighbours: NDArray[np.float64],
    skeleton: Skeleton,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(B, V, K, 2) poses as they were said, and each with errors planted in it, ``V - 1`` times.

    Args:
        said: (B, K, 2) what a network says, full-image pixels; NaN where it says nothing.
        truth: (B, K, 2) from where an error departs; nothing is planted where it is NaN.
        area: (B,) square pixels by which similarity is measured.
        neighbours: (B, K, 2) as in :class:`CheckedPoses`.
        skeleton: Of the poses.
        rng: The same generator gives the same errors.
    """

    def repeated(values: NDArray[Any]) -> NDArray[Any]:
        return np.repeat(values, PLANTED, axis=0)

    places = repeated(truth)
    wrong, _ = corrupt(
        places,
        np.isfinite(places[..., 0]),
        repeated(area),
        skeleton,
        rng,
        neighbours=repeated(neighbours),
        kept=repeated(said),
        # From hardly any errors to the full shares, so that planted poses are good and bad.
        strength=rng.random(PLANTED * len(said)),
    )
    return np.concatenate([said[:, None], wrong.reshape(len(said), PLANTED, *said.shape[1:])], axis=1)


def lesson_loss(
    head: QualityHead, looks: Looks, rows: NDArray[np.intp], lesson: Lesson, device: torch.device
) -> Tensor:
    """Squared errors of the similarities, as CCNet has them, and cross entropies of gross and of bad.

    Args:
        head: Who learns, on ``device``.
        looks: What its network sees.
        rows: (B,) which looks the lesson is about.
        lesson: What to learn.
        device: Where to compute.
    """
    index = torch.from_numpy(rows)
    similarity, gross, bad = head(looks.features[index].to(device), lesson.at.to(device), looks.size[index].to(device))

    def mean(values: Tensor, weight: Tensor) -> Tensor:
        return (values * weight.to(device)).sum() / weight.sum().clamp_min(1e-6)

    def entropy(logits: Tensor, truth: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, truth.to(device), reduction="none")

    squared = (similarity.sigmoid() - lesson.ks.to(device)) ** 2
    of_places = mean(squared, lesson.of_similarities) + mean(entropy(gross, lesson.gross), lesson.of_places)
    return of_places + mean(entropy(bad, lesson.bad), lesson.of_poses)


def as_tensor(values: NDArray[Any]) -> Tensor:
    """The same numbers as float32."""
    return torch.from_numpy(values.astype(np.float32))
