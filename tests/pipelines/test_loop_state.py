"""What a loop may learn from and calibrate on, whose turn it is, and what its steps have cost."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import read_task_map
from autolabel.manifest import Manifest
from autolabel.merge import CORRECTIONS, read_corrections, write_corrections
from autolabel.progress import SILENT
from autolabel.project import Project
from pipelines.loop_state import (
    FILLED,
    Loop,
    last_pulled,
    open_tasks,
    read_seconds,
    settle_seconds,
    taught,
    to_calibrate_on,
    to_develop_on,
    to_gate_by,
    to_learn_from,
    undecided,
)
from pipelines.pull import pull
from pipelines.push import push
from pipelines.simulated_reviewer import SimulatedReviewer
from pipelines.subset import with_poses
from tests.pipelines.plants import whole

KINDS = ["review", "review", "calibration", "audit", "random", "review"]


def loop_of(review_case: Any, **corpus: str) -> Loop:
    project = Project.model_validate({"name": "p", "corpus": {"images": "images", **corpus}})
    return Loop(review_case.project, project, None, None, SILENT)


@pytest.fixture
def pushed(review_case: Any) -> Path:
    """Every pose of the case has a task of another kind."""
    entries = [{"pose": f"pose-{i}", "kind": kind} for i, kind in enumerate(KINDS)]
    push(review_case.route(*entries), project=review_case.project)
    return review_case.project


def answered(review_case: Any, states: list[str]) -> Manifest:
    return review_case.write("pulled", review_case.truth.replace(attributes=[{"state": s} for s in states]))


def test_what_measures_and_what_is_undecided_is_not_learnt_from(review_case: Any, pushed: Path) -> None:
    loop = loop_of(review_case)
    pulled = answered(review_case, ["reviewed"] * 6)
    assert to_learn_from(loop, pulled) == ["pose-0", "pose-1", "pose-5"]
    assert to_calibrate_on(loop, pulled) == ["pose-2", "pose-4"]
    pulled = answered(review_case, ["rejected", "reviewed", "expert", "reviewed", "rejected", "expert"])
    assert to_learn_from(loop, pulled) == ["pose-1"], "on nobody, or nobody knows"
    assert to_calibrate_on(loop, pulled) == ["pose-4"], "a rejected pose is a bad one"


def test_every_portion_serves_one_purpose(review_case: Any) -> None:
    kinds = ("review", "development", "gate", "calibration", "keypoint", "random")
    entries = [{"pose": f"pose-{i}", "kind": kind} for i, kind in enumerate(kinds)]
    decoy = {"pose": "pose-0", "kind": "blind", "blind": True}
    push(review_case.route(*entries, decoy), project=review_case.project)
    loop, pulled = loop_of(review_case), answered(review_case, ["reviewed"] * 6)
    assert to_learn_from(loop, pulled) == ["pose-0"]
    assert to_develop_on(loop, pulled) == ["pose-1"]
    assert to_gate_by(loop, pulled) == ["pose-2"]
    assert to_calibrate_on(loop, pulled) == ["pose-3", "pose-5"]


def test_what_a_network_taught_itself_calibrates_and_chooses_nothing(review_case: Any) -> None:
    entries = [{"pose": f"pose-{i}", "kind": "development" if i < 3 else "calibration"} for i in range(6)]
    push(review_case.route(*entries), project=review_case.project)
    loop, pulled = loop_of(review_case), answered(review_case, ["reviewed"] * 6)
    lesson = loop.round(1) / FILLED / "accepted" / "poses"
    with_poses(pulled, ["pose-1", "pose-4"], out=lesson, stage="select")
    assert taught(loop.folder) == {"pose-1", "pose-4"}
    assert to_develop_on(loop, pulled) == ["pose-0", "pose-2"]
    assert to_calibrate_on(loop, pulled) == ["pose-3", "pose-5"]


def test_what_resembles_an_audit_is_held_until_it_is_spent(review_case: Any, pushed: Path) -> None:
    routing = review_case.project / "audit" / "routing"
    routing.mkdir(parents=True)
    (routing / "held.txt").write_text("pose-0\npose-5\n")
    loop, pulled = loop_of(review_case), answered(review_case, ["reviewed"] * 6)
    assert to_learn_from(loop, pulled) == ["pose-1"]
    (routing / "audit-spent.json").write_text("{}")
    assert to_learn_from(loop, pulled) == ["pose-0", "pose-1", "pose-5"]


def test_an_audit_waits_for_all_that_it_is_judged_by(review_case: Any) -> None:
    """One audited pose sent to an expert, a blind task that was left empty, an image that has no task."""
    audit = [{"pose": f"pose-{i}", "kind": "audit"} for i in (0, 1)]
    blind = [{"pose": f"pose-{i}", "kind": "blind", "blind": True} for i in (0, 1)]
    routing = review_case.route(
        *audit,
        *blind,
        {"pose": "pose-2", "kind": "keypoint"},
        whole(0),
        whole(2),
        {"pose": "pose-3"},
        {"pose": "pose-3", "kind": "blind", "blind": True},
    )
    (review_case.folder / "images" / "2.png").unlink()
    push(routing, project=review_case.project)
    SimulatedReviewer(review_case.write("truth", review_case.truth), seed=0).review(review_case.project)
    folder = ReviewFolder.of(review_case.project)
    keys = {(r.kind, r.pose): r.task for r in read_task_map(folder.taskmap).values()}
    (file,) = folder.exports.glob("*.json")
    exported = {task["data"]["task_key"]: task for task in json.loads(file.read_text())}
    item = {"id": "v", "type": "choices", "from_name": "verdict", "to_name": "image"}
    unsure = {**item, "value": {"choices": ["needs expert"]}}
    exported[keys["audit", "pose-1"]]["annotations"][0]["result"].append(unsure)
    exported[keys["blind", "pose-0"]]["annotations"][0]["result"] = []
    del exported[keys["review", "pose-3"]]
    del exported[keys["blind", "pose-3"]]  # a decoy: nothing is judged by it
    file.write_text(json.dumps(list(exported.values())))
    pulled = pull(project=review_case.project, out=review_case.folder / "pulled").manifest
    unanswered, unshown = undecided(review_case.project, routing, pulled)
    assert sorted(unanswered) == ["pose pose-0", "pose pose-1"]
    assert unshown == ["image 2.png"]
    # What another task's answer left of an audited pose is no answer to the audit's.
    file = pulled.path / CORRECTIONS
    given = read_corrections(file, pulled.skeleton.num_keypoints)
    write_corrections(file, [replace(c, task="another") if c.pose == "pose-0" else c for c in given])
    assert sorted(undecided(review_case.project, routing, pulled)[0]) == ["pose pose-0", "pose pose-0", "pose pose-1"]


def test_images_of_the_calibration_and_test_manifests_are_not_learnt_from(review_case: Any, pushed: Path) -> None:
    for name, kept in (("calibration", 0), ("test", 2)):
        manifest = review_case.write(name, review_case.truth)
        samples = [sample for i, sample in enumerate(manifest) if i == kept]
        from autolabel.manifest import Existing, write_manifest

        write_manifest(
            manifest.path, samples, manifest.skeleton, manifest.roots, stage="test", existing=Existing.OVERWRITE
        )
    pulled = answered(review_case, ["reviewed"] * 6)
    assert to_learn_from(loop_of(review_case, calibration="../calibration"), pulled) == ["pose-5"]
    assert to_learn_from(loop_of(review_case, test="../test"), pulled) == ["pose-0", "pose-1"]


def test_open_tasks_are_counted_from_the_exports(review_case: Any, pushed: Path) -> None:
    assert open_tasks(review_case.folder / "elsewhere") == (0, 0)
    assert open_tasks(pushed) == (6, 6)
    SimulatedReviewer(review_case.write("truth", review_case.truth), seed=0).review(pushed)
    (file,) = (pushed / "labelstudio" / "exports").glob("*.json")
    exported = json.loads(file.read_text())
    file.write_text(json.dumps(exported[:4]))
    assert open_tasks(pushed) == (2, 6)
    exported[0]["annotations"][0]["was_cancelled"] = True
    file.write_text(json.dumps(exported[:4]))
    assert open_tasks(pushed) == (3, 6), "skipped is not answered"
    assert not (pushed / "labelstudio" / "journal.jsonl").exists(), "looking changes nothing"


def test_the_newest_answers(tmp_path: Path) -> None:
    assert last_pulled(tmp_path) is None
    for name in ("rounds/01", "rounds/10", "rounds/02", "audit"):
        folder = tmp_path / name / "pulled"
        folder.mkdir(parents=True)
        (folder / CORRECTIONS).write_text("")
        if name != "audit":
            (folder / "manifest.json").write_text("{}")
    assert last_pulled(tmp_path) == tmp_path / "rounds/10/pulled", "the audit's are not complete"
    (tmp_path / "audit/pulled/manifest.json").write_text("{}")
    assert last_pulled(tmp_path) == tmp_path / "audit/pulled"


def test_time_adds_up_over_runs_and_failures(review_case: Any, tmp_path: Path) -> None:
    loop = loop_of(review_case)
    assert read_seconds(tmp_path / "01") == {}
    with loop.timed(tmp_path / "01", "train"):
        pass
    first = read_seconds(tmp_path / "01")["train"]
    with pytest.raises(ZeroDivisionError), loop.timed(tmp_path / "01", "train"):
        _ = 1 / 0
    with loop.timed(tmp_path / "01", "score"):
        pass
    spent = read_seconds(tmp_path / "01")
    assert spent["train"] > first > 0
    assert set(spent) == {"train", "score"}


KILLED = """
import os, signal, sys
from pathlib import Path
from autolabel.progress import SILENT
from autolabel.project import Project
from pipelines.loop_state import Loop

project = Path(sys.argv[1])
loop = Loop(project, Project.model_validate({"name": "p", "corpus": {"images": "i"}}), None, None, SILENT)
here = loop.round(1)
with loop.timed(here, "predict"):
    pass
with loop.timed(here, "predict"):
    (here / "predicted").mkdir()
    part = here / "predicted" / "poses-00000.parquet"
    part.touch()
    written = (here / "seconds.json").stat().st_mtime + 100  # as if it had taken so long
    os.utime(part, (written, written))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_time_of_a_step_that_was_killed_in_a_cold_start_counts_too(review_case: Any, tmp_path: Path) -> None:
    cold = tmp_path / "rounds" / "00" / "cold"
    cold.mkdir(parents=True)
    (cold / "seconds.json").write_text('{"under way": "review"}')
    written = (cold / "seconds.json").stat().st_mtime + 60
    (cold / "tasks").touch()
    os.utime(cold / "tasks", (written, written))
    (cold / "vanished").symlink_to(tmp_path / "nowhere")
    os.utime(cold / "vanished", (1, 1), follow_symlinks=False)
    settle_seconds(tmp_path)
    assert read_seconds(cold) == {"review": pytest.approx(60, abs=0.01)}


def test_time_of_a_killed_step_counts_until_its_last_file(review_case: Any, tmp_path: Path) -> None:
    here = tmp_path / "rounds" / "01"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment)
    assert killed.returncode == -signal.SIGKILL
    before = read_seconds(here)["predict"]
    for _ in range(2):  # what is settled is settled once
        settle_seconds(tmp_path)
        assert read_seconds(here) == {"predict": pytest.approx(before + 100, abs=0.01)}


def test_a_step_that_is_under_way_has_no_time_yet(review_case: Any, tmp_path: Path) -> None:
    settle_seconds(tmp_path)
    with loop_of(review_case).timed(tmp_path / "audit", "review"):
        assert read_seconds(tmp_path / "audit") == {}
    assert set(read_seconds(tmp_path / "audit")) == {"review"}


def test_the_network_of_a_round_is_the_last_that_was_trained(review_case: Any) -> None:
    given = Project.model_validate({"name": "p", "corpus": {"images": "i"}, "network": {"weights": "org/model"}})
    loop = Loop(review_case.project, given, None, None, SILENT)
    assert loop.network(3) == (0, "org/model")
    (review_case.project / "org" / "model").mkdir(parents=True)
    assert loop.network(3) == (0, str(review_case.project / "org/model")), "a folder before a hub id"
    for n in (1, 2):
        (loop.round(n) / "model").mkdir(parents=True)
    (loop.round(1) / "model" / "done.json").write_text("{}")
    assert loop.network(3) == (1, str(loop.round(1) / "model")), "round 2 has not finished its training"
    assert loop.network(0)[0] == 0
