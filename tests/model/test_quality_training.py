"""The quality head learns what planted errors look like, on poses of which it is asked out of fold."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.similarity import keypoint_similarity
from autolabel.skeleton import Skeleton
from model.quality_lesson import CheckedPoses
from model.quality_training import TrainedQuality, group_folds, train_quality
from tests.doubles import Recorder
from tests.model.toy_poses import toy_poses

ARM = Skeleton("arm", ("nose", "left", "right", "tip"), (), (0, 2, 1, 3), (0.08,) * 4, "test")
DOT = Skeleton("dot", ("dot",), (), (0,), (0.1,), "test")


def auroc(score: NDArray[Any], positive: NDArray[Any]) -> float:
    rank = np.argsort(np.argsort(score)) + 1.0
    n, p = len(score), int(positive.sum())
    return float((rank[positive].sum() - p * (p + 1) / 2) / (p * (n - p)))


@pytest.fixture(scope="module")
def learnt() -> tuple[CheckedPoses, TrainedQuality]:
    poses = toy_poses(ARM, 200, width=6)
    return poses, train_quality(poses, ARM, folds=2, steps=250)


def test_out_of_fold_it_tells_wrong_places_from_right_ones(learnt: tuple[CheckedPoses, TrainedQuality]) -> None:
    poses, trained = learnt
    ks, gross, bad = (answers.numpy() for answers in trained.said)
    true = keypoint_similarity(poses.predicted, poses.truth, poses.area, ARM.sigmas)
    assert auroc(gross.ravel(), poses.gross.ravel()) > 0.9
    assert auroc(bad, poses.bad) > 0.85
    assert np.corrcoef(ks.ravel(), true.ravel())[0, 1] > 0.7
    for answers in (ks, gross, bad):
        assert np.isfinite(answers).all()
        assert answers.min() >= 0
        assert answers.max() <= 1
    assert trained.folds == 2
    assert not trained.head.training


def test_the_seed_decides() -> None:
    poses = toy_poses(ARM, 20, width=6)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, same, other = (train_quality(poses, ARM, folds=2, seed=seed, steps=5) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before), "nobody else's random numbers change"
    for name, tensor in one.head.state_dict().items():
        assert torch.equal(tensor, same.head.state_dict()[name]), name
    assert torch.equal(one.said.ks, same.said.ks)
    assert not torch.equal(one.said.ks, other.said.ks)


def test_without_a_teacher_heads_are_what_they_were() -> None:
    """The numbers that came out before heads could be taught; on the machine that made them the same to the bit."""
    trained = train_quality(toy_poses(ARM, 20, width=6), ARM, folds=2, seed=3, steps=5)
    old = [0.39507418870925903, 0.40370434522628784, 0.39678627252578735, 0.3996999263763428]
    assert trained.said.bad[:4].tolist() == pytest.approx(old, rel=1e-5)
    assert trained.head.read.weight.sum().item() == pytest.approx(2.352672216773499, rel=1e-5)


def test_what_is_said_of_a_fold_does_not_come_from_its_own_truth() -> None:
    """With other truths in a fold, its own answers stay, and the other fold's change."""
    poses = toy_poses(ARM, 20, width=6)
    fold = group_folds(poses.group, 2, 0)
    lying = replace(poses, truth=np.where((fold == 0)[:, None, None], poses.truth[:, ::-1], poses.truth))
    honest, lied = (train_quality(one, ARM, folds=2, steps=5).said.gross.numpy() for one in (poses, lying))
    assert np.array_equal(honest[fold == 0], lied[fold == 0])
    assert not np.array_equal(honest[fold == 1], lied[fold == 1])


def test_the_encoder_s_features_get_no_gradient(learnt: tuple[CheckedPoses, TrainedQuality]) -> None:
    poses, trained = learnt
    features = poses.looks.features[:2].float().requires_grad_()
    at = torch.full((2, 1, 4, 2), 0.5)
    sum(answer.sum() for answer in trained.head(features, at, poses.looks.size[:2])).backward()  # type: ignore[union-attr]
    assert features.grad is None
    assert trained.head.read.weight.grad is not None


def same(poses: CheckedPoses) -> CheckedPoses:
    return poses


def one_image(poses: CheckedPoses) -> CheckedPoses:
    return replace(poses, group=np.full(len(poses), "a", object))


def nothing_predicted_of_some(poses: CheckedPoses) -> CheckedPoses:
    predicted = poses.predicted.copy()
    predicted[:3] = np.nan
    return replace(poses, predicted=predicted)


def absent(poses: CheckedPoses) -> CheckedPoses:
    return replace(poses, truth=np.full_like(poses.truth, np.nan))


def strangers(poses: CheckedPoses) -> CheckedPoses:
    """Some poses are nobody's."""
    strange = np.arange(len(poses)) < 4
    return replace(
        poses,
        truth=np.where(strange[:, None, None], np.nan, poses.truth),
        area=np.where(strange, np.nan, poses.area),
        scored=poses.scored & ~strange[:, None],
        bad=poses.bad | strange,
    )


@pytest.mark.parametrize("skeleton", [ARM, DOT])
@pytest.mark.parametrize("errors", [0.0, 1.0])  # all good, and not
@pytest.mark.parametrize("change", [same, one_image, nothing_predicted_of_some, absent, strangers])
def test_odd_poses_do_no_harm(change: Any, errors: float, skeleton: Skeleton) -> None:
    poses = change(toy_poses(skeleton, 12, width=6, errors=errors))
    trained = train_quality(poses, skeleton, steps=3, folds=3)
    assert all(tensor.isfinite().all() for tensor in trained.head.state_dict().values())
    said = np.isfinite(poses.predicted).all(axis=-1) & (change is not one_image)
    assert np.array_equal(np.isfinite(trained.said.gross.numpy()), said)
    assert np.array_equal(np.isfinite(trained.said.bad.numpy()), said.any(axis=1))
    assert trained.folds == (0 if change is one_image else 3)


def test_progress_tells_all_steps() -> None:
    recorder = Recorder()
    train_quality(toy_poses(DOT, 6, width=4), DOT, steps=2, folds=3, progress=recorder)
    assert recorder.totals == {"quality": 8}
    assert recorder.done == 8


@pytest.mark.parametrize("field", ["scored", "predicted"])
def test_nothing_to_learn_from_is_told(field: str) -> None:
    poses = toy_poses(DOT, 4, width=4)
    nothing = np.zeros_like(poses.scored) if field == "scored" else np.full_like(poses.predicted, np.nan)
    with pytest.raises(InputError, match="nothing to learn"):
        train_quality(replace(poses, **{field: nothing}), DOT)


def test_no_poses_are_nothing_to_learn_from() -> None:
    with pytest.raises(InputError, match="nothing to learn"):
        train_quality(toy_poses(DOT, 0, width=4), DOT)


@pytest.mark.parametrize(("groups", "folds", "expected"), [(10, 5, 5), (3, 5, 3), (1, 5, 1)])
def test_groups_stay_together_and_folds_are_even(groups: int, folds: int, expected: int) -> None:
    group = np.array([f"g{i % groups}" for i in range(40)], object)
    fold = group_folds(group, folds, 0)
    assert all(len(set(fold[group == name])) == 1 for name in set(group))
    sizes = np.bincount(fold)
    assert len(sizes) == expected
    assert sizes.max() - sizes.min() <= 40 // groups + 1
