"""A training's curves as one picture, drawn from its ``metrics.jsonl``.

The file has one JSON object a line: ``step`` and numbers by name. Loss, PCK, learning rate and throughput come
first; every further number, such as a presence head's loss, has a panel of its own. Numbers that start with
``validation_`` were measured on people the training never saw and are drawn beside the training's own of that name.
"""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import FormatError, InputError
from autolabel.report.picture_file import write_picture
from autolabel.report.plots import INK, MUTED, RANDOM, ROUTED, Axes, Figure, styled_figure

CURVES = "curves.png"

_VALIDATION = "validation_"
_ACRONYMS = {"ap", "auroc", "ece", "oks", "pck"}
_DPI = 144
_COLORS = (ROUTED, RANDOM, "#1d7a3e", "#8e5ea2", "#b5322f", "#2f8fbf")
_FEW = 25
"""Fewer points are marked one by one and not smoothed."""

_MOST_FURTHER = 8
"""Further panels that are drawn; the names of what is left over are told."""

_LOG_FROM = 10.0
"""A loss that spans more than this factor has a logarithmic axis."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """One number over the steps.

    Attributes:
        name: Its key in the file.
        steps: (n,) ascending, n from 1.
        values: (n,) finite or NaN.
    """

    name: str
    steps: Floats
    values: Floats

    @property
    def validates(self) -> bool:
        """Whether it was measured on people that are not trained on."""
        return self.name.startswith(_VALIDATION)


@dataclass(frozen=True)
class Panel:
    """What is drawn in one pair of axes.

    Attributes:
        title: Its heading.
        unit: What its height means; empty where the title says it.
        names: Curves in it, in the order of the legend.
        logarithmic: Whether it may have a logarithmic axis.
        best: The curve whose highest point is marked.
    """

    title: str
    unit: str
    names: tuple[str, ...]
    logarithmic: bool = False
    best: str = ""


def plot_training(metrics: Path, folder: Path) -> list[Path]:
    """Draw ``curves.png``.

    Args:
        metrics: The ``metrics.jsonl`` of a training, also of one that still runs or never came to write it.
        folder: Where to; made if it is not there. An older picture is replaced whole.

    Returns:
        The pictures; none where nothing is measured yet.

    Raises:
        InputError: The file cannot be read.
        FormatError: A line that was written whole is no JSON object with a step; says which.
    """
    curves = read_curves(metrics)
    if not curves:
        return []
    path, drawn = folder / CURVES, _drawn(curves)
    write_picture(path, lambda file: file.write_bytes(drawn))
    return [path]


def read_curves(metrics: Path) -> dict[str, Curve]:
    """The numbers of a ``metrics.jsonl`` by name.

    Half a line at the end, which a killed training leaves, is passed over, and so is what is no number. Of two lines
    of a step the later one counts.

    Raises:
        InputError: The file cannot be read.
        FormatError: A line that was written whole is no JSON object with a step.
    """
    try:
        text = metrics.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:  # a training that stopped before its first line has an error of its own to tell
        return {}
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", subject=str(metrics)) from error
    found: dict[str, dict[float, float]] = {}
    *whole, half = text.split("\n")
    for number, line in enumerate(whole, 1):
        if line.strip():
            _add(found, _record(line, number, metrics))
    if _is_record(half):  # whole but for its line break
        _add(found, json.loads(half))
    return {name: _curve(name, points) for name, points in found.items()}


def panels(names: Sequence[str]) -> tuple[tuple[Panel, ...], tuple[str, ...]]:
    """What is drawn where.

    Args:
        names: Of all curves.

    Returns:
        The panels, of which none is empty, and the names that found no place.
    """
    scores = [name for name in names if _base(name) in ("pck", "score") or _base(name).startswith("pck_")]
    if {"validation_pck", "validation_score"} <= set(scores):
        scores.remove("validation_score")  # with one dataset it is its PCK
    judged = "validation_score" if "validation_score" in scores else "validation_pck"
    first = (
        Panel("Loss", "", _present(names, ("loss", "heatmap_loss", "validation_loss")), logarithmic=True),
        Panel("PCK", "%", tuple(sorted(scores, key=lambda name: name.startswith(_VALIDATION))), best=judged),
        Panel("Learning rate", "", _present(names, ("learning_rate",))),
        Panel("Throughput", "crops a second", _present(names, ("crops_per_second",))),
    )
    placed = {name for panel in first for name in panel.names} | {"validation_score"}
    further: dict[str, list[str]] = {}
    for name in names:
        if name not in placed:
            further.setdefault(_base(name), []).append(name)
    shown = [Panel(_heading(base), "", tuple(own), logarithmic=base.endswith("loss")) for base, own in further.items()]
    left = tuple(name for own in list(further.values())[_MOST_FURTHER:] for name in own)
    return tuple(panel for panel in (*first, *shown[:_MOST_FURTHER]) if panel.names), left


def _present(names: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in wanted if name in names)


def _base(name: str) -> str:
    return name.removeprefix(_VALIDATION)


def _heading(name: str) -> str:
    """A key as a heading: ``presence_auroc`` is "Presence AUROC"."""
    words = [word.upper() if word in _ACRONYMS else word for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def _is_record(line: str) -> bool:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and _number(cast("dict[str, Any]", data).get("step")) is not None


def _record(line: str, number: int, metrics: Path) -> dict[str, Any]:
    if not _is_record(line):
        raise FormatError("is no JSON object with a step", record=f"line {number}", subject=str(metrics))
    return json.loads(line)


def _add(found: dict[str, dict[float, float]], record: Mapping[str, Any]) -> None:
    step = float(record["step"])
    for name, given in record.items():
        value = _number(given)
        if name != "step" and value is not None:
            found.setdefault(name, {})[step] = value if math.isfinite(value) else math.nan


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _curve(name: str, points: Mapping[float, float]) -> Curve:
    steps = sorted(points)
    return Curve(name, np.array(steps, np.float64), np.array([points[step] for step in steps], np.float64))


def _drawn(curves: Mapping[str, Curve]) -> bytes:
    shown, left = panels(tuple(curves))
    columns = min(2 if len(shown) <= 4 else 3, max(len(shown), 1))
    rows = max(math.ceil(len(shown) / columns), 1)
    last = max(curve.steps[-1] for curve in curves.values())
    with styled_figure(4.6 * columns, 2.75 * rows + 0.3 * bool(left), rows, columns) as (figure, grid):
        every = [axes for row in grid for axes in row]
        for axes, panel in zip(every, shown, strict=False):
            _panel(axes, panel, [curves[name] for name in panel.names], last)
        for axes in every[len(shown) :]:
            axes.set_axis_off()
        if left:
            figure.supxlabel(f"not drawn: {', '.join(left)}", fontsize=7.5, color=MUTED)
        return _png(figure)


def _panel(axes: Axes, panel: Panel, curves: Sequence[Curve], last: float) -> None:
    factor = 100.0 if panel.unit == "%" else 1.0
    for curve, color in zip(curves, _colors(curves), strict=True):
        _line(axes, curve, factor, color)
        if curve.name == panel.best:
            _mark_best(axes, curve, factor)
    axes.set_title(panel.title)
    axes.set_xlabel("step")
    axes.set_ylabel(panel.unit)
    axes.set_xlim(0, last * 1.02 or 1)
    axes.xaxis.set_major_formatter(_thousands)
    if panel.logarithmic and _spans(curves):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(_twos_and_fives)
    elif not any((curve.values < 0).any() for curve in curves):
        highest = factor * max(np.nan_to_num(curve.values).max() for curve in curves)
        axes.set_ylim(0, 1.1 * highest if highest > 0 else 1)
    axes.yaxis.set_major_formatter(_plain)
    if len(curves) > 1:
        axes.legend(fontsize=7.5)


def _line(axes: Axes, curve: Curve, factor: float, color: str) -> None:
    """A curve; the noise of long ones is drawn faintly behind their running mean."""
    values = factor * curve.values
    known = values[~np.isnan(values)]
    label = f"{_told(curve)}: {_short(known[-1])}" if len(known) else _told(curve)
    look = {"linestyle": (0, (4, 2))} if curve.validates else {}
    if len(values) < _FEW or curve.name == "learning_rate":
        marker = "" if curve.name == "learning_rate" and len(values) > 1 else "s" if curve.validates else "o"
        axes.plot(curve.steps, values, color=color, marker=marker, markersize=3.5, label=label, **look)
        return
    axes.plot(curve.steps, values, color=color, alpha=0.25, linewidth=1)
    axes.plot(curve.steps, _smooth(values), color=color, label=label, **look)


def _mark_best(axes: Axes, curve: Curve, factor: float) -> None:
    if np.isnan(curve.values).all():
        return
    best = int(np.nanargmax(curve.values))
    at = (curve.steps[best], factor * curve.values[best])
    axes.plot(*at, marker="o", markersize=9, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1)
    axes.annotate(
        f"best {_short(at[1])} at {at[0]:,.0f}", at, xytext=(4, -9), textcoords="offset points",
        ha="right" if best else "left", va="top", fontsize=7.5, color=INK,
    )  # fmt: skip


def _thousands(value: float, _: int | None) -> str:
    return f"{value:,.0f}"


def _plain(value: float, _: int | None) -> str:
    return f"{value:.4g}"


def _twos_and_fives(value: float, _: int | None) -> str:
    """Labels between the powers of ten of a logarithmic axis."""
    return f"{value:.4g}" if f"{value:e}"[0] in "25" else ""


def _colors(curves: Sequence[Curve]) -> list[str]:
    """The first of the training is blue, the first of the validation orange, all others differ."""
    first = {validates: next((c for c in curves if c.validates is validates), None) for validates in (False, True)}
    rest = cycle(_COLORS[2:])
    return [_COLORS[int(c.validates)] if c is first[c.validates] else next(rest) for c in curves]


def _told(curve: Curve) -> str:
    """A curve's name in the legend."""
    base = _base(curve.name)
    what = {"loss": "", "pck": "", "score": "mean", "heatmap_loss": "heatmaps"}.get(base, base.removeprefix("pck_"))
    return f"{'validation' if curve.validates else 'training'} {what}".strip()


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _spans(curves: Sequence[Curve]) -> bool:
    values = np.concatenate([curve.values for curve in curves])
    values = values[~np.isnan(values)]
    return bool(len(values) and values.min() > 0 and values.max() > _LOG_FROM * values.min())


def _smooth(values: Floats) -> Floats:
    """The mean of the surrounding twentieth of the points; fewer near the ends, so that it lags nowhere."""
    half = max(len(values) // 40, 1)
    known = ~np.isnan(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    at = np.arange(len(values))
    reach = np.minimum(half, np.minimum(at, len(values) - 1 - at))
    low, high = at - reach, at + reach + 1
    n = counts[high] - counts[low]
    return np.where(n > 0, (sums[high] - sums[low]) / np.maximum(n, 1), np.nan)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
