"""``predict``, killed again and again at random moments: is anything lost, or done twice?

    python -m benchmarks.bulk_kills --kills 25

One job of many small parts, some of whose images are broken, is done undisturbed; then the same job is begun, killed
with ``kill -9``, and begun again, until it has been killed so often. After every kill the parts that are there must be
the files that were there before it, and more; in the end the manifest must be that of the undisturbed job, and so must
the list of what was set aside. Writes ``benchmarks/results/bulk_kills.json``.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from benchmarks.results import table, write_result
from model.checkpoint import save_model
from model.config import ViTPoseConfig
from model.vitpose import build_vitpose
from pipelines.parts import QUARANTINE
from pipelines.predict import predict

COCO = Skeleton.load("coco17")
BROKEN_EVERY = 7
_PRELOADED = ["benchmarks.bulk_kills", "model.predict", "model.detect", "model.quality", "model.starter", "openvino"]
_SIZE = (36, 48)


@dataclass(frozen=True)
class Kill:
    """What one kill left.

    Attributes:
        after: Seconds from the beginning of the process.
        parts: That are there.
        new: Of those, since the kill before.
    """

    after: float
    parts: int
    new: int


class Failure(AssertionError):
    """Something was lost, or done twice."""


def corpus(folder: Path, parts: int) -> Manifest:
    """One person an image, one image a part; every seventh file is broken."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    rng = np.random.default_rng(0)
    samples: list[Sample] = []
    for i in range(parts):
        file = photos / f"{i:05}.png"
        Image.fromarray(rng.integers(0, 255, (_SIZE[1], _SIZE[0], 3), np.uint8)).save(file)
        if i % BROKEN_EVERY == 0:
            file.write_bytes(file.read_bytes()[:100])
        poses = Poses.create(COCO.num_keypoints, id=[f"{i}"], box=np.array([[2.0, 2, 30, 40]]))
        samples.append(Sample(f"s{i}", "photos", file.name, _SIZE, poses))
    return write_manifest(folder / "corpus", samples, COCO, {"photos": photos}, stage="benchmark", part_size=1)


def storm(folder: Path, *, kills: int, parts: int, seed: int = 0) -> list[Kill]:
    """Kill a job, and compare it with the undisturbed one.

    Processes are forked from one that has loaded everything, so that a kill costs a second and not ten.

    Raises:
        Failure: They are not the same, or a finished part was written again.
    """
    source = corpus(folder, parts).path
    config = ViTPoseConfig(input_size=(32, 24), patch_size=8, width=16, depth=1, heads=2, deconv_channels=8)
    weights = save_model(build_vitpose(config, COCO), folder / "weights")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)

    def begin(out: Path) -> BaseProcess:
        begun = context.Event()
        process = context.Process(target=_job, args=(source, weights, out, begun))
        process.start()
        if not begun.wait(120):
            raise Failure("the process does not begin")
        return process

    undisturbed, out = folder / "undisturbed", folder / "killed"
    process, began = begin(undisturbed), time.perf_counter()
    while process.is_alive() and not _finished(undisturbed):
        time.sleep(0.005)
    first = time.perf_counter() - began
    _ended_well(process)
    share = (time.perf_counter() - began - first) / kills

    rng, told, seen = random.Random(seed), list[Kill](), dict[str, tuple[int, int]]()
    while len(told) < kills:
        process, after = begin(out), rng.uniform(first / 2, first + 1.5 * share)
        time.sleep(after)
        if not process.is_alive():
            raise Failure("the job is too short for so many kills")
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        now = _finished(out)
        if not now.items() >= seen.items():
            raise Failure("a finished part was lost or written again")
        told.append(Kill(after, len(now), len(now) - len(seen)))
        seen = now
    _ended_well(begin(out))
    if not _finished(out).items() >= seen.items():
        raise Failure("a finished part was written again at the end")
    if _outcome(out) != _outcome(undisturbed):
        raise Failure("the result is another one")
    return told


def _job(source: Path, weights: Path, out: Path, begun: Any) -> None:
    torch.set_num_threads(1)
    begun.set()
    predict(source, weights=weights, out=out, precision="fp32", batch_size=4)


def _ended_well(process: BaseProcess) -> None:
    process.join()
    if process.exitcode != 0:
        raise Failure(f"the job ended with {process.exitcode}")


def _finished(folder: Path) -> dict[str, tuple[int, int]]:
    """The parts that are there, and which file each is: one that is written again is another."""
    return {file.name: ((told := file.stat()).st_ino, told.st_mtime_ns) for file in folder.glob("samples-*.parquet")}


def _outcome(folder: Path) -> tuple[str, list[str], set[str]]:
    """The manifest's digest, what was set aside, and the names of all files."""
    lines = (folder / QUARANTINE).read_text(encoding="utf-8").splitlines()
    aside = [json.loads(line)["path"] for line in lines]
    return Manifest.open(folder).digest, aside, {file.name for file in folder.iterdir()}


def main() -> None:
    """Run the storm and write what it did."""
    parser = argparse.ArgumentParser(description="Kills predict again and again.")
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--parts", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = storm(Path(folder), kills=options.kills, parts=options.parts, seed=options.seed)
    row = {
        "kills": len(told),
        "parts": options.parts,
        "kills that left new parts": sum(kill.new > 0 for kill in told),
        "parts at the last kill": told[-1].parts,
    }
    print(table([row]))
    print("Nothing was lost, nothing was written twice, and the result is the undisturbed one.")
    command = f"python -m benchmarks.bulk_kills --kills {options.kills} --parts {options.parts} --seed {options.seed}"
    write_result("bulk_kills", [row], command=command)


if __name__ == "__main__":
    main()
