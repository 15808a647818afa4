"""COCO keypoint *results*: what a network predicted, as pycocotools and the COCO server read it.

A list of ``{"image_id", "category_id", "keypoints": [x, y, s, ...], "score"}``. Results name neither image files nor
keypoints, so reading needs the COCO file that lists them, and writing needs images whose COCO ids are known. The third
number of a keypoint is the network's score, as ViTPose's and mmpose's evaluation write it. A file whose third numbers
are all 0, 1 or 2 holds flags there and no scores: those of annotations, or, where none is 2, the 1 that COCO's page
tells to write for every keypoint that is stated.

``score`` is the instance's: the box's score times the mean of the confident keypoint scores (``suppress.rescore``).
Reading divides it out again, so that ``evaluate`` ranks poses as the file does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import FormatError
from autolabel.formats.coco_reading import CATEGORY, THEIRS, known, read_coco, xyxy
from autolabel.formats.coco_source import category, source_id
from autolabel.formats.coco_writing import shortest
from autolabel.formats.json_text import json_text
from autolabel.formats.labels import Aspect, Labels, Tally, Written
from autolabel.formats.output import new_file
from autolabel.formats.policy import ImagePolicy
from autolabel.formats.records import Record, read_json
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.progress import SILENT, Progress
from autolabel.skeleton import Skeleton
from autolabel.suppress import rescore

CANNOT = frozenset(Aspect) - {Aspect.COORDINATES, Aspect.OUTSIDE, Aspect.SCORE, Aspect.EMPTY}
"""What results cannot hold; images without people stand in the listing."""


def read_coco_results(path: str | Path, listing: str | Path | None, *, category: str | int | None = None) -> Labels:
    """Read COCO keypoint results.

    Args:
        path: The JSON list.
        listing: The COCO file of the same images, whose ``images`` and keypoint category the results mean; its
            annotations are left aside. Images without a result have no poses.
        category: Name or id of the keypoint category, where the listing has several with different keypoints.

    Raises:
        FormatError: There is no listing, or one of the files is malformed; names record and field.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise FormatError("is not a list", subject=str(path), remedy="Import annotations as coco.")
    if listing is None:
        raise FormatError(
            "is a list of results, which name no image files and no keypoints",
            subject=str(path),
            remedy="Give the COCO file that lists the images with --listing.",
        )
    listed = read_coco(listing, category=category)
    images = {sample.attributes[THEIRS]["id"]: sample for sample in listed.samples}
    categories = {record["id"]: record for record in listed.header["categories"]}
    whole: dict[str, Any] = {"results": content}
    records = list(Record(whole, "", str(path)).records("results"))
    by_image: dict[int | str, list[Record]] = {image: [] for image in images}
    others = 0
    for record in records:
        image = known(record, "image_id", images, f"images of {listing}")
        if record.identifier("category_id") in categories:
            by_image[image].append(record)
        else:
            others += 1
    triples = _triples([r for found in by_image.values() for r in found], listed.skeleton.num_keypoints)
    flags = _flags(triples)
    samples: list[Sample] = []
    start = 0
    for image, found in by_image.items():
        own = slice(start, start + len(found))
        start += len(found)
        poses = _poses(found, triples[own], categories, None if flags is None else flags[own])
        samples.append(images[image].with_poses(poses))
    return Labels(listed.skeleton, samples, listed.header, tuple(_notes(others, flags)))


def write_coco_results(
    path: str | Path,
    samples: Iterable[Sample],
    skeleton: Skeleton,
    *,
    policy: ImagePolicy = ImagePolicy.COMPLETE,
    file_name: object = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Written:
    """Write poses as COCO results.

    Poses without any coordinate are no results, and neither are crowd regions; a keypoint without a score counts
    as 1, one without a coordinate as 0, 0, 0. Boxes are left out: pycocotools would take the file for box results.

    Args:
        path: The JSON file.
        samples: Images that came from a COCO file, so that their COCO ids are known.
        skeleton: Of all poses.
        policy: What to do with images of which some people are not settled.
        file_name: Not used: results name no files.
        overwrite: Replace a file that stands already.
        progress: Where to report.

    Raises:
        ExistsError: The file stands already.
        FormatError: An image whose COCO id is not known.
    """
    tally, separator = Tally(CANNOT), "\n"
    tally.skeleton(skeleton)
    with new_file(path, overwrite=overwrite) as out:
        out.write("[")
        for sample in tally.samples(samples, policy, progress):
            for record in _results(sample):
                out.write(separator + json_text(record))
                separator = ",\n"
        out.write("\n]\n")
    return tally.written()


def _triples(records: Sequence[Record], num_keypoints: int) -> NDArray[np.float64]:
    """(N, K, 3) x, y and the third number of every result."""
    rows = [record.numbers("keypoints", 3 * num_keypoints) for record in records]
    return np.array(rows, np.float64).reshape(len(rows), num_keypoints, 3)


def _flags(triples: NDArray[np.float64]) -> NDArray[np.uint8] | None:
    """(N, K) visibility that the third numbers of a file's results say; None where they are scores."""
    third = triples[..., 2]
    if not np.isin(third, (0, 1, 2)).all():
        return None
    stated = third.astype(np.uint8)
    return stated if (third == 2).any() else np.where(stated == 1, np.uint8(Visibility.VISIBLE), stated)


def _notes(others: int, flags: NDArray[np.uint8] | None) -> Iterator[str]:
    if others:
        yield f"{others:,} results of other categories left out."
    if flags is not None and flags.size:
        hidden = int((flags == Visibility.HIDDEN).sum())
        yield (
            "The third number of every keypoint is 0, 1 or 2: taken as whether it is labelled "
            f"({hidden:,} hidden), not as its score."
        )


def _poses(
    records: Sequence[Record],
    triples: NDArray[np.float64],
    categories: Mapping[int | str, Any],
    flags: NDArray[np.uint8] | None,
) -> Poses:
    k = triples.shape[1]
    if not records:
        return Poses.empty(k)
    there = (triples != 0).any(axis=2)
    xy = np.where(there[..., None], triples[..., :2], np.nan)
    score = np.where(there & (flags is None), triples[..., 2], np.nan).astype(np.float32)
    visibility = np.where(there, Visibility.VISIBLE if flags is None else flags, Visibility.UNLABELLED)
    instance = np.array([record.number("score", np.nan) for record in records])
    share = rescore(np.ones(len(records)), score)
    return Poses.create(
        k,
        xy=xy,
        score=score,
        visibility=visibility,
        origin=np.where(visibility == Visibility.UNLABELLED, Origin.NONE, Origin.MODEL),
        box=[xyxy(record) if "bbox" in record.data else [np.nan] * 4 for record in records],
        box_score=np.where(share > 0, instance / np.where(share > 0, share, 1.0), instance),
        attributes=[{THEIRS: {CATEGORY: categories[record.data["category_id"]]}} for record in records],
    )


def _results(sample: Sample) -> list[dict[str, Any]]:
    poses = sample.poses.take(~sample.poses.crowd & ~np.isnan(sample.poses.xy[..., 0]).all(axis=1))
    if not len(poses):
        return []
    image = source_id(sample.attributes)
    if image is None:
        raise FormatError(
            "has no COCO id, which is how results name an image",
            subject=sample.path,
            remedy="Predict on a manifest that `autolabel import coco` made, or export as coco.",
        )
    there = ~np.isnan(poses.xy[..., 0])
    score = np.where(there, np.nan_to_num(poses.score, nan=1.0), 0.0).astype(np.float32)
    rows = np.concatenate([np.nan_to_num(poses.xy), score[..., None]], axis=2)
    instance = rescore(poses.box_score, poses.score).astype(np.float32)
    flat = shortest(rows.reshape(-1))
    width = rows[0].size
    return [
        {
            "image_id": image,
            "category_id": category(poses.attributes[i]).get("id", 1),
            "keypoints": flat[i * width : (i + 1) * width],
            "score": shortest(instance[i : i + 1])[0],
        }
        for i in range(len(poses))
    ]
