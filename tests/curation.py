"""A small manifest to be shown in FiftyOne: drawn pictures, three people in two images and nobody in a third."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Origin, Poses, Sample
from tests.standing import COCO, people

SIZES = ((300, 240), (400, 200), (120, 90))


def some_poses(count: int, first: int = 0, **given: Any) -> Poses:
    """People beside each other, the first of whom has an ankle outside the image and an ear that nobody spoke of."""
    poses = people(count, apart=90)
    visibility = poses.visibility.copy()
    visibility[0, 15], visibility[0, 3] = 3, 0
    values = {
        "id": [f"{i:032x}" for i in range(first, first + count)],
        "visibility": visibility,
        "score": np.linspace(0.2, 0.98, count * 17).reshape(count, 17),
        "p_gross": np.linspace(0.0, 0.5, count * 17).reshape(count, 17),
        "p_bad": np.linspace(0.4, 0.1, count),
        "origin": np.full((count, 17), Origin.MODEL),
        "by": ["net"] * count,
        "attributes": [
            {"reasons": [{"text": "left knee: two peaks"}], "lint": [{"kind": "mirrored limb", "keypoints": [1]}]},
            *({} for _ in range(count - 1)),
        ],
    }
    return poses.replace(**{**values, **given})


def some_samples() -> list[Sample]:
    """Two people, one, and nobody."""
    poses = (some_poses(2), some_poses(1, 2, p_bad=[np.nan], attributes=[{}]), Poses.empty(17))
    return [
        Sample(f"{i:064x}", "images", f"a/{i}.png", size, mine, duplicate_of="a/0.png" if i == 2 else "")
        for i, (size, mine) in enumerate(zip(SIZES, poses, strict=True))
    ]


def write_images(folder: Path) -> None:
    """The pictures of :func:`some_samples`."""
    (folder / "a").mkdir(parents=True, exist_ok=True)
    for i, size in enumerate(SIZES):
        Image.new("RGB", size, (40 * i + 60, 90, 120)).save(folder / f"a/{i}.png")


def some_manifest(folder: Path, samples: list[Sample] | None = None, name: str = "shown.m") -> Manifest:
    """A manifest of them, with its pictures beside it."""
    write_images(folder / "images")
    samples = some_samples() if samples is None else samples
    return write_manifest(folder / name, samples, COCO, {"images": folder / "images"}, stage="test", part_size=2)
