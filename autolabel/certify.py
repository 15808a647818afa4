"""What an audit proves about the share of bad poses.

The accepted poses are frozen, an audit is drawn from them uniformly at random, and people say which of the
drawn poses are bad. How many of *all* accepted poses can then be bad, with a given confidence, is a question
about drawing without replacement, and the hypergeometric distribution answers it exactly: nothing is assumed
about the poses, the images or the model, because the only chance in it is the draw. Then the audit's own
corrections are applied, and what remains is what the :class:`Certificate` is about. It holds digests of the
population before and after, and is void for any other.

Sources: C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of
the binomial", Biometrika 26 (1934); the exact hypergeometric test is inverted in the same way.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.audit import AuditCounts
from autolabel.bounds import audit_size, most_bad, residual_bound, upper_bound
from autolabel.errors import FormatError
from autolabel.poses import Poses
from autolabel.similarity import BadRule, claims_present

__all__ = [
    "Certificate",
    "audit_size",
    "certificate",
    "most_bad",
    "percent",
    "population_digest",
    "residual_bound",
    "upper_bound",
]

METHOD = "D+ / M, exact hypergeometric; after correction (D+ - bad) / (M - rejected)"

ASSUMPTIONS = (
    "The audit was drawn uniformly at random, without replacement, from the frozen population.",
    "Reviewers' answers are the truth: an error that a reviewer missed is not counted.",
    "It is the only certificate drawn from this population; several would have to share the confidence.",
    "It is about all accepted poses together: some of them, picked by image or otherwise, can hold a larger share.",
    "It says nothing about people without a box, nor about poses outside the population.",
)


def population_digest(poses: Poses | Iterable[Poses]) -> str:
    """Hex digest of which poses there are and what they state, whatever their order.

    A pose states its id, its box, and of each keypoint the place, the visibility, and whether it lies inside
    the image. Scores, and who placed what, are left out: they may change while the label stays the same.
    SHA-256 over the sorted SHA-256 of the poses.

    Args:
        poses: All of them, or their parts one after the other.
    """
    parts = [poses] if isinstance(poses, Poses) else poses
    whole = hashlib.sha256()
    for digest in sorted(digest for part in parts for digest in _pose_digests(part)):
        whole.update(digest)
    return whole.hexdigest()


@dataclass(frozen=True)
class Certificate:
    """What an audit proves about one population of poses, and about no other.

    Attributes:
        claim: The promise in words.
        issued: Whether the audit proves it.
        reason: Why, or why not.
        max_bad: The share of bad poses that the claim allows.
        confidence: Over the audit's draw.
        bound_before: Upper limit of the bad share in the population as it was accepted.
        bound_after: The same after the audit's corrections; this is what the claim is about.
        population_before: How many poses were accepted.
        population_after: How many are left when the rejected ones are gone.
        digest_before: :func:`population_digest` as accepted.
        digest_after: :func:`population_digest` after the audit's corrections.
        audit: Ids of the audited poses.
        counts: What people found.
        rule: When a pose is bad.
        routing: Digest of the routing that froze the population and drew the audit.
        answers: Digest of the audit's answers.
        method: How the limits were computed.
        assumptions: What has to hold for the claim to mean what it says.
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

    @property
    def population(self) -> int:
        """How many poses the claim is about."""
        return self.population_after

    def covers(self, poses: Poses | Iterable[Poses]) -> bool:
        """Whether the claim holds for these poses: issued, and none added, removed or changed since."""
        return self.issued and population_digest(poses) == self.digest_after

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
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON form that :meth:`from_dict` reads."""
        return asdict(self) | {"audit": list(self.audit), "assumptions": list(self.assumptions)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, subject: str = "certificate") -> "Certificate":
        """Read the JSON form.

        Raises:
            FormatError: A key is missing or unknown.
        """
        if wrong := sorted({field.name for field in fields(cls)} ^ set(data)):
            raise FormatError("unknown key" if wrong[0] in data else "missing", field=wrong[0], subject=subject)
        try:
            made: dict[str, Any] = {
                "audit": tuple(data["audit"]),
                "counts": AuditCounts(**data["counts"]),
                "rule": BadRule(**data["rule"]),
                "assumptions": tuple(data["assumptions"]),
            }
        except TypeError as error:
            raise FormatError(f"cannot be read: {error}", subject=subject) from error
        return cls(**{**data, **made})


def certificate(
    counts: AuditCounts,
    *,
    max_bad: float,
    confidence: float,
    population: int,
    digest_before: str,
    digest_after: str,
    audit: Iterable[str],
    rule: BadRule,
    routing: str,
    answers: str,
) -> Certificate:
    """The verdict of an audit: issued when at most ``max_bad`` may still be bad after its corrections.

    The arguments are the certificate's fields; ``population`` counts the accepted poses, audited ones included.

    Raises:
        InputError: Counts that contradict each other, or a share or confidence outside (0, 1).
    """
    after = residual_bound(counts.bad, counts.audited, population, confidence, rejected=counts.rejected)
    left = population - counts.rejected
    return Certificate(
        claim=_claim(max_bad, left, confidence),
        issued=left > 0 and after <= max_bad,
        reason=_reason(counts, left, after, max_bad, audit_size(max_bad, confidence, counts.bad, population)),
        max_bad=max_bad,
        confidence=confidence,
        bound_before=upper_bound(counts.bad, counts.audited, population, confidence),
        bound_after=after,
        population_before=population,
        population_after=left,
        digest_before=digest_before,
        digest_after=digest_after,
        audit=tuple(audit),
        counts=counts,
        rule=rule,
        routing=routing,
        answers=answers,
    )


def percent(share: float) -> str:
    """A share as people write it, with three significant digits: ``1.23 %``."""
    return f"{100 * share:.3g} %"


def _claim(max_bad: float, left: int, confidence: float) -> str:
    return (
        f"At most {percent(max_bad)} of the {left:,} accepted poses are bad, "
        f"with {percent(confidence)} confidence over the audit's draw."
    )


def _reason(counts: AuditCounts, left: int, after: float, max_bad: float, needed: int) -> str:
    if left == 0:
        return "no pose is accepted, so there is nothing to certify: review the poses instead"
    if counts.audited == 0:
        return f"no accepted pose was audited, so nothing is proven; an audit of {needed} poses could prove it"
    found = f"{counts.bad} of {counts.audited} audited poses were bad; with these corrected, at most"
    if after <= max_bad:
        return f"{found} {percent(after)} of the accepted poses are"
    return (
        f"{found} {percent(after)} of the accepted poses are: too many; "
        f"with as many bad ones it takes an audit of {needed} poses"
    )


def _pose_digests(poses: Poses) -> list[bytes]:
    if not len(poses):
        return []
    rows = np.concatenate(
        [_bytes(poses.box), _bytes(poses.xy), poses.visibility, claims_present(poses).view(np.uint8)], axis=1
    )
    heads = [f"{name}\0".encode() for name in poses.id]
    return [hashlib.sha256(head + row.tobytes()).digest() for head, row in zip(heads, rows, strict=True)]


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """(N, ...) floats as (N, bytes), equal for equal values: one NaN and one zero."""
    one = np.where(np.isnan(array), array.dtype.type(np.nan), array + array.dtype.type(0))
    return np.ascontiguousarray(one.reshape(len(one), -1)).view(np.uint8)
