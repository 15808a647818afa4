"""When memory does not suffice: recognising it, and finding out how much would fit."""

import gc
from collections.abc import Callable

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU (which torch reports as a RuntimeError)."""
    words = ("not enough memory", "out of memory", "allocate memory")  # Windows, GPUs, Linux
    said = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or said


def largest_that_fits(works: Callable[[int], None], failed: int) -> int:
    """The largest of ``failed / 2``, ``failed / 4``, ... that works; 0 if not even one does.

    Args:
        works: Does the work with so many rows, or raises.
        failed: What did not fit.

    Raises:
        Exception: What ``works`` raises besides lack of memory.
    """
    count = failed // 2
    while count:
        _free()
        try:
            works(count)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            count //= 2
        else:
            return count
        finally:
            _free()
    return 0


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
