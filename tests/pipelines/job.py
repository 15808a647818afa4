"""A command of ours in one or several processes, as a user starts it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_in_processes(stage: str, config: Path, out: Path, processes: int) -> list[dict[str, Any]]:
    """Run ``train`` or ``pretrain`` and give its metrics; one of the processes speaks."""
    options = ["--config", config, "--out", out, "--processes", str(processes), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", stage, *options],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert len(done.stdout.splitlines()) == 1, "one of them speaks"
    assert json.loads(done.stdout)["loss"] == records[-1]["loss"]
    return records
