"""What ``autolabel bench`` times: the product, what people would run instead, and what bounds both.

Each way is a few names and numbers, so that a fresh process can be told to time it: no way inherits another's memory,
threads or warm caches.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count as count_from
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from autolabel.errors import ImageError
from autolabel.images import read_image
from autolabel.manifest import Existing, Manifest, ManifestWriter
from autolabel.poses import Sample
from autolabel.progress import SILENT
from autolabel.stages import peak_memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from model.references import Image

_WARMING = 64
"""Images that warm the product up."""

_LEAST_BATCHES = 8
"""That the product is timed with: of fewer, the last one, which is not full, would take a share of the time."""

_AT_ONCE = 8
"""Batches of the bare network on a GPU between two looks at the clock."""

Work = Iterator[tuple[int, int]]
"""Does a piece of the work each time it is asked, and tells how many images and people that were."""


@dataclass(frozen=True)
class Count:
    """What a way did.

    Attributes:
        images: How many.
        people: In them.
        seconds: That took, by the clock.
        peak_mib: The most memory that its process held.
    """

    images: int
    people: int
    seconds: float
    peak_mib: float


class Way(Protocol):
    """Something to be timed."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    def work(self) -> Work:
        """Its work; the first piece warms up and is not counted."""
        ...


def count(way: Way, seconds: float) -> Count:
    """Let a way work for so long, after its first piece."""
    work = way.work()
    next(work)
    images = people = 0
    began = time.perf_counter()
    took = 0.0
    for more_images, more_people in work:
        images, people, took = images + more_images, people + more_people, time.perf_counter() - began
        if took >= seconds:
            break
    return Count(images, people, took, peak_memory())


@dataclass(frozen=True)
class Product:
    """``autolabel predict``, from files to a manifest, a part at a time.

    A part ends with a batch that is not full, and another one begins with images that are not decoded yet. So what is
    timed is one part, as large as is predicted in the time and no less than a few batches: those of a long job are
    larger still.

    Attributes:
        weights: Of the network.
        manifest: Whom to predict; the first few warm up.
        out: For what it writes.
        seconds: That a part is to take.
        device: As of ``predict``; the others likewise.
        precision: See there.
        backend: See there.
        batch_size: See there.
        name: For people.
    """

    weights: str | Path
    manifest: Path
    out: Path
    seconds: float
    device: str
    precision: str
    backend: str
    batch_size: int
    name: str = "autolabel predict"

    def work(self) -> Work:
        """A small part, then larger ones."""
        from pipelines.predict_job import Question, make_job
        from pipelines.predict_part import predict_part

        question = Question(
            weights=self.weights,
            device=self.device,
            precision=self.precision,
            backend=self.backend,
            batch_size=self.batch_size,
        )
        job = make_job(question, question.loaded(), Manifest.open(self.manifest))
        writer = ManifestWriter(
            self.out, job.skeleton, job.manifest.roots, stage="predict", existing=Existing.OVERWRITE
        )
        people = list(job.manifest)
        size, begin = min(_WARMING, len(people)), 0
        with SILENT.task("") as task:
            for part in count_from(0):
                now, began = people[begin : begin + size], time.perf_counter()
                samples, features, _ = predict_part(job, now, task)
                writer.write_part(part, samples, features)
                # Of nearly the same poses one is dropped, after the work was done.
                yield len(now), sum(len(sample.poses) for sample in now)
                if part == 0:
                    pace = size / (time.perf_counter() - began)
                    some = math.ceil(_LEAST_BATCHES * self.batch_size * size / sum(len(one.poses) for one in now))
                    size = min(max(math.ceil(pace * self.seconds), some), len(people))
                begin = begin + len(now) if begin + len(now) + size <= len(people) else 0


@dataclass(frozen=True)
class Network:
    """The bare network on crops that lie in memory."""

    weights: str | Path
    device: str
    precision: str
    backend: str
    batch_size: int

    @property
    def name(self) -> str:
        """With what computes it."""
        return f"bare network, {self.backend} {self.precision}"

    def work(self) -> Work:
        """A batch a piece; of a GPU, which is to be kept busy, a few."""
        import torch

        from model.backends import forward_of, pick_backend
        from model.checkpoint import load_model
        from model.device import pick_device
        from model.graphs import Graphed

        device = pick_device(self.device)
        model = load_model(self.weights).to(device).eval()
        backend = pick_backend(self.backend, model, device)
        forward = forward_of(backend, model, device, self.precision, self.batch_size)

        crops = torch.randn(self.batch_size, 3, *model.input_size, device=device)

        def maps() -> tuple[torch.Tensor, ...]:
            return (forward(crops).maps,)

        run, pieces = (Graphed(maps, device), _AT_ONCE) if device.type == "cuda" else (maps, 1)
        with torch.inference_mode():
            while True:
                for _ in range(pieces):
                    run()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                yield pieces * self.batch_size, pieces * self.batch_size


@dataclass(frozen=True)
class HuggingFace:
    """The pipeline of transformers, as its documentation shows it, from files to keypoints in memory.

    Attributes:
        weights: A folder in its layout.
        manifest: Whom to predict.
        device: Where its network computes.
        precision: ``fp32`` or ``bf16``.
        batch: Images at a time.
    """

    weights: Path
    manifest: Path
    device: str
    precision: str
    batch: int

    @property
    def name(self) -> str:
        """With how many images it is given at a time."""
        return f"Hugging Face {self.precision}, {self.batch} image{'s' if self.batch > 1 else ''} at a time"

    def work(self) -> Work:
        """A batch a piece."""
        from model.references import huggingface

        return _in_batches(huggingface(self.weights, self.precision, self.device).predict, self.manifest, self.batch)


@dataclass(frozen=True)
class OnnxRuntime:
    """The same pipeline around the network in ONNX Runtime, in fp32."""

    weights: Path
    manifest: Path
    file: Path
    batch: int

    @property
    def name(self) -> str:
        """With how many images it is given at a time."""
        return f"ONNX Runtime fp32, {self.batch} image{'s' if self.batch > 1 else ''} at a time"

    def work(self) -> Work:
        """A batch a piece."""
        from model.references import onnx_runtime

        return _in_batches(onnx_runtime(self.weights, self.file).predict, self.manifest, self.batch)


@dataclass(frozen=True)
class Decoding:
    """Reading and decoding the images at their full size, on the threads of ``predict``, and nothing else."""

    manifest: Path
    name: str = "reading and decoding alone"

    def work(self) -> Work:
        """An image a piece."""
        from pipelines.decoding import decoded_ahead

        manifest = Manifest.open(self.manifest)
        for part in cycle(range(manifest.num_parts)):
            samples = manifest.part(part)
            for i, _ in decoded_ahead(manifest, samples, range(len(samples))):
                yield 1, len(samples[i].poses)


@dataclass(frozen=True)
class Matrices:
    """Products of matrices, which is what the network mostly is: a person is as many as its multiply-accumulates.

    Attributes:
        device: Where.
        precision: Of the numbers.
        macs: Multiply-accumulates that a person takes.
        side: Of the square matrices; a GPU needs larger ones to be busy.
    """

    device: str
    precision: str
    macs: int
    side: int = 2048

    @property
    def name(self) -> str:
        """With the numbers' precision."""
        return f"matrix products alone, {self.precision}"

    def work(self) -> Work:
        """As many products as make a hundred people, or a little more."""
        import torch

        from model.backends import TYPES
        from model.device import pick_device

        device = pick_device(self.device)
        one, other = (torch.randn(self.side, self.side, device=device, dtype=TYPES[self.precision]) for _ in range(2))
        products = math.ceil(100 * self.macs / self.side**3)
        while True:
            for _ in range(products):
                torch.mm(one, other)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            people = round(products * self.side**3 / self.macs)
            yield people, people


def _in_batches(predict: "Callable[[Sequence[Image]], object]", manifest: Path, size: int) -> Work:
    """Decode the images of a manifest, so many at a time, and predict the people in them."""
    opened = Manifest.open(manifest)
    samples: Iterator[Sample] = (sample for part in cycle(range(opened.num_parts)) for sample in opened.part(part))
    while batch := list(islice(samples, size)):
        images = [(image, sample.poses.box) for sample in batch if (image := _read(opened, sample)) is not None]
        if images:
            predict(images)
        yield len(images), sum(len(boxes) for _, boxes in images)


def _read(manifest: Manifest, sample: Sample) -> "NDArray[np.uint8] | None":
    """An image; None where it cannot be read, which the product sets aside."""
    try:
        return read_image(manifest.image_path(sample))
    except ImageError:
        return None
