"""Our files through a real Label Studio: form and tasks in, people's answers out, nothing lost on the way."""

import io
import json
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.images import read_images
from autolabel.labelstudio.tasks import MODEL_VERSION, read_task_map
from autolabel.manifest import write_manifest
from autolabel.merge import State
from autolabel.poses import Origin, Poses, Sample
from autolabel.skeleton import Skeleton
from pipelines.pull import PullResult, pull
from pipelines.push import push
from pipelines.simulated_reviewer import SimulatedReviewer
from tests.live.labelstudio_client import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
N = 5


@dataclass(frozen=True)
class Pushed:
    """A pushed project: its folder, the poses that were sent, and the tasks by pose."""

    project: Path
    folder: ReviewFolder
    model: Poses
    truth: Any

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        records = read_task_map(self.folder.taskmap)
        (file,) = self.folder.task_files()
        return {records[t["data"]["task_key"]].pose: t for t in json.loads(file.read_text())}


def make_pushed(folder: Path, *queued: dict[str, Any]) -> Pushed:
    """A project; without entries of a queue every pose is sent for review."""
    rng = np.random.default_rng(11)
    images = folder / "images"
    images.mkdir(parents=True)
    Image.fromarray(rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)).save(images / "a.png")
    low = rng.uniform((5, 5), (200, 100), (N, 2))
    xy = low[:, None] + rng.uniform(0, 1, (N, K, 2)) * (90, 120)
    shared = {"id": [f"pose-{i}" for i in range(N)], "box": np.concatenate([low, low + np.array([90, 120])], axis=1)}
    model = Poses.create(
        K, **shared, xy=xy, score=rng.uniform(0, 1, (N, K)), presence=rng.uniform(0.3, 1, (N, K)),
        origin=np.full((N, K), Origin.MODEL), by=["net"] * N,
    )  # fmt: skip
    truth = Poses.create(K, **shared, xy=xy + rng.normal(0, 4, xy.shape), visibility=np.full((N, K), 2))
    roots = {"images": images}
    manifest, true = (
        write_manifest(
            folder / name, [Sample("s", "images", "a.png", (320, 240), poses)], SKELETON, roots, stage="test"
        )
        for name, poses in (("scored", model), ("truth", truth))
    )
    routing = folder / "routing"
    routing.mkdir()
    record = {"manifest": "../scored", "manifest_digest": manifest.digest, "digest": "ab" * 32}
    (routing / "routing.json").write_text(json.dumps(record))
    queue = queued or [{"pose": pose, "kind": "review", "blind": False} for pose in model.id]
    (routing / "queue.jsonl").write_text("".join(json.dumps(line) + "\n" for line in queue))
    (folder / "project").mkdir(exist_ok=True)
    result = push(routing, project=folder / "project")
    return Pushed(folder / "project", ReviewFolder(result.folder), model, true)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    return make_pushed(tmp_path_factory.mktemp("pushed"))


def import_all(server: Server, pushed: Pushed) -> tuple[int, dict[str, int]]:
    """A project with the form and every task, crops uploaded; gives its number and the tasks' by pose."""
    project = server.json("POST", "/api/projects/", {"title": "round trip"})["id"]
    urls = server.upload(project, sorted(pushed.folder.crops.iterdir()))
    server.json("PATCH", f"/api/projects/{project}/", {"label_config": pushed.folder.form.read_text()})
    tasks = pushed.tasks
    rewritten = [{**t, "data": {**t["data"], "image": urls[t["data"]["crop"]]}} for t in tasks.values()]
    answer = server.json("POST", f"/api/projects/{project}/import?return_task_ids=true", rewritten)
    return project, dict(zip(tasks, answer["task_ids"], strict=True))


def annotate(server: Server, task: int, result: list[dict[str, Any]], **changes: Any) -> None:
    body = {"result": result, "lead_time": 4.5, **changes}
    server.json("POST", f"/api/tasks/{task}/annotations/", body)


def export(server: Server, project: int, folder: ReviewFolder) -> list[dict[str, Any]]:
    """The project's JSON export, as the menu gives it, put where ``pull`` looks."""
    content = server.call("GET", f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true")
    (folder.exports / f"project-{project}.json").write_bytes(content)
    return json.loads(content)


def answers(result: PullResult) -> dict[str, Any]:
    poses = Poses.concat([sample.poses for sample in result.manifest])
    return {pose: poses[i] for i, pose in enumerate(poses.id)}


def test_the_round_trip_through_the_server(server: Server, pushed: Pushed, tmp_path: Path) -> None:
    project, tasks = import_all(server, pushed)
    stored = server.json("GET", f"/api/projects/{project}/")
    assert stored["model_version"] == MODEL_VERSION, "else the server fills nothing in"
    assert stored["show_collab_predictions"]
    results = {
        pose: server.json("GET", f"/api/tasks/{task}")["predictions"][0]["result"] for pose, task in tasks.items()
    }
    annotate(server, tasks["pose-0"], results["pose-0"])
    moved = results["pose-1"]
    nose = next(item for item in moved if item["value"].get("keypointlabels") == ["nose"])
    for item in moved:
        if item["id"] == nose["id"]:
            item["value"] |= {"x": 43.91147613525391, "y": 58.626093770406165}
    annotate(server, tasks["pose-1"], moved)
    verdict = {"id": "v", "type": "choices", "from_name": "verdict", "to_name": "image"}
    swapped = {**verdict, "value": {"choices": ["left and right swapped"]}}
    annotate(server, tasks["pose-2"], [*results["pose-2"], swapped])
    annotate(server, tasks["pose-3"], results["pose-3"], was_cancelled=True)
    export(server, project, pushed.folder)
    result = pull(project=pushed.project, out=tmp_path / "answers")
    assert (result.answered, result.open, result.unknown, result.notices) == (3, 2, 0, 0)
    poses = answers(result)
    assert np.array_equal(poses["pose-0"].xy, pushed.model.xy[0]), "untouched: bit by bit"
    assert poses["pose-0"].origin.tolist() == [Origin.MODEL] * K
    assert np.array_equal(poses["pose-1"].xy[1:], pushed.model.xy[1, 1:])
    frame = next(r.frame for r in read_task_map(pushed.folder.taskmap).values() if r.pose == "pose-1")
    place = np.array([0.4391147613525391, 0.58626093770406165]) * frame.size + frame.origin - 0.5
    assert np.abs(poses["pose-1"].xy[0] - place).max() < 1e-3
    assert np.array_equal(poses["pose-2"].xy, pushed.model.xy[2][list(SKELETON.flip)])
    assert {pose.attributes["state"] for pose in poses.values()} == {State.REVIEWED}
    again = pull(project=pushed.project, out=tmp_path / "again")
    assert (again.new, again.manifest.digest) == (0, result.manifest.digest)


def test_the_server_shows_the_crops_it_was_given(server: Server, pushed: Pushed) -> None:
    project, tasks = import_all(server, pushed)
    task = server.json("GET", f"/api/tasks/{tasks['pose-0']}")
    crop = server.call("GET", task["data"]["image"])
    assert crop == (pushed.folder.crops / task["data"]["crop"]).read_bytes()
    assert task["meta"]["autolabel"]["schema"] == 1
    assert server.json("GET", f"/api/projects/{project}/")["task_number"] == N


def test_local_files_need_no_upload(server: Server, tmp_path: Path) -> None:
    """The tasks as they are, on a server below whose document root ``crops`` is the review folder's."""
    pushed = make_pushed(tmp_path / "pushed")
    link = server.files / "crops"
    server.files.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(pushed.folder.crops)
    project = server.json(
        "POST", "/api/projects/", {"title": "local files", "label_config": pushed.folder.form.read_text()}
    )["id"]
    storage = {"project": project, "path": str(link), "use_blob_urls": True}
    server.json("POST", "/api/storages/localfiles", storage)
    (file,) = pushed.folder.task_files()
    server.call("POST", f"/api/projects/{project}/import", file.read_bytes())
    task = server.json("GET", f"/api/tasks?project={project}&fields=all")["tasks"][0]
    url = urllib.parse.urlsplit(task["data"]["image"])
    crop = server.call("GET", f"{url.path}?{url.query}")
    record = read_task_map(pushed.folder.taskmap)[task["data"]["task_key"]]
    with Image.open(io.BytesIO(crop)) as image:
        assert image.size == record.frame.shown


def test_the_simulated_reviewer_exports_what_the_server_does(server: Server, pushed: Pushed, tmp_path: Path) -> None:
    """Its exports have no field that real ones lack, and the server takes its answers and gives them back."""
    own = make_pushed(tmp_path / "own")
    reviewer = SimulatedReviewer(own.truth, seed=3)
    reviewer.review(own.project)
    expected = pull(project=own.project, out=tmp_path / "expected")
    (file,) = own.folder.exports.glob("*.json")
    simulated = json.loads(file.read_text())
    project, tasks = import_all(server, own)
    records = read_task_map(own.folder.taskmap)
    for task in simulated:
        annotation = task["annotations"][0]
        annotate(server, tasks[records[task["data"]["task_key"]].pose], annotation["result"])
    file.unlink()
    own.folder.journal.unlink()
    real = export(server, project, own.folder)
    assert set(simulated[0]) <= set(real[0])
    assert set(simulated[0]["annotations"][0]) <= set(real[0]["annotations"][0])
    result = pull(project=own.project, out=tmp_path / "real")
    assert result.answered == N
    for pose, found in answers(result).items():
        assert np.array_equal(found.xy, answers(expected)[pose].xy)
        assert np.array_equal(found.visibility, answers(expected)[pose].visibility)
        assert np.array_equal(found.origin, answers(expected)[pose].origin)


def test_whole_images_come_back(server: Server, tmp_path: Path) -> None:
    """Rectangles may be dragged, deleted and drawn; an image that nobody touched has nothing to report."""
    image = {"pose": "", "kind": "image", "image": ["s", "images", "a.png"], "blind": False}
    pushed = make_pushed(tmp_path / "pushed", image)
    project, tasks = import_all(server, pushed)
    shown = server.json("GET", f"/api/tasks/{tasks['']}")["predictions"][0]["result"]
    boxes = [item for item in shown if item["type"] == "rectanglelabels"]
    assert len(boxes) == N
    dragged = [{**item, "value": {**item["value"], "x": item["value"]["x"] + 0.5}} for item in boxes[2:]]
    value = {"x": 2.5, "y": 3.5, "width": 20.0, "height": 30.0, "rotation": 0, "rectanglelabels": ["box"]}
    drawn = {"id": "fo_l1oAHdz", "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": value}
    annotate(server, tasks[""], shown)
    annotate(server, tasks[""], [*dragged, drawn])
    export(server, project, pushed.folder)
    result = pull(project=pushed.project, out=tmp_path / "answers")
    assert (result.images, result.answered, result.open, result.notices) == (2, 0, 0, 0)
    found = sorted((check.missed, len(check.nobody)) for check in read_images(result.manifest.path / "images.jsonl"))
    assert found == [(0, 0), (1, 2)]
