"""Golden poses: hard ones, answered as a browser would, of which is known exactly what must come back.

``autolabel doctor`` pushes them to the user's own server, answers them, pulls, and asks :func:`losses` what differs.
Every shape of pose meets every deed of an annotator. What nobody touched must come back bit by bit, and what was
moved in exactly the pixel that its percent mean.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.labelstudio.form import VISIBILITY, VISIBILITY_CHOICES
from autolabel.labelstudio.tasks import TaskRecord
from autolabel.merge import State
from autolabel.poses import Origin, Pose, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton

SIZE = (320, 240)
"""(width, height) of the pictures, in pixels."""

PATHS = ("ü b/猫 1.png", "2.png")
"""Where the pictures lie below their root."""

MOVED_TO = (43.91147613525391, 58.626093770406165)
"""Percent of the crop, as an editor wrote them; no float32 holds them."""


class Shape(StrEnum):
    """What is hard about a pose."""

    SUBPIXEL = "sub-pixel"
    OCCLUDED = "occluded"
    ABSENT = "absent"
    BORDER = "at the border"
    OUTSIDE = "outside the image"
    UNPLACED = "some not placed"
    BOXLESS = "without a box"


class Deed(StrEnum):
    """What the annotator does."""

    KEPT = "kept"
    MOVED = "one moved"
    MARKED = "one marked otherwise"
    DELETED = "one deleted"


@dataclass(frozen=True, eq=False)
class Expected:
    """What must come back for a pose.

    Attributes:
        xy: (K, 2) float32 pixels.
        visibility: (K,) uint8.
        state: Where the pose stands.
    """

    xy: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    state: State


def picture(i: int) -> NDArray[np.uint8]:
    """The i-th picture, (H, W, 3) RGB: a soft gradient, so that its crops are small files."""
    width, height = SIZE
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([x, y, np.full_like(x, 60.0 + 90.0 * i)], axis=-1).astype(np.uint8)


def golden_samples(skeleton: Skeleton, *, every_deed: bool = True) -> list[Sample]:
    """Two images of several golden people each, placed by a model; the attribute ``golden`` holds shape and deed.

    Args:
        skeleton: Of the poses.
        every_deed: Whether every shape meets every deed, or one of them alone.
    """
    deeds, shapes = list(Deed), list(Shape)
    pairs = list(product(shapes, deeds)) if every_deed else [(s, deeds[i % 4]) for i, s in enumerate(shapes)]
    rng = np.random.default_rng(7)
    poses = [_golden(skeleton, shape, deed, f"golden-{i}", rng) for i, (shape, deed) in enumerate(pairs)]
    return [
        Sample(f"golden-{i}", "images", path, SIZE, Poses.concat(poses[i :: len(PATHS)]))
        for i, path in enumerate(PATHS)
    ]


def _golden(skeleton: Skeleton, shape: Shape, deed: Deed, name: str, rng: np.random.Generator) -> Poses:
    k, size = skeleton.num_keypoints, np.array(SIZE, np.float64)
    low = rng.uniform((5, 5), size / 2)
    xy = low + rng.uniform(0, 1, (k, 2)) * (size / 2 - 10)
    visibility = np.full(k, Visibility.VISIBLE)
    some = np.arange(k) % 2 == 1  # never the first, which stays to be touched
    if shape is Shape.OCCLUDED:
        visibility[:] = Visibility.HIDDEN
    elif shape is Shape.ABSENT:
        visibility[some] = Visibility.ABSENT
    elif shape is Shape.BORDER:
        # Pixel centres are integers: the image's own edges lie half a pixel outside the first and the last.
        xy = rng.choice(np.array([-0.5, 0.0, 1.0]), (k, 2)) * 1.0
        xy[some] = size - 1 + rng.choice(np.array([-0.5, 0.0, 0.5]), (int(some.sum()), 2))
    elif shape is Shape.OUTSIDE:
        xy[some] = np.array([-7.3, 5.1])
        xy[0] = size + np.array([12.25, 3.5])
    elif shape is Shape.UNPLACED:
        xy[some], visibility[some] = np.nan, Visibility.UNLABELLED
    box = [np.nan] * 4 if shape is Shape.BOXLESS else [*(low + 0.3), *(low + size / 2 - 9.6)]
    return Poses.create(
        k, id=[name], xy=xy[None], visibility=visibility[None], box=[box], by=["golden"],
        score=rng.uniform(0, 1, (1, k)), presence=np.ones((1, k)), origin=np.full((1, k), Origin.MODEL),
        attributes=[{"golden": [shape, deed]}],
    )  # fmt: skip


def deed_of(pose: Pose) -> Deed:
    """What is done to a golden pose."""
    return Deed(pose.attributes["golden"][1])


def answered(
    shown: Sequence[Mapping[str, Any]], pose: Pose, record: TaskRecord, skeleton: Skeleton
) -> tuple[list[dict[str, Any]], Expected | None]:
    """What a browser submits for a golden pose, and what must come of it: nothing, where it submits nothing.

    Args:
        shown: The prediction's regions as the server gives them.
        pose: The golden pose.
        record: Its task.
        skeleton: Gives the keypoints' names.
    """
    result: list[dict[str, Any]] = [{**copy.deepcopy(dict(item)), "origin": "prediction"} for item in shown]
    points = [item for item in result if item["type"] == "keypointlabels"]
    xy, visibility, state = pose.xy.copy(), pose.visibility.copy(), State.REVIEWED
    touched, deed = points[0]["id"], deed_of(pose)
    k = skeleton.index(points[0]["value"]["keypointlabels"][0])
    mine = [item for item in result if item["id"] == touched]
    if deed is not Deed.KEPT:
        for item in mine:
            item["origin"] = "prediction-changed"
    if deed is Deed.MOVED:
        for item in mine:
            item["value"] |= dict(zip("xy", MOVED_TO, strict=True))
        xy[k] = record.frame.to_image(MOVED_TO)
    elif deed is Deed.MARKED:
        names = list(VISIBILITY_CHOICES)
        choice = next(item for item in mine if item["from_name"] == VISIBILITY)
        name = names[(names.index(choice["value"]["choices"][0]) + 1) % len(names)]
        choice["value"]["choices"], visibility[k] = [name], VISIBILITY_CHOICES[name]
    elif deed is Deed.DELETED:
        result = [item for item in result if item["id"] != touched]
        if len(points) > 1:
            visibility[k] = Visibility.ABSENT
        else:  # nothing is left of the person
            state = State.REJECTED
    return result, Expected(xy, visibility, state) if result else None


def losses(expected: Mapping[str, Expected | None], sent: Mapping[str, Pose], found: Mapping[str, Pose]) -> list[str]:
    """What did not come back as it must, one line a difference; empty when nothing was lost.

    Args:
        expected: By id of a golden pose; None where it must have no answer.
        sent: The golden poses.
        found: What was pulled.
    """
    return [line for name, wanted in expected.items() for line in _losses(wanted, sent[name], found.get(name))]


def _losses(wanted: Expected | None, sent: Pose, found: Pose | None) -> Iterator[str]:
    what = ", ".join(sent.attributes["golden"])
    if wanted is None or found is None:
        if wanted is not found:
            yield f"{what}: has {'no' if found is None else 'an'} answer"
        return
    if (state := found.attributes.get("state")) != wanted.state:
        yield f"{what}: is {state}, expected {wanted.state}"
    if not np.array_equal(found.box, sent.box, equal_nan=True):
        yield f"{what}: the box is {found.box.tolist()}, expected {sent.box.tolist()}"
    same = (found.xy == wanted.xy) | (np.isnan(found.xy) & np.isnan(wanted.xy))
    for k in np.flatnonzero(~same.all(axis=1)).tolist():
        yield f"{what}: keypoint {k} is at {found.xy[k].tolist()}, expected {wanted.xy[k].tolist()}"
    for k in np.flatnonzero(found.visibility != wanted.visibility).tolist():
        names = [Visibility(int(v[k])).name.lower() for v in (found.visibility, wanted.visibility)]
        yield f"{what}: keypoint {k} is {names[0]}, expected {names[1]}"
