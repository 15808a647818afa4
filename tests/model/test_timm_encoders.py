"""timm's transformers: our encoder computes what theirs does, and what it cannot compute is refused."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from model.config import ViTPoseConfig
from model.crop import IMAGENET_MEAN, IMAGENET_STD
from model.encoders import Encoder, find_encoder, start_from_encoder
from model.timm_encoders import encoder_of_timm, load_timm
from model.vitpose import ViTPose, build_vitpose

TINY = {"embed_dim": 32, "depth": 2, "num_heads": 4}
SHARP = (0.5, 0.5, 0.5)


def random_timm(name: str, **changes: object) -> torch.nn.Module:
    """A small model of an architecture, every parameter random: what starts at 0 or 1 would hide mistakes."""
    torch.manual_seed(0)
    model = timm.create_model(name, **{**TINY, **changes}).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def network(**changes: object) -> ViTPose:
    torch.manual_seed(1)
    given = {"width": 32, "depth": 2, "heads": 4, "input_size": (64, 48), "decoder": "simple", **changes}
    return build_vitpose(ViTPoseConfig.model_validate(given), Skeleton.load("coco17")).eval()


def started(model: torch.nn.Module, **changes: object) -> ViTPose:
    found = encoder_of_timm(model, "timm")
    ours = network(**{**found.network, **changes})
    start_from_encoder(ours, Encoder(found.tensors, found.grid, "timm", found.network["heads"]))
    return ours


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("vit_small_patch16_224", {"img_size": 64}),  # augreg, DINO
        ("vit_base_patch16_224", {"img_size": 64, "qkv_bias": False}),
        ("vit_small_patch14_dinov2", {"img_size": 56}),  # LayerScale
        ("vit_small_patch14_reg4_dinov2", {"img_size": 56}),  # and registers
        ("deit3_small_patch16_224", {"img_size": 64}),  # LayerScale, positions without a row for the class
        ("deit_small_distilled_patch16_224", {"img_size": 64}),  # two tokens before the patches
        ("vit_small_patch16_dinov3", {"img_size": 64}),  # gamma_1, no bias
        ("vit_small_patch16_dinov3_qkvb", {"img_size": 64}),  # q_bias and v_bias
        ("vit_small_patch16_rope_224", {"img_size": 64}),  # AttentionRope
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@torch.inference_mode()
def test_each_block_computes_what_timms_does(name: str, changes: dict[str, object]) -> None:
    model = random_timm(name, **changes)
    ours = started(model)
    tokens = torch.randn(2, 16, 32)
    for theirs, block in zip(model.blocks, ours.blocks, strict=True):
        torch.testing.assert_close(block(tokens), theirs(tokens), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("std", [SHARP, IMAGENET_STD])
@pytest.mark.parametrize("biased", [True, False])
@torch.inference_mode()
def test_pixels_to_features_without_a_class_token(std: tuple[float, ...], biased: bool) -> None:
    """The whole way, for a model that has no token besides the patches: also its own way to normalise pixels."""
    model = random_timm("vit_small_patch16_224", img_size=(64, 48), class_token=False, global_pool="avg")
    if not biased:
        model.patch_embed.proj.bias = None
    mean = SHARP if std == SHARP else IMAGENET_MEAN
    model.pretrained_cfg = {"mean": mean, "std": std}
    ours = started(model, patch_padding=0)
    pixels = torch.rand(2, 3, 64, 48)

    def normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
        return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

    expected = model.blocks(model._pos_embed(model.patch_embed(normalised(mean, std))))
    expected = torch.nn.functional.layer_norm(expected, (32,), eps=1e-6)
    found = ours.forward_features(normalised(IMAGENET_MEAN, IMAGENET_STD)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "rows"),
    [("vit_small_patch16_224", 1), ("deit_small_distilled_patch16_224", 2), ("deit3_small_patch16_224", 0)],
)
def test_positions_of_patches_stay_and_those_of_other_tokens_do_not(name: str, rows: int) -> None:
    model = random_timm(name, img_size=64)
    found = started(model, input_size=(64, 64)).pos_embed
    assert torch.equal(found[:, 1:], model.pos_embed[:, rows:])
    assert not found[:, 0].any()


def test_smaller_patches_are_padded() -> None:
    model = random_timm("vit_small_patch14_dinov2", img_size=56)
    found = started(model).patch_embed.proj.weight.detach()
    assert torch.equal(found[:, :, 1:15, 1:15], model.patch_embed.proj.weight)
    assert found.count_nonzero() == model.patch_embed.proj.weight.count_nonzero()


def test_rotary_positions_are_left_out_and_told() -> None:
    """Without rotation DINOv3's attention is ours; the table starts at nothing."""
    model = random_timm("vit_small_patch16_dinov3", img_size=64)
    found = encoder_of_timm(model, "timm")
    assert not found.tensors["pos_embed"].any() and found.tensors["pos_embed"].shape == (1, 17, 32)
    assert found.notes == ("its rotary positions have no place in a ViTPose, which learns positions anew",)
    assert found.network["norm_eps"] == 1e-5
    with torch.inference_mode():  # the rotation is what makes the difference, or there would be nothing to tell
        rope, tokens = model.rope.get_embed(shape=(4, 4)), torch.randn(1, 21, 32)
        assert not torch.allclose(model.blocks[0](tokens, rope=rope), model.blocks[0](tokens))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("resnet18", None, "it is a ResNet, no plain vision transformer"),
        ("swin_tiny_patch4_window7_224", None, "it is a SwinTransformer"),
        ("beit_base_patch16_224", {"img_size": 64}, "it is a Beit"),
        ("vit_small_r26_s32_224", None, "not embedded by one convolution"),
        ("vit_base_patch16_clip_224", {"img_size": 64}, "a norm before the first block"),
        ("vit_base_patch16_clip_quickgelu_224", {"img_size": 64, "pre_norm": False}, "by QuickGELU, not by the exact"),
        ("vit_small_patch16_224", {"img_size": 64, "act_layer": "gelu_tanh"}, "block 0 is activated by GELUTanh"),
        ("vit_small_patch16_224", {"img_size": 64, "qk_norm": True}, r"block 0 has attn\.q_norm\.weight, for which"),
        ("vit_small_patch16_224", {"img_size": 64, "norm_layer": "rmsnorm"}, "is normalised by RmsNorm"),
        ("vit_small_patch16_224", {"img_size": 64, "mlp_ratio": 2.5}, "has an MLP of 80, no multiple of 32"),
        ("vit_giant_patch14_dinov2", {"img_size": 56}, "has a GluMlp in place of two layers"),
        ("eva02_tiny_patch14_224", {"img_size": 56}, "has a GluMlp in place of two layers"),
        ("vit_small_plus_patch16_dinov3", {"img_size": 64}, "has a SwiGLU in place of two layers"),
        ("vit_small_patch16_18x2_224", {"img_size": 64}, "block 0 is a ParallelThingsBlock"),
    ],
)
def test_what_cannot_be_computed_is_refused(name: str, changes: dict[str, object] | None, message: str) -> None:
    model = timm.create_model(name) if changes is None else random_timm(name, **changes)
    with pytest.raises(CheckpointError, match=rf"weights: ViTPose cannot compute it: .*{message}.*plain vision"):
        encoder_of_timm(model, "weights")


# ---- where they come from


def saved_folder(model: torch.nn.Module, name: str, folder: Path, **changes: object) -> Path:
    """As timm lays a model on the hub."""
    folder.mkdir()
    described = {"architecture": name, "num_classes": 1000, "model_args": {**TINY, **changes}}
    described["pretrained_cfg"] = {"mean": SHARP, "std": SHARP, "input_size": [3, 64, 64], "num_classes": 1000}
    (folder / "config.json").write_text(json.dumps(described))
    save_file({n: t.contiguous() for n, t in model.state_dict().items()}, folder / "model.safetensors")
    return folder


def test_a_folder_of_timms_says_heads_and_pixels(tmp_path: Path) -> None:
    model = random_timm("vit_small_patch16_224", img_size=64)
    folder = saved_folder(model, "vit_small_patch16_224", tmp_path / "small", img_size=64)
    for source in (folder, folder / "model.safetensors"):
        encoder = find_encoder(source)
        assert encoder is not None and encoder.heads == 4 and encoder.grid == (4, 4)
        expected = model.patch_embed.proj.weight * torch.tensor(IMAGENET_STD)[:, None, None] / 0.5
        torch.testing.assert_close(encoder.tensors["patch_embed.proj.weight"], expected)
        start_from_encoder(network(), encoder)
        with pytest.raises(CheckpointError, match=r"has 4 attention heads, the network 8.*Set heads = 4 in \[model\]"):
            start_from_encoder(network(heads=8), encoder)
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="small: timm cannot read it"):
        find_encoder(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        find_encoder(folder)


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_small_patch16_224"])
def test_a_file_alone_is_read_by_its_names(name: str, tmp_path: Path) -> None:
    model = random_timm(name, img_size=56 if "14" in name else 64)
    save_file({n: t.contiguous() for n, t in model.state_dict().items()}, tmp_path / "weights.safetensors")
    encoder, expected = find_encoder(tmp_path / "weights.safetensors"), encoder_of_timm(model, "timm")
    assert encoder is not None and encoder.heads is None and "attention heads" in encoder.notes[0]
    assert encoder.tensors.keys() == expected.tensors.keys()
    for tensor in expected.tensors:
        if "patch_embed" not in tensor:  # what the file does not say: how pixels were normalised
            torch.testing.assert_close(encoder.tensors[tensor], expected.tensors[tensor])
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is empty"):
        find_encoder(tmp_path / "weights.safetensors")


def test_a_name_that_timm_does_not_know() -> None:
    with pytest.raises(CheckpointError, match=r"timm:vit_bse_patch16_224\.mae: timm has no.*vit_base_patch16_224\.mae"):
        find_encoder("timm:vit_bse_patch16_224.mae")


def test_weights_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"timm:vit_tiny_patch16_224: cannot be fetched: .*bring its folder"):
        load_timm("timm:vit_tiny_patch16_224")
