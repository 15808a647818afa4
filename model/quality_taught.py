"""What a student's quality head learns from its teacher's: judgements of people whom nobody checked.

A student's head reads the student's own features, so it cannot be its teacher's; but the two can judge the very same
places. Of a person whom nobody checked the student says a pose, and errors are planted in it as in a checked one, with
the teacher's own places in the stead of the truth. The teacher's head says, from what the teacher sees of that person,
how good each of these places is; the student's head learns to say the same from what the student sees. That is the
distillation of probabilities (Hinton et al., arXiv 1503.02531), at places that a network may err at.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from autolabel.errors import InputError, SkeletonError
from autolabel.skeleton import Skeleton
from model.crop import apply
from model.heads import QualityHead
from model.quality_lesson import WEIGHTS, Lesson, as_tensor, with_planted
from model.quality_looks import Looks


@dataclass(frozen=True, eq=False)
class TaughtPoses:
    """M poses that nobody checked, as a student and its teacher see them; of one skeleton, full-image pixels.

    Attributes:
        looks: What the student sees.
        predicted: (M, K, 2) what the student says, NaN where it says nothing.
        teacher: The teacher's quality head.
        seen: What the teacher sees of the same people.
        places: (M, K, 2) where the teacher puts their keypoints, NaN where it says nothing.
        area: (M,) square pixels by which similarity is measured.
        neighbours: (M, K, 2) where the teacher puts the nearest same joint of somebody else in the image, NaN where
            there is none.

    Raises:
        SkeletonError: The teacher's head judges another number of keypoints.
        InputError: The arrays are of different people, or the teacher's head reads other features.
    """

    looks: Looks
    predicted: NDArray[np.float64]
    teacher: QualityHead
    seen: Looks
    places: NDArray[np.float64]
    area: NDArray[np.float64]
    neighbours: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape, width = self.predicted.shape, self.teacher.read.in_features
        if self.teacher.num_keypoints != shape[1]:
            raise SkeletonError(
                f"judges {self.teacher.num_keypoints} keypoints, and the student says {shape[1]}",
                subject="teacher's quality head",
                remedy="Give a teacher of the student's skeleton.",
            )
        if self.seen.features.shape[1] != width:
            raise InputError(
                f"reads features of {width} channels, and these have {self.seen.features.shape[1]}",
                subject="teacher's quality head",
                remedy="Give the head that was trained for the teacher.",
            )
        lengths = {len(self.area), len(self.looks.features), len(self.seen.features), shape[0]}
        if len(lengths) > 1 or self.places.shape != shape or self.neighbours.shape != shape:
            raise InputError(
                f"of {shape[0]} poses {shape}, places are {self.places.shape}, neighbours {self.neighbours.shape}, "
                f"areas {len(self.area)}, looks {len(self.looks.features)} and {len(self.seen.features)}",
                subject="taught poses",
            )

    def __len__(self) -> int:
        """The number of poses, M."""
        return len(self.predicted)


def taught_lesson(
    poses: TaughtPoses, rows: NDArray[np.intp], skeleton: Skeleton, rng: np.random.Generator, device: torch.device
) -> Lesson:
    """What the student says of the poses at ``rows``, and that with errors planted in it, beside the teacher's word.

    Args:
        poses: The poses.
        rows: (B,) which of them.
        skeleton: Theirs.
        rng: The same generator gives the same errors.
        device: Where the teacher's head is to compute.
    """
    xy = with_planted(
        poses.predicted[rows], poses.places[rows], poses.area[rows], poses.neighbours[rows], skeleton, rng
    )
    index, places = torch.from_numpy(rows), torch.from_numpy(xy)
    head, seen = poses.teacher.to(device).eval(), poses.seen
    with torch.no_grad():
        logits = head(
            seen.features[index].to(device),
            apply(seen.to_crop[index], places).to(device),
            seen.size[index].to(device),
        )
    ks, gross, bad = (answer.sigmoid().cpu() for answer in logits)
    judged = np.isfinite(xy[..., 0])
    of_places = as_tensor(WEIGHTS[:, None] * judged)
    return Lesson(
        at=apply(poses.looks.to_crop[index], places),
        ks=ks,
        gross=gross,
        bad=bad,
        of_similarities=of_places,
        of_places=of_places,
        of_poses=as_tensor(WEIGHTS * judged.any(axis=-1)),
    )
