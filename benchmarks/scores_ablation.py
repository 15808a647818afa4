"""What each piece of evidence is worth: taken away from everything, and given to the peak alone.

The two say different things. What is worth nothing when it is taken away may only be said by something else as well;
what is worth nothing beside the peak alone is worth nothing. Only what fails both is thrown out.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.scores_arms import EVIDENCE, Trial
from benchmarks.scores_measures import Held, measured

Floats = NDArray[np.float64]

ALL, PEAK = "all", "peak"
MEASURES = ("AURC", "AUROC")

GROUPS: Mapping[str, tuple[str, ...]] = {
    "second peak": ("second",),
    "entropy": ("entropy",),
    "spread": ("spread",),
    "expected KS": ("expected_ks",),
    "presence": ("presence", "visible"),
    "flip test": ("flip",),
    "other side": ("swap", "other_side"),
    "jitter": ("jitter", "again"),
    "size and edge": ("size", "log_size", "edge", "outside"),
    "box score": ("box_score",),
    "bones": ("bone",),
    "pose residual": ("residual",),
    "other people": ("conflict",),
    "novelty": ("novelty", "embedding"),
    "other network": ("against", "disagree"),
    "quality head": ("quality",),
}
"""Beginnings of the names of evidence, by what they are called together."""


def groups(evidence: Sequence[str]) -> dict[str, frozenset[str]]:
    """Evidence by group; the longest beginning decides, and what fits none is a group of its own. The peak is no group.

    Args:
        evidence: All names.
    """
    found: dict[str, set[str]] = {}
    for name in evidence:
        if name == PEAK:
            continue
        fits = [(len(start), group) for group, starts in GROUPS.items() for start in starts if name.startswith(start)]
        found.setdefault(max(fits)[1] if fits else name, set()).add(name)
    order = [*GROUPS, *sorted(found.keys() - GROUPS.keys())]
    return {group: frozenset(found[group]) for group in order if group in found}


def ablated(trial: Trial) -> Held:
    """The held-out poses with a doubt for everything, for the peak, and for each group without and alone.

    The arms are ``all``, ``peak``, ``without GROUP`` and ``peak and GROUP``.
    """
    unseen = EVIDENCE - trial.evidence
    doubts = {ALL: trial.doubts(unseen), PEAK: trial.doubts(EVIDENCE - {PEAK})}
    for group, names in groups(sorted(trial.evidence)).items():
        doubts[f"without {group}"] = trial.doubts(unseen | names)
        doubts[f"peak and {group}"] = trial.doubts(EVIDENCE - names - {PEAK})
    return trial.held(doubts)


def worth(held: Sequence[Held], *, clusters: int, resamples: int) -> list[dict[str, object]]:
    """A row for each group: what is lost without it, and what it adds to the peak, with 95 % intervals.

    Args:
        held: From :func:`ablated`, a split each.
        clusters: Images of the corpus.
        resamples: Draws.
    """
    found = measured(held, clusters=clusters, resamples=resamples, measures=MEASURES)
    rows: list[dict[str, object]] = []
    for group in (arm.removeprefix("without ") for arm in found.arms if arm.startswith("without ")):
        row: dict[str, object] = {"evidence": group}
        for measure in MEASURES:
            for what, one, other in (
                ("lost without", ALL, f"without {group}"),
                ("added to the peak", f"peak and {group}", PEAK),
            ):
                gain = found.gain(measure, one, other)
                row[f"{measure} {what}"] = [gain.value, gain.low, gain.high]
        worthless = all(not _helps(row[f"{m} {w}"]) for m in MEASURES for w in ("lost without", "added to the peak"))
        rows.append({**row, "worth nothing": worthless})
    return rows


def _helps(gain: object) -> bool:
    """Whether the lower end of an interval is above 0."""
    return isinstance(gain, list) and bool(np.isfinite(gain[1])) and gain[1] > 0
