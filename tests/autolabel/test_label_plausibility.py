"""Labels that no body has."""

import numpy as np

from autolabel.label_plausibility import implausible
from autolabel.poses import Poses, Visibility
from tests.autolabel.label_cases import LSP, people


def test_a_knee_at_the_shoulder_is_unlike_any_body() -> None:
    poses = people(200)
    xy = poses.xy.copy()
    knee, shoulder = LSP.index("left_knee"), LSP.index("left_shoulder")
    xy[0, knee] = xy[0, shoulder] + (10, -60)
    found = implausible(poses.replace(xy=xy), LSP)
    assert found[0, knee] > 0.95
    assert found[1:].max() < found[0, knee]
    assert (found[1:] > 0.5).mean() < 0.01
    assert np.median(found[1:]) == 0


def test_what_is_not_labelled_is_not_suspected_and_few_labels_say_nothing() -> None:
    poses = people(200)
    visibility = poses.visibility.copy()
    visibility[:, 3] = Visibility.UNLABELLED
    assert (implausible(poses.replace(visibility=visibility), LSP)[:, 3] == 0).all()
    assert (implausible(people(5), LSP) == 0).all()
    assert implausible(Poses.empty(14), LSP).shape == (0, 14)
