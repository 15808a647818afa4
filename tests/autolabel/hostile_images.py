"""Hostile images, 191 of them, made byte by byte, each with what has to come of it.

Most show one picture: six blocks of colour, no two alike, so that the colour in the middle of each tells whether
a file is upright, whole and in the right colours. ``tests/autolabel/test_hostile_images.py`` reads them all.
``python -m tests.autolabel.hostile_sheet FOLDER`` writes them out, with a picture of how each is read.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autolabel.images import Reason
from tests.autolabel.hostile_bytes import (
    BLOCK,
    COLOURS,
    EDGES,
    GREYS,
    PNG,
    SIZE,
    arithmetic,
    chunk,
    cmyk,
    encoded,
    exif,
    frame_header,
    header,
    inserted,
    interlaced,
    jpeg,
    patched,
    picture,
    png,
    rle_bmp,
    segment,
    stored,
    tiff,
    tiff_with_orientation,
    top_down_bmp,
    unfiltered,
    ycck,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Hostile:
    """A file and what has to come of it.

    Attributes:
        name: The file's name.
        data: Its bytes.
        reason: Why it is set aside; None where it is read.
        size: (width, height) of what is read.
        blocks: (R, C, 3) the colours in the middles of R rows of C equal blocks of what is read.
        tolerance: How far a colour may be off.
        detail: What the message of a file that is set aside contains.
    """

    name: str
    data: bytes
    reason: Reason | None = None
    size: tuple[int, int] = SIZE
    blocks: NDArray[np.uint8] | None = None
    tolerance: int = 0
    detail: str = ""


def read(name: str, data: bytes, blocks: Any = COLOURS, *, size: tuple[int, int] = SIZE, tolerance: int = 0) -> Hostile:
    """A file that is read; ``blocks`` are colours or greys."""
    colours = np.asarray(blocks, np.uint8)
    if colours.ndim == 2:
        colours = colours[..., None].repeat(3, axis=2)
    return Hostile(name, data, None, size, colours, tolerance)


def refused(name: str, data: bytes, reason: Reason, detail: str = "") -> Hostile:
    return Hostile(name, data, reason, detail=detail)


def hostile_images() -> list[Hostile]:
    """All of them, in the order of their names."""
    kinds = (_jpegs(), _exif(), _pngs(), _bombs(), _tiffs(), _gifs(), _others(), _shapes(), _no_images())
    return sorted((item for kind in kinds for item in kind), key=lambda item: item.name)


# JPEG

JPEG_TOLERANCE = 14


def _jpegs() -> Iterator[Hostile]:
    near = {"tolerance": JPEG_TOLERANCE}
    plain = jpeg()
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8))
    long, progressive = jpeg(noise), jpeg(noise, progressive=True)
    grey = Image.fromarray(np.asarray(picture(GREYS)))
    sof = frame_header(plain)
    yield read("jpeg-baseline.jpg", plain, **near)
    yield read("jpeg-progressive.jpg", jpeg(progressive=True), **near)
    yield read("jpeg-subsampled.jpg", jpeg(subsampling=2), tolerance=40)
    yield read("jpeg-restart-markers.jpg", jpeg(restart_marker_blocks=1), **near)
    yield read("jpeg-stored-as-rgb.jpg", jpeg(keep_rgb=True), **near)
    yield read("jpeg-grey-with-profile.jpg", jpeg(grey, icc_profile=b"\x00" * 128), GREYS, **near)
    yield read("jpeg-damaged-profile.jpg", jpeg(icc_profile=b"not a profile"), **near)
    yield read("jpeg-arithmetic.jpg", arithmetic(), [[160]], size=(8, 8))
    yield read("jpeg-cmyk-adobe.jpg", jpeg(cmyk()), **near)
    yield read("jpeg-ycck-adobe.jpg", ycck(), **near)
    yield read("jpeg-trailing-garbage.jpg", plain + b"garbage" * 1000, **near)
    yield read("jpeg-and-zip.jpg", plain + b"PK\x05\x06" + b"\x00" * 18, **near)
    yield read("jpeg-comment-of-html.jpg", inserted(plain, segment(0xFE, b"<script>alert(1)</script>")), **near)
    yield read("jpeg-mpo.jpg", encoded(picture(), "MPO", quality=95, subsampling=0, save_all=True,
                                       append_images=[Image.new("RGB", SIZE)]), **near)  # fmt: skip
    yield refused("jpeg-after-garbage.jpg", b"\r\n" + plain, Reason.NOT_AN_IMAGE)
    yield refused("jpeg-12-bit.jpg", patched(plain, sof, b"\x0c"), Reason.UNSUPPORTED, "12 bits")
    yield refused("jpeg-height-0.jpg", patched(plain, sof + 1, b"\x00\x00"), Reason.UNSUPPORTED, "height")
    yield refused("jpeg-lossless.jpg", patched(plain, sof - 3, b"\xc3"), Reason.UNSUPPORTED)
    yield refused("jpeg-cut-2-bytes.jpg", plain[:2], Reason.NOT_AN_IMAGE)
    yield refused("jpeg-cut-in-header.jpg", plain[:20], Reason.TRUNCATED)
    yield refused("jpeg-cut-in-tables.jpg", plain[:sof], Reason.TRUNCATED)
    yield refused("jpeg-cut-half.jpg", long[: len(long) // 2], Reason.TRUNCATED)
    yield refused("jpeg-cut-no-end.jpg", long[:-2], Reason.TRUNCATED)
    yield refused("jpeg-cut-progressive.jpg", progressive[: len(progressive) // 2], Reason.TRUNCATED)
    yield refused("jpeg-no-tables.jpg", plain[:2] + plain[plain.index(b"\xff\xc0") :], Reason.DAMAGED)


# EXIF


def _exif() -> Iterator[Hostile]:
    for orientation in EDGES:
        image, block = stored(orientation), exif(orientation)
        yield read(f"exif-{orientation}.jpg", jpeg(image, exif=block), tolerance=JPEG_TOLERANCE)
        yield read(f"exif-{orientation}.png", encoded(image, "PNG", exif=block))
        yield read(f"exif-{orientation}.webp", encoded(image, "WEBP", lossless=True, exif=block))
        yield read(f"exif-{orientation}.tif", tiff_with_orientation(image, orientation))
    big = exif(6, after=b"\xff\xd8\xff\xe0" + b"thumbnail" * 7000)
    loop = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x8769, 4, 1, 8) + b"\x08\0\0\0"
    near = {"tolerance": JPEG_TOLERANCE}
    yield read("exif-large-thumbnail.jpg", jpeg(stored(6), exif=big), **near)
    yield read("exif-orientation-0.jpg", jpeg(exif=exif(0)), **near)
    yield read("exif-orientation-9.jpg", jpeg(exif=exif(9)), **near)
    yield read("exif-of-nothing.jpg", jpeg(exif=b"Exif\0\0"), **near)
    yield read("exif-cut.jpg", jpeg(exif=exif(6)[:18]), **near)
    yield read("exif-offset-outside.jpg", jpeg(exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), **near)
    yield read("exif-loop.jpg", jpeg(exif=loop), **near)
    yield read("exif-many-entries.jpg", jpeg(exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 90), **near)


# PNG


def _pngs() -> Iterator[Hostile]:
    plain = encoded(picture(), "PNG")
    deep, deep_grey = np.asarray(picture()).astype(np.uint16) * 257, np.asarray(picture(GREYS)).astype(np.uint16) * 257
    grey = np.asarray(picture(GREYS))
    bilevel = picture(np.array([[0, 255, 0], [255, 0, 255]], np.uint8)).convert("1")
    palette = picture().quantize(6)
    holes = COLOURS.copy()
    holes[0, 0] = 255
    index = palette.getpixel((1, 1))
    rgba = np.concatenate([np.asarray(picture()), np.full((*SIZE[::-1], 1), 51, np.uint8)], axis=2)
    faint = (COLOURS * 0.2 + 255 * 0.8).round()
    grey_alpha = np.stack([grey, np.full_like(grey, 255)], axis=2)
    noise = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)), "PNG")
    at = plain.index(b"IDAT")
    length = int.from_bytes(plain[at - 4 : at])
    bad_crc = patched(plain, at + 4 + length, b"\0\0\0\0")
    yield read("png-rgb.png", plain)
    yield read("png-interlaced.png", interlaced())
    yield read("png-16-bit-rgb.png", png(unfiltered(deep), depth=16))
    yield read("png-16-bit-grey.png", png(unfiltered(deep_grey), depth=16, colour=0), GREYS)
    yield read("png-16-bit-dark.png", png(unfiltered(deep_grey // 256), depth=16, colour=0), GREYS * 0)
    yield read(
        "png-16-bit-alpha.png", png(unfiltered(rgba.astype(np.uint16) * 257), depth=16, colour=6), faint, tolerance=1
    )
    yield read("png-grey.png", png(unfiltered(grey), colour=0), GREYS)
    yield read("png-grey-alpha.png", png(unfiltered(grey_alpha), colour=4), GREYS)
    yield read("png-bilevel.png", encoded(bilevel, "PNG"), [[0, 255, 0], [255, 0, 255]])
    yield read("png-palette.png", encoded(palette, "PNG"))
    yield read("png-palette-hole.png", encoded(palette, "PNG", transparency=index), holes)
    yield read("png-rgb-hole.png", encoded(picture(), "PNG", transparency=tuple(COLOURS[0, 0].tolist())), holes)
    yield read("png-alpha.png", png(unfiltered(rgba), colour=6), faint, tolerance=1)
    yield read("png-animated.png", encoded(picture(), "PNG", save_all=True, append_images=[Image.new("RGB", SIZE)]))
    yield read("png-trailing-garbage.png", plain + b"garbage" * 1000)
    yield read("png-unknown-chunk.png", png(unfiltered(np.asarray(picture())), before=chunk(b"abCd", b"x" * 99)))
    yield read("png-bad-crc.png", bad_crc)  # the pixels have a checksum of their own, and it is right
    yield refused("png-cut-in-header.png", plain[:20], Reason.TRUNCATED)
    yield refused("png-cut-in-pixels.png", noise[: len(noise) // 2], Reason.TRUNCATED)
    yield refused("png-no-pixels.png", PNG + header(SIZE, 8, 2) + chunk(b"IEND", b""), Reason.DAMAGED)
    yield refused("png-few-pixels.png", png(unfiltered(np.asarray(picture())[:8])), Reason.TRUNCATED)
    yield refused("png-zero-wide.png", png(b"", size=(0, 10)), Reason.DAMAGED)
    yield refused("png-impossible-depth.png", png(b"\0" * 100, depth=3), Reason.DAMAGED)


# What asks for gigabytes


def _bombs() -> Iterator[Hostile]:
    plain = np.asarray(picture())
    zeros = zlib.compress(b"\0" * 200_000_000, 9)
    for side in (12_000, 200_000, 2**31 - 1):
        yield refused(f"bomb-{side}.png", png(b"\0" * 10, size=(side, side)), Reason.TOO_LARGE)
    endless = chunk(b"IDAT", zlib.compress(unfiltered(plain))) + chunk(b"IDAT", zeros)
    yield read("bomb-pixels-without-end.png", PNG + header(SIZE, 8, 2) + endless + chunk(b"IEND", b""))
    profile = png(unfiltered(plain), before=chunk(b"iCCP", b"name\0\0" + zeros))
    yield refused("bomb-profile.png", profile, Reason.TOO_LARGE)
    yield refused("bomb-text.png", png(unfiltered(plain), before=chunk(b"zTXt", b"name\0\0" + zeros)), Reason.TOO_LARGE)
    sof = frame_header(jpeg())
    yield refused("bomb.jpg", patched(jpeg(), sof + 1, b"\xff\xdc\xff\xdc"), Reason.TOO_LARGE)
    yield refused("bomb.tif", tiff({256: 60_000, 257: 60_000}), Reason.TOO_LARGE)
    yield refused("bomb-deflate.tif", tiff({256: 60_000, 257: 60_000, 259: 8}, zeros[:5000]), Reason.TOO_LARGE)
    gif = encoded(picture(), "GIF")
    yield refused("bomb-screen.gif", patched(gif, 6, struct.pack("<HH", 65_535, 65_535)), Reason.TOO_LARGE)
    descriptor = gif.index(b",\0\0\0\0" + struct.pack("<HH", *SIZE))
    yield refused("bomb-frame.gif", patched(gif, descriptor + 5, struct.pack("<HH", 65_535, 65_535)), Reason.TOO_LARGE)
    webp = encoded(Image.new("RGB", (16, 16)), "WEBP", lossless=True)
    at = webp.index(b"VP8L") + 9
    bits = int.from_bytes(webp[at : at + 4], "little") & ~0xFFFFFFF | 16_382 | 16_382 << 14
    yield refused("bomb.webp", patched(webp, at, struct.pack("<I", bits)), Reason.TOO_LARGE)
    j2k = encoded(picture(), "JPEG2000")
    grown = patched(j2k, j2k.index(b"ihdr") + 4, struct.pack(">II", 60_000, 60_000))
    yield refused(
        "bomb.jp2", patched(grown, grown.index(b"\xff\x51") + 6, struct.pack(">II", 60_000, 60_000)), Reason.TOO_LARGE
    )
    bmp = encoded(picture(), "BMP")
    yield refused("bomb.bmp", patched(bmp, 18, struct.pack("<ii", 60_000, 60_000)), Reason.TOO_LARGE)
    yield refused("bomb.ppm", b"P6 60000 60000 255\n\0\0\0", Reason.TOO_LARGE)
    avif = encoded(picture(), "AVIF")
    at = avif.index(b"ispe") + 8
    yield refused("bomb.avif", patched(avif, at, struct.pack(">II", 16_000, 16_000)), Reason.TOO_LARGE)
    yield refused("bomb-beyond-avif.avif", patched(avif, at, struct.pack(">II", 30_000, 30_000)), Reason.DAMAGED)


# TIFF


def _tiffs() -> Iterator[Hostile]:
    image = picture()
    shape = {256: SIZE[0], 257: SIZE[1]}
    deep = np.asarray(image).astype(np.uint16) * 257
    deep_grey = np.asarray(picture(GREYS)).astype(np.uint16) * 257
    grey = {**shape, 258: 16, 262: 1, 277: 1}
    bilevel = picture(np.array([[0, 255, 0], [255, 0, 255]], np.uint8)).convert("1")
    plain = tiff(shape, image.tobytes())
    yield read("tiff.tif", plain)
    yield read("tiff-motorola.tif", tiff(shape, image.tobytes(), order=">"))
    yield read("tiff-16-bit-rgb.tif", tiff({**shape, 258: 16}, deep.tobytes()))
    yield read("tiff-16-bit-grey.tif", tiff(grey, deep_grey.tobytes()), GREYS)
    yield read("tiff-16-bit-motorola.tif", tiff(grey, deep_grey.astype(">u2").tobytes(), order=">"), GREYS)
    yield read(
        "tiff-white-is-zero.tif", tiff({**grey, 258: 8, 262: 0}, (255 - np.asarray(picture(GREYS))).tobytes()), GREYS
    )
    yield read("tiff-16-bit-white-is-zero.tif", tiff({**grey, 262: 0}, (65535 - deep_grey).tobytes()), GREYS)
    yield read("tiff-lzw.tif", encoded(image, "TIFF", compression="tiff_lzw"))
    yield read("tiff-packbits.tif", encoded(image, "TIFF", compression="packbits"))
    yield read("tiff-deflate.tif", encoded(image, "TIFF", compression="tiff_adobe_deflate"))
    yield read("tiff-jpeg.tif", encoded(image, "TIFF", compression="jpeg", quality=95), tolerance=40)
    yield read("tiff-fax.tif", encoded(bilevel, "TIFF", compression="group4"), [[0, 255, 0], [255, 0, 255]])
    yield read("tiff-cmyk.tif", encoded(cmyk(), "TIFF"))
    yield read("tiff-palette.tif", encoded(image.quantize(6), "TIFF"))
    yield read("tiff-pages.tif", encoded(image, "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))]))
    yield read("tiff-page-loop.tif", tiff(shape, image.tobytes(), next_ifd=8))
    yield read("tiff-big.tif", encoded(image, "TIFF", big_tiff=True))
    yield refused("tiff-float.tif", encoded(Image.new("F", SIZE, 0.5), "TIFF"), Reason.UNSUPPORTED, "32-bit")
    yield refused("tiff-32-bit.tif", encoded(Image.new("I", SIZE, 70_000), "TIFF"), Reason.UNSUPPORTED, "32-bit")
    yield refused("tiff-cut-in-pixels.tif", plain[: len(plain) // 2], Reason.TRUNCATED)
    yield refused("tiff-cut-in-lzw.tif", encoded(image, "TIFF", compression="tiff_lzw")[:-300], Reason.DAMAGED)
    raw = tiff({**shape, 254: 1}, image.tobytes())
    yield refused("tiff-preview-of-raw.nef", raw, Reason.UNSUPPORTED, "a camera's raw file")
    yield refused("tiff-no-fields.tif", b"II*\0\xff\xff\xff\x7f", Reason.DAMAGED)
    yield refused(
        "tiff-strip-outside.tif",
        patched(plain, plain.index(struct.pack("<HHI", 273, 4, 1)) + 8, b"\xff" * 3),
        Reason.TRUNCATED,
    )


# GIF


def _gifs() -> Iterator[Hostile]:
    image = picture()
    plain = encoded(image, "GIF")
    palette = image.quantize(6)
    holes = COLOURS.copy()
    holes[0, 0] = 255
    descriptor = plain.index(b",\0\0\0\0" + struct.pack("<HH", *SIZE))
    screen = struct.pack("<HH", BLOCK, BLOCK)
    yield read("gif.gif", plain)
    yield read("gif-animated.gif", encoded(image, "GIF", save_all=True, append_images=[Image.new("RGB", SIZE)]))
    yield read("gif-hole.gif", encoded(palette, "GIF", transparency=palette.getpixel((1, 1))), holes)
    yield read("gif-frame-larger-than-screen.gif", patched(plain, 6, screen))
    yield read("gif-and-script.gif", plain + b"*/=1;alert(1)//")
    moved = patched(
        patched(plain, 6, struct.pack("<HH", 2 * SIZE[0], SIZE[1])), descriptor + 1, struct.pack("<H", SIZE[0])
    )
    ground = np.broadcast_to(COLOURS[1, 0], (2, 3, 3))  # colour 0 of the palette, which the file names as background
    yield read("gif-frame-to-the-right.gif", moved, np.concatenate([ground, COLOURS], 1), size=(2 * SIZE[0], SIZE[1]))
    yield refused("gif-cut.gif", plain[:-20], Reason.TRUNCATED)
    yield refused("gif-no-frame.gif", plain[:descriptor] + b";", Reason.DAMAGED)


# WebP, AVIF, JPEG 2000, BMP, PNM


def _others() -> Iterator[Hostile]:
    image, grey = picture(), np.asarray(picture(GREYS))
    webp = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)), "WEBP")
    avif = encoded(image, "AVIF", quality=100, subsampling="4:4:4")
    j2k = encoded(image, "JPEG2000")
    rgba = image.convert("RGBA")
    rgba.putalpha(51)
    faint = (COLOURS * 0.2 + 255 * 0.8).round()
    bmp = encoded(image, "BMP")
    yield read("webp.webp", encoded(image, "WEBP", quality=95), tolerance=40)
    yield read("webp-alpha.webp", encoded(rgba, "WEBP", lossless=True), faint, tolerance=1)
    yield read("webp-animated.webp", encoded(image, "WEBP", lossless=True, save_all=True,
                                             append_images=[Image.new("RGB", SIZE)]))  # fmt: skip
    for share in (0.05, 0.5, 0.95):
        yield refused(f"webp-cut-{share}.webp", webp[: int(len(webp) * share)], Reason.TRUNCATED)
    yield read("avif.avif", avif, tolerance=JPEG_TOLERANCE)
    yield refused("avif-cut.avif", avif[: len(avif) - 100], Reason.TRUNCATED)
    yield read("jpeg2000.jp2", j2k, tolerance=2)
    yield read("jpeg2000-stream.j2k", encoded(image, "JPEG2000", no_jp2=True), tolerance=2)
    yield refused("jpeg2000-cut.jp2", j2k[: len(j2k) // 2], Reason.TRUNCATED)
    yield read("bmp.bmp", bmp)
    yield read("bmp-top-down.bmp", top_down_bmp())
    yield read("bmp-run-lengths.bmp", rle_bmp())
    yield refused("bmp-cut.bmp", bmp[:-300], Reason.TRUNCATED)
    yield read("pnm.ppm", b"P6 48 32 255\n" + image.tobytes())
    yield read("pnm-16-bit.pgm", b"P5 48 32 65535\n" + (grey.astype(np.uint16) * 257).astype(">u2").tobytes(), GREYS)
    deep = (np.asarray(image).astype(np.uint16) * 257).astype(">u2").tobytes()
    yield read("pnm-16-bit.ppm", b"P6 48 32 65535\n" + deep)
    yield read(
        "pnm-text.pgm", b"P2 3 2 255\n# a comment\n" + b" ".join(b"%d" % v for v in GREYS.ravel()), GREYS, size=(3, 2)
    )
    yield refused("pnm-cut.ppm", b"P6 48 32 255\n" + image.tobytes()[:100], Reason.TRUNCATED)
    yield refused("raw.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1" + b"\0" * 200, Reason.UNSUPPORTED, "CR3")
    yield refused("raw.raf", b"FUJIFILMCCD-RAW 0201" + b"\0" * 200, Reason.UNSUPPORTED, "RAF")
    yield refused("jpeg-xl.jxl", b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 200, Reason.UNSUPPORTED, "JPEG XL is not read")
    yield refused("jpeg-xl-bare.jxl", b"\xff\x0a" + b"\0" * 200, Reason.UNSUPPORTED, "JPEG XL is not read")
    yield refused("heic.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200, Reason.UNSUPPORTED, "HEIC")


# Shapes


def _shapes() -> Iterator[Hostile]:
    for width, height in ((30_000, 10), (10, 30_000)):
        image = picture().resize((width, height), Image.Resampling.NEAREST)
        size, near = (width, height), {"tolerance": JPEG_TOLERANCE}
        yield read(f"shape-{width}x{height}.jpg", jpeg(image), size=size, **near)
        yield read(f"shape-{width}x{height}.png", encoded(image, "PNG"), size=size)
    dot = Image.new("RGB", (1, 1), (4, 5, 6))
    for format in ("PNG", "GIF", "BMP", "TIFF"):
        yield read(f"shape-1x1.{format.lower()}", encoded(dot, format), [[(4, 5, 6)]], size=(1, 1))
    yield read("shape-1x1.jpg", jpeg(dot), [[(4, 5, 6)]], size=(1, 1), tolerance=3)
    yield read("shape-1x1.webp", encoded(dot, "WEBP", lossless=True), [[(4, 5, 6)]], size=(1, 1))


# Other things under an image's name


def _no_images() -> Iterator[Hostile]:
    near = {"tolerance": JPEG_TOLERANCE}
    yield read("wrong-suffix-jpeg.png", jpeg(), **near)
    yield read("wrong-suffix-png.jpg", encoded(picture(), "PNG"))
    yield read("wrong-suffix-webp.jpg", encoded(picture(), "WEBP", lossless=True))
    yield read("no suffix", jpeg(), **near)
    yield refused("no-bytes.jpg", b"", Reason.EMPTY)
    yield refused("zeros.jpg", b"\0" * 5000, Reason.NOT_AN_IMAGE)
    others = {
        "text": b"not a picture at all",
        "html": b"<!DOCTYPE html><html><title>404 Not Found</title></html>",
        "json": b'{"error": "quota exceeded"}',
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="1e9" height="1e9"><image href="file:///etc/passwd"/></svg>',
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(pwned) print\n%%EOF\n",
        "pdf": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
        "psd": b"8BPS\0\1" + b"\0" * 6 + struct.pack(">HIIHH", 3, 32, 48, 8, 3) + b"\0" * 5000,
        "ico": encoded(picture().resize((16, 16)), "ICO"),
        "tga": encoded(picture(), "TGA"),
        "git-lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
        "zip": b"PK\x05\x06" + b"\0" * 18,
        "wav": b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 40,
        "elf": b"\x7fELF" + b"\0" * 100,
    }
    for name, data in others.items():
        yield refused(f"no-image-{name}.jpg", data, Reason.NOT_AN_IMAGE)
