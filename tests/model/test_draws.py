"""A sample's random numbers belong to it, whoever computes them and with whom."""

import numpy as np
import pytest
import torch
from scipy import stats

from autolabel.errors import InputError
from model.draws import Draws, PlaceDraws, RandomNumbers, hashed


@pytest.mark.parametrize("rows", [slice(0, 3), slice(3, 10), slice(1, 10, 2)])
def test_rows_get_what_the_whole_step_has(rows) -> None:
    whole, part = Draws(1, 2, 10, slice(None)), Draws(1, 2, 10, rows)
    for kind, count in (("uniform", 3), ("normal", 1), ("uniform", 1), ("normal", 5)):
        expected, numbers = getattr(whole, kind)(count), getattr(part, kind)(count)
        assert expected.shape == (10, count)
        assert torch.equal(numbers, expected[rows])
        assert (len(whole), len(part)) == (10, len(numbers))


def test_seed_and_step_decide() -> None:
    drawn = {(seed, step): Draws(seed, step, 4, slice(None)).uniform(2) for seed in (0, 1) for step in (0, 1)}
    assert torch.equal(drawn[0, 1], Draws(0, 1, 4, slice(None)).uniform(2))
    assert len({tuple(numbers.flatten().tolist()) for numbers in drawn.values()}) == 4


def test_distributions() -> None:
    draws = Draws(0, 0, 4000, slice(None))
    uniform, normal = draws.uniform(4), draws.normal(4)
    assert uniform.dtype == normal.dtype == torch.float32
    assert uniform.min() >= 0 and uniform.max() < 1 and uniform.mean() == pytest.approx(0.5, abs=0.01)
    assert normal.mean() == pytest.approx(0, abs=0.03) and normal.std() == pytest.approx(1, abs=0.02)


def test_streams_do_not_run_in_step() -> None:
    seeds = [hashed(seed, step) for seed in range(20) for step in range(20)]
    assert len(set(seeds)) == 400 and max(seeds) < 2**32
    assert hashed(1, 2) != hashed(2, 1) and hashed(1) != hashed(1, 0, 1)


# ---- by place


def at(*places: int, seed: int = 0) -> PlaceDraws:
    return PlaceDraws(seed, torch.tensor(places, dtype=torch.int64))


def calls(draws: RandomNumbers) -> torch.Tensor:
    """Everything of some calls, side by side."""
    return torch.cat([draws.uniform(15), draws.normal(3), draws.uniform(1), draws.normal(2)], dim=1)


@pytest.mark.parametrize("draws", [Draws(3, 4, 9, slice(1, 6)), at(5, 0, 2**40)])
def test_again_gives_the_same_from_the_start(draws) -> None:
    first, second = draws.again(), draws.again()
    draws.uniform(7)
    fresh = draws.again()
    numbers = calls(first)
    assert torch.equal(numbers, calls(second)) and torch.equal(numbers, calls(fresh))
    assert torch.equal(numbers, calls(first.again()))
    assert not torch.equal(numbers, calls(first)), "which went on"
    assert len(first) == len(draws) == len(numbers)


def test_a_places_numbers_are_its_own_in_every_batch() -> None:
    whole = calls(at(*range(50)))
    for places in ([7], [49, 0, 7], [3, 3], [*range(49, -1, -1)]):
        assert torch.equal(calls(at(*places)), whole[places])
    assert calls(at()).shape == (0, 21)


def test_a_number_depends_on_how_many_calls_came_before_and_not_on_their_columns() -> None:
    one, other = at(0, 1), at(0, 1)
    one.uniform(3)
    other.normal(200)
    assert torch.equal(one.uniform(4), other.uniform(9)[:, :4])


def test_seed_place_call_and_column_decide() -> None:
    numbers = []
    for seed in (0, 1, 2**40):
        draws = at(0, 1, 2**33, 2**62, seed=seed)
        numbers += [draws.uniform(5).flatten() for _ in range(3)]
    found = torch.cat(numbers)
    assert len(found.unique()) == len(found) == 3 * 4 * 3 * 5


@pytest.mark.parametrize(
    ("take", "expected"),
    [
        ("uniform", stats.uniform()),
        ("normal", stats.norm()),
    ],
)
@pytest.mark.parametrize("stride", [1, 1000, 2**32])  # of the places: neighbours, views apart, high bits alone
def test_numbers_by_place_have_their_distribution(take, expected, stride) -> None:
    draws = PlaceDraws(1, torch.arange(20_000) * stride)
    first, second = getattr(draws, take)(3), getattr(draws, take)(3)
    numbers = torch.cat([first, second], dim=1).double().numpy()
    assert first.dtype == torch.float32 and np.isfinite(numbers).all()
    assert min(stats.kstest(column, expected.cdf).pvalue for column in numbers.T) > 1e-3
    assert stats.kstest(numbers.ravel()[::7], expected.cdf).pvalue > 1e-3
    assert numbers.mean() == pytest.approx(expected.mean(), abs=0.01)
    assert numbers.std() == pytest.approx(expected.std(), abs=0.01)
    together = np.corrcoef(np.concatenate([numbers[1:], numbers[:-1]], axis=1).T)
    assert np.abs(together - np.eye(12)).max() < 0.03, "columns, calls and neighbouring places are independent"


def test_uniform_numbers_stay_below_one_and_normal_ones_are_finite() -> None:
    draws = PlaceDraws(0, torch.arange(100_000))
    uniform, normal = draws.uniform(20), draws.normal(20)
    assert uniform.min() >= 0 and 0.999999 < uniform.max() < 1
    assert 4.5 < normal.abs().max() < 5.5


@pytest.mark.parametrize("places", [torch.zeros(2, 2, dtype=torch.int64), torch.zeros(3), torch.tensor(4)])
def test_places_are_a_list_of_whole_numbers(places) -> None:
    with pytest.raises(InputError, match=r"places: must be \(B,\) int64"):
        PlaceDraws(0, places)
