"""Batches of people with random joints on random pictures, and random numbers that a test chooses."""

from collections.abc import Sequence

import numpy as np
import torch

from autolabel.poses import Visibility
from autolabel.skeleton import Skeleton
from model.augment import Augmentation, augment
from model.data import PoseBatch
from model.draws import Draws

COCO, LSP = Skeleton.load("coco17"), Skeleton.load("lsp14")
INPUT, PADDING = (64, 48), 1.25


def people(
    count: int,
    skeleton: Skeleton = COCO,
    *,
    seed: int = 0,
    size: tuple[int, int] = (90, 120),
    states: Sequence[int] = (Visibility.VISIBLE,),
    dataset: int = 0,
    tells_hidden: bool = False,
) -> PoseBatch:
    """``count`` people in images of ``size`` (H, W), each joint in one of ``states``, the box 4 pixels about them."""
    rng = np.random.default_rng(seed)
    height, width = size
    xy = rng.uniform([0.2 * width, 0.2 * height], [0.8 * width, 0.8 * height], (count, skeleton.num_keypoints, 2))
    box = np.concatenate([xy.min(axis=1) - 4, xy.max(axis=1) + 4], axis=1)
    return PoseBatch(
        canvas=torch.tensor(rng.integers(1, 256, (count, 3, height, width), dtype=np.uint8)),
        box=torch.tensor(box, dtype=torch.float32),
        xy=torch.tensor(xy, dtype=torch.float32),
        visibility=torch.tensor(rng.choice(states, xy.shape[:2]), dtype=torch.uint8),
        dataset=torch.full((count,), dataset),
        image=torch.tensor([-0.5, -0.5, width - 0.5, height - 0.5]).expand(count, 4),
        tells_hidden=torch.full((count,), tells_hidden),
        trust=torch.ones(xy.shape[:2]),
    )


def drawn(batch, how: Augmentation, *skeletons, codecs=None, seed=0, total=None, rows=slice(None), **changes):
    """Crops of a batch, whose people are ``rows`` of a step's ``total``."""
    draws = Draws(seed, 0, len(batch) if total is None else total, rows)
    given = {"input_size": INPUT, "padding": PADDING, "codecs": codecs or ("udp",) * len(skeletons), **changes}
    return augment(batch, how, skeletons, draws=draws, **given)


def limbs(batch: PoseBatch, skeleton: Skeleton) -> torch.Tensor:
    """(B, E, 2) the skeleton's edges for everybody."""
    return torch.tensor(skeleton.edges).expand(len(batch), -1, -1)
