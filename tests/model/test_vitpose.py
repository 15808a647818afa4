"""The network by itself: shapes, counts, initialisation, experts and heads, gradients, compilation."""

from collections.abc import Callable

import pytest
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from autolabel.errors import ConfigError, InputError
from autolabel.skeleton import Skeleton
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
