"""Detectors in the layout of released ones: what transformers says of an image is what we say, chosen and in pixels."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature

from autolabel.errors import CheckpointError, ConfigError
from model.detect import Choice, Detections, Detector
from tests.detectors import released

SIZES = ((100, 140), (60, 80), (128, 50))
ALL = {"min_score": 0.0, "nms": 1.0}
EMPTY = torch.zeros(3, 60, 100, dtype=torch.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released(tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="module")
def images() -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randint(0, 255, (3, *size), dtype=torch.uint8) for size in SIZES]


def detect(folder: Path, images: list[Tensor], **choice: object) -> list[Detections]:
    return Detector.load(folder, Choice(**choice), device="cpu").detect(images)  # pyright: ignore[reportArgumentType]


def test_the_same_boxes_as_the_library_s_own_pipeline(folder: Path, images: list[Tensor]) -> None:
    from transformers import pipeline

    reference = pipeline("object-detection", model=str(folder), device="cpu", threshold=0.3)
    for image, found in zip(images, detect(folder, images, min_score=0.3, nms=1.0), strict=True):
        theirs = [one for one in reference(Image.fromarray(image.permute(1, 2, 0).numpy())) if one["label"] == "person"]  # pyright: ignore
        assert theirs, "a reference that finds nothing compares nothing"
        said = {tuple(one["box"][name] for name in ("xmin", "ymin", "xmax", "ymax")) for one in theirs}
        ours = {tuple(row) for row in found.box.astype(int).tolist()}  # the pipeline cuts to whole pixels
        height, width = image.shape[1:]
        limits = np.array([width, height, width, height])
        assert ours == {tuple(np.clip(box, 0, limits).tolist()) for box in said}
        assert np.sort(found.score) == pytest.approx(sorted(one["score"] for one in theirs), abs=1e-5)


def test_boxes_lie_in_the_image_and_the_best_comes_first(folder: Path, images: list[Tensor]) -> None:
    for image, found in zip(images, detect(folder, images, **ALL), strict=True):
        assert len(found.box) > 3 and found.box.dtype == np.float64 and found.score.dtype == np.float32
        assert (found.box >= 0).all()
        assert (found.box[:, 2:] <= [image.shape[2], image.shape[1]]).all()
        assert (found.box[:, 2:] - found.box[:, :2] >= 1).all()
        assert (np.diff(found.score) <= 0).all()


def test_what_is_not_wanted_goes(folder: Path, images: list[Tensor]) -> None:
    (every, *_) = detect(folder, images[:1], classes=("person", "dog"), **ALL)
    (people, *_) = detect(folder, images[:1], classes=("PERSON",), **ALL)
    (dogs, *_) = detect(folder, images[:1], classes=("dog",), **ALL)
    assert 0 < len(people.box) < len(every.box) == len(people.box) + len(dogs.box)
    (few, *_) = detect(folder, images[:1], **ALL, max_boxes=2)
    assert few.box.tolist() == people.box[:2].tolist()
    middle = float(np.median(people.score))
    (sure, *_) = detect(folder, images[:1], min_score=middle, nms=1.0)
    assert len(sure.box) < len(people.box) and (sure.score >= middle).all()


class Planted:
    """A network and its processor that find what they are given in an image of 100 x 60 pixels."""

    config = SimpleNamespace(id2label={0: "person", 1: "dog"})

    def __init__(self, found: dict[str, Tensor]) -> None:
        self.found = found

    def __call__(self, *_: object, **__: object) -> BatchFeature:
        return BatchFeature()

    def post_process_object_detection(self, *_: object, **__: object) -> list[dict[str, Tensor]]:
        return [self.found]

    def kept(self, **choice: object) -> Detections:
        (kept,) = Detector(self, self, Choice(**choice), torch.device("cpu"), "").detect([EMPTY])  # pyright: ignore
        return kept


def test_of_two_boxes_on_one_person_the_better_one_stays() -> None:
    boxes = torch.tensor([[10.0, 10, 30, 50], [10, 10, 30, 48], [60, 10, 80, 50], [25, 10, 45, 50]])
    found = Planted({"boxes": boxes, "scores": torch.tensor([0.6, 0.9, 0.7, 0.5]), "labels": torch.zeros(4)})
    assert found.kept(nms=0.7).box.tolist() == boxes[[1, 2, 3]].tolist()
    assert found.kept(nms=0.1).box.tolist() == boxes[[1, 2]].tolist()
    assert found.kept(nms=1.0).score.tolist() == pytest.approx([0.9, 0.7, 0.6, 0.5])


def test_boxes_that_are_none_go_and_the_others_are_cut_at_the_image() -> None:
    inf, nan = float("inf"), float("nan")
    boxes = torch.tensor([[-5.0, -5, 30, 70], [40, 10, 40.5, 50], [90, 20, inf, 30], [nan, 1, 20, 30], [50, 5, 70, 20]])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6, nan])
    kept = Planted({"boxes": boxes, "scores": scores, "labels": torch.zeros(5)}).kept()
    assert kept.box.tolist() == [[0, 0, 30, 60], [90, 20, 100, 30]]


def test_no_images_have_no_boxes(folder: Path) -> None:
    assert detect(folder, []) == []


def test_an_image_gets_the_same_boxes_whoever_it_is_looked_at_with(folder: Path, images: list[Tensor]) -> None:
    together = detect(folder, images, **ALL)
    for image, found in zip(images, together, strict=True):
        (alone,) = detect(folder, [image], **ALL)
        assert alone.box == pytest.approx(found.box, abs=1e-3)


def test_a_digest_tells_detectors_apart(folder: Path, tmp_path: Path) -> None:
    other = released(tmp_path / "other", classes=("person", "cat"))
    first, again, second = (Detector.load(place, device="cpu").digest for place in (folder, folder, other))
    assert first == again != second


@pytest.mark.parametrize(
    "choice",
    [{"classes": ()}, {"min_score": 1.5}, {"nms": -0.1}, {"min_score": float("nan")}, {"max_boxes": 0}],
)
def test_choices_that_cannot_be_meant_are_refused(choice: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Choice(**choice)  # pyright: ignore[reportArgumentType]


def test_an_unknown_class_names_those_there_are(folder: Path) -> None:
    with pytest.raises(ConfigError, match="does not know 'horse'") as caught:
        Detector.load(folder, Choice(("person", "horse")), device="cpu")
    assert "dog, person" in str(caught.value)


def test_what_is_no_detector_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or folder"):
        Detector.load(tmp_path / "nothing")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CheckpointError, match="has no config"):
        Detector.load(empty)
    broken = released(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read as an object detector"):
        Detector.load(broken)
    foreign = released(tmp_path / "foreign")
    (foreign / "config.json").write_text(json.dumps({"model_type": "vitpose"}))
    with pytest.raises(CheckpointError, match="cannot be read as an object detector"):
        Detector.load(foreign)


def test_a_detector_that_lacks_tensors_is_refused(tmp_path: Path) -> None:
    """The library would fill them with random numbers, and warn."""
    from safetensors.torch import load_file, save_file

    folder = released(tmp_path / "half")
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in tensors.items() if "enc_score_head" not in name},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(CheckpointError, match=r"lacks \d+ of the detector's tensors"):
        Detector.load(folder)
