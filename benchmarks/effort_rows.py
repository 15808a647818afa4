"""From what people did on a corpus to the figures that are written down: JSON values, seed by seed and together.

Effort is told in clicks and openings, added up. An arm without a certificate is charged up to where the corpus is good
enough *by the truth*, which nobody knows in use: its figure is a lower limit. Checking everything, and the arms that
stop by their own certificate, are charged to their end.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autolabel.effort import QualityCurve
from benchmarks.effort_cases import CERTIFIED, EVERYTHING, HAND, OURS
from pipelines.effort import Session
from pipelines.effort_certified import Outcome

Row = dict[str, Any]

MAX_GROSS = MAX_BAD = 0.02
"""What a corpus has to reach."""

MOST: Mapping[str, float] = {"drawn": 0.4, "drawn, full noise": 0.4, "fashion17": 1.0}
"""The share of the effort of checking everything that may be spent."""

NOWHERE = 1.05
"""Anywhere."""

POINTS = 120
"""Of a curve that is kept."""


def row(arm: str, session: Session, outcome: Outcome | None, everything: Session) -> Row:
    """One arm of one seed.

    Args:
        arm: Its name.
        session: What was done.
        outcome: How it ended, where it stops by a certificate.
        everything: The session that checked everything.
    """
    curve = session.curve
    last = len(curve.clicks) - 1
    reached = curve.reached(MAX_GROSS, MAX_BAD)
    stop = last if arm in (*CERTIFIED, EVERYTHING, HAND) else reached
    whole = everything.total
    found: Row = {
        "arm": arm,
        "effort": None if stop is None else float(curve.clicks[stop] + curve.opened[stop]),
        "clicks": None if stop is None else float(curve.clicks[stop]),
        "opened": None if stop is None else float(curve.opened[stop]),
        "seconds": None if stop is None else float(curve.seconds[stop]),
        "of everything": None,
        "reached at": None if reached is None else float(curve.clicks[reached] + curve.opened[reached]),
        "gross": float(curve.gross[last if stop is None else stop]),
        "bad": float(curve.bad[last if stop is None else stop]),
    }
    if found["effort"] is not None:
        found["of everything"] = found["effort"] / (whole.clicks + whole.opened)
    return found if outcome is None else {**found, **_ended(session, outcome)}


def _ended(session: Session, outcome: Outcome) -> Row:
    accepted, rates, verdict = outcome.accepted, outcome.rates, outcome.walk
    return {
        "accepted": int(accepted.sum()),
        "accepted bad": float(session.bad[accepted].mean()) if accepted.any() else None,
        "bound": outcome.bound if accepted.any() else None,
        "steps": [[step.size, step.expected] for step in outcome.proposal.steps],
        "audit": [] if verdict is None else [[one.audited, one.bad] for one in verdict.counts],
        "reviewers": None if rates is None else rates.to_dict(),
        "reason": outcome.reason,
        "bill": {kind: [total.clicks, total.opened, total.seconds] for kind, total in session.spent.items()},
    }


def thinned(curve: QualityCurve) -> dict[str, list[float]]:
    """A curve at points evenly spread over its effort."""
    effort = curve.clicks + curve.opened
    place = np.unique(np.searchsorted(effort, np.linspace(0, effort[-1], POINTS)))
    place = np.minimum(place, len(effort) - 1)
    named = {"effort": effort, "seconds": curve.seconds, "gross": curve.gross, "bad": curve.bad}
    return {name: np.round(values[place], 6).tolist() for name, values in named.items()}


def summary(case: str, poses: int, seeds: Sequence[Sequence[Row]], curves: Mapping[str, Any]) -> Row:
    """All seeds of a case together.

    Args:
        case: Its name.
        poses: How many it has.
        seeds: The rows of each seed, arms in the same order.
        curves: Of the first seed, by arm.
    """
    start = curves[EVERYTHING]
    arms = [_together([rows[i] for rows in seeds]) for i in range(len(seeds[0]))]
    return {
        "case": case,
        "poses": poses,
        "gross": start["gross"][0],
        "bad": start["bad"][0],
        "arms": arms,
        "seeds": [list(rows) for rows in seeds],
        "curves": dict(curves),
    }


def _together(rows: Sequence[Row]) -> Row:
    """Means over the seeds of one arm, each with the smallest and the largest; how many seeds reached the quality."""
    known = ("effort", "seconds", "of everything", "gross", "bad")
    means: Row = {name: _spread([one[name] for one in rows]) for name in known}
    reached = sum(one["gross"] <= MAX_GROSS and one["bad"] <= MAX_BAD for one in rows)
    found: Row = {"arm": rows[0]["arm"], **means, "reached": reached, "seeds": len(rows)}
    if "bill" in rows[0]:
        found["accepted"] = _spread([one["accepted"] for one in rows])
        found["accepted bad"] = _spread([one["accepted bad"] for one in rows])
        found["certificates"] = sum(one["accepted"] > 0 for one in rows)
        found["broken"] = sum(one["accepted"] > 0 and one["accepted bad"] > MAX_BAD for one in rows)
    return found


def _spread(values: Sequence[float | None]) -> list[float] | None:
    numbers = [value for value in values if value is not None]
    return [float(np.mean(numbers)), min(numbers), max(numbers)] if len(numbers) == len(values) else None


def bars(cases: Sequence[Mapping[str, Any]]) -> list[Row]:
    """What has to be reached by each arm that stops by its own certificate, in the mean, and whether it was."""
    found = {case["case"]: case for case in cases}
    held: list[Row] = []
    for arm in CERTIFIED:
        for name, most in MOST.items():
            held.append(_bar(found.get(name), name, arm, most))
        for name, case in found.items():
            worst = _arm(case, arm)["of everything"][2]
            held.append(
                {
                    "case": name,
                    "arm": arm,
                    "bar": f"no seed above {NOWHERE:.2f} of checking everything",
                    "found": f"{worst:.3f}",
                    "met": worst <= NOWHERE,
                }
            )
    return held


def reached(held: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the arm with the product's promise meets all of its bars."""
    ours = [one["met"] for one in held if one["arm"] == OURS]
    return bool(ours) and all(ours)


def _bar(case: Mapping[str, Any] | None, name: str, arm: str, most: float) -> Row:
    limit = f"at most {most:.0%}" if most < 1 else "less"
    said = f"gross and bad at most {MAX_BAD:.0%} with {limit} of the clicks and openings of checking everything"
    if case is None:
        return {"case": name, "arm": arm, "bar": said, "found": "not measured", "met": False}
    one = _arm(case, arm)
    share, good = one["of everything"][0], one["reached"] == one["seeds"]
    cheap = share <= most if most < 1 else share < 1
    told = f"{share:.1%}; good enough in {one['reached']} of {one['seeds']} seeds"
    return {"case": name, "arm": arm, "bar": said, "found": told, "met": bool(cheap and good)}


def _arm(case: Mapping[str, Any], arm: str) -> Mapping[str, Any]:
    return next(row for row in case["arms"] if row["arm"] == arm)
