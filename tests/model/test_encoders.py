"""Pre-trained encoders: what of MAE's file goes where in a ViTPose, and which files are none."""

from pathlib import Path

import numpy as np
import pytest
import torch

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.checkpoint import load_model, save_model
from model.config import DATASETS, PLUS_DATASETS, ViTPoseConfig
from model.encoders import find_encoder, start_from_encoder
from model.vitpose import ViTPose, build_vitpose
from tests.model.released_layouts import State, filled, mae_shapes, mmpose_shapes, mmpretrain_mae, official_shapes
from tests.model.test_positions import reference

WIDTH, DEPTH = 32, 3
COCO = Skeleton.load("coco17")


def network(skeletons: Skeleton | list[Skeleton] | None = None, **changes: object) -> ViTPose:
    config = {"width": WIDTH, "depth": DEPTH, "heads": 4, **changes}
    torch.manual_seed(0)
    return build_vitpose(ViTPoseConfig.model_validate(config), skeletons or COCO)


def saved(state: State, path: Path) -> Path:
    torch.save({"model": state}, path)
    return path


def started(path: Path, model: ViTPose) -> State:
    encoder = find_encoder(path)
    assert encoder is not None
    start_from_encoder(model, encoder)
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


BLOCK = tuple(
    f"{layer}.{part}"
    for layer in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    for part in ("weight", "bias")
)


def assert_started(found: State, mae: State, grid: tuple[int, int], fresh: State) -> None:
    """Blocks and patches as they were, positions resampled from the square, the rest as a fresh network has it."""
    for name in (f"blocks.{i}.{part}" for i in range(DEPTH) for part in BLOCK):
        assert torch.equal(found[name], mae[name]), name
    assert torch.equal(found["patch_embed.proj.bias"], mae["patch_embed.proj.bias"])
    square = round((mae["pos_embed"].shape[1] - 1) ** 0.5)
    expected = reference(mae["pos_embed"].double().numpy(), (square, square), grid)
    np.testing.assert_allclose(found["pos_embed"].numpy(), expected, rtol=0, atol=1e-6)
    assert torch.equal(found["pos_embed"][:, 0], mae["pos_embed"][:, 0])
    left = [name for name in found if name.startswith(("last_norm", "keypoint_heads"))]
    torch.testing.assert_close({n: found[n] for n in left}, {n: fresh[n] for n in left}, rtol=0, atol=0)
    assert torch.equal(found["last_norm.weight"], torch.ones(WIDTH))
    assert torch.equal(found["last_norm.bias"], torch.zeros(WIDTH))


@pytest.mark.parametrize(
    ("patch", "side"), [(16, 14), (14, 16)], ids=["B and L: 14x14 patches of 16", "H: 16x16 patches of 14"]
)
def test_mae(patch: int, side: int, tmp_path: Path) -> None:
    mae = filled(mae_shapes(WIDTH, DEPTH, patch=patch, grid=side))
    found = started(saved(mae, tmp_path / "mae_pretrain_vit.pth"), network())
    assert_started(found, mae, (16, 12), network().state_dict())
    kernel = torch.zeros(WIDTH, 3, 16, 16)
    border = (16 - patch) // 2
    kernel[:, :, border : border + patch, border : border + patch] = mae["patch_embed.proj.weight"]
    assert torch.equal(found["patch_embed.proj.weight"], kernel)


def test_every_expert_starts_from_the_last_rows(tmp_path: Path) -> None:
    mae = filled(mae_shapes(WIDTH, DEPTH))
    skeletons = [Skeleton.load(DATASETS[name].skeleton) for name in PLUS_DATASETS]
    model = network(skeletons, experts=6, expert_width=8, datasets=PLUS_DATASETS)
    found = started(saved(mae, tmp_path / "mae.pth"), model)
    for mlp in (f"blocks.{i}.mlp" for i in range(DEPTH)):
        for part in ("weight", "bias"):
            whole = mae[f"{mlp}.fc2.{part}"]
            assert torch.equal(found[f"{mlp}.fc2.{part}"], whole[:-8])
            assert all(torch.equal(found[f"{mlp}.experts.{e}.{part}"], whole[-8:]) for e in range(6))
    plain, images = network(), torch.randn(2, 3, 256, 192)
    started(tmp_path / "mae.pth", plain)
    with torch.inference_mode():
        expected = plain.eval().forward_features(images)
        for e in range(6):
            torch.testing.assert_close(model.eval().forward_features(images, e), expected)


def test_other_names_for_the_same_encoder(tmp_path: Path) -> None:
    """mmpretrain's, with and without a slot for the class token; under "encoder."; under "backbone."."""
    mae = filled(mae_shapes(WIDTH, DEPTH))
    expected = started(saved(mae, tmp_path / "mae.pth"), network())
    theirs = mmpretrain_mae(mae)
    variants = {
        "mmpretrain": theirs,
        "mmpretrain, bare": {name.removeprefix("backbone."): tensor for name, tensor in theirs.items()},
        "encoder.": {f"encoder.{name}": t for name, t in mae.items()} | {"decoder.pred.weight": torch.ones(1)},
        "backbone.": {f"backbone.{name}": tensor for name, tensor in mae.items()},
        "classifier": {**mae, "head.weight": torch.ones(1), "fc_norm.weight": torch.ones(1)},
    }
    for name, state in variants.items():
        found = started(saved(state, tmp_path / "other.pth"), network())
        assert all(torch.equal(found[key], tensor) for key, tensor in expected.items()), name
    tokens_only = {**mae, "pos_embed": mae["pos_embed"][:, 1:]}
    found = started(saved(tokens_only, tmp_path / "other.pth"), network())["pos_embed"]
    assert not found[:, 0].any()
    assert torch.equal(found[:, 1:], expected["pos_embed"][:, 1:])


def test_the_encoder_of_a_pose_network_keeps_its_norm(tmp_path: Path) -> None:
    shapes = {n: s for n, s in official_shapes().items() if n.startswith("backbone.")}
    state = filled(shapes)
    found = started(saved(state, tmp_path / "backbone.pth"), network(width=384, depth=12, heads=12))
    for name, tensor in state.items():
        assert torch.equal(found[name.removeprefix("backbone.")], tensor), name


def test_the_encoder_of_an_mmpose_network_keeps_its_norm(tmp_path: Path) -> None:
    """192 rows are a grid of 16x12 without a slot, so the last norm is a pose network's, not MAE's."""
    state = {name: t for name, t in filled(mmpose_shapes()).items() if name.startswith("backbone.")}
    for bare in (False, True):
        renamed = {name.removeprefix("backbone.") if bare else name: tensor for name, tensor in state.items()}
        found = started(saved(renamed, tmp_path / "backbone.pth"), network(width=384, depth=12, heads=12))
        assert torch.equal(found["last_norm.weight"], state["backbone.ln1.weight"])
        assert torch.equal(found["last_norm.bias"], state["backbone.ln1.bias"])
        assert torch.equal(found["pos_embed"][:, 1:], state["backbone.pos_embed"])
        assert not found["pos_embed"][:, 0].any()
        assert torch.equal(found["blocks.11.mlp.fc2.weight"], state["backbone.layers.11.ffn.layers.1.weight"])


@pytest.mark.parametrize("lacking", ["head.final_layer.weight", "head.final_layer"])
def test_a_pose_network_without_its_last_layer_is_no_encoder(lacking: str, tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in filled(mmpose_shapes()).items() if not name.startswith(lacking)}
    path = saved(state, tmp_path / "coco.pth")
    assert find_encoder(path) is None
    with pytest.raises(CheckpointError, match=r"lacks keypoint_heads.*damaged"):
        load_model(path)


def test_what_is_no_bare_encoder(tmp_path: Path) -> None:
    assert find_encoder("usyd-community/vitpose-base") is None
    assert find_encoder(save_model(network().eval(), tmp_path / "checkpoint")) is None
    pose = network()
    randomise(pose, seed=0)
    state = {f"backbone.{n}": t for n, t in pose.state_dict().items() if not n.startswith("keypoint")}
    assert find_encoder(saved({**state, "keypoint_head.a": torch.ones(1)}, tmp_path / "pose.pth")) is None
    mmpose = {**mmpretrain_mae(filled(mae_shapes(WIDTH, DEPTH))), "head.final_layer.weight": torch.ones(1)}
    assert find_encoder(saved(mmpose, tmp_path / "mmpose.pth")) is None
    with pytest.raises(CheckpointError, match="is empty"):
        (tmp_path / "empty.pth").write_bytes(b"")
        find_encoder(tmp_path / "empty.pth")


@pytest.mark.parametrize(
    ("change", "network_changes", "message"),
    [
        ({"blocks.0.ls1.gamma": torch.ones(4)}, {}, r"another kind: ViTPose has no blocks\.0\.ls1\.gamma.*MAE"),
        ({"pos_embed": torch.ones(1, 150, WIDTH)}, {}, "149 positions are neither a 4:3 nor a square grid"),
        ({"pos_embed": torch.ones(197, WIDTH)}, {}, r"pos_embed is \(197, 32\), which is not 3 dimensions"),
        ({"patch_embed.proj.weight": torch.tensor(1.0)}, {}, "which is not 4 dimensions"),
        ({"blocks.1.attn.proj.bias": torch.ones(8)}, {}, r"blocks\.1\.attn\.proj\.bias is \(8,\), not \(32,\)"),
        ({"blocks.1.attn.proj.bias": torch.full((WIDTH,), torch.nan)}, {}, "holds NaN"),
        ({}, {"width": 64}, r"is 32 wide and 3 deep, the network 64 and 3.*size in \[model\]"),
        ({}, {"depth": 2}, r"is 32 wide and 3 deep, the network 32 and 2.*size in \[model\]"),
        ({}, {"mlp_ratio": 2}, r"MLPs of 128 and patches of 16, the network 64 and 16.*mlp_ratio"),
        ({}, {"patch_size": 8}, "patches of 16, the network 128 and 8.*larger ones cannot be cut"),
    ],
    ids=["layer scale", "odd grid", "rank", "number", "shape", "NaN", "width", "depth", "MLP", "patch"],
)
def test_encoders_that_do_not_fit(
    change: State, network_changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = saved({**filled(mae_shapes(WIDTH, DEPTH)), **change}, tmp_path / "mae.pth")
    with pytest.raises(CheckpointError, match=message):
        started(path, network(**network_changes))


def test_an_encoder_that_lacks_a_part_is_refused(tmp_path: Path) -> None:
    """What is not loaded would start from random numbers."""
    mae = filled(mae_shapes(WIDTH, DEPTH))
    del mae["blocks.2.attn.proj.weight"]
    with pytest.raises(CheckpointError, match=r"lacks blocks\.2\.attn\.proj\.weight"):
        started(saved(mae, tmp_path / "mae.pth"), network())
