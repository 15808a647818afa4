"""Partial fine-tuning: which parameters of a network are trained, and low-rank adapters instead of them.

A network that was trained elsewhere is often fitted to a few labels by a part of it (ViTPose's Table 6: with the
attention frozen it loses 0.7 AP on COCO, with the MLPs frozen 3.0). Frozen parameters ask for no gradient, are left
out by the optimiser and stay bit-equal; their dropout and drop path go on as in training.

LoRA (Hu et al. 2021, arXiv 2106.09685) trains ``B A`` beside each frozen matrix ``W``: the layer gives
``W x + (alpha / rank) B A x``, and because ``B`` starts at 0 the network starts as it was. The adapters are peft's;
checkpoints never hold them, since ``W + (alpha / rank) B A`` is an ordinary matrix (:func:`plain_model`).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from autolabel.errors import ConfigError
from autolabel.settings import Settings
from model.vitpose import ViTPose, build_vitpose

Part = Literal["attention", "mlp", "encoder", "keypoints", "knowledge", "network", "answers"]

LORA_TARGETS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
"""Matrices of a block that get an adapter; of ViTPose++ the shared part of the second MLP layer only."""

_STEM = r"(patch_embed\.|pos_embed$|knowledge$)"
_PARTS: dict[Part, str] = {
    "attention": r"blocks\.\d+\.(attn|norm1)\.",
    "mlp": rf"blocks\.\d+\.(mlp|norm2)\.|{_STEM}",
    "encoder": rf"(blocks|last_norm)\.|{_STEM}",
    "keypoints": r"(?!(presence_heads|whole_box_head)\.)",
    "knowledge": r"knowledge$",
    "network": r"(?!knowledge$)",
    "answers": r"(presence_heads|whole_box_head)\.",
}
_HEADS = r"(keypoint_heads|presence_heads|whole_box_head)\."
_ADAPTERS = r".*\.lora_[AB]\."


class Partial(Settings):
    """Which part of a network is trained; by default all of it.

    Attributes:
        freeze: What stays as it was. ``attention`` and ``mlp`` are the official ``freeze_attn`` (attention and its
            norm in every block) and ``freeze_ffn`` (MLP and its norm in every block, patch and position
            embedding); with either, the last norm is trained. ``encoder`` leaves the heads alone to be trained:
            the last norm is frozen too, so that heads taught apart can share one encoder. ``keypoints`` is everything
            that keypoints come from: the presence and whole-box heads alone are trained. ``knowledge`` is the token
            that a teacher gave, ``network`` all but that token, and ``answers`` are presence and whole-box heads.
        freeze_blocks: The first so many blocks stay as they were, and the patch and position embedding below them.
        lora_rank: Rank of the adapters, which are trained with the heads and nothing else; 0 for none.
        lora_alpha: Adapters count ``lora_alpha / lora_rank`` times.
    """

    freeze: tuple[Part, ...] = ()
    freeze_blocks: int = Field(default=0, ge=0)
    lora_rank: int = Field(default=0, ge=0)
    lora_alpha: float = Field(default=16.0, gt=0)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.lora_rank and (self.freeze or self.freeze_blocks):
            raise ValueError("lora_rank freezes the whole encoder: leave out freeze and freeze_blocks")
        for part in ("encoder", "keypoints", "network"):
            if part in self.freeze and ({*self.freeze} - {part, "answers"} or self.freeze_blocks):
                raise ValueError(f"'{part}' freezes every block: leave out the rest of freeze, and freeze_blocks")
        if len(set(self.freeze)) < len(self.freeze):
            raise ValueError("freeze names a part twice")
        return self

    def with_frozen(self, part: Part) -> "Partial":
        """The same, with one more part that stays as it was, if it does not already."""
        whole = {"encoder", "keypoints", part} & set(self.freeze)
        return self if whole or self.lora_rank else self.model_copy(update={"freeze": (*self.freeze, part)})


def restrict(model: ViTPose, how: Partial, *, seed: int = 0) -> None:
    """Make a network trainable as far as the settings say, in place; see :func:`freeze` and :func:`with_lora`.

    Call it before the optimiser is made.

    Raises:
        ConfigError: There are fewer blocks than are to be frozen, or peft is not installed.
    """
    if how.lora_rank:
        with_lora(model, how.lora_rank, how.lora_alpha, seed=seed)
    else:
        freeze(model, how)


def freeze(model: ViTPose, how: Partial) -> None:
    """Let the parameters that ``how.freeze`` and ``how.freeze_blocks`` name require no gradient.

    The official ``frozen_stages = n`` leaves block 0 trained (it freezes blocks 1 to n) and the position embedding
    with it, so that the gradient runs through all frozen blocks; ``freeze_blocks = n`` means the first n blocks
    with everything below them, where backward then stops (``vitpose.md`` 4.6).

    Raises:
        ConfigError: There are fewer blocks than are to be frozen, or nothing is left to be trained.
    """
    depth = len(model.blocks)
    if how.freeze_blocks > depth:
        raise ConfigError(
            f"{how.freeze_blocks} blocks cannot be frozen, the network has {depth}", subject="freeze_blocks"
        )
    frozen = [_PARTS[part] for part in how.freeze]
    if how.freeze_blocks:
        frozen += [rf"blocks\.{block}\." for block in range(how.freeze_blocks)] + [_STEM]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(re.match(pattern, name) for pattern in frozen))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            "nothing is left to be trained",
            subject="freeze",
            remedy="Give the network presence = true, whole_box = true or knowledge = true, or freeze less.",
        )


def with_lora(model: ViTPose, rank: int, alpha: float, targets: Sequence[str] = LORA_TARGETS, *, seed: int = 0) -> None:
    """Put an adapter beside every target matrix of every block, in place; they and the heads alone are trained.

    The network gives the same outputs as before. Its ``state_dict`` then has ``X.base_layer.weight`` and
    ``X.lora_A.default.weight`` for ``X.weight`` and loads into a network that was prepared in the same way.

    Args:
        model: Without adapters.
        rank: Of the adapters, from 1.
        alpha: They count ``alpha / rank`` times.
        targets: Names of linear layers inside a block.
        seed: Of the adapters' first half; torch's global random numbers are left alone.

    Raises:
        ConfigError: peft is not installed, the network has adapters already, or no layer has a target's name.
    """
    LoraConfig, inject, _ = _peft()
    if has_lora(model):
        raise ConfigError("the network has adapters already", remedy="Merge them first.")
    names = [name for name, _ in model.blocks.named_modules()]
    if missing := [target for target in targets if not any(name.endswith(f".{target}") for name in names)]:
        raise ConfigError(f"no layer is called {missing[0]!r}", subject="LoRA")
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", target_modules=list(targets))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs' generators too
        inject(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(bool(re.match(f"{_HEADS}|{_ADAPTERS}", name)))


def has_lora(model: nn.Module) -> bool:
    """Whether a network has adapters."""
    return any(re.match(_ADAPTERS, name) for name, _ in model.named_parameters())


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The ``state_dict`` of the network without adapters that computes the same, to rounding.

    Training may go on: the network is not touched. Tensors that no adapter changes share its memory.
    """
    state = model.state_dict()
    for prefix, layer in _adapted(model):
        for name in [name for name in state if name.startswith(f"{prefix}.")]:
            tensor = state.pop(name)
            if name.startswith(f"{prefix}.base_layer."):
                state[name.replace(".base_layer.", ".")] = tensor
        # In full precision, whatever autocast a caller is under.
        with torch.no_grad(), torch.autocast(layer.base_layer.weight.device.type, enabled=False):
            state[f"{prefix}.weight"] = layer.base_layer.weight + layer.get_delta_weight("default")
    return state


def plain_model(model: ViTPose) -> ViTPose:
    """The network without adapters that computes the same: itself where it has none, else another one.

    What every checkpoint is written from, in the middle of a training too.
    """
    if not has_lora(model):
        return model
    with torch.random.fork_rng(devices=[]):  # a training's random numbers are not for checkpoints to use up
        merged = build_vitpose(model.config, model.skeletons)
    merged.load_state_dict(plain_state(model))
    return merged.to(model.pos_embed.device).train(model.training)


def merge_lora(model: ViTPose) -> None:
    """Add the adapters to the matrices they stand beside and take them away, in place; all is trainable again."""
    state = plain_state(model)
    for name, layer in list(_adapted(model)):
        model.set_submodule(name, layer.base_layer)
    model.load_state_dict(state)
    model.requires_grad_(True)


def trainable_parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _adapted(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Names and layers that have an adapter."""
    if has_lora(model):
        LoraLayer = _peft()[2]
        yield from ((name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer))


def _peft() -> tuple[Any, Any, Any]:
    """What is used of peft: an extra, imported when LoRA is asked for."""
    try:
        from peft import LoraConfig, inject_adapter_in_model  # pyright: ignore[reportMissingImports]
        from peft.tuners.lora import LoraLayer  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError(
            f"LoRA needs peft: {error}", subject="lora_rank", remedy="pip install 'skeleton-autolabel[lora]'"
        ) from error
    return LoraConfig, inject_adapter_in_model, LoraLayer
