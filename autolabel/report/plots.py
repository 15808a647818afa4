"""The report's figures, as SVG with its text drawn as outlines: they look the same in every browser.

Blue is our routing, orange random routing; both differ in dash and marker too, so that nobody needs the
colours. Shares are shown in percent, errors in pixels, and what is measured says on how many poses.
"""

import io
import math
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast

import numpy as np

from autolabel.certify import upper_bound
from autolabel.report.rounds import Arm, Quality, Round, Score

Axes: TypeAlias = Any
Figure: TypeAlias = Any
"""matplotlib's; its own hints leave most keyword arguments unknown, which a strict checker refuses."""

INK, MUTED, RULE = "#17222e", "#56636f", "#dfe5ea"
ROUTED, RANDOM = "#0f6fca", "#c8590a"

_PANEL = 4.3
"""Inches of a panel's width: its text is readable when it is shown 350 pixels wide, and not too large at 500."""

_POINTS = 200
"""Points of a curve that are drawn; the eye sees no more on a figure of this width."""

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": "#9aa6b2",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.linewidth": 1.9,
    "lines.markersize": 5.5,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "autolabel",
}


@dataclass(frozen=True)
class Plot:
    """A figure.

    Attributes:
        title: What it shows, as a heading.
        caption: How to read it.
        alt: What it says, for those who cannot see it.
        panels: The pictures, as SVG; beside each other where there is room, else below each other.
    """

    title: str
    caption: str
    alt: str
    panels: tuple[bytes, ...]


def error_by_round(rounds: Sequence[Round]) -> Plot:
    """Bad poses and pixel error round by round, of untouched poses and of the held-out test.

    Args:
        rounds: In order; something was measured in at least one.
    """
    x = [r.number for r in rounds]
    parts = _measured_parts(rounds)

    def draw(axes: Axes, title: str, part: Part, *, bad: bool) -> None:
        _arms(axes, rounds, x, part, (lambda q: 100 * q.bad) if bad else (lambda q: q.epe), interval=bad)
        axes.set_title(title)
        axes.set_ylabel("bad poses, %" if bad else "mean error, px")
        axes.set_xlabel("round (poses measured below)")
        axes.set_xticks(x, [f"{r.number}\nn = {_measured(part(r.routed))}" for r in rounds])
        _legend(axes, rounds)

    return Plot(
        title="Error, round by round",
        caption="Untouched poses are those that nobody opened; the test was never trained on. "
        "Bars: 95 % Clopper-Pearson interval of the share.",
        alt=_told(rounds),
        panels=panels(partial(draw, title=name, part=part, bad=bad) for bad in (True, False) for name, part in parts),
    )


def effort_curve(rounds: Sequence[Round]) -> Plot:
    """Bad poses against the poses that people opened.

    Args:
        rounds: In order; something was measured in at least one.
    """
    x = [r.opened for r in rounds]

    def draw(axes: Axes, title: str, part: Part) -> None:
        _arms(axes, rounds, x, part, lambda q: 100 * q.bad, interval=True)
        axes.set_title(title)
        axes.set_ylabel("bad poses, %")
        axes.set_xlabel("poses opened by people, so far")
        _legend(axes, rounds)

    return Plot(
        title="What effort bought",
        caption="Each point is a round. The lower and the further left, the less work for the same quality.",
        alt=f"From {x[0]:,} to {x[-1]:,} poses opened by people. {_told(rounds)}",
        panels=panels(partial(draw, title=title, part=part) for title, part in _measured_parts(rounds)),
    )


def doubt(score: Score, max_bad: float | None, *, title: str, caption: str) -> Plot:
    """Whether ``p_bad`` sorts poses well (risk against coverage) and means what it says (reliability).

    Args:
        score: What was measured.
        max_bad: The promised share, drawn as a line: as far as the curve stays below it, poses could be kept.
        title: Says of what, and when.
        caption: Says by what it was measured.
    """
    return Plot(
        title=title,
        caption=f"{caption} A point's area is its number of poses; bars and the band are 95 % Clopper-Pearson "
        "intervals, each by itself. A perfect probability lies on the diagonal.",
        alt=f"Area under the ROC curve for bad poses: {_auroc(score)}. "
        + " ".join(
            f"Predicted {100 * p:.0f} %, observed {100 * rate:.0f} % of {n:,}." for p, rate, n in score.reliability
        ),
        panels=panels(
            [partial(_risk_coverage, score=score, max_bad=max_bad), partial(_reliability, score=score)], height=3.1
        ),
    )


def p_bad_histogram(counts: Sequence[int]) -> Plot:
    """How the doubt is distributed over equal bins of 0..1."""
    total = sum(counts)
    edges = np.linspace(0, 1, len(counts) + 1)

    def draw(axes: Axes) -> None:
        axes.bar(
            edges[:-1], counts, width=1 / len(counts), align="edge", color=ROUTED, edgecolor="white", linewidth=0.8
        )
        axes.set_xlim(0, 1)
        axes.set_xlabel("p_bad, probability that the pose is bad")
        axes.set_ylabel("poses")
        axes.grid(axis="x", visible=False)

    middle = int(np.searchsorted(np.cumsum(counts), total / 2)) if total else 0
    return Plot(
        title="Doubt",
        caption=f"p_bad of {total:,} scored poses.",
        alt=f"Histogram of p_bad over {total:,} poses; half of them lie below {edges[middle + 1]:.2f}.",
        panels=panels([draw]),
    )


def panels(draws: Iterable[Callable[[Axes], None]], height: float = 2.9) -> tuple[bytes, ...]:
    """Figures of one pair of axes each, as SVG: wide enough for a phone, and two of them for a desk.

    Args:
        draws: Each draws into the axes that it is given.
        height: Inches; the width is always the same, so that all text is.
    """
    made: list[bytes] = []
    for draw in draws:
        with styled_figure(_PANEL, height, 1, 1) as (figure, ((axes,),)):
            draw(axes)
            made.append(_svg(figure))
    return tuple(made)


def interval(share: float, n: int) -> tuple[float, float]:
    """Two-sided 95 % Clopper-Pearson interval of a share that was measured on ``n``."""
    hits = round(share * n)
    return 1 - upper_bound(n - hits, n, None, 0.975), upper_bound(hits, n, None, 0.975)


Part = Callable[[Arm], Quality | None]

_PARTS: tuple[tuple[str, Part], ...] = (
    ("Untouched poses", lambda arm: arm.untouched),
    ("Held-out test", lambda arm: arm.test),
)


def _arms(
    axes: Axes,
    rounds: Sequence[Round],
    x: Sequence[int],
    part: Part,
    value: Callable[[Quality], float],
    *,
    interval: bool = False,
) -> None:
    """Both arms as lines; random routing first, so that ours lies on top."""
    looks = (("random routing", RANDOM, "s", (0, (4, 2))), ("routed by doubt", ROUTED, "o", "solid"))
    for name, color, marker, dash in looks:
        chosen = [r.routed if name == "routed by doubt" else r.random for r in rounds]
        known = [
            (at, q) for at, arm in zip(x, chosen, strict=True) if arm and (q := part(arm)) and not math.isnan(value(q))
        ]
        if not known:
            continue
        places, measured = zip(*known, strict=True)
        axes.plot(places, [value(q) for q in measured], color=color, marker=marker, linestyle=dash, label=name)
        if interval:
            _bars(axes, places, measured, color)
    axes.margins(x=0.08)
    axes.set_ylim(0, 1.15 * axes.get_ylim()[1])


def _bars(axes: Axes, x: Sequence[int], measured: Sequence[Quality], color: str) -> None:
    for at, quality in zip(x, measured, strict=True):
        if quality.poses:
            low, high = interval(quality.bad, quality.poses)
            axes.vlines(at, 100 * low, 100 * high, color=color, alpha=0.6, linewidth=1.3)


def _risk_coverage(axes: Axes, score: Score, max_bad: float | None) -> None:
    curve = np.array(score.risk_coverage).reshape(-1, 2)
    shown = np.unique(np.linspace(0, max(len(curve) - 1, 0), _POINTS).astype(int))
    coverage, risk = 100 * curve[shown[: len(curve)]].T
    axes.plot(coverage, risk, color=ROUTED)
    total = sum(n for _, _, n in score.reliability)
    ends = [
        interval(share / 100, max(round(kept * total / 100), 1)) for kept, share in zip(coverage, risk, strict=True)
    ]
    low, high = 100 * np.array(ends).reshape(-1, 2).T
    axes.fill_between(coverage, low, high, color=ROUTED, alpha=0.13, linewidth=0)
    axes.set(xlim=(0, 100), xlabel="poses kept, least doubtful first, %", ylabel="bad among them, %")
    if max_bad is not None:
        _promised(axes, max_bad)
    axes.set_ylim(0, max(1.3 * float(risk.max(initial=1.0)), 130 * (max_bad or 0)))
    axes.set_title(f"Risk against coverage (AUROC of bad: {_auroc(score)})")


def _auroc(score: Score) -> str:
    return "not known" if math.isnan(score.auroc_bad) else f"{score.auroc_bad:.3f}"


def _reliability(axes: Axes, score: Score) -> None:
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
    most = max((n for _, _, n in score.reliability), default=1)
    for p, rate, n in score.reliability:
        if n:
            low, high = interval(rate, n)
            axes.vlines(100 * p, 100 * low, 100 * high, color=ROUTED, alpha=0.6, linewidth=1.3)
            axes.scatter(
                [100 * p],
                [100 * rate],
                s=12 + 110 * n / most,
                color=ROUTED,
                linewidths=0.8,
                edgecolors="white",
            )
    axes.set(
        xlim=(0, 100),
        ylim=(0, 100),
        xlabel="predicted: mean p_bad of the bin, %",
        ylabel="observed: bad poses, %",
    )
    axes.set_title("Reliability")


def _promised(axes: Axes, max_bad: float) -> None:
    axes.axhline(100 * max_bad, color=INK, linewidth=1, linestyle=(0, (1, 2)))
    axes.annotate(
        f"promised {100 * max_bad:.3g} %", (0.015, 100 * max_bad), xycoords=("axes fraction", "data"), color=INK,
        fontsize=7.5, ha="left", va="bottom", xytext=(0, 2), textcoords="offset points",
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip


def _legend(axes: Axes, rounds: Sequence[Round]) -> None:
    if any(r.random for r in rounds):
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="best")


def _measured_parts(rounds: Sequence[Round]) -> tuple[tuple[str, Part], ...]:
    """The parts whose truth is known in some round; there is at least one where these figures are drawn."""
    return tuple((title, part) for title, part in _PARTS if any(part(r.routed) for r in rounds))


def _measured(quality: Quality | None) -> str:
    return f"{quality.poses:,}" if quality else "0"


def _told(rounds: Sequence[Round]) -> str:
    """What the first and the last round say, in words."""
    told: list[str] = []
    for title, part in _PARTS:
        first, last = part(rounds[0].routed), part(rounds[-1].routed)
        if first and last:
            told.append(
                f"{title}: {100 * first.bad:.1f} % bad and {first.epe:.1f} px in round {rounds[0].number}, "
                f"{100 * last.bad:.1f} % and {last.epe:.1f} px in round {rounds[-1].number}."
            )
    return " ".join(told)


@contextmanager
def styled_figure(width: float, height: float, rows: int, columns: int) -> Generator[tuple[Figure, list[list[Axes]]]]:
    """A figure in our style, without matplotlib's global state; sizes in inches."""
    import matplotlib
    from matplotlib import figure as matplotlib_figure

    with cast("Any", matplotlib).rc_context(_STYLE):
        figure: Figure = matplotlib_figure.Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False).tolist()


def left_of_axis(axes: Axes, points: float) -> Any:
    """The transform of places so many points left of the axes' edge; y is in data."""
    from matplotlib.transforms import ScaledTranslation

    return axes.get_yaxis_transform() + ScaledTranslation(-points / 72, 0, axes.figure.dpi_scale_trans)


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
