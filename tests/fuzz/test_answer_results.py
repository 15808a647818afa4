"""A slice of the fuzzed annotation results; ``attack_many(10_000, seed)`` is the whole of it."""

from typing import Any

import pytest
from hypothesis import given, settings

from tests.fuzz.answer_results import SENT, Tally, attack, attack_many
from tests.fuzz.made_up_results import RESULTS


def test_broken_results_are_used_rightly_or_set_aside() -> None:
    tally = attack_many(400, "slice")
    assert tally.used > 100 and tally.aside > 100, "else the mutations are too tame or too wild"
    assert tally.changed > 20


@settings(max_examples=100, deadline=None)
@given(RESULTS)
def test_made_up_results_are_used_rightly_or_set_aside(result: list[Any]) -> None:
    attack(result, Tally())


@pytest.mark.parametrize("result", [[], SENT, [None], [[]], [{}], [{"id": 1}], [{"type": "keypointlabels"}]])
def test_plain_ones(result: list[Any]) -> None:
    attack(result, Tally())
