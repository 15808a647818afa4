"""Batches are mixed as told, from anywhere."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from autolabel.errors import ConfigError
from model.batches import MixedBatches


def batches(sizes, shares, *, start=0, stop=20, batch_size=10, seed=0):
    return list(MixedBatches(sizes, shares, batch_size=batch_size, start=start, stop=stop, seed=seed))


@pytest.mark.parametrize(
    ("shares", "batch_size", "counts"),
    [
        ([1.0], 10, [10]),
        ([1, 1], 10, [5, 5]),
        ([0.7, 0.3], 10, [7, 3]),
        ([0.5, 0.5], 9, [5, 4]),  # the rest goes to the larger remainder, the earlier source among equals
        ([6, 3, 1], 8, [5, 2, 1]),  # 4.8, 2.4, 0.8
        ([1, 0], 10, [10, 0]),
    ],
)
def test_every_batch_has_the_shares(shares, batch_size, counts) -> None:
    sizes = [7, 100, 3][: len(shares)]
    starts = np.cumsum([0, *sizes])
    made = batches(sizes, shares, batch_size=batch_size)
    assert len(made) == 20
    for batch in made:
        assert [sum(a <= i < b for i in batch) for a, b in pairwise(starts)] == counts


def test_a_source_is_seen_evenly_and_in_other_orders() -> None:
    places = [i for batch in batches([7, 50], [0.3, 0.7], stop=70) for i in batch if i < 7]
    assert len(places) == 210 == 30 * 7
    turns = [tuple(places[i : i + 7]) for i in range(0, 210, 7)]
    assert all(sorted(turn) == list(range(7)) for turn in turns), "each turn is a permutation"
    assert len(set(turns)) > 20
    assert Counter(places) == dict.fromkeys(range(7), 30)


def test_a_batch_depends_on_seed_and_number_alone() -> None:
    whole = batches([7, 50], [0.3, 0.7])
    assert batches([7, 50], [0.3, 0.7], start=13) == whole[13:]
    assert batches([7, 50], [0.3, 0.7], seed=1) != whole
    sampler = MixedBatches([7, 50], [1, 1], batch_size=4, start=3, stop=8, seed=0)
    assert len(sampler) == len(list(sampler)) == 5
    assert list(sampler) == list(sampler), "walked twice"


def test_a_source_that_would_never_be_seen_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a share of 0\.01 is less than one item in a batch of 10"):
        batches([7, 50], [0.01, 0.99])
