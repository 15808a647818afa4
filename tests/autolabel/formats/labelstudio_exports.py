"""Label Studio exports as its documentation describes them, small enough to write down."""

import json
from pathlib import Path
from typing import Any

from autolabel.formats.labels import Labels
from autolabel.formats.labelstudio import read_labelstudio
from autolabel.skeleton import Skeleton

WIDTH, HEIGHT = 200, 100
CANVAS = {"to_name": "img", "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
FACE = Skeleton.from_dict({"name": "face", "keypoints": ["nose", "left_eye", "right_eye"]})

Item = dict[str, Any]


def kp(label: str, x: float = 10, y: float = 20, parent: str | None = None, **more: Any) -> Item:
    """A keypoint at x, y percent."""
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [label]}
    tree = {} if parent is None else {"parentID": parent}
    item = {"id": f"k-{label}-{x}-{y}", "type": "keypointlabels", "from_name": "kp", "value": value}
    return {**item, **CANVAS, **tree, **more}


def box(id: str, x: float, y: float, width: float, height: float, label: str = "person", **more: Any) -> Item:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [label]}
    return {"id": id, "type": "rectanglelabels", "from_name": "box", "value": value, **CANVAS, **more}


def said(region: str | None, *words: Any, kind: str = "choices", control: str = "vis", **more: Any) -> Item:
    """An answer about a region, or about the whole task."""
    own = {} if region is None else {"id": region}
    value = {kind: list(words) if kind == "choices" else words[0]}
    return {**own, "type": kind, "from_name": control, "to_name": "img", "value": value, **more}


def annotation(*result: Item, id: int = 1, by: Any = 7, minute: int = 0, **more: Any) -> dict[str, Any]:
    time = f"2026-01-01T10:{minute:02d}:00.000000Z"
    stated = {"id": id, "completed_by": by, "was_cancelled": False, "ground_truth": False, "lead_time": 3.5}
    return {**stated, "created_at": time, "updated_at": time, "result": list(result), **more}


def task(*annotations: dict[str, Any], id: int = 1, image: Any = None, **more: Any) -> dict[str, Any]:
    url = f"/data/upload/1/d4e4a592-{id}.jpg" if image is None else image
    return {"id": id, "data": {"image": url}, "meta": {}, "drafts": [], "annotations": list(annotations), **more}


def export(folder: Path, *tasks: dict[str, Any], name: str = "export.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(list(tasks)), encoding="utf-8")
    return path


def read(folder: Path, *tasks: dict[str, Any], **options: Any) -> Labels:
    """What is read of these tasks, in the skeleton FACE unless another is asked for."""
    return read_labelstudio(export(folder, *tasks), **{"skeleton": FACE, **options})
