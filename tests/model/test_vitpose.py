"""The network by itself: shapes, counts, initialisation, experts and heads, gradients, compilation."""

from collections.abc import Callable

import pytest
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from autolabel.errors import ConfigError, InputError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.config import DATASETS, PLUS_DATASETS, SIZES, ViTPoseConfig
from model.vitpose import ViTPose, build_vitpose, expected_tensors

COCO = Skeleton.load("coco17")
SMALL = {"input_size": (64, 48), "width": 32, "depth": 3, "heads": 4}
MIXED = torch.tensor([2, 0, 1, 2])


def small(**changes: object) -> ViTPose:
    torch.manual_seed(0)
    return build_vitpose(ViTPoseConfig.model_validate({**SMALL, **changes}), COCO).eval()


def small_plus(heads: int = 3) -> ViTPose:
    """Three experts that differ (fresh biases would all be 0), with one head or three."""
    torch.manual_seed(0)
    config = ViTPoseConfig.model_validate({**SMALL, "experts": 3, "expert_width": 8, "datasets": PLUS_DATASETS[:3]})
    skeletons = [Skeleton.load(DATASETS[name].skeleton) for name in PLUS_DATASETS[:heads]]
    model = build_vitpose(config, skeletons).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def images(batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, 3, 64, 48, generator=torch.Generator().manual_seed(1))


# Encoder, + classic, + simple, ++ encoder with 6 experts, ++ with all 6 heads; 17 keypoints at 256x192.
@pytest.mark.parametrize(
    ("size", "encoder", "classic", "simple", "plus_encoder", "plus_all"),
    [
        ("s", 21_663_744, 24_290_577, 21_722_513, 30_516_864, 46_306_646),
        ("b", 85_794_816, 89_994_513, 85_912_337, 121_195_776, 146_422_742),
        ("l", 303_296_512, 308_544_785, 303_453_201, 429_156_352, 460_674_774),
        ("h", 630_912_000, 637_208_849, 631_107_857, 893_107_200, 930_917_078),
    ],
)
def test_parameter_counts_of_released_sizes(
    size: str, encoder: int, classic: int, simple: int, plus_encoder: int, plus_all: int
) -> None:
    def counts(config: ViTPoseConfig, skeletons: list[Skeleton]) -> tuple[int, int]:
        with torch.device("meta"):
            named = dict(build_vitpose(config, skeletons).named_parameters())
        heads = sum(p.numel() for name, p in named.items() if name.startswith("keypoint_heads"))
        total = sum(p.numel() for p in named.values())
        return total - heads, total

    assert counts(ViTPoseConfig.of_size(size), [COCO]) == (encoder, classic)
    assert counts(ViTPoseConfig.of_size(size, decoder="simple"), [COCO]) == (encoder, simple)
    plus = ViTPoseConfig.of_size(size, experts=6, expert_width=SIZES[size].width // 4, datasets=PLUS_DATASETS)
    skeletons = [Skeleton.load(DATASETS[name].skeleton) for name in PLUS_DATASETS]
    assert counts(plus, skeletons) == (plus_encoder, plus_all)


@pytest.mark.parametrize("decoder", ["classic", "simple"])
@pytest.mark.parametrize(
    ("input_size", "patch_size", "grid"),
    [((256, 192), 16, (16, 12)), ((128, 96), 8, (16, 12)), ((64, 64), 4, (16, 16)), ((28, 42), 14, (2, 3))],
)
def test_grids_and_heatmaps(decoder: str, input_size: tuple[int, int], patch_size: int, grid: tuple[int, int]) -> None:
    model = small(input_size=input_size, patch_size=patch_size, decoder=decoder)
    batch = torch.randn(2, 3, *input_size)
    features = model.forward_features(batch)
    assert features.shape == (2, 32, *grid)
    heatmaps = model(batch)
    assert heatmaps.shape == (2, 17, grid[0] * 4, grid[1] * 4)
    assert heatmaps.shape[-2:] == model.heatmap_size == model.config.heatmap_size
    torch.testing.assert_close(model.forward_head(features), heatmaps)


@pytest.mark.parametrize("decoder", ["classic", "simple"])
@pytest.mark.parametrize("upsampling", [2, 4])
def test_overlapping_patches_and_smaller_heatmaps(decoder: str, upsampling: int) -> None:
    """Any input size that the stride divides, also one that the patch does not."""
    model = small(input_size=(40, 56), ratio=2, decoder=decoder, upsampling=upsampling)
    heatmaps = model(torch.randn(2, 3, 40, 56))
    assert model.grid_size == (5, 7)
    assert heatmaps.shape == (2, 17, 5 * upsampling, 7 * upsampling)
    assert heatmaps.shape[-2:] == model.heatmap_size == model.config.heatmap_size
    torch.testing.assert_close(model.patch_embed.proj.stride, (8, 8))


def test_a_patch_of_a_ratio_2_grid_covers_its_pixels() -> None:
    """Patch (i, j) covers rows [8i - 4, 8i + 12): one pixel reaches two patches a side, never another."""
    embed = small(input_size=(64, 48), ratio=2).patch_embed
    still = embed(torch.zeros(1, 3, 64, 48))
    for row, column in [(0, 0), (3, 3), (4, 11), (31, 20), (63, 47)]:
        dot = torch.zeros(1, 3, 64, 48)
        dot[0, :, row, column] = 1.0
        moved = (embed(dot) - still).abs().sum(dim=-1).reshape(8, 6) > 0
        expected = [[0 <= row - 8 * i + 4 < 16 and 0 <= column - 8 * j + 4 < 16 for j in range(6)] for i in range(8)]
        assert moved.tolist() == expected


VARIANTS = [
    {"attention": "window", "window": (3, 2)},
    {"attention": "window", "window": (3, 2), "shift": True},
    {"attention": "window", "window": (3, 2), "pool": True},
    {"attention": "window", "window": (3, 2), "shift": True, "pool": True, "full_every": 3},
    {"attention": "window", "window": (16, 12), "shift": True},
    {"attention": "window", "window": (2, 2), "shift": True, "pool": True, "relative_position": True, "full_every": 2},
    {"relative_position": True},
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_full_attention_loads_into_every_variant(variant: dict[str, object]) -> None:
    """And nothing else is new than biases that are 0; where windows span the grid it is the same network."""
    full, other = small(), small(**variant)
    loaded = other.load_state_dict(full.state_dict(), strict=False)
    assert not loaded.unexpected_keys
    assert all(name.endswith("relative_position_bias_table") for name in loaded.missing_keys)
    assert not any(other.get_parameter(name).any() for name in loaded.missing_keys)
    same = all(windows.size == (4, 3) and not windows.pool for windows in other.windows)
    assert same == (variant in (VARIANTS[4], VARIANTS[6]))
    found, expected = other(images()), full(images())
    assert torch.allclose(found, expected, rtol=0, atol=1e-8) == same  # heatmaps are of the order of 1e-4


@pytest.mark.parametrize("variant", VARIANTS)
def test_experts_and_windows_together(variant: dict[str, object]) -> None:
    config = {**SMALL, "experts": 3, "expert_width": 8, "datasets": PLUS_DATASETS[:3], **variant}
    model = build_vitpose(ViTPoseConfig.model_validate(config), [Skeleton.load("coco17")] * 3).eval()
    randomise(model, seed=0)
    mixed = model(images(), MIXED)
    for row, index in enumerate(MIXED.tolist()):
        torch.testing.assert_close(mixed[row], model(images()[row : row + 1], index)[0], rtol=1e-4, atol=1e-5)


def test_biases_of_relative_positions_are_decayed_by_layer_and_not_by_weight() -> None:
    model = small(relative_position=True)
    groups = param_groups_layer_decay(model, 0.1, layer_decay=0.75, no_weight_decay_list=model.no_weight_decay())
    scale = {id(p): (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    table = model.get_parameter("blocks.1.attn.relative_position_bias_table")
    assert scale[id(table)] == (pytest.approx(0.75**2), 0.0)


@pytest.mark.parametrize("build", [lambda: small(drop_path=0.5, **VARIANTS[5]), lambda: small_plus()])
def test_checkpointed_activations_give_the_same_gradients(build: Callable[[], ViTPose]) -> None:
    """With stochastic depth, whose draws the second computation must repeat."""

    def gradients(checkpointed: bool) -> dict[str, torch.Tensor]:
        model = build().train()
        model.checkpoint_activations = checkpointed
        torch.manual_seed(3)
        model(images(), MIXED).square().mean().backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    torch.testing.assert_close(gradients(True), gradients(False), rtol=0, atol=0)


def test_checkpointed_activations_are_computed_twice_in_training_alone() -> None:
    model = small()
    calls: list[int] = []
    model.blocks[1].register_forward_pre_hook(lambda *_: calls.append(1))
    model.checkpoint_activations = True
    model(images())
    model.train()
    with torch.no_grad():
        model(images())
    assert len(calls) == 2
    model(images()).sum().backward()
    assert len(calls) == 4


def with_presence(heads: int = 3, **changes: object) -> ViTPose:
    config = {**SMALL, "presence": True, "datasets": PLUS_DATASETS[:3], **changes}
    skeletons = [Skeleton.load(DATASETS[name].skeleton) for name in PLUS_DATASETS[:heads]]
    torch.manual_seed(0)
    model = build_vitpose(ViTPoseConfig.model_validate(config), skeletons).eval()
    randomise(model, seed=0)
    return model


def test_presence_comes_with_the_heatmaps_of_the_same_head() -> None:
    model = with_presence()
    features = model.forward_features(images())
    heatmaps, logits, _ = model.forward_all(images(), 1)
    torch.testing.assert_close(heatmaps, model(images(), 1))
    torch.testing.assert_close(logits, model.presence_heads[1](features))
    assert logits is not None
    assert logits.shape == (4, 14, 2)


def test_presence_of_a_mixed_batch_is_each_samples_own() -> None:
    model = with_presence()
    heatmaps, logits, _ = model.forward_all(images(), MIXED)
    assert logits is not None
    assert (heatmaps.shape[1], logits.shape) == (17, (4, 17, 2))
    for row, index in enumerate(MIXED.tolist()):
        alone = model.forward_all(images()[row : row + 1], index)[1]
        assert alone is not None
        torch.testing.assert_close(logits[row, : alone.shape[1]], alone[0])
        assert not logits[row, alone.shape[1] :].any()


@pytest.mark.parametrize(("added", "named"), [("presence", "presence_heads"), ("whole_box", "whole_box_head")])
def test_without_other_heads_there_is_nothing_and_with_them_the_rest_starts_the_same(added: str, named: str) -> None:
    assert small().forward_all(images())[1:] == (None, None)
    without, heads = small().state_dict(), small(**{added: True}).state_dict()
    torch.testing.assert_close({name: heads[name] for name in without}, without, rtol=0, atol=0)
    assert {name.split(".")[0] for name in set(heads) - set(without)} == {named}


def test_the_whole_box_is_told_for_all_datasets_by_one_head() -> None:
    model = with_presence(whole_box=True)
    told = model.forward_all(images(), MIXED).whole_box
    assert told is not None and told.shape == (4, 4)
    assert model.whole_box_head is not None
    torch.testing.assert_close(told, model.whole_box_head(model.forward_features(images(), MIXED)))


def test_tokens_are_row_major() -> None:
    """A token's position in the feature map is that of its patch in the image."""
    model = small()
    features = model.patch_embed(images()).transpose(1, 2).unflatten(2, model.grid_size)
    torch.testing.assert_close(features, model.patch_embed.proj(images()))


def test_position_slot_0_is_added_to_every_token() -> None:
    model = small()
    moved = small()
    with torch.no_grad():
        moved.pos_embed[:, 0] += 0.5
        model.pos_embed[:, 1:] += 0.5
    torch.testing.assert_close(moved(images()), model(images()))


def test_other_image_sizes_are_refused() -> None:
    with pytest.raises(InputError, match=r"images are 48x64 \(HxW\), this network takes 64x48"):
        small()(torch.zeros(1, 3, 48, 64))


def test_initialisation() -> None:
    torch.manual_seed(0)
    model = build_vitpose(ViTPoseConfig.of_size("s", depth=2), COCO).requires_grad_(False)
    assert 0.019 < float(model.pos_embed.std()) < 0.021
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            assert 0.019 < float(module.weight.std()) < 0.021, name
            assert not module.bias.any(), name
        elif isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
            assert (module.weight == 1).all(), name
            assert not module.bias.any(), name
        elif name.startswith("keypoint_heads") and isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            assert 0.0009 < float(module.weight.std()) < 0.0011, name
    assert all(module.eps == 1e-6 for module in model.modules() if isinstance(module, nn.LayerNorm))
    # PyTorch's default for the patch convolution: uniform in ± 1 / sqrt(3 x 16 x 16).
    assert 0.034 < float(model.patch_embed.proj.weight.abs().max()) <= (3 * 256) ** -0.5


def test_drop_path_rises_linearly() -> None:
    model = small(depth=4, drop_path=0.3)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in model.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_layer_decay_groups_are_the_official_ones() -> None:
    """Patch and position embedding 0, block i is i + 1, the rest L + 1; learning rate x rate^(L + 1 - id)."""
    model = small()
    groups = param_groups_layer_decay(model, 0.1, layer_decay=0.75, no_weight_decay_list=model.no_weight_decay())
    scale = {id(p): (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    expected = {
        "patch_embed.proj.weight": (0.75**4, 0.1),
        "pos_embed": (0.75**4, 0.0),
        "blocks.0.attn.qkv.weight": (0.75**3, 0.1),
        "blocks.2.mlp.fc2.weight": (0.75**1, 0.1),
        "blocks.2.mlp.fc2.bias": (0.75**1, 0.0),
        "last_norm.weight": (1.0, 0.0),
        "keypoint_heads.0.deconv_layers.0.weight": (1.0, 0.1),
    }
    found = {name: scale[id(model.get_parameter(name))] for name in expected}
    assert found == {name: pytest.approx(value) for name, value in expected.items()}


@pytest.mark.parametrize("heads", [1, 3])
def test_a_mixed_batch_equals_one_batch_per_dataset(heads: int) -> None:
    model = small_plus(heads)
    mixed = model(images(), MIXED)
    for row, index in enumerate(MIXED.tolist()):
        alone = model(images()[row : row + 1], index)[0]
        torch.testing.assert_close(mixed[row, : len(alone)], alone)
        assert not mixed[row, len(alone) :].any()
    assert mixed.shape[1] == 17


def test_each_expert_fills_the_last_channels_of_its_own_samples_only() -> None:
    model = small_plus()
    mlp = model.blocks[0].mlp
    tokens = torch.randn(4, 12, 32, generator=torch.Generator().manual_seed(2))
    before = mlp(tokens, MIXED)
    with torch.no_grad():
        mlp.experts[2].bias += 1.0
    change = mlp(tokens, MIXED) - before
    expected = torch.zeros_like(change)
    expected[MIXED == 2, :, 24:] = 1.0
    torch.testing.assert_close(change, expected)


def test_no_dataset_means_the_first() -> None:
    model = small_plus()
    assert model.skeleton.name == "coco17"
    torch.testing.assert_close(model(images()), model(images(), 0))
    assert model(images(), 1).shape[1] == 14
    assert not torch.allclose(model(images(), 0), model.forward_head(model.forward_features(images(), 1), 0))


@pytest.mark.parametrize("dataset", [-1, 3])
def test_a_dataset_that_does_not_exist_is_refused(dataset: int) -> None:
    with pytest.raises(InputError, match=rf"dataset index {dataset} is not in 0\.\.2"):
        small_plus()(images(), dataset)


def test_skeletons_must_be_one_or_one_per_dataset() -> None:
    config = ViTPoseConfig.model_validate({**SMALL, "datasets": ("coco", "aic", "mpii")})
    with pytest.raises(ConfigError, match="2 skeletons for 3 datasets"):
        build_vitpose(config, [COCO, COCO])


@pytest.mark.parametrize("build", [small, small_plus, lambda: small(decoder="simple")])
def test_every_parameter_gets_a_gradient(build: Callable[[], ViTPose]) -> None:
    model = build().train()
    model(images(), MIXED).square().mean().backward()
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not missing


def test_unused_experts_get_no_push() -> None:
    model = small_plus()
    model(images(), torch.tensor([0, 0, 1, 1])).square().mean().backward()
    experts = model.blocks[0].mlp.experts
    assert [bool(expert.weight.grad.any()) for expert in experts] == [True, True, False]


def test_windows_compile_without_a_break() -> None:
    model = small(**VARIANTS[5])
    with torch.inference_mode():
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(images()), model(images()))


def test_it_compiles_without_a_break() -> None:
    model = small_plus()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.inference_mode():
        torch.testing.assert_close(compiled(images(), MIXED), model(images(), MIXED))
        torch.testing.assert_close(compiled(images(), 1), model(images(), 1))


def test_expected_tensors_take_no_memory() -> None:
    expected = expected_tensors(ViTPoseConfig.model_validate(SMALL), COCO)
    assert {name: t.shape for name, t in expected.items()} == {
        name: t.shape for name, t in small().state_dict().items()
    }
    assert all(tensor.is_meta for tensor in expected.values())
