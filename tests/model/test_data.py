"""Canvases show what the labels say, at the place they say; batches are mixed as told, from anywhere."""

import os
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from autolabel.errors import ConfigError, ImageError, InputError
from autolabel.manifest import write_manifest
from autolabel.poses import Poses, Visibility
from model.data import MixedBatches, PoseCrops

INPUT, PADDING, CANVAS = (64, 48), 1.25, (97, 81)


def crops(*manifests, **changes):
    given = {"input_size": INPUT, "padding": PADDING, "canvas_size": CANVAS, **changes}
    return PoseCrops(manifests, **given)


# ---- canvases


@pytest.mark.parametrize(
    "sides",
    [
        (10, 30),  # padded less than the input: cut, never enlarged
        (60, 90),  # larger: reduced
    ],
)
def test_dots_are_where_the_canvas_says(dots, sides) -> None:
    people = crops(dots.manifest("people", 12, sides=sides, image=(300, 260)))
    batch = people[range(12)]
    assert batch.canvas.shape == (12, 3, *CANVAS)
    # 1/32 of a pixel is how finely the crop reads, and grey levels are whole numbers.
    assert np.abs(dots.found(batch.canvas.numpy()) - batch.xy.numpy()).max() < 0.05
    # The box is in the middle of the canvas, and moved with the dots.
    middle = (batch.box[:, :2] + batch.box[:, 2:]) / 2
    assert torch.allclose(middle, torch.tensor([(CANVAS[1] - 1) / 2, (CANVAS[0] - 1) / 2]).expand(12, 2), atol=1e-4)


def test_the_canvas_is_at_the_networks_resolution_or_the_images(dots) -> None:
    manifest = dots.manifest("people", 8, sides=(10, 90), image=(300, 260))
    batch = crops(manifest)[range(8)]
    true = np.concatenate([sample.poses.box for sample in manifest])
    side = true[:, 2] - true[:, 0]
    padded_width = PADDING * side  # the square box is widened in height
    expected = side * np.minimum(INPUT[1] / padded_width, 1)
    assert (batch.box[:, 2] - batch.box[:, 0]).numpy() == pytest.approx(expected, rel=1e-5)
    assert len(set(np.minimum(INPUT[1] / padded_width, 1) == 1)) == 2, "both kinds"


def test_outside_the_image_is_black(dots) -> None:
    picture = np.full((40, 40, 3), 255, np.uint8)
    poses = Poses.create(3, xy=[[[0, 0], [5, 5], [9, 9]]], visibility=[[2, 2, 2]], box=[[0.0, 0, 10, 10]])
    manifest = write_manifest(
        dots.folder / "m", [dots.sample("a.png", poses, picture)], dots.skeleton, {"dots": dots.folder}, stage="test"
    )
    batch = crops(manifest)[[0]]
    x, y = batch.xy[0, 0].tolist()  # of the image's first pixel
    canvas = batch.canvas[0, 0]
    assert canvas[: int(y) - 1].max() == 0 and canvas[:, : int(x) - 1].max() == 0
    assert canvas[int(y) + 2 : int(y) + 30, int(x) + 2 : int(x) + 30].min() == 255


def test_who_is_trained_on(dots) -> None:
    """Crowds, people without a box, and people of whom nothing is said are left out; absent is said."""
    states = [[2, 2, 2], [2, 2, 2], [0, 0, 0], [3, 3, 3], [0, 1, 0], [2, 2, 2]]
    box = np.tile([10.0, 10, 30, 30], (6, 1))
    box[5] = np.nan
    xy = np.full((6, 3, 2), 20.0)
    xy[3] = np.nan
    poses = Poses.create(3, xy=xy, visibility=states, box=box, crowd=[False, True, False, False, False, False])
    sample = dots.sample("a.png", poses, np.zeros((40, 40, 3), np.uint8))
    manifest = write_manifest(dots.folder / "m", [sample], dots.skeleton, {"dots": dots.folder}, stage="test")
    people = crops(manifest)
    assert len(people) == 3 and people.sizes == [3]
    batch = people[[0, 1, 2]]
    assert batch.visibility.tolist() == [states[0], states[3], states[4]]
    assert batch.visibility.dtype == torch.uint8
    assert batch.xy.isfinite().all(), "no NaN reaches the network"


def test_several_manifests_in_order(dots) -> None:
    one, two = dots.manifest("one", 2), dots.manifest("two", 3, seed=1)
    people = crops(one, two)
    assert people.sizes == [2, 3]
    assert torch.equal(people[[4]].canvas, crops(two)[[2]].canvas)


def test_nothing_to_train_on_is_told(dots) -> None:
    one = dots.manifest("one", 1)
    empty = dots.manifest("empty", 2, visibility=[Visibility.UNLABELLED] * 3)
    with pytest.raises(InputError, match=r"empty: no labelled pose with a box"):
        crops(one, empty)


@pytest.mark.parametrize(("cache_bytes", "kept"), [(2 * 3 * CANVAS[0] * CANVAS[1], True), (1, False)])
def test_canvases_are_kept_while_they_fit(dots, cache_bytes, kept) -> None:
    people = crops(dots.manifest("people", 2), cache_bytes=cache_bytes)
    before = people[[0, 1]]
    for file in dots.folder.glob("people-*.png"):
        file.unlink()
    if kept:
        again = people[[1, 0]]
        assert torch.equal(again.canvas, before.canvas.flip(0)) and torch.equal(again.xy, before.xy.flip(0))
    else:
        with pytest.raises(ImageError):
            people[[0]]


def test_an_image_of_another_size_is_refused(dots) -> None:
    manifest = dots.manifest("people", 1, image=(240, 200))
    with Image.open(dots.folder / "people-0.png") as image:
        image.resize((120, 100)).save(dots.folder / "people-0.png")
    with pytest.raises(ImageError, match=r"people-0\.png: is 120x100 now, it was labelled as 240x200"):
        crops(manifest)[[0]]


# ---- batches


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


def test_workers_give_the_same_batches(dots) -> None:
    people = crops(dots.manifest("people", 6))
    sampler = MixedBatches(people.sizes, [1], batch_size=4, start=0, stop=3, seed=0)
    alone = [people[places] for places in sampler]
    loader = torch.utils.data.DataLoader(people, batch_size=None, sampler=sampler, num_workers=min(2, os.cpu_count()))
    for batch, expected in zip(loader, alone, strict=True):
        assert torch.equal(batch.canvas, expected.canvas) and torch.equal(batch.box, expected.box)
