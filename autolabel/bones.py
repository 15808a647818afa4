"""Bones that are too long, judged by the other poses of the same manifest and by the pose's other side.

A bone seen at an angle looks shorter, never longer, so only what is too long speaks against a pose. Lengths are
compared as logs: each is what is usual for its bone, plus the pose's own size, plus what is left, and what is left has
a limit for each bone (:class:`BoneLengths`). A bone counts only as far as it is also longer than the same bone of the
other side, which nobody can have by being tall, near or measured by a wrong size.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autolabel.poses import Poses
from autolabel.skeleton import Skeleton

Floats = NDArray[np.float64]

FEWEST = 30
"""Lengths of a bone from which its limit is taken; with fewer it is ``DEFAULT_LIMIT``."""

DEFAULT_LIMIT = np.log(2.0)
"""How much longer than usual any bone may be, in nats, where too few poses tell."""

LEAST_LIMIT = np.log(1.25)
LIMIT_SPREADS = 4.0
"""A limit lies this many spreads (half of the poses within 0.67 of one, if normal) beyond the usual length, ..."""

MOST, BEYOND = 0.99, 0.1
"""... and where that is more, this many nats beyond what all but one in a hundred keep to: heads turn, legs do not."""

SIDE_RATIO = np.log(1.3)
"""How much longer than the other side's a bone may be before that counts, in nats."""


class BonePrior(Protocol):
    """Anything that knows how long bones may be."""

    def bones(self, poses: Poses) -> Floats:
        """(N, K) evidence that a bone at each keypoint is too long: positive where it is, NaN where nothing tells."""
        ...


@dataclass(frozen=True, eq=False)
class BoneLengths:
    """How long the bones of a manifest's poses are, in logs of their ratio to the pose's size.

    Attributes:
        edges: (B, 2) keypoints that each bone joins.
        partner: (B,) the same bone of the other side; itself where it has none.
        usual: (B,) median log length at size 0; NaN where no pose has the bone.
        limit: (B,) how much longer than usual it may be.
    """

    edges: NDArray[np.intp]
    partner: NDArray[np.intp]
    usual: Floats
    limit: Floats

    @classmethod
    def fit(cls, poses: Poses, skeleton: Skeleton) -> "BoneLengths":
        """Learn from poses of which most are right: medians and quartiles, which a few wrong ones do not move.

        Args:
            poses: Any number of them, also none.
            skeleton: Theirs.
        """
        edges = np.array(skeleton.edges, np.intp).reshape(-1, 2)
        partner = _partners(skeleton)
        lengths = _log_lengths(poses, edges)
        usual = _median(lengths - _median(lengths, axis=1)[:, None], axis=0)
        for _ in range(2):  # sizes by the bones that a pose has, then bones by the sizes; this settles at once
            usual = _median(lengths - _median(lengths - usual, axis=1)[:, None], axis=0)
        rest = lengths - _median(lengths - usual, axis=1)[:, None] - usual
        known = np.isfinite(rest).sum(axis=0)
        upper = _quantile(rest, 0.75, axis=0)
        spread = LIMIT_SPREADS * upper / 0.6745
        rare = np.fmin(_quantile(rest, MOST, axis=0) + BEYOND, 2 * spread)  # unless faults are not rare
        told = np.fmax(np.fmax(spread, rare), LEAST_LIMIT)
        limit = np.where(known >= FEWEST, told, DEFAULT_LIMIT)
        return cls(edges, partner, usual, limit)

    def bones(self, poses: Poses) -> Floats:
        """(N, K) by how many nats the longest bone at each keypoint exceeds its limit; see :class:`BonePrior`.

        A keypoint of several bones that are all too long is the one that is in the wrong place, so its excesses add
        up; the other ends have one each.
        """
        lengths = _log_lengths(poses, self.edges)
        rest = lengths - _median(lengths - self.usual, axis=1)[:, None] - self.usual
        excess = rest - self.limit
        sided = self.partner != np.arange(len(self.partner))
        beyond = np.where(sided, lengths - lengths[:, self.partner] - SIDE_RATIO, np.inf)
        excess = np.where(np.isnan(beyond), excess, np.minimum(excess, beyond))
        at = np.zeros((len(self.edges), poses.num_keypoints))
        np.put_along_axis(at, self.edges, 1.0, axis=1)
        known = np.isfinite(excess)
        long = np.where(known, np.maximum(excess, 0.0), 0.0) @ at
        return np.where(known.astype(float) @ at > 0, long, np.nan)


def _partners(skeleton: Skeleton) -> NDArray[np.intp]:
    """(B,) row of the mirrored edge, the row itself where there is none."""
    row = {frozenset(edge): i for i, edge in enumerate(skeleton.edges)}
    flip = skeleton.flip
    partner = [row.get(frozenset((flip[a], flip[b])), i) for i, (a, b) in enumerate(skeleton.edges)]
    return np.array(partner, np.intp)


def _log_lengths(poses: Poses, edges: NDArray[np.intp]) -> Floats:
    """(N, B) log of each bone's length in pixels, one pixel at least; NaN where an end is not labelled."""
    xy = np.where(poses.labelled[..., None], poses.xy.astype(np.float64), np.nan)
    return np.log(np.maximum(np.linalg.norm(xy[:, edges[:, 0]] - xy[:, edges[:, 1]], axis=-1), 1.0))


def _median(values: Floats, axis: int) -> Floats:
    return _quantile(values, 0.5, axis)


def _quantile(values: Floats, q: float, axis: int) -> Floats:
    """The nearest value to a quantile of what is known along an axis of a matrix, NaN where nothing is."""
    rows = np.moveaxis(values, axis, 0)
    if not len(rows):
        return np.full(rows.shape[1], np.nan)
    known = np.isfinite(rows).sum(axis=0, dtype=np.int64)
    place = np.rint(q * np.maximum(known - 1, 0)).astype(np.intp)
    return np.sort(rows, axis=0)[place, np.arange(rows.shape[1])]  # unknown ones are last
