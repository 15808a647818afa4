"""Frames of videos on disk: each written once, in a folder named like its video.

``frames.json`` in that folder says which video in which state the frames are of, which frames they are and, when
the video broke off, why. It is written before the first frame, and again when all are there: a killed job finds
out which videos are done, and in the others which frames need not be written again.

Frames are JPEGs of quality 95 without subsampling. Against the decoded frame that changes a pixel by about 1.5
grey levels, where the video itself had changed the camera's picture by 3 to 6; PNG would be three times as large.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from autolabel.errors import ExistsError, ImageError
from autolabel.images import MAX_PIXELS
from autolabel.listing import Frame, ImageFile, Quarantined, VideoFile
from autolabel.manifest import make_folder, write_text
from autolabel.video import read_video

FRAMES = "frames"
"""Name of the corpus root that holds frames."""

RECORD = "frames.json"
QUALITY = 95

_NAME = "{:08d}.jpg"


@dataclass(frozen=True)
class FrameFolder:
    """Where the frames of one video are.

    Attributes:
        top: The folder of all frames, a corpus root.
        place: The folder of this video's frames below it, with forward slashes.
        video: The video.
        every: Which frames are taken: every ``every``-th.
    """

    top: Path
    place: str
    video: VideoFile
    every: int

    def extract(
        self,
        source: Path,
        *,
        overwrite: bool = False,
        max_pixels: int = MAX_PIXELS,
        seen: Callable[[], None] = lambda: None,
    ) -> int:
        """Write the frames that are not there yet.

        Args:
            source: The video's file.
            overwrite: Replace the frames of another state of the video, or of another ``every``.
            max_pixels: Larger frames are not decoded.
            seen: Is called after every frame that is taken, whether it had to be written or was there.

        Returns:
            How many frames there are now. A video that cannot be read has none, or those before its break.

        Raises:
            ExistsError: The folder holds the frames of another state of the video, or of another ``every``.
        """
        folder = self.top / self.place
        record = self._read()
        if record is not None and record["of"] != self._of():
            if not overwrite:
                raise ExistsError(
                    f"holds other frames of the video: {_told(record['of'])} there, {_told(self._of())} asked for",
                    subject=str(folder),
                    remedy="Give another --frames; --overwrite replaces only those inside --out.",
                )
            shutil.rmtree(folder)
            record = None
        if record is not None and record["done"]:
            return len(record["frames"])
        make_folder(folder)
        for leftover in folder.glob(".*.tmp"):  # of a process that was killed while it wrote
            leftover.unlink()
        if record is None and any(folder.iterdir()):
            raise ExistsError(
                "holds files that autolabel did not make", subject=str(folder), remedy="Give another --frames."
            )
        self._write(done=False)
        frames, fault = self._extracted(source, max_pixels, seen)
        self._write(done=True, frames=frames, fault=fault)
        return len(frames)

    def files(self) -> Iterator[ImageFile | Quarantined]:
        """The frames, in order, and the video itself when something is wrong with it.

        Raises:
            ExistsError: :meth:`extract` was not called before.
        """
        record = self._read()
        if record is None or not record["done"]:
            raise ExistsError("the frames are not there yet", subject=str(self.top / self.place))
        video = self.video
        for index, time in record["frames"]:
            frame = Frame(video.root, video.path, index, time)
            yield ImageFile(f"{self.place}/{_NAME.format(index)}", 0, 0, FRAMES, frame)
        if record["fault"] is not None:
            reason, detail = record["fault"]
            kept = f"; the {len(record['frames'])} frames before are used" if record["frames"] else ""
            yield Quarantined(video.path, reason, detail + kept, video.root)

    def _extracted(
        self, source: Path, max_pixels: int, seen: Callable[[], None]
    ) -> tuple[list[tuple[int, float]], tuple[str, str] | None]:
        frames: list[tuple[int, float]] = []
        try:
            for image in read_video(source, self.every, max_pixels=max_pixels):
                file = self.top / self.place / _NAME.format(image.index)
                if not file.is_file():
                    _save(Image.fromarray(image.pixels), file)
                frames.append((image.index, image.time))
                seen()
        except ImageError as error:
            return frames, (error.reason, error.message)
        return frames, None

    def _of(self) -> dict[str, Any]:
        return {"bytes": self.video.bytes, "mtime_ns": self.video.mtime_ns, "every": self.every}

    def _read(self) -> dict[str, Any] | None:
        file = self.top / self.place / RECORD
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def _write(self, **rest: Any) -> None:
        record = {"video": self.video.path, "of": self._of(), **rest}
        write_text(self.top / self.place / RECORD, json.dumps(record, ensure_ascii=False))


def _save(image: Image.Image, file: Path) -> None:
    """A reader sees the whole frame or none."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    image.save(temporary, "JPEG", quality=QUALITY, subsampling=0)
    temporary.replace(file)


def _told(of: dict[str, Any]) -> str:
    return f"every {of['every']} of {of['bytes']} bytes"
