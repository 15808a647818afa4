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


COLD_FILES = (
    "rounds/00/cold/corpus/manifest.json",
    "rounds/00/cold/cold.json",
    "rounds/00/cold/routing/routing.json",
    "labelstudio/taskmap.jsonl",
    "rounds/00/cold/pulled/manifest.json",
    "rounds/00/cold/closed.json",
    "rounds/00/cold/boxed/manifest.json",
    "rounds/00/cold/people/manifest.json",
    "rounds/00/routing/routing.json",
    "rounds/00/pulled/manifest.json",
    "rounds/00/training/manifest.json",
    "rounds/00/cold/alone/manifest.json",
    "rounds/00/model/state.pt",
    "rounds/00/predicted/manifest.json",
    "rounds/00/merged/manifest.json",
    "rounds/00/round.json",
)


def killed(projects: list[Path], files: tuple[str, ...], seed: int) -> None:
    """Run one project undisturbed and the other one killed again and again: both must end the same."""
    command = [sys.executable, "-c", SCRIPT, *map(str, projects), " ".join(files), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["kills"] >= len(files)
    assert outcome["digest"] == outcome["expected"]
    one, other = ((project / "certificate.json").read_text() for project in projects)
    assert other == one


@pytest.mark.parametrize("seed", [0])
def test_a_killed_loop_ends_with_the_same_dataset(drawn_case: Any, seed: int) -> None:
    rounds = {"count": 1, "gate_share": 0.4}
    killed([drawn_case.project(f"{name}-{seed}", rounds=rounds) for name in ("whole", "killed")], FILES, seed)


def test_a_killed_cold_start_asks_about_the_same_people(drawn_case: Any) -> None:
    images = drawn_case.folder / "bare-images"
    images.mkdir()
    for sample in drawn_case.truth:
        (images / Path(sample.path).name).symlink_to(drawn_case.truth.image_path(sample))
    nothing = dict.fromkeys(("boxes", "labelled", "calibration", "test"), "")
    projects = [
        drawn_case.project(
            name, corpus={**nothing, "images": "../bare-images", "skeleton": "coco17"}, rounds={"count": 0, "first": 5}
        )
        for name in ("cold-whole", "cold-killed")
    ]
    killed(projects, COLD_FILES, 0)
    sent = [(project / "labelstudio" / "taskmap.jsonl").read_text() for project in projects]
    assert sent[0] == sent[1], "the same tasks, none twice"
