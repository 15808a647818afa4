"""A cascade's network is read with its calibrator, and predicts in the way that this was fitted for."""

from pathlib import Path
from typing import Any

import pytest

from autolabel.calibrator import Calibrator
from autolabel.errors import CheckpointError, InputError
from autolabel.prediction_record import Predicted
from model.checkpoint import model_digest
from pipelines.calibrate import quality_file
from pipelines.cascade_networks import Labeller, Manner
from tests.pipelines.cascaded import CascadeCase


def refitted(folder: Path, out: Path, **how: Any) -> Path:
    """A network's calibrator, as if it had been fitted to other predictions; a missing quality head is no matter."""
    fitted = Calibrator.read(folder / "calibrator.json")
    predicted = fitted.predicted.model_copy(update=how)
    fitted.model_copy(update={"predicted": predicted}).save(out)
    return out


def test_the_calibrator_in_the_folder_is_found(cascade_case: CascadeCase) -> None:
    student = Labeller.read(cascade_case.student, None, Manner(), boxes="manifest")
    assert student.file == cascade_case.student / "calibrator.json"
    assert student.quality == quality_file(cascade_case.student / "calibrator.json")
    assert student.by == model_digest(cascade_case.student)[:12] == student.digest[:12]
    teacher = Labeller.read(cascade_case.teacher, None, Manner(), boxes="manifest")
    assert teacher.calibrator is not None and teacher.quality is None
    bare = Labeller.read(str(cascade_case.bare), None, Manner(), boxes="manifest")
    assert (bare.file, bare.calibrator, bare.quality) == (None, None, None)


def test_one_that_is_given_goes_before_it(cascade_case: CascadeCase, tmp_path: Path) -> None:
    file = refitted(cascade_case.teacher, tmp_path / "c.json", flip_test=True)
    assert Labeller.read(cascade_case.teacher, file, Manner(), boxes="manifest").file == file
    assert Labeller.read(cascade_case.bare, str(file), Manner(), boxes="manifest").calibrator is not None, (
        "same weights"
    )


@pytest.mark.parametrize(
    ("fitted", "manner", "expected"),
    [
        ({}, Manner(flip_test=True), {"flip_test": False, "jitter": False, "precision": "fp32"}),  # as it was fitted
        ({"flip_test": True, "jitter": True}, Manner(), {"flip_test": True, "jitter": True}),
        ({"precision": "unknown"}, Manner(precision="fp32"), {"precision": "fp32"}),
        (None, Manner(flip_test=True, precision="fp32"), {"flip_test": True, "precision": "fp32", "jitter": False}),
        (None, Manner(precision="fp32"), {"flip_test": False}),
    ],
)
def test_a_network_predicts_as_its_calibrator_was_fitted(
    cascade_case: CascadeCase, tmp_path: Path, fitted: dict[str, Any] | None, manner: Manner, expected: dict[str, Any]
) -> None:
    weights = cascade_case.bare if fitted is None else cascade_case.teacher
    file = None if fitted is None else refitted(weights, tmp_path / "c.json", **fitted)
    given = Manner() if fitted and "precision" in fitted else manner
    network = Labeller.read(weights, file, given, boxes="manifest")
    made = network.predict(cascade_case.source.path, tmp_path / "m", manner).manifest
    how = Predicted.read(made.path)
    assert how is not None
    assert {name: getattr(how, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("fitted", "message"),
    [
        ({"model": "0" * 12}, r"c\.json: was fitted for model 000000000000, these .*autolabel calibrate"),
        ({"boxes": "file"}, "was fitted for boxes file, these manifest"),
        ({"precision": "bf16"}, "was fitted for precision bf16, these fp32"),
    ],
)
def test_a_calibrator_for_something_else_is_refused(
    cascade_case: CascadeCase, tmp_path: Path, fitted: dict[str, Any], message: str
) -> None:
    file = refitted(cascade_case.teacher, tmp_path / "c.json", **fitted)
    with pytest.raises(InputError, match=message):
        Labeller.read(cascade_case.teacher, file, Manner(precision="fp32"), boxes="manifest")


def test_a_quality_head_has_to_be_there_and_to_be_the_right_one(cascade_case: CascadeCase, tmp_path: Path) -> None:
    file = refitted(cascade_case.student, tmp_path / "c.json")
    with pytest.raises(CheckpointError, match=r"c\.quality\.safetensors: is not there"):
        Labeller.read(cascade_case.student, file, Manner(), boxes="manifest")
    head = quality_file(cascade_case.student / "calibrator.json").read_bytes()
    quality_file(file).write_bytes(head)
    refitted(cascade_case.student, file, quality="0" * 64)
    with pytest.raises(InputError, match="was fitted for quality 000000000000"):
        Labeller.read(cascade_case.student, file, Manner(), boxes="manifest")
    refitted(cascade_case.teacher, tmp_path / "t.json", quality="0" * 64)
    quality_file(tmp_path / "t.json").write_bytes(head)
    with pytest.raises(CheckpointError, match=r"t\.quality\.safetensors: was trained for network"):
        Labeller.read(cascade_case.teacher, tmp_path / "t.json", Manner(), boxes="manifest")


def test_evidence_that_a_cascade_does_not_have_is_told_before(cascade_case: CascadeCase, tmp_path: Path) -> None:
    fitted = Calibrator.read(cascade_case.teacher / "calibrator.json")
    compared = fitted.model_copy(update={"keypoint_columns": (*fitted.keypoint_columns, "against")})
    compared.save(tmp_path / "c.json")
    with pytest.raises(InputError, match="features that these lack: against"):
        Labeller.read(cascade_case.teacher, tmp_path / "c.json", Manner(), boxes="manifest")
