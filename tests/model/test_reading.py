"""The features of a prediction: which map they are of, which look, and what the pose as a whole has to say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autolabel.similarity import MASK_SHARE, keypoint_similarity
from model.crop import crop, crop_matrices, normalise, regions_from_boxes
from model.heatmap import decode, flip_back
from model.heatmap_doubt import doubt
from model.jitter import jittered, uncertain
from model.predict import Predictor
from model.prediction import FEATURES, POSE_FEATURES
from model.reading import framing
from tests.model.small_network import COCO, assert_equal, joined, network, pictures

GIVEN = {"precision": "fp32", "batch_size": 4}
INPUT, CELLS = (64, 48), (32, 24)


@pytest.mark.parametrize("codec", ["udp", "plain"])
@pytest.mark.parametrize("flip_test", [False, True])
def test_they_are_of_the_map_that_was_read(codec, flip_test) -> None:
    """With a flip test of the mean map; the kernel is OKS's, measured by the box, in cells of the crop."""
    model = network(codec=codec)
    image, boxes = pictures(8)[7]
    found = joined(Predictor(model, flip_test=flip_test, **GIVEN).predict([(image, boxes)]))
    regions = regions_from_boxes(torch.tensor(boxes), input_size=INPUT)
    crops = normalise(crop(image, crop_matrices(regions, input_size=INPUT, codec=codec), INPUT))
    with torch.inference_mode():
        maps, features = model(crops), model.forward_features(crops)
        if flip_test:
            maps = (maps + flip_back(model(crops.flip(-1)), COCO.flip, codec)) / 2
            features = (features + model.forward_features(crops.flip(-1))) / 2
    less = codec == "udp"
    scale = torch.tensor([CELLS[1] - less, CELLS[0] - less]) / regions.size
    area = torch.tensor(MASK_SHARE * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    kernel = 2 * torch.tensor(COCO.sigmas)[:, None] * (area.sqrt()[:, None] * scale)[:, None]
    expected = doubt(maps, decode(maps, codec).cell, kernel, torch.tensor(COCO.flip))
    for name, values in expected._asdict().items():
        assert found[f"feature {name}"] == pytest.approx(values.numpy(), abs=1e-4), name
        assert values.std() > 0.01
    pooled = features.mean((2, 3)).numpy()
    assert found["feature embedding"] == pytest.approx(pooled, abs=1e-4) and pooled.std() > 0.1


def test_how_people_lie_in_their_images() -> None:
    boxes = np.array(
        [[10.0, 20, 40, 60], [-5, 20, 25, 60], [-0.5, -0.5, 99.5, 199.5], [0, 0, 100, 40], [300, 300, 9e2, 9e2]]
    )
    regions = regions_from_boxes(torch.tensor(boxes), input_size=INPUT, padding=1.0)
    found = framing(boxes, regions, np.tile([100.0, 200.0], (5, 1)))
    assert found["size"].tolist() == [40, 40, 200, 100, 600]
    assert found["edge"].tolist() == [0, 1, 4, 3, 2]
    # The third is widened from 100 to 150, the fourth is 133 high about y = 20, and the last lies beyond.
    inside = [1, 1 - 4.5 / 30, 100 / 150, 99.5 / 100 * (20 + 200 / 3 + 0.5) / (400 / 3), 0]
    assert found["outside"] == pytest.approx(1 - np.array(inside), abs=1e-6)
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}


def test_places_do_not_depend_on_whether_features_are_given() -> None:
    full, bare = (Predictor(network(presence=True), **GIVEN) for _ in range(2))
    bare._reader = replace(bare._reader, doubts=False)
    some, less = (joined(each.predict(pictures(6))) for each in (full, bare))
    assert [name for name in less if name.startswith("feature ")] == ["feature peak"]
    assert_equal(less, {name: some[name] for name in less})


# ---- jitter


def middling(scale=0.9, **changes):
    """A network whose peaks are so high that half of its people lie in the uncertain middle."""
    model = network(**changes)
    with torch.no_grad():
        for parameter in model.keypoint_heads[0].final_layer.parameters():
            parameter.mul_(scale)
    return model


@pytest.mark.parametrize("flip_test", [False, True])
def test_the_uncertain_are_looked_at_again(flip_test) -> None:
    """By another predictor that is given the other boxes."""
    given = {**GIVEN, "flip_test": flip_test}
    images, model = pictures(12), middling(1.44 if flip_test else 0.9)
    plain = joined(Predictor(model, **given).predict(images))
    found = joined(Predictor(model, jitter=True, **given).predict(images))
    assert_equal(plain, {name: found[name] for name in plain})
    unsure = uncertain(plain["score"])
    assert 4 < unsure.sum() < len(unsure) - 2, "more than a batch of looks, and not everybody"
    boxes = np.concatenate([boxes for _, boxes in images])
    looks = [
        joined(Predictor(model, **given).predict([(image, jittered(own)[:, look]) for image, own in images]))
        for look in range(2)
    ]
    area = MASK_SHARE * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    ks = np.mean([keypoint_similarity(look["xy"], plain["xy"], area, COCO.sigmas) for look in looks], axis=0)
    assert found["feature jitter_ks"][unsure] == pytest.approx(ks[unsure], abs=1e-6)
    lowest = np.minimum.reduce([plain["score"], *(look["score"] for look in looks)])
    assert np.array_equal(found["feature jitter_peak"][unsure], lowest[unsure])
    for name in ("feature jitter_ks", "feature jitter_peak"):
        assert np.isnan(found[name][~unsure]).all(), name


@pytest.mark.parametrize("whole_box", [False, True])
def test_jitter_depends_on_nobody_else(whole_box) -> None:
    images = pictures(12)
    model = middling(presence=True, presence_threshold=0.7, whole_box=whole_box)
    predictor = Predictor(model, jitter=True, **GIVEN)
    together = joined(predictor.predict(images))
    alone = [joined(predictor.predict([(image, box[None])])) for image, boxes in images for box in boxes]
    assert_equal(together, {name: np.concatenate([one[name] for one in alone]) for name in together})
    known = np.isfinite(together["feature jitter_ks"])
    assert 0 < known.any(axis=1).sum() < len(known)
    assert list(predictor.nothing().features) == list(predictor.feature_names)


def test_keypoints_of_the_larger_crop_have_no_jitter() -> None:
    images = pictures(12, seed=2)
    first, found = (
        joined(Predictor(middling(presence=True), jitter=True, larger_crop=larger, **GIVEN).predict(images))
        for larger in (False, True)
    )
    before, after = (np.isfinite(each["feature jitter_ks"]) for each in (first, found))
    kept = (found["score"] == first["score"]) & (found["xy"] == first["xy"]).all(axis=-1)
    assert found["again"].any() and (before & ~kept).any()
    assert not (after & ~kept).any()
    whole = np.flatnonzero(before.any(axis=1) & ~kept.all(axis=1) & kept.any(axis=1))
    assert len(whole) and np.array_equal(after[whole], before[whole] & kept[whole])
    for name in FEATURES:
        assert np.array_equal(found[f"feature {name}"][kept], first[f"feature {name}"][kept], equal_nan=True)
        assert not np.array_equal(found[f"feature {name}"][~kept], first[f"feature {name}"][~kept], equal_nan=True)
    for name in (*POSE_FEATURES, "embedding"):
        assert np.array_equal(found[f"feature {name}"], first[f"feature {name}"])
