"""`weights export` writes a network for another runtime once, and says how near its answers are."""

import json
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import ConfigError, ExistsError, WorkError
from autolabel.skeleton import Skeleton
from model.checkpoint import save_model
from pipelines.weights import weights_export
from tests.model.test_backends import network


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(network(decoder="simple", presence=True), tmp_path_factory.mktemp("weights") / "w")


def test_openvino_s_files_and_what_they_are(weights: Path, tmp_path: Path) -> None:
    result = weights_export(weights, to="openvino", batch_size=2, out=tmp_path / "out")
    assert result.file.name == "model.xml" and result.file.with_suffix(".bin").is_file()
    assert result.outputs == ("features", "maps", "presence") and result.input_size == (64, 48)
    assert 0 < result.difference <= 1e-4
    assert Skeleton.load(result.skeleton) == Skeleton.load("coco17")
    written = result.file.stat().st_mtime_ns
    assert weights_export(weights, to="openvino", batch_size=2, out=tmp_path / "out") == result
    assert result.file.stat().st_mtime_ns == written, "nothing is written twice"
    with pytest.raises(ExistsError):
        weights_export(weights, to="openvino", batch_size=3, out=tmp_path / "out")


def test_a_file_that_was_changed_is_found_out(weights: Path, tmp_path: Path) -> None:
    result = weights_export(weights, to="openvino", out=tmp_path / "out")
    numbers = result.file.with_suffix(".bin")
    content = bytearray(numbers.read_bytes())
    content[len(content) // 4 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 4)
    numbers.write_bytes(bytes(content))
    with pytest.raises(WorkError, match=r"cannot be read|answers differ"):
        weights_export(weights, to="openvino", out=tmp_path / "out")


@pytest.mark.parametrize(("how", "said"), [({"to": "tensorrt"}, "unknown format 'tensorrt'")])
def test_impossible_formats_are_refused(how: dict[str, Any], said: str, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        weights_export(weights, out=tmp_path / "out", **how)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_onnx_by_the_command_line(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines.cli import main

    with pytest.raises(SystemExit) as left:
        main(["weights", "export", str(weights), "--out", str(tmp_path / "out"), "--json"])
    assert left.value.code == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["outputs"] == ["features", "maps", "presence"] and Path(said["file"]).name == "model.onnx"
    assert said["difference"] <= 1e-4
