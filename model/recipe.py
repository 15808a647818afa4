"""How a network is trained: the settings of a training file's ``[training]`` table, and what follows from them."""

import math
from typing import Literal

from pydantic import Field, model_validator

from autolabel.errors import ConfigError
from autolabel.settings import Settings
from model.augment import Augmentation
from model.device import Device, Precision
from model.partial import Partial

Schedule = Literal["cosine", "steps"]

DROPS = (170 / 210, 200 / 210)
"""Where the official recipe lowers the rate to a tenth, as shares of its 210 epochs (``vitpose.md`` 4.2)."""


class Training(Settings):
    """How a network is trained.

    Most defaults are the official COCO recipe's, counted in steps: AdamW at 5e-4, weight decay 0.1, 500 steps of
    warm-up, gradients clipped at 1. Three are not, because small networks from scratch are trained too: the batch is 64
    and not 512, the decay to zero is a half cosine instead of two drops (``schedule = "steps"``), and the rate is the
    same in all layers (``layer_decay``; official 0.8, 0.75, 0.8 and 0.85 for S, B, L and H from MAE's weights).

    Attributes:
        steps: Optimiser steps.
        batch_size: Crops a step, over all processes and slices.
        accumulate: Slices that each process cuts its part of a batch into, one after the other: the same gradient in
            less memory. Batch norm of the classic decoder sees one slice at a time.
        learning_rate: At the end of the warm-up.
        betas: AdamW's.
        layer_decay: Factor of the rate from one block to the one below it; 1 for none.
        weight_decay: Of matrices; biases, norms and positions have none.
        schedule: ``cosine`` to zero, or ``steps``: to a tenth at each of ``drops``.
        drops: Where the rate drops, as shares of the steps.
        warmup_steps: Linear warm-up; it may not be longer than the training.
        grad_clip: Largest L2 norm of the gradient.
        ema: Decay of a moving average of the weights, which is then what is validated and saved; 0 for none. It grows
            to this in the first steps: 1 - (1 + n)^(-2/3) after n of them, at most ``ema``.
        checkpoint_activations: Compute each block's activations again in the backward pass instead of keeping them:
            about a third slower, with a fraction of the memory.
        compile: Compile the network (torch.compile): slow to begin, faster after that.
        precision: ``auto`` takes bf16 where the processor has it.
        device: ``auto`` takes a GPU where there is one.
        seed: Of samples, crops, and stochastic depth.
        workers: Processes that read images; 0 reads in the training process.
        log_every: Steps between lines of metrics.
        save_every: Steps between saved states.
        validate_every: Steps between validations, where there is data for them; 0 validates at the end only.
        patience: Validations without a better result after which training stops; 0 never stops early.
        presence_weight: Weight of the presence head's loss beside the heatmaps'.
        partial: What stays as it is, or is tuned through adapters.
        augmentation: How crops vary.
    """

    steps: int = Field(default=5000, ge=1)
    batch_size: int = Field(default=64, ge=1)
    accumulate: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    weight_decay: float = Field(default=0.1, ge=0)
    schedule: Schedule = "cosine"
    drops: tuple[float, ...] = DROPS
    warmup_steps: int = Field(default=500, ge=0)
    grad_clip: float = Field(default=1.0, gt=0)
    ema: float = Field(default=0.0, ge=0, lt=1)
    checkpoint_activations: bool = False
    compile: bool = False
    precision: Precision = "auto"
    device: Device = "auto"
    seed: int = Field(default=0, ge=0)
    workers: int = Field(default=0, ge=0)
    log_every: int = Field(default=50, ge=1)
    save_every: int = Field(default=500, ge=1)
    validate_every: int = Field(default=0, ge=0)
    patience: int = Field(default=0, ge=0)
    presence_weight: float = Field(default=0.005, ge=0)
    partial: Partial = Partial()
    augmentation: Augmentation = Augmentation()

    @model_validator(mode="after")
    def _consistent(self) -> "Training":
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas {self.betas} must lie in 0..1, 1 left out")
        if any(not 0 < drop < 1 for drop in self.drops) or list(self.drops) != sorted(set(self.drops)):
            raise ValueError(f"drops {self.drops} must rise between 0 and 1")
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate {self.accumulate} cuts a batch of {self.batch_size} into empty slices")
        if self.patience and not self.validate_every:
            raise ValueError("patience counts validations: give validate_every too")
        return self

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0: linear warm-up, then the schedule."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "steps":
            return self.learning_rate * 0.1 ** sum(step >= drop * self.steps for drop in self.drops)
        turn = (step - self.warmup_steps) / (self.steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * turn))

    def share(self, processes: int, subject: str = "training") -> int:
        """Crops of a step that each of some processes works on.

        Args:
            processes: How many share the batch.
            subject: What errors call these settings.

        Raises:
            ConfigError: The batch cannot be shared evenly, or a share not be cut into ``accumulate`` slices.
        """
        own, left = divmod(self.batch_size, processes)
        if left:
            raise ConfigError(
                f"a batch of {self.batch_size} cannot be shared evenly by {processes} processes",
                subject=f"{subject}: batch_size",
                remedy=f"Give a multiple of {processes}.",
            )
        if self.accumulate > own:
            raise ConfigError(
                f"accumulate {self.accumulate} cuts a process' {own} crops into empty slices",
                subject=f"{subject}: accumulate",
                remedy=f"Give at most {own}.",
            )
        return own
