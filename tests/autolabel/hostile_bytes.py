"""What hostile images are built of: a picture of six colours, and files of it that no encoder at hand would write."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BLOCK = 16
COLOURS = np.array(
    [[(230, 20, 20), (20, 200, 20), (20, 20, 230)], [(240, 240, 20), (20, 220, 220), (120, 20, 120)]], np.uint8
)
GREYS = np.array([[30, 90, 150], [210, 250, 0]], np.uint8)
SIZE = (3 * BLOCK, 2 * BLOCK)


def picture(colours: NDArray[np.uint8] = COLOURS) -> Image.Image:
    return Image.fromarray(colours.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1))


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def jpeg(image: Image.Image | None = None, **options: Any) -> bytes:
    return encoded(image or picture(), "JPEG", **{"quality": 95, "subsampling": 0, **options})


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def inserted(data: bytes, *segments: bytes) -> bytes:
    """The JPEG with segments after its first two bytes."""
    return data[:2] + b"".join(segments) + data[2:]


def frame_header(data: bytes) -> int:
    """Where the body of a JPEG's SOF segment begins: precision, height, width, components."""
    at = 2
    while not 0xC0 <= data[at + 1] <= 0xC2:
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return at + 4


def patched(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at + len(piece) :]


def cmyk(colours: NDArray[np.uint8] = COLOURS) -> Image.Image:
    """Inks without black: each is what its colour lacks."""
    inks = np.concatenate([255 - colours, np.zeros((2, 3, 1), np.uint8)], axis=2)
    return Image.fromarray(inks.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1), "CMYK")


def ycck() -> bytes:
    """Adobe's YCCK: what is stored as Y, Cb, Cr is the amount of ink, inverted like K; APP14 says so with a 2."""
    inks = np.asarray(cmyk())
    ycc = np.asarray(Image.fromarray(np.ascontiguousarray(inks[..., :3])).convert("YCbCr"))
    stored = np.concatenate([255 - ycc, inks[..., 3:]], axis=2)  # Pillow inverts all four once more
    data = encoded(Image.fromarray(stored, "CMYK"), "JPEG", quality=97, subsampling=0)
    return patched(data, data.index(b"Adobe") + 11, b"\x02")


def arithmetic() -> bytes:
    """An arithmetic-coded grey JPEG of one block, whose DC coefficient is one step of 255: 128 + 255 / 8 everywhere.

    Coded by ITU-T T.81, annex D, from four decisions, each the first in its context: the DC difference is not zero,
    not negative, not above 1; the block ends (F.1.4).
    """
    return (
        b"\xff\xd8"
        + segment(0xDB, b"\x00" + b"\xff" * 64)
        + segment(0xC9, struct.pack(">BHHB", 8, 8, 8, 1) + b"\x01\x11\x00")
        + segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")
        + _arithmetically_coded([1, 0, 0, 1])
        + b"\xff\xd9"
    )


def _arithmetically_coded(decisions: Sequence[int]) -> bytes:
    """Decisions that each meet an untouched context: Qe = 0x5A1D, the more probable symbol 0 (T.81, figures D.1 to 15).

    No carry reaches a byte that is already out for the few decisions that are coded here.
    """
    qe = 0x5A1D
    a, c, ct = 0x10000, 0, 11
    out = bytearray()

    def byte_out() -> None:
        nonlocal c, ct
        temp = c >> 19
        assert temp < 0xFF
        out.append(temp)
        c &= 0x7FFFF
        ct = 8

    for decision in decisions:
        a -= qe
        larger = a < qe  # the less probable symbol has the larger part: they change places
        if decision == (0 if larger else 1):
            c += a
            a = qe
        while a < 0x8000:
            a <<= 1
            c <<= 1
            ct -= 1
            if ct == 0:
                byte_out()
    top = (c + a - 1) & ~0xFFFF
    c = top + 0x8000 if top < c else top
    c <<= ct
    byte_out()
    c <<= ct
    byte_out()
    return bytes(out).rstrip(b"\x00")


EDGES = {  # which shown edge the stored row 0 and column 0 are (CIPA DC-008, Orientation)
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored(orientation: int) -> Image.Image:
    """The picture as a camera that was held so stores it."""
    rows, columns = EDGES[orientation]
    shown = np.asarray(picture())
    if rows in ("left", "right"):
        shown = shown.swapaxes(0, 1)
        across, down = columns == "bottom", rows == "right"
    else:
        across, down = columns == "right", rows == "bottom"
    return Image.fromarray(np.ascontiguousarray(shown[:: -1 if down else 1, :: -1 if across else 1]))


def exif(orientation: int, **more: Any) -> bytes:
    """A block with nothing but an orientation, and whatever bytes follow."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + b"\0\0\0\0" + more.get("after", b"")


PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes, *, crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) if crc is None else crc)
    )


def header(size: tuple[int, int], depth: int, colour: int, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced))


def png(rows: bytes, *, size: tuple[int, int] = SIZE, depth: int = 8, colour: int = 2, before: bytes = b"") -> bytes:
    """A PNG of rows that begin with their filter."""
    return PNG + header(size, depth, colour) + before + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def unfiltered(pixels: NDArray[Any]) -> bytes:
    """Rows of big-endian pixels, each after a zero for "no filter"."""
    rows = pixels.reshape(pixels.shape[0], -1)
    raw = rows.astype(rows.dtype.newbyteorder(">")).view(np.uint8).reshape(len(rows), -1)
    return np.concatenate([np.zeros((len(rows), 1), np.uint8), raw], axis=1).tobytes()


def interlaced() -> bytes:
    """Adam7 (PNG specification, 8.2)."""
    pixels = np.asarray(picture())
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(unfiltered(np.ascontiguousarray(pixels[y::dy, x::dx])) for y, x, dy, dx in starts)
    return PNG + header(SIZE, 8, 2, 1) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(changes: dict[int, int], data: bytes = b"\0" * 10, *, order: str = "<", next_ifd: int = 0) -> bytes:
    """An uncompressed RGB TIFF of one strip, with some of its fields changed."""
    width, height = changes.get(256, 8), changes.get(257, 8)
    fields = {256: width, 257: height, 258: 8, 259: 1, 262: 2, 273: 0, 277: 3, 278: height, 279: len(data), **changes}
    start = 8 + 2 + 12 * len(fields) + 4
    deep = struct.pack(order + "HHH", *[fields[258]] * 3)
    fields[273] = start + len(deep)
    entries = b""
    for tag, value in sorted(fields.items()):
        if tag == 258 and fields[277] == 3:
            entries += struct.pack(order + "HHII", tag, 3, 3, start)
        else:
            entries += struct.pack(order + "HHII", tag, 4, 1, value)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8) + struct.pack(order + "H", len(fields))
    return head + entries + struct.pack(order + "I", next_ifd) + deep + data


def tiff_with_orientation(image: Image.Image, orientation: int) -> bytes:
    return tiff({256: image.width, 257: image.height, 274: orientation}, image.tobytes())


def rle_bmp() -> bytes:
    """Run-length coded, with a palette; its last row is stored first."""
    palette = np.concatenate([COLOURS.reshape(-1, 3)[:, ::-1], np.zeros((6, 1), np.uint8)], axis=1).tobytes()
    rows = [bytes([BLOCK, 3 * r, BLOCK, 3 * r + 1, BLOCK, 3 * r + 2, 0, 0]) for r in (1, 0) for _ in range(BLOCK)]
    data = b"".join(rows)[:-2] + b"\0\1"
    info = struct.pack("<IiiHHIIiiII", 40, *SIZE, 1, 8, 1, len(data), 0, 0, 6, 0)
    offset = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + palette + data


def top_down_bmp() -> bytes:
    rows = np.ascontiguousarray(np.asarray(picture())[..., ::-1]).tobytes()
    info = struct.pack("<IiiHHIIiiII", 40, SIZE[0], -SIZE[1], 1, 24, 0, len(rows), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + info + rows
