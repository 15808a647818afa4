"""The Hugging Face layout of ViTPose (transformers' ``VitPoseForPoseEstimation``), both ways.

A folder with ``config.json`` and ``model.safetensors``. The attention's q, k, v are three tensors there and
one here; a ViTPose++ keeps all experts but COCO's head only. What transformers has no word for (codec,
Gaussian, box padding, datasets) we write under the key ``autolabel`` of their config, which they ignore, and
the skeleton beside it.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from model.config import DATASETS, SIZES, UPSAMPLING, Codec, ViTPoseConfig
from model.identify import plus_datasets
from model.identify_head import identify_head, labels_agree
from model.layouts import Origin, Tensors, Weights, require_common_encoder
from model.vitpose import ViTPose, expected_tensors

# What their config holds; the rest of ours goes under our key.
_SHARED = {
    *("input_size", "patch_size", "patch_padding", "width", "depth", "heads", "mlp_ratio", "norm_eps"),
    *("decoder", "deconv_channels", "experts", "expert_width"),
}

# Files leave out what equals transformers' defaults.
_DEFAULTS: Mapping[str, Any] = {"scale_factor": UPSAMPLING, "use_simple_decoder": True}
_BACKBONE_DEFAULTS: Mapping[str, Any] = {
    "image_size": [256, 192],
    "patch_size": [16, 16],
    "num_channels": 3,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "mlp_ratio": 4,
    "num_experts": 1,
    "part_features": 256,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "qkv_bias": True,
}
_ONLY: Mapping[str, Any] = {
    "num_channels": 3,
    "hidden_act": "gelu",
    "qkv_bias": True,
    "scale_factor": UPSAMPLING,
}

_QKV = ("query", "key", "value")

# Ours -> theirs; {} stands for query, key and value, whose rows our qkv stacks.
_NAMES = (
    (r"patch_embed\.proj", "backbone.embeddings.patch_embeddings.projection"),
    (r"pos_embed", "backbone.embeddings.position_embeddings"),
    (r"last_norm", "backbone.layernorm"),
    (r"blocks\.(\d+)\.norm1", r"backbone.encoder.layer.\1.layernorm_before"),
    (r"blocks\.(\d+)\.norm2", r"backbone.encoder.layer.\1.layernorm_after"),
    (r"blocks\.(\d+)\.attn\.qkv", r"backbone.encoder.layer.\1.attention.attention.{}"),
    (r"blocks\.(\d+)\.attn\.proj", r"backbone.encoder.layer.\1.attention.output.dense"),
    (r"blocks\.(\d+)\.mlp", r"backbone.encoder.layer.\1.mlp"),
    (r"keypoint_heads\.0\.deconv_layers\.0", "head.deconv1"),
    (r"keypoint_heads\.0\.deconv_layers\.1", "head.batchnorm1"),
    (r"keypoint_heads\.0\.deconv_layers\.3", "head.deconv2"),
    (r"keypoint_heads\.0\.deconv_layers\.4", "head.batchnorm2"),
    (r"keypoint_heads\.0\.final_layer", "head.conv"),
)


def read_huggingface(config: Mapping[str, Any], state: Mapping[str, Tensor], origin: Origin) -> Weights:
    """What a Hugging Face folder holds.

    Args:
        config: Its config.json.
        state: Its tensors. Those with unknown names are kept under them, for the final check to refuse.
        origin: Where they come from.

    Raises:
        CheckpointError: The config asks for something that ViTPose does not have, or nothing identifies its
            keypoints.
    """
    if "head.conv.weight" not in state or state["head.conv.weight"].dim() != 4:
        raise CheckpointError("has no head.conv.weight: not a pose network", subject=origin.subject)
    num_keypoints = len(state["head.conv.weight"])
    try:
        fields, labels = _fields(config, origin.subject), _labels(config, num_keypoints)
        own = dict(config.get("autolabel", {}))
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise CheckpointError(f"config.json cannot be read: {error}", subject=origin.subject) from error
    skeleton, datasets, codec = _head(num_keypoints, fields["experts"], bool(own), replace(origin, labels=labels))
    parsed = ViTPoseConfig.parse({**fields, "datasets": datasets, "codec": codec, **own}, subject=origin.subject)
    left, tensors = dict(state), Tensors()
    for name in expected_tensors(parsed, (skeleton,)):
        theirs = _their_names(name)
        if all(part in left for part in theirs):
            parts = [left.pop(part) for part in theirs]
            if len({part.shape for part in parts}) > 1:
                raise CheckpointError(f"{', '.join(theirs)} differ in shape", subject=origin.subject)
            tensors[name] = torch.cat(parts) if len(parts) > 1 and parts[0].dim() else parts[0]
    return Weights(parsed, (skeleton,), {**tensors, **left})


def _head(keypoints: int, experts: int, ours: bool, origin: Origin) -> tuple[Skeleton, tuple[str, ...], Codec]:
    """Skeleton, datasets and codec; what a network of ours or a ViTPose++ holds is settled, ``dataset`` picks later."""
    if ours and origin.skeleton is not None:
        return origin.skeleton, (), "udp"  # its own description says the rest
    if experts and not ours:
        datasets = plus_datasets(experts, origin.subject)
        first = Skeleton.load(DATASETS[datasets[0]].skeleton)
        if origin.labels and origin.skeleton is None and not labels_agree(origin.labels, first):
            raise CheckpointError(
                f"its labels ({', '.join(origin.labels[:3])}, …) are not COCO's, whose head a ViTPose++ has first",
                subject=origin.subject,
                remedy="Give the official .pth, which has all heads.",
            )
        skeleton, _, codec = identify_head(keypoints, replace(origin, dataset=datasets[0]))
        return skeleton, datasets, codec
    return identify_head(keypoints, replace(origin, dataset=None) if ours else origin)


def write_huggingface(model: ViTPose) -> tuple[dict[str, Any], Tensors]:
    """The config.json and tensors that transformers reads.

    Raises:
        CheckpointError: The network has what that layout cannot express.
    """
    config, skeleton = model.config, model.skeleton
    _require_expressible(model)
    tensors: Tensors = {}
    for name, tensor in model.state_dict().items():
        theirs = _their_names(name)
        tensors |= dict(zip(theirs, tensor.chunk(len(theirs)) if len(theirs) > 1 else (tensor,), strict=True))
    return {
        "architectures": ["VitPoseForPoseEstimation"],
        "model_type": "vitpose",
        "backbone_config": {
            "model_type": "vitpose_backbone",
            "image_size": list(config.input_size),
            "patch_size": [config.patch_size, config.patch_size],
            "hidden_size": config.width,
            "num_hidden_layers": config.depth,
            "num_attention_heads": config.heads,
            "mlp_ratio": config.mlp_ratio,
            "num_experts": config.experts or 1,
            "part_features": config.expert_width or _BACKBONE_DEFAULTS["part_features"],
            "layer_norm_eps": config.norm_eps,
            "out_indices": [config.depth],
            "out_features": [f"stage{config.depth}"],
        },
        "use_simple_decoder": config.decoder == "simple",
        "scale_factor": UPSAMPLING,
        "id2label": {str(index): name for index, name in enumerate(skeleton.keypoints)},
        "label2id": {name: index for index, name in enumerate(skeleton.keypoints)},
        "edges": [list(edge) for edge in skeleton.edges],
        "autolabel": {name: value for name, value in config.described().items() if name not in _SHARED},
    }, tensors


def _their_names(name: str) -> tuple[str, ...]:
    for ours, theirs in _NAMES:
        if match := re.match(ours, name):
            renamed = match.expand(theirs) + name[match.end() :]
            return tuple(renamed.format(part) for part in _QKV) if "{}" in theirs else (renamed,)
    raise AssertionError(f"{name} has no name in the Hugging Face layout")


def _fields(config: Mapping[str, Any], subject: str) -> dict[str, Any]:
    """Our config fields, from theirs."""
    if not isinstance(config.get("backbone_config"), Mapping):
        raise CheckpointError("config.json has no backbone_config", subject=subject)
    backbone = {**_DEFAULTS, **_BACKBONE_DEFAULTS, **config, **config["backbone_config"]}
    for key, supported in _ONLY.items():
        if backbone[key] != supported:
            raise CheckpointError(f"{key} is {backbone[key]!r}; ViTPose has {supported!r}", subject=subject)
    width, depth = backbone["hidden_size"], backbone["num_hidden_layers"]
    stage = (backbone.get("out_indices") or [depth])[-1]
    if stage not in (depth, -1):
        raise CheckpointError(f"takes features from stage {stage}, not the last ({depth})", subject=subject)
    patch = _pair(backbone["patch_size"])
    if patch[0] != patch[1]:
        raise CheckpointError(f"patch_size {patch} is not square", subject=subject)
    experts = backbone["num_experts"] if backbone["num_experts"] > 1 else 0
    released = (size.drop_path for size in SIZES.values() if (size.width, size.depth) == (width, depth))
    return {
        "input_size": _pair(backbone["image_size"]),
        "patch_size": patch[0],
        "patch_padding": 2,
        "width": width,
        "depth": depth,
        "heads": backbone["num_attention_heads"],
        "mlp_ratio": backbone["mlp_ratio"],
        "norm_eps": backbone["layer_norm_eps"],
        "drop_path": next(released, 0.0),
        "decoder": "simple" if backbone["use_simple_decoder"] else "classic",
        "experts": experts,
        "expert_width": backbone["part_features"] if experts else 0,
    }


def _pair(value: int | list[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _labels(config: Mapping[str, Any], num_keypoints: int) -> tuple[str, ...]:
    """The K keypoint names in their order, or none where the file only has placeholders."""
    named = config.get("id2label") or {}
    labels = tuple(str(named[key]) for key in sorted(named, key=int))
    placeholders = all(re.fullmatch(r"LABEL_\d+", label) for label in labels)
    return () if placeholders or len(labels) != num_keypoints else labels


def _require_expressible(model: ViTPose) -> None:
    config = model.config
    remedy = "Save it with save_model instead."
    require_common_encoder(config, "transformers", "")
    if len(model.keypoint_heads) > 1:
        raise CheckpointError(
            "the Hugging Face layout holds one keypoint head",
            remedy=f"Load one of {', '.join(config.datasets)} (dataset=...), then save that.",
        )
    for fault, has in (
        ("a presence head", config.presence),
        ("a whole-box head", config.whole_box),
        ("overlapping patches", config.ratio != 1),
        (f"heatmaps of {config.upsampling} cells per token", config.upsampling != UPSAMPLING),
    ):
        if has:
            raise CheckpointError(f"has {fault}, which transformers has no word for", remedy=remedy)
    if config.patch_padding != 2:
        raise CheckpointError(f"pads by {config.patch_padding}, transformers always by 2", remedy=remedy)
    if config.decoder == "classic" and config.deconv_channels != 256:
        raise CheckpointError(f"has {config.deconv_channels} deconv channels, not 256", remedy=remedy)
