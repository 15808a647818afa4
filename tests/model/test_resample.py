"""A teacher's heatmaps on a student's grid: a keypoint's Gaussian becomes the one that the student would be taught."""

import pytest
import torch

from model.config import ViTPoseConfig
from model.heatmap import decode, encode
from model.resample import Resampling


def config(size: tuple[int, int], codec: str = "udp", **changes: object) -> ViTPoseConfig:
    return ViTPoseConfig.of_size("ti", input_size=size, codec=codec, decoder="simple", **changes)


def targets(network: ViTPoseConfig, share: torch.Tensor) -> torch.Tensor:
    """Heatmaps of keypoints at shares (B, K, 2) of the region that the network's crops show."""
    height, width = network.input_size
    span = torch.tensor([width, height]) - (1 if network.codec == "udp" else 0)
    return encode(
        share * span,
        torch.ones(share.shape[:2]),
        input_size=network.input_size,
        heatmap_size=network.heatmap_size,
        codec=network.codec,
        sigma=network.heatmap_sigma,
    )[0]


SHARES = torch.rand(2, 80, 2, generator=torch.Generator().manual_seed(0))
"""Everywhere, up to the border, where half of a Gaussian is not on the map."""

INNER = 0.2 + 0.6 * SHARES


def test_the_same_grid_changes_nothing() -> None:
    network = config((128, 96))
    maps = targets(network, SHARES)
    torch.testing.assert_close(Resampling.between(network, network)(maps), maps, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ((256, 192), (128, 96)),
        ((256, 192), (192, 144)),
        ((256, 192), (64, 48)),
        ((192, 144), (128, 96)),
    ],
)
def test_a_smaller_grid_has_the_targets_that_a_student_is_taught(
    teacher: tuple[int, int], student: tuple[int, int]
) -> None:
    large, small = config(teacher), config(student)
    found, wanted = Resampling.between(large, small)(targets(large, SHARES)), targets(small, SHARES)
    # Training's Gaussians end at three sigmas, where they are 0.011 high; these do not.
    assert float((found - wanted).abs().max()) < 0.05
    assert float((found - wanted).abs().mean()) < 0.002
    inner, near = (Resampling.between(large, small)(targets(large, INNER)), targets(small, INNER))
    assert float((inner - near).abs().max()) < 0.02
    assert float((decode(inner, "udp").xy - decode(near, "udp").xy).norm(dim=-1).max()) < 0.05


def test_noise_is_not_raised() -> None:
    """As much of it as of a blur, but for the cells at the border."""
    maps = torch.randn(4, 17, 64, 48, generator=torch.Generator().manual_seed(0))
    found = Resampling.between(config((256, 192)), config((128, 96)))(maps)
    assert float(found.std()) < 0.5
    assert float(found.square().mean(dim=(0, 1)).max().sqrt()) < 0.8


def test_of_another_convention_the_place_in_the_crop_stays() -> None:
    large, small = config((256, 192), "plain"), config((128, 96), "udp")
    found, wanted = Resampling.between(large, small)(targets(large, INNER)), targets(small, INNER)
    # A plain target lies on the nearest of the teacher's cells, half of one away at most along each axis.
    error = (decode(found, "udp").xy - decode(wanted, "udp").xy).abs().amax()
    assert float(error) < 0.5 / 2 + 0.05


def test_a_larger_grid_gets_the_peaks_where_they_are() -> None:
    small, large = config((128, 96)), config((256, 192))
    found, wanted = Resampling.between(small, large)(targets(small, INNER)), targets(large, INNER)
    assert float((decode(found, "udp").xy - decode(wanted, "udp").xy).norm(dim=-1).max()) < 0.4
    assert float(found.amax(dim=(2, 3)).min()) > 0.85


def test_sums_of_peaks_are_sums() -> None:
    large, small = config((256, 192)), config((128, 96))
    there = Resampling.between(large, small)
    one, other = targets(large, SHARES[:1]), targets(large, SHARES[1:])
    torch.testing.assert_close(there(one + 0.5 * other), there(one) + 0.5 * there(other))


def test_autocast_does_not_round_it() -> None:
    large, small = config((256, 192)), config((128, 96))
    maps = targets(large, SHARES)
    with torch.autocast("cpu", torch.bfloat16):
        found = Resampling.between(large, small)(maps)
    torch.testing.assert_close(found, Resampling.between(large, small)(maps), rtol=0, atol=0)
