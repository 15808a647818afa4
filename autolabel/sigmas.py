"""Sigmas from double labels: how far people themselves scatter about each keypoint.

Model: the places that people give keypoint k of a person of area A scatter about the true one, in both directions
alike, with E|x - x*|² = σ_k² A. That is COCO's σ, "the standard deviation with respect to object scale" of its 5,000
doubly annotated images (cocodataset.org, keypoint evaluation; Ronchi and Perona, ICCV 2017), taken as the distance to
the true place because KS compares with the truth; it makes a second annotator's mean KS against the truth 8/9. Two
people then lie 2 σ_k² A apart in the mean of squares, so for m people who placed one keypoint of one pose, at x_1..x_m
with mean x̄,

    S = Σ |x_i - x̄|² / A    (for two of them: d² / 2A)        σ_k² = Σ S / Σ (m - 1)

over all poses. Mirror partners share one σ, as in COCO's own table. Under normal scatter ΣS is gamma distributed with
shape n = Σ (m - 1) and scale σ_k², which gives the interval.

Only places that people chose themselves count: a pre-label that two people left says nothing about people. Blind
answers are best. Where they are too few, points that were moved or added count too; those are the harder ones, and two
people who move the same pre-label are drawn to it alike.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv  # pyright: ignore[reportMissingTypeStubs]  # it has none

from autolabel.reviewer_quality import CONFIDENCE, Bools, Looks
from autolabel.similarity import Floats, similarity_area
from autolabel.skeleton import Skeleton

ENOUGH = 30
"""Double labels of a keypoint from which its sigma is replaced: it is then known to about 9 % (1 / 2√n)."""

HEAVY = 1.5
"""A sigma this many times the one that the median tells comes from a few answers that lie far apart."""

BLIND, BY_HAND = "blind", "by hand"


@dataclass(frozen=True)
class Sigma:
    """What double labels tell about one keypoint.

    Attributes:
        keypoint: Its name.
        n: Double labels, Σ (m - 1), its mirror partner's among them.
        value: σ; None where there are none.
        low: Lower end of the two-sided 95 % interval under normal scatter; None where there are none.
        high: Its upper end.
        median: The σ that the median distance tells, which a few wild answers do not move; None where there are none.
        source: ``blind``, or ``by hand`` where moved and added points were needed.
        in_use: The skeleton's σ.
    """

    keypoint: str
    n: int
    value: float | None
    low: float | None
    high: float | None
    median: float | None
    source: str
    in_use: float

    @property
    def enough(self) -> bool:
        """Whether it is known well enough to be used."""
        return self.n >= ENOUGH and self.value is not None and 0 < self.value < 1

    @property
    def heavy(self) -> bool:
        """Whether a few answers that lie far apart make it large: mistakes, such as swapped sides."""
        return self.enough and bool(self.median is not None and (self.value or 0) > HEAVY * self.median)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        limits = None if self.low is None else [self.low, self.high]
        shared = {"keypoint": self.keypoint, "double_labels": self.n, "sigma": self.value, "limits": limits}
        return {**shared, "by_median": self.median, "source": self.source, "in_use": self.in_use}


@dataclass(frozen=True, eq=False)
class Scatter:
    """What G groups of places tell, a group the places that several people gave one keypoint of one pose.

    Attributes:
        keypoint: (G,) which keypoint.
        spread: (G,) S = Σ |x_i - x̄|² / A.
        freedom: (G,) people less one.
    """

    keypoint: NDArray[np.intp]
    spread: Floats
    freedom: NDArray[np.intp]


def scatter(looks: Looks, places: Bools) -> Scatter:
    """How far apart people placed the same keypoint of the same pose.

    Args:
        looks: All answers.
        places: (N, K) the places that count; of one person at most one a pose and keypoint does, a blind one if any.
    """
    area = similarity_area(looks.shown)
    usable = places & looks.left.labelled & ~looks.rejected[:, None] & (area > 0)[:, None]
    found: list[tuple[int, float, int]] = []
    # Blind answers first: they stand for a person who also answered with the pre-label.
    order = np.argsort(~looks.blind, kind="stable")
    order = order[np.argsort(looks.about[order], kind="stable")]
    for rows in np.split(order, np.flatnonzero(np.diff(looks.about[order])) + 1):
        if len(set(looks.who[rows].tolist())) < 2:
            continue
        for k in np.flatnonzero(usable[rows].sum(axis=0) > 1).tolist():
            mine = rows[usable[rows, k]]
            _, once = np.unique(looks.who[mine], return_index=True)
            xy = looks.left.xy[mine[once], k].astype(np.float64)
            if len(xy) > 1:
                spread = float(((xy - xy.mean(axis=0)) ** 2).sum() / area[mine[0]])
                found.append((k, spread, len(xy) - 1))
    k, spread, freedom = zip(*found, strict=True) if found else ((), (), ())
    return Scatter(np.array(k, np.intp), np.array(spread, np.float64), np.array(freedom, np.intp))


def estimate_sigmas(looks: Looks, skeleton: Skeleton) -> tuple[Sigma, ...]:
    """(K,) what double labels tell about each keypoint."""
    placed = looks.placed & looks.left.labelled
    blind = scatter(looks, looks.left.labelled & looks.blind[:, None])
    by_hand = scatter(looks, placed | (looks.left.labelled & looks.blind[:, None]))
    sigmas: list[Sigma] = []
    for k, name in enumerate(skeleton.keypoints):
        partners = [k, skeleton.flip[k]]
        mine = np.isin(blind.keypoint, partners)
        enough = int(blind.freedom[mine].sum()) >= ENOUGH
        chosen, source = (blind, BLIND) if enough else (by_hand, BY_HAND)
        mine = np.isin(chosen.keypoint, partners)
        sigmas.append(_sigma(name, chosen.spread[mine], chosen.freedom[mine], source, skeleton.sigmas[k]))
    return tuple(sigmas)


def _sigma(name: str, spread: Floats, freedom: NDArray[np.intp], source: str, in_use: float) -> Sigma:
    n, total = int(freedom.sum()), float(spread.sum())
    if n == 0:
        return Sigma(name, 0, None, None, None, None, source, in_use)
    side = (1 - CONFIDENCE) / 2
    low, high = (math.sqrt(total / float(gammaincinv(n, q))) for q in (1 - side, side))
    # Each S over the median that it has at σ = 1, which is ln 2 for two people.
    median = math.sqrt(float(np.median(spread / np.asarray(gammaincinv(freedom, 0.5)))))
    return Sigma(name, n, math.sqrt(total / n), low, high, median, source, in_use)


def with_sigmas(skeleton: Skeleton, sigmas: Sequence[Sigma], people: int, until: str) -> Skeleton | None:
    """The skeleton with the sigmas that are known well enough; None where none is.

    Its ``sigma_source`` says where they come from and gives this set of them a name.

    Args:
        skeleton: As it is in use.
        sigmas: (K,) from :func:`estimate_sigmas`.
        people: How many people's answers.
        until: Time of the last answer.
    """
    known = [sigma for sigma in sigmas if sigma.enough]
    if not known:
        return None
    values = tuple(float(f"{s.value:.4g}") if s.enough else s.in_use for s in sigmas)
    version = hashlib.sha256(json.dumps([skeleton.keypoints, values]).encode()).hexdigest()[:8]
    fewest, most = min(s.n for s in known), max(s.n for s in known)
    kept = [s.keypoint for s in sigmas if not s.enough]
    source = f"version {version}: {fewest} to {most} double labels a keypoint by {people} people, until {until}"
    if kept:
        source += f"; as before ({skeleton.sigma_source}): {', '.join(kept)}"
    return replace(skeleton, sigmas=values, sigma_source=source)
