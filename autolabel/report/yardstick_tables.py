"""Tables of a yardstick: what kinds of error the first and the newest network make, and keypoint by keypoint."""

from collections.abc import Callable, Mapping, Sequence

from autolabel.evaluate_result import KeypointQuality
from autolabel.report.page import Bars, Table
from autolabel.report.yardstick import PCK, Reading, Yardstick
from autolabel.taxonomy import STATES

_KINDS = (
    ("good", "#7cc79b"),
    ("jitter", "#9cc9f0"),
    ("inversion", "#f3b26b"),
    ("swap", "#b9b4d6"),
    ("miss", "#d9a3c2"),
)
_NARROW = "\u202f"


def errors(yardstick: Yardstick) -> tuple[Bars, Table]:
    """The error taxonomy before and after: each network's keypoints by kind of error."""
    first, last = yardstick.first, yardstick.last
    ends = [first] if first is last else [first, last]
    shown = ", ".join(f"round {r.round}: {r.evaluation.taxonomy.people:,}" for r in ends)
    bars = Bars(
        title="Kinds of error, before and after",
        caption=f"Labelled keypoints of the {yardstick.name} by what happened to them (Ronchi and Perona, 2017). "
        f"Judged are people whose pose is at all like them ({shown}).",
        kinds=_KINDS,
        rows=tuple(
            (f"Round {r.round}", tuple(int(r.evaluation.taxonomy.counts.get(kind, 0)) for kind, _ in _KINDS))
            for r in yardstick.readings
        ),
    )
    return bars, Table(
        title="Kinds of error in numbers",
        caption="Shares of the judged keypoints. Good: as near as people place it. Jitter: near. Inversion: at the "
        "other side's joint. Swap: at somebody else's. Miss: at none of these places.",
        columns=("Kind", *(f"round {r.round}" for r in ends), *(["change"] if len(ends) > 1 else [])),
        rows=tuple(_kind_row(kind.name.lower(), ends) for kind in STATES),
    )


def _kind_row(kind: str, ends: Sequence[Reading]) -> tuple[str, ...]:
    shares = [r.evaluation.taxonomy.shares.get(kind) for r in ends]
    cells = [_percent(share) for share in shares]
    if len(shares) > 1:
        a, b = shares
        cells.append("–" if a is None or b is None else f"{100 * (b - a):+.1f} points")
    return (kind, *cells)


def keypoints(yardstick: Yardstick, placed: Mapping[str, int], answers: int) -> Table:
    """Keypoint by keypoint: errors of the first and of the newest network, and how often people placed it.

    Args:
        yardstick: Measured.
        placed: By keypoint's name, how often people put it elsewhere, said otherwise whether it is there, or added it.
        answers: Answers to tasks with a pre-label, among which that was counted.
    """
    first, last = yardstick.first, yardstick.last
    again = last is not first
    columns = ["Keypoint", "people", f"gross, round {first.round}", *([f"gross, round {last.round}"] * again)]
    columns += [f"median error, round {first.round}", *([f"median error, round {last.round}"] * again)]
    columns += [f"PCK@{PCK}, round {last.round}", *(["corrected by people"] * bool(answers))]
    rows = [
        (
            name.replace("_", " "),
            f"{quality.labelled:,}",
            *_two(before, quality, again, lambda q: _percent(q.gross_rate)),
            *_two(before, quality, again, lambda q: _pixels(q.median_error_px)),
            _percent(quality.pck.get(PCK)),
            *([f"{placed.get(name, 0):,} of {answers:,}"] * bool(answers)),
        )
        for name, quality in last.evaluation.keypoints.items()
        for before in [first.evaluation.keypoints[name]]
    ]
    return Table(
        title="Keypoint by keypoint",
        caption=f"On the {yardstick.name}. Gross: similarity below 0.5, or said present where it is absent, or the "
        "reverse."
        + (" Corrected: how often people changed it in tasks that came with a pre-label." if answers else ""),
        columns=tuple(columns),
        rows=tuple(rows),
    )


def _two(
    before: KeypointQuality, now: KeypointQuality, again: bool, show: Callable[[KeypointQuality], str]
) -> tuple[str, ...]:
    return (show(before), show(now)) if again else (show(now),)


def corrected(placed: Mapping[str, int], answers: int) -> Table:
    """Keypoint by keypoint, where nothing but people's answers is known: how often they changed it."""
    return Table(
        title="Keypoint by keypoint",
        caption="How often people changed a keypoint in tasks that came with a pre-label: most of these were chosen "
        "because of doubt, so that it is no error rate of the dataset.",
        columns=("Keypoint", "corrected", "share of the answers"),
        rows=tuple((name.replace("_", " "), f"{count:,}", _percent(count / answers)) for name, count in placed.items()),
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}{_NARROW}%"


def _pixels(distance: float | None) -> str:
    return "–" if distance is None else f"{distance:.1f}{_NARROW}px"
