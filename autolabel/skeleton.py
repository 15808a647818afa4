"""The skeleton: which keypoints a pose has, how they connect, which mirror each other, how precise they are.

One file describes it (``autolabel/skeletons/*.json`` or the user's own), and everything else follows from it: the
network's number of heatmaps, flip pairs, OKS sigmas, the labelling form, the COCO category.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from autolabel.errors import SkeletonError

Side = Literal["left", "right", "centre"]

DEFAULT_SIGMA = 0.05
"""Used where nothing better is known; a run that uses it says so (``sigma_source``)."""

SIDE_COLORS: Mapping[Side, str] = {"left": "#1f9bff", "right": "#ff7a1a", "centre": "#35c46a"}
"""Blue is the person's left, orange the right, as in the common COCO drawings; green has no side."""

_FOLDER = Path(__file__).parent / "skeletons"
_KEYS = {
    *("name", "description", "keypoints", "edges", "flip_pairs"),
    *("sigmas", "sigma_source", "upper", "lower", "colors"),
}


@dataclass(frozen=True)
class Skeleton:
    """Names, edges, flip and sigmas of K keypoints.

    Attributes:
        name: What the skeleton is called.
        keypoints: K unique names, in the order of every ``(N, K)`` array.
        edges: Pairs of 0-based keypoint indices that are drawn as limbs.
        flip: (K,) index of the keypoint that each one becomes in the mirrored image; an involution.
        sigmas: (K,) OKS sigmas (COCO's definition: KS = exp(-d² / (2 A (2σ)²))).
        sigma_source: Where the sigmas come from, in words.
        upper: Keypoints of the upper body, for half-body augmentation.
        lower: Keypoints of the lower body.
        colors: (K,) ``#rrggbb``.

    Raises:
        SkeletonError: The values contradict each other.
    """

    name: str
    keypoints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    flip: tuple[int, ...]
    sigmas: tuple[float, ...]
    sigma_source: str
    upper: tuple[int, ...] = ()
    lower: tuple[int, ...] = ()
    colors: tuple[str, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        _check_names(self)
        _check_geometry(self)
        if not self.colors:
            object.__setattr__(self, "colors", tuple(SIDE_COLORS[side] for side in self.sides))
        _check_colors(self)

    @property
    def num_keypoints(self) -> int:
        """K."""
        return len(self.keypoints)

    @property
    def sides(self) -> tuple[Side, ...]:
        """(K,) whose side each keypoint is on, read from its name and its mirror image."""
        return tuple(_side(i, self) for i in range(self.num_keypoints))

    @property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """The pairs that change places in a mirrored image, each once."""
        return tuple((i, j) for i, j in enumerate(self.flip) if i < j)

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest of names, order and flip: manifests and networks whose fingerprints differ never mix.

        Sigmas are left out on purpose: they may be re-estimated without changing what a coordinate means.
        """
        text = json.dumps([self.keypoints, self.flip])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def sigmas_guessed(self) -> bool:
        """Whether no sigma is better than ``DEFAULT_SIGMA``: a run that measures with them says so."""
        return set(self.sigmas) == {DEFAULT_SIGMA}

    def index(self, keypoint: str) -> int:
        """The index of a keypoint.

        Raises:
            SkeletonError: No such keypoint; names the nearest one.
        """
        try:
            return self.keypoints.index(keypoint)
        except ValueError:
            raise SkeletonError(
                f"has no keypoint {keypoint!r}", subject=self.name, remedy=_nearest(keypoint, self.keypoints)
            ) from None

    def require_same(self, other: "Skeleton", what: str) -> None:
        """Refuse to mix with a skeleton of other names, order or flip.

        Raises:
            SkeletonError: The fingerprints differ; ``what`` says where the other one comes from.
        """
        if self.fingerprint != other.fingerprint:
            raise SkeletonError(
                f"skeleton {other.name!r} ({other.num_keypoints} keypoints) is not "
                f"{self.name!r} ({self.num_keypoints} keypoints)",
                subject=what,
                remedy="Convert one of them with `autolabel map`.",
            )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form that :meth:`from_dict` reads."""
        return {
            "name": self.name,
            "description": self.description,
            "keypoints": list(self.keypoints),
            "edges": [list(edge) for edge in self.edges],
            "flip_pairs": [list(pair) for pair in self.flip_pairs],
            "sigmas": list(self.sigmas),
            "sigma_source": self.sigma_source,
            "upper": list(self.upper),
            "lower": list(self.lower),
            "colors": list(self.colors),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, subject: str = "skeleton") -> "Skeleton":
        """Build from the JSON form.

        Args:
            data: ``name`` and ``keypoints`` are required. ``flip_pairs`` default to the pairs that the names tell
                (``left_knee``/``right_knee``), ``sigmas`` to 0.05.
            subject: What errors call it.

        Raises:
            SkeletonError: A key is missing or unknown, or the values contradict each other.
        """
        if unknown := sorted(str(key) for key in data if key not in _KEYS):
            raise SkeletonError(
                f"unknown key {unknown[0]!r}", subject=subject, remedy=_nearest(unknown[0], sorted(_KEYS))
            )
        for key in ("name", "keypoints"):
            if key not in data:
                raise SkeletonError(f"key {key!r} is missing", subject=subject)
        try:
            return _from_checked_keys(data)
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise SkeletonError(f"cannot be read: {error}", subject=subject) from error

    @classmethod
    def load(cls, source: str | Path) -> "Skeleton":
        """A built-in skeleton by name, or a user's JSON file.

        Raises:
            SkeletonError: There is no such skeleton, or the file is malformed.
        """
        path = _FOLDER / f"{source}.json"
        if str(source) not in builtin_skeletons():
            path = Path(source)
        if not path.is_file():
            raise SkeletonError(
                "is neither a built-in skeleton nor a file",
                subject=str(source),
                remedy=f"Built-in skeletons: {', '.join(builtin_skeletons())}.",
            )
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise SkeletonError(f"is not JSON: {error}", subject=str(path)) from error
        if not isinstance(data, dict):
            raise SkeletonError("is not a JSON object", subject=str(path))
        return cls.from_dict(cast("dict[str, Any]", data), subject=str(source))


def builtin_skeletons() -> tuple[str, ...]:
    """Names of the skeletons that come with the product."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def flip_from_names(keypoints: Sequence[str]) -> tuple[int, ...]:
    """(K,) mirror partners that the names tell: ``left_x``/``right_x``, ``l_x``/``r_x``; others keep their place."""
    index = {name: i for i, name in enumerate(keypoints)}
    partner = [index.get(_mirrored(name), i) for i, name in enumerate(keypoints)]
    return tuple(j if partner[j] == i else i for i, j in enumerate(partner))


def _mirrored(name: str) -> str:
    for a, b in (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT")):
        if a in name:
            return name.replace(a, b)
        if b in name:
            return name.replace(b, a)
    for a, b in (("l_", "r_"), ("L_", "R_")):
        if name.startswith(a):
            return b + name[2:]
        if name.startswith(b):
            return a + name[2:]
    return name


def _from_checked_keys(data: Mapping[str, Any]) -> Skeleton:
    if isinstance(data["keypoints"], str):
        raise TypeError("keypoints is one text, not a list of names")
    keypoints = tuple(str(name) for name in data["keypoints"])
    flip = list(range(len(keypoints)))
    if "flip_pairs" in data:
        for i, j in data["flip_pairs"]:
            if not (0 <= i < len(flip) and 0 <= j < len(flip)):
                raise IndexError(f"flip_pairs names a keypoint outside 0..{len(flip) - 1}")
            flip[i], flip[j] = j, i
    else:
        flip = list(flip_from_names(keypoints))
    sigmas = data.get("sigmas")
    source = f"{DEFAULT_SIGMA} for every keypoint: none were given" if sigmas is None else "the skeleton's file"
    return Skeleton(
        name=str(data["name"]),
        description=str(data.get("description", "")),
        keypoints=keypoints,
        edges=tuple((int(i), int(j)) for i, j in data.get("edges", ())),
        flip=tuple(flip),
        sigmas=(DEFAULT_SIGMA,) * len(keypoints) if sigmas is None else tuple(float(s) for s in sigmas),
        sigma_source=str(data.get("sigma_source", source)),
        upper=tuple(int(i) for i in data.get("upper", ())),
        lower=tuple(int(i) for i in data.get("lower", ())),
        colors=tuple(str(color) for color in data.get("colors", ())),
    )


def _side(i: int, skeleton: Skeleton) -> Side:
    if skeleton.flip[i] == i:
        return "centre"
    name = skeleton.keypoints[i].lower()
    if "left" in name or name.startswith("l_"):
        return "left"
    if "right" in name or name.startswith("r_"):
        return "right"
    return "left" if i < skeleton.flip[i] else "right"


def _check_names(skeleton: Skeleton) -> None:
    names = skeleton.keypoints
    if not names or not all(names):
        raise SkeletonError("needs at least one keypoint, and no empty name", subject=skeleton.name)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SkeletonError(f"keypoint {twice!r} stands twice", subject=skeleton.name)


def _check_geometry(skeleton: Skeleton) -> None:
    k = skeleton.num_keypoints

    def fail(message: str) -> None:
        raise SkeletonError(message, subject=skeleton.name)

    for field, values in (("flip", skeleton.flip), ("sigmas", skeleton.sigmas)):
        if len(values) != k:
            fail(f"{field} has {len(values)} values for {k} keypoints")
    for field, indices in (
        ("edges", [i for edge in skeleton.edges for i in edge]),
        ("flip", skeleton.flip),
        ("upper", skeleton.upper),
        ("lower", skeleton.lower),
    ):
        if any(not 0 <= i < k for i in indices):
            fail(f"{field} names a keypoint outside 0..{k - 1}")
    if any(skeleton.flip[j] != i for i, j in enumerate(skeleton.flip)):
        fail("flip is not an involution: flipping twice must give the same keypoint")
    if any(i == j for i, j in skeleton.edges):
        fail("an edge joins a keypoint to itself")
    if any(not 0 < sigma < 1 for sigma in skeleton.sigmas):
        fail("sigmas must lie between 0 and 1")


def _check_colors(skeleton: Skeleton) -> None:
    if len(skeleton.colors) != skeleton.num_keypoints:
        raise SkeletonError(
            f"colors has {len(skeleton.colors)} values for {skeleton.num_keypoints} keypoints",
            subject=skeleton.name,
        )
    for color in skeleton.colors:
        if not re.fullmatch("#[0-9a-fA-F]{6}", color):
            raise SkeletonError(f"color {color!r} is not of the form #rrggbb", subject=skeleton.name)


def _nearest(word: str, known: Sequence[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
