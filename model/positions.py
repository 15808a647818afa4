"""Trained weights for another variant of their network: another input size, stride or attention, other heads.

ViTPose's table is ``pos_embed`` (1, 1 + Hp·Wp, D): slot 0, which is added to every token, and one row a patch. The
official code has a resampler for it that it never calls, and the one it uses for MAE's weights assumes a square
grid; pose networks' grids are not, so the grid is stated here. It is resampled bicubically.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autolabel.errors import CheckpointError, ConfigError
from model.attention import TABLE, Windows, plan, table_size
from model.config import THRESHOLDS, ViTPoseConfig
from model.heads import PresenceHead, WholeBoxHead
from model.layouts import Tensors, Weights
from model.vitpose import fresh_knowledge


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
        input_size: (H, W) in pixels, multiples of the feature stride.
        subject: What errors call it.

    Raises:
        ConfigError: The size is impossible.
    """
    return adapted(weights, {"input_size": input_size}, subject)


def adapted(weights: Weights, changes: Mapping[str, Any], subject: str, *, seed: int = 0) -> Weights:
    """The same weights as another variant of their network; the weights themselves where nothing changes.

    What the network learnt is kept as far as it goes: positions and the biases of relative positions are resampled
    to what lies as far apart in the crop. What it never had starts fresh: biases of relative positions at 0,
    presence heads, the whole-box head and the knowledge token from the seed, and the thresholds of presence heads that
    come or go are the defaults. Biases and heads leave the heatmaps as they were; a fresh token, to which all others
    attend, does not. Another ratio comes with its own patch padding.

    Positions of another ratio are a little beside: a grid is resampled to equal shares of the crop, but with the
    paddings of ratio 1 and 2 (2 and 4 for patches of 16) the centre of a fine token lies a quarter of a fine token
    (2 pixels) further down and right than its resampled position says. Fine-tuning has to make up for that, as for
    everything else about a new stride.

    Args:
        weights: The network, with as many skeletons as heads.
        changes: New values of the fields in :data:`ADAPTABLE`.
        subject: What errors call it.
        seed: Of fresh heads.

    Raises:
        ConfigError: A field that is none of these (an unknown one with the nearest known one), or a value that is
            impossible.
    """
    _require_adaptable(changes, weights.config, subject)
    fields: dict[str, Any] = {**weights.config.model_dump(), **changes}
    if fields["ratio"] != weights.config.ratio:
        del fields["patch_padding"]
    if fields["presence"] != weights.config.presence:  # they were found for heads that are not there any more, or yet
        fields = {name: value for name, value in fields.items() if name not in THRESHOLDS}
    if fields["attention"] == "full" and "attention" in changes:
        fields = {name: value for name, value in fields.items() if name not in _OF_WINDOWS or name in changes}
    config = ViTPoseConfig.parse(fields, subject=subject)
    if config == weights.config:
        return weights
    tensors = dict(weights.tensors)
    tensors["pos_embed"] = resample_positions(tensors["pos_embed"], weights.config.grid_size, config.grid_size)
    tensors = _tables(tensors, weights.config, config)
    if config.presence != weights.config.presence:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("presence_heads.")}
    if config.presence and not weights.config.presence:
        counts = enumerate(skeleton.num_keypoints for skeleton in weights.skeletons)
        tensors |= _fresh({f"presence_heads.{i}": partial(PresenceHead, config.width, k) for i, k in counts}, seed)
    if not config.whole_box:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("whole_box_head.")}
    elif not weights.config.whole_box:
        tensors |= _fresh({"whole_box_head": partial(WholeBoxHead, config.width)}, seed)
    if not config.knowledge:
        tensors.pop("knowledge", None)
    elif not weights.config.knowledge:
        with _seeded(seed):
            tensors["knowledge"] = fresh_knowledge(config.width)
    return Weights(config, weights.skeletons, tensors)


ADAPTABLE = (
    *("input_size", "ratio", "attention", "window", "shift", "pool", "full_every", "relative_position"),
    *("upsampling", "presence", "whole_box", "knowledge", "drop_path"),
)
"""Fields of a config that trained weights can be given other values of."""

_OF_WINDOWS = ("window", "shift", "pool", "full_every")


def _require_adaptable(changes: Mapping[str, Any], config: ViTPoseConfig, subject: str) -> None:
    for name in changes:
        if name in type(config).model_fields and name not in ADAPTABLE:  # of an unknown one the nearest is told below
            raise ConfigError(
                f"{name} of trained weights cannot be changed, only {', '.join(ADAPTABLE)}",
                subject=subject,
                remedy="Leave it out, or train from scratch or from an encoder.",
            )
    if config.decoder == "classic" and changes.get("upsampling", config.upsampling) != config.upsampling:
        raise ConfigError(
            f"upsampling is {config.upsampling}: a classic decoder with another one has other layers",
            subject=subject,
            remedy="Leave upsampling out, or train from scratch or from an encoder.",
        )


def _tables(tensors: Tensors, old: ViTPoseConfig, new: ViTPoseConfig) -> Tensors:
    """With the biases of relative positions that the new network has."""
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(TABLE)}
    if not new.relative_position:
        return kept
    for block, (before, after) in enumerate(zip(_plan(old), _plan(new), strict=True)):
        name = f"blocks.{block}.attn.{TABLE}"
        if name in tensors:
            kept[name] = resample_table(tensors[name], before, after, old.grid_size, new.grid_size)
        else:
            rows, columns = table_size(after)
            kept[name] = torch.zeros(rows * columns, new.heads)
    return kept


def resample_table(
    table: Tensor, source: Windows, target: Windows, source_grid: tuple[int, int], target_grid: tuple[int, int]
) -> Tensor:
    """Biases of relative positions for other windows, another grid, or both.

    Distances are shares of the grid, because people fill the crop whatever its size in tokens: on a grid twice as
    fine, a distance of two has the bias that one had. Between distances it is linear; beyond the largest known one
    (a larger window on the same grid) it stays what it is there.

    Args:
        table: ((2 rows - 1) x (2 columns - 1), heads) of the source.
        source: Its windows.
        target: The windows wanted.
        source_grid: (Hp, Wp) of the source.
        target_grid: (Hp, Wp) wanted.

    Returns:
        The same for the target, in the same dtype; ``table`` itself where nothing changes.
    """
    if source.size == target.size and source_grid == target_grid:
        return table
    values = table.double().unflatten(0, table_size(source))
    for axis in (0, 1):
        largest, reach = source.size[axis] - 1, target.size[axis] - 1
        distances = torch.arange(-reach, reach + 1, dtype=torch.float64) * source_grid[axis] / target_grid[axis]
        places = (distances + largest).clamp(0, 2 * largest)
        below = places.floor().long()
        above = (below + 1).clamp(max=2 * largest)
        share = (places - below)[:, None, None]
        along = values.transpose(0, axis)
        values = (along[below] * (1 - share) + along[above] * share).transpose(0, axis)
    return values.flatten(0, 1).to(table.dtype)


def _plan(config: ViTPoseConfig) -> list[Windows]:
    return plan(
        config.grid_size,
        config.depth,
        attention=config.attention,
        window=config.window,
        shift=config.shift,
        pool=config.pool,
        full_every=config.full_every,
    )


def _fresh(heads: Mapping[str, Callable[[], nn.Module]], seed: int) -> Tensors:
    """Tensors of new heads by their names, with random numbers of the seed alone."""
    with _seeded(seed):
        made = {name: make().state_dict() for name, make in heads.items()}
    return {f"{head}.{name}": tensor for head, tensors in made.items() for name, tensor in tensors.items()}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random numbers of the seed, and afterwards those that would have come anyhow."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
