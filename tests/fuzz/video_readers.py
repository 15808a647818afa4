"""Readers of films."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.fuzz.mutate import mutate_bytes
from tests.fuzz.target import Target, put

MAX_PIXELS = 250_000


def film(path: Path, codec: str, pixels: str = "yuv420p") -> bytes:
    """Six small frames."""
    import av

    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for _ in range(6):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (48, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


def video_seeds(folder: Path) -> list[bytes]:
    return [
        film(folder / "a.mp4", "mpeg4"),
        film(folder / "b.mkv", "ffv1"),
        film(folder / "c.avi", "mjpeg", "yuvj420p"),
    ]


def read_video(data: bytes, folder: Path) -> object:
    from autolabel.video import read_video as read

    return sum(1 for _ in read(put(data, folder, "x.mp4"), 2, max_pixels=MAX_PIXELS))


TARGETS: Mapping[str, Target] = {"video": Target(video_seeds, read_video, mutate_bytes)}
