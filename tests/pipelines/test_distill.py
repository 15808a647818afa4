"""Distilling from a file: mistakes are named before anything is written, a stopped run goes on, doubt is refitted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autolabel.calibrator import Calibrator
from autolabel.errors import CheckpointError, ConfigError, ExistsError, InputError, SkeletonError
from autolabel.manifest import Manifest, write_manifest
from autolabel.project import to_toml
from autolabel.run import RECORD
from model.checkpoint import load_model, model_digest
from model.slicing import evenly_spaced
from pipelines.distill import distill
from pipelines.distill_stages import BODY, CACHE, TOKEN
from pipelines.map_ import map_
from pipelines.predict import predict
from pipelines.train import train_network
from tests.doubles import Recorder, Stopped
from tests.pipelines.job import run_in_processes

STUDENT = {"width": 16, "depth": 1, "heads": 2}
TRAINING = {"steps": 4, "batch_size": 4, "warmup_steps": 1, "precision": "fp32", "device": "cpu", "save_every": 2}


@pytest.fixture(scope="session")
def teacher(drawn_case: Any) -> Path:
    """A network of 32 channels and three blocks, with a presence head."""
    network = {"input_size": [64, 48], "patch_size": 8, "width": 32, "depth": 3, "heads": 2, "deconv_channels": 16}
    labelled = [(Manifest.open(drawn_case.folder / "labelled"), 1.0)]
    training = {**TRAINING, "augmentation": {"truncation": 0.3}}
    out = drawn_case.folder / "teacher"
    return train_network(labelled, out=out, network={**network, "presence": True}, training=training).checkpoint


def write(folder: Path, drawn_case: Any, teacher: Path, **tables: Any) -> Path:
    content = {
        "teacher": str(teacher),
        "data": [{"manifest": str(drawn_case.folder / "labelled")}],
        "unlabelled": [{"manifest": str(drawn_case.folder / "test")}],
        "model": STUDENT,
        "training": TRAINING,
        **tables,
    }
    file = folder / "distill.toml"
    file.write_text(to_toml({name: value for name, value in content.items() if value is not None}))
    return file


def test_a_student_is_distilled_as_the_file_says(drawn_case: Any, teacher: Path, tmp_path: Path) -> None:
    told = Recorder()
    result = distill(config=write(tmp_path, drawn_case, teacher), out=tmp_path / "out", progress=told)
    student, its_teacher = load_model(result.checkpoint), load_model(teacher)
    assert (student.config.width, student.config.depth) == (16, 1)
    for name in ("input_size", "patch_size", "decoder", "deconv_channels", "presence", "codec", "patch_padding"):
        assert getattr(student.config, name) == getattr(its_teacher.config, name), name
    assert result.metrics["step"] == 4
    assert {"label_loss", "teacher_loss", "agreement"} <= set(result.metrics)
    assert result.summary()["checkpoint"] == tmp_path / "out"
    assert {"crops.png", "curves.png", "metrics.jsonl"} <= {file.name for file in (tmp_path / "out").iterdir()}
    assert not (tmp_path / "out" / "state.pt").exists()
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert record["inputs"]["teacher"] == model_digest(teacher)
    assert set(record["inputs"]) == {"teacher", "data 0", "unlabelled 0"}
    assert any("begins with the teacher's blocks 0" in note for note in told.notes)
    before = model_digest(result.checkpoint)
    assert distill(config=tmp_path / "distill.toml", out=tmp_path / "out", resume=True).metrics == result.metrics
    assert model_digest(result.checkpoint) == before


class StoppedAfter(Recorder):
    """Ends the work after so many steps of all stages together; every one is a task of its own of the same name."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    def advance(self, n: int = 1, **numbers: float) -> None:
        self._left -= n
        if self._left <= 0:
            raise Stopped


STAGES = {"knowledge": {"steps": 3}, "head": {"steps": 3}, "distillation": {"feature_weight": 1e-3}}


@pytest.mark.parametrize(
    ("tables", "stopped"),
    [
        ({}, 1),  # before the first state was saved
        ({}, 3),
        ({"distillation": {"views": 2}}, 1),
        ({"distillation": {"views": 2}}, 3),
        (STAGES, 2),  # in the token's three steps
        (STAGES, 4),  # in the student's four, before a state
        (STAGES, 6),
        (STAGES, 9),  # in the head's three
    ],
)
def test_a_run_that_stopped_goes_on(
    drawn_case: Any, teacher: Path, tmp_path: Path, tables: dict[str, Any], stopped: int
) -> None:
    file = write(tmp_path, drawn_case, teacher, **tables)
    distill(config=file, out=tmp_path / "whole")
    with pytest.raises(Stopped):
        distill(config=file, out=tmp_path / "stopped", progress=StoppedAfter(stopped))
    torch.rand(stopped)  # what other work in this process has drawn has no say
    distill(config=file, out=tmp_path / "stopped")
    assert model_digest(tmp_path / "stopped") == model_digest(tmp_path / "whole")
    assert not (tmp_path / "stopped" / CACHE).exists(), "what only a stopped run needs is gone"
    assert not list((tmp_path / "stopped").rglob("state.pt"))


def test_a_token_is_tuned_frozen_and_given(drawn_case: Any, teacher: Path, tmp_path: Path) -> None:
    file = write(tmp_path, drawn_case, teacher, knowledge={"steps": 3, "learning_rate": 0.1}, head={"steps": 2})
    with pytest.raises(Stopped):
        distill(config=file, out=tmp_path / "out", progress=StoppedAfter(5))
    tuned, own = load_model(tmp_path / "out" / TOKEN), load_model(teacher).state_dict()
    student = load_model(distill(config=file, out=tmp_path / "out").checkpoint)
    assert tuned.knowledge is not None and student.knowledge is not None
    assert torch.equal(student.knowledge, tuned.knowledge[:, :, evenly_spaced(32, 16)])
    assert all(torch.equal(tensor, own[name]) for name, tensor in tuned.state_dict().items() if name != "knowledge")
    assert not (tmp_path / "out" / TOKEN / "model.safetensors").exists(), "a whole teacher, for one vector"


def test_the_head_is_taught_anew_and_the_encoder_stays(drawn_case: Any, teacher: Path, tmp_path: Path) -> None:
    file = write(tmp_path, drawn_case, teacher, head={"steps": 3})
    student = load_model(distill(config=file, out=tmp_path / "out").checkpoint).state_dict()
    before = load_model(tmp_path / "out" / BODY).state_dict()
    changed = {name.split(".")[0] for name, tensor in student.items() if not torch.equal(tensor, before[name])}
    assert changed == {"keypoint_heads"}


def test_outputs_that_are_kept_serve_another_student(drawn_case: Any, teacher: Path, tmp_path: Path) -> None:
    file = write(tmp_path, drawn_case, teacher, distillation={"views": 1}, cache="kept")
    distill(config=file, out=tmp_path / "one")
    kept = {name: (tmp_path / "kept" / name).stat().st_mtime_ns for name in ("rows.f16", "checks.u32")}
    narrower = write(
        tmp_path, drawn_case, teacher, distillation={"views": 1}, cache="kept", model={**STUDENT, "width": 8}
    )
    distill(config=narrower, out=tmp_path / "two")
    assert kept == {name: (tmp_path / "kept" / name).stat().st_mtime_ns for name in kept}, "nothing was asked again"


def test_kept_outputs_of_another_teacher_are_refused(
    drawn_case: Any, teacher: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    tables = {"distillation": {"views": 1}, "cache": "kept", "init": ""}
    distill(config=write(tmp_path, drawn_case, teacher, **tables), out=tmp_path / "one")
    with pytest.raises(CheckpointError, match="the cached targets are of another teacher"):
        distill(config=write(tmp_path, drawn_case, tiny_weights, **tables), out=tmp_path / "two")


@pytest.mark.parametrize("start", ["", "teacher", "itself"])
def test_where_a_student_begins(drawn_case: Any, teacher: Path, tmp_path: Path, start: str) -> None:
    """One step at a rate of nothing leaves the student as it began."""
    still = {**TRAINING, "steps": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    tables = {"init": str(teacher), "model": None} if start == "itself" else {"init": start}
    file = write(tmp_path, drawn_case, teacher, training=still, **tables)
    student, own = load_model(distill(config=file, out=tmp_path / "out").checkpoint), load_model(teacher)
    if start == "itself":
        assert torch.allclose(student.pos_embed, own.pos_embed)
    else:
        part = own.pos_embed[:, :, evenly_spaced(32, 16)]
        assert torch.allclose(student.pos_embed, part) == (start == "teacher")


def test_a_student_that_is_no_faster_is_warned_of(drawn_case: Any, teacher: Path, tmp_path: Path) -> None:
    told = Recorder()
    larger = write(tmp_path, drawn_case, teacher, init="", model={"width": 48, "depth": 4, "heads": 2})
    distill(config=larger, out=tmp_path / "out", progress=told)
    assert any(note.startswith("WARNING: the student takes 0.0") and "no faster" in note for note in told.notes)


def checked_by(student: Path, drawn_case: Any, tmp_path: Path) -> Path:
    """People of whom the student is right about every other one, whatever it says: the truth is what it said."""
    said = predict(drawn_case.folder / "pool-truth", weights=str(student), out=tmp_path / "said").manifest
    true, first = [], 0
    for sample in said:
        poses = sample.poses
        wrong = (first + np.arange(len(poses))) % 2
        first += len(poses)
        xy = poses.xy + 60 * wrong[:, None, None].astype(np.float32)
        true.append(sample.with_poses(replace(poses, xy=xy, visibility=np.full_like(poses.visibility, 2))))
    return write_manifest(tmp_path / "checked", true, said.skeleton, said.roots, stage="test").path


def test_doubt_is_the_students_own(drawn_case: Any, teacher: Path, tmp_path: Path) -> None:
    file = write(tmp_path, drawn_case, teacher)
    student = distill(config=file, out=tmp_path / "out").checkpoint
    doubt = {"checked": str(checked_by(student, drawn_case, tmp_path)), "quality": False}
    write(tmp_path, drawn_case, teacher, doubt=doubt)
    result = distill(config=file, out=tmp_path / "out")
    assert result.doubt is not None
    calibrator = Calibrator.read(tmp_path / "out" / "calibrator.json")
    assert calibrator.predicted.model == model_digest(student)[:12]
    assert (tmp_path / "out" / "calibrator.json.png").is_file()
    assert "doubt" in result.summary()
    written = (tmp_path / "out" / "calibrator.json").stat().st_mtime_ns
    again = distill(config=file, out=tmp_path / "out")
    assert again.doubt is not None and again.doubt.calibrator.calibrator == calibrator
    assert (tmp_path / "out" / "calibrator.json").stat().st_mtime_ns == written, "nothing was fitted again"


def test_doubt_is_not_fitted_on_what_was_learnt(drawn_case: Any, teacher: Path, tmp_path: Path) -> None:
    file = write(tmp_path, drawn_case, teacher, doubt={"checked": str(drawn_case.folder / "labelled")})
    with pytest.raises(InputError, match=r"4 of its 4 images are in \[\[data\]\] too"):
        distill(config=file, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_keypoints_of_other_names_are_learnt_from_labels(drawn_case: Any, teacher: Path, tmp_path: Path) -> None:
    other = map_(drawn_case.folder / "labelled", to="crowdpose14", out=tmp_path / "crowd")
    file = write(tmp_path, drawn_case, teacher, data=[{"manifest": str(other.path)}], unlabelled=None)
    with pytest.raises(SkeletonError, match=r"skeleton 'crowdpose14'.*its teacher 'coco17'.*match_names = true"):
        distill(config=file, out=tmp_path / "out")
    told = Recorder()
    write(
        tmp_path,
        drawn_case,
        teacher,
        data=[{"manifest": str(other.path)}],
        unlabelled=None,
        distillation={"match_names": True},
    )
    student = load_model(distill(config=file, out=tmp_path / "out", progress=told).checkpoint)
    assert student.skeleton.name == "crowdpose14"
    unknown = [name for name in student.skeleton.keypoints if name not in load_model(teacher).skeleton.keypoints]
    assert unknown
    assert any(f"the teacher has no such keypoint: {', '.join(unknown)}" in note for note in told.notes), told.notes


@pytest.mark.parametrize(
    ("tables", "error", "message"),
    [
        ({"teacher": "/nowhere/at/all"}, InputError, "nowhere"),
        ({"data": None, "unlabelled": None}, ConfigError, r"neither \[\[data\]\] nor \[\[unlabelled\]\]"),
        ({"data": None, "knowledge": {"steps": 1}}, ConfigError, "tuned on labels, and there are none"),
        ({"distillation": {"veiws": 1}}, ConfigError, "distillation: unknown key 'veiws'; did you mean 'views'"),
        ({"distillation": {"teacher_weight": [1.0]}}, ConfigError, "teacher_weight"),
        ({"model": {"width": 64, "depth": 1, "heads": 2}}, ConfigError, "width is 64, the teacher's 32"),
        ({"model": {**STUDENT, "input_size": [64, 64]}}, ConfigError, "of another aspect"),
        ({"model": {**STUDENT, "box_padding": 2.0}}, ConfigError, "pads boxes by 2"),
        ({"blocks": "last"}, ConfigError, "blocks"),
        ({"data": [{"manifest": "m", "dataset": "coco"}]}, ConfigError, r"data\.0: unknown key 'dataset'"),
        ({"distillation": {"teacher_weight": [0.0, 0.0]}}, ConfigError, "nothing would be learnt from the teacher"),
        ({"training": {**TRAINING, "partial": {"freeze": ["network"]}}}, ConfigError, "freezes the whole student"),
        (
            {"init": "", "model": {**STUDENT, "width": 48}, "knowledge": {"steps": 1}},
            ConfigError,
            "is 48 wide, and its teacher's token 32",
        ),
        ({"doubt": {"checked": "nowhere"}}, InputError, "nowhere"),
        ({"head": {"steps": -1}}, ConfigError, r"head\.steps"),
        ({"training": {"stpes": 1}}, ConfigError, "training: unknown key 'stpes'"),
    ],
)
def test_a_mistake_in_the_file_is_named(
    drawn_case: Any, teacher: Path, tmp_path: Path, tables: dict[str, Any], error: type[Exception], message: str
) -> None:
    where = tables.pop("teacher", teacher)
    with pytest.raises(error, match=message):
        distill(config=write(tmp_path, drawn_case, where, **tables), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_teacher_needs_overwrite(drawn_case: Any, teacher: Path, tiny_weights: Path, tmp_path: Path) -> None:
    distill(config=write(tmp_path, drawn_case, teacher), out=tmp_path / "out")
    with pytest.raises(ExistsError, match="--overwrite"):
        distill(config=write(tmp_path, drawn_case, tiny_weights, init=""), out=tmp_path / "out")


@pytest.mark.slow
def test_two_processes_share_a_step(drawn_case: Any, teacher: Path, tmp_path: Path) -> None:
    model = {**STUDENT, "decoder": "simple", "drop_path": 0.0}
    file = write(tmp_path, drawn_case, teacher, model=model, init="")
    distill(config=file, out=tmp_path / "one")
    run_in_processes("distill", file, tmp_path / "two", 2)
    one, two = (
        [json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert two == pytest.approx(one, rel=1e-5)
