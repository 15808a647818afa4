"""Where the whole person would be: geometry by hand, and second looks that read the same pixels as the image has."""

import math

import numpy as np
import pytest
import torch

from model.crop import Regions, apply, crop, crop_matrices, regions_from_boxes
from model.whole_box import (
    first_look,
    image_edges,
    log_reach,
    may_be_cut,
    reaches,
    surroundings,
    touches,
    whole_boxes,
    worth_another_look,
)

IMAGE = (-0.5, -0.5, 199.5, 99.5)  # 200 x 100 pixels
SIDES = ("left", "top", "right", "bottom")
SIZE = (64, 48)


def edges(*boxes):
    return torch.tensor(boxes, dtype=torch.float64)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((20, 20, 60, 80), ()),
        ((-0.5, 20, 60, 80), ("left",)),
        ((0.6, 20, 60, 80), ("left",)),  # 1.1 of 1.2 pixels, which are 2 % of 60
        ((0.8, 20, 60, 80), ()),
        ((0.4, 20, 20, 40), ("left",)),  # less than a pixel, however small the box
        ((0.6, 20, 20, 40), ()),
        ((20, -9, 60, 80), ("top",)),  # beyond the image
        ((150, 20, 199.5, 99.5), ("right", "bottom")),
        (IMAGE, SIDES),
    ],
)
def test_where_a_box_reaches_the_edge(box, expected) -> None:
    assert touches(edges(box), edges(IMAGE)).tolist() == [[name in expected for name in SIDES]]


def test_a_first_look_goes_beyond_the_image_where_it_may_cut() -> None:
    """Half of the longer side; but a box that is the whole image says nothing of a cut."""
    image = image_edges(torch.tensor([[200.0, 100]] * 3))
    assert image.tolist() == [list(IMAGE)] * 3
    boxes = edges(IMAGE, (-0.5, -0.5, 199.5, 80), (120, 40, 160, 99.5))
    assert may_be_cut(boxes, image).tolist() == [[False] * 4, [True, True, True, False], [False, False, False, True]]
    expected = [list(IMAGE), [-100.5, -100.5, 299.5, 80], [120, 40, 160, 129.25]]
    assert first_look(boxes, image).tolist() == expected


def test_how_far_people_reach_by_hand() -> None:
    """A crop of 40 x 80 pixels about (50, 60), and a box whose edges are 40, 20, 10 and 80 from its middle."""
    regions = Regions(edges((50, 60)), edges((40, 80)), torch.zeros(1), torch.zeros(1, dtype=torch.bool))
    found = reaches(edges((10, 40, 60, 140)), regions, crop_matrices(regions, input_size=(80, 40), codec="plain"))
    assert found.numpy() == pytest.approx(np.array([[1.0, 0.5, 0.25, 2.0]]))
    assert log_reach(found)[0, 1] == pytest.approx(math.log(0.5))
    assert log_reach(-found)[0, 0] == pytest.approx(math.log(0.05)), "of who ends before the middle"


@pytest.mark.parametrize("codec", ["udp", "plain"])
@pytest.mark.parametrize(("rotation", "flip"), [(0.0, False), (0.0, True), (30.0, False), (-50.0, True)])
def test_reaches_are_those_of_the_box_in_the_crop(codec, rotation, flip) -> None:
    """The middle goes where the crop's map sends it; the sides keep their lengths."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 50, (20, 2))
    box = torch.tensor(np.concatenate([low, low + rng.uniform(20, 60, (20, 2))], axis=1))
    upright = regions_from_boxes(box + torch.tensor(rng.uniform(-20, 20, (20, 1))), input_size=SIZE)
    regions = Regions(upright.centre, upright.size, torch.full((20,), rotation), torch.full((20,), flip))
    matrices = crop_matrices(regions, input_size=SIZE, codec=codec)
    found = reaches(box, regions, matrices)
    height, width = (SIZE[0] - 1, SIZE[1] - 1) if codec == "udp" else SIZE
    middle = apply(matrices, ((box[:, :2] + box[:, 2:]) / 2)[:, None])[:, 0]
    half = (box[:, 2:] - box[:, :2]) / regions.size * torch.tensor([width, height]) / 2
    x, y = (middle - torch.tensor([width, height]) / 2).unbind(1)
    expected = torch.stack([half[:, 0] - x, half[:, 1] - y, half[:, 0] + x, half[:, 1] + y], dim=1) / (height / 2)
    # In UDP a crop's pixels are not quite square: (W - 1) / (H - 1) is not W / H.
    assert found.numpy() == pytest.approx(expected.numpy(), abs=0.02 if codec == "udp" else 1e-6)


def test_boxes_come_back_from_what_is_told() -> None:
    box = edges((20, 20, 60, 80), (0, 0, 30, 30))
    whole = edges((10, 20, 80, 140), (-40, 0, 30, 100))
    regions = regions_from_boxes(box, input_size=SIZE)
    reach = reaches(whole, regions, crop_matrices(regions, input_size=SIZE, codec="plain"))
    assert whole_boxes(log_reach(reach).float(), box, regions).numpy() == pytest.approx(whole.numpy(), abs=1e-4)
    assert worth_another_look(box, whole).tolist() == [True, True]
    # 60 of 85 pixels in common, 60 of 86; 24 of 35 of each side.
    assert worth_another_look(box, edges((20, 20, 60, 105), (0, 0, 30, 43))).tolist() == [False, True]
    assert worth_another_look(box, edges((20, 20, 60, 63), (0, 0, 30, 20))).tolist() == [False, True]
    # Of who is hardly larger than the part, that is the whole.
    hardly = edges((15, 15, 75, 87), (0, 0, 30, 37))
    reach = reaches(hardly, regions, crop_matrices(regions, input_size=SIZE, codec="plain"))
    assert whole_boxes(log_reach(reach), box, regions).numpy() == pytest.approx(
        np.array([[20, 20, 60, 80], [0, 0, 30, 37]]), abs=1e-4
    )
    # What the image shows lies in the answer, and nobody is told to be a giant.
    assert whole_boxes(torch.full((2, 4), -9.0), box, regions).tolist() == box.tolist()
    huge = whole_boxes(torch.full((2, 4), 9.0), box, regions)
    assert (huge[:, 2:] - huge[:, :2]).tolist() == [[11 * 60] * 2, [11 * 30] * 2]


@pytest.mark.parametrize("box", [(150.0, 20, 199.5, 90), (-0.5, -0.5, 30, 60), (260.0, -30, 300, -5)])
def test_a_second_look_reads_the_images_pixels(box) -> None:
    image = torch.randint(0, 256, (3, 100, 200), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    one = torch.tensor(box, dtype=torch.float64)
    region = regions_from_boxes(one[None], input_size=(512, 384))
    kept = surroundings(image, region.centre[0], 1.5 * float(region.size[0, 1]), 512 / float(region.size[0, 1]))
    assert kept.zoom == 1.0 and kept.pixels.numel() <= image.numel()
    wider = regions_from_boxes(one[None] + torch.tensor([-20.0, -20, 20, 20]), input_size=SIZE)
    for codec in ("udp", "plain"):
        expected = crop(image, crop_matrices(wider, input_size=SIZE, codec=codec), SIZE)
        assert torch.equal(kept.crop(wider, input_size=SIZE, codec=codec), expected)


def test_little_is_kept_of_a_large_image_and_it_lies_where_it_did() -> None:
    """A smooth picture, so that two resamplings do not matter."""
    y, x = torch.meshgrid(torch.arange(900.0), torch.arange(1200.0), indexing="ij")
    image = torch.stack([x / 5, y / 4, (x + y) / 9]).to(torch.uint8)
    box = edges((700, 300, 1199.5, 899.5))
    region = regions_from_boxes(box, input_size=SIZE)
    height = float(region.size[0, 1])
    kept = surroundings(image, region.centre[0], 1.5 * height, SIZE[0] / height)
    assert kept.pixels.shape == (3, int(900 * kept.zoom), int(1200 * kept.zoom)) and kept.zoom < 0.1
    wider = regions_from_boxes(edges((600, 250, 1500, 1700)), input_size=SIZE)
    expected = crop(image, crop_matrices(wider, input_size=SIZE, codec="udp"), SIZE).int()
    found = kept.crop(wider, input_size=SIZE, codec="udp").int()
    seen = expected.amin(dim=1) > 0
    inner = seen[:, 1:-1, 1:-1] & seen[:, 2:, 1:-1] & seen[:, :-2, 1:-1] & seen[:, 1:-1, 2:] & seen[:, 1:-1, :-2]
    difference = (found - expected).abs().amax(dim=1)[:, 1:-1, 1:-1]
    assert inner.float().mean() > 0.2 and difference[inner].max() <= 4


def test_a_box_larger_than_the_image_and_one_of_a_pixel() -> None:
    image = torch.full((3, 5, 7), 9, dtype=torch.uint8)
    for box in ((-50.0, -50, 60, 60), (3.0, 3, 3, 3)):
        one = torch.tensor(box, dtype=torch.float64)
        region = regions_from_boxes(one[None], input_size=SIZE)
        height = float(region.size[0, 1])
        kept = surroundings(image, region.centre[0], 1.5 * height, SIZE[0] / height)
        crops = kept.crop(region, input_size=SIZE, codec="udp")
        assert crops.shape == (1, 3, *SIZE) and 0 < crops.max() <= 9
