"""Setting up the project on the server, and what people may have done to it."""

import re
from pathlib import Path

import pytest

from autolabel.errors import InputError, WorkError
from autolabel.labelstudio.access import write_settings
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.form import labelling_form
from autolabel.labelstudio.remote_project import TAB, make_project, set_up, show_predictions, title_of
from autolabel.labelstudio.tasks import MODEL_VERSION
from autolabel.project import read_project
from autolabel.skeleton import Skeleton
from tests.doubles import Recorder, Stopped
from tests.memory_server import MemoryServer

FORM = labelling_form(Skeleton.load("coco17"))
LOOKS = re.sub('background="#[^"]*"', 'background="#00ff00"', FORM)
OTHER = labelling_form(Skeleton.load("lsp14"))


@pytest.fixture
def server() -> MemoryServer:
    made = MemoryServer()
    assert made.create_project("test") == 1
    return made


@pytest.fixture
def folder(tmp_path: Path) -> ReviewFolder:
    return ReviewFolder(tmp_path)


def settings(tmp_path: Path) -> Path:
    (tmp_path / "autolabel.toml").write_text('name = "mice"\n[corpus]\nimages = "images"\n')
    return tmp_path


@pytest.mark.parametrize("end", ["before", "after"])
def test_a_kill_while_the_project_is_made_leaves_no_second_one(tmp_path: Path, end: str) -> None:
    """Between its making and the writing of its number, too."""
    project, server = settings(tmp_path), MemoryServer()

    def kill(name: str, before: bool) -> None:
        if name == "create_project" and before is (end == "before"):
            raise Stopped

    server.hook = kill
    with pytest.raises(Stopped):
        make_project(server, project)
    server.hook = lambda name, before: None
    made = make_project(server, project)
    assert list(server.settings) == [made]
    assert read_project(project).labelstudio.project == made


def test_an_empty_project_of_somebody_else_is_not_taken(tmp_path: Path) -> None:
    project, server = settings(tmp_path), MemoryServer()
    theirs = server.create_project("mice")
    first = make_project(server, project)
    write_settings(project, project=0)
    second = make_project(server, project)
    assert len({theirs, first, second}) == 3, "without a sign that we were killed each is a new one"


@pytest.mark.parametrize("used", ["form", "tasks"])
def test_after_a_kill_a_project_that_is_in_use_is_not_taken(tmp_path: Path, used: str) -> None:
    project, server = settings(tmp_path), MemoryServer()
    theirs = server.create_project("mice", FORM if used == "form" else "")
    if used == "tasks":
        server.import_tasks(theirs, [{"data": {}}])

    def kill(name: str, before: bool) -> None:
        if name == "create_project":
            raise Stopped

    server.hook = kill
    with pytest.raises(Stopped):
        make_project(server, project)
    server.hook = lambda name, before: None
    assert make_project(server, project) != theirs


@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_a_version_that_the_server_does_not_know_yet_is_waited_for(server: MemoryServer, times: int) -> None:
    server.import_tasks(1, [{"data": {}}])
    waited: list[float] = []

    def refuse(name: str, before: bool) -> None:
        if name == "update_project" and server.calls.count(name) <= times:
            raise WorkError("project 1: the server refuses it (400): Model version doesn't exist")

    server.hook = refuse
    if times < 3:
        show_predictions(server, 1, waited.append)
        assert server.project(1).model_version == MODEL_VERSION
        assert waited == [0.5, 2.0][:times]
    else:
        with pytest.raises(WorkError, match="Model version"):
            show_predictions(server, 1, waited.append)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("mouse", "mouse"),
        ("m", "m (autolabel)"),
        ("", "(autolabel)"),
        ("x" * 80, "x" * 50),
        (" ab ", "ab  (autolabel)"),
    ],
)
def test_a_title_that_the_server_takes(name: str, title: str) -> None:
    assert title_of(name) == title
    assert 3 <= len(title) <= 50


def test_a_new_project_is_set_up_once(server: MemoryServer, folder: ReviewFolder) -> None:
    set_up(server, 1, folder, form=FORM, annotators=2)
    project = server.project(1)
    assert (project.form, project.sampling, project.annotators) == (FORM, "Sequential sampling", 2)
    tab = server.tabs[1, TAB]
    assert tab["ordering"] == ["-tasks:data.priority"]
    assert [item["value"] for item in tab["filters"]["items"]] == [2]
    server.calls.clear()
    set_up(server, 1, folder, form=FORM, annotators=2)
    assert set(server.calls) == {"project", "views"}


def test_what_people_did_to_the_tab_stays(server: MemoryServer, folder: ReviewFolder) -> None:
    set_up(server, 1, folder, form=FORM)
    server.tabs[1, TAB] = {"theirs": True}
    set_up(server, 1, folder, form=FORM)
    assert server.tabs[1, TAB] == {"theirs": True}
    set_up(server, 1, folder, form=FORM, annotators=3)
    assert server.tabs[1, TAB]["filters"]["items"][0]["value"] == 3


def test_predictions_that_are_not_shown_are_shown_again(server: MemoryServer, folder: ReviewFolder) -> None:
    set_up(server, 1, folder, form=FORM)
    show_predictions(server, 1)
    assert server.project(1).model_version == "", "the server refuses a version that it does not know"
    server.import_tasks(1, [{"data": {"task_key": "a"}}])
    server.update_project(1, model_version="", show_collab_predictions=False)
    set_up(server, 1, folder, form=FORM)
    show_predictions(server, 1)
    project = server.project(1)
    assert (project.model_version, project.shows_predictions) == (MODEL_VERSION, True)


def test_our_new_form_takes_the_place_of_our_old_one(server: MemoryServer, folder: ReviewFolder) -> None:
    set_up(server, 1, folder, form=LOOKS)
    set_up(server, 1, folder, form=FORM)
    assert server.project(1).form == FORM


def test_a_form_of_ours_that_somebody_put_there_by_hand_is_ours(server: MemoryServer, folder: ReviewFolder) -> None:
    server.update_project(1, label_config=FORM.strip())
    set_up(server, 1, folder, form=FORM)
    set_up(server, 1, folder, form=LOOKS)
    assert server.project(1).form == LOOKS


def test_looks_that_were_edited_by_hand_stay(server: MemoryServer, folder: ReviewFolder) -> None:
    set_up(server, 1, folder, form=FORM)
    server.update_project(1, label_config=LOOKS)
    progress = Recorder()
    set_up(server, 1, folder, form=FORM, progress=progress)
    assert server.project(1).form == LOOKS
    assert [note for note in progress.notes if "in its looks only" in note]


@pytest.mark.parametrize("form", [OTHER, FORM.replace('value="nose"', 'value="snout"'), "<View><Text/></View>"])
def test_a_form_that_asks_something_else_is_an_error(server: MemoryServer, folder: ReviewFolder, form: str) -> None:
    set_up(server, 1, folder, form=FORM)
    server.update_project(1, label_config=form)
    with pytest.raises(InputError, match=r"/projects/1/settings.*edited by hand: .*form\.xml"):
        set_up(server, 1, folder, form=FORM)
    assert server.project(1).form == form


def test_a_project_that_is_not_there(server: MemoryServer, folder: ReviewFolder) -> None:
    with pytest.raises(InputError, match="no such project"):
        set_up(server, 9, folder, form=FORM)
