"""What known errors tell about reviewers, and that the whole promise holds: plants, audit, and what is left."""

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from autolabel.bounds import residual_bound
from autolabel.errors import FormatError, InputError
from autolabel.reviewers import ReviewerRates, split_confidence


def test_plants_and_blind_answers_are_known_errors_alike() -> None:
    rates = ReviewerRates(planted=90, planted_caught=86, blind=200, blind_bad=10, blind_caught=9, confidence=0.99)
    assert (rates.caught, rates.shown, rates.assumed) == (95, 100, False)
    assert rates.sensitivity == pytest.approx(float(beta.ppf(0.01, 95, 6)), rel=1e-10)
    assert rates.anchored == pytest.approx(0.1)
    low, high = rates.anchored_limits
    assert low == pytest.approx(float(beta.ppf(0.01, 1, 10)), rel=1e-10)
    assert high == pytest.approx(float(beta.ppf(0.99, 2, 9)), rel=1e-10)


@pytest.mark.parametrize(
    ("rates", "sensitivity", "assumed", "limits"),
    [
        (ReviewerRates(), 1.0, True, (0.0, 1.0)),
        (ReviewerRates(blind=50), 1.0, True, (0.0, 1.0)),  # nothing bad was among them: nothing is known
        (ReviewerRates(planted=40), 0.0, False, (0.0, 1.0)),  # all overlooked, or never answered
        (ReviewerRates(planted=5, planted_caught=5, confidence=0.9), 0.1**0.2, False, (0.0, 1.0)),
        (ReviewerRates(blind=9, blind_bad=3, blind_caught=0, confidence=0.9), 0.0, False, (0.1 ** (1 / 3), 1.0)),
    ],
)
def test_small_numbers(rates: ReviewerRates, sensitivity: float, assumed: bool, limits: tuple[float, float]) -> None:
    assert rates.sensitivity == pytest.approx(sensitivity)
    assert rates.assumed is assumed
    assert rates.anchored_limits == pytest.approx(limits)


def test_words_say_what_was_measured_and_what_was_assumed() -> None:
    assert ReviewerRates(blind=50).words() == "Reviewers were not tested: they are taken to find every bad pose."
    said = ReviewerRates(planted=100, planted_caught=97, synthetic=10, blind=20, blind_bad=4, blind_caught=3).words()
    assert said.startswith("Reviewers found 100 of 104 known errors (100 planted, 10 of them made up; 4 from 20 blind")
    assert said.endswith("at least 89.2 % of bad poses, with 99 % confidence.")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"planted": 3, "planted_caught": 4}, "planted_caught is 4, planted 3"),
        ({"planted": -1}, "planted is -1|planted_caught is 0, planted -1"),
        ({"planted": 3, "synthetic": 4}, "synthetic is 4, planted 3"),
        ({"blind": 2, "blind_bad": 3}, "blind_bad is 3, blind 2"),
        ({"blind": 9, "blind_bad": 3, "blind_caught": 4}, "blind_caught is 4, blind_bad 3"),
        ({"planted": 3.0}, "planted is no count"),
        ({"planted": math.nan}, "planted is no count"),
        ({"confidence": 0.0}, "confidence is 0.0"),
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"confidence": math.nan}, "confidence is nan"),
    ],
)
def test_counts_that_contradict_are_refused(counts: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ReviewerRates(**counts)
    with pytest.raises(FormatError, match=message):
        ReviewerRates.from_dict({**ReviewerRates().to_dict(), **counts})


def test_rates_survive_json_and_an_edited_limit_does_not() -> None:
    rates = ReviewerRates(planted=np.int64(20), planted_caught=18, blind=30, blind_bad=5, blind_caught=4)  # type: ignore[arg-type]
    data = json.loads(json.dumps(rates.to_dict()))
    assert data["sensitivity"] == rates.sensitivity
    assert ReviewerRates.from_dict({**data, "sensitivity": 1.0}) == rates
    with pytest.raises(FormatError, match=r"c\.json: plantd: unknown key"):
        ReviewerRates.from_dict({**data, "plantd": 3}, subject="c.json")
    del data["planted"]
    with pytest.raises(FormatError, match=r"c\.json: planted: missing"):
        ReviewerRates.from_dict(data, subject="c.json")


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_both_parts_add_up_to_delta(confidence: float) -> None:
    draw, reviewers = split_confidence(confidence)
    assert (1 - draw) + (1 - reviewers) == pytest.approx(1 - confidence)
    assert 0.5 < draw < reviewers < 1


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1, math.nan])
def test_a_confidence_outside_0_1_is_not_split(confidence: float) -> None:
    with pytest.raises(InputError, match="confidence is"):
        split_confidence(confidence)


@pytest.mark.parametrize("false_alarms", [0.0, 0.01])
@pytest.mark.parametrize(("sensitivity", "planted"), [(0.98, 60), (0.85, 60), (0.85, 12)])
def test_the_whole_promise_holds(sensitivity: float, planted: int, false_alarms: float) -> None:
    """Plants give L at δ₂, the audit D⁺ at δ₁: what is left is larger than the limit in at most δ of all runs."""
    random = np.random.default_rng(round(1000 * sensitivity) + planted)
    population, audited, delta, runs = 2000, 500, 0.1, 3000
    draw, reviewers = split_confidence(1 - delta)
    caught = random.binomial(planted, sensitivity, runs)
    measured = [
        ReviewerRates(planted=planted, planted_caught=n, confidence=reviewers).sensitivity for n in range(planted + 1)
    ]
    for bad in (10, 40):
        held = random.hypergeometric(bad, population - bad, audited, runs)
        found = random.binomial(held, sensitivity)
        called = found + random.binomial(audited - held, false_alarms)
        false = sum(
            residual_bound(k, audited, population, draw, sensitivity=measured[n]) < (bad - truly) / population - 1e-12
            for k, n, truly in zip(called.tolist(), caught.tolist(), found.tolist(), strict=True)
        )
        assert false <= delta * runs + 3 * math.sqrt(runs * delta * (1 - delta))


def test_without_plants_the_promise_would_break() -> None:
    """The same draws, taken as if the reviewers overlooked nothing: limits that are too small far too often."""
    random = np.random.default_rng(3)
    held = random.hypergeometric(60, 1940, 500, 2000)
    found = random.binomial(held, 0.7).tolist()
    rates = ReviewerRates(planted=60, planted_caught=42, confidence=0.98)
    assert np.mean([residual_bound(k, 500, 2000, 0.9) < (60 - k) / 2000 for k in found]) > 0.3
    assert (
        np.mean([residual_bound(k, 500, 2000, 0.9, sensitivity=rates.sensitivity) < (60 - k) / 2000 for k in found])
        < 0.1
    )
