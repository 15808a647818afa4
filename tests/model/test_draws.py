"""A sample's random numbers belong to it, whoever computes them and with whom."""

import pytest
import torch

from model.draws import Draws, hashed


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
