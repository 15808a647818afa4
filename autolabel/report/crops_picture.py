"""A grid of training crops with what they teach, for a person to look at before a training.

A training on mirrored, shifted or mixed-up labels runs to its end and gives a bad network. Here it is seen at once:
each crop stands as the network gets it with its skeleton on it, and beside it the target heatmaps, each shining in
the colour of its keypoint's side. Blue is the person's left, orange the right: of somebody who faces the camera the
blue side is on the right of the picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from autolabel.errors import InputError
from autolabel.poses import Poses, Visibility
from autolabel.report.overlay import PAPER, SUPERSAMPLE, View, draw_poses, whole_view
from autolabel.report.picture_file import write_picture
from autolabel.skeleton import Skeleton

SHOWN_HEIGHT = 320
"""Pixels that lower crops are enlarged to."""

_WIDTH = 1700
_GAP = 14
_LINE = 17
_TEXT = 13
_MOST_LINES = 3
_INK, _MUTED, _EDGE = "#17222e", "#56636f", "#101820"
_ARROW = 11.0
"""Length of an arrow at the edge, pixels."""

_EXPLAINED = (
    "blue: the person's left (on the right of somebody facing you)   orange: the right   green: no side   "
    "hollow: hidden   arrow: labelled, outside the crop   beside each crop: its target heatmaps, dots: the keypoints"
)

Floats = NDArray[np.float64]
Word = tuple[str, str]
"""A word and its colour."""


@dataclass(frozen=True, eq=False)
class _Crop:
    """One crop and what is said about its K keypoints; without those that its skeleton does not have."""

    image: NDArray[np.uint8]
    xy: Floats
    visibility: NDArray[np.uint8]
    skeleton: Skeleton
    heatmaps: Floats | None
    caption: str

    @property
    def labelled(self) -> NDArray[np.bool_]:
        stated = (self.visibility == Visibility.VISIBLE) | (self.visibility == Visibility.HIDDEN)
        return stated & np.isfinite(self.xy).all(axis=-1)


def crops_picture(
    crops: NDArray[np.uint8],
    xy: ArrayLike,
    visibility: ArrayLike,
    skeletons: Sequence[Skeleton],
    path: Path,
    *,
    dataset: Sequence[int] | None = None,
    heatmaps: ArrayLike | None = None,
    captions: Sequence[str] | None = None,
) -> Path:
    """Draw crops, their keypoints and their targets, and write them as a PNG.

    Below each crop stand its caption, and the names of the keypoints that are absent and unlabelled.

    Args:
        crops: (n, H, W, 3) RGB, n from 1.
        xy: (n, K, 2) in crop pixels, centres at integers; K is that of the largest skeleton. Read only where a
            keypoint is visible or hidden, on the crop or beyond it.
        visibility: (n, K), see :class:`autolabel.poses.Visibility`.
        skeletons: One, or one per dataset.
        path: Where to; an older picture is replaced whole.
        dataset: (n,) which skeleton each crop has; the first by default.
        heatmaps: (n, K, h, w) targets from 0 to 1; drawn over the whole crop, edge to edge.
        captions: (n,) what else to say about each.

    Returns:
        ``path``.

    Raises:
        InputError: There is no crop, or the arrays do not fit each other; says how.
    """
    shown = list(_crops(crops, xy, visibility, skeletons, dataset, heatmaps, captions))
    scale = max(1.0, SHOWN_HEIGHT / crops.shape[1])
    tiles = [_tile(crop, whole_view(crop.image, scale)) for crop in shown]
    picture = _grid(tiles, [list(_strip(crop, tiles[0].width)) for crop in shown])
    write_picture(path, lambda file: picture.save(file, "PNG"))
    return path


def _crops(
    crops: NDArray[np.uint8],
    xy: ArrayLike,
    visibility: ArrayLike,
    skeletons: Sequence[Skeleton],
    dataset: Sequence[int] | None,
    heatmaps: ArrayLike | None,
    captions: Sequence[str] | None,
) -> Iterator[_Crop]:
    n = len(crops)
    if n == 0:
        raise InputError("there is no crop to draw")
    places, states = np.asarray(xy, np.float64), np.asarray(visibility, np.uint8)
    maps = None if heatmaps is None else np.asarray(heatmaps, np.float64)
    heads = [0] * n if dataset is None else [int(head) for head in dataset]
    k = max(skeleton.num_keypoints for skeleton in skeletons)
    for what, actual, expected in (
        ("crops", crops.shape, (n, *crops.shape[1:3], 3)),
        ("xy", places.shape, (n, k, 2)),
        ("visibility", states.shape, (n, k)),
        ("heatmaps", (n, k) if maps is None else maps.shape[:2], (n, k)),
        ("dataset", (len(heads),), (n,)),
        ("captions", (n if captions is None else len(captions),), (n,)),
    ):
        if tuple(actual) != tuple(expected):
            raise InputError(f"{what} has the shape {tuple(actual)}, expected {tuple(expected)}")
    for i, head in enumerate(heads):
        own = skeletons[head].num_keypoints
        yield _Crop(
            crops[i], places[i, :own], states[i, :own], skeletons[head],
            None if maps is None else maps[i, :own], "" if captions is None else captions[i],
        )  # fmt: skip


def _tile(crop: _Crop, view: View) -> Image.Image:
    """The crop with its skeleton and, where there are heatmaps, the same crop with them beside it."""
    pose = Poses.create(
        crop.skeleton.num_keypoints,
        xy=np.where(crop.labelled[:, None], crop.xy, np.nan)[None],
        visibility=np.where(crop.labelled, crop.visibility, Visibility.UNLABELLED)[None],
        box=[[0, 0, crop.image.shape[1], crop.image.shape[0]]],  # the pen is as wide for all crops
    )
    drawn = Image.fromarray(draw_poses(crop.image, pose, crop.skeleton, view=view, boxes=False))
    _arrows(drawn, crop, view.place(crop.xy))
    if crop.heatmaps is None:
        return drawn
    tile = Image.new("RGB", (2 * drawn.width + 2, drawn.height), "white")
    tile.paste(drawn, (0, 0))
    tile.paste(_glow(crop, crop.heatmaps, view), (drawn.width + 2, 0))
    return tile


def _arrows(picture: Image.Image, crop: _Crop, at: Floats) -> None:
    """Triangles at the edge, which point to labelled keypoints outside; hollow ones to hidden keypoints."""
    size = np.array(picture.size, np.float64)
    layer = Image.new("RGBA", (picture.width * SUPERSAMPLE, picture.height * SUPERSAMPLE))
    draw = ImageDraw.Draw(layer)
    for k in map(int, np.flatnonzero(crop.labelled & ((at < 0) | (at > size)).any(axis=-1))):
        tip = np.clip(at[k], 1.0, size - 1.0)
        along = (at[k] - tip) / np.hypot(*(at[k] - tip))
        across = np.array([-along[1], along[0]])
        base = tip - _ARROW * along
        corners = np.stack([tip, base + 0.55 * _ARROW * across, base - 0.55 * _ARROW * across]) * SUPERSAMPLE
        hollow = crop.visibility[k] == Visibility.HIDDEN
        colour = ImageColor.getrgb(crop.skeleton.colors[k])
        draw.polygon(
            corners.reshape(-1).tolist(),
            fill=None if hollow else colour,
            outline=colour if hollow else _EDGE,
            width=2 * SUPERSAMPLE if hollow else SUPERSAMPLE,
        )
    smooth = layer.resize(picture.size, Image.Resampling.BOX)
    picture.paste(smooth.convert("RGB"), mask=smooth.getchannel("A"))


def _glow(crop: _Crop, heatmaps: Floats, view: View) -> Image.Image:
    """The crop, grey and dark, under the highest heatmap of each place, with dots where the keypoints are."""
    grey = np.asarray(Image.fromarray(crop.image).convert("L").resize(view.size, Image.Resampling.BILINEAR), np.float64)
    picture = np.repeat(0.45 * grey[..., None], 3, axis=-1)
    most, colour = np.zeros((*grey.shape, 1)), np.zeros((*grey.shape, 3))
    for its in dict.fromkeys(crop.skeleton.colors):
        highest = np.nan_to_num(heatmaps[[k for k, own in enumerate(crop.skeleton.colors) if own == its]]).max(axis=0)
        shine = Image.fromarray(np.clip(highest, 0, 1).astype(np.float32)).resize(view.size, Image.Resampling.BILINEAR)
        share = np.asarray(shine, np.float64)[..., None]
        colour = np.where(share > most, np.array(ImageColor.getrgb(its)[:3]), colour)
        most = np.maximum(share, most)
    shone = picture * (1 - most) + most * colour
    glowing = Image.fromarray(np.clip(np.round(shone), 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(glowing)
    for x, y in np.floor(view.place(crop.xy[crop.labelled])):
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill="white", outline=_EDGE)
    return glowing


def _strip(crop: _Crop, width: int) -> Iterator[list[Word]]:
    """Lines below a crop."""
    if crop.caption:
        yield from _wrapped([(crop.caption, _INK)], width)
    states = [
        ("absent:", np.flatnonzero(crop.visibility == Visibility.ABSENT)),
        ("unlabelled:", np.flatnonzero(crop.visibility == Visibility.UNLABELLED)),
    ]
    for what, places in states:
        colour = crop.skeleton.colors if what == "absent:" else [_MUTED] * crop.skeleton.num_keypoints
        if len(places):
            named = [(crop.skeleton.keypoints[k], _readable(colour[k])) for k in map(int, places)]
            yield from _wrapped([(what, _INK), *named], width)


def _wrapped(words: Sequence[Word], width: int) -> Iterator[list[Word]]:
    """Words in lines that are no wider; what three lines do not hold is counted."""
    font, lines, used = _font(), [list[Word]()], 0.0
    for place, (word, colour) in enumerate(words):
        wide = font.getlength(word + " ")
        room = width - (font.getlength("and 999 more ") if len(lines) == _MOST_LINES else 0.0)
        if used + wide > room and lines[-1]:
            if len(lines) == _MOST_LINES:
                lines[-1].append((f"and {len(words) - place} more", _MUTED))
                break
            lines, used = [*lines, []], 0.0
        lines[-1].append((word, colour))
        used += wide
    yield from lines


def _readable(colour: str) -> str:
    """A keypoint's colour, dark enough for small letters on white."""
    r, g, b = ImageColor.getrgb(colour)[:3]
    return f"#{int(0.75 * r):02x}{int(0.75 * g):02x}{int(0.75 * b):02x}"


def _grid(tiles: Sequence[Image.Image], strips: Sequence[Sequence[Sequence[Word]]]) -> Image.Image:
    width, height = tiles[0].size
    columns = max(1, min(len(tiles), (_WIDTH - _GAP) // (width + _GAP)))
    rows = [range(start, min(start + columns, len(tiles))) for start in range(0, len(tiles), columns)]
    text = [6 + _LINE * max((len(strips[i]) for i in row), default=0) for row in rows]
    whole = _GAP + columns * (width + _GAP)
    explained = list(_wrapped([(word, _MUTED) for word in _EXPLAINED.split(" ")], whole - 2 * _GAP))
    top = _GAP + _LINE * len(explained) + 4
    picture = Image.new("RGB", (whole, top + sum(text) + len(rows) * (height + _GAP)), "white")
    draw = ImageDraw.Draw(picture)
    _write(draw, explained, _GAP, _GAP - 4)
    for row, tall in zip(rows, text, strict=True):
        for column, i in enumerate(row):
            left = _GAP + column * (width + _GAP)
            draw.rectangle((left - 1, top - 1, left + width, top + height), outline=PAPER)
            picture.paste(tiles[i], (left, top))
            _write(draw, strips[i], left, top + height + 3)
        top += height + tall + _GAP
    return picture


def _write(draw: ImageDraw.ImageDraw, lines: Sequence[Sequence[Word]], left: int, top: int) -> None:
    font = _font()
    for line in lines:
        at = float(left)
        for word, colour in line:
            draw.text((at, top), word, fill=colour, font=font)
            at += font.getlength(word + " ")
        top += _LINE


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT)
