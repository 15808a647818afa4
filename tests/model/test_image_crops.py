"""Canvases for pre-training: they show the people or images of a corpus, and what cannot be read is passed over."""

import numpy as np
import pytest
import torch
from PIL import Image

from autolabel.errors import InputError
from autolabel.manifest import write_manifest
from autolabel.poses import Poses, Sample
from model.crop import IMAGENET_MEAN, IMAGENET_STD
from model.draws import Draws
from model.image_crops import ImageBatch, ImageCrops, random_crops

INPUT = (64, 48)
WHOLE = (1.0, 1.0)


def crops(*manifests, cuts="auto", area=WHOLE, **changes):
    given = {"cuts": [cuts] * len(manifests), "input_size": INPUT, "padding": 1.25, "area": area, **changes}
    return ImageCrops(manifests, **given)


def gradient(width, height):
    """An image whose red tells the column and whose green tells the row."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x, y, np.full_like(x, 7)], axis=-1).astype(np.uint8)


def corpus(folder, count, *, size=(200, 100), boxes=()):
    folder.mkdir()
    samples = []
    for i in range(count):
        Image.fromarray(gradient(*size)).save(folder / f"{i}.png")
        given = np.array(boxes, np.float64).reshape(-1, 4)
        poses = Poses.create(3, id=[f"{i}-{j}" for j in range(len(given))], box=given)
        samples.append(Sample(f"s{i}", "images", f"{i}.png", size, poses))
    return samples, {"images": folder}


@pytest.fixture
def manifest(tmp_path, dots):
    def make(name, count=2, **changes):
        samples, roots = corpus(tmp_path / f"{name}-images", count, **changes)
        return write_manifest(tmp_path / name, samples, dots.skeleton, roots, stage="test")

    return make


# ---- canvases


def test_a_person_is_shown_in_the_padded_box(manifest) -> None:
    """A box of 24x32 at (80, 40) is padded to 30x40, which stays as it is: it is smaller than the input."""
    people = crops(manifest("people", boxes=[[80, 40, 104, 72]]))
    batch = people[[1]]
    assert batch.canvas.shape == (1, 3, 64, 48) and people.sizes == [2]
    assert batch.frame.tolist() == [[0, 0, 30, 40]]
    np.testing.assert_array_equal(batch.canvas[0, :, :40, :30].permute(1, 2, 0), gradient(200, 100)[36:76, 77:107])
    assert not batch.canvas[0, :, 40:].any() and not batch.canvas[0, :, :, 30:].any()


def test_a_large_person_is_reduced_and_the_outside_is_black(manifest) -> None:
    """A box of 150x200 about (100, 50) is padded to 187.5x250; of the canvas's 64 rows the image fills 100 / 250."""
    batch = crops(manifest("people", boxes=[[25, -50, 175, 150]]))[[0]]
    assert batch.frame.tolist() == [[0, 0, 48, 64]]
    shown = batch.canvas[0, 2].numpy()
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    assert (rows[0], rows[-1] + 1) == (19, 45)  # 75 / 250 x 64 = 19.2, 175 / 250 x 64 = 44.8
    assert (columns[0], columns[-1] + 1) == (0, 48)
    # Columns 6.25 to 193.75 of the image over 48.
    expected = 6.25 + (np.arange(48) + 0.5) * 187.5 / 48 - 0.5
    np.testing.assert_allclose(batch.canvas[0, 0, 30].numpy(), expected, atol=2)


def test_an_image_is_shown_whole(manifest) -> None:
    batch = crops(manifest("images", size=(200, 100)))[[0]]
    side = batch.canvas.shape[2]
    assert batch.canvas.shape == (1, 3, side, side) and side == 64  # sqrt(64 x 48 x 4 / 3)
    assert batch.frame.tolist() == [[0, 0, 64, 32]]
    expected = (np.arange(64) + 0.5) * 200 / 64 - 0.5
    np.testing.assert_allclose(batch.canvas[0, 0, 10].numpy(), expected, atol=1)
    small = crops(manifest("small", size=(20, 10)))[[0]]
    assert small.frame.tolist() == [[0, 0, 20, 10]], "never enlarged"
    np.testing.assert_array_equal(small.canvas[0, :, :10, :20].permute(1, 2, 0), gradient(20, 10))


def test_reduction_averages_what_it_leaves_out(tmp_path, dots) -> None:
    """Stripes finer than the canvas become grey; picked pixels would be black or white."""
    samples, roots = corpus(tmp_path / "images", 1, size=(640, 640))
    stripes = np.zeros((640, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "images" / "0.png")
    canvas = crops(write_manifest(tmp_path / "m", samples, dots.skeleton, roots, stage="test"))[[0]].canvas
    assert (canvas.float() - 127.5).abs().max() < 8


def test_canvases_hold_the_smallest_crop(manifest) -> None:
    """A share of 1/16 has a quarter of the side; enlarged and reduced by 2 at most, canvases are 2 times the input."""
    people = manifest("people", boxes=[[20, 10, 60, 90]])
    assert crops(people, area=(1 / 16, 1.0)).canvas_size == (128, 96)
    both = crops(people, manifest("images"), area=(1 / 16, 1.0))
    assert both.canvas_size == (128, 128) and both.sizes == [2, 2]


def test_what_a_manifest_gives(manifest, dots, tmp_path) -> None:
    two = manifest("two", 3, boxes=[[0, 0, 20, 20], [50, 50, 80, 90]])
    assert crops(two).sizes == [6]
    assert crops(two, cuts="images").sizes == [3]
    assert [name[-5:] for name in crops(two).names([1, 2])] == ["0.png", "1.png"]
    with pytest.raises(InputError, match=r'none: has no person with a box.*crops = "images"'):
        crops(manifest("none"), cuts="people")
    empty = write_manifest(tmp_path / "empty", [], dots.skeleton, {}, stage="test")
    with pytest.raises(InputError, match="empty: has no images"):
        crops(empty)


@pytest.mark.parametrize(("cache_bytes", "kept"), [(4 * 3 * 64 * 48, True), (4 * 3 * 64 * 48 - 1, False)])
def test_an_image_is_decoded_once_for_all_of_its_people(manifest, tmp_path, cache_bytes, kept) -> None:
    people = crops(manifest("two", 2, boxes=[[0, 0, 20, 20], [50, 50, 80, 90]]), cache_bytes=cache_bytes)
    expected = people[[1]]
    (tmp_path / "two-images" / "0.png").unlink()
    found = people[[0, 1]]
    assert (not found.refused) == kept
    assert torch.equal(found.canvas[1], expected.canvas[0]) == kept


# ---- what cannot be read


def test_an_image_that_cannot_be_read_is_replaced_and_told(manifest, tmp_path) -> None:
    """By the next of its manifest, walking round."""
    one, two = manifest("one", 3, size=(30, 20)), manifest("two", 2, size=(40, 20))
    for broken in ("one-images/2.png", "one-images/0.png"):
        (tmp_path / broken).write_bytes(b"no image")
    (tmp_path / "two-images" / "1.png").unlink()
    images = crops(one, two)
    for _ in range(2):  # the second time without asking the disk
        batch = images[[0, 1, 2, 3, 4]]
        assert batch.frame[:, 2].tolist() == [30, 30, 30, 40, 40]
        assert {name.split("/")[-2] + name[-6:] for name in batch.refused} == {
            *("one-images/2.png", "one-images/0.png", "two-images/1.png")
        }
        assert any("cannot be read: No such file" in reason for reason in batch.refused.values())
    assert images[[1]].refused == {}
    (tmp_path / "two-images" / "0.png").unlink()
    with pytest.raises(InputError, match=r"two-images/0\.png: cannot be read.*no other image of its manifest"):
        crops(one, two)[[0, 4]]


def test_boxes_of_another_size_of_image_are_refused(manifest, tmp_path) -> None:
    people = manifest("people", 2, boxes=[[0, 0, 20, 20]])
    Image.fromarray(gradient(100, 50)).save(tmp_path / "people-images" / "0.png")
    batch = crops(people)[[0]]
    assert list(batch.refused.values()) == ["is 100x50 now, its boxes were given in 200x100"]


# ---- random crops


def batch_of(frames, canvas=(80, 120)):
    """Canvases whose red tells the column, green the row, as pixel edges tell it."""
    image = torch.from_numpy(gradient(canvas[1], canvas[0])).permute(2, 0, 1)
    return ImageBatch(image.expand(len(frames), -1, -1, -1), torch.tensor(frames).float(), {})


def drawn(batch, *, area=(0.3, 1.0), aspect=4 / 3, flip=0.5, rows=slice(None), total=None, seed=0):
    draws = Draws(seed, 0, total or len(batch), rows)
    return random_crops(batch, area=area, aspect=aspect, flip=flip, input_size=INPUT, draws=draws)


def grey(crops):
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (crops * std + mean) * 255


def test_the_whole_frame() -> None:
    """A frame of the input's aspect, all of it: pixel i of the crop lies at x0 + (i + 1/2) s - 1/2."""
    found = grey(drawn(batch_of([[12, 8, 60, 72], [12, 8, 60, 72]]), area=WHOLE, aspect=1.0, flip=0.0))
    torch.testing.assert_close(found[0, 0], torch.arange(12, 60).float().expand(64, -1), rtol=0, atol=1e-3)
    torch.testing.assert_close(found[0, 1], torch.arange(8, 72).float()[:, None].expand(-1, 48), rtol=0, atol=1e-3)
    mirrored = grey(drawn(batch_of([[12, 8, 60, 72]]), area=WHOLE, aspect=1.0, flip=1.0))
    torch.testing.assert_close(mirrored[0], found[0].flip(-1), rtol=0, atol=1e-3)


def rectangles(found):
    """(x0, y0, x1, y1) edges of the crops, from the colours of their corner pixels."""
    first, last = found[:, :2, 0, 0], found[:, :2, -1, -1]
    first, last = torch.minimum(first, last), torch.maximum(first, last)
    margin = (last - first) / torch.tensor([47.0, 63.0]) / 2
    return torch.cat([first - margin + 0.5, last + margin + 0.5], dim=1)


def test_crops_stay_in_the_frame_and_have_the_area_that_was_asked_for() -> None:
    frame = [10.0, 6.0, 110.0, 76.0]
    found = rectangles(grey(drawn(batch_of([frame] * 400), area=(0.2, 0.5))))
    assert (found[:, :2] >= torch.tensor(frame[:2]) - 0.02).all() and (
        found[:, 2:] <= torch.tensor(frame[2:]) + 0.02
    ).all()
    size = found[:, 2:] - found[:, :2]
    share, aspect = size.prod(dim=1) / 7000, size[:, 0] / size[:, 1] / (48 / 64)
    free = size[:, 1] < 69.9  # as high as its frame, a crop has lost some of its area
    assert 0.199 < share[free].min() < 0.22 and 0.45 < share[free].max() < 0.501
    assert 0.745 < aspect[free].min() < 0.78 and 1.29 < aspect[free].max() < 1.34
    centre = (found[:, :2] + found[:, 2:]) / 2
    assert (centre.std(dim=0) > torch.tensor([10.0, 3.0])).all()


def test_a_crop_depends_on_its_place_in_the_step_alone() -> None:
    batch = batch_of([[0, 0, 100, 80]] * 6)
    whole = drawn(batch)
    assert torch.equal(drawn(batch.rows(slice(1, None, 2)), rows=slice(1, None, 2), total=6), whole[1::2])
    assert not torch.equal(drawn(batch, seed=1), whole)
    assert len({tuple(row.flatten()[:50].tolist()) for row in whole}) == 6


def test_half_are_mirrored() -> None:
    found = drawn(batch_of([[0, 0, 100, 80]] * 400))
    assert 150 < (found[:, 0, 0, 0] > found[:, 0, 0, -1]).sum() < 250


def test_parts_of_a_batch() -> None:
    batch = ImageBatch(torch.arange(4).view(4, 1, 1, 1), torch.zeros(4, 4), {"a": "b"})
    assert len(batch) == 4 and batch.rows(slice(1, 3)).canvas.flatten().tolist() == [1, 2]
    assert batch.rows(slice(0, 1)).refused == {"a": "b"} == batch.to(torch.device("cpu")).refused
