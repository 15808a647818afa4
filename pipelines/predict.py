"""``autolabel predict``: poses with scores and features for every box of a corpus.

Works part by part: a part is predicted whole, written, and never computed again, so a killed job goes on where it
stopped and gives the same manifest. Threads decode the next images while the network runs. An image that cannot be
read is set aside in ``quarantine.jsonl`` with its reason; its poses stay, without keypoints.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from autolabel.errors import InputError
from autolabel.formats.coco_boxes import Boxes, read_boxes
from autolabel.manifest import COMMIT, PART_SIZE, Existing, Manifest, ManifestWriter, Parent, write_text
from autolabel.prediction_record import Predicted
from autolabel.progress import SILENT, Progress
from autolabel.run import Run, RunState, file_digest
from pipelines.predict_part import Job, predict_part

QUARANTINE = "quarantine.jsonl"
_REPORT = "report-{:05d}.json"


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
        InputError: No images, no such weights, boxes of other images, labels in another skeleton, another network's
            quality head.
        ConfigError: There is no such device, or it cannot compute in the precision; no weights are given and none come
            with the package.
        ExistsError: ``out`` holds another result.
    """
    from model.checkpoint import load_model, model_digest
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
    out = default_out(source) if out is None else Path(out)
    given = read_boxes(boxes, boxes_images) if boxes is not None else None
    manifest = open_source(source, out, part_size=part_size, overwrite=overwrite, progress=progress)
    config = {"dataset": dataset, "flip_test": flip_test, "precision": precision, "batch_size": batch_size}
    if predictor.larger_crop:  # left out otherwise, so that what networks without a head were asked keeps its name
        config["larger_crop"] = True
    if jitter:  # likewise
        config["jitter"] = True
    inputs = {"manifest": manifest.digest, "weights": model_digest(model)}
    if head is not None:
        inputs["quality"] = quality_digest(head)
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
    )
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "predict", config=config, inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            run.log(f"{predictor.device.type}, {predictor.precision}")
            _work(job, run, inputs, progress)
        result = _result(run.path, job.whole_images)
    if result.quarantined:
        progress.note(f"{result.quarantined:,} images were set aside, see {run.path / QUARANTINE}")
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
    done = writer.finished_parts()
    if job.whole_images:
        progress.note(
            "WARNING: images without boxes are taken as one person each. Where an image holds more people, "
            "or a small one, its pose is wrong: give --boxes, or run a detector first."
        )
    with progress.task("predict", len(job.manifest), "image") as task:
        for i in range(job.manifest.num_parts):
            if i in done:
                task.advance(job.manifest.part_length(i))
                continue
            samples = job.manifest.part(i)
            predicted, features, report = predict_part(job, samples, task)
            # Before the part itself, so that a finished part always has its report.
            write_text(run.path / _REPORT.format(i), json.dumps(asdict(report)))
            writer.write_part(i, predicted, features)
            run.log(f"part {i}: {len(samples)} samples, {len(report.quarantined)} quarantined")
    quarantined = [record for report in _reports(run.path) for record in report["quarantined"]]
    write_text(run.path / QUARANTINE, "".join(f"{json.dumps(record)}\n" for record in quarantined))
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
        boxes="whole-image" if job.whole_images else "manifest" if job.boxes is None else "file",
    )


def _result(path: Path, whole_images: bool) -> PredictResult:
    reports = _reports(path)
    manifest = Manifest.open(path)
    return PredictResult(
        manifest,
        quarantined=sum(len(report["quarantined"]) for report in reports),
        whole_image=len(manifest) if whole_images else 0,
        unboxed=sum(report["unboxed"] for report in reports),
        suppressed=sum(report["suppressed"] for report in reports),
        larger_crops=sum(report.get("larger_crops", 0) for report in reports),  # older runs did not count them
    )


def _reports(path: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(path.glob("report-*.json"))]
