"""How poses were predicted is read as it was written, and a damaged file says so."""

import json
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import ManifestError
from autolabel.prediction_record import PREDICTION, Predicted

GIVEN: dict[str, Any] = {
    "model": "0123456789ab",
    "flip_test": True,
    "larger_crop": False,
    "jitter": True,
    "quality": "ab12",
    "input_size": (256, 192),
    "precision": "bf16",
    "device": "cuda",
    "boxes": "file",
}


@pytest.mark.parametrize("more", [{}, {"boxes": "whole-image", "quality": "", "jitter": False}, {"backend": "onnx"}])
def test_round_trip(tmp_path: Path, more: dict[str, Any]) -> None:
    written = Predicted(**{**GIVEN, **more})
    assert written.write(tmp_path) == tmp_path / PREDICTION
    assert Predicted.read(tmp_path) == Predicted.read(str(tmp_path)) == written
    assert Predicted.read(tmp_path) != Predicted(**{**GIVEN, **more, "flip_test": False})


def test_each_network_of_a_cascade_has_its_record(tmp_path: Path) -> None:
    first, other = Predicted(**GIVEN), Predicted(**{**GIVEN, "model": "ba9876543210", "flip_test": False})
    both = first.model_copy(update={"others": (other,)})
    both.write(tmp_path)
    found = Predicted.read(tmp_path)
    assert found == both != first
    assert found is not None and found.each == (first, other)
    assert first.each == (first,)


def test_the_record_of_one_network_says_nothing_of_others() -> None:
    """What was made from such records, and is known by their digest, stays what it is."""
    assert "others" not in Predicted(**GIVEN).model_dump(mode="json")
    assert "others" not in Predicted(**GIVEN).model_dump_json()


def test_older_manifests_have_none(tmp_path: Path) -> None:
    assert Predicted.read(tmp_path) is None


def test_what_a_record_leaves_out_takes_its_default(tmp_path: Path) -> None:
    record = {name: value for name, value in GIVEN.items() if name not in ("quality", "jitter")}
    (tmp_path / PREDICTION).write_text(json.dumps(record))
    found = Predicted.read(tmp_path)
    assert found is not None and (found.quality, found.jitter, found.backend) == ("", False, "torch")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is damaged"),
        ("[]", "is damaged"),
        ("\xff", "is damaged"),
        (json.dumps({**GIVEN, "boxes": "guess"}), "boxes"),
        (json.dumps({**GIVEN, "modle": "x"}), "did you mean 'model'"),
        (json.dumps({}), "model"),
    ],
)
def test_damage_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / PREDICTION).write_text(text, encoding="latin-1")
    with pytest.raises(ManifestError, match=said) as error:
        Predicted.read(tmp_path)
    assert PREDICTION in str(error.value) and "Predict again" in str(error.value)
