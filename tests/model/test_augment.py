"""Random crops: keypoints stay on their pixels, left and right change places, and the same seed draws the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autolabel.errors import ConfigError
from autolabel.poses import Visibility
from model.augment import Augmentation, absent_targets, augment
from model.crop import crop, crop_matrices, regions_from_boxes
from model.data import PoseBatch, PoseCrops

INPUT, PADDING = (128, 96), 1.25
CODECS = ("udp", "plain")
STILL = Augmentation(flip=0, scale=0, rotation=0)
WILD = Augmentation(flip=0.5, scale=0.4, rotation=60, rotation_probability=1, shift=0.1)


def batch_of(dots, count, how, **drawing) -> PoseBatch:
    manifest = dots.manifest("people", count, **drawing)
    people = PoseCrops([manifest], input_size=INPUT, padding=PADDING, canvas_size=how.canvas_size(INPUT))
    return people[range(count)]


def drawn(batch, how, skeleton, *, codec="udp", seed=0):
    generator = torch.Generator().manual_seed(seed)
    return augment(batch, how, skeleton, input_size=INPUT, padding=PADDING, codec=codec, generator=generator)


def places(dots, images):
    """(B, 3, 2) where the dots are seen, and (B, 3) whether they are seen whole, not cut off by the border."""
    grey = dots.grey(images.numpy())
    rim = np.concatenate([grey[:, :, 0], grey[:, :, -1], grey[:, :, :, 0], grey[:, :, :, -1]], axis=-1)
    return dots.found(grey.clip(min=1e-9)), (grey.max(axis=(2, 3)) > 100) & (rim.max(axis=-1) < 1)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize(
    "how",
    [
        STILL,
        Augmentation(scale=0.4, rotation=0),
        Augmentation(scale=0, rotation=60, rotation_probability=1),
        Augmentation(scale=0, rotation=0, shift=0.15),
        WILD,
    ],
    ids=["still", "scale", "rotation", "shift", "all"],
)
def test_keypoints_stay_on_their_dots(dots, codec, flip, how) -> None:
    how = how.model_copy(update={"flip": flip})
    batch = batch_of(dots, 10, how, sides=(40, 90), image=(280, 260))
    images, xy, _ = drawn(batch, how, dots.skeleton, codec=codec)
    seen, whole = places(dots, images)
    if flip:  # keypoint 1 is now who was on the right, and shines in the right's channel
        seen, whole = seen[:, [0, 2, 1]], whole[:, [0, 2, 1]]
    error = np.linalg.norm(seen - xy.numpy(), axis=-1)
    assert whole.mean() > 0.5
    assert error[whole].max() < 0.1


def test_half_of_the_crops_are_mirrored_and_renamed(dots) -> None:
    batch = batch_of(dots, 40, STILL)
    states = torch.tensor([0, 1, 3], dtype=torch.uint8).expand(40, 3)
    batch = replace(batch, visibility=states)
    how = STILL.model_copy(update={"flip": 0.5})
    _, straight, _ = drawn(batch, STILL, dots.skeleton)
    _, xy, visibility = drawn(batch, how, dots.skeleton)
    mirrored = (visibility == torch.tensor([0, 3, 1])).all(dim=1)
    assert (visibility[~mirrored] == torch.tensor([0, 1, 3])).all()
    assert 10 <= mirrored.sum() <= 30
    reflected = torch.stack([INPUT[1] - 1 - straight[..., 0], straight[..., 1]], dim=-1)[:, [0, 2, 1]]
    assert torch.allclose(xy[mirrored], reflected[mirrored], atol=1e-3)
    assert torch.allclose(xy[~mirrored], straight[~mirrored], atol=1e-3)


@pytest.mark.parametrize("codec", CODECS)
def test_without_variation_a_crop_is_what_prediction_cuts(dots, codec) -> None:
    """Pixel for pixel, up to the rounding to grey levels and to 1/32 of a pixel that prediction has."""
    rng = np.random.default_rng(0)
    canvas = torch.tensor(rng.integers(0, 256, (2, 3, 60, 50)).repeat(4, -1).repeat(4, -2), dtype=torch.uint8)
    boxes = torch.tensor([[60.3, 40.1, 130.8, 160.2], [-20, 90.5, 60, 260]])
    batch = PoseBatch(canvas, boxes, torch.zeros(2, 3, 2), torch.zeros(2, 3, dtype=torch.uint8))
    images, _, _ = drawn(batch, STILL, dots.skeleton, codec=codec)
    matrices = crop_matrices(
        regions_from_boxes(boxes, input_size=INPUT, padding=PADDING), input_size=INPUT, codec=codec
    )
    expected = torch.cat([crop(canvas[i], matrices[[i]], INPUT) for i in range(2)]).numpy()
    assert (expected == 0).mean() > 0.02, "black outside the canvas is among it"
    difference = np.abs(dots.grey(images.numpy()) - expected)
    # At an edge of 255 grey levels 1/64 of a pixel, the largest rounding, is 4 of them on each axis.
    assert difference.max() < 9
    assert difference.mean() < 0.7


@pytest.mark.parametrize("input_size", [(64, 48), (48, 64), (64, 64)])
@pytest.mark.parametrize(
    "how",
    [
        Augmentation(scale=0.25, rotation=20, rotation_probability=1),
        Augmentation(scale=0.5, rotation=40, rotation_probability=1, shift=0.2),
        Augmentation(scale=0, rotation=80, rotation_probability=1),
        STILL,
    ],
)
@pytest.mark.parametrize("codec", CODECS)
def test_a_canvas_holds_every_crop(how, input_size, codec, dots) -> None:
    """Nothing black enters crops of a white canvas; and of a canvas that is only two pixels smaller, something."""
    black = []
    for less in (0, 2):
        height, width = (side - less for side in how.canvas_size(input_size))
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        half = np.array([input_size[1], input_size[0]]) / PADDING / 2
        box = torch.tensor(np.concatenate([middle - half, middle + half])).float().expand(400, 4)
        white = torch.full((400, 3, height, width), 255, dtype=torch.uint8)
        batch = PoseBatch(white, box, torch.zeros(400, 3, 2), torch.zeros(400, 3, dtype=torch.uint8))
        images, _, _ = augment(
            batch,
            how,
            dots.skeleton,
            input_size=input_size,
            padding=PADDING,
            codec=codec,
            generator=torch.Generator().manual_seed(0),
        )
        black.append(dots.grey(images.numpy()).min() < 254)
    assert not black[0]
    # Extremes are drawn where the normal distributions are cut off; a shift's are not, and plain ends a pixel early.
    if how.shift == 0 and codec == "udp":
        assert black[1]


def test_the_same_seed_draws_the_same(dots) -> None:
    how = WILD.model_copy(update={"colour": 0.3})
    batch = batch_of(dots, 8, how)
    first, again, other = (drawn(batch, how, dots.skeleton, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0]) and not torch.equal(first[1], other[1])
    # The order of the batch does not enter the ranges: everybody varies.
    assert len({tuple(row) for row in (first[1] - batch.xy).flatten(1).tolist()}) == 8


def test_ranges_are_kept(dots) -> None:
    how = Augmentation(flip=0, scale=0.3, rotation=15, rotation_probability=0.5)
    count = 600
    canvas = torch.zeros(count, 3, 8, 8, dtype=torch.uint8)
    arms = torch.tensor([[0.0, 0], [10, 0], [0, 10]]).expand(count, 3, 2)
    box = torch.tensor([-20.0, -20, 20, 20]).expand(count, 4)
    batch = PoseBatch(canvas, box, arms, torch.full((count, 3), 2, dtype=torch.uint8))
    _, xy, _ = drawn(batch, how, dots.skeleton)
    arm = (xy[:, 1] - xy[:, 0]).double()
    angle = torch.rad2deg(torch.atan2(arm[:, 1] / ((INPUT[0] - 1) / INPUT[0]), arm[:, 0] / ((INPUT[1] - 1) / INPUT[1])))
    turned = angle.abs() > 0.1
    assert 0.4 < turned.double().mean() < 0.6
    assert angle.abs().max() <= 30.2 and angle.abs().max() > 25
    assert (angle > 0.1).any() and (angle < -0.1).any()
    still = ~turned
    scale = (INPUT[1] - 1) / (arm[still, 0] / 10) / (40 * PADDING)
    assert scale.min() >= 0.7 - 1e-4 and scale.max() <= 1.3 + 1e-4
    assert (scale <= 0.7 + 1e-4).any() and (scale >= 1.3 - 1e-4).any(), "cut off at both ends"


def test_colour_changes_brightness_and_contrast_alone(dots) -> None:
    how = Augmentation(colour=0.3)
    batch = batch_of(dots, 6, how)
    plain, xy, _ = drawn(batch, Augmentation(), dots.skeleton)
    images, same, _ = drawn(batch, how, dots.skeleton)
    assert torch.equal(xy, same)
    before, after = plain.flatten(1).double().numpy(), images.flatten(1).double().numpy()
    fits = [np.polyfit(a, b, 1, full=True) for a, b in zip(before, after, strict=True)]
    contrast = np.array([fit[0][0] for fit in fits])
    assert max(fit[1][0] for fit in fits) < 1e-4, "one straight line a crop"
    assert np.ptp(contrast) > 0.05 and np.abs(contrast - 1).max() <= 0.3
    assert np.abs(after.mean(axis=1) - before.mean(axis=1)).max() <= 0.3 + 1e-4


def test_absent_keypoints_teach_that_there_is_nothing() -> None:
    states = [Visibility.UNLABELLED, Visibility.HIDDEN, Visibility.VISIBLE, Visibility.ABSENT]
    visibility = torch.tensor([states], dtype=torch.uint8)
    targets, weights = absent_targets(torch.ones(1, 4, 2, 2), torch.tensor([[0.0, 1.0, 0.5, 0.0]]), visibility)
    assert weights.tolist() == [[0.0, 1.0, 0.5, 1.0]]
    assert targets.amax(dim=(2, 3)).tolist() == [[1.0, 1.0, 1.0, 0.0]]


@pytest.mark.parametrize(("field", "value"), [("scale", 1), ("flip", 1.1), ("rotation", -1), ("colour", 1)])
def test_impossible_ranges_are_refused(field, value) -> None:
    with pytest.raises(ConfigError, match=f"{field}: Input should be"):
        Augmentation.parse({field: value}, subject="test")
