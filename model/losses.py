"""The training losses: where keypoints are, whether they are there, how far the person goes; masked by weights.

All are means over all rows, and keypoints, supervised or not, so that the losses of the slices of a batch, weighted by
their rows, add up to the loss of the whole: that is what gradient accumulation and several processes rely on.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from model.whole_box import log_reach

QUANTILE = 0.6
"""Of how far people reach, given what their crop shows: what is told."""


def heatmap_mse(predicted: Tensor, target: Tensor, weight: Tensor, keypoints: Tensor | None = None) -> Tensor:
    """Mean over crops, keypoints and cells of (w p - w t)².

    Unsupervised keypoints (weight 0) still count in the denominator, as in the official code (its
    ``JointsMSELoss``: the mean over joints of the MSE of w p and w t). With several datasets a crop's mean is over the
    keypoints of its own: the sum of the official heads' losses, each over the whole batch (``vitpose.md`` 4.5).

    Args:
        predicted: (B, K, h, w) heatmaps.
        target: (B, K, h, w) heatmaps.
        weight: (B, K) in 0..1; 0 beyond a crop's own keypoints.
        keypoints: (B,) how many of the K are a crop's own; all where left out.

    Returns:
        A scalar.
    """
    squared = (weight[:, :, None, None] * (predicted - target)).square()
    if keypoints is None:
        return squared.mean()
    return (squared.sum(dim=1).mean(dim=(1, 2)) / keypoints).mean()


def presence_loss(logits: Tensor, targets: Tensor, weights: Tensor, keypoints: Tensor | None = None) -> Tensor:
    """Cross-entropy of the two answers of a presence head, summed over the answers, mean over crops and keypoints.

    The denominator is B·K, whatever the weights: a keypoint of which nothing is known counts in it, as in
    :func:`heatmap_mse`. A mean over what is labelled would give a slice with few labels more say for each of them
    than the whole batch gives.

    Args:
        logits: (B, K, 2) of any floating type: the keypoint lies inside the image; it is visible given that it does.
        targets: (B, K, 2) in 0..1; anything, NaN included, where the weight is 0.
        weights: (B, K, 2), 0 where nobody knows and beyond a crop's own keypoints.
        keypoints: (B,) how many of the K are a crop's own; all where left out.

    Returns:
        A scalar, float32.
    """
    told = targets.float().masked_fill(weights <= 0, 0.0)
    loss = binary_cross_entropy_with_logits(logits.float(), told, weights.float(), reduction="none").sum(dim=(1, 2))
    return (loss / (logits.shape[1] if keypoints is None else keypoints)).mean()


def whole_box_loss(predicted: Tensor, reach: Tensor) -> Tensor:
    """Quantile loss (Koenker & Bassett, 1978) of how far whole people reach, mean over rows and sides.

    Where the crop does not tell, somewhat too large costs keypoints less than too small (decision 0010).

    Args:
        predicted: (B, 4) by :class:`model.heads.WholeBoxHead`.
        reach: (B, 4) of :class:`model.augment.Augmented`, NaN where nobody knows; such rows count in the denominator.

    Returns:
        A scalar, float32.
    """
    known = reach.isfinite()
    short = log_reach(torch.where(known, reach, 1.0)) - predicted.float()
    loss = torch.maximum(QUANTILE * short, (QUANTILE - 1) * short)
    return torch.where(known, loss, 0.0).mean()
