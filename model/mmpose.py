"""The layout of mmpose 1.x, whose backbone is mmpretrain's vision transformer, both ways.

Its table of positions has no slot 0: what ViTPose adds to every token was folded into each, new[t] = old[1+t] +
old[0]. Reading puts a slot of zeros back, so that a file comes back from us bit for bit; a network whose slot 0 is
not zero is folded when it is written, and computes the same up to float rounding. There are no experts and there is
one head.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from autolabel.errors import CheckpointError
from model.layouts import Tensors, count_heads, require_parts

# Ours -> theirs, in the encoder.
_NAMES = (
    (r"patch_embed\.proj\.", "backbone.patch_embed.projection."),
    (r"pos_embed$", "backbone.pos_embed"),
    (r"last_norm\.", "backbone.ln1."),
    (r"blocks\.(\d+)\.norm([12])\.", r"backbone.layers.\1.ln\2."),
    (r"blocks\.(\d+)\.attn\.", r"backbone.layers.\1.attn."),
    (r"blocks\.(\d+)\.mlp\.fc1\.", r"backbone.layers.\1.ffn.layers.0.0."),
    (r"blocks\.(\d+)\.mlp\.fc2\.", r"backbone.layers.\1.ffn.layers.1."),
    (r"keypoint_heads\.0\.", "head."),  # a presence head keeps our name, which mmpose passes over
)
_BACK = (
    (r"backbone\.patch_embed\.projection\.", "patch_embed.proj."),
    (r"backbone\.pos_embed$", "pos_embed"),
    (r"backbone\.ln1\.", "last_norm."),
    (r"backbone\.layers\.(\d+)\.ln([12])\.", r"blocks.\1.norm\2."),
    (r"backbone\.layers\.(\d+)\.attn\.", r"blocks.\1.attn."),
    (r"backbone\.layers\.(\d+)\.ffn\.layers\.0\.0\.", r"blocks.\1.mlp.fc1."),
    (r"backbone\.layers\.(\d+)\.ffn\.layers\.1\.", r"blocks.\1.mlp.fc2."),
    (r"(?:keypoint_)?head\.", "keypoint_heads.0."),
)

_IGNORED = ("data_preprocessor.", "backbone.cls_token")
"""Mean and standard deviation of the pixels, which are ImageNet's, and a token that nothing uses."""


def is_mmpose(state: Mapping[str, Tensor]) -> bool:
    """Whether a ``state_dict`` is a pose network of mmpose 1.x."""
    return "backbone.layers.0.ln1.weight" in state and any(
        name.startswith(("head.", "keypoint_head.")) for name in state
    )


def names_from_mmpose(state: Mapping[str, Tensor], subject: str) -> Tensors:
    """The same tensors under our names, positions with a slot 0 of zeros.

    A name that the layout does not have is kept, for the final check to refuse.

    Raises:
        CheckpointError: There is no table of positions.
    """
    tensors = {_rename(name, _BACK): tensor for name, tensor in state.items() if not name.startswith(_IGNORED)}
    require_parts(tensors, {"pos_embed": 3}, subject)
    folded = tensors["pos_embed"]
    return {**tensors, "pos_embed": torch.cat([torch.zeros_like(folded[:, :1]), folded], dim=1)}


def names_to_mmpose(tensors: Tensors, subject: str) -> Tensors:
    """Tensors of ours under mmpose's names, positions folded.

    Raises:
        CheckpointError: There are several heads or experts, which that layout cannot hold.
    """
    if count_heads(tensors) > 1 or any(".mlp.experts." in name for name in tensors):
        raise CheckpointError(
            "mmpose 1.x has no word for several heads or experts",
            subject=subject,
            remedy="Split it first: name one dataset (--dataset).",
        )
    positions = tensors["pos_embed"]
    shared, own = positions[:, :1], positions[:, 1:]
    # Adding zero would turn -0.0 into 0.0: what came without a slot goes back as it was.
    folded = own + shared if shared.any() else own
    return {_rename(name, _NAMES): tensor for name, tensor in {**tensors, "pos_embed": folded}.items()}


def encoder_from_mmpretrain(state: Mapping[str, Tensor]) -> Tensors:
    """The tensors of a mmpretrain encoder under our names, with or without its ``backbone.`` prefix.

    Its last norm goes by ``last_norm``, whether it is a pose network's or MAE's.
    """
    prefixed = {name if name.startswith("backbone.") else f"backbone.{name}": tensor for name, tensor in state.items()}
    return {_rename(name, _BACK).removeprefix("backbone."): tensor for name, tensor in prefixed.items()}


def _rename(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in table:
        if match := re.match(pattern, name):
            return match.expand(replacement) + name[match.end() :]
    return name
