"""``autolabel predict``: poses with scores and features for every box of a corpus.

Works part by part: a part is predicted whole, written, and never computed again, so a killed job goes on where it
stopped and gives the same manifest. Threads decode the next images while the network runs. An image that cannot be
read is set aside in ``quarantine.jsonl`` with its reason; its poses stay, without keypoints.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from autolabel.errors import InputError
from autolabel.formats.coco_boxes import read_boxes
from autolabel.manifest import COMMIT, PART_SIZE, Existing, Manifest, ManifestWriter, Parent
from autolabel.prediction_record import Predicted
from autolabel.progress import SILENT, Progress, Task
from autolabel.run import Run, RunState, file_digest
from pipelines.boxes import boxes_of_images
from pipelines.parts import Part, reports, told_of_quarantine, write_parts
from pipelines.predict_part import Job, predict_part


@dataclass(frozen=True)
class PredictResult:
    """What ``predict`` made.

    Attributes:
        manifest: Its manifest.
        quarantined: Images that could not be read.
        whole_image: Images that were taken as one person each, because nobody gave boxes.
        unboxed: Images without a box, while others have some; nothing was predicted there.
        suppressed: Poses of a detector's boxes that were dropped because a better one is nearly the same.
        larger_crops: Poses that were predicted twice, because their crop seemed to cut off a keypoint, or the image a
            part of them.
    """

    manifest: Manifest
    quarantined: int
    whole_image: int
    unboxed: int
    suppressed: int
    larger_crops: int

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "manifest": self.manifest.path,
            **self.manifest.counts,
            "digest": self.manifest.digest,
            "quarantined": self.quarantined,
            "whole_image": self.whole_image,
            "unboxed": self.unboxed,
            "suppressed": self.suppressed,
            "larger_crops": self.larger_crops,
        }


def predict(
    source: str | Path,
    *,
    weights: str | Path | None = None,
    out: str | Path | None = None,
    dataset: str | None = None,
    boxes: str | Path | None = None,
    boxes_images: str | Path | None = None,
    detector: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    flip_test: bool = False,
    larger_crop: bool = True,
    jitter: bool = False,
    quality: str | Path | None = None,
    batch_size: int = 32,
    part_size: int = PART_SIZE,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> PredictResult:
    """Predict a pose for every box.

    Args:
        source: A manifest folder, or a folder of images, which is scanned first, into ``OUT-scan``.
        weights: Anything ``model.checkpoint.load_model`` reads; by default the starter network that comes with the
            package, where one does.
        out: The manifest to write; by default :func:`default_out`.
        dataset: Which expert and head of a ViTPose++.
        boxes: COCO annotations, or COCO results, that give the boxes; by default the manifest's own. Where nobody
            gives any, every image is taken as one person.
        boxes_images: With COCO results, the COCO file that names the images.
        detector: An object detector, by folder or hub id, that finds the people of every image first: each image is
            decoded once for both. ``detect`` offers more choices.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        flip_test: Predict the mirrored crop too: slower, better, and needed for agreement features.
        larger_crop: Look again, in a larger crop, at people of whom a keypoint seems to lie outside the crop but inside
            the image. Only a network with a presence head, or a whole-box head, can tell.
        jitter: Look again, in two slightly other crops, at people of whom the network is half sure, for features that
            say how steady the answer is.
        quality: The network's quality head, which ``calibrate`` trained: features that say how good each place is.
        batch_size: Crops a batch.
        part_size: Samples a part when a folder is scanned; a manifest keeps its own parts.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        InputError: No images, no such weights or detector, boxes of other images, or boxes beside a detector; labels
            in another skeleton, another network's quality head.
        ConfigError: There is no such device, or it cannot compute in the precision; no weights are given and none come
            with the package.
        ExistsError: ``out`` holds another result.
    """
    from model.checkpoint import load_model, model_digest
    from model.detect import BATCH_SIZE as DETECTOR_BATCH
    from model.detect import Detector
    from model.predict import Predictor
    from model.quality import load_quality, quality_digest
    from model.starter import starter

    # Before anything slow, so that a wrong name is told at once; and all of it, because its digest names the run.
    model = load_model(starter() if weights is None else weights, dataset=dataset)
    head = None if quality is None else load_quality(quality, model)
    predictor = Predictor(
        model,
        device=device,
        precision=precision,
        flip_test=flip_test,
        larger_crop=larger_crop,
        jitter=jitter,
        batch_size=batch_size,
        quality=head,
    )
    finder = None if detector is None else Detector.load(detector, device=device)
    out = default_out(source) if out is None else Path(out)
    given = read_boxes(boxes, boxes_images) if boxes is not None else None
    manifest = open_source(source, out, part_size=part_size, overwrite=overwrite, progress=progress)
    if finder is not None and (boxes is not None or manifest.counts["poses"]):
        raise InputError(
            "has boxes already" if boxes is None else "and --detector both give boxes",
            subject=str(manifest.path if boxes is None else "--boxes"),
            remedy="Leave --detector out, or predict a manifest that `autolabel scan` made.",
        )
    config = {"dataset": dataset, "flip_test": flip_test, "precision": precision, "batch_size": batch_size}
    if predictor.larger_crop:  # left out otherwise, so that what networks without a head were asked keeps its name
        config["larger_crop"] = True
    if jitter:  # likewise
        config["jitter"] = True
    inputs = {"manifest": manifest.digest, "weights": model_digest(model)}
    if head is not None:
        inputs["quality"] = quality_digest(head)
    if finder is not None:
        inputs["detector"] = finder.digest
        config |= {"detector": asdict(finder.choice), "detector_batch": DETECTOR_BATCH}
    for role, path in (("boxes", boxes), ("boxes_images", boxes_images)):
        if path is not None:
            inputs[role] = file_digest(path)
    job = Job(
        manifest=manifest,
        boxes=boxes_of_images(manifest, given, str(boxes)) if given is not None else None,
        boxes_source=Path(boxes).name if boxes is not None else "",
        predictor=predictor,
        by=inputs["weights"][:12],
        quality=inputs.get("quality", ""),
        detector=finder,
        detector_batch=DETECTOR_BATCH,
    )
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "predict", config=config, inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            run.log(f"{predictor.device.type}, {predictor.precision}")
            _work(job, run, inputs, progress)
        result = _result(run.path, job.whole_images)
    told_of_quarantine(result.manifest.path, result.quarantined, progress)
    if result.unboxed:
        progress.note(f"{result.unboxed:,} images have no box: nothing was predicted there")
    return result


def default_out(source: str | Path) -> Path:
    """Where the poses of a source go when nobody says: ``photos.poses.m`` for ``photos`` and for ``photos.m``.

    It lies in the current directory, because the images may be read-only or on another machine; where the current
    directory is the source or lies in it, beside the source, so that no result is ever found among the images.
    """
    place, here = Path(source).resolve(), Path.cwd()
    name = f"{place.name.removesuffix('.m')}.poses.m"
    return (place.parent if here.is_relative_to(place) else here) / name


def open_source(
    source: str | Path, out: Path, *, part_size: int = PART_SIZE, overwrite: bool = False, progress: Progress = SILENT
) -> Manifest:
    """The manifest at ``source``; a folder of images becomes one beside ``out`` first, ``OUT-scan``.

    Raises:
        InputError: There are no images.
        ExistsError: Another scan stands beside ``out``.
    """
    source = Path(source)
    if (source / COMMIT).is_file() or any(source.glob("samples-*.parquet")):
        return Manifest.open(source)
    from pipelines.scan import scan

    beside = out.with_name(f"{out.name}-scan")
    return scan(source, out=beside, part_size=part_size, overwrite=overwrite, progress=progress).manifest


def _work(job: Job, run: Run, inputs: Mapping[str, str], progress: Progress) -> None:
    """Predict the parts that are not there yet, and commit."""
    writer = ManifestWriter(
        run.path,
        job.skeleton,
        job.manifest.roots,
        stage="predict",
        parents=[Parent(role, digest) for role, digest in inputs.items()],
        existing=Existing.RESUME,
    )
    if job.whole_images:
        progress.note(
            "WARNING: images without boxes are taken as one person each. Where an image holds more people, "
            "or a small one, its pose is wrong: give --detector or --boxes, or run `autolabel detect` first."
        )

    def local(numbers: Sequence[int], task: Task) -> Iterator[tuple[int, Part]]:
        for i in numbers:
            samples, features, report = predict_part(job, job.manifest.part(i), task)
            yield i, Part(samples, features, asdict(report))

    write_parts(run, job.manifest, writer, local, name="predict", progress=progress)
    _record(job).write(run.path)
    writer.commit()


def _record(job: Job) -> Predicted:
    """How its poses are predicted."""
    predictor = job.predictor
    return Predicted(
        model=job.by,
        flip_test=predictor.flip_test,
        larger_crop=predictor.looks_again,
        jitter=predictor.jitter,
        quality=job.quality,
        input_size=predictor.model.input_size,
        precision=predictor.precision,
        device=predictor.device.type,
        boxes=_who_boxed(job),
    )


def _who_boxed(job: Job) -> Literal["manifest", "file", "detector", "whole-image"]:
    if job.detector is not None:
        return "detector"
    return "whole-image" if job.whole_images else "manifest" if job.boxes is None else "file"


def _result(path: Path, whole_images: bool) -> PredictResult:
    told = reports(path)
    manifest = Manifest.open(path)
    return PredictResult(
        manifest,
        quarantined=sum(len(report["quarantined"]) for report in told),
        whole_image=len(manifest) if whole_images else 0,
        unboxed=sum(report["unboxed"] for report in told),
        suppressed=sum(report["suppressed"] for report in told),
        larger_crops=sum(report.get("larger_crops", 0) for report in told),  # older runs did not count them
    )
