"""What a GPU computes again and again for other numbers of the same shapes, recorded once and played.

A network is hundreds of small programs for the GPU, and Python starts them one by one, which for a small network takes
longer than they do. A CUDA graph starts them all at once.
"""

import gc
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

_WARMING = 3
"""Calls before it is recorded: what is made on a first call, such as workspaces and constants, is there then."""


class Graphed:
    """A function of tensors on a GPU, whose shapes are those of its first call for ever.

    What cannot be recorded, because something in it waits for the GPU, is called as it is, after a warning.

    Args:
        function: Launches work on the GPU; gives tensors, all of which are overwritten by the next call. So whatever
            reads them has to be launched before that, in the same stream. What it reads besides its arguments, such as
            a network's weights, has to stay where it is.
        device: The GPU.

    Attributes:
        recorded: Whether it could be recorded; False before the first call too.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], device: torch.device) -> None:
        self.recorded = False
        self._function, self._device = function, device
        self._play: Callable[[], tuple[Tensor, ...]] | None = None
        self._given: tuple[Tensor, ...] = ()

    def __call__(self, *given: Tensor) -> tuple[Tensor, ...]:
        """What the function gives, of tensors on any device."""
        with torch.cuda.device(self._device):
            play = self._play or self._ready(given)
            for own, new in zip(self._given, given, strict=True):
                own.copy_(new, non_blocking=True)
            return play()

    def _ready(self, given: tuple[Tensor, ...]) -> Callable[[], tuple[Tensor, ...]]:
        """What computes the function of ``_given``."""
        cuda = cast("Any", torch.cuda)
        self._given = tuple(tensor.to(self._device, copy=True) for tensor in given)
        beside = cuda.Stream()
        beside.wait_stream(cuda.current_stream())
        with cuda.stream(beside):
            for _ in range(_WARMING):
                self._function(*self._given)
        cuda.current_stream().wait_stream(beside)
        try:
            graph, made = self._record(beside)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            warnings.warn(f"the GPU's work is not recorded, which costs time: {said[0]}", stacklevel=2)
            self._play = lambda: self._function(*self._given)
            return self._play

        def play() -> tuple[Tensor, ...]:
            graph.replay()
            return made

        self.recorded, self._play = True, play
        return play

    def _record(self, stream: Any) -> tuple[Any, tuple[Tensor, ...]]:
        """The recording, and where it leaves what it makes.

        In the stream of the warming up: torch's own for recordings is shared by all of them, and with it a workspace
        that goes when one of them does. A graph that the garbage collector finds meanwhile would spoil the recording,
        so it looks before. Another thread may be cutting crops, which is none of the recording's business.
        """
        cuda = cast("Any", torch.cuda)
        graph = cuda.CUDAGraph()
        gc.collect()
        # The outer one, because a recording that fails leaves its stream the current one.
        with cuda.stream(cuda.current_stream()), cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            made = self._function(*self._given)
        return graph, made
