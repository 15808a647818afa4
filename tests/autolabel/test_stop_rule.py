"""When the rounds end: the budget, the gain, and what stops nothing."""

from dataclasses import replace
from typing import Any

import pytest

from autolabel.errors import FormatError
from autolabel.formats.records import Record
from autolabel.planner import Forecast, Range
from autolabel.stop_rule import Cause, Stop, all_done, budget_left, nothing_left, stop_for_budget, stop_for_gain

SHARE = Range(0.1, 0.05, 0.2)
TEN_AN_HOUR = Forecast(
    reviews=120, unforeseen=0, bad=Range(5.0, 2.0, 9.0), gross=Range(20.0, 9.0, 40.0),
    seconds=Range(1800.0, 900.0, 3600.0), corpus_bad=SHARE, corpus_bad_after=SHARE, corpus_gross=SHARE,
    corpus_gross_after=SHARE, confidence=0.9, rounds=1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("budget", "opened", "total", "left"),
    [
        (40, 0, 0, 40),  # no limit
        (40, 900, 0, 40),
        (40, 0, 100, 40),
        (40, 60, 100, 40),
        (40, 61, 100, 39),  # the last round is cut
        (40, 100, 100, 0),
        (40, 130, 100, 0),  # somebody opened more than they were asked to
    ],
)
def test_a_round_opens_no_more_than_is_left(budget: int, opened: int, total: int, left: int) -> None:
    assert budget_left(budget, opened, total) == left
    stop = stop_for_budget(opened, total)
    assert (stop is not None) is (left == 0)
    if stop:
        assert (stop.cause, stop.reason) == (
            Cause.BUDGET, f"people opened {opened} of {total} poses (rounds.budget_total)"
        )  # fmt: skip


@pytest.mark.parametrize(("opened", "left"), [(0, 40), (60, 20), (61, 19), (98, 1), (99, 0), (100, 0), (130, 0)])
def test_a_task_that_two_people_open_costs_two_openings(opened: int, left: int) -> None:
    assert budget_left(40, opened, 100, people=2) == left
    assert (stop_for_budget(opened, 100, people=2) is None) is (left > 0)


@pytest.mark.parametrize(
    ("foretold", "least", "stops"),
    [
        (TEN_AN_HOUR, 0.0, False),  # any gain will do
        (TEN_AN_HOUR, 9.99, False),
        (TEN_AN_HOUR, 10.0, False),  # the price itself is worth paying
        (TEN_AN_HOUR, 10.1, True),
        (None, 1e9, False),  # nothing is known
        (replace(TEN_AN_HOUR, unforeseen=1), 1e9, False),  # what one of the poses brings is in no number
        (replace(TEN_AN_HOUR, bad=Range(0.0, 0.0, 1.0)), 0.001, True),
    ],
)
def test_rounds_end_where_the_next_one_buys_too_little(foretold: Forecast | None, least: float, stops: bool) -> None:
    assert (stop_for_gain(foretold, least) is not None) is stops


def test_the_reason_names_the_price() -> None:
    stop = stop_for_gain(TEN_AN_HOUR, 12)
    assert stop == Stop(
        Cause.GAIN, "the next 120 reviews should find 10 bad poses an hour, fewer than the 12 of rounds.least_gain"
    )
    assert TEN_AN_HOUR.bad_an_hour == 10
    assert replace(TEN_AN_HOUR, seconds=Range(0.0, 0.0, 0.0)).bad_an_hour == 0, "no reviews find nothing"
    assert "which is 10 bad poses an hour" in TEN_AN_HOUR.words()


@pytest.mark.parametrize("stop", [all_done(1), all_done(3), nothing_left(), stop_for_gain(TEN_AN_HOUR, 99)])
def test_a_stop_reads_back(stop: Stop) -> None:
    assert Stop.from_record(Record(stop.to_dict(), "stop", "round.json")) == stop


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"cause": "weather", "reason": "rain"}, "'weather', expected one of: count, budget, nothing, gain"),
        ({"cause": "gain"}, "reason"),
        ({}, "cause"),
        ("gain", "expected an object"),
    ],
)
def test_a_stop_that_cannot_be_read(told: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Stop.from_record(Record(told, "stop", "round.json"))


def test_a_forecast_reads_back_with_its_words() -> None:
    assert Forecast.from_dict({**TEN_AN_HOUR.to_dict(), "words": TEN_AN_HOUR.words()}) == TEN_AN_HOUR
