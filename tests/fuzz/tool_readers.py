"""Readers of other tools' data sets that are folders, binary files or exports of servers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autolabel.formats.policy import ImagePolicy
from tests.autolabel.formats.kept import PLAIN
from tests.fuzz.label_readers import pictures, samples, written
from tests.fuzz.mutate import mutate_bytes, mutate_json, mutate_text
from tests.fuzz.target import PARTS, Target, put


def labelstudio_seeds(folder: Path) -> list[bytes]:
    from autolabel.formats.labelstudio import write_labelstudio

    out = folder / "seed-labelstudio"
    write_labelstudio(out, samples(), PLAIN, policy=ImagePolicy.ALL, overwrite=True)
    return [(out / "tasks-00000.json").read_bytes(), json.dumps(foreign_export()).encode()]


def foreign_export() -> list[Any]:
    """Two people of another project, one of them in a box, with a visibility and a verdict."""
    canvas = {"original_width": 64, "original_height": 48, "image_rotation": 0, "to_name": "img", "from_name": "k"}

    def point(id: str, name: str, x: float, **more: Any) -> dict[str, Any]:
        value = {"x": x, "y": 20.5, "width": 0.5, "keypointlabels": [name]}
        return {"id": id, "type": "keypointlabels", "value": value, **canvas, **more}

    box = {"x": 1, "y": 2, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["person"]}
    choice = {"choices": ["occluded"], "x": 30, "y": 20.5, "width": 0.5}
    result = [
        {"id": "b", "type": "rectanglelabels", "value": box, **canvas},
        point("k1", "paw", 10, parentID="b"),
        point("k2", "claw", 30.25, parentID="b", score=0.5),
        {"id": "k2", "type": "choices", "value": choice, **canvas, "from_name": "vis"},
        point("k3", "beak", 70),
        {"from_id": "k3", "to_id": "b", "type": "relation", "direction": "right"},
        {"id": "v", "type": "choices", "value": {"choices": ["good"]}, "from_name": "verdict", "to_name": "img"},
    ]
    annotation = {
        "id": 1,
        "completed_by": {"id": 3, "email": "a@example.com"},
        "was_cancelled": False,
        "updated_at": "2026-11-22T20:52:03Z",
        "lead_time": 3.5,
        "result": result,
    }
    return [{"id": 7, "data": {"img": "/data/upload/1/d4e4a592-a.png"}, "annotations": [annotation], "predictions": []}]


def read_labelstudio(data: bytes, folder: Path) -> object:
    from autolabel.formats.labelstudio import AnnotationChoice
    from autolabel.formats.labelstudio import read_labelstudio as read

    path = put(data, folder, "x.json")
    if len(data) % 4 == 0:  # now and then the rarer ways in
        read(path, pictures(folder), annotations=AnnotationChoice.PREDICTIONS, annotator="3")
    return read(path, pictures(folder), skeleton=PLAIN if len(data) % 2 else None)


def yolo_seeds(folder: Path) -> list[bytes]:
    from autolabel.formats.yolo_pose import write_yolo_pose

    images, out = pictures(folder), folder / "seed-yolo"
    write_yolo_pose(
        out, samples(), PLAIN, image_path=lambda sample: images / sample.path, policy=ImagePolicy.ALL, overwrite=True
    )
    return [(out / "data.yaml").read_bytes() + PARTS + next(out.rglob("a.txt")).read_bytes()]


def read_yolo(data: bytes, folder: Path) -> object:
    from autolabel.formats.yolo_pose import read_yolo_pose

    described, _, lines = data.partition(PARTS)
    root = folder / "yolo"
    if not root.is_dir():
        pictures(root)
        (root / "images").rename(root / "all")
        (root / "images").mkdir()
        (root / "all").rename(root / "images" / "train")
    put(lines, root, "labels/train/a.txt")
    return read_yolo_pose(put(described, root, "data.yaml"), root)


def dlc_seeds(folder: Path) -> list[bytes]:
    from autolabel.formats.deeplabcut import write_dlc

    images, out = pictures(folder), folder / "seed-dlc"
    write_dlc(
        out, samples(), PLAIN, image_file=lambda sample: images / sample.path, policy=ImagePolicy.ALL, overwrite=True
    )
    single = b"scorer,me,me\nbodyparts,paw,paw\ncoords,x,y\nlabeled-data/film/a.png,1.5,2\n"
    configured = (out / "config.yaml").read_bytes()
    return [configured + PARTS + next(out.rglob("CollectedData_*.csv")).read_bytes(), configured + PARTS + single]


def read_dlc(data: bytes, folder: Path) -> object:
    from autolabel.formats.deeplabcut import read_dlc as read

    configured, _, lines = data.partition(PARTS)
    root = folder / "dlc"
    put(configured, root, "config.yaml")
    put(lines, root, "labeled-data/film/CollectedData_me.csv")
    return read(root, images=pictures(folder))


def sleap_seeds(folder: Path) -> list[bytes]:
    from autolabel.formats.sleap import write_sleap

    return [written(write_sleap, folder, "seed.slp")]


def read_sleap(data: bytes, folder: Path) -> object:
    from autolabel.formats.sleap import read_sleap as read

    return read(put(data, folder, "x.slp"), images=pictures(folder))


def form_seeds(folder: Path) -> list[bytes]:
    from autolabel.labelstudio.form import labelling_form

    return [labelling_form(PLAIN).encode()]


def read_form(data: bytes, folder: Path) -> object:
    from autolabel.formats.labelstudio import read_labelstudio as read

    export = folder / "export.json"
    if not export.is_file():
        export.write_bytes(labelstudio_seeds(folder)[0])
    return read(export, pictures(folder), labelling_config=put(data, folder, "form.xml"))


TARGETS: Mapping[str, Target] = {
    "labelstudio": Target(labelstudio_seeds, read_labelstudio, mutate_json),
    "labelling-config": Target(form_seeds, read_form, mutate_text),
    "yolo-pose": Target(yolo_seeds, read_yolo, mutate_text),
    "dlc": Target(dlc_seeds, read_dlc, mutate_text),
    "sleap": Target(sleap_seeds, read_sleap, mutate_bytes, mutations=15),  # each starts a process
}
