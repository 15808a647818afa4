"""What of a FiftyOne data set is read: which field, whose keypoints they are, and which field has the boxes.

A data set of ours says it in its ``info``. Of all others it is known from what FiftyOne has a place for: the fields'
types, ``skeletons``, ``default_skeleton``, and the categories that its COCO import leaves in ``info``. Nothing is
guessed where two answers fit.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

from autolabel.curate.dataset import INFO
from autolabel.curate.documents import BOXES, POSES, PREVIOUS, STUDENT, TRUTH
from autolabel.errors import FormatError, InputError, SkeletonError
from autolabel.formats.file_skeletons import file_skeleton
from autolabel.formats.records import Record
from autolabel.skeleton import Skeleton

OURS = (POSES, TRUTH, PREVIOUS, STUDENT)
"""Fields that ``autolabel curate`` writes."""

POSE_ID, COCO_OBJECT = "pose_id", "autolabel.id"
"""Attributes of a label that hold a pose's id: in data sets of ours, and where a COCO file of ours was imported."""

IDENTITIES = (POSE_ID, COCO_OBJECT, "instance._id", "coco_id")
"""Attributes by which a box and a pose are known to be one person's, the surest first."""

COUNT = "num_keypoints"
"""COCO's import, which makes a box and a pose of each annotation in the same order, leaves this count on both."""

_IMPORTED = "detections"
"""What COCO's import calls its boxes."""


@dataclass(frozen=True)
class BoxField:
    """The field that holds the boxes.

    Attributes:
        name: Of the field.
        shared: The attribute that the box and the pose of a person share.
    """

    name: str
    shared: str


def load_dataset(fiftyone: Any, name: str, subject: str) -> Any:
    """A data set of images.

    Raises:
        InputError: There is none of this name, or it shows something else than images.
    """
    if not fiftyone.dataset_exists(name):
        known: list[str] = fiftyone.list_datasets()
        near = difflib.get_close_matches(name, known, n=1)
        remedy = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known) or 'none'}."
        raise InputError("is not in the database", subject=subject, remedy=remedy)
    dataset = fiftyone.load_dataset(name)
    if dataset.media_type not in (None, "image"):
        raise InputError(
            f"has samples of kind {dataset.media_type!r}, not images",
            subject=subject,
            remedy="Make one of its images alone, such as with `select_group_slices` or `to_frames`, and `clone`.",
        )
    if our_mark(dataset).get("shows") == "people":
        raise InputError(
            "is a contact sheet, which shows people cut out", subject=subject, remedy="Give the data set of the images."
        )
    return dataset


def our_mark(dataset: Any) -> Mapping[str, Any]:
    """What ``autolabel curate`` wrote of a data set; empty where it did not make it."""
    mark = dataset.info.get(INFO)
    return cast("Mapping[str, Any]", mark) if isinstance(mark, dict) else {}


def choose_field(fiftyone: Any, dataset: Any, wanted: str, subject: str) -> str:
    """The field of keypoints: the wanted one, else ours, else the only one.

    Raises:
        FormatError: There is no such field, or there are several.
    """
    found = list[str](dataset.get_field_schema(embedded_doc_type=fiftyone.Keypoints))
    told = f"Fields of keypoints: {', '.join(found) or 'none'}."
    if wanted:
        if wanted not in found:
            near = difflib.get_close_matches(wanted, found, n=1)
            remedy = f"Did you mean {near[0]!r}? {told}" if near else told
            raise FormatError(f"has no field of keypoints {wanted!r}", subject=subject, remedy=remedy)
        return wanted
    if POSES in found and our_mark(dataset):
        return POSES
    if not found:
        raise FormatError("has no field of keypoints", subject=subject)
    if len(found) > 1:
        raise FormatError("has several fields of keypoints", subject=subject, remedy=f"Choose with --field. {told}")
    return found[0]


def skeleton_of(dataset: Any, field: str, given: Skeleton | None, subject: str) -> tuple[Skeleton, list[int]]:
    """The skeleton of a field, and where each of its keypoints stands in the field's points.

    Raises:
        FormatError: Nothing names the keypoints, or what does contradicts itself or ``given``.
        SkeletonError: A data set of ours mirrors its keypoints otherwise than their names tell.
    """
    ours = our_mark(dataset).get("definition") if field in OURS else None
    if given is None and ours is not None:
        made = Skeleton.from_dict(ours, subject=subject)
        return made, list(range(made.num_keypoints))
    said = _stored(dataset, field) or _categories(dataset, subject)
    if said is None:
        if given is None:
            raise FormatError(
                "does not say what its keypoints are",
                subject=f"{subject}, field {field!r}",
                remedy="Give --skeleton, or set the data set's default_skeleton in FiftyOne.",
            )
        return given, list(range(given.num_keypoints))
    names, edges = said
    made = file_skeleton(names, name=dataset.name, subject=subject, tool="FiftyOne", given=given, edges=edges)
    stated = our_mark(dataset).get("skeleton") if field in OURS else None
    if given is None and stated not in (None, made.fingerprint):
        raise SkeletonError(
            "has a skeleton whose flip pairs are not those that its names tell",
            subject=subject,
            remedy="Give it with --skeleton.",
        )
    return made, [names.index(name) for name in made.keypoints]


def find_boxes(fiftyone: Any, dataset: Any, field: str) -> tuple[BoxField | None, str]:
    """The field whose boxes share an attribute with the poses; else none, and a sentence that says why."""
    found = list[str](dataset.get_field_schema(embedded_doc_type=fiftyone.Detections))
    if not found:
        return None, "The data set has no boxes."
    identities = (*IDENTITIES, COUNT) if "categories" in dataset.info else IDENTITIES
    for shared in identities:
        if not dataset.count(f"{field}.keypoints.{shared}"):
            continue
        fitting = [name for name in found if dataset.count(f"{name}.detections.{shared}")]
        fitting = [name for name in (BOXES, _IMPORTED) if name in fitting][:1] or fitting
        if len(fitting) == 1:
            return BoxField(fitting[0], shared), ""
        if fitting:
            told = f"The boxes of several fields share {shared!r} with the poses, and none was read"
            return None, f"{told}: {', '.join(fitting)}."
    return None, f"No boxes were read: nothing tells whose those in {', '.join(found)} are."


def scalar_names(fiftyone: Any, schema: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The names below a prefix of a schema that hold single texts, numbers or truth values."""
    kinds = (fiftyone.StringField, fiftyone.IntField, fiftyone.FloatField, fiftyone.BooleanField)
    names = list[str]()
    for path, found in schema.items():
        name = path.removeprefix(prefix)
        each = cast("Sequence[object]", found if isinstance(found, list) else [found])
        if path.startswith(prefix) and "." not in name and any(isinstance(one, kinds) for one in each):
            names.append(name)
    return names


def _stored(dataset: Any, field: str) -> tuple[list[str], list[tuple[int, int]]] | None:
    """Names and edges that the data set has for a field; its edges are paths through several keypoints."""
    stored = dataset.skeletons.get(field) or dataset.default_skeleton
    if stored is None or not stored.labels:
        return None
    paths: list[Sequence[int]] = list(stored.edges or ())
    return list(stored.labels), [edge for path in paths for edge in pairwise(path)]


def _categories(dataset: Any, subject: str) -> tuple[list[str], list[tuple[int, int]]] | None:
    """Names and edges of the categories of a COCO import, which count keypoints from 1."""
    if not isinstance(dataset.info.get("categories"), list):
        return None
    records = list(Record(dict(dataset.info), "info", subject).records("categories"))
    posed = [record for record in records if record.data.get("keypoints")]
    names = [[str(name) for name in record.items("keypoints")] for record in posed]
    if not posed:
        return None
    if any(own != names[0] for own in names):
        told = ", ".join(repr(record.data.get("name")) for record in posed)
        remedy = "Import the COCO file itself, with `autolabel import coco --category`."
        raise FormatError(f"has categories with different keypoints: {told}", subject=subject, remedy=remedy)
    edges = posed[0].items("skeleton") if posed[0].data.get("skeleton") else []
    pairs = (Record({"edge": edge}, posed[0].place, subject).numbers("edge", 2) for edge in edges)
    return names[0], [(int(a) - 1, int(b) - 1) for a, b in pairs]
