"""Two questions about bulk labelling: does memory grow with the corpus, and what does reading photographs in part cost?

    python -m benchmarks.bulk --weights NETWORK

*Memory*: ``predict`` over 1,000 and over 10,000 images with three people each, in a process of its own each time; the
network is shallow, but its poses have as many features as those of a ViTPose-S. *Large photographs*: drawn people in
JPEG files of 12 megapixels, predicted with and without ``reduce`` by a trained network; how long it takes, how far the
places lie apart, and how many are right. Writes ``benchmarks/results/bulk.json`` and the tables of
``docs/performance.md``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from autolabel.stages import peak_memory
from benchmarks.pages import DOCS, markdown, write_section
from benchmarks.results import table, write_result
from model.checkpoint import save_model
from model.config import ViTPoseConfig
from model.vitpose import build_vitpose
from pipelines.drawn_corpus import FROZEN, draw_corpus
from pipelines.predict import predict

COUNTS = (1_000, 10_000)
PEOPLE = 3
LARGE, LARGE_SIZE, LARGE_PERSON = 30, (4_000, 3_000), (1_400.0, 2_600.0)
COCO = Skeleton.load("coco17")
_SMALL = (128, 96)
Row = dict[str, Any]


def small_images(folder: Path, count: int) -> Manifest:
    """Smooth random pictures, all different, with three people each."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    rng, samples = np.random.default_rng(0), list[Sample]()
    for i in range(count):
        pixels = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).resize(_SMALL)
        pixels.save(photos / f"{i:06}.jpg")
        low = rng.uniform(0, 40, (PEOPLE, 2))
        poses = Poses.create(
            COCO.num_keypoints,
            id=[f"{i}-{j}" for j in range(PEOPLE)],
            box=np.hstack([low, low + np.array([40.0, 50.0])]),
        )
        samples.append(Sample(f"{i:06}", "photos", f"{i:06}.jpg", _SMALL, poses))
    return write_manifest(folder / "m", samples, COCO, {"photos": photos}, stage="benchmark")


def shallow(folder: Path) -> Path:
    """A network of one block, as wide as a ViTPose-S."""
    config = ViTPoseConfig(input_size=(64, 48), width=384, depth=1, heads=6, decoder="simple", presence=True)
    return save_model(build_vitpose(config, COCO), folder)


def memory(folder: Path, counts: Sequence[int]) -> list[Row]:
    """The most memory that ``predict`` held, by the number of images."""
    weights, rows = shallow(folder / "shallow"), list[Row]()
    for count in counts:
        manifest = small_images(folder / f"{count}", count)
        command = [
            sys.executable,
            "-m",
            "benchmarks.bulk",
            "--child",
            manifest.path,
            weights,
            folder / f"{count}-poses",
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append({"images": count, "people": count * PEOPLE, **json.loads(done.stdout.splitlines()[-1])})
    for row in rows:
        row["of the first"] = row["peak MiB"] / rows[0]["peak MiB"]
    return rows


def child(manifest: str, weights: str, out: str) -> None:
    """Predict, and print what it took."""
    began = time.perf_counter()
    predict(manifest, weights=weights, out=out)
    print(json.dumps({"seconds": time.perf_counter() - began, "peak MiB": peak_memory()}))


def large(folder: Path, weights: Path, images: int = LARGE) -> list[Row]:
    """Large photographs with and without ``reduce``."""
    settings = replace(FROZEN, smallest=LARGE_SIZE, largest=LARGE_SIZE, person=LARGE_PERSON, neighbours=0.0)
    truth, boxes = draw_corpus(folder / "large", images=images, seed=7, settings=settings)
    found, rows = dict[bool, Poses](), list[Row]()
    for reduce in (True, False):
        began = time.perf_counter()
        made = predict(boxes.path, weights=weights, out=folder / f"large-{reduce}", reduce=reduce, profile=True)
        seconds = time.perf_counter() - began
        spent = json.loads((made.manifest.path / "profile.json").read_text(encoding="utf-8"))["stages"]
        found[reduce] = Poses.concat([made.manifest.poses(i) for i in range(made.manifest.num_parts)])
        rows.append(
            {
                "reduce": reduce,
                "images/s": images / seconds,
                "decoding, s": spent["decode"]["seconds"],
                "cutting, s": spent["cut crops"]["seconds"],
                "PCK@0.05": _right(found[reduce], truth, 0.05),
            }
        )
    apart = np.linalg.norm(found[True].xy - found[False].xy, axis=-1)
    size = (found[True].box[:, 2:] - found[True].box[:, :2]).max(axis=1, keepdims=True)
    shares = (apart / size)[np.isfinite(apart)]
    for row in rows:
        row["median apart, share of the box"] = float(np.median(shares))
        row["95 % within"] = float(np.quantile(shares, 0.95))
    return rows


def _right(poses: Poses, truth: Manifest, share: float) -> float:
    """Which share of the visible keypoints lies within so much of the box's longer side."""
    true = Poses.concat([truth.poses(i) for i in range(truth.num_parts)])
    apart = np.linalg.norm(poses.xy - true.xy, axis=-1)
    size = (true.box[:, 2:] - true.box[:, :2]).max(axis=1, keepdims=True)
    seen = true.visibility == 2
    return float((apart < share * size)[seen].mean())


def main() -> None:
    """Measure both, and write what came out."""
    parser = argparse.ArgumentParser(description="Memory, and large photographs.")
    parser.add_argument("--weights", type=Path, help="a trained network, for large photographs; needed")
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--images", type=int, default=LARGE)
    parser.add_argument("--child", nargs=3, metavar=("M", "W", "OUT"), help="one prediction in this process")
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    if options.weights is None:
        parser.error("--weights: a trained network is needed")
    with tempfile.TemporaryDirectory(prefix="bulk-") as folder:
        held = memory(Path(folder), options.counts)
        print(table(held))
        photographs = large(Path(folder), options.weights, options.images)
    counts = " ".join(map(str, options.counts))
    command = f"python -m benchmarks.bulk --weights NETWORK --counts {counts} --images {options.images}"
    write_result("bulk", held, command=command, large=photographs, threads=torch.get_num_threads())
    head = ("images", "people", "seconds", "peak MiB", "of the first")
    lines = [
        head,
        *(
            (
                f"{r['images']:,}",
                f"{r['people']:,}",
                f"{r['seconds']:.0f}",
                f"{r['peak MiB']:.0f}",
                f"{r['of the first']:.2f}",
            )
            for r in held
        ),
    ]
    write_section(DOCS / "performance.md", "memory", markdown(lines, names=0))
    print(table(photographs))
    names = list(photographs[0])
    cells = [[("yes" if row[n] else "no") if n == "reduce" else f"{row[n]:.3g}" for n in names] for row in photographs]
    write_section(DOCS / "performance.md", "large", markdown([names, *cells], names=1))


if __name__ == "__main__":
    main()
