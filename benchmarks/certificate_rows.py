"""From redraws to the figures that are written down, and the bars that they are held against."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.certificate_planted import GOOD, LEFT
from benchmarks.certificate_redraw import OURS
from benchmarks.certificate_reviewers import REVIEWERS, UNFOUNDED

Row = dict[str, Any]

MOST_WRONG = 21 / 300
"""Of the runs may end in a certificate that is not true: 5 % and three standard deviations of 300 draws."""

LEAST_ISSUED = 0.8
COVERAGE, COVERED_AT, COVERED = 0.5, 0.02, ("drawn", "demo")
"""The share of drawn people that has to be certified at this promise, by reviewers who see everything."""

_COSTS = ("audited", "found", "plants", "checked", "proposed", "steps", "sensitivity")


def summary(
    pool: str, poses: Sequence[int], bad: Sequence[float], redraws: Sequence[Sequence[Mapping[str, Any]]]
) -> Row:
    """Everything about a pool.

    Args:
        pool: Its name.
        poses: Poses of the pool in each redraw.
        bad: The bad share of all of them.
        redraws: What :func:`benchmarks.certificate_redraw.redraw` found, each.
    """
    keys = list(dict.fromkeys((row["arm"], row["reviewer"], row["alpha"]) for rows in redraws for row in rows))
    found: dict[tuple[str, str, float], list[Row]] = {key: [] for key in keys}
    for rows, size in zip(redraws, poses, strict=True):
        for row in rows:
            share = {"coverage": row["certified"] / size}
            found[row["arm"], row["reviewer"], row["alpha"]].append({**row, **share})
    return {
        "pool": pool,
        "runs": len(redraws),
        "poses": int(np.median(poses)),
        "bad": float(np.mean(bad)),
        "arms": [_arm(rows) for rows in found.values()],
        "points": [_points(rows) for rows in found.values() if rows[0]["reviewer"] in ("", "perfect")],
    }


def wrong(row: Mapping[str, Any]) -> bool:
    """Whether a certificate was issued that is not true."""
    return bool(row["issued"]) and row["true"] > row["alpha"]


def _arm(rows: Sequence[Row]) -> Row:
    issued = [row for row in rows if row["issued"]]
    covered = np.array([row["coverage"] for row in rows])
    return {
        "arm": rows[0]["arm"],
        "reviewer": rows[0]["reviewer"],
        "alpha": rows[0]["alpha"],
        "runs": len(rows),
        "issued": len(issued),
        "wrong": sum(map(wrong, rows)),
        "coverage": float(np.median(covered)),
        "coverage quartiles": np.quantile(covered, (0.25, 0.75)).tolist(),
        "true": float(np.median([row["true"] for row in issued])) if issued else None,
        "worst": max((row["true"] for row in issued), default=None),
        **{name: float(np.median([row[name] for row in rows])) for name in _COSTS if name in rows[0]},
        "nothing accepted": sum(row.get("proposed") == 0 for row in rows),
    }


def _points(rows: Sequence[Row]) -> Row:
    """Coverage and true share of every run in which something was claimed, for the picture."""
    issued = [row for row in rows if row["issued"]]
    return {
        "arm": rows[0]["arm"],
        "alpha": rows[0]["alpha"],
        "coverage": [round(row["coverage"], 4) for row in issued],
        "true": [round(row["true"], 5) for row in issued],
    }


def bars(pools: Sequence[Mapping[str, Any]], planted: Sequence[Mapping[str, Any]]) -> list[Row]:
    """What has to hold, what was found, and whether it does; what was not measured does not hold.

    Reviewers who are wrongly taken to find everything are held against nothing.
    """
    rows = [row for pool in pools for row in _pool_bars(pool)]
    return [*rows, *_planted_bars([row for row in planted if row["reviewer"] != UNFOUNDED])]


def reached(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every bar is met."""
    return bool(rows) and all(row["met"] for row in rows)


def _pool_bars(pool: Mapping[str, Any]) -> Iterable[Row]:
    for row in pool["arms"]:
        if row["arm"] != OURS or row["reviewer"] == UNFOUNDED:
            continue
        what = f"{pool['pool']}, {row['reviewer']}"
        limit = MOST_WRONG * row["runs"]
        said = f"issued and not true in at most {limit:.0f} of {row['runs']}"
        yield _bar(what, row["alpha"], said, row["wrong"] <= limit, f"{row['wrong']} ({row['issued']} issued)")
        if pool["pool"] in COVERED and (row["reviewer"], row["alpha"]) == ("perfect", COVERED_AT):
            covered = f"median {row['coverage']:.1%}"
            yield _bar(
                what, row["alpha"], f"certified coverage at least {COVERAGE:.0%}", row["coverage"] >= COVERAGE, covered
            )


def _planted_bars(rows: Sequence[Mapping[str, Any]]) -> Iterable[Row]:
    """Of each promise and kind of people, the worst planted set."""
    told = [row for row in rows if row["runs"]]
    for reviewer in REVIEWERS:
        for alpha in sorted({row["alpha"] for row in told}):
            mine = [row for row in told if (row["reviewer"], row["alpha"]) == (reviewer, alpha)]
            yield from _worst(mine, reviewer, alpha)


def _worst(rows: Sequence[Mapping[str, Any]], reviewer: str, alpha: float) -> Iterable[Row]:
    what = f"planted, {reviewer}"
    groups = {
        "issued": [row for row in rows if row["kind"] == LEFT],
        "wrong": [row for row in rows if row["factor"] > 1 and row["kind"] != LEFT],
    }
    said = {
        "issued": "share above the promise is left: issued",
        "wrong": "share above it is accepted: issued and not true",
    }
    for name, group in groups.items():
        if group:
            worst = max(group, key=lambda row: row[name] / row["runs"])
            limit = MOST_WRONG * worst["runs"]
            bar = f"{said[name]} in at most {limit:.0f} of {worst['runs']}"
            yield _bar(what, alpha, bar, worst[name] <= limit, f"at most {worst[name]} ({_where(worst)})")
    good = [row for row in rows if row["factor"] == GOOD]
    if good:
        worst = min(good, key=lambda row: row["issued"] / row["runs"])
        bar = f"half the promise: issued in at least {LEAST_ISSUED:.0%}"
        share = worst["issued"] / worst["runs"]
        yield _bar(what, alpha, bar, share >= LEAST_ISSUED, f"at least {share:.0%} ({_where(worst)})")


def _where(row: Mapping[str, Any]) -> str:
    return f"{row['factor']:g}x of {row['size']:,}, {row['kind']}"


def _bar(what: str, alpha: float, bar: str, met: bool, found: str) -> Row:
    return {"what": what, "alpha": alpha, "bar": bar, "found": found, "met": bool(met)}
