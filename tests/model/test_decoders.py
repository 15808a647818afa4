"""The simple decoder enlarges as PyTorch does, forward and backward, compiled or not."""

import pytest
import torch
from torch.nn import functional as F

from model.decoders import SimpleDecoder


@pytest.mark.parametrize("upsampling", [2, 4])
@pytest.mark.parametrize(
    ("dtype", "compiled"), [(torch.float32, False), (torch.bfloat16, False), pytest.param(torch.float32, True)]
)
def test_gradients_are_those_of_bilinear_enlargement(upsampling: int, dtype: torch.dtype, compiled: bool) -> None:
    torch.manual_seed(0)
    decoder = SimpleDecoder(6, 3, upsampling).to(dtype)
    features = torch.randn(2, 6, 4, 3, dtype=dtype, requires_grad=True)

    def plain(features: torch.Tensor) -> torch.Tensor:
        larger = F.interpolate(F.relu(features), scale_factor=float(upsampling), mode="bilinear", align_corners=False)
        return decoder.final_layer(larger)

    tolerance = 1e-6 if compiled else 0.0
    own = torch.compile(decoder) if compiled else decoder
    expected, found = plain(features), own(features)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    weights = torch.randn_like(expected)
    for gradient, wanted in zip(
        torch.autograd.grad((found * weights).sum(), [features, *decoder.parameters()]),
        torch.autograd.grad((expected * weights).sum(), [features, *decoder.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(gradient, wanted, rtol=10 * tolerance, atol=10 * tolerance)
    with torch.no_grad():
        torch.testing.assert_close(own(features), plain(features), rtol=tolerance, atol=tolerance)
