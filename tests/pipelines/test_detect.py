"""`detect` gives every image its boxes, resumes, sets bad images aside, and `predict` can do both in one go."""

import inspect
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from autolabel.errors import CheckpointError, ConfigError, ExistsError, InputError
from autolabel.images import read_image
from autolabel.manifest import Manifest, part_file
from autolabel.poses import Sample
from autolabel.prediction_record import Predicted
from autolabel.skeleton import Skeleton
from model.checkpoint import save_model
from model.config import ViTPoseConfig
from model.detect import BATCH_SIZE, Choice, Detector
from model.vitpose import build_vitpose
from pipelines.boxes import SOURCE, WHOLE_IMAGE
from pipelines.detect import detect
from pipelines.parts import QUARANTINE
from pipelines.predict import predict
from pipelines.predict_part import Job
from pipelines.scan import scan
from tests.detectors import Told, released
from tests.doubles import Recorder

IMAGES = 7
FAST: Any = {"precision": "fp32", "batch_size": 4}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = ViTPoseConfig(input_size=(64, 48), patch_size=8, width=32, depth=1, heads=2, deconv_channels=16)
    return save_model(build_vitpose(config, Skeleton.load("coco17")), tmp_path_factory.mktemp("weights") / "w")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released(tmp_path_factory.mktemp("detector"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(IMAGES):
        pixels = np.random.default_rng(i).integers(0, 255, (60, 80 + i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def scanned(photos: Path, tmp_path: Path) -> Manifest:
    return scan(photos, out=tmp_path / "scanned", part_size=3).manifest


def by_width(width: int, height: int) -> list[list[float]]:
    """Nobody in the narrowest image, one person more in every wider one, up to three."""
    return [[j, 2 * j, width / 2 + j, height - j] for j in range(min(width - 80, 3))]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    one = Told(by_width)
    monkeypatch.setattr(Detector, "load", lambda *_, **__: one)
    return one


def size(sample: Sample) -> tuple[int, int]:
    return sample.size


def test_every_image_gets_its_own_boxes(scanned: Manifest, told: Told, tmp_path: Path) -> None:
    recorder = Recorder()
    result = detect(scanned.path, detector="any", out=tmp_path / "m", batch_size=2, progress=recorder)
    assert result.summary() == {
        "manifest": tmp_path / "m", "samples": IMAGES, "poses": 15, "digest": result.manifest.digest,
        "quarantined": 0, "empty": 1, "skipped": 0,
    } | {name: result.manifest.counts[name] for name in result.manifest.counts}  # fmt: skip
    for sample in result.manifest:
        assert sample.poses.box.tolist() == by_width(*sample.size)
        assert (np.diff(sample.poses.box_score) < 0).all()
        assert not sample.poses.labelled.any() and np.isnan(sample.poses.xy).all()
        assert all(attributes == {SOURCE: "detector 0123456789ab"} for attributes in sample.poses.attributes)
    assert len({name for sample in result.manifest for name in sample.poses.id}) == 15
    assert told.batches == [2, 1, 2, 1, 1], "by part, so that a resumed run asks the same"


def test_a_real_detector_s_boxes_are_those_of_its_images(photos: Path, detector: Path, tmp_path: Path) -> None:
    result = detect(photos, detector=detector, out=tmp_path / "m", min_score=0.4, device="cpu")
    model = Detector.load(detector, device="cpu")
    model.choice = type(model.choice)(min_score=0.4)
    found = 0
    for sample in result.manifest:
        image = torch.from_numpy(read_image(photos / sample.path)).permute(2, 0, 1)
        (expected,) = model.detect([image])
        assert sample.poses.box == pytest.approx(expected.box, abs=1e-3)
        assert sample.poses.box_score == pytest.approx(expected.score, abs=1e-4)
        found += len(sample.poses)
    assert found > IMAGES


def test_whole_images_are_one_person_each_and_nothing_is_decoded(
    scanned: Manifest, photos: Path, tmp_path: Path
) -> None:
    for file in photos.iterdir():
        file.unlink()
    result = detect(scanned.path, detector=WHOLE_IMAGE, out=tmp_path / "m")
    assert [sample.poses.box.tolist() for sample in result.manifest] == [
        [[0, 0, *map(float, size(sample))]] for sample in scanned
    ]
    assert result.empty == result.quarantined == 0


def test_boxes_of_a_coco_file(scanned: Manifest, tmp_path: Path) -> None:
    file = tmp_path / "boxes.json"
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 80 + i, "height": 60} for i in range(IMAGES)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [i, 1, 20, 30], "score": 0.5} for i in range(1, IMAGES)
        ],
    }
    file.write_text(json.dumps(content))
    result = detect(scanned.path, detector=file, out=tmp_path / "m")
    boxes = {sample.path: sample.poses.box.tolist() for sample in result.manifest}
    assert boxes == {"0.png": []} | {f"{i}.png": [[i, 1, i + 20, 31]] for i in range(1, IMAGES)}
    assert result.empty == 1
    content["annotations"].pop()
    file.write_text(json.dumps(content))
    with pytest.raises(ExistsError):
        detect(scanned.path, detector=file, out=tmp_path / "m")


def test_images_that_cannot_be_read_are_set_aside(scanned: Manifest, told: Told, photos: Path, tmp_path: Path) -> None:
    (photos / "2.png").write_bytes((photos / "2.png").read_bytes()[:200])
    (photos / "5.png").unlink()
    recorder = Recorder()
    result = detect(scanned.path, detector="any", out=tmp_path / "m", progress=recorder)
    lines = [json.loads(line) for line in (tmp_path / "m" / QUARANTINE).read_text().splitlines()]
    assert [(line["path"], line["reason"]) for line in lines] == [("2.png", "truncated"), ("5.png", "vanished")]
    assert (result.quarantined, result.empty) == (2, 1)
    assert {sample.path: len(sample.poses) for sample in result.manifest} == {
        "0.png": 0, "1.png": 1, "2.png": 0, "3.png": 3, "4.png": 3, "5.png": 0, "6.png": 3,
    }  # fmt: skip
    assert any(QUARANTINE in note for note in recorder.notes)


def test_what_was_set_aside_is_looked_at_again_when_told_to(
    scanned: Manifest, told: Told, photos: Path, tmp_path: Path
) -> None:
    whole = detect(scanned.path, detector="any", out=tmp_path / "whole").manifest.digest
    pixels = (photos / "5.png").read_bytes()
    (photos / "5.png").unlink()
    assert detect(scanned.path, detector="any", out=tmp_path / "m").quarantined == 1
    (photos / "5.png").write_bytes(pixels)
    assert detect(scanned.path, detector="any", out=tmp_path / "m").quarantined == 1
    told.batches = []
    mended = detect(scanned.path, detector="any", out=tmp_path / "m", retry=True)
    assert (mended.quarantined, mended.manifest.digest) == (0, whole)
    assert told.batches == [3], "the part of that image alone"


def test_finished_parts_are_not_looked_at_again(scanned: Manifest, told: Told, tmp_path: Path) -> None:
    whole = detect(scanned.path, detector="any", out=tmp_path / "whole").manifest.digest
    out = tmp_path / "m"

    class Killed(Exception):
        pass

    def dies(width: int, height: int) -> list[list[float]]:
        if width == 84:
            raise Killed
        return by_width(width, height)

    told.boxes = dies
    with pytest.raises(Killed):
        detect(scanned.path, detector="any", out=out)
    assert part_file(out, "samples", 0).is_file() and not part_file(out, "samples", 1).is_file()
    told.boxes, told.batches = by_width, []
    assert detect(scanned.path, detector="any", out=out).manifest.digest == whole
    assert told.batches == [3, 1]
    told.batches = []
    assert detect(scanned.path, detector="any", out=out).manifest.digest == whole
    assert told.batches == []


def test_another_choice_is_another_result(scanned: Manifest, told: Told, tmp_path: Path) -> None:
    detect(scanned.path, detector="any", out=tmp_path / "m")
    with pytest.raises(ExistsError):
        detect(scanned.path, detector="any", out=tmp_path / "m", min_score=0.5)
    detect(scanned.path, detector="any", out=tmp_path / "m", min_score=0.5, overwrite=True)


def test_a_manifest_with_boxes_is_refused(scanned: Manifest, told: Told, weights: Path, tmp_path: Path) -> None:
    boxed = detect(scanned.path, detector="any", out=tmp_path / "m").manifest
    with pytest.raises(InputError, match="15 poses or boxes already"):
        detect(boxed.path, detector="any", out=tmp_path / "again")
    with pytest.raises(InputError, match="has boxes already"):
        predict(boxed.path, weights=weights, detector="any", out=tmp_path / "poses", **FAST)


def test_without_a_network_the_usual_detector_is_missed_aloud(
    scanned: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CheckpointError, match="NO DETECTOR") as caught:
        detect(scanned.path, out=tmp_path / "m")
    assert "--detector whole-image" in str(caught.value) and "rtdetr" in str(caught.value)
    assert not (tmp_path / "m").exists()


def test_what_is_chosen_by_itself_is_the_detector_s_own_choice() -> None:
    usual = {name: each.default for name, each in inspect.signature(detect).parameters.items()}
    assert {name: usual[name] for name in ("min_score", "nms", "max_boxes")} == {
        "min_score": Choice().min_score, "nms": Choice().nms, "max_boxes": Choice().max_boxes,
    }  # fmt: skip
    assert usual["batch_size"] == BATCH_SIZE == {each.name: each.default for each in fields(Job)}["detector_batch"]


def test_an_unknown_class_is_told_before_any_image(photos: Path, detector: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="horse"):
        detect(photos, detector=detector, classes=["horse"], out=tmp_path / "m")
    assert not (tmp_path / "m-scan").exists()


def test_predict_finds_people_and_poses_in_images_decoded_once(
    scanned: Manifest, told: Told, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import decoding

    boxed = detect(scanned.path, detector="any", out=tmp_path / "boxed").manifest
    apart = predict(boxed.path, weights=weights, out=tmp_path / "apart", **FAST).manifest
    opened = list[str]()
    real = decoding.read_bytes
    monkeypatch.setattr(decoding, "read_bytes", lambda path: (opened.append(Path(path).name), real(path))[1])
    recorder = Recorder()
    result = predict(scanned.path, weights=weights, detector="any", out=tmp_path / "both", progress=recorder, **FAST)
    assert sorted(opened) == [f"{i}.png" for i in range(IMAGES)]
    assert result.manifest.digest == apart.digest
    assert (result.whole_image, result.unboxed) == (0, 1)
    record = Predicted.read(tmp_path / "both")
    assert record is not None and record.boxes == "detector"
    assert not any("WARNING" in note for note in recorder.notes)


def test_predict_takes_boxes_from_one_alone(scanned: Manifest, told: Told, weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(InputError, match="both give boxes"):
        predict(scanned.path, weights=weights, detector="any", boxes=file, out=tmp_path / "m", **FAST)


def test_a_bad_image_stops_neither(scanned: Manifest, told: Told, weights: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "3.png").write_bytes(b"")
    result = predict(scanned.path, weights=weights, detector="any", out=tmp_path / "m", **FAST)
    assert (result.quarantined, result.unboxed) == (1, 1)
    assert {sample.path: len(sample.poses) for sample in result.manifest}["3.png"] == 0
