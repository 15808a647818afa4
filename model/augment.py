"""Augmentation of a batch on the device: truncation, half body, shift, scale, rotation, flip, colour, cut-out.

All geometry ends in one region a person and one resampling of the whole batch. The defaults are the official recipe's
(``vitpose.md`` 4.3). Random numbers come from :class:`model.draws.RandomNumbers`, as many for each person whatever the
settings, and nothing is computed across people: a person gives the same crop in every slice of a batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from pydantic import Field
from torch import Tensor

from autolabel.errors import InputError
from autolabel.poses import Visibility
from autolabel.settings import Settings
from autolabel.skeleton import Skeleton
from model.appearance import cover_up, normalised, read, recolour, rectangles
from model.config import Codec
from model.constant import constant
from model.crop import Regions, apply, crop_matrices, invert, regions_from_boxes
from model.data import DETAIL, PoseBatch
from model.draws import RandomNumbers
from model.truncation import labelled, truncate, within
from model.whole_box import reaches, touches

_HALF_BODY_FROM = 9  # labelled joints; official: more than 8
_HALF_BODY_PADDING = 1.5
_ROOM = 0.5  # of the input, on both sides together, for a region about a part of the person


class Augmentation(Settings):
    """How training crops vary. The defaults are the official COCO recipe.

    Attributes:
        flip: Probability of a mirrored crop.
        half_body: Probability of a crop of the upper or the lower body, of people with more than 8 labelled joints.
        scale: Half the range and the standard deviation of the box scale.
        rotation: Standard deviation in degrees; twice that is the limit.
        rotation_probability: Share of crops that are rotated at all.
        shift: Largest shift of the centre, as a share of the box's sides.
        shift_probability: Share of crops that are shifted at all.
        truncation: Share of people whose image is cut along some sides; see :func:`model.truncation.truncate`.
        tight: Share of the cut people whose box is that of what remains, as one look at prediction has it; the boxes
            of the others lie anywhere between it and the whole person's.
        first_look: Share of all people who are seen as at the first of two looks, if the network has a whole-box
            head: those whom the image cuts or may cut have their tight box and some room beyond the image. Such crops
            teach presence and whole-box heads and no heatmap; they are for a training of these heads alone.
        colour: Largest change of contrast, as a share, and of brightness, in ImageNet's standard deviations.
        tint: Largest change of saturation, as a share; the channels' gains change by half of it.
        grey: Share of crops without colours.
        cutout: Share of crops of which one or two rectangles are covered; a visible joint below one is hidden.
        cutout_share: Largest area of a rectangle, as a share of the crop's.
        detail: Canvas pixels per pixel of the input; more keeps more of people who are larger than the input, and
            takes memory.
    """

    flip: float = Field(default=0.5, ge=0, le=1)
    half_body: float = Field(default=0.3, ge=0, le=1)
    scale: float = Field(default=0.5, ge=0, lt=1)
    rotation: float = Field(default=40.0, ge=0)
    rotation_probability: float = Field(default=0.6, ge=0, le=1)
    shift: float = Field(default=0.2, ge=0, le=1)
    shift_probability: float = Field(default=0.3, ge=0, le=1)
    truncation: float = Field(default=0.0, ge=0, le=1)
    tight: float = Field(default=0.25, ge=0, le=1)
    first_look: float = Field(default=0.0, ge=0, le=1)
    colour: float = Field(default=0.0, ge=0, lt=1)
    tint: float = Field(default=0.0, ge=0, lt=1)
    grey: float = Field(default=0.0, ge=0, le=1)
    cutout: float = Field(default=0.0, ge=0, le=1)
    cutout_share: float = Field(default=0.2, gt=0, le=1)
    detail: float = Field(default=DETAIL, gt=0, le=8)

    def canvas_size(self, input_size: tuple[int, int]) -> tuple[int, int]:
        """(Hc, Wc) of a canvas on which every crop lies that can be drawn about the whole person.

        Regions about a part of the person, of half body and truncation, have some room more; one that reached beyond
        the canvas all the same is drawn smaller.

        Args:
            input_size: (H, W) of the network, which the padded box fills at ``1 / detail`` of the canvas' resolution.
        """
        height, width = input_size
        return self._reach(height, width), self._reach(width, height)

    def _reach(self, along: int, across: int) -> int:
        """The extent along one axis of all rectangles ``along`` x ``across`` that can be drawn, in canvas pixels."""
        limit = math.radians(2 * self.rotation) if self.rotation_probability > 0 else 0.0
        widest = min(limit, math.atan2(across, along))  # there, a diagonal lies along the axis
        reach = (1 + self.scale) * (along * math.cos(widest) + across * math.sin(widest))
        if self.shift_probability > 0:
            reach += 2 * self.shift * along
        if self.half_body > 0 or self.truncation > 0:
            reach += _ROOM * along
        # One more, because n pixel centres span n - 1; rounded first, so that 64.000001 is 64.
        return math.ceil(round(self.detail * reach, 3)) + 1


@dataclass(frozen=True)
class Augmented:
    """B random crops; K is that of the largest skeleton among the network's.

    Attributes:
        images: (B, 3, H, W) float32, ImageNet-normalised.
        xy: (B, K, 2) float32 in crop pixels, also of joints outside the crop.
        visibility: (B, K) uint8; a joint that truncation cut away is absent.
        inside: (B, K) bool, labelled keypoints that lie inside the image as it was cut, on the crop or not.
        dataset: (B,) int64, the head that the crop is for.
        tells_hidden: (B,) bool, as in :class:`model.data.PoseBatch`.
        reach: (B, 4) float32, how far the whole person reaches in the crop (:mod:`model.whole_box`), whatever was cut
            away; NaN for people who touch the edge of their own image, unless all keypoints are labelled inside it:
            nobody knows how far they go.
        first_look: (B,) bool, crops that are seen as at the first of two looks, of which no place counts.
        trust: (B, K) float32, as in :class:`model.data.PoseBatch`.
    """

    images: Tensor
    xy: Tensor
    visibility: Tensor
    inside: Tensor
    dataset: Tensor
    tells_hidden: Tensor
    reach: Tensor
    first_look: Tensor
    trust: Tensor


@torch.no_grad()
def augment(
    batch: PoseBatch,
    how: Augmentation,
    skeletons: Sequence[Skeleton],
    *,
    input_size: tuple[int, int],
    padding: float,
    codecs: Sequence[Codec],
    draws: RandomNumbers,
    whole_box: bool = False,
) -> Augmented:
    """Draw one crop of every person in the batch.

    Args:
        batch: People on canvases, their boxes finite and x1 <= x2, y1 <= y2, as :class:`model.data.PoseCrops` gives
            them; there may be nobody.
        how: The ranges.
        skeletons: Of the network's heads, by ``batch.dataset``: which keypoints change places in a mirrored crop, and
            what is the upper and the lower body.
        input_size: (H, W) of the crops.
        padding: As in training and prediction alike.
        codecs: Heatmap convention of each head.
        draws: The people's random numbers; as many are drawn whatever the ranges.
        whole_box: Whether the network has a whole-box head, and so is to know first looks.

    Raises:
        InputError: The random numbers are for other people than the batch has.
    """
    if len(draws) != len(batch):
        raise InputError(
            f"there are random numbers for {len(draws)} people, the batch has {len(batch)}", subject="draws"
        )
    tables = _tables(tuple(skeletons), batch.xy.device)
    people = _padded(batch, tables.flip.shape[1])
    limbs = tables.limbs[people.dataset]
    first_look = how.first_look if whole_box else 0.0
    cut, first = truncate(people, how.truncation, limbs, draws, tight=how.tight, first_look=first_look)
    regions = _drawn_regions(cut, how, tables, input_size, padding, draws)
    regions = _on_canvas(regions, people.box, cut.image, how, input_size, padding)
    matrices = crop_matrices(regions, input_size=input_size, codec=codecs[0])
    if len(set(codecs)) > 1:
        udp = constant(tuple(codec == "udp" for codec in codecs), people.tells_hidden)[people.dataset]
        both = [crop_matrices(regions, input_size=input_size, codec=codec) for codec in ("udp", "plain")]
        matrices = torch.where(udp[:, None, None], *both)
    xy, states, inside = apply(matrices, cut.xy), cut.visibility, within(cut, cut.image)
    partner = torch.where(regions.flip[:, None], tables.flip[people.dataset], tables.same)
    xy = xy.gather(1, partner[:, :, None].expand(-1, -1, 2))
    states, inside = states.gather(1, partner), inside.gather(1, partner)
    images, covers = _pictures(cut, matrices, how, input_size, draws)
    hidden = (states == Visibility.VISIBLE) & _under(xy, covers)
    states = states.masked_fill(hidden, Visibility.HIDDEN)
    reach = reaches(people.box, regions, matrices)
    reach = reach.masked_fill(~_known_whole(people, tables)[:, None], math.nan)
    trust = people.trust.gather(1, partner)
    return Augmented(images, xy, states, inside, people.dataset, people.tells_hidden, reach, first, trust)


def _known_whole(people: PoseBatch, tables: "_Tables") -> Tensor:
    """(B,) whether the box is known to be that of the whole person: it ends inside the image, or all joints do."""
    complete = (within(people, people.image) | ~tables.real[people.dataset]).all(dim=1)
    return complete | ~touches(people.box, people.image).any(dim=1)


@dataclass(frozen=True)
class _Tables:
    """Skeletons as tensors, by head: padded keypoints mirror themselves and belong to no half."""

    flip: Tensor  # (D, K) int64
    same: Tensor  # (K,) int64
    upper: Tensor  # (D, K) bool
    lower: Tensor  # (D, K) bool
    real: Tensor  # (D, K) bool, keypoints that are no padding
    limbs: Tensor  # (D, E, 2) int64; padded limbs lead from keypoint 0 to itself


@lru_cache(maxsize=16)
def _tables(skeletons: tuple[Skeleton, ...], device: torch.device) -> _Tables:
    most = max(skeleton.num_keypoints for skeleton in skeletons)
    limbs = max(1, *(len(skeleton.edges) for skeleton in skeletons))
    flip = [[*skeleton.flip, *range(skeleton.num_keypoints, most)] for skeleton in skeletons]
    halves = [[[k in half for k in range(most)] for half in (s.upper, s.lower)] for s in skeletons]
    edges = [[*skeleton.edges, *[(0, 0)] * (limbs - len(skeleton.edges))] for skeleton in skeletons]
    upper, lower = torch.tensor(halves, device=device).unbind(1)
    return _Tables(
        flip=torch.tensor(flip, device=device),
        same=torch.arange(most, device=device),
        upper=upper,
        lower=lower,
        real=torch.tensor([[k < s.num_keypoints for k in range(most)] for s in skeletons], device=device),
        limbs=torch.tensor(edges, device=device),
    )


def _padded(batch: PoseBatch, keypoints: int) -> PoseBatch:
    """The batch with K of the largest skeleton of the network, which the data may not have."""
    more = keypoints - batch.xy.shape[1]
    if more == 0:
        return batch
    xy = torch.cat([batch.xy, batch.xy.new_zeros(len(batch), more, 2)], dim=1)
    unlabelled = torch.full_like(batch.visibility[:, :1], Visibility.UNLABELLED).expand(-1, more)
    trust = torch.cat([batch.trust, batch.trust.new_ones(len(batch), more)], dim=1)
    return replace(batch, xy=xy, visibility=torch.cat([batch.visibility, unlabelled], dim=1), trust=trust)


def _drawn_regions(
    people: PoseBatch,
    how: Augmentation,
    tables: _Tables,
    input_size: tuple[int, int],
    padding: float,
    draws: RandomNumbers,
) -> Regions:
    """Regions about the people: moved, or about half of the body, then scaled, turned, mirrored."""
    chance, normal = draws.uniform(6), draws.normal(3)
    moved = (chance[:, 3:4] < how.shift_probability) * how.shift * (2 * chance[:, 4:6] - 1)
    moved = moved * (people.box[:, 2:] - people.box[:, :2])
    whole = regions_from_boxes(people.box + moved.repeat(1, 2), input_size=input_size, padding=padding, checked=True)
    centre, size, found = _half_body(people, tables, input_size, normal[:, 2] < 0.5)
    half = (found & (chance[:, 1] < how.half_body))[:, None]
    scale = (1 + how.scale * normal[:, 0]).clamp(1 - how.scale, 1 + how.scale)
    rotation = (how.rotation * normal[:, 1]).clamp(-2 * how.rotation, 2 * how.rotation)
    return Regions(
        centre=torch.where(half, centre, whole.centre),
        size=torch.where(half, size, whole.size) * scale[:, None],
        rotation=torch.where(chance[:, 2] < how.rotation_probability, rotation, 0.0),
        flip=chance[:, 0] < how.flip,
    )


def _half_body(
    people: PoseBatch, tables: _Tables, input_size: tuple[int, int], upper_first: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Centre (B, 2) and size (B, 2) of a region about half of each body, and (B,) whether there is one.

    The official rule (mmpose 0.24, ``TopDownHalfBodyTransform``), but that keypoints in neither half of the skeleton,
    which it counts to the lower one, are left out.
    """
    stated = labelled(people.visibility)
    upper, lower = stated & tables.upper[people.dataset], stated & tables.lower[people.dataset]
    take_upper = (upper_first & (upper.sum(dim=1) > 2)) | (lower.sum(dim=1) <= 2)
    chosen = torch.where(take_upper[:, None], upper, lower)
    count = chosen.sum(dim=1)
    found = (stated.sum(dim=1) >= _HALF_BODY_FROM) & (count >= 2)
    out = ~chosen[..., None]
    centre = people.xy.masked_fill(out, 0.0).sum(dim=1) / count.clamp_min(1)[:, None]
    low, high = (people.xy.masked_fill(out, far) for far in (math.inf, -math.inf))
    extent = torch.where(found[:, None], high.amax(dim=1) - low.amin(dim=1), 1.0)
    box = torch.cat([centre - extent / 2, centre + extent / 2], dim=1)
    region = regions_from_boxes(
        torch.where(found[:, None], box, people.box), input_size=input_size, padding=_HALF_BODY_PADDING, checked=True
    )
    return centre, region.size, found


def _on_canvas(
    regions: Regions,
    box: Tensor,
    image: Tensor,
    how: Augmentation,
    input_size: tuple[int, int],
    padding: float,
) -> Regions:
    """Regions that do not show black where the image goes on beyond the canvas: smaller where they would.

    Only regions about a part of the person can; they shrink about their centre, to half at most.

    Args:
        regions: As drawn.
        box: (B, 4) of the whole people, about which the canvases were cut.
        image: (B, 4) edges of the images as they are cut.
        how: As the canvases were made for.
        input_size: (H, W).
        padding: As the canvases were made for.
    """
    whole = regions_from_boxes(box, input_size=input_size, padding=padding, checked=True)
    height, width = how.canvas_size(input_size)
    per_pixel = whole.size[:, :1] / (how.detail * input_size[1])
    half = constant((width, height), box) / 2 * per_pixel
    low, high = whole.centre - half, whole.centre + half
    room_low = torch.where(image[:, :2] < low, regions.centre - low, math.inf)
    room_high = torch.where(image[:, 2:] > high, high - regions.centre, math.inf)
    angle = torch.deg2rad(regions.rotation)
    cos, sin = angle.cos().abs()[:, None], angle.sin().abs()[:, None]
    needed = (regions.size * cos + regions.size.flip(1) * sin) / 2
    fits = (torch.minimum(room_low, room_high) / needed).amin(dim=1, keepdim=True)
    return replace(regions, size=regions.size * fits.clamp(0.5, 1.0))


def _pictures(
    people: PoseBatch, matrices: Tensor, how: Augmentation, input_size: tuple[int, int], draws: RandomNumbers
) -> tuple[Tensor, Tensor]:
    """Normalised crops (B, 3, H, W), and the rectangles (B, 2, 4) that cover parts of them."""
    colours, places, fills = draws.uniform(7), draws.uniform(11), draws.uniform(8)
    height, width = input_size
    rows = torch.arange(height, device=matrices.device, dtype=torch.float32)
    columns = torch.arange(width, device=matrices.device, dtype=torch.float32)
    pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    levels, cover = read(people.canvas, apply(invert(matrices), pixels[None]), people.image)
    levels = recolour(levels, cover, colour=how.colour, tint=how.tint, grey=how.grey, drawn=colours)
    edges = rectangles(input_size, probability=how.cutout, share=how.cutout_share, drawn=places)
    if how.cutout > 0:
        levels = cover_up(levels, edges, fills)
    return normalised(levels), edges


def _under(xy: Tensor, edges: Tensor) -> Tensor:
    """(B, K) whether points (B, K, 2) lie in one of rectangles (B, R, 4)."""
    points, edges = xy[:, :, None], edges[:, None]
    return ((points >= edges[..., :2]) & (points <= edges[..., 2:])).all(dim=-1).any(dim=-1)
