"""Second poses on one person: which of two is set aside, and that neighbours are left alone."""

import numpy as np

from autolabel.second_poses import second_poses
from autolabel.skeleton import Skeleton
from autolabel.suppress import oks_nms

SIGMAS = Skeleton.load("coco17").sigmas


def people(at: list[float]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    one = rng.uniform(0, 40, (17, 2))
    xy = one + np.array([[x, 0] for x in at])[:, None]
    return xy, np.concatenate([xy.min(axis=1), xy.max(axis=1)], axis=1)


def test_the_less_sure_of_two_coinciding_poses_is_set_aside() -> None:
    xy, box = people([0, 0.3, 60, 0.1, 0.2])
    image = np.array([0, 0, 0, 1, 1])
    score = np.array([0.2, 0.9, 0.5, 0.7, 0.4])
    assert second_poses(xy, box, image, score, SIGMAS).tolist() == [True, False, False, False, True]


def test_poses_of_different_images_without_a_box_or_without_places_coincide_with_none() -> None:
    xy, box = people([0, 0, 0, 0])
    image = np.array([0, 1, 2, 2])
    box[3] = np.nan
    assert not second_poses(xy, box, image, np.ones(4), SIGMAS).any()
    assert not second_poses(np.full((4, 17, 2), np.nan), box, np.zeros(4, int), np.ones(4), SIGMAS).any()
    assert second_poses(xy[:0], box[:0], image[:0], np.ones(0), SIGMAS).shape == (0,)


def test_it_is_the_suppression_of_every_image() -> None:
    rng = np.random.default_rng(3)
    xy, box = people(np.repeat(np.arange(20) * 0.7, 6).tolist())
    xy = xy + rng.normal(0, 0.8, xy.shape)
    image, score = np.repeat(np.arange(20), 6), rng.random(120)
    found = second_poses(xy, box, image, score, SIGMAS)
    area = np.prod(1.25 * (box[:, 2:] - box[:, :2]), axis=1)
    for i in range(20):
        rows = np.flatnonzero(image == i)
        kept = rows[oks_nms(xy[rows], score[rows], area[rows], SIGMAS)]
        assert set(rows[~found[rows]]) == set(kept)
    assert 0 < found.sum() < 120
