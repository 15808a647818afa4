"""A contact sheet: a data set with one crop a person, on which a screenful of poses is judged at a glance.

FiftyOne's own patches go blank where a keypoint is missing, so people are cut out here, and their keypoints are stated
anew as shares of the crop. Tags on crops are carried home by ``curate --pull``.
"""

import io
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autolabel.curate.documents import POSES, Document, stated_digest, with_digest
from autolabel.curate.schema import FieldSpec, set_up, state_fields
from autolabel.skeleton import Skeleton
from autolabel.writing import naming

SIDE = 256
"""Pixels of a crop's sides."""

MARGIN = 0.15
"""Share of what is cropped that is shown around it, on each side."""

MIN_SIDE = 8
"""Image pixels: the least part worth showing."""

QUALITY = 88

FIELDS = (
    FieldSpec("key", "text", "autolabel's id of the pose"),
    FieldSpec("digest", "text", "digest of what autolabel wrote about the person"),
    FieldSpec("pose_id", "text", "autolabel's id of the pose, the same in every round"),
    FieldSpec("image_key", "text", "key of the image in the data set of images"),
    FieldSpec("path", "text", "image, below its corpus root"),
    FieldSpec("p_bad", "number", "probability that the pose is bad"),
    FieldSpec("state", "text", "open, or what a person said"),
    FieldSpec("routed", "text", "where routing sends the pose"),
    FieldSpec("reasons", "texts", "why the pose is doubted"),
    FieldSpec("left", "flag", "no longer in the manifest; kept because somebody tagged it"),
    FieldSpec(POSES, "poses", "the person"),
    *(FieldSpec(f"{POSES}.keypoints.{name}", kind, means) for name, kind, means in (
        ("pose_id", "text", "autolabel's id of the pose"),
        ("visibility", "texts", "of each keypoint"),
        ("p_gross", "numbers", "probability that each keypoint is gross"),
        ("stated", "text", "digest of the points as autolabel wrote them"),
    )),
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """The square of an image that a crop shows: its first pixel, and its side in image pixels."""

    x: int
    y: int
    side: int

    @classmethod
    def of(cls, pose: Document, box: Sequence[float] | None, size: NDArray[np.float64]) -> "Part":
        """What shows a person: the box and all points with a margin; the whole image where there is neither."""
        corners = np.array(pose["points"], np.float64).reshape(-1, 2) * size
        if box is not None:
            edges = np.array(box).reshape(2, 2)
            corners = np.concatenate([corners, np.stack([edges[0], edges.sum(axis=0)]) * size])
        corners = corners[np.isfinite(corners).all(axis=1)]
        low, high = (corners.min(axis=0), corners.max(axis=0)) if len(corners) else (np.zeros(2), size)
        side = max(math.ceil((high - low).max() * (1 + 2 * MARGIN)), MIN_SIDE)
        x, y = np.floor((low + high) / 2 - side / 2).astype(int).tolist()
        return cls(x, y, side)

    def shares(self, points: Sequence[Sequence[float]], size: NDArray[Any]) -> NDArray[np.float64]:
        """(K, 2) shares of the image as shares of the crop; NaN outside it."""
        inside = (np.array(points, np.float64).reshape(-1, 2) * size - (self.x, self.y)) / self.side
        inside[~((inside >= 0) & (inside <= 1)).all(axis=1)] = np.nan
        return inside

    def cut(self, image: NDArray[np.uint8]) -> bytes:
        """The crop's JPEG file; black outside the image."""
        part = Image.fromarray(image).crop((self.x, self.y, self.x + self.side, self.y + self.side))
        shown = part.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        shown.save(file, "JPEG", quality=QUALITY)
        return file.getvalue()


def crop_documents(document: Document, folder: Path) -> Iterator[tuple[Document, Part]]:
    """A document for each pose of an image, and the part of the image that its crop shows.

    Args:
        document: Of the image.
        folder: Where the crops are written.
    """
    boxes = {box["pose_id"]: box["bounding_box"] for box in document["boxes"]["detections"]}
    size = np.array([document["metadata"]["width"], document["metadata"]["height"]], np.float64)
    for pose in document[POSES]["keypoints"]:
        part = Part.of(pose, boxes.get(pose["pose_id"]), size)
        points = part.shares(pose["points"], size).tolist()
        yield _crop_document(document, pose, points, crop_file(folder, pose, part)), part


def write_crop(file: Path, data: bytes) -> None:
    """Write a crop's file, all of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with naming(file):
        temporary.write_bytes(data)
    temporary.replace(file)


def crop_file(folder: Path, pose: Document, part: Part) -> Path:
    """Where the crop of a pose is written: another part has another file, since browsers keep what they have seen."""
    shown = f"{part.x}_{part.y}_{part.side}".replace("-", "m")
    return folder / pose["pose_id"][:2] / f"{pose['pose_id']}-{shown}.jpg"


def declare_people(fiftyone: Any, dataset: Any, skeleton: Skeleton) -> None:
    """State the fields of a contact sheet, and set up its first screen: the most doubtful on top."""
    state_fields(fiftyone, dataset, FIELDS)
    groups = {"tags": list[str](), "doubt": ["p_bad", "reasons", "state", "routed"], "poses": [POSES]}
    set_up(fiftyone, dataset, skeleton, [POSES], groups, ticked=[POSES, "p_bad"])


def _crop_document(image: Document, pose: Document, points: list[list[float]], file: Path) -> Document:
    visibility = pose["visibility"]
    label: Document = {
        "_cls": "Keypoint",
        "attributes": {},
        "tags": [],
        "label": pose["label"],
        "points": points,
        "confidence": pose["confidence"],
        "visibility": visibility,
        "p_gross": pose["p_gross"],
        "pose_id": pose["pose_id"],
        "stated": stated_digest(points, visibility),
    }
    document: Document = {
        "filepath": str(file),
        "metadata": {"_cls": "ImageMetadata", "width": SIDE, "height": SIDE},
        "key": pose["pose_id"],
        "pose_id": pose["pose_id"],
        "image_key": image["key"],
        "path": image["path"],
        "p_bad": pose["p_bad"],
        "state": pose["state"],
        "routed": pose.get("routed"),
        "reasons": pose["reasons"],
        "left": False,
        POSES: {"_cls": "Keypoints", "keypoints": [label]},
    }
    return with_digest(document)
