"""Verdicts: what an audit proves, over every possible draw, and what a certificate says when it proves nothing."""

import math

import numpy as np
import pytest
from scipy.stats import hypergeom

import autolabel.bounds
import autolabel.certify
from autolabel.audit import AuditCounts
from autolabel.certify import Certificate, Delta, StepCounts, certificate, most_bad, residual_bound, upper_bound, walk
from autolabel.errors import InputError
from autolabel.reviewers import ReviewerRates, split_confidence
from autolabel.similarity import BadRule


def verdict(
    found: AuditCounts, population: int, max_bad: float, confidence: float = 0.95, **more: object
) -> Certificate:
    return certificate(
        found,
        max_bad=max_bad,
        confidence=confidence,
        population=population,
        digest_before="before",
        digest_after="after",
        audit=[f"pose{i}" for i in range(found.audited)],
        rule=BadRule(),
        routing="routing",
        answers="answers",
        **more,  # type: ignore[arg-type]
    )


def found(bad: int, audited: int, rejected: int = 0, uncorrected: int = 0) -> AuditCounts:
    return AuditCounts(audited, bad, rejected, keypoints=0, gross=0, uncorrected=uncorrected)


def test_the_bounds_can_be_called_from_here() -> None:
    for name in ("upper_bound", "residual_bound", "most_bad", "audit_size"):
        assert getattr(autolabel.certify, name) is getattr(autolabel.bounds, name)
    assert upper_bound(3, 80, 80) == 3 / 80  # audited == population
    assert f"{100 * upper_bound(0, 200, population=1000, confidence=0.95):.2f}" == "1.30"
    assert f"{100 * upper_bound(0, 200):.2f}" == "1.49"


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize(
    ("population", "audited"), [(60, 48), (150, 80), (400, 120), (400, 300), (2000, 250), (50_000, 300)]
)
def test_the_promise_holds_over_every_draw(population: int, audited: int, confidence: float) -> None:
    """P(issued although more than max_bad are bad) summed over all outcomes, planted just above max_bad."""
    max_bad = 0.02
    issued = {}
    worst = 0.0
    for bad in range(math.ceil(max_bad * population), math.ceil(0.06 * population) + 2):
        false = 0.0
        for k in range(min(bad, audited) + 1):
            if (bad - k) / population <= max_bad:
                continue  # what remains after the audit's corrections keeps the promise
            if k not in issued:
                issued[k] = verdict(found(k, audited), population, max_bad, confidence).issued
            if not issued[k]:
                break  # more bad ones never issue it
            false += float(hypergeom.pmf(k, population, bad, audited))
        worst = max(worst, false)
    assert worst <= 1 - confidence
    assert any(issued.values()), "a rule that never issues would pass, and say nothing"
    assert worst > 0.1 * (1 - confidence), "the planted shares were too easy to put the promise to the test"


def test_the_promise_holds_in_drawn_audits() -> None:
    """The same by drawing: real permutations of real ids, with the true residual share counted."""
    random = np.random.default_rng(7)
    population, audited, max_bad, delta, runs = 800, 230, 0.02, 0.05, 2000
    # One more than could be left: the first share at which the empty audit proves too much.
    planted = max(most_bad(0, audited, population, 1 - delta), math.floor(max_bad * population)) + 1
    outcome = [verdict(found(k, audited), population, max_bad).issued for k in range(planted + 1)]
    false = 0
    for _ in range(runs):
        k = int((random.permutation(population)[:audited] < planted).sum())
        false += outcome[k] and (planted - k) / population > max_bad
    assert false / runs <= delta + 3 * math.sqrt(delta * (1 - delta) / runs)
    assert any(outcome)


def test_the_promise_holds_with_reviewers_of_unknown_sensitivity() -> None:
    """Reviewers who find 80 % are tested with plants; both draws share δ, and the truth is just above the promise."""
    random = np.random.default_rng(17)
    population, audited, plants, seen, max_bad, confidence, runs = 3000, 1200, 60, 0.8, 0.03, 0.9, 3000
    draw, tested = split_confidence(confidence)
    wrong = issued = 0
    limits: dict[tuple[int, int], float] = {}
    for planted in (93, 108):
        drawn = random.hypergeometric(planted, population - planted, audited, runs)
        caught, known = random.binomial(drawn, seen), random.binomial(plants, seen, runs)
        for k, good in zip(caught.tolist(), known.tolist(), strict=True):
            if (k, good) not in limits:
                rates = ReviewerRates(planted=plants, planted_caught=good, confidence=tested)
                limits[k, good] = residual_bound(k, audited, population, draw, sensitivity=rates.sensitivity)
            passed = limits[k, good] <= max_bad
            issued += passed
            wrong += passed and (planted - k) / population > max_bad
    delta = 1 - confidence
    assert wrong / (2 * runs) <= delta + 3 * math.sqrt(delta * (1 - delta) / (2 * runs))
    assert issued, "a rule that never issues would pass, and say nothing"


@pytest.mark.parametrize(
    ("outcome", "population", "issued", "reason"),
    [
        (found(0, 200), 1000, True, "0 of 200 audited poses were bad; with these corrected, at most 1.3 %"),
        (found(9, 200), 1000, False, "takes an audit of"),
        (found(0, 0), 1000, False, "no accepted pose was audited"),
        (found(0, 0), 0, False, "no pose is accepted"),
        (found(3, 3, rejected=3), 3, False, "no pose is accepted"),
        (found(3, 40), 40, True, "at most 0 %"),
        (found(2, 300, uncorrected=1), 1000, True, "2 of 300 audited poses were bad; with 1 of these corrected"),
        (found(1, 40, uncorrected=1), 40, False, "at most 2.5 % of the accepted poses are: too many"),
    ],
)
def test_verdicts_say_why(outcome: AuditCounts, population: int, issued: bool, reason: str) -> None:
    made = verdict(outcome, population, 0.02)
    assert made.issued is issued
    assert reason in made.reason
    assert made.population == population - outcome.rejected
    unproven = "It was not shown that at most 2 %" if population else "Nothing is accepted, so nothing is claimed."
    assert made.claim.startswith("At most 2 % of the " if issued else unproven)
    assert made.words().startswith("No pose was accepted") is (population == 0)
    assert made.summary()["issued"] is issued
    assert made.step == (0 if issued else -1)


def test_the_audit_that_a_refusal_asks_for_would_have_passed() -> None:
    refused = verdict(found(9, 200, rejected=9), 1000, 0.02)
    needed = int(refused.reason.rsplit("audit of ", 1)[1].split()[0])
    assert verdict(found(9, needed, rejected=9), 1000, 0.02).issued
    assert not verdict(found(9, needed - 1, rejected=9), 1000, 0.02).issued


STEPS = (StepCounts(1000, 300, 0, 0, 0), StepCounts(1500, 460, 1, 1, 0), StepCounts(2500, 800, 40, 40, 0))


def test_the_certified_set_is_what_the_certificate_is_about() -> None:
    walked = walk(STEPS, 0.02)
    made = verdict(found(1, 460), 1500, 0.02, walked=walked)
    assert (made.issued, made.step, made.population_before) == (True, 1, 1500)
    assert made.bound_after == residual_bound(1, 460, 1500)
    assert "up to 2,500 poses, is not proven" in made.reason
    assert [step.size for step in made.steps] == [1000, 1500, 2500]
    assert made.steps[2].after == walked.bounds[2].after


def test_a_refusal_is_about_the_strictest_set() -> None:
    steps = (StepCounts(1000, 300, 20, 20, 0), *(StepCounts(s.size, s.audited, 20 + s.bad, 20, 0) for s in STEPS[1:]))
    made = verdict(found(20, 300), 1000, 0.02, walked=walk(steps, 0.02))
    assert (made.issued, made.step, made.population_before) == (False, -1, 1000)
    assert [step.before is None for step in made.steps] == [False, True, True], "nothing is tested behind a failure"
    with pytest.raises(InputError, match="counts of another set than the walk's"):
        verdict(found(20, 460), 1500, 0.02, walked=walk(steps, 0.02))


DELTA = Delta(total=0.05, this_audit=0.05, reviewers=0.01)


def test_what_reviewers_miss_is_allowed_for() -> None:
    trusted = verdict(found(2, 400), 2000, 0.02)
    rates = ReviewerRates(planted=40, planted_caught=37, confidence=0.99)
    tested = verdict(found(2, 400), 2000, 0.02, reviewers=rates, delta=DELTA)
    assert tested.bound_after == residual_bound(2, 400, 2000, DELTA.draw, sensitivity=rates.sensitivity)
    assert tested.bound_after > trusted.bound_after
    assert "and the reviewers' test" in tested.claim
    assert "Reviewers' answers are the truth" not in " ".join(tested.assumptions)
    assert "Reviewers' answers are the truth" in " ".join(trusted.assumptions)
    assert tested.summary()["sensitivity"] == rates.sensitivity


def test_reviewers_who_find_little_are_told_that_no_audit_helps() -> None:
    blind = ReviewerRates(planted=20, planted_caught=0, confidence=0.99)
    made = verdict(found(0, 40), 40, 0.02, reviewers=blind, delta=DELTA)
    assert not made.issued
    assert "cannot prove it with any audit" in made.reason


def test_reviewers_are_tested_with_a_delta_of_their_own() -> None:
    rates = ReviewerRates(planted=40, planted_caught=37, confidence=0.99)
    for delta in (None, Delta(total=0.05, this_audit=0.05)):
        with pytest.raises(InputError, match="no share of δ is theirs"):
            verdict(found(2, 400), 2000, 0.02, reviewers=rates, delta=delta)
    # A blind slice that brought nothing to light tested nobody.
    untested = verdict(found(2, 400), 2000, 0.02, reviewers=ReviewerRates(blind=20, confidence=0.99), delta=DELTA)
    assert "reviewers' test" not in untested.claim


def test_audits_that_share_the_confidence_prove_less_each() -> None:
    half = verdict(found(0, 400), 2000, 0.02, delta=Delta(0.05, 0.025, attempt=1, attempts=2))
    assert half.bound_before == upper_bound(0, 400, 2000, 0.975)
    assert half.confidence == 0.95, "the promise is about both audits together"
    assert "At most 2 audits of these poses are judged" in half.assumptions[2]


@pytest.mark.parametrize("share", [0.0, 1.0, math.nan, 2.0])
def test_a_promise_of_nothing_or_everything_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="max_bad is"):
        verdict(found(0, 200), 1000, share)
    with pytest.raises(InputError, match="confidence is"):
        verdict(found(0, 200), 1000, 0.02, share)


@pytest.mark.parametrize(
    ("counts", "population"),
    [(found(3, 2), 10), (found(0, 11), 10), (found(2, 5, rejected=3), 10), (found(2, 5, 1, uncorrected=2), 10)],
)
def test_counts_that_contradict_each_other_prove_nothing(counts: AuditCounts, population: int) -> None:
    with pytest.raises(InputError, match="contradict each other"):
        verdict(counts, population, 0.02)
