"""Random numbers that belong to samples: the same whoever computes a sample, and with whom.

A step of training may be split between processes, and a process's part into slices that fit its memory. What is drawn
for a sample must not change with that, or neither could be tested against the whole. So the numbers of a step are
always drawn for all its samples, on the CPU, and each process takes its rows; a row costs a few bytes.
"""

import numpy as np
import torch
from torch import Tensor


class Draws:
    """The random numbers of some samples of one step.

    Every call draws anew; as long as the calls come in the same order, a sample's numbers depend on the seed, the step
    and its place in the step's batch alone.

    Args:
        seed: Of the run.
        step: Which step, from 0.
        total: Samples of the step, over all processes and slices.
        rows: Which of them are wanted.
        device: Where the numbers go.
    """

    def __init__(self, seed: int, step: int, total: int, rows: slice, device: torch.device | None = None) -> None:
        self._generator = torch.Generator().manual_seed(hashed(seed, step))
        self._total, self._rows, self._device = total, rows, device

    def __len__(self) -> int:
        """The number of samples, B."""
        return len(range(self._total)[self._rows])

    def uniform(self, count: int) -> Tensor:
        """(B, count) float32 in [0, 1)."""
        return self._there(torch.rand(self._total, count, generator=self._generator))

    def normal(self, count: int) -> Tensor:
        """(B, count) float32, mean 0 and standard deviation 1."""
        return self._there(torch.randn(self._total, count, generator=self._generator))

    def _there(self, drawn: Tensor) -> Tensor:
        # On a GPU without waiting for what is queued there.
        return drawn[self._rows].to(self._device, non_blocking=self._device is not None and self._device.type == "cuda")


def hashed(*numbers: int) -> int:
    """A seed for torch, which takes 32 bits of it on the CPU: hashed, so that no two streams run in step."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1)[0])
