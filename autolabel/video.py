"""Videos as a source of images: every N-th frame, upright, decoded in a stream.

Frames are counted as they are shown, from 0, whatever their spacing; a frame's time is its own timestamp, so that
videos of variable frame rate are right. The rotation and mirroring that a phone writes beside the pixels are
applied here, as EXIF orientation is applied to photographs. Pixels are not deinterlaced, and where they are not
square they are kept as they are stored.

A video breaks at the first frame that is missing or damaged: what came before is good and is given, then an
:class:`ImageError` says what is wrong. Only containers that hold their own data are opened; play lists, which name
other files and addresses, are not.
"""

# PyAV's stubs leave parts of frames and streams unknown to pyright.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ConfigError, ImageError
from autolabel.image_faults import ends_early
from autolabel.images import MAX_PIXELS, Reason, access_error

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

CONTAINERS = (
    *("mov", "matroska", "avi", "mpeg", "mpegts", "mpegvideo", "asf", "flv", "ogg", "mxf", "h264", "hevc", "m4v"),
    *("wtv", "dv", "ivf"),
)
"""What is opened, in FFmpeg's names."""

SHORTFALL = 0.5
"""A video is called truncated when its frames end this many seconds, and 2 % of its length, before it says it does."""

_ATTACHED_PICTURE = 0x400
_FIXED_POINT = 65536


@dataclass(frozen=True, eq=False)
class VideoImage:
    """A frame of a video.

    Attributes:
        index: Its number among all frames as they are shown, from 0.
        time: Its timestamp in seconds.
        pixels: (H, W, 3) uint8 RGB, upright.
    """

    index: int
    time: float
    pixels: NDArray[np.uint8]


def require_video() -> None:
    """Refuse to go on where the library that decodes videos is missing.

    Raises:
        ConfigError: It is.
    """
    try:
        import av
    except ImportError as error:
        raise ConfigError(
            f"videos cannot be decoded: {error}",
            subject="--every",
            remedy="pip install 'skeleton-autolabel[video]'",
        ) from error
    del av


def read_video(path: str | Path, every: int, *, max_pixels: int = MAX_PIXELS) -> Iterator[VideoImage]:
    """Every ``every``-th frame of a video, from the first on.

    Args:
        path: The file.
        every: 1 gives all frames.
        max_pixels: Larger frames are refused before they are decoded.

    Yields:
        Frames in the order they are shown.

    Raises:
        ImageError: It cannot be read, holds no video, or breaks off; ``reason`` says why. Frames that were given
            before are good.
        ConfigError: The library that decodes videos is missing.
    """
    require_video()
    import av
    from av.error import FFmpegError

    subject = str(Path(path).absolute())  # never a name that FFmpeg takes for an address
    try:
        if not Path(subject).stat().st_size:
            raise ImageError("is empty", reason=Reason.EMPTY, subject=subject)
        options = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
        with av.open(subject, options=options, metadata_errors="replace") as container:
            stream = _video(container, subject)
            yield from _frames(container, stream, every, subject, max_pixels)
    except FFmpegError as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise access_error(error, subject) from error
        raise _broken(f"cannot be opened: {_told(error)}", subject) from error
    except OSError as error:
        raise access_error(error, subject) from error


def _video(container: "InputContainer", subject: str) -> "VideoStream":
    """The first stream that is a video and no cover picture."""
    for stream in container.streams.video:
        if not int(stream.disposition) & _ATTACHED_PICTURE:
            return stream
    kinds = sorted({stream.type for stream in container.streams})
    raise ImageError(
        f"holds no video, only {', '.join(kinds) or 'nothing'}", reason=Reason.UNSUPPORTED, subject=subject
    )


def _frames(
    container: "InputContainer", stream: "VideoStream", every: int, subject: str, max_pixels: int
) -> Generator[VideoImage]:
    context = cast("VideoCodecContext | None", stream.codec_context)  # PyAV's stubs promise one
    if context is None:
        raise ImageError("its codec is unknown", reason=Reason.UNSUPPORTED, subject=subject)
    _check_size(context.width, context.height, subject, max_pixels)
    context.options = {"max_pixels": str(max_pixels)}
    context.thread_type = "SLICE"  # which frame is the last good one must not depend on the machine
    step = float(1 / stream.average_rate) if stream.average_rate else 0.0
    first, time, turn = math.nan, -step, _Upright()
    index = -1
    for index, frame in enumerate(_decoded(container, stream, subject)):
        _check_size(frame.width, frame.height, subject, max_pixels)
        if frame.is_corrupt:
            raise _broken(f"frame {index} is damaged", subject)
        time = float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base else time + step
        first = time if math.isnan(first) else first
        turn.learn(frame)
        if index % every == 0:
            yield VideoImage(index, time, turn(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)))
    if index < 0:
        raise _broken("holds no frame that can be decoded", subject)
    length, reached = _length(container, stream), time + step - first
    if length - reached > max(SHORTFALL, 0.02 * length):
        raise ImageError(f"ends after {reached:.2f} of {length:.2f} seconds", reason=Reason.TRUNCATED, subject=subject)


def _decoded(container: "InputContainer", stream: "VideoStream", subject: str) -> "Iterator[VideoFrame]":
    from av.error import FFmpegError

    count = 0
    try:
        for frame in container.decode(stream):
            yield frame
            count += 1
    except FFmpegError as error:
        raise _broken(f"breaks at frame {count}: {_told(error)}", subject) from error


def _length(container: "InputContainer", stream: "VideoStream") -> float:
    """Seconds that the video says it lasts; 0 when it does not, as a length may be that of the sound."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return float(Fraction(container.duration, 1_000_000))
    return 0.0


class _Upright:
    """Turns and mirrors frames as the last display matrix says.

    A point (x, y) of the stored picture is shown at (a x + c y, b x + d y) (ISO/IEC 14496-12, 8.3.2).
    """

    def __init__(self) -> None:
        self._matrix = (1.0, 0.0, 0.0, 1.0)

    def learn(self, frame: "VideoFrame") -> None:
        found: Any = frame.side_data.get("DISPLAYMATRIX")
        if found is not None:
            m = np.frombuffer(bytes(found), np.int32)[[0, 1, 3, 4]] / _FIXED_POINT
            self._matrix = (float(m[0]), float(m[1]), float(m[2]), float(m[3]))

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        a, b, c, d = self._matrix
        turned = abs(b) > abs(a)
        shown = pixels.swapaxes(0, 1) if turned else pixels
        across, down = (c, b) if turned else (a, d)
        return np.ascontiguousarray(shown[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])


def _check_size(width: int, height: int, subject: str, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            f"{width} x {height} pixels a frame, more than the {max_pixels} that are decoded",
            reason=Reason.TOO_LARGE,
            subject=subject,
        )


def _broken(message: str, subject: str) -> ImageError:
    """Damaged; or truncated, where the file itself says that it should be longer."""
    try:
        with Path(subject).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            cut = ends_early(data)
    except OSError:
        cut = False
    reason, told = (Reason.TRUNCATED, ": the file is cut off") if cut else (Reason.DAMAGED, "")
    return ImageError(f"{message}{told}", reason=reason, subject=subject)


def _told(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or error)
