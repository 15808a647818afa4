"""What names and shapes of tensors tell where a file says nothing else: size, input, decoder, datasets.

Official, easy_ViTPose and mmpose files hold a ``state_dict`` and no description. Attention heads are not visible in
shapes, so only released sizes can be read; what a lone head predicts is :mod:`model.identify_head`'s question, what
several do follows from the released order. Where two readings fit, nothing is guessed.
"""

from collections.abc import Sequence
from math import isqrt
from typing import Any

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from model.config import DATASETS, PLUS_DATASETS, SIZES, ViTPoseConfig
from model.identify_head import identify_head
from model.layouts import Origin, Tensors, Weights, count, count_heads, keep_heads, num_keypoints, require_parts

_PARTS = {"pos_embed": 3, "blocks.0.mlp.fc2.weight": 2, "keypoint_heads.0.final_layer.weight": 4}
"""What the description is read from, and how many dimensions it has."""

_PADDED = 133
"""Maps that the official training pads its targets to; the heads of a ViTPose++ may be stored so."""


def identify(tensors: Tensors, origin: Origin) -> Weights:
    """A whole network, described from its tensors in our names.

    Files made by the official split tool hold a merged encoder and still the experts, and sometimes the other heads,
    that it was made from; those are left out.

    Raises:
        CheckpointError: An unknown size, experts that do not fit, or keypoints that nothing identifies.
    """
    _require_whole(tensors, origin.subject)
    fields = _fields_from_shapes(tensors, origin.subject)
    experts = count(tensors, r"blocks\.0\.mlp\.experts\.(\d+)\.")
    split = bool(experts) and len(tensors["blocks.0.mlp.fc2.weight"]) == fields["width"]
    if split:
        tensors = {name: tensor for name, tensor in tensors.items() if ".mlp.experts." not in name}
    elif experts:
        fields |= _experts(tensors, experts, fields["width"], origin.subject)
        names = fields["datasets"][: count_heads(tensors)]
        skeletons = tuple(Skeleton.load(DATASETS[name].skeleton) for name in names)
        tensors = _unpad_heads(tensors, skeletons, origin.subject)
        return Weights(ViTPoseConfig.parse(fields, subject=origin.subject), skeletons, tensors)
    if count_heads(tensors) > 1:
        fields["datasets"], tensors = _tell_heads_apart(tensors, origin, split)
        skeletons = tuple(Skeleton.load(DATASETS[name].skeleton) for name in fields["datasets"])
    else:
        skeleton, fields["datasets"], fields["codec"] = identify_head(num_keypoints(tensors, 0), origin)
        skeletons = (skeleton,)
    return Weights(ViTPoseConfig.parse(fields, subject=origin.subject), skeletons, tensors)


def plus_datasets(experts: int, subject: str) -> tuple[str, ...]:
    """Names of a ViTPose++ file's experts, which stand in the released order.

    Raises:
        CheckpointError: Another number of experts than was ever released.
    """
    if experts != len(PLUS_DATASETS):
        raise CheckpointError(
            f"has {experts} experts and does not say whose they are; those of the {len(PLUS_DATASETS)} in the "
            "released files are known",
            subject=subject,
            remedy="Give a checkpoint folder or .pth written by this product, which names its datasets.",
        )
    return PLUS_DATASETS


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
    if (grid := _grid(tokens)) is not None:
        return grid
    raise CheckpointError(
        f"{tokens} positions are neither a 4:3 nor a square grid",
        subject=subject,
        remedy="Give a folder whose config.json states the input size.",
    )


def is_grid(tokens: int) -> bool:
    """Whether so many positions are a grid in the sense of :func:`grid_of`."""
    return _grid(tokens) is not None


def _grid(tokens: int) -> tuple[int, int] | None:
    for tall, wide in ((4, 3), (1, 1)):
        k = isqrt(max(0, tokens) // (tall * wide))
        if k and k * k * tall * wide == tokens:
            return k * tall, k * wide
    return None


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


def _require_whole(tensors: Tensors, subject: str) -> None:
    """Refuse a file without what is looked at here; heads are numbered without a gap, their last layers whole."""
    require_parts(tensors, _PARTS, subject)
    for head in range(count_heads(tensors)):
        last = f"keypoint_heads.{head}.final_layer"
        require_parts(tensors, {f"{last}.weight": 4, f"{last}.bias": 1}, subject)
    if count(tensors, r"blocks\.0\.mlp\.experts\.(\d+)\."):
        require_parts(tensors, {"blocks.0.mlp.experts.0.weight": 2}, subject)


def _tell_heads_apart(tensors: Tensors, origin: Origin, split: bool) -> tuple[tuple[str, ...], Tensors]:
    """Name the heads of one shared encoder (COCO + AIC + MPII [+ CrowdPose]) by their number of keypoints.

    Only COCO's place, the first, is recorded. Heads that nothing tells apart (AIC and CrowdPose: both 14) may only
    be left out by a caller who asks for another one. ``split`` tells that the encoder is one expert's alone; the
    official tool leaves the other heads in its coco.pth, where they fit nothing.
    """
    counts = [num_keypoints(tensors, index) for index in range(count_heads(tensors))]
    if counts[0] == 17 and (split or len(counts) == len(PLUS_DATASETS)):
        if origin.dataset not in (None, "coco"):
            raise CheckpointError(
                f"has its encoder split for coco already: its other heads, {origin.dataset!r} too, would give noise",
                subject=origin.subject,
                remedy=f"Give the whole ViTPose++ file, or the one that was split for {origin.dataset}.",
            )
        return ("coco",), keep_heads(tensors, [0])
    named = {} if split or counts[0] != 17 else _named_by_count(counts)
    unnamed = [index for index in range(len(counts)) if index not in named]
    if unnamed and origin.dataset not in named.values():
        listed = ", ".join(f"{index} ({counts[index]} keypoints)" for index in unnamed)
        known = f"Name one that is known (--dataset): {', '.join(named.values())}. For another one give"
        raise CheckpointError(
            f"has {len(counts)} keypoint heads, and nothing tells which datasets heads {listed} are for",
            subject=origin.subject,
            remedy=f"{known if named else 'Give'} the file of a network of one dataset alone.",
        )
    return tuple(named.values()), keep_heads(tensors, list(named))


def _named_by_count(counts: Sequence[int]) -> dict[int, str]:
    """Datasets of the heads whose number of keypoints tells; AIC's were only released together with MPII's."""
    by_count = {16: "mpii", 133: "wholebody", **({14: "aic"} if 16 in counts else {})}
    others = {
        index: by_count[found]
        for index, found in enumerate(counts)
        if index and found in by_count and counts[1:].count(found) == 1
    }
    return {0: "coco", **others}


def _unpad_heads(tensors: Tensors, skeletons: Sequence[Skeleton], subject: str) -> Tensors:
    """Keep each head's first K maps, as the official split tool does: some may be stored padded to 133."""
    unpadded = dict(tensors)
    for index, skeleton in enumerate(skeletons):
        stored = num_keypoints(tensors, index)
        if stored not in (skeleton.num_keypoints, _PADDED):
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
