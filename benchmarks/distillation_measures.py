"""Comparisons of the distillation benchmark's networks, and the bars that they are to reach.

What is compared is PCK@0.1 over the labelled keypoints of validation people, by kind of people, and its mean over the
kinds (macro). Two networks are compared on the same people by a paired bootstrap: each kind is drawn anew by itself,
image by image, because people of one image are no two witnesses. Where there are several seeds, everybody's hits are
their mean over the seeds. So an interval tells how much the people matter; how much a training's seed does is told by
the spread beside it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.bootstrap import Draws, percentiles
from benchmarks.distillation_plan import FINAL, REAL, TEACHER_SEED, VALIDATION
from benchmarks.partial_bodies import Interval
from benchmarks.results import RESULTS
from benchmarks.training_people import Floats

THRESHOLD = 0.1
RESAMPLES = 2000

LEAD, FASTER, LOSS, REAL_LOSS = 0.02, 3.0, 0.015, 0.03
"""The bars: the teacher's lead over labels alone, how much faster a student is, and what it may lose."""

BEFORE: Mapping[str, str] = {REAL[0]: "lspet-val limbs PCK@0.1", REAL[1]: "fashion17-val PCK@0.1"}
"""The figure of the training benchmark that tells the same of the same people as ours."""

STARTER: Mapping[str, tuple[str, float]] = {REAL[0]: ("the last attempt at starter weights", 0.322)}
"""The same, of what ``docs/training.md`` tells in words."""


@dataclass(frozen=True, eq=False)
class Errors:
    """What one network missed by.

    Attributes:
        error: By kind of people, (P, K) in longer sides of the box; NaN where unlabelled.
        image: By kind, (P,) the image of each.
    """

    error: Mapping[str, Floats]
    image: Mapping[str, NDArray[np.intp]]

    @classmethod
    def load(cls, file: Path) -> "Errors":
        """As ``Bench`` keeps them."""
        with np.load(file) as arrays:
            return cls(
                {name: arrays[name] for name in VALIDATION},
                {name: arrays[f"image of {name}"] for name in VALIDATION},
            )


@dataclass(frozen=True)
class Bar:
    """Something that was asked of the benchmark.

    Attributes:
        bar: What.
        found: In words.
        met: Whether; None where it is not measured yet.
    """

    bar: str
    found: str
    met: bool | None

    def verdict(self) -> str:
        """For the page."""
        return "not measured yet" if self.met is None else "met" if self.met else "**NOT MET**"


def difference(
    one: Sequence[Errors], other: Sequence[Errors], kinds: Sequence[str] = VALIDATION, *, seed: int = 0
) -> Interval:
    """Mean over the kinds of the PCK of one network less that of another.

    Args:
        one: By training seed.
        other: By training seed, for the same people.
        kinds: Of people.
        seed: Of the resamples.
    """
    values, drawn = zip(*(_kind(one, other, kind, seed + i) for i, kind in enumerate(kinds)), strict=True)
    low, high = percentiles(np.mean(drawn, axis=0)[:, None])
    return Interval(float(np.mean(values)), float(low[0]), float(high[0]))


def _kind(one: Sequence[Errors], other: Sequence[Errors], kind: str, seed: int) -> tuple[float, Floats]:
    """The difference on one kind of people, and (RESAMPLES,) the same over images drawn with replacement."""
    first = one[0]
    known = np.isfinite(first.error[kind])
    hits = [
        np.mean([(known & (errors.error[kind] <= THRESHOLD)).sum(axis=1) for errors in side], axis=0)
        for side in (one, other)
    ]
    image = first.image[kind]
    gained, labelled = (
        np.bincount(image, weights=numbers) for numbers in (hits[0] - hits[1], known.sum(axis=1).astype(np.float64))
    )
    drawn = [weights @ gained / (weights @ labelled) for weights in Draws(len(gained), RESAMPLES, seed)]
    return float(gained.sum() / labelled.sum()), np.concatenate(drawn)


def bars(errors: Mapping[str, Sequence[Errors]], rows: Sequence[Mapping[str, Any]], ratio: float | None) -> list[Bar]:
    """What was asked, and what was found.

    Args:
        errors: By arm, then by seed.
        rows: Of the finished arms.
        ratio: People a second of the student, in those of the teacher; None where it was not timed.
    """
    return [
        _at_least(errors, "teacher", "labels", LEAD, "the teacher's lead over labels alone, in points"),
        *_as_good_as_before(rows),
        Bar(
            f"people/s from files to manifest, at least {FASTER:g} times the teacher's",
            "" if ratio is None else f"{ratio:.2f} times",
            None if ratio is None else ratio >= FASTER,
        ),
        _loses(errors, VALIDATION, LOSS, "all three kinds"),
        _loses(errors, REAL, REAL_LOSS, "real people alone"),
        _better(errors, "labels"),
        _better(errors, "labels sliced"),
    ]


def pairs(
    errors: Mapping[str, Sequence[Errors]], one: str, other: str
) -> tuple[Sequence[Errors], Sequence[Errors]] | None:
    """Both arms with as many seeds; None where one was not done.

    Against a student of any seed stands the teacher that it had.
    """
    found = {name: errors.get(name, ()) for name in (one, other)}
    count = min(len(seeds) for name, seeds in found.items() if name != FINAL)
    if not (count and all(found.values())):
        return None
    first, second = ([seeds[TEACHER_SEED]] * count if name == FINAL else seeds[:count] for name, seeds in found.items())
    return first, second


def _at_least(errors: Mapping[str, Sequence[Errors]], one: str, other: str, least: float, what: str) -> Bar:
    both, bar = pairs(errors, one, other), f"{what}: at least {100 * least:g}"
    if both is None:
        return Bar(bar, "", None)
    found = difference(*both)
    return Bar(bar, _told(found, both), found.value >= least)


def _loses(errors: Mapping[str, Sequence[Errors]], kinds: Sequence[str], most: float, who: str) -> Bar:
    both, bar = pairs(errors, "teacher", "output"), f"upper limit of what the student loses on {who}: {100 * most:g}"
    if both is None:
        return Bar(bar, "", None)
    found = difference(*both, kinds)
    return Bar(bar, _told(found, both, kinds), found.high <= most)


def _better(errors: Mapping[str, Sequence[Errors]], other: str) -> Bar:
    both, bar = pairs(errors, "output", other), f"the student against `{other}`: lower limit above 0"
    if both is None:
        return Bar(bar, "", None)
    found = difference(*both)
    return Bar(bar, _told(found, both), found.low > 0)


def _told(found: Interval, both: tuple[Sequence[Errors], Sequence[Errors]], kinds: Sequence[str] = VALIDATION) -> str:
    """A difference in points, and that of every seed."""
    each = [difference([a], [b], kinds).value for a, b in zip(*both, strict=True)]
    seeds = ", ".join(f"{100 * value:+.1f}" for value in each)
    return f"{found.points()}; by seed {seeds}"


def _as_good_as_before(rows: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """The teacher against the best network of ``docs/training.md``, whatever its size, by photographs."""
    before = best_before()
    made: list[Bar] = []
    for kind, (name, best) in before.items():
        own = [row[f"{kind} PCK@0.1"] for row in rows if row["arm"] == "teacher"]
        found = f"{np.mean(own):.3f}" if own else ""
        made.append(
            Bar(
                f"the teacher on {kind}: at least {best:.3f}, of {name}",
                found,
                bool(np.mean(own) >= best) if own else None,
            )
        )
    return made


def best_before() -> dict[str, tuple[str, float]]:
    """By kind of real people, the best network of the training benchmark and its PCK@0.1 on the same keypoints."""
    rows = json.loads((RESULTS / "training.json").read_text(encoding="utf-8"))["rows"]
    found: dict[str, tuple[str, float]] = {}
    for kind, column in BEFORE.items():
        best = max((row for row in rows if column in row), key=lambda row: row[column])
        found[kind] = max((f"`{best['name']}`", best[column]), STARTER.get(kind, ("", 0.0)), key=itemgetter(1))
    return found
