"""Figures are checked by what they draw: matplotlib's own objects are not asked, the SVG is."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

import pytest
from scipy.stats import binomtest

from autolabel.report.plots import (
    RANDOM,
    ROUTED,
    Plot,
    doubt,
    effort_curve,
    error_by_round,
    interval,
    p_bad_histogram,
)
from autolabel.report.rounds import Arm, Quality, Round, Score

SCORE = Score(0.9, tuple((i / 5000, i / 50_000) for i in range(1, 5001)), ((0.1, 0.12, 400), (0.8, 0.7, 20)))


def a_round(number: int, bad: float, random: float | None = None, n: int = 200) -> Round:
    def arm(share: float) -> Arm:
        quality = Quality(n, share, share / 3, 20 * share, 1 - share)
        return Arm(untouched=quality, test=quality)

    return Round(
        number=number,
        model="m",
        trained_on=10,
        counts={"accepted": 5},
        opened=50 * number,
        clicks=150 * number,
        routed=arm(bad),
        random=None if random is None else arm(random),
        score=SCORE,
        seconds={},
    )


def curves(plot: Plot, color: str, bars: bool = False) -> list[list[tuple[float, float]]]:
    """The points of each curve (or of each error bar) of a colour inside axes; y grows downwards."""
    paths = [
        element.attrib["d"]
        for panel in plot.panels
        for element in ET.fromstring(panel).iter("{http://www.w3.org/2000/svg}path")
        if f"stroke: {color}" in element.get("style", "")
        and "fill: none" in element.attrib["style"]
        and ("stroke-opacity" in element.attrib["style"]) == bars
        and "clip-path" in element.attrib
    ]
    return [[(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", path)] for path in paths]


ROUNDS = (a_round(0, 0.4, 0.4), a_round(1, 0.2, 0.3), a_round(2, 0.1, 0.25))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: error_by_round(ROUNDS),
        lambda: effort_curve(ROUNDS),
        lambda: doubt(SCORE, 0.02, title="t", caption="c"),
        lambda: p_bad_histogram([3, 2, 1]),
    ],
)
def test_figures_are_self_contained_xml(draw: Callable[[], Plot]) -> None:
    plot = draw()
    assert plot.title and plot.caption and plot.alt and plot.panels
    for panel in plot.panels:
        root = ET.fromstring(panel)
        links = [value for e in root.iter() for name, value in e.attrib.items() if name.endswith("href")]
        assert all(link.startswith("#") for link in links)
        assert b"<text" not in panel, "text depends on the fonts of whoever looks"
        assert float(root.attrib["width"].removesuffix("pt")) <= 4.5 * 72, "shown on a phone, it must be readable"


def test_figures_are_reproducible() -> None:
    assert error_by_round(ROUNDS).panels == error_by_round(ROUNDS).panels


def test_both_arms_are_drawn_to_scale_in_every_panel() -> None:
    plot = error_by_round(ROUNDS)
    for color, shares in ((ROUTED, (0.4, 0.2, 0.1)), (RANDOM, (0.4, 0.3, 0.25))):
        drawn = curves(plot, color)
        assert len(drawn) == 4
        for (x0, y0), (x1, y1), (x2, y2) in drawn:
            assert x1 - x0 == pytest.approx(x2 - x1)
            fall = (shares[0] - shares[1]) / (shares[1] - shares[2])
            assert (y1 - y0) / (y2 - y1) == pytest.approx(fall, rel=1e-3)
    points = [point for curve in curves(plot, ROUTED)[:2] for point in curve]
    for (x, y), ((x0, low), (x1, high)) in zip(points, curves(plot, ROUTED, bars=True), strict=True):
        assert x == x0 == x1
        assert high < y < low, "every share lies inside its own interval"
    top, below = curves(plot, RANDOM)[0], curves(plot, ROUTED)[0]
    assert top[0] == pytest.approx(below[0]), "both start alike, on the same axes"


def test_random_routing_is_left_out_where_it_was_not_tried() -> None:
    plot = error_by_round([a_round(0, 0.4), a_round(1, 0.2)])
    assert RANDOM not in b"".join(plot.panels).decode()
    assert [len(curve) for curve in curves(plot, ROUTED)] == [2, 2, 2, 2]


def test_the_figure_is_told_in_words() -> None:
    assert (
        "Untouched poses: 40.0 % bad and 8.0 px in round 0, 10.0 % and 2.0 px in round 2" in error_by_round(ROUNDS).alt
    )
    assert "From 0 to 100 poses opened" in effort_curve(ROUNDS).alt
    assert "Predicted 80 %, observed 70 % of 20." in doubt(SCORE, None, title="t", caption="c").alt


def test_unknown_truth_leaves_no_curve() -> None:
    known = a_round(1, 0.2)
    blank = Quality(0, math.nan, math.nan, math.nan, math.nan)
    empty = replace(known, routed=Arm(untouched=blank, test=blank))
    assert ROUTED not in b"".join(error_by_round([empty]).panels).decode()
    half = replace(known, routed=Arm(test=known.routed.test))
    assert len(curves(error_by_round([half, half]), ROUTED)) == 2  # bad and error of the test alone


def test_long_curves_are_thinned_to_what_the_eye_sees() -> None:
    plot = doubt(SCORE, 0.02, title="t", caption="c")
    assert len(b"".join(plot.panels)) < 130_000
    assert max(len(curve) for curve in curves(plot, ROUTED)) <= 200


def test_scores_without_bins_are_drawn() -> None:
    assert "bad poses: not known" in doubt(Score(math.nan, (), ()), 0.02, title="t", caption="c").alt


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (0, 200), (3, 200), (199, 200), (200, 200)])
def test_intervals_are_clopper_pearson(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(0.95, "exact")
    assert interval(hits / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_histogram_tells_how_many() -> None:
    plot = p_bad_histogram([60, 30, 10, 0])
    assert "100 scored poses" in plot.caption
    assert "half of them lie below 0.25" in plot.alt
