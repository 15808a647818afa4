"""The benchmark of rows: that its manifests are such as the commands take, and how growth is counted."""

from pathlib import Path

import numpy as np

from autolabel.manifest import Manifest
from benchmarks.scale_rows import JOBS, corrections, predicted, with_growth


def test_every_job_does_its_work(tmp_path: Path) -> None:
    source = predicted(tmp_path / "predicted", 300)
    corrections(tmp_path / "pulled", source)
    for job in JOBS.values():
        job(tmp_path)
    scored, merged = Manifest.open(tmp_path / "scored"), Manifest.open(tmp_path / "merged")
    assert np.isfinite(scored.poses(0).p_bad).all()
    doubt = scored.features(0)
    assert doubt is not None and np.corrcoef(doubt["peak"].mean(1), scored.poses(0).p_bad)[0, 1] < -0.5
    moved = np.abs(merged.poses(0).xy - source.poses(0).xy).max(axis=(1, 2)) > 1
    assert moved.all(), "each of the first thousand was corrected"
    assert (tmp_path / "routed").is_dir() and (tmp_path / "merged.json").stat().st_size > 100_000


def test_growth_is_told_by_row() -> None:
    rows = [
        {"job": "score", "rows": 10, "peak MiB": 100},
        {"job": "route", "rows": 10, "peak MiB": 200},
        {"job": "score", "rows": 2**20 + 10, "peak MiB": 150},
    ]
    assert [row["bytes a row more"] for row in with_growth(rows)] == [None, None, 50]
