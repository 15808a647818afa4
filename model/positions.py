"""Position embeddings for another input size: bicubic resampling of the token grid.

ViTPose's table is ``pos_embed`` (1, 1 + Hp·Wp, D): slot 0, which is added to every token, and one row a patch. The
official code has a resampler for it that it never calls, and the one it uses for MAE's weights assumes a square
grid; pose networks' grids are not, so the grid is stated here.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from autolabel.errors import CheckpointError
from model.config import ViTPoseConfig
from model.layouts import Weights


def resample_positions(positions: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Positions of one grid for another: bicubic, ``align_corners=False``, slot 0 as it is.

    Args:
        positions: (1, 1 + Hp·Wp, D).
        source: (Hp, Wp) of ``positions``.
        target: (Hp, Wp) wanted.

    Returns:
        (1, 1 + Hp·Wp, D) of the target, in the same dtype; ``positions`` itself where nothing changes.

    Raises:
        CheckpointError: ``positions`` are not of the source grid.
    """
    if positions.shape[1] != 1 + source[0] * source[1]:
        raise CheckpointError(
            f"{positions.shape[1]} positions are not one and a grid of {source[0]}x{source[1]}",
            remedy="Give a folder whose config.json states the input size.",
        )
    if source == target:
        return positions
    # In double precision, so that the result does not depend on how the machine rounds.
    grid = positions[:, 1:].double().unflatten(1, source).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, size=target, mode="bicubic", align_corners=False)
    rows = resized.permute(0, 2, 3, 1).flatten(1, 2).to(positions.dtype)
    return torch.cat([positions[:, :1], rows], dim=1)


def for_input_size(weights: Weights, input_size: tuple[int, int], subject: str) -> Weights:
    """The same network for images of another size; the weights themselves where it is the same.

    Args:
        weights: The network.
        input_size: (H, W) in pixels, multiples of the patch size.
        subject: What errors call it.

    Raises:
        ConfigError: The size is impossible.
    """
    fields: dict[str, Any] = {**weights.config.model_dump(), "input_size": input_size}
    config = ViTPoseConfig.parse(fields, subject=subject)
    if config == weights.config:
        return weights
    positions = resample_positions(weights.tensors["pos_embed"], weights.config.grid_size, config.grid_size)
    return Weights(config, weights.skeletons, {**weights.tensors, "pos_embed": positions})
