"""Why a file is not used as an image, and what the file itself says where a decoder only says no.

Decoders give one message for many faults. The few bytes that tell them apart are read here: whether a container
says it is longer than the file, which kind of JPEG it is, whether a PNG has all its rows.
"""

import zlib
from enum import StrEnum
from mmap import mmap

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_LOSSLESS_OR_HIERARCHICAL = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_PIECE = 1 << 16


class Reason(StrEnum):
    """Why a file is not used as an image."""

    EMPTY = "empty"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    NOT_AN_IMAGE = "not an image"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too large"
    VANISHED = "vanished"
    NO_PERMISSION = "no permission"
    NOT_A_FILE = "not a file"
    UNREADABLE = "unreadable"
    BAD_NAME = "bad name"


def fault_of(data: bytes) -> tuple[Reason, str] | None:
    """What is wrong with a file that a decoder refused, as far as its own first words tell; None when they do not."""
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg_fault(data)
    if ends_early(data):
        return Reason.TRUNCATED, "the file ends before it says it does"
    return None


def misses_rows(data: bytes) -> bool:
    """Whether a PNG's compressed pixels end before its last row; decoders leave the rest black without a word.

    Args:
        data: The whole file, which a decoder took.
    """
    width, height, depth, colour = (
        int.from_bytes(data[16:20]),
        int.from_bytes(data[20:24]),
        data[24],
        data[25],
    )
    if data[28]:  # interlaced: seven small images, each with its own rows
        starts = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        passes = [(-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in starts]
    else:
        passes = [(width, height)]
    bits = depth * _PNG_CHANNELS.get(colour, 1)
    expected = sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in passes if columns > 0 and rows > 0)
    return _inflated(data, expected) < expected


def _inflated(data: bytes, enough: int) -> int:
    """How many bytes a PNG's pixels have when they are no longer compressed; counting stops at ``enough``."""
    stream, count, at = zlib.decompressobj(), 0, 8
    while at + 12 <= len(data) and count < enough:
        length = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            rest = data[at + 8 : at + 8 + length]
            while rest and not stream.eof and count < enough:
                count += len(stream.decompress(rest, _PIECE))
                rest = stream.unconsumed_tail
        at += 12 + length
    return count


def _jpeg_fault(data: bytes) -> tuple[Reason, str] | None:
    """What the frame header of a JPEG asks for that decoders lack (ITU-T T.81, B.2.2 and table B.1)."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAMES and at + 9 <= len(data):
            if data[at + 4] != 8:
                return Reason.UNSUPPORTED, f"a JPEG of {data[at + 4]} bits a sample"
            if not int.from_bytes(data[at + 5 : at + 7]):
                return Reason.UNSUPPORTED, "a JPEG whose height is stated after its pixels"
            if marker in _LOSSLESS_OR_HIERARCHICAL:
                return Reason.UNSUPPORTED, "a lossless or hierarchical JPEG"
            return None
        if marker in (0xD9, 0xDA):
            return None
        at += 2 + length
    return (Reason.TRUNCATED, "the file ends in its header") if at + 4 > len(data) else None


def ends_early(data: bytes | mmap) -> bool:
    """Whether a container (RIFF, or the boxes of ISO/IEC 14496-12 and 15444-1) says it is longer than the file."""
    if data[:4] == b"RIFF":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data[4:8] not in (b"ftyp", b"jP  "):
        return False
    at = 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16])
        if length == 0:
            return False  # to the end of the file, wherever that is
        at += max(length, 8)
    return at != len(data)
