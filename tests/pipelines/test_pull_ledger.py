"""What the ledger is made from: every version of every usable answer, and nothing of planted poses."""

import json
from typing import Any

import pytest

from autolabel.labelstudio.folder import ReviewFolder, append_lines
from autolabel.labelstudio.tasks import read_task_map
from autolabel.ledger import LEDGER, Entry, read_ledger
from pipelines.pull import pull
from pipelines.pull_ledger import sent_times
from tests.pipelines.plants import QUEUED
from tests.pipelines.test_pull_answers import AUDIT, BLIND, Desk, nose, place


def ledger(desk: Desk) -> list[Entry]:
    (desk.folder.exports / "1.json").write_text(json.dumps(desk.exported))
    pulled = pull(project=desk.case.project, out=desk.case.folder / "answers", overwrite=True)
    return read_ledger(pulled.manifest.path / LEDGER, 17)


def test_overruled_answers_stand_in_the_ledger_too(review_case: Any) -> None:
    desk = Desk(review_case, AUDIT, BLIND)
    desk.answer("audit", "pose-0", nose(3.0), nose(4.0))
    desk.answer("blind", "pose-0", place, minute=5)
    found = ledger(desk)
    assert [(e.kind, e.correction.by, e.laid) for e in found] == [
        ("audit", "annotator-0", True),
        ("audit", "annotator-1", True),
        ("blind", "annotator-0", False),
    ]
    assert all(e.model == "net" and e.routing == "ab" * 32 and e.correction.distance[0] > 0 for e in found)


def test_a_changed_answer_leaves_both_versions(review_case: Any) -> None:
    desk = Desk(review_case, {"pose": "pose-0"})
    desk.answer("review", "pose-0", nose(3.0), minute=1)
    first = ledger(desk)
    desk.exported.clear()
    desk.answer("review", "pose-0", nose(60.0), minute=9)
    second = ledger(desk)
    assert [e.correction.when[14:16] for e in second] == ["01", "09"]
    assert second[0].to_dict() == first[0].to_dict(), "only appended to"


def test_planted_poses_and_unusable_answers_are_left_out(review_case: Any) -> None:
    desk = Desk(review_case, QUEUED, {"pose": "pose-0"}, {"pose": "pose-1"})
    desk.answer("planted", "plant-1", nose(3.0))
    desk.answer("review", "pose-0", list.clear)
    desk.answer("review", "pose-1")
    assert [e.pose for e in ledger(desk)] == ["pose-1"]


def test_when_a_task_was_sent_is_known_where_a_server_took_it(review_case: Any) -> None:
    desk = Desk(review_case, {"pose": "pose-0"})
    (task,) = read_task_map(desk.folder.taskmap)
    assert sent_times(desk.folder) == {}
    times = ["2026-01-01T08:00:00+00:00", "2026-01-02T08:00:00+00:00"]
    lines = [{"project": 1, "task": task, "number": 1, "digest": "d", "when": when} for when in times]
    append_lines(ReviewFolder.of(review_case.project).path / "server.jsonl", lines)
    desk.answer("review", "pose-0")
    assert [e.sent for e in ledger(desk)] == times[:1]


@pytest.mark.parametrize("rule", ["latest", "consensus"])
def test_a_consensus_gets_a_line_of_its_own(review_case: Any, rule: str) -> None:
    desk = Desk(review_case, {"pose": "pose-0"})
    review_case.project.mkdir(exist_ok=True)
    (review_case.project / "autolabel.toml").write_text(
        f'name = "x"\n[corpus]\nimages = "images"\n[labelstudio]\nrule = "{rule}"\n'
    )
    desk.answer("review", "pose-0", nose(30.0), nose(30.5), nose(90.0))
    found = ledger(desk)
    made = [e for e in found if not e.annotation]
    assert len(found) - len(made) == 3
    assert len(made) == (rule == "consensus")
