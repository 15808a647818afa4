"""What the next reviews should buy, from the doubts and from what past rounds found; and whether such forecasts held.

A forecast is made before a round is reviewed: how many bad poses and gross keypoints the reviews will remove, how long
they will take, and what the corpus will be worth before and after. Every number has an interval. It holds the chance of
the draw, and how far the calibrator was off in past rounds (:mod:`autolabel.forecast_ratio`): a factor that every
round shows is corrected, one that changes from round to round makes the interval wider. Without past rounds doubts are
believed within a factor of about two, and the forecast says so.

A forecast promises nothing. The certificate does, from an audit; this only says what is worth doing next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr  # pyright: ignore[reportMissingTypeStubs]  # it has none

from autolabel.effort import COSTS, Costs
from autolabel.errors import InputError
from autolabel.forecast_ratio import Sum, quantile, ratio_weights
from autolabel.past_rounds import Doubts, Past, expected_seconds, known_doubts

Floats = NDArray[np.float64]

CONFIDENCE = 0.9
"""Of the intervals, unless another is asked for."""

USUAL_ERROR = 0.3
"""Before any round: scale of ln r for counts (90 %: within a factor of about 2) ..."""

USUAL_PACE = 0.5
"""... and for seconds, whose costs are assumptions until people were timed (90 %: within a factor of about 3)."""

CLUMP = 3.0
"""Before any round: gross keypoints come in poses that have about so many of them ..."""

CLUMP_WEIGHT = 10.0
"""... and this is believed as much as so many of them that were found."""

TASK_SPREAD = 1.0
"""The standard deviation of the time of one task, as a share of what was expected."""


@dataclass(frozen=True)
class Range:
    """A number that is foretold.

    Attributes:
        expected: Its mean.
        low: The interval's lower end.
        high: The interval's upper end.
    """

    expected: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether the interval holds a number."""
        return self.low <= value <= self.high

    def per(self, whole: float) -> "Range":
        """As a share of something."""
        return Range(self.expected / whole, self.low / whole, self.high / whole)


@dataclass(frozen=True)
class Forecast:
    """What the next reviews should buy.

    Attributes:
        reviews: Poses that will be reviewed.
        unforeseen: How many of them have no ``p_bad``: whatever they bring is not in the numbers.
        bad: Bad poses that will be found.
        gross: Gross keypoints that will be found.
        seconds: How long it will take.
        corpus_bad: Share of bad poses of the corpus, before.
        corpus_bad_after: And after.
        corpus_gross: Share of gross keypoints, before.
        corpus_gross_after: And after.
        confidence: Of each interval by itself.
        rounds: Past rounds that it has learnt from; with none, it rests on belief alone.
    """

    reviews: int
    unforeseen: int
    bad: Range
    gross: Range
    seconds: Range
    corpus_bad: Range
    corpus_bad_after: Range
    corpus_gross: Range
    corpus_gross_after: Range
    confidence: float
    rounds: int

    @property
    def bad_an_hour(self) -> float:
        """Bad poses that an hour of the reviews is expected to find; 0 of no reviews."""
        return self.bad.expected * 3600 / self.seconds.expected if self.seconds.expected > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Forecast":
        """From the JSON form; words that stand beside the numbers are left aside."""
        ranges: dict[str, Any] = {name: Range(**data[name]) for name in data if isinstance(data[name], Mapping)}
        return cls(**{**{name: value for name, value in data.items() if name != "words"}, **ranges})

    def words(self) -> str:
        """One sentence for people."""
        learnt = (
            f"from {self.rounds} past round{'s' if self.rounds > 1 else ''}"
            if self.rounds
            else "without any past round: doubts are believed within a factor of about two"
        )
        return (
            f"The next {self.reviews} reviews should find {_told(self.bad)} bad poses and {_told(self.gross)} gross "
            f"keypoints in {_told(self.seconds.per(60))} minutes, which is {self.bad_an_hour:.3g} bad poses an hour, "
            f"and bring bad poses from {self.corpus_bad.expected:.1%} to {self.corpus_bad_after.expected:.1%} of the "
            f"corpus ({self.confidence:.0%} intervals, {learnt})"
        )


def forecast(
    p_bad: ArrayLike,
    p_gross: ArrayLike,
    reviewed: ArrayLike,
    *,
    by_hand: ArrayLike = (),
    history: Sequence[Past] = (),
    uniform: Sequence[Past] = (),
    settled: int = 0,
    confidence: float = CONFIDENCE,
    costs: Costs = COSTS,
) -> Forecast:
    """What reviewing some of the open poses should buy.

    Args:
        p_bad: (N,) of the open poses; those without one (NaN) are in no expectation.
        p_gross: (N, K) of them; NaN counts as 0.
        reviewed: (n,) rows that will be reviewed.
        by_hand: Those of these rows that are shown without a pre-label: all their K keypoints have to be placed.
        history: Past rounds, in any order.
        uniform: The shares of them that were drawn uniformly. They tell how far the doubts of the whole corpus are off;
            without them that is believed to be what they are off where people looked.
        settled: Poses of the corpus that people decided about: they count as good.
        confidence: Of each interval.
        costs: Seconds of looking and fixing.

    Raises:
        InputError: Shapes do not fit, a probability is none, or a row is named that is not there or twice.
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}", remedy="Give a number between 0 and 1, such as 0.9.")
    doubt, fixes, known = known_doubts(p_bad, p_gross)
    rows = np.asarray(reviewed, np.intp)
    if len(np.unique(rows)) != len(rows) or (len(rows) and not (rows.min() >= 0 and rows.max() < len(known))):
        raise InputError(f"the rows to review must differ and lie in 0..{len(known) - 1}")
    chosen = np.zeros(len(known), bool)
    chosen[rows] = True
    now = chosen[known]
    keypoints = np.asarray(p_gross).shape[1]
    placed = np.isin(rows, np.asarray(by_hand, np.intp))
    seconds = expected_seconds(np.asarray(p_bad)[rows], np.asarray(p_gross)[rows], placed, costs)
    timed = [(past.seconds, _time(past.expected_seconds, past.reviews)) for past in history if past.seconds is not None]
    here, corpus = _Errors(history, keypoints), _Errors(uniform or history, keypoints)
    poses, joints = max(len(known) + settled, 1), max((len(known) + settled) * keypoints, 1)
    return Forecast(
        reviews=len(rows),
        unforeseen=int((chosen & ~known).sum()),
        bad=here.bad(doubt[now], confidence),
        gross=here.gross(fixes[now], confidence),
        seconds=_range(ratio_weights(timed, USUAL_PACE), _time(seconds, int(now.sum())), confidence),
        corpus_bad=corpus.bad(doubt, confidence).per(poses),
        corpus_bad_after=corpus.bad(doubt[~now], confidence).per(poses),
        corpus_gross=corpus.gross(fixes, confidence).per(joints),
        corpus_gross_after=corpus.gross(fixes[~now], confidence).per(joints),
        confidence=confidence,
        rounds=len(history),
    )


@dataclass(frozen=True)
class Held:
    """Whether a forecast's intervals held; None where a number was not taken.

    Attributes:
        bad: For the bad poses.
        gross: For the gross keypoints.
        seconds: For the time.
    """

    bad: bool
    gross: bool
    seconds: bool | None


def check(forecast: Forecast, happened: Past) -> Held:
    """Whether what happened lies in the forecast's intervals.

    Raises:
        InputError: It is about another number of reviews: a round that was not finished proves no forecast wrong.
    """
    foretold = forecast.reviews - forecast.unforeseen
    if happened.reviews != foretold:
        raise InputError(
            f"{happened.reviews} poses were reviewed, the forecast is about {foretold}",
            remedy="Forecast again for the poses that were reviewed, with the doubts from before the round.",
        )
    seconds = None if happened.seconds is None else forecast.seconds.holds(happened.seconds)
    return Held(forecast.bad.holds(happened.bad), forecast.gross.holds(happened.gross), seconds)


@dataclass(frozen=True)
class Record:
    """How often intervals held over several rounds.

    Attributes:
        confidence: That they were said to have; the lowest, where they differ.
        rounds: Forecasts that were checked.
        bad: In how many the interval of bad poses held.
        gross: In how many that of gross keypoints did.
        timed: Forecasts whose time was taken.
        seconds: In how many of these the interval held.
    """

    confidence: float
    rounds: int
    bad: int
    gross: int
    timed: int
    seconds: int

    @classmethod
    def of(cls, pairs: Sequence[tuple[Forecast, Past]]) -> "Record":
        """Of forecasts, each with what happened; :func:`check` says what may be compared."""
        held = [check(foretold, happened) for foretold, happened in pairs]
        return cls(
            confidence=min((foretold.confidence for foretold, _ in pairs), default=CONFIDENCE),
            rounds=len(held),
            bad=sum(one.bad for one in held),
            gross=sum(one.gross for one in held),
            timed=sum(one.seconds is not None for one in held),
            seconds=sum(one.seconds is True for one in held),
        )

    @property
    def too_narrow(self) -> tuple[str, ...]:
        """Which intervals held so seldom that chance explains it in less than one case of twenty."""
        counts = {
            "bad": (self.bad, self.rounds),
            "gross": (self.gross, self.rounds),
            "seconds": (self.seconds, self.timed),
        }
        return tuple(
            name for name, (held, tried) in counts.items() if tried and float(bdtr(held, tried, self.confidence)) < 0.05
        )

    def words(self) -> str:
        """One sentence for people."""
        if not self.rounds:
            return "No forecast has been checked yet"
        told = f"The {self.confidence:.0%} intervals held for bad poses in {self.bad} and for gross keypoints in "
        told += f"{self.gross} of {self.rounds} rounds"
        told += f", for the time in {self.seconds} of {self.timed}" if self.timed else ""
        return f"{told}: too seldom for {' and '.join(self.too_narrow)}" if self.too_narrow else told


class _Errors:
    """What poses hold, when the doubts are off as they were in some past rounds."""

    def __init__(self, history: Sequence[Past], keypoints: int) -> None:
        squares = sum(past.gross_squares for past in history) + CLUMP * CLUMP_WEIGHT
        self._keypoints = keypoints
        self._clump = max(squares / (sum(past.gross for past in history) + CLUMP_WEIGHT), 1.0)
        self._of_bad = ratio_weights([(past.bad, past.doubts.sum) for past in history], USUAL_ERROR)
        found = [(past.gross, self._clumps(past.expected_gross, past.reviews)) for past in history]
        self._of_gross = ratio_weights(found, USUAL_ERROR)

    def bad(self, doubt: Floats, confidence: float) -> Range:
        return _range(self._of_bad, Doubts.of(doubt).sum, confidence)

    def gross(self, fixes: Floats, confidence: float) -> Range:
        return _range(self._of_gross, self._clumps(float(fixes.sum()), len(fixes)), confidence)

    def _clumps(self, expected: float, poses: int) -> Sum:
        return Sum.of_clumps(expected, self._clump, float(poses * self._keypoints))


def _time(expected: float, tasks: int) -> Sum:
    return Sum.of_times(expected, TASK_SPREAD / np.sqrt(max(tasks, 1)))


def _range(weights: Floats, sum_: Sum, confidence: float) -> Range:
    tail = (1 - confidence) / 2
    return Range(float(weights @ sum_.mean), quantile(weights, sum_, tail), quantile(weights, sum_, 1 - tail))


def _told(value: Range) -> str:
    return f"{value.expected:.0f} ({value.low:.0f} to {value.high:.0f})"
