"""Training of the quality head (:mod:`model.quality`) on checked poses: minutes on a CPU, as the encoder stands still.

What a network sees of a checked pose is computed once and kept. Of each pose the head then judges what the network
said, and the same with errors planted in it (:mod:`model.quality_lesson`). The network must not have been trained on
these poses. A student's head may learn from its teacher's besides, on people whom nobody checked
(:mod:`model.quality_taught`).

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

from autolabel.errors import InputError, SkeletonError
from autolabel.progress import SILENT, Progress, Task
from autolabel.skeleton import Skeleton
from model.crop import apply
from model.draws import hashed
from model.heads import QualityHead
from model.quality import Quality, judge
from model.quality_lesson import CheckedPoses, checked_lesson, lesson_loss
from model.quality_taught import TaughtPoses, taught_lesson

FOLDS = 5

BATCH = 16
"""Checked poses a step, each judged with what is made of it; and as many taught ones."""

TAUGHT_WEIGHT = 1.0
"""Of what the teacher's head says in the loss, where what is known of checked poses has 1. On toy poses, 1 did better
than 0.5, and 2 no better than 1, with 100 checked poses beside 200 taught ones (``tests/model/toy_poses.py``)."""

EPOCHS = 20
LEAST_STEPS, MOST_STEPS = 500, 1500
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05


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


def train_quality(
    poses: CheckedPoses,
    skeleton: Skeleton,
    *,
    taught: TaughtPoses | None = None,
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
        taught: People whom nobody checked and a teacher judges, not of the same images; they are in no fold.
        folds: Into how many parts to divide their groups; fewer where there are fewer groups.
        seed: The same poses and seed on the same machine give the same heads.
        steps: Of each head; by default ``EPOCHS`` times through the poses, checked or taught, of which there are more,
            but from ``LEAST_STEPS`` to ``MOST_STEPS``.
        device: Where to compute.
        progress: Where to report.

    Raises:
        InputError: Nothing is known about any predicted place.
        SkeletonError: The taught poses have another number of keypoints.
    """
    stated = poses.scored & np.isfinite(poses.predicted).all(axis=-1)
    if not stated.any():
        raise InputError(
            "no predicted keypoint is among the checked ones, so there is nothing to learn quality from",
            remedy="Check some poses, or leave the quality head out.",
        )
    k = poses.predicted.shape[1]
    taught = _of_as_many(taught, k)
    fold = group_folds(poses.group, folds, seed)
    parts = int(fold.max()) + 1
    most = max(len(poses), len(taught) if taught is not None else 0)
    number = steps or min(max(math.ceil(EPOCHS * most / BATCH), LEAST_STEPS), MOST_STEPS)
    device = torch.device(device)
    said = Quality(*(torch.full(shape, torch.nan) for shape in ((len(poses), k), (len(poses), k), (len(poses),))))
    heads = 1 + (parts if parts > 1 else 0)
    with progress.task("quality", number * heads, "step") as task:
        everything = np.arange(len(poses))
        for part in range(parts if parts > 1 else 0):
            rest, own = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
            if not stated[rest].any():
                task.advance(number)
                continue
            head = _trained(poses, rest, taught, skeleton, number, hashed(seed, part + 1), device, task)
            for all_said, its in zip(said, _said(head, poses, own, device), strict=True):
                all_said[torch.from_numpy(own)] = its
        head = _trained(poses, everything, taught, skeleton, number, hashed(seed, 0), device, task)
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


def _of_as_many(taught: TaughtPoses | None, keypoints: int) -> TaughtPoses | None:
    """Taught poses of so many keypoints; None where there are no poses.

    Raises:
        SkeletonError: They have another number.
    """
    if taught is None or not len(taught):
        return None
    if taught.predicted.shape[1] != keypoints:
        raise SkeletonError(
            f"have {taught.predicted.shape[1]} keypoints, the checked ones {keypoints}", subject="taught poses"
        )
    return taught


def _trained(
    poses: CheckedPoses,
    rows: NDArray[np.intp],
    taught: TaughtPoses | None,
    skeleton: Skeleton,
    steps: int,
    seed: int,
    device: torch.device,
    task: Task,
) -> QualityHead:
    """A head that learnt from the poses at ``rows``, and from taught ones.

    The process's own random numbers are as they were.
    """
    # Of their own, so that the checked poses come in the same order, with the same errors, whoever else is there.
    rng, of_taught = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = QualityHead(poses.looks.features.shape[1], poses.predicted.shape[1])
        seen = [poses.looks.features[torch.from_numpy(rows[: 32 * BATCH])]]
        seen += [] if taught is None else [taught.looks.features[: 32 * BATCH]]
        _standardise(head, torch.cat(seen))
        head.to(device).train()
        optimiser = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            chosen = _some(rows, rng)
            loss = lesson_loss(head, poses.looks, chosen, checked_lesson(poses, chosen, skeleton, rng), device)
            if taught is not None:
                chosen = _some(np.arange(len(taught)), of_taught)
                lesson = taught_lesson(taught, chosen, skeleton, of_taught, device)
                loss = loss + TAUGHT_WEIGHT * lesson_loss(head, taught.looks, chosen, lesson, device)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            task.advance(loss=float(loss.detach()))
    return head.eval()


def _some(rows: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """(B,) some of the rows, ascending."""
    return np.sort(rng.choice(rows, min(BATCH, len(rows)), replace=False))


def _standardise(head: QualityHead, features: Tensor) -> None:
    """Let tokens come in with mean 0 and variance 1, as those of these features (n, D, Hp, Wp)."""
    values = features.float()
    head.mean.copy_(values.mean(dim=(0, 2, 3)))
    head.spread.copy_(values.std(dim=(0, 2, 3)).nan_to_num(1.0).clamp_min(1e-3))


def _said(head: QualityHead, poses: CheckedPoses, rows: NDArray[np.intp], device: torch.device) -> Quality:
    """What a head says of the network's poses at ``rows``, on the CPU."""
    parts: list[Quality] = []
    for index in torch.from_numpy(rows).split(4 * BATCH):
        at = apply(poses.looks.to_crop[index], torch.from_numpy(poses.predicted[index.numpy()]))
        parts.append(
            judge(head, poses.looks.features[index].to(device), at.to(device), poses.looks.size[index].to(device))
        )
    return Quality(*(torch.cat(answers).cpu() for answers in zip(*parts, strict=True)))
