"""Whether a new network may replace the old one: it has to be shown that it is better, and that it forgot little.

Fine-tuning on corrections can make a network worse, and a network that is worse makes the next round dearer. So both
networks see the same checked poses, and two things are asked. On the *gate* poses, of the corpus itself, which neither
network learnt from and no earlier comparison looked at: is mean OKS higher? On the *base* poses, the same ones for
good: did mean OKS fall by less than a stated drop? Either has to be shown with 95 % confidence. What is not shown does
not count: a new network that is no better passes the first question in about one of twenty comparisons, and one that
lost exactly the stated drop the second.

Where no poses are held out for a gate, nobody asked for a proof, and a base set that serves as a test is often too
small to give one: a network that had to show there that it forgot little would be refused in most rounds for want of
poses, and nothing would ever be learnt. So the second question is turned around: a network is refused where the base
set shows that it lost more than the stated drop, again with 95 % confidence, and used otherwise.

Each pose's OKS with the old network is taken from that with the new one, so that what is hard for both cancels, and
limits come from the bootstrap over groups of images that belong together (:mod:`autolabel.bootstrap`). Plain
percentiles are too narrow where groups are few or their differences lopsided, so two others are computed and the more
cautious one counts: percentiles taken further out, as far as Student's t lies outside the normal distribution
(Hesterberg, "What Teachers Should Know About the Bootstrap", 2015), and bootstrap-t (Efron & Tibshirani, 1993,
chapter 12). What neither can know is a harm so rare that no gate pose shows it.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit  # pyright: ignore[reportMissingTypeStubs]  # it has none

from autolabel.bootstrap import CONFIDENCE, FEW_CLUSTERS, Clusters, Draws
from autolabel.errors import InputError

RESAMPLES = 2000

LEAST_GROUPS = 20
"""Of fewer groups nothing is concluded: a handful that agree by chance looks sure."""

_NO_GATE = "nothing is held out for a gate (rounds.gate_share = 0)"

Floats = NDArray[np.float64]


class Decision(StrEnum):
    """What becomes of a new network."""

    PROMOTED = "promoted"
    REFUSED = "refused"


@dataclass(frozen=True, eq=False)
class Pair:
    """N checked poses as two networks see them.

    Attributes:
        group: (N,) names or numbers of what must not be parted: near-duplicates, the images of one video.
        oks: (N,) OKS of the new network's pose with the true one, 0..1.
        old_oks: (N,) of the old network's.
        bad: (N,) whether the new network's pose is bad.
        old_bad: (N,) whether the old network's is.
    """

    group: NDArray[Any]
    oks: NDArray[np.float64]
    old_oks: NDArray[np.float64]
    bad: NDArray[np.bool_]
    old_bad: NDArray[np.bool_]

    def __post_init__(self) -> None:
        values = (self.group, self.oks, self.old_oks, self.bad, self.old_bad)
        if len({len(array) for array in values}) > 1:
            raise InputError("the two networks were not measured on the same poses")
        if not (np.isfinite(self.oks).all() and np.isfinite(self.old_oks).all()):
            raise InputError("some poses have no OKS: leave out those of which the truth says nothing")


@dataclass(frozen=True)
class Change:
    """How the new network differs from the old one on some poses; limits are one-sided, each with 95 % confidence.

    Attributes:
        poses: How many.
        groups: Of what must not be parted.
        oks: Mean OKS of the new network; None where they were not looked at.
        old_oks: Of the old one; None where they were not looked at.
        oks_low: Lower limit of ``oks - old_oks``; None of too few groups.
        oks_high: Upper limit; None of too few groups.
        bad: Share of bad poses of the new network; None where they were not looked at.
        old_bad: Of the old one; None where they were not looked at.
        fixed: Poses that are bad with the old network only.
        broken: Poses that are bad with the new network only.
    """

    poses: int
    groups: int
    oks: float | None
    old_oks: float | None
    oks_low: float | None
    oks_high: float | None
    bad: float | None
    old_bad: float | None
    fixed: int
    broken: int

    @classmethod
    def unseen(cls, poses: int, groups: int) -> "Change":
        """Of so many poses, which were not looked at because they are too few to decide anything."""
        return cls(poses, groups, None, None, None, None, None, None, fixed=0, broken=0)

    @property
    def decides(self) -> bool:
        """Whether there are enough groups to conclude anything."""
        return self.groups >= LEAST_GROUPS

    @property
    def words(self) -> str:
        """Mean OKS of both, the difference and its limits."""
        if self.oks is None or self.old_oks is None:
            return f"{self.poses} poses that were not looked at"
        told = f"mean OKS {self.oks:.3f} against {self.old_oks:.3f} on {self.poses} poses of {self.groups} groups"
        if self.oks_low is None or self.oks_high is None:
            return told
        few = "; few groups: limits are rough" if self.groups < FEW_CLUSTERS else ""
        return f"{told} ({self.oks - self.old_oks:+.3f}, limits {self.oks_low:+.3f} and {self.oks_high:+.3f}{few})"


@dataclass(frozen=True)
class Verdict:
    """What was decided about a new network.

    Attributes:
        decision: Whether it replaces the old one.
        reason: Why, in words.
        gate: What was seen on the gate poses; None where nothing is held out for a gate.
        base: What was seen on the base poses; None where there are none.
        used: Ids of the gate poses that this decision looked at: no later one may.
    """

    decision: Decision
    reason: str
    gate: Change | None = None
    base: Change | None = None
    used: tuple[str, ...] = ()

    @property
    def promoted(self) -> bool:
        """Whether the new network replaces the old one."""
        return self.decision is Decision.PROMOTED

    def to_dict(self) -> dict[str, Any]:
        """The content of ``gate.json``."""
        return asdict(self)


def changed(pair: Pair, *, resamples: int = RESAMPLES, seed: int = 0) -> Change:
    """Compare two networks on the same poses.

    Args:
        pair: The poses.
        resamples: Of the bootstrap.
        seed: Of the resamples; the same gives the same limits.

    Raises:
        InputError: There are fewer than two resamples.
    """
    if resamples < 2:
        raise InputError(f"resamples is {resamples}", remedy="Give 2 or more, better 2,000.")
    n = len(pair.oks)
    if not n:
        return Change.unseen(0, 0)
    clusters = _clusters(pair.group)
    low, high = _limits(pair, clusters, resamples, seed) if clusters.count >= LEAST_GROUPS else (None, None)
    return Change(
        poses=n,
        groups=clusters.count,
        oks=float(pair.oks.mean()),
        old_oks=float(pair.old_oks.mean()),
        oks_low=low,
        oks_high=high,
        bad=float(pair.bad.mean()),
        old_bad=float(pair.old_bad.mean()),
        fixed=int((pair.old_bad & ~pair.bad).sum()),
        broken=int((pair.bad & ~pair.old_bad).sum()),
    )


def decide(
    gate: Change | None, base: Change | None, *, base_drop: float, when_blind: str, used: Sequence[str] = ()
) -> Verdict:
    """Decide whether the new network replaces the old one.

    It does where both questions are answered in its favour. Too few gate poses answer nothing: then ``when_blind``
    says what happens, and the poses are left for a later gate. A base set of too few groups is not asked. Where nothing
    is held out for a gate, the new network is used unless the base set shows that it lost more than it may.

    Args:
        gate: What was seen on the gate poses; None where nothing is held out for a gate.
        base: What was seen on the base set; None where there is none.
        base_drop: Largest drop of mean OKS on the base set.
        when_blind: ``promote`` or ``keep``.
        used: Ids of the gate poses.

    Raises:
        InputError: ``when_blind`` is neither, or the drop is negative.
    """
    if when_blind not in ("promote", "keep"):
        raise InputError(f"when_blind is {when_blind!r}", remedy='Give "promote" or "keep".')
    if not base_drop >= 0:
        raise InputError(f"base_drop is {base_drop}", remedy="Give 0 or more.")
    if gate is None:
        return _without_gate(base, base_drop)
    spent = tuple(used) if gate.decides else ()
    forgot, remembered = _on_base(base, base_drop)
    if forgot:
        return Verdict(Decision.REFUSED, forgot, gate, base, spent)
    if not gate.decides:
        blind = f"{gate.groups} groups of unused gate poses are too few to tell (at least {LEAST_GROUPS})"
        decision = Decision.PROMOTED if when_blind == "promote" else Decision.REFUSED
        told = f'{blind}: when_blind = "{when_blind}" decides; {remembered}'
        return Verdict(decision, told, gate, base, spent)
    better = gate.oks_low is not None and gate.oks_low > 0
    if not better:
        return Verdict(Decision.REFUSED, f"not shown to be better on the gate poses: {gate.words}", gate, base, spent)
    return Verdict(Decision.PROMOTED, f"better on the gate poses: {gate.words}; {remembered}", gate, base, spent)


def _without_gate(base: Change | None, drop: float) -> Verdict:
    """Refuse only what the base set shows to have lost too much."""
    forgot, remembered = _on_base(base, drop)
    if base is None or base.oks_high is None:
        return Verdict(Decision.PROMOTED, f"{_NO_GATE}, and {remembered}: the new network is used", None, base)
    sure = f"shown with {100 * CONFIDENCE:g} % confidence"
    if base.oks_high < -drop:
        reason = f"mean OKS on the base set fell by more than {drop:g}, {sure}: {base.words}"
        return Verdict(Decision.REFUSED, reason, None, base)
    if forgot:
        told = f"it is not shown whether the base set fell by more than {drop:g}: {base.words}"
    else:
        told = f"the base set did not fall by more than {drop:g}, {sure}: {base.words}"
    if base.bad is not None and base.old_bad is not None:
        told += f"; bad poses {100 * base.old_bad:.1f} % before, {100 * base.bad:.1f} % now"
    return Verdict(Decision.PROMOTED, f"{_NO_GATE}; {told}", None, base)


def _on_base(base: Change | None, drop: float) -> tuple[str, str]:
    """Why the base set speaks against a network, or "", and else what it says."""
    if base is None:
        return "", "there is no base set to see what it forgot"
    if base.oks_low is None:
        return "", f"the base set's {base.groups} groups are too few to see what it forgot"
    if -base.oks_low < drop:
        return "", f"on the base set {base.words}"
    fell = base.oks is not None and base.old_oks is not None and base.old_oks - base.oks > drop
    what = "fell by more than" if fell else "is not shown to have fallen by less than"
    return f"mean OKS on the base set {what} {drop:g}: {base.words}", ""


def _clusters(group: NDArray[Any]) -> Clusters:
    distinct, of = np.unique(group, return_inverse=True)
    return Clusters(of.reshape(-1).astype(np.intp), len(distinct), "group")


def _limits(pair: Pair, clusters: Clusters, resamples: int, seed: int) -> tuple[float, float]:
    """One-sided limits of the mean difference: of both kinds the more cautious one."""
    gained = np.bincount(clusters.of, pair.oks - pair.old_oks, clusters.count).astype(np.float64)
    counted = np.bincount(clusters.of, minlength=clusters.count).astype(np.float64)
    mean, error = (float(value[0]) for value in _mean_and_error(gained, counted, np.ones((1, clusters.count))))
    blocks = [_mean_and_error(gained, counted, weights) for weights in Draws(clusters.count, resamples, seed)]
    means, errors = (np.concatenate(part) for part in zip(*blocks, strict=True))
    tail = _tail(clusters.count)
    low, high = np.quantile(means, [tail, 1 - tail])
    off = means - mean
    with np.errstate(divide="ignore"):
        away = np.divide(off, errors, out=np.zeros_like(off), where=off != 0)
    least, most = np.quantile(away, [1 - CONFIDENCE, CONFIDENCE], method="nearest")
    if error > 0:
        low, high = min(low, mean - most * error), max(high, mean - least * error)
    return max(float(low), -1.0), min(float(high), 1.0)


def _mean_and_error(gained: Floats, counted: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """(B,) means of the difference and (B,) their standard errors, for (B, C) ways to count the clusters."""
    clusters = weights.shape[1]
    whole = weights @ counted
    mean = weights @ gained / whole
    squares = weights @ gained**2 - 2 * mean * (weights @ (gained * counted)) + mean**2 * (weights @ counted**2)
    return mean, np.sqrt(np.maximum(squares, 0) * clusters / (clusters - 1)) / whole


def _tail(clusters: int) -> float:
    """The share of resamples beyond an expanded percentile."""
    t = float(stdtrit(clusters - 1, 1 - CONFIDENCE))
    return float(ndtr(math.sqrt(clusters / (clusters - 1)) * t))
