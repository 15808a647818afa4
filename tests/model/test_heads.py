"""The presence and whole-box heads: arithmetic against NumPy, prior, cost, and that they learn what they are for."""

import numpy as np
import pytest
import torch
from scipy.special import erf, softmax
from torch.utils.flop_counter import FlopCounterMode

from autolabel.skeleton import Skeleton
from model.config import ViTPoseConfig
from model.heads import LOOKS, WHOLE_BOX_LOOKS, PresenceHead, WholeBoxHead
from model.losses import presence_loss
from model.vitpose import build_vitpose

COCO = Skeleton.load("coco17")


def head(width: int = 32, num_keypoints: int = 5, seed: int = 0) -> PresenceHead:
    """One with every parameter random."""
    made = PresenceHead(width, num_keypoints)
    generator = torch.Generator().manual_seed(seed)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return made


def by_hand(made: PresenceHead, features: np.ndarray) -> np.ndarray:
    """Keypoint by keypoint and look by look, in float64."""
    p = {name: tensor.detach().double().numpy() for name, tensor in made.named_parameters()}
    tokens = features.astype(np.float64).reshape(*features.shape[:2], -1).transpose(0, 2, 1)
    keys, values = (tokens @ p[f"{name}.weight"].T + p[f"{name}.bias"] for name in ("keys", "values"))
    _, k, own = p["queries"].shape
    logits = np.empty((len(features), k, 2))
    for b, j in np.ndindex(len(features), k):
        found = np.concatenate(
            [
                softmax(keys[b, :, part] @ p["queries"][look, j] / own**0.5) @ values[b, :, part]
                for look, part in ((look, slice(look * own, (look + 1) * own)) for look in range(LOOKS))
            ]
        )
        x = p["mix.weight"] @ found + p["mix.bias"]
        logits[b, j] = p["weight"][j] @ (x * (1 + erf(x / 2**0.5)) / 2) + p["bias"].reshape(k, 2)[j]
    return logits


@pytest.mark.parametrize("num_keypoints", [1, 5, 133])
@pytest.mark.parametrize("width", [30, 192])
def test_logits_are_the_references(width: int, num_keypoints: int) -> None:
    made = head(width, num_keypoints)
    features = torch.randn(2, width, 3, 2, generator=torch.Generator().manual_seed(1))
    found = made.double()(features.double())
    assert found.shape == (2, num_keypoints, 2)
    assert found.detach().numpy() == pytest.approx(by_hand(made, features.numpy()), rel=1e-6, abs=1e-6)


def test_a_new_head_says_what_is_usual_and_disturbs_no_encoder() -> None:
    features = torch.randn(3, 32, 4, 3, requires_grad=True)
    made = PresenceHead(32, 5)
    logits = made(features)
    assert logits.sigmoid().detach().numpy() == pytest.approx(np.tile([0.95, 0.8], (3, 5, 1)))
    presence_loss(logits, torch.zeros(3, 5, 2), torch.ones(3, 5, 2)).backward()
    assert features.grad is not None and not features.grad.any()
    assert made.weight.grad is not None and made.weight.grad.abs().min() > 0
    assert made.bias.ndim == 1, "timm leaves vectors out of weight decay"


def test_autocast_does_not_round_what_it_says() -> None:
    made = head()
    features = torch.randn(3, 32, 4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        logits = made(features)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, made(features))
    assert made(features.bfloat16()).dtype == torch.float32
    assert made.bfloat16()(features.bfloat16()).dtype == torch.float32, "a network that is stored in bf16"


def test_it_costs_little_even_for_small_networks() -> None:
    config = ViTPoseConfig(
        input_size=(128, 96), width=192, depth=12, heads=6, decoder="simple", presence=True, patch_size=16
    )
    model = build_vitpose(config, COCO).eval()
    image = torch.zeros(1, 3, 128, 96)
    with FlopCounterMode(display=False) as encoder, torch.inference_mode():
        features = model.forward_features(image)
    made = model.presence_heads[0]
    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        made(features)
    tokens, channels = 48, 128
    attention = 2 * 17 * tokens * channels
    assert counted.get_total_flops() + 2 * attention < 0.03 * encoder.get_total_flops()
    assert counted.get_total_flops() >= 2 * (2 * tokens * 192 * channels + 17 * channels**2), "it was counted"


def test_it_learns_where_the_image_ends() -> None:
    """Tokens are noise with a mark for each row; below some row they are black, and what belongs there is absent."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    rows, columns, width = 4, 2, 16
    marks, black = torch.randn(rows, width, generator=generator), torch.randn(width, generator=generator)

    def people(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        end = torch.randint(1, rows + 1, (count, 1), generator=generator)
        there = torch.arange(rows) < end  # keypoint k belongs into row k
        tokens = torch.where(there[..., None], torch.randn(count, rows, width, generator=generator), black) + marks
        return tokens.mT[..., None].expand(-1, -1, -1, columns), there

    made = PresenceHead(width, rows)
    descent = torch.optim.AdamW(made.parameters(), 1e-2)
    for _ in range(40):
        features, there = people(64)
        known = torch.tensor([1.0, 0.0]).expand(64, rows, 2)
        loss = presence_loss(made(features), there[..., None].expand(-1, -1, 2).float(), known)
        descent.zero_grad()
        loss.backward()
        descent.step()
    features, there = people(500)
    assert ((made(features)[..., 0] > 0) == there).float().mean() > 0.95
    assert 0.5 < there.float().mean() < 0.8, "so that one answer for all is not enough"


# ---- the whole box


@pytest.mark.parametrize("width", [8, 30, 192])
def test_reaches_are_the_references_and_teach_the_encoder_nothing(width: int) -> None:
    made = WholeBoxHead(width).double()
    features = torch.randn(2, width, 3, 2, dtype=torch.float64, requires_grad=True)
    found = made(features)
    p = {name: tensor.detach().numpy() for name, tensor in made.named_parameters()}
    tokens = features.detach().numpy().reshape(2, width, -1).transpose(0, 2, 1)
    keys, values = (tokens @ p[f"{name}.weight"].T + p[f"{name}.bias"] for name in ("keys", "values"))
    own = p["queries"].shape[2]
    expected = np.empty((2, 4))
    for b in range(2):
        parts = [slice(look * own, (look + 1) * own) for look in range(WHOLE_BOX_LOOKS)]
        looks = zip(p["queries"], parts, strict=True)
        seen = [softmax(keys[b, :, part] @ query[0] / own**0.5) @ values[b, :, part] for query, part in looks]
        x = p["mix.weight"] @ np.concatenate(seen) + p["mix.bias"]
        expected[b] = p["judge.weight"] @ (x * (1 + erf(x / 2**0.5)) / 2) + p["judge.bias"]
    assert found.dtype == torch.float32
    assert found.detach().numpy() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    found.sum().backward()
    assert features.grad is None and made.queries.grad is not None and made.queries.grad.any()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(made(features), found)
