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


SHARES = 0.2 + 0.6 * torch.rand(2, 40, 2, generator=torch.Generator().manual_seed(0))


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
    # Training's Gaussians end at three sigmas, where they are 0.011 high; blurred ones do not.
    assert float((found - wanted).abs().max()) < 0.03
    assert float((decode(found, "udp").xy - decode(wanted, "udp").xy).norm(dim=-1).max()) < 0.1


def test_of_another_convention_the_place_in_the_crop_stays() -> None:
    large, small = config((256, 192), "plain"), config((128, 96), "udp")
    found, wanted = Resampling.between(large, small)(targets(large, SHARES)), targets(small, SHARES)
    # A plain target lies on the nearest of the teacher's cells, half of one away at most along each axis.
    error = (decode(found, "udp").xy - decode(wanted, "udp").xy).abs().amax()
    assert float(error) < 0.5 / 2 + 0.05


def test_a_larger_grid_gets_the_peaks_where_they_are() -> None:
    small, large = config((128, 96)), config((256, 192))
    found, wanted = Resampling.between(small, large)(targets(small, SHARES)), targets(large, SHARES)
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
