"""Regions, affine maps and the warp, against the published formulas, OpenCV, and their own inverses."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autolabel.errors import ConfigError, InputError, PosesError
from model.crop import (
    Regions,
    apply,
    back_project,
    crop,
    crop_each,
    crop_matrices,
    invert,
    normalise,
    regions_from_boxes,
)
from model.heatmap import decode, encode, input_to_cells
from model.warp import flat, warp

CODECS = ("udp", "plain")
INPUT, CELLS = (256, 192), (64, 48)


def some_regions(count, seed, *, image=(480, 640), sides=(4, 600)):
    """Boxes of all sizes in, over and outside an image (H, W), turned and partly mirrored."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(-0.2, 1.2, (count, 2)) * [image[1], image[0]]
    half = np.exp(rng.uniform(*np.log(sides), (count, 2))) / 2
    boxes = torch.tensor(np.concatenate([centre - half, centre + half], axis=1))
    return replace(
        regions_from_boxes(boxes, input_size=INPUT),
        rotation=torch.tensor(rng.choice([0, 1], count) * rng.uniform(-180, 180, count)),
        flip=torch.tensor(rng.random(count) < 0.5),
    )


# ---- regions


@pytest.mark.parametrize(
    ("box", "centre", "size"),
    [
        ([10, 20, 70, 100], (40, 60), (75, 100)),  # 60 x 80 has the aspect already
        ([10, 20, 40, 100], (25, 60), (75, 100)),  # narrow: widened to 0.75 of its height
        ([10, 20, 130, 60], (70, 40), (150, 200)),  # wide: heightened
        ([-30.5, -20, 29.5, 60], (-0.5, 20), (75, 100)),  # over the border: not clipped
        ([5, 20, 5, 100], (5, 60), (75, 100)),  # no width: the height decides
        ([5, 7, 5, 7], (5, 7), (1.25, 1.25 / 0.75)),  # a point: one pixel
    ],
)
def test_a_region_is_the_padded_box_in_the_inputs_aspect(box, centre, size):
    regions = regions_from_boxes(torch.tensor([box], dtype=torch.float64), input_size=INPUT)
    assert regions.centre[0].tolist() == pytest.approx(centre)
    assert regions.size[0].tolist() == pytest.approx(size)
    assert len(regions) == 1
    assert not regions.rotation.any()
    assert not regions.flip.any()


def test_regions_keep_float32_and_take_integers_as_float64():
    assert regions_from_boxes(torch.zeros(2, 4), input_size=INPUT).size.dtype == torch.float32
    assert regions_from_boxes(torch.zeros(2, 4).int(), input_size=INPUT).size.dtype == torch.float64
    assert len(regions_from_boxes(torch.zeros(0, 4), input_size=INPUT)) == 0


def test_padding_is_a_factor_on_both_sides():
    box = torch.tensor([[0.0, 0, 60, 80]])
    assert regions_from_boxes(box, input_size=INPUT, padding=1.0).size.tolist() == [[60, 80]]


@pytest.mark.parametrize("bad", [[math.nan] * 4, [0, 0, math.inf, 5], [10, 0, 5, 5], [0, 10, 5, 5]])
def test_a_box_that_cannot_be_cropped_is_refused_by_its_row(bad):
    with pytest.raises(PosesError, match="box 1: no region"):
        regions_from_boxes(torch.tensor([[0.0, 0, 5, 5], bad]), input_size=INPUT)


def test_boxes_that_were_checked_are_not_looked_at() -> None:
    boxes = torch.tensor([[10.0, 20, 40, 90], [5, 5, 5, 5]])
    looked, trusted = (regions_from_boxes(boxes, input_size=INPUT, checked=checked) for checked in (False, True))
    assert torch.equal(looked.centre, trusted.centre) and torch.equal(looked.size, trusted.size)
    # Tensors without numbers cannot answer questions, which a GPU can only when it has done everything before.
    assert len(regions_from_boxes(boxes.to("meta"), input_size=INPUT, checked=True)) == 2
    with pytest.raises(RuntimeError, match="meta"):
        regions_from_boxes(boxes.to("meta"), input_size=INPUT)


def test_no_crops() -> None:
    image = torch.zeros(3, 20, 20, dtype=torch.uint8)
    matrices = crop_matrices(regions_from_boxes(torch.zeros(0, 4), input_size=INPUT), input_size=INPUT, codec="udp")
    assert crop(image, matrices, INPUT).shape == (0, 3, *INPUT)
    assert apply(matrices, torch.zeros(0, 17, 2)).shape == (0, 17, 2)


@pytest.mark.parametrize("padding", [0, -1.0])
def test_padding_must_be_positive(padding):
    with pytest.raises(ConfigError, match="padding"):
        regions_from_boxes(torch.zeros(1, 4), input_size=INPUT, padding=padding)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", torch.ones(3, 2)),
        ("rotation", torch.zeros(2, 1)),
        ("flip", torch.zeros(2)),
    ],
)
def test_regions_that_contradict_themselves_are_refused(field, value):
    regions = regions_from_boxes(torch.zeros(2, 4), input_size=INPUT)
    with pytest.raises(InputError, match=rf"Regions\.{field}"):
        replace(regions, **{field: value})


# ---- affine maps


def test_udp_matrices_are_the_published_formula():
    regions = some_regions(50, seed=1)
    matrices = crop_matrices(replace(regions, flip=torch.zeros_like(regions.flip)), input_size=INPUT, codec="udp")
    for i in range(len(regions)):
        (cx, cy), (bw, bh) = regions.centre[i].tolist(), regions.size[i].tolist()
        theta = math.radians(regions.rotation[i].item())
        for x, y in ((0, 0), (640, 0), (123.4, 456.7)):
            u, v = x - cx, y - cy
            expected = (
                191 / bw * (u * math.cos(theta) - v * math.sin(theta) + bw / 2),
                255 / bh * (u * math.sin(theta) + v * math.cos(theta) + bh / 2),
            )
            actual = apply(matrices[i, None], torch.tensor([[x, y]], dtype=torch.float64))[0]
            assert actual.tolist() == pytest.approx(expected, abs=1e-6)


def test_plain_matrices_are_the_official_three_point_construction():
    regions = some_regions(50, seed=2)
    matrices = crop_matrices(replace(regions, flip=torch.zeros_like(regions.flip)), input_size=INPUT, codec="plain")
    for i in range(len(regions)):
        centre, width = regions.centre[i].numpy(), regions.size[i, 0].item()
        theta = math.radians(regions.rotation[i].item())
        up = width * -0.5 * np.array([-math.sin(theta), math.cos(theta)])
        source = np.float32([centre, centre + up, centre + up + [up[1], -up[0]]])
        middle, top = np.array([96.0, 128.0]), np.array([0, -96.0])
        target = np.float32([middle, middle + top, middle + top + [top[1], -top[0]]])
        expected = cv2.getAffineTransform(source, target)
        corners = centre + np.array([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5]]) * width
        actual = apply(matrices[i, None], torch.tensor(corners)[None])[0]
        # OpenCV takes float32 points, whose rounding a small box magnifies.
        tolerance = 1e-4 * max(1, 192 / width)
        np.testing.assert_allclose(actual, corners @ expected[:, :2].T + expected[:, 2], rtol=0, atol=tolerance)


@pytest.mark.parametrize(("codec", "last"), [("udp", (191, 255)), ("plain", (192, 256))])
def test_the_regions_corners_go_to_the_inputs_corners(codec, last):
    regions = regions_from_boxes(torch.tensor([[100.0, 50, 160, 130]]).double(), input_size=INPUT, padding=1)
    matrices = crop_matrices(regions, input_size=INPUT, codec=codec)
    corners = apply(matrices, torch.tensor([[[100.0, 50], [160, 130]]]).double())
    torch.testing.assert_close(corners, torch.tensor([[[0, 0], last]]).double())


def test_udp_and_plain_turn_in_opposite_directions():
    regions = regions_from_boxes(torch.tensor([[100.0, 50, 160, 130]]), input_size=INPUT)
    regions = replace(regions, rotation=torch.tensor([10.0]))
    right_of_centre = regions.centre + torch.tensor([10.0, 0.0])
    heights = {
        codec: apply(crop_matrices(regions, input_size=INPUT, codec=codec), right_of_centre)[0, 1].item()
        for codec in CODECS
    }
    assert heights["udp"] > 127.5  # y points down: clockwise
    assert heights["plain"] < 128


@pytest.mark.parametrize(("codec", "mirror"), [("udp", 191), ("plain", 192)])
def test_a_flip_mirrors_the_turned_crop(codec, mirror):
    regions = some_regions(20, seed=3)
    straight, flipped = (
        crop_matrices(replace(regions, flip=torch.full((20,), flip)), input_size=INPUT, codec=codec)
        for flip in (False, True)
    )
    xy = torch.rand(20, 5, 2, dtype=torch.float64) * 500
    expected = apply(straight, xy) * torch.tensor([-1.0, 1.0]) + torch.tensor([mirror, 0])
    torch.testing.assert_close(apply(flipped, xy), expected, atol=1e-8, rtol=0)


@given(seed=st.integers(0, 2**32 - 1), codec=st.sampled_from(CODECS))
def test_inverse_maps_bring_points_back(seed, codec):
    matrices = crop_matrices(some_regions(8, seed, image=(6000, 8000)), input_size=INPUT, codec=codec)
    xy = torch.rand(8, 3, 4, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 8000
    torch.testing.assert_close(apply(invert(matrices), apply(matrices, xy)), xy, atol=1e-7, rtol=0)
    torch.testing.assert_close(invert(invert(matrices)), matrices, atol=1e-7, rtol=1e-9)


@pytest.mark.parametrize("codec", CODECS)
def test_float32_geometry_is_good_to_a_hundredth_of_a_pixel_in_an_8000_pixel_image(codec):
    regions = some_regions(200, seed=4, image=(6000, 8000), sides=(30, 3000))
    coarse = Regions(regions.centre.float(), regions.size.float(), regions.rotation.float(), regions.flip)
    cells = torch.rand(200, 17, 2, dtype=torch.float64) * torch.tensor([47.0, 63.0])
    exact = back_project(cells, regions, heatmap_size=CELLS, codec=codec)
    rounded = back_project(cells.float(), coarse, heatmap_size=CELLS, codec=codec)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().max() < 0.01


@pytest.mark.parametrize("codec", CODECS)
def test_maps_keep_their_digits_under_autocast(codec):
    regions = some_regions(5, seed=5)
    regions = Regions(regions.centre.float(), regions.size.float(), regions.rotation.float(), regions.flip)
    xy = torch.rand(5, 17, 2) * 500
    outside = apply(crop_matrices(regions, input_size=INPUT, codec=codec), xy)
    with torch.autocast("cpu", torch.bfloat16):
        inside = apply(crop_matrices(regions, input_size=INPUT, codec=codec), xy)
    torch.testing.assert_close(inside, outside, rtol=0, atol=0)


# ---- the way back


@given(seed=st.integers(0, 2**32 - 1), codec=st.sampled_from(CODECS))
def test_back_projection_inverts_crop_and_stride(seed, codec):
    regions = some_regions(6, seed)
    xy = torch.rand(6, 17, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 600
    pixels = apply(crop_matrices(regions, input_size=INPUT, codec=codec), xy)
    cells = input_to_cells(pixels, input_size=INPUT, heatmap_size=CELLS, codec=codec)
    back = back_project(cells, regions, heatmap_size=CELLS, codec=codec)
    torch.testing.assert_close(back, xy, atol=1e-8, rtol=0)


@pytest.mark.parametrize(("codec", "less"), [("udp", 1), ("plain", 0)])
def test_back_projection_is_the_published_formula(codec, less):
    regions = regions_from_boxes(torch.tensor([[100.0, 50, 180, 130]]).double(), input_size=INPUT)
    (cx, cy), (bw, bh) = regions.centre[0].tolist(), regions.size[0].tolist()
    x, y = 30.25, 11.5
    expected = (x * bw / (48 - less) + cx - bw / 2, y * bh / (64 - less) + cy - bh / 2)
    actual = back_project(torch.tensor([[[x, y]]]).double(), regions, heatmap_size=CELLS, codec=codec)
    assert actual[0, 0].tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("codec", "bound"), [("udp", 0.01), ("plain", 0.5)])
def test_keypoints_survive_crop_target_and_decoding_within_the_codecs_error(codec, bound):
    """The whole way of a label, in cells of its region: full image, crop, target, peak, full image."""
    regions = some_regions(20, seed=6)
    cells = 5 + torch.rand(20, 17, 2, dtype=torch.float64) * torch.tensor([37.0, 53.0])
    xy = back_project(cells, regions, heatmap_size=CELLS, codec=codec)
    pixels = apply(crop_matrices(regions, input_size=INPUT, codec=codec), xy)
    targets, weights = encode(pixels, torch.ones(20, 17), input_size=INPUT, heatmap_size=CELLS, codec=codec)
    assert weights.all()
    back = back_project(decode(targets, codec).xy, regions, heatmap_size=CELLS, codec=codec)
    stretch = CELLS[1] / regions.size[:, :1, None]
    assert ((back - xy) * stretch).norm(dim=-1).max() < bound * math.sqrt(2)


# ---- the warp


def noise(height, width, seed=0):
    """An image (3, H, W) in which every edge is as sharp as can be."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return torch.tensor(pixels).permute(2, 0, 1)


def opencv(image, matrices, size=INPUT):
    array = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    crops = [cv2.warpAffine(array, m, (size[1], size[0]), flags=cv2.INTER_LINEAR) for m in matrices.numpy()]
    return torch.tensor(np.stack(crops)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("image", "sides"),
    [
        ((480, 640), (4, 600)),
        ((480, 640), (1, 8)),
        ((30, 20), (4, 600)),
        ((1, 1), (1, 4)),
        ((2, 300), (5, 50)),
    ],
    ids=str,
)
def test_crops_equal_opencv(codec, image, sides):
    pixels = noise(*image)
    matrices = crop_matrices(some_regions(12, seed=7, image=image, sides=sides), input_size=INPUT, codec=codec)
    difference = (crop(pixels, matrices, INPUT).int() - opencv(pixels, matrices).int()).abs()
    assert (difference <= 2).double().mean() >= 0.999
    # The promise is the line above; another build of OpenCV may round elsewhere. This one agrees everywhere.
    assert (difference == 0).double().mean() >= 0.99


def test_crops_of_several_images_are_those_of_each(monkeypatch):
    """On a GPU they are cut at once; that way is taken here too."""
    images = [noise(60, 80), noise(33, 47, seed=1).contiguous(), noise(90, 20, seed=2)]
    owner = torch.tensor([2, 0, 1, 1, 0, 2, 2])
    regions = some_regions(7, seed=3, image=(60, 80), sides=(4, 120))
    matrices = crop_matrices(regions, input_size=INPUT, codec="udp")
    alone = torch.cat([crop(images[i], matrices[[row]], INPUT) for row, i in enumerate(owner.tolist())])
    assert torch.equal(crop_each(images, owner, matrices, INPUT, torch.device("cpu")), alone)
    monkeypatch.setattr("model.warp._CROPS_AT_A_TIME", {"cpu": 3})
    at_once = warp(flat(images, torch.device("cpu")), owner, invert(matrices), INPUT)
    assert torch.equal(at_once, alone)
    assert alone.any()


@pytest.mark.parametrize(
    ("width", "moved"), [(40_000, 0.0), (60, 1e5), (60, 1e7), (60, 1e12)], ids=["wide", "far", "further", "furthest"]
)
def test_what_opencv_cannot_count_is_cut_all_the_same(width, moved):
    """Its sides have 16 bits, and places outside of the image come back into it where its 32 bits overflow."""
    image = noise(3, width)
    maps = torch.tensor([[[0.5, 0, moved - 100], [0, 1.0, 0]], [[1.0, 0, 100 - width], [0, 0.3, 0]]]).double()
    crops = crop(image, maps, (3, 120))
    assert torch.equal(crop(image.contiguous(), maps, (3, 120)), crops)
    assert crops[0].any() == (moved == 0), "far outside it is black"
    assert crops[1].any()


def test_crops_blend_with_black_at_the_border_and_are_black_outside():
    white = torch.full((3, 10, 10), 255, dtype=torch.uint8)
    shift = torch.tensor([[[1.0, 0, 2.5], [0, 1, 0]], [[1.0, 0, 500], [0, 1, 500]]]).double()
    over, outside = crop(white, shift, (3, 15))
    assert over[0, 0].tolist() == [0, 0, 128, *[255] * 9, 128, 0, 0]
    assert not outside.any()


def test_the_identity_copies():
    image = noise(20, 30)
    assert torch.equal(crop(image, torch.eye(2, 3)[None], (20, 30))[0], image)


def test_a_udp_flip_reverses_the_columns():
    image = torch.arange(0, 250, 5, dtype=torch.uint8).expand(3, 60, 50)
    regions = regions_from_boxes(torch.tensor([[5.0, 5, 35, 45]]).double(), input_size=INPUT)
    straight, flipped = (
        crop(
            image,
            crop_matrices(replace(regions, flip=torch.tensor([flip])), input_size=INPUT, codec="udp"),
            INPUT,
        )
        for flip in (False, True)
    )
    assert (flipped.flip(-1).int() - straight.int()).abs().max() <= 1
    assert straight.int().diff(dim=-1).sum() > 0 > flipped.int().diff(dim=-1).sum()


def test_a_crop_is_the_same_alone_and_among_others_and_in_any_layout():
    image = noise(200, 300)
    matrices = crop_matrices(some_regions(40, seed=8, image=(200, 300)), input_size=INPUT, codec="udp")
    together = crop(image, matrices, INPUT)
    assert together.shape == (40, 3, *INPUT)
    assert together.dtype == torch.uint8
    for i in range(0, 40, 5):
        assert torch.equal(crop(image, matrices[i, None], INPUT)[0], together[i])
    assert torch.equal(crop(image.contiguous(), matrices, INPUT), together), "planar, which OpenCV does not read"
    inside = torch.zeros(3, 220, 320, dtype=torch.uint8)[:, 10:210, 10:310].copy_(image)
    assert torch.equal(crop(inside, matrices, INPUT), together)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_the_gpu_gives_the_same_crops():
    image, regions = noise(200, 300), some_regions(20, seed=8, image=(200, 300))
    matrices = crop_matrices(regions, input_size=INPUT, codec="udp")
    expected = crop(image, matrices, INPUT)
    assert torch.equal(crop(image.cuda(), matrices, INPUT).cpu(), expected)
    assert torch.equal(crop(image.cuda(), matrices.cuda(), INPUT).cpu(), expected)


def test_no_crops_are_no_crops():
    assert crop(noise(5, 5), torch.zeros(0, 2, 3), INPUT).shape == (0, 3, *INPUT)


def test_positions_beyond_fixed_point_do_not_wrap_around_into_the_image():
    # Half a billion pixels a step, so that both terms of a position overflow 32 bits where they are not clamped.
    far = invert(torch.tensor([[[5e8, 5e8, 1e7], [-5e8, 5e8, 1e7]]], dtype=torch.float64))
    assert not crop(noise(50, 50), far, INPUT).any()


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(3, 5, 5),
        torch.zeros(5, 5, 3, dtype=torch.uint8),
        torch.zeros(1, 3, 5, 5, dtype=torch.uint8),
        torch.zeros(3, 0, 5, dtype=torch.uint8),
    ],
    ids=["float", "channels last", "batched", "empty"],
)
def test_an_image_of_another_kind_is_refused(image):
    with pytest.raises(InputError, match=r"expected torch\.uint8 \(3, H, W\)"):
        crop(image, torch.eye(2, 3)[None], INPUT)


@pytest.mark.parametrize("entry", [0.0, math.nan])
def test_a_map_without_an_inverse_is_refused(entry):
    with pytest.raises(InputError, match="cannot be inverted"):
        crop(noise(5, 5), torch.full((1, 2, 3), entry), INPUT)


def test_normalise_uses_imagenets_mean_and_deviation():
    crops = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    before = crops.clone()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (crops.numpy() / 255 - mean[:, None, None]) / std[:, None, None]
    actual = normalise(crops)
    assert actual.dtype == torch.float32
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    assert torch.equal(crops, before)
