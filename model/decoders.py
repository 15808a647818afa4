"""The two light decoders of ViTPose: what turns the encoder's token grid into one heatmap per keypoint.

Both enlarge the grid by 4, or by 2; the paper finds them nearly equal (ViTPose, Table 2 of arXiv 2204.12484).
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ClassicDecoder(nn.Module):
    """Two deconvolutions and a 1x1 convolution: features (B,D,Hp,Wp) -> heatmaps (B,K,4Hp,4Wp).

    With an upsampling of 2 there is one deconvolution, and a side is 2Hp.
    """

    def __init__(self, width: int, channels: int, num_keypoints: int, upsampling: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (width, channels) if upsampling == 4 else (width,):
            deconv = nn.ConvTranspose2d(inputs, channels, kernel_size=4, stride=2, padding=1, bias=False)
            layers += [deconv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = nn.Conv2d(channels, num_keypoints, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        """Decode."""
        return self.final_layer(self.deconv_layers(features))


class SimpleDecoder(nn.Module):
    """ReLU, bilinear x4 (or x2), 3x3 convolution: features (B,D,Hp,Wp) -> heatmaps (B,K,4Hp,4Wp).

    ReLU comes before the enlargement, as in the paper's Eq. 3 and all released code; its Fig. 2d has them
    reversed.
    """

    def __init__(self, width: int, num_keypoints: int, upsampling: int) -> None:
        super().__init__()
        self.upsampling = float(upsampling)
        self.final_layer = nn.Conv2d(width, num_keypoints, kernel_size=3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Decode."""
        features = F.relu(features)
        if torch.is_grad_enabled() and features.requires_grad:
            return self.final_layer(cast("Tensor", _Enlarged.apply(features, self.upsampling)))
        return self.final_layer(_enlarged(features, self.upsampling))


def _enlarged(features: Tensor, factor: float) -> Tensor:
    """Features (B, D, h, w) bilinearly on a grid that is finer by a factor."""
    return F.interpolate(features, scale_factor=factor, mode="bilinear", align_corners=False)


class _Enlarged(torch.autograd.Function):
    """The same with PyTorch's own gradient, also where compiled.

    The compiler would take the enlargement apart and differentiate that, which scatters single numbers: a quarter of
    the time of a small network's step.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, factor: float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.shape, ctx.factor = features.shape, factor
        return _enlarged(features, factor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        backward = torch.ops.aten.upsample_bilinear2d_backward
        return backward(gradient, gradient.shape[2:], ctx.shape, False, ctx.factor, ctx.factor), None
