"""Memory and time by the size of a corpus: does a scan of 100,000 files cost the memory of one of 1,000?

    python -m benchmarks.scale --files 1000 10000 100000

Drawn images of about 1 kB, all different, lie in one folder. Every job runs in a process of its own, whose peak of
resident memory is read when it is done; what it had before it began is told apart. Jobs: ``scan``, with and
without near-duplicates; then, on a manifest of as many samples with a pose of 17 keypoints each, ``export coco``,
reading it sample by sample, and splitting it. Writes ``benchmarks/results/scale.json``.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from benchmarks.results import table, write_result

SIZE = (64, 48)
SKELETON = Skeleton.load("coco17")


def draw(folder: Path, count: int) -> None:
    """Smooth random pictures, all different."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        pixels.save(buffer, "JPEG", quality=80)
        (folder / f"{i:08}.jpg").write_bytes(buffer.getvalue())


def link(source: Path, folder: Path, count: int) -> Path:
    """The first ``count`` files of a folder in another one."""
    folder.mkdir()
    for i in range(count):
        os.link(source / f"{i:08}.jpg", folder / f"{i:08}.jpg")
    return folder


def samples(count: int) -> Iterator[Sample]:
    rng = np.random.default_rng(0)
    k = SKELETON.num_keypoints
    for i in range(count):
        poses = Poses.create(
            k,
            id=[f"{i:032x}"],
            xy=rng.uniform(0, 48, (1, k, 2)),
            score=rng.uniform(0, 1, (1, k)),
            visibility=np.full((1, k), Visibility.VISIBLE),
            origin=np.full((1, k), Origin.MODEL),
            box=[[0, 0, 48, 48]],
            attributes=[{"state": "accepted"}],
        )
        yield Sample(f"{i:032x}", "images", f"{i:08}.jpg", SIZE, poses, group=f"folder {i // 100}")


def scan_exact(source: Path, out: Path) -> None:
    from pipelines.scan import scan

    scan(source, out=out, near_duplicates=False)


def scan_near(source: Path, out: Path) -> None:
    from pipelines.scan import scan

    scan(source, out=out)


def export_coco(source: Path, out: Path) -> None:
    from pipelines.export import export

    export("coco", source, out=out, images="all")


def stream(source: Path, out: Path) -> None:
    assert sum(len(sample.poses) for sample in Manifest.open(source)) == len(Manifest.open(source))


def split(source: Path, out: Path) -> None:
    from autolabel.split import assign_splits

    assign_splits(Manifest.open(source), {"train": 0.8, "val": 0.1, "test": 0.1})


ON_FILES: dict[str, Callable[[Path, Path], None]] = {"scan, equal bytes": scan_exact, "scan": scan_near}
ON_MANIFESTS: dict[str, Callable[[Path, Path], None]] = {
    "export coco": export_coco, "read a manifest": stream, "split a manifest": split,
}  # fmt: skip


def child(job: str, source: Path, out: Path) -> None:
    """Do a job and print what it took."""
    import imagehash  # noqa: F401 - so that importing is not counted
    import pyarrow.parquet  # noqa: F401

    import pipelines.export
    import pipelines.scan  # noqa: F401

    before, start, cpu = _memory("VmRSS"), time.perf_counter(), time.process_time()
    ({**ON_FILES, **ON_MANIFESTS})[job](source, out)
    took = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    print(json.dumps({**took, "before": before, "peak": _memory("VmHWM")}))


def _memory(field: str) -> float:
    """In MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def measured(job: str, files: int, source: Path, out: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.scale", "--job", job, str(source), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    took = json.loads(done.stdout.splitlines()[-1])
    row = {
        "job": job,
        "files": files,
        "ms a file": 1000 * took["seconds"] / files,
        "CPU ms a file": 1000 * took["cpu"] / files,
        "before MiB": round(took["before"]),
        "peak MiB": round(took["peak"]),
    }
    print(row, file=sys.stderr, flush=True)
    return row


def measure(counts: list[int], folder: Path) -> list[dict[str, Any]]:
    draw(folder / "all", max(counts))
    rows: list[dict[str, Any]] = []
    for count in counts:
        source = link(folder / "all", folder / str(count), count)
        rows += [measured(job, count, source, folder / f"{count}-{i}") for i, job in enumerate(ON_FILES)]
        manifest = folder / f"{count}-manifest"
        write_manifest(manifest, samples(count), SKELETON, {"images": source}, stage="benchmark")
        rows += [measured(job, count, manifest, folder / f"{count}-{i}.json") for i, job in enumerate(ON_MANIFESTS)]
    return [_with_growth(row, rows) for row in rows]


def _with_growth(row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How much memory a file more costs, against the row of fewer files before."""
    fewer = [other for other in rows if other["job"] == row["job"] and other["files"] < row["files"]]
    growth: int | None = None
    if fewer:
        growth = round((row["peak MiB"] - fewer[-1]["peak MiB"]) * 2**20 / (row["files"] - fewer[-1]["files"]))
    return {**row, "bytes a file more": growth}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--job", nargs=3, metavar=("JOB", "SOURCE", "OUT"), help="one job in this process")
    parser.add_argument("--dry", action="store_true", help="write no result")
    options = parser.parse_args()
    if options.job:
        child(options.job[0], *map(Path, options.job[1:]))
        return 0
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        rows = measure(sorted(options.files), Path(folder))
    print(table(rows))
    if not options.dry:
        files = " ".join(map(str, sorted(options.files)))
        packages = ("numpy", "pillow", "pyarrow", "imagehash", "scipy")
        write_result("scale", rows, command=f"python -m benchmarks.scale --files {files}", packages=packages)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
