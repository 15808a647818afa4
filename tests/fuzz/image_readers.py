"""Readers of pictures."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.fuzz.mutate import mutate_bytes
from tests.fuzz.target import Target

MAX_PIXELS = 4_000_000
"""Bound on decoding: images are fuzzed, not the machine's memory."""


def image_seeds(folder: Path) -> list[bytes]:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8)).resize((64, 48))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: Sequence[tuple[str, Image.Image, dict[str, Any]]] = [
        ("JPEG", picture, {"exif": exif}),
        ("JPEG", picture.convert("CMYK"), {"progressive": True}),
        ("PNG", picture.convert("P"), {"transparency": 3}),
        ("PNG", Image.fromarray(rng.integers(0, 2**16, (20, 20), np.uint16)), {}),
        ("GIF", picture, {"save_all": True, "append_images": [picture.rotate(90)]}),
        ("WEBP", picture, {"exif": exif}),
        ("TIFF", picture, {"compression": "tiff_lzw"}),
        ("TIFF", picture, {"compression": "jpeg"}),
        ("BMP", picture, {}),
        ("PPM", picture, {}),
        ("JPEG2000", picture, {}),
        ("AVIF", picture, {}),
    ]
    made: list[bytes] = []
    for kind, image, options in kinds:
        file = io.BytesIO()
        image.save(file, kind, **options)
        made.append(file.getvalue())
    return made


def read_image(data: bytes, folder: Path) -> object:
    from autolabel.images import decode_image, decode_thumbnail, looks_like_image

    looks_like_image(data[:32])
    decode_thumbnail(data, 16, subject="x", max_pixels=MAX_PIXELS)
    return decode_image(data, subject="x", max_pixels=MAX_PIXELS)


TARGETS: Mapping[str, Target] = {"image": Target(image_seeds, read_image, mutate_bytes)}
