"""One audit for a row of nested sets: which is the largest of them that it proves.

Routing freezes accepted sets S₁ ⊂ S₂ ⊂ ... ⊂ S_L, from strict to loose, and draws one audit from the last. The audited
poses that lie in a set are, given their number, a uniform draw from that set, so that the same audit speaks about each
of them. The sets are walked from strict to loose, each at the full confidence, and the walk stops at the first one that
is not proven. So a loose set that turns out too bad costs nothing, and no confidence is divided.

What is certified is what remains after the audit's own corrections, and how many those are is chance. A step therefore
needs two limits. Its *residual* limit certifies it; only the limit *before* corrections, which speaks about a fixed
share, lets the walk go on. Let S_i be the first set of which more than ``max_bad`` is bad. It is fixed before the draw.
A later set is certified only if the limit of S_i before corrections was too low, and S_i itself only with more bad
poses left than its limit says, which again means that D⁺ was too low. Both are one event, of probability δ at most.

Source: A. N. Angelopoulos et al., "Learn then Test" (2021), fixed-sequence testing; the limits are those of
``autolabel/bounds.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from autolabel.bounds import residual_bound, upper_bound
from autolabel.errors import InputError


@dataclass(frozen=True)
class StepCounts:
    """What an audit found in one of the nested sets.

    Attributes:
        size: Poses of the set, M.
        audited: How many of them were audited.
        bad: How many of these were found bad.
        corrected: How many of the bad ones were put right or thrown out.
        rejected: How many of these were thrown out.
    """

    size: int
    audited: int
    bad: int
    corrected: int
    rejected: int

    def __post_init__(self) -> None:
        if not 0 <= self.rejected <= self.corrected <= self.bad <= self.audited <= self.size:
            raise InputError(f"counts of an audit that contradict each other: {self}")

    @property
    def left(self) -> int:
        """Poses of the set that were not thrown out."""
        return self.size - self.rejected


@dataclass(frozen=True)
class StepBound:
    """Upper limits of the share of bad poses in one set.

    Attributes:
        before: As it was accepted.
        after: After the audit's corrections.
    """

    before: float
    after: float


@dataclass(frozen=True)
class Walk:
    """How far the audit proves the promise.

    Attributes:
        step: Index of the set that is certified, the largest one; -1 where none is.
        counts: Of every set.
        bounds: Of the sets that were tested, from the first; the walk stopped at the last of them.
    """

    step: int
    counts: tuple[StepCounts, ...]
    bounds: tuple[StepBound, ...]

    @property
    def issued(self) -> bool:
        """Whether any set is certified."""
        return self.step >= 0


def walk(steps: Sequence[StepCounts], max_bad: float, confidence: float = 0.95, sensitivity: float = 1.0) -> Walk:
    """Test nested sets from strict to loose, and certify the last one that passes before the walk stops.

    A set is certified where (D⁺ - corrected) / (M - rejected) <= max_bad, and the walk goes on to the next one where
    D⁺ / M <= max_bad too; see the module's text.

    Args:
        steps: Each one's counts; every set holds the one before it. None is a walk that certifies nothing.
        max_bad: The share that may be bad.
        confidence: 1 - δ, over the draw, for the whole walk.
        sensitivity: Lower limit of the probability that a reviewer sees a bad pose; at a confidence of its own.

    Raises:
        InputError: A share or a confidence outside (0, 1), a sensitivity outside (0, 1], or sets that are not nested.
    """
    require_share("max_bad", max_bad)
    require_share("confidence", confidence)
    _require_nested(steps)
    bounds: list[StepBound] = []
    certified = -1
    for i, step in enumerate(steps):
        bounds.append(_bound(step, confidence, sensitivity))
        if bounds[i].after > max_bad or not step.left:
            break
        certified = i
        if bounds[i].before > max_bad:
            break
    return Walk(certified, tuple(steps), tuple(bounds))


def count_steps(
    sizes: Sequence[int],
    step: NDArray[np.integer],
    bad: NDArray[np.bool_],
    corrected: NDArray[np.bool_] | None = None,
    rejected: NDArray[np.bool_] | None = None,
) -> tuple[StepCounts, ...]:
    """The counts of each of L nested sets from what was found in the m audited poses.

    Args:
        sizes: (L,) poses of each set, ascending.
        step: (m,) index of the smallest set that holds each audited pose.
        bad: (m,) found bad.
        corrected: (m,) of these, put right or thrown out; all of them by default.
        rejected: (m,) of these, thrown out; none by default.

    Raises:
        InputError: Arrays of different lengths, a step that is none, or counts that contradict each other.
    """
    corrected = bad if corrected is None else corrected
    rejected = np.zeros_like(bad) if rejected is None else rejected
    masks = np.stack([np.ones_like(bad), bad, corrected, rejected])
    if step.shape != bad.shape:
        raise InputError(f"steps of {len(step)} audited poses, answers to {len(bad)}")
    if ((step < 0) | (step >= len(sizes))).any():
        raise InputError(f"an audited pose that lies in none of the {len(sizes)} sets")
    if (masks[2] & ~bad).any() or (masks[3] & ~masks[2]).any():
        raise InputError("a pose that was corrected but not bad, or thrown out but not corrected")
    found = np.stack([np.bincount(step[mask], minlength=len(sizes)) for mask in masks]).cumsum(axis=1)
    return tuple(StepCounts(int(size), *(int(n) for n in column)) for size, column in zip(sizes, found.T, strict=True))


def judge(
    sizes: Sequence[int],
    step: NDArray[np.integer],
    bad: NDArray[np.bool_],
    corrected: NDArray[np.bool_] | None = None,
    rejected: NDArray[np.bool_] | None = None,
    *,
    max_bad: float,
    confidence: float = 0.95,
    sensitivity: float = 1.0,
) -> Walk:
    """:func:`count_steps`, then :func:`walk`: the verdict from plain arrays, without any manifest."""
    counted = count_steps(sizes, step, bad, corrected, rejected)
    return walk(counted, max_bad, confidence, sensitivity)


def require_share(name: str, share: float) -> None:
    """Refuse a share or a confidence that promises everything or nothing.

    Raises:
        InputError: It is not between 0 and 1, or it is NaN.
    """
    if not 0 < share < 1:
        raise InputError(f"{name} is {share}", remedy="Give a number between 0 and 1, such as 0.02 or 0.95.")


def _bound(step: StepCounts, confidence: float, sensitivity: float) -> StepBound:
    k, m, size = step.bad, step.audited, step.size
    return StepBound(
        before=upper_bound(k, m, size, confidence, sensitivity=sensitivity),
        after=residual_bound(
            k, m, size, confidence, rejected=step.rejected, corrected=step.corrected, sensitivity=sensitivity
        ),
    )


def _require_nested(steps: Sequence[StepCounts]) -> None:
    for smaller, larger in pairwise(steps):
        names = ("size", "audited", "bad", "corrected", "rejected")
        fewer = [name for name in names if getattr(larger, name) < getattr(smaller, name)]
        if fewer or larger.size == smaller.size:
            raise InputError(f"steps that are not nested from strict to loose: {smaller}, then {larger}")
        if larger.audited - smaller.audited > larger.size - smaller.size:
            raise InputError(f"more poses audited between two steps than lie between them: {smaller}, then {larger}")
