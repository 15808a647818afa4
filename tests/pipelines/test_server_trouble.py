"""The commands ``push`` and ``pull`` on a server that refuses, fails and dawdles: said clearly, and nothing is lost."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import UnsureError, WorkError
from autolabel.labelstudio.access import VARIABLE, Access, save_token
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.fetch import fetch
from autolabel.labelstudio.folder import ReviewFolder, read_lines
from autolabel.labelstudio.journal import Journal
from autolabel.labelstudio.tasks import read_task_map
from autolabel.skeleton import Skeleton
from pipelines.cli import main
from pipelines.push_server import send
from tests.labelstudio_double import LEGACY, Asked, Double, Said
from tests.labelstudio_fake import FakeLabelStudio, fake_labelstudio, no_trouble

TASKS = 6
AT_ONCE = {"Retry-After": "0"}
"""The client does as it is told, so a test need not wait."""

PAGE = "<html>413 Request Entity Too Large</html>"
REFUSALS = [
    (Said(413, PAGE), "larger than the server allows (413)", "client_max_body_size"),
    (Said(429, {}, {"Retry-After": "4000"}), "too many requests (429), and asks to wait 4000 s", "command again"),
    (Said(500, {"detail": "disk is full"}, AT_ONCE), "the server failed (500): disk is full", "server's log"),
]  # fmt: skip


@dataclass
class Case:
    """A project, its fake server, and the commands."""

    folder: Path
    project: Path
    routing: Path
    fake: FakeLabelStudio
    double: Double
    said: pytest.CaptureFixture[str]

    @property
    def review(self) -> ReviewFolder:
        return ReviewFolder.of(self.project)

    def push(self) -> int:
        return self.command("push", self.routing)

    def pull(self) -> int:
        return self.command("pull", "--out", self.folder / "answers", "--overwrite")

    def command(self, *words: object) -> int:
        with pytest.raises(SystemExit) as left:
            main([*map(str, words), "--project", str(self.project), "--json"])
        return int(left.value.code or 0)

    def result(self) -> dict[str, Any]:
        """Of the last command, which went well."""
        return json.loads(self.said.readouterr().out.splitlines()[-1])

    def complaint(self) -> str:
        """Of the last command; no secret of the project's, whatever happened."""
        said = self.said.readouterr().err
        assert LEGACY not in said
        assert "Traceback" not in said
        return said

    def answer_all(self) -> None:
        for task in self.fake.tasks:
            self.fake.annotate(task, task["predictions"][0]["result"])

    def journal(self) -> list[dict[str, Any]]:
        return list(read_lines(self.review.journal))


@pytest.fixture
def case(
    review_case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Case]:
    monkeypatch.delenv(VARIABLE, raising=False)
    project = review_case.project
    with fake_labelstudio() as (fake, double):
        (project / "autolabel.toml").write_text(
            f'name = "mouse"\n[corpus]\nimages = "images"\n[labelstudio]\nurl = "{double.url}"\n'
        )
        save_token(project, LEGACY)
        yield Case(tmp_path, project, review_case.route(), fake, double, capsys)


def is_upload(asked: Asked) -> bool:
    return "commit_to_project" in asked.query


def is_import(asked: Asked) -> bool:
    return "return_task_ids" in asked.query


def is_list(asked: Asked) -> bool:
    return asked.path.strip("/") == "api/tasks"


def is_made(asked: Asked) -> bool:
    return (asked.method, asked.path.strip("/")) == ("POST", "api/projects")


def once(wanted: Any, said: Said) -> Any:
    """Trouble with the first request of a kind."""
    left = [said]
    return lambda asked: left.pop() if left and wanted(asked) else None


def always(wanted: Any, said: Said) -> Any:
    return lambda asked: said if wanted(asked) else None


@pytest.mark.parametrize(
    ("request_", "said", "words", "remedy"),
    [
        *((is_upload, *refusal) for refusal in REFUSALS),
        *((is_import, *refusal) for refusal in REFUSALS[:2]),  # after a 500 nobody can tell whether it was done
    ],
)
def test_push_is_refused(case: Case, request_: Any, said: Said, words: str, remedy: str) -> None:
    case.fake.trouble = always(request_, said)
    assert case.push() == 1
    complaint = case.complaint()
    assert words in complaint
    assert remedy in complaint
    assert not case.fake.tasks
    require_that_it_completes(case)


def require_that_it_completes(case: Case) -> None:
    """The same command again, on a server without trouble."""
    case.fake.trouble = no_trouble
    assert case.push() == 0
    assert sorted(case.fake.keys) == sorted(read_task_map(case.review.taskmap))
    assert len(case.fake.tasks) == len(set(case.fake.files)) == TASKS
    case.result()
    assert case.push() == 0
    assert case.result()["server"]["standing"] == TASKS


@pytest.mark.parametrize("said", [Said(429, {}, AT_ONCE), Said(500, {}, AT_ONCE), Said(503, PAGE, AT_ONCE)])
@pytest.mark.parametrize("request_", [is_upload, is_list], ids=["upload", "list"])
def test_push_gets_over_what_passes(case: Case, said: Said, request_: Any) -> None:
    case.fake.trouble = once(request_, said)
    assert case.push() == 0
    assert case.result()["server"]["sent"] == TASKS
    require_that_it_completes(case)


@pytest.mark.parametrize("said", [Said(500), Said(502, PAGE), Said(cut=True)])
def test_an_import_that_was_done_although_its_answer_was_lost(case: Case, said: Said) -> None:
    def trouble(asked: Asked) -> Said | None:
        if is_import(asked) and not case.fake.tasks:
            case.fake.answer(asked)
            return said
        return None

    case.fake.trouble = trouble
    assert case.push() == 0
    assert sum(map(is_import, case.double.asked)) == 1
    require_that_it_completes(case)


def test_a_server_that_dawdles_is_waited_for(case: Case) -> None:
    def dawdle(asked: Asked) -> None:
        time.sleep(0.2)

    case.fake.trouble = dawdle
    assert case.push() == 0
    require_that_it_completes(case)
    case.answer_all()
    case.fake.trouble = dawdle
    assert case.pull() == 0
    assert case.result()["answered"] == TASKS


def impatient(access: Access) -> Client:
    return Client(access, timeout=0.3, tries=2, sleep=lambda _: None)


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (is_list, WorkError, r"no answer within 0\.3 s"),
        (is_made, UnsureError, "no answer in time, so nobody can tell whether it was done"),
    ],
)
def test_push_to_a_server_that_never_answers(case: Case, request_: Any, error: Any, words: str) -> None:
    """The command's own patience is a minute and five tries: a test has less."""
    case.fake.trouble = always(request_, Said(slow=True))
    access, skeleton = Access(case.double.url, LEGACY), Skeleton.load("coco17")
    with pytest.raises(error, match=words):
        send(access, case.project, "ab" * 32, skeleton, connect=impatient)
    case.fake.trouble = no_trouble
    require_that_it_completes(case)


@pytest.mark.parametrize(("said", "words", "remedy"), REFUSALS, ids=["413", "429", "500"])
def test_pull_is_refused(case: Case, said: Said, words: str, remedy: str) -> None:
    assert case.push() == 0
    case.answer_all()
    case.fake.trouble = always(is_list, said)
    case.said.readouterr()
    assert case.pull() == 1
    complaint = case.complaint()
    assert words in complaint
    assert remedy in complaint
    require_that_all_is_pulled(case)


def require_that_all_is_pulled(case: Case) -> None:
    case.fake.trouble = no_trouble
    case.said.readouterr()
    assert case.pull() == 0
    found = case.result()
    assert (found["answered"], found["notices"], found["open"]) == (TASKS, 0, 0)
    assert len(case.journal()) == len({line["task"] for line in case.journal()}) == TASKS
    assert case.pull() == 0
    assert case.result()["new"] == 0


@pytest.mark.parametrize("said", [Said(429, {}, AT_ONCE), Said(500, {}, AT_ONCE), Said(504, PAGE, AT_ONCE)])
def test_pull_gets_over_what_passes(case: Case, said: Said) -> None:
    assert case.push() == 0
    case.answer_all()
    case.fake.trouble = once(is_list, said)
    require_that_all_is_pulled(case)


def test_a_pull_that_fails_keeps_what_was_pulled_before(case: Case) -> None:
    assert case.push() == 0
    case.fake.annotate(case.fake.tasks[0], case.fake.tasks[0]["predictions"][0]["result"])
    case.said.readouterr()
    assert case.pull() == 0
    digest, before = case.result()["digest"], case.journal()
    for task in case.fake.tasks[1:]:
        case.fake.annotate(task, task["predictions"][0]["result"])
    case.fake.trouble = always(is_list, Said(500, {}, AT_ONCE))
    assert case.pull() == 1
    assert case.journal() == before
    assert json.loads((case.folder / "answers" / "manifest.json").read_text())["digest"] == digest
    require_that_all_is_pulled(case)


def test_pull_from_a_server_that_never_answers(case: Case) -> None:
    assert case.push() == 0
    case.answer_all()
    case.fake.trouble = always(is_list, Said(slow=True))
    tasks = set(read_task_map(case.review.taskmap))
    with pytest.raises(WorkError, match=r"no answer within 0\.3 s"):
        fetch(impatient(Access(case.double.url, LEGACY)), 7, Journal.read(case.review.journal), tasks)
    require_that_all_is_pulled(case)
