import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolabel.skeleton import Skeleton
from autolabel.suppress import oks_nms, rescore

SIGMAS = Skeleton.load("coco17").sigmas


def reference_nms(xy: np.ndarray, score: np.ndarray, area: np.ndarray, threshold: float) -> list[int]:
    """Pair by pair, as ``vitpose.md`` 3.6 says it."""
    order = sorted(range(len(score)), key=lambda i: (-score[i], i))
    kept: list[int] = []
    for i in order:
        alike = []
        for j in kept:
            mean = (area[i] + area[j]) / 2
            ks = [np.exp(-((xy[i, k] - xy[j, k]) ** 2).sum() / (2 * mean * (2 * SIGMAS[k]) ** 2)) for k in range(17)]
            alike.append(sum(ks) / 17)
        if all(value <= threshold for value in alike):
            kept.append(i)
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_nms_keeps_what_the_pairwise_definition_keeps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    people = rng.uniform(0, 400, (6, 17, 2))
    # Copies at growing distances, so that some fall on either side of the threshold.
    xy = np.concatenate([people + rng.normal(0, s, people.shape) for s in (0, 1, 2, 4, 8, 30)])
    score, area = rng.uniform(0, 1, len(xy)), rng.uniform(5_000, 20_000, len(xy))
    kept = oks_nms(xy, score, area, SIGMAS)
    assert kept.tolist() == reference_nms(xy, score, area, 0.9)
    assert 6 <= len(kept) < len(xy)


def test_nms_of_nobody_and_of_one() -> None:
    assert oks_nms(np.empty((0, 17, 2)), [], [], SIGMAS).tolist() == []
    assert oks_nms(np.zeros((1, 17, 2)), [0.5], [100.0], SIGMAS).tolist() == [0]


def test_nms_keeps_the_order_of_equal_scores_and_drops_exact_copies() -> None:
    xy = np.zeros((3, 17, 2))
    xy[1] += 1000
    assert oks_nms(xy, [0.5, 0.5, 0.5], [100.0] * 3, SIGMAS).tolist() == [0, 1]


def test_a_pair_at_the_threshold_is_kept() -> None:
    xy = np.zeros((2, 17, 2))  # OKS is 1
    assert len(oks_nms(xy, [1, 1], [100.0, 100.0], SIGMAS, threshold=1.0)) == 2


@pytest.mark.parametrize(
    ("box", "keypoints", "expected"),
    [
        (0.5, [0.8, 0.4, 0.2, 0.1], 0.5 * 0.6),  # 0.2 itself does not exceed the threshold
        (0.5, [0.2, 0.1, 0.0, -1.0], 0.0),  # no confident keypoint
        (np.nan, [0.8, 0.4, 0.2, 0.1], 0.6),  # nobody scored the box
        (0.5, [0.8, np.nan, np.nan, 0.4], 0.5 * 0.6),  # a keypoint without a score is left out
        (0.5, [np.nan] * 4, 0.5),  # a pose drawn by a person
    ],
)
def test_rescore(box: float, keypoints: list[float], expected: float) -> None:
    assert rescore([box], [keypoints])[0] == pytest.approx(expected)
    assert rescore(np.float32([box]), np.float32([keypoints]))[0] == pytest.approx(expected)


@given(st.data())
@settings(max_examples=100)
def test_what_is_kept_is_apart_and_what_is_dropped_is_near_a_better_one(data: st.DataObject) -> None:
    n, k = data.draw(st.integers(0, 12)), 3
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    xy = rng.uniform(0, 40, (n, k, 2)) * data.draw(st.sampled_from([0.05, 0.3, 1.0]))
    score, area, sigmas = rng.uniform(size=n), rng.uniform(200, 400, n), np.full(k, 0.1)
    threshold = data.draw(st.floats(0.3, 0.95))
    kept = oks_nms(xy, score, area, sigmas, threshold)

    def alike(i: int, j: int) -> float:
        mean = (area[i] + area[j]) / 2
        return float(np.mean(np.exp(-((xy[i] - xy[j]) ** 2).sum(-1) / (2 * mean * (2 * sigmas) ** 2))))

    assert score[kept].tolist() == sorted(score[kept].tolist(), reverse=True)
    for i, j in itertools.combinations(kept.tolist(), 2):
        assert alike(i, j) <= threshold + 1e-9
    for i in set(range(n)) - set(kept.tolist()):
        assert any(score[j] >= score[i] and alike(i, j) > threshold - 1e-9 for j in kept)
    # The order in which poses stand decides nothing.
    order = rng.permutation(n)
    assert set(order[oks_nms(xy[order], score[order], area[order], sigmas, threshold)]) == set(kept.tolist())
