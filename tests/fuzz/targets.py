"""What is fuzzed: every reader of files that come from outside, each with good files to begin with.

A reader may refuse anything, with an error of ours. Any other exception, a hang, or memory without end is a finding.
"""

import io
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autolabel.errors import AutolabelError
from autolabel.formats.labels import Written
from autolabel.formats.policy import ImagePolicy
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from tests.autolabel.formats.kept import NAMES, PLAIN
from tests.fuzz.mutate import Mutator, mutate_bytes, mutate_json, mutate_text

PARTS = b"\n=====\n"
"""Parts the files of a reader that takes several."""

MAX_PIXELS = 4_000_000
"""Bound on decoding: images are fuzzed, not the machine's memory."""


@dataclass(frozen=True)
class Target:
    """A reader under attack.

    Attributes:
        seeds: Good inputs, made in an empty folder.
        read: Read an input; the folder is scratch space that stays between calls.
        mutate: How good inputs are broken.
    """

    seeds: Callable[[Path], Sequence[bytes]]
    read: Callable[[bytes, Path], object]
    mutate: Mutator


def attack(target: Target, data: bytes, folder: Path) -> str:
    """Read once: "" where it was taken, else the message of the refusal.

    Raises:
        Exception: A finding.
    """
    try:
        target.read(data, folder)
    except AutolabelError as error:
        return str(error)
    return ""


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


def put(data: bytes, folder: Path, name: str) -> Path:
    """A file with these bytes."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# Readers of labels


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


# Readers of what we wrote ourselves, and of what users write


def skeleton_seeds(folder: Path) -> list[bytes]:
    return [json.dumps(Skeleton.load(name).to_dict()).encode() for name in ("coco17", "lsp14")]


def read_skeleton(data: bytes, folder: Path) -> object:
    return Skeleton.load(put(data, folder, "skeleton.json"))


def names_seeds(folder: Path) -> list[bytes]:
    return [
        b'neck = ["left_shoulder", "right_shoulder"]\nleft_hip = "left_hip"\nhead_top = { nose = 2.0, left_eye = 1 }\n'
    ]


def read_names(data: bytes, folder: Path) -> object:
    from autolabel.mapping import keypoint_map
    from autolabel.mapping import read_names as read

    return keypoint_map(Skeleton.load("coco17"), Skeleton.load("lsp14"), read(put(data, folder, "names.toml")))


def manifest_seeds(folder: Path) -> list[bytes]:
    made = write_manifest(folder / "seed.m", samples(), PLAIN, {"images": folder}, stage="test")
    return [(made.path / "manifest.json").read_bytes()]


def read_manifest(data: bytes, folder: Path) -> object:
    path = folder / "x.m"
    if not path.is_dir():
        write_manifest(path, samples(), PLAIN, {"images": folder}, stage="test")
    put(data, path, "manifest.json")
    manifest = Manifest.open(path)
    return [manifest.image_path(sample) for sample in manifest]


# Images


def image_seeds(folder: Path) -> list[bytes]:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8)).resize((64, 48))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: Sequence[tuple[str, Image.Image, dict[str, Any]]] = [
        ("JPEG", picture, {"exif": exif}),
        ("JPEG", picture.convert("CMYK"), {"progressive": True}),
        ("PNG", picture.convert("P"), {"transparency": 3}),
        ("PNG", Image.fromarray(rng.integers(0, 2**16, (20, 20), np.uint16)), {}),
        ("GIF", picture, {"save_all": True, "append_images": [picture.rotate(90)]}),
        ("WEBP", picture, {"exif": exif}),
        ("TIFF", picture, {"compression": "tiff_lzw"}),
        ("TIFF", picture, {"compression": "jpeg"}),
        ("BMP", picture, {}),
        ("PPM", picture, {}),
        ("JPEG2000", picture, {}),
        ("AVIF", picture, {}),
    ]
    made: list[bytes] = []
    for kind, image, options in kinds:
        file = io.BytesIO()
        image.save(file, kind, **options)
        made.append(file.getvalue())
    return made


def read_image(data: bytes, folder: Path) -> object:
    from autolabel.images import decode_image, decode_thumbnail, looks_like_image

    looks_like_image(data[:32])
    decode_thumbnail(data, 16, subject="x", max_pixels=MAX_PIXELS)
    return decode_image(data, subject="x", max_pixels=MAX_PIXELS)


TARGETS: Mapping[str, Target] = {
    "coco": Target(coco_seeds, read_coco, mutate_json),
    "coco-boxes": Target(boxes_seeds, read_boxes, mutate_json),
    "coco-results": Target(results_seeds, read_results, mutate_json),
    "csv": Target(csv_seeds, read_csv, mutate_text),
    "skeleton": Target(skeleton_seeds, read_skeleton, mutate_json),
    "names": Target(names_seeds, read_names, mutate_text),
    "manifest": Target(manifest_seeds, read_manifest, mutate_json),
    "image": Target(image_seeds, read_image, mutate_bytes),
}


def broken(target: Target, seeds: Sequence[bytes], rng: random.Random) -> bytes:
    """A seed, broken once."""
    return target.mutate(rng.choice(seeds), rng)
