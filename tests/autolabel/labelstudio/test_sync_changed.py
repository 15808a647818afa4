"""Tasks whose content changed, that somebody answered or began to answer, or whose prediction was lost."""

import json

import pytest

from autolabel.errors import WorkError
from autolabel.labelstudio.tasks import MODEL_VERSION
from tests.doubles import Recorder, Stopped
from tests.sync_case import Case, N


def test_of_doubles_the_answered_ones_stay(case: Case) -> None:
    case.sync()
    copies = [{**task, "predictions": list(task["predictions"].values())} for task in case.server.tasks.values()]
    again = case.server.import_tasks(case.project, [copies[0], copies[1], copies[2], copies[1]])
    first = [case.number(i) for i in range(3)]
    for answered in (again[0], first[1], again[1]):
        case.server.annotate(answered, [])
    notes = Recorder()
    assert case.sync(progress=notes).doubles == 3
    assert notes.notes == ["3 tasks were on the server twice: the copies that nobody answered are deleted"]
    assert {first[0], again[2], again[3]}.isdisjoint(case.server.tasks)
    assert {again[0], first[1], again[1], first[2]} <= set(case.server.tasks)


def test_a_changed_task_is_refreshed(case: Case) -> None:
    case.sync()
    case.edit(1)
    old = list(case.server.tasks[case.number(1)]["predictions"])
    result = case.sync()
    assert (result.sent, result.changed, result.standing) == (0, 1, N - 1)
    assert not set(old) & set(case.server.tasks[case.number(1)]["predictions"])
    case.require_each_once()
    assert case.sync().standing == N


def test_a_changed_task_that_was_answered_stays(case: Case) -> None:
    case.sync()
    case.edit(5)
    case.server.annotate(case.number(5), [])
    before = json.dumps(case.server.tasks[case.number(5)])
    result = case.sync()
    assert (result.changed, result.left_answered, result.standing) == (0, 1, N - 1)
    assert json.dumps(case.server.tasks[case.number(5)]) == before


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("skipped", [False, True])
def test_a_task_that_is_answered_while_we_push_stays(case: Case, begun: bool, skipped: bool) -> None:
    """The listing says that nobody answered it; somebody does before its turn comes."""
    case.sync()
    case.edit(1)
    case.edit(2)
    number = case.number(1)
    before = json.dumps({**case.server.tasks[number], "annotations": []})

    def answer(name: str, now: bool) -> None:
        if name == "uploads" and now and begun:
            case.server.drafts.add(number)
        elif name == "uploads" and now:
            case.server.annotate(number, [], was_cancelled=skipped)

    case.server.hook = answer
    result = case.sync()
    assert (result.changed, result.left_answered, result.standing) == (1, 1, N - 2)
    assert json.dumps({**case.server.tasks[number], "annotations": []}) == before
    case.server.hook = lambda name, now: None
    case.server.drafts.clear()
    again = case.sync()
    assert (again.changed, again.left_answered) == ((1, 0) if begun else (0, 1)), "a draft that went is no answer"


@pytest.mark.parametrize("begun", [False, True])
def test_a_copy_that_is_answered_while_we_push_is_not_deleted(case: Case, begun: bool) -> None:
    case.sync()
    copies = [{**task, "predictions": list(task["predictions"].values())} for task in case.server.tasks.values()]
    again = case.server.import_tasks(case.project, copies[:2])

    def answer(name: str, now: bool) -> None:
        if name == "task_list" and not now and begun:
            case.server.drafts.add(again[0])
        elif name == "task_list" and not now:
            case.server.annotate(again[0], [])

    case.server.hook = answer
    assert case.sync().doubles == 1
    assert again[0] in case.server.tasks
    assert again[1] not in case.server.tasks


@pytest.mark.parametrize("what", ["copy", "changed"])
def test_a_number_that_means_another_task_by_now_is_left_alone(case: Case, what: str) -> None:
    """The server gives a deleted task's number to the next one that is made."""
    case.sync()
    number = case.number(1)
    if what == "copy":
        copy = {**case.server.tasks[number], "predictions": []}
        (number,) = case.server.import_tasks(case.project, [copy])
    else:
        case.edit(1)
    other = {"project": case.project, "data": {"task_key": "somebody's"}, "predictions": {}, "annotations": []}

    def swap(name: str, now: bool) -> None:
        if name == "untouched" and now:
            case.server.tasks[number] = other

    case.server.hook = swap
    case.sync()
    assert case.server.tasks[number] == {**other, "data": {"task_key": "somebody's"}}


def test_a_task_of_another_number_than_ours_is_compared(case: Case) -> None:
    """Deleted and made anew by somebody else, with other content."""
    case.sync()
    old = case.server.tasks.pop(case.number(1))
    case.server.import_tasks(case.project, [{"data": old["data"], "predictions": [{"model_version": MODEL_VERSION,
                                                                                  "result": []}]}])  # fmt: skip
    assert case.sync().changed == 1
    case.require_each_once()


@pytest.mark.parametrize("when", ["in this push", "before"])
def test_a_lost_prediction_is_sent_again(case: Case, when: str) -> None:
    lost: list[str] = []

    def lose(name: str, before: bool) -> None:
        if name == "import_tasks" and not before and not lost:
            lost.append(name)
            for task in list(case.server.tasks.values())[:2]:
                task["predictions"].clear()

    if when == "in this push":
        case.server.hook = lose
    assert case.sync().sent == N
    if when == "before":
        case.server.annotate(case.number(2), [])
        lose("import_tasks", False)
        case.server.tasks[case.number(2)]["predictions"].clear()
        result = case.sync()
        assert (result.changed, result.standing, result.left_answered) == (2, N - 2, 0)
        assert not case.server.tasks[case.number(2)]["predictions"], "an answered task is left as it is"
        del case.server.tasks[case.number(2)]
        case.sync()
    case.require_each_once()


def test_predictions_that_are_lost_each_time_are_an_error(case: Case) -> None:
    def lose(name: str, before: bool) -> None:
        if name in ("import_tasks", "add_prediction") and not before:
            case.server.tasks[case.number(0)]["predictions"].clear()

    case.server.hook = lose
    with pytest.raises(WorkError, match="shows 1 tasks without the predictions"):
        case.sync()
    case.server.hook = lambda name, before: None
    case.sync()
    case.require_each_once()


@pytest.mark.parametrize(("call", "before"), [(c, b) for c in range(9) for b in (True, False)])
def test_a_kill_in_the_middle_of_a_refresh(case: Case, call: int, before: bool) -> None:
    case.sync()
    case.edit(1)
    case.edit(6)
    case.server.calls.clear()

    def end(name: str, now: bool) -> None:
        if len(case.server.calls) == 2 + call and now == before:
            raise Stopped

    case.server.hook = end
    with pytest.raises(Stopped):
        case.sync()
    case.server.hook = lambda name, now: None
    case.sync()
    case.require_each_once()
    assert case.sync().standing == N


def test_predictions_of_others_go_with_a_change_only(case: Case) -> None:
    case.sync()
    case.server.add_prediction(case.number(0), [], "other")
    case.sync()
    assert len(case.server.tasks[case.number(0)]["predictions"]) == 2
    case.edit(0)
    case.sync()
    assert [p["model_version"] for p in case.server.tasks[case.number(0)]["predictions"].values()] == [MODEL_VERSION]
