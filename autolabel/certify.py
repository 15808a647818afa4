"""What an audit proves about the share of bad poses.

The accepted poses are frozen, an audit is drawn from them uniformly at random, and people say which of the
drawn poses are bad. How many of *all* accepted poses can then be bad, with a given confidence, is a question
about drawing without replacement, and the hypergeometric distribution answers it exactly: nothing is assumed
about the poses, the images or the model, because the only chance in it is the draw. Then the audit's own
corrections are applied, and what remains is what the :class:`Certificate` is about. It holds digests of the
population before and after, and is void for any other.

This is the page to start from. The parts:

    bounds.py           how many can be bad, given what was found
    reviewers.py        how many bad poses people find
    walk.py             nested sets, one audit: the largest set that it proves
    audit.py            what people found in the audited poses
    side_claims.py      untouched keypoints of reviewed poses, people without a box
    strata.py           parts of the population, as a report
    digests.py          which poses, stating what
    certificate.py      all of it, as it is written down, and in words
"""

from collections.abc import Iterable, Sequence

from autolabel.audit import AuditCounts
from autolabel.bounds import audit_size, most_bad, residual_bound, upper_bound
from autolabel.certificate import ASSUMPTIONS, Certificate, Delta, StepVerdict
from autolabel.certificate_words import claim, no_claim
from autolabel.digests import population_digest
from autolabel.errors import InputError
from autolabel.percent import percent, percent_at_most
from autolabel.reviewers import ReviewerRates
from autolabel.side_claims import SideClaim
from autolabel.similarity import BadRule
from autolabel.strata import Stratum
from autolabel.walk import StepCounts, Walk, judge, walk

__all__ = [
    "Certificate",
    "Delta",
    "StepCounts",
    "Walk",
    "audit_size",
    "certificate",
    "judge",
    "most_bad",
    "percent",
    "population_digest",
    "residual_bound",
    "upper_bound",
    "walk",
]


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
    walked: Walk | None = None,
    delta: Delta | None = None,
    reviewers: ReviewerRates | None = None,
    beside: Iterable[SideClaim] = (),
    strata: Iterable[Stratum] = (),
) -> Certificate:
    """The verdict of an audit: issued when at most ``max_bad`` may still be bad after its corrections.

    The arguments are the certificate's fields. ``counts``, ``population`` and the digests are those of the certified
    set, or of the strictest one where none is certified; ``population`` counts the audited poses too. ``walked`` is the
    walk along the nested sets; by default the population is the only one. ``delta`` says how δ is spent; by default all
    of it goes to this audit's draw. ``reviewers`` is what known errors told about the reviewers, at their part of δ.

    Raises:
        InputError: Counts that contradict each other or the walk, a share or confidence outside (0, 1), or tested
            reviewers for whom no δ is set aside.
    """
    tested = reviewers is not None and not reviewers.assumed
    if tested and not (delta and delta.reviewers):
        raise InputError("known errors were shown to reviewers, but no share of δ is theirs")
    sensitivity = reviewers.sensitivity if reviewers else 1.0
    draw = delta.draw if delta else confidence
    here = _step(counts, population)
    walked = walked or walk([here], max_bad, draw, sensitivity)
    at = max(walked.step, 0)
    if walked.counts[at] != here:
        raise InputError(f"counts of another set than the walk's: {here} and {walked.counts[at]}")
    bound = walked.bounds[at]
    return Certificate(
        claim=claim(max_bad, here.left, confidence, tested) if walked.issued else no_claim(max_bad, population),
        issued=walked.issued,
        reason=_reason(walked, max_bad, draw, sensitivity),
        max_bad=max_bad,
        confidence=confidence,
        bound_before=bound.before,
        bound_after=bound.after,
        population_before=population,
        population_after=here.left,
        digest_before=digest_before,
        digest_after=digest_after,
        audit=tuple(audit),
        counts=counts,
        rule=rule,
        routing=routing,
        answers=answers,
        assumptions=_assumptions(delta, tested),
        steps=_verdicts(walked),
        step=walked.step,
        delta=delta,
        reviewers=reviewers,
        beside=tuple(beside),
        strata=tuple(strata),
    )


def _step(counts: AuditCounts, population: int) -> StepCounts:
    return StepCounts(population, counts.audited, counts.bad, counts.corrected, counts.rejected)


def _verdicts(walked: Walk) -> tuple[StepVerdict, ...]:
    made: list[StepVerdict] = []
    for i, c in enumerate(walked.counts):
        bound = walked.bounds[i] if i < len(walked.bounds) else None
        limits = (bound.before, bound.after) if bound else (None, None)
        made.append(StepVerdict(c.size, c.audited, c.bad, c.corrected, c.rejected, *limits))
    return tuple(made)


def _assumptions(delta: Delta | None, tested: bool) -> tuple[str, ...]:
    if tested:
        seen = "Reviewers find a bad pose of the audit at least as often as the known errors, and each by itself."
    else:
        seen = "Reviewers' answers are the truth: an error that a reviewer missed is not counted."
    if delta and delta.attempts > 1:
        only = f"At most {delta.attempts} audits of these poses are judged; they share the confidence."
    else:
        only = "It is the only certificate drawn from this population; several would have to share the confidence."
    return (ASSUMPTIONS[0], seen, only, *ASSUMPTIONS[1:])


def _reason(walked: Walk, max_bad: float, confidence: float, sensitivity: float) -> str:
    here, bound = walked.counts[max(walked.step, 0)], walked.bounds[max(walked.step, 0)]
    if here.left == 0:
        return "no pose is accepted, so there is nothing to certify: review the poses instead"
    needed = _needed(here, max_bad, confidence, sensitivity)
    if here.audited == 0:
        return f"no accepted pose was audited, so nothing is proven; {needed}"
    corrected = "these" if here.corrected == here.bad else f"{here.corrected} of these"
    found = (
        f"{here.bad} of {here.audited} audited poses were bad; with {corrected} corrected, at most "
        f"{percent_at_most(bound.after)} of the accepted poses are"
    )
    return found + _looser(walked.counts, walked.step) if walked.issued else f"{found}: too many; {needed}"


def _looser(counts: Sequence[StepCounts], step: int) -> str:
    if step == len(counts) - 1:
        return ""
    return f"; what else was proposed, up to {counts[-1].size:,} poses, is not proven and goes back to review"


def _needed(here: StepCounts, max_bad: float, confidence: float, sensitivity: float) -> str:
    size = audit_size(max_bad, confidence, here.bad, here.size, sensitivity=sensitivity)
    if size > here.size:
        return f"reviewers who may find only {percent(sensitivity)} of the bad ones cannot prove it with any audit"
    found = "with as many bad ones it takes" if here.audited else "it takes"
    return f"{found} an audit of {size} poses"
