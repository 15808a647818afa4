"""The heatmap loss against the official formula, over two steps of gradient descent."""

import numpy as np
import pytest
import torch

from model.losses import heatmap_mse

B, K, H, W = 3, 4, 5, 6


def joints_mse(predicted: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    """``vitpose.md`` 4.1: the mean over joints of MSE(w p, w t), each averaged over the batch and the cells."""
    total = 0.0
    for k in range(K):
        w = weight[:, k, None, None]
        total += np.mean((w * predicted[:, k] - w * target[:, k]) ** 2)
    return total / K


def gradient(predicted: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return 2 * weight[..., None, None] ** 2 * (predicted - target) / predicted.size


@pytest.mark.parametrize("weights", ["all", "some", "halves"])
def test_two_steps_are_the_references(weights: str) -> None:
    rng = np.random.default_rng(0)
    p, t = rng.normal(size=(2, B, K, H, W))
    w = {"all": np.ones((B, K)), "some": rng.integers(0, 2, (B, K)), "halves": np.full((B, K), 0.5)}[weights]
    ours = torch.tensor(p, requires_grad=True)
    descent = torch.optim.SGD([ours], lr=30.0)
    losses, expected = [], []
    for _ in range(2):
        loss = heatmap_mse(ours, torch.tensor(t), torch.tensor(w))
        descent.zero_grad()
        loss.backward()
        descent.step()
        losses.append(loss.item())
        expected.append(joints_mse(p, t, w))
        p = p - 30.0 * gradient(p, t, w)
    assert losses == pytest.approx(expected, rel=1e-12)
    assert losses[1] < losses[0]
    assert ours.detach().numpy() == pytest.approx(p, rel=1e-12)


def test_keypoints_without_weight_count_in_the_denominator_only() -> None:
    p, t = torch.ones(2, 2, 3, 3), torch.zeros(2, 2, 3, 3)
    one_of_four = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert heatmap_mse(p, t, one_of_four).item() == 0.25
    assert heatmap_mse(p, t, torch.zeros(2, 2)).item() == 0.0
