"""What work cost: the board, the numbers in a large font, and the figure of what was found."""

import pytest

from autolabel.report.answers import Answered, Work
from autolabel.report.cost_board import cost_table, cost_tiles, duration, total, yield_plot
from autolabel.reviewer_quality import Share

ROUND = Work("round 1", opened=40, clicks=100, seconds=400.0, timed=40, ordinary=40, kept=10, bad=20, fixed=60,
             fixed_timed=60, fixing_seconds=390.0, drawn=10, drawn_bad=2)  # fmt: skip
AUDIT = Work("audit", opened=30, clicks=30, ordinary=20, kept=19, bad=1, fixed=1)


CAUGHT = Share(9, 10)


def answered(*work: Work, caught: Share = CAUGHT) -> Answered:
    return Answered(work, None, 0, caught, {}, sum(w.ordinary for w in work), (), ())


def plain(cells: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(cell.replace("\u202f", " ") for cell in cells)


def test_the_board_has_a_row_a_step_and_one_for_all() -> None:
    first, audit, everything = map(plain, cost_table(answered(ROUND, AUDIT)).rows)
    assert first == ("round 1", "40", "100", "25 %", "20", "60", "6 min 40 s", "10.0", "6.5")
    assert audit == ("audit", "30", "30", "95 %", "1", "1", "–", "–", "–"), "what answers do not tell is a dash"
    assert everything[:3] == ("all", "70", "130")
    assert len(cost_table(answered(ROUND)).rows) == 1


def test_large_numbers_are_told_with_what_they_rest_on() -> None:
    tiles = {tile.label: plain((tile.value, tile.note)) for tile in cost_tiles(answered(ROUND), (30, 120), (500, 40.0))}
    assert tiles["Accepted without a touch"] == ("25 %", "30 of 120 poses")
    assert tiles["Time of a fixed keypoint"] == ("6.5 s", "60 keypoints changed in 6 min 30 s of people's time")
    assert tiles["Opened and left as it was"] == ("25 %", "10 of 40 opened poses")
    assert tiles["Planted errors found"] == ("90 %", "9 of 10; 95 % interval 55 to 100 %")
    assert tiles["Images a second"] == ("12.5", "500 images predicted in 40 s")


@pytest.mark.parametrize("told", [answered(caught=Share(0, 0)), None])
def test_nothing_known_is_no_number(told: Answered | None) -> None:
    assert cost_tiles(told, None, None) == ()


def test_the_figure_tells_what_was_found_and_what_random_draws_had() -> None:
    plot = yield_plot(answered(ROUND, AUDIT))
    assert len(plot.panels) == 2
    assert plot.alt == ("Round 1: 20 bad among 40 opened, 2 among 10 drawn at random. Audit: 1 bad among 20 opened.")
    assert b"c8590a" in plot.panels[0] and b"c8590a" in plot.panels[1]
    nothing_drawn = yield_plot(answered(AUDIT))
    assert b"c8590a" not in nothing_drawn.panels[0] + nothing_drawn.panels[1]


def test_steps_add_up() -> None:
    both = total([ROUND, AUDIT])
    assert (both.step, both.opened, both.bad, both.seconds) == ("all", 70, 21, 400.0)


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.254, "3.25 s"), (59.4, "59.4 s"), (65, "1 min 05 s"), (3725, "1 h 02 min")]
)
def test_times_are_told_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
