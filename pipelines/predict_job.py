"""What ``predict`` is asked, in names, numbers and paths; and what comes of it on the machine that is to answer.

A question travels: a worker on another machine gets it, and loads networks of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autolabel.errors import InputError
from autolabel.formats.coco_boxes import read_boxes
from autolabel.manifest import Manifest
from autolabel.progress import SILENT, Task
from autolabel.run import file_digest
from autolabel.stages import Stages
from pipelines.boxes import boxes_of_images
from pipelines.parts import Part
from pipelines.predict_part import Job, predict_part

if TYPE_CHECKING:
    from model.detect import Detector
    from model.predict import Predictor

Source = str | Path


@dataclass(frozen=True)
class Question:
    """What is asked; the fields are arguments of :func:`pipelines.predict.predict`."""

    weights: Source | None = None
    dataset: str | None = None
    boxes: Source | None = None
    boxes_images: Source | None = None
    detector: Source | None = None
    device: str = "auto"
    precision: str = "auto"
    backend: str = "auto"
    flip_test: bool = False
    larger_crop: bool = True
    jitter: bool = False
    quality: Source | None = None
    batch_size: int = 32
    reduce: bool = True

    def loaded(self, stages: Stages | None = None) -> "Networks":
        """The networks, on this machine's device; ``stages`` are told of the time.

        Raises:
            InputError: No such weights or detector, or another network's quality head.
            ConfigError: No such device or precision; no weights are given and none come with the package.
        """
        from model.checkpoint import load_model, model_digest
        from model.detect import Detector
        from model.predict import Predictor
        from model.quality import load_quality, quality_digest
        from model.starter import starter

        model = load_model(starter() if self.weights is None else self.weights, dataset=self.dataset)
        digests = {"weights": model_digest(model)}
        head = None
        if self.quality is not None:
            head = load_quality(self.quality, model)
            digests["quality"] = quality_digest(head)
        predictor = Predictor(
            model,
            device=self.device,
            precision=self.precision,
            backend=self.backend,
            flip_test=self.flip_test,
            larger_crop=self.larger_crop,
            jitter=self.jitter,
            batch_size=self.batch_size,
            quality=head,
            stages=stages,
        )
        finder = None
        if self.detector is not None:
            finder = Detector.load(self.detector, device=self.device)
            digests["detector"] = finder.digest
        return Networks(predictor, finder, digests)

    def absolute(self) -> "Question":
        """The same with paths that hold in any working directory; names of the hub stay."""
        paths = {name: getattr(self, name) for name in ("weights", "boxes", "boxes_images", "detector", "quality")}
        return replace(self, **{name: Path(p).resolve() for name, p in paths.items() if p and Path(p).exists()})


@dataclass(frozen=True)
class Networks:
    """What answers a question.

    Attributes:
        predictor: The pose network.
        detector: What finds the people; None where boxes are given.
        digests: Of what was loaded, by its role.
    """

    predictor: "Predictor"
    detector: "Detector | None"
    digests: dict[str, str] = field(default_factory=dict[str, str])


def make_job(question: Question, networks: Networks, manifest: Manifest) -> Job:
    """What every part of a manifest needs.

    Raises:
        InputError: Boxes of other images, or boxes beside a detector.
    """
    boxes = question.boxes
    if networks.detector is not None and (boxes is not None or manifest.counts["poses"]):
        raise InputError(
            "has boxes already" if boxes is None else "and --detector both give boxes",
            subject=str(manifest.path if boxes is None else "--boxes"),
            remedy="Leave --detector out, or predict a manifest that `autolabel scan` made.",
        )
    given = None if boxes is None else read_boxes(boxes, question.boxes_images)
    return Job(
        manifest=manifest,
        boxes=None if given is None else boxes_of_images(manifest, given, str(boxes)),
        boxes_source="" if boxes is None else Path(boxes).name,
        predictor=networks.predictor,
        by=networks.digests["weights"][:12],
        quality=networks.digests.get("quality", ""),
        detector=networks.detector,
        reduced=question.reduce,
    )


def named(question: Question, job: Job, networks: Networks) -> tuple[dict[str, Any], dict[str, str]]:
    """What names a run: what was asked, and the digests of what it is asked about."""
    config: dict[str, Any] = {
        "dataset": question.dataset,
        "flip_test": question.flip_test,
        "precision": question.precision,
        "batch_size": question.batch_size,
    }
    if job.predictor.larger_crop:  # left out otherwise, so that what networks without a head were asked keeps its name
        config["larger_crop"] = True
    if question.jitter:  # likewise
        config["jitter"] = True
    if job.detector is not None:  # likewise
        config |= {"detector": asdict(job.detector.choice), "detector_batch": job.detector_batch}
    if question.backend != "auto":  # likewise
        config["backend"] = question.backend
    if not question.reduce:  # likewise
        config["reduce"] = False
    files = {"boxes": question.boxes, "boxes_images": question.boxes_images}
    inputs = {"manifest": job.manifest.digest, **networks.digests}
    return config, inputs | {role: file_digest(path) for role, path in files.items() if path is not None}


def local_engine(job: Job) -> Callable[[Sequence[int], Task], Iterator[tuple[int, Part]]]:
    """Parts one after the other, in this process."""

    def work(numbers: Sequence[int], task: Task) -> Iterator[tuple[int, Part]]:
        return ((i, answered(job, i, task)) for i in numbers)

    return work


def answered(job: Job, i: int, task: Task) -> Part:
    """A part with its poses; its report says what computed them."""
    predictor = job.predictor
    with predictor.stages("read manifest"):
        part = job.manifest.part(i)
    samples, features, report = predict_part(job, part, task)
    return Part(
        samples,
        features,
        {
            **asdict(report),
            "device": predictor.device.type,
            "precision": predictor.precision,
            "backend": predictor.backend,
            "threads": predictor.threads,
        },
    )


def worker(question: Question, manifest: Path) -> Callable[[int], Part]:
    """What answers a question's parts in another process, with networks of its own."""
    job = make_job(question, question.loaded(), Manifest.open(manifest))
    with SILENT.task("") as task:
        return lambda i: answered(job, i, task)
