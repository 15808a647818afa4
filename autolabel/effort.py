"""What people's work costs: clicks and seconds of each task, from what had to be done in it.

A task costs its opening, then every act in it: a point moved or placed, a visibility changed, the whole pose mirrored,
a pose rejected, a box drawn. Labelling from nothing costs every keypoint. The defaults of :class:`Costs` are
assumptions, until real reviewers are measured; all figures that compare ways to spend effort use the same ones. An
:class:`Effort` holds one number a task, so that any order and any mixture of tasks can be added up afterwards, and
:func:`quality_curve` says what a corpus is worth after each of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Costs:
    """Clicks and seconds of one act.

    A person labelled by hand thus costs 2 + K clicks and 5 + 2.5 K seconds: 47.5 s for 17 keypoints. A pre-label
    that is looked at and accepted costs 1 click and 3 s.

    Attributes:
        move: Clicks of a point that is moved, added or removed.
        mark: Clicks of a visibility that is changed.
        mirror: Clicks of exchanging left and right of a whole pose.
        reject: Clicks of saying that a box holds no person.
        accept: Clicks of submitting a task.
        box: Clicks of drawing a box.
        view: Seconds to look at a pose, whatever is found.
        fix: Seconds of each act above but accepting and drawing a box.
        draw: Seconds to find a person without a box and to draw one.
    """

    move: float = 1.0
    mark: float = 1.0
    mirror: float = 1.0
    reject: float = 1.0
    accept: float = 1.0
    box: float = 2.0
    view: float = 3.0
    fix: float = 2.5
    draw: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = float(getattr(self, field.name))
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"{field.name} is {value}, a cost is 0 or more", subject="costs")


COSTS = Costs()
"""The costs that every comparison uses."""


@dataclass(frozen=True, eq=False)
class Effort:
    """What N tasks cost, one number a task.

    Attributes:
        clicks: (N,) float64.
        seconds: (N,) float64.
        opened: (N,) float64, 1 for each task that is opened, 0 for one that need not be.
    """

    clicks: Floats
    seconds: Floats
    opened: Floats

    def __post_init__(self) -> None:
        shapes = {self.clicks.shape, self.seconds.shape, self.opened.shape}
        if len(shapes) != 1 or self.clicks.ndim != 1:
            raise InputError(f"clicks, seconds and opened have shapes {sorted(shapes)}, expected one (N,)")

    def __len__(self) -> int:
        return len(self.clicks)

    @classmethod
    def none(cls, count: int) -> Self:
        """The effort of ``count`` poses that nobody opens."""
        return cls(np.zeros(count), np.zeros(count), np.zeros(count))

    @classmethod
    def joined(cls, efforts: Sequence["Effort"]) -> Self:
        """The tasks of all of them, one after the other."""
        if not efforts:
            return cls.none(0)
        return cls(
            np.concatenate([effort.clicks for effort in efforts]),
            np.concatenate([effort.seconds for effort in efforts]),
            np.concatenate([effort.opened for effort in efforts]),
        )

    def take(self, rows: ArrayLike) -> Self:
        """Some of the tasks, by (n,) indices or an (N,) mask; an index may come several times."""
        chosen = np.asarray(rows)
        return type(self)(self.clicks[chosen], self.seconds[chosen], self.opened[chosen])

    def cheaper(self, other: "Effort") -> Self:
        """For each task the way that takes fewer clicks, or of equal ones fewer seconds.

        Raises:
            InputError: They are not about the same number of tasks.
        """
        if len(self) != len(other):
            raise InputError(f"{len(self)} and {len(other)} tasks cannot be compared one by one")
        less = (other.clicks < self.clicks) | ((other.clicks == self.clicks) & (other.seconds < self.seconds))
        return type(self)(
            np.where(less, other.clicks, self.clicks),
            np.where(less, other.seconds, self.seconds),
            np.where(less, other.opened, self.opened),
        )

    @property
    def total(self) -> "Total":
        """The sums."""
        return Total(float(self.clicks.sum()), float(self.seconds.sum()), float(self.opened.sum()))


@dataclass(frozen=True)
class Total:
    """The effort of many tasks.

    Attributes:
        clicks: All of them.
        seconds: All of them.
        opened: Tasks that were opened.
    """

    clicks: float
    seconds: float
    opened: float

    def __add__(self, other: "Total") -> "Total":
        return Total(self.clicks + other.clicks, self.seconds + other.seconds, self.opened + other.opened)


def review_effort(
    moved: ArrayLike,
    *,
    marked: ArrayLike = 0,
    mirrored: ArrayLike = 0,
    rejected: ArrayLike = 0,
    boxed: ArrayLike = 0,
    costs: Costs = COSTS,
) -> Effort:
    """What reviewing N pre-labelled poses costs; everything but ``moved`` may be one number for all.

    Args:
        moved: (N,) points moved, added or removed; 0 for a pose that is accepted as it is.
        marked: (N,) visibilities changed.
        mirrored: (N,) whether left and right were exchanged; points that are right after that are not moved.
        rejected: (N,) whether the box was said to hold nobody.
        boxed: (N,) whether the box was drawn anew.
        costs: Of each act.

    Raises:
        InputError: A count is negative or not a number, or the lengths differ.
    """
    moved, marked, mirrored, rejected, boxed = _counts(moved, marked, mirrored, rejected, boxed)
    acts = moved + marked + mirrored + rejected
    clicks = costs.move * moved + costs.mark * marked + costs.mirror * mirrored + costs.reject * rejected
    return Effort(
        clicks + costs.box * boxed + costs.accept,
        costs.view + costs.fix * acts + costs.draw * boxed,
        np.ones(len(moved)),
    )


def blind_effort(placed: ArrayLike, *, marked: ArrayLike = 0, costs: Costs = COSTS) -> Effort:
    """What N tasks cost that show a box but no pre-label: every point has to be placed.

    Args:
        placed: (N,) points placed, K for a pose that is wholly in the image.
        marked: (N,) visibilities that are not what the form says of a new point.
        costs: Of each act.

    Raises:
        InputError: As :func:`review_effort`.
    """
    return review_effort(placed, marked=marked, costs=costs)


def hand_effort(placed: ArrayLike, *, marked: ArrayLike = 0, costs: Costs = COSTS) -> Effort:
    """What labelling N people from nothing costs: a box and every point. A missed person costs the same.

    Args:
        placed: (N,) points placed, K for a person who is wholly in the image.
        marked: (N,) visibilities that are not what the form says of a new point.
        costs: Of each act.

    Raises:
        InputError: As :func:`review_effort`.
    """
    placed, marked = _counts(placed, marked)
    return Effort(
        costs.box + costs.move * placed + costs.mark * marked,
        costs.draw + costs.fix * (placed + marked),
        np.ones(len(placed)),
    )


def image_effort(people: ArrayLike, *, missed: ArrayLike = 0, nobody: ArrayLike = 0, costs: Costs = COSTS) -> Effort:
    """What N whole images cost in which only people are counted: missed ones get a box, boxes of nobody go.

    Args:
        people: (N,) boxes shown; each is looked at, and an image without any as long as one of them.
        missed: (N,) boxes drawn.
        nobody: (N,) boxes removed.
        costs: Of each act.

    Raises:
        InputError: As :func:`review_effort`, or more boxes removed than there were.
    """
    people, missed, nobody = _counts(people, missed, nobody)
    if (nobody > people).any():
        raise InputError("an image has fewer boxes than were removed from it")
    return Effort(
        costs.box * missed + costs.reject * nobody + costs.accept,
        costs.view * np.maximum(people, 1) + costs.draw * missed + costs.fix * nobody,
        np.ones(len(people)),
    )


@dataclass(frozen=True, eq=False)
class QualityCurve:
    """A corpus after 0, 1, ... T tasks.

    Attributes:
        clicks: (T+1,) spent so far.
        seconds: (T+1,) spent so far.
        opened: (T+1,) tasks opened so far.
        gross: (T+1,) share of the corpus's keypoints that are gross.
        bad: (T+1,) share of its poses that are bad.
    """

    clicks: Floats
    seconds: Floats
    opened: Floats
    gross: Floats
    bad: Floats

    def reached(self, max_gross: float, max_bad: float) -> int | None:
        """After how many tasks both shares are met for good, or None when they never are."""
        missed = np.flatnonzero(~((self.gross <= max_gross) & (self.bad <= max_bad)))
        first = int(missed[-1]) + 1 if len(missed) else 0
        return first if first < len(self.gross) else None


def quality_curve(
    effort: Effort,
    order: ArrayLike,
    *,
    gross: tuple[ArrayLike, ArrayLike],
    bad: tuple[ArrayLike, ArrayLike],
    keypoints: float,
) -> QualityCurve:
    """What a corpus of N poses is worth while they are reviewed one after the other.

    Args:
        effort: Of reviewing each of the N poses.
        order: (T,) rows in the order of review. A row that comes again costs again and changes nothing more.
        gross: (N,) gross keypoints of each pose before its review, and after.
        bad: (N,) whether it is bad before, and after.
        keypoints: Of the whole corpus, the denominator of the gross share.

    Raises:
        InputError: Lengths differ, there are no keypoints, or the order names a row that is not there.
    """
    rows = np.asarray(order, np.intp)
    values = [np.asarray(value, np.float64) for value in (*gross, *bad)]
    count = len(effort)
    if any(value.shape != (count,) for value in values) or rows.ndim != 1:
        raise InputError(f"gross and bad need one number for each of {count} poses, the order is (T,)")
    if not (keypoints > 0 and count):
        raise InputError(f"{count} poses with {keypoints} keypoints have no share of gross ones")
    if len(rows) and not (rows.min() >= 0 and rows.max() < count):
        raise InputError(f"the order names rows outside 0..{count - 1}")
    first = np.zeros(len(rows), np.float64)
    first[np.unique(rows, return_index=True)[1]] = 1
    spent = effort.take(rows)
    return QualityCurve(
        _running(spent.clicks),
        _running(spent.seconds),
        _running(spent.opened),
        (values[0].sum() + _running(first * (values[1] - values[0])[rows])) / keypoints,
        (values[2].sum() + _running(first * (values[3] - values[2])[rows])) / count,
    )


def _running(steps: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(steps)])


def _counts(first: ArrayLike, *others: ArrayLike) -> tuple[Floats, ...]:
    """(N,) float64 arrays of the length of the first."""
    lead = np.asarray(first, np.float64)
    if lead.ndim != 1:
        raise InputError(f"one number a task is expected, an array of shape {lead.shape} was given")
    arrays = [lead]
    for other in others:
        array = np.asarray(other, np.float64)
        if array.shape not in ((), lead.shape):
            raise InputError(f"{array.shape} numbers for {len(lead)} tasks")
        arrays.append(np.broadcast_to(array, lead.shape))
    if any(not (np.isfinite(array).all() and (array >= 0).all()) for array in arrays):
        raise InputError("what was done in a task is counted: 0 or more, never NaN")
    return tuple(arrays)
