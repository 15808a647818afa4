"""The doctor's look at the user's project: every row is told, also before the first task."""

from pathlib import Path

from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.form import labelling_form
from autolabel.labelstudio.remote_project import set_up
from autolabel.skeleton import Skeleton
from pipelines.doctor_check import Outcome
from pipelines.doctor_project import project_checks
from tests.memory_server import MemoryServer

SKELETON = Skeleton.load("coco17")
ROWS = ["project", "form", "pre-labels", "queue"]


def test_no_project_yet() -> None:
    (check,) = project_checks(MemoryServer(), 0, SKELETON)
    assert (check.name, check.outcome) == ("project", Outcome.NOTE)


def test_a_project_that_was_just_set_up_is_told_in_full(tmp_path: Path) -> None:
    """As `review-server up` leaves it: no task yet."""
    server, folder = MemoryServer(), ReviewFolder.of(tmp_path)
    folder.path.mkdir()
    number = server.create_project("mice")
    set_up(server, number, folder, form=labelling_form(SKELETON), annotators=1)
    checks = project_checks(server, number, SKELETON)
    assert [check.name for check in checks] == ROWS
    assert checks[0].detail.endswith("0 tasks")
    assert {check.outcome for check in checks if check.name != "pre-labels"} == {Outcome.OK}


def test_what_the_first_push_will_put_right_is_a_note_and_a_failure_once_there_are_tasks() -> None:
    server = MemoryServer()
    number = server.create_project("mice")
    before = project_checks(server, number, SKELETON)
    assert [check.name for check in before] == ROWS
    assert {check.outcome for check in before[1:]} == {Outcome.NOTE}
    assert "the first push puts it right" in before[1].detail
    server.import_tasks(number, [{"data": {"task_key": "a"}}])
    project, form, *_ = project_checks(server, number, SKELETON)
    assert project.detail.endswith("1 task")
    assert form.outcome is Outcome.FAILED
