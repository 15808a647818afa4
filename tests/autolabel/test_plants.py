"""Plants: which errors are planted, and that made-up ones are errors."""

import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.plants import natural_plants, synthetic_plants
from autolabel.poses import Poses, Visibility
from autolabel.similarity import bad_poses, gross_keypoints, mean_similarity, pair_similarity
from autolabel.skeleton import Skeleton

SKELETON = Skeleton.load("coco17")


def test_half_are_the_least_doubted_errors_and_half_borderline() -> None:
    p_bad = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, np.nan])
    bad = np.array([True, True, False, True, True, True, True, True])
    oks = np.array([0.1, 0.2, 0.9, 0.3, 0.6, np.nan, 0.74, 0.7])
    assert natural_plants(p_bad, bad, oks, 4).tolist() == [0, 1, 4, 6]
    assert natural_plants(p_bad, bad, oks, 3).tolist() == [0, 1, 4]
    assert natural_plants(p_bad, bad, oks, 6).tolist() == [0, 1, 3, 4, 6, 7]
    assert natural_plants(p_bad, bad, oks, 50).tolist() == [0, 1, 3, 4, 5, 6, 7], "no more than there are"
    assert natural_plants(p_bad, bad & False, oks, 4).tolist() == []
    assert natural_plants(p_bad, bad, oks, 0).tolist() == []
    with pytest.raises(InputError, match="-1 poses"):
        natural_plants(p_bad, bad, oks, -1)


def good(n: int) -> tuple[Poses, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.uniform(20, 180, (n, 17, 2))
    truth[:, 4] = np.nan
    box = np.tile([20.0, 20.0, 180.0, 180.0], (n, 1))
    xy = np.where(np.isnan(truth), 50, truth + rng.normal(0, 1, truth.shape))
    visible = np.full((n, 17), Visibility.VISIBLE)
    return Poses.create(17, id=[f"g{i}" for i in range(n)], xy=xy, visibility=visible, box=box), truth


def test_made_up_errors_are_bad_and_otherwise_as_predicted() -> None:
    poses, truth = good(30)
    area = np.full(30, 160.0**2)
    made = synthetic_plants(poses, truth, area, np.arange(30) // 2, SKELETON, 20, np.random.default_rng(1))
    assert len(made) == 20
    assert made.synthetic.all()
    rows = [poses.id.tolist().index(pose) for pose in made.poses.id.tolist()]
    assert rows == sorted(set(rows))
    true = Poses.create(
        17, xy=truth[rows], visibility=np.where(np.isnan(truth[rows, :, 0]), 0, 2), box=poses.box[rows], area=area[rows]
    )
    ks = pair_similarity(made.poses, true, SKELETON)
    assert bad_poses(mean_similarity(ks), gross_keypoints(made.poses, true, ks)).all()
    assert made.oks == pytest.approx(mean_similarity(ks), abs=1e-5)
    same = (made.poses.xy == poses.take(rows).xy).all(axis=-1)
    assert same[:, 4].all(), "where nothing is known nothing is moved"
    assert 0.4 < same.mean() < 1


def test_without_good_poses_nothing_is_made_up() -> None:
    poses, truth = good(3)
    args = (np.full(3, 1e4), np.arange(3), SKELETON)
    assert len(synthetic_plants(poses, truth, *args, 0, np.random.default_rng(0))) == 0
    assert len(synthetic_plants(poses, np.full(truth.shape, np.nan), *args, 5, np.random.default_rng(0))) == 0
    none = synthetic_plants(
        poses.take([]), truth[:0], np.empty(0), np.empty(0, int), SKELETON, 5, np.random.default_rng(0)
    )
    assert len(none) == 0
