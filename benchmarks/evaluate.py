"""What `autolabel evaluate` costs: seconds and memory by the number of images, people as in COCO's val set.

Truth is drawn at random, one to three people of 17 keypoints an image, and predictions are the truth shaken. Each size
runs in a process of its own, so that its peak memory is its own. Processor seconds, since other work may share the
machine.

python -m benchmarks.evaluate [IMAGES ...]
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from autolabel.evaluate import summarise
from autolabel.evaluate_people import Truth, measure
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from benchmarks.results import table, write_result

IMAGES = (500, 5_000)
RESAMPLES = 1000
COCO = Skeleton.load("coco17")


def samples(images: int, shake: float) -> Iterator[Sample]:
    for i in range(images):
        rng = np.random.default_rng(i)
        n = 1 + i % 3
        corner, side = rng.uniform(0, 300, (n, 1, 2)), rng.uniform(50, 300, (n, 1, 1))
        xy = corner + side * rng.uniform(0, 1, (n, 17, 2))
        xy += shake * side * rng.normal(0, 1, xy.shape) * rng.exponential(1, (n, 17, 1))
        box = np.concatenate([corner, corner + side], axis=2)[:, 0]
        poses = Poses.create(
            17,
            id=[f"{i}-{j}" for j in range(n)],
            xy=xy,
            visibility=rng.choice([0, 1, 2], (n, 17), p=[0.3, 0.1, 0.6]),
            box=box,
            area=0.5 * side.reshape(-1) ** 2,
            box_score=rng.uniform(0.3, 1, n),
        )
        yield Sample(f"hash{i}", "images", f"{i:09d}.jpg", (640, 640), poses)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def row(images: int) -> dict[str, Any]:
    start = peak_mib()
    truth = Truth(samples(images, 0.0))
    held = peak_mib()
    marks = [time.process_time()]
    measured = measure(samples(images, 0.03), truth, COCO)
    after = peak_mib()
    marks.append(time.process_time())
    summarise(measured)
    marks.append(time.process_time())
    summarise(measured, bootstrap=RESAMPLES)
    marks.append(time.process_time())
    seconds = np.diff(marks).tolist()
    return {
        "images": images,
        "people": len(measured.people.matched),
        "measure_s": round(seconds[0], 1),
        "numbers_s": round(seconds[1], 2),
        "bootstrap_1000_s": round(seconds[2], 1),
        "truth_mib": round(held - start),
        "tables_mib": round(after - held),
        "peak_mib": round(peak_mib()),
    }


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(row(int(sys.argv[2]))))
        return
    sizes = [int(size) for size in sys.argv[1:]] or list(IMAGES)
    rows = [
        json.loads(
            subprocess.run(
                [sys.executable, "-m", "benchmarks.evaluate", "--one", str(size)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for size in sizes
    ]
    print(table(rows))
    command = " ".join(["python -m benchmarks.evaluate", *sys.argv[1:]])
    write_result("evaluate", rows, command=command, packages=("numpy", "pycocotools"), resamples=RESAMPLES)


if __name__ == "__main__":
    main()
