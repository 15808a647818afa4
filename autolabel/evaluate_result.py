"""What ``evaluate`` found, as values for programs and as a table for people.

Every value has a place in ``metrics.json`` that a tuple of keys names, such as ``("pck", "0.1")``; intervals and
comparisons use the same names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from autolabel.bootstrap import Name
from autolabel.presence import PresenceQuality

Interval = Mapping[str, float]
"""``low`` and ``high``."""


@dataclass(frozen=True)
class Counts:
    """What was measured.

    Attributes:
        images: Images with truth, all of their people measured.
        images_without_truth: Images that only the predictions have; left aside.
        images_without_poses: Images that only the truth has; left aside.
        people: True people, crowd regions left out.
        poses: Poses that were judged.
        matched: Poses matched with a true person.
        missed: True people without a pose.
        extra: Poses without a true person: no instance there, or a second pose on one.
        ignored: Poses inside crowd regions, not judged.
        keypoints: Keypoints of matched people of which the truth says something.
    """

    images: int
    images_without_truth: int
    images_without_poses: int
    people: int
    poses: int
    matched: int
    missed: int
    extra: int
    ignored: int
    keypoints: int


@dataclass(frozen=True)
class KeypointQuality:
    """One keypoint's numbers over all people; None where nothing was labelled.

    Attributes:
        labelled: How often the truth of matched people has it.
        median_error_px: Median distance in pixels, of matched people.
        gross_rate: Share of gross ones among those of which the truth says something.
        mean_error_px: Mean distance in pixels, of matched people.
        mean_ks: Mean similarity, of matched people.
        pck: By threshold, share within that part of the longer side of the box.
        pckh: The same for the length of the head.
        pck_torso: The same for the length of the torso.
        auc: By curve, area under it.
        taxonomy: ``shares`` of good, jitter, inversion, swap and miss.
    """

    labelled: int
    median_error_px: float | None
    gross_rate: float | None
    mean_error_px: float | None
    mean_ks: float | None
    pck: Mapping[str, float | None]
    pckh: Mapping[str, float | None]
    pck_torso: Mapping[str, float | None]
    auc: Mapping[str, float | None]
    taxonomy: Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class Length:
    """A length that errors are divided by.

    Attributes:
        what: What it is, or why there is none.
        measurable: True people who have it; the others are left out of what needs it.
        people: True people.
        auc_limit: The part of it up to which the curve is integrated.
    """

    what: str
    measurable: int
    people: int
    auc_limit: float


@dataclass(frozen=True)
class Taxonomy:
    """What kinds of error were made (``autolabel.taxonomy``).

    Attributes:
        people: Matched people with OKS above 0.1: those whose keypoints are judged.
        unlike: Matched people with labelled keypoints, but OKS of at most 0.1: not judged.
        missed_people: True people without a pose.
        extra_poses: Poses without a true person.
        counts: Keypoints by state.
        shares: Their shares.
    """

    people: int
    unlike: int
    missed_people: int
    extra_poses: int
    counts: Mapping[str, int]
    shares: Mapping[str, float | None]


@dataclass(frozen=True)
class Scoring:
    """What the poses' scores cost.

    Attributes:
        perfect_ap: AP if every pose's score were its OKS.
        ap_gap: How much that is above AP: what a perfect confidence would be worth.
        doubled: People with several poses.
        misscored: Those of them whose most similar pose is not the best scored.
    """

    perfect_ap: float | None
    ap_gap: float | None
    doubled: int
    misscored: int


@dataclass(frozen=True)
class Intervals:
    """How sure the numbers are.

    Attributes:
        method: In words.
        confidence: Of each interval, two-sided.
        resamples: How often everything was computed again.
        seed: Of the draw.
        unit: What was drawn: ``image``, or ``group``.
        clusters: How many of them there are.
        note: What to beware of, or "".
        values: ``low`` and ``high`` of each number, nested as the numbers are.
    """

    method: str
    confidence: float
    resamples: int
    seed: int
    unit: str
    clusters: int
    note: str
    values: Mapping[str, Any]

    def of(self, name: Name) -> Interval | None:
        """The interval of a number, None where there is none."""
        found: Any = self.values
        for key in name:
            found = found.get(key) if found else None
        return found


@dataclass(frozen=True)
class Evaluation:
    """How good poses are. A rate of nothing is None.

    Attributes:
        coco: AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL as pycocotools has them.
        pck: By threshold, the share of labelled keypoints of all true people within that part of the longer
            side of the box; the keypoints of missed people count as wrong.
        mean_error_px: Mean distance of the labelled keypoints of matched people, in pixels (EPE).
        median_error_px: Their median.
        gross_rate: Gross keypoints among the scored ones of matched people.
        bad_rate: Bad poses among those that were judged; extra ones are bad.
        counts: What was measured.
        keypoints: By name.
        skeleton: Its name.
        sigma_source: Where its sigmas come from.
        pckh: As ``pck``, with the length of the head, over people who have one.
        pck_torso: As ``pck``, with the length of the torso, over people who have one.
        auc: Area under the curves of ``pck``, ``pckh`` and ``pck_torso`` from 0 to a limit, 1 at best.
        lengths: What the three are divided by.
        mean_oks: Of matched people.
        mean_ks: Of the labelled keypoints of matched people.
        missed_rate: Missed people among the true ones.
        extra_rate: Extra poses among those that were judged.
        taxonomy: Kinds of error.
        scoring: What the scores cost.
        presence: How well presence was told; None where nothing was predicted of it.
        intervals: How sure the numbers are; None where it was not asked for.
    """

    coco: Mapping[str, float | None]
    pck: Mapping[str, float | None]
    mean_error_px: float | None
    median_error_px: float | None
    gross_rate: float | None
    bad_rate: float | None
    counts: Counts
    keypoints: Mapping[str, KeypointQuality]
    skeleton: str
    sigma_source: str
    pckh: Mapping[str, float | None]
    pck_torso: Mapping[str, float | None]
    auc: Mapping[str, float | None]
    lengths: Mapping[str, Length]
    mean_oks: float | None
    mean_ks: float | None
    missed_rate: float | None
    extra_rate: float | None
    taxonomy: Taxonomy
    scoring: Scoring
    presence: PresenceQuality | None = None
    intervals: Intervals | None = None

    def summary(self) -> dict[str, Any]:
        """JSON values, nested."""
        return asdict(self)

    def table(self) -> str:
        """The numbers as text for people."""
        return "\n".join([*aligned(_rows(self)), "", *aligned(_keypoint_rows(self), right=True)]) + "\n"


@dataclass(frozen=True)
class Description:
    """How a number is shown.

    Attributes:
        label: What people call it.
        style: Its format.
        unit: After it.
        higher_is_better: Which way is up; None for none.
    """

    label: str
    style: str = ".3f"
    unit: str = ""
    higher_is_better: bool = True

    def show(self, value: float | None) -> str:
        """The value with its unit, "-" for none."""
        return "-" if value is None else f"{value:{self.style}}{self.unit}"

    def as_difference(self) -> "Description":
        """How a difference is shown: with its sign, and that of shares in points of a hundred."""
        style = self.style.replace("%", "f") if self.style.endswith("%") else self.style
        return replace(self, style=f"+{style}", unit=" pt" if self.style.endswith("%") else self.unit)

    @property
    def scale(self) -> float:
        """By which a difference is multiplied when it is shown."""
        return 100.0 if self.style.endswith("%") else 1.0


_DESCRIBED: Mapping[Name, Description] = {
    ("mean_error_px",): Description("error, mean", ".2f", " px", False),
    ("median_error_px",): Description("error, median", ".2f", " px", False),
    ("mean_oks",): Description("OKS, mean"),
    ("mean_ks",): Description("KS, mean"),
    ("gross_rate",): Description("gross keypoints", ".2%", higher_is_better=False),
    ("bad_rate",): Description("bad poses", ".2%", higher_is_better=False),
    ("missed_rate",): Description("missed people", ".2%", higher_is_better=False),
    ("extra_rate",): Description("extra poses", ".2%", higher_is_better=False),
    ("scoring", "perfect_ap"): Description("AP, perfect scores"),
    ("scoring", "ap_gap"): Description("AP, lost by scores", higher_is_better=False),
}
_CURVES = {"pck": "PCK", "pckh": "PCKh", "pck_torso": "torso PCK"}


def describe(name: Name) -> Description:
    """How the number of a name is shown; a keypoint's number is shown as the one over all."""
    match name:
        case ("keypoints", _, *rest):
            return describe(tuple(rest))
        case ("coco", label):
            return Description(label)
        case ("auc", curve):
            return Description(f"{_CURVES[curve]}, AUC")
        case ("taxonomy", _, state):
            return Description(state, ".2%", higher_is_better=state == "good")
        case (curve, threshold) if curve in _CURVES:
            return Description(f"{_CURVES[curve]}@{threshold}")
        case _:
            return _DESCRIBED[name]


def numbers(evaluation: Evaluation) -> dict[Name, float | None]:
    """All numbers that are not about single keypoints, by name, in the order of the table."""
    return {
        **{("coco", name): value for name, value in evaluation.coco.items()},
        **{("pck", t): value for t, value in evaluation.pck.items()},
        **{("pckh", t): value for t, value in evaluation.pckh.items()},
        **{("pck_torso", t): value for t, value in evaluation.pck_torso.items()},
        **{("auc", curve): value for curve, value in evaluation.auc.items()},
        ("mean_error_px",): evaluation.mean_error_px,
        ("median_error_px",): evaluation.median_error_px,
        ("mean_oks",): evaluation.mean_oks,
        ("mean_ks",): evaluation.mean_ks,
        ("gross_rate",): evaluation.gross_rate,
        ("bad_rate",): evaluation.bad_rate,
        ("missed_rate",): evaluation.missed_rate,
        ("extra_rate",): evaluation.extra_rate,
        **{("taxonomy", "shares", state): share for state, share in evaluation.taxonomy.shares.items()},
        ("scoring", "perfect_ap"): evaluation.scoring.perfect_ap,
        ("scoring", "ap_gap"): evaluation.scoring.ap_gap,
    }


def show_interval(name: Name, interval: Interval | None) -> str:
    """``low … high`` in the number's format, "" for none."""
    if interval is None:
        return ""
    described = describe(name)
    return f"{interval['low']:{described.style}} … {described.show(interval['high'])}"


def _rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    counts, kinds, intervals = evaluation.counts, evaluation.taxonomy, evaluation.intervals
    aside = counts.images_without_truth + counts.images_without_poses
    rows = [
        ("images", f"{counts.images}"),
        *([("images left aside", f"{aside}, only one side has them")] if aside else []),
        ("people", f"{counts.people}, missed {counts.missed}"),
        ("poses", f"{counts.poses}, extra {counts.extra}, ignored {counts.ignored}"),
        ("keypoints judged", f"{sum(kinds.counts.values())} of {kinds.people} people"),
    ]
    measured: list[tuple[str, ...]] = []
    if intervals:
        rows.append(("intervals", f"{intervals.confidence:.0%}, {intervals.method}"))
        rows.extend([("beware", intervals.note)] if intervals.note else [])
    for name, value in numbers(evaluation).items():
        interval = show_interval(name, intervals.of(name)) if intervals else ""
        measured.append((describe(name).label, describe(name).show(value), *([interval] if interval else [])))
    lengths = [
        (f"{_CURVES[curve]}: length", f"{length.what}; {length.measurable} of {length.people} people")
        for curve, length in evaluation.lengths.items()
    ]
    width = max(len(row[1]) for row in measured)
    padded = [(name, f"{value:{width}}", *rest) for name, value, *rest in measured]
    presence = [("presence", evaluation.presence.told())] if evaluation.presence else []
    return [*rows, *padded, *presence, *lengths, ("sigmas", evaluation.sigma_source)]


def _keypoint_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """A line a keypoint; a measure that no keypoint has gets no column."""
    columns: dict[str, Name] = {"median error": ("median_error_px",), "mean error": ("mean_error_px",)}
    for curve in ("pck", "pckh", "pck_torso"):
        thresholds = list(getattr(evaluation, curve))
        if thresholds and getattr(evaluation, curve)[thresholds[-1]] is not None:
            middle = thresholds[len(thresholds) // 2]
            columns[f"{_CURVES[curve]}@{middle}"] = (curve, middle)
    columns |= {"KS": ("mean_ks",), "gross": ("gross_rate",)}
    columns |= {state: ("taxonomy", "shares", state) for state in evaluation.taxonomy.shares}
    rows = [("keypoint", "labelled", *columns, *(["gross, interval"] if evaluation.intervals else []))]
    for keypoint, quality in evaluation.keypoints.items():
        cells = [_coarse(name).show(_at(quality, name)) for name in columns.values()]
        if evaluation.intervals:
            cells.append(_gross_interval(evaluation.intervals, keypoint))
        rows.append((keypoint, str(quality.labelled), *cells))
    return rows


def _coarse(name: Name) -> Description:
    described = describe(name)
    return Description(described.label, ".1%" if described.style == ".2%" else described.style, described.unit)


def _gross_interval(intervals: Intervals, keypoint: str) -> str:
    found = intervals.of(("keypoints", keypoint, "gross_rate"))
    return f"{found['low']:.1%} … {found['high']:.1%}" if found else "-"


def _at(quality: KeypointQuality, name: Name) -> float | None:
    found: Any = getattr(quality, name[0])
    for key in name[1:]:
        found = found[key]
    return found


def aligned(rows: Iterable[tuple[str, ...]], *, right: bool = False) -> list[str]:
    """Rows of cells as lines.

    Args:
        rows: The first cell of each is padded.
        right: The others are columns of numbers, set right; as many in every row.
    """
    lines = list(rows)
    if not right:
        width = max(len(row[0]) for row in lines)
        return ["  ".join([f"{row[0]:{width}}", *row[1:]]).rstrip() for row in lines]
    widths = [max(len(row[i]) for row in lines) for i in range(len(lines[0]))]
    return [
        "  ".join(
            f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in lines
    ]
