"""Which image a frame of a SLEAP video is; ``sleap.py`` tells the format.

SLEAP names images and videos by absolute paths of the machine where they were labelled. What is left of a path when
some of its first folders are taken away is looked up below the folder of the images; how many folders that are is
one number for all frames of a video, the one that finds most of them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autolabel.errors import FormatError
from autolabel.formats.image_files import is_file

FRAME = "{:08d}.jpg"
"""What ``autolabel scan --every N`` calls a frame (:mod:`autolabel.frames`)."""

_VOTES = 1000
"""Frames of a video that are looked for to find out where its folder is."""


@dataclass(frozen=True)
class VideoPlace:
    """A video of a label file, as the file names it.

    Attributes:
        record: What errors call it, such as ``videos[2]``.
        subject: The label file.
        names: The files of an image list, or the name of one video.
        is_list: Which of the two it is.
    """

    record: str
    subject: str
    names: tuple[str, ...]
    is_list: bool

    def paths(self, frames: Sequence[int], images: Path | None) -> list[str]:
        """The paths of frames below the folder of the images.

        Args:
            frames: Numbers of frames.
            images: The folder; without it nothing is taken away but what makes a path absolute.

        Raises:
            FormatError: A number beyond the image list, or a video of which there are no frames below ``images``.
        """
        whole = [self._parts(frame) for frame in frames]
        drop = 0 if images is None else self._best_drop(whole, images)
        return ["/".join(parts[min(drop, len(parts) - 1) :]) for parts in whole]

    def _parts(self, frame: int) -> tuple[str, ...]:
        if not self.is_list:
            return (*_parts(self.names[0]), FRAME.format(frame))
        if frame >= len(self.names):
            message = f"has {len(self.names)} images and no frame {frame}"
            raise FormatError(message, record=self.record, subject=self.subject)
        parts = _parts(self.names[frame])
        if not parts:
            message = f"is {self.names[frame][:80]!r}, expected a path to an image"
            raise FormatError(message, record=self.record, field=f"filenames[{frame}]", subject=self.subject)
        return parts

    def _best_drop(self, whole: Sequence[tuple[str, ...]], images: Path) -> int:
        voters = whole[:: max(1, len(whole) // _VOTES)]
        best, most = 0, 0
        for drop in range(max((len(parts) for parts in whole), default=0)):
            found = sum(is_file(images.joinpath(*parts[min(drop, len(parts) - 1) :])) for parts in voters)
            if found > most:
                best, most = drop, found
            if found == len(voters):
                break
        if not most and not self.is_list and whole:
            raise FormatError(
                f"is the video {self.names[0]}, of which {images} holds no frames such as {whole[0][-1]}",
                record=self.record,
                subject=self.subject,
                remedy="Extract them with `autolabel scan VIDEOS --every 1 --frames FRAMES`; give FRAMES as --images.",
            )
        return best


def common_folder(paths: Sequence[str]) -> str:
    """The innermost folder that holds all paths, "" where there is none."""
    parents = [PurePosixPath(path).parent.parts for path in paths]
    common: list[str] = []
    for level in zip(*parents, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return "/".join(common)


def _parts(name: str) -> tuple[str, ...]:
    """The folders and the file of a path of any system, from the last ``..`` on, so that it cannot leave a root."""
    parts = [part for part in re.split(r"[/\\]", name.replace("\0", "")) if part not in ("", ".")]
    if parts and re.fullmatch("[A-Za-z]:", parts[0]):
        parts = parts[1:]
    return tuple(parts[len(parts) - parts[::-1].index("..") :] if ".." in parts else parts)
