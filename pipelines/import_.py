"""``autolabel import``: another tool's labels and their images as a manifest.

The label file is checked whole before anything is written. Then every image is read, hashed, decoded,
looked up among those seen before, and compared with the size that the labels were drawn on. One that is
missing, broken or of another size is set aside in ``quarantine.jsonl`` with the reason and the number of
poses lost with it. A killed job goes on where it stopped.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from autolabel.corpus import ROOT, ImageFile, Quarantined, scan_images, thumbnail_reader
from autolabel.duplicates import Duplicates, Learned
from autolabel.errors import ConfigError, InputError
from autolabel.formats.coco_reading import THEIRS
from autolabel.formats.labels import UNKNOWN_SIZE, Labels
from autolabel.manifest import PART_SIZE, Existing, Manifest, ManifestWriter, Parent, write_text
from autolabel.poses import Poses, Sample, pose_id
from autolabel.progress import SILENT, Progress, Task
from autolabel.run import Run, RunState, file_digest
from autolabel.skeleton import Skeleton

_Choice = TypeVar("_Choice", bound=StrEnum)

FORMATS = ("coco", "coco-results", "csv", "labelstudio", "yolo-pose", "dlc", "sleap")
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "category": ("coco", "coco-results"),
    "listing": ("coco-results",),
    "labelling_config": ("labelstudio",),
    "annotator": ("labelstudio",),
    "annotations": ("labelstudio",),
    "skeleton": ("csv", "labelstudio", "yolo-pose", "dlc", "sleap"),
    "split": ("yolo-pose",),
}
"""Which formats take which option."""

QUARANTINE = "quarantine.jsonl"
HEADER = "header.json"
"""What the source said of itself (``info``, ``licenses``); ``export`` writes it again."""

_LABEL_SUFFIXES = frozenset({".txt", ".yaml", ".yml", ".json", ".csv", ".h5", ".slp"})

OTHER_SIZE = "other size"
"""Reason to set an image aside that :class:`autolabel.images.Reason` does not have."""


def import_(
    format: str,
    src: str | Path,
    *,
    images: str | Path,
    out: str | Path,
    category: str | int | None = None,
    listing: str | Path | None = None,
    skeleton: str | Path | None = None,
    labelling_config: str | Path | None = None,
    annotator: str | None = None,
    annotations: str | None = None,
    split: str | None = None,
    overwrite: bool = False,
    part_size: int = PART_SIZE,
    progress: Progress = SILENT,
) -> Manifest:
    """Make a manifest of another tool's labels.

    Args:
        format: One of ``FORMATS``.
        src: The label file.
        images: The folder that the file names in it start from.
        out: The manifest folder to write.
        category: Name or id of the keypoint category, where a COCO file has several with different keypoints.
        listing: The COCO file that lists the images and the category of COCO results.
        skeleton: What the keypoints are, for formats that do not say it, or not all of it: a built-in skeleton or
            a file.
        labelling_config: The labelling configuration of a Label Studio project: names and order of its keypoints.
        annotator: Number or e-mail address of the only annotator whose Label Studio annotations count.
        annotations: Which of the Label Studio annotations of a task counts: ``latest`` (default; one marked as ground
            truth goes before), ``first``, ``ground-truth``, or ``predictions`` where there is none.
        split: Which images of a YOLO data set: ``train``, ``val``, ``test`` or ``all`` (default).
        overwrite: Replace another result in ``out``.
        part_size: Samples a part.
        progress: Where to report.

    Raises:
        ConfigError: An unknown format, or an option that it does not take.
        FormatError: The file is malformed; names the record and the field.
        InputError: There is no such folder, or it holds none of the images.
        ExistsError: ``out`` holds another result.
    """
    src, images = Path(src), Path(images)
    require_format(format, FORMATS)
    if not images.is_dir():
        raise InputError("is not a folder", subject=str(images), remedy="Give the folder of the images.")
    options = {"category": category, "listing": listing, "skeleton": skeleton}
    options |= {"labelling_config": labelling_config, "annotator": annotator, "annotations": annotations}
    options |= {"split": split}
    require_options(format, options, OPTIONS)
    data = _read(format, src, images, options)
    _require_images(data, src, images)
    named = {name: str(value) for name, value in options.items() if value is not None}
    config = {"format": format, "images": str(images.resolve()), "part_size": part_size, **named}
    files = {"listing": listing, "labelling_config": labelling_config}
    inputs = {"labels": data.digest or labels_digest(src)} | {
        n: file_digest(file) for n, file in files.items() if file is not None
    }
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "import", config=config, inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            writer = ManifestWriter(
                run.path,
                data.skeleton,
                {ROOT: images},
                stage="import",
                parents=[Parent(role, digest) for role, digest in inputs.items()],
                existing=Existing.RESUME,
            )
            _write_parts(_Job(data, images, src.name), writer, part_size, progress)
            _finish(writer, data, progress)
        return Manifest.open(run.path)


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


def labels_digest(src: Path) -> str:
    """Hex digest of a label file, or of the names and bytes of all files in a folder of labels."""
    if not src.is_dir():
        return file_digest(src)
    digest = hashlib.sha256()
    for file in sorted(path for path in src.rglob("*") if path.is_file() and path.suffix in _LABEL_SUFFIXES):
        digest.update(f"{file.relative_to(src)} {file_digest(file)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _read(format: str, src: Path, images: Path, options: Mapping[str, Any]) -> Labels:
    """The labels, checked whole; a format's reader is loaded only where it is asked for."""
    given = options["skeleton"]
    skeleton = Skeleton.load(given) if given is not None else None
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
        case _:
            raise AssertionError(f"{format} is in FORMATS and has no reader")


@dataclass(frozen=True, eq=False)
class _Job:
    """What every part needs: the labels, the folder of the images, and what to call the label file."""

    data: Labels
    images: Path
    source: str


def _require_images(data: Labels, src: Path, images: Path) -> None:
    """A wrong folder is told at once, not by a quarantine that holds everything."""
    if data.samples and not any((images / sample.path).is_file() for sample in data.samples):
        raise InputError(
            f"holds none of the images that {src.name} names, such as {data.samples[0].path}",
            subject=str(images),
            remedy="Give the folder that the file names start from.",
        )


def _write_parts(job: _Job, writer: ManifestWriter, part_size: int, progress: Progress) -> None:
    """Write the parts that are not there; each leaves a report of what it set aside and what it learned."""
    labelled = job.data.samples
    learned: list[Learned] = []
    seen = Duplicates(thumbnail_reader(job.images), journal=learned)
    done = writer.finished_parts()
    with progress.task("import", len(labelled), "image") as task:
        for i, start in enumerate(range(0, max(len(labelled), 1), part_size)):
            part = labelled[start : start + part_size]
            if i in done:
                seen.replay([Learned(*line) for line in _read_report(writer, i)["learned"]])
                task.advance(len(part))
                continue
            learned.clear()
            samples, quarantined = _inspect(job, part, seen, task)
            # The report goes first, so that a finished part always has one.
            report = {"quarantined": quarantined, "learned": learned}
            write_text(_report_file(writer, i), json.dumps(report, ensure_ascii=False))
            writer.write_part(i, samples)


def _inspect(
    job: _Job, labelled: Sequence[Sample], seen: Duplicates, task: Task
) -> tuple[list[Sample], list[dict[str, Any]]]:
    """Look at the images of labelled samples: the samples that can be used, and why the others cannot."""
    listing = [ImageFile(sample.path, 0, 0) for sample in labelled]
    scanned = scan_images(job.images, listing, num_keypoints=job.data.skeleton.num_keypoints, duplicates=seen)
    samples: list[Sample] = []
    quarantined: list[dict[str, Any]] = []
    for mine, image in zip(labelled, scanned, strict=True):
        task.advance()
        usable = _joined(mine, image)
        if isinstance(usable, Sample):
            samples.append(_with_ids(usable, job.source))
        else:
            quarantined.append({**asdict(usable), "poses": len(mine.poses)})
    return samples, quarantined


def _joined(labelled: Sample, image: Sample | Quarantined) -> Sample | Quarantined:
    """The labels on their image, if it is the one that they were drawn on."""
    if isinstance(image, Quarantined):
        return image
    if labelled.size not in (image.size, UNKNOWN_SIZE):
        stated, found = ("x".join(map(str, size)) for size in (labelled.size, image.size))
        return Quarantined(labelled.path, OTHER_SIZE, f"labelled as {stated}, but upright it is {found}")
    return replace(
        image,
        poses=labelled.poses,
        attributes=labelled.attributes,
        group=labelled.group or image.group,
        duplicate_of=labelled.duplicate_of or image.duplicate_of,
    )


def _with_ids(sample: Sample, source: str) -> Sample:
    """The sample with poses that name their source and have an id: their own if an earlier export gave one."""
    poses = sample.poses
    ids = [poses.id[i] or _new_id(sample, poses, i, source) for i in range(len(poses))]
    return sample.with_poses(poses.replace(id=ids, by=np.where(poses.by == "", source, poses.by)))


def _new_id(sample: Sample, poses: Poses, i: int, source: str) -> str:
    record: str | int = i
    for name, key in (("labelstudio", "region"), (THEIRS, "id")):
        theirs = poses.attributes[i].get(name)
        record = cast("Mapping[str, Any]", theirs).get(key, record) if isinstance(theirs, Mapping) else record
    return pose_id(sample.id, sample.path, poses.box[i], source, record)


def _finish(writer: ManifestWriter, data: Labels, progress: Progress) -> None:
    """Gather the reports, commit, and say what did not come in."""
    parts = sorted(writer.finished_parts())
    aside = [line for i in parts for line in _read_report(writer, i)["quarantined"]]
    if aside:
        lines = [json.dumps(line, ensure_ascii=False) for line in aside]
        write_text(writer.path / QUARANTINE, "\n".join(lines) + "\n")
        lost = sum(line["poses"] for line in aside)
        progress.note(f"WARNING: {len(aside)} images with {lost} poses set aside: {writer.path / QUARANTINE}")
    if data.skeleton.sigmas_guessed:
        progress.note(f"OKS sigmas of {data.skeleton.name!r}: {data.skeleton.sigma_source}.")
    for note in data.notes:
        progress.note(note)
    if data.header:
        write_text(writer.path / HEADER, json.dumps(data.header, ensure_ascii=False) + "\n")
    writer.commit()
    for i in parts:
        _report_file(writer, i).unlink()


def _report_file(writer: ManifestWriter, i: int) -> Path:
    return writer.path / f"report-{i:05d}.json"


def _read_report(writer: ManifestWriter, i: int) -> dict[str, Any]:
    return json.loads(_report_file(writer, i).read_text(encoding="utf-8"))
