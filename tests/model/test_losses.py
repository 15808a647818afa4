"""The heatmap loss against the official formula, presence against its own, over two steps of gradient descent."""

import numpy as np
import pytest
import torch

from model.losses import QUANTILE, heatmap_mse, presence_loss, whole_box_loss

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


# ---- presence


def cross_entropy(logits: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    """-t ln p - (1 - t) ln (1 - p) where it counts, the two answers summed, over the crops and keypoints."""
    total = 0.0
    for b, k, answer in np.ndindex(*logits.shape):
        if weight[b, k, answer]:
            p, t = 1 / (1 + np.exp(-logits[b, k, answer])), target[b, k, answer]
            total -= weight[b, k, answer] * (t * np.log(p) + (1 - t) * np.log(1 - p))
    return total / (logits.shape[0] * logits.shape[1])


def labelled(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, targets that are NaN where nobody knows, and weights."""
    rng = np.random.default_rng(seed)
    logits, target = rng.normal(0, 3, (B, K, 2)), rng.integers(0, 2, (B, K, 2)).astype(float)
    weight = rng.choice([0.0, 0.5, 1.0], (B, K, 2))
    target[weight == 0] = np.nan
    return logits, target, weight


def test_two_steps_of_presence_are_the_references() -> None:
    z, t, w = labelled()
    ours = torch.tensor(z, dtype=torch.float32, requires_grad=True)
    descent = torch.optim.SGD([ours], lr=4.0)
    losses, expected = [], []
    for _ in range(2):
        loss = presence_loss(ours, torch.tensor(t), torch.tensor(w))
        descent.zero_grad()
        loss.backward()
        descent.step()
        losses.append(loss.item())
        expected.append(cross_entropy(z, t, w))
        z = z - 4.0 * w * (1 / (1 + np.exp(-z)) - np.nan_to_num(t)) / (B * K)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert losses[1] < losses[0]
    assert ours.detach().numpy() == pytest.approx(z, abs=1e-5)


@pytest.mark.parametrize("which", ["heatmaps", "presence"])
@pytest.mark.parametrize("cut", [1, 2])
def test_the_losses_of_slices_add_up_to_that_of_the_batch(which: str, cut: int) -> None:
    if which == "presence":
        loss, tensors = presence_loss, [torch.tensor(array) for array in labelled(1)]
    else:
        rng = np.random.default_rng(1)
        loss, tensors = heatmap_mse, [torch.tensor(rng.random(shape)) for shape in [(B, K, H, W)] * 2 + [(B, K)]]
    slices = [
        loss(*(tensor[:cut] for tensor in tensors)) * cut,
        loss(*(tensor[cut:] for tensor in tensors)) * (B - cut),
    ]
    assert (sum(slices) / B).item() == pytest.approx(loss(*tensors).item(), rel=1e-6)


def test_each_crop_of_several_datasets_counts_its_own_keypoints() -> None:
    """As if every crop came alone, without the padding of the smaller skeletons."""
    z, t, w = (torch.tensor(array) for array in labelled(2))
    own = torch.tensor([K, 1, 2])
    w = w * (torch.arange(K) < own[:, None])[..., None]
    alone = [presence_loss(*(tensor[b : b + 1, : own[b]] for tensor in (z, t, w))).item() for b in range(B)]
    assert presence_loss(z, t, w, own).item() == pytest.approx(np.mean(alone), rel=1e-6)


def test_what_nobody_knows_teaches_nothing_and_low_precision_is_no_excuse() -> None:
    logits = torch.tensor([[[90.0, -90.0], [3.0, 0.0]]], dtype=torch.bfloat16, requires_grad=True)
    targets = torch.tensor([[[0.0, 1.0], [torch.nan, torch.nan]]])
    loss = presence_loss(logits, targets, torch.tensor([[[1.0, 1.0], [0.0, 0.0]]]))
    loss.backward()
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(90.0)
    assert logits.grad[0, 1].tolist() == [0, 0] and logits.grad[0, 0].tolist() == [0.5, -0.5]
    assert presence_loss(logits, targets, torch.zeros(1, 2, 2)).item() == 0.0


def test_the_whole_box_is_told_by_a_quantile() -> None:
    """By hand: three people of whom one is unknown; too small costs 0.6 of the error, too large 0.4."""
    reach = torch.tensor([[1.0, 2.0, 0.5, 4.0], [torch.nan] * 4, [1.0, 1.0, 1.0, 1.0]]).double()
    off = torch.tensor([[0.1, -0.2, 0.0, 0.3], [9.0] * 4, [-0.4, 0.0, 0.0, 0.0]]).double()
    predicted = (torch.nan_to_num(reach, nan=1.0).log() + off).requires_grad_()
    loss = whole_box_loss(predicted, reach)
    assert QUANTILE == 0.6
    assert loss.item() == pytest.approx((0.4 * 0.1 + 0.6 * 0.2 + 0.4 * 0.3 + 0.6 * 0.4) / 12, rel=1e-5)
    loss.backward()
    assert predicted.grad is not None and predicted.grad.isfinite().all() and not predicted.grad[1].any()


def test_slices_of_a_batch_add_up_whoever_is_unknown() -> None:
    reach, predicted = torch.rand(6, 4) + 0.5, torch.randn(6, 4)
    reach[:2] = torch.nan
    parts = [whole_box_loss(predicted[rows], reach[rows]) for rows in (slice(0, 3), slice(3, 6))]
    assert sum(parts).item() / 2 == pytest.approx(whole_box_loss(predicted, reach).item(), rel=1e-6)
