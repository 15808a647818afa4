"""Starting a ViTPose from a pre-trained encoder: our own, timm's, MAE's, or another plain vision transformer's.

What ``pretrain`` wrote fits as it is; timm's models are told in :mod:`model.timm_encoders`. The published encoders
(facebookresearch/mae, key ``model``; mmpretrain's of the same) differ from ViTPose's in four ways, each treated as the
official training code does: the table of positions is a square grid and is resampled; ViT-H has patches of 14, whose
kernel is padded with zeros to 16; the last norm is called ``norm`` and stays behind, so that ViTPose's starts at 1 and
0; ViTPose++ gives the last rows of ``fc2`` to every expert. MAE's decoder and class token are left out, and so are
register tokens; LayerScale (DINOv2) is multiplied into the matrices. The encoder of a pose network saved alone
(``last_norm``) starts one too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from model.config import ViTPoseConfig
from model.encoder_folder import FORMAT, TENSORS, read_description
from model.fit import fit, require_numbers
from model.identify import grid_of, is_grid
from model.layouts import Tensors, require_parts
from model.mmpose import encoder_from_mmpretrain
from model.positions import resample_positions
from model.pth import read_pth
from model.tensor_files import read_tensors
from model.timm_encoders import PREFIX, TimmEncoder, fold_scales, load_timm, read_timm_folder
from model.vitpose import ViTPose, expected_tensors

# Left behind: class and register tokens, the last norm under the names it goes by, MAE's decoder, classifiers.
_LEFT = re.compile(
    r"cls_token$|reg_token$|register_tokens$|mask_token$|(?:fc_)?norm\.|decoder_|neck\.|head\.|target_generator\.|"
    r"data_preprocessor\."
)
_PARTS = re.compile(
    r"pos_embed$|(?:patch_embed\.proj|last_norm)\.(?:weight|bias)$|"
    r"blocks\.\d+\.(?:norm[12]|attn\.qkv|attn\.proj|mlp\.fc[12])\.(?:weight|bias)$"
)

_DIMENSIONS = {
    "patch_embed.proj.weight": 4,
    "blocks.0.mlp.fc1.weight": 2,
    "blocks.0.attn.qkv.weight": 2,
}


@dataclass(frozen=True)
class Encoder:
    """A pre-trained encoder, in our names.

    Attributes:
        tensors: Patch embedding, positions (1, 1 + grid, D), blocks, and ``last_norm`` where it has one.
        grid: (Hp, Wp) of its positions.
        subject: The file, folder or name, for errors.
        heads: Its attention heads; None where nothing says it: shapes do not.
        network: Fields of a config that go with it; empty where nothing says them.
        notes: What a person should know before starting from it.
    """

    tensors: Tensors
    grid: tuple[int, int]
    subject: str
    heads: int | None = None
    network: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Channels of a token, D."""
        return self.tensors["pos_embed"].shape[-1]

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len({name.split(".")[1] for name in self.tensors if name.startswith("blocks.")})

    @property
    def patch_size(self) -> int:
        """Side of its patches."""
        return self.tensors["patch_embed.proj.weight"].shape[-1]


def find_encoder(source: str | Path) -> Encoder | None:
    """The encoder that a file, a folder or a name stands for; None for a pose network or a hub id.

    Args:
        source: One of: the folder that ``pretrain`` wrote; ``timm:`` and the name of one of timm's pre-trained models,
            or the folder of one; a ``.pth`` in the layout of facebookresearch/mae, of mmpretrain, or of the official
            repository; a ``.safetensors`` of timm's or ours.

    Raises:
        CheckpointError: It is a file, but none of tensors; or a transformer that ViTPose has no place for; or timm
            cannot give it.
    """
    path, subject = Path(source), str(source)
    if subject.startswith(PREFIX):
        return _of_timm(load_timm(subject), subject)
    if path.is_dir():
        return _in_folder(path, subject)
    if not path.is_file():
        return None
    if path.suffix != ".safetensors":
        return read_encoder(read_pth(path, subject).state, subject)
    beside = _in_folder(path.parent, subject) if path.name == TENSORS else None
    return beside or _read_bare_safetensors(path, subject)


def _in_folder(folder: Path, subject: str) -> Encoder | None:
    """Our own encoder, or timm's; None where the folder's config.json says that it is something else."""
    described = read_description(folder) or {}
    if described.get("format") == FORMAT:
        return _our_own(folder, described, subject)
    return _of_timm(read_timm_folder(folder), subject) if "architecture" in described else None


def _our_own(folder: Path, described: Mapping[str, Any], subject: str) -> Encoder:
    """What ``pretrain`` wrote.

    Raises:
        CheckpointError: It is damaged.
        ConfigError: Its description is impossible.
    """
    network = described.get("network")
    if not isinstance(network, dict):
        raise CheckpointError("its config.json describes no network", subject=subject)
    config = ViTPoseConfig.parse(network, subject=f"{subject}/config.json")
    tensors, metadata = read_tensors(folder / TENSORS, subject)
    if metadata.get("digest") != described.get("digest"):
        raise CheckpointError(
            f"config.json and {TENSORS} are from different saves", subject=subject, remedy="Pre-train again."
        )
    fields = {name: getattr(config, name) for name in _OF_ENCODERS}
    return Encoder(tensors, config.grid_size, subject, config.heads, fields)


_OF_ENCODERS = (
    *("input_size", "patch_size", "patch_padding", "width", "depth", "heads", "mlp_ratio", "norm_eps", "drop_path"),
    "box_padding",
)
"""Fields of a config that say what an encoder is and what it was shown."""


def _of_timm(found: TimmEncoder, subject: str) -> Encoder:
    return Encoder(found.tensors, found.grid, subject, found.network["heads"], found.network, found.notes)


def _read_bare_safetensors(path: Path, subject: str) -> Encoder | None:
    """A file of timm's without the config.json that says more; slot 0 of its positions was the class token's."""
    encoder = read_encoder(read_tensors(path, subject)[0], subject)
    if encoder is None or "last_norm.weight" in encoder.tensors:
        return encoder
    positions = encoder.tensors["pos_embed"].clone()
    positions[:, 0] = 0
    note = "it does not say its attention heads and how pixels were normalised: ImageNet's mean and deviation are taken"
    return Encoder({**encoder.tensors, "pos_embed": positions}, encoder.grid, subject, notes=(note,))


def read_encoder(state: Tensors, subject: str) -> Encoder | None:
    """The encoder that a ``state_dict`` is; None where it is a pose network or nothing known.

    Raises:
        CheckpointError: A transformer that ViTPose has no place for, or a damaged one.
    """
    tensors = _bare(state, subject)
    if tensors is None:
        return None
    kept = fold_scales({name: tensor for name, tensor in tensors.items() if not _LEFT.match(name)})
    if unknown := [name for name in kept if not _PARTS.match(name)]:
        raise CheckpointError(
            f"is a transformer of another kind: ViTPose has no {', '.join(unknown[:3])}",
            subject=subject,
            remedy="Give a plain vision transformer, such as MAE's.",
        )
    kept["pos_embed"], grid = _positions(kept["pos_embed"], subject)
    require_parts(kept, _DIMENSIONS, subject)
    return Encoder(kept, grid, subject)


def require_fit(encoder: Encoder, config: ViTPoseConfig) -> None:
    """Refuse an encoder that a network has no place for.

    Raises:
        CheckpointError: It has another width or depth, other heads or MLPs, or larger patches; or, as far as it says
            them, another padding of the same patches, or other norms.
    """
    if (encoder.width, encoder.depth) != (config.width, config.depth):
        raise CheckpointError(
            f"is {encoder.width} wide and {encoder.depth} deep, the network {config.width} and {config.depth}",
            subject=encoder.subject,
            remedy="Set size in [model]: s, b, l or h (or width and depth).",
        )
    if encoder.heads not in (None, config.heads):
        raise CheckpointError(
            f"has {encoder.heads} attention heads, the network {config.heads}",
            subject=encoder.subject,
            remedy=f"Set heads = {encoder.heads} in [model].",
        )
    hidden, patch = (len(encoder.tensors["blocks.0.mlp.fc1.weight"]), encoder.patch_size)
    if hidden != config.width * config.mlp_ratio or patch > config.patch_size:
        raise CheckpointError(
            f"has MLPs of {hidden} and patches of {patch}, the network {config.width * config.mlp_ratio} and "
            f"{config.patch_size}",
            subject=encoder.subject,
            remedy="Set mlp_ratio and patch_size in [model]; smaller patches are padded, larger ones cannot be cut.",
        )
    _require_described(encoder, config)
    _require_whole(encoder, config)


def _require_described(encoder: Encoder, config: ViTPoseConfig) -> None:
    """Refuse a network that computes the same tensors otherwise: no shape tells these.

    Overlapping patches, and kernels that are padded, are cut elsewhere anyhow: there the padding says nothing.
    """
    same_cut = (config.ratio, config.patch_size) == (1, encoder.patch_size)
    for name in ("norm_eps", *(("patch_padding",) if same_cut else ())):
        own, asked = encoder.network.get(name), getattr(config, name)
        if own is not None and own != asked:
            raise CheckpointError(
                f"was trained with {name} {own}, the network has {asked}",
                subject=encoder.subject,
                remedy=f"Set {name} = {own} in [model], or leave it out.",
            )


def _require_whole(encoder: Encoder, config: ViTPoseConfig) -> None:
    """Refuse an encoder that lacks a part: what is not loaded would start from random numbers."""
    rows, columns = encoder.grid
    fields = {name: getattr(config, name) for name in ("width", "depth", "heads", "mlp_ratio")}
    fields |= {"patch_size": encoder.patch_size, "patch_padding": 0}
    fields |= {"input_size": (rows * encoder.patch_size, columns * encoder.patch_size)}
    plain = ViTPoseConfig.parse(fields, subject=encoder.subject)
    expected = expected_tensors(plain, Skeleton.load("coco17"))
    wanted = {
        name: tensor
        for name, tensor in expected.items()
        if not name.startswith("keypoint_heads.") and (name in encoder.tensors or not name.startswith("last_norm."))
    }
    require_numbers(fit(encoder.tensors, wanted, encoder.subject), wanted, encoder.subject)


@torch.no_grad()
def start_from_encoder(model: ViTPose, encoder: Encoder) -> None:
    """Put a pre-trained encoder into a fresh network; its heads, and with MAE its last norm, stay as they are.

    Args:
        model: From :func:`model.vitpose.build_vitpose`, plain or ViTPose++.
        encoder: From :func:`find_encoder`.

    Raises:
        CheckpointError: As :func:`require_fit`.
    """
    config, tensors = model.config, dict(encoder.tensors)
    require_fit(encoder, config)
    tensors["pos_embed"] = resample_positions(tensors["pos_embed"], encoder.grid, model.grid_size)
    tensors["patch_embed.proj.weight"] = _pad_patch(tensors["patch_embed.proj.weight"], config.patch_size)
    if config.experts:
        tensors = _give_experts(tensors, config.depth, config.experts, config.expert_width)
    if left := model.load_state_dict(tensors, strict=False).unexpected_keys:
        raise AssertionError(f"an encoder's {left} were not looked for")


def _of_mmpretrain(state: Tensors, subject: str) -> Tensors:
    """Under our names; the last norm is a pose network's where the positions are, else MAE's, which is left behind."""
    tensors = encoder_from_mmpretrain(state)
    require_parts(tensors, {"pos_embed": 3}, subject)
    rows, columns = _positions(tensors["pos_embed"], subject)[1]
    if rows != columns:
        return tensors
    return {re.sub(r"^last_norm\.", "norm.", name): tensor for name, tensor in tensors.items()}


def _bare(state: Tensors, subject: str) -> Tensors | None:
    """The tensors under our names where they are an encoder's alone, else None."""
    if any(name.startswith(("keypoint_head", "associate_keypoint_heads")) for name in state):
        return None
    if any(name.startswith("encoder.") for name in state):
        state = {name.removeprefix("encoder."): t for name, t in state.items() if name.startswith("encoder.")}
    if "backbone.layers.0.ln1.weight" in state or "layers.0.ln1.weight" in state:
        if any(name.startswith(("head.final_layer.", "head.deconv_layers.")) for name in state):
            return None
        state = _of_mmpretrain(state, subject)
    tensors = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    needed = ("pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight", "blocks.0.attn.qkv.weight")
    return tensors if all(name in tensors for name in needed) else None


def _positions(positions: Tensor, subject: str) -> tuple[Tensor, tuple[int, int]]:
    """(1, 1 + grid, D) and the grid; a table without a slot for the class token gets one of zeros."""
    require_parts({"pos_embed": positions}, {"pos_embed": 3}, subject)
    rows = positions.shape[1]
    if not is_grid(rows - 1) and is_grid(rows):
        positions = torch.cat([torch.zeros_like(positions[:, :1]), positions], dim=1)
    return positions, grid_of(positions.shape[1] - 1, subject)


def _pad_patch(kernel: Tensor, patch_size: int) -> Tensor:
    """(D, 3, P, P) with zeros around a smaller kernel, as evenly as can be: 14 becomes 16 with 1 on each side."""
    missing = patch_size - kernel.shape[-1]
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
