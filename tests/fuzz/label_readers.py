"""Readers of other tools' labels."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autolabel.formats.labels import Written
from autolabel.formats.policy import ImagePolicy
from autolabel.poses import Poses, Sample
from tests.autolabel.formats.kept import NAMES, PLAIN
from tests.fuzz.mutate import mutate_json, mutate_text
from tests.fuzz.target import Target, put


def samples() -> list[Sample]:
    """A little of everything, in two images."""
    rng = np.random.default_rng(0)
    poses = Poses.create(
        3,
        id=["p1", "p2", "p3"],
        xy=rng.uniform(5, 40, (3, 3, 2)),
        visibility=[[2, 1, 2], [2, 3, 2], [1, 2, 2]],
        score=rng.uniform(0, 1, (3, 3)),
        origin=[[1, 2, 3]] * 3,
        box=[[1, 2, 30, 40], [5, 5, 60, 44], [0, 0, 20, 20]],
        box_score=[0.5, 0.25, 1],
        crowd=[False, False, True],
        by=["anna", "", "x"],
        attributes=[{"note": 1}, {}, {"coco": {"id": 5, "category": {"id": 1}}}],
    )
    names = ("a.png", "b.png")
    made = [Sample("0" * 32, "images", n, (64, 48), poses.replace(id=[f"{n}{i}" for i in range(3)])) for n in names]
    return [replace(s, attributes={"coco": {"id": i}}) for i, s in enumerate(made, start=1)]


def pictures(folder: Path) -> Path:
    """A folder with the images that the samples are about."""
    images = folder / "images"
    if not images.is_dir():
        images.mkdir(parents=True)
        for name in ("a.png", "b.png"):
            Image.new("RGB", (64, 48), "teal").save(images / name)
    return images


def written(writer: Callable[..., Written], folder: Path, name: str) -> bytes:
    """What a writer makes of the samples, in one file."""
    writer(folder / name, samples(), PLAIN, policy=ImagePolicy.ALL, overwrite=True)
    return (folder / name).read_bytes()


def coco_seeds(folder: Path) -> list[bytes]:
    from autolabel.formats.coco import write_coco

    foreign: dict[str, Any] = {
        "info": {"year": 2026},
        "images": [{"id": 1, "file_name": "a/b.jpg", "width": 64, "height": 48, "license": 3}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2, 0, 0, 0, 5.5, 6, 1], "num_keypoints": 2,
             "bbox": [1, 1, 20, 20], "area": 99.5, "iscrowd": 0, "segmentation": [[1, 2, 3, 4, 5, 6]]},
        ],
        "categories": [{"id": 1, "name": "bird", "keypoints": list(NAMES), "skeleton": [[1, 2], [2, 3]]}],
    }  # fmt: skip
    return [written(write_coco, folder, "seed.json"), json.dumps(foreign).encode()]


def read_coco(data: bytes, folder: Path) -> object:
    from autolabel.formats.coco import read_coco as read

    return read(put(data, folder, "x.json"))


def boxes_seeds(folder: Path) -> list[bytes]:
    results = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]
    return [coco_seeds(folder)[0], json.dumps(results).encode()]


def read_boxes(data: bytes, folder: Path) -> object:
    from autolabel.formats.coco_boxes import read_boxes as read

    listing = folder / "listing.json"
    if not listing.is_file():
        listing.write_bytes(coco_seeds(folder)[0])
    return read(put(data, folder, "x.json"), listing)


def results_seeds(folder: Path) -> list[bytes]:
    from autolabel.formats.coco_results import write_coco_results

    return [written(write_coco_results, folder, "seed.json")]


def read_results(data: bytes, folder: Path) -> object:
    from autolabel.formats.coco_results import read_coco_results

    listing = folder / "listing.json"
    if not listing.is_file():
        listing.write_bytes(coco_seeds(folder)[0])
    return read_coco_results(put(data, folder, "x.json"), listing)


def csv_seeds(folder: Path) -> list[bytes]:
    from autolabel.formats.csv_table import write_csv

    return [written(write_csv, folder, "seed.csv"), b"image,nose_x,nose_y\na.jpg,1,2\n"]


def read_csv(data: bytes, folder: Path) -> object:
    from autolabel.formats.csv_table import read_csv as read

    return read(put(data, folder, "x.csv"))


TARGETS: Mapping[str, Target] = {
    "coco": Target(coco_seeds, read_coco, mutate_json),
    "coco-boxes": Target(boxes_seeds, read_boxes, mutate_json),
    "coco-results": Target(results_seeds, read_results, mutate_json),
    "csv": Target(csv_seeds, read_csv, mutate_text),
}
