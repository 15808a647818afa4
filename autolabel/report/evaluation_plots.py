"""The pictures that ``autolabel evaluate --out`` leaves beside ``metrics.json``: PNG, for reports and reviews.

Blue are the poses that are measured, orange those they are compared with. Lists of keypoints break into columns, so
that 133 of them stay readable; the dot beside a keypoint's name has its side's colour, as in drawn skeletons.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autolabel.average_precision import THRESHOLDS, by_threshold
from autolabel.bootstrap import Draws, Ratios, percentiles
from autolabel.evaluate_numbers import AUC_LIMITS, over_lengths, sums_by_cluster
from autolabel.evaluate_pair import Difference, PairedComparison, Verdict
from autolabel.evaluate_people import Measured
from autolabel.evaluate_result import Evaluation, describe
from autolabel.lengths import counted_in_pckh
from autolabel.report.plots import INK, MUTED, RANDOM, ROUTED, Axes, Figure, left_of_axis, styled_figure
from autolabel.skeleton import SIDE_COLORS, Skeleton
from autolabel.taxonomy import STATES, State

PLOTS = ("pck.png", "oks.png", "taxonomy.png", "errors.png", "comparison.png", "changes.png")
"""All that :func:`draw` may make; the last two only of a comparison."""

_THIS, _OTHER = ROUTED, RANDOM
_DPI = 144
_POINTS = 61
_ROWS = 45
"""Keypoints in a column of a picture."""

_LEAST_PX = 0.1
"""Smaller errors are drawn as this: the axis of errors is logarithmic."""

_ROW = 0.21
"""Inches a keypoint."""

_STATE_COLORS: Mapping[State, str] = {
    State.GOOD: "#cfe3d4",
    State.JITTER: "#f2c14e",
    State.INVERSION: "#8e5ea2",
    State.SWAP: "#2f8fbf",
    State.MISS: "#b5322f",
}
_VERDICT_COLORS = {Verdict.BETTER: "#1d7a3e", Verdict.WORSE: "#b5322f", Verdict.UNDECIDED: "#9aa6b2"}

Floats = NDArray[np.float64]


def draw(
    measured: Measured,
    evaluation: Evaluation,
    other: Measured | None = None,
    comparison: PairedComparison | None = None,
) -> dict[str, bytes]:
    """All pictures that the numbers allow, as PNG by file name.

    Args:
        measured: The poses.
        evaluation: Their numbers.
        other: The poses they are compared with.
        comparison: What came of it.
    """
    pictures = {
        "pck.png": pck_curves(measured, evaluation, other),
        "oks.png": oks_and_precision(measured, other),
        "taxonomy.png": taxonomy_bars(evaluation, measured.skeleton),
        "errors.png": keypoint_errors(measured, evaluation),
    }
    if comparison:
        pictures["comparison.png"] = differences(comparison)
        pictures["changes.png"] = keypoint_changes(comparison, measured.skeleton)
    return pictures


def pck_curves(measured: Measured, evaluation: Evaluation, other: Measured | None = None) -> bytes:
    """The share of keypoints within a part of each length, a panel a length, with intervals where there are any."""
    titles = {"pck": "PCK: longer side of the box", "pckh": "PCKh: head", "pck_torso": "torso PCK: torso"}
    shown = [name for name, length in evaluation.lengths.items() if length.measurable] or ["pck"]
    intervals = evaluation.intervals
    with styled_figure(3.9 * len(shown) + 0.6, 3.6, 1, len(shown)) as (figure, grid):
        for axes, name in zip(grid[0], shown, strict=True):
            at = np.linspace(0, AUC_LIMITS[name], _POINTS, dtype=np.float64)
            curve = _curve(measured, name, at)
            if intervals and intervals.values:
                draws = Draws(intervals.clusters, intervals.resamples, intervals.seed)
                low, high = percentiles(draws.of(curve))
                axes.fill_between(at, 100 * low, 100 * high, color=_THIS, alpha=0.18, linewidth=0)
            axes.plot(at, 100 * _once(curve), color=_THIS, label="these poses")
            if other:
                axes.plot(at, 100 * _once(_curve(other, name, at)), color=_OTHER, linestyle=(0, (4, 2)), label="other")
            axes.set(xlim=(0, at[-1]), ylim=(0, 100), xlabel="distance, as a part of the length")
            axes.set_xticks(at[::15], [f"{t:.3g}" for t in at[::15]])
            axes.set_title(titles[name])
        grid[0][0].set_ylabel("labelled keypoints within it, %")
        if other:
            grid[0][0].legend(loc="lower right")
        return _png(figure)


def oks_and_precision(measured: Measured, other: Measured | None = None) -> bytes:
    """How alike poses are, and AP and recall by the OKS that counts as right."""
    with styled_figure(9.6, 3.6, 1, 2) as (figure, grid):
        histogram, curves = grid[0]
        _oks_histogram(histogram, measured, other)
        sets = [(measured, _THIS, "")] + ([(other, _OTHER, " (other)")] if other else [])
        for one, color, suffix in sets:
            precision, recall = by_threshold(one.tables)
            curves.plot(THRESHOLDS, 100 * precision, color=color, marker="o", label=f"AP{suffix}")
            curves.plot(
                THRESHOLDS, 100 * recall, color=color, marker="s", linestyle=(0, (4, 2)), label=f"recall{suffix}"
            )
        curves.set(ylim=(0, 102), xlabel="OKS from which a pose is right", ylabel="%", xticks=THRESHOLDS[::2])
        curves.set_title("AP and recall by threshold")
        curves.legend()
        return _png(figure)


def taxonomy_bars(evaluation: Evaluation, skeleton: Skeleton) -> bytes:
    """What kinds of error each keypoint has, as shares of 100 %."""
    columns = _columns(skeleton)
    with styled_figure(4.8 * len(columns) + 1.2, _height(columns) + 0.6, 1, len(columns)) as (figure, grid):
        for axes, rows in zip(grid[0], columns, strict=True):
            _keypoint_axis(axes, skeleton, rows)
            left = np.zeros(len(rows))
            for state in STATES:
                name = state.name.lower()
                quality = [evaluation.keypoints[skeleton.keypoints[k]] for k in rows]
                share = 100 * np.array([q.taxonomy["shares"][name] or 0.0 for q in quality])
                axes.barh(range(len(rows)), share, 0.78, left=left, color=_STATE_COLORS[state], label=name)
                left += share
            axes.set(xlim=(0, 100), xlabel="keypoints of matched people, %")
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(STATES))
        return _png(figure)


def keypoint_errors(measured: Measured, evaluation: Evaluation) -> bytes:
    """Pixel error and gross rate of each keypoint."""
    skeleton, error = measured.skeleton, measured.people.error
    columns = _columns(skeleton)
    with styled_figure(6.6 * len(columns) + 0.6, _height(columns) + 0.4, 1, 2 * len(columns)) as (figure, grid):
        for rows, pixels, gross in zip(columns, grid[0][::2], grid[0][1::2], strict=True):
            _keypoint_axis(pixels, skeleton, rows)
            _spreads(pixels, [error[~np.isnan(error[:, k]), k] for k in rows])
            pixels.set_xscale("log")
            pixels.xaxis.set_major_formatter(_without_sign)
            pixels.set_xlabel("error, px: median, quarters, 5 to 95 %")
            _keypoint_axis(gross, skeleton, rows, named=False)
            _gross_bars(gross, evaluation, [skeleton.keypoints[k] for k in rows])
        _same_limits(grid[0][::2])
        _same_limits(grid[0][1::2])
        return _png(figure)


def differences(comparison: PairedComparison) -> bytes:
    """Every number's difference with its interval, better or worse by colour; shares and pixels apart."""
    shown = [d for d in comparison.differences if d.difference is not None]
    pixels = [d for d in shown if describe(d.name).unit]
    shares = [d for d in shown if not describe(d.name).unit]
    panels = [(shares, 100.0, "points of 100")] + ([(pixels, 1.0, "pixels")] if pixels else [])
    height = _ROW * len(shown) + 1.6
    with styled_figure(7.2, height, len(panels), 1) as (figure, grid):
        grid[0][0].get_gridspec().set_height_ratios([len(panel) + 1 for panel, _, _ in panels])
        for [axes], (panel, scale, unit) in zip(grid, panels, strict=True):
            _forest(axes, panel, scale)
            axes.set_xlabel(f"difference to the other poses, {unit}")
        grid[0][0].set_title(f"{comparison.confidence:.0%} intervals over {comparison.clusters} {comparison.unit}s")
        handles = [
            grid[0][0].scatter([], [], color=color, label=verdict.value) for verdict, color in _VERDICT_COLORS.items()
        ]
        figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
        return _png(figure)


def keypoint_changes(comparison: PairedComparison, skeleton: Skeleton) -> bytes:
    """How many of each keypoint were fixed, and how many broken."""
    columns = _columns(skeleton)
    counts = comparison.keypoints
    most = max([1, *(max(change.fixed, change.broken) for change in counts.values())])
    with styled_figure(4.8 * len(columns) + 1.2, _height(columns) + 0.6, 1, len(columns)) as (figure, grid):
        for axes, rows in zip(grid[0], columns, strict=True):
            _keypoint_axis(axes, skeleton, rows)
            changes = [counts[skeleton.keypoints[k]] for k in rows]
            _count_bars(axes, [change.fixed for change in changes], 1, Verdict.BETTER)
            _count_bars(axes, [change.broken for change in changes], -1, Verdict.WORSE)
            axes.axvline(0, color=INK, linewidth=0.8)
            axes.set_xlim(-1.18 * most, 1.18 * most)
            axes.xaxis.set_major_formatter(_without_sign)
            axes.set_xlabel("gross keypoints: broken (left), fixed (right)")
        return _png(figure)


def _curve(measured: Measured, name: str, at: Floats) -> Ratios:
    """The share of keypoints within each distance, by cluster."""
    part, clusters = over_lengths(measured)[name], measured.clusters
    counted = counted_in_pckh(measured.skeleton) if name == "pckh" else np.ones(part.shape[1], bool)
    part = part[:, counted]
    cluster = clusters.of[measured.people.image]
    within = np.stack([(part <= t).sum(axis=1) for t in at], axis=1)
    known = np.repeat((~np.isnan(part)).sum(axis=1, keepdims=True), len(at), axis=1)
    names = [(name, f"{t:g}") for t in at]
    above, below = (sums_by_cluster(values, cluster, clusters.count) for values in (within, known))
    return Ratios(names, above, below)


def _once(curve: Ratios) -> Floats:
    return curve.over(np.ones((1, len(curve.part))))[0]


def _oks_histogram(axes: Axes, measured: Measured, other: Measured | None) -> None:
    edges = np.linspace(0, 1, 21)
    missed = [int((~one.people.matched).sum()) for one in (measured, other) if one]
    oks = measured.people.oks
    axes.hist(oks[~np.isnan(oks)], edges, color=_THIS, edgecolor="white", linewidth=0.8, label="these poses")
    if other:
        before = other.people.oks
        axes.hist(before[~np.isnan(before)], edges, histtype="step", color=_OTHER, linewidth=1.6, label="other")
        axes.legend()
    axes.set(xlim=(0, 1), xlabel="OKS of matched people", ylabel="people")
    said = f"{missed[0]} missed" + (f", other {missed[1]}" if other else "")
    axes.set_title(f"OKS ({said})")
    axes.grid(axis="x", visible=False)


def _spreads(axes: Axes, errors: Sequence[Floats]) -> None:
    """Median, quarters and the middle 90 % of each row's errors."""
    known = {place: np.maximum(pixels, _LEAST_PX) for place, pixels in enumerate(errors) if len(pixels)}
    rows = np.array(list(known), np.float64)
    low, q1, middle, q3, high = (
        np.array([float(np.percentile(pixels, q)) for pixels in known.values()]) for q in (5, 25, 50, 75, 95)
    )
    axes.hlines(rows, low, high, color=_THIS, alpha=0.45, linewidth=1.2)
    axes.barh(rows, q3 - q1, 0.62, left=q1, color=_THIS, alpha=0.35)
    axes.vlines(middle, rows - 0.31, rows + 0.31, color=INK, linewidth=1.6)


def _count_bars(axes: Axes, counts: Sequence[int], way: int, verdict: Verdict) -> None:
    """Bars to the right (way 1) or to the left (-1), with their numbers."""
    axes.barh(range(len(counts)), [way * count for count in counts], 0.72, color=_VERDICT_COLORS[verdict])
    for place, count in enumerate(counts):
        if count:
            axes.annotate(
                f"{count}", (way * count, place), xytext=(3 * way, 0), textcoords="offset points",
                ha="left" if way > 0 else "right", va="center", fontsize=7, color=MUTED,
            ).set_in_layout(False)  # fmt: skip


def _same_limits(panels: Sequence[Axes]) -> None:
    ends = [axes.get_xlim() for axes in panels]
    for axes in panels:
        axes.set_xlim(min(low for low, _ in ends), max(high for _, high in ends))


def _gross_bars(axes: Axes, evaluation: Evaluation, keypoints: Sequence[str]) -> None:
    rates = [evaluation.keypoints[name].gross_rate for name in keypoints]
    known = [(place, 100 * rate) for place, rate in enumerate(rates) if rate is not None]
    axes.scatter([rate for _, rate in known], [place for place, _ in known], s=18, color=_THIS, zorder=3)
    if evaluation.intervals:
        found = [evaluation.intervals.of(("keypoints", name, "gross_rate")) for name in keypoints]
        ends = [(place, 100 * e["low"], 100 * e["high"]) for place, e in enumerate(found) if e]
        if ends:
            axes.hlines(*zip(*ends, strict=True), color=_THIS, alpha=0.6, linewidth=1.3)
    axes.set_xlim(left=0)
    axes.set_xlabel("gross, %" + (" (95 % interval)" if evaluation.intervals else ""))


def _forest(axes: Axes, shown: Sequence[Difference], scale: float) -> None:
    for place, d in enumerate(shown):
        color = _VERDICT_COLORS[d.verdict]
        if d.low is not None and d.high is not None:
            axes.hlines(place, scale * d.low, scale * d.high, color=color, linewidth=2.2)
        axes.scatter([scale * (d.difference or 0.0)], [place], s=24, color=color, zorder=3)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(shown)), [describe(d.name).label for d in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def _keypoint_axis(axes: Axes, skeleton: Skeleton, rows: Sequence[int], *, named: bool = True) -> None:
    """Keypoints from top to bottom, each with a dot in its side's colour."""
    labels = [skeleton.keypoints[k].replace("_", " ") for k in rows]
    axes.set_yticks(range(len(rows)), labels if named else ["" for _ in rows])
    axes.tick_params(axis="y", length=0, pad=11 if named else 4, labelcolor=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    if named:
        colors = [SIDE_COLORS[skeleton.sides[k]] for k in rows]
        left = left_of_axis(axes, 6)
        dots = axes.scatter([0] * len(rows), range(len(rows)), s=16, c=colors, transform=left, clip_on=False)
        dots.set_in_layout(False)


def _columns(skeleton: Skeleton) -> list[range]:
    """The keypoints in columns of about equal length."""
    k = skeleton.num_keypoints
    each = -(-k // -(-k // _ROWS))
    return [range(start, min(start + each, k)) for start in range(0, k, each)]


def _height(columns: Sequence[range]) -> float:
    return max(2.2, _ROW * len(columns[0]) + 0.9)


def _without_sign(value: float, _: int | None = None) -> str:
    return f"{abs(value):g}"


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
