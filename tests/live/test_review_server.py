"""``review-server`` with the real Label Studio: its one server is prepared, stopped, killed and started again."""

import os
import signal
import time
import urllib.error
from pathlib import Path

import pytest

from autolabel.labelstudio.access import VARIABLE, read_access
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.form import labelling_form
from autolabel.labelstudio.form_check import form_digest
from autolabel.labelstudio.remote_project import TAB
from autolabel.project import read_project
from autolabel.skeleton import Skeleton
from pipelines.init import init
from pipelines.labelstudio_environment import pinned_version
from pipelines.labelstudio_process import OwnServer
from pipelines.review_server import ReviewServerResult, review_server
from tests.live.labelstudio_client import Server
from tests.live.labelstudio_server import environment

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "images").mkdir()
    init(tmp_path / "mice", images=tmp_path / "images", skeleton="coco17")
    return tmp_path / "mice"


def do(action: str, project: Path, server: Server) -> ReviewServerResult:
    return review_server(action, project=project, data=server.data, environment=environment())


def client(project: Path) -> Client:
    access = read_access(project)
    assert access is not None
    return Client(access)


def test_up_prepares_a_project(server: Server, project: Path) -> None:
    result = do("up", project, server)
    assert (result.state, result.url) == ("running", server.url)
    labelstudio = client(project)
    assert (labelstudio.version(), labelstudio.who().email) == (pinned_version(), result.email)
    made = labelstudio.project(read_project(project).labelstudio.project)
    assert (made.id, made.title, made.shows_predictions) == (result.project, "mice", True)
    assert form_digest(made.form) == form_digest(labelling_form(Skeleton.load("coco17")))
    assert TAB in labelstudio.views(made.id)
    assert do("up", project, server) == do("status", project, server) == result
    labelstudio.delete_project(made.id)


def test_crops_are_served_as_local_files_and_secrets_are_not(server: Server, project: Path) -> None:
    (server.files / "crops").unlink(missing_ok=True)  # of another test's project
    result = do("up", project, server)
    labelstudio = client(project)
    (project / "labelstudio" / "crops" / "a.jpg").write_bytes(b"crop")
    assert labelstudio.served("/data/local-files/?d=crops/a.jpg") == b"crop"
    for place in ("../account.json", "crops/../../account.json", "crops/../token", "/etc/passwd"):
        with pytest.raises(urllib.error.HTTPError):
            server.call("GET", f"/data/local-files/?d={place}")
    labelstudio.delete_project(result.project)


def test_data_survives_a_stop_and_a_kill(server: Server, project: Path) -> None:
    first = do("up", project, server)
    own = OwnServer.at(server.data)
    numbers = client(project).import_tasks(
        first.project, [{"data": {"image": "/a.jpg", "header": "", "task_key": "k"}}]
    )
    do("down", project, server)
    assert do("status", project, server).state == "stopped"
    assert do("up", project, server) == first
    os.kill(own.process(), signal.SIGKILL)
    while own.process():
        time.sleep(0.05)
    start = time.monotonic()
    assert do("up", project, server) == first
    assert time.monotonic() - start < 60, "a restart makes no database"
    labelstudio = client(project)
    assert [(task.id, task.key) for task in labelstudio.task_list(first.project)] == [(numbers[0], "k")]
    labelstudio.delete_project(first.project)


def test_the_log_holds_no_secret(server: Server) -> None:
    own = OwnServer.at(server.data)
    account, log = own.read_account(), own.log.read_text(errors="replace")
    assert log
    assert account.token not in log
    assert account.password not in log
