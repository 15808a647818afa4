"""Networks written for ONNX Runtime and OpenVINO answer there as they do here, for every kind of head."""

from pathlib import Path

import numpy as np
import pytest
import torch

from autolabel.errors import WorkError
from model.backends import Flat, output_names
from model.export import difference, run_onnx, run_openvino, write_onnx, write_openvino
from tests.model.test_backends import KINDS, network


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["whole box", "token"])
def test_onnx_answers_for_any_number_of_crops(kind: str, tmp_path: Path) -> None:
    model, file = network(**KINDS[kind]), tmp_path / "model.onnx"
    write_onnx(model, file)
    run = run_onnx(file)
    for batch in (1, 4):
        assert difference(model, run, batch) <= 1e-4
    import onnx

    described = onnx.load(file).graph
    assert [output.name for output in described.output] == output_names(model)
    assert [each.name for each in described.input] == ["images"]
    assert not list(tmp_path.glob("*.data")), "one file"


@pytest.mark.parametrize("kind", ["simple", "whole box"])
def test_openvino_answers_for_its_batch(kind: str, tmp_path: Path) -> None:
    model, file = network(**KINDS[kind]), tmp_path / "model.xml"
    write_openvino(model, file, 3)
    assert difference(model, run_openvino(file), 3) <= 1e-4
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".bin", ".xml"]


def test_what_answers_otherwise_is_refused() -> None:
    model = network(decoder="simple")

    def ours(images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [answer.numpy() for answer in Flat(model)(torch.from_numpy(images))]

    assert difference(model, ours, 2) == 0
    with pytest.raises(WorkError, match=r"answers differ by 0\.1"):
        difference(model, lambda images: [answer * np.float32(1.1) for answer in ours(images)], 2)
    with pytest.raises(WorkError, match="answers differ by nan"):
        difference(model, lambda images: [answer * np.float32(np.nan) for answer in ours(images)], 2)
    with pytest.raises(WorkError, match="other shapes"):
        difference(model, lambda images: ours(images)[:1], 2)
