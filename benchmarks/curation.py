"""From a manifest into FiftyOne: poses a second and memory, by the number of poses.

    python -m benchmarks.curation --poses 1000 10000 100000

A scored manifest with a person an image is shown in a new data set, shown again as it is, and shown again with every
pose scored anew, each in a process of its own whose peak of resident memory is read when it is done. Up to 10,000
poses FiftyOne's public interface is timed beside the documents that version 1.22 is written by. The images are one file
under many names. Writes ``benchmarks/results/curation.json``, the table of ``docs/curators.md`` and its plot.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autolabel.manifest import Manifest, write_manifest
from autolabel.report.picture_file import write_picture
from autolabel.stages import peak_memory
from benchmarks.pages import DOCS, markdown, write_section
from benchmarks.results import table, write_result
from benchmarks.scale_rows import SIZE, predicted, score
from pipelines.mongodb import bundled_mongod, find_mongod
from pipelines.mongodb_process import OwnMongodb, start, stop

PUBLIC, DOCUMENTS, UNCHANGED, CHANGED = "new, publicly", "new", "again, unchanged", "again, all scored anew"
LINKS = 50_000
"""Names of one file, fewer than a file system allows."""

MOST_PUBLIC = 10_000
"""More poses are not written through the public interface: it takes as long as it promises."""


def make(folder: Path, poses: int) -> None:
    """A scored manifest, the same scored anew, and its images."""
    predicted(folder / "predicted", poses)
    score(folder)
    scored = Manifest.open(folder / "scored")
    images = folder / "images"
    images.mkdir()
    one = images
    for i, sample in enumerate(scored):
        if i % LINKS == 0:
            one = images / sample.path
            Image.new("RGB", SIZE, (90, 110, 130)).save(one)
        else:
            os.link(one, images / sample.path)
    anew = (replace(s, poses=s.poses.replace(p_bad=np.minimum(s.poses.p_bad + 0.01, 1))) for s in scored)
    write_manifest(folder / "anew", anew, scored.skeleton, {"images": images}, stage="score")


def child(job: str, folder: Path, name: str) -> None:
    """Show a manifest and print what it took, from the open database to the saved views."""
    from autolabel.curate import writers
    from autolabel.curate.database import open_fiftyone
    from pipelines.curate import curate

    if job == PUBLIC:
        writers.KNOWN = "never"
    open_fiftyone(os.environ["FIFTYONE_DATABASE_URI"])
    before = time.perf_counter()
    done = curate(folder / ("anew" if job == CHANGED else "scored"), name=name).shown
    assert done is not None
    print(json.dumps({"seconds": time.perf_counter() - before, "poses": done.poses, "peak": peak_memory()}))


def measured(job: str, poses: int, folder: Path, uri: str) -> dict[str, Any]:
    """A job in a process of its own."""
    name = f"curation-{poses}" + ("-public" if job == PUBLIC else "")
    command = [sys.executable, "-m", "benchmarks.curation", "--job", job, str(folder), name]
    environment = {**os.environ, "FIFTYONE_DATABASE_URI": uri}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    took = json.loads(done.stdout.splitlines()[-1])
    if took["poses"] != poses:
        raise RuntimeError(f"{took['poses']} poses were shown, not {poses}")
    row = {
        "what": job,
        "poses": poses,
        "seconds": round(took["seconds"], 2),
        "poses/s": round(poses / took["seconds"]),
        "peak MiB": round(took["peak"]),
    }
    print(row, file=sys.stderr, flush=True)
    return row


def plot(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Seconds and memory by the number of poses."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for job in dict.fromkeys(row["what"] for row in rows):
        mine = [row for row in rows if row["what"] == job]
        poses = [row["poses"] for row in mine]
        left.plot(poses, [row["seconds"] for row in mine], "o-", label=job)
        right.plot(poses, [row["peak MiB"] for row in mine], "o-", label=job)
    left.set(xscale="log", yscale="log", xlabel="poses", ylabel="seconds")
    right.set(xscale="log", xlabel="poses", ylabel="peak memory, MiB", ylim=(0, None))
    left.legend(frameon=False, fontsize=8)
    write_picture(file, lambda place: figure.savefig(place, format="png", dpi=110))


def main() -> None:
    """Measure every size, and write what came out."""
    parser = argparse.ArgumentParser(description="Manifests into FiftyOne, by the number of poses.")
    parser.add_argument("--poses", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--folder", type=Path, help="where manifests and database lie meanwhile")
    parser.add_argument("--job", nargs=3, metavar=("JOB", "FOLDER", "NAME"), help="one job in this process")
    parser.add_argument("--dry", action="store_true", help="write no result")
    options = parser.parse_args()
    if options.job:
        job, folder, name = options.job
        child(job, Path(folder), name)
        return
    rows = list[dict[str, Any]]()
    with tempfile.TemporaryDirectory(prefix="curation-", dir=options.folder) as place:
        server = OwnMongodb.at(Path(place) / "mongodb")
        start(server, find_mongod(bundled_mongod()))
        try:
            for poses in sorted(options.poses):
                folder = Path(place) / str(poses)
                make(folder, poses)
                jobs = [*([PUBLIC] if poses <= MOST_PUBLIC else []), DOCUMENTS, UNCHANGED, CHANGED]
                rows += [measured(job, poses, folder, server.uri()) for job in jobs]
        finally:
            stop(server)
    print(table(rows))
    if not options.dry:
        counts = " ".join(map(str, sorted(options.poses)))
        write_result("curation", rows, command=f"python -m benchmarks.curation --poses {counts}")
        names = list(rows[0])
        cells = [[f"{row[n]:,}" if isinstance(row[n], int) else str(row[n]) for n in names] for row in rows]
        write_section(DOCS / "curators.md", "curation", markdown([names, *cells], names=1))
        plot(rows, DOCS / "pictures" / "curation.png")


if __name__ == "__main__":
    main()
