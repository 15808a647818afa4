"""People of whom a network is neither sure nor unsure, looked at again in slightly other crops.

Who gets a little more or less of the image around them, or stands a little to the side, is the same person; where the
answer moves with the crop, it was never read off the person. That finds boxes that are wrong, people whom the image
cuts and neighbours who were taken for them (``confidence.md`` 2.4), but it costs a network's pass a look. So only the
uncertain middle is looked at again: the surely right need it as little as the hopeless, whom a person will see anyway.

The looks are the same for everybody and hold no random number, so that the same pose gets the same answer.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from autolabel.similarity import MASK_SHARE, keypoint_similarity

MIDDLE = (0.25, 0.8)
"""Whose mean peak lies between these is looked at again.

A network that is off by a Gaussian of spread e draws peaks of s² / (s² + e²), where s is the spread of its targets
(CCNet, Gu et al., ICML 2024, arXiv 2311.17105). So a mean of 0.8 is half a target's spread, one cell of a heatmap: even
eyes are then rarely gross. And 0.25 is more than three cells: too far for most keypoints, whatever else the looks say.
"""

LOOKS = ((0.9, 0.04, -0.04), (1.1, -0.04, 0.04))
"""Every look: the box's scale, and its shift right and down as shares of its width and height.

Two scales of a tenth, and shifts that detectors of a box IoU of 0.9 make.
"""


def uncertain(peak: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(N,) who is to be looked at again, of people whose keypoints have peaks (N, K); NaN ones do not count."""
    known = np.isfinite(peak)
    mean = np.where(known, peak, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    low, high = MIDDLE
    return (mean > low) & (mean < high)


def jittered(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, L, 4) the boxes of the looks at people in boxes (N, 4); a side below a pixel counts as a pixel."""
    scale, shift = (np.array([look[part] for look in LOOKS]) for part in (slice(0, 1), slice(1, 3)))
    side = np.maximum(box[:, 2:] - box[:, :2], 1.0)[:, None]
    centre = ((box[:, :2] + box[:, 2:]) / 2)[:, None] + shift * side
    return np.concatenate([centre - scale * side / 2, centre + scale * side / 2], axis=2)


def steadiness(
    xy: NDArray[np.float32],
    peak: NDArray[np.float32],
    looks_xy: NDArray[np.float32],
    looks_peak: NDArray[np.float32],
    *,
    box: NDArray[np.float64],
    sigmas: tuple[float, ...],
) -> Mapping[str, NDArray[np.float32]]:
    """How far N people's keypoints stay where they are: ``jitter_ks`` and ``jitter_peak``, both (N, K).

    Args:
        xy: (N, K, 2) first places, full-image pixels.
        peak: (N, K) their peaks.
        looks_xy: (N, L, K, 2) what the looks say.
        looks_peak: (N, L, K) their peaks.
        box: (N, 4) what similarity is measured by.
        sigmas: K of them.

    Returns:
        The mean similarity of the first places with the looks', NaN where there is no first place; and the lowest peak
        of all looks, the first among them.
    """
    area = MASK_SHARE * (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    ks = keypoint_similarity(looks_xy, xy[:, None], area[:, None], sigmas).mean(axis=1)
    lowest = np.minimum(peak, looks_peak.min(axis=1))
    return {"jitter_ks": ks.astype(np.float32), "jitter_peak": lowest.astype(np.float32)}


def unlooked(shape: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
    """``jitter_ks`` and ``jitter_peak`` (N, K) of people who were not looked at again: NaN."""
    return {name: np.full(shape, np.nan, np.float32) for name in ("jitter_ks", "jitter_peak")}
