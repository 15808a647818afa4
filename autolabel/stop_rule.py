"""When the rounds of review end: all are done, the budget is spent, nothing is left, or the next round buys too little.

This is asked before a round is sent to people. Whatever ends the rounds, the audit follows, and it alone says whether
the promise is kept: a certificate cannot be reached before, because a round that is judged to see whether another one
is needed would use up a part of the confidence. What a round would buy is what the planner forecasts of exactly its
tasks (:mod:`autolabel.planner`).
"""

from dataclasses import dataclass
from enum import StrEnum

from autolabel.formats.records import Record
from autolabel.phrases import counted
from autolabel.planner import Forecast


class Cause(StrEnum):
    """What ended the rounds."""

    COUNT = "count"
    BUDGET = "budget"
    NOTHING = "nothing"
    GAIN = "gain"


@dataclass(frozen=True)
class Stop:
    """Why no further round is done.

    Attributes:
        cause: What ended the rounds.
        reason: The same in words, with the numbers.
    """

    cause: Cause
    reason: str

    def to_dict(self) -> dict[str, str]:
        """The JSON form, as it stands in ``round.json``."""
        return {"cause": self.cause.value, "reason": self.reason}

    @classmethod
    def from_record(cls, record: Record) -> "Stop":
        """From the JSON form.

        Raises:
            FormatError: It is malformed.
        """
        cause, known = record.text("cause"), [cause.value for cause in Cause]
        if cause not in known:
            record.fail("cause", f"is {cause!r}, expected one of: {', '.join(known)}")
        return cls(Cause(cause), record.text("reason"))


def all_done(count: int) -> Stop:
    """The rounds that were asked for are done."""
    return Stop(Cause.COUNT, f"{counted(count, 'round')} of review {'was' if count == 1 else 'were'} asked for")


def nothing_left() -> Stop:
    """Every pose that can be shown to people is settled."""
    return Stop(Cause.NOTHING, "nothing is left to review")


def budget_left(budget: int, opened: int, budget_total: int, people: int = 1) -> int:
    """Tasks that the next round may send.

    Args:
        budget: Tasks a round.
        opened: Poses and images that people opened in the rounds so far, each opening.
        budget_total: How many they may open in all rounds; 0 for as many as there are rounds for.
        people: How many open each task.

    Returns:
        ``budget``, or what is left of ``budget_total`` where that is less; never below 0.
    """
    return max(min(budget, (budget_total - opened) // people), 0) if budget_total else budget


def stop_for_budget(opened: int, budget_total: int, people: int = 1) -> Stop | None:
    """Whether the budget of all rounds is spent: it does not allow one more task.

    Args:
        opened: Poses and images that people opened in the rounds so far, each opening.
        budget_total: How many they may open; 0 sets no limit.
        people: How many open each task.
    """
    if not budget_total or opened + people <= budget_total:
        return None
    return Stop(Cause.BUDGET, f"people opened {opened:,} of {budget_total:,} poses (rounds.budget_total)")


def stop_for_gain(foretold: Forecast | None, least_gain: float) -> Stop | None:
    """Whether the next round is expected to buy less than it must.

    Nothing stops a round that cannot be forecast, wholly or in part: what its poses without a ``p_bad`` bring is in no
    number. Expectations are compared, and not the ends of their intervals.

    Args:
        foretold: What the next round should find; None where its doubts are no probabilities.
        least_gain: Bad poses that an hour of review must be expected to find; 0 asks for none.
    """
    if foretold is None or not least_gain or foretold.unforeseen:
        return None
    if (found := foretold.bad_an_hour) >= least_gain:
        return None
    told = f"the next {counted(foretold.reviews, 'review')} should find {found:.3g} bad poses an hour"
    return Stop(Cause.GAIN, f"{told}, fewer than the {least_gain:g} of rounds.least_gain")
