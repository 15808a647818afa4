"""Kinds of error and keypoints, of networks whose errors were made on purpose."""

from autolabel.report.page import Table
from autolabel.report.yardstick import Yardstick, read_yardstick
from autolabel.report.yardstick_tables import corrected, errors, keypoints
from tests.autolabel.report.yardsticks import mirrored, standing_samples, yardstick
from tests.standing import COCO


def mirrors() -> Yardstick:
    """Of a network that mirrors two of eight people, and one that mirrors nobody."""
    by_round = [(0, mirrored({0, 1})), (3, mirrored(set()))]
    return read_yardstick("held-out test", "w", standing_samples(), by_round, COCO)


def row(table: Table, name: str) -> dict[str, str]:
    cells = next(cells for cells in table.rows if cells[0] == name)
    return dict(zip(table.columns, (cell.replace("\u202f", " ") for cell in cells), strict=True))


def test_errors_are_told_by_kind_before_and_after() -> None:
    bars, table = errors(mirrors())
    told = {label: dict(zip((name for name, _ in bars.kinds), counts, strict=True)) for label, counts in bars.rows}
    assert told["Round 0"]["inversion"] > 0 and told["Round 0"]["swap"] == 0
    assert told["Round 3"] == {"good": 8 * 17, "jitter": 0, "inversion": 0, "swap": 0, "miss": 0}
    good = row(table, "good")
    assert good["round 3"] == "100.0 %" and good["change"].startswith("+")
    assert row(table, "inversion")["change"].startswith("-")


def test_one_network_has_no_change() -> None:
    bars, table = errors(yardstick({0}))
    assert table.columns == ("Kind", "round 0") and len(bars.rows) == 1
    assert keypoints(yardstick({0}), {}, 0).columns == (
        *("Keypoint", "people", "gross, round 0", "median error, round 0", "PCK@0.1, round 0"),
    )


def test_keypoints_are_told_with_what_people_did() -> None:
    table = keypoints(mirrors(), {"left_wrist": 5}, 40)
    wrist, nose = row(table, "left wrist"), row(table, "nose")
    assert len(table.rows) == 17
    assert (wrist["gross, round 0"], wrist["gross, round 3"]) == ("25.0 %", "0.0 %")
    assert (wrist["corrected by people"], nose["corrected by people"]) == ("5 of 40", "0 of 40")
    assert nose["gross, round 0"] == "0.0 %", "the nose is its own mirror image"
    assert wrist["median error, round 3"] == "0.0 px"


def test_where_nothing_is_measured_the_corrections_are_told() -> None:
    table = corrected({"left_wrist": 5, "nose": 0}, 40)
    assert [tuple(cell.replace("\u202f", " ") for cell in cells) for cells in table.rows] == [
        ("left wrist", "5", "12.5 %"),
        ("nose", "0", "0.0 %"),
    ]
