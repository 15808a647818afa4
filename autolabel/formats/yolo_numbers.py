"""Pixels as parts of an image's width and height, in decimals that lead back to the very same pixels."""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal

import numpy as np
from numpy.typing import NDArray

from autolabel.formats.yolo_lines import edges

_DIGITS = 12
"""Up to here shorter decimals are tried; single precision seldom needs more than nine."""

_BOX_DIGITS = (6, 9, 12, 14, 16, 17, 18, 20, 24, 32)
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[])
_HALF = Decimal("0.5")


def fractions(pixels: NDArray[np.float32], sizes: NDArray[np.int64]) -> list[str]:
    """The shortest decimals d for which float32(d * size) is the pixel.

    Args:
        pixels: (M,) float32, finite.
        sizes: (M,) the image's width or height.
    """
    exact = pixels.astype(np.float64) / sizes
    best, pending = exact.copy(), np.arange(len(exact))
    for digits in range(_DIGITS + 1):
        rounded = np.round(exact[pending], digits)
        fits = (rounded * sizes[pending]).astype(np.float32) == pixels[pending]
        best[pending[fits]] = rounded[fits]
        pending = pending[~fits]
        if not len(pending):
            break
    return [plain(repr(value)) for value in best.tolist()]


def box_fields(box: Sequence[float], size: tuple[int, int]) -> tuple[list[str], bool]:
    """Centre x, centre y, width and height of a box as parts of the image.

    Args:
        box: xyxy, float64.
        size: Width and height.

    Returns:
        Four decimals, and whether they lead back to the very same edges. They do not where the box had to be cut
        because a number would lie outside 0..1, nor for edges a hair beside 0.
    """
    x, width, exact_x = _span(box[0], box[2], size[0])
    y, height, exact_y = _span(box[1], box[3], size[1])
    return [x, y, width, height], exact_x and exact_y


def plain(number: str) -> str:
    """A decimal without an exponent, without a point where it is whole."""
    text = f"{Decimal(number):f}" if "e" in number else number
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _span(low: float, high: float, size: int) -> tuple[str, str, bool]:
    """Centre and extent of an interval, and whether they lead back to its very ends."""
    cut = not (0 <= low + high <= 2 * size and high - low <= size)
    if cut:
        low, high = (min(max(end, 0.0), float(size)) for end in (low, high))
    # Rounded are the ends, so that one of them at 0 stays there.
    ends = [_EXACT.divide(Decimal(end), Decimal(size)) for end in (low, high)]
    centre = extent = Decimal(0)
    exact = False
    for digits in _BOX_DIGITS:
        step = Decimal(1).scaleb(-digits)
        first, last = (end.quantize(step, context=_EXACT) for end in ends)
        centre, extent = _EXACT.multiply(_EXACT.add(first, last), _HALF), _EXACT.subtract(last, first)
        exact = edges(centre, extent, size) == (low, high)
        if exact:
            break
    return plain(f"{centre:f}"), plain(f"{extent:f}"), exact and not cut
