"""The server's life with a stand-in for its program: started once, stopped by its own process, nothing lost."""

import ipaddress
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from autolabel.errors import ConfigError, InputError, WorkError
from autolabel.labelstudio.access import VARIABLE, Access, read_access
from autolabel.labelstudio.form import labelling_form
from autolabel.labelstudio.remote_project import PLAIN, TAB
from autolabel.labelstudio.server import RemoteProject
from autolabel.project import FILE, read_project
from autolabel.skeleton import Skeleton
from pipelines.cli import main
from pipelines.init import init
from pipelines.labelstudio_process import CLOSED_NETWORKS, OwnServer, start, stop
from pipelines.review_server import ReviewServerResult, review_server
from tests.pipelines import labelstudio_standin as standin


@dataclass
class Projects:
    """The projects of a server, as far as ``up`` asks for them; every client of a test sees the same."""

    made: list[RemoteProject] = field(default_factory=list)
    tabs: dict[int, list[str]] = field(default_factory=dict)
    shown: dict[int, Path] = field(default_factory=dict)
    url = "http://127.0.0.1"

    def __call__(self, access: Access) -> "Projects":
        assert len(access.token) == 40
        return self

    @property
    def titles(self) -> list[str]:
        return [project.title for project in self.made]

    def create_project(self, title: str, form: str = "") -> int:
        self.made.append(RemoteProject(len(self.made) + 1, title, form, "", "", 0, 1, False))
        return len(self.made)

    def project(self, number: int) -> RemoteProject:
        if number > len(self.made):
            raise InputError("there is no such project")
        return self.made[number - 1]

    def update_project(self, number: int, **fields: object) -> None:
        names = {
            "label_config": "form",
            "maximum_annotations": "annotators",
            "show_collab_predictions": "shows_predictions",
        }
        changes = {names.get(name, name): value for name, value in fields.items()}
        self.made[number - 1] = replace(self.made[number - 1], **changes)

    def views(self, number: int) -> dict[str, int]:
        return {title: i for i, title in enumerate(self.tabs.get(number, []))}

    def save_view(self, number: int, title: str, data: object) -> int:
        self.tabs.setdefault(number, []).append(title)
        return len(self.tabs[number])

    def local_storage(self, number: int, folder: Path) -> None:
        self.shown[number] = folder


@dataclass
class Place:
    """A project, an environment with the stand-in, and what the commands said."""

    folder: Path
    environment: Path
    projects: Projects = field(default_factory=Projects)
    notes: list[str] = field(default_factory=list)

    @property
    def server(self) -> OwnServer:
        return OwnServer.at(self.folder / "labelstudio" / "server")

    def note(self, message: str) -> None:
        self.notes.append(message)

    def do(self, action: str, **options: object) -> ReviewServerResult:
        own = {"environment": self.environment, "connect": self.projects, "progress": self}
        return review_server(action, project=self.folder, **own, **options)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return standin.make_environment(tmp_path_factory.mktemp("environment") / "env")


@pytest.fixture
def place(environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "images").mkdir()
    init(tmp_path / "mice", images=tmp_path / "images", skeleton="coco17")
    made = Place(tmp_path / "mice", environment)
    yield made
    stop(made.server)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_up_prepares_what_push_needs(place: Place) -> None:
    result = place.do("up")
    assert result.state == "running"
    settings = read_project(place.folder).labelstudio
    assert settings.url == result.url == f"http://127.0.0.1:{place.server.port()}"
    assert (settings.project, place.projects.titles) == (1, ["mice"])
    assert result.summary()["url"] == f"{result.url}/projects/1/data"
    account = place.server.read_account()
    assert read_access(place.folder) == Access(result.url, account.token)
    assert result.password.read_text().strip() == account.password
    [project] = place.projects.made
    assert project.form == labelling_form(Skeleton.load("coco17"))
    assert project.shows_predictions
    assert place.projects.tabs == {1: [PLAIN, TAB]}
    assert place.projects.shown == {1: place.server.files / "crops"}
    assert (place.server.files / "crops").resolve() == (place.folder / "labelstudio" / "crops").resolve()


def test_without_a_skeleton_the_form_waits_for_the_first_push(place: Place) -> None:
    file = place.folder / FILE
    file.write_text(re.sub(r"^skeleton = .*$", "", file.read_text(), flags=re.M))
    place.do("up")
    assert [project.form for project in place.projects.made] == [""]
    assert any("first push" in note for note in place.notes)


def test_secrets_stand_in_files_for_their_owner_alone(place: Place) -> None:
    result = place.do("up")
    account = place.server.read_account()
    assert mode(place.server.folder) == 0o700
    holders = set[str]()
    for file in place.folder.rglob("*"):
        text = file.read_text(errors="replace") if file.is_file() else ""
        if account.token in text or account.password in text:
            holders.add(file.name)
            assert mode(file) == 0o600, file
    assert holders == {"account.json", "token", "password", "label_studio.sqlite3"}
    told = [repr(result), repr(account), json.dumps(result.summary(), default=str), *place.notes]
    assert not [text for text in told if account.token in text or account.password in text]
    assert not list(place.server.files.rglob("token")), "the server shows what lies here"


def test_a_folder_that_was_there_before_is_closed(place: Place, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    try:
        place.do("up", data=data)
        assert mode(data) == 0o700
    finally:
        place.do("down", data=data)


def test_up_again_changes_nothing(place: Place) -> None:
    first = place.do("up")
    pid = place.server.process()
    assert place.do("up") == first
    assert place.server.process() == pid
    assert place.projects.titles == ["mice"]
    assert place.do("up", port=place.server.port()) == first


def test_down_and_up_again_keeps_everything(place: Place) -> None:
    first, account = place.do("up"), place.server.read_account()
    assert place.do("down").state == "stopped"
    assert place.server.process() == 0
    assert place.do("down").state == place.do("status").state == "stopped"
    assert place.do("up") == first
    assert place.server.read_account() == account
    assert place.projects.titles == ["mice"]


def test_killed_it_starts_again(place: Place) -> None:
    first = place.do("up")
    os.kill(place.server.process(), signal.SIGKILL)
    while place.server.process():
        time.sleep(0.01)
    assert place.do("status").state == "stopped"
    assert place.do("up") == first


def test_a_command_killed_while_the_server_starts_is_given_again(place: Place) -> None:
    """What it started is noted already, so it is waited for and not started twice."""
    (place.server.folder).mkdir(parents=True)
    (place.server.folder / standin.MUTE).touch()
    program = place.environment / "bin" / "label-studio"
    with pytest.raises(WorkError, match=r"does not answer .* Give the same command again"):
        start(place.server, program, seconds=0.5)
    pid = place.server.process()
    assert pid
    assert place.do("status").state == "starting"
    with pytest.raises(WorkError, match="does not answer"):
        start(place.server, program, seconds=0.2)
    assert place.server.process() == pid


def test_two_at_once_start_one(place: Place) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = (one.result(60) for one in [pool.submit(place.do, "up") for _ in range(2)])
    assert first == second
    assert first.state == "running"
    assert place.projects.titles == ["mice"]
    assert sum("starting Label Studio" in note for note in place.notes) == 1


def test_a_number_left_behind_is_never_stopped(place: Place) -> None:
    """After a crash the process's number may belong to any other program."""
    place.do("up")
    place.do("down")
    with subprocess.Popen(["sleep", "60"]) as other:
        place.server.pid_file.write_text(f"{other.pid}\n")
        assert place.do("status").state == place.do("down").state == "stopped"
        assert other.poll() is None
        assert place.do("up").state == "running"
        assert place.server.process() != other.pid
        other.kill()


@pytest.mark.parametrize("left", ["", "many\n", "-1\n", "999999999\n"])
def test_a_damaged_number_is_no_process(place: Place, left: str) -> None:
    place.server.folder.mkdir(parents=True)
    place.server.pid_file.write_text(left)
    assert place.do("status").state == place.do("down").state == "stopped"


def test_a_taken_port_is_an_error_and_that_of_the_last_time_a_note(place: Place) -> None:
    place.do("up")
    before = place.server.port()
    with pytest.raises(InputError, match=r"down"):
        place.do("up", port=before + 1)
    place.do("down")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", before))
        other.listen()
        with pytest.raises(InputError, match=r"taken .*--port"):
            place.do("up", port=before)
        assert place.do("up").state == "running"
    assert place.server.port() != before
    assert read_project(place.folder).labelstudio.url == place.server.url()
    assert any(str(before) in note and "taken" in note for note in place.notes)


def test_a_port_taken_in_between_is_noticed(place: Place) -> None:
    """Label Studio takes another one then, where nobody would find it."""
    place.server.folder.mkdir(parents=True)
    (place.server.folder / standin.MOVES).touch()
    with pytest.raises(WorkError, match="in this moment"):
        place.do("up")
    assert place.do("down").state == "stopped"


def test_what_stops_it_is_told(place: Place) -> None:
    place.server.folder.mkdir(parents=True)
    (place.server.folder / standin.FAILS).write_text("OperationalError: database or disk is full")
    with pytest.raises(WorkError, match="disk is full"):
        place.do("up")
    (place.server.folder / standin.FAILS).unlink()
    assert place.do("up").state == "running"


def test_a_server_that_cannot_be_noted_is_not_left_running(place: Place) -> None:
    place.server.pid_file.mkdir(parents=True)
    with pytest.raises(WorkError, match="cannot be started"):
        place.do("up")
    place.server.pid_file.rmdir()
    time.sleep(0.3)
    assert not place.server.answers(place.server.read_account())
    assert place.do("up").state == "running"


def test_a_project_of_another_server_is_left_alone(place: Place) -> None:
    file = place.folder / FILE
    text = file.read_text()
    text = text.replace("[labelstudio]", '[labelstudio]\nurl = "https://labels.example.com"', 1)
    file.write_text(text)
    with pytest.raises(InputError, match=r"labels\.example\.com"):
        place.do("up")
    assert file.read_text() == text
    assert not place.server.folder.exists()


def test_projects_may_share_a_server(place: Place, tmp_path: Path) -> None:
    place.do("up")
    init(tmp_path / "men", images=tmp_path / "images", skeleton="coco17")
    other = Place(tmp_path / "men", place.environment, place.projects)
    result = other.do("up", data=place.server.folder)
    assert (result.url, result.project) == (place.server.url(), 2)
    assert place.projects.titles == ["mice", "men"]
    assert read_access(other.folder) == read_access(place.folder)
    assert any("local-files" in note for note in other.notes)
    assert set(place.projects.shown) == {1}


def elsewhere(place: Place, tmp_path: Path, url: str | None = None) -> OwnServer:
    """A server in a folder of its own that the project was connected to; its settings then name ``url``."""
    server = OwnServer.at(tmp_path / "shared")
    place.do("up", data=server.folder)
    if url:
        file = place.folder / FILE
        file.write_text(re.sub(r'^url = ".*"', f'url = "{url}"', file.read_text(), flags=re.M))
    return server


def test_where_the_server_lies_is_remembered(place: Place, tmp_path: Path) -> None:
    server = elsewhere(place, tmp_path)
    try:
        status = place.do("status")
        assert (status.state, status.server, status.project) == ("running", server, 1)
        assert place.do("up") == status
        assert place.do("down").state == "stopped"
        assert not server.process(), "down without --data stops what up with --data started"
        assert not place.server.folder.exists()
    finally:
        stop(server)


def test_settings_of_another_server_are_told_and_not_taken_for_stopped(place: Place, tmp_path: Path) -> None:
    server = elsewhere(place, tmp_path, "https://labels.example.com")
    try:
        for action in ("status", "down", "up"):
            with pytest.raises(InputError, match=r"labels\.example\.com, which is no server of .*--data"):
                place.do(action)
        assert server.process()
        named = place.do("status", data=server.folder)
        assert (named.state, named.project) == ("running", 0)
        assert place.do("down", data=server.folder).state == "stopped"
    finally:
        stop(server)


def test_a_server_that_moved_to_another_port_is_still_ones_own(place: Place, tmp_path: Path) -> None:
    """Another project, or a killed command, started it anew while its old port was taken."""
    first = place.do("up")
    place.do("down")
    place.server.port_file.write_text(f"{place.server.port() + 1}\n")
    assert place.do("status").project == 1
    assert place.do("up").url != first.url
    assert read_project(place.folder).labelstudio.url == place.server.url()


@pytest.mark.parametrize("left", ["", "{", "[]", '{"data": "server"}'])
def test_a_damaged_note_is_none(place: Place, left: str) -> None:
    place.do("up")
    (place.folder / "labelstudio" / "own-server.json").write_text(left)
    assert place.do("status").state == "running"


def test_a_token_in_the_environment_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0123456789abcdef")
    place.do("up")
    assert any(VARIABLE in note for note in place.notes)
    assert not any("0123456789abcdef" in note for note in place.notes)


def test_a_project_moves_with_its_server(place: Place, tmp_path: Path) -> None:
    first = place.do("up")
    place.do("down")
    moved = Place(place.folder.rename(tmp_path / "moved"), place.environment, place.projects)
    result = moved.do("up")
    assert (result.url, result.project, result.state) == (first.url, 1, "running")
    assert (moved.server.files / "crops").resolve() == (moved.folder / "labelstudio" / "crops").resolve()
    moved.do("down")


def test_the_account_is_not_made_up_for_a_server_that_has_one(place: Place) -> None:
    place.do("up")
    place.do("down")
    place.server.account.write_text("{}")
    with pytest.raises(InputError, match="holds no account"):
        place.do("up")
    place.server.account.unlink()
    with pytest.raises(InputError, match="autolabel did not make"):
        place.do("up")


@pytest.mark.parametrize(
    ("arguments", "error", "message"), [(("upp",), InputError, "up, down, status"), (("up",), ConfigError, "init")]
)
def test_wrong_use(arguments: tuple[str], error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        review_server(*arguments, project=tmp_path)


def test_the_command(place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.folder)
    for arguments, code in ((["status", "--json"], 0), (["restart"], 2), (["down", "--project", "nowhere"], 2)):
        with pytest.raises(SystemExit) as left:
            main(["review-server", *arguments])
        assert left.value.code == code
        out, err = capsys.readouterr()
        if code == 0:
            assert json.loads(out)["state"] == "stopped"
        else:
            assert err.startswith("error: ")


@pytest.mark.parametrize(
    ("address", "closed"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("93.184.216.34", False),
        ("10.1.2.3", True),
        ("169.254.169.254", True),
        ("::ffff:169.254.169.254", True),
        ("::ffff:10.0.0.1", True),
        ("2002:a00:1::", True),
        ("64:ff9b:1::a00:1", True),
        ("fd00::1", True),
    ],
)
def test_the_server_reaches_this_machine_and_no_other_private_address(address: str, closed: bool) -> None:
    found = any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in CLOSED_NETWORKS)
    assert found is closed
