"""What a routing promises, the part of δ that its audit may spend, and the sensitivity that it plans with.

A promise may be given several audits only if that is said before the first: they share δ in equal parts, and the next
one is drawn only when the last one was judged and failed. So no audit is a second look at what another one has shown.
"""

from dataclasses import dataclass
from pathlib import Path

from autolabel.bounds import lower_bound
from autolabel.errors import InputError
from autolabel.formats.records import Record, read_json
from autolabel.percent import percent, percent_confidence
from autolabel.reviewers import split_confidence
from pipelines.audit_chain import ROUTING, SPENT

CAUGHT = 0.97
"""The share of planted errors that reviewers are expected to find, to plan an audit by."""


@dataclass(frozen=True)
class Promise:
    """What is promised, and the part of δ that this audit may spend.

    Attributes:
        max_bad: Share of bad poses among the accepted.
        confidence: Of the promise, whatever number of audits it takes.
        attempt: Which audit this is, from 1.
        attempts: How many audits share δ, decided before the first.
        tested: Whether the reviewers are tested, which takes a part of δ.
    """

    max_bad: float
    confidence: float
    attempt: int
    attempts: int
    tested: bool

    @property
    def this_audit(self) -> float:
        """δ of this audit."""
        return (1 - self.confidence) / self.attempts

    @property
    def reviewers(self) -> float:
        """The part of it that the limit of the reviewers' sensitivity spends."""
        return 1 - split_confidence(1 - self.this_audit)[1] if self.tested else 0.0

    @property
    def draw(self) -> float:
        """Confidence over the audit's draw alone."""
        return 1 - (self.this_audit - self.reviewers)

    def sensitivity(self, planted: int) -> float:
        """The least share of bad poses that reviewers will be shown to find, if they find as many as people usually do.

        Args:
            planted: Known errors among their tasks; without any, people are taken to find every one.
        """
        if not self.tested or not planted:
            return 1.0
        return lower_bound(round(CAUGHT * planted), planted, 1 - self.reviewers)

    def words(self, accepted: int) -> str:
        """The promise in a sentence."""
        share, sure = percent(self.max_bad), percent_confidence(self.confidence)
        return (
            f"If the audit proves it, at most {share} of the {accepted:,} accepted poses are bad, or of a stricter "
            f"step of them, with {sure} confidence over the audit's draw."
        )

    def delta(self) -> dict[str, float]:
        """How δ is spent."""
        parts = {"total": 1 - self.confidence, "this_audit": self.this_audit, "reviewers": self.reviewers}
        return {name: round(value, 12) for name, value in parts.items()}


def attempt_after(folder: str | Path | None, max_bad: float, confidence: float, attempts: int) -> tuple[int, str]:
    """The number of this audit, and the digest of the routing whose audit failed.

    Raises:
        InputError: The earlier audit has no verdict or was passed, or it promised something else.
    """
    if attempts < 1:
        raise InputError(f"attempts is {attempts}", remedy="Give the number of audits that may be made, 1 or more.")
    if folder is None:
        return 1, ""
    where = Path(folder)
    if not (where / ROUTING).is_file():
        raise InputError("holds no routing", subject=str(where), remedy="Give the folder whose audit failed.")
    record = Record(read_json(where / ROUTING), "", str(where / ROUTING))
    same = {"max_bad": max_bad, "confidence": confidence, "attempts": attempts}
    for name, value in same.items():
        if (before := record.number(name, 1)) != value:
            raise InputError(
                f"{name} was {before:g} and is {value:g}: audits share δ only for one promise, and in as many parts as"
                " were decided before the first",
                subject=str(where),
            )
    if not (where / SPENT).is_file():
        raise InputError(
            "its audit has no verdict yet", subject=str(where), remedy="Run `autolabel certify` on it first."
        )
    if read_json(where / SPENT).get("issued") is not False:
        raise InputError("its audit was passed: there is nothing to repeat", subject=str(where))
    attempt = int(record.number("attempt", 1)) + 1
    if attempt > attempts:
        raise InputError(
            f"was audit {attempt - 1} of {attempts}: δ is spent",
            subject=str(where),
            remedy="The verdict stands. Review the poses; another audit would be a promise that was not earned.",
        )
    return attempt, record.text("digest")
