"""Every image comes out as upright 8-bit RGB, and everything else as an ImageError with its reason."""

import io
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from autolabel.errors import ImageError
from autolabel.images import (
    Reason,
    decode_image,
    decode_reduced,
    decode_thumbnail,
    image_size,
    looks_like_image,
    probe,
    read_image,
)

# pytest undoes the filter that importing images.py sets.
pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

COLOURS = np.array(
    [[(230, 20, 20), (20, 200, 20), (20, 20, 230)], [(240, 240, 20), (20, 220, 220), (120, 20, 120)]],
    np.uint8,
)
UPRIGHT = COLOURS.repeat(24, axis=0).repeat(16, axis=1)  # 48 high, 48 wide in colours of 16; cut to 48 x 40
UPRIGHT = np.ascontiguousarray(UPRIGHT[:, :40])

# Which visual edge the stored row 0 and column 0 are (CIPA DC-008, Orientation).
EDGES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored_as(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The pixels of the sensor, written out from the definition, one by one."""
    rows, columns = EDGES[orientation]
    height, width = upright.shape[:2]
    swapped = rows in ("left", "right")
    stored = np.empty((width, height, 3) if swapped else upright.shape, np.uint8)
    for r in range(stored.shape[0]):
        for c in range(stored.shape[1]):
            along_x, along_y = (r, c) if swapped else (c, r)
            x = width - 1 - along_x if "right" in (rows, columns) else along_x
            y = height - 1 - along_y if "bottom" in (rows, columns) else along_y
            stored[r, c] = upright[y, x]
    return stored


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("TIFF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 12),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 12),
    ],
)
def test_orientation_is_applied_once(
    tmp_path: Path, format: str, options: dict[str, object], tolerance: int, orientation: int
) -> None:
    file = tmp_path / f"image.{format.lower()}"
    stored = Image.fromarray(stored_as(UPRIGHT, orientation))
    file.write_bytes(encoded(stored, format, exif=with_orientation(orientation), **options))

    read = read_image(file)

    assert read.shape == UPRIGHT.shape
    assert np.abs(read.astype(int) - UPRIGHT).max() <= tolerance
    assert image_size(file) == (40, 48)
    assert probe(file).size == (40, 48)
    info, grey = decode_thumbnail(file.read_bytes(), 16, subject="thumbnail")
    assert info.size == (40, 48)
    expected = np.asarray(Image.fromarray(UPRIGHT).convert("L").resize((16, 16), Image.Resampling.BILINEAR))
    assert np.abs(grey.astype(int) - expected).mean() < 8


@pytest.mark.parametrize("by", [1, 2, 4, 8])
@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("size", [(160, 96), (163, 101)])
def test_a_reduced_jpeg_is_the_mean_of_its_pixels(size: tuple[int, int], orientation: int, by: int) -> None:
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    smooth = np.asarray(rough.resize(size, Image.Resampling.BICUBIC))
    stored = Image.fromarray(stored_as(smooth, orientation))
    data = encoded(stored, "JPEG", quality=97, subsampling=0, exif=with_orientation(orientation))
    whole = decode_image(data, subject="whole").astype(float)

    told, pixels, reduced = decode_reduced(data, by, subject="reduced")

    assert told == size
    assert reduced == (1 if orientation != 1 and size == (163, 101) else by), "turned, it would begin with a part"
    assert pixels.shape[:2] == (-(-size[1] // reduced), -(-size[0] // reduced))
    rows, columns = size[1] // reduced, size[0] // reduced
    blocks = whole[: rows * reduced, : columns * reduced].reshape(rows, reduced, columns, reduced, 3)
    assert np.abs(pixels[:rows, :columns] - blocks.mean(axis=(1, 3))).max() < 6


def test_only_a_jpeg_is_reduced_and_never_below_a_pixel() -> None:
    picture = Image.fromarray(UPRIGHT)
    size, pixels, by = decode_reduced(encoded(picture, "PNG"), 4, subject="png")
    assert (size, by) == ((40, 48), 1)
    assert np.array_equal(pixels, UPRIGHT)
    _, pixels, by = decode_reduced(encoded(picture.resize((7, 40)), "JPEG"), 8, subject="narrow")
    assert (pixels.shape, by) == ((40, 7, 3), 1)
    with pytest.raises(ImageError) as caught:
        decode_reduced(encoded(picture, "JPEG")[:-300], 8, subject="cut")
    assert caught.value.reason == Reason.TRUNCATED


def test_what_is_read_is_a_plain_writable_array(tmp_path: Path) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert read.dtype == np.uint8
    assert read.flags.writeable
    assert read.flags.c_contiguous
    assert np.array_equal(read, UPRIGHT)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    data = encoded(Image.fromarray(UPRIGHT), "PNG", exif=with_orientation(orientation))
    assert np.array_equal(decode_image(data, subject="x"), UPRIGHT)


def test_damaged_exif_does_not_spoil_the_image() -> None:
    for block in (
        b"Exif\x00\x00",
        b"Exif\x00\x00II*\x00\xff\xff\xff\xff",
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\xff",
    ):
        data = encoded(Image.fromarray(UPRIGHT), "PNG", exif=block)
        assert Image.open(io.BytesIO(data)).info["exif"]
        assert np.array_equal(decode_image(data, subject="x"), UPRIGHT)


def solid(mode: str, colour: object, size: tuple[int, int] = (4, 3)) -> Image.Image:
    return Image.new(mode, size, colour)  # pyright: ignore[reportArgumentType]


def palette_with_a_hole() -> bytes:
    image = Image.new("P", (4, 3), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((0, 0), 0)
    return encoded(image, "PNG", transparency=0)


def animation() -> bytes:
    frames = [solid("RGB", "red"), solid("RGB", "blue")]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def sixteen_bits(format: str) -> bytes:
    return encoded(Image.fromarray(np.full((3, 4), 0x80FF, np.uint16)), format)


# Pixel formats: the pixel at (1, 1) of what is read, and how far it may be off.
@pytest.mark.parametrize(
    ("data", "expected", "tolerance"),
    [
        pytest.param(encoded(solid("L", 77), "PNG"), (77, 77, 77), 0, id="grey"),
        pytest.param(encoded(solid("1", 1), "PNG"), (255, 255, 255), 0, id="bilevel"),
        pytest.param(encoded(solid("CMYK", (255, 0, 0, 0)), "JPEG"), (0, 255, 255), 3, id="cmyk is inked"),
        pytest.param(encoded(solid("CMYK", (255, 0, 0, 0)), "TIFF"), (0, 255, 255), 0, id="cmyk tiff"),
        pytest.param(encoded(solid("RGBA", (200, 100, 0, 51)), "PNG"), (244, 224, 204), 1, id="alpha lies on white"),
        pytest.param(encoded(solid("RGBA", (9, 9, 9, 0)), "WEBP", lossless=True), (255,) * 3, 0, id="invisible"),
        pytest.param(encoded(solid("LA", (100, 255)), "PNG"), (100, 100, 100), 0, id="grey and alpha"),
        pytest.param(palette_with_a_hole(), (200, 100, 50), 0, id="palette"),
        pytest.param(sixteen_bits("PNG"), (0x80,) * 3, 0, id="16-bit png"),
        pytest.param(sixteen_bits("TIFF"), (0x80,) * 3, 0, id="16-bit tiff"),
        pytest.param(sixteen_bits("PPM"), (0x80,) * 3, 0, id="16-bit pgm"),
        pytest.param(animation(), (255, 0, 0), 0, id="first frame of an animation"),
        pytest.param(encoded(solid("RGB", (1, 2, 3)), "BMP"), (1, 2, 3), 0, id="bmp"),
        pytest.param(encoded(solid("RGB", (50, 60, 70)), "JPEG2000"), (50, 60, 70), 1, id="jpeg 2000"),
    ],
)
def test_pixel_formats_become_rgb(data: bytes, expected: tuple[int, ...], tolerance: int) -> None:
    read = decode_image(data, subject="x")
    assert read.shape == (3, 4, 3)
    assert np.abs(read[1, 1].astype(int) - expected).max() <= tolerance
    _, grey = decode_thumbnail(data, 4, subject="x")
    luminance = float(np.dot(read[1, 1], (0.299, 0.587, 0.114)))
    assert abs(float(grey[2, 2]) - luminance) <= 2


def test_a_hole_in_a_palette_is_white() -> None:
    assert decode_image(palette_with_a_hole(), subject="x")[0, 0].tolist() == [255, 255, 255]


def test_one_pixel() -> None:
    data = encoded(solid("RGB", (4, 5, 6), (1, 1)), "PNG")
    assert decode_image(data, subject="x").tolist() == [[[4, 5, 6]]]
    assert decode_thumbnail(data, 16, subject="x")[1].shape == (16, 16)


def png_claiming(width: int, height: int) -> bytes:
    """A sound header before worthless pixels: whoever decodes it says "damaged"."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"worthless") + chunk(b"IEND", b"")


JPEG = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)), "JPEG")
PROGRESSIVE = encoded(Image.open(io.BytesIO(JPEG)), "JPEG", progressive=True)
FLOATS = encoded(Image.fromarray(np.ones((3, 4), np.float32)), "TIFF")
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(pwned) print\n%%EOF\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", Reason.EMPTY, id="no bytes"),
        pytest.param(b"not a picture at all", Reason.NOT_AN_IMAGE, id="text"),
        pytest.param(EPS, Reason.NOT_AN_IMAGE, id="a program (EPS) is never run"),
        pytest.param(HEIC, Reason.UNSUPPORTED, id="heic"),
        pytest.param(FLOATS, Reason.UNSUPPORTED, id="floating point"),
        pytest.param(png_claiming(8, 8), Reason.DAMAGED, id="worthless pixels"),
        pytest.param(png_claiming(12_000, 12_000), Reason.TOO_LARGE, id="more than we decode"),
        pytest.param(png_claiming(200_000, 200_000), Reason.TOO_LARGE, id="more than pillow opens"),
        pytest.param(JPEG[:2], Reason.NOT_AN_IMAGE, id="two bytes"),
        pytest.param(JPEG[:20], Reason.TRUNCATED, id="header cut off"),
        pytest.param(JPEG[: len(JPEG) // 2], Reason.TRUNCATED, id="half a jpeg"),
        pytest.param(JPEG[:-2], Reason.TRUNCATED, id="jpeg without its end"),
        pytest.param(PROGRESSIVE[: len(PROGRESSIVE) // 2], Reason.TRUNCATED, id="half a progressive jpeg"),
        pytest.param(encoded(Image.fromarray(UPRIGHT), "PNG")[:70], Reason.TRUNCATED, id="cut png"),
    ],
)
def test_what_is_no_image_is_refused_with_a_reason(tmp_path: Path, data: bytes, reason: Reason) -> None:
    file = tmp_path / "claims to be.jpg"
    file.write_bytes(data)
    for read in (read_image, probe):
        with pytest.raises(ImageError) as refused:
            read(file)
        assert refused.value.reason == reason
        assert refused.value.subject == str(file)
    if data:
        with pytest.raises(ImageError) as refused:
            decode_thumbnail(data, 128, subject="x")
        assert refused.value.reason == reason


def test_the_limit_of_pixels_is_the_callers() -> None:
    data = encoded(solid("RGB", "red", (100, 100)), "PNG")
    assert decode_image(data, subject="x", max_pixels=10_000).shape == (100, 100, 3)
    with pytest.raises(ImageError, match="100 x 100 pixels, more than the 9999") as refused:
        decode_image(data, subject="x", max_pixels=9_999)
    assert refused.value.reason == Reason.TOO_LARGE


def test_size_is_read_from_the_header_alone(tmp_path: Path) -> None:
    (tmp_path / "half.jpg").write_bytes(JPEG[: len(JPEG) // 2])
    assert image_size(tmp_path / "half.jpg") == (400, 300)
    (tmp_path / "bomb.png").write_bytes(png_claiming(12_000, 12_000))
    assert image_size(tmp_path / "bomb.png") == (12_000, 12_000)
    (tmp_path / "text.jpg").write_bytes(b"text")
    with pytest.raises(ImageError) as refused:
        image_size(tmp_path / "text.jpg")
    assert refused.value.reason == Reason.NOT_AN_IMAGE


def test_probe_tells_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(encoded(Image.fromarray(UPRIGHT), "JPEG", exif=with_orientation(6)))
    info = probe(tmp_path / "a")
    assert (info.size, info.format, info.orientation) == ((48, 40), "JPEG", 6)


@contextmanager
def as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("read", [read_image, image_size, probe])
def test_files_that_cannot_be_opened(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name, reason in {
        "pipe.jpg": Reason.NOT_A_FILE,
        "folder.jpg": Reason.NOT_A_FILE,
        "gone.jpg": Reason.VANISHED,
        "folder.jpg/gone/too.jpg": Reason.VANISHED,
    }.items():
        with pytest.raises(ImageError) as refused:
            read(tmp_path / name)
        assert refused.value.reason == reason, name


@pytest.mark.parametrize("read", [read_image, image_size])
def test_files_that_may_not_be_read(read: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        secret = Path(folder) / "secret.jpg"
        secret.write_bytes(JPEG)
        secret.chmod(0)
        with as_nobody(), pytest.raises(ImageError) as refused:
            read(secret)
    assert refused.value.reason == Reason.NO_PERMISSION


@pytest.mark.parametrize(
    ("head", "claims"),
    [
        (JPEG, True),
        (encoded(solid("RGB", "red"), "PNG"), True),
        (animation(), True),
        (sixteen_bits("TIFF"), True),
        (encoded(solid("RGB", "red"), "WEBP"), True),
        (encoded(solid("RGB", "red"), "AVIF"), True),
        (encoded(solid("RGB", "red"), "JPEG2000"), True),
        (HEIC, True),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", False),
        (b"\x00\x00\x00\x18ftypmp42", False),
        (b"%PDF-1.7", False),
        (b"", False),
    ],
)
def test_an_image_is_known_by_its_first_bytes(head: bytes, claims: bool) -> None:
    assert looks_like_image(head[:32]) is claims


SMALL = Image.fromarray(UPRIGHT)
SEEDS = [
    encoded(SMALL, "JPEG", exif=with_orientation(6)),
    encoded(SMALL, "JPEG", progressive=True),
    encoded(SMALL, "PNG", exif=with_orientation(3)),
    encoded(SMALL.quantize(16), "GIF"),
    encoded(SMALL, "TIFF", compression="tiff_lzw"),
    encoded(SMALL, "WEBP"),
    encoded(SMALL, "BMP"),
    sixteen_bits("TIFF"),
]


@settings(max_examples=300)
@given(
    seed=st.sampled_from(SEEDS),
    damage=st.lists(st.tuples(st.integers(0, 2**16), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6),
    cut=st.integers(0, 40),
)
def test_damaged_bytes_give_an_image_or_an_image_error(seed: bytes, damage: list[tuple[int, bytes]], cut: int) -> None:
    data = bytearray(seed)
    for position, piece in damage:
        at = position % len(data)
        data[at : at + len(piece)] = piece
    hostile = bytes(data[: len(data) - cut])
    try:
        read = decode_image(hostile, subject="hostile", max_pixels=100_000)
    except ImageError as error:
        assert error.reason in set(Reason)
    else:
        assert read.ndim == 3
        assert read.shape[2] == 3
    try:
        _, grey = decode_thumbnail(hostile, 16, subject="hostile", max_pixels=100_000)
    except ImageError:
        return
    assert grey.shape == (16, 16)
