"""A loop that is killed, wherever it is, goes on and ends with the same dataset."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# Imports everything once and forks from there: a child that dies costs no import. Kills it as soon as each of the named
# files exists, and at moments drawn from the seed; then lets one child finish.
SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
from random import Random
import matplotlib.figure, pyarrow.parquet, scipy.stats, sklearn.linear_model, torch
import model.predict, model.train
from autolabel.manifest import Manifest
from pipelines import loop
from pipelines.simulated_reviewer import SimulatedReviewer

torch.set_num_threads(1)

def child(project):
    pid = os.fork()
    if pid == 0:
        truth = Manifest.open(project.parent / "pool-truth")
        loop.run(project, reviewer=SimulatedReviewer(truth, seed=0), truth=truth)
        os._exit(0)
    return pid

def finish(project):
    assert os.waitpid(child(project), 0)[1] == 0, "the loop failed"
    return Manifest.open(project / "dataset").digest

def kill_when(project, due):
    pid = child(project)
    while not due():
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True

whole, killed, files, seed = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(), int(sys.argv[4])
start = time.monotonic()
expected = finish(whole)
length, random, kills = time.monotonic() - start, Random(seed), 0
for file in files:
    kills += kill_when(killed, (killed / file).exists)
    moment = time.monotonic() + random.uniform(0, length / len(files))
    kills += kill_when(killed, lambda: time.monotonic() > moment)
print(json.dumps({"kills": kills, "expected": expected, "digest": finish(killed)}))
"""

FILES = (
    "rounds/00/model/state.pt",
    "rounds/00/model/model.safetensors",
    "rounds/00/predicted/samples-00000.parquet",
    "rounds/00/scored/manifest.json",
    "rounds/01/routing/queue.jsonl",
    "labelstudio/taskmap.jsonl",
    "labelstudio/journal.jsonl",
    "rounds/01/pulled/manifest.json",
    "rounds/01/training/run.json",
    "rounds/01/model/done.json",
    "rounds/01/test/manifest.json",
    "rounds/01/gate.json",
    "rounds/01/merged/poses-00000.parquet",
    "rounds/01/round.json",
    "audit/routing/routing.json",
    "audit/closed.json",
    "certificate.json",
    "dataset/manifest.json",
)


@pytest.mark.parametrize("seed", [0])
def test_a_killed_loop_ends_with_the_same_dataset(drawn_case: Any, seed: int) -> None:
    rounds = {"count": 1, "gate_share": 0.4}
    projects = [drawn_case.project(f"{name}-{seed}", rounds=rounds) for name in ("whole", "killed")]
    command = [sys.executable, "-c", SCRIPT, *map(str, projects), " ".join(FILES), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["kills"] >= len(FILES)
    assert outcome["digest"] == outcome["expected"]
    whole, killed = ((project / "certificate.json").read_text() for project in projects)
    assert killed == whole
