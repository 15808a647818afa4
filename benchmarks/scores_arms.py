"""The doubts that are compared: what each one is fitted on, and what it may see.

* *raw peak*: one minus the mean height of the peaks of the keypoints that are said to be present. No truth is needed.
* *calibrated peak*: the product's score model with everything taken away from it but the peaks. As always it knows
  which keypoint it speaks of and whether that is said to be absent, and its curves know the person's size.
* *features*: the score model with all the evidence that ``predict`` leaves.
* *features + quality head*: and with what a head on the frozen network says, taught on the same checked poses.

A split parts a pool by image: a fit part, on which score models are fitted, and the rest, which is held out. Poses of
two networks are never fitted together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from autolabel.calibration import fit
from autolabel.calibrator import doubt
from autolabel.evidence import SOURCES
from autolabel.prediction_record import Predicted
from autolabel.similarity import claims_present
from benchmarks.scores_measures import Held
from benchmarks.scores_pools import Pool

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

RAW, PEAK, FEATURES, QUALITY = "raw peak", "calibrated peak", "features", "features + quality head"

FIT: Mapping[str, float] = {"fashion17": 0.4, "drawn": 2_000, "lspet": 2_000}
"""Poses to fit on, or the share of a pool where it is below 1; no more than ``MOST`` of it."""

MOST = 0.5

EVIDENCE = frozenset(SOURCES)
OWN = frozenset(("size", "bones", "residual"))
"""What poses tell without any feature."""

HEAD = frozenset(name for name in EVIDENCE if name.startswith("quality_"))
"""What a quality head says."""


class Scorer(Protocol):
    """Fits a score model on one part of a pool and doubts the poses of another."""

    def __call__(self, learnt: Pool, asked: Pool, *, without: frozenset[str], seed: int) -> Floats:
        """(N,) ``p_bad`` of the asked poses.

        Args:
            learnt: Checked poses of one network.
            asked: Other poses of that network.
            without: Names of evidence that is not seen.
            seed: Of whatever is drawn in fitting.
        """
        ...


def calibrated(learnt: Pool, asked: Pool, *, without: frozenset[str], seed: int) -> Floats:
    """The product's score model."""
    by = str(learnt.checked.poses.by[0])
    records = [Predicted.read(manifest.path) for manifest in learnt.predicted]
    record = next(found for found in records if found is not None and found.model == by)
    fitted = fit(learnt.checked, skeleton=learnt.skeleton, predicted=record, seed=seed, without=without)
    return doubt(fitted, asked.checked.poses, asked.checked.features, asked.skeleton).p_bad


def fit_part(pool: Pool, seed: int) -> Bools:
    """(N,) poses to fit on: whole images in an order that the seed draws, until there are enough poses."""
    wanted = FIT[pool.name] * (len(pool) if FIT[pool.name] < 1 else 1)
    order = np.random.default_rng(seed).permutation(pool.num_clusters)
    poses = np.cumsum(np.bincount(pool.clusters, minlength=pool.num_clusters)[order])
    enough = int(np.searchsorted(poses, min(wanted, MOST * len(pool)))) + 1
    return np.isin(pool.clusters, order[:enough])


def raw_peak(pool: Pool) -> Floats:
    """(N,) one minus the mean peak of the keypoints that are said to be present; 1 where none is.

    Only of keypoints that the pool's truth ever speaks of: the others say nothing about what is measured.
    """
    checked = pool.checked
    counted = claims_present(checked.poses) & checked.scored.any(axis=0)
    peak = np.where(counted, np.clip(checked.features["peak"], 0, 1), 0).sum(axis=1)
    return 1 - peak / np.maximum(counted.sum(axis=1), 1)


@dataclass(frozen=True, eq=False)
class Trial:
    """One split of a pool.

    Attributes:
        pool: All of its poses.
        seed: Of the split and of fitting.
        scorer: What is fitted.
        headed: The same poses with what a quality head says, which was taught on this split; None without one.
    """

    pool: Pool
    seed: int
    scorer: Scorer = calibrated
    headed: Pool | None = None

    def arms(self) -> Held:
        """The held-out poses with the doubts of every arm; of the last one only where there is a head."""
        doubts = {RAW: raw_peak(self.pool)[~self.fitted]}
        doubts[PEAK] = self.doubts(EVIDENCE - {"peak"})
        doubts[FEATURES] = self.doubts(HEAD)
        if self.headed is not None:
            doubts[QUALITY] = replace(self, pool=self.headed).doubts(frozenset())
        return self.held(doubts)

    @property
    def fitted(self) -> Bools:
        """(N,) poses that are fitted on."""
        return fit_part(self.pool, self.seed)

    @property
    def evidence(self) -> frozenset[str]:
        """What there is: poses tell some of it themselves, and a feature that never changes is none."""
        told = {name for name, values in self.pool.checked.features.items() if _varies(values)}
        return EVIDENCE & {*told, *OWN, *(["novelty"] if "embedding" in told else [])}

    def doubts(self, without: frozenset[str]) -> Floats:
        """(held-out,) ``p_bad`` by a score model that does not see some evidence."""
        learnt, by = self.fitted, self.pool.checked.poses.by.astype(str)
        said = np.full(len(self.pool), np.nan)
        for network in np.unique(by):
            own = by == network
            asked = own & ~learnt
            said[asked] = self.scorer(
                self.pool.take(own & learnt), self.pool.take(asked), without=without, seed=self.seed
            )
        return said[~learnt]

    def held(self, doubts: Mapping[str, Floats]) -> Held:
        """What was held out, with some doubts."""
        rest = self.pool.take(~self.fitted)
        return Held(rest.checked.bad, rest.checked.oks, rest.clusters, doubts, rest.strata)


def _varies(values: NDArray[Any]) -> bool:
    known = values[np.isfinite(values)]
    return known.size > 0 and bool(known.max() > known.min())
