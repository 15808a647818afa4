"""Errors planted in right labels, of the kinds that people make."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autolabel.label_swaps import possible_swaps
from autolabel.poses import Poses
from autolabel.similarity import keypoint_similarity, longer_side, similarity_area
from autolabel.skeleton import Skeleton

FAR = (0.15, 0.5)
"""A misplaced joint lies so far away, in longer sides of the box."""

SHIFT = (0.12, 0.3)
"""So far is a whole label shifted."""

GROSS_KS = 0.5
TRIES = 20

Points = NDArray[np.float64]
Change = Callable[[Points, float, np.random.Generator], Points]
"""(K, 2) labels of one pose, its longer side, and the dice, to the labels with an error."""


@dataclass(frozen=True, eq=False)
class Planted:
    """Labels with errors.

    Attributes:
        poses: All N poses.
        kind: (N,) which error, "" for none.
    """

    poses: Poses
    kind: NDArray[np.str_]


def plant(poses: Poses, skeleton: Skeleton, share: float, seed: int) -> Planted:
    """Plant errors in some poses, as many of each kind as it goes.

    A pose gets an error only if at least one keypoint is gross by it (KS below 0.5), or two where sides are exchanged:
    exchanging knees that hide each other is no error. Boxes stay as they are.

    Args:
        poses: N right labels.
        skeleton: Gives sigmas and pairs.
        share: Of poses with errors.
        seed: Of all draws.
    """
    rng = np.random.default_rng(seed)
    changes = _changes(skeleton)
    names = list(changes)
    xy = poses.xy.astype(np.float64)
    kind = np.full(len(poses), "", dtype="<U12")
    side, area = longer_side(poses), similarity_area(poses)
    fit = np.flatnonzero(poses.labelled.sum(axis=1) >= min(6, poses.num_keypoints))
    wanted = round(share * len(poses))
    for row in rng.permutation(fit).tolist():
        if (kind != "").sum() >= wanted:
            break
        name = names[int((kind != "").sum()) % len(names)]
        known = poses.labelled[row]
        for _ in range(TRIES):
            label = np.where(known[:, None], xy[row], np.nan)
            moved = changes[name](label, float(side[row]), rng)
            moved = np.where(np.isnan(moved), label, moved)
            ks = keypoint_similarity(moved, label, area[row], skeleton.sigmas)
            if (ks < GROSS_KS).sum() >= (2 if name in ("sides", "limb") else 1):
                xy[row] = np.where(known[:, None], moved, xy[row])
                kind[row] = name
                break
    return Planted(poses.replace(xy=xy), kind)


def _changes(skeleton: Skeleton) -> dict[str, Change]:
    flip = np.array(skeleton.flip)
    limbs = [np.array(swap.members) for swap in possible_swaps(skeleton)[1:]]

    def joint(label: Points, side: float, rng: np.random.Generator) -> Points:
        known = np.flatnonzero(np.isfinite(label[:, 0]))
        moved = label.copy()
        moved[rng.choice(known)] += side * rng.uniform(*FAR) * _direction(rng)
        return moved

    def sides(label: Points, side: float, rng: np.random.Generator) -> Points:
        del side, rng
        return label[flip]

    def limb(label: Points, side: float, rng: np.random.Generator) -> Points:
        del side
        members = limbs[int(rng.integers(len(limbs)))]
        moved = label.copy()
        moved[members] = label[flip[members]]
        return moved

    def shifted(label: Points, side: float, rng: np.random.Generator) -> Points:
        return label + side * rng.uniform(*SHIFT) * _direction(rng)

    return {"joint": joint, "sides": sides, "limb": limb, "shifted": shifted}


def _direction(rng: np.random.Generator) -> Points:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])
