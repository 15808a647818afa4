"""Contact sheets of labelled poses, for a person who judges one label after the other.

Each cell shows one person, enlarged, with the label's skeleton in the colours of the sides and a number; nothing else,
so that whoever judges does not know what a network thinks. With ``predictions`` the network's pose stands beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from autolabel.errors import InputError
from autolabel.poses import Poses
from autolabel.report.overlay import draw_poses, pose_view
from autolabel.report.picture_file import write_picture
from autolabel.skeleton import Skeleton

COLUMNS, ROWS = 5, 3
SIDE = 260
"""Pixels of a cell."""

_GAP = 8
_TEXT = 15
_INK = "#17222e"
_LEGEND = "blue: the person's left   orange: the right   green: no side   hollow: hidden"


@dataclass(frozen=True, eq=False)
class Cell:
    """One labelled person.

    Attributes:
        number: What the cell is called.
        image: (H, W, 3) RGB.
        label: The pose, alone.
        prediction: What a network says of the same person, to stand beside it.
    """

    number: int
    image: NDArray[np.uint8]
    label: Poses
    prediction: Poses | None = None


def write_label_sheets(
    cells: Sequence[Cell],
    skeleton: Skeleton,
    folder: Path,
    *,
    columns: int = COLUMNS,
    rows: int = ROWS,
    side: int = SIDE,
    name: str = "label",
) -> list[Path]:
    """Write ``NAME-00.png``, ``NAME-01.png``, ...: ``columns`` x ``rows`` people each, in the order of the cells.

    Args:
        cells: At least one. Where any has a prediction, every cell is twice as wide.
        skeleton: Of all poses.
        folder: Made if it is not there.
        columns: Cells side by side.
        rows: Cells below each other.
        side: Width and height of a picture in pixels.
        name: What the files are called.

    Raises:
        InputError: There is no cell, or a sheet of none was asked for.
    """
    if not cells or columns < 1 or rows < 1:
        raise InputError(f"{len(cells)} people in sheets of {columns} x {rows}", subject="sheets")
    written: list[Path] = []
    for start in range(0, len(cells), columns * rows):
        sheet = _sheet(cells[start : start + columns * rows], skeleton, columns, rows, side)
        path = folder / f"{name}-{len(written):02d}.png"
        write_picture(path, lambda file, sheet=sheet: sheet.save(file, "PNG"))
        written.append(path)
    return written


def _sheet(cells: Sequence[Cell], skeleton: Skeleton, columns: int, rows: int, side: int) -> Image.Image:
    pictures = 2 if any(cell.prediction is not None for cell in cells) else 1
    wide, tall = pictures * side + _GAP, side + _TEXT + _GAP + 4
    sheet = Image.new("RGB", (columns * wide + _GAP, rows * tall + _TEXT + 2 * _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT)
    draw.text((_GAP, _GAP - 4), _LEGEND, fill=_INK, font=font)
    for i, cell in enumerate(cells):
        left, top = _GAP + i % columns * wide, _TEXT + _GAP + i // columns * tall
        draw.text((left, top), str(cell.number), fill=_INK, font=font)
        for j, poses in enumerate((cell.label, cell.prediction)):
            if poses is not None:
                sheet.paste(_drawn(cell, poses, skeleton, side), (left + j * side, top + _TEXT + 4))
    return sheet


def _drawn(cell: Cell, poses: Poses, skeleton: Skeleton, side: int) -> Image.Image:
    view = pose_view(cell.label, (cell.image.shape[1], cell.image.shape[0]), side)
    return Image.fromarray(draw_poses(cell.image, poses, skeleton, view=view, boxes=False))
