"""Boxed people through a real Label Studio: drawn, predicted, asked about, answered, and part of the dataset."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from autolabel.formats.policy import ImagePolicy, select
from autolabel.labelstudio.access import Access, save_token, write_settings
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import TaskRecord, read_task_map, rectangle
from autolabel.manifest import Manifest, write_manifest
from autolabel.merge import State
from autolabel.poses import Origin, Poses, Sample
from autolabel.project import read_project
from autolabel.skeleton import Skeleton
from model.checkpoint import save_model
from model.config import ViTPoseConfig
from model.vitpose import build_vitpose
from pipelines.merge import merge
from pipelines.predict import predict
from pipelines.pull import PullResult, pull
from pipelines.push import push
from tests.live.labelstudio_client import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
SIZE = (320, 240)
MISSED = [200.0, 30.0, 300.0, 200.0]
RIGHT = [30.0, 20.0, 110.0, 190.0]
WRONG = [20.0, 130.0, 150.0, 220.0]


def scored_and_routing(folder: Path) -> Path:
    """One image with one pose, in a wrong box; the pose and the whole image are queued. Gives the routing."""
    images = folder / "images"
    images.mkdir()
    pixels = np.random.default_rng(5).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(images / "a.png")
    xy = np.random.default_rng(6).uniform(WRONG[:2], WRONG[2:], (1, K, 2))
    placed = {"xy": xy, "score": np.full((1, K), 0.5), "origin": np.full((1, K), Origin.MODEL), "by": ["net"]}
    poses = Poses.create(K, id=["wrong"], box=[WRONG], **placed)
    sample = Sample("s", "images", "a.png", SIZE, poses)
    manifest = write_manifest(folder / "scored", [sample], SKELETON, {"images": images}, stage="test")
    routing = folder / "routing"
    routing.mkdir()
    record = {"manifest": "../scored", "manifest_digest": manifest.digest, "digest": "ab" * 32}
    (routing / "routing.json").write_text(json.dumps(record))
    queue: list[dict[str, Any]] = [
        {"pose": "wrong", "kind": "review", "blind": False},
        {"pose": "", "kind": "image", "image": list(sample.key), "blind": False},
    ]
    (routing / "queue.jsonl").write_text("".join(json.dumps(line) + "\n" for line in queue))
    return routing


def tiny_network(folder: Path) -> Path:
    torch.manual_seed(0)
    model = build_vitpose(
        ViTPoseConfig(input_size=(64, 48), patch_size=8, width=32, depth=1, heads=2, deconv_channels=16), SKELETON
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return save_model(model, folder / "weights")


class Annotator:
    """Somebody who answers on the server what was pushed there."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.client = Client(Access(server.url, server.token))
        self.project.mkdir()
        (self.project / "autolabel.toml").write_text('name = "boxed people"\n[corpus]\nimages = "../images"\n')
        write_settings(self.project, url=server.url)
        save_token(self.project, server.token)

    @property
    def number(self) -> int:
        return read_project(self.project).labelstudio.project

    def record(self, pose: str) -> TaskRecord:
        records = read_task_map(ReviewFolder.of(self.project).taskmap).values()
        return next(record for record in records if record.pose == pose)

    def submit(self, pose: str, *more: dict[str, Any]) -> None:
        """Answer a task with what it shows and more."""
        key = self.record(pose).task
        task = self.client.find(self.number, [key])[key].id
        (prediction,) = self.client.predictions(task)
        self.client.annotate(task, [*prediction.result, *more], lead_time=4.5)

    def pull(self, name: str) -> PullResult:
        return pull(project=self.project, out=self.folder / name)


@pytest.fixture
def annotator(server: Server, tmp_path: Path) -> Iterator[Annotator]:
    made = Annotator(server, tmp_path)
    yield made
    if made.number:
        made.client.delete_project(made.number)


def test_a_missed_person_and_a_wrong_box_become_poses_of_the_dataset(annotator: Annotator, tmp_path: Path) -> None:
    push(scored_and_routing(tmp_path), project=annotator.project)
    whole, crop = annotator.record(""), annotator.record("wrong")
    annotator.submit("", rectangle(whole, "fo_l1oAHdz", MISSED))
    verdict = {"id": "v", "type": "choices", "from_name": "verdict", "to_name": "image"}
    said = {**verdict, "value": {"choices": ["person missing or wrong"]}}
    # What the crop shows of the right place; the rest of it is cut off.
    annotator.submit("wrong", rectangle(crop, "fo_pq93Kdlw", RIGHT), said)
    first = annotator.pull("answers")
    assert (first.boxed, first.unasked, first.answered, first.images, first.notices) == (2, 2, 1, 1, 0)
    assert first.boxes is not None
    boxes = {
        tuple(np.round(b, 6)): p
        for s in Manifest.open(first.boxes)
        for b, p in zip(s.poses.box, s.poses.id, strict=True)
    }
    assert tuple(MISSED) in boxes, "as it was drawn"
    waiting = merge(tmp_path / "scored", first.manifest, out=tmp_path / "waiting")
    assert (waiting.added, waiting.waiting) == (0, 2)
    assert select(next(iter(waiting.manifest)), ImagePolicy.COMPLETE) is None

    boxed = predict(first.boxes, weights=tiny_network(tmp_path), out=tmp_path / "boxed.m", precision="fp32").manifest
    guesses = {pose: sample.poses[i] for sample in boxed for i, pose in enumerate(sample.poses.id.tolist())}
    assert set(guesses) == set(boxes.values())
    pushed = push(boxed.path, project=annotator.project)
    assert pushed.server is not None
    assert (pushed.added, pushed.server.sent) == (2, 2)
    asked = annotator.pull("asked")
    assert (asked.open, asked.boxed, asked.unasked) == (2, 2, 0)
    for pose in guesses:
        annotator.submit(pose)
    last = annotator.pull("answered")
    assert (last.boxed, last.answered, last.open, last.notices) == (0, 3, 0, 0)
    merged = merge(waiting.manifest, last.manifest, out=tmp_path / "merged")
    assert (merged.added, merged.waiting, merged.conflicts) == (2, 0, 0)
    (sample,) = merged.manifest
    stand = {pose: sample.poses[i] for i, pose in enumerate(sample.poses.id.tolist())}
    assert stand["wrong"].attributes["state"] == State.REJECTED
    for pose, guess in guesses.items():
        assert np.array_equal(stand[pose].xy, guess.xy), "kept: bit by bit"
        assert stand[pose].attributes["state"] == State.REVIEWED
    exported = select(sample, ImagePolicy.COMPLETE)
    assert exported is not None
    assert set(exported.poses.id) == set(guesses)
