"""Planted poses for a routing of the small corpus, as ``route`` writes them: from images of another folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Sample

SIZE = (160, 120)
QUEUED: dict[str, Any] = {"pose": "plant-1", "kind": "planted"}


def checked(case: Any) -> Manifest:
    """The truth of the checked pose that the plant is made from: pose 1's, under another name."""
    return _write(case, case.folder / "checked", case.truth.take([1]).replace(id=["checked-1"]))


def plant(case: Any, routing: Path) -> Manifest:
    """Plant pose 1, two keypoints of which are gross, as ``plant-1`` beside a routing that queues it."""
    line = {"pose": "plant-1", "of": "checked-1", "oks": 0.8, "p_bad": 0.1, "synthetic": False}
    (routing / "plants.jsonl").write_text(json.dumps(line) + "\n")
    return _write(case, routing / "plants", case.model.take([1]).replace(id=["plant-1"]))


def whole(i: int) -> dict[str, Any]:
    """A queue's entry for a whole image."""
    return {"pose": "", "kind": "image", "image": [f"s{i}", "images", f"{i}.png"]}


def _write(case: Any, folder: Path, poses: Any) -> Manifest:
    other = case.folder / "other-images"
    other.mkdir(exist_ok=True)
    pixels = np.random.default_rng(11).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(other / "0.png")
    sample = Sample("c0", "images", "0.png", SIZE, poses)
    return write_manifest(
        folder, [sample], Manifest.open(case.folder / "routing-scored").skeleton, {"images": other}, stage="test"
    )
