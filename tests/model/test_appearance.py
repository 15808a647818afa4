"""Pixels of crops against slow references, pixel by pixel."""

import numpy as np
import pytest
import torch
from PIL import Image

from model.appearance import cover_up, grey_levels, normalised, read, recolour, rectangles

RNG = np.random.default_rng(0)


def bilinear(canvas, x, y, edges):
    """(3,) what is seen at a place, and the share of it that the image covers: four pixels, black if outside."""
    level, cover = np.zeros(3), 0.0
    for column in (int(np.floor(x)), int(np.floor(x)) + 1):
        for row in (int(np.floor(y)), int(np.floor(y)) + 1):
            on_canvas = 0 <= row < canvas.shape[1] and 0 <= column < canvas.shape[2]
            if on_canvas and edges[0] <= column <= edges[2] and edges[1] <= row <= edges[3]:
                weight = (1 - abs(x - column)) * (1 - abs(y - row))
                level += weight * canvas[:, row, column]
                cover += weight
    return level, cover


def test_reading_is_bilinear_and_black_beyond_the_image() -> None:
    canvases = RNG.integers(0, 256, (3, 3, 9, 11)).astype(np.uint8)
    places = RNG.uniform(-3, 14, (3, 20, 10, 2)).astype(np.float32)
    places[0, 0, :4] = [[0, 0], [10, 8], [-1, 0], [11, 3]]  # on pixels' centres, inside and just outside
    edges = np.array([[-0.5, -0.5, 10.5, 8.5], [2.5, -0.5, 7.5, 4.5], [-30, 3.5, 40, 90]], np.float32)
    levels, cover = read(torch.tensor(canvases), torch.tensor(places), torch.tensor(edges))
    for n, i, j in np.ndindex(3, 20, 10):
        expected, share = bilinear(canvases[n].astype(float), *places[n, i, j].astype(float), edges[n])
        assert levels[n, :, i, j].numpy() == pytest.approx(expected, abs=2e-3)
        assert cover[n, i, j].item() == pytest.approx(share, abs=1e-5)
    assert (cover == 0).any() and (cover > 0.999).any()


def test_a_larger_canvas_changes_nothing() -> None:
    canvas = torch.tensor(RNG.integers(0, 256, (2, 3, 9, 11)), dtype=torch.uint8)
    larger = torch.zeros(2, 3, 30, 17, dtype=torch.uint8)
    larger[:, :, :9, :11] = canvas
    places = torch.tensor(RNG.uniform(-3, 14, (2, 20, 10, 2)), dtype=torch.float32)
    image = torch.tensor([[-0.5, -0.5, 10.5, 8.5]]).expand(2, 4)
    for small, large in zip(read(canvas, places, image), read(larger, places, image), strict=True):
        assert torch.equal(small, large)


def recoloured(levels, cover, drawn, *, colour=0.0, tint=0.0, grey=0.0):
    given = [torch.tensor(array, dtype=torch.float32) for array in (levels, cover, drawn)]
    return recolour(given[0], given[1], colour=colour, tint=tint, grey=grey, drawn=given[2]).numpy()


def test_colours_against_a_slow_reference() -> None:
    levels, cover = RNG.uniform(0, 255, (6, 3, 4, 5)), np.ones((6, 4, 5))
    drawn = RNG.uniform(0, 1, (6, 7))
    found = recoloured(levels, cover, drawn, colour=0.3, tint=0.4, grey=0.5)
    mean = 255 * np.array([0.485, 0.456, 0.406])
    assert {bool(d[3] < 0.5) for d in drawn} == {True, False}
    for n, i, j in np.ndindex(6, 4, 5):
        d, rgb = 2 * drawn[n] - 1, levels[n, :, i, j]
        luma = rgb @ [0.299, 0.587, 0.114]
        saturation = 0.0 if drawn[n, 3] < 0.5 else 1 + 0.4 * d[2]
        balanced = (1 + 0.2 * d[4:]) * (saturation * rgb + (1 - saturation) * luma)
        expected = (1 + 0.3 * d[0]) * (balanced - mean) + mean + 0.3 * 58 * d[1]
        assert found[n, :, i, j] == pytest.approx(expected.clip(0, 255), abs=2e-3)


def test_grey_is_grey_as_pillow_sees_it() -> None:
    levels = RNG.integers(0, 256, (1, 3, 8, 8))
    found = recoloured(levels, np.ones((1, 8, 8)), np.full((1, 7), 0.5), grey=1.0)
    pillow = np.asarray(Image.fromarray(levels[0].transpose(1, 2, 0).astype(np.uint8)).convert("L"))
    assert np.abs(found[0] - pillow).max() < 1


def test_colour_keeps_the_border_black_and_the_range() -> None:
    cover = np.repeat([[1.0, 0.5, 0.0]], 4, axis=0)[None].repeat(50, axis=0)
    levels = RNG.uniform(0, 255, (50, 3, 4, 3)) * cover[:, None]
    found = recoloured(levels, cover, RNG.uniform(0, 1, (50, 7)), colour=0.9, tint=0.9)
    assert (found[..., 2] == 0).all(), "nothing is seen there"
    assert found.min() >= 0 and found.max() <= 255 and (found == 255).any()
    assert np.abs(found[..., :2] - levels[..., :2]).mean() > 10


def test_no_colour_is_none() -> None:
    levels = torch.rand(2, 3, 4, 4)
    assert recolour(levels, torch.ones(2, 4, 4), colour=0, tint=0, grey=0, drawn=torch.rand(2, 7)) is levels


def test_rectangles_are_as_large_and_as_many_as_told() -> None:
    drawn = torch.rand(4000, 11, generator=torch.Generator().manual_seed(0))
    edges = rectangles((64, 48), probability=0.4, share=0.25, drawn=drawn)
    width, height = (edges[..., 2] - edges[..., 0]), (edges[..., 3] - edges[..., 1])
    there = width >= 0
    assert there[:, 0].double().mean() == pytest.approx(0.4, abs=0.03)
    assert there[:, 1].double().mean() == pytest.approx(0.2, abs=0.03)
    assert not (there[:, 1] & ~there[:, 0]).any()
    share = (width * height)[there] / (64 * 48)
    assert share.max() <= 0.25 + 1e-5 and share.max() > 0.24 and share.min() < 0.01
    aspect = (width / height)[there]
    assert aspect.min() > 0.49 and aspect.max() < 2.01
    assert not (rectangles((64, 48), probability=0, share=0.25, drawn=drawn)[..., 2] >= 0).any()


def test_rectangles_cover_what_they_say() -> None:
    levels = torch.tensor(RNG.uniform(0, 255, (2, 3, 10, 12)), dtype=torch.float32)
    edges = torch.tensor([[[1.5, 2, 4, 5.2], [0, 0, -1, -1]], [[-9, -9, 2, 99], [10, 3, 11, 4]]])
    drawn = torch.tensor([[0.2, 0, 0, 0, 0.9, 1, 1, 1], [0.9, 0.0, 0.5, 1.0, 0.1, 0, 0, 0]])
    found = cover_up(levels, edges, drawn)
    mean = [255 * value for value in (0.485, 0.456, 0.406)]
    for n, y, x in np.ndindex(2, 10, 12):
        expected = levels[n, :, y, x].tolist()
        for edge, fill in zip(edges[n], (([mean, None], [[0, 127.5, 255], mean])[n]), strict=True):
            if edge[0] <= x <= edge[2] and edge[1] <= y <= edge[3]:
                expected = fill
        assert found[n, :, y, x].tolist() == pytest.approx(expected, rel=1e-5)


def test_normalised_and_back() -> None:
    levels = torch.arange(256.0).expand(1, 3, 1, 256)
    given = normalised(levels.clone())
    assert given[0, 0, 0, 255].item() == pytest.approx((1 - 0.485) / 0.229, rel=1e-5)
    assert torch.equal(grey_levels(given), levels.to(torch.uint8))
