"""Several processes that train one network, as ``accelerate launch`` starts them.

Each works on its rows of every batch (:mod:`model.train`). The first one also does what may be done only once: it
opens the run, writes files, and speaks to the user.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import Sampler

from model.batches import MixedBatches
from model.device import pick_device, pick_precision

PATIENCE = timedelta(hours=6)
"""How long processes wait for one another: the first one validates while the others wait."""


def leads() -> bool:
    """Whether this is the first process, or the only one; needs no connection to the others."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True)
class Processes:
    """All processes of a job.

    Attributes:
        rank: This one's number, from 0.
        count: How many there are.
    """

    rank: int
    count: int

    def told(self, value: Any) -> Any:
        """The first process' value, a small one, in every process."""
        if self.count == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box)
        return box[0]


def join(device: str) -> Processes:
    """Connect to the other processes of the job, if there are any.

    Args:
        device: As in the recipe; processes on CPUs talk through gloo, on GPUs through nccl.

    Raises:
        ConfigError: No such device.
    """
    state = PartialState(cpu=pick_device(device).type == "cpu", timeout=PATIENCE)
    return Processes(state.process_index, state.num_processes)


def accelerator_of(device: str, precision: str) -> Accelerator:
    """Accelerate for a training.

    Args:
        device: As in the recipe.
        precision: As in the recipe.

    Raises:
        ConfigError: A device or precision that cannot be.
    """
    chosen = pick_device(device)
    mixed = pick_precision(precision, chosen)
    # Accelerate keeps device and precision for the whole process and refuses others; a process may train twice.
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        mixed_precision="no" if mixed == "fp32" else mixed,
        cpu=chosen.type == "cpu",
        # Slices are ours to weigh; a user's ``accelerate config`` would divide the loss once more.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )


def plain_attention(device: torch.device) -> AbstractContextManager[Any]:
    """Plain attention on the CPU, where the backward pass of the fused kernel takes 40 % of a small network's step."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


@dataclass(frozen=True)
class OwnRows(Sampler[list[int]]):
    """Every ``ranks``-th place of each batch: a process' part, which holds its share of every source."""

    whole: MixedBatches
    rank: int
    ranks: int

    def __iter__(self) -> Iterator[list[int]]:
        return (places[self.rank :: self.ranks] for places in self.whole)

    def __len__(self) -> int:
        return len(self.whole)
