"""What the figures of learning, forgetting and effort draw and say."""

import xml.etree.ElementTree as ET

from autolabel.report.plots import Plot
from autolabel.report.yardstick_plots import effort_by_yardstick, forgetting, learning
from tests.autolabel.report.yardsticks import yardstick

TEST = yardstick({0, 1, 2, 3}, {3, 4}, {4})
KEPT = yardstick({0}, {0}, set(), name="answers kept from training")
BLUE, GREEN, RED = "#0f6fca", "#17804a", "#b4232a"


def drawn(plot: Plot, color: str) -> list[int]:
    """In how many shapes of each panel a colour is used."""
    return [sum(color in element.get("style", "") for element in ET.fromstring(panel).iter()) for panel in plot.panels]


def test_learning_draws_every_yardstick_and_tells_both_ends() -> None:
    plot = learning([TEST, KEPT])
    assert len(plot.panels) == 2
    assert all(drawn(plot, BLUE)) and all(drawn(plot, GREEN))
    assert "Held-out test: PCK@0.1 50.0 % with the network of round 0, 87.5 % with that of round 2" in plot.alt
    assert "Answers kept from training" in plot.alt and "8 people" in plot.caption
    alone = learning([TEST])
    assert not any(drawn(alone, GREEN))


def test_forgetting_counts_who_was_lost_beside_who_was_gained() -> None:
    plot = forgetting(TEST)
    assert "1 people lost, 4 gained" in plot.alt
    assert drawn(plot, RED)[1] and not drawn(plot, RED)[0]
    assert drawn(plot, GREEN)[1]


def test_effort_is_drawn_against_what_people_had_opened() -> None:
    plot = effort_by_yardstick([TEST], {0: 0, 1: 1200, 2: 2400})
    assert "50.0 % bad after 0 opened poses, 12.5 % after 2,400" in plot.alt


def test_figures_are_the_same_every_time() -> None:
    assert forgetting(TEST).panels == forgetting(TEST).panels
