"""Truncation: people at the edge of an image, made from people inside one.

The image is cut along one to four sides, everything beyond becomes the border's black, the person's box is made anew
from what remains, and a labelled joint that was cut away is absent: that is how absence is taught without a label of it
(``confidence.md`` section 5; the issue's definition of "absent"). The cuts run between joints, chosen by rank, so that
every number of remaining joints is as likely as every other whatever the posture.

The box is that of what remains for some, and for the others anything between it and the box of the whole person: what
is seen at the image's edge is looked at again as a part of a whole (:mod:`model.whole_box`), at the scale of people, or
somewhat larger where the whole is underestimated. Some are seen as the first of these looks sees them.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from autolabel.poses import Visibility
from model import whole_box
from model.constant import constant
from model.data import PoseBatch
from model.draws import RandomNumbers

LEAST = 2
"""Labelled joints that remain at least; a person with no more of them inside the image is not cut."""

_FEWER_SIDES = (0.5, 0.8, 0.9)
"""Chances that at most one, two, three sides are cut; the rest is cut all around, to a part such as a limb."""

_ALONG = 8  # places along a limb that tell whether it is seen there, beside its start
_SMALLEST = 0.2  # a box's shortest side, as a share of the longest side that it had


def truncate(
    people: PoseBatch, probability: float, limbs: Tensor, draws: RandomNumbers, *, tight: float, first_look: float
) -> tuple[PoseBatch, Tensor]:
    """Cut the images of some people.

    Each cut lies at a pixel's edge, between two joints or between the last joint and the edge of the box. Where one
    side is cut, each number of joints from ``LEAST`` to all is left equally often; a second side is cut among the
    joints that the first left. The tight new box is that of the visible skeleton, joints and limbs, with the margins
    that the old box had about the whole one, up to the cut.

    Args:
        people: On canvases.
        probability: Share of the people who are cut, if they have joints enough.
        limbs: (B, E, 2) int64 pairs of keypoints between which something of the body is seen.
        draws: 15 uniform numbers for each person, whatever the probability.
        tight: Share of the boxes that are those of what remains; the others lie evenly between them and the whole
            person's.
        first_look: Share of all people who are seen as at the first look of two: their tight box and some room beyond
            the edge of the image (:func:`model.whole_box.first_look`). The images of those who are not cut end where
            their boxes end, since only people at the edge of the image are looked at so.

    Returns:
        The people with other ``box``, ``visibility`` and ``image``; pixels stay what they are, and are to be read
        within ``image`` only. And (B,) bool, who is seen as at a first look.
    """
    drawn = draws.uniform(15)
    if probability == 0 and first_look == 0:
        return people, torch.zeros_like(people.tells_hidden)
    cut = (drawn[:, 0] < probability) & (within(people, people.image).sum(dim=1) > LEAST)
    sides = 1 + (drawn[:, 1, None] >= constant(_FEWER_SIDES, drawn)).sum(dim=1)
    order = drawn[:, 2:6].argsort(dim=1, stable=True)
    # With several sides each takes less, so that as a rule half of the joints remain, and not an eighth.
    rank = drawn[:, 6:10] ** (1 / sides[:, None])
    # Edges of what is left, unbounded where nothing was cut.
    edges = constant((-math.inf, -math.inf, math.inf, math.inf), people.image).expand(len(people), 4)
    which = drawn[:, 14, None]
    first = which < first_look
    for turn in range(4):
        side = order[:, turn, None]
        edge = _line(people, edges, side, rank[:, turn, None], drawn[:, 10 + turn, None])
        edge = torch.where(cut[:, None], edge, _end(people, side))
        edge = torch.where((cut[:, None] | first) & (turn < sides)[:, None], edge, edges.gather(1, side))
        edges = edges.scatter(1, side, edge)
    lost = labelled(people.visibility) & ~_inside(people.xy, edges)
    box, image = _new_box(people, edges, limbs), intersection(people.image, edges)
    box = torch.where(cut[:, None], box, people.box)
    share = (which - first_look).clamp_min(0) / max(1 - first_look, 1e-6)
    between = torch.lerp(box, people.box, (share - tight).clamp_min(0) / max(1 - tight, 1e-6))
    box = torch.where(first, whole_box.first_look(box, image), between)
    visibility = people.visibility.masked_fill(lost, Visibility.ABSENT)
    return replace(people, box=box, visibility=visibility, image=image), first[:, 0]


def labelled(visibility: Tensor) -> Tensor:
    """Whether somebody said where a keypoint is; of the same shape."""
    return (visibility == Visibility.VISIBLE) | (visibility == Visibility.HIDDEN)


def within(people: PoseBatch, edges: Tensor) -> Tensor:
    """(B, K) labelled keypoints within rectangles (B, 4), edges included."""
    return labelled(people.visibility) & _inside(people.xy, edges)


def intersection(one: Tensor, other: Tensor) -> Tensor:
    """What two rectangles (B, 4) xyxy have in common."""
    return torch.cat([torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])], dim=1)


def _inside(xy: Tensor, edges: Tensor) -> Tensor:
    """(B, ...) whether points (B, ..., 2) lie within rectangles (B, 4)."""
    edges = edges.reshape(len(edges), *[1] * (xy.ndim - 2), 4)
    return ((xy >= edges[..., :2]) & (xy <= edges[..., 2:])).all(dim=-1)


def _line(people: PoseBatch, edges: Tensor, side: Tensor, rank: Tensor, between: Tensor) -> Tensor:
    """(B, 1) where to cut ``side`` (B, 1), 0 to 3 for left, top, right, bottom, given two uniform numbers (B, 1)."""
    # On an axis that grows toward what is cut away.
    sign = torch.where(side >= 2, 1.0, -1.0)
    there = within(people, intersection(people.image, edges))
    along = sign * people.xy.gather(2, (side % 2)[:, :, None].expand(-1, people.xy.shape[1], 1))[:, :, 0]
    along = along.masked_fill(~there, math.inf).sort(dim=1).values
    count = there.sum(dim=1, keepdim=True)
    kept = torch.minimum(LEAST + (rank * (count - LEAST + 1)).long(), count).clamp_min(1)
    last = along.gather(1, kept - 1)
    limit = sign * people.image.gather(1, side)
    end = torch.minimum(sign * people.box.gather(1, side), limit)
    following = along.gather(1, kept.clamp_max(along.shape[1] - 1))
    following = torch.where(kept < count, following, torch.maximum(end, last))
    line = (last + (following - last) * between - 0.5).round()
    line = torch.maximum(line, (last - 0.5).ceil()) + 0.5  # a pixel's edge, not before the last joint that is kept
    return sign * torch.minimum(line, limit)


def _end(people: PoseBatch, side: Tensor) -> Tensor:
    """(B, 1) the pixel's edge at which boxes end on ``side`` (B, 1), or at which the image does."""
    sign = torch.where(side >= 2, 1.0, -1.0)
    end, limit = (sign * edges.gather(1, side) for edges in (people.box, people.image))
    return sign * torch.minimum((end - 0.5).ceil() + 0.5, limit)


def _new_box(people: PoseBatch, edges: Tensor, limbs: Tensor) -> Tensor:
    """(B, 4) boxes of what is seen within ``edges``."""
    steps = torch.linspace(0, 1, _ALONG + 1, device=limbs.device)[:, None]
    pairs, keypoints = limbs.flatten(1), people.xy.shape[1]
    ends = people.xy.gather(1, pairs[:, :, None].expand(-1, -1, 2)).unflatten(1, (-1, 2))
    points = ends[:, :, 0, None] * (1 - steps) + ends[:, :, 1, None] * steps
    points = torch.cat([people.xy, points.flatten(1, 2)], dim=1)
    stated = labelled(people.visibility)
    usable = stated.gather(1, pairs).unflatten(1, (-1, 2)).all(dim=2)
    usable = torch.cat([stated, usable.repeat_interleave(_ALONG + 1, dim=1)], dim=1)
    assert points.shape[1] == keypoints + limbs.shape[1] * (_ALONG + 1)

    def hull(seen: Tensor) -> tuple[Tensor, Tensor]:
        low = points.masked_fill(~seen[..., None], math.inf).amin(dim=1)
        return low, points.masked_fill(~seen[..., None], -math.inf).amax(dim=1)

    whole_low, whole_high = hull(usable)
    low, high = hull(usable & _inside(points, intersection(people.image, edges)))
    old_low, old_high = people.box[:, :2], people.box[:, 2:]
    low = torch.maximum(low - (whole_low - old_low).clamp_min(0), edges[:, :2])
    high = torch.minimum(high + (old_high - whole_high).clamp_min(0), edges[:, 2:])
    smallest = _SMALLEST * (old_high - old_low).amax(dim=1, keepdim=True)
    middle, half = (low + high) / 2, torch.maximum(high - low, smallest) / 2
    return torch.cat([middle - half, middle + half], dim=1)
