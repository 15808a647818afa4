"""A lesson asks nothing of the device, and may be for nobody."""

from dataclasses import fields

import pytest
import torch

from model.augment import Augmentation, Augmented
from model.config import ViTPoseConfig
from model.data import PoseBatch
from model.draws import Draws
from model.lesson import Lesson, lesson
from model.targets import Targets
from model.vitpose import build_vitpose
from tests.model.random_people import COCO, LSP, people

EVERYTHING = Augmentation(truncation=0.5, colour=0.2, tint=0.2, grey=0.2, cutout=0.5)


def taught(batch: PoseBatch, device: str = "cpu") -> Lesson:
    """By a network of two heads with a convention each."""
    config = ViTPoseConfig(
        input_size=(64, 48),
        patch_size=16,
        width=16,
        depth=1,
        heads=2,
        decoder="simple",
        datasets=("coco", "lsp"),
        codecs=("udp", "plain"),
    )
    model = build_vitpose(config, [COCO, LSP])
    there = torch.device(device)
    return lesson(model, batch.to(there), EVERYTHING, Draws(0, 0, len(batch), slice(None), there))


def shapes(found: Lesson) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Type, and shape but for the number of people, of everything that was drawn."""
    parts: list[Augmented | Targets] = [found.crops, found.targets]
    tensors = {field.name: getattr(part, field.name) for part in parts for field in fields(part)}
    tensors |= {"dataset": found.dataset, "keypoints": found.keypoints}
    assert {len(tensor) for tensor in tensors.values()} == {len(found.dataset)}
    return {name: (tensor.dtype, tuple(tensor.shape[1:])) for name, tensor in tensors.items()}


def test_nobody_is_taught_nothing() -> None:
    some = people(3)
    nobody = taught(some.rows(slice(0, 0)))
    assert len(nobody.dataset) == 0
    assert shapes(nobody) == shapes(taught(some))


def test_nothing_waits_for_the_device() -> None:
    """Tensors without numbers cannot answer questions, which a GPU can only when it has done everything before."""
    some = people(3)
    assert shapes(taught(some, "meta")) == shapes(taught(some))


@pytest.mark.gpu
def test_a_gpu_is_never_waited_for() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    some = people(3)
    first = taught(some, "cuda")  # makes tables and constants
    torch.cuda.set_sync_debug_mode("error")
    try:
        again = taught(some, "cuda")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(again.targets.heatmaps, first.targets.heatmaps)


def test_keypoints_are_those_of_the_head() -> None:
    mixed = people(4)
    mixed.dataset[2:] = 1
    assert taught(mixed).keypoints.tolist() == [17, 17, 14, 14]
