"""What a file of ViTPose weights holds, in our names, and how the official layout becomes that.

Our names are those of :class:`model.vitpose.ViTPose`: ``blocks.0.mlp.fc2.weight``,
``keypoint_heads.0.final_layer.weight``. Official files (mmpose 0.x) prefix the encoder with ``backbone.`` and
keep the heads as ``keypoint_head`` and ``associate_keypoint_heads``; the Hugging Face layout is in
:mod:`model.huggingface`. Nothing here touches a disk. What is wrong or ambiguous is refused with a remedy,
because weights in the wrong place do not fail, they answer with noise.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from model.config import DATASETS, PLUS_DATASETS, SIZES, Codec, ViTPoseConfig

Tensors = dict[str, Tensor]


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
        subject: The file or folder, for errors.
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
        raise CheckpointError(
            f"{known}, not for {origin.dataset!r}", subject=origin.subject, remedy="Leave --dataset out."
        )
    index = names.index(origin.dataset)
    if index >= heads:
        raise CheckpointError(
            f"has the expert of {origin.dataset!r} but not its keypoint head, so its heatmaps would be noise "
            f"(heads: {', '.join(names[:heads])}; Hugging Face files keep COCO's only)",
            subject=origin.subject,
            remedy="Give the official .pth, which has all heads.",
        )
    tensors = _keep_heads(weights.tensors, [index])
    changes: dict[str, Any] = {"datasets": (origin.dataset,)}
    if index and origin.dataset in DATASETS:  # the config's codec is the first head's
        changes["codec"] = DATASETS[origin.dataset].codec
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


def _keep_heads(tensors: Tensors, indices: Sequence[int]) -> Tensors:
    """Only these keypoint heads, renumbered from 0 in this order."""
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("keypoint_heads.")}
    for new, old in enumerate(indices):
        prefix = f"keypoint_heads.{old}."
        for name, tensor in tensors.items():
            if name.startswith(prefix):
                kept[f"keypoint_heads.{new}.{name.removeprefix(prefix)}"] = tensor
    return kept


# Which keypoints a head predicts, where the file does not say.


def identify_head(num_keypoints: int, origin: Origin) -> tuple[Skeleton, tuple[str, ...], Codec]:
    """Skeleton, dataset (one name or none) and codec of a lone head.

    In this order: the dataset asked for; the skeleton.json beside the file; the public dataset with this many
    keypoints, where 17 means COCO unless the file's own labels or name speak against it.

    Raises:
        CheckpointError: Nothing tells, or what tells contradicts the head.
    """
    name: str | None
    if origin.dataset is None and origin.skeleton is not None:
        skeleton = origin.skeleton
        name = next((n for n, known in DATASETS.items() if known.skeleton == skeleton.name), None)
    else:
        name = _dataset_asked_for(origin) or _likely_dataset(num_keypoints, origin)
        skeleton = Skeleton.load(DATASETS[name].skeleton)
    if skeleton.num_keypoints != num_keypoints:
        raise CheckpointError(
            f"its head has {num_keypoints} keypoints, {skeleton.name!r} has {skeleton.num_keypoints}",
            subject=origin.subject,
            remedy="Name the dataset that it was trained on, or put its skeleton.json into the same folder.",
        )
    return (skeleton, (name,), DATASETS[name].codec) if name else (skeleton, (), "udp")


def _dataset_asked_for(origin: Origin) -> str | None:
    if origin.dataset is not None and origin.dataset not in DATASETS:
        raise CheckpointError(
            f"no dataset {origin.dataset!r}",
            subject=origin.subject,
            remedy=f"Known: {', '.join(DATASETS)}.",
        )
    return origin.dataset


def _likely_dataset(num_keypoints: int, origin: Origin) -> str:
    skeletons = {name: Skeleton.load(known.skeleton) for name, known in DATASETS.items()}
    matching = [name for name, skeleton in skeletons.items() if skeleton.num_keypoints == num_keypoints]
    if not matching:
        raise CheckpointError(
            f"its head has {num_keypoints} keypoints, which is no known dataset's",
            subject=origin.subject,
            remedy="Put a skeleton.json that names them into the same folder.",
        )
    if origin.labels:
        matching = [name for name in matching if _labels_agree(origin.labels, skeletons[name])]
    elif "coco" in matching:
        # AP-10K and APT-36K also have 17. A file named after them would get wrong names and the wrong codec.
        animal = re.search(r"(ap-?10k|apt-?36k)[^/\\]*$", origin.subject.lower())
        matching = ["ap10k", "apt36k"] if animal else ["coco"]
    if len(matching) == 1:
        return matching[0]
    labels = ", ".join(origin.labels[:3])
    found = f"may be those of {' or '.join(matching)}" if matching else f"({labels}, …) are no known dataset's"
    raise CheckpointError(
        f"its {num_keypoints} keypoints {found}",
        subject=origin.subject,
        remedy="Name the dataset (--dataset), or put a skeleton.json into the same folder.",
    )


def _labels_agree(labels: Sequence[str], skeleton: Skeleton) -> bool:
    """Whether most labels contain the last word of the skeleton's name for them ("L_Hip", "left_hip")."""
    words = [name.rsplit("_", 1)[-1].lower() for name in skeleton.keypoints]
    return 2 * sum(word in label.lower() for word, label in zip(words, labels, strict=True)) > len(words)


# The official layout.


def read_official(state: Mapping[str, Tensor], origin: Origin) -> Weights:
    """An official ``state_dict``: either decoder; plain, with several heads, or ViTPose++ with all of them.

    The unused ``backbone.cls_token`` of some released files is ignored. Files made by the official split tool
    hold a merged encoder and still the experts and other heads that it was made from; those are left out.

    Raises:
        CheckpointError: Another layout, no keypoint head, an unknown size, or keypoints that nothing
            identifies.
    """
    _require_official(state, origin.subject)
    tensors = {_from_official(name): tensor for name, tensor in state.items() if name != "backbone.cls_token"}
    fields = _fields_from_shapes(tensors, origin.subject)
    experts = _count(tensors, r"blocks\.0\.mlp\.experts\.(\d+)\.")
    if experts and len(tensors["blocks.0.mlp.fc2.weight"]) == fields["width"]:
        tensors = _keep_heads({name: t for name, t in tensors.items() if ".mlp.experts." not in name}, [0])
        experts = 0
    if experts:
        expert_width = len(tensors["blocks.0.mlp.experts.0.weight"])
        fields |= {"experts": experts, "expert_width": expert_width}
        fields["datasets"] = plus_datasets(experts, origin.subject)
        origin = replace(origin, dataset=None)
    elif count_heads(tensors) > 1:
        fields["datasets"], tensors = _tell_heads_apart(tensors)
    heads = count_heads(tensors)
    if heads == 1:
        skeleton, datasets, codec = identify_head(_num_keypoints(tensors, 0), origin)
        skeletons = (skeleton,)
        fields = {"datasets": datasets, "codec": codec, **fields}
    else:
        skeletons = tuple(Skeleton.load(DATASETS[name].skeleton) for name in fields["datasets"][:heads])
        tensors = _unpad_heads(tensors, skeletons, origin.subject)
    return Weights(ViTPoseConfig.parse(fields, subject=origin.subject), skeletons, tensors)


def plus_datasets(experts: int, subject: str) -> tuple[str, ...]:
    """Names of a ViTPose++ file's experts, which stand in the released order.

    Raises:
        CheckpointError: More experts than were ever released.
    """
    if experts > len(PLUS_DATASETS):
        raise CheckpointError(
            f"has {experts} experts; the released order names {len(PLUS_DATASETS)}",
            subject=subject,
            remedy="Give a checkpoint folder written by this product, whose config.json names its datasets.",
        )
    return PLUS_DATASETS[:experts]


def _from_official(name: str) -> str:
    name = re.sub(r"^associate_keypoint_heads\.(\d+)", lambda match: f"keypoint_heads.{int(match[1]) + 1}", name)
    return re.sub(r"^keypoint_head\.", "keypoint_heads.0.", name).removeprefix("backbone.")


def _require_official(state: Mapping[str, Tensor], subject: str) -> None:
    def has(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in state)

    needed = ("backbone.pos_embed", "backbone.blocks.0.mlp.fc2.weight", "keypoint_head.final_layer.weight")
    if all(name in state for name in needed):
        return
    if has("backbone.layers."):
        found, remedy = (
            "mmpose 1.x weights, which this version cannot read",
            "Give the official (mmpose 0.x) file.",
        )
    elif has("backbone.embeddings."):
        found, remedy = "Hugging Face weights", "Give the folder with config.json and model.safetensors."
    elif has("backbone.blocks.0."):
        found, remedy = "an encoder without keypoint_head", "Give the file of a whole pose network."
    elif has("blocks.0."):
        found, remedy = "a bare vision transformer, such as MAE's", "Give the file of a pose network."
    else:
        found, remedy = (
            "no ViTPose weights",
            "Give an official .pth, a Hugging Face folder or a checkpoint folder.",
        )
    raise CheckpointError(f"holds {found}", subject=subject, remedy=remedy)


def _fields_from_shapes(tensors: Tensors, subject: str) -> dict[str, Any]:
    """The config as far as shapes tell: not the attention heads, so only released sizes can be read."""
    width, depth = tensors["pos_embed"].shape[-1], _count(tensors, r"blocks\.(\d+)\.")
    size = next((row for row in SIZES.values() if (row.width, row.depth) == (width, depth)), None)
    if size is None:
        raise CheckpointError(
            f"width {width}, depth {depth} is no released size, and its attention heads are not recorded",
            subject=subject,
            remedy="Give a folder whose config.json states it.",
        )
    return {
        "input_size": _input_size(tensors["pos_embed"].shape[1] - 1, subject),
        "width": width,
        "depth": depth,
        "heads": size.heads,
        "drop_path": size.drop_path,
        "decoder": "classic" if "keypoint_heads.0.deconv_layers.0.weight" in tensors else "simple",
    }


def _input_size(tokens: int, subject: str) -> tuple[int, int]:
    """Released grids of 16-pixel patches are 4:3 (16x12, 24x18, 36x27) or square; no number is both."""
    for tall, wide in ((4, 3), (1, 1)):
        k = round((tokens / (tall * wide)) ** 0.5)
        if k and k * k * tall * wide == tokens:
            return k * tall * 16, k * wide * 16
    raise CheckpointError(
        f"{tokens} positions are neither a 4:3 nor a square grid",
        subject=subject,
        remedy="Give a folder whose config.json states the input size.",
    )


def _tell_heads_apart(tensors: Tensors) -> tuple[tuple[str, ...], Tensors]:
    """Name the heads of one shared encoder (COCO + AIC + MPII [+ CrowdPose]) by their number of keypoints.

    Only COCO's place is recorded. Heads that nothing tells apart (AIC and CrowdPose: both 14) are left out.
    """
    counts = [_num_keypoints(tensors, index) for index in range(count_heads(tensors))]
    by_count = {14: "aic", 16: "mpii", 133: "wholebody"}
    named = {0: "coco"} | {
        index: by_count[count]
        for index, count in enumerate(counts)
        if index and count in by_count and counts[1:].count(count) == 1
    }
    return tuple(named.values()), _keep_heads(tensors, list(named))


def _unpad_heads(tensors: Tensors, skeletons: Sequence[Skeleton], subject: str) -> Tensors:
    """Keep each head's first K maps, as the official split tool does: some may be stored padded to 133."""
    unpadded = dict(tensors)
    for index, skeleton in enumerate(skeletons):
        stored = _num_keypoints(tensors, index)
        if stored < skeleton.num_keypoints:
            raise CheckpointError(
                f"head {index} has {stored} keypoints, skeleton {skeleton.name!r} {skeleton.num_keypoints}",
                subject=subject,
            )
        for part in ("weight", "bias"):
            name = f"keypoint_heads.{index}.final_layer.{part}"
            unpadded[name] = tensors[name][: skeleton.num_keypoints]
    return unpadded


def count_heads(tensors: Tensors) -> int:
    """How many keypoint heads there are."""
    return _count(tensors, r"keypoint_heads\.(\d+)\.final_layer\.weight")


def _num_keypoints(tensors: Tensors, head: int) -> int:
    return len(tensors[f"keypoint_heads.{head}.final_layer.weight"])


def _count(tensors: Tensors, pattern: str) -> int:
    """How many different numbers stand where ``pattern`` has its group."""
    return len({match[1] for name in tensors if (match := re.match(pattern, name))})
