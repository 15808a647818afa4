"""``autolabel import``: another tool's labels and their images as a manifest.

The label file is checked whole before anything is written. Then every image is read, hashed, decoded,
looked up among those seen before, and compared with the size that the labels were drawn on. One that is
missing, broken or of another size is set aside in ``quarantine.jsonl`` with the reason and the number of
poses lost with it. A killed job goes on where it stopped.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from autolabel.corpus import ROOT, ImageFile, Quarantined, scan_images, thumbnail_reader
from autolabel.duplicates import Duplicates, Learned
from autolabel.errors import FormatError, InputError
from autolabel.formats.coco_reading import THEIRS
from autolabel.formats.image_files import is_file
from autolabel.formats.labels import UNKNOWN_SIZE, Labels
from autolabel.manifest import PART_SIZE, Existing, Manifest, ManifestWriter, Parent, write_text
from autolabel.poses import Poses, Sample, pose_id
from autolabel.progress import SILENT, Progress, Task
from autolabel.run import Run, RunState, file_digest
from autolabel.skeleton import Skeleton
from autolabel.tables import digest_samples
from pipelines.import_formats import FORMATS, OPTIONS, read_labels, require_format, require_options

QUARANTINE = "quarantine.jsonl"
HEADER = "header.json"
"""What the source said of itself (``info``, ``licenses``); ``export`` writes it again."""

_TOGETHER = 1024
_LABEL_SUFFIXES = frozenset({".txt", ".yaml", ".yml", ".json", ".csv", ".h5", ".slp"})

OTHER_SIZE = "other size"
"""Reason to set an image aside that :class:`autolabel.images.Reason` does not have."""


@dataclass(frozen=True)
class ImportResult:
    """What ``import`` made.

    Attributes:
        manifest: Its manifest.
        quarantined: How many images were set aside, by reason.
        poses_lost: Poses of these images.
        notes: What the labels held and did not come in, a sentence each.
    """

    manifest: Manifest
    quarantined: dict[str, int]
    poses_lost: int
    notes: tuple[str, ...]

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "manifest": self.manifest.path,
            **self.manifest.counts,
            "digest": self.manifest.digest,
            "quarantined": sum(self.quarantined.values()),
            "reasons": self.quarantined,
            "poses_lost": self.poses_lost,
            "notes": self.notes,
        }


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
    field: str | None = None,
    overwrite: bool = False,
    part_size: int = PART_SIZE,
    progress: Progress = SILENT,
) -> ImportResult:
    """Make a manifest of another tool's labels.

    Args:
        format: One of ``FORMATS``.
        src: The label file, or the name of a FiftyOne data set.
        images: The folder that the file names in it start from, or that the data set's images lie below.
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
        field: The field of keypoints, where a FiftyOne data set has several.
        overwrite: Replace another result in ``out``.
        part_size: Samples a part.
        progress: Where to report.

    Raises:
        ConfigError: An unknown format, or an option that it does not take.
        FormatError: The file is malformed; names the record and the field.
        InputError: There is no such folder, or it holds none of the images.
        ExistsError: ``out`` holds another result.
        WorkError: FiftyOne's database cannot be had, or stopped answering.
    """
    src, images = Path(src), Path(images)
    require_format(format, FORMATS)
    if not images.is_dir():
        raise InputError("is not a folder", subject=str(images), remedy="Give the folder of the images.")
    options = {"category": category, "listing": listing, "skeleton": skeleton}
    options |= {"labelling_config": labelling_config, "annotator": annotator, "annotations": annotations}
    options |= {"split": split, "field": field}
    require_options(format, options, OPTIONS)
    given = Skeleton.load(skeleton) if skeleton is not None else None
    data = read_labels(format, src, images, given, options, progress)
    _require_images(data, src, images)
    _require_different_poses(data, src)
    named = {name: str(value) for name, value in options.items() if value is not None}
    config = {"format": format, "images": str(images.resolve()), "part_size": part_size, **named}
    inputs = _inputs(data, src, images, {"listing": listing, "labelling_config": labelling_config})
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
            _finish(writer, data)
        result = _result(run.path, data)
    _tell(result, data.skeleton, progress)
    return result


def _inputs(data: Labels, src: Path, images: Path, files: Mapping[str, str | Path | None]) -> dict[str, str]:
    """Digests of the files, of what was understood of them (and of what lies beside), and of the images as they are."""
    given = {name: file_digest(file) for name, file in files.items() if file is not None}
    read, seen = _read_digest(data), _images_digest(data, images)
    return {"labels": data.digest or labels_digest(src), "read": read, "images": seen, **given}


def labels_digest(src: Path) -> str:
    """Hex digest of a label file, or of the names and bytes of all files in a folder of labels."""
    if not src.is_dir():
        return file_digest(src)
    digest = hashlib.sha256()
    for file in sorted(path for path in src.rglob("*") if path.is_file() and path.suffix in _LABEL_SUFFIXES):
        digest.update(f"{file.relative_to(src)} {file_digest(file)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _read_digest(data: Labels) -> str:
    """Hex digest of everything that was read: the same labels give the same one, wherever they stood."""
    total = 0
    for start in range(0, len(data.samples), _TOGETHER):
        samples = data.samples[start : start + _TOGETHER]
        total += digest_samples(samples, Poses.concat([sample.poses for sample in samples]))
    said = [data.skeleton.to_dict(), f"{total % 2**256:064x}", data.header, data.notes]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def _images_digest(data: Labels, images: Path) -> str:
    """Hex digest of which images are there, how large, and of when: an image that came later is another input."""
    digest = hashlib.sha256()
    for sample in data.samples:
        try:
            status = (images / sample.path).stat()
            there = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            there = "missing"
        digest.update(f"{sample.path!r} {there}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class _Job:
    """What every part needs: the labels, the folder of the images, and what to call the label file."""

    data: Labels
    images: Path
    source: str

    @cached_property
    def paths(self) -> frozenset[str]:
        """Of all images that the labels name."""
        return frozenset(sample.path for sample in self.data.samples)


def _require_images(data: Labels, src: Path, images: Path) -> None:
    """A wrong folder is told at once, not by a quarantine that holds everything."""
    if data.samples and not any(is_file(images / sample.path) for sample in data.samples):
        raise InputError(
            f"holds none of the images that {src.name} names, such as {data.samples[0].path}",
            subject=str(images),
            remedy="Give the folder that the file names start from.",
        )


def _require_different_poses(data: Labels, src: Path) -> None:
    """Corrections, routing and blame find a pose by its id.

    Raises:
        FormatError: Two poses have one.
    """
    seen: set[str] = set()
    for sample in data.samples:
        for pose in sample.poses.id.tolist():
            if pose and pose in seen:
                raise FormatError(
                    f"the pose id {pose!r} stands twice",
                    record=sample.path,
                    subject=str(src),
                    remedy="Remove one of them, or its id.",
                )
            seen.add(pose)


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
        usable = _joined(mine, image, job.paths)
        if isinstance(usable, Sample):
            samples.append(_with_ids(usable, job.source))
        else:
            quarantined.append({**asdict(usable), "poses": len(mine.poses)})
    return samples, quarantined


def _joined(labelled: Sample, image: Sample | Quarantined, known: Container[str]) -> Sample | Quarantined:
    """The labels on their image, if it is the one that they were drawn on.

    What the image repeats is seen; what the labels say of it counts where that is one of the ``known`` images.
    """
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
        duplicate_of=image.duplicate_of or (labelled.duplicate_of if labelled.duplicate_of in known else ""),
    )


def _with_ids(sample: Sample, source: str) -> Sample:
    """The sample with poses that name their source and have an id: their own if an earlier export gave one."""
    poses = sample.poses
    ids = [poses.id[i] or _new_id(sample, poses, i, source) for i in range(len(poses))]
    return sample.with_poses(poses.replace(id=ids, by=np.where(poses.by == "", source, poses.by)))


def _new_id(sample: Sample, poses: Poses, i: int, source: str) -> str:
    record: str | int = i
    for name, key in (("labelstudio", "region"), ("fiftyone", "id"), (THEIRS, "id")):
        theirs = poses.attributes[i].get(name)
        record = cast("Mapping[str, Any]", theirs).get(key, record) if isinstance(theirs, Mapping) else record
    return pose_id(sample.id, sample.path, poses.box[i], source, record)


def _finish(writer: ManifestWriter, data: Labels) -> None:
    """Gather the reports and commit."""
    parts = sorted(writer.finished_parts())
    aside = [line for i in parts for line in _read_report(writer, i)["quarantined"]]
    if aside:
        write_text(writer.path / QUARANTINE, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in aside))
    if data.header:
        write_text(writer.path / HEADER, json.dumps(data.header, ensure_ascii=False) + "\n")
    writer.commit()
    for i in parts:
        _report_file(writer, i).unlink()


def _result(folder: Path, data: Labels) -> ImportResult:
    aside: list[dict[str, Any]] = []
    if (folder / QUARANTINE).is_file():
        text = (folder / QUARANTINE).read_text(encoding="utf-8")
        aside = [json.loads(line) for line in text.split("\n") if line]
    return ImportResult(
        Manifest.open(folder),
        quarantined=dict(Counter(line["reason"] for line in aside)),
        poses_lost=sum(line["poses"] for line in aside),
        notes=data.notes,
    )


def _tell(result: ImportResult, skeleton: Skeleton, progress: Progress) -> None:
    """Say what did not come in, also where the work was done before."""
    if count := sum(result.quarantined.values()):
        where = result.manifest.path / QUARANTINE
        progress.note(f"WARNING: {count} images with {result.poses_lost} poses set aside: {where}")
    if skeleton.sigmas_guessed:
        progress.note(f"OKS sigmas of {skeleton.name!r}: {skeleton.sigma_source}.")
    for note in result.notes:
        progress.note(note)


def _report_file(writer: ManifestWriter, i: int) -> Path:
    return writer.path / f"report-{i:05d}.json"


def _read_report(writer: ManifestWriter, i: int) -> dict[str, Any]:
    return json.loads(_report_file(writer, i).read_text(encoding="utf-8"))
