"""How the promise fares in the parts of a population: a report, not a promise.

A certificate is about all accepted poses together; some of them can hold a larger share of bad ones. The audit is
uniform, so that its part in any stratum that was fixed before the draw is a uniform draw from that stratum, and limits
the bad share there as exactly as the whole. Each limit holds at its own confidence and none of them decides anything:
with many strata, one or another is wrong. What a stratum's few audited poses do not rule out is large, and shown so.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.bounds import residual_bound

TRUNCATED, SMALL, CROWDED, GROUP = "truncated", "small", "crowded", "group: "
"""Box touches the image's edge; of the smallest quarter of the boxes; image with several poses; image's group."""

MAX_GROUPS = 20
"""More groups than this are no strata: each would hold too few audited poses."""

SMALL_SHARE = 0.25
_EDGE = 1.0

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Stratum:
    """What the audit found in one part of the certified poses.

    Attributes:
        name: What its poses have in common.
        size: How many of them were accepted.
        audited: How many of these were audited.
        bad: How many of these were bad.
        bound: Upper limit of the bad share after the audit's corrections, at the certificate's confidence for this
            stratum alone.
    """

    name: str
    size: int
    audited: int
    bad: int
    bound: float


def strata_of(
    box: ArrayLike, image_size: ArrayLike, poses_in_image: ArrayLike, group: ArrayLike, first: int | None = None
) -> dict[str, Bools]:
    """Which certified poses belong to which stratum; strata that hold none or all of them are left out.

    What is small, and which groups there are, is decided among all N poses that the audit was drawn from: which of
    them are certified depends on the answers, and a stratum may not.

    Args:
        box: (N, 4) xyxy pixels; a pose without a box (NaN) is neither truncated nor small.
        image_size: (N, 2) width and height of each pose's image.
        poses_in_image: (N,) how many poses its image has.
        group: (N,) the group of its image, "" where it has none.
        first: How many of them, from the first, are certified; all of them where it is not given.

    Returns:
        (first,) masks by name.
    """
    boxes, sizes, groups = np.asarray(box, np.float64), np.asarray(image_size, np.float64), np.asarray(group, object)
    # Pixel centres are at integers: an image's edges lie half a pixel outside its first and last ones.
    outside = np.concatenate([boxes[:, :2] < _EDGE - 0.5, boxes[:, 2:] > sizes - 0.5 - _EDGE], axis=1)
    touches = np.asarray(outside.any(axis=1), bool)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    known = area[np.isfinite(area)]
    small = np.asarray(area <= (np.quantile(known, SMALL_SHARE) if len(known) else -1.0), bool)
    crowded = np.asarray(poses_in_image) > 1
    found: dict[str, Bools] = {TRUNCATED: touches, SMALL: small, CROWDED: crowded}
    names: list[str] = sorted({name for name in groups.tolist() if name})
    if len(names) <= MAX_GROUPS:
        found |= {GROUP + name: np.asarray(groups == name, bool) for name in names}
    inside = {name: chosen[:first] for name, chosen in found.items()}
    return {name: chosen for name, chosen in inside.items() if chosen.any() and not chosen.all()}


def report(
    strata: Mapping[str, Bools],
    audited: NDArray[np.integer],
    bad: Bools,
    corrected: Bools,
    rejected: Bools,
    *,
    confidence: float,
    sensitivity: float = 1.0,
) -> tuple[Stratum, ...]:
    """What the audit found in each stratum.

    Args:
        strata: (N,) masks over the certified poses, by name.
        audited: (m,) rows of the audited ones.
        bad: (m,) found bad.
        corrected: (m,) of these, put right or thrown out.
        rejected: (m,) of these, thrown out.
        confidence: 1 - δ, of each limit alone.
        sensitivity: Lower limit of the probability that a reviewer sees a bad pose.
    """
    made: list[Stratum] = []
    for name, members in strata.items():
        here, size = members[audited], int(members.sum())
        m, k, c, r = (int(mask.sum()) for mask in (here, here & bad, here & corrected, here & rejected))
        bound = residual_bound(k, m, size, confidence, rejected=r, corrected=c, sensitivity=sensitivity)
        made.append(Stratum(name, size, m, k, bound))
    return tuple(made)
