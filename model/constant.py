"""Small fixed numbers as tensors, made once for each device.

Making a tensor of Python numbers on a GPU copies them there and waits for all work that was queued before. They are
kept for ever: what a GPU recorded reads them where they are.
"""

from functools import cache

import torch
from torch import Tensor


def constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Numbers as a tensor (n,) of the type and on the device of another one; not to be written to."""
    return _made(values, like.dtype, like.device)


@cache
def _made(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # Whoever asks first may be predicting, and who asks later training, which takes no tensors of inference mode.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
