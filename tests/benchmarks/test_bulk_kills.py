"""A small storm of kills, and that it finds what it looks for."""

from pathlib import Path

import pytest

from benchmarks import bulk_kills
from benchmarks.bulk_kills import Failure, storm


def test_kills_change_nothing(tmp_path: Path) -> None:
    told = storm(tmp_path, kills=4, parts=100)
    assert len(told) == 4
    assert told[-1].parts < 100, "the last kill too came before the end"
    assert any(kill.new > 0 for kill in told), "some kills hit a job at work"


def test_a_part_that_is_written_again_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished, calls = bulk_kills._finished, list[int]()

    def another(folder: Path) -> dict[str, tuple[int, int]]:
        told = finished(folder)
        if folder.name == "killed" and told:
            calls.append(1)
            name = min(told)
            (folder / "copy").write_bytes((folder / name).read_bytes())
            (folder / "copy").replace(folder / name)
        return told

    monkeypatch.setattr(bulk_kills, "_finished", another)
    with pytest.raises(Failure, match="written again"):
        storm(tmp_path, kills=6, parts=60)
    assert calls
