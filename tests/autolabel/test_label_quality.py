"""Labels that a sure network contradicts are found; what the network gets wrong by itself is not held against them."""

from typing import Any

import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.label_quality import Evidence, LabelQuality, combine, label_quality, possible_swaps
from autolabel.poses import Poses, Visibility
from autolabel.skeleton import Skeleton
from tests.autolabel.label_cases import LSP, people, seen

N, SPOILT = 200, 6
KNEE = LSP.index("left_knee")
ARM = [LSP.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("shoulder", "elbow", "wrist")]


def judged(poses: Poses, truth: Any, doubt: float = 0.0) -> LabelQuality:
    return label_quality(poses, seen(poses, truth, doubt=doubt), LSP)


def spoilt(change: Any) -> tuple[Poses, Any]:
    """People of whom the first few have a label that is changed, and where they really are."""
    right = people(N)
    xy = right.xy.copy()
    for i in range(SPOILT):
        xy[i] = change(xy[i].copy())
    return right.replace(xy=xy), right.xy


def moved(xy: Any) -> Any:
    xy[KNEE] += 60
    return xy


def mirrored(xy: Any) -> Any:
    return xy[list(LSP.flip)]


def arms_mirrored(xy: Any) -> Any:
    xy[ARM] = xy[list(LSP.flip)][ARM]
    return xy


def shifted(xy: Any) -> Any:
    return xy + np.array([45, -20])


@pytest.mark.parametrize("change", [moved, mirrored, arms_mirrored, shifted])
def test_spoilt_labels_are_the_worst_of_all(change: Any) -> None:
    quality = judged(*spoilt(change))
    assert quality.pose[:SPOILT].max() < 0.7
    assert quality.pose[SPOILT:].min() > 0.95
    assert ((quality.pose >= 0) & (quality.pose <= 1)).all()


def test_what_is_wrong_is_told_apart() -> None:
    knees = judged(*spoilt(moved))
    assert knees.misplaced[0].argmax() == KNEE
    assert knees.swapped[0].max() == 0
    whole, arms = judged(*spoilt(mirrored)), judged(*spoilt(arms_mirrored))
    assert whole.swaps[0].name == "left and right"
    assert whole.swapped[0, 0] > 0.5
    assert arms.swapped[0, 0] < 0.5 < arms.swapped[0, 1]
    assert whole.misplaced[0].max() == 0, "a swap explains it"
    assert judged(*spoilt(shifted)).shifted.tolist() == [i < SPOILT for i in range(N)]
    assert judged(*spoilt(shifted)).swapped.max() == 0


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05])
def test_the_share_of_wrong_labels_is_estimated(share: float) -> None:
    right = people(1_000)
    xy = right.xy.copy()
    wrong = np.random.default_rng(1).random(xy.shape[:2]) < share
    xy[wrong] += 70
    assert judged(right.replace(xy=xy), right.xy).floors["misplaced"] == pytest.approx(share, abs=0.005)


def test_a_network_that_doubts_itself_says_little_against_a_label() -> None:
    """Half of the answers are doubtful, and half of those are wrong; a few sure answers are contradicted."""
    right, rng = people(600), np.random.default_rng(2)
    doubtful = rng.random((600, 14)) < 0.5
    doubtful[:20] = False
    wrong = doubtful & (rng.random(doubtful.shape) < 0.5)
    truth = right.xy + 60.0 * wrong[..., None]
    sure, unsure = seen(right, truth), seen(right, truth, doubt=0.8)
    numbers = {name: np.where(doubtful, unsure[name], sure[name]) for name in sure.numbers}
    xy = right.xy.copy()
    xy[:20, KNEE] += 60
    label = right.replace(xy=xy)
    told = seen(label, truth)
    numbers |= {name: told[name] for name in ("level", "label_ks", "mirror_ks", "height")}
    quality = label_quality(label, Evidence(truth.astype(float), numbers), LSP)
    assert np.nanmin(quality.misplaced[:20, KNEE]) > np.nanmax(quality.misplaced[20:])
    assert quality.pose[:20].max() < np.quantile(quality.pose[20:], 0.05)
    # It agrees with three labels of four, and is not trusted fully.
    assert np.median(quality.misplaced[wrong]) < 0.15 < 0.3 < quality.misplaced[:20, KNEE].min()


def test_a_lost_network_is_not_held_against_the_label() -> None:
    """Where most keypoints disagree, and neither mirror nor shift helps, it is the network that is lost."""
    right, rng = people(N), np.random.default_rng(3)
    truth = right.xy.astype(float)
    lost = np.arange(20)
    truth[lost] += rng.uniform(-90, 90, truth[lost].shape)
    xy = right.xy.copy()
    xy[50, KNEE] += 60
    quality = judged(right.replace(xy=xy), truth)
    assert quality.pose.argmin() == 50


def test_missing_labels_are_found_only_where_labels_are_usual() -> None:
    right = people(N)
    visibility = right.visibility.copy()
    visibility[0, KNEE], visibility[1, KNEE] = Visibility.UNLABELLED, Visibility.ABSENT
    visibility[:, LSP.index("neck")] = Visibility.UNLABELLED
    quality = judged(right.replace(visibility=visibility), right.xy)
    assert quality.missing[1, KNEE] == pytest.approx(2 * quality.missing[0, KNEE])
    assert quality.missing[0, KNEE] > 0.05
    assert np.isnan(quality.missing[:, LSP.index("neck")]).all()
    assert quality.pose[2:].min() > 0.9


def test_two_networks_hold_against_a_label_only_what_both_do() -> None:
    right = people(N)
    xy = right.xy.copy()
    xy[0, KNEE] += 60
    label = right.replace(xy=xy)
    beside = right.xy.astype(float)
    beside[1, KNEE] += 60  # the second network errs about another label
    both = combine([seen(label, right.xy), seen(label, beside)], label, LSP)
    quality = label_quality(label, both, LSP)
    assert quality.pose.argmin() == 0
    assert quality.misplaced[1].max() == 0
    assert both["flip_ks"][1, KNEE] < 0.1 < both["flip_ks"][2, KNEE]
    first = seen(label, beside)
    assert combine([first], label, LSP) is first


def test_a_network_that_looked_at_half_of_the_poses_leaves_the_others_to_the_rest() -> None:
    right = people(4)
    whole, half = seen(right, right.xy), seen(right, right.xy)
    part = Evidence(
        np.where(np.arange(4)[:, None, None] < 2, half.xy, np.nan),
        {name: np.where(np.arange(4)[:, None] < 2, half[name], np.nan) for name in half.numbers},
    )
    together = combine([whole, part], right, LSP)
    for name in whole.numbers:
        assert np.array_equal(together[name][2:], whole[name][2:], equal_nan=True), name
    assert np.array_equal(combine([part, whole], right, LSP).xy, whole.xy)


def test_labels_equal_to_predictions_are_as_good_as_can_be() -> None:
    right = people(N)
    quality = judged(right, right.xy)
    assert quality.pose.tolist() == [1.0] * N
    assert quality.misplaced.max() == 0


@pytest.mark.parametrize(
    "skeleton",
    [
        Skeleton("one", ("nose",), (), (0,), (0.05,), "test"),
        Skeleton("pair", ("left_eye", "right_eye"), (), (1, 0), (0.05,) * 2, "test"),
    ],
)
def test_small_skeletons(skeleton: Skeleton) -> None:
    right = people(5, skeleton=skeleton)
    xy = right.xy.copy()
    xy[0] += 80
    quality = label_quality(right.replace(xy=xy), seen(right.replace(xy=xy), right.xy, skeleton), skeleton)
    assert quality.pose.argmin() == 0
    assert quality.swapped.shape == (5, len(skeleton.flip_pairs))


def test_one_pose() -> None:
    poses, truth = (people(1), people(1).xy + 60)
    assert 0 <= judged(poses, truth).pose[0] < 1


def test_poses_of_which_nothing_is_known_have_no_quality() -> None:
    right = people(4)
    visibility = right.visibility.copy()
    visibility[0] = Visibility.UNLABELLED
    label = right.replace(visibility=visibility)
    told = seen(label, right.xy)
    truth = told.xy.copy()
    truth[1] = np.nan
    numbers = {name: np.where(np.arange(4)[:, None] == 1, np.nan, values) for name, values in told.numbers.items()}
    quality = label_quality(label, Evidence(truth, numbers), LSP)
    assert np.isnan(quality.pose).tolist() == [True, True, False, False]


def test_bad_input_is_refused() -> None:
    right = people(2)
    nothing = right.replace(visibility=np.zeros((2, 14), np.uint8))
    with pytest.raises(InputError, match="no keypoint is labelled"):
        judged(nothing, right.xy)
    with pytest.raises(InputError, match="evidence of shape"):
        label_quality(right, seen(people(3), people(3).xy), LSP)
    with pytest.raises(InputError, match="no network"):
        combine([], right, LSP)


def test_swaps_of_a_skeleton() -> None:
    names = [swap.name for swap in possible_swaps(LSP)]
    assert names[:3] == ["left and right", "left and right arm", "left and right leg"]
    assert sorted(names[3:]) == sorted(
        f"left and right {j}" for j in ("ankle", "knee", "hip", "wrist", "elbow", "shoulder")
    )
    assert possible_swaps(Skeleton("one", ("nose",), (), (0,), (0.05,), "test")) == ()
