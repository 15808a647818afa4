"""Readers of what we wrote ourselves and a disk or a person may have changed, and of what users write."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autolabel.labelstudio.frame import Frame
from autolabel.labelstudio.tasks import TaskRecord, review_task
from autolabel.manifest import Manifest, write_manifest
from autolabel.merge import Correction, KeypointChange, PoseChange, State, Stated, write_corrections
from autolabel.skeleton import Skeleton
from tests.autolabel.formats.kept import PLAIN
from tests.fuzz.label_readers import samples
from tests.fuzz.mutate import mutate_json, mutate_text
from tests.fuzz.target import Target, put


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


# The review


RECORD = TaskRecord(
    task="t" * 24,
    pose="a.png0",
    sample=("0" * 32, "images", "a.png"),
    frame=Frame((0, 0), (64, 48), (640, 480)),
    routing="r",
    kind="review",
    blind=False,
    model="m",
)


def export_seeds(folder: Path) -> list[bytes]:
    task = review_task(RECORD, samples()[0].poses[0], PLAIN)
    verdict = {
        "type": "choices",
        "from_name": "verdict",
        "to_name": "image",
        "id": "v",
        "value": {"choices": ["needs expert"]},
    }
    annotation = {
        "id": 1,
        "completed_by": {"id": 1, "email": "a@example.com"},
        "result": [*task["predictions"][0]["result"], verdict],
        "was_cancelled": False,
        "updated_at": "2026-11-22T20:52:03.444490Z",
        "lead_time": 10.9,
    }
    return [json.dumps([{"id": 1, "data": task["data"], "annotations": [annotation]}]).encode()]


def read_answers(data: bytes, folder: Path) -> object:
    from autolabel.labelstudio.answers import correction
    from autolabel.labelstudio.exports import read_export, standing
    from autolabel.labelstudio.oddities import understand

    exported = list(read_export(put(data, folder, "export.json"), {RECORD.task}, PLAIN))
    made: list[Correction] = []
    for own in standing(annotation for task in exported for annotation in task.annotations).values():
        for annotation in own:
            answer = understand(annotation, RECORD, PLAIN, samples()[0].poses[0]).answer
            if answer is not None:
                made.append(correction(annotation, answer, RECORD, samples()[0].poses[0], PLAIN))
    return made


def correction_seeds(folder: Path) -> list[bytes]:
    stated = Stated(np.ones((3, 2), np.float32), np.full(3, 2, np.uint8), np.array([0.0, 0, 9, 9]))
    made = Correction(
        pose="p1", sample=("0", "images", "a.png"), change=PoseChange.KEPT, keypoints=(KeypointChange.KEPT,) * 3,
        before=stated, after=stated, state=State.REVIEWED, verdict=(), by="anna", when="2026-11-22T20:52:03Z",
        seconds=3.5, clicks=2, task="t",
    )  # fmt: skip
    write_corrections(folder / "seed.jsonl", [made, made])
    return [(folder / "seed.jsonl").read_bytes().split(b"\n")[0]]


def read_corrections(data: bytes, folder: Path) -> object:
    from autolabel.merge import read_corrections as read

    return read(put(data + b"\n", folder, "corrections.jsonl"), 3)


def project_seeds(folder: Path) -> list[bytes]:
    from pipelines.init import init

    (folder / "photos").mkdir()
    made = init(folder / "project", images=folder / "photos", skeleton="coco17")
    return [(made.folder / "autolabel.toml").read_bytes()]


def read_project(data: bytes, folder: Path) -> object:
    from autolabel.project import read_project as read

    return read(put(data, folder, "p/autolabel.toml").parent)


def train_seeds(folder: Path) -> list[bytes]:
    return [b'[[data]]\nmanifest = "a.m"\nshare = 2.0\n\n[model]\nsize = "s"\n\n[training]\nsteps = 10\n']


def read_train(data: bytes, folder: Path) -> object:
    from pipelines.train import TrainFile, read_settings

    settings = TrainFile.load(put(data, folder, "train.toml"))
    return read_settings(settings.model, settings.training, "train.toml")


TARGETS: Mapping[str, Target] = {
    "skeleton": Target(skeleton_seeds, read_skeleton, mutate_json),
    "names": Target(names_seeds, read_names, mutate_text),
    "manifest": Target(manifest_seeds, read_manifest, mutate_json),
    "answers": Target(export_seeds, read_answers, mutate_json),
    "corrections": Target(correction_seeds, read_corrections, mutate_json),
    "project": Target(project_seeds, read_project, mutate_text),
    "train": Target(train_seeds, read_train, mutate_text),
}
