"""Every variant of attention against one written out token by token in NumPy; who looks at whom; full as a case."""

from itertools import product
from math import exp

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from timm.layers.attention import Attention
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.attention import GridAttention, Windows, plan

WIDTH, HEADS = 8, 2

# Grids that windows divide or not, windows as large as the grid, along one axis or both, shifted and not, pooled.
CASES = [
    ((4, 6), Windows((2, 3))),
    ((4, 6), Windows((2, 3), (1, 1))),
    ((4, 6), Windows((2, 3), pool=True)),
    ((4, 6), Windows((2, 3), (1, 1), pool=True)),
    ((5, 7), Windows((2, 3))),
    ((5, 7), Windows((3, 4), (1, 2), pool=True)),
    ((7, 5), Windows((4, 2), (2, 1))),
    ((3, 5), Windows((3, 2), (0, 1))),
    ((5, 3), Windows((2, 3), (1, 0), pool=True)),
    ((1, 4), Windows((1, 2), (0, 1))),
    ((3, 4), Windows((3, 4))),
    ((3, 4), Windows((3, 4), pool=True)),
]


def attention(grid: tuple[int, int], windows: Windows, relative: bool) -> GridAttention:
    torch.manual_seed(0)
    module = GridAttention(WIDTH, HEADS, grid, windows, relative_position=relative).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.7)
    return module


def tokens(grid: tuple[int, int], batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, grid[0] * grid[1], WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def window_of(row: int, column: int, windows: Windows) -> tuple[int, int]:
    """Which window a token lies in, without rolling: windows begin at the shift, and one before it."""
    (rows, columns), (down, right) = windows.size, windows.shift
    return (row - down) // rows, (column - right) // columns


def reference(
    module: GridAttention, x: NDArray[np.float64], grid: tuple[int, int], windows: Windows
) -> NDArray[np.float64]:
    """(N,D) -> (N,D), one query, one head, one key at a time."""
    places = list(product(range(grid[0]), range(grid[1])))
    state = {name: value.detach().numpy() for name, value in module.named_parameters()}
    q, k, v = np.split(x @ state["qkv.weight"].T + state["qkv.bias"], 3, axis=1)
    table = state.get("relative_position_bias_table")
    pools: list[list[int]] = []
    if windows.pool:
        still = Windows(windows.size)
        named = [window_of(*place, still) for place in places]
        pools = [[i for i, own in enumerate(named) if own == name] for name in sorted(set(named))]
    d = WIDTH // HEADS
    out = np.zeros_like(x)
    for i, (row, column) in enumerate(places):
        own = window_of(row, column, windows)
        seen = [j for j, place in enumerate(places) if window_of(*place, windows) == own]
        for head in range(HEADS):
            part = slice(head * d, (head + 1) * d)
            scores, values = list[float](), list[NDArray[np.float64]]()
            for j in seen:
                distance = (row - places[j][0] + windows.size[0] - 1, column - places[j][1] + windows.size[1] - 1)
                place = distance[0] * (2 * windows.size[1] - 1) + distance[1]
                bias = 0.0 if table is None else float(table[place, head])
                scores.append(float(q[i, part] @ k[j, part]) / d**0.5 + bias)
                values.append(v[j, part])
            for pool in pools:
                scores.append(float(q[i, part] @ k[pool, part].mean(axis=0)) / d**0.5)
                values.append(v[pool, part].mean(axis=0))
            weights = np.array([exp(score) for score in scores])
            out[i, part] = (weights / weights.sum()) @ np.array(values)
    return out @ state["proj.weight"].T + state["proj.bias"]


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("grid", "windows"), CASES)
def test_every_variant_is_the_one_written_out(grid: tuple[int, int], windows: Windows, relative: bool) -> None:
    module, x = attention(grid, windows, relative), tokens(grid)
    found = module(x).detach().numpy()
    for row in range(2):
        np.testing.assert_allclose(found[row], reference(module, x[row].numpy(), grid, windows), rtol=0, atol=1e-12)
    with sdpa_kernel(SDPBackend.MATH):
        np.testing.assert_allclose(module(x).detach().numpy(), found, rtol=0, atol=1e-12)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("grid", "windows"), [case for case in CASES if not case[1].pool])
def test_a_token_depends_on_its_own_window_and_on_nothing_else(
    grid: tuple[int, int], windows: Windows, relative: bool
) -> None:
    """By gradients: neither filling nor what the roll brings from the other side has any; all of the window has."""
    places = [window_of(*place, windows) for place in product(range(grid[0]), range(grid[1]))]
    module = attention(grid, windows, relative)

    def alone(x: torch.Tensor) -> torch.Tensor:
        return module(x[None])[0].sum(dim=-1)

    jacobian = torch.autograd.functional.jacobian(alone, tokens(grid)[0]).abs().sum(dim=-1)  # (query, key)
    assert torch.equal(jacobian > 0, torch.tensor([[one == other for other in places] for one in places]))


@pytest.mark.parametrize(("grid", "windows"), CASES)
def test_every_gradient_is_a_number(grid: tuple[int, int], windows: Windows) -> None:
    """Filling looks at something, so that no softmax is of nothing, which would be NaN everywhere after one step."""
    module = attention(grid, windows, relative=True)
    module(tokens(grid)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())


@pytest.mark.parametrize("relative", [False, True])
def test_a_window_as_large_as_the_grid_with_a_fresh_table_is_timms_full_attention(relative: bool) -> None:
    torch.manual_seed(0)
    full = Attention(WIDTH, HEADS, qkv_bias=True).double()
    module = GridAttention(WIDTH, HEADS, (5, 7), Windows((5, 7)), relative_position=relative).double()
    fresh = module.load_state_dict(full.state_dict(), strict=False)
    assert fresh.missing_keys == (["relative_position_bias_table"] if relative else [])
    assert not fresh.unexpected_keys
    torch.testing.assert_close(module(tokens((5, 7))), full(tokens((5, 7))), rtol=0, atol=1e-14)


def test_it_takes_what_timms_blocks_hand_on() -> None:
    module = attention((4, 6), Windows((2, 3)), relative=False)
    assert torch.equal(module(tokens((4, 6)), attn_mask=None, is_causal=False), module(tokens((4, 6))))


@pytest.mark.parametrize(("grid", "windows"), CASES)
def test_in_bfloat16_it_is_near(grid: tuple[int, int], windows: Windows) -> None:
    module, x = attention(grid, windows, relative=True).float(), tokens(grid).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = module(x)
    torch.testing.assert_close(found.float(), module(x), rtol=0.1, atol=0.25)


def planned(grid: tuple[int, int] = (8, 6), depth: int = 6, **changes: object) -> list[Windows]:
    given = {"attention": "window", "window": (4, 4), "shift": False, "pool": False, "full_every": 0}
    return plan(grid, depth, **{**given, **changes})  # type: ignore[arg-type]


def test_full_attention_is_one_window() -> None:
    assert planned(attention="full", shift=True, pool=True) == [Windows((8, 6))] * 6


def test_every_other_block_shifts_by_half_a_window() -> None:
    still, moved = Windows((4, 4)), Windows((4, 4), (2, 2))
    assert planned() == [still] * 6
    assert planned(shift=True) == [still, moved] * 3


def test_every_nth_block_is_full_and_the_others_go_on_alternating() -> None:
    still, moved, full = Windows((4, 4), pool=True), Windows((4, 4), (2, 2), pool=True), Windows((8, 6))
    assert planned(full_every=3, pool=True, shift=True) == [still, moved, full, still, moved, full]
    assert planned(full_every=2, pool=True, shift=True) == [still, full, moved, full, still, full]
    assert planned(full_every=4, pool=True, shift=True) == [still, moved, still, full, moved, still]


@pytest.mark.parametrize(
    ("grid", "window", "expected"),
    [
        ((8, 6), (16, 12), Windows((8, 6))),  # larger than the grid
        ((8, 6), (8, 6), Windows((8, 6))),
        ((8, 6), (16, 4), Windows((8, 4), (0, 2))),  # nothing to move along the axis that a window spans
        ((8, 6), (3, 5), Windows((3, 5), (1, 2))),
        ((8, 6), (1, 1), Windows((1, 1))),
    ],
)
def test_windows_are_at_most_the_grid(grid: tuple[int, int], window: tuple[int, int], expected: Windows) -> None:
    assert planned(grid, window=window, shift=True)[1] == expected


def test_one_window_does_not_see_its_own_mean() -> None:
    assert planned(window=(8, 6), pool=True) == planned(attention="full")
    assert planned(window=(8, 3), pool=True) == [Windows((8, 3), pool=True)] * 6


def test_masks_take_memory_once_and_none_on_meta() -> None:
    windows = Windows((2, 3), (1, 1), pool=True)
    with torch.device("meta"):
        module = GridAttention(WIDTH, HEADS, (5, 7), windows, relative_position=True)
    assert module.allowed is not None and module.allowed.is_meta and module.real is not None and module.real.is_meta
    shape = module.allowed.shape
    module.to_empty(device="cpu").restore_constants()
    other = attention((5, 7), windows, relative=False)
    assert module.allowed is not None and other.allowed is not None and module.real is not None
    assert module.allowed.shape == shape and module.allowed.data_ptr() == other.allowed.data_ptr()


@pytest.mark.parametrize(("grid", "windows"), CASES)
def test_on_meta_constants_have_their_shapes(grid: tuple[int, int], windows: Windows) -> None:
    with torch.device("meta"):
        bare = GridAttention(WIDTH, HEADS, grid, windows, relative_position=False)
    shapes = {name: (buffer.shape, buffer.dtype) for name, buffer in bare.named_buffers()}
    real = attention(grid, windows, relative=False)
    assert shapes == {name: (buffer.shape, buffer.dtype) for name, buffer in real.named_buffers()}


def test_masks_are_there_only_where_they_say_something() -> None:
    def mask(grid: tuple[int, int], windows: Windows) -> torch.Tensor | None:
        return GridAttention(WIDTH, HEADS, grid, windows, relative_position=False).allowed

    assert mask((4, 6), Windows((2, 3), pool=True)) is None
    shifted = mask((4, 6), Windows((2, 3), (1, 1), pool=True))
    assert shifted is not None
    assert shifted.shape == (4, 6, 6 + 4)
    filled = mask((5, 6), Windows((2, 3)))
    assert filled is not None
    assert filled.shape == (6, 6, 6)
