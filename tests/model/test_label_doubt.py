"""What maps say about labels, against numbers computed cell by cell."""

import numpy as np
import pytest
import torch
from torch import nn

from autolabel.errors import ConfigError, InputError
from autolabel.skeleton import Skeleton
from model.config import ViTPoseConfig
from model.crop import IMAGENET_MEAN, IMAGENET_STD
from model.heatmap import flip_back
from model.label_doubt import BACKGROUND, NUMBERS, LabelReader, label_numbers

FLIP = torch.tensor([0, 2, 1])
H, W = 24, 24


def bump(x: float, y: float, height: float = 1.0, sigma: float = 1.0) -> torch.Tensor:
    squared = (torch.arange(W) - x) ** 2 + (torch.arange(H)[:, None] - y) ** 2
    return height * torch.exp(-squared / (2 * sigma**2))


def maps() -> torch.Tensor:
    """(1, 3, H, W): one peak; two peaks; a peak where the partner's second one is."""
    return torch.stack([bump(12, 10), bump(9, 14, 0.8) + bump(15, 14, 0.4), bump(15, 14, 0.6)])[None]


def numbers(label: list[list[float]], both: torch.Tensor | None = None, spread: float = 8.0) -> dict[str, np.ndarray]:
    straight = maps() if both is None else both
    label_cells = torch.tensor([label])
    _, found = label_numbers(straight, straight, label_cells, torch.full((1, 3), spread), FLIP, codec="udp")
    assert tuple(found) == NUMBERS
    return {name: values[0].numpy() for name, values in found.items()}


AT_PEAKS = [[12.0, 10.0], [9.0, 14.0], [15.0, 14.0]]


def test_labels_at_the_peaks_are_within_all_of_the_mass() -> None:
    told = numbers(AT_PEAKS)
    assert told["level"] == pytest.approx([0, 0, 0], abs=1e-6)
    assert told["height"] == pytest.approx([1, 1, 1], abs=1e-3)
    assert told["peak"] == pytest.approx([1, 0.8, 0.6], abs=1e-3)
    assert told["second"] == pytest.approx([0, 0.5, 0], abs=0.02)
    assert told["flip_ks"] == pytest.approx([1, 1, 1])
    assert told["label_ks"] == pytest.approx(told["expected_ks"], abs=0.01)
    assert told["other_side"] == pytest.approx([0, 0.5, 0], abs=0.02)
    assert np.isnan(told["mirror_ks"]).tolist() == [True, False, False]


def test_the_gaussian_that_networks_learn_is_as_sharp_as_can_be() -> None:
    learnt, wide = bump(12, 10, sigma=2.0), bump(12, 10, sigma=4.0)
    told = numbers([AT_PEAKS[0]] * 3, torch.stack([learnt, wide, 0.3 * learnt])[None])
    assert told["sharpness"][[0, 2]] == pytest.approx(1, abs=0.05)
    assert told["sharpness"][1] < 0.6


def test_levels_and_expected_ks_are_sums_over_cells() -> None:
    label = [[13.0, 12.0], [14.0, 14.0], [10.0, 15.0]]
    told = numbers(label)
    mass = maps()[0].numpy()
    mass = np.clip(mass - BACKGROUND * mass.max(axis=(1, 2), keepdims=True), 0, None)
    share = mass / mass.sum(axis=(1, 2), keepdims=True)
    y, x = np.mgrid[:H, :W]
    for k, (lx, ly) in enumerate(label):
        here = maps()[0, k, int(ly), int(lx)].item()
        assert told["level"][k] == pytest.approx(share[k][maps()[0, k].numpy() > here].sum(), abs=1e-5)
        ks = np.exp(-((x - lx) ** 2 + (y - ly) ** 2) / 8.0)
        assert told["label_ks"][k] == pytest.approx((share[k] * ks).sum(), abs=1e-5)
    for k, partner in ((1, 2), (2, 1)):
        px, py = label[partner]
        ks = np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8.0)
        assert told["mirror_ks"][k] == pytest.approx((share[k] * ks).sum(), abs=1e-5)


def test_swapped_labels_fit_better_mirrored() -> None:
    told = numbers([AT_PEAKS[0], AT_PEAKS[2], AT_PEAKS[1]])
    assert (told["mirror_ks"][1:] > told["label_ks"][1:] + 0.2).all()


@pytest.mark.parametrize("where", [[-5.0, 4.0], [40.0, 4.0], [6.0, 1e6], [-1e6, -1e6]])
def test_a_label_outside_the_crop_is_outside_all_of_the_mass(where: list[float]) -> None:
    told = numbers([where, *AT_PEAKS[1:]])
    assert told["height"][0] == 0
    assert told["level"][0] == pytest.approx(1, abs=1e-5)
    assert told["label_ks"][0] < 1e-3


def test_a_missing_label_says_nothing_about_labels_and_all_about_the_prediction() -> None:
    told = numbers([[np.nan, np.nan], *AT_PEAKS[1:]])
    for name in ("level", "label_ks", "height"):
        assert np.isnan(told[name]).tolist() == [True, False, False], name
    for name in ("peak", "second", "expected_ks", "flip_ks"):
        assert np.isfinite(told[name]).all(), name
    assert np.isnan(numbers([AT_PEAKS[0], [np.nan, np.nan], AT_PEAKS[2]])["mirror_ks"]).tolist() == [True, False, True]


@pytest.mark.parametrize("empty", [torch.nan, 0.0, -1.0, torch.inf])
def test_maps_that_hold_nothing_say_nothing(empty: float) -> None:
    spoilt = maps()
    spoilt[0, 1] = empty
    told = numbers(AT_PEAKS, spoilt)
    for name in NUMBERS:
        assert np.isnan(told[name][1]), name
    assert np.isfinite(told["level"][[0, 2]]).all()


def test_single_cells_that_are_not_finite_do_not_spoil_a_map() -> None:
    spoilt = maps()
    spoilt[0, 0, 0, 0], spoilt[0, 0, 23, 23] = torch.nan, torch.inf
    assert numbers(AT_PEAKS, spoilt)["level"] == pytest.approx(numbers(AT_PEAKS)["level"], abs=1e-6)


# ---- a network that sees: its heatmaps are the channels of the crop


class Sees(nn.Module):
    """Heatmap k is channel k of the input, a quarter as large."""

    def __init__(self, skeleton: Skeleton) -> None:
        super().__init__()
        self.skeleton, self.input_size, self.heatmap_size = skeleton, (128, 96), (32, 24)
        self.config = ViTPoseConfig(input_size=self.input_size, codec="plain")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        return nn.functional.avg_pool2d(images * std + mean, 4).clamp_min(0)


ONE_SIDED = Skeleton("one-sided", ("a", "b", "c"), (), (0, 1, 2), (0.05,) * 3, "test")


def scenes(dots, count: int):
    rng = np.random.default_rng(0)
    for _ in range(count):
        side = rng.uniform(60, 140)
        xy = dots.person(rng, side, (340, 300))
        box = np.array([[*(xy.mean(axis=0) - side / 2), *(xy.mean(axis=0) + side / 2)]])
        picture = dots.picture(xy, (340, 300), 1.25 * side / 12)
        yield torch.tensor(picture).permute(2, 0, 1), box, xy[None].astype(np.float32)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_a_reader_finds_who_is_labelled_right(dots, batch_size: int) -> None:
    people = list(scenes(dots, 9))
    wrong = [(image, box, xy + (20.0 * (i % 3 == 0))) for i, (image, box, xy) in enumerate(people)]
    reader = LabelReader(Sees(ONE_SIDED), device="cpu", precision="fp32", batch_size=batch_size)
    reading = reader.read(wrong)
    truth = np.concatenate([xy for _, _, xy in people])
    cell = np.array([1.25 * np.ptp(box[0, [0, 2]]) / 24 for _, box, _ in people])
    assert (np.linalg.norm(reading.xy - truth, axis=-1) / cell[:, None]).max() < 1
    moved = np.arange(9) % 3 == 0
    assert reading.numbers["level"][~moved].max() < 0.2
    assert reading.numbers["label_ks"][moved].max() < reading.numbers["label_ks"][~moved].min()


def test_several_people_of_one_image_keep_their_order(dots) -> None:
    (image, box, xy), *_ = scenes(dots, 1)
    reader = LabelReader(Sees(ONE_SIDED), device="cpu", precision="fp32", batch_size=2)
    five = reader.read([(image, box.repeat(5, axis=0), xy + np.arange(5)[:, None, None] * 12)])
    assert five.xy.shape == (5, 3, 2)
    assert (np.diff(five.numbers["label_ks"], axis=0) < 0).all()


def test_no_people() -> None:
    reading = LabelReader(Sees(ONE_SIDED), device="cpu", precision="fp32").read([])
    assert reading.xy.shape == (0, 3, 2)
    assert {values.shape for values in reading.numbers.values()} == {(0, 3)}


def test_labels_of_another_skeleton_are_refused(dots) -> None:
    (image, box, xy), *_ = scenes(dots, 1)
    with pytest.raises(InputError, match="3 keypoints"):
        LabelReader(Sees(ONE_SIDED), device="cpu", precision="fp32").read([(image, box, xy[:, :2])])
    with pytest.raises(ConfigError):
        LabelReader(Sees(ONE_SIDED), device="abacus")


def test_mirrored_maps_count_half() -> None:
    """The straight crop says one place, the mirrored one another: two answers, and the label at one of them."""
    straight = bump(7, 10)[None, None]
    mirrored = flip_back(bump(7, 10)[None, None], [0], "udp")  # its column 7 is column 16 here
    one = torch.tensor([0])
    _, told = label_numbers(
        straight, mirrored, torch.tensor([[[7.0, 10.0]]]), torch.full((1, 1), 8.0), one, codec="udp"
    )
    assert told["peak"].item() == pytest.approx(0.5, abs=0.01)
    assert told["second"].item() == pytest.approx(1, abs=0.01)
    assert told["flip_ks"].item() < 0.02
    assert told["label_ks"].item() == pytest.approx(0.5 * 0.8, abs=0.1)
