"""What a pose gets: from the right pixels, back in the right place, whoever else is predicted with it."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import grid_sample

from autolabel.errors import ConfigError
from autolabel.similarity import keypoint_similarity
from autolabel.skeleton import Skeleton
from model.config import ViTPoseConfig
from model.crop import crop, crop_matrices, normalise, regions_from_boxes
from model.heads import QualityHead
from model.larger_crop import LARGER, call_for_larger
from model.predict import Predictor
from model.prediction import (
    EMBEDDING,
    FEATURES,
    FLIP_FEATURES,
    HEAD_FEATURES,
    JITTER_FEATURES,
    LARGER_FEATURES,
    POSE_FEATURES,
    POSE_QUALITY,
    QUALITY_FEATURES,
)
from model.whole_box import first_look, image_edges, may_be_cut, whole_boxes, worth_another_look
from tests.model.small_network import ARRAYS, COCO, assert_equal, joined, network, pictures


def judge_of(model):
    """A quality head that knows nothing, and says something else of every place."""
    torch.manual_seed(0)
    return QualityHead(model.config.width, model.skeleton.num_keypoints).eval()


# ---- pixels


class Reads(nn.Module):
    """A network that sees: its heatmap k is channel k of the input, read where the codec says the cells are."""

    def __init__(self, skeleton, codec, input_size=(128, 96), heatmap_size=(32, 24)):
        super().__init__()
        self.skeleton, self.input_size, self.heatmap_size = skeleton, input_size, heatmap_size
        self.config = ViTPoseConfig(input_size=input_size, codec=codec).model_copy(update={"width": 3})
        less = 1 if codec == "udp" else 0
        steps = [(input_size[i] - less) / (heatmap_size[i] - less) for i in (1, 0)]
        columns, rows = (torch.arange(heatmap_size[i]) * step for i, step in zip((1, 0), steps, strict=True))
        self.cells = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)

    def forward_features(self, images):
        return images

    def forward_heads(self, images):
        size = torch.tensor([self.input_size[1], self.input_size[0]])
        grid = ((2 * self.cells + 1) / size - 1).expand(len(images), -1, -1, -1)
        mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        maps = grid_sample(images * std + mean, grid, align_corners=False, padding_mode="border").clamp(min=0)
        return maps, None, None


@pytest.mark.parametrize(("codec", "cells"), [("udp", 0.05), ("plain", 0.55)])
@pytest.mark.parametrize("flip_test", [False, True])
def test_a_dot_is_found_where_it_is(dots, codec, cells, flip_test) -> None:
    """Through crop, network, decoding and back; half a pixel off anywhere is 0.125 cells or more."""
    rng = np.random.default_rng(0)
    skeleton = Skeleton("one-sided", dots.skeleton.keypoints, (), (0, 1, 2), (0.05,) * 3, "test")
    predictor = Predictor(Reads(skeleton, codec), precision="fp32", flip_test=flip_test, batch_size=4)
    sides = rng.uniform(40, 140, 12)
    truth = [dots.person(rng, side, (340, 300)) for side in sides]
    images = []
    for xy, side in zip(truth, sides, strict=True):
        cell = 1.25 * side / 24  # the square box is as wide as the heatmap, padded
        picture = dots.picture(xy, (340, 300), 2 * cell)
        box = np.array([[*(xy.mean(axis=0) - side / 2), *(xy.mean(axis=0) + side / 2)]])
        images.append((torch.tensor(picture).permute(2, 0, 1), box))
    found = joined(predictor.predict(images))
    error = np.linalg.norm(found["xy"] - np.stack(truth), axis=-1) / (1.25 * sides[:, None] / 24)
    assert error.max() < cells * 1.45  # the diagonal
    assert found["score"].min() > 0.9
    if codec == "udp":
        assert np.abs((found["xy"] - np.stack(truth)).mean(axis=(0, 1))).max() < 0.1, "no bias in pixels"


# ---- numbers


@pytest.mark.parametrize(("presence", "whole_box"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("flip_test", [False, True])
def test_nobody_depends_on_who_else_is_there(flip_test, presence, whole_box) -> None:
    images = pictures(12)
    model = network(presence=presence, presence_threshold=0.7, whole_box=whole_box)
    predictor = Predictor(model, precision="fp32", flip_test=flip_test, batch_size=4, quality=judge_of(model))
    together = joined(predictor.predict(images))
    assert presence == (4 < together["again"].sum() < 18), "more than one batch of second looks, and not everybody"
    alone = [joined(predictor.predict([(image, box[None])])) for image, boxes in images for box in boxes]
    assert len(alone) == 18, "so the last batch is not full"
    assert_equal(together, {name: np.concatenate([one[name] for one in alone]) for name in together})
    assert_equal(
        {name: values[::-1] for name, values in together.items()},
        joined(predictor.predict([(image, np.flip(boxes, 0).copy()) for image, boxes in reversed(images)])),
    )


@pytest.mark.parametrize("jitter", [False, True])
def test_it_is_the_same_when_the_network_is_asked_about_the_next_batch_first(monkeypatch, jitter) -> None:
    """As beside a GPU: a thread cuts, and answers are read when the next batch is on its way."""
    how = {"batch_size": 4, "precision": "fp32", "jitter": jitter}
    in_turn = joined(Predictor(network(presence=True), **how).predict(pictures(9)))
    monkeypatch.setattr(Predictor, "cuts_ahead", property(lambda _: True))
    assert_equal(joined(Predictor(network(presence=True), **how).predict(pictures(9))), in_turn)


def test_the_batch_size_changes_rounding_alone() -> None:
    images = pictures(12)
    small, large = (joined(Predictor(network(), precision="fp32", batch_size=n).predict(images)) for n in (3, 32))
    assert np.abs(small["score"] - large["score"]).max() < 1e-5 * np.abs(large["score"]).max()
    # Where the Newton step is ill-conditioned, rounding moves it; few are.
    assert np.median(np.abs(small["xy"] - large["xy"])) < 1e-3


def test_the_network_sees_one_shape(dots) -> None:
    seen = []
    model = network()
    model.patch_embed.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape)))
    list(Predictor(model, batch_size=4).predict(pictures(12)))
    assert seen == [(4, 3, 64, 48)] * 5
    seen.clear()
    list(Predictor(model, batch_size=4, flip_test=True).predict(pictures(12)))
    assert seen == [(8, 3, 64, 48)] * 5


def test_more_boxes_in_an_image_than_in_a_batch() -> None:
    image, _ = pictures(1)[0]
    low = np.random.default_rng(0).uniform(0, 30, (11, 2))
    boxes = np.concatenate([low, low + 40], axis=1)
    predictor = Predictor(network(), precision="fp32", batch_size=4)
    parts = list(predictor.predict([(image, boxes)]))
    assert [len(part.xy) for part in parts] == [4, 4, 3]
    assert_equal(joined(parts), joined(predictor.predict([(image, box[None]) for box in boxes])))


# ---- presence


@pytest.mark.parametrize("flip_test", [False, True])
def test_probabilities_are_the_heads(flip_test) -> None:
    model = network(presence=True)
    predictor = Predictor(model, precision="fp32", flip_test=flip_test, larger_crop=False, batch_size=4)
    image, boxes = pictures(8)[7]
    found = joined(predictor.predict([(image, boxes)]))
    regions = regions_from_boxes(torch.tensor(boxes), input_size=(64, 48))
    crops = normalise(crop(image, crop_matrices(regions, input_size=(64, 48), codec="udp"), (64, 48)))
    with torch.inference_mode():
        expected = model.forward_all(crops)[1].sigmoid().numpy()
        if flip_test:
            other = model.forward_all(crops.flip(-1))[1].sigmoid().numpy()[:, list(COCO.flip)]
            assert np.abs(expected - other).max() > 0.05
            expected = (expected + other) / 2
    assert found["presence"] == pytest.approx(expected[..., 0], abs=1e-5)
    assert found["visible"] == pytest.approx(expected[..., 1], abs=1e-5)
    assert np.abs(found["presence"] - found["visible"]).max() > 0.1
    for name in HEAD_FEATURES:
        assert np.array_equal(found[f"feature {name}"], found[name])
    assert not found["again"].any()


def test_a_network_without_a_head_knows_nothing_of_presence() -> None:
    found = joined(Predictor(network(), batch_size=4).predict(pictures(4)))
    assert np.isnan(found["presence"]).all() and np.isnan(found["visible"]).all()
    assert not found["again"].any()


@pytest.mark.parametrize("flip_test", [False, True])
def test_keypoints_that_call_for_it_have_the_larger_crops_answer(flip_test) -> None:
    """By two predictors that know of one crop each, the second with 1.5 times the padding."""
    head = judge_of(network())
    given = {"precision": "fp32", "flip_test": flip_test, "batch_size": 4, "quality": head}
    images = pictures(12, seed=2)
    sides = torch.tensor(
        np.concatenate([[tuple(image.shape[:0:-1])] * len(boxes) for image, boxes in images if len(boxes)])
    )
    boxes = np.concatenate([boxes for _, boxes in images])
    found = joined(Predictor(network(presence=True), **given).predict(images))
    first = joined(Predictor(network(presence=True), larger_crop=False, **given).predict(images))
    larger = network(presence=True, box_padding=1.25 * LARGER)
    second = joined(Predictor(larger, larger_crop=False, **given).predict(images))
    regions = regions_from_boxes(torch.tensor(boxes), input_size=(64, 48))
    calls = call_for_larger(
        first["xy"],
        first["score"],
        first["presence"] >= 0.5,
        crop=torch.cat([regions.centre - regions.size / 2, regions.centre + regions.size / 2], dim=1).numpy(),
        image_size=sides.double().numpy(),
        heatmap_size=(32, 24),
    )
    assert np.array_equal(found["again"], calls.any(axis=1)) and 0 < calls.any(axis=1).sum() < len(calls)
    assert 0 < calls[found["again"]].sum() < calls[found["again"]].size, "and only some of their keypoints"
    for name, values in found.items():
        if name == "feature again":
            assert np.array_equal(values, found["again"].astype(np.float32))
        elif name.removeprefix("feature ") in (*POSE_FEATURES, POSE_QUALITY, EMBEDDING):
            assert np.array_equal(values, first[name]), name
        elif name != "again":
            which = calls[..., None] if values.ndim == 3 else calls
            assert np.array_equal(values, np.where(which, second[name], first[name])), name


def test_a_quality_head_adds_features_and_changes_nothing_else() -> None:
    images = pictures(6)
    model = network()
    plain = joined(Predictor(model, precision="fp32", flip_test=True, batch_size=4).predict(images))
    judging = Predictor(model, precision="fp32", flip_test=True, batch_size=4, quality=judge_of(model))
    judged = joined(judging.predict(images))
    added = {f"feature {name}" for name in (*QUALITY_FEATURES, POSE_QUALITY)}
    assert set(judged) - set(plain) == added <= {f"feature {name}" for name in judging.feature_names}
    assert all(np.array_equal(judged[name], plain[name], equal_nan=True) for name in plain)
    for name in added:
        assert len(np.unique(judged[name])) == judged[name].size and ((judged[name] > 0) & (judged[name] < 1)).all()
    for name, values in judging.nothing().features.items():
        assert values.shape[1:] == judged[f"feature {name}"].shape[1:], name


def constant(reach, **changes):
    """A network that says of everybody that they reach so far, in half heights of the crop."""
    model = network(presence=True, whole_box=True, **changes)
    with torch.no_grad():
        model.whole_box_head.judge.weight.zero_()
        model.whole_box_head.judge.bias.copy_(torch.tensor(reach).log())
    return model


@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize(
    ("reach", "everybody"), [((0.6, 1.1, 0.8, 1.5), True), ((1.1, 1.5, 1.1, 1.5), True), ((0.6, 0.7, 0.6, 0.7), False)]
)
def test_people_at_the_edge_are_looked_at_as_parts_of_a_whole(flip_test, reach, everybody) -> None:
    """By another predictor that is given the whole boxes."""
    given = {"precision": "fp32", "batch_size": 4, "flip_test": flip_test}
    images = _small_people()
    plain = Predictor(network(presence=True), **given)
    found = joined(Predictor(constant(reach), **given).predict(images))
    boxes, ends = _in_images(images)
    edge = may_be_cut(boxes, ends).any(dim=1).numpy()
    assert 4 < edge.sum() < len(edge) - 2
    looked = first_look(boxes, ends)
    before = joined(plain.predict(_with(images, looked)))
    regions = regions_from_boxes(looked, input_size=(64, 48))
    said = torch.tensor([reach]).log()
    said = ((said + said[:, [2, 1, 0, 3]]) / 2 if flip_test else said).expand(len(boxes), -1)
    larger = whole_boxes(said, boxes, regions)
    asked = worth_another_look(looked, larger).numpy()[edge]
    assert asked.any() and asked.all() == everybody
    edge[edge] = asked
    assert found["again"][edge].all() and np.array_equal(found["again"][~edge], before["again"][~edge])
    second = joined(Predictor(network(presence=True), larger_crop=False, **given).predict(_with(images, larger)))
    for name in ("xy", "score", "presence", "visible", "feature peak"):
        assert np.array_equal(found[name][edge], second[name][edge]), name
        assert np.array_equal(found[name][~edge], before[name][~edge]), name
    without = Predictor(constant(reach), larger_crop=False, **given)
    assert not joined(without.predict(images))["again"].any()


def test_who_has_all_keypoints_inside_the_image_is_not_cut() -> None:
    """They are looked at in their own box in the end, however far the whole-box head says that they reach."""
    model, images = constant((1.1, 1.5, 1.1, 1.5)), _small_people()
    with torch.no_grad():
        for name in ("weight", "bias"):
            getattr(model.presence_heads[0], name).fill_(float(name == "bias"))
    found = joined(Predictor(model, batch_size=4).predict(images))
    own = joined(Predictor(model, batch_size=4, larger_crop=False).predict(images))
    boxes, ends = _in_images(images)
    edge = may_be_cut(boxes, ends).any(dim=1).numpy()
    assert edge.sum() > 4 and found["again"][edge].all()
    assert np.array_equal(found["xy"][edge], own["xy"][edge])


def _small_people():
    """Their crops are enlarged, so that their surroundings are kept as they are."""
    return [(image, np.hstack([box[:, :2], np.minimum(box[:, 2:], box[:, :2] + 38)])) for image, box in pictures(12, 3)]


def _in_images(images):
    """(N, 4) all boxes, and the edges of the images that they are in."""
    boxes = torch.tensor(np.concatenate([boxes for _, boxes in images]))
    sizes = [image.shape[:0:-1] for image, boxes in images for _ in boxes]
    return boxes, image_edges(torch.tensor(sizes, dtype=torch.float64))


def _with(images, boxes):
    """The images with other boxes (N, 4)."""
    counts = np.cumsum([len(own) for _, own in images])
    return list(zip((image for image, _ in images), np.split(boxes.numpy(), counts[:-1]), strict=True))


def test_nobody_is_taken_for_cut_whose_box_is_the_image() -> None:
    images = [(image, np.array([[-0.5, -0.5, image.shape[2] - 0.5, image.shape[1] - 0.5]])) for image, _ in pictures(5)]
    found = joined(Predictor(constant((3.0,) * 4), batch_size=4).predict(images))
    assert not found["again"].any()


def test_a_whole_box_head_needs_no_presence_head() -> None:
    images = pictures(12, seed=3)
    found = joined(Predictor(network(whole_box=True), batch_size=4).predict(images))
    assert found["again"].any() and np.isnan(found["presence"]).all()


class Sure(Reads):
    """Sees dots, and says that all of them are inside the image and visible."""

    def __init__(self, skeleton, codec):
        super().__init__(skeleton, codec, heatmap_size=(64, 48))
        self.config = self.config.model_copy(update={"presence": True})

    def forward_heads(self, images):
        maps, _, _ = super().forward_heads(images)
        return maps, maps.new_full((*maps.shape[:2], 2), 3.0), None


def test_a_joint_outside_the_crop_is_found_in_a_larger_one(dots) -> None:
    """Each box holds two dots of three; the third is a tenth of the box beyond what is cropped."""
    rng = np.random.default_rng(0)
    skeleton = Skeleton("one-sided", dots.skeleton.keypoints, (), (0, 1, 2), (0.05,) * 3, "test")
    images, truth = [], []
    for direction in ([0, 1], [0, -1], [1, 0], [-1, 0]):
        side, centre = rng.uniform(50, 80), rng.uniform(140, 170, 2)
        half = 1.25 * side / 2 * np.array([1, 4 / 3])  # of the crop: a square box in an upright input
        xy = centre + np.array([[-0.2, 0.1], [0.1, -0.2], [0, 0]]) * side
        xy[2] += direction * (half + 0.1 * side)
        box = np.array([[*(centre - side / 2), *(centre + side / 2)]])
        images.append((torch.tensor(dots.picture(xy, (340, 300), 2 * 1.25 * side / 48)).permute(2, 0, 1), box))
        truth.append(xy)
    truth = np.stack(truth)
    plain, again = (
        joined(Predictor(Sure(skeleton, "udp"), precision="fp32", larger_crop=larger, batch_size=4).predict(images))
        for larger in (False, True)
    )
    far, near = (np.linalg.norm(found["xy"] - truth, axis=-1) for found in (plain, again))
    assert near.max() < 1 < 3 < far[:, 2].min(), "pixels"
    assert again["again"].all() and not plain["again"].any()
    assert np.array_equal(again["xy"][:, :2], plain["xy"][:, :2]), "the others keep the finer crop"


@cache
def reference():
    path = Path(__file__).with_name("heatmap_reference.py")
    spec = importlib.util.spec_from_file_location("heatmap_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("codec", ["udp", "plain"])
def test_the_flip_test_is_the_mean_of_both_maps(codec) -> None:
    """By hand, with OpenCV's crop and the NumPy decoder: ``vitpose.md`` 3.1, 3.2, 3.4 and 3.5."""
    import cv2

    model = network(codec=codec)
    images = pictures(12, seed=1)
    found = joined(Predictor(model, precision="fp32", flip_test=True, batch_size=4).predict(images))
    peaks, flips, places, well = [], [], [], []
    for image, boxes in images:
        for x1, y1, x2, y2 in boxes:
            w, h = max(x2 - x1, 0.75 * (y2 - y1)), max(y2 - y1, (x2 - x1) / 0.75)
            bw, bh, cx, cy = 1.25 * w, 1.25 * h, (x1 + x2) / 2, (y1 + y2) / 2
            ex, ey = (47, 63) if codec == "udp" else (48, 64)
            matrix = np.array([[ex / bw, 0, ex * (0.5 - cx / bw)], [0, ey / bh, ey * (0.5 - cy / bh)]])
            pixels = cv2.warpAffine(image.permute(1, 2, 0).numpy(), matrix, (48, 64), flags=cv2.INTER_LINEAR)
            normal = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
            both = torch.tensor(np.stack([normal, normal[:, ::-1]])).permute(0, 3, 1, 2).float()
            with torch.inference_mode():
                straight, mirrored = model(both).double().numpy()
            back = mirrored[list(COCO.flip)][:, :, ::-1]
            if codec == "plain":
                back = np.concatenate([back[:, :, :1], back[:, :, :-1]], axis=2)
            cells = (23, 31) if codec == "udp" else (24, 32)
            for maps in ((straight + back) / 2, straight, back):
                decoded = [_decoded(maps[k], codec) for k in range(17)]
                xy = np.array([xy for xy, _, _ in decoded])
                places.append(xy * [bw / cells[0], bh / cells[1]] + [cx - bw / 2, cy - bh / 2])
                well.append([conditioning for _, _, conditioning in decoded])
            peaks.append(((straight + back) / 2).max(axis=(1, 2)))
            flips.append(np.minimum(straight.max(axis=(1, 2)), back.max(axis=(1, 2))))
    mean, own, other = (np.stack(places[i::3]) for i in range(3))
    sure, sure_own, sure_other = (np.stack(well[i::3]) > 0.01 for i in range(3))
    assert sure.sum() > 40
    assert np.abs(found["score"] - peaks).max() < 1e-4 * np.abs(peaks).max()
    assert np.array_equal(found["feature peak"], found["score"])
    assert np.abs(found["feature flip_peak"] - flips).max() < 1e-4 * np.abs(flips).max()
    assert np.abs(found["xy"] - mean)[sure].max() < 0.02
    area = np.concatenate([0.53 * (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for _, b in images])
    agreement = keypoint_similarity(own, other, area, COCO.sigmas)
    assert np.abs(found["feature flip_ks"] - agreement)[sure_own & sure_other].max() < 0.01
    swapped = keypoint_similarity(own, other[:, list(COCO.flip)], area, COCO.sigmas)
    assert np.abs(found["feature swap_ks"] - swapped)[sure_own & sure_other[:, list(COCO.flip)]].max() < 0.01
    assert not np.allclose(found["feature flip_ks"], found["feature swap_ks"], atol=0.1)


def _decoded(heatmap, codec):
    """Place, score, and conditioning, 0 where our decoder takes no step: a map that is nowhere positive."""
    if codec == "udp":
        xy, score, conditioning = reference().decode_udp(heatmap)
    else:
        xy, score, conditioning = *reference().decode_plain(heatmap), 1.0
    return xy, score, conditioning * (score > 0)


def test_bf16_is_close_to_fp32() -> None:
    images = pictures(12)
    exact, rounded = (
        joined(Predictor(network(), precision=precision, batch_size=4).predict(images))
        for precision in ("fp32", "bf16")
    )
    scale = np.abs(exact["score"]).max()
    assert 0 < np.abs(exact["score"] - rounded["score"]).max() < 0.03 * scale
    assert rounded["xy"].dtype == rounded["score"].dtype == np.float32


# ---- nothing


@pytest.mark.parametrize("presence", [False, True])
@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize("jitter", [False, True])
def test_no_boxes_no_predictions(flip_test, jitter, presence) -> None:
    predictor = Predictor(network(presence=presence), flip_test=flip_test, jitter=jitter, batch_size=4)
    names = FEATURES + flip_test * FLIP_FEATURES + presence * HEAD_FEATURES + jitter * JITTER_FEATURES
    names += POSE_FEATURES + presence * LARGER_FEATURES + (EMBEDDING,)
    image, none = pictures(1)[0]
    assert len(none) == 0
    assert list(predictor.predict([])) == []
    assert list(predictor.predict([(image, none)])) == []
    some, nothing = next(iter(predictor.predict(pictures(3)))), predictor.nothing()
    assert tuple(some.features) == tuple(nothing.features) == names
    for name in ARRAYS:
        one, other = getattr(some, name), getattr(nothing, name)
        assert other.shape == (0, *one.shape[1:]) and other.dtype == one.dtype
    for name, values in some.features.items():
        axes = () if name in LARGER_FEATURES + POSE_FEATURES else (32,) if name == EMBEDDING else (17,)
        assert values.shape[1:] == nothing.features[name].shape[1:] == axes
        assert nothing.features[name].dtype == values.dtype == np.float32


def test_what_is_cropped_has_the_inputs_aspect() -> None:
    area = Predictor(network()).padded_area(np.array([[0.0, 0, 30, 40], [0, 0, 40, 40]]))
    assert area == pytest.approx([1.25**2 * 30 * 40, 1.25**2 * 40 * 40 / 0.75])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError):
        Predictor(network(), device="tpu")
    with pytest.raises(ConfigError):
        Predictor(network(), device="cpu", precision="fp16")
