"""The loop on a few drawn people: two rounds, an audit, killed and gone on with, waiting for people."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autolabel.errors import ConfigError
from autolabel.manifest import Existing, Manifest, write_manifest, write_text
from autolabel.project import to_toml
from pipelines import loop
from pipelines.drawn_corpus import draw_corpus, hide_truth
from pipelines.simulated_reviewer import SimulatedReviewer

NETWORK = {
    "input_size": [48, 32],
    "patch_size": 16,
    "width": 32,
    "depth": 1,
    "heads": 2,
    "decoder": "simple",
    "drop_path": 0.0,
}
SCRIPT = """
import sys
from autolabel.manifest import Manifest
from pipelines import loop
from pipelines.simulated_reviewer import SimulatedReviewer
truth = Manifest.open(sys.argv[1] + "/pool-truth")
loop.run(sys.argv[1], reviewer=SimulatedReviewer(truth, seed=1), truth=truth)
"""


def project(folder: Path, *, count: int = 2, budget: int = 4) -> Path:
    truth, _ = draw_corpus(folder / "drawn", images=16, seed=5)
    samples = list(truth)
    for name, chosen in (("labelled", samples[:5]), ("pool-truth", samples[5:])):
        write_manifest(folder / name, chosen, truth.skeleton, truth.roots, stage="test", existing=Existing.OVERWRITE)
    pool = [s.with_poses(hide_truth(s.poses)) for s in samples[5:]]
    write_manifest(folder / "pool", pool, truth.skeleton, truth.roots, stage="test", existing=Existing.OVERWRITE)
    settings = {
        "name": "few people",
        "corpus": {"images": "drawn/images", "boxes": "pool", "labelled": "labelled"},
        "promise": {"max_bad": 0.2, "audit": 5},
        "rounds": {"count": count, "budget": budget, "random_share": 0.25},
        "network": {"custom": NETWORK},
        "training": {"steps": 4, "batch_size": 4, "warmup_steps": 1, "precision": "fp32"},
        "finetuning": {"steps": 2},
    }
    write_text(folder / "autolabel.toml", to_toml(settings))
    return folder


def reviewer(folder: Path) -> SimulatedReviewer:
    return SimulatedReviewer(Manifest.open(folder / "pool-truth"), seed=1)


def ids(manifest: Path) -> set[str]:
    return {pose for sample in Manifest.open(manifest) for pose in sample.poses.id.tolist()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = project(tmp_path_factory.mktemp("loop"))
    result = loop.run(folder, reviewer=reviewer(folder), truth=Manifest.open(folder / "pool-truth"))
    assert (result.state, result.rounds) == ("done", 2)
    return folder


def test_every_round_reviews_trains_and_says_what_it_cost(finished: Path) -> None:
    records = [json.loads((finished / "rounds" / f"{n:02d}" / "round.json").read_text()) for n in range(3)]
    assert [r["effort"]["poses_opened"] for r in records] == [0, 4, 8]
    assert len({r["model"] for r in records}) == 3, "each round has a network of its own"
    pool = Manifest.open(finished / "pool").counts["poses"]
    assert [r["routed"]["untouched"]["n"] for r in records] == [pool, pool - 4, pool - 8]


def test_poses_drawn_to_calibrate_on_are_never_trained_on(finished: Path) -> None:
    for n in (1, 2):
        here = finished / "rounds" / f"{n:02d}"
        queues = [finished / "rounds" / f"{i:02d}" / "routing" / "queue.jsonl" for i in range(1, n + 1)]
        tasks = [json.loads(line) for queue in queues for line in queue.read_text().splitlines()]
        calibration = {task["pose"] for task in tasks if task["kind"] == "calibration"}
        assert len(calibration) == n
        assert ids(here / "training") == {task["pose"] for task in tasks} - calibration


def test_nothing_is_accepted_without_a_certificate(finished: Path) -> None:
    certificate = json.loads((finished / "certificate.json").read_text())
    dataset = Manifest.open(finished / "dataset")
    states = [a["state"] for sample in dataset for a in sample.poses.attributes]
    assert len(states) == Manifest.open(finished / "pool").counts["poses"]
    assert ("accepted" in states) == certificate["issued"]
    assert states.count("reviewed") + states.count("rejected") >= 8


def test_a_finished_loop_does_nothing_more(finished: Path) -> None:
    before = Manifest.open(finished / "dataset").digest
    files = {f: f.stat().st_mtime_ns for f in finished.rglob("*.parquet")}
    loop.run(finished, reviewer=reviewer(finished), truth=Manifest.open(finished / "pool-truth"))
    assert Manifest.open(finished / "dataset").digest == before
    changed = {f for f, time_ in files.items() if f.stat().st_mtime_ns != time_ and "pulled" not in f.parts}
    assert changed == set()
    assert loop.status(finished).state == "done"


def test_without_reviewers_it_waits_and_then_goes_on(tmp_path: Path) -> None:
    folder = project(tmp_path, count=1)
    result = loop.run(folder)
    assert (result.state, result.rounds) == ("waiting", 0)
    assert "4 tasks" in result.waits_for
    assert str(folder / "labelstudio" / "exports") in result.waits_for
    assert loop.run(folder).state == "waiting", "asking again changes nothing"
    assert loop.status(folder).state == "waiting"
    reviewer(folder).review(folder)
    again = loop.run(folder)
    assert again.rounds == 1


@pytest.mark.slow
def test_a_killed_loop_ends_with_the_same_dataset(tmp_path: Path, finished: Path) -> None:
    folder = project(tmp_path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for seconds in (6.0, 9.0):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], env=environment)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, "-c", SCRIPT, str(folder)], check=True, env=environment)
    assert ids(folder / "dataset") == ids(finished / "dataset")
    mine = json.loads((folder / "rounds" / "02" / "round.json").read_text())
    theirs = json.loads((finished / "rounds" / "02" / "round.json").read_text())
    assert mine["effort"] == theirs["effort"]
    assert mine["routed"]["untouched"] == pytest.approx(theirs["routed"]["untouched"], abs=1e-6)


def test_a_project_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="autolabel init"):
        loop.run(tmp_path)
    (tmp_path / "autolabel.toml").write_text('name = "p"\n[corpus]\nimages = "i"\n')
    with pytest.raises(ConfigError, match="nor corpus"):
        loop.run(tmp_path)
