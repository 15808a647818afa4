"""A trained encoder with fresh heads: fine-tuning a pose network on keypoints that it was never taught."""

from collections.abc import Mapping
from typing import Any

import torch

from autolabel.errors import ConfigError
from autolabel.skeleton import Skeleton
from model.config import THRESHOLDS, ViTPoseConfig
from model.vitpose import ViTPose, build_vitpose

HEAD_FIELDS = ("decoder", "deconv_channels", "upsampling", "presence", "whole_box", "codec", "heatmap_sigma")
"""Fields of a config that are the heads' own, and may differ when these are fresh."""

_HEADS = ("keypoint_heads.", "presence_heads.", "whole_box_head.")


def with_fresh_heads(
    model: ViTPose,
    skeletons: Mapping[str, Skeleton],
    changes: Mapping[str, Any],
    *,
    seed: int,
    subject: str,
) -> ViTPose:
    """A network with the encoder of another one, and heads that know nothing yet.

    Args:
        model: Plain, of any skeletons; not changed.
        skeletons: Of the new heads, by dataset; one under the name "" where there is one dataset without a name.
        changes: Of ``HEAD_FIELDS``.
        seed: Of the heads' weights.
        subject: What errors call it.

    Raises:
        ConfigError: The network has experts, which belong to its datasets; or a change is impossible.
    """
    if model.num_experts:
        raise ConfigError(
            "has an expert for each of its datasets, and new heads have none",
            subject=subject,
            remedy=f"Name the dataset whose expert to start from: {', '.join(model.config.datasets)}.",
        )
    names = [name for name in skeletons if name]
    # What peaks and probabilities of the old heads meant is not known of the new ones.
    kept = model.config.model_dump(exclude={"codecs", "absent_below", *THRESHOLDS})
    fields = {**kept, "datasets": tuple(names), **changes}
    config = ViTPoseConfig.parse(fields, subject=subject)
    torch.manual_seed(seed)
    fresh = build_vitpose(config, list(skeletons.values()))
    encoder = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(_HEADS)}
    left = fresh.load_state_dict(encoder, strict=False)
    if left.unexpected_keys or any(not name.startswith(_HEADS) for name in left.missing_keys):
        raise AssertionError(f"the encoders differ: {left}")
    return fresh


def with_fresh_decoder(model: ViTPose, *, seed: int) -> ViTPose:
    """A copy of a network whose keypoint head knows nothing yet; all else is kept.

    Args:
        model: Plain, of one head; not changed.
        seed: Of the head's weights.
    """
    torch.manual_seed(seed)
    fresh = build_vitpose(model.config, model.skeletons)
    kept = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("keypoint_heads.")}
    left = fresh.load_state_dict(kept, strict=False)
    assert not left.unexpected_keys
    return fresh
