"""Golden poses through files: nothing is lost on a faithful way, and whatever is lost on another one is told."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.golden import (
    PATHS,
    Deed,
    Expected,
    Shape,
    answered,
    deed_of,
    golden_samples,
    losses,
    picture,
)
from autolabel.labelstudio.tasks import read_task_map
from autolabel.labelstudio.validate import problems
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Pose
from autolabel.skeleton import Skeleton
from pipelines.pull import pull
from pipelines.push import push
from pipelines.simulated_export import exported

COCO = Skeleton.load("coco17")
ONE = Skeleton.from_dict({"name": "one", "keypoints": ["ü 头"]})

Change = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


def faithful(result: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return json.loads(json.dumps(result))


def rounded(result: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a server does that stores coordinates in fewer digits."""
    return [
        {**item, "value": {n: round(v, 4) if isinstance(v, float) else v for n, v in item["value"].items()}}
        for item in result
    ]


def without_choices(result: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for item in result if item["type"] != "choices"]


def without_last_point(result: list[dict[str, Any]]) -> list[dict[str, Any]]:
    last = [item for item in result if item["type"] == "keypointlabels"][-1]["id"]
    return [item for item in result if item["id"] != last]


def with_new_box(result: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**item, "value": {**item["value"], "x": 1.0}} if item["type"] == "rectanglelabels" else item for item in result
    ]


def poses_of(manifest: Manifest) -> dict[str, Pose]:
    return {pose: s.poses[i] for s in manifest for i, pose in enumerate(s.poses.id.tolist())}


def pushed(folder: Path, skeleton: Skeleton) -> Manifest:
    for i, path in enumerate(PATHS):
        (folder / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(i)).save(folder / "images" / path)
    samples = golden_samples(skeleton, every_deed=skeleton is COCO)
    sent = write_manifest(folder / "m", samples, skeleton, {"images": folder / "images"}, stage="test")
    (folder / "p").mkdir(exist_ok=True)
    push(sent.path, project=folder / "p")
    return sent


def lost(folder: Path, sent: Manifest, change: Change, name: str = "answers") -> list[str]:
    """Answer what was pushed on a way that changes results; gives what the comparison says."""
    review = ReviewFolder.of(folder / "p")
    records, poses = read_task_map(review.taskmap), poses_of(sent)
    expected: dict[str, Expected | None] = {}
    tasks: list[Mapping[str, Any]] = []
    for file in review.task_files():
        for number, task in enumerate(json.loads(file.read_text()), start=1):
            assert problems(task, sent.skeleton) == []
            record = records[task["data"]["task_key"]]
            pose = poses[record.pose]
            result, expected[pose.id] = answered(task["predictions"][0]["result"], pose, record, sent.skeleton)
            tasks.append(exported(task, change(result) if result else result, record, number, 1.5))
    (review.exports / f"{name}.json").write_text(json.dumps(tasks))
    found = poses_of(pull(project=folder / "p", out=folder / name).manifest)
    return losses(expected, poses, found)


@pytest.mark.parametrize("skeleton", [COCO, ONE, Skeleton.load("wholebody133")], ids=lambda s: str(s.num_keypoints))
def test_nothing_is_lost_through_our_own_files(skeleton: Skeleton, tmp_path: Path) -> None:
    assert lost(tmp_path, pushed(tmp_path, skeleton), faithful) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rounded, r"sub-pixel, kept: keypoint \d+ is at \["),
        (without_choices, r"one marked otherwise: keypoint \d+ is \w+, expected \w+"),
        (without_last_point, r"occluded, kept: keypoint \d+ is absent, expected hidden"),
        (with_new_box, r"sub-pixel, kept: the box is"),
        (lambda _: [], r"sub-pixel, kept: has no answer"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_loss_is_told(change: Change, told: str, tmp_path: Path) -> None:
    lines = lost(tmp_path, pushed(tmp_path, COCO), change)
    assert any(re.search(told, line) for line in lines), lines[:5]


def test_every_shape_meets_every_deed() -> None:
    poses = [pose for sample in golden_samples(COCO) for pose in sample.poses]
    pairs = {tuple(pose.attributes["golden"]) for pose in poses}
    assert pairs == {(shape.value, deed.value) for shape in Shape for deed in Deed}
    few = [pose for sample in golden_samples(COCO, every_deed=False) for pose in sample.poses]
    assert {pose.attributes["golden"][0] for pose in few} == set(Shape)
    assert {deed_of(pose) for pose in few} == set(Deed)


def test_golden_poses_are_what_they_say() -> None:
    by_shape = {pose.attributes["golden"][0]: pose for sample in golden_samples(COCO) for pose in sample.poses}
    assert np.isnan(by_shape[Shape.BOXLESS].box).all()
    assert np.isnan(by_shape[Shape.UNPLACED].xy).any()
    assert (by_shape[Shape.OUTSIDE].xy < 0).any()
    assert (by_shape[Shape.OUTSIDE].xy > 320).any()
    assert {-0.5, 320 - 0.5} & set(by_shape[Shape.BORDER].xy[:, 0].tolist())
    assert (by_shape[Shape.SUBPIXEL].xy % 1 != 0).all()
