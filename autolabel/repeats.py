"""Which poses repeat one another: near-duplicates, and frames of one video that lie close together.

Of images that show the same, one is worth a person's time: the answers for the others would say nothing new to the
network. So one batch of reviews holds poses of one image of each group at most. This is about spending time well;
which images may stand on which side of a split is decided by the wider groups of :mod:`autolabel.split`.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.poses import Sample

Indices = NDArray[np.intp]

TOGETHER = 1.0
"""Frames of a video in the same stretch of so many seconds show the same."""


@dataclass(frozen=True, eq=False)
class Repeats:
    """The image of each of N poses, and the group of images that show the same.

    Attributes:
        group: (N,) number of the group; an image that nothing repeats is a group of its own.
        image: (N,) number of the image.
    """

    group: NDArray[np.int64]
    image: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.group.shape != self.image.shape or self.group.ndim != 1:
            raise InputError(f"group has shape {self.group.shape}, image {self.image.shape}, expected one (N,)")

    def __len__(self) -> int:
        return len(self.group)

    @classmethod
    def none(cls, count: int) -> "Repeats":
        """``count`` poses of which none repeats another."""
        return cls(np.arange(count), np.arange(count))

    @classmethod
    def of(cls, samples: Iterable[Sample], seconds: float = TOGETHER) -> "Repeats":
        """The poses of samples, in order.

        Args:
            samples: As a manifest gives them. One that repeats another (``duplicate_of``) is of the other's group.
            seconds: Frames of one video are of one group when their times, divided by this, have the same whole part.

        Raises:
            InputError: ``seconds`` is not above 0.
        """
        if not seconds > 0:
            raise InputError(f"frames within {seconds} seconds", remedy="Give a number above 0.")
        names, originals, counts = list[Hashable](), list[tuple[str, str] | None](), list[int]()
        stretch = dict[tuple[str, str], Hashable]()
        for sample in samples:
            name = _name(sample, seconds)
            stretch[sample.root, sample.path] = name
            names.append(name)
            originals.append(sample.original)
            counts.append(len(sample.poses))
        numbers = dict[Hashable, int]()
        groups = [
            numbers.setdefault(name if file is None else stretch.get(file, file), len(numbers))
            for name, file in zip(names, originals, strict=True)
        ]
        return cls(np.repeat(np.array(groups, np.int64), counts), np.repeat(np.arange(len(counts)), counts))

    def deferred(self, ordered: Indices) -> NDArray[np.bool_]:
        """Which of (n,) rows come after a row of another image of their group."""
        groups, first, inverse = np.unique(self.group[ordered], return_index=True, return_inverse=True)
        leads = self.image[ordered][first] if len(groups) else self.image[:0]
        return self.image[ordered] != leads[inverse]


def _name(sample: Sample, seconds: float) -> Hashable:
    video, time = sample.attributes.get("video"), sample.attributes.get("time")
    if isinstance(video, str) and isinstance(time, int | float) and np.isfinite(time):
        return sample.attributes.get("video_root", sample.root), video, int(time // seconds)
    return sample.root, sample.path
