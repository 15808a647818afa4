"""Names and shapes of the released layouts, written out from their publications, with random tensors.

Nothing here is made by turning the readers around: each table is the layout as its own code has it.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

State = dict[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]

PLUS_HEADS = (17, 14, 16, 17, 17, 133)
WIDTHS = {"s": (384, 12), "b": (768, 12), "l": (1024, 24), "h": (1280, 32)}


def filled(shapes: Shapes, seed: int = 0) -> State:
    """Random tensors: unit normal / sqrt(fan in), positive variances, counters of 7."""
    generator = torch.Generator().manual_seed(seed)

    def tensor(name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith("num_batches_tracked"):
            return torch.tensor(7)
        if name.endswith("running_var"):
            return torch.rand(shape, generator=generator) + 0.5
        spread = torch.tensor(shape[1:]).prod().item() ** -0.5 if len(shape) > 1 else 0.2
        middle = 1.0 if len(shape) == 1 and name.endswith("weight") else 0.0
        return middle + spread * torch.randn(shape, generator=generator)

    return {name: tensor(name, shape) for name, shape in shapes.items()}


def head_shapes(prefix: str, keypoints: int, width: int, *, simple: bool = False) -> Shapes:
    """A decoder: the classic one has two deconvolutions (in, out, 4, 4), the simple one a 3x3 convolution."""
    if simple:
        return {
            f"{prefix}.final_layer.weight": (keypoints, width, 3, 3),
            f"{prefix}.final_layer.bias": (keypoints,),
        }
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, inputs in ((0, width), (3, 256)):
        shapes[f"{prefix}.deconv_layers.{layer}.weight"] = (inputs, 256, 4, 4)
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{prefix}.deconv_layers.{layer + 1}.{name}"] = (256,)
        shapes[f"{prefix}.deconv_layers.{layer + 1}.num_batches_tracked"] = ()
    return {
        **shapes,
        f"{prefix}.final_layer.weight": (keypoints, 256, 1, 1),
        f"{prefix}.final_layer.bias": (keypoints,),
    }


def official_shapes(
    size: str = "s",
    heads: Sequence[int] = (17,),
    *,
    experts: int = 0,
    simple: bool = False,
    tokens: int = 192,
    cls_token: bool = False,
) -> Shapes:
    """mmpose 0.x; easy_ViTPose has the same names, one head and no experts."""
    width, depth = WIDTHS[size]
    part = width // 4 if experts else 0
    shapes: dict[str, tuple[int, ...]] = {"backbone.cls_token": (1, 1, width)} if cls_token else {}
    shapes |= {
        "backbone.pos_embed": (1, tokens + 1, width),
        "backbone.patch_embed.proj.weight": (width, 3, 16, 16),
        "backbone.patch_embed.proj.bias": (width,),
        "backbone.last_norm.weight": (width,),
        "backbone.last_norm.bias": (width,),
    }
    for i in range(depth):
        block = f"backbone.blocks.{i}"
        for norm in ("norm1", "norm2"):
            shapes |= {f"{block}.{norm}.weight": (width,), f"{block}.{norm}.bias": (width,)}
        linear = {
            "attn.qkv": (3 * width, width),
            "attn.proj": (width, width),
            "mlp.fc1": (4 * width, width),
            "mlp.fc2": (width - part, 4 * width),
            **{f"mlp.experts.{e}": (part, 4 * width) for e in range(experts)},
        }
        for name, shape in linear.items():
            shapes |= {f"{block}.{name}.weight": shape, f"{block}.{name}.bias": shape[:1]}
    for index, keypoints in enumerate(heads):
        prefix = f"associate_keypoint_heads.{index - 1}" if index else "keypoint_head"
        shapes |= head_shapes(prefix, keypoints, width, simple=simple)
    return shapes


def mmpose_shapes(size: str = "s", keypoints: int = 17, *, simple: bool = False, tokens: int = 192) -> Shapes:
    """mmpose 1.x: mmpretrain's backbone, folded positions, the preprocessor's buffers."""
    width, depth = WIDTHS[size]
    shapes: dict[str, tuple[int, ...]] = {
        "data_preprocessor.mean": (3, 1, 1),
        "data_preprocessor.std": (3, 1, 1),
        "backbone.pos_embed": (1, tokens, width),
        "backbone.patch_embed.projection.weight": (width, 3, 16, 16),
        "backbone.patch_embed.projection.bias": (width,),
        "backbone.ln1.weight": (width,),
        "backbone.ln1.bias": (width,),
    }
    for i in range(depth):
        layer = f"backbone.layers.{i}"
        for norm in ("ln1", "ln2"):
            shapes |= {f"{layer}.{norm}.weight": (width,), f"{layer}.{norm}.bias": (width,)}
        linear = {
            "attn.qkv": (3 * width, width),
            "attn.proj": (width, width),
            "ffn.layers.0.0": (4 * width, width),
            "ffn.layers.1": (width, 4 * width),
        }
        for name, shape in linear.items():
            shapes |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
    return {**shapes, **head_shapes("head", keypoints, width, simple=simple)}


def mae_shapes(width: int, depth: int, *, patch: int = 16, grid: int = 14, mlp_ratio: int = 4) -> Shapes:
    """facebookresearch/mae, key ``model``: the encoder, its ``norm``, the decoder."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, grid * grid + 1, width),
        "mask_token": (1, 1, 16),
        "decoder_pos_embed": (1, grid * grid + 1, 16),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "decoder_embed.weight": (16, width),
        "decoder_blocks.0.norm1.weight": (16,),
        "decoder_norm.weight": (16,),
        "decoder_pred.weight": (patch * patch * 3, 16),
    }
    for i in range(depth):
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{i}.{norm}.weight": (width,), f"blocks.{i}.{norm}.bias": (width,)}
        linear = {
            "attn.qkv": (3 * width, width),
            "attn.proj": (width, width),
            "mlp.fc1": (mlp_ratio * width, width),
            "mlp.fc2": (width, mlp_ratio * width),
        }
        for name, shape in linear.items():
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
    return shapes


def mmpretrain_mae(state: State) -> State:
    """The same encoder as mmpretrain publishes it, from the table of its names."""
    renamed: State = {}
    for name, tensor in state.items():
        if name.startswith(("decoder", "mask")):
            continue
        for theirs, ours in (
            ("patch_embed.proj.", "patch_embed.projection."),
            ("blocks.", "layers."),
            (".norm1.", ".ln1."),
            (".norm2.", ".ln2."),
            (".mlp.fc1.", ".ffn.layers.0.0."),
            (".mlp.fc2.", ".ffn.layers.1."),
        ):
            name = name.replace(theirs, ours)
        renamed[f"backbone.{'ln1.' + name[5:] if name.startswith('norm.') else name}"] = tensor
    return renamed
