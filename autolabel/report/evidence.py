"""What a project's page is told beside the rounds' own numbers: measured again from what lies on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from autolabel.report.answers import Answered
from autolabel.report.rounds import Score
from autolabel.report.yardstick import Yardstick
from autolabel.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that a page about a project can rest on; what is missing is said, with its reason.

    Attributes:
        skeleton: Of the poses; None where the project holds none.
        yardsticks: Sets that no network learns from, with every round's network: the held-out test first, then answers
            that were given without a pre-label and kept from training.
        base: The set on which forgetting is measured; None where there is none.
        doubt: (what it was measured on, how good the newest doubt is) for each set that can tell.
        answered: What people's answers say; None where there are none.
        speed: Images that the networks predicted, and the seconds that it took; None where that is not known.
        states: How many poses of the dataset are accepted (and opened by nobody), review (opened by people), rejected
            or untouched; empty where there is no dataset.
        gaps: (what is not told, why and what would change that).
    """

    skeleton: Skeleton | None = None
    yardsticks: tuple[Yardstick, ...] = ()
    base: Yardstick | None = None
    doubt: tuple[tuple[str, Score], ...] = ()
    answered: Answered | None = None
    speed: tuple[int, float] | None = None
    states: Mapping[str, int] = field(default_factory=dict[str, int])
    gaps: tuple[tuple[str, str], ...] = ()


NOTHING = Evidence()
"""Of a project of which only the rounds' numbers are left."""
