"""A view is one example: the same person in the same crop whenever it comes, whatever comes with it."""

import pickle
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from autolabel.errors import ConfigError
from model.augment import Augmentation, augment
from model.batches import MixedBatches
from model.data import PoseBatch, PoseCrops
from model.draws import PlaceDraws
from model.views import ViewBatch, Views
from tests.model.random_people import COCO, INPUT, PADDING, people

HOW = Augmentation(truncation=0.5, colour=0.3, cutout=0.5)


class Few:
    """Five people of two sources, in memory."""

    def __init__(self) -> None:
        self.sizes = [2, 3]
        self._all = replace(people(5), dataset=torch.arange(5))

    def __len__(self) -> int:
        return 5

    def __getitem__(self, places) -> PoseBatch:
        return self._all.rows(torch.tensor(list(places), dtype=torch.int64))

    def names(self, places) -> list[str]:
        return [f"{place}.jpg" for place in places]


def same(one: PoseBatch, other: PoseBatch) -> bool:
    return all(torch.equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(PoseBatch))


def crops(batch: ViewBatch) -> torch.Tensor:
    seen = replace(batch.poses, dataset=torch.zeros(len(batch), dtype=torch.int64))
    draws = PlaceDraws(0, batch.place)
    return augment(seen, HOW, [COCO], input_size=INPUT, padding=PADDING, codecs=("udp",), draws=draws).images


@pytest.mark.parametrize("count", [1, 4])
def test_every_person_has_that_many_views(count) -> None:
    views = Views(Few(), count)
    assert len(views) == 5 * count and views.sizes == [2 * count, 3 * count]
    batch = views[range(len(views))]
    assert batch.poses.dataset.tolist() == [person for person in range(5) for _ in range(count)]
    assert batch.place.tolist() == list(range(5 * count)) and batch.place.dtype == torch.int64
    assert views.names([0, 5 * count - 1]) == ["0.jpg", "4.jpg"]


def test_places_in_any_order_and_none() -> None:
    views = Views(Few(), 3)
    batch = views[[14, 0, 2, 14]]
    assert batch.poses.dataset.tolist() == [4, 0, 0, 4] and batch.place.tolist() == [14, 0, 2, 14]
    assert len(views[[]]) == 0 and views[[]].place.dtype == torch.int64


def test_a_view_is_the_same_crop_in_every_batch_and_another_than_the_persons_others() -> None:
    views = Views(Few(), 3)
    whole = crops(views[range(15)])
    assert torch.equal(crops(views[[7, 2, 14]]), whole[[7, 2, 14]])
    alike = (whole[:, None] == whole[None]).flatten(2).all(dim=2)
    assert torch.equal(alike, torch.eye(15, dtype=torch.bool))


@pytest.mark.parametrize("rows", [slice(1, None, 2), slice(0, 0), torch.tensor([3, 0]), torch.arange(4) > 1])
def test_rows_are_of_people_and_places_alike(rows) -> None:
    batch = Views(Few(), 2)[[9, 1, 4, 3]]
    part = batch.rows(rows)
    assert torch.equal(part.place, batch.place[rows]) and same(part.poses, batch.poses.rows(rows))
    assert len(part) == len(part.poses)


def test_places_stay_on_the_cpu_wherever_the_people_go() -> None:
    batch = Views(Few(), 2)[[9, 1]].to(torch.device("meta"))
    assert batch.poses.canvas.device.type == "meta" and batch.poses.xy.device.type == "meta"
    assert batch.place.tolist() == [9, 1] and batch.place.device.type == "cpu"


def test_a_batch_travels_between_processes() -> None:
    batch = Views(Few(), 2)[[9, 1]]
    other = pickle.loads(pickle.dumps(batch))
    assert torch.equal(other.place, batch.place) and same(other.poses, batch.poses)


def test_sources_are_mixed_as_without_views() -> None:
    views = Views(Few(), 3)
    sampler = MixedBatches(views.sizes, [1, 1], batch_size=6, start=0, stop=6, seed=0)
    batches = [views[places] for places in sampler]
    assert all((batch.poses.dataset < 2).sum() == 3 for batch in batches)
    seen = torch.cat([batch.place for batch in batches])
    assert set(seen.tolist()) == set(range(15)), "all views of both sources"
    assert sorted(seen[seen < 6].tolist()) == sorted([*range(6)] * 3), "each as often as the others"


def test_people_of_a_manifest_come_by_the_data_loader(dots) -> None:
    crops = PoseCrops([dots.manifest("people", 4)], input_size=INPUT, padding=PADDING, canvas_size=(97, 81))
    loader: Any = DataLoader
    first, second = loader(Views(crops, 2), batch_size=None, sampler=[[7, 0], [6]])
    assert same(first.poses, crops[[3, 0]]) and first.place.tolist() == [7, 0]
    assert same(second.poses, crops[[3]]) and second.place.tolist() == [6]


@pytest.mark.parametrize("count", [0, -1])
def test_nobody_is_seen(count) -> None:
    with pytest.raises(ConfigError, match=f"views: is {count}, a person is seen in 1 at least"):
        Views(Few(), count)
