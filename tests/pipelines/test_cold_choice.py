"""What a cold start asks about: unlike images, some by lot, no picture twice; and the routing that sends it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.repeats import Repeats
from pipelines.cold_choice import choose, write_routing
from pipelines.push_queue import read_routing

RNG = np.random.default_rng(4)
CLUSTERS = np.repeat([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]], 5, axis=0) + RNG.normal(0, 0.1, (20, 2))
"""Four kinds of pictures, five of each, in this order."""


def chosen(
    count: int, share: float = 0.0, repeats: Repeats | None = None, seed: int = 0
) -> tuple[list[int], list[int]]:
    different, drawn = choose(CLUSTERS, repeats or Repeats.none(20), count, share, seed)
    return different.tolist(), drawn.tolist()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_every_kind_of_picture_is_asked_about(share: float, seed: int) -> None:
    different, drawn = chosen(4, share, seed=seed)
    assert (len(different), len(drawn)) == (4 - round(4 * share), round(4 * share))
    assert {row // 5 for row in different + drawn} == {0, 1, 2, 3}


def test_the_lot_knows_nothing_of_the_pictures() -> None:
    drawn = [row for seed in range(60) for row in chosen(4, 0.5, seed=seed)[1]]
    assert len(drawn) == 120
    assert set(drawn) == set(range(20))
    assert chosen(4, 0.5, seed=1) == chosen(4, 0.5, seed=1)


@pytest.mark.parametrize(
    ("boxes", "count", "share", "expected"),
    [
        (20, 20, 0.2, (16, 4)),
        (20, 50, 0.2, (16, 4)),  # no more than there are
        (6, 6, 1.0, (1, 5)),  # something has to be learnt from
        (20, 6, 1.0, (1, 5)),
        (20, 2, 0.8, (1, 1)),
        (20, 1, 0.6, (1, 0)),
        (1, 5, 1.0, (1, 0)),
        (0, 5, 0.5, (0, 0)),
    ],
)
def test_so_many_are_chosen_once_each(boxes: int, count: int, share: float, expected: tuple[int, int]) -> None:
    different, drawn = choose(CLUSTERS[:boxes], Repeats.none(boxes), count, share, 0)
    assert (len(different), len(drawn)) == expected
    assert len({*different.tolist(), *drawn.tolist()}) == sum(expected)


def test_people_of_one_image_are_asked_about_together_only_when_images_are_short() -> None:
    two_an_image = Repeats(np.arange(20) // 2, np.arange(20) // 2)
    different, drawn = chosen(10, 0.2, two_an_image)
    assert len({row // 2 for row in different + drawn}) == 10
    different, drawn = chosen(14, 0.2, two_an_image)
    assert len({*different, *drawn}) == 14


def test_what_repeats_a_picture_is_never_asked_about_beside_it() -> None:
    frames = Repeats(np.arange(20) // 4, np.arange(20))  # five groups of four images
    for count in (3, 20):
        different, drawn = chosen(count, 0.2, frames)
        assert len({row // 4 for row in different + drawn}) == len(different) + len(drawn) == min(count, 5)


def test_what_cannot_be_seen_is_never_chosen() -> None:
    seen = CLUSTERS.copy()
    seen[::2] = np.nan
    different, drawn = choose(seen, Repeats.none(20), 20, 0.3, 0)
    assert sorted([*different.tolist(), *drawn.tolist()]) == list(range(1, 20, 2))
    nothing = choose(np.full((3, 2), np.nan), Repeats.none(3), 2, 0.5, 0)
    assert [len(part) for part in nothing] == [0, 0]


def test_a_routing_sends_what_was_chosen_and_stays_as_it_was_written(review_case: Any, tmp_path: Path) -> None:
    manifest = review_case.write("corpus", review_case.model)
    tasks = [
        {"pose": "pose-3", "kind": "review", "blind": True},
        {"pose": "pose-1", "kind": "calibration", "blind": True},
    ]
    write_routing(tmp_path / "a" / "routing", manifest, tasks)
    routing = read_routing(tmp_path / "a" / "routing")
    assert [(entry.pose, entry.kind, entry.blind) for entry in routing.queue] == [
        ("pose-3", "review", True),
        ("pose-1", "calibration", True),
    ]
    write_routing(tmp_path / "b" / "routing", manifest, tasks)
    assert read_routing(tmp_path / "b" / "routing").digest == routing.digest, "written again it sends no second task"
    file = tmp_path / "a" / "routing" / "queue.jsonl"
    file.write_text(file.read_text().splitlines()[0] + "\n")
    with pytest.raises(InputError, match="is not what routing wrote"):
        read_routing(tmp_path / "a" / "routing")
