"""The formats that ``import`` reads, and which options each takes; ``export`` checks its options the same way."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from autolabel.errors import ConfigError
from autolabel.formats.labels import Labels
from autolabel.progress import Progress
from autolabel.skeleton import Skeleton

_Choice = TypeVar("_Choice", bound=StrEnum)

FORMATS = ("coco", "coco-results", "csv", "labelstudio", "yolo-pose", "dlc", "sleap", "fiftyone")
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "category": ("coco", "coco-results"),
    "listing": ("coco-results",),
    "labelling_config": ("labelstudio",),
    "annotator": ("labelstudio",),
    "annotations": ("labelstudio",),
    "skeleton": ("csv", "labelstudio", "yolo-pose", "dlc", "sleap", "fiftyone"),
    "split": ("yolo-pose",),
    "field": ("fiftyone",),
}
"""Which formats take which option."""


def require_format(format: str, known: Sequence[str]) -> None:
    """Refuse a format that is not known.

    Raises:
        ConfigError: It is not.
    """
    if format not in known:
        raise ConfigError(f"unknown format {format!r}", subject="FORMAT", remedy=f"Known: {', '.join(known)}.")


def require_options(format: str, given: Mapping[str, Any], takes: Mapping[str, Sequence[str]]) -> None:
    """Refuse an option that a format does not take.

    Args:
        format: The format.
        given: Options by name, None where they were not given.
        takes: By option, the formats that take it.

    Raises:
        ConfigError: It was given all the same.
    """
    for name, value in given.items():
        if value is not None and format not in takes[name]:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(f"means nothing to {format!r}", subject=option, remedy=f"For: {', '.join(takes[name])}.")


def choice(choices: type[_Choice], value: str, option: str) -> _Choice:
    """The member of an enum that an option names.

    Raises:
        ConfigError: There is none.
    """
    known = [str(member) for member in choices]
    if value not in known:
        raise ConfigError(f"is {value!r}", subject=option, remedy=f"Known: {', '.join(known)}.")
    return choices(value)


def read_labels(
    format: str, src: Path, images: Path, skeleton: Skeleton | None, options: Mapping[str, Any], progress: Progress
) -> Labels:
    """The labels, checked whole; a format's reader is loaded only where it is asked for."""
    match format:
        case "coco":
            from autolabel.formats.coco import read_coco

            return read_coco(src, category=options["category"])
        case "coco-results":
            from autolabel.formats.coco_results import read_coco_results

            return read_coco_results(src, options["listing"], category=options["category"])
        case "csv":
            from autolabel.formats.csv_table import read_csv

            return read_csv(src, skeleton=skeleton)
        case "labelstudio":
            from autolabel.formats.labelstudio import AnnotationChoice, read_labelstudio

            return read_labelstudio(
                src,
                images,
                skeleton=skeleton,
                labelling_config=options["labelling_config"],
                annotator=options["annotator"],
                annotations=choice(AnnotationChoice, options["annotations"] or "latest", "--annotations"),
            )
        case "yolo-pose":
            from autolabel.formats.yolo_pose import WhichSplit, read_yolo_pose

            which = choice(WhichSplit, options["split"] or "all", "--split")
            return read_yolo_pose(src, images, skeleton=skeleton, split=which)
        case "dlc":
            from autolabel.formats.deeplabcut import read_dlc

            return read_dlc(src, images=images, skeleton=skeleton)
        case "sleap":
            from autolabel.formats.sleap import read_sleap

            return read_sleap(src, images=images, skeleton=skeleton)
        case "fiftyone":
            from autolabel.curate.database import open_fiftyone
            from autolabel.curate.incoming import read_dataset
            from pipelines.mongodb import find_mongodb

            fiftyone, field = open_fiftyone(find_mongodb(progress=progress)), options["field"] or ""
            return read_dataset(fiftyone, str(src), images, field=field, skeleton=skeleton, progress=progress)
        case _:
            raise AssertionError(f"{format} is in FORMATS and has no reader")
