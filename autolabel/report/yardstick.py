"""The same poses as the network of every round places them: what was learnt, and what was forgotten.

Errors of untouched poses fall from round to round even where no network learns, because the doubtful ones are opened
and leave the set. A yardstick is a set that stays: poses whose truth is known and that no network learns from, placed
by each round's network in turn. The differences between its readings are the networks'.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from autolabel.evaluate import summarise
from autolabel.evaluate_people import Measured, Truth, measure
from autolabel.evaluate_result import Evaluation, Interval
from autolabel.poses import Sample
from autolabel.skeleton import Skeleton

PCK = "0.1"
"""The threshold of the PCK that reports show, as a part of the longer side of the box."""

_RESAMPLES = 200

Person = tuple[int, str]
"""A true person: the place of the image in the truth, and the id of the true pose."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What one network makes of a yardstick.

    Attributes:
        round: The round after which the network was in force.
        evaluation: Its numbers, with 95 % intervals.
        gained: People whose pose is good, and that of the yardstick's first network was bad or missing.
        lost: The reverse.
    """

    round: int
    evaluation: Evaluation
    gained: int
    lost: int

    def interval(self, *name: str) -> Interval | None:
        """The 95 % interval of a number, named as ``metrics.json`` nests it; None where there is none."""
        found = self.evaluation.intervals
        return found.of(name) if found else None


@dataclass(frozen=True, eq=False)
class Yardstick:
    """A set of poses that no network learns from.

    Attributes:
        name: Such as ``held-out test``.
        what: What is in it, in a sentence.
        people: True people in it.
        readings: One for each network, by round; at least one.
    """

    name: str
    what: str
    people: int
    readings: tuple[Reading, ...]

    @property
    def first(self) -> Reading:
        """Of the first network."""
        return self.readings[0]

    @property
    def last(self) -> Reading:
        """Of the newest network."""
        return self.readings[-1]


def read_yardstick(
    name: str,
    what: str,
    truth: Sequence[Sample],
    placed: Iterable[tuple[int, Iterable[Sample]]],
    skeleton: Skeleton,
) -> Yardstick:
    """Measure a set with every network.

    Args:
        name: Of the set.
        what: What is in it, in a sentence.
        truth: The true poses, each image once.
        placed: By round, ascending, the same images with the poses of the network in force after it; at least one.
        skeleton: Of all poses.

    Raises:
        InputError: A network placed no pose on any of these images.
    """
    known = Truth(truth)
    return Yardstick(name, what, sum(len(sample.poses) for sample in truth), tuple(_readings(known, placed, skeleton)))


def _readings(truth: Truth, placed: Iterable[tuple[int, Iterable[Sample]]], skeleton: Skeleton) -> Iterator[Reading]:
    at_first: Mapping[Person, bool] | None = None
    for number, samples in placed:
        measured = measure(samples, truth, skeleton)
        good = _good(measured)
        at_first = good if at_first is None else at_first
        both = good.keys() & at_first.keys()
        yield Reading(
            number,
            summarise(measured, bootstrap=_RESAMPLES),
            gained=sum(good[person] and not at_first[person] for person in both),
            lost=sum(at_first[person] and not good[person] for person in both),
        )


def _good(measured: Measured) -> dict[Person, bool]:
    """Whether each person's pose is there and not bad."""
    people, place = measured.people, measured.images.place
    good = (people.matched & ~people.bad).tolist()
    return dict(zip(zip(place[people.image].tolist(), people.truth_id.tolist(), strict=True), good, strict=True))
