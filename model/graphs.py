"""What a GPU computes again and again for other numbers of the same shapes, recorded once and played.

A network is hundreds of small programs for the GPU, and Python starts them one by one, which for a small network takes
longer than they do. A CUDA graph starts them all at once.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

_WARMING = 3
"""Calls before it is recorded: what is made on a first call, such as workspaces and constants, is there then."""


class Graphed:
    """A function of tensors on a GPU, whose shapes are those of its first call for ever.

    What cannot be recorded, because something in it waits for the GPU, is called as it is.

    Args:
        function: Launches work on the GPU; gives tensors, all of which are overwritten by the next call. So whatever
            reads them has to be launched before that, in the same stream.
        device: The GPU.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], device: torch.device) -> None:
        self._function, self._device = function, device
        self._play: Callable[[], tuple[Tensor, ...]] | None = None
        self._given: tuple[Tensor, ...] = ()

    def __call__(self, *given: Tensor) -> tuple[Tensor, ...]:
        """What the function gives, of tensors on any device."""
        with torch.cuda.device(self._device):
            play = self._play or self._recorded(given)
            for own, new in zip(self._given, given, strict=True):
                own.copy_(new, non_blocking=True)
            return play()

    def _recorded(self, given: tuple[Tensor, ...]) -> Callable[[], tuple[Tensor, ...]]:
        """What computes the function of ``_given``."""
        cuda = cast("Any", torch.cuda)
        self._given = tuple(tensor.to(self._device, copy=True) for tensor in given)
        beside = cuda.Stream()
        beside.wait_stream(cuda.current_stream())
        with cuda.stream(beside):
            for _ in range(_WARMING):
                self._function(*self._given)
        cuda.current_stream().wait_stream(beside)
        graph = cuda.CUDAGraph()
        try:
            # Another thread may be cutting crops meanwhile, which is none of the recording's business.
            with cuda.graph(graph, capture_error_mode="thread_local"):
                made = self._function(*self._given)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            self._play = lambda: self._function(*self._given)
            return self._play

        def play() -> tuple[Tensor, ...]:
            graph.replay()
            return made

        self._play = play
        return play
