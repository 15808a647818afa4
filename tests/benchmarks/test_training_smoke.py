"""The training benchmarks from end to end: tiny networks, a few steps, real photographs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autolabel.progress import SILENT
from benchmarks.starter import SMOKE, card, measure_starter, ship, train_starter
from benchmarks.training import DATA, SMOKE_STEPS, finished, perform, smoke
from benchmarks.training_data import Corpora
from benchmarks.training_plan import Run, plan
from benchmarks.training_report import Finished, sections
from benchmarks.training_runs import Bench

IMAGES = 8

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the photographs of {DATA}"),
]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    return Corpora(DATA, tmp_path_factory.mktemp("data"), most=IMAGES)


def chosen() -> list[Run]:
    """One run of each kind, and what they start from."""
    names = {"fashion17 plain", "base", "cut", "ours", "mae", "from mae", "attention window+shift+pool 4x4", "plus"}
    return [smoke(run) for run in plan(("6", "1", "3", "5")) if run.name in names]


def test_one_run_of_each_kind(corpora: Corpora, tmp_path: Path) -> None:
    bench, runs = Bench(corpora, tmp_path), chosen()
    rows = perform(bench, runs)
    assert [row["name"] for row in rows] == [run.name for run in runs]
    by_name = {row["name"]: row for row in rows}
    assert 0 <= by_name["base"]["lspet-val PCK@0.1"] <= 1
    assert 0 <= by_name["plus"]["openfield-val PCK@0.2"] <= 1
    assert by_name["attention window+shift+pool 4x4"]["GMACs"] > by_name["fashion17 plain"]["GMACs"]
    again = finished(bench, runs)
    assert {row["digest"] for row in again} == {row["digest"] for row in rows}
    times = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.safetensors")}
    perform(bench, runs)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.safetensors")} == times
    # Other settings: only what depends on them is done again.
    longer = [replace(run, steps=run.steps + 1) if run.name == "ours" else run for run in runs]
    assert len(finished(bench, longer)) == len(runs) - 1
    redone = perform(bench, longer[:4])[-1]
    assert (redone["name"], redone["steps"]) == ("ours", SMOKE_STEPS + 1)
    made = sections(Finished(finished(bench, longer), tmp_path / "runs"))
    assert "less than half" in made["6"]


def test_starter(corpora: Corpora, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = train_starter(corpora, tmp_path, SMOKE, mae=True, overwrite=False, progress=SILENT)
    row = measure_starter(corpora, checkpoint, SMOKE)
    assert "12 joints" in card(row, SMOKE, mae=True)
    weights = tmp_path / "weights" / "starter.safetensors"
    weights.parent.mkdir()
    assert not ship(checkpoint, {**row, "lspet-coco17-val PCK@0.1, 12 joints": 0.39}, SMOKE, weights, mae=True)
    assert not weights.exists()
    assert not ship(checkpoint, {**row, "lspet-coco17-val PCK@0.1, 12 joints": np.nan}, SMOKE, weights, mae=True)
    assert ship(checkpoint, {**row, "lspet-coco17-val PCK@0.1, 12 joints": 0.41}, SMOKE, weights, mae=True)
    assert weights.is_file()
    assert weights.with_suffix(".md").is_file()
    capsys.readouterr()
