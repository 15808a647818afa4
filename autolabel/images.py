"""What an image is: Pillow decides, and every other file is refused with a reason.

An image is read the same way everywhere: the first frame, 8 bits, RGB, upright. EXIF orientation is applied
here, once and for all, so that a coordinate means the same place in a manifest, in the browser and in the
network's crop. Like browsers and OpenCV we take it from the EXIF block alone and leave colour profiles aside.

A header is checked before pixels are decoded, so that a small file cannot ask for gigabytes of memory. What
decoders raise on hostile bytes becomes an :class:`ImageError`; its ``reason`` is a word to be counted.
"""

import io
import os
import stat
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from autolabel.errors import ImageError
from autolabel.image_faults import Reason, fault_of, misses_rows
from autolabel.stores import is_stored, read_stored

MAX_PIXELS = 120_000_000
"""Largest image that is decoded: what a 108-megapixel phone takes, 360 MB as RGB."""

MAX_BYTES = 2**30
"""Largest file that is read: twice such an image, uncompressed."""

REDUCTIONS = (8, 4, 2)
"""By how much a JPEG can be reduced while it is decoded, most first: a block of 8 x 8 gives 1, 4 or 16 pixels."""

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")
"""What is read, in Pillow's names. Formats that run other programs (EPS) are not among them."""

SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".tif", ".tiff"),
        *(".bmp", ".gif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".jxl"),
        *(".dng", ".nef", ".arw", ".cr2", ".cr3", ".raf", ".orf", ".rw2", ".pef", ".srw"),
    }
)
"""File names that promise an image; what is not read (HEIC, JPEG XL, cameras' raw files) is among them so that it is
refused aloud and not passed over."""

SNIFF_BYTES = 32
"""How much of a file's beginning :func:`looks_like_image` needs."""

_MAGIC = (
    b"\xff\xd8\xff",
    *(b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"),
    *(b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
    *(b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
)
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_UNREAD = (
    (4, b"ftypcrx", "a camera's raw file (CR3)"),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw file (RAF)"),
    (0, b"II\x55\x00", "a camera's raw file (RW2)"),
    (0, b"IIRO", "a camera's raw file (ORF)"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
)
"""Formats that are known and not read: where their mark is, the mark, and what they are called."""

_ORIENTATION = 0x0112
_SUBFILE = 0x00FE
_PHOTOMETRIC = 0x0106
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation (CIPA DC-008, table 6); 1 and unknown values ask for nothing."""

# Pillow warns of odd metadata and of images over 89 megapixels; what matters of it is an ImageError here.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class ImageInfo:
    """What is known of an image without its pixels.

    Attributes:
        size: (width, height) after EXIF orientation.
        format: Pillow's name of the file format, such as ``JPEG``.
        orientation: The EXIF orientation that was undone, 1 to 8.
    """

    size: tuple[int, int]
    format: str
    orientation: int


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read an image file.

    16-bit images keep their upper 8 bits, transparent ones are laid on white as in a browser, animations give
    their first frame.

    Args:
        path: The file.
        max_pixels: Larger images are refused before they are decoded.

    Returns:
        (H, W, 3) uint8 RGB, upright, writable.

    Raises:
        ImageError: It cannot be read; ``reason`` says why.
    """
    return decode_image(read_bytes(path), subject=str(path), max_pixels=max_pixels)


def decode_image(data: bytes, *, subject: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The image in a file's bytes as :func:`read_image` gives it; ``subject`` is what errors call it.

    Raises:
        ImageError: It cannot be decoded; ``reason`` says why.
    """
    return decode_reduced(data, 1, subject=subject, max_pixels=max_pixels)[1]


def decode_reduced(
    data: bytes, by: int, *, subject: str, max_pixels: int = MAX_PIXELS
) -> tuple[tuple[int, int], NDArray[np.uint8], int]:
    """The image in a file's bytes, at a fraction of its size if it is a JPEG; damage is found all the same.

    Args:
        data: The whole file.
        by: One of ``REDUCTIONS``, or 1.
        subject: What errors call it.
        max_pixels: Larger images, before they are reduced, are refused.

    Returns:
        (width, height) of the image itself; (h, w, 3) uint8 RGB, upright; by how much that is reduced.

    Raises:
        ImageError: It cannot be decoded; ``reason`` says why.
    """
    image = _opened(io.BytesIO(data), subject, max_pixels)
    info, (width, height), reduced = _info(image), image.size, 1
    # Turned, an image whose last pixels are the mean of fewer would begin with them.
    even = not (width % by or height % by) or info.orientation == 1
    if by > 1 and image.format == "JPEG" and even and min(width, height) >= by:
        image.draft(None, (width // by, height // by))
        reduced = by
    return info.size, np.array(_upright(_rgb(_loaded(image, data, subject), subject), info.orientation)), reduced


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) after EXIF orientation, from the header alone.

    Raises:
        ImageError: It is not an image, or its header is damaged; damaged pixels are not noticed.
    """
    subject = str(path)
    try:
        _require_regular(path)
        with Path(path).open("rb") as file:
            return _info(_opened(file, subject, None)).size
    except OSError as error:
        raise access_error(error, subject) from error


def probe(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Size, format and orientation of an image whose every pixel could be decoded.

    Raises:
        ImageError: It cannot be read; ``reason`` says why.
    """
    data, subject = read_bytes(path), str(path)
    image = _opened(io.BytesIO(data), subject, max_pixels)
    info = _info(image)
    _rgb(_loaded(image, data, subject), subject)
    return info


def decode_thumbnail(
    data: bytes, side: int, *, subject: str, max_pixels: int = MAX_PIXELS
) -> tuple[ImageInfo, NDArray[np.uint8]]:
    """A small grey square of the whole image, and proof that the file can be decoded.

    JPEGs are decoded at the smallest scale that suffices: all coded data are still read, so that truncation
    is found, in a fraction of the time.

    Returns:
        What the image is, and (side, side) uint8 luminance, upright, the aspect ratio given up.

    Raises:
        ImageError: It cannot be decoded; ``reason`` says why.
    """
    image = _opened(io.BytesIO(data), subject, max_pixels)
    info = _info(image)
    image.draft("L", (side, side))
    loaded = _loaded(image, data, subject)
    grey = loaded if loaded.mode == "L" else _rgb(loaded, subject).convert("L")
    small = grey.resize((side, side), Image.Resampling.BILINEAR)
    return info, np.asarray(_upright(small, info.orientation))


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file, or of an object in a store, not empty and not more than ``MAX_BYTES``.

    Raises:
        ImageError: It cannot be read; ``reason`` says why.
        LostServerError: A store does not answer.
    """
    subject = str(path)
    try:
        data = read_stored(path, MAX_BYTES) if is_stored(path) else _read_file(path)
    except OSError as error:
        raise access_error(error, subject) from error
    if not data:
        raise ImageError("is empty", reason=Reason.EMPTY, subject=subject)
    return data


def _read_file(path: str | Path) -> bytes:
    if (size := _require_regular(path)) <= MAX_BYTES:
        return Path(path).read_bytes()
    raise ImageError(f"{size} bytes, more than {MAX_BYTES}", reason=Reason.TOO_LARGE, subject=str(path))


def looks_like_image(head: bytes) -> bool:
    """Whether a file that begins with these ``SNIFF_BYTES`` bytes claims to be an image."""
    if head.startswith(_MAGIC):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    return head[4:8] == b"ftyp" and (head[8:12] in (b"avif", b"avis") or _is_heic(head))


def access_error(error: OSError, subject: str) -> ImageError:
    """What the operating system said about a file, as an :class:`ImageError` with its reason."""
    reason = Reason.UNREADABLE
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        reason = Reason.VANISHED
    elif isinstance(error, PermissionError):
        reason = Reason.NO_PERMISSION
    return ImageError(f"cannot be read: {error.strerror or error}", reason=reason, subject=subject)


def _require_regular(path: str | Path) -> int:
    """The file's size; a pipe or a device would block for ever."""
    status = os.stat(path)  # noqa: PTH116 - Path.stat refuses nothing more, and costs more a million times
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("is not a regular file", reason=Reason.NOT_A_FILE, subject=str(path))
    return status.st_size


def _opened(file: IO[bytes], subject: str, max_pixels: int | None) -> Image.Image:
    """The image with its header read and checked, its pixels not yet decoded."""
    try:
        image = Image.open(file, formats=_formats())
    except UnidentifiedImageError as error:
        raise _unidentified(file, subject) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(str(error), reason=Reason.TOO_LARGE, subject=subject) from error
    except Exception as error:  # plugins raise whatever their parsers stumble over
        file.seek(0)
        raise _undecodable(error, file.read(MAX_BYTES), subject) from error
    if image.format == "TIFF" and int(_tag(image, _SUBFILE) or 0) & 1:
        # Raw files of most cameras are TIFFs whose first picture is a preview, of another size than the photograph.
        raise _not_read("a TIFF that begins with a preview (a camera's raw file)", subject)
    width, height = image.size
    if max_pixels is not None and width * height > max_pixels:
        raise ImageError(
            f"{width} x {height} pixels, more than the {max_pixels} that are decoded",
            reason=Reason.TOO_LARGE,
            subject=subject,
            remedy="Raise max_pixels if the file can be trusted.",
        )
    return image


@cache
def _formats() -> tuple[str, ...]:
    """Those of ``FORMATS`` that this Pillow has: asking it for another would be an error."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _loaded(image: Image.Image, data: bytes, subject: str) -> Image.Image:
    try:
        image.load()
        incomplete = image.format == "PNG" and _ends_black(image) and misses_rows(data)
    except Exception as error:  # plugins raise whatever their decoders stumble over
        raise _undecodable(error, data, subject) from error
    if incomplete:
        raise ImageError("the pixels end before the last row", reason=Reason.TRUNCATED, subject=subject)
    return image


def _ends_black(image: Image.Image) -> bool:
    """Whether the last row is all zeros: what a decoder leaves where pixels are missing, and cheaper to ask first."""
    width, height = image.size
    return not any(image.crop((0, height - 1, width, height)).tobytes())


def _info(image: Image.Image) -> ImageInfo:
    orientation = _orientation(image)
    width, height = image.size
    return ImageInfo((height, width) if orientation >= 5 else (width, height), image.format or "", orientation)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation; 1 where there is none, where the block is damaged, and of TIFFs: Pillow turns them."""
    block = image.info.get("exif")
    if not block:
        return 1
    exif = Image.Exif()
    try:
        exif.load(block)
        value = exif.get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - damaged metadata of a sound image; the parser raises anything
        return 1
    return value if value in _UPRIGHT else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _rgb(image: Image.Image, subject: str) -> Image.Image:
    """Any pixel format as 8-bit RGB."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        # The full 16-bit range rather than the brightest pixel: a picture must not depend on its contents.
        eight = (np.asarray(image).astype(np.int32) >> 8).clip(0, 255).astype(np.uint8)
        if _white_is_zero(image):
            eight = 255 - eight
        return Image.fromarray(eight).convert("RGB")
    if image.mode in ("I", "F"):
        raise ImageError(
            "32-bit pixels have no agreed white",
            reason=Reason.UNSUPPORTED,
            subject=subject,
            remedy="Convert it to 8 or 16 bits.",
        )
    try:
        if image.has_transparency_data:
            transparent = image.convert("RGBA")
            page = Image.new("RGBA", image.size, "white")
            return Image.alpha_composite(page, transparent).convert("RGB")
        return image.convert("RGB")
    except (ValueError, OSError) as error:
        raise ImageError(f"pixel format {image.mode}: {error}", reason=Reason.UNSUPPORTED, subject=subject) from error


def _white_is_zero(image: Image.Image) -> bool:
    """Whether a TIFF counts its greys from white (TIFF 6.0, PhotometricInterpretation); Pillow heeds it at 8 bits."""
    return image.format == "TIFF" and _tag(image, _PHOTOMETRIC) == 0


def _tag(image: Image.Image, number: int) -> Any:
    """A field of a TIFF, None where it has none."""
    tags: Any = getattr(image, "tag_v2", {})
    return tags.get(number)


def _not_read(name: str, subject: str) -> ImageError:
    return ImageError(
        f"{name} is not read", reason=Reason.UNSUPPORTED, subject=subject, remedy="Convert it to JPEG or PNG."
    )


def _is_heic(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS


def _unidentified(file: IO[bytes], subject: str) -> ImageError:
    file.seek(0)
    head = file.read(SNIFF_BYTES)
    if not head:
        return ImageError("is empty", reason=Reason.EMPTY, subject=subject)
    if unread := "HEIC" if _is_heic(head) else next((n for at, m, n in _UNREAD if head[at:].startswith(m)), ""):
        return _not_read(unread, subject)
    file.seek(0)
    if found := fault_of(file.read(MAX_BYTES)):
        reason, message = found
        return ImageError(message, reason=reason, subject=subject)
    if looks_like_image(head):
        return ImageError("the header is cut off or damaged", reason=Reason.DAMAGED, subject=subject)
    return ImageError("is not an image", reason=Reason.NOT_AN_IMAGE, subject=subject)


def _undecodable(error: Exception, data: bytes, subject: str) -> ImageError:
    if found := fault_of(data):
        return ImageError(found[1], reason=found[0], subject=subject)
    told = str(error).lower()
    cut = isinstance(error, EOFError) or "truncated" in told
    reason = Reason.TRUNCATED if cut else Reason.TOO_LARGE if "too large" in told else Reason.DAMAGED
    return ImageError(f"cannot be decoded: {error or type(error).__name__}", reason=reason, subject=subject)
