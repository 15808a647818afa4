"""What a student's quality head learns from its teacher's, about people whom nobody checked."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autolabel.errors import InputError, SkeletonError
from autolabel.skeleton import Skeleton
from model.crop import apply
from model.heads import QualityHead
from model.quality import Quality, judge
from model.quality_lesson import CheckedPoses
from model.quality_looks import Looks
from model.quality_taught import TaughtPoses, taught_lesson
from model.quality_training import train_quality
from tests.model.toy_poses import toy_poses

ARM = Skeleton("arm", ("nose", "left", "right", "tip"), (), (0, 2, 1, 3), (0.08,) * 4, "test")
CPU = torch.device("cpu")
ITS_WIDTH, WIDTH, BLUR = 6, 8, 0.3
"""Channels of the teacher and of the student, and the noise in which the student sees."""


def alone(poses: CheckedPoses) -> CheckedPoses:
    """In one group, so that no heads for folds are trained."""
    return replace(poses, group=np.full(len(poses), "a", object))


def taught_by(teacher: QualityHead, count: int, seed: int) -> TaughtPoses:
    """People as a student and a sharper teacher see them; the teacher puts their keypoints a pixel off."""
    own, its = (
        toy_poses(ARM, count, seed=seed, width=width, noise=noise) for width, noise in ((WIDTH, BLUR), (ITS_WIDTH, 0.1))
    )
    places = own.truth + np.random.default_rng(5).normal(0, 1, own.truth.shape)
    return TaughtPoses(own.looks, own.predicted, teacher, its.looks, places, own.area, own.neighbours)


def fresh() -> QualityHead:
    torch.manual_seed(0)
    return QualityHead(ITS_WIDTH, ARM.num_keypoints)


def said(head: QualityHead, looks: Looks, places: NDArray[np.float64]) -> Quality:
    return judge(head, looks.features, apply(looks.to_crop, torch.from_numpy(places)), looks.size)


def brier(said: torch.Tensor, true: NDArray[Any]) -> float:
    return float(((said.numpy() - true) ** 2).mean())


def test_a_teacher_makes_up_for_poses_that_nobody_checked() -> None:
    """With 16 checked poses, 150 people whom a teacher judges teach a blurred student more than nobody does."""
    teacher = train_quality(alone(toy_poses(ARM, 200, seed=1, width=ITS_WIDTH)), ARM, steps=200).head
    few, test = (alone(toy_poses(ARM, n, seed=s, width=WIDTH, noise=BLUR)) for n, s in ((16, 20), (200, 9)))
    heads = [
        train_quality(few, ARM, steps=150, taught=taught).head
        for taught in (None, taught_by(teacher, count=150, seed=50))
    ]
    without, taught = (said(head, test.looks, test.predicted) for head in heads)
    assert brier(taught.gross, test.gross) < 0.9 * brier(without.gross, test.gross)
    assert brier(taught.bad, test.bad) < 0.6 * brier(without.bad, test.bad)


def test_the_lesson_is_the_teachers_word_about_the_students_places() -> None:
    poses = taught_by(fresh().eval(), 24, seed=2)
    rows = np.arange(1, 24, 2)
    lesson = taught_lesson(poses, rows, ARM, np.random.default_rng(0), CPU)
    whole = said(poses.teacher, poses.seen, poses.predicted)
    torch.testing.assert_close(lesson.ks[:, 0], whole.ks[rows])
    torch.testing.assert_close(lesson.gross[:, 0], whole.gross[rows])
    torch.testing.assert_close(lesson.bad[:, 0], whole.bad[rows])
    own = apply(poses.looks.to_crop[torch.from_numpy(rows)], torch.from_numpy(poses.predicted[rows]))
    torch.testing.assert_close(lesson.at[:, 0], own)
    assert not torch.equal(lesson.at[:, 1], own), "errors are planted"
    assert not torch.equal(lesson.ks[:, 1], lesson.ks[:, 0]), "and are judged as such"
    assert (lesson.of_poses > 0).all()
    same = taught_lesson(poses, rows, ARM, np.random.default_rng(0), CPU)
    assert torch.equal(lesson.at, same.at)


def test_a_teacher_in_training_does_not_guess() -> None:
    """Dropout is off when it judges, whatever mode it came in."""
    poses = taught_by(fresh().train(), 6, seed=2)
    one, same = (taught_lesson(poses, np.arange(6), ARM, np.random.default_rng(0), CPU) for _ in range(2))
    assert torch.equal(one.bad, same.bad)


def test_what_is_not_said_is_not_judged() -> None:
    poses = taught_by(fresh(), 4, seed=2)
    predicted = poses.predicted.copy()
    predicted[0], predicted[1, 2] = np.nan, np.nan
    nowhere = np.full_like(predicted, np.nan)
    poses = replace(poses, predicted=predicted, places=nowhere, neighbours=nowhere)
    lesson = taught_lesson(poses, np.arange(4), ARM, np.random.default_rng(0), CPU)
    for values in (lesson.ks, lesson.gross, lesson.bad):
        assert values.isfinite().all()
    assert not lesson.of_places[0].any() and not lesson.of_poses[0].any()
    assert lesson.of_places[1, 0].tolist() == [1, 1, 0, 1]
    assert torch.equal(lesson.at[2, 1], lesson.at[2, 0]), "nothing is planted where the teacher knows no place"
    trained = train_quality(alone(toy_poses(ARM, 6, width=WIDTH)), ARM, steps=2, taught=poses)
    assert all(tensor.isfinite().all() for tensor in trained.head.state_dict().values())


def test_the_heads_of_all_folds_learn_from_a_teacher() -> None:
    checked = toy_poses(ARM, 12, width=WIDTH)
    without, taught, again = (
        train_quality(checked, ARM, steps=3, folds=2, taught=poses)
        for poses in (None, taught_by(fresh(), 8, seed=2), taught_by(fresh(), 8, seed=2))
    )
    assert taught.folds == 2
    assert (taught.said.bad != without.said.bad).all()
    assert torch.equal(taught.said.bad, again.said.bad), "the seed decides"


def test_a_teacher_of_nobody_changes_nothing() -> None:
    checked = toy_poses(ARM, 12, width=WIDTH)
    without, nobody = (
        train_quality(checked, ARM, steps=3, folds=2, taught=poses) for poses in (None, taught_by(fresh(), 0, seed=2))
    )
    assert all(torch.equal(a, b) for a, b in zip(without.said, nobody.said, strict=True))


def less(looks: Looks) -> Looks:
    return Looks(looks.features[1:], looks.to_crop[1:], looks.size[1:])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda p: {"teacher": QualityHead(ITS_WIDTH, 3)}, SkeletonError, "judges 3 keypoints, and the student says 4"),
        (lambda p: {"teacher": QualityHead(WIDTH, 4)}, InputError, "reads features of 8 channels, and these have 6"),
        (lambda p: {"places": p.places[1:]}, InputError, r"of 5 poses \(5, 4, 2\), places are \(4, 4, 2\)"),
        (lambda p: {"neighbours": p.neighbours[:, 1:]}, InputError, r"neighbours \(5, 3, 2\)"),
        (lambda p: {"area": p.area[1:]}, InputError, "areas 4"),
        (lambda p: {"seen": less(p.seen)}, InputError, "looks 5 and 4"),
    ],
)
def test_what_does_not_belong_together_is_refused(change: Any, error: type[Exception], message: str) -> None:
    poses = taught_by(fresh(), 5, seed=2)
    with pytest.raises(error, match=message):
        replace(poses, **change(poses))


def test_poses_of_other_keypoints_than_the_checked_ones_are_refused() -> None:
    dot = Skeleton("dot", ("dot",), (), (0,), (0.1,), "test")
    with pytest.raises(SkeletonError, match="have 4 keypoints, the checked ones 1"):
        train_quality(toy_poses(dot, 4, width=WIDTH), dot, steps=1, taught=taught_by(fresh(), 5, seed=2))
