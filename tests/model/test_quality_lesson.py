"""What a quality head learns from in a step: places as they were said, planted errors, and what each deserves."""

import numpy as np
import torch

from autolabel.similarity import keypoint_similarity
from autolabel.skeleton import Skeleton
from model.heads import QualityHead
from model.quality_lesson import PLANTED, PLANTED_WEIGHT, checked_lesson, lesson_loss, with_planted
from tests.model.toy_poses import toy_poses

ARM = Skeleton("arm", ("nose", "left", "right", "tip"), (), (0, 2, 1, 3), (0.08,) * 4, "test")
N, WIDTH = 40, 6


def test_errors_are_planted_beside_what_was_said() -> None:
    poses = toy_poses(ARM, N, width=WIDTH, errors=0.0)
    truth = poses.truth.copy()
    truth[0] = np.nan
    said = truth + 1
    said[0] = 7.0
    xy = with_planted(said, truth, poses.area, poses.neighbours, ARM, np.random.default_rng(0))
    assert xy.shape == (N, 1 + PLANTED, 4, 2)
    assert np.array_equal(xy[:, 0], said)
    assert (xy[0] == 7.0).all(), "nothing departs from a truth that nobody knows"
    moved = (xy[:, 1:] != said[:, None]).any(axis=-1)
    assert 0.05 < moved[1:].mean() < 0.4
    assert (moved[:, 0] != moved[:, 1]).any(), "each time others"


def test_checked_places_deserve_what_their_similarity_is() -> None:
    poses = toy_poses(ARM, N, width=WIDTH)
    rows = np.array([3, 5, 8])
    lesson = checked_lesson(poses, rows, ARM, np.random.default_rng(0))
    ks = keypoint_similarity(poses.predicted[rows], poses.truth[rows], poses.area[rows], ARM.sigmas)
    np.testing.assert_allclose(lesson.ks[:, 0].numpy(), ks, rtol=1e-6)
    assert np.array_equal(lesson.gross[:, 0].numpy() > 0, poses.gross[rows])
    assert np.array_equal(lesson.bad[:, 0].numpy() > 0, poses.bad[rows])
    assert lesson.of_poses[0].tolist() == [1.0] + [PLANTED_WEIGHT] * PLANTED


def test_weights_of_nothing_give_no_loss_and_certain_answers_none() -> None:
    poses, rows = toy_poses(ARM, N, width=WIDTH), np.arange(3)
    torch.manual_seed(0)
    head = QualityHead(WIDTH, 4).eval()
    lesson = checked_lesson(poses, rows, ARM, np.random.default_rng(0))
    cpu = torch.device("cpu")
    assert lesson_loss(head, poses.looks, rows, lesson, cpu).item() > 0.5
    for weights in (lesson.of_similarities, lesson.of_places, lesson.of_poses):
        weights.zero_()
    assert lesson_loss(head, poses.looks, rows, lesson, cpu).item() == 0
