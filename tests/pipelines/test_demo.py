"""The demo, whole but small: every stage is the real one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autolabel.errors import ExistsError
from autolabel.manifest import Manifest
from autolabel.project import read_project
from pipelines.demo import demo, prepare
from pipelines.demo_size import DemoSize, Size
from pipelines.train_begin import read_settings

SIZE = DemoSize(
    images=60,
    labelled=24,
    calibration=16,
    test=12,
    budget=8,
    audit=14,
    plants=2,
    blind=1,
    keypoints=2,
    whole_images=1,
    steps=12,
    finetuning_steps=4,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("demo") / "project"
    return demo(out=folder, rounds=1, seed=3, size=SIZE)


@pytest.mark.parametrize("size", Size)
def test_the_settings_of_every_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: Size) -> None:
    monkeypatch.setattr("pipelines.demo._drawn", lambda *_: None)
    prepare(tmp_path, size=size.amounts())
    project = read_project(tmp_path)
    network, training = read_settings({**project.network.custom}, project.training, str(tmp_path))
    assert (project.promise.max_bad, training.steps) == (size.amounts().max_bad, size.amounts().steps)
    assert network.presence == (size is Size.FULL)


@pytest.mark.slow
def test_it_leaves_a_finished_project(finished):
    folder = finished.loop.folder
    assert finished.loop.state == "done"
    assert [r["round"] for r in finished.rounds] == [0, 1]
    coco = json.loads((folder / "coco.json").read_text())
    assert coco["categories"][0]["keypoints"][0] == "nose"
    assert (folder / "report.html").read_text().count("data:image") >= 3
    assert (folder / "certificate.json").is_file()


@pytest.mark.slow
def test_every_pool_pose_is_in_the_dataset_and_states_where_it_stands(finished):
    folder = finished.loop.folder
    states = {name: pose.attributes["state"] for name, pose in by_id(folder / "dataset").items()}
    assert states.keys() == by_id(folder / "drawn" / "pool").keys()
    assert set(states.values()) <= {"reviewed", "rejected", "accepted", "review"}
    opened = finished.rounds[-1]["effort"]["poses_opened"]
    assert opened == SIZE.budget
    assert sum(state in ("reviewed", "rejected") for state in states.values()) >= opened


@pytest.mark.slow
def test_both_arms_start_alike_and_open_as_many_poses(finished):
    first, last = finished.rounds
    assert first["routed"] == first["random"]
    assert last["random"]["untouched"]["n"] == last["routed"]["untouched"]["n"]


@pytest.mark.slow
def test_the_same_poses_are_measured_under_each_network(finished):
    scored = by_id(finished.loop.folder / "rounds" / "01" / "scored")
    left = {n for n, pose in scored.items() if "state" not in pose.attributes}
    assert len(left) == finished.rounds[-1]["routed"]["untouched"]["n"]
    assert len(finished.same) == 2
    assert finished.same[-1] == pytest.approx(finished.rounds[-1]["routed"]["untouched"]["bad"])
    assert "same poses bad" in finished.table()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("true_bad", "said"),
    [(0.01, None), (0.05, "the promise of at most 15 % is kept"), (0.16, "the promise of at most 15 % is broken")],
)
def test_a_limit_that_the_truth_exceeds_is_told(finished, true_bad, said):
    judged = replace(finished.loop.certificate, issued=True, bound_after=0.034, max_bad=0.15)
    table = replace(finished, loop=replace(finished.loop, certificate=judged), true_bad=true_bad).table()
    assert ("more than that limit" in table) is (said is not None)
    assert said is None or said in table


@pytest.mark.slow
def test_reviewed_poses_are_nearer_to_the_truth_than_they_were_predicted(finished):
    folder = finished.loop.folder
    truth, before = by_id(folder / "drawn" / "pool-truth"), by_id(folder / "rounds" / "00" / "predicted")
    reviewed = {n: pose for n, pose in by_id(folder / "dataset").items() if pose.attributes["state"] == "reviewed"}

    def error(poses):
        return np.nanmean([np.linalg.norm(poses[name].xy - truth[name].xy, axis=-1).mean() for name in reviewed])

    assert len(reviewed) >= SIZE.budget
    assert error(reviewed) < 0.5 * error(before)


@pytest.mark.slow
def test_a_finished_demo_is_not_done_again_and_another_is_refused(finished):
    folder = finished.loop.folder
    before = {file: file.stat().st_mtime_ns for file in Path(folder, "rounds").rglob("*.safetensors")}
    again = demo(out=folder, rounds=1, seed=3, size=SIZE)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert again.rounds == finished.rounds
    with pytest.raises(ExistsError, match="other settings"):
        demo(out=folder, rounds=1, seed=4, size=SIZE)


def by_id(path):
    return {
        pose.id: pose
        for sample in Manifest.open(path)
        for pose in map(sample.poses.__getitem__, range(len(sample.poses)))
    }
