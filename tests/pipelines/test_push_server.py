"""The server's half of a push: which project, which tasks, and what the project folder remembers."""

from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import InputError
from autolabel.labelstudio.access import Access, save_token
from autolabel.labelstudio.folder import ReviewFolder, append_lines
from autolabel.labelstudio.tasks import MODEL_VERSION, read_task_map
from autolabel.project import read_project
from autolabel.skeleton import Skeleton
from pipelines.push import PushResult, push
from pipelines.push_server import send, server_access
from tests.doubles import Recorder, Stopped
from tests.labelstudio_double import LEGACY, Said, serving
from tests.memory_server import MemoryServer

ACCESS = Access("http://memory", "0" * 40)
SKELETON = Skeleton.load("coco17")
TASKS = 6


def settings(project: Path, text: str = "") -> None:
    project.mkdir(exist_ok=True)
    (project / "autolabel.toml").write_text(f'name = "mouse"\n[corpus]\nimages = "images"\n# mine\n{text}')


@pytest.fixture
def project(review_case: Any) -> Path:
    """A project whose tasks are written, and not sent yet."""
    settings(review_case.project)
    push(review_case.route(), project=review_case.project)
    settings(review_case.project, '[labelstudio]\nurl = "http://memory"\n')
    return review_case.project


def sent(project: Path, server: MemoryServer, routing: str = "ab" * 32) -> Any:
    return send(ACCESS, project, routing, SKELETON, connect=lambda access: server)


def keys(server: MemoryServer) -> list[str]:
    return [task["data"]["task_key"] for task in server.tasks.values()]


def test_the_first_push_makes_the_project_and_remembers_it(project: Path) -> None:
    server = MemoryServer()
    result = sent(project, server)
    assert (result.sent, result.project) == (TASKS, 1)
    assert read_project(project).labelstudio.project == 1
    assert "# mine" in (project / "autolabel.toml").read_text()
    held = server.project(1)
    assert (held.title, held.model_version, held.tasks) == ("mouse", MODEL_VERSION, TASKS)
    again = sent(project, server)
    assert (again.standing, again.project) == (TASKS, 1)
    assert list(server.settings) == [1]


def test_the_order_is_that_of_the_queue(project: Path) -> None:
    server = MemoryServer()
    sent(project, server)
    records = read_task_map(ReviewFolder.of(project).taskmap)
    assert [records[key].pose for key in keys(server)] == [f"pose-{i}" for i in range(TASKS)]
    priorities = [task["data"]["priority"] for task in server.tasks.values()]
    assert priorities == [records[key].priority for key in keys(server)]
    assert priorities == sorted(priorities, reverse=True)
    assert len(set(priorities)) == TASKS
    assert 0 < min(priorities) < max(priorities) == 1


def test_a_server_that_is_waited_for_is_told(project: Path) -> None:
    notes = Recorder()
    with serving(Said(429, {}, {"Retry-After": "0"}), Said(403)) as double, pytest.raises(InputError):
        send(Access(double.url, LEGACY), project, "ab" * 32, SKELETON, progress=notes)
    assert "Label Studio does not answer (429): waiting 0 s, try 2 of 5" in notes.notes


def test_a_second_routing_joins_the_first(project: Path, review_case: Any) -> None:
    server = MemoryServer()
    sent(project, server)
    settings(project)
    push(review_case.route({"pose": "pose-1", "kind": "audit"}, name="next", digest="cd" * 32), project=project)
    settings(project, '[labelstudio]\nurl = "http://memory"\nproject = 1\n')
    assert sent(project, server, "cd" * 32).sent == 1
    assert server.project(1).tasks == TASKS + 1


def shown(server: MemoryServer, key: str) -> list[Any]:
    """What a task shows, which is what somebody submits who changes nothing."""
    task = next(task for task in server.tasks.values() if task["data"]["task_key"] == key)
    (prediction,) = task["predictions"].values()
    return prediction["result"]


def test_a_new_server_is_not_asked_what_was_answered(project: Path) -> None:
    """Only what ``pull`` can use is an answer: nothing skipped, empty, of another task or damaged is."""
    first = MemoryServer()
    sent(project, first)
    answered, skipped, emptied, foreign, damaged, faulty = keys(first)
    entry = {"by": "a@b", "updated": "2026-01-01T00:00:00Z", "seconds": 1.0, "skipped": False}
    results = {
        answered: {"result": shown(first, answered)},
        skipped: {"result": shown(first, skipped), "skipped": True},
        emptied: {"result": []},
        foreign: {"result": shown(first, answered)},
        damaged: {"result": [*shown(first, damaged), {"type": "keypointlabels", "value": {"x": "?"}}]},
        faulty: {"result": [], "fault": "is no list"},
    }
    lines = [{**entry, "task": key, "annotation": key, **given} for key, given in results.items()]
    append_lines(ReviewFolder.of(project).journal, lines)
    settings(project, '[labelstudio]\nurl = "http://memory"\n')
    second = MemoryServer()
    result = sent(project, second)
    assert (result.sent, result.left_answered) == (TASKS - 1, 1)
    assert set(keys(second)) == set(keys(first)) - {answered}


@pytest.mark.parametrize(("annotators", "people", "asked"), [(1, "aa", 0), (2, "aa", 1), (2, "a", 1), (2, "ab", 0)])
def test_as_many_people_are_asked_as_are_wanted(project: Path, annotators: int, people: str, asked: int) -> None:
    first = MemoryServer()
    sent(project, first)
    key = keys(first)[0]
    entry = {"task": key, "updated": "2026-01-01T00:00:00Z", "seconds": 1.0, "skipped": False}
    answers = [{**entry, "by": f"{who}@x", "annotation": str(i)} for i, who in enumerate(people)]
    append_lines(ReviewFolder.of(project).journal, [{**line, "result": shown(first, key)} for line in answers])
    settings(project, f'[labelstudio]\nurl = "http://memory"\nannotators = {annotators}\n')
    second = MemoryServer()
    assert sent(project, second).sent == TASKS - 1 + asked


def test_a_kill_between_the_project_and_its_number_makes_no_second_one(project: Path) -> None:
    server = MemoryServer()

    def kill(name: str, before: bool) -> None:
        if name == "create_project" and not before:
            raise Stopped

    server.hook = kill
    with pytest.raises(Stopped):
        sent(project, server)
    server.hook = lambda name, before: None
    assert sent(project, server).project == 1
    assert list(server.settings) == [1]


def test_local_files_below_the_document_root_are_refused(project: Path) -> None:
    server = MemoryServer()
    server.root = project
    settings(project, '[labelstudio]\nurl = "http://memory"\ndelivery = "local-files"\nprefix = "labelstudio"\n')
    with pytest.raises(InputError, match="would show the token"):
        sent(project, server)
    assert not server.tasks
    assert not server.folders


def test_a_deleted_project_is_an_error(project: Path) -> None:
    server = MemoryServer()
    sent(project, server)
    server.delete_project(1)
    with pytest.raises(InputError, match="no such project"):
        sent(project, server)


def test_a_folder_without_a_server_needs_no_token(review_case: Any) -> None:
    assert server_access(review_case.project) is None
    settings(review_case.project)
    assert server_access(review_case.project) is None
    result = push(review_case.route(), project=review_case.project)
    assert result.server is None
    assert "server" not in result.summary()


def test_a_server_without_a_token_is_an_error_before_any_work(
    review_case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    settings(review_case.project, '[labelstudio]\nurl = "http://127.0.0.1:9"\n')
    with pytest.raises(InputError, match="token"):
        push(review_case.route(), project=review_case.project)
    assert not (review_case.project / "labelstudio" / "tasks").exists()
    save_token(review_case.project, "0" * 40)
    assert server_access(review_case.project) == Access("http://127.0.0.1:9", "0" * 40)


def test_the_summary_says_what_became_of_the_tasks(project: Path) -> None:
    result = PushResult(project, "ab" * 32, TASKS, 0, 0, sent(project, MemoryServer()))
    assert result.summary()["server"] == {
        "project": 1,
        "url": "http://memory/projects/1",
        "sent": TASKS,
        "changed": 0,
        "standing": 0,
        "left_answered": 0,
        "doubles": 0,
    }
