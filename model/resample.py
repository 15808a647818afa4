"""Heatmaps of one network on the grid of another: what a teacher says, as a student of another resolution would say it.

Two networks that look at the same region have heatmaps of different sizes, and in each a keypoint is a Gaussian of so
many *cells*: half the resolution makes it twice as wide in the crop. So a teacher's map is not only read at the
student's cells, but also blurred to the width of the student's own targets, and raised, because a peak that is spread
is lower. Both are a product with one matrix along each axis; of a Gaussian it makes the student's Gaussian, to the
digits that a test holds. A student whose targets are narrower than the teacher's gets the teacher's.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from model.config import ViTPoseConfig
from model.heatmap import extent

_LEAST_BLUR = 0.3
"""Variance, in teacher's cells, below which a Gaussian has no two cells to be sampled at; reading between cells, which
blurs about as much, takes its place."""


@dataclass(frozen=True, eq=False)
class Resampling:
    """The way from a teacher's heatmaps to a student's.

    Attributes:
        rows: (h, h of the teacher) float32.
        columns: (w, w of the teacher) float32.
    """

    rows: Tensor
    columns: Tensor

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
        rows, columns = (
            _along((sizes[0][axis], sizes[1][axis]), (spans[0][1 - axis], spans[1][1 - axis]), sigmas)
            for axis in (0, 1)
        )
        return cls(rows, columns)

    def __call__(self, heatmaps: Tensor) -> Tensor:
        """(B, K, h, w) float32 of a teacher's (B, K, h, w)."""
        # Autocast would round the matrices, and with them where things are.
        with torch.autocast(heatmaps.device.type, enabled=False):
            rows, columns = self.rows.to(heatmaps.device), self.columns.to(heatmaps.device)
            return rows @ heatmaps.float() @ columns.mT


def _along(lengths: tuple[int, int], spans: tuple[int, int], sigmas: tuple[float, float]) -> Tensor:
    """The matrix (n of the student, n of the teacher) along one axis.

    Args:
        lengths: Cells of teacher and student.
        spans: How long each one's codec takes them to be: cells at the same share of it are at the same place.
        sigmas: Of their targets, each in its own cells.
    """
    per_cell = spans[0] / spans[1]  # teacher's cells in a student's
    distance = torch.arange(lengths[1])[:, None] * per_cell - torch.arange(lengths[0])
    wanted = sigmas[1] * per_cell
    blur = wanted**2 - sigmas[0] ** 2
    if blur < _LEAST_BLUR:
        return (1 - distance.abs()).clamp_min(0.0).float()
    kernel = torch.exp(-(distance.double() ** 2) / (2 * blur)) / math.sqrt(2 * math.pi * blur)
    return (kernel * wanted / sigmas[0]).float()
