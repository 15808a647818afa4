"""``autolabel predict``: poses with scores and features for every box of a corpus.

Works part by part: a part is predicted whole, written, and never computed again, so a killed job goes on where it
stopped and gives the same manifest. Threads decode the next images while the network runs. An image that cannot be
read is set aside in ``quarantine.jsonl`` with its reason; its poses stay, without keypoints.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from autolabel.errors import ConfigError
from autolabel.manifest import COMMIT, PART_SIZE, Existing, Manifest, ManifestWriter, Parent
from autolabel.prediction_record import Predicted
from autolabel.progress import SILENT, Progress
from autolabel.run import Run
from autolabel.stages import Stages
from pipelines.parts import Engine, Written, forget_quarantined, reports, told_of_quarantine, write_parts
from pipelines.predict_job import Question, local_engine, make_job, named, worker
from pipelines.predict_part import Job
from pipelines.profile import Profile
from pipelines.shards import check_engine, pick_engine


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
        skipped: Images of parts that were done before this call.
        profile: The table of where the time went, if it was asked for and anything was left to do.
    """

    manifest: Manifest
    quarantined: int
    whole_image: int
    unboxed: int
    suppressed: int
    larger_crops: int
    skipped: int
    profile: Path | None = None

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
            "skipped": self.skipped,
            **({"profile": self.profile} if self.profile else {}),
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
    engine: str = "local",
    ray_address: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    backend: str = "auto",
    flip_test: bool = False,
    larger_crop: bool = True,
    jitter: bool = False,
    quality: str | Path | None = None,
    batch_size: int = 32,
    reduce: bool = True,
    profile: bool = False,
    retry: bool = False,
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
        engine: ``local``, or ``ray`` for a cluster, whose machines see manifest, images and weights under the same
            paths as this one. Poses are the same but for the last bits of a float.
        ray_address: Of a Ray cluster that runs already; by default one is started on this machine for the job.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        backend: What computes: ``torch``, ``compiled`` (by ``torch.compile``, which takes a minute first),
            ``openvino``, or with ``auto`` what is faster here.
        flip_test: Predict the mirrored crop too: slower, better, and needed for agreement features.
        larger_crop: Look again, in a larger crop, at people of whom a keypoint seems to lie outside the crop but inside
            the image. Only a network with a presence head, or a whole-box head, can tell.
        jitter: Look again, in two slightly other crops, at people of whom the network is half sure, for features that
            say how steady the answer is.
        quality: The network's quality head, which ``calibrate`` trained: features that say how good each place is.
        batch_size: Crops a batch.
        reduce: Decode JPEG files of a megapixel or more at a half, a quarter or an eighth of their size where all crops
            are at least as coarse.
        profile: Write ``profile.txt``, a table of where the time of this call went, and the same as ``profile.json``.
        retry: Of a job that is finished, work anew through the parts in which images were set aside.
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
    question = Question(
        weights=weights,
        dataset=dataset,
        boxes=boxes,
        boxes_images=boxes_images,
        detector=detector,
        device=device,
        precision=precision,
        backend=backend,
        flip_test=flip_test,
        larger_crop=larger_crop,
        jitter=jitter,
        quality=quality,
        batch_size=batch_size,
        reduce=reduce,
    )
    check_engine(engine, ray_address)
    if profile and engine != "local":
        raise ConfigError("times this process alone", subject="--profile", remedy="Use --engine local.")
    stages = Stages(exact=profile)
    # Before anything slow, so that a wrong name is told at once; and all of it, because its digest names the run.
    networks = question.loaded(stages)
    out = default_out(source) if out is None else Path(out)
    manifest = open_source(source, out, part_size=part_size, overwrite=overwrite, retry=retry, progress=progress)
    job = make_job(question, networks, manifest)
    make = partial(worker, question.absolute(), manifest.path.resolve())
    work = pick_engine(engine, ray_address, local_engine(job), make, device)
    config, inputs = named(question, job, networks)
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "predict", config=config, inputs=inputs, existing=existing) as run:
        forget_quarantined(run.path, retry)
        written, began = Written(len(manifest), 0, 0), time.perf_counter()
        if not (run.path / COMMIT).is_file():
            written = _work(job, run, inputs, work, progress)
        result = _result(run.path, job.whole_images, written)
        if profile and written.samples:
            seconds = time.perf_counter() - began
            cuts_ahead = networks.predictor.cuts_ahead
            profiled = Profile(seconds, written.samples, written.poses, cuts_ahead, stages.spent())
            table = profiled.write(run.path)
            result = replace(result, profile=table)
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


def is_manifest(source: str | Path) -> bool:
    """Whether a source is a manifest, complete or not, and no folder of images."""
    return (Path(source) / COMMIT).is_file() or any(Path(source).glob("samples-*.parquet"))


def open_source(
    source: str | Path,
    out: Path,
    *,
    part_size: int = PART_SIZE,
    overwrite: bool = False,
    retry: bool = False,
    progress: Progress = SILENT,
) -> Manifest:
    """The manifest at ``source``; a folder of images becomes one beside ``out`` first, ``OUT-scan``.

    With ``retry``, one that is there is taken as it is: files that were put right since are other files to a scan.

    Raises:
        InputError: There are no images.
        ExistsError: Another scan stands beside ``out``.
    """
    if is_manifest(source):
        return Manifest.open(source)
    from pipelines.scan import scan

    beside = out.with_name(f"{out.name}-scan")
    if retry and (beside / COMMIT).is_file():
        return Manifest.open(beside)
    return scan(source, out=beside, part_size=part_size, overwrite=overwrite, progress=progress).manifest


def _work(job: Job, run: Run, inputs: Mapping[str, str], engine: Engine, progress: Progress) -> Written:
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
    written = write_parts(
        run, job.manifest, writer, engine, name="predict", progress=progress, stages=job.predictor.stages
    )
    _record(job, reports(run.path)).write(run.path)
    writer.commit()
    return written


def _record(job: Job, told: Sequence[Mapping[str, Any]]) -> Predicted:
    """How its poses are predicted; what computed is what its parts' reports tell."""
    predictor = job.predictor

    def computed(name: str, usual: str) -> str:
        return ", ".join(sorted({str(report[name]) for report in told if name in report})) or usual

    return Predicted(
        model=job.by,
        flip_test=predictor.flip_test,
        larger_crop=predictor.looks_again,
        jitter=predictor.jitter,
        quality=job.quality,
        input_size=predictor.model.input_size,
        precision=computed("precision", predictor.precision),
        backend=computed("backend", predictor.backend),
        device=computed("device", predictor.device.type),
        boxes=_who_boxed(job),
    )


def _who_boxed(job: Job) -> Literal["manifest", "file", "detector", "whole-image"]:
    if job.detector is not None:
        return "detector"
    return "whole-image" if job.whole_images else "manifest" if job.boxes is None else "file"


def _result(path: Path, whole_images: bool, written: Written) -> PredictResult:
    told = reports(path)
    manifest = Manifest.open(path)
    return PredictResult(
        manifest,
        quarantined=sum(len(report["quarantined"]) for report in told),
        whole_image=len(manifest) if whole_images else 0,
        unboxed=sum(report["unboxed"] for report in told),
        suppressed=sum(report["suppressed"] for report in told),
        larger_crops=sum(report.get("larger_crops", 0) for report in told),  # older runs did not count them
        skipped=written.skipped,
    )
