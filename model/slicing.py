"""A student that begins as a part of its teacher: some of its blocks, and of each layer some of its channels.

Weight selection (Xu et al., "Initializing Models with Larger Ones", ICLR 2024, arXiv 2311.18823) takes evenly spaced
elements of every tensor. Here what belongs together is taken together: the same channels of the tokens everywhere, so
that blocks go on reading what the blocks before them wrote; whole attention heads, and in each the same channels of
queries, keys and values; and of the heads that judge, the same share of each look. So the student is a subnetwork of
its teacher. What has no counterpart there, such as another kind of decoder, starts fresh.

A layer that sums over n of m channels gives sums smaller by about sqrt(n / m), and its matrix is multiplied by the
inverse; attention does the same for its products already. On a network of 128 channels that had learnt drawn people,
heatmaps of its 96-channel part correlate 0.91 with its own, and 0.88 if matrices are left as they are or multiplied by
m / n. With 64 channels it is 0.64, 0.65 and 0.40; 40 steps of distillation later the error is 8 % lower than that of
matrices left as they are, and a sixth of that of a network which began at random.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from autolabel.errors import ConfigError
from model.attention import TABLE, table_size
from model.config import ViTPoseConfig
from model.heads import LOOKS, WHOLE_BOX_LOOKS, own_channels
from model.layouts import Tensors
from model.positions import resample_positions, resample_table
from model.vitpose import ViTPose, build_vitpose

Blocks = Literal["even", "first"]

SUBJECT = "student"
"""What errors call the network that is made."""


@dataclass(frozen=True)
class Sliced:
    """A student and where its weights are from.

    Attributes:
        model: In training mode, on the CPU.
        kept: Its parts that are the teacher's: ``patch_embed``, ``pos_embed``, ``blocks.0``, ``keypoint_heads.0``, ...
        fresh: Its parts that know nothing yet.
        blocks: For each block of the student, which one of the teacher's it is.
    """

    model: ViTPose
    kept: tuple[str, ...]
    fresh: tuple[str, ...]
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class _Axes:
    """Of which channels a tensor is made.

    Attributes:
        channels: By axis, from the first on; what is not named, or named "", stays as it is.
        summed: The axis that the layer sums over.
    """

    channels: tuple[str, ...]
    summed: int | None = None


# By name; the first that matches counts.
_AXES: tuple[tuple[str, _Axes], ...] = (
    (r"patch_embed\.", _Axes(("channels",))),
    (r"(pos_embed|knowledge)$", _Axes(("", "", "channels"))),
    (r"(.+\.norm[12]|last_norm)\.", _Axes(("channels",))),
    (r".+\.attn\.qkv\.", _Axes(("qkv", "channels"), summed=1)),
    (r".+\.attn\.proj\.", _Axes(("channels", "attention"), summed=1)),
    (rf".+\.attn\.{TABLE}$", _Axes(("", "heads"))),
    (r".+\.mlp\.fc1\.", _Axes(("hidden", "channels"), summed=1)),
    (r".+\.mlp\.fc2\.", _Axes(("channels", "hidden"), summed=1)),
    (r"keypoint_heads\..+\.deconv_layers\.0\.", _Axes(("channels", "deconv"), summed=0)),
    (r"keypoint_heads\..+\.deconv_layers\.3\.", _Axes(("deconv", "deconv"), summed=0)),
    (r"keypoint_heads\..+\.deconv_layers\.[14]\.", _Axes(("deconv",))),
    (r"keypoint_heads\..+\.final_layer\.", _Axes(("", "decoded"), summed=1)),
    (r"presence_heads\..+\.queries$", _Axes(("", "", "look"))),
    (r"presence_heads\..+\.(keys|values)\.", _Axes(("looks", "channels"), summed=1)),
    (r"presence_heads\..+\.mix\.", _Axes(("looks", "looks"), summed=1)),
    (r"presence_heads\..+\.weight$", _Axes(("", "", "looks"), summed=2)),
    (r"whole_box_head\.queries$", _Axes(("", "", "box_look"))),
    (r"whole_box_head\.(keys|values)\.", _Axes(("box_looks", "channels"), summed=1)),
    (r"whole_box_head\.mix\.", _Axes(("", "box_looks"), summed=1)),
)


@torch.no_grad()
def sliced(teacher: ViTPose, config: ViTPoseConfig, *, blocks: Blocks = "even", seed: int) -> Sliced:
    """A student of its teacher's weights, with its skeleton. The teacher itself, to the bit, where nothing differs.

    Positions and the biases of relative positions are resampled to the student's grid. Its patches are the teacher's
    where they are as large, whatever their stride; its decoder where it is of the same kind and no wider.

    Args:
        teacher: Of one skeleton, without experts; on any device, not changed.
        config: The student: no wider and no deeper.
        blocks: The first blocks, or evenly spaced ones, the first and last among them.
        seed: Of what starts fresh; torch's global random numbers are left alone.

    Raises:
        ConfigError: The teacher has several keypoint heads or experts, the student has experts, or there is less of
            something in the teacher than the student shall have: says of what.
    """
    _require_plain(teacher, config)
    _require_no_larger(teacher.config, config)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs' generators too
        model = build_vitpose(config, teacher.skeletons)
    chosen = _chosen_blocks(teacher.config.depth, config.depth, blocks)
    whole, places = _in_its_place(teacher, model, chosen), _places(teacher.config, config)
    parts: dict[str, Tensors] = {}
    for name, tensor in model.state_dict().items():
        parts.setdefault(_part(name), {})[name] = tensor
    kept: dict[str, Tensors] = {}
    for part, own in parts.items():
        found = {name: _selected(name, whole[name], places) for name in own if name in whole}
        if all(name in found and found[name].shape == tensor.shape for name, tensor in own.items()):
            kept[part] = found
    for tensors in kept.values():
        model.load_state_dict(tensors, strict=False)
    return Sliced(model, tuple(kept), tuple(part for part in parts if part not in kept), chosen)


def _require_plain(teacher: ViTPose, config: ViTPoseConfig) -> None:
    if teacher.num_experts or len(teacher.keypoint_heads) > 1:
        names = ", ".join(teacher.config.datasets)
        raise ConfigError(
            "is a network of several datasets, and a student has one",
            subject="teacher",
            remedy=f"Name the dataset to split it for: {names}.",
        )
    if config.experts:
        raise ConfigError(
            f"experts {config.experts}: a student has none", subject=SUBJECT, remedy="Leave experts and datasets out."
        )


def _require_no_larger(teacher: ViTPoseConfig, config: ViTPoseConfig) -> None:
    for what, has, asked in (
        ("width", teacher.width, config.width),
        ("depth", teacher.depth, config.depth),
        ("heads", teacher.heads, config.heads),
        ("width / heads", teacher.width // teacher.heads, config.width // config.heads),
        ("width x mlp_ratio", teacher.width * teacher.mlp_ratio, config.width * config.mlp_ratio),
    ):
        if asked > has:
            heads = _possible_heads(teacher, config) if what == "width / heads" else []
            smaller = f"Set heads = {heads[0]}" if heads else "Make it smaller"
            raise ConfigError(
                f"{what} is {asked}, the teacher's {has}: there is nothing to take the rest from",
                subject=SUBJECT,
                remedy=f"{smaller}, or start it from an encoder or from nothing.",
            )


def _possible_heads(teacher: ViTPoseConfig, config: ViTPoseConfig) -> list[int]:
    """How many heads a student of its width could have, from few to many."""
    largest = teacher.width // teacher.heads
    return [n for n in range(1, teacher.heads + 1) if config.width % n == 0 and config.width // n <= largest]


def _chosen_blocks(of: int, wanted: int, blocks: Blocks) -> tuple[int, ...]:
    if blocks == "first":
        return tuple(range(wanted))
    return tuple(round(place * (of - 1) / max(wanted - 1, 1)) for place in range(wanted))


def _in_its_place(teacher: ViTPose, student: ViTPose, chosen: Sequence[int]) -> Tensors:
    """The teacher's tensors, whole, under the student's names and on its grid."""
    tensors = {name: tensor.cpu() for name, tensor in teacher.state_dict().items()}
    found = {name: tensor for name, tensor in tensors.items() if not name.startswith("blocks.")}
    for new, old in enumerate(chosen):
        prefix = f"blocks.{old}."
        here = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        if student.config.relative_position:
            here[f"attn.{TABLE}"] = _table(teacher, student, here.get(f"attn.{TABLE}"), old, new)
        found |= {f"blocks.{new}.{name}": tensor for name, tensor in here.items()}
    found["pos_embed"] = resample_positions(found["pos_embed"], teacher.grid_size, student.grid_size)
    if _decoder(teacher.config) != _decoder(student.config):
        found = {name: tensor for name, tensor in found.items() if not name.startswith("keypoint_heads.")}
    return found


def _table(teacher: ViTPose, student: ViTPose, table: Tensor | None, old: int, new: int) -> Tensor:
    """Biases of relative positions for a block of the student, all heads; 0 where the teacher has none."""
    if table is None:
        rows, columns = table_size(student.windows[new])
        return torch.zeros(rows * columns, teacher.config.heads)
    return resample_table(table, teacher.windows[old], student.windows[new], teacher.grid_size, student.grid_size)


def _decoder(config: ViTPoseConfig) -> tuple[str, int]:
    """What two decoders of a kind have in common: a classic one has a layer for each doubling."""
    return config.decoder, config.upsampling if config.decoder == "classic" else 0


def _part(name: str) -> str:
    """What a tensor belongs to, which is kept as a whole or not at all."""
    first, *rest = name.split(".")
    return f"{first}.{rest[0]}" if first in ("blocks", "keypoint_heads", "presence_heads") else first


def _selected(name: str, tensor: Tensor, places: Mapping[str, Tensor]) -> Tensor:
    """The student's part of a tensor, whole along an axis of which the teacher has less; brought to size."""
    axes = next((axes for pattern, axes in _AXES if re.match(pattern, name)), _Axes(()))
    whole = tensor.shape
    for axis, channels in enumerate(axes.channels[: tensor.dim()]):
        if channels in places:
            tensor = tensor.index_select(axis, places[channels])
    if axes.summed is not None and axes.summed < tensor.dim():
        tensor = tensor * (whole[axes.summed] / tensor.shape[axes.summed]) ** 0.5
    return tensor


def _places(teacher: ViTPoseConfig, student: ViTPoseConfig) -> dict[str, Tensor]:
    """Which of the teacher's channels the student has, by what they are channels of."""
    both = zip(_levels(teacher).items(), _levels(student).values(), strict=True)
    return {
        name: _evenly(of, wanted) for (name, of), wanted in both if all(n <= m for m, n in zip(of, wanted, strict=True))
    }


def _levels(config: ViTPoseConfig) -> dict[str, tuple[int, ...]]:
    """How many channels there are: a number, or so many groups of so many."""
    width, head = config.width, (config.heads, config.width // config.heads)
    look, box_look = own_channels(width, LOOKS), own_channels(width, WHOLE_BOX_LOOKS)
    return {
        "channels": (width,),
        "heads": (config.heads,),
        "attention": head,
        "qkv": (3, *head),
        "hidden": (width * config.mlp_ratio,),
        "deconv": (config.deconv_channels,),
        "decoded": (config.deconv_channels if config.decoder == "classic" else width,),
        "look": (look,),
        "looks": (LOOKS, look),
        "box_look": (box_look,),
        "box_looks": (WHOLE_BOX_LOOKS, box_look),
    }


def evenly_spaced(of: int, wanted: int) -> Tensor:
    """(wanted,) int64, which of so many channels a student has."""
    return _evenly((of,), (wanted,))


def _evenly(of: Sequence[int], wanted: Sequence[int]) -> Tensor:
    """Places of evenly spaced groups, and of evenly spaced channels in each: all of them where as many are wanted."""
    places = torch.zeros(1, dtype=torch.long)
    for m, n in zip(of, wanted, strict=True):
        places = (places[:, None] * m + torch.arange(n) * m // n).flatten()
    return places
