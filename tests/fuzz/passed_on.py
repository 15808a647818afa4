"""From every reader to every writer: what came in of a broken file must go out again, or be refused with our error.

A reader takes attributes for whatever a file says they are. So the seeds carry every attribute that a writer looks at,
and tables are broken within the JSON of their cells too.
"""

import csv
import io
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from autolabel.errors import AutolabelError
from autolabel.formats.coco import write_coco
from autolabel.formats.coco_results import write_coco_results
from autolabel.formats.csv_table import write_csv
from autolabel.formats.deeplabcut import write_dlc
from autolabel.formats.labels import UNKNOWN_SIZE, Labels, Written
from autolabel.formats.labelstudio import write_labelstudio
from autolabel.formats.policy import ImagePolicy
from autolabel.formats.sleap import write_sleap
from autolabel.formats.yolo_pose import ImageFiles, write_yolo_pose
from autolabel.poses import Sample
from tests.autolabel.formats.kept import PLAIN
from tests.fuzz.label_readers import TARGETS, pictures, samples
from tests.fuzz.mutate import mutate_json
from tests.fuzz.target import put
from tests.fuzz.tool_readers import read_labelstudio

WRITERS: Mapping[str, Callable[..., Written]] = {
    "coco": write_coco,
    "coco-results": write_coco_results,
    "csv": write_csv,
    "labelstudio": write_labelstudio,
    "yolo-pose": partial(write_yolo_pose, image_files=ImageFiles.NONE),
    "dlc": write_dlc,
    "sleap": write_sleap,
}


def carrying() -> list[Sample]:
    """Samples with every attribute that some writer looks at."""
    ours = {"state": "review", "track": "anna", "split": "val", "note": "ü"}
    theirs = {
        "coco": {"id": 4, "category": {"id": 1, "name": "bird"}},
        "labelstudio": {"region": "r", "data": {"c": 1}},
    }
    return [
        replace(
            sample.with_poses(sample.poses.replace(attributes=[ours, theirs, {**ours, **theirs}])),
            attributes={**sample.attributes, **ours, **theirs, "coco": {"id": i, "file_name": sample.path}},
        )
        for i, sample in enumerate(samples(), start=1)
    ]


def broken_labels(source: str, rng: random.Random, folder: Path) -> Labels | None:
    """What a reader takes from a broken file; None where it refuses it."""
    write, read, mutate = SOURCES[source]
    out = folder / f"seed-{source}"
    write(out, carrying(), PLAIN, policy=ImagePolicy.ALL, overwrite=True)
    seed = (out / "tasks-00000.json" if out.is_dir() else out).read_bytes()
    try:
        labels = read(mutate(seed, rng), folder)
    except AutolabelError:
        return None
    assert isinstance(labels, Labels)
    return labels


def pass_on(labels: Labels, writer: str, policy: ImagePolicy, folder: Path) -> str:
    """Write labels as `import` leaves them: "" where that went well, else the message of the refusal.

    Raises:
        Exception: A finding.
    """
    sized = [replace(s, size=(64, 48)) if s.size == UNKNOWN_SIZE else s for s in labels.samples]
    try:
        WRITERS[writer](folder / writer, sized, labels.skeleton, policy=policy, overwrite=True)
    except AutolabelError as error:
        return str(error)
    return ""


def mutate_table(data: bytes, rng: random.Random) -> bytes:
    """Change the JSON in some cells of a table, else anything."""
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    cells = [(row, i) for row in rows[1:] for i, cell in enumerate(row) if cell.startswith("{")]
    for row, i in rng.sample(cells, min(len(cells), rng.randint(1, 4))):
        row[i] = mutate_json(row[i].encode(), rng).decode(errors="replace")
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    changed = text.getvalue().encode()
    return changed if rng.random() < 0.8 else TARGETS["csv"].mutate(changed, rng)


def _read_labelstudio(data: bytes, folder: Path) -> object:
    pictures(folder)
    return read_labelstudio(data, folder)


def _read_csv(data: bytes, folder: Path) -> object:
    from autolabel.formats.csv_table import read_csv

    return read_csv(put(data, folder, "x.csv"), skeleton=PLAIN)


SOURCES: Mapping[str, tuple[Callable[..., Written], Callable[[bytes, Path], object], Any]] = {
    "coco": (write_coco, TARGETS["coco"].read, mutate_json),
    "csv": (write_csv, _read_csv, mutate_table),
    "labelstudio": (write_labelstudio, _read_labelstudio, mutate_json),
}
