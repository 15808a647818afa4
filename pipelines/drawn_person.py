"""What a drawn person does and wears: activities with their ranges of angles, clothes, hair and skin."""

import colorsys
from bisect import bisect
from collections.abc import Mapping
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.random import Generator

from pipelines.drawn_canvas import Floats
from pipelines.drawn_figure import BONES, SLOTS, Figure, Wardrobe, draw_build, pose_figure, rotations

Range = tuple[float, float]

_REST: dict[str, Range] = {
    "pelvis flex": (-4, 5),
    "chest flex": (-6, 12),
    "chest turn": (-14, 14),
    "chest spread": (-8, 8),
    "head flex": (-15, 22),
    "head turn": (-45, 45),
    "head spread": (-12, 12),
    "arm flex": (-22, 28),
    "arm turn": (-35, 35),
    "arm spread": (6, 24),
    "forearm flex": (5, 55),
    "hand flex": (-15, 25),
    "thigh flex": (-9, 14),
    "thigh turn": (-5, 15),
    "thigh spread": (1, 10),
    "shank flex": (0, 14),
    "foot flex": (-8, 4),
}
"""Degrees of a standing body. ``turn`` of a limb is outwards. A limb without a side stands for both sides,
whose angles are drawn apart."""

_ARMS_DOWN: dict[str, Range] = {"left_arm flex": (-30, 0), "right_arm flex": (5, 40)}
_HEADLONG: dict[str, Range] = {"head flex": (-30, 10)}
ACTIVITIES: Final[Mapping[str, Mapping[str, Range]]] = {
    "stand": {},
    "walk": {
        "left_thigh flex": (15, 35),
        "left_shank flex": (0, 20),
        "right_thigh flex": (-25, -8),
        "right_shank flex": (10, 45),
        "right_foot flex": (-25, 0),
        **_ARMS_DOWN,
    },
    "run": {
        "pelvis flex": (5, 15),
        "left_thigh flex": (40, 75),
        "left_shank flex": (60, 110),
        "right_thigh flex": (-25, -5),
        "right_shank flex": (15, 70),
        "left_arm flex": (-55, -20),
        "right_arm flex": (15, 60),
        "forearm flex": (65, 110),
    },
    "akimbo": {
        "arm flex": (-30, -10),
        "arm spread": (35, 55),
        "arm turn": (-85, -60),
        "forearm flex": (80, 110),
    },
    "fold": {"arm flex": (18, 40), "arm spread": (0, 14), "arm turn": (-60, -35), "forearm flex": (85, 115)},
    "reach": {"left_arm flex": (55, 115), "left_arm spread": (-5, 30), "left_forearm flex": (0, 40)},
    "wave": {"left_arm flex": (-10, 25), "left_arm spread": (85, 150), "left_forearm flex": (20, 110)},
    "cheer": {"arm flex": (-10, 25), "arm spread": (110, 168), "forearm flex": (0, 60)},
    "star": {
        "arm flex": (-10, 15),
        "arm spread": (60, 110),
        "thigh spread": (10, 28),
        "forearm flex": (0, 30),
    },
    "overhead": {"arm flex": (135, 178), "arm spread": (0, 25), "forearm flex": (5, 70)},
    "sit": {
        "pelvis flex": (-14, 6),
        "chest flex": (0, 25),
        "thigh flex": (68, 98),
        "thigh spread": (3, 20),
        "shank flex": (55, 100),
        "foot flex": (-5, 10),
        "arm flex": (5, 55),
        "arm spread": (0, 20),
        "forearm flex": (20, 95),
    },
    "crouch": {
        "pelvis flex": (10, 35),
        "chest flex": (5, 30),
        "thigh flex": (88, 122),
        "thigh spread": (5, 30),
        "shank flex": (95, 132),
        "foot flex": (8, 25),
        "arm flex": (20, 80),
        **_HEADLONG,
    },
    "kneel": {
        "left_thigh flex": (70, 95),
        "left_shank flex": (75, 100),
        "right_thigh flex": (-8, 12),
        "right_shank flex": (80, 105),
        "right_foot flex": (-45, -10),
        "arm flex": (0, 60),
    },
    "bend": {
        "pelvis flex": (20, 55),
        "chest flex": (15, 45),
        "thigh flex": (22, 60),
        "shank flex": (0, 35),
        "arm flex": (40, 115),
        **_HEADLONG,
    },
    "kick": {
        "left_thigh flex": (45, 95),
        "left_shank flex": (0, 50),
        "right_shank flex": (0, 25),
        "arm spread": (20, 70),
        "pelvis flex": (-15, 0),
    },
    "lie": {"arm spread": (10, 120), "thigh flex": (-5, 60), "shank flex": (0, 80), "thigh spread": (2, 25)},
}
"""What differs from rest. Entries of one side are given to the other side in half of the people."""

_ANGLES = ("flex", "turn", "spread")
_EASY = ("stand", "walk")
_NO_SKIRT = ("sit", "crouch", "kneel", "kick")
"""Where the thigh would pierce a stiff skirt."""

_SKIN = (
    (247, 214, 190),
    (232, 190, 160),
    (214, 164, 126),
    (184, 132, 95),
    (148, 100, 68),
    (110, 72, 48),
    (78, 51, 37),
)
_HAIR = (
    (26, 22, 20),
    (52, 36, 26),
    (92, 62, 38),
    (140, 98, 56),
    (196, 160, 100),
    (120, 52, 28),
    (150, 148, 145),
)
_WOOD = ((120, 84, 52), (70, 52, 40), (168, 132, 90), (60, 62, 66), (190, 186, 178))


def _bounds() -> dict[str, Floats]:
    """(bones, 3, 2) least and largest angle of every activity."""
    tables: dict[str, Floats] = {}
    for activity, changes in ACTIVITIES.items():
        table = np.zeros((len(BONES), 3, 2), np.float32)
        for key, limits in [*_REST.items(), *changes.items()]:
            name, angle = key.split()
            for b, bone in enumerate(BONES):
                if bone == name or bone.split("_")[-1] == name:
                    table[b, _ANGLES.index(angle)] = limits
        tables[activity] = table
    return tables


_BOUNDS = _bounds()
_OTHER_SIDE = [
    BONES.index(b.replace("left_", "right_") if b.startswith("left_") else b.replace("right_", "left_")) for b in BONES
]


def draw_person(rng: Generator, pose_spread: float, turning: float = 1.0) -> Figure:
    """A person in a random pose, seen from a random side.

    Args:
        rng: Where chance comes from.
        pose_spread: 0..1. At 0 people stand or walk in the middle of every range and face the viewer; at 1
            every activity comes up, ranges are used to their ends and people are seen from everywhere.
        turning: 0..1. How far those who face the viewer turn to a side; 1 is 45 degrees.
    """
    activity = _activity(rng, pose_spread)
    bounds = _BOUNDS[activity]
    if rng.random() < 0.5:
        bounds = bounds[_OTHER_SIDE]
    middle, half = bounds.mean(axis=2), (bounds[..., 1] - bounds[..., 0]) / 2
    angles: Floats = middle + half * pose_spread * rng.uniform(-1, 1, np.shape(middle))
    styles = _styles(rng)
    if activity == "sit":
        styles.add("stool")
    if activity in _NO_SKIRT:
        styles.discard("skirt")
    view = _view(rng, activity, pose_spread, turning)
    return pose_figure(angles, view, draw_build(rng), _wardrobe(rng, styles), styles)


def _activity(rng: Generator, pose_spread: float) -> str:
    names = list(ACTIVITIES)
    heaped = list(accumulate(1.0 if name in _EASY else 0.6 * pose_spread for name in names))
    return names[bisect(heaped, rng.random() * heaped[-1])]


def _view(rng: Generator, activity: str, pose_spread: float, turning: float) -> Floats:
    """(3, 3) rotation from the body's frame to the camera's: which side is seen, and how tilted."""
    yaw = rng.uniform(-180, 180) if rng.random() < pose_spread else rng.uniform(-45, 45) * turning
    pitch, roll = rng.uniform(-6, 22), rng.uniform(-8, 8) * pose_spread
    if activity == "lie":
        roll += 90 if rng.random() < 0.5 else -90
    turned = rotations(np.deg2rad(np.array([0, yaw, roll], np.float32)))
    return rotations(np.deg2rad(np.array([pitch, 0, 0], np.float32))) @ turned


def _styles(rng: Generator) -> set[str]:
    """Hair, hat, and what is worn over the clothes."""
    hair = ("short", "short", "short", "long", "bun", "tail", "cap", "bald")[rng.integers(8)]
    styles = {hair} | ({"short"} if hair in ("bun", "tail", "long") else set[str]())
    chances = {"beard": 0.15, "skirt": 0.14, "print": 0.3, "placket": 0.25, "bag": 0.1}
    return styles | {style for style, chance in chances.items() if rng.random() < chance}


def cloth(rng: Generator) -> Floats:
    """(3,) RGB of some cloth: mostly muted, sometimes loud, sometimes grey."""
    hue, value = rng.random(), rng.uniform(0.12, 0.95)
    saturation = (0.06, 0.35, 0.6, 0.85)[rng.integers(4)] * rng.uniform(0.6, 1.1)
    return np.array(colorsys.hsv_to_rgb(hue, min(saturation, 1), value), np.float32) * 255


def skin(rng: Generator) -> Floats:
    """(3,) RGB of some skin."""
    return _pick(rng, _SKIN)


def _pick(rng: Generator, colours: tuple[tuple[int, int, int], ...]) -> Floats:
    return np.array(colours[rng.integers(len(colours))], np.float32) * np.float32(rng.uniform(0.88, 1.1))


def _wardrobe(rng: Generator, styles: set[str]) -> Wardrobe:
    """Paint for every slot."""
    bare, hair, top, second, bottom, lower, shoe = (
        skin(rng),
        _pick(rng, _HAIR),
        *(cloth(rng) for _ in range(5)),
    )
    sleeve = second if rng.random() < 0.25 else top
    ankle = shoe if rng.random() < 0.3 else bare
    plain = {
        "skin": bare,
        "mouth": bare * np.array([0.78, 0.5, 0.5]),
        "hair": hair,
        "hat": lower,
        "yoke": top,
    }
    plain |= {"white": np.array([225, 222, 215]), "eye": np.array([35, 25, 22]), "wood": _pick(rng, _WOOD)}
    plain |= {"print": second, "bag": lower, "hips": bottom, "shoe": shoe * 0.8}
    colours = {slot: (colour, colour, colour) for slot, colour in plain.items()}
    colours |= {"top": (top, second, top), "sleeve": (sleeve, second, bare), "cuff": (sleeve, second, bare)}
    colours |= {"thigh": (bottom, lower, bare), "shin": (bottom, lower, ankle)}
    cuts = _cuts(rng, skirt="skirt" in styles)
    bands = float(rng.integers(2, 6)) if rng.random() < 0.25 else 0.0
    striped = {"top": bands, "sleeve": bands}
    return Wardrobe(
        colour=np.array([colours[slot] for slot in SLOTS], np.float32),
        cut=np.array([cuts.get(slot, 2.0) for slot in SLOTS], np.float32),
        bands=np.array([striped.get(slot, 0.0) for slot in SLOTS], np.float32),
    )


def _cuts(rng: Generator, *, skirt: bool) -> dict[str, float]:
    """Where sleeves and legs of the clothes end: the fraction of a bone that they cover, 2 for all of it."""
    sleeves: tuple[tuple[float, float], ...] = (
        (-1, -1),
        (rng.uniform(0.35, 0.75), -1),
        (2, rng.uniform(0.1, 0.5)),
        (2, 2),
    )
    legs: tuple[tuple[float, float], ...] = (
        (rng.uniform(0.4, 0.8), -1),
        (2, rng.uniform(0.05, 0.5)),
        (2, rng.uniform(0.85, 1.2)),
        (2, rng.uniform(0.85, 1.2)),
    )
    sleeve = sleeves[rng.integers(4)]
    leg = (-1, -1) if skirt else legs[rng.integers(4)]
    return {"sleeve": sleeve[0], "cuff": sleeve[1], "thigh": leg[0], "shin": leg[1]}
