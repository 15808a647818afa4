"""Vision transformers of timm as encoders to start from: ImageNet's, MAE's, DINO's, DINOv2's, DINOv3's and their kin.

They differ from ViTPose's encoder in ways that are undone exactly: LayerScale is multiplied into the matrix before it,
a query-key-value projection without bias gets one of zeros, and where pixels were normalised by other numbers than
ImageNet's (``augreg`` uses 0.5), the patch embedding is changed so that it gives the same for ours. Class and register
tokens are left out, and with them the class token's row of positions: slot 0, which a ViTPose adds to every token, is
zero. The last norm stays behind, as the official code leaves MAE's.

Rotary positions (DINOv3) have no place in a ViTPose: such a network starts without any, its table at zero, and learns
them in training; a note says so. What else ViTPose cannot compute (SwiGLU, norms of queries and keys, other
activations, relative positions) is refused.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from timm.layers import Attention, AttentionRope, Mlp, PatchEmbed  # pyright: ignore[reportPrivateImportUsage]
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from autolabel.errors import CheckpointError
from model.crop import IMAGENET_MEAN, IMAGENET_STD
from model.layouts import Tensors

PREFIX = "timm:"
"""What the name of one of timm's pre-trained models is given with: ``timm:vit_base_patch16_224.mae``."""

_REMEDY = (
    "Give a plain vision transformer, such as timm:vit_base_patch16_224.mae or timm:vit_base_patch14_dinov2.lvd142m."
)
_SCALES = re.compile(r"(blocks\.\d+\.)(?:ls|gamma_)([12])(?:\.gamma)?$")
_SCALED = {"1": "attn.proj", "2": "mlp.fc2"}


@dataclass(frozen=True)
class TimmEncoder:
    """An encoder of timm's, in our names.

    Attributes:
        tensors: Patch embedding, positions (1, 1 + grid, D) with a zero first, and blocks.
        grid: (Hp, Wp) of its positions.
        network: The fields of a config that it fixes: width, depth, heads, mlp_ratio, norm_eps.
        notes: What a person should know before starting from it.
    """

    tensors: Tensors
    grid: tuple[int, int]
    network: Mapping[str, Any]
    notes: tuple[str, ...]


def load_timm(name: str) -> TimmEncoder:
    """One of timm's pre-trained models, from the local cache or the network.

    Args:
        name: As timm has it, with or without ``timm:``.

    Raises:
        CheckpointError: timm knows no such model, or no weights of it; they cannot be fetched; or ViTPose cannot
            compute it.
    """
    bare = name.removeprefix(PREFIX)
    known = timm.list_models(pretrained=True)
    if bare not in known and bare not in {model.partition(".")[0] for model in known}:
        close = get_close_matches(bare, known, n=3)
        raise CheckpointError(
            "timm has no pre-trained model of that name",
            subject=name,
            remedy=f"Did you mean {' or '.join(close)}?" if close else _REMEDY,
        )
    try:
        model = timm.create_model(bare, pretrained=True)
    except (OSError, HfHubHTTPError, RuntimeError) as error:
        first = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"cannot be fetched: {first}",
            subject=name,
            remedy="Fetch it where there is a network, and bring its folder (config.json and model.safetensors) here.",
        ) from error
    return encoder_of_timm(model, name)


def read_timm_folder(folder: Path) -> TimmEncoder:
    """A model that timm saved, or a copy of one of its repositories: ``config.json`` and ``model.safetensors``.

    Raises:
        CheckpointError: The tensors lack or do not fit, or ViTPose cannot compute it.
    """
    if not (folder / "model.safetensors").is_file():
        raise CheckpointError(
            "has no model.safetensors", subject=str(folder), remedy="Pickled weights are not read: fetch that file too."
        )
    try:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, AssertionError, SafetensorError) as error:
        first = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"timm cannot read it: {first}", subject=str(folder), remedy=_REMEDY) from error
    return encoder_of_timm(model, str(folder))


def encoder_of_timm(model: nn.Module, subject: str) -> TimmEncoder:
    """What a ViTPose can start from of a model of timm's.

    Args:
        model: With its weights.
        subject: What errors call it.

    Raises:
        CheckpointError: ViTPose cannot compute it; says why.
    """
    if fault := _fault(model):
        raise CheckpointError(f"ViTPose cannot compute it: {fault}", subject=subject, remedy=_REMEDY)
    assert isinstance(model, VisionTransformer | Eva), "or it would have been refused"
    state = model.state_dict()
    tensors = {name: t for name, t in state.items() if name.startswith(("blocks.", "patch_embed.proj."))}
    width, grid = len(tensors["patch_embed.proj.weight"]), model.patch_embed.grid_size
    tensors = fold_scales(tensors)
    for i in range(len(model.blocks)):
        tensors = _with_whole_projection(tensors, f"blocks.{i}.attn.", width)
    tensors |= _for_our_pixels(tensors, getattr(model, "pretrained_cfg", None) or {})
    tensors["pos_embed"], notes = _positions(state, model, grid, width)
    block: Any = model.blocks[0]
    network = {
        "width": width,
        "depth": len(model.blocks),
        "heads": block.attn.num_heads,
        "mlp_ratio": len(tensors["blocks.0.mlp.fc1.weight"]) // width,
        "norm_eps": block.norm1.eps,
    }
    return TimmEncoder(tensors, grid, network, notes)


def fold_scales(tensors: Tensors) -> Tensors:
    """The same blocks without LayerScale: its factors multiplied into ``proj`` and ``fc2``, whose rows they scale."""
    folded = {name: tensor for name, tensor in tensors.items() if not _SCALES.match(name)}
    for name, scale in tensors.items():
        if found := _SCALES.match(name):
            layer = found[1] + _SCALED[found[2]]
            for part in (f"{layer}.weight", f"{layer}.bias"):
                if part in folded and len(folded[part]) == scale.numel():
                    folded[part] = folded[part] * scale.reshape(-1, *[1] * (folded[part].ndim - 1))
                else:
                    folded[name] = scale  # it scales nothing: left in, and refused as unknown
    return folded


def _fault(model: nn.Module) -> str | None:
    """Why ViTPose cannot compute a model, or None."""
    if not isinstance(model, VisionTransformer | Eva):
        return f"it is a {type(model).__name__}, no plain vision transformer"
    patch = model.patch_embed
    if type(patch) is not PatchEmbed or not isinstance(patch.norm, nn.Identity):
        return "its patches are not embedded by one convolution"
    kernel = patch.proj.weight.shape
    if kernel[1] != 3 or kernel[2] != kernel[3] or tuple(patch.proj.stride) != tuple(kernel[2:]):
        return f"its patch embedding is {tuple(kernel)} with stride {patch.proj.stride}"
    if not isinstance(model.norm_pre, nn.Identity):
        return "it has a norm before the first block"
    return next((f"block {i} {fault}" for i, block in enumerate(model.blocks) if (fault := _block_fault(block))), None)


def _block_fault(block: nn.Module) -> str | None:
    """Why ViTPose cannot compute a block, or None."""
    if type(block) not in (Block, EvaBlock):
        return f"is a {type(block).__name__}"
    parts: dict[str, Any] = dict(block.named_children())
    attention, mlp = parts["attn"], parts["mlp"]
    if type(attention) not in (Attention, EvaAttention, AttentionRope):
        return f"attends by {type(attention).__name__}"
    if type(mlp) is not Mlp:
        return f"has a {type(mlp).__name__} in place of two layers"
    if not _is_gelu(mlp.act):
        return f"is activated by {type(mlp.act).__name__}, not by the exact GELU"
    for norm in (parts["norm1"], parts["norm2"]):
        if not isinstance(norm, nn.LayerNorm) or norm.bias is None:
            return f"is normalised by {type(norm).__name__}"
    width = attention.proj.weight.shape[0]
    if attention.proj.weight.shape != (width, width) or not math.isclose(
        attention.scale, (width // attention.num_heads) ** -0.5, rel_tol=1e-6
    ):
        return "attends in another width than its tokens'"
    if len(mlp.fc1.weight) % width:
        return f"has an MLP of {len(mlp.fc1.weight)}, no multiple of {width}"
    known = r"norm[12]\.|attn\.(?:qkv|[qkv]_proj|proj)\.|attn\.[qv]_bias$|mlp\.fc[12]\.|ls[12]\.gamma$|gamma_[12]$"
    unknown = [name for name, _ in block.named_parameters() if not re.match(known, name)]
    return f"has {unknown[0]}, for which there is no place" if unknown else None


@torch.no_grad()
def _is_gelu(activation: nn.Module) -> bool:
    probe = torch.linspace(-4, 4, 33)
    return torch.allclose(activation(probe.clone()), F.gelu(probe), rtol=0, atol=1e-6)


def _with_whole_projection(tensors: Tensors, attention: str, width: int) -> Tensors:
    """Queries, keys and values in one matrix (3D, D) and one bias (3D,), whichever way a block of timm's has them."""
    whole = {name: tensor for name, tensor in tensors.items() if not re.match(rf"{attention}[qkv]_", name)}
    weight, zeros = f"{attention}qkv.weight", tensors[f"{attention}proj.weight"].new_zeros(width)
    if weight not in whole:
        whole[weight] = torch.cat([tensors[f"{attention}{part}_proj.weight"] for part in "qkv"])
    if f"{attention}qkv.bias" not in whole:
        names = {part: (f"{attention}{part}_bias", f"{attention}{part}_proj.bias") for part in "qkv"}
        biases = [next((tensors[n] for n in names[part] if n in tensors), zeros) for part in "qkv"]
        whole[f"{attention}qkv.bias"] = torch.cat(biases)
    return whole


def _for_our_pixels(tensors: Tensors, described: Mapping[str, Any]) -> Tensors:
    """The patch embedding for ImageNet-normalised pixels, of one for pixels normalised as timm describes.

    Theirs are (p - mean) / std, ours (p - m) / s: theirs = ours x s / std + (m - mean) / std, a factor for the kernel's
    channels and a constant for the bias.
    """
    kernel = tensors["patch_embed.proj.weight"]
    bias = tensors.get("patch_embed.proj.bias", kernel.new_zeros(len(kernel)))
    mean, std, m, s = (
        torch.tensor(values, dtype=torch.float64)
        for values in (
            *(described.get("mean", IMAGENET_MEAN), described.get("std", IMAGENET_STD)),
            *(IMAGENET_MEAN, IMAGENET_STD),
        )
    )
    if torch.equal(mean, m) and torch.equal(std, s):
        return {"patch_embed.proj.weight": kernel, "patch_embed.proj.bias": bias}
    constant = (kernel.double() * ((m - mean) / std)[:, None, None]).sum(dim=(1, 2, 3))
    scaled = kernel.double() * (s / std)[:, None, None]
    return {
        "patch_embed.proj.weight": scaled.to(kernel.dtype),
        "patch_embed.proj.bias": (bias.double() + constant).to(bias.dtype),
    }


def _positions(
    state: Mapping[str, Tensor], model: VisionTransformer | Eva, grid: tuple[int, int], width: int
) -> tuple[Tensor, tuple[str, ...]]:
    """The table (1, 1 + grid, D) with a zero slot, and a note where the model knows places in another way too."""
    count = grid[0] * grid[1]
    rotary = getattr(model, "rope", None) is not None
    notes = ("its rotary positions have no place in a ViTPose, which learns positions anew",) if rotary else ()
    table = state.get("pos_embed")
    if table is None:
        return torch.zeros(1, 1 + count, width), notes
    # Rows of class and register tokens come first, where there are any.
    return torch.cat([torch.zeros_like(table[:, :1]), table[:, -count:]], dim=1), notes
