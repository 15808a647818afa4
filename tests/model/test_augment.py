"""Random crops: keypoints stay on their pixels, left and right change places, a person's crop is the person's own."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from autolabel.errors import ConfigError, InputError
from autolabel.poses import Visibility
from autolabel.skeleton import Skeleton
from model.appearance import grey_levels
from model.augment import Augmentation
from model.crop import crop, crop_matrices, regions_from_boxes
from model.data import PoseBatch, PoseCrops
from model.draws import Draws
from model.truncation import truncate
from model.whole_box import touches
from tests.model.random_people import COCO, LSP, drawn, people

CODECS = ("udp", "plain")
INPUT, PADDING = (128, 96), 1.25
STILL = Augmentation(flip=0, half_body=0, scale=0, rotation=0, shift=0)
WILD = Augmentation(flip=0.5, scale=0.4, rotation=60, rotation_probability=1, shift=0.2, shift_probability=1)


def still(**changes) -> Augmentation:
    return STILL.model_copy(update=changes)


def batch_of(dots, count, how, **drawing) -> PoseBatch:
    crops = PoseCrops(
        [dots.manifest("people", count, **drawing)],
        input_size=INPUT,
        padding=PADDING,
        canvas_size=how.canvas_size(INPUT),
        detail=how.detail,
    )
    return crops[range(count)]


def places(dots, images):
    """(B, 3, 2) where the dots are seen, and (B, 3) whether they are seen whole, not cut off by the border."""
    grey = dots.grey(images.numpy())
    rim = np.concatenate([grey[:, :, 0], grey[:, :, -1], grey[:, :, :, 0], grey[:, :, :, -1]], axis=-1)
    return dots.found(grey.clip(min=1e-9)), (grey.max(axis=(2, 3)) > 100) & (rim.max(axis=-1) < 1)


def same(one, other, rows=slice(None)) -> bool:
    pairs = ((getattr(one, field.name)[rows], getattr(other, field.name)) for field in fields(one))
    return all(np.array_equal(ours.numpy(), theirs.numpy(), equal_nan=True) for ours, theirs in pairs)


# ---- geometry


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize(
    "how",
    [
        STILL,
        still(scale=0.4),
        still(rotation=60, rotation_probability=1),
        still(shift=0.3, shift_probability=1),
        still(truncation=1),
        WILD,
        WILD.model_copy(update={"truncation": 0.5, "detail": 1.0}),
    ],
    ids=["still", "scale", "rotation", "shift", "truncation", "all", "all and reduced"],
)
def test_keypoints_stay_on_their_dots(dots, codec, flip, how) -> None:
    how = how.model_copy(update={"flip": flip})
    batch = batch_of(dots, 10, how, sides=(40, 90), image=(280, 260))
    crops = drawn(batch, how, dots.skeleton, codecs=(codec,), input_size=INPUT)
    seen, whole = places(dots, crops.images)
    if flip:  # keypoint 1 is now who was on the right, and shines in the right's channel
        seen, whole = seen[:, [0, 2, 1]], whole[:, [0, 2, 1]]
    clear = far_from_edges(batch, how)
    whole &= (crops.visibility == Visibility.VISIBLE).numpy() & (clear[:, [0, 2, 1]] if flip else clear)
    error = np.linalg.norm(seen - crops.xy.numpy(), axis=-1)
    assert whole.mean() > (0.15 if how.truncation else 0.5)
    assert error[whole].max() < 0.1


def far_from_edges(batch, how):
    """(B, K) whether the cut, which is what is drawn first, goes through no part of a dot."""
    no_limbs = torch.zeros(len(batch), 1, 2, dtype=torch.int64)
    cut, _ = truncate(batch, how.truncation, no_limbs, Draws(0, 0, 10, slice(None)), tight=how.tight, first_look=0.0)
    distance = torch.cat([batch.xy - cut.image[:, None, :2], cut.image[:, None, 2:] - batch.xy], dim=-1).amin(dim=-1)
    sigma = (batch.box[:, 2:] - batch.box[:, :2]).amax(dim=1) / 20
    return (distance > 4 * sigma[:, None]).numpy()


def test_half_of_the_crops_are_mirrored_and_renamed() -> None:
    batch = people(40, states=list(Visibility))
    straight, crops = drawn(batch, STILL, COCO), drawn(batch, still(flip=0.5), COCO)
    partner = list(COCO.flip)
    reflected = straight.xy[:, partner].clone()
    reflected[..., 0] = 47 - reflected[..., 0]
    mirrored = (crops.xy - reflected).abs().amax(dim=(1, 2)) < 1e-3
    assert 10 <= mirrored.sum() <= 30
    assert same(straight, type(crops)(*(getattr(crops, f.name)[~mirrored] for f in fields(crops))), ~mirrored)
    for name in ("visibility", "inside"):
        assert torch.equal(getattr(crops, name)[mirrored], getattr(straight, name)[mirrored][:, partner])
    assert torch.allclose(crops.images[mirrored], straight.images[mirrored].flip(-1), atol=1e-3)


@pytest.mark.parametrize("codec", CODECS)
def test_without_variation_a_crop_is_what_prediction_cuts(dots, codec) -> None:
    """Pixel for pixel, up to the rounding to grey levels and to 1/32 of a pixel that prediction has."""
    rng = np.random.default_rng(0)
    canvas = torch.tensor(rng.integers(0, 256, (2, 3, 60, 50)).repeat(4, -1).repeat(4, -2), dtype=torch.uint8)
    boxes = torch.tensor([[60.3, 40.1, 130.8, 160.2], [-20, 90.5, 60, 260]])
    batch = replace(people(2, dots.skeleton, size=(240, 200)), canvas=canvas, box=boxes)
    images = drawn(batch, STILL, dots.skeleton, codecs=(codec,), input_size=INPUT).images
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
        still(scale=0.25, rotation=20, rotation_probability=1),
        still(scale=0.5, rotation=40, rotation_probability=1, shift=0.2, shift_probability=1),
        still(rotation=80, rotation_probability=1, detail=1.5),
        still(shift_probability=0),
    ],
)
@pytest.mark.parametrize("codec", CODECS)
def test_a_canvas_holds_every_crop(how, input_size, codec) -> None:
    """Nothing black enters crops of a white canvas; and of a canvas that is only four pixels smaller, something."""
    black = []
    for less in (0, 4):
        height, width = (side - less for side in how.canvas_size(input_size))
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        half = how.detail * np.array([input_size[1], input_size[0]]) / PADDING / 2
        box = torch.tensor(np.concatenate([middle - half, middle + half])).float().expand(150, 4)
        white = torch.full((1, 3, height, width), 255, dtype=torch.uint8).expand(150, 3, height, width)
        batch = replace(
            people(150, size=(4, 4)), canvas=white, box=box, image=torch.tensor([-1e3, -1e3, 1e3, 1e3]).expand(150, 4)
        )
        crops = drawn(batch, how, COCO, codecs=(codec,), input_size=input_size)
        black.append(grey_levels(crops.images).min() < 254)
    assert not black[0]
    # Extremes are drawn where the normal distributions are cut off; a shift's are not, and plain ends a pixel early.
    if how.shift == 0 and codec == "udp":
        assert black[1]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("ends", [True, False])
def test_regions_about_a_part_stay_on_the_canvas(codec, ends) -> None:
    """Black is seen where the image ends, and not where only the canvas does.

    The worst half of a body: it is as long as all of it, and its middle is in a corner.
    """
    how = Augmentation(half_body=1.0, rotation_probability=1)
    height, width = how.canvas_size((64, 48))
    middle = torch.tensor([width - 1, height - 1]) / 2
    half = torch.tensor([48, 64]) / PADDING * how.detail / 2
    xy = (middle - half).expand(150, 17, 2).clone()
    xy[:, [10, 16]] = middle + half
    far = torch.tensor([-1e3, -1e3, 1e3, 1e3]) if not ends else torch.tensor([2.5, 2.5, width - 3.5, height - 3.5])
    batch = replace(
        people(150, size=(2, 2)),
        canvas=torch.full((1, 3, height, width), 255, dtype=torch.uint8).expand(150, 3, height, width),
        xy=xy,
        box=torch.cat([middle - half, middle + half]).expand(150, 4),
        image=far.expand(150, 4),
    )
    crops = drawn(batch, how, COCO, codecs=(codec,))
    assert (grey_levels(crops.images).min() < 10) == ends


def region(crops, xy, size):
    """Centre and size (B, 2) of upright UDP regions, read from where keypoints 0 and 1 went."""
    extent = np.array([size[1] - 1, size[0] - 1])
    before, after = (np.asarray(points, np.float64)[:, :2] for points in (xy, crops.xy))
    scale = (after[:, 1] - after[:, 0]) / (before[:, 1] - before[:, 0])
    return before[:, 0] + (extent / 2 - after[:, 0]) / scale, extent / scale


def official_half_body(xy, states, upper_ids, first, size):
    """``TopDownHalfBodyTransform`` of mmpose 0.24 for one person: centre and size, or None."""
    stated = [k for k in range(len(xy)) if states[k] in (Visibility.HIDDEN, Visibility.VISIBLE)]
    upper = [xy[k] for k in stated if k in upper_ids]
    lower = [xy[k] for k in stated if k not in upper_ids]
    if len(stated) <= 8:
        return None
    if first and len(upper) > 2:
        chosen = upper
    elif len(lower) > 2:
        chosen = lower
    else:
        chosen = upper
    if len(chosen) < 2:
        return None
    chosen = np.array(chosen)
    w, h = chosen.max(axis=0) - chosen.min(axis=0)
    aspect = size[1] / size[0]
    w, h = (w, w / aspect) if w > aspect * h else (h * aspect, h)
    return chosen.mean(axis=0), np.array([w, h]) * 1.5


@pytest.mark.parametrize("skeleton", [COCO, LSP])
def test_half_body_is_the_official_rule(skeleton) -> None:
    size = (16, 12)
    batch = people(400, skeleton, states=[0, 0, 1, 2, 3], size=(90, 120))
    batch.visibility[:60] = Visibility.VISIBLE
    batch.visibility[60:80, list(skeleton.lower)[2:]] = Visibility.UNLABELLED
    batch = replace(batch, canvas=batch.canvas[:, :, :2, :2])
    crops = drawn(batch, still(half_body=1.0), skeleton, input_size=size)
    whole = regions_from_boxes(batch.box, input_size=size, padding=PADDING)
    centre, extent = region(crops, batch.xy, size)
    kinds = {"upper": 0, "lower": 0, "whole": 0}
    for n in range(len(batch)):
        options = {
            first: official_half_body(batch.xy[n].numpy(), batch.visibility[n], skeleton.upper, first, size)
            for first in (True, False)
        }
        if options[True] is None:
            kinds["whole"] += 1
            expected = [(whole.centre[n].numpy(), whole.size[n].numpy())]
        else:
            expected = list(options.values())
        fits = [np.allclose(centre[n], c, atol=0.02) and np.allclose(extent[n], s, rtol=1e-3) for c, s in expected]
        assert any(fits)
        if n < 60:
            kinds["upper" if fits[0] else "lower"] += 1
    assert kinds["whole"] > 50
    assert kinds["upper"] + kinds["lower"] == 60 and 0.55 < kinds["upper"] / 60 < 0.85, "P(randn < 0.5) is 0.69"


def test_half_body_has_its_probability_and_needs_nine_joints() -> None:
    batch = people(600, size=(4, 4))
    how = still(half_body=0.3)
    plain = drawn(batch, STILL, COCO, input_size=(8, 6)).xy

    def share(batch) -> float:
        return (drawn(batch, how, COCO, input_size=(8, 6)).xy != plain).flatten(1).any(dim=1).double().mean().item()

    assert share(batch) == pytest.approx(0.3, abs=0.05)
    eight = torch.where(torch.arange(17) < 8, Visibility.VISIBLE, Visibility.UNLABELLED).to(torch.uint8)
    nine = torch.where(torch.arange(17) < 9, Visibility.VISIBLE, Visibility.ABSENT).to(torch.uint8)
    assert share(replace(batch, visibility=eight.expand(600, 17))) == 0
    assert share(replace(batch, visibility=nine.expand(600, 17))) == pytest.approx(0.3, abs=0.05)


def test_a_skeleton_without_halves_has_no_half_body() -> None:
    plain = Skeleton("ten", tuple("abcdefghij"), (), tuple(range(10)), (0.05,) * 10, "test")
    batch = people(20, plain, size=(4, 4))
    assert torch.equal(drawn(batch, still(half_body=1.0), plain).xy, drawn(batch, STILL, plain).xy)


def test_ranges_are_kept() -> None:
    how = still(scale=0.3, rotation=15, rotation_probability=0.5)
    count = 600
    arms = torch.tensor([[0.0, 0], [10, 0], [0, 10]]).expand(count, 3, 2)
    box = torch.tensor([-20.0, -20, 20, 20]).expand(count, 4)
    skeleton = Skeleton("arms", ("a", "b", "c"), (), (0, 1, 2), (0.05,) * 3, "test")
    batch = replace(people(count, skeleton, size=(8, 8)), xy=arms, box=box)
    xy = drawn(batch, how, skeleton, input_size=(32, 24)).xy
    arm = (xy[:, 1] - xy[:, 0]).double()
    angle = torch.rad2deg(torch.atan2(arm[:, 1] / (31 / 32), arm[:, 0] / (23 / 24)))
    turned = angle.abs() > 0.1
    assert 0.4 < turned.double().mean() < 0.6
    assert angle.abs().max() <= 30.2 and angle.abs().max() > 25
    assert (angle > 0.1).any() and (angle < -0.1).any()
    upright = ~turned
    scale = 23 / (arm[upright, 0] / 10) / (40 * PADDING)
    assert scale.min() >= 0.7 - 1e-4 and scale.max() <= 1.3 + 1e-4
    assert (scale <= 0.7 + 1e-4).any() and (scale >= 1.3 - 1e-4).any(), "cut off at both ends"


def test_shifts_are_shares_of_the_box() -> None:
    """Official: with probability 0.3, up to a fifth of the box's width and height, before the aspect is fixed."""
    batch = people(2000, size=(2, 2))
    box = torch.tensor([-40.0, -10, 40, 10]).expand(2000, 4)
    batch = replace(batch, box=box, xy=batch.xy + torch.rand_like(batch.xy))
    crops = drawn(batch, still(shift=0.2, shift_probability=0.3), COCO, input_size=(8, 6))
    centre, _ = region(crops, batch.xy, (8, 6))
    moved = np.abs(centre).max(axis=1) > 0.1
    assert moved.mean() == pytest.approx(0.3, abs=0.04)
    for axis, side in ((0, 80), (1, 20)):
        share = centre[moved, axis] / side
        assert np.abs(share).max() < 0.205 and np.quantile(np.abs(share), 0.9) > 0.16
        assert np.mean(share) == pytest.approx(0, abs=0.02)


def test_first_looks_are_told_and_only_a_network_with_a_whole_box_head_has_them() -> None:
    how = still(truncation=0.5, first_look=0.4)
    with_head, without = (drawn(people(400), how, COCO, whole_box=head).first_look for head in (True, False))
    assert 0.3 < with_head.double().mean() < 0.5 and not without.any()


# ---- truncation in the picture


def test_beyond_the_cut_is_black_and_inside_is_the_picture() -> None:
    """On white images, black crops tell where the cut is: a joint is inside if it is on white."""
    batch = people(60, size=(90, 120), states=[0, 1, 2, 2])
    batch = replace(batch, canvas=torch.full_like(batch.canvas, 255))
    how = Augmentation(truncation=1.0, shift=0.0, half_body=0.0, colour=0.2)
    crops = drawn(batch, how, COCO)
    levels = grey_levels(crops.images).float().mean(dim=1) / 255
    lost = 0
    for n, k in np.ndindex(*crops.xy.shape[:2]):
        x, y = crops.xy[n, k].round().int().tolist()
        state = int(crops.visibility[n, k])
        if state == Visibility.UNLABELLED or not (1 <= x < 47 and 1 <= y < 63):
            continue
        around = levels[n, y - 1 : y + 2, x - 1 : x + 2]
        assert crops.inside[n, k] == (state != Visibility.ABSENT)
        if around.max() < 0.1 or around.min() > 0.5:  # not at the line itself
            assert (around.max() < 0.1) == (state == Visibility.ABSENT)
            lost += state == Visibility.ABSENT
    assert lost > 20


def test_joints_outside_the_crop_are_inside_the_image_still() -> None:
    batch = people(100)
    crops = drawn(batch, still(scale=0.5), COCO)
    off = ((crops.xy < 0) | (crops.xy > torch.tensor([47, 63]))).any(dim=-1)
    assert off.any() and crops.inside.all() and (crops.visibility == Visibility.VISIBLE).all()


def test_the_whole_person_is_told_of_a_part() -> None:
    """Cut or not, the same person's whole box; of people whom their own image may have cut already, nothing."""
    batch = people(60, size=(90, 120))
    batch = replace(batch, image=torch.where(torch.arange(60)[:, None] < 20, batch.box, batch.image))
    batch.visibility[10:15, 3] = Visibility.UNLABELLED
    batch.xy[15:20, 4] = -50.0  # outside the image
    crops, cut = (drawn(batch, still(truncation=t, first_look=0.0), COCO, whole_box=True) for t in (0.0, 1.0))
    assert touches(batch.box, batch.image)[:20].all()
    known = torch.tensor([*[True] * 10, *[False] * 10, *[True] * 40])
    for found in (crops, cut):
        assert torch.equal(found.reach.isfinite(), known[:, None].expand(-1, 4))
    # The crop of a whole person is the padded box in the input's aspect: one pair of edges is at 1 / 1.25 of its half.
    full = crops.reach[20:, :2] / torch.tensor([0.8 * 48 / 64, 0.8])
    assert full.amax(dim=1).numpy() == pytest.approx(1.0, abs=1e-2)
    assert (crops.reach[20:, 0] - crops.reach[20:, 2]).abs().max() < 1e-5
    # In the smaller crops of parts the whole person reaches further, and is as wide for their height as before.
    shape = [
        (found.reach[:, 0] + found.reach[:, 2]) / (found.reach[:, 1] + found.reach[:, 3]) for found in (crops, cut)
    ]
    assert shape[1][known].numpy() == pytest.approx(shape[0][known].numpy(), rel=1e-4)
    assert (cut.reach.amax(dim=1)[known] > 1.05).sum() > 5


@pytest.mark.parametrize(
    ("x", "inside"), [(-0.6, False), (-0.4, True), (119.4, True), (119.6, False), (float(2**20), False)]
)
def test_labelled_outside_the_image(x, inside) -> None:
    batch = people(2, size=(90, 120))
    batch.xy[:, 0, 0] = x
    crops = drawn(batch, STILL, COCO)
    assert crops.inside[:, 0].tolist() == [inside] * 2 and crops.inside[:, 1:].all()
    assert (crops.visibility == Visibility.VISIBLE).all()


def test_what_a_rectangle_covers_is_hidden() -> None:
    batch = people(200, states=list(Visibility))
    before, after = drawn(batch, STILL, COCO), drawn(batch, still(cutout=0.5), COCO)
    changed = before.visibility != after.visibility
    assert (before.visibility[changed] == Visibility.VISIBLE).all()
    assert (after.visibility[changed] == Visibility.HIDDEN).all() and changed.sum() > 20
    covered = (before.images != after.images).any(dim=1)
    assert covered.flatten(1).any(dim=1).double().mean() == pytest.approx(0.5, abs=0.12)
    for n, k in changed.nonzero().tolist():
        x, y = after.xy[n, k].round().int().clamp_min(0).tolist()
        assert covered[n, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].any()
    assert torch.equal(before.inside, after.inside) and torch.equal(before.xy, after.xy)


# ---- a person's crop is the person's own

EVERYTHING = Augmentation(truncation=0.5, colour=0.3, tint=0.3, grey=0.2, cutout=0.5)


@pytest.mark.parametrize("rows", [slice(0, 7), slice(7, 24), slice(5, 6)])
def test_slices_of_a_batch_give_the_same_crops(rows) -> None:
    batch = people(24)
    whole = drawn(batch, EVERYTHING, COCO)
    part = drawn(batch.rows(rows), EVERYTHING, COCO, total=24, rows=rows)
    assert same(whole, part, rows)


def test_another_canvas_gives_the_same_crops() -> None:
    """A process whose people are smaller has smaller canvases."""
    batch = people(24)
    larger = torch.nn.functional.pad(batch.canvas, (0, 31, 0, 17))
    assert same(drawn(batch, EVERYTHING, COCO), drawn(replace(batch, canvas=larger), EVERYTHING, COCO))


def test_settings_do_not_change_other_draws() -> None:
    batch = people(24)
    one, other = drawn(batch, EVERYTHING, COCO), drawn(batch, EVERYTHING.model_copy(update={"colour": 0.0}), COCO)
    for name in ("xy", "visibility", "inside"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert not torch.equal(one.images, other.images)
    still_cut = EVERYTHING.model_copy(update={"scale": 0.0, "rotation": 0.0, "flip": 0.0, "cutout": 0.0})
    absent = [(drawn(batch, how, COCO).visibility == Visibility.ABSENT).sum(dim=1) for how in (EVERYTHING, still_cut)]
    assert torch.equal(*absent), "the same cuts"


def test_the_seed_decides() -> None:
    batch = people(8)
    first, again, other = (drawn(batch, WILD, COCO, seed=seed) for seed in (1, 1, 2))
    assert same(first, again)
    assert not torch.equal(first.images, other.images) and not torch.equal(first.xy, other.xy)
    # The order of the batch does not enter the ranges: everybody varies.
    assert len({tuple(row) for row in (first.xy - batch.xy).flatten(1).tolist()}) == 8


def joined(one: PoseBatch, other: PoseBatch) -> PoseBatch:
    """Two batches in one, as :class:`model.data.PoseCrops` pads them."""
    more = one.xy.shape[1] - other.xy.shape[1]
    padded = replace(
        other,
        xy=torch.nn.functional.pad(other.xy, (0, 0, 0, more)),
        visibility=torch.nn.functional.pad(other.visibility, (0, more)),
        trust=torch.nn.functional.pad(other.trust, (0, more), value=1.0),
    )
    return PoseBatch(*(torch.cat([getattr(part, f.name) for part in (one, padded)]) for f in fields(one)))


@pytest.mark.parametrize("codecs", [("udp", "plain"), ("plain", "udp"), ("plain", "plain")])
def test_two_datasets_in_one_batch_are_as_each_alone(codecs) -> None:
    how = EVERYTHING.model_copy(update={"half_body": 0.7})
    one, two = people(12, COCO, states=[0, 1, 2, 2, 2, 3]), people(12, LSP, seed=1, dataset=1, tells_hidden=True)
    together = drawn(joined(one, two), how, COCO, LSP, codecs=codecs)
    assert together.xy.shape == (24, 17, 2)
    assert (together.visibility[12:, 14:] == Visibility.UNLABELLED).all() and not together.inside[12:, 14:].any()
    assert together.dataset.tolist() == [0] * 12 + [1] * 12
    assert together.tells_hidden.tolist() == [False] * 12 + [True] * 12
    alone = (
        (slice(0, 12), drawn(one, how, COCO, codecs=codecs[:1], total=24, rows=slice(0, 12))),
        (
            slice(12, 24),
            drawn(
                replace(two, dataset=torch.zeros_like(two.dataset)),
                how,
                LSP,
                codecs=codecs[1:],
                total=24,
                rows=slice(12, 24),
            ),
        ),
    )
    for rows, crops in alone:
        known = crops.xy.shape[1]
        assert torch.allclose(together.images[rows], crops.images, atol=2e-3)
        assert torch.allclose(together.xy[rows, :known], crops.xy, atol=1e-3)
        assert torch.equal(together.visibility[rows, :known], crops.visibility)
        assert torch.equal(together.inside[rows, :known], crops.inside)


@pytest.mark.parametrize("rows", [slice(0, 2), slice(0, 0)])
def test_random_numbers_of_other_people_are_refused(rows) -> None:
    with pytest.raises(InputError, match=f"draws: there are random numbers for {rows.stop} people, the batch has 3"):
        drawn(people(3), EVERYTHING, COCO, total=3, rows=rows)


def test_data_may_have_fewer_keypoints_than_the_network() -> None:
    batch = people(3, LSP, dataset=1)
    crops = drawn(batch, EVERYTHING, COCO, LSP)
    assert crops.xy.shape == (3, 17, 2) and (crops.visibility[:, 14:] == Visibility.UNLABELLED).all()


@pytest.mark.parametrize("how", [EVERYTHING, EVERYTHING.model_copy(update={"truncation": 1.0, "half_body": 1.0})])
def test_one_keypoint_is_enough(how) -> None:
    skeleton = Skeleton("dot", ("dot",), (), (0,), (0.05,), "test")
    crops = drawn(people(20, skeleton), how, skeleton)
    assert crops.images.isfinite().all() and crops.xy.isfinite().all()
    assert crops.inside.all() and (crops.visibility != Visibility.ABSENT).all()


def test_the_defaults_are_the_official_recipe() -> None:
    how = Augmentation()
    assert (how.flip, how.half_body, how.scale, how.rotation, how.rotation_probability) == (0.5, 0.3, 0.5, 40, 0.6)
    assert (how.shift, how.shift_probability) == (0.2, 0.3)
    assert how.truncation == how.colour == how.tint == how.grey == how.cutout == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scale", 1),
        ("flip", 1.1),
        ("rotation", -1),
        ("colour", 1),
        ("truncation", 2),
        ("cutout_share", 0),
        ("detail", 0),
    ],
)
def test_impossible_ranges_are_refused(field, value) -> None:
    with pytest.raises(ConfigError, match=f"{field}: Input should be"):
        Augmentation.parse({field: value}, subject="test")


def test_canvases_have_no_more_room_than_needed() -> None:
    size = STILL.canvas_size((64, 48))
    assert size == (129, 97)
    assert still(detail=1.0).canvas_size((64, 48)) == (65, 49)
    assert still(truncation=0.5).canvas_size((64, 48))[0] == 129 + 64
    diagonal = math.hypot(64, 48)
    assert still(rotation=40).canvas_size((64, 48)) == (2 * diagonal + 1, 2 * diagonal + 1)
