"""Canvases show what the labels say, at the place they say."""

import os
from dataclasses import fields

import numpy as np
import pytest
import torch
from PIL import Image

from autolabel.errors import ImageError, InputError
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Poses, Visibility
from autolabel.skeleton import Skeleton
from model.batches import MixedBatches
from model.data import FILLED_WEIGHT, PoseCrops

INPUT, PADDING, CANVAS = (64, 48), 1.25, (97, 81)


def crops(*manifests, **changes):
    given = {"input_size": INPUT, "padding": PADDING, "canvas_size": CANVAS, "detail": 1.0, **changes}
    return PoseCrops(manifests, **given)


# ---- canvases


@pytest.mark.parametrize("detail", [1.0, 2.0])
@pytest.mark.parametrize(
    "sides",
    [
        (10, 30),  # padded less than the input: cut, never enlarged
        (60, 90),  # larger: reduced, with detail 1
    ],
)
def test_dots_are_where_the_canvas_says(dots, sides, detail) -> None:
    people = crops(dots.manifest("people", 12, sides=sides, image=(300, 260)), detail=detail)
    batch = people[range(12)]
    # 1/32 of a pixel is how finely the crop reads, and grey levels are whole numbers.
    assert np.abs(dots.found(batch.canvas.numpy()) - batch.xy.numpy()).max() < 0.05
    assert batch.dataset.tolist() == [0] * 12 and not batch.tells_hidden.any()


@pytest.mark.parametrize("detail", [1.0, 2.0])
def test_the_canvas_is_at_the_networks_resolution_or_the_images(dots, detail) -> None:
    manifest = dots.manifest("people", 8, sides=(10 * detail, 65 * detail), image=(390, 370))
    batch = crops(manifest, detail=detail)[range(8)]
    true = np.concatenate([sample.poses.box for sample in manifest])
    side = true[:, 2] - true[:, 0]
    padded_width = PADDING * side  # the square box is widened in height
    zoom = np.minimum(detail * INPUT[1] / padded_width, 1)
    assert (batch.box[:, 2] - batch.box[:, 0]).numpy() == pytest.approx(side * zoom, rel=1e-5)
    assert len(set(zoom == 1)) == 2, "both kinds"


def test_a_small_person_keeps_the_images_own_pixels(dots) -> None:
    manifest = dots.manifest("people", 3, sides=(20, 25), image=(300, 260))
    batch = crops(manifest)[range(3)]
    for n, sample in enumerate(manifest):
        picture = np.asarray(Image.open(dots.folder / f"people-{n}.png")).transpose(2, 0, 1)
        x, y = (sample.poses.xy[0, 0] - batch.xy[n, 0].numpy()).round().astype(int)
        size = 40  # the padded square box of 25 is 31 wide and 42 high; the canvas twice that
        assert np.array_equal(batch.canvas[n, :, :size, :size], picture[:, y : y + size, x : x + size])


def reach(batch, n, canvas=CANVAS, detail=1.0):
    """(2,) half of the width and height about the box's middle that a canvas is to show, in canvas pixels."""
    box = batch.box[n].numpy()
    padded = PADDING * max(box[2] - box[0], (box[3] - box[1]) * INPUT[1] / INPUT[0])
    return np.array(canvas[::-1]) * padded / (detail * INPUT[1]) / 2


@pytest.mark.parametrize("sides", [(20, 30), (60, 90)])
def test_a_canvas_reaches_as_far_as_told_or_the_image_does(dots, sides) -> None:
    manifest = dots.manifest("people", 10, sides=sides, image=(260, 190))
    people = crops(manifest)
    ends = 0
    for n in range(10):
        batch = people[[n]]
        box, image = batch.box[0].numpy(), batch.image[0].numpy()
        middle, half = (box[:2] + box[2:]) / 2, reach(batch, 0)
        size = np.array([batch.canvas.shape[3], batch.canvas.shape[2]])
        for axis in (0, 1):
            low, high = middle[axis] - half[axis], middle[axis] + half[axis]
            assert -1 <= max(low, image[axis]) <= 1, "starts where it is to, or the image does"
            assert abs(min(high, image[2 + axis]) - (size[axis] - 1)) <= 1.5
            ends += low < image[axis] or high > image[2 + axis]
    assert 0 < ends < 20, "both kinds"


def test_the_image_is_told_in_canvas_pixels(dots) -> None:
    manifest = dots.manifest("people", 6, sides=(20, 90), image=(240, 200))
    batch = crops(manifest)[range(6)]
    for n, sample in enumerate(manifest):
        zoom = float(batch.box[n, 2] - batch.box[n, 0]) / (sample.poses.box[0, 2] - sample.poses.box[0, 0])
        corner = batch.xy[n, 0].numpy() - zoom * sample.poses.xy[0, 0]
        edges = np.array([-0.5, -0.5, 239.5, 199.5]) * zoom + np.tile(corner, 2)
        assert batch.image[n].numpy() == pytest.approx(edges, abs=1e-3)


def test_outside_the_image_is_black(dots) -> None:
    picture = np.full((40, 40, 3), 255, np.uint8)
    poses = Poses.create(3, xy=[[[0, 0], [5, 5], [9, 9]]], visibility=[[2, 2, 2]], box=[[0.0, 0, 10, 10]])
    manifest = write_manifest(
        dots.folder / "m", [dots.sample("a.png", poses, picture)], dots.skeleton, {"dots": dots.folder}, stage="test"
    )
    larger = dots.manifest("larger", 1, sides=(80, 80), image=(300, 260))
    batch = crops(manifest, larger)[[0, 1]]
    x, y = batch.xy[0, 0].tolist()  # of the image's first pixel: what is before it needs no canvas
    assert (x, y) == (0, 0)
    canvas, size = batch.canvas[0, 0], int((CANVAS[0] * 10 * PADDING / INPUT[1]) / 2)
    assert canvas[: size - 2, : size - 4].min() == 255, "as far as augmentation may look"
    assert canvas[40:].max() == 0 and canvas[:, 40:].max() == 0, "and no farther than the image"


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


@pytest.mark.parametrize("state", [Visibility.UNLABELLED, Visibility.ABSENT])
def test_nothing_to_train_on_is_told(dots, state) -> None:
    one = dots.manifest("one", 1)
    empty = dots.manifest("empty", 2, visibility=[state] * 3)
    with pytest.raises(InputError, match=r"empty: no labelled keypoint to train on\. Training needs poses with a box"):
        crops(one, empty)


@pytest.mark.parametrize(("less", "kept"), [(0, True), (1, False)])
def test_canvases_are_kept_while_they_fit(dots, less, kept) -> None:
    manifest = dots.manifest("people", 2)
    needed = sum(crops(manifest)[[n]].canvas.numel() for n in range(2))
    people = crops(manifest, cache_bytes=needed - less)
    before = people[[0, 1]]
    for file in dots.folder.glob("people-*.png"):
        file.unlink()
    if kept:
        again = people[[1, 0]]
        assert torch.equal(again.canvas, before.canvas.flip(0)) and torch.equal(again.xy, before.xy.flip(0))
    else:
        with pytest.raises(ImageError):
            people[[0]]


def test_detail_is_reduced_until_a_batch_fits(dots) -> None:
    manifest = dots.manifest("people", 6, sides=(60, 150), image=(390, 370))
    given = {"canvas_size": (194, 162), "detail": 2.0, "batch_size": 4}
    whole, least = crops(manifest, **given), crops(manifest, **given, batch_bytes=0)
    assert (whole.detail, whole.note) == (2.0, "")
    assert least.detail == 1.0, "not below what the network sees"
    batch, expected = least[range(6)], crops(manifest, canvas_size=(97, 81), detail=1.0)[range(6)]
    assert all(torch.equal(getattr(batch, field.name), getattr(expected, field.name)) for field in fields(batch))
    largest = 4 * whole[range(6)].canvas[0].numel()
    assert crops(manifest, **given, batch_bytes=largest).note == "", "it fits, if barely"
    people = crops(manifest, **given, batch_bytes=largest - 1)
    assert 1 < people.detail < 2
    batch = people[range(6)]
    assert 0.5 * largest < 4 * batch.canvas[0].numel() < largest
    assert people.note.startswith(f"People are kept with detail {people.detail:.2g} instead of 2, to save memory: 4 of")
    assert np.abs(dots.found(batch.canvas.numpy()) - batch.xy.numpy()).max() < 0.05
    for n in range(6):  # as much of the image is seen around each person as with full detail
        full, less = whole[[n]], people[[n]]
        zoom = float((less.box[0, 2] - less.box[0, 0]) / (full.box[0, 2] - full.box[0, 0]))
        for axis in (2, 3):
            assert less.canvas.shape[axis] >= zoom * (full.canvas.shape[axis] - 2)


def test_an_image_of_another_size_is_refused(dots) -> None:
    manifest = dots.manifest("people", 1, image=(240, 200))
    with Image.open(dots.folder / "people-0.png") as image:
        image.resize((120, 100)).save(dots.folder / "people-0.png")
    with pytest.raises(ImageError, match=r"people-0\.png: is 120x100 now, it was labelled as 240x200"):
        crops(manifest)[[0]]


# ---- several datasets


def other_people(dots, name, keypoints, *, visibility, **attributes):
    """A manifest of another skeleton: one picture, one person."""
    skeleton = Skeleton(name, keypoints, (), tuple(range(len(keypoints))), (0.05,) * len(keypoints), "test")
    xy = np.full((1, len(keypoints), 2), 20.0) + np.arange(len(keypoints))[None, :, None]
    box = [[10.0, 10, 40, 40]]
    poses = Poses.create(len(keypoints), xy=xy, visibility=[visibility], box=box, attributes=[attributes])
    sample = dots.sample(f"{name}.png", poses, np.full((60, 60, 3), 90, np.uint8))
    return write_manifest(dots.folder / f"{name}.m", [sample], skeleton, {"dots": dots.folder}, stage="test")


def test_datasets_of_other_skeletons_in_one_batch(dots) -> None:
    two = other_people(dots, "two", ("a", "b"), visibility=[Visibility.HIDDEN, Visibility.VISIBLE])
    one = other_people(dots, "one", ("a",), visibility=[Visibility.VISIBLE])
    people = crops(dots.manifest("people", 2), two, one, datasets=(2, 0, 5))
    assert people.num_keypoints == 3
    batch = people[[3, 0, 2, 1]]
    assert batch.dataset.tolist() == [5, 2, 0, 2]
    assert batch.tells_hidden.tolist() == [False, False, True, False]
    assert batch.visibility.tolist() == [[2, 0, 0], [2, 2, 2], [1, 2, 0], [2, 2, 2]]
    assert batch.xy.shape == (4, 3, 2) and batch.xy.isfinite().all()
    alone = crops(two)[[0]]
    assert torch.equal(batch.xy[2, :2], alone.xy[0]) and torch.equal(batch.box[2], alone.box[0])
    height, width = alone.canvas.shape[2:]
    assert torch.equal(batch.canvas[2, :, :height, :width], alone.canvas[0])


def test_what_a_network_filled_in_is_trusted_less_and_tells_nothing_of_hidden_keypoints(dots) -> None:
    said = [Visibility.VISIBLE, Visibility.HIDDEN, Visibility.HIDDEN]
    one = other_people(dots, "one", ("a", "b", "c"), visibility=said, filled=["b", "c", "no keypoint"])
    two = other_people(dots, "two", ("a", "b"), visibility=said[1:], filled=["b"])
    batch = crops(one, two)[[0, 1]]
    low = float(np.float32(FILLED_WEIGHT))
    assert batch.trust.tolist() == [[1, low, low], [1, low, 1]]
    assert batch.tells_hidden.tolist() == [False, True], "a person said so of two's a, and nobody of one's"
    everything = other_people(dots, "all", ("a", "b"), visibility=said[:2], filled=["a", "b"])
    assert crops(everything).sizes == [1]


def test_one_keypoint_and_one_outside_the_image(dots) -> None:
    manifest = other_people(dots, "one", ("a",), visibility=[Visibility.VISIBLE])
    batch = crops(manifest)[[0]]
    assert batch.xy.shape == (1, 1, 2)
    outside = dots.folder / "outside"
    poses = Poses.create(1, xy=[[[70.0, -8.0]]], visibility=[[2]], box=[[40.0, 0, 60, 30]])
    sample = dots.sample("outside.png", poses, np.full((60, 60, 3), 90, np.uint8))
    write_manifest(outside, [sample], manifest.skeleton, {"dots": dots.folder}, stage="test")
    batch = crops(Manifest.open(outside))[[0]]
    x, y = batch.xy[0, 0].tolist()
    assert x > batch.image[0, 2] and y < batch.image[0, 1]


@pytest.mark.gpu
def test_a_pinned_batch_on_a_gpu(dots) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    people = crops(dots.manifest("people", 2))
    loader = torch.utils.data.DataLoader(people, batch_size=None, sampler=[[0, 1]], pin_memory=True)
    batch, expected = next(iter(loader)), people[[0, 1]]
    there = batch.to(torch.device("cuda"))
    for field in fields(batch):
        assert getattr(batch, field.name).is_pinned()
        assert torch.equal(getattr(there, field.name).cpu(), getattr(expected, field.name))


def test_rows_and_devices(dots) -> None:
    batch = crops(dots.manifest("people", 4))[range(4)]
    assert len(batch) == 4
    for rows in (slice(1, 3), torch.tensor([3, 0])):
        part = batch.rows(rows).to(torch.device("cpu"))
        for field in fields(batch):
            assert torch.equal(getattr(part, field.name), getattr(batch, field.name)[rows])


def test_without_labels_everybody_with_a_box_is_there_and_nothing_is_said(dots) -> None:
    states = [[2, 2, 1], [2, 2, 2], [0, 0, 0], [3, 3, 3], [2, 2, 2]]
    box = [[0.0, 0, 10, 10], [np.nan] * 4, *[[0.0, 0, 10, 10]] * 3]
    xy = np.where(np.isin(states, (1, 2))[..., None], [4.0, 4.0], np.nan)
    poses = Poses.create(3, xy=xy, visibility=states, box=box, crowd=[False, False, False, False, True])
    sample = dots.sample("a.png", poses, np.zeros((40, 40, 3), np.uint8))
    manifest = write_manifest(dots.folder / "m", [sample], dots.skeleton, {"dots": dots.folder}, stage="test")
    people = crops(dots.manifest("people", 2), manifest, unlabelled=[1])
    assert people.sizes == [2, 3], "nobody without a box, and no crowd"
    batch = people[[0, 2, 3, 4]]
    assert batch.trust.tolist() == [[1, 1, 1], *[[0, 0, 0]] * 3]
    assert batch.visibility[1:].tolist() == [states[0], states[2], states[3]], "where joints may be cut between"
    assert not batch.tells_hidden.any()


def test_without_labels_and_boxes_there_is_nobody(dots) -> None:
    poses = Poses.create(3, xy=[[[4.0, 4.0]] * 3], visibility=[[2, 2, 2]], box=[[np.nan] * 4])
    sample = dots.sample("a.png", poses, np.zeros((40, 40, 3), np.uint8))
    manifest = write_manifest(dots.folder / "m", [sample], dots.skeleton, {"dots": dots.folder}, stage="test")
    with pytest.raises(InputError, match="nobody with a box to learn from"):
        crops(manifest, unlabelled=[0])


def test_workers_give_the_same_batches(dots) -> None:
    people = crops(dots.manifest("people", 6))
    sampler = MixedBatches(people.sizes, [1], batch_size=4, start=0, stop=3, seed=0)
    alone = [people[places] for places in sampler]
    loader = torch.utils.data.DataLoader(people, batch_size=None, sampler=sampler, num_workers=min(2, os.cpu_count()))
    for batch, expected in zip(loader, alone, strict=True):
        assert torch.equal(batch.canvas, expected.canvas) and torch.equal(batch.box, expected.box)
