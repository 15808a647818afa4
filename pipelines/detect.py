"""``autolabel detect``: boxes for top-down pose estimation, by a detector, from a COCO file, or the whole image.

Works part by part like ``predict``: a killed job goes on where it stopped, and images that cannot be read are set
aside with their reason.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autolabel.errors import CheckpointError, InputError
from autolabel.formats.coco_boxes import read_boxes
from autolabel.manifest import COMMIT, PART_SIZE, Existing, Manifest, ManifestWriter, Parent
from autolabel.poses import Poses, Sample
from autolabel.progress import SILENT, Progress, Task
from autolabel.run import Run, file_digest
from autolabel.stages import Stages
from pipelines.boxes import (
    WHOLE_IMAGE,
    Images,
    boxes_of_detector,
    boxes_of_file,
    boxes_of_images,
    detected,
    signed,
    whole_image,
)
from pipelines.decoding import ImageReader
from pipelines.parts import Engine, Part, Written, forget_quarantined, reports, told_of_quarantine, write_parts
from pipelines.predict import open_source
from pipelines.shards import check_engine, pick_engine

if TYPE_CHECKING:
    from model.detect import Choice, Detector

_BATCH_SIZE, _MIN_SCORE, _NMS, _MAX_BOXES = 8, 0.3, 0.7, 100


@dataclass(frozen=True)
class DetectResult:
    """What ``detect`` made.

    Attributes:
        manifest: Its manifest, whose poses are boxes without keypoints.
        quarantined: Images that could not be read.
        empty: Images in which nobody was found.
        skipped: Images of parts that were done before this call.
    """

    manifest: Manifest
    quarantined: int
    empty: int
    skipped: int

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "manifest": self.manifest.path,
            **self.manifest.counts,
            "digest": self.manifest.digest,
            "quarantined": self.quarantined,
            "empty": self.empty,
            "skipped": self.skipped,
        }


@dataclass(frozen=True)
class _Question:
    """What is asked, in names, numbers and paths: a worker on another machine gets it. As of :func:`detect`."""

    detector: str | Path | None
    boxes_images: str | Path | None
    choice: "Choice"
    device: str
    batch_size: int

    @property
    def file(self) -> Path | None:
        """The file of boxes, if the detector is one."""
        return Path(self.detector) if self.detector is not None and Path(self.detector).is_file() else None

    def finder(self) -> "Detector | None":
        """The detector, loaded; None where there is none to load."""
        return None if self.file or self.detector == WHOLE_IMAGE else _finder(self.detector, self.choice, self.device)

    def absolute(self) -> "_Question":
        """The same with paths that hold in any working directory; names of the hub stay."""
        paths = {"detector": self.detector, "boxes_images": self.boxes_images}
        return replace(self, **{name: Path(p).resolve() for name, p in paths.items() if p and Path(p).exists()})


@dataclass(frozen=True)
class _Job:
    """What every part needs: one of a detector, the boxes of a file and its name, or none for whole images."""

    manifest: Manifest
    detector: "Detector | None"
    batch_size: int
    boxes: Images | None
    source: str

    @classmethod
    def of(cls, question: _Question, finder: "Detector | None", manifest: Manifest) -> "_Job":
        """The job of a question about a manifest."""
        file = question.file
        given = read_boxes(file, question.boxes_images) if file else None
        boxes = None if given is None else boxes_of_images(manifest, given, str(file))
        return cls(manifest, finder, question.batch_size, boxes, file.name if file else "")


def detect(
    source: str | Path,
    *,
    detector: str | Path | None = None,
    out: str | Path,
    boxes_images: str | Path | None = None,
    classes: Sequence[str] | None = None,
    min_score: float = _MIN_SCORE,
    nms: float = _NMS,
    max_boxes: int = _MAX_BOXES,
    engine: str = "local",
    ray_address: str | None = None,
    device: str = "auto",
    batch_size: int = _BATCH_SIZE,
    part_size: int = PART_SIZE,
    retry: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> DetectResult:
    """Find the people of every image.

    Args:
        source: A manifest without poses, or a folder of images, which is scanned first, into ``OUT-scan``.
        detector: A Hugging Face object detector, by folder or hub id; a COCO file of boxes; or ``whole-image``, one
            person an image. By default :data:`model.detect.DEFAULT`, from the hub.
        out: The manifest to write.
        boxes_images: With a COCO file of results, the COCO file that names the images.
        classes: What to look for, by the detector's names; people where left out.
        min_score: Boxes of a lower score are dropped.
        nms: Of two boxes whose intersection over union is greater, the better one stays.
        max_boxes: The best ones of an image, at most.
        engine: ``local``, or ``ray`` for a cluster, as of ``predict``.
        ray_address: Of a Ray cluster that runs already; by default one is started on this machine for the job.
        device: ``auto``, ``cpu`` or ``cuda``.
        batch_size: Images that a detector looks at together.
        part_size: Images a part when a folder is scanned; a manifest keeps its own parts.
        retry: Of a job that is finished, work anew through the parts in which images were set aside.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        InputError: No images, boxes are there already, no such detector, or boxes of other images.
        ConfigError: An unknown class, a number out of range, or there is no such device.
        ExistsError: ``out`` holds another result.
    """
    from model.detect import Choice

    choice = Choice(tuple(classes or ("person",)), min_score, nms, max_boxes)
    question = _Question(detector, boxes_images, choice, device, batch_size)
    check_engine(engine, ray_address)
    finder = question.finder()
    out = Path(out)
    manifest = open_source(source, out, part_size=part_size, overwrite=overwrite, retry=retry, progress=progress)
    if manifest.counts["poses"]:
        raise InputError(
            f"has {manifest.counts['poses']:,} poses or boxes already",
            subject=str(manifest.path),
            remedy="Predict it as it is, or detect in the manifest that `autolabel scan` made.",
        )
    job = _Job.of(question, finder, manifest)
    make = partial(_worker, question.absolute(), manifest.path.resolve())
    work = pick_engine(engine, ray_address, _local(job), make, device)
    config: dict[str, Any] = {"detector": WHOLE_IMAGE}
    inputs = {"manifest": manifest.digest}
    if finder is not None:
        config = {"choice": asdict(choice), "batch_size": batch_size}
        inputs["detector"] = finder.digest
    elif question.file is not None:
        config = {}
        files = (("boxes", question.file), ("images", boxes_images))
        inputs |= {role: file_digest(path) for role, path in files if path}
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "detect", config=config, inputs=inputs, existing=existing) as run:
        forget_quarantined(run.path, retry)
        written = Written(len(manifest), 0, 0)
        if not (run.path / COMMIT).is_file():
            written = _work(job, run, [Parent(role, digest) for role, digest in inputs.items()], work, progress)
        told = reports(run.path)
    made = Manifest.open(out)
    quarantined = sum(len(report["quarantined"]) for report in told)
    told_of_quarantine(out, quarantined, progress)
    return DetectResult(made, quarantined, sum(report["empty"] for report in told), written.skipped)


def _finder(detector: str | Path | None, choice: Any, device: str) -> "Detector":
    """The detector; where nobody named one, the usual one, and a loud word where it cannot be fetched."""
    from model.detect import DEFAULT, Detector

    if detector is not None:
        return Detector.load(detector, choice, device=device)
    try:
        return Detector.load(DEFAULT, choice, device=device)
    except CheckpointError as error:
        raise CheckpointError(
            "NO DETECTOR: none was named, and the usual one cannot be fetched from the Hugging Face hub",
            subject=DEFAULT,
            remedy="Fetch it where there is a network and give its folder with --detector; give boxes in a COCO file; "
            "or say --detector whole-image where every image shows one person.",
        ) from error


def _work(job: _Job, run: Run, parents: Sequence[Parent], engine: Engine, progress: Progress) -> Written:
    """Box the parts that are not there yet, and commit."""
    writer = ManifestWriter(
        run.path, job.manifest.skeleton, job.manifest.roots, stage="detect", parents=parents, existing=Existing.RESUME
    )
    written = write_parts(run, job.manifest, writer, engine, name="detect", progress=progress)
    writer.commit()
    return written


def _local(job: _Job) -> Engine:
    """Parts one after the other, in this process."""

    def work(numbers: Sequence[int], task: Task) -> Iterator[tuple[int, Part]]:
        return ((i, _part(job, job.manifest.part(i), task)) for i in numbers)

    return work


def _worker(question: _Question, manifest: Path) -> Callable[[int], Part]:
    """What works on a question's parts in another process, with a detector of its own."""
    job = _Job.of(question, question.finder(), Manifest.open(manifest))
    with SILENT.task("") as task:
        return lambda i: _part(job, job.manifest.part(i), task)


def _part(job: _Job, samples: Sequence[Sample], task: Task) -> Part:
    """Samples with the people who were found in them."""
    k, quarantined = job.manifest.skeleton.num_keypoints, list[dict[str, str]]()
    people: list[Poses] = [Poses.empty(k)] * len(samples)
    readable = np.ones(len(samples), bool)
    if job.detector is not None:
        by = signed(job.detector)
        images = ImageReader(job.manifest, samples, readable, quarantined, task, Stages())
        for i, _, found in detected(job.detector, images.whole(range(len(samples))), job.batch_size):
            people[i] = boxes_of_detector(k, samples[i], found, by)
    else:
        people = [_told(job, sample) for sample in samples]
        task.advance(len(samples))
    empty = sum(not len(poses) for poses in people) - len(quarantined)
    done = [sample.with_poses(poses) for sample, poses in zip(samples, people, strict=True)]
    return Part(done, None, {"quarantined": quarantined, "empty": empty})


def _told(job: _Job, sample: Sample) -> Poses:
    """The people whom the file boxes, or the whole image."""
    k = job.manifest.skeleton.num_keypoints
    if job.boxes is None:
        return whole_image(k, sample)
    return boxes_of_file(k, sample, job.boxes.get((sample.root, sample.path)), job.source)
