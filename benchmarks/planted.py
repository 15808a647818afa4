"""Faults of known kinds, planted in a share of correct poses: what finders of faults are measured with.

Each kind is planted apart, in ``share`` of the poses that can have it at all, drawn by the seed. A fault is planted
only where it matters: at least one keypoint must become gross (KS with the truth below 0.5), because left and right of
somebody seen exactly from the side can change places without anybody being wrong.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.limbs import limbs, pair_array
from autolabel.lint import Kind
from autolabel.poses import Poses
from autolabel.similarity import DEFAULT_RULE, box_iou, keypoint_similarity, longer_side, similarity_area
from autolabel.skeleton import Skeleton

SHARE = 0.02

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Planted:
    """Poses of which some have a fault now.

    Attributes:
        poses: All N poses.
        rows: (F,) those with a fault, ascending.
        changed: (N, K) keypoints that became gross.
    """

    poses: Poses
    rows: NDArray[np.intp]
    changed: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scene:
    """What a fault may be made of.

    Attributes:
        poses: N correct poses.
        companion: (N,) row of another person in the image, -1 where there is none.
        empty: (N, 4) a box in the image that holds nobody, NaN where there is no room.
        skeleton: Of the poses.
    """

    poses: Poses
    companion: NDArray[np.intp]
    empty: Floats
    skeleton: Skeleton


@dataclass(frozen=True, eq=False)
class Change:
    """One faulty pose: (K, 2) places, (K,) visibility, (4,) box."""

    xy: Floats
    visibility: NDArray[np.uint8]
    box: Floats


def plant(kind: Kind, scene: Scene, *, seed: int, share: float = SHARE) -> Planted:
    """Plant one kind of fault.

    Args:
        kind: Which.
        scene: The correct poses.
        seed: Of the draw.
        share: Of all poses, at most as many as can have the fault.
    """
    rng, poses = np.random.default_rng((seed, list(Kind).index(kind))), scene.poses
    xy, visibility = poses.xy.astype(np.float64), poses.visibility.copy()
    box, area, rows = poses.box.copy(), similarity_area(poses), list[int]()
    changed = np.zeros(visibility.shape, bool)
    wanted = round(share * len(poses))
    for row in rng.permutation(len(poses)).tolist():
        if len(rows) >= wanted:
            break
        change = MAKERS[kind](scene, row, rng)
        if change is None:
            continue
        gross = _gross(poses, row, change, area, scene.skeleton)
        if gross.any():
            xy[row], visibility[row], box[row] = change.xy, change.visibility, change.box
            changed[row] = gross
            rows.append(row)
    # A mask's area shrinks with the box that was moved.
    shrunk = np.prod(box[:, 2:] - box[:, :2], axis=1) / np.prod(poses.box[:, 2:] - poses.box[:, :2], axis=1)
    faulty = poses.replace(xy=xy, visibility=visibility, box=box, area=poses.area * shrunk)
    return Planted(faulty, np.array(sorted(rows), np.intp), changed)


def empty_boxes(poses: Poses, owner: NDArray[Any], sizes: NDArray[Any], *, seed: int, tries: int = 40) -> Floats:
    """(N, 4) for each pose a box of its shape and at most its size elsewhere in the image that holds nobody.

    Args:
        poses: N poses.
        owner: (N,) which image each is in.
        sizes: (N, 2) width and height of the images.
        seed: Of the draw.
        tries: Places to try; NaN where none is free.
    """
    rng, found = np.random.default_rng(seed), np.full((len(poses), 4), np.nan)
    for row in range(len(poses)):
        people = poses.box[owner == owner[row]]
        side = (poses.box[row, 2:] - poses.box[row, :2]) * rng.uniform(0.4, 0.9, (tries, 1))
        corner = rng.uniform(0, 1, (tries, 2)) * np.maximum(sizes[row] - side, 0)
        boxes = np.concatenate([corner, np.minimum(corner + side, sizes[row])], axis=1)
        free = np.flatnonzero((box_iou(boxes, people) == 0).all(axis=1))
        if len(free):
            found[row] = boxes[free[0]]
    return found


def companions(owner: NDArray[Any], *, seed: int) -> NDArray[np.intp]:
    """(N,) row of another pose of the same image, drawn at random; -1 where there is none."""
    rng, found = np.random.default_rng(seed), np.full(len(owner), -1, np.intp)
    for image in np.unique(owner):
        rows = np.flatnonzero(owner == image)
        if len(rows) > 1:
            order = rng.permutation(rows)
            found[order] = np.roll(order, 1)
    return found


def _gross(poses: Poses, row: int, change: Change, area: Floats, skeleton: Skeleton) -> NDArray[np.bool_]:
    """(K,) labelled keypoints of the change that are gross by the truth; all of a box without a person."""
    ks = keypoint_similarity(change.xy, poses.xy[row], area[row], skeleton.sigmas)
    return poses.labelled[row] & (ks < DEFAULT_RULE.gross_ks)


def _mirrored(scene: Scene, row: int, rng: np.random.Generator) -> Change:
    return _turned(scene, row, list(range(len(scene.skeleton.flip_pairs))))


def _limb(scene: Scene, row: int, rng: np.random.Generator) -> Change | None:
    """A whole limb, or only what hangs off the trunk."""
    labelled = scene.poses.labelled[row][pair_array(scene.skeleton)].all(axis=1)
    choices = [limb.pairs[start:] for limb in limbs(scene.skeleton) for start in (0, 1)]
    choices = [pairs for pairs in choices if pairs and labelled[list(pairs)].all()]
    return _turned(scene, row, list(choices[rng.integers(len(choices))])) if choices else None


def _turned(scene: Scene, row: int, pairs: list[int]) -> Change:
    """Left and right of these pairs in each other's place."""
    order = np.arange(scene.skeleton.num_keypoints)
    pair = pair_array(scene.skeleton)[pairs]
    order[pair] = pair[:, ::-1]
    poses = scene.poses
    return Change(poses.xy[row, order].astype(np.float64), poses.visibility[row, order], poses.box[row])


def _neighbour(scene: Scene, row: int, rng: np.random.Generator) -> Change | None:
    """One keypoint, or one side of a limb, on another person's."""
    companion = int(scene.companion[row])
    if companion < 0:
        return None
    both = scene.poses.labelled[row] & scene.poses.labelled[companion]
    pair = pair_array(scene.skeleton)
    choices = [[k] for k in np.flatnonzero(both).tolist()]
    sides = [pair[list(limb.pairs), side].tolist() for limb in limbs(scene.skeleton) for side in (0, 1)]
    choices = (
        [*choices, *(side for side in sides if both[side].all())]
        if rng.random() < 0.5 or not sides
        else [side for side in sides if both[side].all()]
    )
    if not choices:
        return None
    moved = choices[rng.integers(len(choices))]
    return _moved(scene, row, moved, scene.poses.xy[companion, moved].astype(np.float64))


def _bone(scene: Scene, row: int, rng: np.random.Generator) -> Change | None:
    """A keypoint pulled away from what it is joined to, by a quarter to half of the box's longer side."""
    poses = scene.poses
    edges = [(a, b) for edge in scene.skeleton.edges for a, b in (edge, edge[::-1])]
    edges = [(a, b) for a, b in edges if poses.labelled[row, a] and poses.labelled[row, b]]
    if not edges:
        return None
    end, start = edges[rng.integers(len(edges))]
    along = poses.xy[row, end].astype(np.float64) - poses.xy[row, start]
    length = float(np.linalg.norm(along))
    if length < 1:
        return None
    pull = rng.uniform(0.25, 0.5) * longer_side(poses.take([row]))[0]
    return _moved(scene, row, [end], (poses.xy[row, end] + along / length * pull)[None])


def _coincident(scene: Scene, row: int, rng: np.random.Generator) -> Change | None:
    """A keypoint on its mirror image's, or on one that it is joined to."""
    near = [*scene.skeleton.flip_pairs, *scene.skeleton.edges]
    near = [(a, b) for pair in near for a, b in (pair, pair[::-1])]
    near = [(a, b) for a, b in near if scene.poses.labelled[row, a] and scene.poses.labelled[row, b]]
    if not near:
        return None
    moved, onto = near[rng.integers(len(near))]
    return _moved(scene, row, [moved], scene.poses.xy[row, [onto]].astype(np.float64))


def _outside(scene: Scene, row: int, rng: np.random.Generator) -> Change | None:
    """A keypoint beyond an edge of the box, by 0.15 to 0.5 of its longer side."""
    poses = scene.poses
    labelled = np.flatnonzero(poses.labelled[row])
    if not len(labelled):
        return None
    k, axis, far = int(rng.choice(labelled)), int(rng.integers(2)), int(rng.integers(2))
    away = rng.uniform(0.15, 0.5) * longer_side(poses.take([row]))[0]
    place = poses.xy[row, k].astype(np.float64)
    place[axis] = poses.box[row, axis + 2 * far] + (away if far else -away)
    return _moved(scene, row, [k], place[None])


def _nobody(scene: Scene, row: int, rng: np.random.Generator) -> Change | None:
    """The pose with its box where nobody is."""
    poses, empty = scene.poses, scene.empty[row]
    if np.isnan(empty).any():
        return None
    box = poses.box[row]
    scale = (empty[2:] - empty[:2]) / np.maximum(box[2:] - box[:2], 1e-6)
    xy = empty[:2] + (poses.xy[row] - box[:2]) * scale
    return Change(xy, poses.visibility[row], empty)


def _moved(scene: Scene, row: int, keypoints: list[int], to: Floats) -> Change:
    xy = scene.poses.xy[row].astype(np.float64)
    xy[keypoints] = to
    return Change(xy, scene.poses.visibility[row], scene.poses.box[row])


MAKERS: Mapping[Kind, Callable[[Scene, int, np.random.Generator], Change | None]] = {
    Kind.MIRRORED: _mirrored,
    Kind.LIMB: _limb,
    Kind.NEIGHBOUR: _neighbour,
    Kind.BONE: _bone,
    Kind.COINCIDENT: _coincident,
    Kind.OUTSIDE: _outside,
    Kind.NOBODY: _nobody,
}
