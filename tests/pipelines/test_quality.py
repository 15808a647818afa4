"""Training a quality head from manifests, and predicting with it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from autolabel.errors import CheckpointError, ExistsError, InputError
from autolabel.manifest import Existing, Manifest, write_manifest
from autolabel.poses import Poses, Sample, Visibility
from autolabel.prediction_record import Predicted
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.checkpoint import load_model, save_model
from model.config import ViTPoseConfig
from model.crop import apply
from model.predict import Predictor
from model.quality import judge, load_quality, quality_digest
from model.vitpose import build_vitpose
from pipelines.check import Checked, check
from pipelines.predict import predict
from pipelines.quality import LearnedQuality, learn_quality, look
from tests.doubles import Recorder

COCO = Skeleton.load("coco17")
K = COCO.num_keypoints
IMAGES, PEOPLE = 5, 2
FAST: Any = {"precision": "fp32", "batch_size": 4, "device": "cpu"}
NAMES = ("quality_ks", "quality_gross", "quality_bad")


def network(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = ViTPoseConfig(input_size=(64, 48), patch_size=8, width=32, depth=1, heads=2, deconv_channels=16)
    model = build_vitpose(config, COCO)
    randomise(model, seed)
    return save_model(model, folder)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return network(tmp_path_factory.mktemp("weights") / "w")


@pytest.fixture
def truth(tmp_path: Path) -> Manifest:
    """Noise, in which two people an image are said to be; the last keypoint of each is absent."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    samples: list[Sample] = []
    for i in range(IMAGES):
        pixels = rng.integers(0, 255, (60, 80 + i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
        visibility = np.full((PEOPLE, K), Visibility.VISIBLE)
        visibility[:, -1] = Visibility.ABSENT
        ids = [f"{i}-{j}" for j in range(PEOPLE)]
        box = np.array([[5.0, 5, 40, 55], [38, 4, 75, 56]])
        xy = box[:, None, :2] + rng.uniform(0, 1, (PEOPLE, K, 2)) * (box[:, None, 2:] - box[:, None, :2])
        poses = Poses.create(K, id=ids, box=box, xy=xy, visibility=visibility)
        samples.append(Sample(f"s{i}", "images", f"{i}.png", (80 + i, 60), poses))
    return write_manifest(tmp_path / "truth", samples, COCO, {"images": tmp_path / "images"}, stage="t", part_size=2)


@pytest.fixture
def predicted(truth: Manifest, weights: Path, tmp_path: Path) -> Manifest:
    return predict(truth.path, weights=weights, out=tmp_path / "poses.m", **FAST).manifest


@pytest.fixture
def checked(predicted: Manifest, truth: Manifest) -> Checked:
    return check(predicted, truth)


def learn(predicted: Manifest, checked: Checked, weights: Path, out: Path, **more: Any) -> LearnedQuality:
    given: Any = {**FAST, "steps": 3, "folds": 2, **more}
    return learn_quality(predicted, checked, weights=weights, out=out, **given)


def test_a_head_is_trained_and_predict_takes_it(
    predicted: Manifest, checked: Checked, truth: Manifest, weights: Path, tmp_path: Path
) -> None:
    learnt = learn(predicted, checked, weights, tmp_path / "c.json.quality.safetensors")
    assert learnt.poses == IMAGES * PEOPLE
    assert not learnt.unread
    assert tuple(learnt.features) == NAMES
    assert all(np.isfinite(values).all() for values in learnt.features.values())
    again = predict(truth.path, weights=weights, out=tmp_path / "again.m", quality=learnt.path, **FAST).manifest
    head = load_quality(learnt.path, load_model(weights))
    how = Predicted.read(again.path)
    assert how
    assert how.quality == quality_digest(head)
    assert ("quality", how.quality) in [(parent.role, parent.digest) for parent in again.parents]
    for part in range(again.num_parts):
        features, plain = again.features(part), predicted.features(part)
        assert features
        assert plain
        assert set(features) == {*plain, *NAMES}
        assert features["quality_ks"].shape == plain["peak"].shape
        assert features["quality_bad"].shape == plain["peak"].shape[:1]
        for name in plain:
            assert np.array_equal(features[name], plain[name], equal_nan=True), name
        for name in NAMES:
            assert features[name].min() >= 0
            assert features[name].max() <= 1


def test_what_is_learnt_from_is_what_predict_judges(
    predicted: Manifest, checked: Checked, truth: Manifest, weights: Path, tmp_path: Path
) -> None:
    """The features, places and sizes that the head is trained on give what predict says with the same head."""
    learnt = learn(predicted, checked, weights, tmp_path / "q.safetensors")
    again = predict(truth.path, weights=weights, out=tmp_path / "again.m", quality=learnt.path, **FAST).manifest
    by_predict = np.concatenate([(again.features(i) or {})["quality_ks"] for i in range(again.num_parts)])
    model = load_model(weights)
    poses, rows, _ = look(predicted, checked, np.arange(IMAGES * PEOPLE), Predictor(model, **FAST))
    assert rows.tolist() == list(range(IMAGES * PEOPLE))
    at = apply(poses.looks.to_crop, torch.from_numpy(poses.predicted))
    said = judge(load_quality(learnt.path, model), poses.looks.features, at, poses.looks.size)
    np.testing.assert_allclose(said.ks.numpy(), by_predict, atol=5e-3)  # features are kept in half precision
    assert np.ptp(by_predict) > 0.01, "places differ in what is said of them"


def test_the_same_again_changes_nothing_and_another_is_refused(
    predicted: Manifest, checked: Checked, weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "q.safetensors"
    one, same = (learn(predicted, checked, weights, out) for _ in range(2))
    for name in NAMES:
        assert np.array_equal(one.features[name], same.features[name])
    with pytest.raises(ExistsError):
        learn(predicted, checked, weights, out, seed=1)
    learn(predicted, checked, weights, out, seed=1, overwrite=True)


def test_images_that_cannot_be_read_are_left_out(
    predicted: Manifest, checked: Checked, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "images" / "1.png").write_bytes(b"no image")
    recorder = Recorder()
    learnt = learn(predicted, checked, weights, tmp_path / "q.safetensors", progress=recorder)
    assert learnt.unread == ("1.png",)
    assert learnt.poses == (IMAGES - 1) * PEOPLE
    gone = np.array([pose.startswith("1-") for pose in checked.poses.id])
    assert np.array_equal(np.isnan(learnt.features["quality_bad"]), gone)
    assert any("could not be read" in note for note in recorder.notes)
    assert recorder.steps["look"] == [1] * IMAGES


def test_only_what_fits_in_memory_is_kept(predicted: Manifest, checked: Checked, weights: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    most = 6 * 2 * 32 * 8 * 6
    learnt = learn(predicted, checked, weights, tmp_path / "q.safetensors", most_bytes=most, progress=recorder)
    assert learnt.poses == 6
    assert np.isfinite(learnt.features["quality_bad"]).sum() == 6
    assert "6 of 10" in recorder.notes[0]


def test_another_network_is_refused(
    predicted: Manifest, checked: Checked, truth: Manifest, weights: Path, tmp_path: Path
) -> None:
    other = network(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="the poses are of"):
        learn(predicted, checked, other, tmp_path / "q.safetensors")
    learnt = learn(predicted, checked, weights, tmp_path / "q.safetensors")
    with pytest.raises(CheckpointError, match="trained for network"):
        predict(truth.path, weights=other, out=tmp_path / "x.m", quality=learnt.path, **FAST)
    assert not (tmp_path / "x.m").exists()


def test_poses_without_a_prediction_teach_nothing(
    predicted: Manifest, checked: Checked, weights: Path, tmp_path: Path
) -> None:
    n = len(checked.poses)
    nothing = checked.poses.replace(
        xy=np.full((n, K, 2), np.nan), visibility=np.zeros((n, K)), by=[""] * n, score=np.full((n, K), np.nan)
    )
    with pytest.raises(InputError, match="nothing to learn"):
        learn(predicted, replace(checked, poses=nothing), weights, tmp_path / "q.safetensors")


def test_a_single_image_teaches_a_head_that_nobody_can_test(truth: Manifest, weights: Path, tmp_path: Path) -> None:
    one = write_manifest(tmp_path / "one", list(truth)[:1], COCO, truth.roots, stage="t", existing=Existing.OVERWRITE)
    poses = predict(one.path, weights=weights, out=tmp_path / "one.poses.m", **FAST).manifest
    learnt = learn(poses, check(poses, one), weights, tmp_path / "q.safetensors")
    assert learnt.path.is_file()
    assert all(np.isnan(values).all() for values in learnt.features.values())
