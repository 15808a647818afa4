"""What is frozen stays bit-equal, what is not is trained; adapters start at nothing and merge into plain weights."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import torch
from timm.optim import param_groups_layer_decay
from torch import Tensor

from autolabel.errors import ConfigError
from autolabel.skeleton import Skeleton
from model.config import DATASETS, PLUS_DATASETS, ViTPoseConfig
from model.partial import (
    LORA_TARGETS,
    Partial,
    freeze,
    has_lora,
    merge_lora,
    plain_model,
    plain_state,
    restrict,
    trainable_parameters,
    with_lora,
)
from model.vitpose import ViTPose, build_vitpose

DEPTH = 3
SMALL = {"input_size": (64, 48), "width": 16, "depth": DEPTH, "heads": 2, "decoder": "simple"}
needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="peft, an extra, is not installed")
MIXED = torch.tensor([2, 0, 1, 2])

STEM = {"patch_embed", "pos_embed"}
ATTENTION = {"attn", "norm1"}
MLP = {"mlp", "norm2"}


def small(**changes: object) -> ViTPose:
    """Every parameter is random, also those that start at 0 or 1."""
    torch.manual_seed(0)
    model = build_vitpose(ViTPoseConfig.model_validate({**SMALL, **changes}), Skeleton.load("coco17")).eval()
    return shaken(model)


def small_plus() -> ViTPose:
    torch.manual_seed(0)
    config = {**SMALL, "experts": 3, "expert_width": 4, "datasets": PLUS_DATASETS[:3]}
    skeletons = [Skeleton.load(DATASETS[name].skeleton) for name in PLUS_DATASETS[:3]]
    return shaken(build_vitpose(ViTPoseConfig.model_validate(config), skeletons).eval())


def shaken(model: ViTPose, only: str = "") -> ViTPose:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if only in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model


def images() -> Tensor:
    return torch.randn(4, 3, 64, 48, generator=torch.Generator().manual_seed(1))


def part(name: str) -> str:
    """What a parameter belongs to: ``attn``, ``norm2``, ``patch_embed``, ``last_norm``, ``keypoint_heads``."""
    steps = name.split(".")
    return steps[2] if steps[0] == "blocks" else steps[0]


def trained(model: ViTPose) -> Iterator[str]:
    return (name for name, parameter in model.named_parameters() if parameter.requires_grad)


def a_step(model: ViTPose) -> set[str]:
    """Train for a step and say which parameters changed."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW(param_groups_layer_decay(model.train(), weight_decay=0.1), lr=1e-2)
    model(images()).square().mean().backward()
    optimizer.step()
    model.eval()
    return {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}


@pytest.mark.parametrize(
    ("how", "frozen"),
    [
        ({}, set[str]()),
        ({"freeze": ("attention",)}, ATTENTION),
        ({"freeze": ("mlp",)}, MLP | STEM),
        ({"freeze": ("attention", "mlp")}, ATTENTION | MLP | STEM),  # as both official flags: last_norm is trained
        ({"freeze": ("encoder",)}, ATTENTION | MLP | STEM | {"last_norm"}),
    ],
)
def test_parts_are_frozen_in_every_block(how: dict[str, object], frozen: set[str]) -> None:
    model = small()
    freeze(model, Partial.parse(how, subject="training.partial"))
    expected = {name for name, _ in model.named_parameters() if part(name) not in frozen}
    assert set(trained(model)) == expected
    assert a_step(model) == expected, "frozen parameters are bit-equal, and every other one was trained"


@pytest.mark.parametrize("count", [1, 2, DEPTH])
def test_the_first_blocks_are_frozen_with_what_is_below_them(count: int) -> None:
    model = small()
    freeze(model, Partial(freeze_blocks=count))
    still = ("patch_embed.", "pos_embed", *(f"blocks.{block}." for block in range(count)))
    expected = {name for name, _ in model.named_parameters() if not name.startswith(still)}
    assert f"blocks.{count - 1}.norm1.weight" not in expected  # the official code would train block 0
    assert a_step(model) == expected


def test_parts_and_blocks_are_frozen_together() -> None:
    model = small()
    freeze(model, Partial(freeze=("attention",), freeze_blocks=1))
    names = set(trained(model))
    assert "blocks.0.mlp.fc1.weight" not in names
    assert "blocks.1.mlp.fc1.weight" in names
    assert "blocks.1.attn.qkv.weight" not in names


def test_experts_are_part_of_the_mlp() -> None:
    model = small_plus()
    freeze(model, Partial(freeze=("mlp",)))
    assert not [name for name in trained(model) if ".mlp." in name]
    freeze(model, Partial(freeze=("attention",)))
    assert "blocks.0.mlp.experts.2.weight" in set(trained(model)), "freezing anew forgets what was frozen before"


WINDOWS = {"attention": "window", "window": (2, 2), "shift": True, "pool": True, "relative_position": True}


HEADS = ("keypoint_heads", "presence_heads", "whole_box_head")


def test_what_belongs_to_the_attention_is_frozen_with_it_and_heads_with_nothing() -> None:
    model = small(**WINDOWS, presence=True, whole_box=True)
    freeze(model, Partial(freeze=("attention", "mlp")))
    assert {part(name) for name in trained(model)} == {"last_norm", *HEADS}
    assert any("relative_position" in name for name, _ in model.named_parameters())


def test_what_gives_no_keypoint_is_trained_alone() -> None:
    model = small(presence=True, whole_box=True)
    freeze(model, Partial(freeze=("keypoints",)))
    assert {part(name) for name in trained(model)} == {"presence_heads", "whole_box_head"}
    with pytest.raises(ConfigError, match=r"nothing is left to be trained.*whole_box = true"):
        freeze(small(), Partial(freeze=("keypoints",)))


@needs_peft
def test_adapters_stand_beside_the_attention_of_windows_too() -> None:
    model = small(**WINDOWS, presence=True, whole_box=True)
    with_lora(model, 2, 4.0)
    assert {part(name) for name in trained(model)} == {"attn", "mlp", *HEADS}
    assert all("lora_" in name or name.startswith(HEADS) for name in trained(model))
    shaken(model, "lora_")
    expected, chances, _ = model.forward_all(images())
    merged, again, _ = plain_model(model).forward_all(images())
    torch.testing.assert_close(merged, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(again, chances, rtol=0, atol=1e-5)


def test_two_blocks_are_not_found_in_twelve() -> None:
    model = small(depth=12, width=8)
    freeze(model, Partial(freeze_blocks=2))
    assert {name.split(".")[1] for name in trained(model) if name.startswith("blocks.")} == {
        str(block) for block in range(2, 12)
    }


def test_the_number_of_trained_parameters() -> None:
    model = small()
    assert trainable_parameters(model) == sum(p.numel() for p in model.parameters())
    restrict(model, Partial(freeze=("encoder",)))
    assert trainable_parameters(model) == 17 * 16 * 9 + 17


@needs_peft
def test_the_number_of_trained_parameters_of_adapters() -> None:
    model = small()
    restrict(model, Partial(lora_rank=2))
    a_block = 2 * ((16 + 48) + (16 + 16) + (16 + 64) + (64 + 16))  # qkv, proj, fc1, fc2
    assert trainable_parameters(model) == DEPTH * a_block + 17 * 16 * 9 + 17


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"freeze": ["atention"]}, "freeze.0"),
        ({"freezes": ["mlp"]}, "did you mean 'freeze'"),
        ({"freeze": ["mlp", "mlp"]}, "names a part twice"),
        ({"freeze": ["encoder", "mlp"]}, "leave out the rest of freeze"),
        ({"freeze": ["encoder"], "freeze_blocks": 1}, "and freeze_blocks"),
        ({"freeze": ["mlp"], "lora_rank": 4}, "leave out freeze and freeze_blocks"),
        ({"freeze_blocks": 1, "lora_rank": 4}, "leave out freeze and freeze_blocks"),
        ({"freeze_blocks": -1}, "freeze_blocks"),
        ({"lora_alpha": 0.0}, "lora_alpha"),
    ],
)
def test_settings_that_contradict_each_other(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Partial.parse(given, subject="training.partial")


def test_more_blocks_than_there_are() -> None:
    with pytest.raises(ConfigError, match="freeze_blocks: 4 blocks cannot be frozen, the network has 3"):
        freeze(small(), Partial(freeze_blocks=4))


@needs_peft
def test_adapters_change_nothing_at_first_and_are_trained_with_the_heads_alone() -> None:
    model = small()
    before = model(images())
    with_lora(model, 2, 4.0)
    assert type(model) is ViTPose
    assert has_lora(model)
    assert torch.equal(model(images()), before)
    names = set(trained(model))
    adapters = {
        f"blocks.{block}.{target}.lora_{half}.default.weight"
        for block in range(DEPTH)
        for target in LORA_TARGETS
        for half in "AB"
    }
    assert names == adapters | {"keypoint_heads.0.final_layer.weight", "keypoint_heads.0.final_layer.bias"}
    changed = a_step(model)
    # The first step moves B off 0; only then has A a gradient, though weight decay moves it already.
    assert changed == names
    assert (model(images()) - before).abs().max() > 1e-3


@needs_peft
@pytest.mark.parametrize("alpha", [2.0, 7.0])
def test_merged_weights_compute_the_same(alpha: float) -> None:
    model = small()
    plain = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with_lora(model, 2, alpha)
    shaken(model, "lora_")
    expected, adapted = model(images()), model.state_dict()
    state, copy = plain_state(model), plain_model(model)
    # The formula, written out: W + alpha / r B A.
    for name, tensor in plain.items():
        layer = name.removesuffix(".weight")
        if f"{layer}.lora_A.default.weight" in adapted:
            a, b = (adapted[f"{layer}.lora_{half}.default.weight"] for half in "AB")
            tensor = tensor + alpha / 2 * b @ a
            assert not torch.equal(state[name], plain[name])
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=1e-6)
    assert list(copy.state_dict()) == list(plain)
    torch.testing.assert_close(copy(images()), expected, rtol=0, atol=1e-5)
    assert torch.equal(model(images()), expected), "training may go on"
    merge_lora(model)
    assert list(model.state_dict()) == list(plain)
    assert not has_lora(model)
    assert torch.equal(model(images()), copy(images()))
    assert all(parameter.requires_grad for parameter in model.parameters())


@needs_peft
def test_experts_and_several_heads_keep_working() -> None:
    model = small_plus()
    before = model(images(), MIXED)
    with_lora(model, 2, 4.0)
    assert torch.equal(model(images(), MIXED), before)
    assert not [name for name in trained(model) if "experts" in name]
    shaken(model, "lora_")
    expected = model(images(), MIXED)
    assert (expected - before).abs().max() > 1e-3
    merge_lora(model)
    torch.testing.assert_close(model(images(), MIXED), expected, rtol=0, atol=1e-5)


def test_a_network_without_adapters_is_plain_already() -> None:
    model = small()
    assert plain_model(model) is model
    state = model.state_dict()
    assert plain_state(model).keys() == state.keys()
    merge_lora(model)
    assert torch.equal(model.state_dict()["pos_embed"], state["pos_embed"])


@needs_peft
def test_a_stopped_training_loads_its_adapters() -> None:
    first, second = small(), small()
    with_lora(first, 2, 4.0)
    shaken(first, "lora_")
    with_lora(second, 2, 4.0, seed=5)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second(images()), first(images()))


@needs_peft
def test_adapters_depend_on_the_seed_alone() -> None:
    def adapters(seed: int, before: int) -> list[Tensor]:
        model = small()
        torch.manual_seed(before)
        with_lora(model, 2, 4.0, seed=seed)
        assert torch.initial_seed() == before, "the global random numbers are left alone"
        return [p for name, p in model.named_parameters() if ".lora_A." in name]

    for a, b, c in zip(adapters(1, 7), adapters(1, 8), adapters(2, 7), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


@needs_peft
def test_adapters_train_in_mixed_precision() -> None:
    model = small()
    with_lora(model, 2, 4.0)
    shaken(model, "lora_")
    exact = model(images())
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(images())
        state = plain_state(model)
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, rtol=0.05, atol=0.05 * exact.abs().max().item())
    rough.float().square().mean().backward()
    gradients = [p.grad for name, p in model.named_parameters() if "lora_" in name]
    assert all(grad is not None and grad.dtype == torch.float32 and grad.any() for grad in gradients)
    for name, tensor in plain_state(model).items():
        assert torch.equal(state[name], tensor), "merged in full precision all the same"


@needs_peft
def test_adapters_of_some_layers() -> None:
    model = small()
    with_lora(model, 2, 4.0, ("attn.qkv",))
    assert {part(name) for name in trained(model)} == {"attn", "keypoint_heads"}
    with pytest.raises(ConfigError, match="has adapters already"):
        with_lora(model, 2, 4.0)
    with pytest.raises(ConfigError, match=r"no layer is called 'attn\.query'"):
        with_lora(small(), 2, 4.0, ("attn.query",))


def test_without_peft_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)  # as if it were not installed
    restrict(small(), Partial(freeze=("mlp",)))
    with pytest.raises(ConfigError, match="lora_rank: LoRA needs peft") as caught:
        restrict(small(), Partial(lora_rank=4))
    assert str(caught.value).endswith("pip install 'skeleton-autolabel[lora]'")
