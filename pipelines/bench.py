"""``autolabel bench``: how many people a second this machine labels, beside what one would run instead.

Every way is timed in a process of its own, on the same images, from files on disk, warm. Below them stand the bounds:
the bare network, matrix products as fast as this machine does them, and decoding alone.
"""

import json
import multiprocessing
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autolabel.errors import AutolabelError, CheckpointError, ConfigError, InputError, WorkError
from autolabel.manifest import Existing, Manifest, write_manifest, write_text
from autolabel.progress import SILENT, Progress
from autolabel.run import DONE, Run, RunState
from autolabel.skeleton import Skeleton
from pipelines.bench_ways import Count, Decoding, HuggingFace, Matrices, Network, OnnxRuntime, Product, Way, count
from pipelines.boxes import usable
from pipelines.console import aligned

if TYPE_CHECKING:
    from model.vitpose import ViTPose

RESULT, TABLE = "bench.json", "bench.txt"
BATCHES = (1, 8)
"""Images that the references are given at a time: one, as in the documentation's example, and what fills the cores."""

_IMAGES, _PART, _MOST = 600, 100, 2_000
_SIZE = (640, 480)
_REFERENCE = "Hugging Face fp32"


@dataclass(frozen=True)
class Timed:
    """One way, timed.

    Attributes:
        way: Its name.
        kind: ``product``, ``reference`` or ``bound``.
        images_per_second: By the clock.
        people_per_second: Likewise.
        peak_mib: The most memory that its process held.
        seconds: That it was timed for.
    """

    way: str
    kind: str
    images_per_second: float
    people_per_second: float
    peak_mib: float
    seconds: float


@dataclass(frozen=True)
class BenchResult:
    """How fast this machine labels.

    Attributes:
        path: Where it is written.
        rows: Every way that could be timed.
        left_out: Why others were not, by name.
    """

    path: Path
    rows: tuple[Timed, ...]
    left_out: Mapping[str, str]

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {"path": self.path, "rows": [asdict(row) for row in self.rows], "left_out": dict(self.left_out)}

    def best(self, prefix: str) -> Timed | None:
        """The fastest way whose name begins so."""
        rows = [row for row in self.rows if row.way.startswith(prefix)]
        return max(rows, key=lambda row: row.people_per_second, default=None)

    def table(self) -> str:
        """For people."""
        reference = self.best(_REFERENCE)
        rows = [("way", "images/s", "people/s", "times", "peak MiB")]
        for row in self.rows:
            times = "" if reference is None else f"{row.people_per_second / reference.people_per_second:.2f}"
            bound = row.kind == "bound"
            images = "" if bound and not row.way.startswith("reading") else f"{row.images_per_second:.1f}"
            rows.append((row.way, images, f"{row.people_per_second:.1f}", times, f"{row.peak_mib:,.0f}"))
        lines = [aligned(rows), ""]
        if reference is not None:
            lines.append(f"times: people/s by those of {reference.way}.")
        product, bare = self.best("autolabel"), self.best("bare")
        if product and bare:
            share = product.people_per_second / bare.people_per_second
            lines.append(f"End to end {share:.0%} of the fastest bare network.")
        matrices = self.best("matrix")
        if bare and matrices:
            lines.append(
                f"The bare network {bare.people_per_second / matrices.people_per_second:.0%} of matrix products."
            )
        lines += [f"left out: {name}: {why}" for name, why in self.left_out.items()]
        return "\n".join(lines) + "\n"


def bench(
    source: str | Path | None = None,
    *,
    weights: str | Path | None = None,
    size: str = "s",
    out: str | Path,
    device: str = "auto",
    precision: str = "auto",
    backend: str = "auto",
    batch_size: int = 32,
    references: bool = True,
    seconds: float = 20.0,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> BenchResult:
    """Time ``predict`` on this machine, the references, and the bounds.

    Args:
        source: A manifest with boxes, of which the first 2,000 images that have some are taken; by default images that
            are drawn for it. The first of them warm up.
        weights: Anything ``model.checkpoint.load_model`` reads; by default a ViTPose of ``size`` that was never
            trained, which is as fast as one that was.
        size: ``ti``, ``s``, ``b``, ``l`` or ``h``, without ``weights``.
        out: The folder to write.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: Of ``predict``: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        backend: Of ``predict``: ``auto``, ``torch``, ``compiled`` or ``openvino``.
        batch_size: Of ``predict``.
        references: Time what one would run instead, too: Hugging Face's pipeline and ONNX Runtime.
        seconds: For each way.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        InputError: A manifest without boxes.
        ConfigError: No such device, precision, backend or size.
        ExistsError: ``out`` holds another result.
        WorkError: The product itself could not be timed.
    """
    from model.checkpoint import load_model, model_digest

    config = {
        "size": None if weights else size,
        "device": device,
        "precision": precision,
        "backend": backend,
        "batch_size": batch_size,
        "references": references,
        "seconds": seconds,
    }
    given = None if source is None else Manifest.open(source)
    inputs = {} if given is None else {"manifest": given.digest}
    if weights is not None:
        inputs["weights"] = model_digest(weights)
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "bench", config=config, inputs=inputs, existing=existing, commit=DONE) as run:
        if run.state is RunState.DONE:
            return _read(run.path)
        work = run.path / "work"
        shutil.rmtree(work, ignore_errors=True)  # of a bench that was killed
        network = untrained(size, work / "network") if weights is None else weights
        people = _drawn(work / "drawn", progress) if given is None else _some(given, work / "people")
        product = Product(network, people.path, work / "poses", seconds, device, precision, backend, batch_size)
        model = load_model(network)
        ways, left_out = _own(product, model), dict[str, str]()
        for name, make in (("Hugging Face", _huggingface), ("ONNX Runtime", _onnx_runtime)) if references else ():
            try:
                ways += make(model, people.path, work, product.device)
            except (CheckpointError, ConfigError) as error:
                left_out[name] = error.message
        rows = _timed(ways, left_out, seconds, progress)
        result = BenchResult(run.path, rows, left_out)
        told = {"left_out": left_out, "rows": [asdict(row) for row in rows]}
        write_text(run.path / RESULT, json.dumps(told, indent=1) + "\n")
        write_text(run.path / TABLE, result.table())
        shutil.rmtree(work)
        run.finish({"rows": len(rows)})
    return result


def _read(folder: Path) -> BenchResult:
    told = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return BenchResult(folder, tuple(Timed(**row) for row in told["rows"]), told["left_out"])


def untrained(size: str, folder: Path) -> Path:
    """A ViTPose as it was published, with random weights."""
    import torch

    from model.checkpoint import save_model
    from model.config import ViTPoseConfig
    from model.vitpose import build_vitpose

    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]  # torch leaves the argument untyped
    return save_model(build_vitpose(ViTPoseConfig.of_size(size), Skeleton.load("coco17")), folder)


def _drawn(folder: Path, progress: Progress) -> Manifest:
    """Images of drawn people in their boxes."""
    from pipelines.drawn_corpus import FROZEN, draw_corpus

    settings = replace(FROZEN, smallest=_SIZE, largest=_SIZE)
    _, boxes = draw_corpus(
        folder,
        images=_IMAGES,
        seed=0,
        settings=settings,
        part_size=_PART,
        existing=Existing.OVERWRITE,
        progress=progress,
    )
    return boxes


def _some(given: Manifest, folder: Path) -> Manifest:
    """The first images of a manifest that have boxes to predict in, and those, in small parts."""
    boxed = (sample.with_poses(sample.poses.take(np.flatnonzero(usable(sample.poses)))) for sample in given)
    samples = list(islice((sample for sample in boxed if len(sample.poses)), _MOST))
    if not samples:
        raise InputError("has no boxes", subject=str(given.path), remedy="Run `autolabel detect` first.")
    return write_manifest(folder, samples, given.skeleton, given.roots, stage="bench", part_size=_PART)


def _own(product: Product, model: "ViTPose") -> list[tuple[str, Way]]:
    """The product, and what bounds it: everything that can compute the network here."""
    from model.backends import openvino_library, pick_backend
    from model.cost import cost
    from model.device import pick_device, pick_precision

    device = pick_device(product.device)
    precision = pick_precision(product.precision, device)
    pick_backend(product.backend, model, device)  # refused now, and not by a process of its own
    openvino = ("openvino",) if device.type == "cpu" and openvino_library() is not None else ()
    backends = ("torch", "compiled", *openvino)
    macs = cost(model.config, model.skeleton.num_keypoints).macs
    return [
        ("product", product),
        *(("bound", Network(product.weights, device.type, precision, name, product.batch_size)) for name in backends),
        ("bound", Matrices(device.type, precision, macs, 2048 if device.type == "cpu" else 8192)),
        ("bound", Decoding(product.manifest)),
    ]


def _huggingface(model: "ViTPose", manifest: Path, folder: Path, device: str) -> list[tuple[str, Way]]:
    """The same network in the pipeline of transformers."""
    from model.checkpoint import save_huggingface
    from model.device import pick_device

    weights, where = save_huggingface(model, folder / "huggingface"), str(pick_device(device))
    return [
        ("reference", HuggingFace(weights, manifest, where, precision, batch))
        for precision in ("fp32", "bf16")
        for batch in BATCHES
    ]


def _onnx_runtime(model: "ViTPose", manifest: Path, folder: Path, device: str) -> list[tuple[str, Way]]:
    """The same network in ONNX Runtime."""
    from model.checkpoint import save_model
    from model.device import pick_device
    from model.export import write_onnx

    if pick_device(device).type != "cpu":
        raise ConfigError("is timed on CPUs alone", subject="ONNX Runtime")
    weights, file = save_model(model, folder / "exported"), folder / "network.onnx"
    write_onnx(model, file)
    return [("reference", OnnxRuntime(weights, manifest, file, batch)) for batch in BATCHES]


def _timed(
    ways: Sequence[tuple[str, Way]], left_out: dict[str, str], seconds: float, progress: Progress
) -> tuple[Timed, ...]:
    """Every way in a process of its own; why some could not be timed is put into ``left_out``."""
    rows = list[Timed]()
    with progress.task("bench", len(ways), "way") as task:
        for kind, way in ways:
            try:
                done = in_process(way, seconds)
            except AutolabelError as error:
                if kind == "product":
                    raise
                left_out[way.name] = error.message
            else:
                pace = (done.images / done.seconds, done.people / done.seconds)
                rows.append(Timed(way.name, kind, *pace, done.peak_mib, done.seconds))
            task.advance()
    return tuple(rows)


def in_process(way: Way, seconds: float) -> Count:
    """Time a way in a fresh process.

    Raises:
        AutolabelError: What it raised there.
        WorkError: It raised something else, or the process died.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(there, way, seconds))
    process.start()
    there.close()
    try:
        done = here.recv()
    except EOFError:
        process.join()
        raise WorkError(f"its process died with {process.exitcode}", subject=way.name) from None
    process.join()
    if isinstance(done, BaseException):
        raise done
    return done


def _child(connection: Connection, way: Way, seconds: float) -> None:
    try:
        done: Count | BaseException = count(way, seconds)
    except AutolabelError as error:
        done = error
    except Exception as error:  # noqa: BLE001 - of other people's libraries
        done = WorkError(f"{type(error).__name__}: {error}", subject=way.name)
    connection.send(done)
