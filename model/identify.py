"""What names and shapes of tensors tell where a file says nothing else: size, input, decoder, datasets.

Official, easy_ViTPose and mmpose files hold a ``state_dict`` and no description. Attention heads are not visible in
shapes, so only released sizes can be read; which keypoints a head predicts follows from their number, from the
file's name (``vitpose-b-ap10k.pth``, the split tool's ``aic.pth``), from a ``skeleton.json`` beside it, or from the
caller. Where two readings fit, nothing is guessed.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from model.config import DATASETS, PLUS_DATASETS, SIZES, Codec, ViTPoseConfig
from model.layouts import Origin, Tensors, Weights, count, count_heads, keep_heads, num_keypoints

_DATASET_REMEDY = "Name the dataset (--dataset), or put a skeleton.json into the same folder."


def identify(tensors: Tensors, origin: Origin) -> Weights:
    """A whole network, described from its tensors in our names.

    Files made by the official split tool hold a merged encoder and still the experts, and sometimes the other heads,
    that it was made from; those are left out.

    Raises:
        CheckpointError: An unknown size, experts that do not fit, or keypoints that nothing identifies.
    """
    _require_whole_heads(tensors, origin.subject)
    fields = _fields_from_shapes(tensors, origin.subject)
    experts = count(tensors, r"blocks\.0\.mlp\.experts\.(\d+)\.")
    if experts and len(tensors["blocks.0.mlp.fc2.weight"]) == fields["width"]:
        tensors = keep_heads({name: t for name, t in tensors.items() if ".mlp.experts." not in name}, [0])
        experts = 0
    if experts:
        fields |= _experts(tensors, experts, fields["width"], origin.subject)
        origin = replace(origin, dataset=None)
    elif count_heads(tensors) > 1:
        fields["datasets"], tensors = _tell_heads_apart(tensors, origin)
    heads = count_heads(tensors)
    if heads == 1:
        skeleton, datasets, codec = identify_head(num_keypoints(tensors, 0), origin)
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


# What the network is.


def _fields_from_shapes(tensors: Tensors, subject: str) -> dict[str, Any]:
    """The config as far as shapes tell: not the attention heads, so only released sizes can be read."""
    width, depth = tensors["pos_embed"].shape[-1], count(tensors, r"blocks\.(\d+)\.")
    size = next((row for row in SIZES.values() if (row.width, row.depth) == (width, depth)), None)
    if size is None:
        raise CheckpointError(
            f"width {width}, depth {depth} is no released size, and its attention heads are not recorded",
            subject=subject,
            remedy="Give a folder whose config.json states it.",
        )
    rows, columns = grid_of(tensors["pos_embed"].shape[1] - 1, subject)
    return {
        "input_size": (rows * 16, columns * 16),
        "width": width,
        "depth": depth,
        "heads": size.heads,
        "drop_path": size.drop_path,
        "decoder": "classic" if "keypoint_heads.0.deconv_layers.0.weight" in tensors else "simple",
    }


def grid_of(tokens: int, subject: str) -> tuple[int, int]:
    """(Hp, Wp) of a released grid: 4:3 (16x12, 24x18, 36x27) or square; no number is both.

    Raises:
        CheckpointError: It is neither.
    """
    for tall, wide in ((4, 3), (1, 1)):
        k = round((tokens / (tall * wide)) ** 0.5)
        if k and k * k * tall * wide == tokens:
            return k * tall, k * wide
    raise CheckpointError(
        f"{tokens} positions are neither a 4:3 nor a square grid",
        subject=subject,
        remedy="Give a folder whose config.json states the input size.",
    )


def _experts(tensors: Tensors, experts: int, width: int, subject: str) -> dict[str, Any]:
    shared = len(tensors["blocks.0.mlp.fc2.weight"])
    own = len(tensors["blocks.0.mlp.experts.0.weight"])
    if shared + own != width:
        raise CheckpointError(
            f"its experts are {own} wide and the layer they complete {shared}, which is not {width} together",
            subject=subject,
            remedy=f"Experts of this size are {width // 4} wide in the released files (the official S config says "
            "192 and fits none of them): give the released file, or fix what wrote this one.",
        )
    return {"experts": experts, "expert_width": own, "datasets": plus_datasets(experts, subject)}


def _require_whole_heads(tensors: Tensors, subject: str) -> None:
    """Refuse heads that are not numbered without a gap, or whose last layer lacks a part."""
    for head in range(count_heads(tensors)):
        for part in ("weight", "bias"):
            if f"keypoint_heads.{head}.final_layer.{part}" not in tensors:
                raise CheckpointError(
                    f"lacks the {part} of the last layer of keypoint head {head}",
                    subject=subject,
                    remedy="It is damaged: download it again.",
                )


def _tell_heads_apart(tensors: Tensors, origin: Origin) -> tuple[tuple[str, ...], Tensors]:
    """Name the heads of one shared encoder (COCO + AIC + MPII [+ CrowdPose]) by their number of keypoints.

    Only COCO's place is recorded. Heads that nothing tells apart (AIC and CrowdPose: both 14) may only be left
    out by a caller who asks for another one.
    """
    counts = [num_keypoints(tensors, index) for index in range(count_heads(tensors))]
    if len(counts) == len(PLUS_DATASETS) and counts[0] == 17:
        # A split coco.pth without its experts: the five other heads fit other experts than COCO's.
        if origin.dataset not in (None, "coco"):
            raise CheckpointError(
                f"has its encoder split for coco already: its other heads, {origin.dataset!r} too, would give noise",
                subject=origin.subject,
                remedy=f"Give the whole ViTPose++ file, or the one that was split for {origin.dataset}.",
            )
        return ("coco",), keep_heads(tensors, [0])
    by_count = {14: "aic", 16: "mpii", 133: "wholebody"}
    named = {0: "coco"} | {
        index: by_count[found]
        for index, found in enumerate(counts)
        if index and found in by_count and counts[1:].count(found) == 1
    }
    unnamed = [index for index in range(len(counts)) if index not in named]
    if unnamed and origin.dataset not in named.values():
        listed = ", ".join(f"{index} ({counts[index]} keypoints)" for index in unnamed)
        raise CheckpointError(
            f"has {len(counts)} keypoint heads, and nothing tells which datasets heads {listed} are for",
            subject=origin.subject,
            remedy=f"Name one that is known (--dataset): {', '.join(named.values())}. For another one give the file "
            "of a network of that dataset alone.",
        )
    return tuple(named.values()), keep_heads(tensors, list(named))


def _unpad_heads(tensors: Tensors, skeletons: Sequence[Skeleton], subject: str) -> Tensors:
    """Keep each head's first K maps, as the official split tool does: some may be stored padded to 133."""
    unpadded = dict(tensors)
    for index, skeleton in enumerate(skeletons):
        stored = num_keypoints(tensors, index)
        if stored < skeleton.num_keypoints:
            raise CheckpointError(
                f"head {index} has {stored} keypoints, skeleton {skeleton.name!r} {skeleton.num_keypoints}",
                subject=subject,
                remedy="Its heads are not in the released order, "
                f"{', '.join(PLUS_DATASETS)}: give the released file, or a checkpoint folder that names its datasets.",
            )
        for part in ("weight", "bias"):
            name = f"keypoint_heads.{index}.final_layer.{part}"
            unpadded[name] = tensors[name][: skeleton.num_keypoints]
    return unpadded


# Which keypoints a head predicts, where the file does not say.


def identify_head(keypoints: int, origin: Origin) -> tuple[Skeleton, tuple[str, ...], Codec]:
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
        name = _dataset_asked_for(origin) or _likely_dataset(keypoints, origin)
        skeleton = Skeleton.load(DATASETS[name].skeleton)
    if skeleton.num_keypoints != keypoints:
        raise CheckpointError(
            f"its head has {keypoints} keypoints, {skeleton.name!r} has {skeleton.num_keypoints}",
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


def _likely_dataset(keypoints: int, origin: Origin) -> str:
    skeletons = {name: Skeleton.load(known.skeleton) for name, known in DATASETS.items()}
    matching = [name for name, skeleton in skeletons.items() if skeleton.num_keypoints == keypoints]
    if not matching:
        raise CheckpointError(
            f"its head has {keypoints} keypoints, which is no known dataset's",
            subject=origin.subject,
            remedy="Put a skeleton.json that names them into the same folder.",
        )
    if origin.labels:
        matching = [name for name in matching if _labels_agree(origin.labels, skeletons[name])]
    else:
        matching = _named_in_file(matching, origin.subject, keypoints)
    if len(matching) == 1:
        return matching[0]
    labels = ", ".join(origin.labels[:3])
    found = f"may be those of {' or '.join(matching)}" if matching else f"({labels}, …) are no known dataset's"
    raise CheckpointError(f"its {keypoints} keypoints {found}", subject=origin.subject, remedy=_DATASET_REMEDY)


def _named_in_file(matching: list[str], subject: str, keypoints: int) -> list[str]:
    """The datasets with the head's keypoints that the file's name speaks for; those of an unspeaking name: COCO."""
    said = datasets_in_name(PurePath(subject).name)
    if agreeing := [name for name in matching if name in said]:
        return agreeing
    if said:
        raise CheckpointError(
            f"its name says {' and '.join(said)}, its head has {keypoints} keypoints",
            subject=subject,
            remedy=_DATASET_REMEDY,
        )
    if matching == ["coco_25"]:  # easy_ViTPose's files always say so; others of 25 have other keypoints
        raise CheckpointError(
            f"its {keypoints} keypoints may be those of coco_25, but nothing says so",
            subject=subject,
            remedy=_DATASET_REMEDY,
        )
    return ["coco"] if "coco" in matching else matching


_IN_NAMES = (
    ("coco_25", r"coco_?25"),
    ("wholebody", r"wholebody"),
    ("crowdpose", r"crowdpose"),
    ("ap10k", r"ap-?10k"),
    ("apt36k", r"apt-?36k"),
    ("mpii", r"mpii"),
    ("aic", r"(?<![a-z])aic(?![a-z])"),
    ("coco", r"coco(?!_?25)"),
)


def datasets_in_name(name: str) -> tuple[str, ...]:
    """The public datasets that a file's name mentions.

    >>> datasets_in_name("vitpose-b-ap10k.pth"), datasets_in_name("vitpose-l-coco_25.pth")
    (('ap10k',), ('coco_25',))
    """
    return tuple(dataset for dataset, pattern in _IN_NAMES if re.search(pattern, name.lower()))


def _labels_agree(labels: Sequence[str], skeleton: Skeleton) -> bool:
    """Whether most labels contain the last word of the skeleton's name for them ("L_Hip", "left_hip")."""
    words = [name.rsplit("_", 1)[-1].lower() for name in skeleton.keypoints]
    return 2 * sum(word in label.lower() for word, label in zip(words, labels, strict=True)) > len(words)
