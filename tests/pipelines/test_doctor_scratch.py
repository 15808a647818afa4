"""The doctor's scratch project: what a token may not do is told, and it is one project, deleted once."""

from collections.abc import Sequence
from typing import Any

import pytest

from autolabel.errors import InputError, WorkError
from autolabel.labelstudio.form import labelling_form
from autolabel.skeleton import Skeleton
from pipelines.doctor_check import Outcome
from pipelines.doctor_scratch import COUNTED, Scratch
from tests.memory_server import MemoryServer


class Forgetful(MemoryServer):
    """Stores answers and counts none, as a Label Studio does whose signals are off."""

    def annotate(self, task: int, result: Sequence[Any], **fields: Any) -> int:
        return 1


def refuse(call: str) -> Any:
    def hook(name: str, before: bool) -> None:
        if name == call and before:
            raise InputError("the token's user may not do that")

    return hook


def test_a_sound_server() -> None:
    server = MemoryServer()
    scratch = Scratch(server)
    checks = [scratch.make(), scratch.fill(), *scratch.answer(), scratch.empty(), scratch.list_users()]
    assert {check.outcome for check in checks} == {Outcome.OK}
    for name in ("coco17", "wholebody133"):
        number = scratch.take(Skeleton.load(name))
        assert server.settings[number]["label_config"] == labelling_form(Skeleton.load(name))
        server.import_tasks(number, [{"data": {"task_key": name}}])
    assert scratch.remove().outcome is Outcome.OK
    assert (server.calls.count("create_project"), server.calls.count("delete_project")) == (1, 1)
    assert len(server.tasks) == 1, "the tasks of the skeleton before were deleted"


def test_an_answer_that_is_not_counted_asks_for_a_restart() -> None:
    scratch = Scratch(Forgetful())
    scratch.make()
    scratch.fill()
    may, counted = scratch.answer()
    assert may.outcome is Outcome.OK
    assert (counted.name, counted.outcome) == (COUNTED, Outcome.FAILED)
    assert "restart Label Studio" in counted.detail


def test_without_a_project_nothing_else_is_tried() -> None:
    scratch = Scratch(MemoryServer(refuse("create_project")))
    with pytest.raises(InputError, match="may not"):
        scratch.make()
    for look in (scratch.fill, scratch.answer, scratch.empty, scratch.remove):
        with pytest.raises(WorkError, match="not tried"):
            look()


def test_a_project_that_may_not_be_deleted_is_named() -> None:
    scratch = Scratch(MemoryServer(refuse("delete_project")))
    scratch.make()
    check = scratch.remove()
    assert check.outcome is Outcome.FAILED
    assert "project 1 is left there" in check.detail
