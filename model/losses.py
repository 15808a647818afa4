"""The training loss of ViTPose: mean squared error of heatmaps, masked by target weights."""

from torch import Tensor


def heatmap_mse(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean over crops, keypoints and cells of (w p - w t)².

    Unsupervised keypoints (weight 0) still count in the denominator, as in the official code (its
    ``JointsMSELoss``: the mean over joints of the MSE of w p and w t).

    Args:
        predicted: (B, K, h, w) heatmaps.
        target: (B, K, h, w) heatmaps.
        weight: (B, K) in 0..1.

    Returns:
        A scalar.
    """
    masked = weight[:, :, None, None]
    return (masked * (predicted - target)).square().mean()
