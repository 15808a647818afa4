"""Why a pose is doubted, in words: "left knee: two peaks", "wrists disagree with the student", "mirrored?".

The words are no explanation of a model's arithmetic. They name what is unusual about the keypoints that the score
doubts most, so that a reviewer knows where to look first, and each is tied to the number it was read from. One table
(:data:`RULES`) holds them all: which numbers, from where to where, and the sentence. Doubt comes first: evidence
against a keypoint that the score is sure of is not told, and a sure pose has no reasons.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.errors import InputError
from autolabel.phrases import named
from autolabel.skeleton import Skeleton

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DOUBTFUL = 0.15
"""Keypoints of at least this ``p_gross`` are named."""

SURE = 0.05
"""Keypoints of a lower ``p_gross`` are never named, the others where they are the pose's most doubtful two."""

SWAP_MARGIN = 0.1
"""By how much more a keypoint must agree with the mirrored pose's other side than with its own."""

MIRRORED_SHARE = 0.6
"""A pose is mirrored, and not only a limb, where this share of its pairs is, and three pairs at least."""

CHUNK = 2048
"""Poses that are weighed at a time: it bounds the memory."""

Family = Literal["map", "mirror", "look", "head", "body", "others", "second", "absent", "pose"]
"""Rules of one family say the same thing in other words: of each keypoint only the strongest is told."""


@dataclass(frozen=True)
class Signal:
    """A number that speaks for a rule.

    Attributes:
        feature: Its name in the evidence.
        start: Where it begins to speak.
        full: Where it speaks fully; below ``start`` for a number that speaks when it is low.
        derived: The name of a number computed from it (:func:`_derived`), read in its place.
    """

    feature: str
    start: float
    full: float
    derived: str = ""


@dataclass(frozen=True)
class Rule:
    """A sentence and what it is said about.

    Attributes:
        text: With ``{who}`` for the keypoints, ``{s}`` for the verb's ending and ``{other}`` for the other manifest.
        family: See :data:`Family`.
        signals: Any of them will do; the strongest is the one that the reason names.
        trust: What the reason is worth against others, 0..1.
        means: What it says, for the documentation.
        pairs: Whether both sides of a pair are told, though one of them may look sure.
    """

    text: str
    family: Family
    signals: tuple[Signal, ...]
    trust: float
    means: str
    pairs: bool = False


RULES: tuple[Rule, ...] = (
    Rule(
        "mirrored?",
        "mirror",
        (Signal("swap_ks", 0.0, 0.4, "mirrored"),),
        1.0,
        "in the mirrored image most left and right keypoints change places",
        pairs=True,
    ),
    Rule(
        "{who}: left and right swapped?",
        "mirror",
        (Signal("swap_ks", 0.0, 0.4, "swapped"), Signal("other_side", 0.7, 1.0)),
        0.9,
        "two pairs or more change places in the mirrored image, or the map peaks at the other side's keypoint, too",
        pairs=True,
    ),
    Rule(
        "{who}: moves in the mirror image",
        "mirror",
        (Signal("flip_ks", 0.6, 0.2),),
        0.7,
        "the mirrored image puts it elsewhere",
    ),
    Rule(
        "{who}: two peaks",
        "map",
        (Signal("second", 0.3, 0.8),),
        0.8,
        "a second peak of the map is nearly as high as the first",
    ),
    Rule(
        "{who}: many peaks",
        "map",
        (Signal("entropy", 1.1, 2.0),),
        0.7,
        "the map has three or more peaks of like height",
    ),
    Rule("{who}: weak peak", "map", (Signal("peak", 0.4, 0.1),), 0.6, "the map's peak is low"),
    Rule(
        "{who}: blurred",
        "map",
        (Signal("spread", 4.5, 9.0), Signal("expected_ks", 0.3, 0.05)),
        0.5,
        "the map's mass lies far from its peak",
    ),
    Rule("{who}: moves with the crop", "look", (Signal("jitter_ks", 0.6, 0.2),), 0.6, "another crop puts it elsewhere"),
    Rule(
        "{who}: the network expects an error",
        "head",
        (Signal("quality_gross", 0.4, 0.9), Signal("quality_ks", 0.5, 0.1)),
        0.4,
        "the network's quality head says so",
    ),
    Rule("{who}: bone too long", "body", (Signal("bones", 0.5, 3.0),), 0.8, "longer than in 99 % of the checked poses"),
    Rule(
        "{who}: unusual posture",
        "body",
        (Signal("residual", 4.0, 12.0),),
        0.5,
        "far from where the other keypoints have it",
    ),
    Rule(
        "{who}: on another person", "others", (Signal("conflict", 0.5, 0.9),), 0.9, "another pose has that joint there"
    ),
    Rule(
        "{who} disagree{s} with {other}",
        "second",
        (Signal("against", 0.6, 0.2),),
        1.0,
        "the other manifest puts it elsewhere",
    ),
    Rule(
        "{who}: inside the image?",
        "absent",
        (Signal("presence", 0.4, 1.0, "undecided"),),
        0.8,
        "its presence is near one half",
    ),
    Rule(
        "{who}: outside the image?",
        "absent",
        (Signal("peak", 0.2, 0.6, "absent_peak"),),
        0.7,
        "said to be outside, yet the map has a peak",
    ),
    Rule("unlike anything checked", "pose", (Signal("novelty", 2.0, 5.0),), 0.4, "far from every checked pose"),
    Rule(
        "cut by the image's edge",
        "pose",
        (Signal("edge", 0.0, 3.0), Signal("outside", 0.3, 0.7)),
        0.2,
        "the box touches the edge, or a part of the crop lies outside the image",
    ),
    Rule("very small", "pose", (Signal("size", 48.0, 16.0),), 0.3, "the longer side of the box in pixels"),
    Rule("perhaps nobody", "pose", (Signal("box_score", 0.4, 0.1),), 0.3, "the detector's score is low"),
    Rule("the network expects a bad pose", "pose", (Signal("quality_bad", 0.5, 0.9),), 0.3, "the quality head says so"),
)

_PER_POSE = {"novelty", "edge", "outside", "size", "box_score", "quality_bad"}
_UNREAD_WHERE_ABSENT: frozenset[Family] = frozenset({"map", "mirror", "look", "head", "body", "others"})


@dataclass(frozen=True)
class Reason:
    """Something unusual about a doubtful pose.

    Attributes:
        text: In words.
        feature: The number it was read from.
        keypoints: The names of the keypoints it is about; for a reason about the whole pose, its doubtful ones.
        weight: Of how many gross keypoints it speaks, about: the sum over its keypoints of ``p_gross``, each as far as
            the number speaks and the rule is trusted.
    """

    text: str
    feature: str
    keypoints: tuple[str, ...]
    weight: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "text": self.text,
            "feature": self.feature,
            "keypoints": list(self.keypoints),
            "weight": round(self.weight, 4),
        }


def reasons(
    p_gross: ArrayLike,
    evidence: Mapping[str, NDArray[Any]],
    skeleton: Skeleton,
    *,
    most: int = 3,
    absent: ArrayLike | None = None,
    usual: Mapping[str, ArrayLike] | None = None,
    other: str = "the other manifest",
) -> list[list[dict[str, Any]]]:
    """The strongest reasons for the doubts about each pose.

    Args:
        p_gross: (N, K) doubts.
        evidence: Numbers by name, (N, K) or (N,): the features of ``predict``, and ``bones``, ``residual``,
            ``against``, ``conflict`` and ``novelty``. Any may be missing, and NaN is not known; names that no rule
            reads are left aside.
        skeleton: Names the keypoints.
        most: How many reasons a pose may have.
        absent: (N, K) keypoints that the pose itself calls absent: whatever is read from their place says nothing.
        usual: By name, (K,) how far the number of a keypoint that is right commonly goes. What does not go beyond that
            is no reason: the map of an eye always has something at the other eye.
        other: What the other manifest is called.

    Returns:
        N lists of :meth:`Reason.to_dict`, heaviest first.

    Raises:
        InputError: A number has another shape.
    """
    doubt = np.asarray(p_gross, np.float64)
    if doubt.ndim != 2 or doubt.shape[1] != skeleton.num_keypoints:
        raise InputError(f"p_gross has shape {doubt.shape}, expected (N, {skeleton.num_keypoints})")
    gone = np.zeros(doubt.shape, bool) if absent is None else np.asarray(absent, bool)
    if gone.shape != doubt.shape:
        raise InputError(f"absent has shape {gone.shape}, expected {doubt.shape}")
    numbers = _unusual(_derived(_checked(evidence, doubt.shape), gone, skeleton), usual or {})
    answer: list[list[dict[str, Any]]] = []
    for first in range(0, len(doubt), CHUNK):
        rows = slice(first, first + CHUNK)
        part = {name: values[rows] for name, values in numbers.items()}
        weight, source = _weights(np.nan_to_num(doubt[rows], nan=0.0), part, gone[rows], skeleton)
        answer += _told(weight, source, skeleton, most, other)
    return answer


def _checked(evidence: Mapping[str, NDArray[Any]], shape: tuple[int, ...]) -> dict[str, Floats]:
    """The numbers that rules read, all (N, K); those of poses are repeated."""
    read = {signal.feature for rule in RULES for signal in rule.signals}
    numbers: dict[str, Floats] = {}
    for name in sorted(read & set(evidence)):
        values = np.asarray(evidence[name], np.float64)
        expected = shape[:1] if name in _PER_POSE else shape
        if values.shape != expected:
            raise InputError(f"has shape {values.shape}, expected {expected}", subject=f"evidence {name!r}")
        numbers[name] = np.broadcast_to(values[:, None], shape) if name in _PER_POSE else values
    return numbers


def _unusual(numbers: dict[str, Floats], usual: Mapping[str, ArrayLike]) -> dict[str, Floats]:
    """The numbers, without those that go no further than usual in the way that their rules listen for."""
    answer = dict(numbers)
    for signal in (signal for rule in RULES for signal in rule.signals if not signal.derived):
        if signal.feature in numbers and signal.feature in usual:
            values, limit = numbers[signal.feature], np.asarray(usual[signal.feature], np.float64)
            beyond = values < limit if signal.full < signal.start else values > limit
            answer[signal.feature] = np.where(beyond | np.isnan(limit), values, np.nan)
    return answer


def _derived(numbers: dict[str, Floats], absent: Bools, skeleton: Skeleton) -> dict[str, Floats]:
    """The numbers, and those that are computed from several of them."""
    answer = dict(numbers)
    if "presence" in numbers:
        answer["undecided"] = 1.0 - 2.0 * np.abs(numbers["presence"] - 0.5)
    if "peak" in numbers:
        answer["absent_peak"] = np.where(absent, numbers["peak"], np.nan)
    if {"swap_ks", "flip_ks"} <= set(numbers):
        answer["mirrored"], answer["swapped"] = _swapped(numbers["swap_ks"], numbers["flip_ks"], skeleton)
    return answer


def _swapped(swap_ks: Floats, flip_ks: Floats, skeleton: Skeleton) -> tuple[Floats, Floats]:
    """(N, K) and (N, K): by how much the sides fit better when swapped, where the pose is mirrored, or a limb is."""
    flip = list(skeleton.flip)
    paired = np.array([i != j for i, j in enumerate(flip)], bool)
    margin = np.where(paired & (swap_ks > 0.5), swap_ks - flip_ks, np.nan)
    margin = np.fmax(margin, margin[:, flip])
    swapped = margin > SWAP_MARGIN
    pairs = swapped.sum(axis=1) / 2
    known = (paired & np.isfinite(swap_ks)).sum(axis=1) / 2
    whole = (pairs >= 3) & (pairs >= MIRRORED_SHARE * known)
    held = np.where(swapped & (pairs >= 2)[:, None], margin, np.nan)
    return np.where(whole[:, None], held, np.nan), np.where(whole[:, None], np.nan, held)


def _weights(
    doubt: Floats, numbers: Mapping[str, Floats], absent: Bools, skeleton: Skeleton
) -> tuple[Floats, NDArray[np.intp]]:
    """(rules, N, K) weights, 0 where a rule says nothing, and (rules, N, K) which of its signals speaks."""
    doubtful = _doubtful(doubt)
    flip = list(skeleton.flip)
    weight = np.zeros((len(RULES), *doubt.shape))
    source = np.zeros(weight.shape, np.intp)
    for r, rule in enumerate(RULES):
        for s, signal in enumerate(rule.signals):
            values = numbers.get(signal.derived or signal.feature)
            if values is None:
                continue
            speaks = np.nan_to_num((values - signal.start) / (signal.full - signal.start), nan=0.0)
            # From the threshold on a rule speaks with half its voice at least.
            strength = np.where(speaks > 0, 0.5 + 0.5 * np.minimum(speaks, 1.0), 0.0) * rule.trust
            source[r] = np.where(strength > weight[r], s, source[r])
            weight[r] = np.maximum(weight[r], strength)
        if rule.family in _UNREAD_WHERE_ABSENT:
            weight[r][absent] = 0.0
        weight[r] *= doubtful | doubtful[:, flip] if rule.pairs else doubtful
    for family in {rule.family for rule in RULES} - {"pose"}:
        members = [r for r, rule in enumerate(RULES) if rule.family == family]
        strongest = weight[members].argmax(axis=0)
        for place, r in enumerate(members):
            weight[r] *= strongest == place
    return weight * np.maximum(doubt, SURE), source


def _doubtful(doubt: Floats) -> Bools:
    """(N, K) the keypoints that may be named."""
    second = np.sort(doubt, axis=1)[:, -2:][:, :1]
    return (doubt >= DOUBTFUL) | ((doubt >= second) & (doubt >= SURE))


def _told(
    weight: Floats, source: NDArray[np.intp], skeleton: Skeleton, most: int, other: str
) -> list[list[dict[str, Any]]]:
    """Put the heaviest rules of each pose into words; only poses that have one are looped over."""
    total = weight.sum(axis=2).T
    answer: list[list[dict[str, Any]]] = [[] for _ in range(len(total))]
    speaking: list[int] = np.flatnonzero((total > 0).any(axis=1)).tolist()
    for i in speaking:
        heaviest: list[int] = np.argsort(-total[i], kind="stable")[:most].tolist()
        for r in heaviest:
            if total[i, r] > 0:
                own = weight[r, i]
                signal = RULES[r].signals[int(source[r, i, own.argmax()])]
                answer[i].append(_worded(RULES[r], signal, own, skeleton, other).to_dict())
    return answer


def _worded(rule: Rule, signal: Signal, weight: Floats, skeleton: Skeleton, other: str) -> Reason:
    which: tuple[int, ...] = tuple(np.flatnonzero(weight).tolist())
    text = rule.text.format(who=named(which, skeleton), s="s" if len(which) == 1 else "", other=other)
    return Reason(text, signal.feature, tuple(skeleton.keypoints[i] for i in which), float(weight.sum()))
