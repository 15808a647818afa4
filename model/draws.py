"""Random numbers that belong to samples: the same whoever computes a sample, and with whom.

A step of training may be split between processes, and a process's part into slices that fit its memory. What is drawn
for a sample must not change with that, or neither could be tested against the whole. So the numbers of a step are
always drawn for all its samples, on the CPU, and each process takes its rows; a row costs a few bytes.

Where a sample is to be seen in the same way whenever it comes, its numbers may not depend on the step either: then they
are computed from its place among all examples (:class:`PlaceDraws`).
"""

import math
from copy import copy
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autolabel.errors import InputError


class RandomNumbers(Protocol):
    """The random numbers of B samples: every call draws anew, and the order of the calls belongs to the result."""

    def __len__(self) -> int:
        """The number of samples, B."""
        ...

    def uniform(self, count: int) -> Tensor:
        """(B, count) float32 in [0, 1)."""
        ...

    def normal(self, count: int) -> Tensor:
        """(B, count) float32, mean 0 and standard deviation 1."""
        ...

    def again(self) -> "RandomNumbers":
        """The same numbers from the start, for whoever else is to see what these drew."""
        ...


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

    Attributes:
        step: As given.
    """

    def __init__(self, seed: int, step: int, total: int, rows: slice, device: torch.device | None = None) -> None:
        self.step = step
        self._seed = hashed(seed, step)
        self._generator = torch.Generator().manual_seed(self._seed)
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

    def again(self) -> "Draws":
        """The same numbers from the start."""
        fresh = copy(self)
        fresh._generator = torch.Generator().manual_seed(self._seed)
        return fresh

    def _there(self, drawn: Tensor) -> Tensor:
        return _on(drawn[self._rows], self._device)


class PlaceDraws:
    """The random numbers of examples that are seen in the same way every time.

    A number depends on the seed, the example's place, how many calls came before and its column alone: never on the
    step, or on who else is in the batch. So nothing is a generator's state; each number is the hash of these four
    (the finaliser of SplitMix64, Steele, Lea and Flood, OOPSLA 2014, after each of them).

    Args:
        seed: Of all examples, from 0.
        places: (B,) int64, on the CPU, or they are waited for.
        device: Where the numbers go.

    Raises:
        InputError: The places are no list of whole numbers.
    """

    def __init__(self, seed: int, places: Tensor, device: torch.device | None = None) -> None:
        if places.ndim != 1 or places.dtype != torch.int64:
            raise InputError(f"must be (B,) int64, is {tuple(places.shape)} {places.dtype}", subject="places")
        start = np.random.SeedSequence(seed).generate_state(1, np.uint64).astype(np.uint64)
        self._samples = _stirred(start, places.cpu().numpy().astype(np.uint64))
        self._device, self._calls = device, 0

    def __len__(self) -> int:
        """The number of samples, B."""
        return len(self._samples)

    def uniform(self, count: int) -> Tensor:
        """(B, count) float32 in [0, 1), multiples of 2^-24."""
        return _on(torch.from_numpy(self._bits(count) * np.float32(2.0**-24)), self._device)

    def normal(self, count: int) -> Tensor:
        """(B, count) float32, mean 0 and standard deviation 1: uniform ones through the inverse of the distribution."""
        # Odd multiples of 2^-24 between -1 and 1, which float32 holds exactly; their ends lie at 5.4 deviations.
        middles = torch.from_numpy((2 * self._bits(count) + np.float32(1 - 2**24)) * np.float32(2.0**-24))
        return _on(math.sqrt(2) * torch.erfinv(middles), self._device)

    def again(self) -> "PlaceDraws":
        """The same numbers from the start."""
        fresh = copy(self)
        fresh._calls = 0
        return fresh

    def _bits(self, count: int) -> NDArray[np.float32]:
        """(B, count) whole numbers below 2^24, of one more call."""
        call = _stirred(self._samples, np.array([self._calls], np.uint64))
        self._calls += 1
        return (_stirred(call[:, None], np.arange(count, dtype=np.uint64)) >> np.uint64(40)).astype(np.float32)


def _on(drawn: Tensor, device: torch.device | None) -> Tensor:
    """On a GPU without waiting for what is queued there."""
    return drawn.to(device, non_blocking=device is not None and device.type == "cuda")


def _stirred(state: NDArray[np.uint64], number: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's number of that index (from 0) after a state, modulo 2^64; of arrays, as they broadcast."""
    mixed = state + (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def hashed(*numbers: int) -> int:
    """A seed for torch, which takes 32 bits of it on the CPU: hashed, so that no two streams run in step."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1)[0])
