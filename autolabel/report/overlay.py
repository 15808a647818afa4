"""Poses drawn on their images: limbs and joints in the colours of the body's sides.

Blue is the person's left, orange the right, green has no side (``SIDE_COLORS``). A full joint is visible, a
hollow one hidden; what a pose does not claim to lie inside the image is not drawn. All is drawn twice as
large and shrunk, which makes Pillow's lines smooth, and has a dark edge, so that it shows on any ground.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageColor, ImageDraw

from autolabel.poses import Poses, Visibility
from autolabel.similarity import claims_present, longer_side
from autolabel.skeleton import SIDE_COLORS, Skeleton

PAPER = "#e9edf1"
"""What is shown outside the image."""

MARK = "#e6007e"
"""Doubtful joints and moved ones; none of the sides' colours."""

SUPERSAMPLE = 2

_EDGE = (16, 24, 32, 150)
_BOX = (255, 255, 255, 170)
_MARGIN = 0.12
_LEAST_SIDE = 8.0

Floats = NDArray[np.float64]
Colour = tuple[int, ...]


@dataclass(frozen=True)
class View:
    """The part of an image that is shown, and how large.

    Attributes:
        window: (x0, y0, x1, y1) edges in image pixels, 0 being the left or top edge of the first pixel; it
            may reach beyond the image.
        size: (width, height) of the picture.
    """

    window: tuple[int, int, int, int]
    size: tuple[int, int]

    @property
    def scale(self) -> float:
        """Picture pixels per image pixel."""
        return self.size[0] / (self.window[2] - self.window[0])

    def place(self, xy: ArrayLike) -> Floats:
        """(..., 2) full-image coordinates, centres at integers, to edges of the picture's pixels."""
        return (np.asarray(xy, np.float64) + 0.5 - self.window[:2]) * self.scale

    def edges(self, xy: ArrayLike) -> Floats:
        """(..., 2) corners of boxes, which are edges already, to edges of the picture's pixels."""
        return (np.asarray(xy, np.float64) - self.window[:2]) * self.scale

    def show(self, image: NDArray[np.uint8]) -> Image.Image:
        """The picture without poses."""
        whole = Image.fromarray(image)
        x0, y0, x1, y1 = self.window
        part = Image.new("RGB", (x1 - x0, y1 - y0), PAPER)
        part.paste(whole, (-x0, -y0))
        return part.resize(self.size, Image.Resampling.LANCZOS)


def whole_view(image: NDArray[np.uint8], scale: float = 1.0) -> View:
    """All of an (H, W, 3) image."""
    height, width = image.shape[:2]
    return View((0, 0, width, height), (max(1, round(width * scale)), max(1, round(height * scale))))


def pose_view(poses: Poses, image_size: tuple[int, int], side: int) -> View:
    """A square around the boxes and claimed joints of some poses; it stays inside the image if it can.

    Args:
        poses: At least one, of one image, with a box or a joint.
        image_size: (width, height) of the image.
        side: Width and height of the picture.
    """
    joints = np.where(claims_present(poses)[..., None], poses.xy + 0.5, np.nan).reshape(-1, 2)
    corners = np.concatenate([joints.astype(np.float64), poses.box.reshape(-1, 2)])
    low, high = np.nanmin(corners, axis=0), np.nanmax(corners, axis=0)
    edge = int(np.ceil(max(float((high - low).max()), _LEAST_SIDE) * (1 + 2 * _MARGIN)))
    start = np.floor((low + high - edge) / 2)
    room = np.array(image_size) - edge
    x0, y0 = np.where(room >= 0, np.clip(start, 0, np.maximum(room, 0)), start).astype(int).tolist()
    return View((x0, y0, x0 + edge, y0 + edge), (side, side))


def draw_poses(
    image: NDArray[np.uint8],
    poses: Poses,
    skeleton: Skeleton,
    *,
    view: View | None = None,
    boxes: bool = True,
    marked: NDArray[np.bool_] | None = None,
    before: NDArray[np.floating] | None = None,
) -> NDArray[np.uint8]:
    """Draw N poses on their image; gives (height, width, 3) RGB of the view's size.

    Args:
        image: (H, W, 3) RGB.
        poses: N, of that image.
        skeleton: Gives limbs and colours.
        view: What to show; the whole image by default.
        boxes: Draw the boxes too, below all poses.
        marked: (N, K) joints to put a ring around.
        before: (N, K, 2) where the joints were; a line leads from there to where they are.
    """
    view = view or whole_view(image)
    layer = Image.new("RGBA", (view.size[0] * SUPERSAMPLE, view.size[1] * SUPERSAMPLE))
    drawing = _Drawing(ImageDraw.Draw(layer), skeleton)
    xy = view.place(poses.xy) * SUPERSAMPLE
    shown = claims_present(poses) & ~np.isnan(xy[..., 0])
    hidden = poses.visibility == Visibility.HIDDEN
    if boxes:
        drawing.boxes(view.edges(poses.box.reshape(-1, 2, 2)) * SUPERSAMPLE)
    for i, pen in enumerate(_pens(poses, view)):
        drawing.limbs(xy[i], shown[i], hidden[i], pen)
        if before is not None:
            drawing.moves(view.place(before[i]) * SUPERSAMPLE, xy[i], shown[i], pen)
        drawing.joints(xy[i], shown[i], hidden[i], pen)
        if marked is not None:
            drawing.rings(xy[i], shown[i] & marked[i], pen)
    smooth = layer.resize(view.size, Image.Resampling.BOX)
    return np.asarray(Image.alpha_composite(view.show(image).convert("RGBA"), smooth).convert("RGB"))


def _pens(poses: Poses, view: View) -> list[float]:
    """Width of each pose's limbs in the enlarged layer: in proportion to the pose, within what is legible."""
    shown = 0.013 * np.nan_to_num(longer_side(poses)) * view.scale
    return (np.clip(shown, 1.6, 5.0) * SUPERSAMPLE).tolist()


class _Drawing:
    """Draws one pose after the other, in coordinates of the enlarged layer, pixel edges at integers."""

    def __init__(self, draw: ImageDraw.ImageDraw, skeleton: Skeleton) -> None:
        self._draw = draw
        self._edges = skeleton.edges
        self._joint = [_rgb(color) for color in skeleton.colors]
        self._limb = [_rgb(_limb_color(skeleton, i, j)) for i, j in skeleton.edges]

    def boxes(self, corners: Floats) -> None:
        for box in corners[~np.isnan(corners).any(axis=(1, 2))]:
            self._draw.rectangle(_covered(box), outline=_EDGE, width=2 * SUPERSAMPLE)
            self._draw.rectangle(_covered(box), outline=_BOX, width=SUPERSAMPLE)

    def limbs(self, xy: Floats, shown: NDArray[np.bool_], hidden: NDArray[np.bool_], pen: float) -> None:
        drawn = [n for n, (i, j) in enumerate(self._edges) if shown[i] and shown[j]]
        for n in drawn:  # all dark edges first, so that none crosses a limb
            self._line(xy[list(self._edges[n])], _EDGE, pen + 1.5 * SUPERSAMPLE)
        for n in drawn:
            alpha = 150 if hidden[list(self._edges[n])].any() else 255
            self._line(xy[list(self._edges[n])], (*self._limb[n], alpha), pen)

    def joints(self, xy: Floats, shown: NDArray[np.bool_], hidden: NDArray[np.bool_], pen: float) -> None:
        for k in map(int, np.flatnonzero(shown)):
            self._disc(xy[k], 1.35 * pen + SUPERSAMPLE, fill=_EDGE)
            self._disc(xy[k], 1.35 * pen, fill=(*self._joint[k], 255))
            if hidden[k]:
                self._disc(xy[k], 0.7 * pen, fill=(0, 0, 0, 0))

    def rings(self, xy: Floats, shown: NDArray[np.bool_], pen: float) -> None:
        for k in map(int, np.flatnonzero(shown)):
            colour = (*_rgb(MARK), 255)
            self._disc(xy[k], 2.9 * pen, outline=colour, width=round(max(0.6 * pen, SUPERSAMPLE)))

    def moves(self, before: Floats, after: Floats, shown: NDArray[np.bool_], pen: float) -> None:
        moved = shown & (np.hypot(*(after - before).T) > pen)  # NaN compares as not moved
        colour = (*_rgb(MARK), 255)
        for k in map(int, np.flatnonzero(moved)):
            self._line(np.stack([before[k], after[k]]), colour, max(0.7 * pen, 1.2 * SUPERSAMPLE))
            self._disc(before[k], pen, fill=(255, 255, 255, 255), outline=colour, width=SUPERSAMPLE)

    def _line(self, ends: Floats, colour: Colour, width: float) -> None:
        self._draw.line(_pixels(ends), fill=colour, width=max(1, round(width)))
        for end in ends:  # round ends
            self._disc(end, width / 2, fill=colour)

    def _disc(
        self,
        centre: Floats,
        radius: float,
        *,
        fill: Colour | None = None,
        outline: Colour | None = None,
        width: int = 1,
    ) -> None:
        corners = np.stack([centre - radius, centre + radius])
        self._draw.ellipse(_covered(corners), fill=fill, outline=outline, width=width)


def _limb_color(skeleton: Skeleton, i: int, j: int) -> str:
    """A limb takes the colour of its side; one from side to side, such as the shoulders, has none."""
    a, b = skeleton.sides[i], skeleton.sides[j]
    if "centre" in (a, b):
        return skeleton.colors[j if a == "centre" else i]
    return skeleton.colors[i] if a == b else SIDE_COLORS["centre"]


def _rgb(color: str) -> tuple[int, int, int]:
    r, g, b = cast("tuple[int, ...]", ImageColor.getrgb(color))[:3]
    return r, g, b


def _pixels(points: Floats) -> list[float]:
    """(P, 2) points to the pixels that hold them, flat; Pillow would cut fractions off towards zero."""
    return np.floor(points).reshape(-1).tolist()


def _covered(corners: Floats) -> list[float]:
    """(2, 2) edges to the first and the last pixel between them, flat."""
    first, last = np.round(corners) - [[0], [1]]
    return [*first, *np.maximum(first, last)]
