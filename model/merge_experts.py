"""Single-dataset networks that share their encoder, back into one ViTPose++; the inverse of splitting one.

Splitting puts an expert's P rows below the shared rows of each block's ``fc2``. So networks that came from one
ViTPose++ are equal in everything but those last rows and their heads. They are compared bit for bit: networks that
were trained apart do not share an encoder, and averaging or choosing would make a network that nobody trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autolabel.errors import CheckpointError
from model.config import DATASETS, ViTPoseConfig
from model.layouts import HEADS, Tensors, Weights


@dataclass(frozen=True)
class Part:
    """One network to merge.

    Attributes:
        weights: Plain, with one head and one dataset.
        subject: The file or folder, for errors.
    """

    weights: Weights
    subject: str


def merge_experts(parts: Sequence[Part]) -> Weights:
    """One ViTPose++ that holds every part's dataset, in their order; exact.

    An expert is a quarter of the width where the parts agree so far, as in the released files; else as many rows as
    differ.

    Args:
        parts: Two or more, of different datasets. The first one's dataset answers where none is asked for.

    Raises:
        CheckpointError: A part is not a plain network of one named dataset, or a shared tensor differs; names it.
    """
    if len(parts) < 2:
        raise CheckpointError("one network is not enough to merge", remedy="Give the others with --merge.")
    for part in parts:
        _require_single(part)
    first = parts[0]
    for part in parts[1:]:
        _require_alike(first, part)
    names = tuple(part.weights.config.datasets[0] for part in parts)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CheckpointError(
            f"two of the networks are for {twice}",
            subject=next(p.subject for p in reversed(parts) if p.weights.config.datasets[0] == twice),
            remedy="Give each dataset once; say which one a file is for with --merge NAME=FILE.",
        )
    expert_width = _expert_width(parts)
    codecs = tuple(part.weights.config.codec for part in parts)
    public = tuple(DATASETS[name].codec if name in DATASETS else None for name in names)
    fields = {**first.weights.config.model_dump(), "datasets": names, "codecs": () if codecs == public else codecs}
    fields |= {"experts": len(parts), "expert_width": expert_width}
    config = ViTPoseConfig.parse(fields, subject="merged")
    skeletons = tuple(part.weights.skeletons[0] for part in parts)
    return Weights(config, skeletons, _tensors([part.weights.tensors for part in parts], expert_width))


def _require_single(part: Part) -> None:
    config = part.weights.config
    if config.experts or len(part.weights.skeletons) != 1:
        raise CheckpointError(
            "is a network of several datasets already",
            subject=part.subject,
            remedy="Split it first: convert it once for each dataset.",
        )
    if len(config.datasets) != 1:
        raise CheckpointError(
            "does not say which dataset it is for",
            subject=part.subject,
            remedy=f"Name it: --merge NAME=FILE, where NAME is one of {', '.join(DATASETS)}.",
        )


def _require_alike(first: Part, part: Part) -> None:
    one, other = first.weights, part.weights
    fields, theirs = (weights.config.model_dump(exclude={"datasets", "codec", "codecs"}) for weights in (one, other))
    if different := [name for name, value in fields.items() if theirs[name] != value]:
        name = different[0]
        raise CheckpointError(
            f"{name} is {theirs[name]}, that of {first.subject} {fields[name]}",
            subject=part.subject,
            remedy="Only networks split from one ViTPose++ can be merged.",
        )
    for name in _shared(one.tensors):
        if not torch.equal(one.tensors[name], other.tensors[name]):
            raise _not_shared(name, first, part)


def _shared(tensors: Tensors) -> list[str]:
    """Names of what belongs to the encoder whole; of ``fc2`` only rows do."""
    return [name for name in tensors if not name.startswith(HEADS) and ".mlp.fc2." not in name]


def _expert_width(parts: Sequence[Part]) -> int:
    """Rows at the end of ``fc2`` that are not the same everywhere, or a quarter of the width if that is enough."""
    first = parts[0]
    width = first.weights.config.width
    common = width
    for part in parts[1:]:
        for name, one in first.weights.tensors.items():
            if ".mlp.fc2." in name:
                equal = _equal_rows(one, part.weights.tensors[name])
                if equal == 0:
                    raise _not_shared(name, first, part)
                common = min(common, equal)
    return max(width // 4, width - common)


def _equal_rows(one: Tensor, other: Tensor) -> int:
    """How many rows from the first on are the same."""
    same = (one == other).reshape(len(one), -1).all(dim=1)
    return len(same) if same.all() else int((~same).nonzero()[0])


def _not_shared(name: str, first: Part, part: Part) -> CheckpointError:
    return CheckpointError(
        f"its {name} is not that of {first.subject}: they do not share an encoder",
        subject=part.subject,
        remedy="Only networks split from one ViTPose++ can be merged; those trained apart stay apart.",
    )


def _tensors(parts: Sequence[Tensors], expert_width: int) -> Tensors:
    merged: Tensors = {}
    for name, tensor in parts[0].items():
        if ".mlp.fc2." in name:
            mlp, _, part = name.rpartition(".fc2.")
            merged[name] = tensor[:-expert_width]
            merged |= {f"{mlp}.experts.{e}.{part}": t[name][-expert_width:] for e, t in enumerate(parts)}
        elif not name.startswith(HEADS):
            merged[name] = tensor
    for index, tensors in enumerate(parts):
        heads = {name: tensor for name, tensor in tensors.items() if name.startswith(HEADS)}
        merged |= {name.replace(".0.", f".{index}.", 1): tensor for name, tensor in heads.items()}
    return merged
