"""``autolabel predict``: poses with scores and features for every box of a corpus.

Works part by part: a part is predicted whole, written, and never computed again, so a killed job goes on where it
stopped and gives the same manifest. Threads decode the next images while the network runs. An image that cannot be
read is set aside in ``quarantine.jsonl`` with its reason; its poses stay without a prediction.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from autolabel.formats.coco_boxes import read_boxes
from autolabel.manifest import COMMIT, PART_SIZE, Existing, Manifest, ManifestWriter, Parent, write_text
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
        whole_image: Images that had no box and were taken as a whole.
        suppressed: Poses of a detector's boxes that were dropped because a better one is nearly the same.
    """

    manifest: Manifest
    quarantined: int
    whole_image: int
    suppressed: int

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "manifest": self.manifest.path,
            **self.manifest.counts,
            "digest": self.manifest.digest,
            "quarantined": self.quarantined,
            "whole_image": self.whole_image,
            "suppressed": self.suppressed,
        }


def predict(
    source: str | Path,
    *,
    weights: str | Path,
    out: str | Path,
    dataset: str | None = None,
    boxes: str | Path | None = None,
    boxes_images: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    flip_test: bool = False,
    batch_size: int = 32,
    part_size: int = PART_SIZE,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> PredictResult:
    """Predict a pose for every box.

    Args:
        source: A manifest folder, or a folder of images, which is scanned first, into ``OUT-scan``.
        weights: Anything ``model.checkpoint.load_model`` reads.
        out: The manifest to write.
        dataset: Which expert and head of a ViTPose++.
        boxes: COCO annotations, or COCO results, that give the boxes; by default the manifest's own.
        boxes_images: With COCO results, the COCO file that names the images.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        flip_test: Predict the mirrored crop too: slower, better, and needed for agreement features.
        batch_size: Crops a batch.
        part_size: Samples a part when a folder is scanned; a manifest keeps its own parts.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        InputError: No images, no such weights, boxes of other images, another skeleton.
        ExistsError: ``out`` holds another result.
    """
    from model.checkpoint import load_model, model_digest
    from model.predict import Predictor

    manifest = _opened(Path(source), Path(out), part_size, progress)
    config = {"dataset": dataset, "flip_test": flip_test, "precision": precision, "batch_size": batch_size}
    inputs = {"manifest": manifest.digest, "weights": model_digest(weights)}
    for role, path in (("boxes", boxes), ("boxes_images", boxes_images)):
        if path is not None:
            inputs[role] = file_digest(path)
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "predict", config=config, inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            model = load_model(weights, dataset=dataset)
            job = Job(
                manifest=manifest,
                boxes=read_boxes(boxes, boxes_images) if boxes is not None else None,
                boxes_source=Path(boxes).name if boxes is not None else "",
                predictor=Predictor(
                    model, device=device, precision=precision, flip_test=flip_test, batch_size=batch_size
                ),
                by=inputs["weights"][:12],
            )
            _work(job, run, inputs, progress)
        return _result(run.path)


def _opened(source: Path, out: Path, part_size: int, progress: Progress) -> Manifest:
    """The manifest at ``source``; a folder of images becomes one beside ``out`` first."""
    if (source / COMMIT).is_file() or any(source.glob("samples-*.parquet")):
        return Manifest.open(source)
    from pipelines.scan import scan

    beside = out.with_name(f"{out.name}-scan")
    return scan(source, out=beside, part_size=part_size, progress=progress).manifest


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
    warned = False
    with progress.task("predict", len(job.manifest), "image") as task:
        for i in range(job.manifest.num_parts):
            samples = job.manifest.part(i)
            if i in done:
                task.advance(len(samples))
                continue
            predicted, features, report = predict_part(job, samples, task)
            # Before the part itself, so that a finished part always has its report.
            write_text(run.path / _REPORT.format(i), json.dumps(asdict(report)))
            writer.write_part(i, predicted, features or None)
            run.log(f"part {i}: {len(samples)} samples, {len(report.quarantined)} quarantined")
            if report.whole_image and not warned:
                warned = True
                progress.note(
                    "WARNING: images without boxes are taken as one person each. Where an image holds more people, "
                    "or a small one, its pose is wrong: give --boxes, or run a detector first."
                )
    writer.commit()


def _result(path: Path) -> PredictResult:
    """Sum the parts' reports, and list all quarantined images in one file."""
    reports = [json.loads(file.read_text()) for file in sorted(path.glob("report-*.json"))]
    quarantined = [record for report in reports for record in report["quarantined"]]
    if quarantined:
        write_text(path / QUARANTINE, "".join(f"{json.dumps(record)}\n" for record in quarantined))
    return PredictResult(
        Manifest.open(path),
        quarantined=len(quarantined),
        whole_image=sum(report["whole_image"] for report in reports),
        suppressed=sum(report["suppressed"] for report in reports),
    )
