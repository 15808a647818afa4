"""Boxes for top-down pose estimation from COCO files: annotations, or a detector's results.

Results carry image ids and no file names, so they need a second file that lists the images; the annotation
file of the same data set does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import FormatError
from autolabel.formats.coco_reading import index_categories, index_images, known, xyxy
from autolabel.formats.records import Record, read_json

PERSON = "person"
"""The category to take from a file of many categories that says nothing of keypoints."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of one image.

    Attributes:
        box: (N, 4) float64 xyxy.
        score: (N,) float32, NaN where the file gives none (boxes that people drew).
        record: N record ids, or places in the file of results, which have no id.
    """

    box: NDArray[np.float64]
    score: NDArray[np.float32]
    record: tuple[int | str, ...]

    def __len__(self) -> int:
        return len(self.box)


def read_boxes(
    path: str | Path, images_path: str | Path | None = None, *, category: str | int | None = None
) -> dict[str, Boxes]:
    """Boxes by image file name; an image that the file lists without a box has none.

    Crowd regions are left out: they hold no single person. A result without ``bbox`` is boxed by the extent
    of its keypoints.

    Args:
        path: COCO annotations (an object) or COCO results (a list).
        images_path: A COCO file whose ``images`` name the files; required for results.
        category: Name or id of the category to take. By default the one with keypoints; in a file without
            such, "person", or the only one there is.

    Raises:
        FormatError: A malformed record, an unknown image, or several categories to choose from.
    """
    content = read_json(path)
    if isinstance(content, list):
        if images_path is None:
            raise FormatError(
                "is a list of COCO results, which do not name the image files",
                subject=str(path),
                remedy="Give the file that lists the images with --boxes-images.",
            )
        file = Record({"results": cast("list[Any]", content)}, "", str(path))
        records = list(file.records("results"))
        listing = Record(read_json(images_path), "", str(images_path))
    else:
        file = Record(content, "", str(path))
        records = list(file.records("annotations"))
        listing = file if images_path is None else Record(read_json(images_path), "", str(images_path))
    images = index_images(listing)
    found: dict[int | str, list[tuple[list[float], float, int | str]]] = {image: [] for image in images}
    for i, record in enumerate(_of_category(records, index_categories(listing), category, file)):
        if not record.data.get("iscrowd", 0):
            image = known(record, "image_id", images, f"images of {listing.subject}")
            found[image].append((_box(record), record.number("score", np.nan), record.data.get("id", i)))
    return {images[image].relative_path("file_name"): _boxes(rows) for image, rows in found.items()}


def _of_category(
    records: list[Record], categories: Mapping[int | str, Record], wanted: str | int | None, file: Record
) -> list[Record]:
    present = dict.fromkeys(record.identifier("category_id") for record in records)
    chosen = _chosen(list(present), categories, wanted)
    if chosen is None:
        ids = ", ".join(str(key) for key in present)
        file.fail(None, f"has boxes of several categories: {ids}", "Keep the boxes of one category.")
    return [record for record in records if record.data["category_id"] in chosen]


def _chosen(
    present: list[int | str], categories: Mapping[int | str, Record], wanted: str | int | None
) -> set[int | str] | None:
    names = {key: record.data.get("name") for key, record in categories.items()}
    if wanted is not None:
        return {key for key in present if str(key) == str(wanted) or names.get(key) == wanted}
    posed = {key for key in present if key in categories and categories[key].data.get("keypoints")}
    people = {key for key in present if names.get(key) == PERSON}
    return posed or people or (set(present) if len(present) <= 1 else None)


def _box(record: Record) -> list[float]:
    if "bbox" in record.data:
        return xyxy(record)
    values = record.items("keypoints")
    if not values or len(values) % 3:
        record.fail("keypoints", f"has {len(values)} entries, expected three for each keypoint")
    points = np.array(record.numbers("keypoints", len(values))).reshape(-1, 3)[:, :2]
    return [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]


def _boxes(rows: list[tuple[list[float], float, Any]]) -> Boxes:
    return Boxes(
        box=np.array([box for box, _, _ in rows], np.float64).reshape(-1, 4),
        score=np.array([score for _, score, _ in rows], np.float32),
        record=tuple(record for _, _, record in rows),
    )
