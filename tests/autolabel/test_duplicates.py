"""Copies are found, frames of a video are not taken for copies, and the search misses nothing it promises."""

import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from autolabel.duplicates import MAX_HAMMING, SIDE, Duplicates, Learned, Thumbnail, look, same_picture
from autolabel.errors import ImageError
from autolabel.images import decode_thumbnail


def picture(
    seed: int, size: tuple[int, int] = (320, 240), *, figure_at: tuple[float, float] | None = None
) -> Image.Image:
    """Shapes over a smooth, textured background; ``figure_at`` (0..1) puts a figure with limbs there."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    fine = Image.fromarray(rng.integers(0, 255, (size[1] // 4, size[0] // 4, 3), np.uint8)).resize(size)
    drawn = Image.blend(coarse, fine, 0.15)
    pen = ImageDraw.Draw(drawn)
    for _ in range(8):
        x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        w, h = rng.uniform(10, 90, 2)
        pen.ellipse((x, y, x + w, y + h), fill=tuple(rng.integers(0, 255, 3).tolist()))
    if figure_at is not None:
        x, y = figure_at[0] * size[0], figure_at[1] * size[1]
        pen.ellipse((x - 8, y - 30, x + 8, y - 14), fill="wheat")
        pen.rectangle((x - 9, y - 14, x + 9, y + 16), fill="navy")
        pen.line((x - 9, y - 10, x - 24, y + 8), fill="wheat", width=5)
        pen.line((x + 9, y - 10, x + 24, y + 8), fill="wheat", width=5)
    return drawn


def encoded(image: Image.Image, format: str = "BMP", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def thumbnail(image: Image.Image | bytes) -> Thumbnail:
    data = image if isinstance(image, bytes) else encoded(image)
    info, grey = decode_thumbnail(data, SIDE, subject="drawn")
    return Thumbnail(info.size, grey)


def scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg 90": lambda image: encoded(image, "JPEG", quality=90),
    "jpeg 40": lambda image: encoded(image, "JPEG", quality=40),
    "webp": lambda image: encoded(image, "WEBP", quality=80),
    "half": lambda image: encoded(scaled(image, 0.5), "JPEG", quality=85),
    "two thirds": lambda image: encoded(scaled(image, 0.67), "JPEG", quality=85),
    "larger": lambda image: encoded(scaled(image, 1.7), "JPEG", quality=90),
}


class Corpus:
    """Thumbnails by path, in place of files; counts how often it is read."""

    def __init__(self) -> None:
        self.thumbnails: dict[str, Thumbnail] = {}
        self.reads = 0

    def __call__(self, path: str) -> Thumbnail:
        self.reads += 1
        if path not in self.thumbnails:
            raise ImageError("is gone", subject=path)
        return self.thumbnails[path]

    def settle(self, seen: Duplicates, path: str, image: Image.Image | bytes) -> str:
        small = self.thumbnails[path] = thumbnail(image)
        first = seen.settle(path, path, look(small), small)
        return "" if first is None else first.path


@pytest.mark.parametrize("copy", COPIES)
def test_copies_point_to_the_first_and_different_pictures_to_none(copy: str) -> None:
    corpus = Corpus()
    seen = Duplicates(corpus)
    for seed in range(12):
        assert corpus.settle(seen, f"{seed}.png", picture(seed)) == ""
    for seed in range(12):
        assert corpus.settle(seen, f"copy of {seed}", COPIES[copy](picture(seed))) == f"{seed}.png"


def test_a_copy_of_a_copy_points_to_the_first() -> None:
    corpus = Corpus()
    seen = Duplicates(corpus)
    original = picture(1, (640, 480))
    assert corpus.settle(seen, "a", original) == ""
    assert corpus.settle(seen, "b", scaled(original, 0.5)) == "a"
    assert corpus.settle(seen, "c", scaled(original, 0.4)) == "a"


def test_frames_of_a_fixed_camera_are_candidates_but_no_copies() -> None:
    """A figure 5 % of the width wide walks by 2 % of it a frame; nothing else changes."""
    corpus = Corpus()
    seen = Duplicates(corpus)
    frames = [picture(3, (640, 480), figure_at=(0.3 + 0.02 * i, 0.6)) for i in range(12)]
    hashes = [int.from_bytes(look(thumbnail(frame))[:8]) for frame in frames]
    assert sum((a ^ b).bit_count() <= MAX_HAMMING for a, b in pairwise(hashes)) >= 8
    assert [corpus.settle(seen, f"frame {i}", frame) for i, frame in enumerate(frames)] == [""] * 12
    for i, frame in enumerate(frames):  # and the copy of each frame finds its own
        assert corpus.settle(seen, f"small {i}", COPIES["half"](frame)) == f"frame {i}"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (lambda image: image.copy(), True),
        (lambda image: scaled(image, 0.5), True),
        (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), False),
        (lambda image: image.resize((320, 200)), False),  # squeezed: coordinates do not carry over
        (lambda image: image.point(lambda value: min(255, value + 40)), False),
        (lambda image: image.crop((20, 15, 320, 240)), False),
    ],
)
def test_what_is_the_same_picture(other: Callable[[Image.Image], Image.Image], same: bool) -> None:
    image = picture(7)
    assert same_picture(thumbnail(image), thumbnail(other(image))) is same


def test_flat_pictures_are_told_apart_by_their_grey() -> None:
    corpus = Corpus()
    seen = Duplicates(corpus)
    for grey in (0, 128, 255):
        assert corpus.settle(seen, str(grey), Image.new("L", (200, 100), grey)) == ""
    assert corpus.settle(seen, "small black", Image.new("L", (100, 50), 0)) == "0"
    assert corpus.settle(seen, "icon", Image.new("L", (20, 10), 0)) == ""  # too small to tell


PLAIN = Thumbnail((40, 33), np.zeros((SIDE, SIDE), np.uint8))


@settings(max_examples=300)
@given(st.binary(min_size=8, max_size=8), st.sets(st.integers(0, 63), max_size=12), st.integers(0, 40))
def test_every_hash_within_the_threshold_is_a_candidate_and_no_other(
    value: bytes, flipped: set[int], crowd: int
) -> None:
    seen = Duplicates(lambda path: PLAIN if path == "first" else Thumbnail((900, 100), PLAIN.grey))
    rng = np.random.default_rng(crowd)
    for i in range(crowd):  # strangers of another shape: candidates at most
        seen.settle(f"s{i}", f"s{i}", rng.bytes(40), Thumbnail((900, 100), PLAIN.grey))
    detail = bytes(32)
    seen.settle("first", "first", value + detail, PLAIN)
    other = int.from_bytes(value)
    for bit in flipped:
        other ^= 1 << bit
    found = seen.settle("second", "second", other.to_bytes(8) + detail, PLAIN)
    assert (found is not None) == (len(flipped) <= MAX_HAMMING)


@pytest.mark.parametrize("band", range(4))
@pytest.mark.parametrize("bit", range(16))
def test_the_hardest_hashes_are_found(band: int, bit: int) -> None:
    """Seven flipped bits, two in every band but one: only that one bit's flip leads to them."""
    other = sum(0b11 << 16 * i for i in range(4) if i != band) | 1 << 16 * band + bit
    assert other.bit_count() == MAX_HAMMING
    seen = Duplicates(lambda path: PLAIN)
    seen.settle("first", "first", bytes(40), PLAIN)
    assert seen.settle("second", "second", other.to_bytes(8) + bytes(32), PLAIN) == ("first", "first")


def test_of_many_candidates_only_the_nearest_are_read() -> None:
    corpus = Corpus()
    seen = Duplicates(corpus)
    rng = np.random.default_rng(0)
    looks = [bytes(8) + rng.bytes(32) for _ in range(3000)]  # the same 64-bit hash, other pictures
    for i, its_look in enumerate(looks):
        corpus.thumbnails[str(i)] = Thumbnail((100 + i, 33), PLAIN.grey)
        seen.replay([Learned(str(i), str(i), its_look.hex(), "")])
    near = bytearray(looks[1234])
    near[-1] ^= 0b11
    assert seen.settle("copy", "copy", bytes(near), corpus.thumbnails["1234"]) == ("1234", "1234")
    assert corpus.reads == 1  # the nearest comes first
    assert seen.settle("new", "new", bytes(8) + rng.bytes(32), Thumbnail((33, 900), PLAIN.grey)) is None
    assert corpus.reads <= 5


def test_equal_bytes_need_no_look() -> None:
    seen = Duplicates(Corpus(), near=False)
    assert seen.settle("id", "a.jpg") is None
    assert seen.settle("id", "b.jpg") == ("id", "a.jpg")
    small = thumbnail(picture(1))
    assert seen.settle("x", "c.jpg", look(small), small) is None
    assert seen.settle("y", "d.jpg", look(small), small) is None  # near=False looks no further


def test_an_exact_copy_of_a_near_copy_points_to_the_first() -> None:
    corpus = Corpus()
    seen = Duplicates(corpus)
    corpus.settle(seen, "a", picture(1))
    small = thumbnail(scaled(picture(1), 0.5))
    assert seen.settle("b", "b", look(small), small) == ("a", "a")
    assert seen.settle("b", "c") == ("a", "a")


def test_an_original_that_is_gone_is_repeated_by_nobody() -> None:
    seen = Duplicates(Corpus())
    small = thumbnail(picture(1))
    seen.replay([Learned("a", "gone.jpg", look(small).hex(), "")])
    assert seen.settle("b", "b.jpg", look(small), small) is None


def test_a_journal_brings_the_memory_back() -> None:
    corpus, journal = Corpus(), list[Learned]()
    seen = Duplicates(corpus, journal=journal)
    for seed in range(6):
        corpus.settle(seen, f"{seed}", picture(seed))
    corpus.settle(seen, "half of 2", scaled(picture(2), 0.5))
    assert seen.settle("2", "exact copy of 2") == ("2", "2")
    assert [line.same_as for line in journal] == [""] * 6 + ["2"]

    again = Duplicates(corpus, journal=list[Learned]())
    again.replay(Learned(*line) for line in journal)
    for seed in range(6):
        assert corpus.settle(again, f"third of {seed}", scaled(picture(seed), 0.67)) == f"{seed}"
    assert again.settle("half of 2", "elsewhere") == ("2", "2")


# The thresholds on real corpora, which stay outside the repository.

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.live
@pytest.mark.parametrize("name", ["openfield", "reaching"])
def test_frames_of_real_videos_are_no_copies_and_their_copies_are(name: str) -> None:
    folder = DATA / name / "images"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    corpus = Corpus()
    seen = Duplicates(corpus)
    files = sorted(folder.iterdir())
    for file in files:
        assert corpus.settle(seen, file.name, file.read_bytes()) == ""
    for file in files[::8]:
        with Image.open(file) as image:
            assert corpus.settle(seen, f"half of {file.name}", COPIES["half"](image)) == file.name
