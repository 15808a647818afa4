import numpy as np
import pytest

from autolabel.errors import ConfigError, InputError
from autolabel.novelty import LEAST_POSES, Novelty, fit_novelty


def cloud(n: int, d: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) * np.linspace(0.1, 10, d) + 5


def fitted(n: int = 200, **options: int) -> Novelty:
    novelty = fit_novelty(cloud(n), **options)
    assert novelty is not None
    return novelty


@pytest.mark.parametrize(("n", "most"), [(100, 256), (1000, 100)])
def test_one_is_usual_and_far_is_far(n: int, most: int) -> None:
    novelty = fitted(n, most=most)
    assert len(novelty.centres) == min(n, most)
    assert np.median(novelty.distance(cloud(300, seed=1))) == pytest.approx(1.0, abs=0.3)
    assert novelty.distance(cloud(300, seed=1) + 40).min() > 3


def test_scale_leaves_each_embedding_out() -> None:
    """Points on a line, 1 apart: each is 1 from its neighbour, and itself is no neighbour."""
    line = np.zeros((20, 3))
    line[:, 1] = np.arange(20)
    novelty = fit_novelty(line)
    assert novelty is not None
    assert novelty.distance([[0, 5, 0], [0, 5.5, 0], [0, 29, 0]]) == pytest.approx([0, 0.5, 10], abs=1e-4)
    assert novelty.distance([[9, 5, 0]]) == pytest.approx([0], abs=1e-4)  # that number says nothing: it never varied


def test_checked_embeddings_are_near() -> None:
    assert fitted(100).distance(cloud(100)).max() < 1e-3


def test_centres_cover_rare_kinds() -> None:
    """One checked embedding in 500 is of another kind; a random choice of 10 would leave it out."""
    kinds = cloud(500)
    kinds[123] += 100
    novelty = fit_novelty(kinds, most=10)
    assert novelty is not None
    assert novelty.distance(kinds[123:124])[0] < 1e-3


def test_unknown_rows() -> None:
    known = cloud(50)
    holes = np.concatenate([known, np.full((5, 32), np.nan)])
    novelty = fit_novelty(holes)
    assert novelty == fit_novelty(known)
    assert novelty is not None
    assert np.isnan(novelty.distance(holes)).tolist() == [False] * 50 + [True] * 5
    assert novelty.distance(np.empty((0, 32))).shape == (0,)


@pytest.mark.parametrize(
    "given", [np.empty((0, 8)), cloud(LEAST_POSES - 1), np.full((50, 8), np.nan), np.empty((50, 0))]
)
def test_too_little_to_fit(given: np.ndarray) -> None:
    assert fit_novelty(given) is None


def test_constant_embeddings_have_no_distance() -> None:
    novelty = fit_novelty(np.full((30, 8), 0.1))
    assert novelty is not None
    assert novelty.distance(np.full((4, 8), 0.1)).tolist() == [0] * 4


def test_one_number() -> None:
    novelty = fit_novelty(np.arange(12.0)[:, None])
    assert novelty is not None
    assert novelty.distance([[20.0]]) == pytest.approx([9.0], rel=1e-4)


def test_same_seed_same_centres() -> None:
    assert fitted(most=20, seed=3) == fitted(most=20, seed=3)
    assert fitted(most=20, seed=3) != fitted(most=20, seed=4)


def test_is_stored_as_json() -> None:
    novelty = fitted()
    again = Novelty.model_validate_json(novelty.model_dump_json())
    assert again == novelty
    assert np.array_equal(again.distance(cloud(9, seed=2)), novelty.distance(cloud(9, seed=2)))
    assert len(novelty.model_dump_json()) < 60_000  # single precision is written as such


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(3, 8\), expected \(N, 32\)"):
        fitted().distance(np.zeros((3, 8)))
    with pytest.raises(InputError, match="expected"):
        fit_novelty(np.zeros(8))
    with pytest.raises(InputError):
        fit_novelty(cloud(20), most=1)
    for change in ({"centres": ()}, {"scale": 0.0}, {"mean": (1.0,)}, {"centres": ((1.0,),)}):
        with pytest.raises(ConfigError):
            Novelty.parse(fitted().model_dump() | change, subject="novelty")
