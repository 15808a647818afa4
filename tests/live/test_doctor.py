"""``doctor`` on the real server: sound with both kinds of tokens, and every fault told without touching the project."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from autolabel.errors import InputError
from autolabel.labelstudio.access import VARIABLE, Access, save_token, write_settings
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.golden import PATHS, golden_samples, picture
from autolabel.manifest import write_manifest
from autolabel.project import read_project
from autolabel.skeleton import Skeleton
from pipelines.cli import main
from pipelines.doctor import DoctorResult, Outcome, doctor
from pipelines.init import init
from pipelines.push import push
from tests.live.labelstudio_client import Server
from tests.live.personal_token import newcomer

pytestmark = [pytest.mark.live, pytest.mark.slow]

SMALL = {"name": "small", "keypoints": ["left_ear", "right_ear", "tail ü"], "edges": [[0, 2]]}


@pytest.fixture
def project(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that reaches the server, with nothing there yet."""
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "small.json").write_text(json.dumps(SMALL))
    (tmp_path / "images").mkdir()
    init(tmp_path / "p", images=tmp_path / "images", skeleton=tmp_path / "small.json")
    write_settings(tmp_path / "p", url=server.url)
    save_token(tmp_path / "p", server.token)
    return tmp_path / "p"


def push_some(project: Path) -> int:
    """Push a few tasks; gives the server's number of the project."""
    root = project.parent / "images"
    for i, path in enumerate(PATHS):
        (root / path).parent.mkdir(exist_ok=True)
        Image.fromarray(picture(i)).save(root / path)
    skeleton = Skeleton.from_dict(SMALL)
    samples = golden_samples(skeleton, every_deed=False)
    push(write_manifest(project.parent / "m", samples, skeleton, {"images": root}, stage="test").path, project=project)
    return read_project(project).labelstudio.project


def outcomes(result: DoctorResult) -> dict[str, Outcome]:
    return {check.name: check.outcome for check in result.checks}


def projects_of(server: Server) -> set[int]:
    return {found["id"] for found in server.json("GET", "/api/projects/?page_size=1000")["results"]}


def test_a_server_in_order(server: Server, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a personal access token, which knows no shortcuts."""
    before = projects_of(server)
    number = push_some(project)
    save_token(project, newcomer(server).new_token())
    with pytest.raises(SystemExit) as left:
        main(["doctor", "--project", str(project), "--json"])
    assert left.value.code == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["sound"]
    assert {check["outcome"] for check in found["checks"].values()} == {"ok"}
    assert found["checks"]["token"]["detail"].startswith("personal")
    assert projects_of(server) == {*before, number}
    Client(Access(server.url, server.token)).delete_project(number)


def test_faults_are_told(server: Server, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number = push_some(project)
    labelstudio = Client(Access(server.url, server.token))
    form = labelstudio.project(number).form
    labelstudio.update_project(
        number, label_config=form.replace("tail ü", "tail"), model_version="", show_collab_predictions=False
    )
    for crop in (project / "labelstudio" / "crops").iterdir():
        crop.write_bytes(b"another picture")
    with pytest.raises(SystemExit) as left:
        main(["doctor", "--project", str(project), "--json"])
    assert left.value.code == 1
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert not found["sound"]
    failed = {name for name, check in found["checks"].items() if check["outcome"] == "failed"}
    assert failed == {"form", "pre-labels", "images"}
    assert found["checks"]["golden poses, 3 keypoints"]["outcome"] == "ok", "one failure stops no other check"
    labelstudio.delete_project(number)


def test_a_project_that_is_gone_and_a_delivery_that_shows_nothing_are_told(
    server: Server, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = push_some(project)
    Client(Access(server.url, server.token)).delete_project(number)
    write_settings(project, delivery="local-files", prefix="no/such/place")
    with pytest.raises(SystemExit) as left:
        main(["doctor", "--project", str(project)])
    assert left.value.code == 1
    table = capsys.readouterr().out
    failed = {line.split("  ")[0] for line in table.splitlines() if " failed " in line}
    assert failed >= {"project", "images", "delivery", "golden poses, 3 keypoints"}
    assert "may delete a project" not in failed
    assert "NOT SOUND" in table


def test_before_the_first_push_the_policy_of_the_project_is_tried(server: Server, project: Path) -> None:
    """Nothing is there yet that could be looked at, and what would be sent is told all the same."""
    before = projects_of(server)
    write_settings(project, delivery="url-prefix", prefix="s3://bucket/folder")
    result = doctor(project=project)
    assert result.sound, result.table()
    found = outcomes(result)
    assert found["project"] == found["images"] == Outcome.NOTE
    assert found["delivery"] == Outcome.NOTE, "nobody can tell from here what a bucket holds"
    assert projects_of(server) == before, "the scratch projects are gone"


def test_local_files_leave_nothing_behind(server: Server, project: Path, tmp_path: Path) -> None:
    """A folder below the document root holds a link to the crops; these are the project's own again afterwards."""
    place, link = tmp_path / "own", server.files / "local files of doctor" / "crops"
    shutil.copytree(project, place)
    client, crops = Client(Access(server.url, server.token)), place / "labelstudio" / "crops"
    crops.mkdir(parents=True, exist_ok=True)
    link.parent.mkdir(parents=True)
    link.symlink_to(crops)
    try:
        write_settings(
            place, delivery="local-files", prefix=link.parent.name, project=client.create_project("doctor's")
        )
        number = read_project(place).labelstudio.project
        client.local_storage(number, link)
        result = doctor(project=place)
        assert result.sound, result.table()
        assert outcomes(result)["delivery"] == Outcome.OK
        assert not list(crops.iterdir())
        client.delete_project(number)
    finally:
        shutil.rmtree(link.parent)


def test_a_project_without_a_server(project: Path) -> None:
    write_settings(project, url="")
    with pytest.raises(InputError, match="review-server"):
        doctor(project=project)
