"""Frames carry the number drawn in them, upright and in time; a broken video gives what is good, then says why."""

import math
import tracemalloc
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autolabel.errors import ImageError
from autolabel.images import Reason
from autolabel.video import read_video
from tests.films import SIZE, TURNS, drawn, film, number_of, sound, turned


def numbers(path: Path, every: int = 1) -> list[tuple[int, int]]:
    """Index and drawn number of the frames."""
    return [(frame.index, number_of(frame.pixels)) for frame in read_video(path, every)]


def until_broken(path: Path) -> tuple[list[int], ImageError]:
    """The drawn numbers of the frames before the error, and the error."""
    seen: list[int] = []
    with pytest.raises(ImageError) as broken:
        seen.extend(number_of(frame.pixels) for frame in read_video(path, 1))
    return seen, broken.value


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),  # B-frames: decoded in another order than shown
        ("a.mov", "mpeg4"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx-vp9"),
        ("a.avi", "mpeg4"),
        ("a.mpg", "mpeg2video"),
        ("a.m2ts", "mpeg2video"),
        ("a.flv", "libx264"),
        ("a.wmv", "mpeg4"),
        ("a.3gp", "mpeg4"),
    ],
)
def test_every_nth_frame_is_the_one_that_it_says(tmp_path: Path, name: str, codec: str) -> None:
    path = film(tmp_path / name, codec=codec)
    assert numbers(path) == [(i, i) for i in range(20)]
    assert numbers(path, 7) == [(0, 0), (7, 7), (14, 14)]
    assert numbers(path, 100) == [(0, 0)]
    times = [frame.time for frame in read_video(path, 5)]
    assert np.allclose(np.diff(times), 0.2, atol=1e-3)


def test_frames_are_plain_arrays(tmp_path: Path) -> None:
    frame = next(iter(read_video(film(tmp_path / "a.mp4", [5], crf="1"), 1)))
    assert (frame.pixels.dtype, frame.pixels.shape) == (np.uint8, (SIZE[1], SIZE[0], 3))
    assert frame.pixels.flags.c_contiguous
    assert np.abs(frame.pixels.astype(int) - drawn(5)).mean() < 2


def test_times_of_a_variable_frame_rate_are_the_frames_own(tmp_path: Path) -> None:
    times = [0, 40, 80, 500, 510, 900, 2000, 2001]
    path = film(tmp_path / "a.mp4", range(8), times=times)
    found = [(round(frame.time * 1000), number_of(frame.pixels)) for frame in read_video(path, 1)]
    assert found == list(zip(times, range(8), strict=True))


@pytest.mark.parametrize("turn", TURNS)
def test_rotation_beside_the_pixels_is_applied(tmp_path: Path, turn: str) -> None:
    """The stored pixels are the upright ones, moved by the inverse; number_of insists on upright."""
    a, b, c, d = TURNS[turn]
    width, height = SIZE
    upright = drawn(0b1010011)
    shown = upright if not b else drawn(0b1010011, (height * 2, width))
    rows, columns = np.mgrid[: shown.shape[0], : shown.shape[1]]
    stored = np.empty((shown.shape[1], shown.shape[0], 3) if b else shown.shape, np.uint8)
    # Centred coordinates: what is shown at (x', y') is stored at (x, y), the transpose being the inverse.
    x, y = columns * 2 - shown.shape[1] + 1, rows * 2 - shown.shape[0] + 1
    sx, sy = a * x + b * y, c * x + d * y
    stored[(sy + stored.shape[0] - 1) // 2, (sx + stored.shape[1] - 1) // 2] = shown
    path = tmp_path / "stored.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = stored.shape[1], stored.shape[0], "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, "rgb24")))
        container.mux(stream.encode())
    (frame,) = read_video(turned(path, turn), 1)
    assert frame.pixels.shape == shown.shape
    assert number_of(frame.pixels) == 0b1010011


@pytest.mark.parametrize("space", [Colorspace.ITU709, Colorspace.ITU601])
@pytest.mark.parametrize("spread", [ColorRange.MPEG, ColorRange.JPEG])
def test_colours_are_read_as_the_video_says(tmp_path: Path, space: Colorspace, spread: ColorRange) -> None:
    path = tmp_path / "red.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = int(space), int(spread)
        red = av.VideoFrame.from_ndarray(np.full((64, 64, 3), (200, 60, 30), np.uint8), "rgb24")
        container.mux(stream.encode(red.reformat(format="yuv420p", dst_colorspace=space, dst_color_range=spread)))
        container.mux(stream.encode())
    (frame,) = read_video(path, 1)
    assert np.abs(frame.pixels[30, 30].astype(int) - (200, 60, 30)).max() <= 3


def test_a_video_that_changes_its_size(tmp_path: Path) -> None:
    """Two H.264 streams one after the other are a valid stream, as when a camera is switched."""
    wide = film(tmp_path / "wide.h264", range(6))
    tall = film(tmp_path / "tall.h264", range(6, 12), sizes=[(64, 96)])
    both = tmp_path / "both.h264"
    both.write_bytes(wide.read_bytes() + tall.read_bytes())
    frames = list(read_video(both, 1))
    assert [number_of(frame.pixels) for frame in frames] == list(range(12))
    assert {frame.pixels.shape for frame in frames} == {(64, 128, 3), (96, 64, 3)}
    seen: list[int] = []
    with pytest.raises(ImageError, match="64 x 96 pixels a frame, more than the 6000"):
        for frame in read_video(film(tmp_path / "large.h264", sizes=[(64, 96)]), 1, max_pixels=6000):
            seen.append(frame.index)
    assert not seen


# What is wrong with a video


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.avi", "mpeg4")])
def test_a_truncated_video_gives_what_is_there(tmp_path: Path, name: str, codec: str) -> None:
    path = film(tmp_path / name, range(100), codec=codec)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    seen, error = until_broken(path)
    assert seen == list(range(len(seen)))
    assert 30 < len(seen) < 80
    assert error.reason == Reason.TRUNCATED
    assert "frame " in error.message or "of 4.00 seconds" in error.message


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.mpg", "mpeg2video")]
)
def test_a_damaged_video_gives_what_is_good(tmp_path: Path, name: str, codec: str) -> None:
    path = film(tmp_path / name, range(100), codec=codec)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = np.random.default_rng(0).integers(0, 256, 200, np.uint8).tobytes()
    path.write_bytes(data)
    seen, error = until_broken(path)
    assert seen == list(range(len(seen)))
    assert 10 < len(seen) < 90
    assert error.reason == Reason.DAMAGED
    assert f"frame {len(seen)}" in error.message


def test_an_index_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    seen, error = until_broken(path)
    assert (seen, error.reason) == ([], Reason.TRUNCATED)
    assert error.message == "cannot be opened: Invalid data found when processing input: the file is cut off"


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile other.mp4\n"


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        pytest.param(b"", Reason.EMPTY, "is empty", id="no bytes"),
        pytest.param(b"text " * 100, Reason.DAMAGED, "cannot be opened", id="text"),
        pytest.param(PLAYLIST, Reason.DAMAGED, "cannot be opened", id="a play list names other files"),
        pytest.param(CONCAT, Reason.DAMAGED, "cannot be opened", id="so does a list to put together"),
    ],
)
def test_what_is_no_video(tmp_path: Path, data: bytes, reason: Reason, message: str) -> None:
    film(tmp_path / "other.mp4")
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    seen, error = until_broken(path)
    assert (seen, error.reason, error.subject) == ([], reason, str(path))
    assert message in error.message


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("seeds")
    kinds = (("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.mpg", "mpeg2video"))
    return [film(folder / name, range(8), codec=codec, sizes=[(64, 32)]).read_bytes() for name, codec in kinds]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.integers(0, 3),
    damage=st.lists(st.tuples(st.integers(0, 2**16), st.binary(min_size=1, max_size=8)), max_size=6),
    cut=st.integers(0, 4000),
)
def test_damaged_bytes_give_frames_or_an_image_error(
    seeds: list[bytes], tmp_path: Path, kind: int, damage: list[tuple[int, bytes]], cut: int
) -> None:
    data = bytearray(seeds[kind])
    for position, piece in damage:
        at = position % len(data)
        data[at : at + len(piece)] = piece
    path = tmp_path / "hostile"
    path.write_bytes(bytes(data[: max(1, len(data) - cut)]))
    seen = 0
    try:
        for frame in islice(read_video(path, 1, max_pixels=100_000), 200):
            assert (frame.index, frame.pixels.dtype, frame.pixels.shape[2]) == (seen, np.uint8, 3)
            assert math.isfinite(frame.time)
            seen += 1
    except ImageError as error:
        assert error.reason in set(Reason)
        assert error.message.isprintable()


def test_sound_alone(tmp_path: Path) -> None:
    seen, error = until_broken(sound(tmp_path / "a.mp4"))
    assert (seen, error.reason, error.message) == ([], Reason.UNSUPPORTED, "holds no video, only audio")


def test_large_frames_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    assert len(list(read_video(path, 1, max_pixels=128 * 64))) == 20
    with pytest.raises(ImageError, match="128 x 64 pixels a frame, more than the 8191") as refused:
        next(iter(read_video(path, 1, max_pixels=128 * 64 - 1)))
    assert refused.value.reason == Reason.TOO_LARGE


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as gone:
        list(read_video(tmp_path / "gone.mp4", 1))
    assert gone.value.reason == Reason.VANISHED


@pytest.mark.parametrize(
    "name",
    ["-y.mp4", "file:a.mp4", "http:a.mp4", "concat:a|b.mp4", "50%.mp4", "%03d.mp4", "a\nb.mp4", "é" * 125 + ".mp4"],
)
def test_odd_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "plain.mp4", range(3)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / name, Path(name)):
        assert numbers(path) == [(0, 0), (1, 1), (2, 2)]


def test_decoding_streams(tmp_path: Path) -> None:
    """A thousand frames of 25 kB take no more memory of Python's than ten."""
    path = film(tmp_path / "a.mp4", (i % 256 for i in range(1000)), gop=50, preset="ultrafast")
    tracemalloc.start()
    try:
        frames = read_video(path, 1)
        list(islice((frame.index for frame in frames), 10))
        tracemalloc.reset_peak()
        assert sum(1 for _ in frames) == 990
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_a_video_can_be_left_early(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    frames = read_video(film(tmp_path / "a.mp4"), 1)
    next(frames)
    frames.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
