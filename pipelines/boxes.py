"""The people of an image before they have a pose: boxes of a file, of a detector, or the whole image as one person."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.formats.coco_boxes import Boxes
from autolabel.manifest import Manifest
from autolabel.poses import Poses, Sample, pose_id

if TYPE_CHECKING:
    from torch import Tensor

    from model.detect import Detections, Detector

WHOLE_IMAGE = "whole-image"
"""What made the box of an image that nobody gave boxes for."""

SOURCE = "box_source"
"""The attribute of a pose that says who made its box, where that was no file and no person."""

Images = Mapping[tuple[str, str], Boxes]
"""Boxes by root and path of the sample."""


def whole_image(k: int, sample: Sample) -> Poses:
    """The image as one person of ``k`` keypoints."""
    box = [0.0, 0.0, *map(float, sample.size)]
    name = pose_id(sample.id, sample.path, box, WHOLE_IMAGE, 0)
    return Poses.create(k, id=[name], box=[box], attributes=[{SOURCE: WHOLE_IMAGE}])


def boxes_of_file(k: int, sample: Sample, found: Boxes | None, source: str) -> Poses:
    """The people whom a file boxes; ``source`` is its name."""
    if found is None:
        return Poses.empty(k)
    ids = [
        pose_id(sample.id, sample.path, box, source, record)
        for box, record in zip(found.box, found.record, strict=True)
    ]
    return Poses.create(k, id=ids, box=found.box, box_score=found.score)


def boxes_of_detector(k: int, sample: Sample, found: "Detections", detector: str) -> Poses:
    """The people whom a detector found, best first; ``detector`` is what :func:`signed` calls it."""
    ids = [pose_id(sample.id, sample.path, box, detector, place) for place, box in enumerate(found.box)]
    return Poses.create(k, id=ids, box=found.box, box_score=found.score, attributes=[{SOURCE: detector} for _ in ids])


def signed(detector: "Detector") -> str:
    """What a detector's boxes are signed with: its files, whatever folder they lie in."""
    return f"detector {detector.digest[:12]}"


def detected(
    detector: "Detector", images: "Iterable[tuple[int, Tensor]]", batch_size: int
) -> "Iterator[tuple[int, Tensor, Detections]]":
    """Images (3, H, W) with what is found in them, looked at so many at a time."""
    left = iter(images)
    while group := list(islice(left, batch_size)):
        found = detector.detect([image for _, image in group])
        yield from ((i, image, boxes) for (i, image), boxes in zip(group, found, strict=True))


def usable(poses: Poses) -> NDArray[np.bool_]:
    """(N,) poses that hold one person in a box."""
    return ~poses.crowd & np.isfinite(poses.box).all(axis=1)


def boxes_of_images(manifest: Manifest, boxes: Mapping[str, Boxes], source: str) -> dict[tuple[str, str], Boxes]:
    """The boxes of each sample, by its root and path.

    The file may name images by their path below the corpus root, by root and path as ``export`` does, or by their
    bare name; the first that fits is taken for all.

    Args:
        manifest: The images.
        boxes: By the file's names for them.
        source: The file, for errors.

    Raises:
        InputError: No image is in the file, or its names fit several images each.
    """
    images = [(sample.root, sample.path) for sample in manifest]
    ambiguous = ""
    for name in _NAMES:
        found = {image: name(*image) for image in images if name(*image) in boxes}
        if len(set(found.values())) == len(found) > 0:
            return {image: boxes[named] for image, named in found.items()}
        ambiguous = ambiguous or next(iter(found.values()), "")
    raise InputError(
        f"{ambiguous} could be several of the images" if ambiguous else "names none of the images",
        subject=source,
        remedy="Give boxes whose file names are the images' paths below the corpus root.",
    )


_NAMES: tuple[Callable[[str, str], str], ...] = (
    lambda _, path: path,
    lambda root, path: f"{root}/{path}",
    lambda _, path: PurePosixPath(path).name,
)
