"""What a network says about boxes: places, probabilities, and the numbers that scores are made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.heatmap_doubt import Doubt

FEATURES = ("peak", *Doubt._fields)
FLIP_FEATURES = ("flip_peak", "flip_ks", "swap_ks")
HEAD_FEATURES = ("presence", "visible")
JITTER_FEATURES = ("jitter_ks", "jitter_peak")
QUALITY_FEATURES = ("quality_ks", "quality_gross")
"""Names of the features of a keypoint (N, K): always, and what a flip test, a presence head, jitter and a quality head
add."""

POSE_FEATURES = ("size", "edge", "outside")
LARGER_FEATURES = ("again",)
POSE_QUALITY = "quality_bad"
"""Names of the features of a pose (N,): always, and what larger crops and a quality head add."""

EMBEDDING = "embedding"
"""Name of the feature that is (N, D): the encoder's features, pooled."""


@dataclass(frozen=True)
class Prediction:
    """What the network says about N boxes.

    Attributes:
        xy: (N, K, 2) float32, full-image pixels.
        score: (N, K) float32, the height of the heatmap's peak.
        presence: (N, K) float32, the probability that the keypoint lies inside the image; NaN without a presence head.
        visible: (N, K) float32, the probability that it is visible, given that it lies inside; NaN without one.
        again: (N,) bool, people who were looked at again, in a larger crop or as a part of a whole person.
        features: Numbers a pose for the score model, float32, NaN where one is not known. ``docs/data-model.md`` lists
            them, under *Features*, with what each says and when it is there.
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


def nothing(num_keypoints: int, features: Sequence[str], width: int = 0) -> Prediction:
    """What there is to say about no boxes: every array of a prediction, with no rows.

    Args:
        num_keypoints: K.
        features: Names of the features.
        width: D of the embedding, where it is among them.
    """
    none = np.zeros((0, num_keypoints), np.float32)
    of_a_pose = dict.fromkeys((*POSE_FEATURES, *LARGER_FEATURES, POSE_QUALITY), none[:, 0])
    other = {**of_a_pose, EMBEDDING: np.zeros((0, width), np.float32)}
    return Prediction(
        xy=np.zeros((*none.shape, 2), np.float32),
        score=none,
        presence=none,
        visible=none,
        again=np.zeros(0, bool),
        features={name: other.get(name, none) for name in features},
    )
