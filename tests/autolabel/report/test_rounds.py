import json
import math
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import FormatError, InputError
from autolabel.report.gate_table import gate_table
from autolabel.report.rounds import (
    AuditCost,
    Compared,
    Gate,
    Quality,
    read_audit,
    read_certificate,
    read_round,
    read_rounds,
)

MEASURED = {"n": 400, "bad": 0.25, "gross": 0.1, "epe": 6.5, "oks": 0.8}


def a_round(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "round": number,
        "model": "0123456789ab",
        "trained_on": 300,
        "counts": {"accepted": 10, "review": 5},
        "effort": {"poses_opened": 7, "clicks": 21},
        "routed": {"untouched": MEASURED, "test": None},
        "random": None,
        "score": None,
        "seconds": {"train": 1.5},
    } | changes


def write(folder: Path, record: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "round.json"
    file.write_text(json.dumps(record))
    return file


def test_a_round_is_read(tmp_path: Path) -> None:
    score = {"auroc_bad": 0.9, "risk_coverage": [[0.5, 0.01], [1, 0.1]], "reliability": [[0.1, 0.12, 50]]}
    read = read_round(write(tmp_path, a_round(3, random={"test": MEASURED}, score=score)))
    assert (read.number, read.opened, read.clicks, read.counts["accepted"]) == (3, 7, 21, 10)
    assert read.routed.untouched == Quality(400, 0.25, 0.1, 6.5, 0.8)
    assert read.routed.test is None
    assert read.random is not None and read.random.test == read.routed.untouched
    assert read.score is not None
    assert read.score.risk_coverage == ((0.5, 0.01), (1.0, 0.1))
    assert read.score.reliability == ((0.1, 0.12, 50),)


def test_null_is_not_known(tmp_path: Path) -> None:
    unknown = {**MEASURED, "n": 0, "bad": None, "epe": None}
    read = read_round(write(tmp_path, a_round(routed={"untouched": unknown}))).routed.untouched
    assert read is not None and read.poses == 0 and math.isnan(read.bad) and math.isnan(read.epe)


COMPARED = {"poses": 40, "oks": 0.8, "old_oks": 0.75, "fixed": 3, "broken": 1}


def test_what_a_gate_decided_is_read(tmp_path: Path) -> None:
    assert read_round(write(tmp_path, a_round())).gate is None, "rounds of before there were gates have none"
    gate = {"decision": "refused", "reason": "fell", "gate": COMPARED, "base": None}
    read = read_round(write(tmp_path, a_round(gate=gate)))
    assert read.gate == Gate("refused", "fell", Compared(40, 0.8, 0.75, 3, 1), None)
    table = gate_table([read])
    assert table is not None
    assert table.rows == (("0", "refused", "0.750", "0.800", "3", "1", "fell"),), "columns without content are left out"
    assert len(table.columns) == len(table.rows[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gate": {"decision": "refused", "reason": ""}}, r"gate\.gate: is missing"),
        ({"gate": {"reason": ""}}, r"gate\.decision: is missing"),
        ({"routed": {"test": {**MEASURED, "bad": 25}}}, r": routed\.test\.bad: is 25, expected a share"),
        ({"routed": {"test": {**MEASURED, "oks": -0.1}}}, r"oks: is -0\.1, expected a share"),
        ({"routed": {"test": {"n": 3}}}, "bad: is missing"),
        ({"effort": {"clicks": 1}}, "poses_opened: is missing"),
        ({"counts": {"accepted": "ten"}}, "accepted: is a text"),
        ({"score": {"auroc_bad": 0.5, "risk_coverage": [[1]], "reliability": []}}, r"risk_coverage\[0\]"),
        ({"score": {"auroc_bad": 0.5, "risk_coverage": [], "reliability": [[1, 2]]}}, r"reliability\[0\]"),
        ({"model": 7}, "model: is 7"),
    ],
)
def test_a_malformed_round_is_refused_with_its_place(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        read_round(write(tmp_path, a_round(**change)))
    assert str(tmp_path) in str(caught.value)


def test_rounds_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 2):
        write(tmp_path / "rounds" / str(number), a_round(number))
    (tmp_path / "rounds" / "11").mkdir()  # a round that is not finished
    assert [r.number for r in read_rounds(tmp_path)] == [2, 9, 10]


def test_a_project_without_rounds_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no round is finished yet.*loop status"):
        read_rounds(tmp_path)


def test_certificates_are_optional_but_not_damaged(tmp_path: Path) -> None:
    assert read_certificate(tmp_path) is None
    (tmp_path / "certificate.json").write_text('{"claim": "all is well"}')
    with pytest.raises(FormatError, match="missing"):
        read_certificate(tmp_path)


def test_the_cost_of_the_audit_is_read(tmp_path: Path) -> None:
    assert read_audit(tmp_path) is None
    (tmp_path / "audit").mkdir()
    record = {
        "effort": {"poses_opened": 70, "clicks": 90},
        "tasks": {"audit": 12, "review": 3},
        "seconds": {"review": 1.5},
    }
    (tmp_path / "audit" / "audit.json").write_text(json.dumps(record))
    assert read_audit(tmp_path) == AuditCost(12, 3, 70, 90, {"review": 1.5})
    (tmp_path / "audit" / "audit.json").write_text(json.dumps({**record, "tasks": {"audit": 12}}))
    with pytest.raises(FormatError, match=r"tasks\.review: is missing"):
        read_audit(tmp_path)
