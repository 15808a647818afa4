"""OpenVINO answers as PyTorch does, for every kind of head, and is chosen where it is worth it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import model.backends as backends
from autolabel.errors import ConfigError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.backends import forward_of, pick_backend
from model.config import ViTPoseConfig
from model.predict import Predictor
from model.vitpose import ViTPose, build_vitpose

CPU = torch.device("cpu")
COCO = Skeleton.load("coco17")
SMALL: dict[str, Any] = {"input_size": (64, 48), "patch_size": 8, "width": 32, "depth": 2, "heads": 2}
KINDS: dict[str, dict[str, Any]] = {
    "classic": {"deconv_channels": 16},
    "simple": {"decoder": "simple"},
    "presence": {"decoder": "simple", "presence": True},
    "whole box": {"decoder": "simple", "presence": True, "whole_box": True},
    "token": {"decoder": "simple", "knowledge": True},
}


def network(**more: Any) -> ViTPose:
    model = build_vitpose(ViTPoseConfig(**{**SMALL, **more}), COCO)
    randomise(model, 0)
    return model.eval()


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(3, 3, 64, 48)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_answers(kind: str, images: torch.Tensor) -> None:
    pytest.importorskip("openvino")
    model = network(**KINDS[kind])
    with torch.inference_mode():
        ours, theirs = (forward_of(name, model, CPU, "fp32", 3)(images) for name in ("torch", "openvino"))
    for name, one, other in zip(ours._fields, ours, theirs, strict=True):
        assert (one is None) == (other is None), name
        if one is not None and other is not None:
            assert one.shape == other.shape
            assert (one - other).abs().max() <= 1e-4 * one.abs().max(), name


@pytest.mark.parametrize("kind", ["whole box"])
def test_a_compiled_network_has_the_same_answers(kind: str, images: torch.Tensor) -> None:
    model = network(**KINDS[kind])
    with torch.inference_mode():
        plain = forward_of("torch", model, CPU, "fp32", 3)(images)
        compiled = forward_of("compiled", model, CPU, "fp32", 3)
        first, second = compiled(images), compiled(-images)
    for name, one, other, later in zip(plain._fields, plain, first, second, strict=True):
        assert (one is None) == (other is None), name
        if one is not None and other is not None:
            assert (one - other).abs().max() <= 1e-4 * one.abs().max(), name
            assert not torch.equal(other, later), "the next batch leaves the first one's answers alone"


def test_where_nothing_can_be_compiled_it_is_told(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*args: Any, **options: Any) -> Any:
        def call(images: torch.Tensor) -> Any:
            raise RuntimeError("no compiler was found\nin many places")

        return call

    monkeypatch.setattr(torch, "compile", cannot)
    with pytest.raises(ConfigError, match="cannot compile here: no compiler was found"):
        forward_of("compiled", network(), CPU, "fp32", 3)(images)


@pytest.mark.parametrize("batch", [1, 6, 8, 7])
def test_a_batch_in_pieces_has_the_same_answers_in_the_same_order(batch: int) -> None:
    pytest.importorskip("openvino")
    model = network(decoder="simple", presence=True)
    torch.manual_seed(2)
    images = torch.randn(batch, 3, 64, 48)
    with torch.inference_mode():
        ours, theirs = (forward_of(name, model, CPU, "fp32", batch)(images) for name in ("torch", "openvino"))
    assert ours.presence is not None and theirs.presence is not None
    assert theirs.maps.shape == ours.maps.shape
    assert (ours.maps - theirs.maps).abs().max() <= 1e-4 * ours.maps.abs().max()
    assert (ours.presence - theirs.presence).abs().max() <= 1e-4 * ours.presence.abs().max()


def test_answers_are_not_overwritten_by_the_next(images: torch.Tensor) -> None:
    pytest.importorskip("openvino")
    forward = forward_of("openvino", network(decoder="simple"), CPU, "fp32", 3)
    first = forward(images)
    kept = first.maps.clone()
    forward(-images)
    assert torch.equal(first.maps, kept)


@pytest.mark.parametrize("flip_test", [False, True])
def test_poses_are_the_same_within_a_twentieth_of_a_pixel(flip_test: bool) -> None:
    pytest.importorskip("openvino")
    model = network(decoder="simple", presence=True)
    image = torch.randint(0, 255, (3, 90, 120), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    boxes = np.array([[5.0, 5, 50, 80], [60, 10, 115, 85], [30, 20, 70, 60]])
    options: dict[str, Any] = {"precision": "fp32", "flip_test": flip_test, "batch_size": 2}
    found = {
        name: list(Predictor(model, backend=name, **options).predict([(image, boxes)]))
        for name in ("torch", "openvino")
    }
    assert len(found["torch"]) == len(found["openvino"]) == 2
    for one, other in zip(found["torch"], found["openvino"], strict=True):
        assert other.xy == pytest.approx(one.xy, abs=0.05)
        assert other.score == pytest.approx(one.score, abs=1e-4)
        assert other.presence == pytest.approx(one.presence, abs=1e-4)


def test_bf16_is_near() -> None:
    pytest.importorskip("openvino")
    model = network(decoder="simple")
    images = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        exact = forward_of("torch", model, CPU, "fp32", 2)(images).maps
        near = forward_of("openvino", model, CPU, "bf16", 2)(images).maps
    assert near.dtype == torch.float32
    assert (near - exact).abs().max() <= 0.05 * exact.abs().max()


def test_small_networks_and_machines_without_it_stay_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    small = network(decoder="simple")
    large = build_vitpose(ViTPoseConfig(width=192, depth=12, heads=3, decoder="simple"), COCO)
    assert pick_backend("auto", small, CPU) == "torch"
    assert pick_backend("openvino", small, CPU) == "openvino"
    assert pick_backend("auto", large, CPU) == "openvino"
    assert pick_backend("torch", large, CPU) == "torch"
    assert pick_backend("auto", large, torch.device("cuda")) == "torch"
    monkeypatch.setattr(backends, "openvino_library", lambda: None)
    assert pick_backend("auto", large, CPU) == "torch"
    with pytest.raises(ConfigError, match="is not installed"):
        pick_backend("openvino", large, CPU)


@pytest.mark.parametrize(
    ("name", "device", "said"), [("tensorrt", "cpu", "unknown backend"), ("openvino", "cuda", "on CPUs alone")]
)
def test_impossible_backends_are_refused(name: str, device: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        pick_backend(name, network(decoder="simple"), torch.device(device))


def test_nothing_is_told_to_anybody() -> None:
    """OpenVINO's own converter reports its use; we go around it."""
    source = Path(backends.__file__).read_text(encoding="utf-8")
    assert "convert_model(" not in source
