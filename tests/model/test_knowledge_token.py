"""The knowledge token: seen by every token, in none of the features, and nothing changes where there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from timm.optim import param_groups_layer_decay
from torch import Tensor
from torch.nn import functional as F

from autolabel.errors import AutolabelError, CheckpointError, ConfigError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.checkpoint import (
    assemble,
    load_model,
    model_digest,
    save_huggingface,
    save_mmpose,
    save_model,
    save_official,
)
from model.config import DATASETS, ViTPoseConfig
from model.layouts import Weights
from model.partial import Partial, freeze, restrict
from model.positions import adapted
from model.pretrain import require_maskable
from model.starter import save_starter
from model.vitpose import ViTPose, build_vitpose

COCO = Skeleton.load("coco17")
SMALL = {"input_size": (64, 48), "width": 32, "depth": 3, "heads": 4, "knowledge": True}


def small(seed: int = 0, **changes: object) -> ViTPose:
    torch.manual_seed(seed)
    return build_vitpose(ViTPoseConfig.model_validate({**SMALL, **changes}), COCO).eval()


def noisy(**changes: object) -> ViTPose:
    model = small(**changes)
    randomise(model, 0)
    return model


def small_plus() -> ViTPose:
    names = ("coco", "aic")
    config = ViTPoseConfig.model_validate({**SMALL, "experts": 2, "expert_width": 8, "datasets": names})
    model = build_vitpose(config, [Skeleton.load(DATASETS[name].skeleton) for name in names]).eval()
    randomise(model, 0)
    return model


def images(batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, 64, 48, generator=torch.Generator().manual_seed(1))


def token(model: ViTPose) -> Tensor:
    assert model.knowledge is not None
    return model.knowledge


@torch.no_grad()
def test_features_are_those_of_a_plain_transformer_with_one_more_token() -> None:
    """Attention written out: softmax(q k / sqrt(d)) v over the patches' tokens and the token, which comes last."""
    model = noisy(heads=2)
    patches = model.patch_embed.proj(images()).flatten(2).mT + model.pos_embed[:, 1:] + model.pos_embed[:, :1]
    tokens = torch.cat([patches, token(model).repeat(3, 1, 1)], dim=1)
    for block in model.blocks:
        looked = block.norm1(tokens)
        q, k, v = (
            F.linear(looked, *pair) for pair in zip(*(t.chunk(3) for t in block.attn.qkv.parameters()), strict=True)
        )
        split = [part.unflatten(2, (2, 16)).transpose(1, 2) for part in (q, k, v)]
        found = (split[0] @ split[1].mT / 4).softmax(dim=-1) @ split[2]
        tokens = tokens + block.attn.proj(found.transpose(1, 2).flatten(2))
        tokens = tokens + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(tokens))))
    expected = model.last_norm(tokens)[:, :12].mT.unflatten(2, (4, 3))
    torch.testing.assert_close(model.forward_features(images()), expected)


@pytest.mark.parametrize("build", [noisy, small_plus])
def test_what_the_token_says_reaches_every_feature(build: Callable[[], ViTPose]) -> None:
    model = build()
    before = model.forward_features(images())
    with torch.no_grad():
        token(model).mul_(-1)
    moved = (model.forward_features(images()) - before).abs().amax(dim=1)
    assert before.shape == (3, 32, 4, 3)
    assert (moved > 1e-4).all()


@pytest.mark.parametrize("changes", [{}, {"presence": True, "whole_box": True, "decoder": "simple"}])
def test_the_same_seed_gives_the_same_other_weights(changes: dict[str, object]) -> None:
    with_token, without = small(**changes).state_dict(), small(**changes, knowledge=False).state_dict()
    assert set(with_token) - set(without) == {"knowledge"}
    assert all(torch.equal(with_token[name], tensor) for name, tensor in without.items())
    assert 0.01 < float(with_token["knowledge"].std()) < 0.03


@pytest.mark.parametrize("build", [noisy, small_plus])
def test_it_is_trained_with_and_without_kept_activations(build: Callable[[], ViTPose]) -> None:
    gradients = []
    for kept in (True, False):
        model = build().train()
        model.checkpoint_activations = not kept
        model(images()).square().mean().backward()
        gradients.append(token(model).grad)
    assert gradients[0].abs().min() > 0
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


def test_it_compiles_without_a_break() -> None:
    model = noisy()
    with torch.inference_mode():
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(images()), model(images()))


def test_its_rate_is_the_stems_and_it_does_not_decay() -> None:
    model = small()
    groups = param_groups_layer_decay(model, 0.1, layer_decay=0.5, no_weight_decay_list=list(model.no_weight_decay()))
    found = {id(p): (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert found[id(token(model))] == found[id(model.pos_embed)] == (0.5**4, 0.0)
    assert "knowledge" not in small(knowledge=False).no_weight_decay()


@pytest.mark.parametrize(
    ("how", "trained"),
    [
        ({"freeze": ("encoder",)}, False),
        ({"freeze": ("mlp",)}, False),
        ({"freeze_blocks": 1}, False),
        ({"freeze": ("attention",)}, True),
    ],
)
def test_it_is_frozen_with_the_stem(how: dict[str, object], trained: bool) -> None:
    model = small()
    freeze(model, Partial.model_validate(how))
    assert token(model).requires_grad is trained


def test_adapters_leave_it_as_it_was() -> None:
    pytest.importorskip("peft")
    model = small()
    restrict(model, Partial(lora_rank=2))
    assert not token(model).requires_grad


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": "window"}, "knowledge needs full attention.*not attention 'window'"),
        ({"attention": "window", "full_every": 2}, "knowledge needs full attention"),
        ({"relative_position": True}, "knowledge needs full attention.*not relative_position"),
        ({"knowledge": 2}, "knowledge: .*bool"),
    ],
)
def test_attention_that_has_no_place_for_it_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ViTPoseConfig.parse({**SMALL, **changes}, subject="student.toml")


@pytest.mark.parametrize("save", [save_model, lambda model, folder: save_starter(model, folder / "a.safetensors")])
def test_it_is_saved_and_loaded(save: Callable[[ViTPose, Path], Path], tmp_path: Path) -> None:
    model = noisy(presence=True)
    again = load_model(save(model, tmp_path))
    assert again.config.knowledge
    torch.testing.assert_close(token(again), token(model), rtol=1e-3, atol=1e-3)  # a starter is in half precision


def test_the_digest_knows_it_and_that_of_networks_without_is_as_ever() -> None:
    model = noisy()
    before = model_digest(model)
    with torch.no_grad():
        token(model)[0, 0, 0] += 1
    assert model_digest(model) != before
    assert "knowledge" not in small(knowledge=False).config.described()


@pytest.mark.parametrize("save", [save_official, save_mmpose, save_huggingface])
def test_layouts_of_programs_that_do_not_know_it_are_refused(
    save: Callable[[ViTPose, Path], Path], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"a knowledge token, which .* does not know.*Keep the checkpoint folder"):
        save(noisy(deconv_channels=256), tmp_path)
    assert not list(tmp_path.iterdir())


def test_trained_weights_gain_and_lose_it() -> None:
    plain = noisy(knowledge=False)
    weights = Weights(plain.config, plain.skeletons, dict(plain.state_dict()))
    one, again, other = (adapted(weights, {"knowledge": True}, "a", seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.tensors["knowledge"], again.tensors["knowledge"])
    assert not torch.equal(one.tensors["knowledge"], other.tensors["knowledge"])
    with_token = assemble(one, "a")
    assert not torch.equal(with_token(images()), plain(images()))
    back = assemble(adapted(one, {"knowledge": False}, "a"), "a")
    assert torch.equal(back(images()), plain(images()))


def test_it_is_not_pretrained() -> None:
    with pytest.raises(AutolabelError, match=r"knowledge True cannot be pre-trained.*Pre-train with knowledge False"):
        require_maskable(small().config)
