"""What a masked autoencoder makes of hidden patches, as one picture: a person sees at a glance whether it has learnt.

A row has three panels a crop: what the network saw, what it filled in, and what was there.

A hidden patch's brightness and contrast are those of the original, because the network is not asked for them: what it
has learnt is the pattern within each patch.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GAP = 4
"""Pixels between panels, and twice that between crops."""

_PAPER = 255
_LARGE = 144  # pixels: smaller crops are enlarged by a whole number


def draw_reconstructions(
    masked: NDArray[np.uint8],
    reconstructed: NDArray[np.uint8],
    original: NDArray[np.uint8],
    *,
    columns: int = 2,
) -> bytes:
    """A PNG of some crops: for each, side by side, masked, reconstructed, original.

    Args:
        masked: (B, H, W, 3) RGB.
        reconstructed: The same.
        original: The same.
        columns: Crops beside each other.
    """
    count, height, width, _ = original.shape
    rows = -(-count // columns)
    cell = (height + GAP, 3 * width + 4 * GAP)
    paper = np.full((rows * cell[0] + GAP, min(columns, count) * cell[1], 3), _PAPER, np.uint8)
    for i in range(count):
        top, left = GAP + i // columns * cell[0], GAP + i % columns * cell[1]
        for panel, images in enumerate((masked, reconstructed, original)):
            start = left + panel * (width + GAP)
            paper[top : top + height, start : start + width] = images[i]
    factor = max(1, round(_LARGE / height))
    large = Image.fromarray(paper).resize((paper.shape[1] * factor, paper.shape[0] * factor), Image.Resampling.NEAREST)
    file = io.BytesIO()
    large.save(file, "PNG")
    return file.getvalue()
