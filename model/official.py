"""The official layout (mmpose 0.x; easy_ViTPose has the same names), both ways.

The encoder's names carry ``backbone.``; the first head is ``keypoint_head``, the others
``associate_keypoint_heads.0`` and so on, in ViTPose++ those of AIC, MPII, AP-10K, APT-36K and WholeBody.
Presence heads keep our names, beside the others: the official code passes over what it does not know.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from autolabel.errors import CheckpointError
from model.identify import identify
from model.layouts import Origin, Tensors, Weights

_NEEDED = ("backbone.pos_embed", "backbone.blocks.0.mlp.fc2.weight", "keypoint_head.final_layer.weight")


def read_official(state: Mapping[str, Tensor], origin: Origin) -> Weights:
    """An official ``state_dict``: either decoder; plain, with several heads, or ViTPose++ with all of them.

    Raises:
        CheckpointError: Another layout, no keypoint head, an unknown size, or keypoints that nothing
            identifies.
    """
    return identify(names_from_official(state, origin.subject), origin)


def names_from_official(state: Mapping[str, Tensor], subject: str) -> Tensors:
    """The same tensors under our names.

    The unused ``backbone.cls_token`` of some released files is left out.

    Raises:
        CheckpointError: They are of another layout, or of no pose network.
    """
    if not all(name in state for name in _NEEDED):
        _refuse(state, subject)
    return {_to_ours(name): tensor for name, tensor in state.items() if name != "backbone.cls_token"}


def names_to_official(tensors: Mapping[str, Tensor]) -> Tensors:
    """Tensors of ours under official names."""
    return {_from_ours(name): tensor for name, tensor in tensors.items()}


def _to_ours(name: str) -> str:
    name = re.sub(
        r"^associate_keypoint_heads\.(\d{1,4})(?!\d)", lambda match: f"keypoint_heads.{int(match[1]) + 1}", name
    )
    return re.sub(r"^keypoint_head\.", "keypoint_heads.0.", name).removeprefix("backbone.")


def _from_ours(name: str) -> str:
    head = re.match(r"keypoint_heads\.(\d+)\.(.+)", name)
    if head is None:
        return name if name.startswith(("presence_heads.", "whole_box_head.")) else f"backbone.{name}"
    index = int(head[1])
    return f"associate_keypoint_heads.{index - 1}.{head[2]}" if index else f"keypoint_head.{head[2]}"


def _refuse(state: Mapping[str, Tensor], subject: str) -> None:
    """Say what the file holds instead, and what to give.

    Raises:
        CheckpointError: Always.
    """

    def has(*prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in state)

    if has("backbone.embeddings."):
        found, remedy = "Hugging Face weights", "Give the folder with config.json and model.safetensors."
    elif has("backbone.blocks.0.", "backbone.layers.0.") and not has("keypoint_head.", "head."):
        found, remedy = "an encoder without keypoint_head", _FROM_ENCODER
    elif has("blocks.0.", "encoder.blocks.0.", "layers.0.ln1."):
        found, remedy = "a bare vision transformer, such as MAE's, without a keypoint head", _FROM_ENCODER
    elif has("backbone.blocks.0.", "backbone.layers.0."):
        lacking = ", ".join(name for name in _NEEDED if name not in state)
        found, remedy = f"ViTPose weights without {lacking}", "It is damaged: fetch or write it again."
    elif {"student", "teacher"} & {name.partition(".")[0] for name in state}:
        found, remedy = "two networks, a student and its teacher", "Save the tensors of one of them."
    else:
        names = ", ".join(list(state)[:3])
        found = f"no ViTPose weights ({names}, …)" if names else "no tensors"
        remedy = "Give an official .pth, a Hugging Face folder or a checkpoint folder."
    raise CheckpointError(f"holds {found}", subject=subject, remedy=remedy)


_FROM_ENCODER = (
    "Give the file of a whole pose network; or train one that starts from this encoder: a training file with "
    'init = "FILE" and a [model] table.'
)
