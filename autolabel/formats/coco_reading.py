"""Reading a COCO keypoint file; ``coco.py`` tells the dialect.

The whole file is checked before anything is given out: a malformed record refuses the file and is named.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from autolabel.errors import FormatError, PosesError, SkeletonError
from autolabel.formats.file_skeletons import file_skeleton, our_skeleton
from autolabel.formats.labels import Labels
from autolabel.formats.records import Record, read_json, refuse_repeated_images
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton

OURS = "autolabel"
"""Key of our own block in images, annotations and categories."""

THEIRS = "coco"
"""Attribute of samples and poses that carries what the source said and we have no field for."""

_TOP = ("images", "annotations", "categories")
IMAGE_KEYS = ("file_name", "width", "height", OURS)
"""Keys of an image that have a field of ours."""

ANNOTATION_KEYS = (
    *("image_id", "category_id", "keypoints", "num_keypoints", "absent", "keypoint_scores"),
    *("bbox", "area", "score", "iscrowd", OURS),
)
"""Keys of an annotation that have a field of ours."""

CATEGORY = "category"
"""Key of a pose's category in what the attribute carries."""

_CATEGORY_KEYS = ("keypoints", "skeleton", OURS)


def read_coco(path: str | Path, *, category: str | int | None = None) -> Labels:
    """Read a COCO keypoint file.

    The header holds the file's other top-level keys, and the chosen categories without what the skeleton says.

    Args:
        path: The JSON file.
        category: Name or id of the category to read. May be left out where the file has one keypoint
            category, or several with the same keypoints (AP-10K's species), which are then read together.

    Raises:
        FormatError: The file is malformed, naming the record and the field, or has no (single) such category.
    """
    content = read_json(path)
    if isinstance(content, list):
        raise FormatError(
            "is a list, as COCO results are, which name no image files and no keypoints",
            subject=str(path),
            remedy="Import it as coco-results, with --listing for the COCO file that lists the images.",
        )
    file = Record(content, "", str(path))
    categories = _index(file.records("categories"), "id")
    chosen = choose_category(categories, category, file)
    skeleton = _skeleton(next(iter(chosen.values())))
    images = _index(file.records("images"), "id")
    named = ((image.relative_path("file_name"), image.place, image.subject) for image in images.values())
    refuse_repeated_images(named, "file_name")
    by_image: dict[int | str, list[Record]] = {image: [] for image in images}
    skipped = 0
    for annotation in _index(file.records("annotations"), "id").values():
        image = known(annotation, "image_id", images, "images")
        if known(annotation, "category_id", categories, "categories") in chosen:
            by_image[image].append(annotation)
        else:
            skipped += 1
    samples = [_sample(images[image], found, chosen, skeleton) for image, found in by_image.items()]
    _refuse_repeated_poses(samples, file)
    header = {**file.without(_TOP), "categories": [record.without(_CATEGORY_KEYS) for record in chosen.values()]}
    notes = (f"{skipped:,} annotations of other categories left out.",) if skipped else ()
    return Labels(skeleton, samples, header, notes)


def choose_category(
    categories: dict[int | str, Record], wanted: str | int | None, file: Record
) -> dict[int | str, Record]:
    """The keypoint categories to read, by id: the wanted one, or all where they share their keypoints.

    Raises:
        FormatError: There is no such category, or several differ and none is wanted.
    """
    poses = {key: record for key, record in categories.items() if record.data.get("keypoints")}
    if wanted is not None:
        poses = {
            key: record for key, record in poses.items() if str(key) == str(wanted) or record.data.get("name") == wanted
        }
    names = ", ".join(f"{record.data.get('name')!r} (id {key})" for key, record in categories.items())
    if not poses:
        what = "a category with keypoints" if wanted is None else f"a keypoint category {wanted!r}"
        file.fail("categories", f"have no {what.removeprefix('a ')}; there are: {names or 'none'}")
    if len({str(record.data["keypoints"]) for record in poses.values()}) > 1:
        file.fail("categories", f"have different keypoints: {names}", "Choose one with --category.")
    return poses


def known(record: Record, field: str, table: Container[int | str], where: str) -> int | str:
    """The id in a field, which must be one of a table's.

    Raises:
        FormatError: It is not.
    """
    value = record.identifier(field)
    if value not in table:
        record.fail(field, f"is {value!r}, which is not the id of any of the {where}")
    return value


def keypoint_triples(annotation: Record, num_keypoints: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(K, 3) x, y, v of an annotation; zeros where it has none.

    Raises:
        FormatError: Wrong length, a value that is no number, or v outside 0, 1, 2.
    """
    if "keypoints" not in annotation.data:
        return np.zeros((num_keypoints, 3))
    triples = np.array(annotation.numbers("keypoints", 3 * num_keypoints)).reshape(num_keypoints, 3)
    wrong = np.flatnonzero(~np.isin(triples[:, 2], (0, 1, 2)))
    if len(wrong):
        v = triples[wrong[0], 2]
        annotation.fail(f"keypoints[{3 * wrong[0] + 2}]", f"visibility is {v:g}, expected 0, 1 or 2")
    return triples


def xyxy(record: Record) -> list[float]:
    """The box of a record, as edges.

    Raises:
        FormatError: It is not four numbers, or its width or height is negative.
    """
    x, y, width, height = record.numbers("bbox", 4)
    if width < 0 or height < 0:
        record.fail("bbox", f"has width {width:g} and height {height:g}; neither can be negative")
    return [x, y, x + width, y + height]


def index_images(file: Record) -> dict[int | str, Record]:
    """The file's images by id.

    Raises:
        FormatError: An id stands twice.
    """
    return _index(file.records("images"), "id")


def index_categories(file: Record) -> dict[int | str, Record]:
    """The file's categories by id; none where the file has no list of them."""
    return _index(file.records("categories"), "id") if "categories" in file.data else {}


def _index(records: Iterable[Record], field: str) -> dict[int | str, Record]:
    table: dict[int | str, Record] = {}
    for record in records:
        key = record.identifier(field)
        if key in table:
            record.fail(field, f"{key!r} is the id of {table[key].place} already")
        table[key] = record
    return table


def _refuse_repeated_poses(samples: Iterable[Sample], file: Record) -> None:
    seen: set[str] = set()
    for sample in samples:
        for pose in sample.poses.id.tolist():
            if pose and pose in seen:
                file.fail(
                    "annotations",
                    f"the pose id {pose!r} stands twice",
                    f"Remove the key {OURS!r} of the copy.",
                )
            seen.add(pose)


def _skeleton(category: Record) -> Skeleton:
    """What our own block says, else what the names tell; the file's own edges in either case."""
    names = tuple(str(name) for name in category.items("keypoints"))
    ours = our_skeleton(category.record(OURS))
    skeleton = ours if ours is not None and ours.keypoints == names else _named(category, names)
    edges = _edges(category)
    try:
        return replace(skeleton, edges=edges) if edges else skeleton
    except SkeletonError as error:
        category.fail("skeleton", error.message)


def _named(category: Record, names: tuple[str, ...]) -> Skeleton:
    name = category.text("name", "skeleton")
    return file_skeleton(names, name=name, subject=category.subject, record=category.place, tool="a COCO file")


def _edges(category: Record) -> tuple[tuple[int, int], ...]:
    if not category.data.get("skeleton"):
        return ()
    edges: list[tuple[int, int]] = []
    for i, pair in enumerate(category.items("skeleton")):
        edge = Record({"edge": pair}, f"{category.place}.skeleton[{i}]", category.subject).numbers("edge", 2)
        if min(edge) < 1 or not all(end.is_integer() for end in edge):
            category.fail(f"skeleton[{i}]", f"is {pair}; COCO counts keypoints from 1", "Add 1 to every index.")
        edges.append((int(edge[0]) - 1, int(edge[1]) - 1))
    return tuple(edges)


def _sample(
    image: Record, annotations: Sequence[Record], categories: dict[int | str, Record], skeleton: Skeleton
) -> Sample:
    ours = image.record(OURS)
    path = image.relative_path("file_name")
    theirs = image.without(IMAGE_KEYS)
    if path != image.data["file_name"]:
        theirs["file_name"] = image.data["file_name"]
    return Sample(
        id=ours.text("id", ""),
        root="",
        path=path,
        size=(image.size("width"), image.size("height")),
        poses=_poses(annotations, categories, skeleton.num_keypoints),
        group=ours.text("group", ""),
        duplicate_of=ours.text("duplicate_of", ""),
        attributes={THEIRS: theirs, **ours.record("attributes").data},
    )


def _poses(annotations: Sequence[Record], categories: dict[int | str, Record], num_keypoints: int) -> Poses:
    if not annotations:
        return Poses.empty(num_keypoints)
    rows = [_row(annotation, num_keypoints) for annotation in annotations]
    for row, annotation in zip(rows, annotations, strict=True):
        category = categories[annotation.data["category_id"]].without(_CATEGORY_KEYS)
        theirs = {**annotation.without(ANNOTATION_KEYS), CATEGORY: category}
        if CATEGORY in annotation.data:
            theirs[OURS] = {CATEGORY: annotation.data[CATEGORY]}
        row["attributes"] = {THEIRS: theirs, **annotation.record(OURS).record("attributes").data}
    try:
        return Poses.create(num_keypoints, **{name: [row[name] for row in rows] for name in rows[0]})
    except PosesError as error:
        _blame(rows, annotations, num_keypoints, error)


def _blame(rows: Sequence[dict[str, Any]], annotations: Sequence[Record], k: int, error: PosesError) -> NoReturn:
    """Find the annotation whose values are impossible."""
    for row, annotation in zip(rows, annotations, strict=True):
        try:
            Poses.create(k, **{name: [value] for name, value in row.items()})
        except PosesError as own:
            raise FormatError(own.message, record=annotation.place, subject=annotation.subject) from own
    raise error


def _row(annotation: Record, num_keypoints: int) -> dict[str, Any]:
    """The fields of one pose, without its attributes."""
    ours = annotation.record(OURS)
    triples = keypoint_triples(annotation, num_keypoints)
    visibility = triples[:, 2].astype(np.uint8)
    absent = annotation.indices("absent", num_keypoints)
    if absent and visibility[absent].any():
        annotation.fail("absent", "names a keypoint whose v is not 0")
    visibility[absent] = Visibility.ABSENT
    xy = triples[:, :2].astype(np.float32)
    unplaced = (triples == 0).all(axis=1)
    unplaced[ours.indices("at_zero", num_keypoints)] = False
    xy[unplaced] = np.nan
    stated = np.where(visibility == Visibility.UNLABELLED, Origin.NONE, Origin.IMPORTED).tolist()
    crowd = annotation.data.get("iscrowd", 0)
    if crowd not in (0, 1):
        annotation.fail("iscrowd", f"is {crowd!r}, expected 0 or 1")

    def per_keypoint(record: Record, field: str) -> list[float]:
        return record.optional_numbers(field, num_keypoints) if field in record.data else [np.nan] * num_keypoints

    return {
        "id": ours.text("id", ""),
        "xy": xy,
        "score": per_keypoint(annotation, "keypoint_scores"),
        "presence": per_keypoint(ours, "presence"),
        "visibility": visibility,
        "box": _box(annotation, ours),
        "box_score": annotation.number("score", np.nan),
        "area": np.nan if ours.data.get("area", 0) is None else annotation.number("area", np.nan),
        "crowd": bool(crowd),
        "p_gross": per_keypoint(ours, "p_gross"),
        "p_bad": ours.number("p_bad", np.nan),
        "origin": ours.levels("origin", num_keypoints, len(Origin), stated),
        "by": ours.text("by", ""),
        "group": ours.text("group", ""),
    }


def _box(annotation: Record, ours: Record) -> list[float]:
    if "box" in ours.data:
        return ours.numbers("box", 4)
    return xyxy(annotation) if "bbox" in annotation.data else [np.nan] * 4
