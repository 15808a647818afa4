"""Costs against PyTorch's own counter, the published tables, and what a forward pass really keeps."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from autolabel.skeleton import Skeleton
from model.config import PLUS_DATASETS, ViTPoseConfig
from model.cost import activation_bytes, cost
from model.vitpose import ViTPose, build_vitpose

COCO = Skeleton.load("coco17")
SMALL = {"input_size": (80, 48), "width": 32, "depth": 4, "heads": 4}
WINDOWS = {"attention": "window", "window": (3, 2)}

VARIANTS: list[dict[str, Any]] = [
    {},
    {"decoder": "simple"},
    {"ratio": 2},
    {"ratio": 2, "upsampling": 2},
    {"ratio": 2, "upsampling": 2, "decoder": "simple"},
    {"mlp_ratio": 2, "deconv_channels": 24, "patch_size": 8},
    {**WINDOWS},
    {**WINDOWS, "shift": True},
    {**WINDOWS, "pool": True},
    {**WINDOWS, "shift": True, "pool": True, "full_every": 2, "ratio": 2},
    {**WINDOWS, "relative_position": True, "pool": True},
    {"relative_position": True},
    {"presence": True},
    {"presence": True, "whole_box": True},
    {"knowledge": True, "presence": True},
    {"experts": 2, "expert_width": 8, "datasets": PLUS_DATASETS[:2]},
]


def built(device: str = "meta", **fields: Any) -> ViTPose:
    torch.manual_seed(0)
    with torch.device(device):
        return build_vitpose(ViTPoseConfig.model_validate({**SMALL, **fields}), COCO)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_formulas_agree_with_pytorchs_counter(variant: dict[str, Any]) -> None:
    model = built(**variant)
    images = torch.empty(1, 3, 80, 48, device="meta")
    found = cost(model.config, 17)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as encoder:
            model.forward_features(images)
        with FlopCounterMode(display=False) as whole:
            model.forward_all(images)
    assert 2 * found.encoder_macs == encoder.get_total_flops()
    assert 2 * found.macs == whole.get_total_flops()
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())


def giga(macs: int) -> float:
    return round(macs / 1e9, 2)


# Encoder, + classic, + simple: the table of vitpose.md 1.5; the paper states 17.1 for B.
@pytest.mark.parametrize(
    ("size", "encoder", "classic", "simple"),
    [
        ("s", 4.47, 5.59, 4.65),
        ("b", 17.10, 18.52, 17.46),
        ("l", 59.94, 61.57, 60.43),
        ("h", 124.00, 125.83, 124.61),
    ],
)
def test_released_sizes(size: str, encoder: float, classic: float, simple: float) -> None:
    found = [cost(ViTPoseConfig.of_size(size, decoder=decoder), 17) for decoder in ("classic", "simple")]
    assert [giga(each.encoder_macs) for each in found] == [encoder] * 2
    assert [giga(each.macs) for each in found] == [classic, simple]


# The paper's Table 5 at 1/8 features, and what our products are. Full, full in every third block, and pooled 16x12 are
# the paper's to 0.05 %. For 8x8 windows it has 0.28 less than the products of 12 windows of 64 tokens.
@pytest.mark.parametrize(
    ("fields", "ours", "paper"),
    [
        ({}, 76.55, 76.59),
        ({"attention": "window"}, 66.59, 66.31),
        ({"attention": "window", "shift": True}, 66.59, 66.31),
        ({"attention": "window", "pool": True}, 66.76, 66.39),
        ({"attention": "window", "shift": True, "pool": True}, 66.76, 66.39),
        ({"attention": "window", "full_every": 3}, 69.91, 69.94),
        ({"attention": "window", "window": (16, 12)}, 68.40, None),
        ({"attention": "window", "window": (16, 12), "shift": True, "pool": True}, 68.46, 68.46),
    ],
)
def test_the_papers_attention_variants(fields: dict[str, Any], ours: float, paper: float | None) -> None:
    found = giga(cost(ViTPoseConfig.of_size("b", ratio=2, **fields), 17).encoder_macs)
    assert found == ours
    if paper is not None:
        assert found == pytest.approx(paper, rel=0.006)


def test_the_paper_finds_the_same_order_of_memory() -> None:
    """Training memory of Table 5: full > full in some blocks > 16x12 pooled > 8x8 pooled > 8x8."""
    order = [
        {},
        {"attention": "window", "full_every": 3},
        {"attention": "window", "window": (16, 12), "pool": True},
        {"attention": "window", "pool": True},
        {"attention": "window"},
    ]
    found = [cost(ViTPoseConfig.of_size("b", ratio=2, **fields), 17).activation_bytes for fields in order]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)


def test_it_is_told_in_words() -> None:
    told = cost(ViTPoseConfig.of_size("b"), 17).told()
    assert told.startswith("90.0 M parameters; a crop takes 18.52 GMACs forward, and training keeps up to 151 MiB")


@pytest.mark.parametrize("variant", VARIANTS)
def test_memory_is_the_same_whether_computed_or_not(variant: dict[str, Any]) -> None:
    """On ``meta`` nothing is stored; a CPU's forward pass really keeps that much of each image."""
    images = torch.randn(2, 3, 80, 48)
    model = built("cpu", **variant).train()
    with sdpa_kernel(SDPBackend.MATH):
        measured = activation_bytes(model, images)
        without = activation_bytes(built(**variant).train(), images.to("meta"))
    assert measured == without
    assert 0.8 * measured <= 2 * cost(model.config, 17).activation_bytes <= 1.7 * measured  # masks are per batch


class Layers(nn.Module):
    """Two linear layers and a ReLU, whose kept tensors are countable by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 10), nn.Linear(10, 3)

    def forward_all(self, images: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return self.second(self.first(images).relu()), None, None


def test_kept_tensors_count_once_and_parameters_do_not() -> None:
    """The input (5 x 6) and the ReLU's output (5 x 10), which ReLU and the second layer both keep, in float32."""
    assert activation_bytes(Layers(), torch.randn(5, 6)) == 4 * (5 * 6 + 5 * 10)  # type: ignore[arg-type]


def test_checkpointing_keeps_a_fraction() -> None:
    config = ViTPoseConfig.model_validate({**SMALL, "depth": 8, "decoder": "simple"})
    kept, less = cost(config, 17), cost(config, 17, checkpoint_activations=True)
    assert less.activation_bytes < 0.5 * kept.activation_bytes
    assert (less.parameters, less.macs) == (kept.parameters, kept.macs)
