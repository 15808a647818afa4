"""How the poses of a manifest were predicted, also where nobody wrote it down."""

import numpy as np

from autolabel.manifest import Manifest
from autolabel.prediction_record import Predicted


def predicted_how(manifest: Manifest) -> Predicted:
    """What ``predict`` recorded; of a manifest without a record, what its poses and features give away."""
    if (recorded := Predicted.read(manifest.path)) is not None:
        return recorded
    names, model = frozenset[str](), ""
    for i in range(manifest.num_parts):
        poses, features = manifest.poses(i), manifest.features(i)
        said = np.isfinite(poses.score).any(axis=1) | (poses.by != "")
        if features and said.any():
            names, model = frozenset(features), str(poses.by[said][0])
            break
    return Predicted(
        model=model, flip_test="flip_ks" in names, larger_crop="again" in names, jitter="jitter_ks" in names
    )
