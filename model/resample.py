"""Heatmaps of one network on the grid of another: what a teacher says, as a student of another resolution would say it.

Two networks that look at the same region have heatmaps of different sizes, and in each a keypoint is a Gaussian of so
many *cells*: half the resolution makes it twice as wide in the crop. So a teacher's map is not only read at the
student's cells, but blurred to the width of the student's own targets, and raised, because a peak that is spread is
lower. That is linear, and a product with one matrix along each axis. The matrices are fitted to do it to Gaussians
wherever on the map their middle lies: near the border a blur would see nothing of what is outside.

A student whose targets are no wider than the teacher's gets the teacher's, read between its cells: to sharpen them
would sharpen their noise.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import torch
from torch import Tensor

from model.config import ViTPoseConfig
from model.heatmap import extent

_STEPS = 4
"""Middles of Gaussians that are fitted to, in each of the teacher's cells."""

_RIDGE = 0.005 * _STEPS
"""Weight of the matrix' own size beside the errors at all those middles: noise is not to be raised for the last digit
at the border, where this leaves errors of 0.04 at most."""


@dataclass(frozen=True)
class _Axis:
    """One axis of two networks' heatmaps.

    Attributes:
        lengths: Cells of teacher and student.
        spans: How long each one's codec takes them to be: cells at the same share of it are at the same place.
        sigmas: Of their targets, each in its own cells.
    """

    lengths: tuple[int, int]
    spans: tuple[int, int]
    sigmas: tuple[float, float]


@dataclass(frozen=True)
class Resampling:
    """The way from a teacher's heatmaps to a student's.

    Attributes:
        vertical: Along a column.
        horizontal: Along a row.
    """

    vertical: _Axis
    horizontal: _Axis

    @classmethod
    def between(cls, teacher: ViTPoseConfig, student: ViTPoseConfig, head: int = 0) -> Self:
        """The way between two networks.

        Args:
            teacher: Whose heatmaps there are.
            student: Whose heatmaps are wanted; of one head.
            head: The teacher's.
        """
        sizes = teacher.heatmap_size, student.heatmap_size
        spans = extent(sizes[0], teacher.codec_of(head)), extent(sizes[1], student.codec)
        sigmas = teacher.heatmap_sigma, student.heatmap_sigma
        vertical, horizontal = (
            _Axis((sizes[0][axis], sizes[1][axis]), (spans[0][1 - axis], spans[1][1 - axis]), sigmas) for axis in (0, 1)
        )
        return cls(vertical, horizontal)

    def __call__(self, heatmaps: Tensor) -> Tensor:
        """(B, K, h, w) float32 of a teacher's (B, K, h, w)."""
        device = heatmaps.device
        # Autocast would round the matrices, and with them where things are.
        with torch.autocast(device.type, enabled=False):
            return _matrix(self.vertical, device) @ heatmaps.float() @ _matrix(self.horizontal, device).mT


@lru_cache(maxsize=32)
def _matrix(axis: _Axis, device: torch.device) -> Tensor:
    """(n of the student, n of the teacher) float32; made once for each device, which would be waited for otherwise."""
    with torch.inference_mode(False):
        return _fitted(axis).float().to(device)


def _fitted(axis: _Axis) -> Tensor:
    (own, wanted), per_cell = axis.lengths, axis.spans[0] / axis.spans[1]  # teacher's cells in a student's
    cells, places = torch.arange(own, dtype=torch.float64), per_cell * torch.arange(wanted, dtype=torch.float64)
    width = axis.sigmas[1] * per_cell
    if width <= axis.sigmas[0]:
        return (1 - (places[:, None] - cells).abs()).clamp_min(0.0)
    middles = torch.arange((own - 1) * _STEPS + 1, dtype=torch.float64) / _STEPS
    given, asked = _gaussians(cells, middles, axis.sigmas[0]), _gaussians(places, middles, width)
    inner = given @ given.mT + _RIDGE * torch.eye(own, dtype=torch.float64)
    return torch.linalg.solve(inner, given @ asked.mT).mT


def _gaussians(cells: Tensor, middles: Tensor, sigma: float) -> Tensor:
    """(n, M) values at n cells of Gaussians around M middles."""
    return torch.exp(-((cells[:, None] - middles) ** 2) / (2 * sigma**2))
