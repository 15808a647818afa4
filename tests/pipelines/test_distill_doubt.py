"""A student's own doubt, with a teacher that judges people whom nobody checked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autolabel.calibrator import Calibrator
from autolabel.errors import CheckpointError, ConfigError, SkeletonError
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Origin, Visibility
from autolabel.prediction_record import Predicted
from autolabel.skeleton import Skeleton
from model.checkpoint import load_model, save_model
from model.heads import QualityHead
from model.quality import load_quality, quality_digest, save_quality
from model.tensor_files import read_tensors
from model.vitpose import build_vitpose
from pipelines.distill import distill
from pipelines.distill_doubt import CALIBRATOR, TAUGHT, Doubt, Judge, judged_people, refit_doubt, require_judge
from pipelines.predict import predict
from tests.doubles import Recorder

COCO = Skeleton.load("coco17")


def network(folder: Path, like: Path, seed: int, skeleton: Skeleton = COCO) -> Path:
    torch.manual_seed(seed)
    return save_model(build_vitpose(load_model(like).config, skeleton), folder)


def quality(weights: Path, out: Path) -> Path:
    model = load_model(weights)
    torch.manual_seed(5)
    return save_quality(QualityHead(model.config.width, model.skeleton.num_keypoints), out, model)


@pytest.fixture
def student(tiny_weights: Path, tmp_path: Path) -> Path:
    return network(tmp_path / "student", tiny_weights, 1)


@pytest.fixture
def doubt(drawn_case: Any, tiny_weights: Path, tmp_path: Path) -> Doubt:
    """Two images are checked; the tiny network teaches."""
    given = {"checked": str(drawn_case.folder / "calibration"), "taught": 6}
    return Doubt(**given, teacher_quality=str(quality(tiny_weights, tmp_path / "teacher.safetensors")))


@pytest.fixture
def judge(drawn_case: Any, tiny_weights: Path) -> Judge:
    return Judge(str(tiny_weights), [Manifest.open(drawn_case.folder / name) for name in ("pool", "calibration")])


def test_student_and_teacher_label_people_whom_nobody_checked(
    doubt: Doubt, judge: Judge, student: Path, drawn_case: Any
) -> None:
    found = judged_people(doubt, student=student, judge=judge)
    assert found is not None
    checked = {sample.id for sample in Manifest.open(drawn_case.folder / "calibration")}
    for manifest in (found.own, found.its):
        assert manifest.counts["poses"] == 6
        assert not checked & {sample.id for sample in manifest}
    models = [how.model if (how := Predicted.read(one.path)) else "" for one in (found.own, found.its)]
    assert models[0] != models[1]
    assert found.own.poses(0).id.tolist() == found.its.poses(0).id.tolist()


def test_what_was_labelled_is_not_labelled_again(doubt: Doubt, judge: Judge, student: Path, tiny_weights: Path) -> None:
    judged_people(doubt, student=student, judge=judge)
    folders = [student / TAUGHT / name for name in ("people", "student", "teacher")]
    commits = [(folder / "manifest.json").stat().st_mtime_ns for folder in folders]
    (folders[2] / "manifest.json").unlink()  # as if the last one had been killed
    told = Recorder()
    judged_people(doubt, student=student, judge=judge, progress=told)
    assert [(folder / "manifest.json").stat().st_mtime_ns for folder in folders[:2]] == commits[:2]
    assert (folders[2] / "manifest.json").is_file()
    before = [Manifest.open(folder).digest for folder in folders]
    network(student, tiny_weights, 2)
    judged_people(doubt, student=student, judge=judge)
    after = [Manifest.open(folder).digest for folder in folders]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True], "another student"
    more = judged_people(doubt.model_copy(update={"taught": 7}), student=student, judge=judge)
    assert more is not None
    assert more.its.counts["poses"] == 7


def test_nobody_to_judge_is_told(doubt: Doubt, judge: Judge, student: Path) -> None:
    told = Recorder()
    only = Judge(judge.weights, judge.people[1:])
    assert judged_people(doubt, student=student, judge=only, progress=told) is None
    assert any("nobody to judge" in note for note in told.notes)


def test_a_quality_head_that_cannot_teach_is_refused(
    doubt: Doubt, judge: Judge, student: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    require_judge(doubt, judge, COCO, "x.toml")
    require_judge(doubt.model_copy(update={"teacher_quality": "", "quality": False}), judge, COCO, "x.toml")
    with pytest.raises(ConfigError, match=r"x\.toml: doubt: teacher_quality is given"):
        require_judge(doubt.model_copy(update={"quality": False}), judge, COCO, "x.toml")
    other = quality(student, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other\.safetensors: was trained for network"):
        require_judge(doubt.model_copy(update={"teacher_quality": str(other)}), judge, COCO, "x.toml")
    with pytest.raises(SkeletonError, match=r"teacher\.safetensors: judges poses of 'coco17'"):
        require_judge(doubt, judge, Skeleton.load("crowdpose14"), "x.toml")


def test_paths_lie_beside_the_file(tmp_path: Path) -> None:
    beside = Doubt(checked="c", teacher_quality="q.safetensors").beside(tmp_path / "distill.toml")
    assert (beside.checked, beside.teacher_quality) == (str(tmp_path / "c"), str(tmp_path / "q.safetensors"))
    assert not Doubt(checked="c").beside(tmp_path / "distill.toml").teacher_quality
    with pytest.raises(ConfigError, match="taught"):
        Doubt.parse({"checked": "c", "taught": 0}, subject="x")


def test_it_is_refused_before_anything_is_distilled(drawn_case: Any, tiny_weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "distill.toml"
    file.write_text(
        f'teacher = "{tiny_weights}"\n[[data]]\nmanifest = "{drawn_case.folder / "labelled"}"\n'
        f'[doubt]\nchecked = "{drawn_case.folder / "calibration"}"\nteacher_quality = "nowhere.safetensors"\n'
    )
    with pytest.raises(CheckpointError, match=str(tmp_path / "nowhere.safetensors")):
        distill(config=file, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_students_head_and_calibrator_learn_from_its_teacher(
    doubt: Doubt, judge: Judge, student: Path, drawn_case: Any, tmp_path: Path
) -> None:
    checked = with_every_other_moved(predict(drawn_case.truth.path, weights=student, out=tmp_path / "said").manifest)
    people = Judge(judge.weights, [Manifest.open(drawn_case.folder / "labelled")])
    doubt = doubt.model_copy(update={"checked": str(checked.path), "taught": 3})
    refitted = refit_doubt(doubt, student=student, judge=people, quality_steps=20)
    head = refitted.calibrator.head
    assert head is not None
    assert read_tensors(head, "")[1]["taught"] == "3"
    digest = quality_digest(load_quality(head, load_model(student)))
    assert Calibrator.read(student / CALIBRATOR).predicted.quality == digest


def with_every_other_moved(predicted: Manifest) -> Manifest:
    """What was predicted as checked poses, of which every other one was far off."""
    poses = [sample.poses for sample in predicted]
    odd = np.split(np.arange(sum(map(len, poses))) % 2, np.cumsum([len(own) for own in poses])[:-1])
    samples = [
        sample.with_poses(
            sample.poses.replace(
                xy=sample.poses.xy + 200 * moved[:, None, None],
                visibility=np.where(moved[:, None], Visibility.VISIBLE, sample.poses.visibility),
                origin=np.full(sample.poses.origin.shape, Origin.HUMAN),
            )
        )
        for sample, moved in zip(predicted, odd, strict=True)
    ]
    return write_manifest(predicted.path.parent / "checked", samples, COCO, predicted.roots, stage="test")
