"""Memory and time by the number of poses, for all that comes after the images.

    python -m benchmarks.scale_rows --rows 10000 100000 1000000

A manifest as ``predict`` writes it, with a person an image, features and an embedding, goes through ``score``,
``route``, ``merge`` with a thousand corrections, and ``export coco``, each in a process of its own, whose peak of
resident memory is read when it is done. No image is opened. Writes ``benchmarks/results/scale_rows.json`` and the
table of ``docs/performance.md``.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.manifest import Manifest, ManifestWriter
from autolabel.merge import Correction, KeypointChange, PoseChange, State, Stated, write_corrections
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.prediction_record import Predicted
from autolabel.skeleton import Skeleton
from autolabel.stages import peak_memory
from benchmarks.pages import DOCS, markdown, write_section
from benchmarks.results import table, write_result

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
SIZE = (640, 480)
PART = 10_000
CORRECTIONS = 1_000
EMBEDDED = 64
"""Numbers of an embedding; a ViTPose-S has 384, which take the disk of six times as many."""

# A person who stands and faces the viewer, in shares of the box: head, shoulders, elbows, wrists, hips, knees, ankles.
_STANDING = np.array(
    [
        *([0.50, 0.08], [0.54, 0.06], [0.46, 0.06], [0.60, 0.08], [0.40, 0.08]),
        *([0.72, 0.22], [0.28, 0.22], [0.82, 0.38], [0.18, 0.38], [0.86, 0.52], [0.14, 0.52]),
        *([0.64, 0.52], [0.36, 0.52], [0.66, 0.74], [0.34, 0.74], [0.66, 0.95], [0.34, 0.95]),
    ]
)


def predicted(folder: Path, rows: int) -> Manifest:
    """A manifest of so many people, as ``predict`` would have left it."""
    from model.prediction import EMBEDDING, FEATURES, POSE_FEATURES

    folder.mkdir(parents=True)
    Predicted(model="benchmark", flip_test=False, larger_crop=False, input_size=(256, 192)).write(folder)
    roots = {"images": folder.parent / "images"}
    with ManifestWriter(folder, SKELETON, roots, stage="predict") as writer:
        for part, start in enumerate(range(0, rows, PART)):
            count, rng = min(PART, rows - start), np.random.default_rng(part)
            doubt = rng.beta(1, 6, (count, 1)).astype(np.float32)
            poses = _people(count, start, doubt, rng)
            features: dict[str, NDArray[np.float32]] = {
                name: rng.beta(2, 2, (count, K)).astype(np.float32) * (1 - doubt) for name in FEATURES
            }
            features["peak"] = poses.score
            features |= {name: rng.uniform(0, 1, count).astype(np.float32) for name in POSE_FEATURES}
            features[EMBEDDING] = rng.normal(size=(count, EMBEDDED)).astype(np.float32)
            samples = [
                Sample(
                    f"{start + i:032x}",
                    "images",
                    f"{start + i:09}.jpg",
                    SIZE,
                    poses.take([i]),
                    group=f"{(start + i) // 50}",
                )
                for i in range(count)
            ]
            writer.write_part(part, samples, features)
    return Manifest.open(folder)


def _people(count: int, start: int, doubt: NDArray[np.float32], rng: np.random.Generator) -> Poses:
    """People who stand, each somewhere else, whose keypoints err the more the higher the doubt."""
    corner = rng.uniform(0, 100, (count, 1, 2))
    size = rng.uniform(0.6, 1, (count, 1, 1)) * np.array([200.0, 380.0])
    xy = corner + _STANDING * size + rng.normal(size=(count, K, 2)) * 60 * doubt[..., None]
    return Poses.create(
        K,
        id=[f"{start + i:x}" for i in range(count)],
        xy=xy,
        score=np.clip(1 - doubt - rng.uniform(0, 0.1, (count, K)), 0.01, 1),
        visibility=np.full((count, K), Visibility.VISIBLE),
        origin=np.full((count, K), Origin.MODEL),
        by=["benchmark"] * count,
        box=np.concatenate([corner, corner + size], axis=2)[:, 0],
        box_score=np.full(count, 0.9),
    )


def corrections(folder: Path, source: Manifest) -> Path:
    """A folder as ``pull`` leaves it, in which people moved a keypoint of every n-th pose."""
    chosen = np.linspace(0, len(source) - 1, min(CORRECTIONS, len(source))).astype(int)
    told, samples = list[Correction](), list[Sample]()
    for part in sorted({int(row) // PART for row in chosen}):
        own = source.part(part)
        for row in chosen[chosen // PART == part]:
            sample = own[int(row) % PART]
            before = Stated.of(sample.poses[0])
            after = replace(before, xy=before.xy + np.eye(K, 1)[..., :1].repeat(2, 1) * 3)
            changes = (KeypointChange.MOVED, *(KeypointChange.KEPT,) * (K - 1))
            id, key = sample.poses.id[0], sample.key
            seen = (State.REVIEWED, (), "annotator", "2026-11-01T12:00:00Z", 20.0, 1, "task")
            told.append(Correction(id, key, PoseChange.KEPT, changes, before, after, *seen))
            samples.append(sample)
    with ManifestWriter(folder, SKELETON, source.roots, stage="pull") as writer:
        writer.write_part(0, samples)
    write_corrections(folder / "corrections.jsonl", told)
    return folder


def score(folder: Path) -> None:
    from pipelines.score import score as run

    run(folder / "predicted", out=folder / "scored")


def route(folder: Path) -> None:
    from pipelines.route import route as run

    run(folder / "scored", out=folder / "routed", max_bad=0.05, budget=CORRECTIONS)


def merge(folder: Path) -> None:
    from pipelines.merge import merge as run

    run(folder / "scored", folder / "pulled", out=folder / "merged")


def export(folder: Path) -> None:
    from pipelines.export import export as run

    run("coco", folder / "merged", out=folder / "merged.json", images="all")


JOBS: Mapping[str, Callable[[Path], None]] = {"score": score, "route": route, "merge": merge, "export coco": export}


def child(job: str, folder: Path) -> None:
    """Do a job and print what it took."""
    start, cpu = time.perf_counter(), time.process_time()
    JOBS[job](folder)
    took = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    print(json.dumps({**took, "peak": peak_memory()}))


def measured(job: str, rows: int, folder: Path) -> dict[str, Any]:
    """A job in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale_rows", "--job", job, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    took = json.loads(done.stdout.splitlines()[-1])
    row = {
        "job": job,
        "rows": rows,
        "seconds": took["seconds"],
        "ms a row": 1000 * took["seconds"] / rows,
        "peak MiB": round(took["peak"]),
    }
    print(row, file=sys.stderr, flush=True)
    return row


def with_growth(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How much memory a row more costs, against the run with fewer rows before."""
    grown = list[dict[str, Any]]()
    for row in rows:
        fewer = [other for other in rows if other["job"] == row["job"] and other["rows"] < row["rows"]]
        more = None
        if fewer:
            more = round((row["peak MiB"] - fewer[-1]["peak MiB"]) * 2**20 / (row["rows"] - fewer[-1]["rows"]))
        grown.append({**row, "bytes a row more": more})
    return grown


def _told(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def main() -> None:
    """Measure every size, and write what came out."""
    parser = argparse.ArgumentParser(description="Memory and time by the number of poses.")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where the manifests lie meanwhile; some 4 GB a million rows")
    parser.add_argument("--job", nargs=2, metavar=("JOB", "FOLDER"), help="one job in this process")
    parser.add_argument("--dry", action="store_true", help="write no result")
    options = parser.parse_args()
    if options.job:
        child(options.job[0], Path(options.job[1]))
        return
    rows = list[dict[str, Any]]()
    with tempfile.TemporaryDirectory(prefix="scale-rows-", dir=options.folder) as place:
        for count in sorted(options.rows):
            folder = Path(place) / str(count)
            corrections(folder / "pulled", predicted(folder / "predicted", count))
            rows += [measured(job, count, folder) for job in JOBS]
            shutil.rmtree(folder)
    rows = with_growth(rows)
    print(table(rows))
    if not options.dry:
        counts = " ".join(map(str, sorted(options.rows)))
        write_result("scale_rows", rows, command=f"python -m benchmarks.scale_rows --rows {counts}")
        names = list(rows[0])
        cells = [["" if row[n] is None else _told(row[n]) for n in names] for row in rows]
        write_section(DOCS / "performance.md", "scale", markdown([names, *cells], names=1))


if __name__ == "__main__":
    main()
