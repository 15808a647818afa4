"""Bounds against exact integer arithmetic, the promise against every possible draw, and what voids it."""

import dataclasses
import json
import math
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, hypergeom

from autolabel.audit import AuditCounts
from autolabel.certify import (
    Certificate,
    audit_size,
    certificate,
    most_bad,
    percent,
    population_digest,
    residual_bound,
    upper_bound,
)
from autolabel.errors import FormatError, InputError
from autolabel.poses import Origin, Poses, Visibility
from autolabel.similarity import BadRule


def exact_cdf(k: int, population: int, bad: int, audited: int) -> Fraction:
    """P(X <= k) by counting the draws."""
    ways = sum(math.comb(bad, j) * math.comb(population - bad, audited - j) for j in range(k + 1))
    return Fraction(ways, math.comb(population, audited))


@cache
def slow_most_bad(k: int, audited: int, population: int, confidence: float) -> int:
    delta = 1 - Fraction(confidence)
    return max(d for d in range(population + 1) if exact_cdf(k, population, d, audited) > delta)


# confidence.md 3.3, F1 and F2: what the literature's recipes give.
@pytest.mark.parametrize(
    ("bad", "audited", "population", "shown"),
    [
        (0, 200, 1000, "1.30"),
        (0, 200, None, "1.49"),
        (0, 300, 1500, "0.87"),
        (0, 300, None, "0.99"),
        (0, 150, 500, "1.60"),
        (0, 150, None, "1.98"),
    ],
)
def test_published_examples(bad: int, audited: int, population: int | None, shown: str) -> None:
    assert f"{100 * upper_bound(bad, audited, population):.2f}" == shown


def test_published_example_with_corrections() -> None:
    assert f"{100 * residual_bound(4, 1000, 50_000):.2f}" == "0.90"


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95, 0.99, 0.999])
@pytest.mark.parametrize(("population", "audited"), [(1, 1), (7, 3), (20, 19), (40, 10), (60, 45)])
def test_finite_bound_is_the_largest_number_not_ruled_out(population: int, audited: int, confidence: float) -> None:
    for bad in range(audited + 1):
        expected = slow_most_bad(bad, audited, population, confidence)
        assert most_bad(bad, audited, population, confidence) == expected
        assert upper_bound(bad, audited, population, confidence) == expected / population


@pytest.mark.parametrize(
    ("bad", "audited", "population"),
    [(0, 300, 10**6), (12, 1500, 2_000_000), (3, 1000, 10**7), (150, 300, 10**6), (0, 10**4, 10**5)],
)
def test_large_populations_are_exact_too(bad: int, audited: int, population: int) -> None:
    largest = most_bad(bad, audited, population)
    assert exact_cdf(bad, population, largest, audited) > Fraction(1, 20)
    assert exact_cdf(bad, population, largest + 1, audited) <= Fraction(1, 20)


@pytest.mark.parametrize(("bad", "audited"), [(0, 1), (0, 149), (3, 386), (17, 20), (499, 500), (40, 10**6)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_unlimited_population_is_clopper_pearson(bad: int, audited: int, confidence: float) -> None:
    expected = float(beta.ppf(confidence, bad + 1, audited - bad))
    assert upper_bound(bad, audited, None, confidence) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("bad", "audited", "population", "expected"),
    [
        (0, 0, None, 1.0),  # nothing audited, nothing proven
        (0, 0, 1000, 1.0),
        (0, 0, 0, 1.0),
        (5, 5, None, 1.0),
        (5, 5, 80, 1.0),  # all bad: the others may be bad too
        (3, 80, 80, 3 / 80),  # everything audited: nothing is left to chance
        (0, 80, 80, 0.0),
        (80, 80, 80, 1.0),
    ],
)
def test_edges(bad: int, audited: int, population: int | None, expected: float) -> None:
    assert upper_bound(bad, audited, population) == expected


def test_numpy_integers_are_counts() -> None:
    assert upper_bound(np.int64(2), np.int32(50), np.uint16(400)) == upper_bound(2, 50, 400)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 2), "3 bad of 2 audited"),
        ((-1, 2), "-1 bad of 2 audited"),
        ((0, -1), "0 bad of -1 audited"),
        ((0, 11, 10), "11 audited of 10 poses"),
        ((0.5, 11), "are counts of poses"),
        ((0, 11, 12.0), "are counts of poses"),
        ((0, 11, 12, 0.0), "confidence is 0.0"),
        ((0, 11, 12, 1), "confidence is 1"),
        ((0, 11, 12, math.nan), "confidence is nan"),
        ((0, 11, 12, 95), "confidence is 95"),
    ],
)
def test_impossible_arguments_are_refused(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        upper_bound(*arguments)  # type: ignore[arg-type]


counts = st.integers(1, 400).flatmap(
    lambda population: st.tuples(
        st.just(population),
        st.integers(1, population).flatmap(lambda m: st.tuples(st.just(m), st.integers(0, m))),
    )
)


@given(counts, st.floats(0.5, 0.999))
def test_bounds_move_the_right_way(drawn: tuple[int, tuple[int, int]], confidence: float) -> None:
    population, (audited, bad) = drawn
    bound = upper_bound(bad, audited, population, confidence)
    assert bad / population <= bound <= 1
    # Drawing without replacement never says less than drawing with it, up to one pose of the population.
    assert bound <= upper_bound(bad, audited, None, confidence) + 1 / population
    assert bound <= upper_bound(bad, audited, population, 0.9999)
    if bad < audited:
        assert bound <= upper_bound(bad + 1, audited, population, confidence)
    if audited < population:
        assert bound >= upper_bound(bad, audited + 1, population, confidence)
        assert residual_bound(bad, audited, population, confidence) >= residual_bound(
            bad, audited + 1, population, confidence
        )


def test_residual_is_what_the_audit_did_not_correct() -> None:
    largest = slow_most_bad(3, 50, 120, 0.95)
    assert residual_bound(3, 50, 120) == (largest - 3) / 120
    assert residual_bound(3, 50, 120, rejected=2) == (largest - 3) / 118
    assert residual_bound(7, 120, 120) == 0.0  # everything was seen and corrected
    assert residual_bound(4, 4, 4, rejected=4) == 0.0
    assert residual_bound(0, 0, 120) == 1.0
    with pytest.raises(InputError, match="4 rejected of 3 bad"):
        residual_bound(3, 50, 120, rejected=4)


# confidence.md 3.3: "Max k for δ = 5 % - audits needed".
@pytest.mark.parametrize(
    ("max_bad", "expected_bad", "size"),
    [(0.005, 0, 598), (0.01, 0, 299), (0.01, 3, 773), (0.02, 1, 236), (0.02, 10, 845), (0.05, 5, 208)],
)
def test_audit_sizes_of_the_binomial_table(max_bad: float, expected_bad: int, size: int) -> None:
    assert audit_size(max_bad, 0.95, expected_bad) == size


def test_rounds_that_share_the_confidence() -> None:
    assert [audit_size(a, 1 - 0.05 / 10) for a in (0.005, 0.01, 0.02, 0.05)] == [1058, 528, 263, 104]


@given(st.integers(1, 300), st.integers(0, 6), st.sampled_from([0.01, 0.05, 0.2]))
def test_finite_audit_size_is_the_smallest_that_passes(population: int, bad: int, max_bad: float) -> None:
    bad = min(bad, population)
    size = audit_size(max_bad, 0.9, bad, population)
    assert bad <= size <= population
    assert residual_bound(bad, size, population, 0.9, rejected=bad) <= max_bad or size == population
    if size > bad:
        assert residual_bound(bad, size - 1, population, 0.9, rejected=bad) > max_bad


@pytest.mark.parametrize("max_bad", [0.0, 1.0, 2, -0.1, math.nan])
def test_a_share_outside_0_1_is_refused(max_bad: float) -> None:
    with pytest.raises(InputError, match="max_bad is"):
        audit_size(max_bad)


def verdict(found: AuditCounts, population: int, max_bad: float, confidence: float = 0.95) -> Certificate:
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
    )


def found(bad: int, audited: int, rejected: int = 0) -> AuditCounts:
    return AuditCounts(audited=audited, bad=bad, rejected=rejected, keypoints=0, gross=0)


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
    planted = slow_most_bad(0, audited, population, 1 - delta) + 1
    planted = max(planted, math.floor(max_bad * population) + 1)
    false = 0
    outcome = [verdict(found(k, audited), population, max_bad).issued for k in range(planted + 1)]
    for _ in range(runs):
        k = int((random.permutation(population)[:audited] < planted).sum())
        false += outcome[k] and (planted - k) / population > max_bad
    assert false / runs <= delta + 3 * math.sqrt(delta * (1 - delta) / runs)
    assert any(outcome)


@pytest.mark.parametrize(
    ("outcome", "population", "issued", "reason"),
    [
        (found(0, 200), 1000, True, "0 of 200 audited poses were bad; with these corrected, at most 1.3 %"),
        (found(9, 200), 1000, False, "takes an audit of"),
        (found(0, 0), 1000, False, "no accepted pose was audited"),
        (found(0, 0), 0, False, "no pose is accepted"),
        (found(3, 3, rejected=3), 3, False, "no pose is accepted"),
        (found(3, 40), 40, True, "at most 0 %"),
    ],
)
def test_verdicts_say_why(outcome: AuditCounts, population: int, issued: bool, reason: str) -> None:
    made = verdict(outcome, population, 0.02)
    assert made.issued is issued
    assert reason in made.reason
    assert made.population == population - outcome.rejected
    assert made.claim.startswith("At most 2 % of the ")
    assert made.summary()["issued"] is issued


def test_the_audit_that_a_refusal_asks_for_would_have_passed() -> None:
    refused = verdict(found(9, 200, rejected=9), 1000, 0.02)
    needed = int(refused.reason.rsplit("audit of ", 1)[1].split()[0])
    assert verdict(found(9, needed, rejected=9), 1000, 0.02).issued
    assert not verdict(found(9, needed - 1, rejected=9), 1000, 0.02).issued


def test_certificates_survive_json() -> None:
    made = verdict(found(1, 90), 300, 0.05)
    assert Certificate.from_dict(json.loads(json.dumps(made.to_dict()))) == made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"issud": True}, "issud: unknown key"),
        ({"counts": {"audited": 1}}, "cannot be read"),
    ],
)
def test_malformed_certificates_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Certificate.from_dict({**verdict(found(1, 90), 300, 0.05).to_dict(), **change}, subject="c.json")


def test_a_missing_key_is_named() -> None:
    data = verdict(found(1, 90), 300, 0.05).to_dict()
    del data["bound_after"]
    with pytest.raises(FormatError, match=r"c\.json: bound_after: missing"):
        Certificate.from_dict(data, subject="c.json")


def some_poses(n: int = 5) -> Poses:
    random = np.random.default_rng(n)
    xy = random.normal(100, 30, (n, 4, 2))
    xy[0, 1] = np.nan
    visibility = np.full((n, 4), Visibility.VISIBLE)
    visibility[0, 1] = Visibility.ABSENT
    return Poses.create(
        4,
        id=[f"id{i}" for i in range(n)],
        xy=xy,
        visibility=visibility,
        box=np.array([0, 0, 60, 60]) + random.uniform(0, 50, (n, 4)),
        presence=random.uniform(0.6, 1, (n, 4)),
        origin=np.full((n, 4), Origin.MODEL),
        score=random.uniform(0, 1, (n, 4)),
    )


def test_digest_ignores_order_parts_and_numbers_that_are_no_label() -> None:
    poses = some_poses()
    digest = population_digest(poses)
    assert population_digest(poses.take([4, 2, 0, 1, 3])) == digest
    assert population_digest([poses.take([3]), Poses.empty(4), poses.take([0, 1, 2, 4])]) == digest
    assert population_digest(poses.replace(score=np.zeros((5, 4)), p_bad=np.full(5, 0.5))) == digest
    zero = poses.replace(xy=np.zeros((5, 4, 2)))
    assert population_digest(zero) == population_digest(poses.replace(xy=-np.zeros((5, 4, 2))))
    assert population_digest([]) == population_digest(Poses.empty(4))


def test_any_change_of_a_label_changes_the_digest() -> None:
    poses = some_poses()
    silent = poses.visibility.copy()
    silent[4, 2] = Visibility.UNLABELLED
    poses = poses.replace(visibility=silent)
    xy, box = poses.xy.copy(), poses.box.copy()
    xy[2, 3, 0] = np.nextafter(xy[2, 3, 0], np.float32(1e9))
    box[1, 2] += 0.5
    visibility, presence = poses.visibility.copy(), poses.presence.copy()
    visibility[3, 0] = Visibility.HIDDEN
    presence[4, 2] = 0.1  # now the model says that it lies outside, and nobody states anything else
    ids = poses.id.copy()
    ids[[0, 1]] = ids[[1, 0]]
    changed = [
        poses,
        poses.replace(xy=xy),
        poses.replace(box=box),
        poses.replace(visibility=visibility),
        poses.replace(presence=presence),
        poses.replace(id=ids),
        poses.take([0, 1, 2, 3]),
        poses.take([0, 1, 2, 3, 4, 4]),
    ]
    assert len({population_digest(p) for p in changed}) == len(changed)


def test_a_certificate_covers_its_population_and_no_other() -> None:
    poses = some_poses()
    made = dataclasses.replace(verdict(found(0, 5), 5, 0.05), digest_after=population_digest(poses))
    assert made.issued
    assert made.covers([poses.take([1, 3]), poses.take([0, 2, 4])])
    assert not made.covers(poses.take([0, 1, 2, 3]))
    assert not dataclasses.replace(made, issued=False).covers(poses)


@pytest.mark.parametrize(("share", "text"), [(0.02, "2 %"), (0.95, "95 %"), (0.0123456, "1.23 %"), (0, "0 %")])
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text
