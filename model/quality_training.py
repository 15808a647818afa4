"""Training of the quality head (:mod:`model.quality`) on checked poses: minutes on a CPU, as the encoder stands still.

What a network sees of a checked pose is computed once and kept. Of each pose the head then judges what the network
said, and the same with errors planted in it (:mod:`autolabel.synthetic_errors`), every time others: a good network
makes few errors, and those it does not make yet are to be known too. What each place deserves is measured against the
truth. The network must not have been trained on these poses.

What the head says of poses it learnt from is too good, and a calibrator fitted on that would trust it too much. So
besides the head that learns from all of them, one is trained without each fold of groups, and gives the numbers for
that fold.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from autolabel.errors import InputError
from autolabel.progress import SILENT, Progress, Task
from autolabel.similarity import DEFAULT_RULE, bad_poses, keypoint_similarity, mean_similarity
from autolabel.skeleton import Skeleton
from autolabel.synthetic_errors import corrupt
from model.crop import apply
from model.draws import hashed
from model.heads import QualityHead
from model.quality import Quality, judge
from model.quality_looks import Looks

FOLDS = 5

BATCH = 16
"""Poses a step, each judged ``1 + PLANTED`` times."""

PLANTED = 2
"""Poses with planted errors that are made of each pose in each step."""

PLANTED_WEIGHT = 0.5
"""Of one of them in the loss, where the network's own pose has 1: the head is to be right about those."""

EPOCHS = 20
LEAST_STEPS, MOST_STEPS = 500, 1500
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05


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
class TrainedQuality:
    """A quality head, and what heads that had not seen them say of the poses that it was trained on.

    Attributes:
        head: In evaluation mode, on the CPU.
        said: Of M poses, on the CPU; NaN where there are not two groups to make folds of.
        folds: How many heads gave ``said``.
    """

    head: QualityHead
    said: Quality
    folds: int


@dataclass(frozen=True, eq=False)
class _Lesson:
    """A step's B poses, judged V times: (B,V,K) and (B,V) arrays; a weight of 0 says nothing."""

    at: Tensor
    ks: Tensor
    gross: Tensor
    bad: Tensor
    of_similarities: Tensor
    of_places: Tensor
    of_poses: Tensor


def train_quality(
    poses: CheckedPoses,
    skeleton: Skeleton,
    *,
    folds: int = FOLDS,
    seed: int = 0,
    steps: int | None = None,
    device: str | torch.device = "cpu",
    progress: Progress = SILENT,
) -> TrainedQuality:
    """Train a head on all poses, and one without each fold to speak about that fold.

    Args:
        poses: The poses.
        skeleton: Theirs.
        folds: Into how many parts to divide their groups; fewer where there are fewer groups.
        seed: The same poses and seed on the same machine give the same heads.
        steps: Of each head; by default ``EPOCHS`` times through the poses, but from ``LEAST_STEPS`` to ``MOST_STEPS``.
        device: Where to compute.
        progress: Where to report.

    Raises:
        InputError: Nothing is known about any predicted place.
    """
    stated = poses.scored & np.isfinite(poses.predicted).all(axis=-1)
    if not stated.any():
        raise InputError(
            "no predicted keypoint is among the checked ones, so there is nothing to learn quality from",
            remedy="Check some poses, or leave the quality head out.",
        )
    fold = group_folds(poses.group, folds, seed)
    parts = int(fold.max()) + 1
    number = steps or min(max(math.ceil(EPOCHS * len(poses) / BATCH), LEAST_STEPS), MOST_STEPS)
    device = torch.device(device)
    k = poses.predicted.shape[1]
    said = Quality(*(torch.full(shape, torch.nan) for shape in ((len(poses), k), (len(poses), k), (len(poses),))))
    heads = 1 + (parts if parts > 1 else 0)
    with progress.task("quality", number * heads, "step") as task:
        everything = np.arange(len(poses))
        for part in range(parts if parts > 1 else 0):
            rest, own = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
            if not stated[rest].any():
                task.advance(number)
                continue
            head = _trained(poses, rest, skeleton, number, hashed(seed, part + 1), device, task)
            for all_said, its in zip(said, _said(head, poses, own, device), strict=True):
                all_said[torch.from_numpy(own)] = its
        head = _trained(poses, everything, skeleton, number, hashed(seed, 0), device, task)
    return TrainedQuality(head.cpu(), said, heads - 1)


def group_folds(group: NDArray[Any], folds: int, seed: int) -> NDArray[np.intp]:
    """(M,) the fold of each pose, from 0: groups (M,) are dealt out in random order, the largest first, evenly."""
    names, member, count = np.unique(group.astype(str), return_inverse=True, return_counts=True)
    order = np.random.default_rng([seed, 1]).permutation(len(names))
    order = order[np.argsort(-count[order], kind="stable")]
    size, of_group = np.zeros(max(min(folds, len(names)), 1), np.intp), np.zeros(len(names), np.intp)
    for one in order.tolist():
        of_group[one] = size.argmin()
        size[of_group[one]] += count[one]
    return of_group[member]


def _trained(
    poses: CheckedPoses,
    rows: NDArray[np.intp],
    skeleton: Skeleton,
    steps: int,
    seed: int,
    device: torch.device,
    task: Task,
) -> QualityHead:
    """A head that learnt from the poses at ``rows``; the process's own random numbers are as they were."""
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = QualityHead(poses.looks.features.shape[1], poses.predicted.shape[1])
        _standardise(head, poses.looks.features[torch.from_numpy(rows[: 32 * BATCH])])
        head.to(device).train()
        optimiser = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            chosen = np.sort(rng.choice(rows, min(BATCH, len(rows)), replace=False))
            loss = _loss(head, poses, chosen, _lesson(poses, chosen, skeleton, rng), device)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            task.advance(loss=float(loss.detach()))
    return head.eval()


def _standardise(head: QualityHead, features: Tensor) -> None:
    """Let tokens come in with mean 0 and variance 1, as those of these features (n, D, Hp, Wp)."""
    values = features.float()
    head.mean.copy_(values.mean(dim=(0, 2, 3)))
    head.spread.copy_(values.std(dim=(0, 2, 3)).nan_to_num(1.0).clamp_min(1e-3))


def _lesson(poses: CheckedPoses, rows: NDArray[np.intp], skeleton: Skeleton, rng: np.random.Generator) -> _Lesson:
    """What the network says of the poses at ``rows``, and that with errors planted in it, beside what each deserves."""

    def repeated(values: NDArray[Any]) -> NDArray[Any]:
        return np.repeat(values[rows], PLANTED, axis=0)

    labelled, predicted = poses.labelled[rows], poses.predicted[rows]
    wrong, _ = corrupt(
        repeated(poses.truth),
        repeated(poses.labelled),
        repeated(poses.area),
        skeleton,
        rng,
        neighbours=repeated(poses.neighbours),
        kept=repeated(poses.predicted),
        # From hardly any errors to the full shares, so that planted poses are good and bad.
        strength=rng.random(PLANTED * len(rows)),
    )
    xy = np.concatenate([predicted[:, None], wrong.reshape(len(rows), PLANTED, *predicted.shape[1:])], axis=1)
    ks = keypoint_similarity(xy, poses.truth[rows, None], poses.area[rows, None], skeleton.sigmas)  # (B,V,K)
    # Whether a keypoint is rightly called absent, or not, is no matter of its place, and stays as it was.
    misplaced = np.asarray(ks < DEFAULT_RULE.gross_ks)
    as_said = np.where(misplaced[:, 0], False, poses.gross[rows])
    gross = misplaced | as_said[:, None]
    bad = bad_poses(mean_similarity(ks).reshape(-1), gross.reshape(-1, gross.shape[-1])).reshape(gross.shape[:2])
    bad[:, 0] = poses.bad[rows]
    at = apply(poses.looks.to_crop[torch.from_numpy(rows)], torch.from_numpy(xy))
    weight = np.array([1.0] + [PLANTED_WEIGHT] * PLANTED)
    judged = np.isfinite(xy[..., 0])
    taught = np.repeat(np.any(labelled, axis=-1)[:, None], 1 + PLANTED, axis=1)
    taught[:, 0] = True  # that somebody nobody knows was predicted is bad, whatever errors are planted in it
    of_poses = weight * (judged.any(axis=-1) & taught)
    return _Lesson(
        at=at,
        ks=_tensor(np.nan_to_num(ks)),
        gross=_tensor(gross),
        bad=_tensor(bad),
        of_similarities=_tensor(weight[:, None] * (judged & labelled[:, None])),
        of_places=_tensor(weight[:, None] * (judged & poses.scored[rows, None])),
        of_poses=_tensor(of_poses),
    )


def _loss(
    head: QualityHead, poses: CheckedPoses, rows: NDArray[np.intp], lesson: _Lesson, device: torch.device
) -> Tensor:
    """Squared errors of the similarities, as CCNet has them, and cross entropies of gross and of bad."""
    index = torch.from_numpy(rows)
    similarity, gross, bad = head(
        poses.looks.features[index].to(device), lesson.at.to(device), poses.looks.size[index].to(device)
    )

    def mean(values: Tensor, weight: Tensor) -> Tensor:
        return (values * weight.to(device)).sum() / weight.sum().clamp_min(1e-6)

    def entropy(logits: Tensor, truth: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, truth.to(device), reduction="none")

    squared = (similarity.sigmoid() - lesson.ks.to(device)) ** 2
    of_places = mean(squared, lesson.of_similarities) + mean(entropy(gross, lesson.gross), lesson.of_places)
    return of_places + mean(entropy(bad, lesson.bad), lesson.of_poses)


def _said(head: QualityHead, poses: CheckedPoses, rows: NDArray[np.intp], device: torch.device) -> Quality:
    """What a head says of the network's poses at ``rows``, on the CPU."""
    parts: list[Quality] = []
    for index in torch.from_numpy(rows).split(4 * BATCH):
        at = apply(poses.looks.to_crop[index], torch.from_numpy(poses.predicted[index.numpy()]))
        parts.append(
            judge(head, poses.looks.features[index].to(device), at.to(device), poses.looks.size[index].to(device))
        )
    return Quality(*(torch.cat(answers).cpu() for answers in zip(*parts, strict=True)))


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
