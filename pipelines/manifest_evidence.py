"""Evidence about poses that no network computes: conflicts between neighbours, and another manifest's opinion.

It is computed part by part wherever poses are scored or checked, and joins the features under the names ``conflict``
and ``against``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.disagreement import against
from autolabel.evidence import image_of_each
from autolabel.neighbours import conflicts
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from pipelines.second_opinion import SecondOpinion

Features = dict[str, NDArray[Any]]


def with_evidence(
    samples: Sequence[Sample],
    features: Mapping[str, NDArray[Any]],
    skeleton: Skeleton,
    second: SecondOpinion | None = None,
) -> Features:
    """The features of a part's poses, and with them ``conflict`` (N, K) and, given a second opinion, ``against``.

    What an earlier second opinion said is forgotten.
    """
    poses = Poses.concat([Poses.empty(skeleton.num_keypoints), *(sample.poses for sample in samples)])
    found: Features = {name: values for name, values in features.items() if name != "against"}
    images = image_of_each([len(sample.poses) for sample in samples])
    found["conflict"] = conflicts(poses, images, skeleton).astype(np.float32)
    if second is not None:
        other, _ = second.of(list(samples))
        found["against"] = against(poses, other, skeleton, np.arange(len(poses))).astype(np.float32)
    return found


def image_sizes(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """(N, 2) width and height of the image of each pose of the samples, in order."""
    sizes = np.array([sample.size for sample in samples], np.float64).reshape(-1, 2)
    return np.repeat(sizes, [len(sample.poses) for sample in samples], axis=0)
