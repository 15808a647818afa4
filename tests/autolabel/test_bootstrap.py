"""Resampled numbers against the same numbers computed on data that is really repeated; and do intervals hold?"""

from typing import Any

import numpy as np
import pytest

from autolabel import bootstrap
from autolabel.bootstrap import Clusters, Draws, Medians, Ratios, percentiles


@pytest.mark.parametrize(
    ("groups", "of", "unit"),
    [
        pytest.param(["", "", ""], [0, 1, 2], "image", id="no groups"),
        pytest.param(["a", "b", "c"], [0, 1, 2], "image", id="a group for each image"),
        pytest.param(["v1", "", "v1", "v2", ""], [0, 1, 0, 2, 3], "group", id="two frames of one video"),
        pytest.param([], [], "image", id="nothing"),
    ],
)
def test_clusters(groups: list[str], of: list[int], unit: str) -> None:
    clusters = Clusters.from_groups(groups)
    assert (clusters.of.tolist(), clusters.count, clusters.unit) == (of, len(set(of)), unit)


def test_draws_are_as_many_as_there_are_clusters_and_repeat() -> None:
    draws = Draws(7, 50, seed=3)
    weights = np.concatenate(list(draws))
    assert weights.shape == (50, 7) and (weights.sum(axis=1) == 7).all()
    assert np.array_equal(weights, np.concatenate(list(draws)))
    assert np.array_equal(weights, np.concatenate(list(Draws(7, 50, seed=3))))
    assert not np.array_equal(weights, np.concatenate(list(Draws(7, 50, seed=4))))
    assert np.array_equal(weights[:20], np.concatenate(list(Draws(7, 20, seed=3))))


def test_draws_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(Draws(7, 50, seed=3)))
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 21)
    blocks = list(Draws(7, 50, seed=3))
    assert [len(block) for block in blocks] == [3] * 16 + [2]
    assert np.array_equal(whole, np.concatenate(blocks))


def repeated(values: Any, cluster: Any, row: Any) -> Any:
    """The values as a resample holds them, each as often as its cluster was drawn."""
    return np.repeat(values, row[cluster].astype(int))


def test_ratios_are_those_of_repeated_data() -> None:
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 6, 40)
    hit, counted = rng.random(40) < 0.4, rng.random(40) < 0.8
    part = np.bincount(cluster, hit & counted, 6)[:, None]
    whole = np.bincount(cluster, counted, 6)[:, None]
    for weights in Draws(6, 30, seed=1):
        expected = [
            repeated(hit & counted, cluster, row).sum() / repeated(counted, cluster, row).sum() for row in weights
        ]
        assert Ratios([("rate",)], part, whole).over(weights)[:, 0].tolist() == pytest.approx(expected)


def test_a_rate_of_nothing_is_none() -> None:
    rate = Ratios([("rate",)], np.array([[1.0], [0.0]]), np.array([[2.0], [0.0]]))
    numbers = rate.over(np.array([[1.0, 1.0], [0.0, 2.0]]))
    assert numbers[0, 0] == 0.5 and np.isnan(numbers[1, 0])


@pytest.mark.parametrize("at_once", [4_000_000, 50])
def test_medians_are_those_of_repeated_data(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    columns = [rng.exponential(3, n) for n in (40, 1, 7, 0)]
    clusters = [rng.integers(0, 6, len(column)) for column in columns]
    names = [(f"{i}",) for i in range(4)]
    weights = np.concatenate(list(Draws(6, 30, seed=1)))
    found = Medians(names, columns, clusters).over(weights)
    for s, (column, cluster) in enumerate(zip(columns, clusters, strict=True)):
        for row, median in zip(weights, found[:, s], strict=True):
            drawn = repeated(column, cluster, row)
            assert median == pytest.approx(np.median(drawn)) if len(drawn) else np.isnan(median)


def test_percentiles_leave_out_what_does_not_exist() -> None:
    values = np.column_stack([np.arange(101.0), np.full(101, np.nan), np.where(np.arange(101) < 50, np.nan, 7.0)])
    assert percentiles(values, 0.9)[:, 0].tolist() == pytest.approx([5.0, 95.0])
    assert np.isnan(percentiles(values, 0.9)[:, 1]).all()
    assert percentiles(values, 0.9)[:, 2].tolist() == [7.0, 7.0]


def test_intervals_hold_as_often_as_they_say_and_only_when_clusters_are_drawn() -> None:
    """400 worlds of 60 videos with 5 frames each, that share what makes them hard."""
    rng = np.random.default_rng(5)
    videos, frames, keypoints, rate = 60, 5, 10, 0.3
    units = {"videos": np.repeat(np.arange(videos), frames), "frames": np.arange(videos * frames)}
    draws = {unit: Draws(int(cluster.max()) + 1, 200, seed=0) for unit, cluster in units.items()}
    held = dict.fromkeys(units, 0)
    for _ in range(400):
        hardness = rng.beta(1.5, 3.5, videos)  # mean 0.3
        gross = rng.binomial(keypoints, np.repeat(hardness, frames))
        for unit, cluster in units.items():
            part = np.bincount(cluster, gross).astype(float)[:, None]
            whole = keypoints * np.bincount(cluster).astype(float)[:, None]
            low, high = percentiles(draws[unit].of(Ratios([("gross",)], part, whole)))[:, 0]
            held[unit] += low <= rate <= high
    assert 0.90 < held["videos"] / 400 < 0.98  # 95 % is said
    assert held["frames"] / 400 < 0.75  # what groups are for
