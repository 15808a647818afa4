"""People a second from image files to poses on disk: ours, what one would run instead, and what bounds both.

    python -m benchmarks.throughput --data ../shared/data

Photographs of people (``lspet``) stand on others (``coco25``) in 1,000 files of 640 x 480, all different, with three
people each, and in as many with one. Every way is timed in a process of its own by ``autolabel bench``, for two sizes
of network with random weights, which are as fast as trained ones; all within one run. Writes
``benchmarks/results/throughput.json``, the table and figures of ``docs/performance.md``, and
``docs/pictures/throughput.png``. On a machine with a GPU four sizes are timed, and what is written is called
``throughput-gpu``.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from benchmarks.pages import DOCS, markdown, write_section
from benchmarks.results import write_result
from pipelines.bench import bench, untrained
from pipelines.console import LineProgress
from pipelines.predict import predict

PEOPLE = (3, 1)
FILES = 1_000
PACKAGES = ("torch", "timm", "transformers", "onnxruntime", "openvino", "numpy", "pillow")
_SIZE = (640, 480)
_HEIGHT = (260, 420)
"""Least and largest height of a pasted photograph, pixels."""
_PART = 1_000

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Where:
    """What computes.

    Attributes:
        name: Of what is written.
        sizes: Of networks.
        batches: Crops a batch.
    """

    name: str
    sizes: tuple[str, ...]
    batches: tuple[int, ...]


ON_CPU = Where("throughput", ("s", "b"), (32,))
ON_GPU = Where("throughput-gpu", ("s", "b", "l", "h"), (64, 256))


def here() -> Where:
    """Of this machine."""
    from model.device import pick_device

    return ON_CPU if pick_device("auto").type == "cpu" else ON_GPU


@dataclass(frozen=True)
class Person:
    """A photograph with a person in a box, xyxy."""

    file: Path
    box: Box


def people_of(data: Path) -> list[Person]:
    """Everybody of ``lspet`` who has a box."""
    folder = data / "lspet"
    told = json.loads((folder / "annotations_train.json").read_text(encoding="utf-8"))
    names = {image["id"]: image["file_name"] for image in told["images"]}
    people = list[Person]()
    for one in told["annotations"]:
        x, y, w, h = one["bbox"]
        people.append(Person(folder / "images" / names[one["image_id"]], (x, y, x + w, y + h)))
    return people


def composed(data: Path, folder: Path, people: int, files: int = FILES) -> Manifest:
    """Files with so many people each, and their boxes."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    rng = np.random.default_rng(people)
    backgrounds = sorted((data / "coco25" / "images").iterdir())
    everybody = people_of(data)
    skeleton, samples = Skeleton.load("coco17"), list[Sample]()
    for i in range(files):
        with Image.open(backgrounds[i % len(backgrounds)]) as opened:
            canvas = opened.convert("RGB").resize(_SIZE, box=_part(rng, opened.size))
        chosen = [everybody[j] for j in rng.integers(0, len(everybody), people)]
        boxes = [_paste(canvas, one, (2 * j + 1) * _SIZE[0] // (2 * people), rng) for j, one in enumerate(chosen)]
        canvas.save(photos / f"{i:05}.jpg", quality=90)
        poses = Poses.create(skeleton.num_keypoints, id=[f"{i}-{j}" for j in range(people)], box=np.array(boxes))
        samples.append(Sample(f"{i:05}", "photos", f"{i:05}.jpg", _SIZE, poses))
    return write_manifest(folder / "m", samples, skeleton, {"photos": photos}, stage="benchmark", part_size=_PART)


def _part(rng: np.random.Generator, size: tuple[int, int]) -> Box:
    """Most of an image, so that no two backgrounds are the same."""
    low: NDArray[np.float64] = rng.uniform(0, 0.2, 2) * size
    high: NDArray[np.float64] = rng.uniform(0.8, 1, 2) * size
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def _paste(canvas: Image.Image, person: Person, middle: int, rng: np.random.Generator) -> Box:
    """Put a photograph onto a canvas, and tell where its person is."""
    with Image.open(person.file) as opened:
        photo = opened.convert("RGB")
    scale = int(rng.integers(*_HEIGHT)) / photo.height
    size = (max(round(photo.width * scale), 1), round(photo.height * scale))
    left = min(max(middle - size[0] // 2, 0), max(_SIZE[0] - size[0], 0))
    top = int(rng.integers(0, _SIZE[1] - size[1]))
    canvas.paste(photo.resize(size), (left, top))
    x0, y0, x1, y1 = (edge * scale for edge in person.box)
    return (x0 + left, y0 + top, x1 + left, y1 + top)


def row_of(size: str, people: int, batch: int, way: dict[str, Any]) -> dict[str, Any]:
    """A line of the result file; a batch is the product's."""
    return {"network": f"ViTPose-{size.upper()}", "people an image": people, "batch": batch, **way}


def verdicts(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the rows come to, a sentence for each network with three people an image."""
    told = list[str]()
    for network in dict.fromkeys(row["network"] for row in rows):
        own = {row["way"]: row for row in rows if row["network"] == network and row["people an image"] == max(PEOPLE)}

        def best(prefix: str, own: dict[str, Any] = own) -> float:
            return max((row["people_per_second"] for way, row in own.items() if way.startswith(prefix)), default=np.nan)

        product = best("autolabel predict")
        ratios = ", ".join(
            f"{product / best(name):.1f}x {name}"
            for name in ("Hugging Face fp32", "Hugging Face bf16", "ONNX Runtime fp32")
        )
        bare, matrices = best("bare network"), best("matrix products")
        told.append(
            f"{network}: {product:.1f} people/s end to end, {ratios}; {product / bare:.0%} of the fastest bare "
            f"network, which reaches {bare / matrices:.0%} of what products of matrices reach here."
        )
    return told


def page_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows for a page, with the times of the best of Hugging Face in fp32."""
    several = len({row["batch"] for row in rows}) > 1
    lines = [("network", "people an image", "way", "images/s", "people/s", "times", "peak MiB")]
    for row in rows:
        same = [one for one in rows if all(one[name] == row[name] for name in ("network", "people an image"))]
        base = max(
            (one["people_per_second"] for one in same if one["way"].startswith("Hugging Face fp32")), default=np.nan
        )
        bound = row["kind"] == "bound" and not row["way"].startswith("reading")
        lines.append(
            (
                row["network"],
                str(row["people an image"]),
                f"{row['way']}, {row['batch']} a batch" if several else row["way"],
                "" if bound else f"{row['images_per_second']:.1f}",
                f"{row['people_per_second']:.1f}",
                f"{row['people_per_second'] / base:.2f}",
                f"{row['peak_mib']:,.0f}",
            )
        )
    return markdown(lines, names=3) + "\n\n" + "\n".join(f"- {line}" for line in verdicts(rows))


def picture(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Bars of people a second, a panel for each network, of three people an image."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    networks = list(dict.fromkeys(row["network"] for row in rows))
    figure, panels = plt.subplots(1, len(networks), figsize=(5.4 * len(networks), 3.6), squeeze=False)
    colours = {"product": "#0f6fca", "reference": "#c8590a", "bound": "#9aa6b2"}
    for axes, network in zip(panels[0], networks, strict=True):
        own = [
            row
            for row in rows
            if row["network"] == network
            and row["people an image"] == max(PEOPLE)
            and not row["way"].startswith("reading")
        ]
        own = sorted(own, key=lambda row: row["people_per_second"])
        pace = [row["people_per_second"] for row in own]
        axes.barh(range(len(own)), pace, color=[colours[row["kind"]] for row in own])
        axes.set_yticks(range(len(own)), [row["way"] for row in own], fontsize=8)
        axes.set_xlim(0, 1.15 * max(pace))
        for place, value in enumerate(pace):
            axes.text(value, place, f" {value:.1f}", va="center", fontsize=8)
        axes.set_title(f"{network}, people/s", loc="left", fontsize=10, fontweight="bold")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)


def measured(
    data: Path, folder: Path, sizes: Sequence[str], batches: Sequence[int], seconds: float, files: int
) -> list[dict[str, Any]]:
    """Every row; what does not depend on the product's batch is timed with the first one alone."""
    rows = list[dict[str, Any]]()
    for people in PEOPLE:
        manifest = composed(data, folder / f"{people}", people, files)
        for size in sizes:
            for batch in batches:
                result = bench(
                    manifest.path,
                    size=size,
                    out=folder / f"bench-{size}-{people}-{batch}",
                    batch_size=batch,
                    references=batch == batches[0],
                    seconds=seconds,
                    progress=LineProgress(sys.stderr),
                )
                print(
                    f"ViTPose-{size.upper()}, {people} people an image, {batch} a batch\n{result.table()}", flush=True
                )
                rows += [row_of(size, people, batch, vars(row)) for row in result.rows]
    return rows


def profiled(manifest: Manifest, folder: Path, images: int = 200) -> str:
    """Where the time of ``predict --profile`` goes, of the first size and one part."""
    samples = list(islice(manifest, images))
    one = write_manifest(folder / "one", samples, manifest.skeleton, manifest.roots, stage="benchmark")
    result = predict(one.path, weights=untrained("s", folder / "network"), out=folder / "profiled", profile=True)
    return "" if result.profile is None else result.profile.read_text(encoding="utf-8").strip()


def main() -> None:
    """Measure, and write tables and picture."""
    parser = argparse.ArgumentParser(description="People a second, against the references.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    where = here()
    parser.add_argument("--sizes", nargs="+", default=list(where.sizes))
    parser.add_argument("--seconds", type=float, default=15.0, help="for each way")
    parser.add_argument("--files", type=int, default=FILES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(options.data, Path(folder), options.sizes, where.batches, options.seconds, options.files)
        profile = profiled(Manifest.open(Path(folder) / f"{max(PEOPLE)}" / "m"), Path(folder))
    command = f"python -m benchmarks.throughput --seconds {options.seconds:g} --sizes {' '.join(options.sizes)}"
    write_result(where.name, rows, command=command, packages=PACKAGES, files=options.files)
    write_section(DOCS / "performance.md", where.name, page_table(rows))
    write_section(DOCS / "performance.md", where.name.replace("throughput", "profile"), f"```text\n{profile}\n```")
    picture(rows, DOCS / "pictures" / f"{where.name}.png")
    print("\n".join(verdicts(rows)))


if __name__ == "__main__":
    main()
