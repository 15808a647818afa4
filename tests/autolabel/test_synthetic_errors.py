"""Planted errors: as often as asked, as far as their kind says, and nowhere else."""

import numpy as np
import pytest

from autolabel.poses import Poses
from autolabel.similarity import keypoint_similarity
from autolabel.skeleton import Skeleton
from autolabel.synthetic_errors import DEFAULT_SHARES, ErrorShares, corrupt, nearest_neighbours, similarity_distance
from autolabel.taxonomy import State, classify

COCO = Skeleton.load("coco17")
K = COCO.num_keypoints
N = 1000
RNG = np.random.default_rng(5)
TRUE = RNG.uniform(0, 300, (N, K, 2))
AREA = RNG.uniform(500, 50_000, N)
ALL = np.ones((N, K), bool)
OTHERS = TRUE + 1000.0


def planted(**more: object) -> tuple[np.ndarray, np.ndarray]:
    given = {"neighbours": OTHERS, **more}
    return corrupt(TRUE, ALL, AREA, COCO, np.random.default_rng(0), **given)  # type: ignore[arg-type]


def test_each_kind_has_its_share_and_its_similarity() -> None:
    xy, kind = planted()
    ks = keypoint_similarity(xy, TRUE, AREA, COCO.sigmas)
    count = N * K
    paired = sum(i != j for i, j in enumerate(COCO.flip)) / K
    expected = {State.JITTER: 0.16, State.INVERSION: 0.03 * paired, State.SWAP: 0.08, State.MISS: 0.10}
    for state, share in expected.items():
        assert (kind == state).sum() / count == pytest.approx(share, abs=4 * np.sqrt(share / count)), state.name
    jitter, miss = ks[kind == State.JITTER], ks[kind == State.MISS]
    assert jitter.min() >= 0.5 - 1e-9
    assert jitter.max() <= 0.85 + 1e-9
    assert miss.min() >= 0.1 - 1e-9
    assert miss.max() <= 0.5 + 1e-9
    assert jitter.max() - jitter.min() > 0.3, "the whole range is used"
    assert miss.max() - miss.min() > 0.35
    assert np.array_equal(xy[kind == State.GOOD], TRUE[kind == State.GOOD])
    assert np.array_equal(xy[kind == State.SWAP], OTHERS[kind == State.SWAP])
    assert np.array_equal(xy[kind == State.INVERSION], TRUE[:, list(COCO.flip)][kind == State.INVERSION])


def test_the_taxonomy_calls_them_what_they_are() -> None:
    """Of people so large that no other place is as near by chance."""
    base = np.stack([np.arange(K) * 400.0, np.zeros(K)], axis=-1)
    xy = np.stack([base, base + np.array([0, 10_000])])
    truth = Poses.create(K, xy=xy, visibility=np.full((2, K), 2), area=[10_000.0] * 2, box=[[0, 0, 9e3, 1.1e4]] * 2)
    found, kind = corrupt(
        np.repeat(xy[:1], 200, axis=0),
        np.ones((200, K)),
        np.full(200, 1e4),
        COCO,
        np.random.default_rng(1),
        neighbours=np.repeat(xy[1:], 200, axis=0),
    )
    assert set(np.unique(kind)) == {State.GOOD, State.JITTER, State.INVERSION, State.SWAP, State.MISS}
    assert np.array_equal(classify(found, np.zeros(200, int), truth, COCO), kind)


@pytest.mark.parametrize(
    ("labelled", "area", "more"),
    [
        (np.zeros((N, K), bool), AREA, {}),  # nothing is known
        (ALL, np.full(N, np.nan), {}),  # no size to measure by
        (ALL, AREA, {"strength": 0.0}),
        (ALL, AREA, {"shares": ErrorShares(0, 0, 1, 0)}),  # nobody to swap with
    ],
)
def test_what_cannot_or_may_not_be_moved_stays(labelled: np.ndarray, area: np.ndarray, more: dict[str, object]) -> None:
    xy, kind = corrupt(TRUE, labelled, area, COCO, np.random.default_rng(0), **more)  # type: ignore[arg-type]
    assert np.array_equal(xy, TRUE)
    expected = State.GOOD if labelled.any() and np.isfinite(area).all() else State.UNKNOWN
    assert (kind == expected).all()


def test_unmoved_keypoints_are_where_the_network_says() -> None:
    kept = TRUE + 3.0
    kept[:, 0] = np.nan
    xy, kind = planted(kept=kept)
    stay = kind == State.GOOD
    assert np.array_equal(xy[stay], kept[stay], equal_nan=True)
    assert np.isfinite(xy[~stay]).all()
    assert np.array_equal(kind, planted()[1])


def test_strength_is_a_pose_s_own_and_the_seed_decides() -> None:
    xy, kind = planted(strength=np.where(np.arange(N) < N // 2, 0.0, 0.5))
    assert (kind[: N // 2] == State.GOOD).all()
    shares = DEFAULT_SHARES
    half = (shares.jitter + shares.inversion * 16 / 17 + shares.swap + shares.miss) / 2
    assert (kind[N // 2 :] != State.GOOD).mean() == pytest.approx(half, abs=0.02)
    again = planted(strength=np.where(np.arange(N) < N // 2, 0.0, 0.5))[0]
    assert np.array_equal(xy, again)


@pytest.mark.parametrize("n", [0, 1])
def test_one_keypoint_and_no_poses(n: int) -> None:
    dot = Skeleton("dot", ("dot",), (), (0,), (0.05,), "test")
    xy, kind = corrupt(np.zeros((n, 1, 2)), np.ones((n, 1)), np.ones(n), dot, np.random.default_rng(0))
    assert xy.shape == (n, 1, 2)
    assert kind.shape == (n, 1)


@pytest.mark.parametrize("ks", [0.1, 0.5, 0.85, 1.0])
def test_distance_is_the_inverse_of_similarity(ks: float) -> None:
    distance = similarity_distance(ks, AREA, COCO.sigmas)
    moved = TRUE + np.stack([distance, np.zeros_like(distance)], axis=-1)
    assert keypoint_similarity(moved, TRUE, AREA, COCO.sigmas) == pytest.approx(ks)


def test_neighbours_are_the_nearest_same_joints_of_others_in_the_image() -> None:
    xy = np.array([[[0, 0], [0, 0]], [[10, 0], [50, 0]], [[30, 0], [20, 0]], [[7, 7], [7, 7]]], float)
    labelled = np.array([[1, 1], [1, 1], [1, 0], [1, 1]], bool)
    found = nearest_neighbours(xy, labelled, np.array([0, 0, 0, 1]))
    assert found[0].tolist() == [[10, 0], [50, 0]]
    assert found[1].tolist() == [[0, 0], [0, 0]]
    assert found[2, 0].tolist() == [10, 0]
    assert np.isnan(found[2, 1]).all(), "its own place is not known, so none is nearest to it"
    assert np.isnan(found[3]).all(), "alone in the image"
    assert nearest_neighbours(np.zeros((0, 2, 2)), np.zeros((0, 2)), np.zeros(0)).shape == (0, 2, 2)
