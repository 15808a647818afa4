"""Reading a YOLO-pose data set; ``yolo_pose.py`` tells the dialect.

All files of labels are checked before anything is given out. What is wrong is told together, so that nobody has to
find two hundred broken lines one run after the other.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.errors import FormatError, ImageError
from autolabel.formats.coco_reading import THEIRS
from autolabel.formats.labels import UNKNOWN_SIZE, Labels
from autolabel.formats.yolo_data import DataFile, find_data_file, read_data_file
from autolabel.formats.yolo_lines import Layout, Lines, edges, parse_lines
from autolabel.formats.yolo_listing import LabelledImage, list_data_set
from autolabel.formats.yolo_skeleton import skeleton_of
from autolabel.images import image_size
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton

SPLIT = "split"
"""Attribute of samples: ``train``, ``val`` or ``test``."""

_MAX_BYTES = 2**26
_TOLD = 5


class WhichSplit(StrEnum):
    """Which images of a data set to read."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"
    ALL = "all"


def read_yolo_pose(
    src: str | Path,
    images: str | Path,
    *,
    skeleton: Skeleton | None = None,
    split: WhichSplit = WhichSplit.ALL,
) -> Labels:
    """Read a YOLO-pose data set.

    An image whose header cannot be read has the size ``UNKNOWN_SIZE`` and poses that say nothing, as many as its
    labels have: without the size, nobody knows where they are.

    Args:
        src: The ``data.yaml``, or the folder that holds it.
        images: The data set's folder, which all images lie below; the samples' paths start here.
        skeleton: Of the keypoints, which the data set often does not name.
        split: Which images.

    Raises:
        FormatError: A malformed file, naming line and field; a skeleton that does not fit; no labels at all.
    """
    data = read_data_file(find_data_file(Path(src)))
    chosen, notes = skeleton_of(data, skeleton)
    listed, told = list_data_set(data, Path(images), None if split is WhichSplit.ALL else split)
    reader = _Reader(data, chosen, Path(images))
    samples = [reader.sample(image) for image in listed]
    reader.refuse_if_wrong(listed)
    header = {"categories": [{"id": i, "name": name} for i, name in enumerate(data.classes)]}
    return Labels(chosen, samples, header, (*notes, *told, *reader.notes()), reader.digest)


@dataclass
class _Reader:
    """Reads one file of labels after the other, and keeps what has to be told of all of them."""

    data: DataFile
    skeleton: Skeleton
    images: Path
    layout: Layout = field(init=False)
    errors: list[FormatError] = field(default_factory=list[FormatError])
    counts: Counter[str] = field(default_factory=Counter[str])
    first: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.layout = Layout(len(self.data.classes), self.skeleton.keypoints, self.data.dims)
        self._hash = hashlib.sha256(self.data.file.read_bytes())
        self._attributes = [{THEIRS: {"category": {"id": i, "name": c}}} for i, c in enumerate(self.data.classes)]

    @property
    def digest(self) -> str:
        """Of ``data.yaml``, of which images are in which split, and of their labels."""
        return self._hash.hexdigest()

    def sample(self, image: LabelledImage) -> Sample:
        """An image and its poses."""
        content = self._bytes(image)
        self._hash.update(f"{image.split}\0{image.path}\0{len(content)}\0".encode() + content)
        lines, errors = parse_lines(content, self.layout, str(image.labels))
        self.errors += errors
        self._count("repeated", lines.repeated, image)
        try:
            size = image_size(self.images / image.path)
            poses = self._poses(lines, size, image)
        except ImageError:
            size = UNKNOWN_SIZE
            poses = Poses.create(self.skeleton.num_keypoints, id=[""] * len(lines))
        return Sample(id="", root="", path=image.path, size=size, poses=poses, attributes={SPLIT: image.split})

    def refuse_if_wrong(self, listed: Sequence[LabelledImage]) -> None:
        """Raise the first error, with how many there are; or that there are no labels at all."""
        if listed and self.counts["without labels"] == len(listed):
            raise FormatError(
                f"is not there, and neither are the labels of the other {len(listed) - 1:,} images",
                subject=str(listed[0].labels),
                remedy="Put them where trainers look for them: beside the folder `images`, in a folder `labels`.",
            )
        if not self.errors:
            return
        first, others = self.errors[0], self.errors[1:]
        named = "; ".join(f"{e.subject}: {e.record or 'the file'}" for e in others[:_TOLD])
        more = f"{len(others):,} more lines are wrong: {named}{'; ...' if len(others) > _TOLD else ''}."
        raise FormatError(
            first.message,
            subject=first.subject,
            remedy=" ".join(filter(None, (first.remedy, more if others else None))) or None,
        )

    def notes(self) -> list[str]:
        """What did not come in as it stood, or is worth a look."""
        sentences = {
            "without labels": "images have no file of labels and are read as images without people",
            "repeated": "lines say the same as another line of their file and are read once",
            "outside": "keypoints lie outside their image; they are kept, but trainers refuse such images",
            "box": "boxes have a number outside 0..1; they are kept, but trainers refuse such images",
        }
        found = [
            f"{self.counts[what]:,} {sentence}, such as in {self.first[what]}."
            for what, sentence in sentences.items()
            if self.counts[what]
        ]
        if self.data.dims == 2:
            found.append("kpt_shape has no visibility: keypoints at 0 0 are unlabelled, all others visible.")
        if len(self.data.classes) > 1:
            found.append(f"Poses of all classes are read: {', '.join(self.data.classes)}.")
        return found

    def _bytes(self, image: LabelledImage) -> bytes:
        """The file of labels; empty where there is none."""
        try:
            if image.labels.is_file():
                if image.labels.stat().st_size > _MAX_BYTES:
                    raise FormatError(f"is larger than {_MAX_BYTES >> 20} MiB", subject=str(image.labels))
                return image.labels.read_bytes()
            if image.labels.exists():
                raise FormatError("is not a file", subject=str(image.labels))
        except OSError as error:
            raise FormatError(f"cannot be read: {error.strerror}", subject=str(image.labels)) from error
        self._count("without labels", 1, image)
        return b""

    def _poses(self, lines: Lines, size: tuple[int, int], image: LabelledImage) -> Poses:
        k = self.skeleton.num_keypoints
        if not len(lines):
            return Poses.empty(k)
        place = lines.keypoints[..., :2]
        at_zero = (place == 0).all(axis=-1)
        if self.data.dims == 3:
            visibility = lines.keypoints[..., 2].astype(np.uint8)
        else:
            visibility = np.where(at_zero, Visibility.UNLABELLED, Visibility.VISIBLE)
        labelled = visibility != Visibility.UNLABELLED
        outside = labelled & ((place < 0) | (place > 1)).any(axis=-1)
        self._count("outside", int(outside.sum()), image)
        box = np.array([_box(row, size) for row in lines.box])
        self._count("box", sum(any(not 0 <= v <= 1 for v in row) for row in lines.box), image)
        xy = (place * size).astype(np.float32)
        xy[at_zero & ~labelled] = np.nan
        return Poses.create(
            k,
            xy=xy,
            visibility=visibility,
            box=box,
            origin=np.where(labelled, Origin.IMPORTED, Origin.NONE),
            attributes=[self._attributes[i] for i in lines.label.tolist()],
        )

    def _count(self, what: str, n: int, image: LabelledImage) -> None:
        if n:
            self.counts[what] += n
            self.first.setdefault(what, str(image.labels))


def _box(row: Sequence[Any], size: tuple[int, int]) -> tuple[float, float, float, float]:
    x, y, width, height = row
    left, right = edges(x, width, size[0])
    top, bottom = edges(y, height, size[1])
    return left, top, right, bottom
