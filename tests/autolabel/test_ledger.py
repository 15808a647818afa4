"""The ledger's lines: there and back, no answer twice, and carried on without a change."""

import json
from pathlib import Path

import numpy as np
import pytest

from autolabel.errors import FormatError
from autolabel.ledger import LEDGER, Entry, carry_on, read_ledger, write_ledger
from autolabel.merge import KeypointChange
from autolabel.poses import Origin
from tests.looks import K, look, sent_pose


def entry(by: str = "ann", minute: int = 0, pose: str = "pose-0", *, annotation: str = "1", laid: bool = True) -> Entry:
    answer = look(by, {0: (53.0, 24.0)}, pose=sent_pose(pose), minute=minute)
    origin = np.full(K, Origin.MODEL, np.uint8)
    return Entry(answer.correction, annotation, "review", "r" * 64, "net", origin, laid, "2026-01-01T09:00:00+00:00")


def lines(folder: Path) -> list[str]:
    return (folder / LEDGER).read_text().splitlines()


def folder(path: Path, *entries: Entry) -> Path:
    path.mkdir()
    write_ledger(path / LEDGER, entries)
    return path


def test_a_line_comes_back_as_it_was(tmp_path: Path) -> None:
    written = entry("ünï@x.org", laid=False)
    write_ledger(tmp_path / LEDGER, [written])
    (read,) = read_ledger(tmp_path / LEDGER, K)
    assert read.to_dict() == written.to_dict()
    assert read.correction.after.same(written.correction.after)
    assert read.correction.keypoints[0] is KeypointChange.MOVED
    assert (read.laid, read.model, read.sent, read.kind) == (False, "net", written.sent, "review")
    assert read.correction.distance.tolist() == [5.0, 0.0, 0.0]
    assert json.loads(lines(tmp_path)[0])["distance"] == [5.0, 0.0, 0.0]


def test_lines_stand_in_the_order_of_time_and_no_answer_twice(tmp_path: Path) -> None:
    write_ledger(tmp_path / LEDGER, [entry(minute=9), entry(minute=2, annotation="0"), entry(minute=9)])
    assert [e.correction.when[14:16] for e in read_ledger(tmp_path / LEDGER, K)] == ["02", "09"]


def test_an_answer_whose_person_got_a_name_stands_once(tmp_path: Path) -> None:
    write_ledger(tmp_path / LEDGER, [entry("annotator-3"), entry("ann@x.org")])
    assert [e.correction.by for e in read_ledger(tmp_path / LEDGER, K)] == ["ann@x.org"]


def test_one_pose_is_read_alone(tmp_path: Path) -> None:
    write_ledger(tmp_path / LEDGER, [entry(), entry(pose="pose-00", minute=1)])
    assert [e.pose for e in read_ledger(tmp_path / LEDGER, K, "pose-0")] == ["pose-0"]
    assert read_ledger(tmp_path / LEDGER, K, "pose") == []


def test_no_ledger_tells_nothing(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / LEDGER, K) == []


def test_ledgers_are_carried_on(tmp_path: Path) -> None:
    base = folder(tmp_path / "base", entry(minute=5), entry(minute=7, annotation="2"))
    before = lines(base)
    pulled = folder(tmp_path / "pulled", entry(minute=1, annotation="0"), entry(minute=5), entry(minute=8))
    out = tmp_path / "out"
    out.mkdir()
    carry_on(out, base, pulled)
    assert lines(out)[:2] == before, "what stands stays as it is and first"
    assert [e.correction.when[14:16] for e in read_ledger(out / LEDGER, K)] == ["05", "07", "01", "08"]
    once = (out / LEDGER).stat().st_mtime_ns
    carry_on(out, base, pulled)
    assert (out / LEDGER).stat().st_mtime_ns == once, "nothing new, nothing written"
    carry_on(out, folder(tmp_path / "later", entry(minute=9, annotation="3")))
    assert len(lines(out)) == 5


def test_where_no_ledger_is_none_is_made(tmp_path: Path) -> None:
    carry_on(tmp_path, tmp_path / "base", tmp_path / "pulled")
    assert not (tmp_path / LEDGER).exists()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("laid", "yes", "laid"),
        ("origin", [1, 1], "origin"),
        ("origin", [1, 1, 9], "origin"),
        ("kind", None, "kind"),
        ("before", {}, "before"),
        ("keypoints", ["kept", "kept", "flown"], "keypoints"),
    ],
)
def test_a_damaged_line_is_named(field: str, value: object, said: str, tmp_path: Path) -> None:
    line = entry().to_dict() | {field: value}
    (tmp_path / LEDGER).write_text(json.dumps(entry().to_dict()) + "\n" + json.dumps(line) + "\n")
    with pytest.raises(FormatError, match=rf"line 2.*{said}"):
        read_ledger(tmp_path / LEDGER, K)


@pytest.mark.parametrize("field", ["laid", "origin", "task", "pose"])
def test_a_missing_field_is_named(field: str, tmp_path: Path) -> None:
    line = entry().to_dict()
    del line[field]
    (tmp_path / LEDGER).write_text(json.dumps(line) + "\n")
    with pytest.raises(FormatError, match=field):
        read_ledger(tmp_path / LEDGER, K)
