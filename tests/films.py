"""Small videos whose every frame shows its own number, for tests that ask which frame they were given.

A frame is a row of blocks, the number's bits, white or dark; a red block in the upper left corner and a blue one in
the upper right tell which way is up.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

BITS = 8
SIZE = (128, 64)

# The transformation matrices of a track header (ISO/IEC 14496-12, 8.3.2), a b c d, and what they do.
TURNS = {"90": (0, 1, -1, 0), "180": (-1, 0, 0, -1), "270": (0, -1, 1, 0), "mirrored": (-1, 0, 0, 1)}


def drawn(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """(H, W, 3) the frame of a number."""
    width, height = size
    pixels = np.full((height, width, 3), 128, np.uint8)
    block = width // BITS
    for bit in range(BITS):
        pixels[height // 2 :, bit * block : (bit + 1) * block] = 230 if number >> bit & 1 else 25
    pixels[: height // 2, : width // 4] = (220, 30, 30)
    pixels[: height // 2, -width // 4 :] = (30, 30, 220)
    return pixels


def number_of(pixels: NDArray[np.uint8]) -> int:
    """The number that a frame shows; an AssertionError when it is not upright."""
    height, width = pixels.shape[:2]
    corner, other = pixels[height // 4, width // 8].astype(int), pixels[height // 4, -width // 8].astype(int)
    assert corner[0] > 150 > 100 > corner[2], f"no red in the upper left: {corner}"
    assert other[2] > 150 > 100 > other[0], f"no blue in the upper right: {other}"
    block = width / BITS
    row = pixels[height * 3 // 4, :, 1]
    return sum((int(row[int((bit + 0.5) * block)]) > 128) << bit for bit in range(BITS))


def film(
    path: Path,
    numbers: Iterable[int] = range(20),
    *,
    codec: str = "libx264",
    sizes: Sequence[tuple[int, int]] = (SIZE,),
    times: Sequence[int] | None = None,
    gop: int = 6,
    **options: str,
) -> Path:
    """Write a video at 25 frames a second, or with frame i shown at ``times[i]`` / 1000 seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = sizes[0]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = gop
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(drawn(number, sizes[0]), "rgb24")
            frame.pts = i if times is None else times[i]
            frame.time_base = Fraction(1, 25) if times is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def sound(path: Path) -> Path:
    """A file of a video's name that holds only sound."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turned(path: Path, turn: str) -> Path:
    """The same MP4 with another display matrix in its track header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 65536 for value in TURNS[turn])
    matrix = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4")
    data[at : at + 36] = matrix.tobytes()
    turned = path.with_name(f"{turn}.mp4")
    turned.write_bytes(data)
    return turned
