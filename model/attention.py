"""Attention on the token grid: full, or within windows that may shift, pool and know relative positions.

The variants of ViTPose's Table 5 (Xu et al., NeurIPS 2022), which make 1/8 features affordable. The paper names them
and leaves their details open; ours are decided in ``docs/decisions/0009-attention-variants.md``. Parameters are named
as timm's attention names them, so that a network trained with full attention loads into every variant.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import Attention

TABLE = "relative_position_bias_table"
"""Name of the parameter that holds a block's biases of relative positions."""


@dataclass(frozen=True)
class Windows:
    """How one block attends.

    Attributes:
        size: (rows, columns) of a window, in tokens, at most the grid; the grid itself for full attention.
        shift: (rows, columns) by which the windows are moved down and right.
        pool: Whether every window also sees the mean of each window of the grid.
    """

    size: tuple[int, int]
    shift: tuple[int, int] = (0, 0)
    pool: bool = False


def plan(
    grid: tuple[int, int],
    depth: int,
    *,
    attention: Attention,
    window: tuple[int, int],
    shift: bool,
    pool: bool,
    full_every: int,
) -> list[Windows]:
    """How each block attends.

    Args:
        grid: (Hp, Wp) tokens.
        depth: Number of blocks.
        attention: Full, or within windows.
        window: (rows, columns) tokens; along an axis where the grid is smaller, it is the grid's size.
        shift: Whether every other one of the blocks with windows moves them by half a window, as in Swin. Along an
            axis that one window spans there is nothing to move.
        pool: Whether windows also see the means of all windows. Where there is one window, it does not see its own:
            a window as large as the grid is full attention.
        full_every: The n-th, 2n-th, ... block attends in full, as in ViTDet; 0 for none.

    Returns:
        One a block.
    """
    size = (min(window[0], grid[0]), min(window[1], grid[1]))
    half = tuple(side // 2 if side < whole else 0 for side, whole in zip(size, grid, strict=True))
    plans: list[Windows] = []
    windowed = 0
    for block in range(1, depth + 1):
        if attention == "full" or (full_every and block % full_every == 0):
            plans.append(Windows(grid))
        else:
            moved = (half[0], half[1]) if shift and windowed % 2 else (0, 0)
            plans.append(Windows(size, moved, pool and size != grid))
            windowed += 1
    return plans


class GridAttention(nn.Module):
    """Multi-head self-attention of a grid's tokens, (B,N,D) -> (B,N,D), in place of timm's in its blocks.

    A grid that windows do not divide is filled up at the bottom and right; nothing ever looks at the filling. Shifted
    windows are cut from the grid rolled round, and what comes from opposite sides does not look at each other.

    Args:
        width: D.
        heads: Attention heads; they divide the width.
        grid: (Hp, Wp) tokens.
        windows: How to attend.
        relative_position: Whether a learnt number for each pair of distances (rows, columns) and head is added before
            the softmax, as in Swin (Liu et al., 2021, Eq. 4). It starts at 0.

    Attributes:
        relative_position_bias_table: ((2 rows - 1) x (2 columns - 1), heads), distances in rows and columns from the
            most negative; None without.
        allowed: (windows, T, T + pooled) bool, which keys each query looks at; None where all. Blocks share
            its memory: never written to.
        real: (windows, 1) int64, how many tokens of each window are no filling; None where that changes nothing.
    """

    allowed: Tensor | None
    real: Tensor | None

    def __init__(
        self, width: int, heads: int, grid: tuple[int, int], windows: Windows, *, relative_position: bool
    ) -> None:
        super().__init__()
        self.heads = heads
        self.grid = grid
        self.windows = windows
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = None
        if relative_position:
            rows, columns = table_size(windows)
            self.relative_position_bias_table = nn.Parameter(torch.zeros(rows * columns, heads))
        self.restore_constants()

    def restore_constants(self) -> None:
        """Compute anew what is neither learnt nor saved; needed after ``to_empty``."""
        device = self.qkv.weight.device
        if device.type == "meta" and _needs_mask(self.grid, self.windows):
            # Shapes alone: a mask can be large, and whether the network's weights fit it is not known yet.
            count, size = window_count(self.grid, self.windows), int(np.prod(self.windows.size))
            keys = size + (count if self.windows.pool else 0)
            allowed = torch.empty(count, size, keys, dtype=torch.bool, device=device)
        else:
            allowed = _tensor(allowed_keys(self.grid, self.windows), device)
        self.register_buffer("allowed", allowed, persistent=False)
        self.register_buffer("real", _tensor(_real_tokens(self.grid, self.windows), device), persistent=False)

    def forward(self, tokens: Tensor, **unused: object) -> Tensor:
        """Attend; timm's blocks also hand on a mask and a flag, which are never set here."""
        width = tokens.shape[-1]
        qkv = self.qkv(tokens).unflatten(1, self.grid)  # (B,Hp,Wp,3D)
        queries, keys, values = self._heads(self._cut(qkv, self.windows.shift))  # each (B,windows,heads,T,d)
        if self.windows.pool:
            pooled = self._pooled(qkv[..., width:])  # (2,B,1,heads,pooled,d)
            pooled = pooled.expand(-1, -1, queries.shape[1], -1, -1, -1)
            keys, values = torch.cat([keys, pooled[0]], dim=3), torch.cat([values, pooled[1]], dim=3)
        # Windows and heads become one axis, so that the mask is the same for every sample: then the fused kernels,
        # which know four dimensions, take it without a copy a sample.
        found = F.scaled_dot_product_attention(
            queries.flatten(1, 2), keys.flatten(1, 2), values.flatten(1, 2), attn_mask=self._mask(queries.dtype)
        )
        found = found.unflatten(1, (-1, self.heads)).transpose(2, 3).flatten(3)  # (B,windows,T,D)
        return self.proj(self._join(found).flatten(1, 2))

    def _cut(self, grid: Tensor, shift: tuple[int, int]) -> Tensor:
        """(B,Hp,Wp,C) -> (B,windows,T,C), filled up and rolled."""
        rows, columns = self.windows.size
        filling = (-grid.shape[1] % rows, -grid.shape[2] % columns)
        if any(filling):
            grid = F.pad(grid, (0, 0, 0, filling[1], 0, filling[0]))
        if any(shift):
            grid = grid.roll((-shift[0], -shift[1]), dims=(1, 2))
        grid = grid.unflatten(2, (-1, columns)).unflatten(1, (-1, rows))  # (B,up,rows,across,columns,C)
        return grid.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def _join(self, windows: Tensor) -> Tensor:
        """The inverse of :meth:`_cut`."""
        (rows, columns), shift = self.windows.size, self.windows.shift
        across = -(-self.grid[1] // columns)
        grid = windows.unflatten(2, (rows, columns)).unflatten(1, (-1, across))  # (B,up,across,rows,columns,C)
        grid = grid.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        if any(shift):
            grid = grid.roll(shift, dims=(1, 2))
        return grid[:, : self.grid[0], : self.grid[1]]

    def _heads(self, windows: Tensor) -> Tensor:
        """(B,windows,T,3D) -> (3,B,windows,heads,T,d)."""
        return windows.unflatten(-1, (-1, self.heads, self.qkv.in_features // self.heads)).permute(3, 0, 1, 4, 2, 5)

    def _pooled(self, pairs: Tensor) -> Tensor:
        """Keys and values (B,Hp,Wp,2D) -> (2,B,1,heads,pooled,d): the mean of each window of the grid, unshifted.

        The mean of projected tokens is the projection of the mean token. Filling does not count.
        """
        # Not a pooling operator, which would keep its input for the backward pass.
        means = self._cut(pairs, (0, 0)).mean(dim=2)
        if self.real is not None:
            means = means * (self.windows.size[0] * self.windows.size[1] / self.real.to(means.dtype))
        return self._heads(means[:, None])

    def _mask(self, dtype: torch.dtype) -> Tensor | None:
        """(windows x heads, T, T + pooled) to be added, or bool, or None where there is nothing to say."""
        count = 1 if self.allowed is None else len(self.allowed)
        if self.relative_position_bias_table is None:
            if self.allowed is None:
                return None
            return self.allowed[:, None].expand(-1, self.heads, -1, -1).flatten(0, 1)
        bias = self._bias()[None].to(dtype)
        if self.allowed is None:
            count = window_count(self.grid, self.windows)
            return bias.expand(count, -1, -1, -1).flatten(0, 1)
        return bias.masked_fill(~self.allowed[:, None], float("-inf")).flatten(0, 1)

    def _bias(self) -> Tensor:
        """(heads, T, T + pooled): each query's number for each key; 0 for pooled keys, which are no place."""
        assert self.relative_position_bias_table is not None, "asked for only where there is one"
        rows, columns = self.windows.size
        table = self.relative_position_bias_table.unflatten(0, table_size(self.windows))
        # Row r looks at row k at distance r - k, which stands at r + (rows - 1 - k) of the table: a view of the
        # table slid over it, reversed.
        slid = table.unfold(0, rows, 1).unfold(1, columns, 1).flip(-2, -1)  # (rows,columns,heads,rows,columns)
        bias = slid.permute(2, 0, 1, 3, 4).flatten(3).flatten(1, 2)
        return F.pad(bias, (0, window_count(self.grid, self.windows))) if self.windows.pool else bias


def table_size(windows: Windows) -> tuple[int, int]:
    """(2 rows - 1, 2 columns - 1): how many distances there are in a window."""
    return 2 * windows.size[0] - 1, 2 * windows.size[1] - 1


def window_count(grid: tuple[int, int], windows: Windows) -> int:
    """Into how many windows a grid is cut."""
    return int(np.prod([-(-whole // side) for whole, side in zip(grid, windows.size, strict=True)]))


@lru_cache(maxsize=4)  # shifted and not, for a network and the next: a mask can be large, and blocks have the same
def allowed_keys(grid: tuple[int, int], windows: Windows) -> NDArray[np.bool_] | None:
    """Which keys each query looks at: (windows, T, T + pooled), or None where every query looks at all.

    A token looks at those of its window that are no filling and come from the same side of the grid. What filling
    itself looks at does not matter, but it must be something: the softmax of nothing is no number.
    """
    if not _needs_mask(grid, windows):
        return None
    (rows, columns), (down, right) = windows.size, windows.shift
    up, across = -(-grid[0] // rows), -(-grid[1] // columns)
    row, column = np.indices((up * rows, across * columns))

    def cut(of: NDArray[Any]) -> NDArray[Any]:
        rolled = np.roll(of, (-down, -right), axis=(0, 1)).reshape(up, rows, across, columns)
        return rolled.swapaxes(1, 2).reshape(up * across, rows * columns)

    real = cut((row < grid[0]) & (column < grid[1]))
    # Rolled round, the first `down` rows stand below the last ones, and the first `right` columns beside the last.
    side = cut(2 * (row < down) + (column < right))
    allowed = (real[:, None, :] & (side[:, :, None] == side[:, None, :])) | ~real[:, :, None]
    pooled = len(allowed) if windows.pool else 0
    return np.concatenate([allowed, np.ones((*allowed.shape[:2], pooled), bool)], axis=2)


def _needs_mask(grid: tuple[int, int], windows: Windows) -> bool:
    return any(windows.shift) or any(whole % side for whole, side in zip(grid, windows.size, strict=True))


def _tensor(values: NDArray[Any] | None, device: torch.device) -> Tensor | None:
    return None if values is None else torch.from_numpy(values).to(device)


def _real_tokens(grid: tuple[int, int], windows: Windows) -> NDArray[np.int64] | None:
    """(windows, 1): how many tokens of each unshifted window are no filling; None where that changes nothing."""
    if not windows.pool or all(whole % side == 0 for whole, side in zip(grid, windows.size, strict=True)):
        return None
    up, across = (
        np.minimum(side, whole - np.arange(0, whole, side)) for whole, side in zip(grid, windows.size, strict=True)
    )
    return np.outer(up, across).reshape(-1, 1).astype(np.int64)
