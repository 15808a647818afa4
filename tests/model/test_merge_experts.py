"""A ViTPose++ whole, split into six networks, and merged again: the same bits, the same heatmaps."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import difference, random_images, randomise
from model.checkpoint import assemble, load_model, model_digest, save_model, save_official
from model.config import DATASETS, PLUS_DATASETS, ViTPoseConfig
from model.layouts import Origin, Weights, select_dataset
from model.merge_experts import Part, merge_experts
from model.vitpose import ViTPose, build_vitpose
from tests.model.released_layouts import PLUS_HEADS, filled, official_shapes

SPLIT_BOUND = 2e-6
"""Of the largest heatmap value: a split network multiplies once where the whole one multiplies twice and concatenates.

The rows of the product are the same numbers, summed in an order that the library chooses by the matrix's size: a few
units in the last place of float32 (6e-8) a block.
"""


def plus(**changes: object) -> ViTPose:
    config = {"input_size": (64, 48), "width": 32, "depth": 3, "heads": 4, "experts": 6, "expert_width": 8}
    skeletons = [Skeleton.load(DATASETS[name].skeleton) for name in PLUS_DATASETS]
    described = ViTPoseConfig.model_validate({**config, "datasets": PLUS_DATASETS, **changes})
    model = build_vitpose(described, skeletons[: described.experts]).eval()
    randomise(model, seed=0)
    return model


def part(model: ViTPose, subject: str = "a.pth") -> Part:
    return Part(Weights(model.config, model.skeletons, dict(model.state_dict())), subject)


def split(folder: Path) -> list[Part]:
    return [part(load_model(folder, dataset=name), f"{name}.pth") for name in PLUS_DATASETS]


@pytest.mark.slow
@torch.inference_mode()
def test_whole_split_and_merged_are_the_same_network_of_released_shape(tmp_path: Path) -> None:
    """S, six experts of 96 rows, six heads, from an official file; one part goes through a file of its own too."""
    state = filled(official_shapes("s", PLUS_HEADS, experts=6))
    torch.save({"state_dict": state}, tmp_path / "vitpose+_small.pth")
    whole, images = load_model(tmp_path / "vitpose+_small.pth"), random_images(1)
    weights, answers = part(whole).weights, [whole(images, index) for index in range(6)]
    parts: list[Part] = []
    for index, name in enumerate(PLUS_DATASETS):
        alone = select_dataset(weights, Origin("whole", dataset=name))
        for mlp in (f"blocks.{i}.mlp" for i in range(12)):
            for tensor in ("weight", "bias"):
                rows = [state[f"backbone.{mlp}.{layer}.{tensor}"] for layer in ("fc2", f"experts.{index}")]
                assert torch.equal(alone.tensors[f"{mlp}.fc2.{tensor}"], torch.cat(rows))
        model = assemble(alone, name)
        assert difference(model(images), answers[index]) <= SPLIT_BOUND
        parts.append(part(model, name))
    parts[1] = part(load_model(save_official(load_model(tmp_path / "vitpose+_small.pth", dataset="aic"), tmp_path)))
    merged = assemble(merge_experts(parts), "merged")
    assert model_digest(merged) == model_digest(whole)
    for index, expected in enumerate(answers):
        assert torch.equal(merged(images, index), expected)


@torch.inference_mode()
@pytest.mark.parametrize("decoder", ["classic", "simple"])
@pytest.mark.parametrize("names", [PLUS_DATASETS, ("aic", "coco"), ("wholebody", "ap10k", "mpii")])
def test_some_of_them_in_any_order(names: tuple[str, ...], decoder: str, tmp_path: Path) -> None:
    whole, images = plus(decoder=decoder), random_images(2, size=(64, 48))
    save_model(whole, tmp_path)
    by_name = {p.weights.config.datasets[0]: p for p in split(tmp_path)}
    merged = assemble(merge_experts([by_name[name] for name in names]), "merged")
    assert (merged.config.datasets, merged.config.expert_width) == (names, 8)
    assert merged.config.codec == DATASETS[names[0]].codec
    for index, name in enumerate(names):
        assert torch.equal(merged(images, index), whole(images, PLUS_DATASETS.index(name)))
    if names == PLUS_DATASETS:
        assert model_digest(merged) == model_digest(whole)


@pytest.mark.parametrize("rows", [4, 12])
def test_how_wide_the_experts_are(rows: int, tmp_path: Path) -> None:
    """A quarter, as released, holds narrower ones exactly too; wider ones are found by what differs."""
    whole = plus(expert_width=rows)
    save_model(whole, tmp_path)
    merged = assemble(merge_experts(split(tmp_path)), "merged")
    assert merged.config.expert_width == max(rows, 8)
    images = random_images(1, size=(64, 48))
    for index in range(6):
        assert difference(merged(images, index).detach(), whole(images, index).detach()) <= SPLIT_BOUND


def test_networks_of_our_own_datasets_with_codecs_and_presence_heads(tmp_path: Path) -> None:
    names, codecs = ("mine", "yours", "coco"), ("plain", "udp", "udp")
    whole = plus(experts=3, datasets=names, codecs=codecs, presence=True, attention="window", window=(2, 2))
    save_model(whole, tmp_path)
    merged = assemble(merge_experts([part(load_model(tmp_path, dataset=name)) for name in names]), "merged")
    assert model_digest(merged) == model_digest(whole)


def nudged(name: str, row: int = 0) -> Callable[[list[Part]], list[Part]]:
    """The second part with one number a little different."""

    def change(parts: list[Part]) -> list[Part]:
        tensors = dict(parts[1].weights.tensors)
        tensors[name] = tensors[name].clone()
        tensors[name][row] += 1e-6
        return [parts[0], replace(parts[1], weights=replace(parts[1].weights, tensors=tensors)), *parts[2:]]

    return change


def reconfigured(**changes: object) -> Callable[[list[Part]], list[Part]]:
    def change(parts: list[Part]) -> list[Part]:
        config = parts[1].weights.config.model_copy(update=changes)
        return [parts[0], replace(parts[1], weights=replace(parts[1].weights, config=config))]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nudged("pos_embed"), r"aic\.pth: its pos_embed is not that of coco\.pth: .*trained apart stay apart"),
        (nudged("blocks.1.attn.qkv.bias"), r"its blocks\.1\.attn\.qkv\.bias is not that of coco\.pth"),
        (nudged("last_norm.weight"), r"its last_norm\.weight is not that of"),
        (nudged("blocks.2.mlp.fc2.bias"), r"its blocks\.2\.mlp\.fc2\.bias is not that of"),
        (lambda parts: parts[:1], r"one network is not enough.*--merge"),
        (lambda parts: [parts[0], parts[0]], r"coco\.pth: two of the networks are for coco.*--merge NAME=FILE"),
        (lambda parts: [parts[0], part(plus(), "plus.pth")], r"plus\.pth: is a network of several datasets.*Split"),
        (reconfigured(datasets=()), r"does not say which dataset.*--merge NAME=FILE.*coco, aic"),
        (reconfigured(norm_eps=1e-12), r"aic\.pth: norm_eps is 1e-12, that of coco\.pth 1e-06.*one ViTPose\+\+"),
    ],
)
def test_networks_that_share_no_encoder_are_refused(
    change: Callable[[list[Part]], list[Part]], message: str, tmp_path: Path
) -> None:
    save_model(plus(), tmp_path)
    with pytest.raises(CheckpointError, match=message):
        merge_experts(change(split(tmp_path)))
