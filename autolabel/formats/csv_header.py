"""The columns of a table of poses, and what a header says of them; ``csv_table.py`` tells what they mean."""

from collections import Counter
from dataclasses import dataclass
from typing import NoReturn

from autolabel.errors import FormatError
from autolabel.formats.csv_cells import csv_lines

BOX = ("left", "top", "right", "bottom")
IMAGE_COLUMNS = ("image", "width", "height", "image_id", "image_group", "duplicate_of", "image_attributes")
POSE_COLUMNS = ("pose", "by", "group", *BOX, "detector", "area", "crowd", "p_bad", "attributes")
PARTS = ("x", "y", "visibility", "score", "presence", "p_gross", "origin")

_OTHER_SEPARATORS = (";", "\t", "|")


@dataclass(frozen=True)
class Columns:
    """What a header says.

    Attributes:
        header: The columns.
        keypoints: The keypoints in the header's order.
        separator: What stands between a keypoint's name and its part.
        of_pose: Places of the columns that are not the image's.
    """

    header: tuple[str, ...]
    keypoints: tuple[str, ...]
    separator: str
    of_pose: tuple[int, ...]

    def part(self, keypoint: str, part: str) -> str:
        """The column of a keypoint's part."""
        return f"{keypoint}{self.separator}{part}"

    @classmethod
    def of_text(cls, text: str, subject: str) -> "Columns":
        """What the first line of a table says.

        Raises:
            FormatError: It is no header of poses.
        """
        _refuse_other_separators(text, subject)
        _, header = next(csv_lines(text, subject), (1, list[str]()))
        own, known = {*IMAGE_COLUMNS, *POSE_COLUMNS}, set(header)
        if twice := next((name for name, n in Counter(header).items() if n > 1), None):
            _fail(f"column {twice!r} stands twice", subject)
        if "image" not in known:
            _fail("has no column 'image'", subject)
        rest = [name for name in header if name not in own]
        separator = "." if any(name.endswith(".x") for name in rest) else "_"
        keypoints = tuple(name.removesuffix(f"{separator}x") for name in rest if name.endswith(f"{separator}x"))
        if not keypoints:
            _fail("has no keypoint", subject)
        parts = {f"{name}{separator}{part}" for name in keypoints for part in PARTS}
        if unknown := next((name for name in rest if name not in parts), None):
            _fail(f"column {unknown!r} is unknown", subject)
        if missing := next((name for name in keypoints if f"{name}{separator}y" not in known), None):
            _fail(f"keypoint {missing!r} has an x and no y", subject)
        of_pose = tuple(i for i, name in enumerate(header) if name not in IMAGE_COLUMNS)
        return cls(tuple(header), keypoints, separator, of_pose)


def _refuse_other_separators(text: str, subject: str) -> None:
    """Spreadsheets of some countries write semicolons, because their numbers hold commas."""
    first = text.lstrip("\r\n").partition("\n")[0]
    for separator in _OTHER_SEPARATORS:
        cells = [cell.strip().strip('"') for cell in first.split(separator)]
        if "image" in cells and len(cells) > 1:
            remedy = "Save it with commas between cells, and with points in numbers."
            _fail(f"has {separator!r} between its cells, expected ','", subject, remedy)


def _fail(
    message: str, subject: str, remedy: str = "Needed: image, and NAME.x and NAME.y for each keypoint."
) -> NoReturn:
    raise FormatError(message, record="line 1", subject=subject, remedy=remedy)
