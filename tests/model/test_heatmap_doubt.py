"""What a map says of itself: by hand on maps that a person can read, and cell by cell on noise."""

import numpy as np
import pytest
import torch

from autolabel.similarity import keypoint_similarity
from model.heatmap import decode
from model.heatmap_doubt import HILLS, doubt, similarity_kernel

FLIP = torch.tensor([0, 2, 1])


def numbers(maps, kernel=2.0, flip=FLIP):
    """Everything about maps (B, K, h, w), as arrays by name."""
    maps = torch.as_tensor(np.asarray(maps, np.float32))
    if not torch.is_tensor(kernel):
        kernel = torch.full((*maps.shape[:2], 2), float(kernel))
    return {k: v.numpy() for k, v in doubt(maps, decode(maps, "udp").cell, kernel, flip)._asdict().items()}


def one(values, kernel=2.0):
    """Everything about one map (h, w)."""
    return {k: v[0, 0] for k, v in numbers(np.asarray(values)[None, None], kernel, torch.tensor([0])).items()}


def gaussian(x, y, sigma=2.0, shape=(16, 12), height=1.0):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return height * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))


# ---- cell by cell


def slow_hills(mass):
    """All heights, highest first: higher than every cell within two, of equal ones the first in reading order."""
    found, (h, w) = [], mass.shape
    for y in range(h):
        for x in range(w):
            near = [(j, i) for j in range(y - 2, y + 3) for i in range(x - 2, x + 3)]
            near = [(j, i) for j, i in near if 0 <= j < h and 0 <= i < w and (j, i) != (y, x)]
            if mass[y, x] > 0 and all(
                mass[y, x] > mass[j, i] or (mass[y, x] == mass[j, i] and (y, x) < (j, i)) for j, i in near
            ):
                found.append(float(mass[y, x]))
    return sorted(found, reverse=True)


def slow(maps, kernel, flip):
    """The definitions, one map after the other, in float64."""
    b, k, h, w = maps.shape
    result = {name: np.zeros((b, k)) for name in ("second", "entropy", "spread", "expected_ks", "other_side")}
    for i in range(b):
        cleaned = np.where(np.isfinite(maps[i]), maps[i], -np.inf).astype(np.float64)
        peaks = [np.unravel_index(np.argmax(one), (h, w)) for one in cleaned]
        for j in range(k):
            mass = np.maximum(np.where(np.isfinite(cleaned[j]), cleaned[j], 0), 0)
            if not np.isfinite(maps[i, j]).any():
                for values in result.values():
                    values[i, j] = np.nan
                continue
            hills = slow_hills(mass)
            if len(hills) > 1:
                result["second"][i, j] = hills[1] / hills[0]
                share = np.array(hills[:HILLS]) / sum(hills[:HILLS])
                result["entropy"][i, j] = -(share * np.log(share)).sum()
            p = mass / mass.sum() if mass.sum() > 0 else np.full((h, w), 1 / (h * w))
            y, x = peaks[j]
            dx, dy = np.meshgrid(np.arange(w) - x, np.arange(h) - y)
            result["spread"][i, j] = np.sqrt((p * (dx**2 + dy**2)).sum())
            sx, sy = kernel[i, j].tolist()
            result["expected_ks"][i, j] = (p * np.exp(-(dx**2) / (2 * sx**2) - dy**2 / (2 * sy**2))).sum()
            if flip[j] != j and cleaned[j].max() > 0 and cleaned[flip[j]].max() > 0:
                result["other_side"][i, j] = mass[peaks[flip[j]]] / mass.max()
    return result


@pytest.mark.parametrize("shape", [(16, 12), (7, 5), (2, 2), (1, 9)])
def test_all_numbers_are_their_definitions(shape) -> None:
    """On noise, on steps that have many equal cells, below zero, and with holes."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(3, 3, *shape))
    steps = rng.integers(-2, 4, (3, 3, *shape)).astype(float)
    low = noise - 5
    holes = np.where(rng.random(noise.shape) < 0.2, rng.choice([np.nan, np.inf, -np.inf], noise.shape), noise)
    lost = noise.copy()
    lost[:, 1] = np.nan
    maps = np.concatenate([noise, steps, low, holes, lost]).astype(np.float32)
    kernel = torch.tensor(rng.uniform(0.3, 4, (15, 3, 2)), dtype=torch.float32)
    found, expected = numbers(maps, kernel), slow(maps, kernel, [0, 2, 1])
    for name, values in found.items():
        assert values == pytest.approx(expected[name], abs=2e-5, nan_ok=True), name
        assert values.dtype == np.float32
    # Enough to see the difference, where there is room for it.
    if shape == (16, 12):
        assert (found["second"] > 0).sum() > 20 and (found["other_side"] > 0).sum() >= 10


def test_nobody_depends_on_the_others() -> None:
    maps = torch.randn(6, 3, 16, 12, generator=torch.Generator().manual_seed(0))
    whole = numbers(maps)
    for row in range(6):
        for name, values in numbers(maps[row : row + 1]).items():
            assert values == pytest.approx(whole[name][row : row + 1], rel=1e-6), name


# ---- by hand


def test_one_peak() -> None:
    """Where the place is spread by s on both axes, and similarity falls with l, that expected is l² / (l² + s²)."""
    found = one(gaussian(24, 32, 2.0, (64, 48)), kernel=3.0)
    assert found["second"] == found["entropy"] == 0
    assert found["spread"] == pytest.approx(2 * np.sqrt(2), rel=1e-3)
    assert found["expected_ks"] == pytest.approx(9 / (9 + 4), rel=1e-3)


def test_two_peaks() -> None:
    found = one(gaussian(10, 20, 1.5, (64, 48)) + gaussian(34, 50, 1.5, (64, 48), 0.5), kernel=3.0)
    assert found["second"] == pytest.approx(0.5, abs=1e-4)
    third = 1 / 3
    assert found["entropy"] == pytest.approx(-third * np.log(third) - 2 * third * np.log(2 * third), abs=1e-4)
    assert found["spread"] == pytest.approx(np.sqrt(2 * 1.5**2 + third * (24**2 + 30**2)), rel=1e-3)
    assert found["expected_ks"] == pytest.approx(2 * third * 9 / (9 + 2.25), rel=1e-3)


@pytest.mark.parametrize("x", [5, 6, 7])
def test_a_bump_beside_the_peak_is_no_second_one(x) -> None:
    heatmap = gaussian(4, 8)
    heatmap[8, x] = 0.99
    assert (one(heatmap)["second"] > 0) == (x - 4 > 2)


@pytest.mark.parametrize(
    ("heatmap", "hills"),
    [
        (np.ones((16, 12)), 1),  # a level map is one hill
        (np.pad(np.ones((4, 6)), 3), 1),  # as is a level top
        (np.pad(np.ones((2, 2)), ((0, 14), (0, 10))), 1),  # also in a corner
        (np.pad(np.ones((1, 1)), ((15, 0), (11, 0))), 1),
        (np.zeros((16, 12)), 0),
        (np.full((16, 12), -3.0), 0),
        (gaussian(5, 8) - 2, 0),  # a hill below the sea
    ],
)
def test_hills(heatmap, hills) -> None:
    found = one(heatmap)
    assert found["second"] == found["entropy"] == 0
    assert all(np.isfinite(value) for value in found.values())
    if not hills:
        assert found["spread"] == pytest.approx(one(np.ones((16, 12)) - (heatmap != heatmap.max()) * 1e-6)["spread"])


def test_a_map_that_says_nothing_expects_what_chance_gives() -> None:
    empty, level = one(np.zeros((16, 12))), one(np.ones((16, 12)))
    assert empty == pytest.approx(level), "both have their peak in the first cell"
    squares = np.add.outer(np.arange(16) ** 2, np.arange(12) ** 2)
    assert empty["spread"] == pytest.approx(np.sqrt(squares.mean()))
    assert empty["expected_ks"] == pytest.approx(np.exp(-squares / 8).mean(), rel=1e-5)


def test_many_hills_share_evenly() -> None:
    heatmap = np.zeros((16, 12))
    heatmap[::5, ::5] = 1
    found = one(heatmap)
    assert found["second"] == 1 and found["entropy"] == pytest.approx(np.log(HILLS))


def test_the_other_side() -> None:
    """The left's map has a hill of 0.4 where the right is; the right's none where the left is; the nose has no side."""
    left = gaussian(2, 8, 1) + gaussian(9, 8, 1, height=0.4)
    right, nose = gaussian(9, 8, 1, height=0.5), gaussian(9, 8, 1)
    found = numbers(np.stack([nose, left, right])[None])["other_side"][0]
    assert found == pytest.approx([0, 0.4, 0], abs=1e-3)
    lost = numbers(np.stack([nose, left, np.full_like(left, np.nan)])[None])
    assert lost["other_side"][0] == pytest.approx([0, 0, np.nan], nan_ok=True)
    assert [np.isnan(values[0]).tolist() for values in lost.values()] == [[False, False, True]] * 5


def test_no_maps() -> None:
    found = numbers(np.zeros((0, 3, 16, 12)))
    assert all(values.shape == (0, 3) for values in found.values())


def test_the_kernel_is_the_similarity() -> None:
    area, sigmas, scale = torch.tensor([800.0, 0.0, -1.0]), torch.tensor([0.025, 0.107]), torch.tensor([[0.5, 0.25]])
    found = similarity_kernel(area, sigmas, scale.expand(3, 2))
    truth, there = np.zeros((2, 2)), np.array([[3.0, 0], [0, 3.0]])
    expected = keypoint_similarity(there, truth, 800.0, sigmas.numpy())
    cells = there * scale.numpy()
    assert np.exp(-(cells**2 / (2 * found[0].numpy() ** 2)).sum(1)) == pytest.approx(expected, rel=1e-5)
    assert (found[1:] == 0).all()
    # Of a box without area, the peak's own cell is all that is like the truth.
    point = np.zeros((16, 12))
    point[3, 4] = 1
    assert one(point, kernel=0.0)["expected_ks"] == 1
    assert one(np.ones((16, 12)), kernel=0.0)["expected_ks"] == pytest.approx(1 / 192)
