"""An answer's regions are what came, whenever they are looked at, and take little more memory than their text."""

import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from autolabel.labelstudio.exports import Annotation
from autolabel.labelstudio.journal import Journal
from autolabel.labelstudio.regions import Regions

POINT: dict[str, Any] = {"id": "k1", "value": {"x": 66.66666666666667, "y": 1e-9, "keypointlabels": ["Nasenspitze é"]}}


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([], id="nothing"),
        pytest.param([POINT, {**POINT, "id": "k2"}], id="regions"),
        pytest.param([5, None, "x", True, [1.5]], id="what no form of ours makes"),
        pytest.param([{"text": '"\n\\ \ud800'}], id="text that needs escapes"),
    ],
)
def test_what_came_is_what_is_read(values: list[Any]) -> None:
    regions = Regions(values)
    assert list(regions) == values
    assert len(regions) == len(values)
    assert regions[:1] == values[:1]
    assert regions == tuple(values)
    assert regions == Regions(iter(values))


@pytest.mark.parametrize("other", [[POINT, POINT], [{**POINT, "id": "k2"}], [], POINT, None, 5])
def test_other_regions_are_others(other: object) -> None:
    assert Regions([POINT]) != other


def test_what_a_reader_changes_stays_with_the_reader() -> None:
    regions = Regions([POINT])
    regions[0]["id"] = "changed"
    next(iter(regions))["value"].clear()
    assert regions == [POINT]


def test_the_order_of_a_region_s_fields_does_not_count() -> None:
    assert Regions([POINT]) == Regions([dict(reversed(POINT.items()))])


def test_what_json_cannot_tell_is_refused() -> None:
    with pytest.raises(TypeError, match="set is not JSON serializable"):
        Regions([{1}])


def test_a_journal_takes_little_more_memory_than_its_text(tmp_path: Path) -> None:
    def answer(i: int) -> Sequence[Any]:
        return [{**POINT, "id": f"k{k}", "value": {"x": i + k / 7, "y": k / 3}} for k in range(34)]

    path = tmp_path / "journal.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(200):
            time = f"2026-11-22T20:00:{i % 60:02}Z"
            entry = Annotation(f"t{i}", str(i), "ann", time, 1.0, False, answer(i))
            file.write(json.dumps(entry.to_dict()) + "\n")
    tracemalloc.start()
    try:
        journal = Journal.read(path)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(journal.entries) == 200
    assert kept < 2 * path.stat().st_size  # as Python objects: more than three times as much
