"""Crops of reduced images: how far an image may be reduced, and that places stay where they were."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from autolabel.errors import InputError
from autolabel.images import decode_reduced
from autolabel.stages import Stages
from model.config import ViTPoseConfig
from model.crop import apply, crop_matrices, of_reduced, regions_from_boxes
from model.cutting import Cutter, Reduced

SIZE = (1600, 1200)


def cutter(*, larger_crop: bool = False, whole_box: bool = False, jitter: bool = False) -> Cutter:
    config = ViTPoseConfig(input_size=(64, 48))
    return Cutter(config, torch.device("cpu"), 4, larger_crop, whole_box, jitter, Stages())


def box(height: float, *, x: float = 800, y: float = 600) -> list[float]:
    return [x - height / 4, y - height / 2, x + height / 4, y + height / 2]


@pytest.mark.parametrize("codec", ["udp", "plain"])
def test_a_pixel_of_a_reduced_image_is_the_middle_of_what_it_stands_for(codec) -> None:
    regions = regions_from_boxes(torch.tensor([box(600.0), box(333.0, x=401.5)]), input_size=(64, 48))
    matrices = crop_matrices(regions, input_size=(64, 48), codec=codec)
    pixels = torch.tensor([[[0.0, 0.0], [101.0, 57.0]]]).double()
    middles = 4 * pixels + 1.5  # of pixels 4 i to 4 i + 3
    assert torch.allclose(apply(of_reduced(matrices, torch.tensor([4])), pixels), apply(matrices, middles), atol=1e-9)
    assert torch.equal(of_reduced(matrices, torch.tensor([1])), matrices)


@pytest.mark.parametrize(
    ("height", "by"), [(64, 1), (102, 1), (103, 2), (204, 2), (206, 4), (409, 4), (411, 8), (1100, 8)]
)
def test_no_crop_has_more_pixels_than_it_reads(height, by) -> None:
    """A crop is 1.25 times as high as its box and 64 pixels high."""
    assert cutter().reduction(np.array([box(1150.0), box(height)]), SIZE) == by


def test_small_images_and_empty_ones_are_read_whole() -> None:
    assert cutter().reduction(np.empty((0, 4)), SIZE) == 1
    everything = np.array([box(750.0, x=400, y=400)])
    assert cutter().reduction(everything, (999, 1000)) == 1, "COCO's images are read as all others read them"
    assert cutter().reduction(everything, (1000, 1000)) == 8


def test_the_finest_of_all_crops_counts() -> None:
    boxes = np.array([box(220.0)])
    assert cutter().reduction(boxes, SIZE) == 4
    assert cutter(jitter=True).reduction(boxes, SIZE) == 2, "of a box nine tenths as high"


def test_people_whom_the_image_may_cut_are_read_whole() -> None:
    cut = np.array([box(800.0, y=401.0)])
    assert cutter(whole_box=True).reduction(cut, SIZE) == 1
    assert cutter(whole_box=True).reduction(np.array([box(800.0)]), SIZE) == 8
    reduced = Reduced(torch.zeros(3, 300, 400, dtype=torch.uint8), SIZE, 4)
    with pytest.raises(InputError, match="reduced"):
        list(cutter(whole_box=True).batches([(reduced, cut)]))


@pytest.mark.parametrize("by", [2, 4, 8])
@pytest.mark.parametrize("jitter", [False, True])
def test_a_reduced_image_gives_the_same_crops(by, jitter) -> None:
    rng = np.random.default_rng(1)
    rough = Image.fromarray(rng.integers(0, 256, (15, 20, 3), np.uint8))
    file = io.BytesIO()
    rough.resize(SIZE, Image.Resampling.BICUBIC).save(file, "JPEG", quality=95)
    cutting = cutter(larger_crop=True, jitter=jitter)
    boxes = np.array([box(900.0), box(700.0, x=300), box(650.0, y=900)])
    assert cutting.reduction(boxes, SIZE) == 8

    def cut(most):
        _, pixels, reduced = decode_reduced(file.getvalue(), most, subject="drawn")
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        (crops,) = cutting.batches([(image if most == 1 else Reduced(image, SIZE, reduced), boxes)])
        return crops

    whole, reduced = cut(1), cut(by)
    assert reduced.jittered.shape == whole.jittered.shape == (3, 2 if jitter else 0, 3, 64, 48)
    for name in ("crops", "larger", "jittered")[: 3 if jitter else 2]:
        one, other = (getattr(crops, name).float() for crops in (whole, reduced))
        assert one.shape == other.shape
        inside = (one > 0) & (other > 0)  # black begins at the image's edge, up to a reduced pixel further in
        assert inside.float().mean() > 0.5
        assert ((one - other).abs() * inside).mean() < 2
        assert (one - other).mean(dim=(-1, -2)).abs().max() < 3
    assert np.array_equal(whole.image_size, reduced.image_size)
    assert np.array_equal(whole.beyond, reduced.beyond)


def test_only_crops_beyond_which_there_is_more_are_cut_larger() -> None:
    image, boxes = torch.zeros(3, 100, 200, dtype=torch.uint8), np.array([[10.0, 10, 30, 50], [-80, -80, 280, 280]])
    ((both,), (neither,)) = (cutter(larger_crop=wanted).batches([(image, boxes)]) for wanted in (True, False))
    assert both.beyond.tolist() == [True, False] and len(both.larger) == 1 and len(both.crops) == 2
    assert not neither.beyond.any() and len(neither.larger) == 0


def test_the_people_of_several_images_fill_a_batch() -> None:
    image = torch.zeros(3, 100, 200, dtype=torch.uint8)
    boxes = np.array([[10.0 + i, 10, 30, 50] for i in range(7)])
    cutting = cutter()
    batches = list(
        cutting.batches((image, boxes[rows]) for rows in (slice(0, 1), slice(1, 1), slice(1, 6), slice(6, 7)))
    )
    assert [len(batch.crops) for batch in batches] == [4, 3]
    assert np.array_equal(np.concatenate([batch.boxes for batch in batches]), boxes)
    spent = cutting.stages.spent()
    assert spent["wait for images"].times == 5  # the fifth finds that there are no more
    assert spent["cut crops"].times == 2  # a batch at once


def test_large_images_are_let_go_before_a_batch_is_full(monkeypatch) -> None:
    monkeypatch.setattr("model.cutting.HELD_PIXELS", 30_000)
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.integers(0, 256, (3, 100, 200)).astype(np.uint8)) for _ in range(4)]
    boxes = np.array([[10.0, 10, 90, 80]])
    cutting, whole = cutter(), cutter()
    batch = next(cutting.batches((image, boxes) for image in images))
    assert cutting.stages.spent()["cut crops"].times == 2  # of two images each
    monkeypatch.undo()
    assert torch.equal(batch.crops, next(whole.batches((image, boxes) for image in images)).crops)
