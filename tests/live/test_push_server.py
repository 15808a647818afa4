"""Pushing to a real Label Studio: once each, in order, shown as they should be; killed, raced and edited by hand."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import InputError
from autolabel.labelstudio.access import Access, save_token, write_settings
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.folder import ReviewFolder, read_lines
from autolabel.labelstudio.tasks import MODEL_VERSION
from autolabel.manifest import write_manifest
from autolabel.poses import Origin, Poses, Sample
from autolabel.project import read_project
from autolabel.skeleton import Skeleton
from pipelines.doctor import Outcome, doctor
from pipelines.push import PushResult, push
from pipelines.push_server import send
from tests.doubles import Recorder
from tests.live.labelstudio_client import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
N = 6
DIGEST = "ab" * 32
SIGN_SECONDS = 120


@dataclass(frozen=True)
class Case:
    """A project folder with a routing of N poses, and the server that it names."""

    folder: Path
    server: Server

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def routing(self) -> Path:
        return self.folder / "routing"

    @property
    def client(self) -> Client:
        return Client(Access(self.server.url, self.server.token))

    @property
    def number(self) -> int:
        return read_project(self.project).labelstudio.project

    def push(self, **options: Any) -> PushResult:
        return push(self.routing, project=self.project, **options)

    def process(self, project: Path | None = None) -> subprocess.Popen[str]:
        """The push as a process of its own."""
        return self.command("push", self.routing, project=project)

    def command(self, *words: object, project: Path | None = None) -> subprocess.Popen[str]:
        """A command about the project as a process of its own."""
        command = [sys.executable, "-m", "pipelines.cli", *words, "--project", project or self.project, "--json"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [*map(str, command)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def written(self) -> list[dict[str, Any]]:
        files = ReviewFolder.of(self.project).task_files()
        return [task for file in files for task in json.loads(file.read_text())]

    def require_each_once(self, count: int = N) -> None:
        """Every task is there once, in order, whole, and its crop is served."""
        there = list(self.client.task_list(self.number))
        written = self.written()
        assert len(written) == count
        assert Counter(task.key for task in there) == Counter(task["data"]["task_key"] for task in written)
        by_key = {task.key: task for task in there}
        for task in written:
            remote = by_key[task["data"]["task_key"]]
            predictions = self.client.predictions(remote.id)
            assert [(p.version, p.result) for p in predictions] == [(MODEL_VERSION, task["predictions"][0]["result"])]
            assert {**remote.data, "image": ""} == {**task["data"], "image": ""}


def make_case(folder: Path, server: Server, count: int = N) -> Case:
    rng = np.random.default_rng(5)
    images = folder / "images"
    images.mkdir(parents=True)
    Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(images / "a.png")
    size = np.array([25, 35])
    low = rng.uniform((2, 2), (50, 20), (count, 2))
    poses = Poses.create(
        K, id=[f"pose-{i}" for i in range(count)], box=np.concatenate([low, low + size], axis=1),
        xy=low[:, None] + rng.uniform(0, 1, (count, K, 2)) * size, score=rng.uniform(0, 1, (count, K)),
        origin=np.full((count, K), Origin.MODEL), by=["net"] * count,
    )  # fmt: skip
    sample = Sample("s", "images", "a.png", (80, 60), poses)
    manifest = write_manifest(folder / "scored", [sample], SKELETON, {"images": images}, stage="test")
    (folder / "routing").mkdir()
    record = {"manifest": "../scored", "manifest_digest": manifest.digest, "digest": DIGEST}
    (folder / "routing" / "routing.json").write_text(json.dumps(record))
    lines = [{"pose": pose, "kind": "review", "blind": False} for pose in poses.id.tolist()]
    (folder / "routing" / "queue.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "project").mkdir()
    toml = f'name = "push"\n[corpus]\nimages = "../images"\n[labelstudio]\nurl = "{server.url}"\n'
    (folder / "project" / "autolabel.toml").write_text(toml)
    save_token(folder / "project", server.token)
    return Case(folder, server)


@pytest.fixture
def case(server: Server, tmp_path: Path) -> Iterator[Case]:
    made = make_case(tmp_path, server)
    yield made
    if made.number:
        made.client.delete_project(made.number)


def test_the_first_push_makes_a_project_that_people_can_work_in(case: Case) -> None:
    result = case.push()
    assert result.server is not None
    assert (result.server.project, result.server.sent) == (case.number, N)
    case.require_each_once()
    project = case.client.project(case.number)
    assert (project.title, project.model_version, project.sampling) == ("push", MODEL_VERSION, "Sequential sampling")
    assert (project.tasks, project.annotators, project.shows_predictions) == (N, 1, True)
    for task in case.client.task_list(case.number):
        crop = ReviewFolder.of(case.project).crops / task.data["crop"]
        assert case.client.served(task.data["image"]) == crop.read_bytes()
    again = case.push()
    assert again.server is not None
    assert (again.server.sent, again.server.changed, again.server.standing) == (0, 0, N)
    assert len(case.client.uploads(case.number)) == N
    case.require_each_once()


def test_the_queue_is_in_the_order_of_priority_and_holds_what_is_open(case: Case) -> None:
    case.push()
    tab = case.client.views(case.number)["Review queue"]

    def shown() -> list[str]:
        answer = case.server.json("GET", f"/api/tasks?project={case.number}&view={tab}&fields=all")
        return [task["data"]["task_key"] for task in answer["tasks"]]

    keys = [task["data"]["task_key"] for task in case.written()]
    assert shown() == keys
    numbers = {task.key: task.id for task in case.client.task_list(case.number)}
    case.client.annotate(numbers[keys[0]], [])
    assert shown() == keys[1:]
    following = case.server.json("GET", f"/api/projects/{case.number}/next/")
    assert following["data"]["task_key"] == keys[1]


class Killed:
    """A client whose process dies at a call."""

    def __init__(self, access: Access, call: str, before: bool) -> None:
        self._client, self._call, self._before = Client(access), call, before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)

        def done(*arguments: Any, **options: Any) -> Any:
            if name == self._call and self._before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = found(*arguments, **options)
            if name == self._call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return done if callable(found) else found


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("call", ["update_project", "save_view", "upload", "find", "import_tasks"])
def test_a_push_that_was_killed_goes_on(case: Case, call: str, before: bool) -> None:
    write_settings(case.project, url="")
    case.push()
    write_settings(case.project, url=case.server.url)
    access = Access(case.server.url, case.server.token)
    child = os.fork()
    if child == 0:
        send(access, case.project, DIGEST, SKELETON, connect=lambda access: Killed(access, call, before))  # type: ignore[arg-type, return-value]
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    case.push()
    case.require_each_once()
    again = case.push().server
    assert again is not None and again.standing == N


def wait_for(sign: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until a sign of a command's work is on disk."""
    end = time.monotonic() + SIGN_SECONDS
    while not sign():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end, "no sign of the work"
        time.sleep(0.001)


def test_a_process_that_is_killed_at_every_stage(server: Server, tmp_path: Path) -> None:
    count, rng = 40, random.Random(1)
    case = make_case(tmp_path, server, count)
    folder = ReviewFolder.of(case.project)

    def noted() -> list[int]:
        return [line["number"] for line in read_lines(folder.server) if line["task"]]

    stages: list[Callable[[], bool]] = [
        lambda: any(folder.crops.glob("*.jpg")),
        folder.server.exists,  # the project is made and has its form
        lambda: bool(noted()),  # the tasks are on their way
    ]
    for sign in stages:
        with case.process() as process:
            wait_for(sign, process)
            time.sleep(rng.uniform(0, 0.2) if sign is not stages[-1] else 0)
            process.kill()
            assert process.wait() == -signal.SIGKILL
    assert noted() == [0] * count, "killed before the answer to the import came"
    result = case.push().server
    assert result is not None and result.sent + result.changed + result.standing == count
    case.require_each_once(count)
    case.client.delete_project(case.number)


def test_two_pushes_of_one_project(case: Case) -> None:
    with case.process() as first, case.process() as second:
        assert [process.wait() for process in (first, second)] == [0, 0]
    case.require_each_once()


def test_two_machines_push_the_same(case: Case) -> None:
    """Each with its own copy of the folder, so that no lock holds one back."""
    write_settings(case.project, project=case.client.create_project("push"))
    copies = [case.folder / name for name in ("one", "two", "three")]
    for copy in copies:
        shutil.copytree(case.project, copy)
    processes = [case.process(copy) for copy in copies]
    for process in processes:
        _, said = process.communicate()
        assert process.returncode == 0, said
    last = case.push().server
    assert last is not None
    assert last.sent == 0
    case.require_each_once()


def test_a_changed_task_is_refreshed_unless_it_was_answered(case: Case) -> None:
    case.push()
    (file,) = ReviewFolder.of(case.project).task_files()
    tasks = json.loads(file.read_text())
    for task in tasks[:2]:
        for item in task["predictions"][0]["result"][:2]:
            item["value"]["x"] = 12.5
    numbers = {task.key: task.id for task in case.client.task_list(case.number)}
    answered = numbers[tasks[0]["data"]["task_key"]]
    old = case.client.predictions(answered)
    case.client.annotate(answered, old[0].result)
    file.write_text(json.dumps(tasks))
    result = case.push().server
    assert result is not None
    assert (result.sent, result.changed, result.left_answered, result.standing) == (0, 1, 1, N - 2)
    assert case.client.predictions(answered) == old
    changed = case.client.predictions(numbers[tasks[1]["data"]["task_key"]])
    assert [p.result for p in changed] == [tasks[1]["predictions"][0]["result"]]


def test_addresses_elsewhere_need_no_upload(case: Case) -> None:
    write_settings(case.project, delivery="url-prefix", prefix="https://images.example.com/mouse/")
    case.push()
    images = {task.data["image"] for task in case.client.task_list(case.number)}
    assert images == {f"https://images.example.com/mouse/{task['data']['crop']}" for task in case.written()}
    assert not case.client.uploads(case.number)
    write_settings(case.project, prefix="https://other.example.com")
    changed = case.push().server
    assert changed is not None
    assert changed.changed == N
    assert all(
        task.data["image"].startswith("https://other.example.com/") for task in case.client.task_list(case.number)
    )


def test_local_files_are_read_where_they_lie(case: Case, server: Server) -> None:
    """A folder below the server's document root holds a link to the crops, and nothing else of the project."""
    name = "local files of a push"
    write_settings(case.project, delivery="local-files", prefix=name)
    link = server.files / name / "crops"
    try:
        with pytest.raises(InputError, match=r"does not show .*Add Source Storage"):
            case.push()
        link.parent.mkdir(parents=True)
        link.symlink_to(ReviewFolder.of(case.project).crops)
        case.client.local_storage(case.number, link)
        case.push()
        case.require_each_once()
        assert case.client.shared_folders(case.number) == [link], "what was tried is taken back"
        assert not case.client.uploads(case.number)
        for task in case.client.task_list(case.number):
            crop = ReviewFolder.of(case.project).crops / task.data["crop"]
            assert case.client.served(task.data["image"]) == crop.read_bytes()
    finally:
        shutil.rmtree(server.files / name)


@pytest.mark.parametrize("linked", [False, True])
def test_local_files_that_would_show_the_token_are_refused(server: Server, tmp_path: Path, linked: bool) -> None:
    """The project lies below the document root, or its whole review folder is linked there."""
    name = f"local files below the root {linked}"
    case = make_case(tmp_path / name if linked else server.files / name, server)
    prefix = f"{name} link" if linked else f"{name}/project/labelstudio"
    write_settings(case.project, delivery="local-files", prefix=prefix)
    try:
        if linked:
            server.files.mkdir(exist_ok=True)
            (server.files / prefix).symlink_to(case.project / "labelstudio")
            with pytest.raises(InputError, match="does not show"):
                case.push()
            case.client.local_storage(case.number, server.files / prefix / "crops")
        before = set(case.client.shared_folders(case.number)) if linked else set()
        with pytest.raises(InputError, match="would show the token and what tasks are for"):
            case.push()
        assert set(case.client.shared_folders(case.number)) == before
        assert not list(case.client.task_list(case.number))
        result = doctor(project=case.project)
        (secrets,) = [check for check in result.checks if check.name == "secrets"]
        assert secrets.outcome is Outcome.FAILED
        case.client.delete_project(case.number)
    finally:
        (server.files / prefix).unlink() if linked else shutil.rmtree(server.files / name)


def test_what_somebody_works_on_while_we_push_stays(case: Case) -> None:
    """Between the listing and the change, an answer and a draft come in."""
    case.push()
    file = ReviewFolder.of(case.project).task_files()[0]
    tasks = json.loads(file.read_text())
    for task in tasks[:3]:
        task["data"]["header"] = "Check these first: another"
    file.write_text(json.dumps(tasks))
    numbers = {task.key: task.id for task in case.client.task_list(case.number)}
    answered, begun, free = (numbers[task["data"]["task_key"]] for task in tasks[:3])

    class Busy(Client):
        def uploads(self, project: int) -> dict[str, str]:
            self.annotate(answered, [])
            case.server.json("POST", f"/api/tasks/{begun}/drafts", {"result": [], "lead_time": 1.0})
            return super().uploads(project)

    access = Access(case.server.url, case.server.token)
    result = send(access, case.project, DIGEST, SKELETON, connect=Busy)
    assert (result.changed, result.left_answered) == (1, 2)
    headers = {task.id: task.data["header"] for task in case.client.task_list(case.number)}
    assert [number for number in (answered, begun, free) if headers[number].endswith("another")] == [free]


def test_lost_predictions_come_back(case: Case) -> None:
    case.push()
    some = [task.id for task in case.client.task_list(case.number)][:3]
    for number in some:
        for prediction in case.client.predictions(number):
            case.client.delete_prediction(prediction.id)
    result = case.push().server
    assert result is not None
    assert (result.changed, result.standing) == (3, N - 3)
    case.require_each_once()


def test_a_form_that_was_edited_by_hand(case: Case) -> None:
    case.push()
    form = case.client.project(case.number).form
    looks = re.sub('background="#[^"]*"', 'background="#00aa33"', form)
    case.client.update_project(case.number, label_config=looks)
    notes = Recorder()
    case.push(progress=notes)
    assert any("edited by hand, in its looks only" in note for note in notes.notes)
    assert "#00aa33" in case.client.project(case.number).form
    case.client.update_project(case.number, label_config=form.replace('value="nose"', 'value="snout"'))
    with pytest.raises(InputError, match=r"edited by hand.*lacks label 'nose'.*also offers label 'snout'.*form.xml"):
        case.push()
    case.client.update_project(case.number, label_config=form)
    case.push()


def test_a_project_that_was_deleted_is_an_error(case: Case) -> None:
    case.push()
    case.client.delete_project(case.number)
    with pytest.raises(InputError, match="project"):
        case.push()
    write_settings(case.project, project=0)
    case.push()
    case.require_each_once()


def test_more_annotators_later(case: Case) -> None:
    case.push()
    write_settings(case.project, annotators=2)
    case.push()
    assert case.client.project(case.number).annotators == 2
    (first, *_) = case.client.task_list(case.number)
    case.client.annotate(first.id, [])
    tab = case.client.views(case.number)["Review queue"]
    answer = case.server.json("GET", f"/api/tasks?project={case.number}&view={tab}")
    assert len(answer["tasks"]) == N, "one of two people has answered: still open"
