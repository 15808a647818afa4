"""The heatmap codecs against the NumPy reference beside this file, and on maps that no network makes."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autolabel.errors import ConfigError
from model.heatmap import cells_to_input, decode, encode, extent, flip_back, input_to_cells, is_udp

_spec = importlib.util.spec_from_file_location("heatmap_reference", Path(__file__).with_name("heatmap_reference.py"))
assert _spec and _spec.loader
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

CODECS = ("udp", "plain")
SIZES = [((256, 192), (64, 48)), ((128, 96), (32, 24)), ((64, 48), (16, 12)), ((30, 20), (5, 4))]
INPUT, CELLS = SIZES[0]


def encode_cells(xy, codec, input_size=INPUT, heatmap_size=CELLS):
    """Targets (1, N, h, w) of keypoints (N, 2) given in cells."""
    where = {"input_size": input_size, "heatmap_size": heatmap_size, "codec": codec}
    xy = torch.as_tensor(xy, dtype=torch.float64)[None]
    return encode(cells_to_input(xy, **where), torch.ones(xy.shape[:2]), **where)[0]


def draw(*blobs, size=CELLS, sigma=2.0):
    """A map (1, 1, h, w) of Gaussians (x, y, height)."""
    y, x = np.mgrid[: size[0], : size[1]]
    heatmap = sum(a * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)) for cx, cy, a in blobs)
    return torch.tensor(heatmap, dtype=torch.float32)[None, None]


# ---- encode


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("input_size", "heatmap_size"), SIZES)
def test_targets_equal_the_reference(codec, input_size, heatmap_size):
    rng = np.random.default_rng(7)
    xy = rng.uniform([-60, -60], [input_size[1] + 60, input_size[0] + 60], (300, 2))
    xy[:20] = np.round(xy[:20] / 2) * 2  # many of them halfway between two plain cells
    targets, weights = encode(
        torch.tensor(xy)[None],
        torch.ones(1, len(xy)),
        input_size=input_size,
        heatmap_size=heatmap_size,
        codec=codec,
    )
    expected = [reference.encode(point, input_size, heatmap_size, codec) for point in xy]
    assert 20 < sum(weight for _, weight in expected) < len(xy)
    np.testing.assert_allclose(targets[0], np.stack([target for target, _ in expected]), atol=1e-6)
    np.testing.assert_array_equal(weights[0], [weight for _, weight in expected])


@pytest.mark.parametrize("codec", CODECS)
def test_only_usable_keypoints_are_drawn_and_weighted(codec):
    inside = [90.0, 120.0]
    rows = [
        (inside, 1.0, 1.0),
        (inside, 0.5, 0.5),  # any positive weight draws the whole target
        (inside, 0.0, 0.0),  # unlabelled
        (inside, -1.0, 0.0),
        ([np.nan, np.nan], 1.0, 0.0),  # missing
        ([np.inf, 100.0], 1.0, 0.0),
        ([90.0, -26.0], 1.0, 1.0),  # cell -6: the patch's last row is on the map
        ([90.0, -32.0], 1.0, 0.0),  # cell -7: it is not
    ]
    xy, weight, expected = (torch.tensor(column) for column in zip(*rows, strict=True))
    targets, weights = encode(xy[None], weight[None], input_size=INPUT, heatmap_size=CELLS, codec=codec)
    assert weights.tolist() == [expected.tolist()]
    assert (targets[0].amax((1, 2)) > 0).tolist() == (expected > 0).tolist()
    torch.testing.assert_close(targets[0, 0], targets[0, 1])
    assert targets.dtype == weights.dtype == torch.float32


def test_the_patch_of_sigma_2_has_13_by_13_cells():
    target = encode_cells([[20.3, 30.4]], "udp")[0, 0]
    rows, columns = target.nonzero().unbind(1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (24, 36, 14, 26)
    assert len(rows) == 169


# ---- decode


@pytest.mark.parametrize("size", [(64, 48), (32, 24), (13, 9), (7, 5)], ids=str)
def test_udp_decoding_equals_the_reference_on_well_conditioned_peaks(size):
    maps = reference.random_maps(np.random.default_rng(1), 400, size).astype(np.float32)
    peaks = decode(torch.tensor(maps)[None], "udp")
    xy, score, conditioning = map(np.array, zip(*map(reference.decode_udp, maps.astype(float)), strict=True))
    well = conditioning >= reference.WELL_CONDITIONED
    assert well.mean() > (0.9 if min(size) > 8 else 0.5)
    assert np.abs(peaks.xy[0].numpy() - xy)[well].max() * 4.0638 < 0.01
    np.testing.assert_allclose(peaks.score[0], score, rtol=1e-6)


def test_udp_decoding_equals_the_published_steps_with_opencv():
    maps = reference.random_maps(np.random.default_rng(2), 200, (64, 48)).astype(np.float32)
    peaks = decode(torch.tensor(maps)[None], "udp")
    for heatmap, ours in zip(maps, peaks.xy[0].numpy(), strict=True):
        blurred = cv2.GaussianBlur(heatmap, (11, 11), 0).astype(float)
        xy, _, conditioning = reference.decode_udp(heatmap.astype(float), blurred)
        if conditioning >= reference.WELL_CONDITIONED:
            assert np.abs(ours - xy).max() * 4.0638 < 0.01


@pytest.mark.parametrize("height", [0.0022, 0.004, 0.02, 60.0, 95.0, 103.0])
def test_udp_decoding_clips_the_blurred_map_as_published(height):
    # Blurring halves these peaks, so 0.0022 and 103 meet the clips at 0.001 and 50 within a cell of the peak.
    maps = draw((20.3, 30.6, height))
    xy, _, _ = reference.decode_udp(maps[0, 0].double().numpy())
    np.testing.assert_allclose(decode(maps, "udp").xy[0, 0], xy, atol=0.01 / 4)


@pytest.mark.parametrize("size", [(64, 48), (32, 24), (7, 5), (3, 3), (1, 1)], ids=str)
def test_plain_decoding_equals_the_reference_exactly(size):
    maps = reference.random_maps(np.random.default_rng(3), 300, size).astype(np.float32)
    maps[:50] = np.round(maps[:50], 1)  # ties
    peaks = decode(torch.tensor(np.abs(maps))[None], "plain")
    expected = [reference.decode_plain(heatmap) for heatmap in np.abs(maps).astype(float)]
    np.testing.assert_array_equal(peaks.xy[0], [xy for xy, _ in expected])
    np.testing.assert_array_equal(peaks.score[0], np.float32([score for _, score in expected]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("codec", CODECS)
def test_any_float_type_is_decoded_in_float32(codec, dtype):
    maps = draw((20.3, 30.6, 0.8)).to(dtype)
    peaks = decode(maps, codec)
    assert peaks.xy.dtype == peaks.score.dtype == torch.float32
    torch.testing.assert_close(peaks, decode(maps.float(), codec), rtol=0, atol=0)


def test_decoding_keeps_its_digits_under_autocast():
    maps = draw((20.3, 30.6, 0.8))
    with torch.autocast("cpu", torch.bfloat16):
        inside = decode(maps.requires_grad_(), "udp")
    torch.testing.assert_close(inside, decode(maps.detach(), "udp"), rtol=0, atol=0)
    assert not inside.xy.requires_grad


BLOB = draw((20.0, 30.0, 0.8))[0, 0]
NAN, INF = torch.nan, torch.inf


RIPPLE = 0.5 + 2.0**-24 * torch.randint(3, (64, 48), generator=torch.Generator().manual_seed(0))


def with_cell(y, x, value, base=BLOB):
    heatmap = base.clone()
    heatmap[y, x] = value
    return heatmap


# name, map, (x, y) of udp, (x, y) of plain, score
STRANGE_MAPS = [
    ("flat zero", torch.zeros(64, 48), (0, 0), (0, 0), 0.0),
    ("flat high", torch.full((64, 48), 0.5), (0, 0), (0, 0), 0.5),
    ("flat above the upper clip", torch.full((64, 48), 80.0), (0, 0), (0, 0), 80.0),
    ("flat but for rounding", with_cell(30, 20, 0.5000005, RIPPLE), (20, 30), (20, 30), 0.5000005),
    ("all negative", draw((20.3, 30.0, 1))[0, 0] - 2, (20, 30), (20, 30), np.exp(-0.09 / 8) - 2),
    ("too low for the blur to reach the lower clip", BLOB / 1000, (20, 30), (20, 30), 0.0008),
    ("one spike", with_cell(30, 20, 1.0, torch.zeros(64, 48)), (20, 30), (20, 30), 1.0),
    (
        "two equal peaks: the first in reading order",
        draw((9, 50, 1), (40, 12, 1))[0, 0],
        (40, 12),
        (40, 12),
        1,
    ),
    ("a ridge: the Hessian is singular", draw((20, 30, 1))[0, 0][30].expand(64, 48), (20, 0), (20, 0), 1.0),
    # The repeated border makes the step half a cell outward on its axis.
    ("on the left border", draw((0, 30, 1))[0, 0], (-0.5, 30), (0, 30), 1.0),
    ("on the right border", draw((47, 30, 1))[0, 0], (47.5, 30), (47, 30), 1.0),
    ("in the bottom right corner", draw((47, 63, 1))[0, 0], (47.5, 63.5), (47, 63), 1.0),
    ("NaN far from the peak", with_cell(5, 5, NAN), (20, 30), (20, 30), 0.8),
    ("NaN beside the peak", with_cell(30, 21, NAN), (20, 30), (20, 30), 0.8),
    ("NaN on the peak", with_cell(30, 20, NAN), None, None, 0.8 * np.exp(-1 / 8)),
    ("infinity far from the peak", with_cell(5, 5, INF), (20, 30), (20, 30), 0.8),
    ("infinity beside the peak", with_cell(30, 19, INF), (20, 30), (20, 30), 0.8),
    ("nothing finite", torch.full((64, 48), NAN), (NAN, NAN), (NAN, NAN), NAN),
]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("heatmap", "udp", "plain", "score"),
    [row[1:] for row in STRANGE_MAPS],
    ids=[row[0] for row in STRANGE_MAPS],
)
def test_strange_maps_have_a_stated_result(heatmap, udp, plain, score, codec):
    peaks = decode(heatmap[None, None], codec)
    expected = udp if codec == "udp" else plain
    assert peaks.score.item() == pytest.approx(score, rel=1e-6, nan_ok=True)
    if expected is None:  # the peak itself is unreadable: one of its four neighbours, with no UDP step
        x, y = peaks.xy.flatten().tolist()
        assert max(abs(x - 20), abs(y - 30)) <= 1.25
    else:
        assert peaks.xy.flatten().tolist() == pytest.approx(expected, abs=1e-4, nan_ok=True)


@pytest.mark.parametrize("codec", CODECS)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 20), width=st.integers(1, 20))
def test_no_finite_map_gives_nan(codec, seed, height, width):
    maps = torch.randn(3, 2, height, width, generator=torch.Generator().manual_seed(seed))
    peaks = decode(maps, codec)
    assert peaks.xy.isfinite().all()
    torch.testing.assert_close(peaks.score, maps.amax((2, 3)))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("crops", "keypoints"), [(0, 17), (1, 1), (3, 1), (2, 17)])
def test_shapes_are_kept_and_crops_do_not_touch_each_other(codec, crops, keypoints):
    maps = torch.tensor(reference.random_maps(np.random.default_rng(4), crops * keypoints, CELLS))
    maps = maps.reshape(crops, keypoints, *CELLS)
    peaks = decode(maps, codec)
    assert peaks.xy.shape == (crops, keypoints, 2)
    assert peaks.score.shape == (crops, keypoints)
    for crop in range(crops):
        torch.testing.assert_close(decode(maps[crop, None], codec).xy[0], peaks.xy[crop], rtol=0, atol=0)


# ---- there and back


@given(x=st.floats(0, 47), y=st.floats(0, 63), margin=st.sampled_from([(6, 1e-4), (5, 0.01), (4, 0.1), (0, 1.5)]))
def test_udp_round_trip_is_exact_but_for_the_blurs_reflection_at_the_border(x, y, margin):
    # Published decoding blurs the map as reflected at its border, which moves peaks within 5 cells of it.
    cells, bound = margin
    xy = torch.tensor([[cells + x * (47 - 2 * cells) / 47, cells + y * (63 - 2 * cells) / 63]])
    peaks = decode(encode_cells(xy, "udp"), "udp")
    assert (peaks.xy[0] - xy).abs().max() <= bound


def test_plain_round_trip_costs_its_rounding_to_a_cell():
    xy = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([47.0, 63.0])
    error = decode(encode_cells(xy, "plain"), "plain").xy[0] - xy
    assert error.abs().max() <= 0.5 + 1e-5
    # Its own target is symmetric, so no quarter step repairs it: 0.383 cell on average, as in a unit square.
    assert 0.35 < error.norm(dim=-1).mean() < 0.45


@pytest.mark.parametrize("codec", CODECS)
def test_cells_and_input_pixels(codec):
    where = {"input_size": INPUT, "heatmap_size": CELLS, "codec": codec}
    last = torch.tensor([47.0, 63.0], dtype=torch.float64)
    expected = [191.0, 255.0] if codec == "udp" else [188.0, 252.0]
    assert cells_to_input(last, **where).tolist() == pytest.approx(expected, abs=1e-9)
    xy = torch.rand(2, 3, 4, 2, dtype=torch.float64) * 300
    torch.testing.assert_close(cells_to_input(input_to_cells(xy, **where), **where), xy)


# ---- flip


FLIP = (0, 2, 1, 3)  # nose, left eye, right eye, neck


def mirrored_targets(xy, codec):
    """What an ideal network says of the mirrored input, whose columns are reversed: x becomes W - 1 - x."""
    xy = xy[:, list(FLIP)].clone()
    xy[..., 0] = INPUT[1] - 1 - xy[..., 0]
    return encode(xy, torch.ones(xy.shape[:2]), input_size=INPUT, heatmap_size=CELLS, codec=codec)[0]


@pytest.fixture
def keypoints():
    generator = torch.Generator().manual_seed(5)
    return torch.rand(30, 4, 2, generator=generator, dtype=torch.float64) * torch.tensor([191.0, 255.0])


@pytest.mark.parametrize("as_tensor", [False, True])
def test_udp_heatmaps_of_the_mirror_flip_back_onto_the_others(keypoints, as_tensor):
    straight, _ = encode(keypoints, torch.ones(30, 4), input_size=INPUT, heatmap_size=CELLS, codec="udp")
    flip = torch.tensor(FLIP) if as_tensor else FLIP
    back = flip_back(mirrored_targets(keypoints, "udp"), flip, "udp")
    torch.testing.assert_close(back, straight, atol=1e-6, rtol=0)
    torch.testing.assert_close(decode(back, "udp").xy, decode(straight, "udp").xy, atol=1e-3, rtol=0)


def test_plain_heatmaps_of_the_mirror_flip_back_to_within_their_rounding(keypoints):
    back = flip_back(mirrored_targets(keypoints, "plain"), FLIP, "plain")
    inner = (keypoints[..., 0] > 8) & (keypoints[..., 0] < 182)  # where the repeated column is not the peak
    x = decode(back, "plain").xy[..., 0]
    # W - 1 - x and the shift by one column leave a quarter of a cell besides the rounding.
    offset = (x - keypoints[..., 0] / 4)[inner]
    assert offset.mean() == pytest.approx(0.25, abs=0.1)
    assert (offset - 0.25).abs().max() <= 0.5 + 1e-5


def test_the_plain_shift_repeats_the_first_column_and_drops_the_last():
    maps = torch.arange(2 * 1 * 4.0).reshape(1, 2, 1, 4)
    assert flip_back(maps, (1, 0), "udp").tolist() == [[[[7, 6, 5, 4]], [[3, 2, 1, 0]]]]
    assert flip_back(maps, (1, 0), "plain").tolist() == [[[[7, 7, 6, 5]], [[3, 3, 2, 1]]]]


# ---- devices


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("codec", CODECS)
def test_the_gpu_gives_the_same_targets_and_peaks(keypoints, codec):
    where = {"input_size": INPUT, "heatmap_size": CELLS, "codec": codec}
    targets, weights = encode(keypoints, torch.ones(30, 4), **where)
    on_gpu = encode(keypoints.cuda(), torch.ones(30, 4, device="cuda"), **where)
    torch.testing.assert_close(on_gpu[0].cpu(), targets, atol=1e-6, rtol=0)
    torch.testing.assert_close(on_gpu[1].cpu(), weights)
    maps = flip_back(targets.cuda(), FLIP, codec)
    torch.testing.assert_close(decode(maps, codec).xy.cpu(), decode(maps.cpu(), codec).xy, atol=1e-3, rtol=0)


# ---- errors


def test_an_unknown_codec_is_refused():
    with pytest.raises(ConfigError, match="unknown codec 'UDP'"):
        is_udp("UDP")
    with pytest.raises(ConfigError, match="codec"):
        decode(torch.zeros(1, 1, 4, 4), "msra")


def test_a_heatmap_that_udp_cannot_measure_is_refused():
    assert extent((1, 1), "plain") == (1, 1)
    with pytest.raises(ConfigError, match="1 x 48 is too small for the udp codec"):
        extent((1, 48), "udp")
