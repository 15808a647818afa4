"""``autolabel export``: a manifest as files that other tools read."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from autolabel.errors import ConfigError
from autolabel.formats.labels import Written
from autolabel.formats.policy import ImagePolicy
from autolabel.images import SUFFIXES
from autolabel.manifest import Manifest
from autolabel.poses import Sample
from autolabel.progress import SILENT, Progress
from autolabel.split import parse_shares
from pipelines.import_ import HEADER
from pipelines.import_formats import choice, require_format, require_options

FORMATS = ("coco", "coco-results", "csv", "labelstudio", "yolo-pose", "dlc", "sleap")

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "as": ("labelstudio",),
    "image_url": ("labelstudio",),
    "split": ("yolo-pose",),
    "image_files": ("yolo-pose",),
    "scorer": ("dlc",),
}
"""Which formats take which option."""


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        path: The file.
        images: Images written.
        poses: Poses written, ignore regions included.
        left_out: Images that the image policy left out.
        lost: What the format could not hold, and in how many poses or images it stood.
    """

    path: Path
    images: int
    poses: int
    left_out: int
    lost: Mapping[str, int]

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        counts = {"images": self.images, "poses": self.poses, "left_out": self.left_out}
        return {"out": self.path, **counts, "lost": self.lost}


def export(
    format: str,
    manifest: str | Path,
    *,
    out: str | Path,
    images: str = ImagePolicy.COMPLETE.value,
    as_: str | None = None,
    image_url: str | None = None,
    split: str | None = None,
    image_files: str | None = None,
    scorer: str | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ExportResult:
    """Write a manifest in another tool's format.

    Args:
        format: One of ``FORMATS``.
        manifest: The manifest folder.
        out: The file or folder to write.
        images: ``complete``: only images all of whose people are settled; ``ignore-regions``: unsettled
            people become crowd regions; ``all``: every pose as it stands.
        as_: What poses are to Label Studio: ``annotations`` (default), or ``predictions`` for people to start from.
        image_url: What stands before an image's path in a Label Studio task; by default its local files.
        split: How to divide the images of a YOLO data set, such as ``train=0.8,val=0.2``; by default as they were
            when they came in, else all ``train``.
        image_files: How images come into a YOLO data set: ``link`` (default), ``copy``, or ``none``.
        scorer: Who labelled, to DeepLabCut; by default whoever its imported tables name, else ``autolabel``.
        overwrite: Replace a file that stands already.
        progress: Where to report.

    Raises:
        ConfigError: An unknown format or image policy, or an option that the format does not take.
        ManifestError: There is no such manifest.
        ExistsError: ``out`` stands already.
    """
    require_format(format, FORMATS)
    options = {"as": as_, "image_url": image_url, "split": split, "image_files": image_files}
    options |= {"scorer": scorer}
    require_options(format, options, OPTIONS)
    policies = [policy.value for policy in ImagePolicy]
    if images not in policies:
        raise ConfigError(f"is {images!r}", subject="--images", remedy=f"Known: {', '.join(policies)}.")
    source = Manifest.open(manifest)
    _require_harmless(Path(out), source)
    several = len(source.roots) > 1
    samples = _ByWrittenName(source) if several else source
    common: dict[str, Any] = {
        "policy": ImagePolicy(images),
        "file_name": _with_root if several else None,
        "overwrite": overwrite,
        "progress": progress,
    }
    written = _writer(format, source, options)(out, samples, source.skeleton, **common)
    if not written.images:
        progress.note("WARNING: no image was written")
    if written.left_out:
        progress.note(f"{written.left_out} images left out: rejected, or somebody in them is not settled.")
    if written.lost:
        progress.note(written.note())
    lost = {aspect.value: n for aspect, n in written.lost.items()}
    return ExportResult(Path(out), written.images, written.poses, written.left_out, lost)


def _writer(format: str, source: Manifest, options: Mapping[str, Any]) -> Callable[..., Written]:
    """The format's writer, loaded only where it is asked for, with what it alone needs."""
    match format:
        case "coco":
            from autolabel.formats.coco import write_coco

            return partial(write_coco, header=_header(source))
        case "coco-results":
            from autolabel.formats.coco_results import write_coco_results

            return write_coco_results
        case "csv":
            from autolabel.formats.csv_table import write_csv

            return write_csv
        case "labelstudio":
            from autolabel.formats.labelstudio import LOCAL_FILES, TaskKind, write_labelstudio

            kind = choice(TaskKind, options["as"] or "annotations", "--as")
            return partial(write_labelstudio, kind=kind, image_url=options["image_url"] or LOCAL_FILES)
        case "yolo-pose":
            from autolabel.formats.yolo_pose import ImageFiles, write_yolo_pose

            return partial(
                write_yolo_pose,
                image_path=source.image_path,
                image_files=choice(ImageFiles, options["image_files"] or "link", "--image-files"),
                shares=None if options["split"] is None else parse_shares(options["split"]),
                header=_header(source),
            )
        case "dlc":
            from autolabel.formats.deeplabcut import write_dlc

            said = (_header(source) or {}).get("deeplabcut", {}).get("scorer")
            return partial(write_dlc, image_file=source.image_path, scorer=options["scorer"] or said or "autolabel")
        case "sleap":
            from autolabel.formats.sleap import write_sleap

            return partial(write_sleap, image_file=source.image_path)
        case _:
            raise AssertionError(f"{format} is in FORMATS and has no writer")


def _header(source: Manifest) -> dict[str, Any] | None:
    """What the source of an imported manifest said of itself."""
    file = source.path / HEADER
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _require_harmless(out: Path, source: Manifest) -> None:
    """Refuse a place where writing, or replacing what stands, would take away what is to be written.

    Raises:
        ConfigError: It is the manifest or in it, holds it or the images, or is an image.
    """
    place, manifest = out.resolve(), source.path.resolve()
    roots = [root.resolve() for root in source.roots.values()]
    inside = place.is_relative_to(manifest)
    around = place.exists() and any(folder.is_relative_to(place) for folder in (manifest, *roots))
    image = place.is_file() and place.suffix.lower() in SUFFIXES
    if inside or around or image:
        what = "is an image" if image else "is in the manifest" if inside else "holds the manifest or its images"
        raise ConfigError(what, subject=str(out), remedy="Give another --out.")


class _ByWrittenName:
    """The samples of a manifest of several roots, a copy's original named as its own file is written."""

    def __init__(self, source: Manifest) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._source:
            original = sample.original
            yield sample if original is None else replace(sample, duplicate_of="/".join(original))


def _with_root(sample: Sample) -> str:
    """The path below the folder of all roots: several roots may hold the same path."""
    return f"{sample.root}/{sample.path}"
