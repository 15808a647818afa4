"""Starting a ViTPose from a pre-trained encoder: MAE's weights, or another plain vision transformer's.

The published encoders (facebookresearch/mae, key ``model``; mmpretrain's of the same) differ from ViTPose's in four
ways, each treated as the official training code does: the table of positions is a square grid and is resampled;
ViT-H has patches of 14, whose kernel is padded with zeros to 16; the last norm is called ``norm`` and stays behind,
so that ViTPose's starts at 1 and 0; ViTPose++ gives the last rows of ``fc2`` to every expert. MAE's decoder and
class token are left out.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from autolabel.errors import CheckpointError
from model.identify import grid_of
from model.layouts import Tensors
from model.mmpose import encoder_from_mmpretrain
from model.positions import resample_positions
from model.pth import read_pth
from model.vitpose import ViTPose

# Left behind: the class token, the last norm under the names it goes by, MAE's decoder, classifiers.
_LEFT = re.compile(
    r"cls_token$|mask_token$|(?:fc_)?norm\.|last_norm\.|ln1\.|decoder_|neck\.|head\.|target_generator\.|"
    r"data_preprocessor\."
)
_PARTS = re.compile(
    r"pos_embed$|patch_embed\.proj\.(?:weight|bias)$|"
    r"blocks\.\d+\.(?:norm[12]|attn\.qkv|attn\.proj|mlp\.fc[12])\.(?:weight|bias)$"
)


@dataclass(frozen=True)
class Encoder:
    """A pre-trained encoder, in our names.

    Attributes:
        tensors: Patch embedding, positions (1, 1 + grid, D) and blocks; nothing else.
        grid: (Hp, Wp) of its positions.
        subject: The file, for errors.
    """

    tensors: Tensors
    grid: tuple[int, int]
    subject: str

    @property
    def width(self) -> int:
        """Channels of a token, D."""
        return self.tensors["pos_embed"].shape[-1]

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len({name.split(".")[1] for name in self.tensors if name.startswith("blocks.")})


def holds_encoder(source: str | Path) -> bool:
    """Whether a file holds an encoder and no pose network; false for folders and hub ids.

    Raises:
        CheckpointError: It is a file, but no PyTorch file of tensors.
    """
    path = Path(source)
    return path.is_file() and _bare(read_pth(path, str(source)).state) is not None


def load_encoder(source: str | Path) -> Encoder:
    """Read a pre-trained encoder.

    Args:
        source: A ``.pth`` in the layout of facebookresearch/mae or mmpretrain.

    Raises:
        CheckpointError: It is none, or a transformer that ViTPose has no place for.
    """
    subject = str(source)
    tensors = _bare(read_pth(Path(source), subject).state)
    if tensors is None:
        raise CheckpointError(
            "is no pre-trained encoder", subject=subject, remedy="Give the .pth of MAE, such as mae_pretrain_vit_base."
        )
    kept = {name: tensor for name, tensor in tensors.items() if not _LEFT.match(name)}
    if unknown := [name for name in kept if not _PARTS.match(name)]:
        raise CheckpointError(
            f"is a transformer of another kind: ViTPose has no {', '.join(unknown[:3])}",
            subject=subject,
            remedy="Give a plain vision transformer, such as MAE's.",
        )
    kept["pos_embed"], grid = _positions(kept["pos_embed"], subject)
    return Encoder(kept, grid, subject)


@torch.no_grad()
def start_from_encoder(model: ViTPose, encoder: Encoder) -> None:
    """Put a pre-trained encoder into a fresh network; its last norm and its heads stay as they are.

    Args:
        model: From :func:`model.vitpose.build_vitpose`, plain or ViTPose++.
        encoder: From :func:`load_encoder`.

    Raises:
        CheckpointError: It has another width or depth, or larger patches.
    """
    config, tensors = model.config, dict(encoder.tensors)
    if (encoder.width, encoder.depth) != (config.width, config.depth):
        raise CheckpointError(
            f"is {encoder.width} wide and {encoder.depth} deep, the network {config.width} and {config.depth}",
            subject=encoder.subject,
            remedy="Set size in [model]: s, b, l or h (or width and depth).",
        )
    tensors["pos_embed"] = resample_positions(tensors["pos_embed"], encoder.grid, model.grid_size)
    tensors["patch_embed.proj.weight"] = _pad_patch(
        tensors["patch_embed.proj.weight"], config.patch_size, encoder.subject
    )
    if config.experts:
        tensors = _give_experts(tensors, config.depth, config.experts, config.expert_width)
    own = model.state_dict()
    if wrong := [name for name, tensor in tensors.items() if name not in own or own[name].shape != tensor.shape]:
        raise CheckpointError(
            f"does not fit the network: {', '.join(wrong[:3])}",
            subject=encoder.subject,
            remedy="Leave mlp_ratio and patch_size in [model] as the encoder has them.",
        )
    model.load_state_dict(tensors, strict=False)


def _bare(state: Tensors) -> Tensors | None:
    """The tensors under our names where they are an encoder's alone, else None."""
    if any(name.startswith(("keypoint_head", "associate_keypoint_heads")) for name in state):
        return None
    if any(name.startswith("encoder.") for name in state):
        state = {name.removeprefix("encoder."): t for name, t in state.items() if name.startswith("encoder.")}
    if "backbone.layers.0.ln1.weight" in state or "layers.0.ln1.weight" in state:
        if "head.final_layer.weight" in state:
            return None
        state = encoder_from_mmpretrain(state)
    tensors = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    needed = ("pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc2.weight", "blocks.0.attn.qkv.weight")
    return tensors if all(name in tensors for name in needed) else None


def _positions(positions: Tensor, subject: str) -> tuple[Tensor, tuple[int, int]]:
    """(1, 1 + grid, D) and the grid; a table without a slot for the class token gets one of zeros."""
    rows = positions.shape[1]
    if round((rows - 1) ** 0.5) ** 2 != rows - 1 and round(rows**0.5) ** 2 == rows:
        positions = torch.cat([torch.zeros_like(positions[:, :1]), positions], dim=1)
    return positions, grid_of(positions.shape[1] - 1, subject)


def _pad_patch(kernel: Tensor, patch_size: int, subject: str) -> Tensor:
    """(D, 3, P, P) with zeros around a smaller kernel, as evenly as can be: 14 becomes 16 with 1 on each side."""
    missing = patch_size - kernel.shape[-1]
    if missing < 0:
        raise CheckpointError(
            f"has patches of {kernel.shape[-1]}, the network of {patch_size}",
            subject=subject,
            remedy="Set patch_size in [model].",
        )
    before, after = missing // 2, missing - missing // 2
    return F.pad(kernel, (before, after, before, after))


def _give_experts(tensors: Tensors, depth: int, experts: int, expert_width: int) -> Tensors:
    """Split each ``fc2`` (D, 4D): the first D - P rows are shared, every expert starts from the last P."""
    split = dict(tensors)
    for mlp in (f"blocks.{i}.mlp" for i in range(depth)):
        for part in ("weight", "bias"):
            whole = tensors[f"{mlp}.fc2.{part}"]
            split[f"{mlp}.fc2.{part}"] = whole[:-expert_width]
            split |= {f"{mlp}.experts.{e}.{part}": whole[-expert_width:] for e in range(experts)}
    return split
