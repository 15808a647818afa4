"""The certificate: what an audit proves about one population of poses, and about no other.

It is written whether the promise is proven or not, and holds everything that the verdict was computed from: digests of
the population before and after the audit's own corrections, what was found in each of the nested sets, what known
errors told about the reviewers, what was spent, and what has to hold for the claim to mean what it says. The wording
for a dataset card is :meth:`Certificate.words`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from autolabel.audit import AuditCounts
from autolabel.certificate_words import words
from autolabel.digests import population_digest
from autolabel.errors import AutolabelError, FormatError, InputError
from autolabel.poses import Poses
from autolabel.reviewers import ReviewerRates
from autolabel.side_claims import SideClaim
from autolabel.similarity import BadRule
from autolabel.strata import Stratum

METHOD = (
    "D+ / M, exact hypergeometric with the reviewers' sensitivity; after correction (D+ - corrected) / (M - rejected); "
    "nested sets in fixed sequence"
)

ASSUMPTIONS = (
    "The audit was drawn uniformly at random, without replacement, from the frozen population.",
    "It is about all accepted poses together: some of them, picked by image or otherwise, can hold a larger share.",
    "It says nothing about people without a box, nor about poses outside the population.",
)


@dataclass(frozen=True)
class Delta:
    """How the chance of being wrong, δ, is spent.

    Attributes:
        total: 1 - the confidence of the promise.
        this_audit: What this audit may spend of it; several audits share it.
        reviewers: The part of that which goes to the limit of the reviewers' sensitivity.
        attempt: Which of the audits this is, from 1.
        attempts: Among how many it was shared, before the first draw.
    """

    total: float
    this_audit: float
    reviewers: float = 0.0
    attempt: int = 1
    attempts: int = 1

    def __post_init__(self) -> None:
        shared = 0 < self.total < 1 and 0 < self.this_audit <= self.total * (1 + 1e-9)
        if not (shared and 0 <= self.reviewers < self.this_audit):
            raise InputError(f"a δ that cannot be spent so: {self}")
        if not 1 <= self.attempt <= self.attempts or self.this_audit * self.attempts > self.total * (1 + 1e-9):
            raise InputError(f"audits that spend more than their δ together: {self}")

    @property
    def draw(self) -> float:
        """Confidence over the audit's draw alone."""
        return 1 - (self.this_audit - self.reviewers)


@dataclass(frozen=True)
class StepVerdict:
    """One of the nested sets, from strict to loose.

    Attributes:
        size: Accepted poses.
        audited: How many of them were audited.
        bad: How many of these were bad.
        corrected: How many of the bad ones were put right or thrown out.
        rejected: How many of these were thrown out.
        before: Upper limit of the bad share as accepted; None where the walk stopped before this set.
        after: The same after the audit's corrections.
    """

    size: int
    audited: int
    bad: int
    corrected: int
    rejected: int
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True)
class Certificate:
    """What an audit proves about one population of poses, and about no other.

    Attributes:
        claim: The promise in words.
        issued: Whether the audit proves it.
        reason: Why, or why not.
        max_bad: The share of bad poses that the claim allows.
        confidence: Over the audit's draw, and where reviewers were tested over their answers to known errors.
        bound_before: Upper limit of the bad share in the population as it was accepted.
        bound_after: The same after the audit's corrections; this is what the claim is about.
        population_before: How many poses were accepted: those of the certified set, or of the strictest one where none
            is certified. They are the first of ``accepted.txt``.
        population_after: How many are left when the rejected ones are gone.
        digest_before: :func:`population_digest` as accepted.
        digest_after: :func:`population_digest` after the audit's corrections.
        audit: Ids of all audited poses, those in looser sets among them.
        counts: What people found in the population.
        rule: When a pose is bad.
        routing: Digest of the routing that froze the population and drew the audit.
        answers: Digest of the audit's answers.
        method: How the limits were computed.
        assumptions: What has to hold for the claim to mean what it says.
        steps: The nested sets that were frozen.
        step: Index of the one that is certified; -1 where none is.
        delta: How δ was spent; None in certificates of older versions, which spent all of it on one draw.
        reviewers: What known errors told about the reviewers; None where no such were shown.
        beside: What is claimed beside it, each at its own confidence.
        strata: What the audit found in parts of the population; a report, not a promise.
    """

    claim: str
    issued: bool
    reason: str
    max_bad: float
    confidence: float
    bound_before: float
    bound_after: float
    population_before: int
    population_after: int
    digest_before: str
    digest_after: str
    audit: tuple[str, ...]
    counts: AuditCounts
    rule: BadRule
    routing: str
    answers: str
    method: str = METHOD
    assumptions: tuple[str, ...] = ASSUMPTIONS
    steps: tuple[StepVerdict, ...] = ()
    step: int = 0
    delta: Delta | None = None
    reviewers: ReviewerRates | None = None
    beside: tuple[SideClaim, ...] = ()
    strata: tuple[Stratum, ...] = ()

    @property
    def population(self) -> int:
        """How many poses the claim is about."""
        return self.population_after

    def covers(self, poses: Poses | Iterable[Poses]) -> bool:
        """Whether the claim holds for these poses: issued, and none added, removed or changed since."""
        return self.issued and population_digest(poses) == self.digest_after

    def words(self) -> str:
        """The paragraph for a dataset card: what is claimed, about what, how it was shown, and what it leaves out."""
        return words(self)

    def summary(self) -> dict[str, object]:
        """What to tell the user."""
        return {
            "issued": self.issued,
            "claim": self.claim,
            "reason": self.reason,
            "bound": self.bound_after,
            "population": self.population,
            "audited": self.counts.audited,
            "bad": self.counts.bad,
            "sensitivity": self.reviewers.sensitivity if self.reviewers else 1.0,
            "beside": [side.claim for side in self.beside],
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON form that :meth:`from_dict` reads, with the words for a dataset card beside it."""
        whole: dict[str, Any] = asdict(self)
        lists: dict[str, Any] = {name: list(whole[name]) for name in _LISTS}
        more = {"reviewers": self.reviewers.to_dict() if self.reviewers else None, "words": self.words()}
        return whole | lists | more

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, subject: str = "certificate") -> "Certificate":
        """Read the JSON form; of older versions too, which knew fewer keys.

        Raises:
            FormatError: A key is missing or unknown.
        """
        data = {name: value for name, value in data.items() if name != "words"}
        every = fields(cls)
        needed = {field.name for field in every if field.default is MISSING}
        wrong = sorted((needed - set(data)) | (set(data) - {field.name for field in every}))
        if wrong:
            raise FormatError("unknown key" if wrong[0] in data else "missing", field=wrong[0], subject=subject)
        try:
            made = _read({name: value for name, value in data.items() if value is not None})
        except (TypeError, AutolabelError) as error:
            raise FormatError(f"cannot be read: {error}", subject=subject) from error
        return cls(**{**data, **made})


_LISTS = ("audit", "assumptions", "steps", "beside", "strata")


def _read(data: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the keys that are there and that JSON has no word for."""
    parts: Mapping[str, Callable[..., object]] = {
        "counts": AuditCounts,
        "rule": BadRule,
        "delta": Delta,
        "steps": StepVerdict,
        "beside": SideClaim,
        "strata": Stratum,
    }
    made: dict[str, Any] = {name: tuple(data[name]) for name in _LISTS if name in data}
    for name in parts.keys() & data.keys():
        kind, value = parts[name], data[name]
        made[name] = tuple(kind(**part) for part in value) if name in _LISTS else kind(**value)
    if "reviewers" in data:
        made["reviewers"] = ReviewerRates.from_dict(data["reviewers"])
    return made
