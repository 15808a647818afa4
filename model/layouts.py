"""What a file of ViTPose weights holds, in our names, whatever layout it came in.

Our names are those of :class:`model.vitpose.ViTPose`: ``blocks.0.mlp.fc2.weight``,
``keypoint_heads.0.final_layer.weight``. Each released layout has its file that turns names into these and back:
:mod:`model.official` (also easy_ViTPose), :mod:`model.mmpose`, :mod:`model.huggingface`, :mod:`model.encoders`.
Where a layout says nothing but names and shapes, :mod:`model.identify` finds out the rest. Nothing here touches a
disk. What is wrong or ambiguous is refused with a remedy, because weights in the wrong place do not fail, they
answer with noise.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from model.config import ViTPoseConfig

Tensors = dict[str, Tensor]

HEADS = ("keypoint_heads.", "presence_heads.")
"""Tensors of what there is one of per dataset: HEADS[i] + "0." + the name within the first head."""


@dataclass(frozen=True)
class Weights:
    """A network as its file holds it.

    Attributes:
        config: Its description.
        skeletons: What its keypoint heads predict, in the order of ``config.datasets``; a ViTPose++ file may
            lack the heads of the later datasets (Hugging Face keeps COCO's only).
        tensors: Parameters and buffers in our names.
    """

    config: ViTPoseConfig
    skeletons: tuple[Skeleton, ...]
    tensors: Tensors


@dataclass(frozen=True)
class Origin:
    """Where weights come from, and what is known about their keypoints besides the tensors.

    Attributes:
        subject: The file or folder, for errors; its name may tell the dataset.
        dataset: The dataset that the caller asks for, or None.
        skeleton: The skeleton.json beside the weights, or None.
        labels: K keypoint names that the file itself gives, or none.
    """

    subject: str
    dataset: str | None = None
    skeleton: Skeleton | None = None
    labels: tuple[str, ...] = ()


def select_dataset(weights: Weights, origin: Origin) -> Weights:
    """The plain single-head network for the dataset asked for, or the weights as they are when none is.

    Splitting a ViTPose++ is exact: its expert's rows are put back under the shared rows of each block's
    second layer.

    Raises:
        CheckpointError: The file has no such dataset, or lacks its head.
    """
    names, heads = weights.config.datasets, len(weights.skeletons)
    if origin.dataset is None:
        if heads not in (1, len(names)):
            raise CheckpointError(
                f"lacks the keypoint heads of {', '.join(names[heads:])}",
                subject=origin.subject,
                remedy=f"Name the dataset you want (--dataset): {', '.join(names[:heads])}.",
            )
        return weights
    if origin.dataset not in names:
        known = f"is for {', '.join(names)}" if names else "names no dataset"
        one = f", or name one of {', '.join(names[:heads])}" if len(names) > 1 else ""
        raise CheckpointError(
            f"{known}, not for {origin.dataset!r}", subject=origin.subject, remedy=f"Leave --dataset out{one}."
        )
    index = names.index(origin.dataset)
    if index >= heads:
        raise CheckpointError(
            f"has the expert of {origin.dataset!r} but not its keypoint head, so its heatmaps would be noise "
            f"(heads: {', '.join(names[:heads])}; Hugging Face files keep COCO's only)",
            subject=origin.subject,
            remedy="Give the official .pth, which has all heads.",
        )
    tensors = keep_heads(weights.tensors, [index])
    changes: dict[str, Any] = {"datasets": (origin.dataset,), "codec": weights.config.codec_of(index), "codecs": ()}
    if weights.config.experts:
        tensors = _merge_expert(tensors, weights.config.depth, index)
        changes |= {"experts": 0, "expert_width": 0}
    return Weights(weights.config.model_copy(update=changes), (weights.skeletons[index],), tensors)


def _merge_expert(tensors: Tensors, depth: int, expert: int) -> Tensors:
    merged = {name: tensor for name, tensor in tensors.items() if ".mlp.experts." not in name}
    for mlp in (f"blocks.{i}.mlp" for i in range(depth)):
        for part in ("weight", "bias"):
            shared, own = tensors[f"{mlp}.fc2.{part}"], tensors[f"{mlp}.experts.{expert}.{part}"]
            merged[f"{mlp}.fc2.{part}"] = torch.cat([shared, own])
    return merged


def keep_heads(tensors: Tensors, indices: Sequence[int]) -> Tensors:
    """Only these keypoint heads, with their presence heads, renumbered from 0 in this order."""
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEADS)}
    for heads in HEADS:
        for new, old in enumerate(indices):
            prefix = f"{heads}{old}."
            for name, tensor in tensors.items():
                if name.startswith(prefix):
                    kept[f"{heads}{new}.{name.removeprefix(prefix)}"] = tensor
    return kept


def count_heads(tensors: Tensors) -> int:
    """How many keypoint heads there are."""
    return count(tensors, r"keypoint_heads\.(\d+)\.final_layer\.weight")


def num_keypoints(tensors: Tensors, head: int) -> int:
    """K of a keypoint head, as it is stored."""
    return len(tensors[f"keypoint_heads.{head}.final_layer.weight"])


def count(tensors: Tensors, pattern: str) -> int:
    """How many different numbers stand where ``pattern`` has its group."""
    return len({match[1] for name in tensors if (match := re.match(pattern, name))})


def require_common_encoder(config: ViTPoseConfig, program: str, subject: str) -> None:
    """Refuse to write a network for a program that would compute another one from it without a word.

    Raises:
        CheckpointError: It attends within windows, or by relative positions, or to a knowledge token.
    """
    for has, whether in (
        ("attention within windows", config.attention != "full"),
        ("relative positions", config.relative_position),
        ("a knowledge token", config.knowledge),
    ):
        if not whether:
            continue
        raise CheckpointError(
            f"has {has}, which {program} does not know: it would answer with noise",
            subject=subject,
            remedy="Keep the checkpoint folder.",
        )


def require_parts(tensors: Tensors, dimensions: Mapping[str, int], subject: str) -> None:
    """Refuse a file that lacks one of these tensors, or has it with another number of dimensions.

    Raises:
        CheckpointError: Names the first that is wrong.
    """
    for name, expected in dimensions.items():
        if name not in tensors:
            found = f"lacks {name}"
        elif (shape := tuple(tensors[name].shape)) and len(shape) == expected:
            continue
        else:
            found = f"{name} is {shape}, which is not {expected} dimensions"
        raise CheckpointError(found, subject=subject, remedy="It is damaged: download or write it again.")
