"""Several processes that train one network, as ``accelerate launch`` starts them.

Each works on its rows of every batch (:mod:`model.train`). The first one also does what may be done only once: it
opens the run, writes files, and speaks to the user.
"""

import os
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import PartialState

from model.device import pick_device


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
    state = PartialState(cpu=pick_device(device).type == "cpu")
    return Processes(state.process_index, state.num_processes)
