"""Encoding and decoding of one heatmap at a time in plain NumPy float64, written from the publications.

It shares neither code nor tricks with ``model/heatmap.py``: whole maps are blurred and padded, and every
keypoint is drawn cell by cell. Tests and the parity benchmark load it by its path.
"""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def strides(input_size: tuple[int, int], heatmap_size: tuple[int, int], codec: str) -> Array:
    """Input pixels per cell, x and y."""
    less = 1 if codec == "udp" else 0
    return np.array([(input_size[i] - less) / (heatmap_size[i] - less) for i in (1, 0)])


def encode(
    xy: Array, input_size: tuple[int, int], heatmap_size: tuple[int, int], codec: str, sigma: int = 2
) -> tuple[Array, float]:
    """Target (h, w) and weight of one visible keypoint in input pixels."""
    height, width = heatmap_size
    target = np.zeros(heatmap_size)
    mean = xy / strides(input_size, heatmap_size, codec)
    cell = [int(mean[0] + 0.5), int(mean[1] + 0.5)]
    centre = mean if codec == "udp" else cell
    drawn = 0.0
    for y in range(cell[1] - 3 * sigma, cell[1] + 3 * sigma + 1):
        for x in range(cell[0] - 3 * sigma, cell[0] + 3 * sigma + 1):
            if 0 <= x < width and 0 <= y < height:
                target[y, x] = math.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
                drawn = 1.0
    return target, drawn


def decode_plain(heatmap: Array) -> tuple[Array, float]:
    """Quarter-offset peak (2,) in cells and score of one map (h, w)."""
    height, width = heatmap.shape
    y, x = np.unravel_index(np.argmax(heatmap), heatmap.shape)
    step = np.zeros(2)
    if 1 < x < width - 1 and 1 < y < height - 1:
        step[0] = 0.25 * np.sign(heatmap[y, x + 1] - heatmap[y, x - 1])
        step[1] = 0.25 * np.sign(heatmap[y + 1, x] - heatmap[y - 1, x])
    return np.array([x, y]) + step, float(heatmap[y, x])


def blur(heatmap: Array) -> Array:
    """An 11 x 11 Gaussian of sigma 2 with the border reflected about the centre of the outermost cells."""
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 2.0**2))
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    padded = np.pad(heatmap, 5, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (11, 11))
    return np.einsum("yxij,ij->yx", windows, kernel)


def decode_udp(heatmap: Array, blurred: Array | None = None) -> tuple[Array, float, float]:
    """DARK-UDP peak (2,) in cells, score, and conditioning of one map (h, w).

    The conditioning is the smaller curvature of the log map at the peak, 0 where it is not a maximum or the
    lower clip was met; see ``WELL_CONDITIONED``. Another implementation's blurred map may be given.
    """
    y, x = np.unravel_index(np.argmax(heatmap), heatmap.shape)
    near = np.pad(blur(heatmap) if blurred is None else blurred, 1, mode="edge")[y : y + 3, x : x + 3]
    log = np.log(np.clip(near, 0.001, 50))
    gradient = np.array([(log[1, 2] - log[1, 0]) / 2, (log[2, 1] - log[0, 1]) / 2])
    dxx = log[1, 2] - 2 * log[1, 1] + log[1, 0]
    dyy = log[2, 1] - 2 * log[1, 1] + log[0, 1]
    dxy = 0.5 * (log[2, 2] - log[1, 2] - log[2, 1] + 2 * log[1, 1] - log[1, 0] - log[0, 1] + log[0, 0])
    hessian = np.array([[dxx, dxy], [dxy, dyy]]) + 1.1920929e-07 * np.eye(2)
    step = -np.linalg.solve(hessian, gradient)
    conditioning = max(0.0, -float(np.linalg.eigvalsh(hessian).max())) if near.min() > 0.001 else 0.0
    return np.array([x, y]) + step, float(heatmap[y, x]), conditioning


WELL_CONDITIONED = 0.01
"""A peak is well-conditioned if none of the 3 x 3 blurred values around it is clipped and both curvatures of
their logarithm are at least this (cells^-2; a lone blurred target has 1/8, one of sigma 10 has 1/104)."""


def random_maps(rng: np.random.Generator, count: int, size: tuple[int, int]) -> Array:
    """Maps (count, h, w) like a network's: one to three Gaussians of any shape and height over noise."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    maps = rng.normal(0, rng.choice([0.0, 0.005, 0.02], (count, 1, 1)), (count, height, width))
    for heatmap in maps:
        for _ in range(rng.integers(1, 4)):
            cx, cy = rng.uniform(-1, width), rng.uniform(-1, height)
            sx, sy = rng.uniform(1, 4, 2)
            heatmap += rng.uniform(0.05, 1) * np.exp(-(((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2) / 2)
    return maps
