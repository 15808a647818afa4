"""Shares in words: three digits, and no limit looks better than it is."""

import pytest

from autolabel.percent import percent, percent_at_most, percent_confidence


@pytest.mark.parametrize(("share", "text"), [(0.02, "2 %"), (0.95, "95 %"), (0.0123456, "1.23 %"), (0, "0 %")])
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.013, "1.3 %"),
        (0.0130001, "1.31 %"),  # rounded to the nearest it would read 1.3
        (0.020004, "2.01 %"),
        (0.999001, "100 %"),
        (1e-7, "0.00001 %"),
    ],
)
def test_limits_are_rounded_up(limit: float, text: str) -> None:
    assert percent_at_most(limit) == text


@pytest.mark.parametrize(("confidence", "text"), [(0.95, "95 %"), (0.9999, "99.99 %"), (1 - 0.05 / 3, "98.3333 %")])
def test_confidences_keep_their_digits(confidence: float, text: str) -> None:
    assert percent_confidence(confidence) == text
