"""How many of the bad poses people find, and what that leaves of a promise.

People overlook errors. How many is measured with errors that are known: *plants*, poses of the network that were found
to be bad before and are shown again as ordinary tasks, and the *blind* slice, audited poses that a person also places
without seeing the network's pose; where that answer shows the network's pose to be bad, the ordinary answer should have
shown it too. The lower limit L of the share that was found, at confidence 1 - δ₂, enters the audit's limit D⁺
(autolabel/bounds.py) at 1 - δ₁. With δ₁ + δ₂ = δ both hold at 1 - δ: D⁺ falls when L grows, so it can only be too small
if L is larger than the truth, or if the draw was unlucky at the true sensitivity.

What has to be assumed is that a bad pose of the audit is found at least as often as a known error, and independently
of the others. So plants are those errors of the network that are hardest to see.
"""

import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from autolabel.bounds import lower_bound
from autolabel.errors import FormatError, InputError

DRAW_SHARE = 0.8
"""Share of δ that the draw of the audit gets; the rest is the reviewers'. Plants are cheaper than audits."""


def split_confidence(confidence: float) -> tuple[float, float]:
    """Split δ = 1 - confidence between the draw of the audit and the reviewers' sensitivity.

    It has to be decided before an answer is seen, and only where plants or blind tasks are drawn; a promise that
    assumes perfect reviewers spends all of δ on the draw.

    Returns:
        1 - δ₁ for the audit's limit and 1 - δ₂ for the limit of the sensitivity; δ₁ = 0.8 δ, δ₂ = 0.2 δ.

    Raises:
        InputError: A confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}", remedy="Give a number between 0 and 1, such as 0.95.")
    delta = 1 - confidence
    return 1 - DRAW_SHARE * delta, 1 - (1 - DRAW_SHARE) * delta


@dataclass(frozen=True)
class ReviewerRates:
    """What known errors tell about the people who review.

    Attributes:
        planted: Known errors that were shown as ordinary tasks.
        planted_caught: How many of them were found; a plant without an answer was not.
        synthetic: How many of the plants were made up, because the network's own errors were too few.
        blind: Audited poses that were answered both with and without the network's pose.
        blind_bad: How many of these the blind answer shows to be bad.
        blind_caught: How many of the latter the ordinary answer shows to be bad too.
        confidence: 1 - δ₂ of :attr:`sensitivity`.

    Raises:
        InputError: Counts that contradict each other, or a confidence outside (0, 1).
    """

    planted: int = 0
    planted_caught: int = 0
    synthetic: int = 0
    blind: int = 0
    blind_bad: int = 0
    blind_caught: int = 0
    confidence: float = 0.99

    def __post_init__(self) -> None:
        for name in ("planted", "planted_caught", "synthetic", "blind", "blind_bad", "blind_caught"):
            try:
                object.__setattr__(self, name, operator.index(getattr(self, name)))
            except TypeError as error:
                raise InputError(f"{name} is no count: {error}", subject="reviewers") from error
        for part, whole in (
            ("planted_caught", "planted"),
            ("synthetic", "planted"),
            ("blind_bad", "blind"),
            ("blind_caught", "blind_bad"),
        ):
            if not 0 <= getattr(self, part) <= getattr(self, whole):
                raise InputError(
                    f"{part} is {getattr(self, part)}, {whole} {getattr(self, whole)}", subject="reviewers"
                )
        lower_bound(self.caught, self.shown, self.confidence)  # refuses an impossible confidence

    @property
    def shown(self) -> int:
        """Known errors that were shown together with the network's pose."""
        return self.planted + self.blind_bad

    @property
    def caught(self) -> int:
        """How many of them were found."""
        return self.planted_caught + self.blind_caught

    @property
    def assumed(self) -> bool:
        """Whether nothing was measured, so that people are taken to find every bad pose."""
        return self.shown == 0

    @property
    def sensitivity(self) -> float:
        """L: Clopper-Pearson lower limit of the chance that a bad pose is found; 1.0 where it is assumed."""
        return 1.0 if self.assumed else lower_bound(self.caught, self.shown, self.confidence)

    @property
    def anchored(self) -> float | None:
        """Share of the errors found without the network's pose that were overlooked with it; None if unknown."""
        return 1 - self.blind_caught / self.blind_bad if self.blind_bad else None

    @property
    def anchored_limits(self) -> tuple[float, float]:
        """Clopper-Pearson limits of :attr:`anchored`, each alone at :attr:`confidence`; (0, 1) if unknown."""
        missed = self.blind_bad - self.blind_caught
        return (
            lower_bound(missed, self.blind_bad, self.confidence),
            1 - lower_bound(self.blind_caught, self.blind_bad, self.confidence),
        )

    def words(self) -> str:
        """One sentence for people."""
        if self.assumed:
            return "Reviewers were not tested: they are taken to find every bad pose."
        made_up = f", {self.synthetic} of them made up" if self.synthetic else ""
        return (
            f"Reviewers found {self.caught} of {self.shown} known errors ({self.planted} planted{made_up}; "
            f"{self.blind_bad} from {self.blind} blind tasks): at least {100 * self.sensitivity:.3g} % of bad poses, "
            f"with {100 * self.confidence:.4g} % confidence."
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form that :meth:`from_dict` reads; what follows from the counts stands there for readers."""
        return asdict(self) | {
            "sensitivity": self.sensitivity,
            "assumed": self.assumed,
            "anchored": self.anchored,
            "anchored_limits": list(self.anchored_limits),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, subject: str = "reviewers") -> "ReviewerRates":
        """Read the JSON form; what follows from the counts is computed again, whatever stands there.

        Raises:
            FormatError: A key is missing or unknown, or the counts contradict each other.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - set(cls().to_dict())):
            raise FormatError("unknown key", field=unknown[0], subject=subject)
        if missing := sorted(known - set(data)):
            raise FormatError("missing", field=missing[0], subject=subject)
        try:
            return cls(**{name: data[name] for name in known})
        except (InputError, TypeError) as error:  # TypeError: a confidence that is no number
            raise FormatError(f"cannot be read: {error}", subject=subject) from error
