"""The numbers of what FiftyOne shows, and the risk that accepting a share of it takes.

Poses are accepted in the order of their doubt. At each share (coverage) the risk is the part of bad poses among those
that are accepted: what ``p_bad`` expects, and, where poses were measured with a truth, what it was. Where the two
curves part, the probabilities are wrong.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.curate.documents import POSES
from autolabel.curate.marks import DECISIONS
from autolabel.curate.selection import Shown
from autolabel.phrases import counted

POINTS = 400
"""Points of a curve, at most."""

_EXPECTED, _TRUE = "#00a3b4", "#e5484d"
_STATES = ("open", "reviewed", "rejected", "expert", "boxed")
_ROUTED = ("accepted", "review", "audit", "rejected")


@dataclass(frozen=True, eq=False)
class RoundNumbers:
    """What is shown.

    Attributes:
        images: Images, or crops on a contact sheet.
        on_sheet: Whether they are crops.
        p_bad: (N,) of its poses, NaN where nothing is known.
        bad: (N,) 1 or 0 by the truth, NaN where there is none.
        states: Poses by state.
        routed: Poses by where routing sends them.
        tagged: Decisions that are tagged on poses, boxes or crops.
        images_tagged: Decisions that are tagged on whole images.
    """

    images: int
    on_sheet: bool
    p_bad: NDArray[np.float64]
    bad: NDArray[np.float64]
    states: Mapping[str, int]
    routed: Mapping[str, int]
    tagged: Mapping[str, int]
    images_tagged: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """A curve.

    Attributes:
        coverage: (n,) rising to 1: the share of poses that is accepted.
        risk: (n,) the share of bad ones among them.
    """

    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]


def risk_coverage(doubt: ArrayLike, bad: ArrayLike, points: int = POINTS) -> RiskCoverage:
    """The risk of accepting the least doubtful poses, share by share.

    Poses of equal doubt are accepted together, since nothing says which comes first.

    Args:
        doubt: (N,) ``p_bad``.
        bad: (N,) 1 or 0, or the probability to be bad; of each pose.
        points: How many points are kept at most, the first and the last among them.
    """
    order = np.argsort(np.asarray(doubt, np.float64), kind="stable")
    sorted_doubt, wrong = np.asarray(doubt, np.float64)[order], np.asarray(bad, np.float64)[order]
    if not len(order):
        return RiskCoverage(np.zeros(0), np.zeros(0))
    ends = np.flatnonzero(np.append(np.diff(sorted_doubt) > 0, True))
    if len(ends) > points:
        ends = ends[np.linspace(0, len(ends) - 1, points).round().astype(int)]
    return RiskCoverage((ends + 1) / len(order), wrong.cumsum()[ends] / (ends + 1))


def expected_and_true(numbers: RoundNumbers) -> tuple[RiskCoverage, RiskCoverage]:
    """The curve that ``p_bad`` expects of all poses that have one, and the true one of those with a truth."""
    known = np.isfinite(numbers.p_bad)
    seen = known & np.isfinite(numbers.bad)
    return (
        risk_coverage(numbers.p_bad[known], numbers.p_bad[known]),
        risk_coverage(numbers.p_bad[seen], numbers.bad[seen]),
    )


def traces(numbers: RoundNumbers) -> list[dict[str, Any]]:
    """The curves as Plotly draws them."""
    expected, true = expected_and_true(numbers)
    count = int((np.isfinite(numbers.p_bad) & np.isfinite(numbers.bad)).sum())
    drawn = [_trace(expected, "expected by p_bad", _EXPECTED)]
    if count:
        drawn.append(_trace(true, f"true, of {count:,} scored poses", _TRUE))
    return drawn


LAYOUT: Mapping[str, Any] = {
    "xaxis": {"title": {"text": "coverage: share of poses accepted"}, "range": [0, 1], "tickformat": ".0%"},
    "yaxis": {"title": {"text": "risk: share of bad ones among them"}, "rangemode": "tozero", "tickformat": ".1~%"},
    "showlegend": True,
    "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    "margin": {"l": 70, "r": 20, "t": 40, "b": 60},
    "hovermode": "x unified",
}
"""How they are laid out."""


def text(numbers: RoundNumbers, *, whole: bool) -> str:
    """The numbers as Markdown.

    Args:
        numbers: Of what is shown.
        whole: Whether that is the whole data set, and not a view of it.
    """
    known, seen = np.isfinite(numbers.p_bad), np.isfinite(numbers.bad)
    shown = counted(numbers.images, "crop" if numbers.on_sheet else "image")
    bad = [f"mean p_bad **{_percent(numbers.p_bad[known].mean())}** of {known.sum():,}"] if known.any() else []
    bad += [f"bad by the truth **{_percent(numbers.bad[seen].mean())}** of {seen.sum():,}"] if seen.any() else []
    lines = [
        f"**{shown}, {counted(len(numbers.p_bad), 'pose')}** in the {'whole data set' if whole else 'current view'}",
        " · ".join(bad) or "not scored",
        _line("State", numbers.states, _STATES),
        _line("Routed", numbers.routed, _ROUTED),
        _line("Decided here", numbers.tagged, DECISIONS),
        _line("Decided on whole images", numbers.images_tagged, DECISIONS),
    ]
    waiting = bool(numbers.tagged or numbers.images_tagged)
    lines.append("`autolabel curate --pull` brings decisions home." if waiting else "No decision here waits.")
    return "\n\n".join(line for line in lines if line)


def read_numbers(shown: Shown, view: Any) -> RoundNumbers:
    """The numbers of a view, by a few queries over flat fields.

    Args:
        shown: The data sets.
        view: Of the one that is open.
    """
    schema = view.get_field_schema(flat=True)
    below = "" if shown.on_sheet else f"{POSES}.keypoints."
    p_bad, bad = (_column(view, schema, f"{below}{name}") for name in ("p_bad", "bad"))
    p_bad = p_bad if p_bad is not None else np.full(_poses(view, schema, below), np.nan)
    labels = _decisions(view, schema, "tags" if shown.on_sheet else f"{POSES}.keypoints.tags")
    boxes = Counter[str]() if shown.on_sheet else _decisions(view, schema, "boxes.detections.tags")
    return RoundNumbers(
        images=len(view),
        on_sheet=shown.on_sheet,
        p_bad=p_bad,
        bad=bad if bad is not None else np.full(len(p_bad), np.nan),
        states=_count(view, schema, f"{below}state"),
        routed=_count(view, schema, f"{below}routed"),
        tagged=labels + boxes,
        images_tagged={} if shown.on_sheet else _decisions(view, schema, "tags"),
    )


def _trace(curve: RiskCoverage, name: str, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": curve.coverage.round(5).tolist(),
        "y": curve.risk.round(6).tolist(),
        "line": {"color": colour, "width": 2},
        "hovertemplate": "%{y:.2%}",
    }


def _column(view: Any, schema: Mapping[str, Any], path: str) -> NDArray[np.float64] | None:
    """(N,) numbers of a field, in the order of the view; None where there is no such field."""
    if path not in schema:
        return None
    values: Sequence[Any] = view.values(path, unwind=True)
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _poses(view: Any, schema: Mapping[str, Any], below: str) -> int:
    path = f"{below}pose_id"
    return int(view.count(path)) if path in schema else 0


def _count(view: Any, schema: Mapping[str, Any], path: str) -> dict[str, int]:
    counts: Mapping[Any, int] = view.count_values(path) if path in schema else {}
    return {str(name): count for name, count in counts.items() if name}


def _decisions(view: Any, schema: Mapping[str, Any], path: str) -> Counter[str]:
    counts: Mapping[Any, int] = view.count_values(path) if path in schema else {}
    return Counter({str(tag): count for tag, count in counts.items() if tag in DECISIONS})


def _line(head: str, counts: Mapping[str, int], order: Sequence[str]) -> str:
    """Counts in words; nothing where there are none."""
    names = [*(name for name in order if name in counts), *sorted(set(counts) - set(order))]
    return f"{head}: {', '.join(f'{name} {counts[name]:,}' for name in names)}" if names else ""


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"
