"""Cut images: what lies beyond a cut is absent, what remains is enough, and every share of a body occurs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from autolabel.poses import Visibility
from model.draws import Draws
from model.truncation import LEAST, labelled, truncate
from model.whole_box import first_look, may_be_cut
from tests.model.random_people import COCO, limbs, people

STATES = (Visibility.UNLABELLED, Visibility.HIDDEN, Visibility.VISIBLE, Visibility.VISIBLE, Visibility.ABSENT)


def cut(batch, probability=1.0, **how):
    return looked_at(batch, probability, **how)[0]


def looked_at(batch, probability=1.0, *, seed=0, skeleton=COCO, tight=False, first_look=0.0):
    """The people, and who of them is seen as at a first look."""
    draws = Draws(seed, 0, len(batch), slice(None))
    return truncate(
        batch, probability, limbs(batch, skeleton), draws, tight=1.0 if tight else 0.25, first_look=first_look
    )


def test_absent_are_exactly_those_beyond_the_cut() -> None:
    """A slow reference, keypoint by keypoint."""
    before = people(60, states=STATES)
    before.xy[:5, 0] = torch.tensor([-3.0, 50.0])  # outside the image, which alone makes nobody absent
    after = cut(before)
    changed = 0
    for n in range(len(before)):
        low, high = after.image[n, :2], after.image[n, 2:]
        sides = [(0, -1, 0), (1, -1, 1), (0, 1, 2), (1, 1, 3)]
        moved = [(axis, sign, side) for axis, sign, side in sides if after.image[n, side] != before.image[n, side]]
        for k in range(COCO.num_keypoints):
            state = int(before.visibility[n, k])
            beyond = any(
                sign * before.xy[n, k, axis] > sign * (high if sign > 0 else low)[axis] for axis, sign, _ in moved
            )
            expected = Visibility.ABSENT if beyond and state in (Visibility.HIDDEN, Visibility.VISIBLE) else state
            assert int(after.visibility[n, k]) == expected
            changed += expected != state
    assert changed > 200


def test_enough_remains_and_images_shrink_by_whole_pixels() -> None:
    before = people(200, states=STATES)
    before.visibility[:20, LEAST:] = Visibility.UNLABELLED
    after = cut(before)
    enough = labelled(before.visibility).sum(dim=1) > LEAST
    assert (~enough).sum() >= 20 and enough.sum() > 150
    assert (labelled(after.visibility).sum(dim=1)[enough] >= LEAST).all()
    for name in ("box", "image", "visibility"):
        assert torch.equal(getattr(after, name)[~enough], getattr(before, name)[~enough])
    assert ((after.image + 0.5) % 1 == 0).all(), "whole pixels are cut off"
    assert (after.image[:, :2] >= before.image[:, :2]).all() and (after.image[:, 2:] <= before.image[:, 2:]).all()
    assert torch.equal(after.canvas, before.canvas) and torch.equal(after.xy, before.xy)


def test_the_tight_box_holds_what_remains_and_nothing_beyond_the_cut() -> None:
    before = people(200)
    after = cut(before, tight=True)
    remaining = labelled(after.visibility)[..., None]
    low = after.xy.masked_fill(~remaining, math.inf).amin(dim=1)
    high = after.xy.masked_fill(~remaining, -math.inf).amax(dim=1)
    assert (after.box[:, :2] <= low).all() and (after.box[:, 2:] >= high).all()
    side = after.box[:, 2:] - after.box[:, :2]
    smallest = 0.2 * (before.box[:, 2:] - before.box[:, :2]).amax(dim=1)
    ordinary = (side > smallest[:, None] + 1e-3).all(dim=1)
    assert ordinary.double().mean() > 0.5 and (side >= smallest[:, None] - 1e-3).all()
    for old in (before.box, after.image):
        assert (after.box[ordinary, :2] >= old[ordinary, :2] - 1e-4).all()
        assert (after.box[ordinary, 2:] <= old[ordinary, 2:] + 1e-4).all()


def test_boxes_lie_between_what_remains_and_the_whole_person() -> None:
    """A quarter are tight, the others evenly between; nothing else depends on it."""
    before = people(3000)
    tight, drawn = cut(before, tight=True), cut(before)
    assert torch.equal(tight.image, drawn.image) and torch.equal(tight.visibility, drawn.visibility)
    shares = _shares(drawn, tight, before)
    assert torch.allclose(drawn.box, torch.lerp(tight.box, before.box, shares), atol=1e-2)
    share = shares[((before.box - tight.box).abs() > 5).any(dim=1), 0]
    assert 0.22 < (share.abs() < 1e-4).double().mean() < 0.28
    others = share[share.abs() >= 1e-4].sort().values
    assert (others - torch.linspace(0, 1, len(others))).abs().max() < 0.05


def test_a_first_look_goes_beyond_the_cut() -> None:
    """By half of the tight box's longer side, where it reaches the image's edge and on no other side."""
    before = people(300)
    tight, beyond = cut(before, tight=True), cut(before, first_look=1.0)
    sides = may_be_cut(tight.box, tight.image)
    assert 200 < sides.any(dim=1).sum() < 300
    more = (tight.box - beyond.box) * torch.tensor([1.0, 1, -1, -1])
    longer = (tight.box[:, 2:] - tight.box[:, :2]).amax(dim=1, keepdim=True)
    assert torch.allclose(more, torch.where(sides, longer / 2, 0), atol=1e-3)
    assert torch.equal(tight.image, beyond.image) and torch.equal(tight.visibility, beyond.visibility)


def test_some_are_seen_as_at_a_first_look_and_the_others_as_without() -> None:
    before = people(3000)
    given = ((True, 0.0), (False, 1.0), (False, 0.4))
    (tight, none), (looks, all_), (mixed, some) = (looked_at(before, tight=t, first_look=f) for t, f in given)
    first = (mixed.box == looks.box).all(dim=1)
    told = (looks.box != tight.box).any(dim=1)
    assert all_.all() and not none.any() and torch.equal(some[told], first[told])
    assert 0.37 < first[told].double().mean() < 0.43
    others = ~first & ((before.box - tight.box).abs() > 5).any(dim=1)
    shares = _shares(mixed, tight, before)[others, 0]
    assert 0.22 < (shares.abs() < 1e-4).double().mean() < 0.28


def test_the_image_ends_at_the_people_of_a_first_look_who_are_not_cut() -> None:
    """On one side at least, within a pixel, so that nothing of them is lost: a first look must know whole people."""
    before = people(300)
    after = cut(before, 0.0, first_look=1.0)
    room = (before.box - after.image) * torch.tensor([1.0, 1, -1, -1])
    ends = after.image != before.image
    assert ends.any(dim=1).all() and (room[ends] >= 0).all() and (room[ends] < 1).all()
    assert ((after.image + 0.5) % 1 == 0).all()
    assert torch.equal(after.visibility, before.visibility)
    assert torch.equal(after.box, first_look(before.box, after.image))
    assert cut(before, 0.0) is before


def _shares(drawn, tight, before):
    """(B, 1) how far each box went, by the side on which it went furthest; 0 where there is nowhere to go."""
    room = before.box - tight.box
    widest = room.abs().argmax(dim=1, keepdim=True)
    most = room.gather(1, widest)
    return torch.where(most == 0, 0, (drawn.box - tight.box).gather(1, widest) / most.where(most != 0, 1))


def test_a_limb_that_is_cut_is_in_the_box() -> None:
    """The wrist lies beyond the cut, and the forearm leads there sideways, where no joint remains."""
    batch = people(2000)
    points = torch.full((17, 2), 40.0)
    points[:, 1] = torch.linspace(20, 39, 17)  # everybody else in a column
    points[9] = torch.tensor([80.0, 60.0])  # the wrist, to the right and below
    states = torch.full((17,), Visibility.VISIBLE, dtype=torch.uint8)
    batch = replace(
        batch,
        xy=points.expand(2000, 17, 2).clone(),
        visibility=states.expand(2000, 17).clone(),
        box=torch.tensor([36.0, 16, 84, 64]).expand(2000, 4),
    )
    after = cut(batch, tight=True)
    # Cut below, between the column's last joint (y 39) and the wrist, and on no other side.
    only = (after.image[:, 3] < 60) & (after.image[:, 3] > 45) & (after.image[:, :3] == batch.image[:, :3]).all(dim=1)
    assert only.sum() >= 5
    elbow = points[7]
    reached = elbow[0] + (80 - elbow[0]) * (after.image[only, 3] - elbow[1]) / (60 - elbow[1])
    right = after.box[only, 2]
    assert (right > reached - (80 - elbow[0]) / 8 - 1e-3).all(), "to an eighth of the limb"
    assert (right <= reached + 4 + 1e-3).all(), "and the margin that the box had"


def test_every_share_and_every_side_occurs() -> None:
    before = people(3000)
    after = cut(before)
    kept = labelled(after.visibility).sum(dim=1).numpy()
    moved = (after.image != before.image).numpy()
    one = moved.sum(axis=1) == 1
    for side in range(4):
        counts = np.bincount(kept[one & moved[:, side]], minlength=18)
        assert counts.sum() > 250
        # A cut moves to the next pixel's edge, and may spare one joint more.
        assert counts[:LEAST].sum() == 0 and (counts[LEAST:] > 0.3 * counts.sum() / 16).all()
    pairs = {tuple(np.flatnonzero(row)) for row in moved if row.sum() == 2}
    assert len(pairs) == 6, "two sides, adjacent and opposite"
    assert np.bincount(moved.sum(axis=1), minlength=5)[1:] / 3000 == pytest.approx([0.5, 0.3, 0.1, 0.1], abs=0.04)


def test_probability() -> None:
    before = people(400)
    assert cut(before, 0.0) is before
    share = (cut(before, 0.3).image != before.image).any(dim=1).double().mean()
    assert 0.22 < share < 0.38


@pytest.mark.parametrize("count", [0, 1, 2])
def test_who_has_no_joints_to_lose_is_left_whole(count) -> None:
    batch = people(20)
    states = torch.zeros_like(batch.visibility)
    states[:, :count] = Visibility.VISIBLE
    states[:, count:5] = Visibility.ABSENT
    batch = replace(batch, visibility=states)
    after = cut(batch)
    assert torch.equal(after.image, batch.image) and torch.equal(after.box, batch.box)
    assert torch.equal(after.visibility, batch.visibility)
    assert after.box.isfinite().all()


def test_joints_outside_the_image_do_not_steer_the_cut() -> None:
    """They cannot remain, so they do not count among the joints of which some must."""
    batch = people(50)
    batch.xy[:, 3:] = torch.tensor([500.0, 50.0])
    after = cut(batch)
    inside = labelled(after.visibility) & (after.xy[..., 0] <= after.image[:, 2, None])
    assert (inside.sum(dim=1) >= LEAST).all()
    assert (after.image[:, 2] <= batch.image[:, 2]).all()
