"""Training: one loop for supervised training and fine-tuning.

Step ``n`` depends on the recipe, the data and ``n`` alone (its samples, its random crops, its learning rate), so that
a run that was killed goes on from its last saved state as if nothing had happened. The result is a checkpoint folder;
beside it stand ``metrics.jsonl``, one line every few steps, and ``state.pt`` while unfinished.
"""

import json
import math
import os
import pickle
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from zipfile import is_zipfile

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from pydantic import Field
from timm.optim import param_groups_layer_decay  # pyright: ignore[reportPrivateImportUsage]  (it is public)
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader

from autolabel.errors import CheckpointError, WorkError
from autolabel.manifest import Manifest, write_text
from autolabel.poses import Visibility
from autolabel.progress import SILENT, Progress
from autolabel.settings import Settings
from model.augment import Augmentation, absent_targets, augment
from model.checkpoint import save_model
from model.data import CACHE_BYTES, MixedBatches, PoseBatch, PoseCrops
from model.device import Device, Precision, pick_device, pick_precision
from model.heatmap import decode, encode
from model.losses import heatmap_mse
from model.vitpose import ViTPose

METRICS = "metrics.jsonl"
STATE = "state.pt"

PCK_SHARE = 0.05
"""``pck`` counts peaks within this share of the heatmap's height."""

_CROPS, _DEPTH = 0, 1  # streams of random numbers that know nothing of one another


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

    steps: int = Field(default=5000, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    weight_decay: float = Field(default=0.1, ge=0)
    warmup_steps: int = Field(default=500, ge=0)
    grad_clip: float = Field(default=1.0, gt=0)
    precision: Precision = "auto"
    device: Device = "auto"
    seed: int = Field(default=0, ge=0)
    workers: int = Field(default=0, ge=0)
    log_every: int = Field(default=50, ge=1)
    save_every: int = Field(default=500, ge=1)
    augmentation: Augmentation = Augmentation()

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0: linear warm-up, then half a cosine to zero."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        turn = (step - self.warmup_steps) / (self.steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * turn))


@dataclass(frozen=True)
class Source:
    """Poses to train on, and their relative share of every batch."""

    manifest: Manifest
    share: float = 1.0


def train(
    model: ViTPose, sources: Sequence[Source], how: Training, out: Path, *, progress: Progress = SILENT
) -> dict[str, Any]:
    """Train a network in place and save it. Seeds torch's global random numbers.

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
        InputError: There is nothing to train on, or an image cannot be read.
        ConfigError: A device, precision or share that cannot be.
        CheckpointError: ``state.pt`` is damaged, or belongs to another network or recipe.
        WorkError: The loss is no longer finite.
    """
    for source in sources:
        model.skeleton.require_same(source.manifest.skeleton, str(source.manifest.path))
    crops = _crops(model, sources, how)
    accelerator = _accelerator(how)
    state = _State(out / STATE, model, make_optimizer(model, how), accelerator, how)
    out.mkdir(parents=True, exist_ok=True)
    start = state.restore()
    network, optimizer = accelerator.prepare(model.train(), state.optimizer)
    last: dict[str, Any] = {}
    attention = _attention(accelerator.device)
    with progress.task("train", how.steps, "step") as task, _metrics(out / METRICS, start) as write, attention:
        task.advance(start)
        clock = _Clock()
        for step, batch in zip(range(start, how.steps), _batches(crops, sources, how, start), strict=True):
            images, targets, weights = _drawn(batch.to(accelerator.device), model, how, step)
            # Stochastic depth draws from the global generator, which no earlier step may have a say in.
            torch.manual_seed(_seed(how.seed, step, _DEPTH))
            for group in optimizer.param_groups:
                group["lr"] = how.rate(step) * group["lr_scale"]
            heatmaps = network(images).float()
            loss = heatmap_mse(heatmaps, targets, weights)
            optimizer.zero_grad()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(network.parameters(), how.grad_clip)
            optimizer.step()
            done = step + 1
            if done % how.log_every == 0 or done == how.steps:
                last = {
                    "step": done,
                    "loss": _finite(loss, done),
                    "pck": _pck(heatmaps, targets, weights),
                    "learning_rate": how.rate(step),
                    "crops_per_second": how.batch_size * clock.rate(done - start),
                }
                write(last)
            task.advance(1, **{key: last[key] for key in ("loss", "pck") if key in last})
            if done % how.save_every == 0 and done < how.steps:
                _finite(loss, done)
                state.save(done)
    # Undoes what ``prepare`` did to the network's forward, which would stay in mixed precision for ever.
    accelerator.unwrap_model(network, keep_fp32_wrapper=False).eval()
    save_model(model, out, last)
    state.path.unlink(missing_ok=True)
    return last


def make_optimizer(model: ViTPose, how: Training) -> torch.optim.AdamW:
    """AdamW, with layer-wise learning rates and no decay of biases, norms and positions (``vitpose.md`` 4.2).

    Each parameter group's ``lr_scale`` is its layer's factor.
    """
    groups = param_groups_layer_decay(
        model,
        weight_decay=how.weight_decay,
        no_weight_decay_list=tuple(model.no_weight_decay()),
        layer_decay=how.layer_decay,
    )
    return torch.optim.AdamW(groups, lr=how.learning_rate, fused=True)


def _crops(model: ViTPose, sources: Sequence[Source], how: Training) -> PoseCrops:
    return PoseCrops(
        [source.manifest for source in sources],
        input_size=model.input_size,
        padding=model.config.box_padding,
        canvas_size=how.augmentation.canvas_size(model.input_size),
        cache_bytes=CACHE_BYTES // max(how.workers, 1),
    )


def _batches(crops: PoseCrops, sources: Sequence[Source], how: Training, start: int) -> Iterator[PoseBatch]:
    sampler = MixedBatches(
        crops.sizes,
        [source.share for source in sources],
        batch_size=how.batch_size,
        start=start,
        stop=how.steps,
        seed=how.seed,
    )
    return iter(DataLoader(crops, batch_size=None, sampler=sampler, num_workers=how.workers))


def _accelerator(how: Training) -> Accelerator:
    device = pick_device(how.device)
    precision = pick_precision(how.precision, device)
    # Accelerate keeps device and precision for the whole process and refuses others; a process may train twice.
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision="no" if precision == "fp32" else precision, cpu=device.type == "cpu")


def _attention(device: torch.device) -> AbstractContextManager[Any]:
    """Plain attention on the CPU, where the backward pass of the fused kernel takes 40 % of a small network's step."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _drawn(batch: PoseBatch, model: ViTPose, how: Training, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """The step's random crops (B, 3, H, W), and their targets (B, K, h, w) and weights (B, K)."""
    config = model.config
    images, xy, visibility = augment(
        batch,
        how.augmentation,
        model.skeleton,
        input_size=model.input_size,
        padding=config.box_padding,
        codec=config.codec,
        generator=torch.Generator().manual_seed(_seed(how.seed, step, _CROPS)),
    )
    labelled = (visibility == Visibility.VISIBLE) | (visibility == Visibility.HIDDEN)
    targets, weights = encode(
        xy,
        labelled.float(),
        input_size=model.input_size,
        heatmap_size=model.heatmap_size,
        codec=config.codec,
        sigma=config.heatmap_sigma,
    )
    return images, *absent_targets(targets, weights, visibility)


def _finite(loss: Tensor, step: int) -> float:
    """The loss as a number, if it is one: nothing is logged or saved after it is not."""
    value = loss.item()
    if not math.isfinite(value):
        raise WorkError(
            f"the loss is {value} at step {step}",
            subject="training",
            remedy="Lower the learning rate, or train with precision fp32.",
        )
    return value


@torch.no_grad()
def _pck(heatmaps: Tensor, targets: Tensor, weights: Tensor) -> float:
    """Share of the keypoints with a place whose highest cell is within ``PCK_SHARE`` of the heatmap's height."""
    placed = (weights > 0) & (targets.amax(dim=(2, 3)) > 0)
    error = (decode(heatmaps, "plain").xy - decode(targets, "plain").xy).norm(dim=-1)
    near = (error < PCK_SHARE * targets.shape[2]) & placed
    return near.sum().item() / max(placed.sum().item(), 1)


@dataclass(frozen=True, eq=False)
class _State:
    """What a stopped run goes on from, and where it lies."""

    path: Path
    model: ViTPose
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    how: Training

    def save(self, step: int) -> None:
        """Keep everything that the steps from ``step`` on depend on."""
        scaler = self.accelerator.scaler
        state = {
            "step": step,
            "identity": self._identity(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
        }
        temporary = self.path.with_name(f".{STATE}.{os.getpid()}.tmp")
        torch.save(state, temporary)
        temporary.replace(self.path)

    def restore(self) -> int:
        """The step to go on with; 0 where there is nothing to go on from.

        Raises:
            CheckpointError: It is damaged, or belongs to another network or recipe.
        """
        if not self.path.is_file():
            return 0
        if not is_zipfile(self.path):  # cut off, or no file of ``torch.save``
            raise self._refused("is damaged")
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError) as error:
            raise self._refused(f"is damaged: {error}") from error
        for part, value in self._identity().items():
            if state["identity"][part] != value:
                raise self._refused(f"belongs to another {part}")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        return int(state["step"])

    def _identity(self) -> dict[str, Any]:
        skeletons = [skeleton.fingerprint for skeleton in self.model.skeletons]
        network = {**self.model.config.model_dump(mode="json"), "skeletons": skeletons}
        return {"network": network, "recipe": self.how.model_dump(mode="json")}

    def _refused(self, reason: str) -> CheckpointError:
        return CheckpointError(reason, subject=str(self.path), remedy="Give another --out, or --overwrite.")


class _Write(Protocol):
    def __call__(self, record: dict[str, Any], /) -> None: ...


@contextmanager
def _metrics(path: Path, start: int) -> Generator[_Write]:
    """Append lines to ``metrics.jsonl``, after dropping those of steps that will be done again."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    whole = [line for line in lines if line.endswith("\n")]  # a kill can leave half a line
    write_text(path, "".join(line for line in whole if json.loads(line)["step"] <= start))
    with path.open("a", encoding="utf-8") as file:

        def write(record: dict[str, Any], /) -> None:
            file.write(json.dumps(record) + "\n")
            file.flush()

        yield write


class _Clock:
    """Counts how many steps a second were done since it was last asked."""

    def __init__(self) -> None:
        self._time = time.perf_counter()
        self._steps = 0

    def rate(self, steps: int) -> float:
        """Steps a second, given how many were done in all."""
        now = time.perf_counter()
        rate = (steps - self._steps) / (now - self._time)
        self._time, self._steps = now, steps
        return rate


def _seed(seed: int, step: int, stream: int) -> int:
    """A seed for torch, which takes 32 bits of it on the CPU: hashed, so that no two streams run in step."""
    return int(np.random.SeedSequence([seed, step, stream]).generate_state(1)[0])
