"""The part of an image that a task shows, and the way from its pixels to Label Studio's percent and back.

Label Studio says where things are in percent of the picture's width and height. Our coordinates have pixel
centres at integers, so the middle of the first pixel of a part that is w pixels wide lies at 0.5 / w.
Enlarging the crop changes no percentage. Boxes are edges, not centres, and are never shifted.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from autolabel.poses import Pose

MARGIN = 0.2
"""Share of the box's longer side shown around it: a joint outside the box must stay within reach."""

MIN_ASPECT = 0.6
"""A narrower part is widened, so that a crop neither needs scrolling nor shows a sliver."""

MIN_SHOWN, MAX_SHOWN = 640, 1600
"""Longer side of the crop's file: small ones are enlarged for the eye and the mouse, huge ones kept
loadable."""

MIN_PART = 8
"""Image pixels: the least part worth showing, for boxes without extent."""

JPEG_QUALITY = 92

BOX_COLOR = "#a855f7"
"""Of boxes, whether the editor draws them or the crop's file does."""

_LINES = 500
"""The longer side of a crop in widths of the box's line: thin on the screen, and still there when a huge crop is made
to fit."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """A rectangle of whole image pixels, and the size of the crop's file that shows it.

    Attributes:
        origin: (x, y) of its first pixel.
        size: (width, height) in image pixels.
        shown: (width, height) of the file.
    """

    origin: tuple[int, int]
    size: tuple[int, int]
    shown: tuple[int, int]

    def to_percent(self, xy: ArrayLike) -> Floats:
        """(..., 2) full-image pixels to percent, clipped to the crop: Label Studio refuses points outside."""
        inside = (np.asarray(xy, np.float64) - self.origin + 0.5) / self.size
        return np.clip(100.0 * inside, 0.0, 100.0)

    def to_image(self, percent: ArrayLike) -> Floats:
        """(..., 2) percent to full-image pixels."""
        return np.asarray(percent, np.float64) / 100.0 * self.size + self.origin - 0.5

    def box_to_percent(self, box: ArrayLike) -> list[float]:
        """(4,) xyxy to Label Studio's [x, y, width, height] in percent, clipped to the crop."""
        corners = (np.asarray(box, np.float64).reshape(2, 2) - self.origin) / self.size
        low, high = np.clip(100.0 * corners, 0.0, 100.0)
        return [*low.tolist(), *(high - low).tolist()]

    def box_to_image(self, percent: ArrayLike) -> Floats:
        """(4,) [x, y, width, height] in percent to xyxy."""
        low, extent = np.asarray(percent, np.float64).reshape(2, 2)
        corners = np.stack([low, low + extent]) / 100.0 * self.size + self.origin
        return corners.reshape(4)


def frame_of(pose: Pose, image_size: tuple[int, int]) -> Frame:
    """What a task about a pose shows: its box and its keypoints with a margin, within the image.

    Args:
        pose: One without a box and without keypoints gets the whole image.
        image_size: (width, height).
    """
    limit = np.array(image_size, np.float64)
    corners = np.concatenate([pose.box.reshape(2, 2), pose.xy.astype(np.float64)])
    corners = np.clip(corners[~np.isnan(corners[:, 0])], 0, limit)
    if not len(corners):
        return whole(image_size)
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = MARGIN * (high - low).max()
    centre, extent = (low + high) / 2, high - low + 2 * margin
    extent = np.maximum(extent, max(MIN_ASPECT * extent.max(), MIN_PART))
    low = np.clip(np.floor(centre - extent / 2), 0, np.maximum(limit - MIN_PART, 0))
    high = np.minimum(np.maximum(np.ceil(centre + extent / 2), low + MIN_PART), limit)
    return _frame(low, high)


def whole(image_size: tuple[int, int]) -> Frame:
    """What a task about a whole image shows.

    Args:
        image_size: (width, height).
    """
    return _frame(np.zeros(2), np.array(image_size, np.float64))


def cut(image: NDArray[np.uint8], frame: Frame, box: ArrayLike | None = None) -> bytes:
    """The crop as a JPEG file.

    Args:
        image: (H, W, 3) RGB.
        frame: A part of it.
        box: (4,) xyxy, drawn around what it holds, where a region of the editor would take the clicks on it; NaN
            draws nothing.
    """
    (x, y), (width, height) = frame.origin, frame.size
    part = Image.fromarray(np.ascontiguousarray(image[y : y + height, x : x + width]))
    if part.size != frame.shown:
        part = part.resize(frame.shown, Image.Resampling.BICUBIC)
    if box is not None and not np.isnan(box).any():
        _outline(part, frame.box_to_percent(box))
    file = io.BytesIO()
    part.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _outline(part: Image.Image, percent: list[float]) -> None:
    (x, y, width, height), line = percent, max(1, round(max(part.size) / _LINES))
    scale = np.array(part.size) / 100.0
    low, high = np.array([x, y]) * scale, np.array([x + width, y + height]) * scale
    # Outwards from the box, as far as the crop reaches: its edge hides no joint.
    low, high = np.maximum(np.floor(low) - line, 0), np.minimum(np.ceil(high) + line - 1, np.array(part.size) - 1)
    ImageDraw.Draw(part).rectangle([*low.tolist(), *high.tolist()], outline=BOX_COLOR, width=line)


def _frame(low: Floats, high: Floats) -> Frame:
    x, y = (int(v) for v in low)
    width, height = (int(v) for v in high - low)
    longer = max(width, height)
    scale = min(max(longer, MIN_SHOWN), MAX_SHOWN) / longer
    shown = (max(1, math.floor(width * scale + 0.5)), max(1, math.floor(height * scale + 0.5)))
    return Frame((x, y), (width, height), shown)
