"""Training: one loop for supervised training and fine-tuning.

Step ``n`` depends on the configuration, the data and ``n`` alone (its samples, its random crops, its learning rate),
so that a run that was killed goes on from its last saved state as if nothing had happened. The result is a
checkpoint folder; beside it stand ``metrics.jsonl``, one line every few steps, and ``state.pt`` while unfinished.
"""

import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from pydantic import Field
from timm.optim import param_groups_layer_decay
from torch import Tensor
from torch.utils.data import DataLoader

from autolabel.errors import CheckpointError, InputError
from autolabel.manifest import Manifest
from autolabel.progress import SILENT, Progress
from autolabel.settings import Settings
from model.augment import Augmentation, absent_targets, augment
from model.checkpoint import save_model
from model.data import MixedBatches, PoseBatch, PoseCrops
from model.device import pick_device, pick_precision
from model.heatmap import decode, encode
from model.losses import heatmap_mse
from model.vitpose import ViTPose

METRICS = "metrics.jsonl"
STATE = "state.pt"


class Training(Settings):
    """How a network is trained.

    The defaults are the official COCO recipe, counted in steps: AdamW at 5e-4 for a batch of 512, weight decay 0.1,
    500 steps of warm-up, gradients clipped at 1. The decay to zero is a half cosine instead of its two drops.

    Attributes:
        steps: Optimiser steps.
        batch_size: Crops a step.
        learning_rate: At the end of the warm-up.
        layer_decay: Factor of the rate from one block to the one below it; 1 for none.
        weight_decay: Of matrices; biases, norms and positions have none.
        warmup_steps: Linear warm-up.
        grad_clip: Largest L2 norm of the gradient.
        precision: ``auto`` takes bf16 where the processor has it.
        device: ``auto`` takes a GPU where there is one.
        seed: Of samples, crops, and stochastic depth.
        workers: Processes that read images; 0 reads in the training process.
        log_every: Steps between lines of metrics.
        save_every: Steps between saved states.
        augmentation: How crops vary.
    """

    steps: int = Field(5000, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(5e-4, gt=0)
    layer_decay: float = Field(1.0, gt=0, le=1)
    weight_decay: float = Field(0.1, ge=0)
    warmup_steps: int = Field(500, ge=0)
    grad_clip: float = Field(1.0, gt=0)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 0
    workers: int = Field(0, ge=0)
    log_every: int = Field(50, ge=1)
    save_every: int = Field(500, ge=1)
    augmentation: Augmentation = Augmentation()


@dataclass(frozen=True)
class Source:
    """Poses to train on, and their relative share of every batch."""

    manifest: Manifest
    share: float = 1.0


def train(
    model: ViTPose, sources: Sequence[Source], how: Training, out: Path, *, progress: Progress = SILENT
) -> dict[str, Any]:
    """Train a network in place and save it.

    Args:
        model: From scratch, or loaded for fine-tuning.
        sources: Labelled poses; their skeletons must be the model's.
        how: The recipe.
        out: The checkpoint folder. A ``state.pt`` in it is gone on from.
        progress: Where to report.

    Returns:
        The last line of metrics.

    Raises:
        SkeletonError: A source has another skeleton.
        InputError: There is nothing to train on, or the loss is no longer finite.
        CheckpointError: ``state.pt`` belongs to another network.
    """
    for source in sources:
        model.skeleton.require_same(source.manifest.skeleton, str(source.manifest.path))
    out.mkdir(parents=True, exist_ok=True)
    device = pick_device(how.device)
    precision = pick_precision(how.precision, device)
    accelerator = Accelerator(
        mixed_precision="no" if precision == "fp32" else precision, cpu=device.type == "cpu"
    )
    optimizer = _optimizer(model, how)
    start = _resume(out, model, optimizer)
    network, optimizer = accelerator.prepare(model.train(), optimizer)
    last: dict[str, Any] = {}
    with progress.task("train", how.steps, "step") as task, _metrics(out, start) as write:
        task.advance(start)
        clock = time.perf_counter()
        for step, batch in zip(range(start, how.steps), _batches(model, sources, how, start), strict=True):
            torch.manual_seed(_seed(how.seed, step))
            _set_rate(optimizer, how, step)
            with accelerator.autocast():
                heatmaps, targets, weights = _forward(network, batch.to(accelerator.device), model, how, step)
            loss = heatmap_mse(heatmaps.float(), targets, weights)
            optimizer.zero_grad()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(network.parameters(), how.grad_clip)
            optimizer.step()
            if (step + 1) % how.log_every == 0 or step + 1 == how.steps:
                rate = how.log_every * how.batch_size / (time.perf_counter() - clock)
                last = _measure(step + 1, loss, heatmaps, targets, weights, optimizer, rate)
                write(last)
                clock = time.perf_counter()
            task.advance(1, **{key: last[key] for key in ("loss", "pck") if key in last})
            if (step + 1) % how.save_every == 0 and step + 1 < how.steps:
                _save_state(out, model, optimizer, step + 1)
    model.eval()
    save_model(model, out)
    (out / STATE).unlink(missing_ok=True)
    return last


def _forward(
    network: torch.nn.Module, batch: PoseBatch, model: ViTPose, how: Training, step: int
) -> tuple[Tensor, Tensor, Tensor]:
    config = model.config
    crops, xy, visibility = augment(
        batch,
        how.augmentation,
        model.skeleton,
        input_size=model.input_size,
        padding=config.box_padding,
        codec=config.codec,
        generator=torch.Generator().manual_seed(_seed(how.seed, step)),
    )
    labelled = ((visibility == 1) | (visibility == 2)).float()
    targets, weights = encode(
        xy,
        labelled,
        input_size=model.input_size,
        heatmap_size=model.heatmap_size,
        codec=config.codec,
        sigma=config.heatmap_sigma,
    )
    return network(crops), *absent_targets(targets, weights, visibility)


def _batches(model: ViTPose, sources: Sequence[Source], how: Training, start: int) -> Iterator[PoseBatch]:
    crops = PoseCrops(
        [source.manifest for source in sources],
        input_size=model.input_size,
        padding=model.config.box_padding,
        margin=how.augmentation.margin,
    )
    sampler = MixedBatches(
        crops.sizes,
        [source.share for source in sources],
        batch_size=how.batch_size,
        start=start,
        stop=how.steps,
        seed=how.seed,
    )
    return iter(DataLoader(crops, batch_sampler=sampler, num_workers=how.workers, collate_fn=_as_is))


def _as_is(batch: PoseBatch) -> PoseBatch:
    return batch


def _optimizer(model: ViTPose, how: Training) -> torch.optim.AdamW:
    groups = param_groups_layer_decay(
        model,
        weight_decay=how.weight_decay,
        no_weight_decay_list=tuple(model.no_weight_decay()),
        layer_decay=how.layer_decay,
    )
    return torch.optim.AdamW(groups, lr=how.learning_rate)


def _set_rate(optimizer: torch.optim.Optimizer, how: Training, step: int) -> None:
    """Linear warm-up, then half a cosine to zero; times each group's layer decay."""
    if step < how.warmup_steps:
        factor = (step + 1) / how.warmup_steps
    else:
        factor = 0.5 * (
            1 + math.cos(math.pi * (step - how.warmup_steps) / max(how.steps - how.warmup_steps, 1))
        )
    for group in optimizer.param_groups:
        group["lr"] = how.learning_rate * factor * group.get("lr_scale", 1.0)


@torch.no_grad()
def _measure(
    step: int,
    loss: Tensor,
    heatmaps: Tensor,
    targets: Tensor,
    weights: Tensor,
    optimizer: torch.optim.Optimizer,
    rate: float,
) -> dict[str, Any]:
    """Numbers of one step; ``pck`` is the share of supervised peaks within 5 % of the heatmap's height."""
    value = loss.item()
    if not math.isfinite(value):
        raise InputError(
            f"the loss is {value} at step {step}",
            remedy="Lower the learning rate, or train with precision fp32.",
        )
    drawn = (weights > 0) & (targets.amax(dim=(2, 3)) > 0)
    error = (decode(heatmaps.float(), "plain").xy - decode(targets, "plain").xy).norm(dim=-1)
    near = (error < 0.05 * targets.shape[2]) & drawn
    return {
        "step": step,
        "loss": value,
        "pck": near.sum().item() / max(drawn.sum().item(), 1),
        "learning_rate": max(group["lr"] for group in optimizer.param_groups),
        "crops_per_second": rate,
    }


@contextmanager
def _metrics(out: Path, start: int) -> Iterator[Any]:
    """Append lines to metrics.jsonl, after dropping those of steps that will be done again."""
    path = out / METRICS
    lines = path.read_text().splitlines() if path.is_file() else []
    kept = [line for line in lines if json.loads(line)["step"] <= start]
    path.write_text("".join(f"{line}\n" for line in kept))
    with path.open("a") as file:

        def write(record: dict[str, Any]) -> None:
            file.write(json.dumps(record) + "\n")
            file.flush()

        yield write


def _save_state(out: Path, model: ViTPose, optimizer: torch.optim.Optimizer, step: int) -> None:
    temporary = out / f".{STATE}.{os.getpid()}.tmp"
    torch.save({"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, temporary)
    temporary.replace(out / STATE)


def _resume(out: Path, model: ViTPose, optimizer: torch.optim.Optimizer) -> int:
    path = out / STATE
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"belongs to another network: {error}",
            subject=str(path),
            remedy="Give another --out, or --overwrite.",
        ) from error
    return int(state["step"])


def _seed(seed: int, step: int) -> int:
    return (seed * 1_000_003 + step) % 2**63
