"""A GPU says what a CPU says: crops bit for bit, predictions to rounding, recorded or not."""

import numpy as np
import pytest
import torch

from model.crop import crop_each, crop_matrices, regions_from_boxes
from model.graphs import Graphed
from model.predict import Predictor
from tests.model.small_network import joined, network, pictures

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
GPU = torch.device("cuda")


def test_crops_of_many_images_are_a_cpus() -> None:
    shown = [(image, boxes) for image, boxes in pictures(9) if len(boxes)]
    boxes = torch.tensor(np.concatenate([boxes for _, boxes in shown]))
    owner = torch.tensor(np.repeat(np.arange(len(shown)), [len(boxes) for _, boxes in shown]))
    matrices = crop_matrices(regions_from_boxes(boxes, input_size=(64, 48)), input_size=(64, 48), codec="udp")
    images = [image for image, _ in shown]
    on_cpu, on_gpu = (crop_each(images, owner, matrices, (64, 48), device) for device in (torch.device("cpu"), GPU))
    assert torch.equal(on_gpu.cpu(), on_cpu)
    there = [image.to(GPU) for image in images]
    assert torch.equal(crop_each(there, owner, matrices, (64, 48), GPU).cpu(), on_cpu)


@pytest.mark.parametrize("backend", ["torch", "compiled"])
@pytest.mark.parametrize("more", [{}, {"flip_test": True, "jitter": True}], ids=["plain", "all"])
def test_predictions_are_a_cpus(backend, more) -> None:
    model = network(presence=True, whole_box=True)
    how = {"precision": "fp32", "batch_size": 4, **more}
    expected = joined(Predictor(model, device="cpu", **how).predict(pictures(12)))
    predictor = Predictor(model, device="cuda", backend=backend, **how)
    found = joined(predictor.predict(pictures(12)))
    first, slight = predictor._reader.graph, predictor._slight.graph
    assert first is not None and first.recorded
    assert slight is not None and slight.recorded == ("jitter" in more)
    assert list(found) == list(expected)
    for name in ("score", "presence", "visible"):
        assert found[name] == pytest.approx(expected[name], abs=2e-3, nan_ok=True), name
    # A map of noise has peaks of nearly the same height: which of them is the highest, rounding may tell.
    near = np.linalg.norm(found["xy"] - expected["xy"], axis=-1) < 0.1
    assert near.mean() > 0.97


def test_what_waits_for_the_gpu_is_called_as_it_is() -> None:
    def waits(numbers: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (numbers * numbers.sum().item(),)

    doubled, stream = Graphed(waits, GPU), torch.cuda.current_stream()
    with pytest.warns(UserWarning, match="not recorded"):
        doubled(torch.tensor([2.0, 1.0]))
    assert torch.cuda.current_stream() == stream and not doubled.recorded
    assert [doubled(torch.tensor([n, 1.0]))[0].tolist() for n in (1.0, 3.0)] == [[2, 2], [12, 4]]
