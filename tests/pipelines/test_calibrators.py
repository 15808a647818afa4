"""Which calibrator judges a pose: that of the network which placed it, and no other."""

import json
from pathlib import Path

import numpy as np
import pytest

from autolabel.calibrator import Calibrator
from autolabel.errors import InputError
from autolabel.manifest import Manifest, ManifestWriter
from autolabel.poses import Poses
from autolabel.prediction_record import carry_over
from autolabel.run import file_digest
from pipelines.calibrate import calibrate
from pipelines.calibrators import Calibrators
from pipelines.cascade import cascade
from pipelines.predicted import predicted_how
from pipelines.score import evidence_of, score
from tests.doubles import Recorder
from tests.pipelines.cascaded import CascadeCase, all_poses, checked


@pytest.fixture(scope="module")
def mixed(cascade_case: CascadeCase, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    out = tmp_path_factory.mktemp("mixed") / "m"
    case = cascade_case
    return cascade(case.source.path, student=case.student, teacher=case.teacher, out=out, share=0.5).manifest


@pytest.fixture
def files(cascade_case: CascadeCase) -> list[Path]:
    return [folder / "calibrator.json" for folder in (cascade_case.student, cascade_case.teacher)]


def read(mixed: Manifest, files: list[Path], *, force: bool = False) -> Calibrators:
    return Calibrators.read(files, predicted_how(mixed), mixed.skeleton, evidence_of(mixed), force=force)


def judges(found: Calibrators, poses: Poses) -> list[str]:
    """For each pose, the network that its calibrator is for."""
    said = np.full(len(poses), "nobody", object)
    for share in found.shares(poses):
        said[share.rows] = "prior" if share.calibrator is None else share.calibrator.predicted.model
    return said.tolist()


def test_each_network_has_its_own(mixed: Manifest, files: list[Path]) -> None:
    poses = all_poses(mixed)
    found, turned = read(mixed, files), read(mixed, files[::-1])
    assert judges(found, poses) == judges(turned, poses) == poses.by.tolist()
    assert found.digest == turned.digest != read(mixed, files[:1]).digest == file_digest(files[0])
    assert found.trusted and not found.silent
    assert [share.first for share in found.shares(poses)] == [True, False]


def test_a_network_without_one_is_silent(mixed: Manifest, files: list[Path]) -> None:
    poses, networks = all_poses(mixed), [Calibrator.read(file).predicted.model for file in files]
    for i, file in enumerate(files):
        found = read(mixed, [file])
        assert found.silent == (networks[1 - i],)
        assert set(judges(found, poses)) == {networks[i], "nobody"}


def test_without_any_the_prior_ranks_all(mixed: Manifest) -> None:
    found = read(mixed, [])
    assert judges(found, all_poses(mixed)) == ["prior"] * len(all_poses(mixed))
    assert not found.silent and not found.digest


def test_poses_of_a_network_that_nobody_wrote_down_are_refused(mixed: Manifest, files: list[Path]) -> None:
    poses = all_poses(mixed)
    strange = poses.replace(by=["stranger", *poses.by[1:].tolist()])
    with pytest.raises(InputError, match="some poses are of stranger"):
        list(read(mixed, files).shares(strange))
    assert judges(read(mixed, files[:1], force=True), strange) == [Calibrator.read(files[0]).predicted.model] * 30
    nothing = strange.replace(score=np.full(strange.score.shape, np.nan))
    assert len(judges(read(mixed, files), nothing)) == 30, "who said nothing is no stranger"


def test_calibrators_that_do_not_belong_here_are_refused(
    cascade_case: CascadeCase, mixed: Manifest, files: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"calibrator\.json: two calibrators for the poses of network"):
        read(mixed, [files[0], files[0]])
    with pytest.raises(InputError, match="was fitted for model"):
        read(cascade_case.own, files[1:])
    assert not read(cascade_case.own, files[1:], force=True).trusted
    other = tmp_path / "flipped.json"
    fitted = Calibrator.read(files[1])
    flipped = fitted.predicted.model_copy(update={"flip_test": True})
    fitted.model_copy(update={"predicted": flipped}).save(other)
    with pytest.raises(InputError, match="was fitted for flip test on, these off"):
        read(mixed, [files[0], other])


def test_a_cascade_is_scored_again_as_it_was(mixed: Manifest, files: list[Path], tmp_path: Path) -> None:
    again = all_poses(score(mixed.path, out=tmp_path / "both", calibrator=files).manifest)
    before = all_poses(mixed)
    assert np.array_equal(again.p_bad, before.p_bad) and np.array_equal(again.p_gross, before.p_gross)
    progress = Recorder()
    one = score(mixed.path, out=tmp_path / "one", calibrator=files[0], progress=progress)
    mine = before.by == Calibrator.read(files[0]).predicted.model
    assert np.array_equal(all_poses(one.manifest).p_bad, np.where(mine, before.p_bad, np.nan), equal_nan=True)
    assert any(note.startswith("no calibrator is for network") for note in progress.notes)
    ranked = score(mixed.path, out=tmp_path / "prior")
    assert np.isfinite(all_poses(ranked.manifest).p_bad).all() and not ranked.calibrated


def test_the_embeddings_of_one_network_are_no_evidence_about_another(
    mixed: Manifest, files: list[Path], tmp_path: Path
) -> None:
    """Both calibrators know embeddings of this width, but the teacher's poses have the student's."""
    student, teacher = map(Calibrator.read, files)
    teacher.model_copy(update={"familiarity": student.familiarity}).save(tmp_path / "teacher.json")
    far = tmp_path / "far"
    with ManifestWriter(far, mixed.skeleton, mixed.roots, stage="test") as writer:
        for i in range(mixed.num_parts):
            features = mixed.features(i) or {}
            writer.write_part(i, mixed.part(i), {**features, "embedding": features["embedding"] + 1000})
    carry_over(mixed.path, far)
    poses = all_poses(score(far, out=tmp_path / "m", calibrator=[files[0], tmp_path / "teacher.json"]).manifest)
    unlike = np.array(["novelty" in json.dumps(attributes) for attributes in poses.attributes])
    assert unlike[poses.by == student.predicted.model].any()
    assert not unlike[poses.by == teacher.predicted.model].any()


def test_no_calibrator_is_fitted_to_what_two_networks_shared(mixed: Manifest, tmp_path: Path) -> None:
    truth = checked(mixed)
    with pytest.raises(InputError, match="placed some of these poses"):
        calibrate(mixed.path, truth=truth.path, out=tmp_path / "c.json")
