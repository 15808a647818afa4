"""A drawn person: a kinematic tree of bones, dressed in solids, with the place of each COCO keypoint.

Sixteen bones carry rotations (flexion, turn, spread); forward kinematics places them; a table of parts hangs
solids on them, and the COCO keypoints are the tree's own joints and points of the head. So the truth is the
geometry itself. Left and right are told apart as in photographs: by the face, by the feet, by the way knees
and elbows bend, never by a colour.

Body frame: x to the person's left, y up, z to the front, the unit is the person's stature. The figure that
comes out is turned as the camera sees it: x right, y down, z towards the viewer, the middle of the hips at
the origin. Proportions follow Drillis and Contini (Body Segment Parameters, 1966) in the fractions given by
Winter (Biomechanics and Motor Control of Human Movement); the ranges of angles stay within the joints' usual
limits.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipelines.drawn_canvas import OBJECT, Floats, Solids

Triple = tuple[float, float, float]

SLOTS: Final = (
    *("skin", "white", "eye", "mouth", "hair", "hat"),
    *("top", "yoke", "sleeve", "cuff", "print", "bag", "hips", "thigh", "shin", "shoe", "wood"),
)
"""What can be painted on its own."""

_LIMBS = ("arm", "forearm", "hand", "thigh", "shank", "foot")
BONES: Final = ("pelvis", "chest", "head", "hair", *(f"{s}_{b}" for s in ("left", "right") for b in _LIMBS))
"""Bones, parents before children. Hair moves with the head but is told apart: what it covers is hidden."""

_PARENTS = {"pelvis": "", "chest": "pelvis", "head": "chest", "hair": "head"} | {
    f"{side}_{bone}": parent if parent in ("chest", "pelvis") else f"{side}_{parent}"
    for side in ("left", "right")
    for bone, parent in zip(_LIMBS, ("chest", "arm", "forearm", "pelvis", "thigh", "shank"), strict=True)
}
_OFFSETS: dict[str, Triple] = {
    "pelvis": (0, 0, 0),
    "chest": (0, 0.1, 0),
    "head": (0, 0.225, 0),
    "hair": (0, 0, 0),
    "arm": (0.1, 0.178, -0.005),
    "forearm": (0, -0.178, 0),
    "hand": (0, -0.148, 0),
    "thigh": (0.056, 0, 0),
    "shank": (0, -0.245, 0),
    "foot": (0, -0.24, 0),
}
"""Where a bone begins in its parent's frame, person's left."""

_FLEXION = {"pelvis": 1, "chest": 1, "head": 1, "hair": 0, "shank": 1} | dict.fromkeys(
    ("arm", "forearm", "hand", "thigh", "foot"), -1
)
"""Sign of the rotation about x that is flexion: trunk and knee bend one way, the other joints the other
way."""


class Part(NamedTuple):
    """A solid that hangs on a bone: an ellipsoid of semi-axes ``size`` swept from ``start`` to ``end``.

    Parts off the middle are mirrored to the right. ``slot`` names its paint; ``style`` the look that wears
    it.
    """

    bone: str
    start: Triple
    end: Triple
    size: Triple
    taper: Triple
    slot: str
    style: str = ""


def _round(radius: float) -> Triple:
    return (radius, radius, radius)


_EVEN = (1.0, 1.0, 1.0)
_PARTS = (
    Part("pelvis", (0, 0.1, 0), (0, 0.012, 0), (0.096, 0.045, 0.06), (0.86, 0.98, 0.98), "hips"),
    Part("chest", (0, 0.165, 0), (0, 0, 0), (0.1, 0.04, 0.06), (1, 1.02, 0.86), "top"),
    Part("chest", (0.012, 0.212, -0.006), (0.088, 0.186, -0.006), _round(0.032), (0.9, 1, 1), "yoke"),
    Part("head", (0, -0.05, -0.008), (0, 0.03, 0), _round(0.027), (1.1, 1, 1), "skin"),
    Part("head", (0, 0.09, 0.002), (0, 0.042, 0.022), (0.05, 0.05, 0.058), (1, 0.97, 0.72), "skin"),
    Part("head", (0, 0.08, 0.06), (0, 0.06, 0.069), _round(0.009), (0.6, 0.8, 1), "skin"),
    Part("head", (0.02, 0.083, 0.054), (0.02, 0.083, 0.054), (0.012, 0.008, 0.008), _EVEN, "white", "face"),
    Part("head", (0.02, 0.083, 0.057), (0.02, 0.083, 0.057), (0.007, 0.0075, 0.008), _EVEN, "eye", "face"),
    Part("head", (0.01, 0.098, 0.058), (0.031, 0.098, 0.05), _round(0.004), _EVEN, "hair", "face"),
    Part("head", (-0.014, 0.035, 0.059), (0.014, 0.035, 0.059), (0.005, 0.005, 0.007), _EVEN, "mouth", "face"),
    Part("head", (0.05, 0.07, 0), (0.05, 0.07, 0), (0.008, 0.02, 0.012), _EVEN, "skin"),
    Part("left_arm", (0, 0, 0), (0, -0.178, 0), _round(0.036), (1.08, 0.97, 0.8), "sleeve"),
    Part("left_forearm", (0, 0, 0), (0, -0.148, 0), _round(0.028), (1.03, 1, 0.68), "cuff"),
    Part("left_hand", (0, -0.012, 0), (0, -0.07, 0.004), (0.012, 0.015, 0.02), (0.95, 1.15, 0.75), "skin"),
    Part("left_hand", (0, -0.018, 0.014), (-0.004, -0.048, 0.027), _round(0.0085), _EVEN, "skin"),
    Part("left_thigh", (0, 0, 0), (0, -0.245, 0), _round(0.053), (1.02, 0.97, 0.74), "thigh"),
    Part("left_shank", (0, 0, 0), (0, -0.24, -0.004), _round(0.037), (1.02, 1.05, 0.64), "shin"),
    Part("left_foot", (0, -0.024, -0.018), (0, -0.03, 0.09), (0.026, 0.018, 0.024), (1, 1.08, 0.85), "shoe"),
    Part("hair", (0, 0.105, -0.008), (0, 0.085, -0.012), (0.054, 0.046, 0.056), _EVEN, "hair", "short"),
    Part("hair", (0, 0.09, -0.028), (0, -0.08, -0.042), (0.056, 0.05, 0.035), (1, 1.02, 0.8), "hair", "long"),
    Part("hair", (0, 0.135, -0.062), (0, 0.135, -0.062), _round(0.028), _EVEN, "hair", "bun"),
    Part("hair", (0, 0.115, -0.068), (0, -0.03, -0.085), _round(0.022), (1, 1, 0.5), "hair", "tail"),
    Part("hair", (0, 0.118, -0.003), (0, 0.118, -0.003), (0.057, 0.042, 0.063), _EVEN, "hat", "cap"),
    Part("hair", (0, 0.114, 0.05), (0, 0.106, 0.088), (0.042, 0.006, 0.024), _EVEN, "hat", "cap"),
    Part("head", (0, 0.028, 0.022), (0, 0.028, 0.022), (0.037, 0.034, 0.041), _EVEN, "hair", "beard"),
    Part("pelvis", (0, 0.06, 0), (0, -0.15, 0), (0.1, 0.03, 0.066), (0.95, 1.2, 1.45), "hips", "skirt"),
    Part("chest", (0, 0.125, 0.053), (0, 0.09, 0.053), (0.045, 0.02, 0.013), _EVEN, "print", "print"),
    Part("chest", (0, 0.17, 0.06), (0, 0, 0.052), (0.006, 0.01, 0.008), _EVEN, "print", "placket"),
    Part("chest", (0, 0.15, -0.09), (0, 0.03, -0.09), (0.075, 0.04, 0.042), (0.85, 1, 1), "bag", "bag"),
    Part("chest", (0.06, 0.2, 0.025), (0.066, 0.07, 0.05), (0.011, 0.01, 0.011), _EVEN, "bag", "bag"),
    Part("pelvis", (0, -0.085, 0.03), (0, -0.085, 0.03), (0.13, 0.022, 0.13), _EVEN, "wood", "stool"),
    Part("pelvis", (0.09, -0.09, 0.1), (0.1, -0.38, 0.11), _round(0.013), _EVEN, "wood", "stool"),
    Part("pelvis", (0.09, -0.09, -0.05), (0.1, -0.38, -0.06), _round(0.013), _EVEN, "wood", "stool"),
)

_POINTS: tuple[tuple[str, Triple], ...] = (
    ("head", (0, 0.06, 0.073)),
    ("head", (0.02, 0.083, 0.06)),
    ("head", (-0.02, 0.083, 0.06)),
    ("head", (0.053, 0.07, 0)),
    ("head", (-0.053, 0.07, 0)),
    *((f"{s}_{b}", (0.0, 0.0, 0.0)) for b in ("arm", "forearm", "hand") for s in ("left", "right")),
    *((f"{s}_{b}", (0.0, 0.0, 0.0)) for b in ("thigh", "shank", "foot") for s in ("left", "right")),
)
"""The COCO keypoints in their order: bone and place in its frame."""

FLESH: Final[Floats] = np.array(
    [
        0.03,
        *[0.022] * 2,
        *[0.035] * 2,
        *[0.085] * 2,
        *[0.05] * 2,
        *[0.04] * 2,
        *[0.1] * 2,
        *[0.065] * 2,
        *[0.06] * 2,
    ],
    np.float32,
)
"""(17,) how deep a keypoint may lie under the surface that is seen at its pixel and still count as seen."""


OWNERS: Final[NDArray[np.bool_]] = np.array(
    [[b in ({bone} if bone == "head" else {bone, _PARENTS[bone]}) for b in BONES] for bone, _ in _POINTS]
)
"""(17, bones) whose surface shows a keypoint: the bone it lies on, and for a joint the parent that meets it
there."""


@dataclass(frozen=True)
class Wardrobe:
    """How each slot is painted; see :class:`pipelines.drawn_canvas.Solids` for the meaning.

    Attributes:
        colour: (slots, 3, 3) RGB 0..255.
        cut: (slots,).
        bands: (slots,).
    """

    colour: Floats
    cut: Floats
    bands: Floats


@dataclass(frozen=True)
class Figure:
    """A person as the camera sees it.

    Attributes:
        solids: Its solids; labels are 1 + the bone's index, :data:`OBJECT` for furniture.
        joints: (17, 3) COCO keypoints.
    """

    solids: Solids
    joints: Floats


class _Table(NamedTuple):
    """The parts of both sides as arrays over P parts."""

    bone: NDArray[np.intp]
    start: Floats
    end: Floats
    size: Floats
    taper: Floats
    slot: NDArray[np.intp]
    style: list[str]


def _table() -> _Table:
    mirror = np.array([-1, 1, 1], np.float32)
    parts = list(_PARTS)
    for p in _PARTS:
        if p.bone.startswith("left_") or p.start[0] + p.end[0] > 0:
            start, end = (tuple((np.array(v) * mirror).tolist()) for v in (p.start, p.end))
            parts.append(p._replace(bone=p.bone.replace("left_", "right_"), start=start, end=end))
    arrays = {f: np.array([getattr(p, f) for p in parts], np.float32) for f in ("start", "end", "size", "taper")}
    return _Table(
        bone=np.array([BONES.index(p.bone) for p in parts]),
        slot=np.array([SLOTS.index(p.slot) for p in parts]),
        style=[p.style for p in parts],
        **arrays,
    )


_ALL_PARTS = _table()
_PARENT = [BONES.index(_PARENTS[bone]) if _PARENTS[bone] else -1 for bone in BONES]
_RIGHT = np.array([bone.startswith("right_") for bone in BONES])
_OFFSET = np.array([_OFFSETS[bone.split("_")[-1]] for bone in BONES], np.float32)
_OFFSET[_RIGHT, 0] *= -1
_SIGN = np.array([[_FLEXION[bone.split("_")[-1]], 1, 1] for bone in BONES], np.float32)
_SIGN[_RIGHT, 1:] *= -1
_POINT_BONE = np.array([BONES.index(bone) for bone, _ in _POINTS])
_POINT = np.array([place for _, place in _POINTS], np.float32)
_TO_PICTURE = np.diag(np.array([1, -1, 1], np.float32))


def draw_build(rng: Generator) -> Floats:
    """(bones, 3) random factors of a body's build on the size of each bone in its own frame."""
    girth, shoulders, hips, limbs, head = rng.uniform(-1, 1, 5).tolist()
    g = 1 + 0.14 * girth
    build = np.tile(np.array([g, 1 + 0.07 * limbs, g], np.float32), (len(BONES), 1))
    build[0] = (1 + 0.1 * girth + 0.06 * hips, 1, g)
    build[1] = (1 + 0.1 * girth + 0.06 * shoulders, 1, g)
    # Children and small adults: the head is larger against the body.
    build[2:4] = 1.06 + 0.14 * head
    return build


def pose_figure(angles: Floats, view: Floats, build: Floats, wardrobe: Wardrobe, styles: set[str]) -> Figure:
    """Put a body together.

    Args:
        angles: (bones, 3) flexion, turn and spread in degrees, as they read on the person's left side.
        view: (3, 3) rotation from the body's frame to the camera's (x right, y up, z towards the viewer).
        build: (bones, 3) from :func:`draw_build`.
        wardrobe: Its colours.
        styles: Which optional parts it wears.
    """
    frames, origins = _kinematics(angles, _TO_PICTURE @ view, build)
    looks = {"", *styles}
    if frames[BONES.index("head")][2, 2] > -0.5:
        # Seen from behind, the head hides its face anyway; not to draw it saves time.
        looks.add("face")
    worn = np.array([style in looks for style in _ALL_PARTS.style])
    bone, slot = _ALL_PARTS.bone[worn], _ALL_PARTS.slot[worn]

    def placed(points: Floats) -> Floats:
        return origins[bone] + np.einsum("pij,pj->pi", frames[bone], points[worn] * build[bone])

    solids = Solids(
        start=placed(_ALL_PARTS.start),
        end=placed(_ALL_PARTS.end),
        axes=frames[bone] * (_ALL_PARTS.size[worn] * build[bone])[:, None, :],
        taper=_ALL_PARTS.taper[worn],
        colour=wardrobe.colour[slot],
        cut=wardrobe.cut[slot],
        bands=wardrobe.bands[slot],
        label=np.where(slot == SLOTS.index("wood"), OBJECT, bone + 1).astype(np.uint8),
    )
    points = np.einsum("kij,kj->ki", frames[_POINT_BONE], _POINT * build[_POINT_BONE])
    return Figure(solids, origins[_POINT_BONE] + points)


def _kinematics(angles: Floats, turn: Floats, build: Floats) -> tuple[Floats, Floats]:
    """(bones, 3, 3) frames and (bones, 3) origins of the bones, the pelvis in the middle."""
    local = rotations(np.deg2rad(angles) * _SIGN)
    frames, origins = np.empty_like(local), np.zeros_like(angles)
    frames[0] = turn @ local[0]
    for b in range(1, len(BONES)):
        parent = _PARENT[b]
        frames[b] = frames[parent] @ local[b]
        origins[b] = origins[parent] + frames[parent] @ (_OFFSET[b] * build[parent])
    return frames, origins


def rotations(angles: Floats) -> Floats:
    """(..., 3, 3) rotations Rz @ Rx @ Ry of (..., 3) angles about x, y, z in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.moveaxis(np.cos(angles), -1, 0), np.moveaxis(np.sin(angles), -1, 0)
    rows = [
        *(cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy),
        *(sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy),
        *(-cx * sy, sx, cx * cy),
    ]
    return np.stack(rows, axis=-1).reshape(*angles.shape[:-1], 3, 3)
