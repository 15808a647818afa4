"""The lengths that pixel errors are divided by: head and torso of each true person.

PCK divides by the longer side of the box (``similarity.longer_side``). The two lengths here give measures of other
names, because a share "within half a head" says nothing about a share "within a tenth of the box":

* *head*, for PCKh (Andriluka et al., CVPR 2014): 0.6 times the diagonal of the person's head box where the source
  carries one, as MPII's own evaluation has it; otherwise the segment from head top to neck, of skeletons that have
  both (MPII, LSP, AIC, CrowdPose).
* *torso*, for torso PCK: left shoulder to right hip, the "torso diameter" of PDJ (Sapp & Taskar, CVPR 2013; Toshev &
  Szegedy, CVPR 2014).

A person whose length cannot be told has NaN, and is left out of the measures that need it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.poses import Poses
from autolabel.skeleton import Skeleton

HEAD_BOX_SHARE = 0.6
"""MPII's factor from the diagonal of the head box to the head's length."""

HEAD_TOPS = ("head_top", "top_head")
NECKS = ("upper_neck", "neck", "head_bottom")
TORSO = ("left_shoulder", "right_hip")

NOT_IN_PCKH = ("pelvis", "thorax")
"""MPII leaves them out of its mean PCKh; they still have numbers of their own."""

_CORNERS = ("head_box", "headbox")
"""Attributes that hold a head box as x1, y1, x2, y2, as MPII gives it."""

_SIDES = "bbox_head"
"""The attribute of PoseTrack's COCO files: x, y, width, height."""

_SOURCES = ("", "coco")
"""Where attributes lie: our own, and what a COCO file said beyond our fields."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeadLengths:
    """Head lengths of N people.

    Attributes:
        pixels: (N,) NaN where there is none.
        boxed: (N,) whose length comes from the head box of the source.
    """

    pixels: Floats
    boxed: NDArray[np.bool_]


def head_segment(skeleton: Skeleton) -> tuple[int, int] | None:
    """The indices of head top and neck; None where the skeleton lacks one of them."""
    top = next((name for name in HEAD_TOPS if name in skeleton.keypoints), None)
    neck = next((name for name in NECKS if name in skeleton.keypoints), None)
    return (skeleton.index(top), skeleton.index(neck)) if top and neck else None


def head_lengths(poses: Poses, skeleton: Skeleton) -> HeadLengths:
    """The head's length of each pose, in pixels.

    Raises:
        InputError: A head box that is not four numbers.
    """
    pixels = _segment(poses, head_segment(skeleton))
    boxed = np.zeros(len(poses), bool)
    if any(poses.attributes):
        diagonal = np.array([_head_diagonal(attributes) for attributes in poses.attributes])
        boxed = diagonal > 0
        pixels = np.where(boxed, HEAD_BOX_SHARE * diagonal, pixels)
    return HeadLengths(pixels, boxed)


def torso_lengths(poses: Poses, skeleton: Skeleton) -> Floats:
    """(N,) distance from the left shoulder to the right hip, NaN where one of them is not labelled."""
    known = all(name in skeleton.keypoints for name in TORSO)
    return _segment(poses, (skeleton.index(TORSO[0]), skeleton.index(TORSO[1])) if known else None)


def counted_in_pckh(skeleton: Skeleton) -> NDArray[np.bool_]:
    """(K,) keypoints that enter the mean PCKh: all but MPII's pelvis and thorax."""
    mpii = all(name in skeleton.keypoints for name in (*NOT_IN_PCKH, "upper_neck", "head_top"))
    return np.array([not (mpii and name in NOT_IN_PCKH) for name in skeleton.keypoints])


def _segment(poses: Poses, ends: tuple[int, int] | None) -> Floats:
    """(N,) length between two keypoints; NaN where one is not labelled, or both lie in one place."""
    if ends is None:
        return np.full(len(poses), np.nan)
    a, b = ends
    length = np.linalg.norm(poses.xy[:, a].astype(np.float64) - poses.xy[:, b], axis=1)
    return np.where(poses.labelled[:, a] & poses.labelled[:, b] & (length > 0), length, np.nan)


def _head_diagonal(attributes: Mapping[str, Any]) -> float:
    for source in _SOURCES:
        said: Any = attributes.get(source, {}) if source else attributes
        if not isinstance(said, Mapping):
            continue
        values = cast("Mapping[str, Any]", said)
        for name in _CORNERS:
            if values.get(name) is not None:
                x1, y1, x2, y2 = _four(values[name], name)
                return float(np.hypot(x2 - x1, y2 - y1))
        if values.get(_SIDES) is not None:
            _, _, width, height = _four(values[_SIDES], _SIDES)
            return float(np.hypot(width, height))
    return np.nan


def _four(value: Any, name: str) -> list[float]:
    try:
        numbers = [float(number) for number in value]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 4 or not np.isfinite(numbers).all():
        raise InputError(
            f"is {value!r}, expected four numbers",
            subject=f"attribute {name!r} of a true pose",
            remedy="Correct the head box, or remove it: the skeleton's head segment is then used.",
        )
    return numbers
