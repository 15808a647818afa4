"""A teacher that judges people whom nobody checked, from manifests: whose word it is, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autolabel.errors import CheckpointError, InputError, SkeletonError
from autolabel.manifest import Manifest
from autolabel.skeleton import Skeleton
from model.checkpoint import load_model, save_model
from model.config import ViTPoseConfig
from model.crop import apply
from model.heads import QualityHead
from model.predict import Predictor
from model.quality import judge, save_quality
from model.tensor_files import read_tensors
from model.vitpose import build_vitpose
from pipelines.calibrate import calibrate
from pipelines.check import Checked, check
from pipelines.predict import predict
from pipelines.quality import LearnedQuality, learn_quality
from pipelines.quality_taught import QualityTeacher, judging, look_at_taught
from tests.doubles import Recorder

FAST: Any = {"precision": "fp32", "batch_size": 4, "device": "cpu"}
COCO = Skeleton.load("coco17")


def network(folder: Path, seed: int, width: int, skeleton: Skeleton = COCO) -> Path:
    torch.manual_seed(seed)
    config = ViTPoseConfig(input_size=(64, 48), patch_size=8, width=width, depth=1, heads=2, deconv_channels=16)
    return save_model(build_vitpose(config, skeleton), folder)


def quality(weights: Path) -> Path:
    model = load_model(weights)
    torch.manual_seed(5)
    head = QualityHead(model.config.width, model.skeleton.num_keypoints)
    return save_quality(head, weights.parent / f"{weights.name}.quality.safetensors", model)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A student and a wider teacher."""
    folder = tmp_path_factory.mktemp("networks")
    return network(folder / "student", 0, 16), network(folder / "teacher", 1, 32)


@pytest.fixture(scope="module")
def said(drawn_case: Any, networks: tuple[Path, Path]) -> tuple[Manifest, Manifest, Manifest]:
    """What the student says of checked people, and what student and teacher say of others."""
    folder = networks[0].parent
    asked = (("labelled", 0, "checked"), ("pool", 0, "own"), ("pool", 1, "its"))
    checked, own, its = (
        predict(drawn_case.folder / name, weights=networks[i], out=folder / out, **FAST).manifest
        for name, i, out in asked
    )
    return checked, own, its


@pytest.fixture
def teacher(networks: tuple[Path, Path], said: tuple[Manifest, Manifest, Manifest]) -> QualityTeacher:
    return QualityTeacher(networks[1], quality(networks[1]), said[1], said[2])


@pytest.fixture
def student(networks: tuple[Path, Path]) -> Predictor:
    return Predictor(load_model(networks[0]), **FAST)


def poses(manifest: Manifest) -> int:
    return manifest.counts["poses"]


def test_both_look_at_the_same_people(teacher: QualityTeacher, student: Predictor) -> None:
    """The teacher's head says of the teacher's own poses what ``predict`` says of them with that head."""
    found = look_at_taught(teacher, student, most_bytes=2**30)
    assert found is not None
    assert len(found) == poses(teacher.own) > 2
    assert (found.looks.features.shape[1], found.seen.features.shape[1]) == (16, 32)
    again = predict(
        teacher.own.path,
        weights=teacher.weights,
        out=Path(f"{teacher.its.path}-judged"),
        quality=teacher.quality,
        **FAST,
    ).manifest
    by_predict = np.concatenate([(again.features(i) or {})["quality_ks"] for i in range(again.num_parts)])
    at = apply(found.seen.to_crop, torch.from_numpy(found.places))
    whole = judge(found.teacher, found.seen.features, at, found.seen.size)
    np.testing.assert_allclose(whole.ks.numpy(), by_predict, atol=5e-3)  # features are kept in half precision
    own = np.concatenate([teacher.own.poses(i).xy for i in range(teacher.own.num_parts)])
    np.testing.assert_array_equal(found.predicted, own)
    assert not np.array_equal(found.predicted, found.places)


def test_people_whom_only_one_of_them_knows_are_left_out(
    teacher: QualityTeacher, student: Predictor, drawn_case: Any, tmp_path: Path
) -> None:
    other = predict(drawn_case.folder / "test", weights=teacher.weights, out=tmp_path / "other", **FAST).manifest
    assert look_at_taught(replace(teacher, its=other), student, most_bytes=2**30) is None


def test_only_what_fits_in_memory_is_kept(teacher: QualityTeacher, student: Predictor) -> None:
    recorder = Recorder()
    most = 2 * 2 * (16 + 32) * 8 * 6
    found = look_at_taught(teacher, student, most_bytes=most, progress=recorder)
    assert found is not None
    assert len(found) == 2
    assert recorder.notes == [f"the teacher judges 2 of {poses(teacher.own)} people, to save memory"]


def learn(checked: Manifest, truth: Checked, weights: Path, out: Path, **more: Any) -> LearnedQuality:
    return learn_quality(checked, truth, weights=weights, out=out, steps=3, folds=2, **FAST, **more)


def test_a_head_learns_from_a_teacher(
    teacher: QualityTeacher,
    networks: tuple[Path, Path],
    said: tuple[Manifest, Manifest, Manifest],
    drawn_case: Any,
    tmp_path: Path,
) -> None:
    truth = check(said[0], Manifest.open(drawn_case.folder / "labelled"))
    without, taught = (
        learn(said[0], truth, networks[0], tmp_path / name, taught=its) for name, its in (("a", None), ("b", teacher))
    )
    assert (without.taught, taught.taught) == (0, poses(teacher.own))
    assert without.digest != taught.digest
    assert without.features.keys() == taught.features.keys()
    assert (without.features["quality_bad"] != taught.features["quality_bad"]).all(), "of all folds' heads"
    about = [read_tensors(learned.path, "")[1] for learned in (without, taught)]
    assert "taught" not in about[0]
    assert about[1]["taught"] == str(taught.taught)


def test_quality_of_another_network_is_refused_and_its_file_named(
    teacher: QualityTeacher, student: Predictor, networks: tuple[Path, Path]
) -> None:
    its = quality(networks[0])
    with pytest.raises(CheckpointError, match=r"student\.quality\.safetensors: was trained for network"):
        look_at_taught(replace(teacher, quality=its), student, most_bytes=2**30)
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors"):
        look_at_taught(replace(teacher, quality=its.with_name("nowhere.safetensors")), student, most_bytes=2**30)


@pytest.mark.parametrize("whose", ["own", "its"])
def test_poses_of_another_network_are_refused(teacher: QualityTeacher, student: Predictor, whose: str) -> None:
    swapped = {"own": teacher.its} if whose == "own" else {"its": teacher.own}
    with pytest.raises(InputError, match=r"is network .*, and the poses are of"):
        look_at_taught(replace(teacher, **swapped), student, most_bytes=2**30)


def test_a_teacher_of_other_keypoints_is_refused(tmp_path: Path) -> None:
    other = network(tmp_path / "crowd", 0, 16, Skeleton.load("crowdpose14"))
    with pytest.raises(SkeletonError, match=r"judges poses of 'crowdpose14' \(14 keypoints\).*'coco17' \(17\)"):
        judging(other, quality(other), None, COCO)


def test_a_teacher_without_a_student_is_refused(teacher: QualityTeacher, drawn_case: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no network whose quality head is to learn"):
        calibrate(teacher.own.path, truth=drawn_case.folder / "pool-truth", out=tmp_path / "c.json", taught=teacher)
