"""An audit is judged once, and another one is drawn only where it was planned: what is refused, and what goes on."""

import json
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from autolabel.certificate import Certificate
from autolabel.errors import FormatError, InputError, WorkError
from autolabel.labelstudio.tasks import task_key
from autolabel.progress import SILENT, Task
from autolabel.route import Order
from pipelines.audit_chain import chain, claim
from pipelines.certify import certify
from pipelines.push import push
from pipelines.route import route
from pipelines.route_draws import Asked
from tests.pipelines.audited import AUDITED, Audit, correction
from tests.pipelines.test_route import IMAGES, doubts, write

PROMISE: dict[str, Any] = {"max_bad": 0.1, "confidence": 0.9, "budget": 120, "attempts": 3}


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A scored manifest, and answers by which all its poses are right, or none is."""
    write(tmp_path, doubts())
    for name, state in (("right", "reviewed"), ("wrong", "rejected")):
        (tmp_path / name).mkdir()
        write(tmp_path / name, doubts(), attributes={i: {"state": state} for i in range(2 * IMAGES)})
    return tmp_path


def draw(case: Path, name: str, after: str = "", **changes: Any) -> dict[str, Any]:
    given = {**PROMISE, **({"after": case / after} if after else {}), **changes}
    return route(case / "scored", out=case / name, **given).record


def judge(case: Path, name: str, answers: str) -> Certificate:
    out = case / f"{name}.json"
    return certify(case / name, audit=case / answers / "scored", out=out, overwrite=True)


def audited(case: Path, name: str) -> list[str]:
    return (case / name / "audit.txt").read_text().split()


def ledger(case: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (case / "scored.audits.jsonl").read_text().splitlines()]


def test_the_same_draw_in_a_second_folder_is_not_judged_again(case: Path) -> None:
    assert draw(case, "first")["digest"] == draw(case, "copy")["digest"]
    assert not judge(case, "first", "wrong").issued
    with pytest.raises(InputError, match=r"judged before, with other answers\. The verdict stands.*--after"):
        judge(case, "copy", "right")
    assert not (case / "copy" / "audit-spent.json").exists()
    assert not judge(case, "copy", "wrong").issued, "the same answers give the same certificate"
    assert len(ledger(case)) == 1


def test_another_draw_that_was_not_planned_is_not_judged(case: Path) -> None:
    draw(case, "first")
    draw(case, "other", seed=1)
    assert not judge(case, "first", "wrong").issued
    with pytest.raises(InputError, match=r"another audit of .*scored was judged and failed.*The verdict stands"):
        judge(case, "other", "right")


@pytest.mark.parametrize("answers", ["right", "wrong"])
def test_a_judged_manifest_is_not_routed_again(case: Path, answers: str) -> None:
    first = draw(case, "first")
    judge(case, "first", answers)
    with pytest.raises(InputError, match=r"another audit of .*scored was judged"):
        draw(case, "again", seed=5)
    assert not (case / "again").exists()
    assert draw(case, "first") == first, "what stands is read again"
    shutil.rmtree(case / "first")
    with pytest.raises(InputError, match=r"another audit of .*scored was judged"):
        draw(case, "first", seed=5)
    draw(case, "review", audit=False)


def test_planned_audits_follow_one_another_and_each_draws_anew(case: Path) -> None:
    for name, after in (("first", ""), ("second", "first"), ("third", "second")):
        draw(case, name, after)
        judge(case, name, "wrong" if name != "third" else "right")
    drawn = [set(audited(case, name)) for name in ("first", "second", "third")]
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0], "one seed, three draws"
    links = chain(case / "third")
    assert [link.folder for link in links] == [case / name for name in ("third", "second", "first")]
    assert [line["routing"] for line in ledger(case)] == [link.digest for link in reversed(links)]
    assert [(line["issued"], line["attempt"], line["attempts"]) for line in ledger(case)] == [
        (False, 1, 3),
        (False, 2, 3),
        (True, 3, 3),
    ]
    assert [line["after"] for line in ledger(case)] == ["", links[2].digest, links[1].digest]
    assert not judge(case, "first", "wrong").issued, "each can be judged again with the same answers"
    assert judge(case, "third", "right").issued
    assert len(ledger(case)) == 3


def test_a_failed_audit_has_one_successor(case: Path) -> None:
    draw(case, "first")
    judge(case, "first", "wrong")
    second = draw(case, "second", "first")
    assert json.loads((case / "first" / "audit-next.json").read_text()) == {"routing": second["digest"]}
    with pytest.raises(InputError, match="another audit was drawn after this one already"):
        draw(case, "choice", "first", seed=1)
    assert not (case / "choice" / "routing.json").exists()
    with pytest.raises(InputError, match="drawn after one that failed, and is the only one"):
        draw(case, "second", "first", seed=1, overwrite=True)
    assert draw(case, "second", "first") == second
    assert judge(case, "second", "right").issued
    with pytest.raises(InputError, match="was judged and passed"):
        draw(case, "choice", "first", seed=1)


def lose(case: Path) -> None:
    shutil.rmtree(case / "first")


def forget(case: Path) -> None:
    (case / "first" / "audit-next.json").unlink()


def name_another(case: Path) -> None:
    (case / "first" / "audit-next.json").write_text('{"routing": "another"}')


def exchange(case: Path) -> None:
    file = case / "first" / "routing.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"digest": "another"}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose, "holds no routing, but one that was drawn after it was here"),
        (forget, "its failed audit is not followed by"),
        (name_another, "its failed audit is not followed by"),
        (exchange, "is not the routing after which"),
    ],
)
def test_an_audit_that_its_predecessor_does_not_name_is_not_judged(case: Path, damage: Any, message: str) -> None:
    draw(case, "first")
    judge(case, "first", "wrong")
    draw(case, "second", "first")
    damage(case)
    with pytest.raises(InputError, match=message):
        judge(case, "second", "right")
    with pytest.raises(InputError, match=message):
        chain(case / "second")


def test_a_project_may_be_moved_as_a_whole(case: Path) -> None:
    draw(case, "first")
    judge(case, "first", "wrong")
    draw(case, "second", "first")
    moved = case.rename(case.with_name("moved"))
    assert judge(moved, "second", "right").issued


def test_a_claim_is_made_once(tmp_path: Path) -> None:
    claim(tmp_path, "a")
    claim(tmp_path, "a")
    with pytest.raises(InputError, match="another audit was drawn after this one already"):
        claim(tmp_path, "b")
    (tmp_path / "audit-next.json").write_text("{}")
    with pytest.raises(FormatError, match="routing: is missing"):
        claim(tmp_path, "b")


def asked(**changes: Any) -> Asked:
    plain = Asked(9, True, 0.0, {}, Order.DOUBT, 0, 0, 0, 0, 0.1, 7)
    return Asked(**{**plain.__dict__, **changes})


def test_the_draw_of_a_later_audit_depends_on_what_it_follows() -> None:
    def values(**changes: Any) -> int:
        return int(asked(**changes).rng("audit").integers(2**60))

    assert values() == 461_149_537_558_192_082, "that of a first audit has always been this one"
    assert values() == values(attempt=1)
    others = [values(attempt=2, after="x"), values(attempt=2, after="y"), values(attempt=3, after="x")]
    assert len({values(), *others}) == 4
    assert others[0] == values(attempt=2, after="x")


def test_a_pushed_audit_is_not_drawn_again(review_case: Any, case: Path) -> None:
    folder = review_case.route()
    push(folder, project=review_case.project)
    assert json.loads((folder / "pushed.json").read_text()) == {"routing": "ab" * 32}
    draw(case, "first")
    shutil.copy(folder / "pushed.json", case / "first")
    before = audited(case, "first")
    with pytest.raises(InputError, match="the tasks of this audit were pushed"):
        draw(case, "first", seed=3, overwrite=True)
    assert audited(case, "first") == before
    draw(case, "review", audit=False)
    shutil.copy(folder / "pushed.json", case / "review")
    draw(case, "review", audit=False, seed=3, overwrite=True)


def test_a_push_is_noted_before_its_first_task(review_case: Any) -> None:
    folder = review_case.route()
    tasks = review_case.project / "labelstudio" / "tasks"
    tasks.mkdir(parents=True)
    (folder / "pushed.json").mkdir()  # cannot be written
    with pytest.raises(WorkError, match=r"pushed\.json: cannot be written"):
        push(folder, project=review_case.project)
    assert list(tasks.iterdir()) == []


class Told:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def task(self, label: str, total: int | None = None, unit: str = "it") -> AbstractContextManager[Task]:
        return SILENT.task(label, total, unit)

    def note(self, message: str) -> None:
        self.lines.append(message)


def test_where_nothing_can_be_noted_beside_the_manifest_the_verdict_is_written_all_the_same(tmp_path: Path) -> None:
    audit = Audit.make(tmp_path)
    audit.route()
    (tmp_path / "model.audits.jsonl").mkdir()  # cannot be appended to
    told = Told()
    made = certify(audit.routing, audit=audit.answer(), out=tmp_path / "c.json", progress=told)
    assert made.issued
    assert (tmp_path / "c.json").is_file()
    assert any("could not be noted beside" in line for line in told.lines)


def test_an_audit_of_nothing_stands_in_nobodys_way(case: Path) -> None:
    draw(case, "first", budget=1)
    assert audited(case, "first") == []
    assert not judge(case, "first", "right").issued
    assert not (case / "scored.audits.jsonl").exists()
    assert draw(case, "second")["counts"]["audit"] > 0


def test_a_damaged_ledger_is_refused(tmp_path: Path) -> None:
    audit = Audit.make(tmp_path)
    audit.route()
    (tmp_path / "model.audits.jsonl").write_text('{"routing": 3}\n')
    with pytest.raises(FormatError, match=r"model\.audits\.jsonl: line 1\.routing: is"):
        audit.certify(audit.answer())
    assert not (audit.routing / "audit-spent.json").exists()


def test_the_answer_to_another_task_is_none_to_the_audits(tmp_path: Path) -> None:
    audit = Audit.make(tmp_path)
    audit.route()
    shown = audit.model.take([3])
    other = correction(shown, shown, task_key("an earlier routing", "pose03", "review"))
    with pytest.raises(InputError, match=f"1 of {AUDITED} audited poses have no answer, such as pose03"):
        audit.certify(audit.check(corrections=[other]))
    own = audit.said(3, bad=False)
    outside = correction(audit.model.take([50]), audit.model.take([50]), "of no matter")
    assert audit.certify(audit.check(corrections=[own, outside])).issued
