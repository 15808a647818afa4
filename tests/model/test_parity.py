"""Heatmaps against transformers' ``VitPoseForPoseEstimation``: whole tensors, float32, all parameters random.

The released widths, heads and decoders with few blocks, because all blocks are alike, and S whole through the
official layout; ``python -m benchmarks.parity`` has every size at full depth.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import VitPoseForPoseEstimation

from autolabel.skeleton import Skeleton
from benchmarks.parity_network import (
    BOUND,
    difference,
    random_images,
    randomise,
    reference,
    reference_heatmaps,
    to_official,
)
from model.checkpoint import load_model, save_huggingface
from model.config import DATASETS, PLUS_DATASETS, ViTPoseConfig
from model.vitpose import ViTPose, build_vitpose

DEPTHS = {"s": 4, "b": 2, "l": 1, "h": 1}
EACH_EXPERT = torch.arange(len(PLUS_DATASETS))


@torch.inference_mode()
def heatmaps(model: ViTPose, images: Tensor, dataset: Tensor | int | None = None) -> Tensor:
    return model(images, dataset)


@pytest.mark.parametrize("decoder", ["classic", "simple"])
@pytest.mark.parametrize("size", DEPTHS)
def test_plain(size: str, decoder: str, tmp_path: Path) -> None:
    theirs, images = reference(size, decoder, depth=DEPTHS[size]), random_images(2)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    assert ours.config.norm_eps == theirs.config.backbone_config.layer_norm_eps
    assert not ours.training
    assert difference(heatmaps(ours, images), reference_heatmaps(theirs, images)) <= BOUND


@pytest.mark.parametrize("decoder", ["classic", "simple"])
@pytest.mark.parametrize("size", DEPTHS)
def test_every_expert(size: str, decoder: str, tmp_path: Path) -> None:
    theirs = reference(size, decoder, experts=len(PLUS_DATASETS), depth=DEPTHS[size])
    images = random_images(len(PLUS_DATASETS))
    theirs.save_pretrained(tmp_path)
    ours = heatmaps(load_model(tmp_path), images, EACH_EXPERT)
    expected = reference_heatmaps(theirs, images, EACH_EXPERT)
    assert [i for i in EACH_EXPERT.tolist() if difference(ours[i], expected[i]) > BOUND] == []


@pytest.fixture(scope="module")
def plus_s(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensor]:
    """A shallow ViTPose++-S in their layout, and their heatmaps for one sample of each dataset."""
    folder = tmp_path_factory.mktemp("plus")
    theirs = reference("s", "classic", experts=len(PLUS_DATASETS), depth=2)
    theirs.save_pretrained(folder)
    return folder, reference_heatmaps(theirs, random_images(len(PLUS_DATASETS)), EACH_EXPERT)


def _zero_slot_0(model: ViTPose) -> None:
    model.pos_embed[:, 0] = 0


def _swap_experts(model: ViTPose) -> None:
    for block in model.blocks:
        block.mlp.experts = nn.ModuleList(reversed(block.mlp.experts))


def _expert_channels_first(model: ViTPose) -> None:
    for block in model.blocks:
        block.mlp.register_forward_hook(lambda mlp, inputs, tokens: tokens.roll(96, dims=-1))


def _skip_last_norm(model: ViTPose) -> None:
    model.last_norm = nn.Identity()


def _swap_query_and_key_bias(model: ViTPose) -> None:
    for block in model.blocks:
        q, k, v = block.attn.qkv.bias.chunk(3)
        block.attn.qkv.bias.copy_(torch.cat([k, q, v]))


def _fresh_batch_norm_statistics(model: ViTPose) -> None:
    model.keypoint_heads[0].deconv_layers[1].reset_running_stats()


def _no_padding(model: ViTPose) -> None:
    model.patch_embed.proj.padding = (0, 0)


def _tanh_gelu(model: ViTPose) -> None:
    for block in model.blocks:
        block.mlp.act = nn.GELU(approximate="tanh")


@pytest.mark.parametrize(
    "mistake",
    [
        _zero_slot_0,
        _swap_experts,
        _expert_channels_first,
        _skip_last_norm,
        _swap_query_and_key_bias,
        _fresh_batch_norm_statistics,
        _no_padding,
        _tanh_gelu,
    ],
)
def test_parity_would_notice(mistake: Callable[[ViTPose], None], plus_s: tuple[Path, Tensor]) -> None:
    folder, expected = plus_s
    model, images = load_model(folder), random_images(len(PLUS_DATASETS))
    assert difference(heatmaps(model, images, EACH_EXPERT), expected) <= BOUND
    with torch.no_grad():
        mistake(model)
    assert difference(heatmaps(model, images, EACH_EXPERT), expected) > 3 * BOUND


def test_simple_decoder_enlarges_after_relu(tmp_path: Path) -> None:
    """The order on which the paper contradicts itself."""
    theirs, images = reference("s", "simple", depth=1), random_images(1)
    theirs.save_pretrained(tmp_path)
    ours, expected = load_model(tmp_path), reference_heatmaps(theirs, images)
    with torch.inference_mode():
        features = ours.forward_features(images)
        enlarged = nn.functional.interpolate(features, scale_factor=4, mode="bilinear", align_corners=False)
        reversed_order = ours.keypoint_heads[0].final_layer(enlarged.relu())
    assert difference(ours(images).detach(), expected) <= BOUND
    assert difference(reversed_order, expected) > 100 * BOUND


@pytest.mark.parametrize("decoder", ["classic", "simple"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_official_file(decoder: str, wrapped: bool, tmp_path: Path) -> None:
    """Raw or under "state_dict", with the stray cls_token that some released files carry."""
    theirs, images = reference("s", decoder), random_images(1)
    state = {**to_official(theirs.state_dict()), "backbone.cls_token": torch.ones(1, 1, 384)}
    torch.save({"meta": {"epoch": 210}, "state_dict": state} if wrapped else state, tmp_path / "vitpose.pth")
    ours = load_model(tmp_path / "vitpose.pth")
    assert ours.config.decoder == decoder
    assert difference(heatmaps(ours, images), reference_heatmaps(theirs, images)) <= BOUND


def test_official_plus_file_splits_exactly_for_every_dataset(tmp_path: Path) -> None:
    """Expert, head, names and codec of each dataset; and the whole network gives the same as its parts."""
    images = random_images(1)
    theirs = reference("s", "classic", experts=len(PLUS_DATASETS))
    state, heads = to_official(theirs.state_dict()), []
    for index, name in enumerate(PLUS_DATASETS):
        k = Skeleton.load(DATASETS[name].skeleton).num_keypoints
        heads.append(reference("s", "classic", depth=1, num_keypoints=k, seed=index + 1).head)
        prefix = f"associate_keypoint_heads.{index - 1}" if index else "keypoint_head"
        for key, tensor in to_official({f"head.{k}": v for k, v in heads[-1].state_dict().items()}).items():
            state[key.replace("keypoint_head", prefix)] = tensor
    torch.save({"state_dict": state}, tmp_path / "plus.pth")
    whole = load_model(tmp_path / "plus.pth")
    for index, name in enumerate(PLUS_DATASETS):
        theirs.head = heads[index]
        expected = reference_heatmaps(theirs, images, torch.tensor([index]))
        assert difference(heatmaps(whole, images, index), expected) <= BOUND
        split = load_model(tmp_path / "plus.pth", dataset=name)
        assert (split.config.experts, split.config.datasets) == (0, (name,))
        assert (split.skeleton.name, split.config.codec) == (DATASETS[name].skeleton, DATASETS[name].codec)
        assert difference(heatmaps(split, images), expected) <= BOUND


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"decoder": "simple", "norm_eps": 0.1},
        {"experts": 3, "expert_width": 8, "datasets": PLUS_DATASETS[:3]},
        {"input_size": (64, 96), "patch_size": 8, "mlp_ratio": 2},
    ],
)
def test_transformers_reads_what_we_save(changes: dict[str, object], tmp_path: Path) -> None:
    values = {"input_size": (64, 48), "width": 32, "depth": 3, "heads": 4, **changes}
    ours = build_vitpose(ViTPoseConfig.model_validate(values), Skeleton.load("coco17")).eval()
    randomise(ours, seed=3)
    save_huggingface(ours, tmp_path)
    theirs, found = VitPoseForPoseEstimation.from_pretrained(
        tmp_path, attn_implementation="eager", output_loading_info=True
    )
    assert not any(found[fault] for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    images, dataset = random_images(3, size=ours.input_size), torch.tensor([0, 2, 1])
    expected = reference_heatmaps(theirs, images, dataset if ours.num_experts else None)
    assert difference(heatmaps(ours, images, dataset), expected) <= BOUND
    assert theirs.config.id2label[5] == "left_shoulder"
