"""From held-out poses and their doubts to the figures that are written down, pool by pool.

Everything is a JSON value, so that tables and pictures can be made again without the poses.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from autolabel.score_quality import equal_mass, risk_curve
from benchmarks.scores_ablation import worth
from benchmarks.scores_arms import FEATURES, QUALITY, RAW
from benchmarks.scores_measures import BETTER, Held, Measured, calibration, measured

Row = dict[str, Any]

JUDGED = (FEATURES, QUALITY)
"""The arms that are held against the bars: what ``predict`` and ``calibrate`` give anybody, and the stronger option."""

ONLY_RANKED = ("lspet",)
"""Pools whose labels are too often wrong to say how many poses are bad."""

MUST_GAIN = ("fashion17", "drawn")
MUST_BE_CALIBRATED = "drawn"
MAX_ECE = 0.03
LIMIT = "coverage at 2%"

NONE = 0.01
"""Coverages are told in whole percents. Two below one are none: which is larger hangs on a pose or two."""

_STRATUM_MEASURES = ("AURC", "AUROC", "Spearman", LIMIT, "Brier skill")
_GRID = np.linspace(0.01, 1, 100)


def summary(
    pool: str,
    held: Sequence[Held],
    *,
    clusters: int,
    fitted: Sequence[int],
    ablation: Sequence[Held] = (),
    resamples: int,
) -> Row:
    """Everything about a pool.

    Args:
        pool: Its name.
        held: Splits with the doubts of the arms.
        clusters: Images of the corpus.
        fitted: How many poses each split was fitted on.
        ablation: Splits with the doubts of :func:`benchmarks.scores_ablation.ablated`.
        resamples: Draws of the bootstrap.
    """
    found = measured(held, clusters=clusters, resamples=resamples)
    return {
        "pool": pool,
        "images": clusters,
        "splits": len(held),
        "fitted": list(fitted),
        "held out": [len(split.bad) for split in held],
        "bad": float(np.mean([split.bad.mean() for split in held])),
        "resamples": resamples,
        "arms": [_arm(found, held, arm) for arm in found.arms],
        "gains": _gains(found),
        "strata": _strata(held, clusters, resamples),
        "ablation": worth(ablation, clusters=clusters, resamples=resamples) if ablation else [],
        "curves": {arm: _curves(held, arm) for arm in found.arms},
    }


def _arm(found: Measured, held: Sequence[Held], arm: str) -> Row:
    values = {name: [found.value(name, arm), *found.interval(name, arm)] for name in BETTER}
    return {"arm": arm, **values, **calibration(held, arm)}


def _gains(found: Measured) -> list[Row]:
    """Of every arm over the raw peak, and over the arm before it."""
    pairs = [(arm, RAW) for arm in found.arms[1:]] + [(arm, before) for before, arm in pairwise(found.arms[1:])]
    rows: list[Row] = []
    for arm, over in pairs:
        for name in BETTER:
            gain = found.gain(name, arm, over)
            rows.append(
                {"arm": arm, "over": over, "measure": name, "gain": [gain.value, gain.low, gain.high]}
                | {"splits": list(gain.splits)}
            )
    return rows


def _strata(held: Sequence[Held], clusters: int, resamples: int) -> list[Row]:
    """Every arm in every stratum, with what it gains there over the raw peak."""
    rows: list[Row] = []
    for name in held[0].strata:
        if name == "all":
            continue
        parts = [split.stratum(name) for split in held]
        drawn = measured(parts, clusters=clusters, resamples=resamples, measures=("AURC",))
        found = measured(parts, clusters=clusters, resamples=0)
        for arm in found.arms:
            gain = drawn.gain("AURC", arm, RAW)
            rows.append(
                {
                    "stratum": name,
                    "poses": float(np.mean([len(part.bad) for part in parts])),
                    "bad": float(np.mean([part.bad.mean() for part in parts])),
                    "arm": arm,
                    **{measure: found.value(measure, arm) for measure in _STRATUM_MEASURES},
                    **calibration(parts, arm),
                    "AURC gain": [gain.value, gain.low, gain.high],
                }
            )
    return rows


def _curves(held: Sequence[Held], arm: str) -> Row:
    """Mean risk over the splits by coverage, and the reliability of all splits together."""
    curves = [risk_curve(split.doubts[arm], split.bad) for split in held]
    risk = [float(np.mean([curve.risk_at(share)[0] for curve in curves])) for share in _GRID]
    bins = equal_mass(
        np.concatenate([split.doubts[arm] for split in held]), np.concatenate([split.bad for split in held])
    )
    return {
        "coverage": _GRID.tolist(),
        "risk": risk,
        "said": bins.said.tolist(),
        "true": bins.true.tolist(),
        "count": bins.count.tolist(),
    }


def bars(pools: Sequence[Mapping[str, Any]]) -> list[Row]:
    """What has to be reached, whether it was, and by what; a pool that was not measured has not reached its bars.

    Each bar is held against every arm of ``JUDGED`` that the pool has.
    """
    found = {pool["pool"]: pool for pool in pools}
    rows: list[Row] = []
    for name in MUST_GAIN:
        pool = found.get(name)
        for arm in _judged(pool):
            rows.append(_must_gain(name, pool, arm, "Spearman"))
            rows.append(_must_gain(name, pool, arm, "AURC" if pool and _no_coverage(pool, arm) else LIMIT))
    pool = found.get(MUST_BE_CALIBRATED)
    for arm in _judged(pool):
        row = None if pool is None else _of_arm(pool, arm)
        skill, error = (float("nan"), float("nan")) if row is None else (row["Brier skill"][0], row["ECE"])
        rows.append(_bar(MUST_BE_CALIBRATED, arm, "Brier skill above 0", skill > 0, f"{skill:.3f}"))
        rows.append(_bar(MUST_BE_CALIBRATED, arm, f"ECE at most {MAX_ECE}", error <= MAX_ECE, f"{error:.4f}"))
    return rows


def reached(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every bar is met by one arm at least."""
    asked = {(row["pool"], row["bar"].partition(",")[0]) for row in rows}
    met = {(row["pool"], row["bar"].partition(",")[0]) for row in rows if row["met"]}
    return bool(asked) and asked == met


def _judged(pool: Mapping[str, Any] | None) -> tuple[str, ...]:
    known = () if pool is None else tuple(row["arm"] for row in pool["arms"])
    return tuple(arm for arm in JUDGED if arm in known) or JUDGED[:1]


def _must_gain(name: str, pool: Mapping[str, Any] | None, arm: str, measure: str) -> Row:
    said = f"{measure} better than the raw peak's, lower limit above 0"
    if pool is None:
        return _bar(name, arm, said, False, "not measured")
    rows = [row for row in pool["gains"] if (row["arm"], row["over"], row["measure"]) == (arm, RAW, measure)]
    value, low, high = rows[0]["gain"]
    return _bar(name, arm, said, low > 0, f"{value:+.4f} ({low:+.4f} to {high:+.4f})")


def _no_coverage(pool: Mapping[str, Any], arm: str) -> bool:
    """Whether neither doubt can keep even one pose in a hundred at 2 % bad."""
    return all(_of_arm(pool, other)[LIMIT][0] < NONE for other in (RAW, arm))


def _of_arm(pool: Mapping[str, Any], arm: str) -> Row:
    return next(row for row in pool["arms"] if row["arm"] == arm)


def _bar(pool: str, arm: str, bar: str, met: bool, found: str) -> Row:
    return {"pool": pool, "arm": arm, "bar": bar, "found": found, "met": bool(met)}
