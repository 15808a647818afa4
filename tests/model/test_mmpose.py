"""mmpose 1.x: folded positions there and back, and the same heatmaps as the official file."""

from pathlib import Path

import pytest
import torch

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import BOUND, difference, random_images, randomise
from model.checkpoint import load_model, model_digest, save_mmpose, save_model, save_official
from model.config import PLUS_DATASETS, ViTPoseConfig
from model.vitpose import ViTPose, build_vitpose
from tests.model.released_layouts import State, filled, mmpose_shapes, official_shapes


def as_mmpose(official: State) -> State:
    """The published table of names, official -> mmpose 1.x, with positions folded."""
    state: State = {}
    for name, tensor in official.items():
        for old, new in (
            ("backbone.patch_embed.proj.", "backbone.patch_embed.projection."),
            ("backbone.last_norm.", "backbone.ln1."),
            ("keypoint_head.", "head."),
            ("backbone.blocks.", "backbone.layers."),
            (".norm1.", ".ln1."),
            (".norm2.", ".ln2."),
            (".mlp.fc1.", ".ffn.layers.0.0."),
            (".mlp.fc2.", ".ffn.layers.1."),
        ):
            name = name.replace(old, new)
        state[name] = tensor
    positions = state["backbone.pos_embed"]
    state["backbone.pos_embed"] = positions[:, 1:] + positions[:, :1]
    return state


def small(skeletons: Skeleton | list[Skeleton] | None = None, **changes: object) -> ViTPose:
    config = {"input_size": (64, 48), "width": 32, "depth": 3, "heads": 4, **changes}
    model = build_vitpose(ViTPoseConfig.model_validate(config), skeletons or Skeleton.load("coco17")).eval()
    randomise(model, seed=0)
    return model


def test_a_released_file_comes_back_bit_for_bit(tmp_path: Path) -> None:
    """But for the preprocessor's constants, which are ImageNet's; a -0.0 among the positions stays one."""
    state = filled(mmpose_shapes())
    state["backbone.pos_embed"][0, 7, :5] = -0.0
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "td-hm_ViTPose-small_coco-256x192.pth")
    model = load_model(tmp_path / "td-hm_ViTPose-small_coco-256x192.pth")
    assert (model.config.decoder, model.config.datasets) == ("classic", ("coco",))
    assert not model.pos_embed[:, 0].any()
    through = load_model(save_model(model, tmp_path / "checkpoint"))
    back = torch.load(save_mmpose(through, tmp_path / "back"), weights_only=True)["state_dict"]
    expected = {name: tensor for name, tensor in state.items() if not name.startswith("data_preprocessor")}
    torch.testing.assert_close(back, expected, rtol=0, atol=0)
    signs = (torch.signbit(s["backbone.pos_embed"]) for s in (back, state))
    assert torch.equal(*signs)


@torch.inference_mode()
def test_the_official_file_gives_the_same_heatmaps(tmp_path: Path) -> None:
    """Its slot 0 is random here, so that leaving it out instead of folding it would show."""
    official = filled(official_shapes(simple=True))
    torch.save(official, tmp_path / "official.pth")
    torch.save({"state_dict": as_mmpose(official)}, tmp_path / "mmpose.pth")
    images = random_images(1)
    one, other = (load_model(tmp_path / f"{name}.pth") for name in ("official", "mmpose"))
    expected = one(images)
    assert difference(other(images), expected) <= BOUND
    again = load_model(save_mmpose(one, tmp_path / "again"))
    assert difference(again(images), expected) <= BOUND
    one.pos_embed[:, 0] = 0
    assert difference(one(images), expected) > 100 * BOUND


def test_a_network_without_slot_0_comes_back_whole(tmp_path: Path) -> None:
    model = small()
    with torch.no_grad():
        model.pos_embed[:, 0] = 0
    assert model_digest(load_model(save_mmpose(model, tmp_path))) == model_digest(model)


def test_what_the_layout_cannot_hold_is_refused(tmp_path: Path) -> None:
    plus = small(experts=6, expert_width=8, datasets=PLUS_DATASETS)
    with pytest.raises(CheckpointError, match=r"no word for several heads or experts.*--dataset"):
        save_mmpose(plus, tmp_path)
    for save, program in ((save_mmpose, "mmpose"), (save_official, "the official code")):
        with pytest.raises(CheckpointError, match=f"attention within windows, which {program}.*checkpoint folder"):
            save(small(attention="window"), tmp_path)
        with pytest.raises(CheckpointError, match=f"relative positions, which {program}"):
            save(small(relative_position=True), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_other_heads_come_back_with_our_description(tmp_path: Path) -> None:
    model = small(presence=True, whole_box=True, ratio=2)
    with torch.no_grad():
        model.pos_embed[:, 0] = 0
    assert model_digest(load_model(save_mmpose(model, tmp_path))) == model_digest(model)


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("backbone.pos_embed", "lacks pos_embed.*damaged"),
        ("head.final_layer.weight", r"lacks keypoint_heads\.0\.final_layer\.weight.*damaged"),
        ("head.final_layer.bias", r"lacks keypoint_heads\.0\.final_layer\.bias.*damaged"),
        ("backbone.layers.0.ffn.layers.1.weight", r"lacks blocks\.0\.mlp\.fc2\.weight.*damaged"),
        ("backbone.layers.3.attn.qkv.bias", r"lacks blocks\.3\.attn\.qkv\.bias"),
    ],
)
def test_a_damaged_file_says_what_it_lacks(lacking: str, message: str, tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in filled(mmpose_shapes()).items() if name != lacking}
    torch.save(state, tmp_path / "coco.pth")
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path / "coco.pth")


def test_positions_of_another_rank(tmp_path: Path) -> None:
    state = filled(mmpose_shapes())
    torch.save({**state, "backbone.pos_embed": state["backbone.pos_embed"][0]}, tmp_path / "coco.pth")
    with pytest.raises(CheckpointError, match=r"pos_embed is \(192, 384\), which is not 3 dimensions"):
        load_model(tmp_path / "coco.pth")


def test_an_unknown_tensor_is_named(tmp_path: Path) -> None:
    torch.save({**filled(mmpose_shapes()), "backbone.layers.0.gamma": torch.ones(1)}, tmp_path / "coco.pth")
    with pytest.raises(CheckpointError, match=r"unknown tensors backbone\.layers\.0\.gamma"):
        load_model(tmp_path / "coco.pth")
