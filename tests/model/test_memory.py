"""Lack of memory is recognised, and answered with what would fit."""

import pytest
import torch

from model.memory import is_out_of_memory, largest_that_fits


def too_much() -> BaseException:
    """What torch raises on a CPU for more than any machine has."""
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    return error.value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (too_much(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_lack_of_memory_is_told_from_other_errors(error, expected) -> None:
    assert is_out_of_memory(error) == expected


@pytest.mark.parametrize(("room", "failed", "fits"), [(9, 16, 8), (3, 16, 2), (1, 5, 1), (0, 64, 0), (7, 1, 0)])
def test_the_largest_half_that_fits(room, failed, fits) -> None:
    tried = []

    def works(count: int) -> None:
        tried.append(count)
        if count > room:
            raise MemoryError

    assert largest_that_fits(works, failed) == fits
    assert tried == sorted(tried, reverse=True)


def test_other_errors_pass() -> None:
    def works(count: int) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        largest_that_fits(works, 8)
