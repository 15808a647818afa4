"""Whole-image tasks through a real Label Studio: what nobody touched comes back bit by bit, what people did is read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from pipelines.export import export
from pipelines.import_ import QUARANTINE, import_
from tests.live.labelstudio_client import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
SIZES = ((320, 240), (101, 333), (57, 41))
FLOATS = ("xy", "score", "presence", "p_gross", "p_bad", "box", "box_score", "area")
FIELDS = (*FLOATS, "origin", "crowd", "id", "group")


@dataclass(frozen=True)
class Project:
    number: int
    tasks: list[int]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Three images, two people in each, with everything that Label Studio has no word for."""
    folder = tmp_path_factory.mktemp("format")
    rng = np.random.default_rng(5)
    (folder / "images" / "ä b").mkdir(parents=True)
    samples: list[Sample] = []
    for i, size in enumerate(SIZES):
        path = f"ä b/{i}.png"
        Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(folder / "images" / path)
        samples.append(Sample(f"{i:032x}", "images", path, size, people(rng, i, size), group=f"film {i}"))
    return write_manifest(folder / "m", samples, SKELETON, {"images": folder / "images"}, stage="test")


def people(rng: np.random.Generator, i: int, size: tuple[int, int]) -> Poses:
    """One with a box, hidden, absent and outside keypoints; one without a box, a third of which has no place."""
    xy = rng.uniform(0.1, 0.9, (2, K, 2)) * size
    xy[0, 3] = (-7.3, 5)
    xy[1, K // 3 :] = np.nan
    visibility = np.full((2, K), Visibility.VISIBLE)
    visibility[0, :2] = Visibility.HIDDEN, Visibility.ABSENT
    visibility[1, K // 3 :] = Visibility.UNLABELLED
    ids = [f"{2 * i + n:032x}" for n in range(2)]
    return Poses.create(
        K, id=ids, xy=xy, visibility=visibility, score=rng.uniform(0, 1, (2, K)), presence=rng.uniform(0, 1, (2, K)),
        p_gross=rng.uniform(0, 1, (2, K)), p_bad=rng.uniform(0, 1, 2), origin=rng.integers(1, 3, (2, K)),
        box=[[1.7, 2.1, size[0] - 3.3, size[1] + 4.5], [np.nan] * 4], box_score=[0.7, np.nan], area=[123.4, np.nan],
        group=["twins", ""], by=["net", "net"], attributes=[{"note": "ü"}, {"state": "review"}],
    )  # fmt: skip


def project_of(server: Server, exported: Path) -> Project:
    """A project with the form and the tasks that an export wrote."""
    form = (exported / "form.xml").read_text()
    number = server.json("POST", "/api/projects/", {"title": "whole images", "label_config": form})["id"]
    (file,) = exported.glob("tasks-*.json")
    answer = server.json("POST", f"/api/projects/{number}/import?return_task_ids=true", json.loads(file.read_text()))
    return Project(number, answer["task_ids"])


def bring_back(server: Server, project: Project, manifest: Manifest, out: Path, **options: Any) -> dict[str, Sample]:
    """The samples of the project's JSON export, by path."""
    url = f"/api/projects/{project.number}/export?exportType=JSON&download_all_tasks=true"
    out.mkdir()
    (out / "export.json").write_bytes(server.call("GET", url))
    images = manifest.roots["images"]
    back = import_(
        "labelstudio", out / "export.json", images=images, out=out / "m", skeleton="coco17", **options
    ).manifest
    assert not (back.path / QUARANTINE).exists()
    return {sample.path: sample for sample in back}


def assert_same(found: Poses, sent: Poses, fields: tuple[str, ...] = FIELDS) -> None:
    for name in fields:
        a, b = getattr(found, name), getattr(sent, name)
        assert np.array_equal(a, b, equal_nan=name in FLOATS), name


def result_of(server: Server, task: int, kind: str) -> list[dict[str, Any]]:
    return server.json("GET", f"/api/tasks/{task}")[kind][0]["result"]


def test_annotations_come_back_bit_by_bit(server: Server, manifest: Manifest, tmp_path: Path) -> None:
    export("labelstudio", manifest.path, out=tmp_path / "x", images="all")
    project = project_of(server, tmp_path / "x")
    back = bring_back(server, project, manifest, tmp_path / "back")
    assert len(back) == len(SIZES)
    for sent in manifest:
        found = back[sent.path]
        assert (found.size, found.group) == (sent.size, sent.group)
        assert_same(found.poses, sent.poses, (*FIELDS, "visibility"))
        assert found.poses.attributes == sent.poses.attributes, "nobody opened it: still to be reviewed"
        assert set(found.poses.by) == {"annotator-1"}, "the server books an import on whoever makes it"


def test_two_people_answer(server: Server, manifest: Manifest, tmp_path: Path) -> None:
    export("labelstudio", manifest.path, out=tmp_path / "x", images="all", as_="predictions")
    project = project_of(server, tmp_path / "x")
    assert server.json("GET", f"/api/projects/{project.number}/")["model_version"], "else nothing is filled in"
    second = server.json("POST", "/api/users/", {"email": "second@example.com", "username": "second"})["id"]

    def annotate(task: int, result: list[dict[str, Any]], **more: Any) -> None:
        body = {"result": result, "lead_time": 2.5, **more}
        server.json("POST", f"/api/tasks/{project.tasks[task]}/annotations/", body)

    proposed = [result_of(server, task, "predictions") for task in project.tasks]
    annotate(0, proposed[0])
    moved = json.loads(json.dumps(proposed[0]))
    for item in moved:
        if item["id"] == moved[0]["id"]:  # the keypoint and what is said about it
            item["value"] |= {"x": 43.91147613525391, "y": 58.626093770406165}
            item["origin"] = "prediction-changed"
    annotate(0, moved, completed_by=second)
    annotate(1, proposed[1], was_cancelled=True)
    annotate(1, [item for item in proposed[1] if item.get("parentID") != f"{3:032x}" and item["id"] != f"{3:032x}"])
    annotate(2, proposed[2], was_cancelled=True, completed_by=second)

    by_path = {sample.path: sample for sample in manifest}
    first, other = (by_path[f"ä b/{i}.png"] for i in (0, 1))
    latest = bring_back(server, project, manifest, tmp_path / "latest")
    assert set(latest) == {first.path, other.path}, "the third was only skipped"
    found = latest[first.path].poses
    assert found.by.tolist() == [f"annotator-{second}"] * 2
    place = np.array([0.4391147613525391, 0.58626093770406165]) * first.size - 0.5
    assert np.abs(found.xy[0, 0] - place).max() < 1e-4
    assert np.isnan(found.score[0, 0]) and found.origin[0, 0] == Origin.IMPORTED
    assert np.array_equal(found.xy[0, 1:], first.poses.xy[0, 1:])
    assert_same(found.take([1]), first.poses.take([1]), (*FIELDS, "visibility"))
    assert found.attributes[1] == {"state": "reviewed"}
    assert_same(latest[other.path].poses, other.poses.take([0]), (*FIELDS, "visibility"))
    alone = bring_back(server, project, manifest, tmp_path / "alone", annotator="1")
    assert_same(alone[first.path].poses, first.poses, (*FIELDS, "visibility"))
    assert alone[first.path].attributes["labelstudio"]["lead_time"] == 2.5
