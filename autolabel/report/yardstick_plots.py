"""Figures of yardsticks: learning and forgetting, round by round, and what people's effort bought of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from autolabel.report.plots import MUTED, ROUTED, Axes, Plot, panels
from autolabel.report.yardstick import PCK, Reading, Yardstick

_LOOKS = ((ROUTED, "o", "solid"), ("#17804a", "s", (0, (4, 2))), ("#7b4ab8", "D", (0, (1, 1.5))))
"""Colour, marker and dash of one yardstick after the other."""

_GAINED, _LOST = "#17804a", "#b4232a"

Value = Callable[[Reading], float]
Ends = Callable[[Reading], tuple[float, float] | None]


def learning(yardsticks: Sequence[Yardstick]) -> Plot:
    """PCK and bad poses by round, a line for each yardstick.

    Args:
        yardsticks: At least one.
    """

    def draw(axes: Axes, name: str, value: Value, ends: Ends) -> None:
        _lines(axes, yardsticks, lambda r: r.round, value, ends)
        axes.set_title(name)
        axes.set_xlabel("network in force after round")
        axes.set_ylabel("%")
        axes.set_xticks(sorted({r.round for y in yardsticks for r in y.readings}))

    return Plot(
        title="Learning",
        caption=" ".join(f"{_capital(y.name)}: {y.what}, {y.people:,} people." for y in yardsticks)
        + " Bars: 95 % intervals, images drawn anew. All networks place the same poses, so that a line moves only if "
        "the networks differ.",
        alt=" ".join(map(_told, yardsticks)),
        panels=panels(
            [
                partial(draw, name=f"PCK@{PCK}: joints within a tenth of the box", value=_pck, ends=_pck_ends),
                partial(draw, name="Bad poses", value=_bad, ends=_bad_ends),
            ]
        ),
    )


def forgetting(yardstick: Yardstick) -> Plot:
    """Mean OKS by round, and how many people the first network had right and a later one has not.

    Args:
        yardstick: With at least two readings.
    """
    rounds = [r.round for r in yardstick.readings]

    def oks(axes: Axes) -> None:
        _line(axes, rounds, yardstick, _oks, _oks_ends, _LOOKS[0])
        first = _oks(yardstick.first)
        axes.axhline(first, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        axes.set_title("Mean OKS (dotted: the first network)")
        axes.set_xlabel("network in force after round")
        axes.set_xticks(rounds)

    def changed(axes: Axes) -> None:
        axes.bar(rounds, [r.gained for r in yardstick.readings], width=0.5, color=_GAINED, label="right now only")
        axes.bar(rounds, [-r.lost for r in yardstick.readings], width=0.5, color=_LOST, label="right at first only")
        axes.axhline(0, color=MUTED, linewidth=0.8)
        most = max((max(r.gained, r.lost) for r in yardstick.readings), default=0)
        axes.set_ylim(-1.25 * max(most, 1), 1.6 * max(most, 1))
        for r in yardstick.readings[1:]:
            for text, y, color, side in ((f"+{r.gained}", r.gained, _GAINED, 1), (f"−{r.lost}", -r.lost, _LOST, -1)):
                axes.annotate(text, (r.round, y), xytext=(0, 3 * side), textcoords="offset points", ha="center",
                              va="bottom" if side > 0 else "top", fontsize=8, color=color)  # fmt: skip
        axes.set_title("People, against the first network")
        axes.set_xlabel("network in force after round")
        axes.set_xticks(rounds)
        axes.legend(loc="upper left")

    last = yardstick.last
    return Plot(
        title="Forgetting",
        caption=f"{_capital(yardstick.name)}: {yardstick.what}, {yardstick.people:,} people. A network that learns "
        "from corrections may lose what it knew: the second figure counts people whose pose was good with the first "
        "network and is bad or missing now, and the reverse.",
        alt=f"Mean OKS {_oks(yardstick.first):.3f} with the network of round {yardstick.first.round}, {_oks(last):.3f} "
        f"with that of round {last.round}: {last.lost:,} people lost, {last.gained:,} gained.",
        panels=panels([oks, changed]),
    )


def effort_by_yardstick(yardsticks: Sequence[Yardstick], opened: Mapping[int, int]) -> Plot:
    """Bad poses of the networks against the poses that people had opened by then.

    Args:
        yardsticks: At least one.
        opened: By round, poses that people opened up to its end.
    """

    def draw(axes: Axes, name: str, value: Value, ends: Ends) -> None:
        _lines(axes, yardsticks, lambda r: opened[r.round], value, ends)
        axes.set_title(name)
        axes.set_ylabel("%")
        axes.set_xlabel("poses opened by people, so far")

    return Plot(
        title="What effort taught the networks",
        caption="Each point is a round's network on poses that no network learns from. The audit teaches nothing and "
        "is not in this figure.",
        alt=" ".join(
            f"{_capital(y.name)}: {100 * _bad(y.first):.1f} % bad after {opened[y.first.round]:,} opened poses, "
            f"{100 * _bad(y.last):.1f} % after {opened[y.last.round]:,}."
            for y in yardsticks
        ),
        panels=panels(
            [
                partial(draw, name="Bad poses", value=_bad, ends=_bad_ends),
                partial(draw, name=f"PCK@{PCK}", value=_pck, ends=_pck_ends),
            ]
        ),
    )


def _lines(
    axes: Axes, yardsticks: Sequence[Yardstick], where: Callable[[Reading], int], value: Value, ends: Ends
) -> None:
    """A line for each yardstick, beside each other by a hair, so that no interval covers another."""
    places = [where(r) for yardstick in yardsticks for r in yardstick.readings]
    hair = 0.02 * (max(places) - min(places))
    for i, (yardstick, look) in enumerate(zip(yardsticks, _LOOKS, strict=False)):
        aside = hair * (i - (len(yardsticks) - 1) / 2)
        _line(axes, [where(r) + aside for r in yardstick.readings], yardstick, value, ends, look)
    if len(yardsticks) > 1:
        axes.margins(y=0.28)
        axes.legend(loc="upper left", ncols=len(yardsticks))


def _line(
    axes: Axes, x: Sequence[float], yardstick: Yardstick, value: Value, ends: Ends, look: tuple[str, str, object]
) -> None:
    """Values with their intervals; shares in percent."""
    color, marker, dash = look
    scale = 1.0 if value is _oks else 100.0
    axes.plot(x, [scale * value(r) for r in yardstick.readings], color=color, marker=marker, linestyle=dash,
              label=yardstick.name)  # fmt: skip
    for at, reading in zip(x, yardstick.readings, strict=True):
        if (found := ends(reading)) is not None:
            axes.vlines(at, scale * found[0], scale * found[1], color=color, alpha=0.5, linewidth=1.3)
    axes.margins(x=0.1)


def _told(yardstick: Yardstick) -> str:
    first, last = yardstick.first, yardstick.last
    return (
        f"{_capital(yardstick.name)}: PCK@{PCK} {100 * _pck(first):.1f} % with the network of round {first.round}, "
        f"{100 * _pck(last):.1f} % with that of round {last.round}; bad poses {100 * _bad(first):.1f} %, then "
        f"{100 * _bad(last):.1f} %."
    )


def _pck(reading: Reading) -> float:
    return _known(reading.evaluation.pck.get(PCK))


def _bad(reading: Reading) -> float:
    return _known(reading.evaluation.bad_rate)


def _oks(reading: Reading) -> float:
    return _known(reading.evaluation.mean_oks)


def _pck_ends(reading: Reading) -> tuple[float, float] | None:
    return _ends(reading, "pck", PCK)


def _bad_ends(reading: Reading) -> tuple[float, float] | None:
    return _ends(reading, "bad_rate")


def _oks_ends(reading: Reading) -> tuple[float, float] | None:
    return _ends(reading, "mean_oks")


def _ends(reading: Reading, *name: str) -> tuple[float, float] | None:
    found = reading.interval(*name)
    return None if found is None else (found["low"], found["high"])


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
