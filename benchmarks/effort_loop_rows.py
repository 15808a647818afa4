"""From measured arms to the figures that are written down: differences with their limits, means over seeds, and bars.

Limits are of 95 %, from the paired bootstrap over people (:mod:`autolabel.bootstrap`): the same people are drawn for
both sides of a difference.

*At equal quality* means: the other way is charged up to the moment when it has brought the corpus to the share of bad
poses and of gross keypoints that the loop ends with. That moment is read from the truth, which nobody knows in use, so
what the other way costs is a lower limit. While poses are reviewed in random order both shares fall in proportion to
the poses that were opened, so the moment needs no draw: it is a share of what the other way had still to open.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.bootstrap import Clusters, Draws, Ratios, percentiles
from autolabel.evaluate_numbers import sums_by_cluster
from benchmarks.effort_loop_runs import ARMS, EVERYTHING, LOOP, RANDOM

Floats = NDArray[np.float64]
Row = dict[str, Any]
Measured = Mapping[str, Any]

RESAMPLES = 2_000


def compared(arms: Mapping[str, Measured]) -> Row:
    """One seed: what was learnt, what was proven, and what it cost beside the other ways.

    Args:
        arms: What was measured of each arm of the seed.
    """
    ours, random, everything = (arms[name] for name in (LOOP, RANDOM, EVERYTHING))
    people = len(ours["people"]["group"])
    corpus = {name: arm["end"]["corpus"] for name, arm in arms.items()}
    begun = ours["rounds"][0]["corpus"]
    of_all = _opened_until(begun, corpus[EVERYTHING], corpus[LOOP])
    after_rounds = random["rounds"][-1]
    of_rest = _opened_until(after_rounds["corpus"], corpus[RANDOM], corpus[LOOP])
    random_rounds = _effort(after_rounds)
    random_end = random_rounds + of_rest * (_effort(random["end"]) - random_rounds)
    return {
        "seed": ours["seed"],
        "people": people,
        "learnt": {name: learnt(arms[name]) for name in (LOOP, RANDOM)},
        "certificate": ours["end"]["certificate"],
        "end": corpus,
        "effort a person": {name: _effort(arm["end"]) / people for name, arm in arms.items()},
        "clicks a person": {name: arm["end"]["clicks"] / people for name, arm in arms.items()},
        "seconds a person": {name: arm["end"]["seconds"] / people for name, arm in arms.items()},
        "at equal quality": {
            EVERYTHING: {"opened": of_all, "effort a person": of_all * _effort(everything["end"]) / people},
            RANDOM: {"opened of the rest": of_rest, "effort a person": random_end / people},
        },
        "saved": saved(ours, everything, of_all),
    }


def learnt(arm: Measured) -> list[float]:
    """PCK@0.1 of the people whom nobody had opened after the last round, by the last network less by the first.

    Returns:
        The difference with its lower and its upper limit.
    """
    people = arm["people"]
    left = np.array(people["left"], np.float64)
    gained = np.array(people["hits last"], np.float64) - np.array(people["hits first"], np.float64)
    return _limits(people["group"], left * gained, left * np.array(people["joints"], np.float64))


def saved(ours: Measured, other: Measured, share: float) -> list[float]:
    """Clicks and openings a person that the other way costs more, if it is charged a share of its own.

    Returns:
        The difference with its lower and its upper limit.
    """
    effort = {name: np.array(arm["people"]["effort"], np.float64) for name, arm in (("ours", ours), ("other", other))}
    return _limits(ours["people"]["group"], share * effort["other"] - effort["ours"], np.ones(len(effort["ours"])))


def _opened_until(begun: Measured, end: Measured, wanted: Measured) -> float:
    """The share of what is still closed that has to be opened until a corpus is as good as is wanted, at most all."""
    shares = [0.0]
    for rate in ("bad", "gross"):
        fall = begun[rate] - end[rate]
        if wanted[rate] < begun[rate]:
            shares.append((begun[rate] - wanted[rate]) / fall if fall > 0 else 1.0)
    return float(min(max(shares), 1.0))


def _effort(arm: Measured) -> float:
    return float(arm["clicks"] + arm["openings"])


def _limits(group: Sequence[int], part: Floats, whole: Floats) -> list[float]:
    """A sum over another, with its limits."""
    of = np.array(group, np.intp)
    clusters = Clusters(of, int(of.max()) + 1, "group")
    above, below = (sums_by_cluster(values[:, None], of, clusters.count) for values in (part, whole))
    ratios = Ratios([("difference",)], above, below)
    value = ratios.over(np.ones((1, clusters.count)))[0, 0]
    low, high = percentiles(Draws(clusters.count, RESAMPLES, seed=0).of(ratios))[:, 0]
    return [float(value), float(low), float(high)]


def summary(case: str, seeds: Sequence[Mapping[str, Measured]]) -> Row:
    """All seeds of a case: what was found in each, and rounds and ends in the mean."""
    return {
        "case": case,
        "seeds": [compared(arms) for arms in seeds],
        "rounds": [row for arm in (LOOP, RANDOM) for row in _rounds(case, [arms[arm] for arms in seeds])],
        "arms": [_end(case, [arms[arm] for arms in seeds]) for arm in ARMS],
    }


def _rounds(case: str, seeds: Sequence[Measured]) -> list[Row]:
    """One row a round, each value the mean over the seeds that had this round."""
    rows: list[Row] = []
    for n in range(max(len(arm["rounds"]) for arm in seeds)):
        had = [arm for arm in seeds if len(arm["rounds"]) > n]
        rounds, held = [arm["rounds"][n] for arm in had], [arm["held"][n] for arm in had]
        people = len(had[0]["people"]["group"])
        rows.append(
            {
                "case": case,
                "arm": had[0]["arm"],
                "round": n,
                "seeds": len(had),
                "clicks a person": _mean([one["clicks"] / people for one in rounds]),
                "opened": _mean([one["opened poses"] / people for one in rounds]),
                "proposed": _mean([(one["proposed"] or {}).get("share") for one in rounds]),
                "proposed bad": _mean([(one["proposed"] or {}).get("bad") for one in rounds]),
                **{
                    f"{of} {rate}": _mean([(one[of] or {}).get(rate) for one in rounds])
                    for of in ("corpus", "untouched", "untouched, first network")
                    for rate in ("pck", "oks", "bad")
                },
                **{f"held {rate}": _mean([one[rate] for one in held]) for rate in ("pck", "oks", "bad")},
                **{f"base {rate}": _mean([(one["base"] or {}).get(rate) for one in rounds]) for rate in ("pck", "oks")},
            }
        )
    return rows


def _end(case: str, seeds: Sequence[Measured]) -> Row:
    people = len(seeds[0]["people"]["group"])
    return {
        "case": case,
        "arm": seeds[0]["arm"],
        "effort a person": [_effort(arm["end"]) / people for arm in seeds],
        "clicks a person": [arm["end"]["clicks"] / people for arm in seeds],
        "hours": [arm["end"]["seconds"] / 3600 for arm in seeds],
        **{rate: [arm["end"]["corpus"][rate] for arm in seeds] for rate in ("bad", "gross", "pck", "oks")},
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def bars(cases: Sequence[Row]) -> list[Row]:
    """What has to be reached in every seed, and whether it was."""
    held: list[Row] = []
    for case in cases:
        seeds = case["seeds"]
        gains = [one["learnt"][LOOP] for one in seeds]
        issued = [one["certificate"] for one in seeds if one["certificate"] and one["certificate"]["issued"]]
        false = sum(one["true bad"] is not None and one["true bad"] > one["max_bad"] for one in issued)
        savings = [one["saved"] for one in seeds]
        found = (
            (
                "PCK@0.1 of untouched poses, last round less round 0: lower limit above 0 in every seed",
                "; ".join(f"{gain:+.3f} ({low:+.3f} to {high:+.3f})" for gain, low, high in gains),
                all(low > 0 for _, low, _ in gains),
            ),
            (
                "no false certificate",
                f"{false} false of {len(issued)} issued in {len(seeds)} seeds",
                not false,
            ),
            (
                "clicks and openings saved of checking everything to equal quality: lower limit above 0 in every seed",
                "; ".join(f"{more:+.2f} a person ({low:+.2f} to {high:+.2f})" for more, low, high in savings),
                all(low > 0 for _, low, _ in savings),
            ),
        )
        held += [{"case": case["case"], "bar": bar, "found": said, "met": bool(met)} for bar, said, met in found]
    return held
