"""All that is measured about the people who review, person by person and together."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from autolabel.agreement import Agreement, Pairs, agreement, of_person, pairs_of
from autolabel.reviewer_quality import (
    Anchoring,
    Bools,
    Judged,
    Looks,
    Share,
    anchoring,
    catch_rate,
    kept_rate,
    median_seconds,
)
from autolabel.sigmas import Sigma, estimate_sigmas
from autolabel.similarity import Floats
from autolabel.skeleton import Skeleton

_FEW = 0.5
"""Somebody who finds less than this share of the planted errors is named."""


@dataclass(frozen=True)
class Reviewer:
    """What one person's answers tell, or all people's.

    Attributes:
        name: Who; "" for all together.
        answers: Usable answers about poses.
        caught: Planted errors that were found.
        kept: Ordinary tasks that were submitted as they came.
        anchoring: Their ordinary answers against blind ones about the same poses.
        shown_agreement: With other people, on the same pre-label.
        blind_agreement: With other people, neither of whom saw a pre-label.
        seconds: Median time of a task with a pre-label; None where unknown.
        blind_seconds: Of one without.
    """

    name: str
    answers: int
    caught: Share
    kept: Share
    anchoring: Anchoring
    shown_agreement: Agreement
    blind_agreement: Agreement
    seconds: float | None
    blind_seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "name": self.name,
            "answers": self.answers,
            "caught": self.caught.to_dict(),
            "kept": self.kept.to_dict(),
            "anchoring": self.anchoring.to_dict(),
            "agreement": {"shown": self.shown_agreement.to_dict(), "blind": self.blind_agreement.to_dict()},
            "seconds": {"shown": self.seconds, "blind": self.blind_seconds},
        }


@dataclass(frozen=True)
class KeypointDistance:
    """How far apart two people's places of one keypoint are, over all pairs of answers that both place it.

    Attributes:
        keypoint: Its name.
        pairs: How many pairs.
        median: Median distance in pixels of the image; None where there are none.
        far: Nine tenths of the distances are at most this, in pixels.
        relative: Median of the distance over the root of the pose's area.
    """

    keypoint: str
    pairs: int
    median: float | None
    far: float | None
    relative: float | None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        shared = {"keypoint": self.keypoint, "pairs": self.pairs, "median_px": self.median}
        return {**shared, "nine_tenths_px": self.far, "median_of_root_area": self.relative}


@dataclass(frozen=True)
class ReviewerReport:
    """All that was measured.

    Attributes:
        people: Person by person, by name.
        together: All of them.
        disputed: Pairs of answers of which one throws the pose out and the other does not.
        distances: (K,) how far apart people's places of each keypoint are.
        sigmas: (K,) what double labels tell.
    """

    people: tuple[Reviewer, ...]
    together: Reviewer
    disputed: int
    distances: tuple[KeypointDistance, ...]
    sigmas: tuple[Sigma, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "people": [person.to_dict() for person in self.people],
            "together": self.together.to_dict(),
            "disputed": self.disputed,
            "distances": [distance.to_dict() for distance in self.distances],
            "sigmas": [sigma.to_dict() for sigma in self.sigmas],
        }


def measure_reviewers(looks: Looks, skeleton: Skeleton) -> ReviewerReport:
    """Measure the people who gave these answers."""
    pairs, judged = pairs_of(looks, skeleton), looks.judged(skeleton)
    names: list[str] = sorted(set(looks.who.tolist()))
    people = [_reviewer(name, looks, pairs, judged, looks.who == name, of_person(pairs, looks, name)) for name in names]
    together = _reviewer("", looks, pairs, judged, np.ones(len(looks), bool), np.ones(len(pairs), bool))
    distances = tuple(_distance(name, k, pairs) for k, name in enumerate(skeleton.keypoints))
    return ReviewerReport(tuple(people), together, pairs.disputed, distances, estimate_sigmas(looks, skeleton))


def _reviewer(name: str, looks: Looks, pairs: Pairs, judged: Judged, mine: Bools, my_pairs: Bools) -> Reviewer:
    return Reviewer(
        name=name,
        answers=int(mine.sum()),
        caught=catch_rate(looks, judged, mine),
        kept=kept_rate(looks, mine),
        anchoring=anchoring(looks, judged, mine),
        shown_agreement=agreement(pairs, my_pairs & ~pairs.blind),
        blind_agreement=agreement(pairs, my_pairs & pairs.blind),
        seconds=median_seconds(looks, mine & ~looks.blind),
        blind_seconds=median_seconds(looks, mine & looks.blind),
    )


def _distance(name: str, k: int, pairs: Pairs) -> KeypointDistance:
    known = ~np.isnan(pairs.distance[:, k])
    far: Floats = pairs.distance[known, k]
    if not len(far):
        return KeypointDistance(name, 0, None, None, None)
    relative = float(np.median(far / np.sqrt(pairs.area[known])))
    return KeypointDistance(name, len(far), float(np.median(far)), float(np.quantile(far, 0.9)), relative)


def remarks(report: ReviewerReport) -> list[str]:
    """What deserves a word: people who find few errors, wild answers, and numbers that nothing was measured for."""
    told: list[str] = []
    for person in report.people:
        high = person.caught.limits[1]
        if person.caught.of and high < _FEW:
            told.append(
                f"{person.name} found {person.caught.hits} of {person.caught.of} planted errors: at most "
                f"{100 * high:.0f} % of them, while {_percent(person.kept)} of the tasks were kept as they came."
            )
    together = report.together
    if not together.caught.of:
        told.append("No planted error was answered: how many errors people find is not known.")
    if not together.anchoring.poses:
        told.append("No pose was answered both blind and with its pre-label: what a pre-label persuades is not known.")
    if not together.shown_agreement.pairs + together.blind_agreement.pairs:
        told.append("No task was answered by two people: how far they agree is not known.")
    told += [_heavy(sigma) for sigma in report.sigmas if sigma.heavy]
    return told


def _heavy(sigma: Sigma) -> str:
    return (
        f"{sigma.keypoint}: a few answers lie far apart, such as swapped sides; sigma is {sigma.value:.3f}, "
        f"{sigma.median:.3f} by the median."
    )


def _percent(share: Share) -> str:
    return "none" if share.value is None else f"{100 * share.value:.0f} %"
