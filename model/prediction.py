"""What a network says about boxes: places, probabilities, and the numbers that scores are made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEATURES = ("peak",)
FLIP_FEATURES = ("peak", "flip_peak", "flip_ks", "swap_ks")
HEAD_FEATURES = ("presence", "visible")
LARGER_FEATURES = ("again",)
"""Names of the features: without and with a flip test, what a presence head adds, and what larger crops add."""


@dataclass(frozen=True)
class Prediction:
    """What the network says about N boxes.

    Attributes:
        xy: (N, K, 2) float32, full-image pixels.
        score: (N, K) float32, the height of the heatmap's peak.
        presence: (N, K) float32, the probability that the keypoint lies inside the image; NaN without a presence head.
        visible: (N, K) float32, the probability that it is visible, given that it lies inside; NaN without one.
        again: (N,) bool, people who were looked at again, in a larger crop or as a part of a whole person.
        features: Numbers a pose for the score model: ``peak`` (N, K); with a flip test also ``flip_ks`` (N, K), the
            similarity of what the image and its mirror image say, ``flip_peak`` (N, K), the lower of the two peaks,
            and ``swap_ks`` (N, K), the similarity with the mirror image's answer for the other side; with a presence
            head also ``presence`` and ``visible``. With larger crops also ``again`` (N,), 1 for people who were
            looked at again and 0 for others.
    """

    xy: NDArray[np.float32]
    score: NDArray[np.float32]
    presence: NDArray[np.float32]
    visible: NDArray[np.float32]
    again: NDArray[np.bool_]
    features: Mapping[str, NDArray[np.float32]]


def concatenated(parts: Sequence[Prediction]) -> Prediction:
    """Rows of all of them, one after the other; there is one at least."""
    features = {name: np.concatenate([part.features[name] for part in parts]) for name in parts[0].features}
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("xy", "score", "presence", "visible", "again")
    }
    return Prediction(**arrays, features=features)
