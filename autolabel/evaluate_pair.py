"""Which of two sets of poses is better, and how sure that is: the same images, the same people, drawn alike.

Two intervals that overlap say little: hard images are hard for both. Here each resample draws the same images for both
sets and takes the difference, so that what they share cancels (a paired bootstrap: Efron & Tibshirani, 1993; for AP and
the like see Koehn, EMNLP 2004). A difference is *better* or *worse* where its interval leaves zero out, and otherwise
*undecided*; of twenty numbers that do not differ, one looks better or worse by chance. Of fewer than six images nothing
is decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.bootstrap import CONFIDENCE, DECIDING_CLUSTERS, Draws, Name, Statistic, percentiles
from autolabel.errors import InputError
from autolabel.evaluate_numbers import PCK_THRESHOLDS, statistics
from autolabel.evaluate_people import Measured
from autolabel.evaluate_result import aligned, describe
from autolabel.progress import SILENT, Progress

LISTED = 20
"""Poses that are listed as the most changed."""

Floats = NDArray[np.float64]


class Verdict(Enum):
    """What the interval of a difference says."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Difference:
    """One number of both sets; None where one of them does not have it.

    Attributes:
        name: Of the number, as ``metrics.json`` nests it.
        this: Of the poses that are measured.
        other: Of those they are compared with.
        difference: ``this - other``.
        low: Lower end of its interval.
        high: Upper end.
        p: Share of resamples in which the difference is zero or has the other sign. One-sided, and not the
            probability that there is no difference.
        verdict: From the interval, and from which way is better.
    """

    name: Name
    this: float | None
    other: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    verdict: Verdict


@dataclass(frozen=True)
class KeypointChange:
    """One keypoint of people whom both sets have found.

    Attributes:
        both: How often it counts in both.
        fixed: Gross in the other set, not in this one.
        broken: Gross in this set, not in the other.
        gross_rate: The difference of its rate.
    """

    both: int
    fixed: int
    broken: int
    gross_rate: Difference


@dataclass(frozen=True)
class PoseChange:
    """A person whose poses differ.

    Attributes:
        image: Path of the image.
        truth: Id of the true pose, "" where it has none.
        pose: Id of the pose in this set, "" where the person is missed.
        other_pose: Id in the other set.
        oks: Of the pose; 0 where missed.
        other_oks: Of the other.
    """

    image: str
    truth: str
    pose: str
    other_pose: str
    oks: float
    other_oks: float

    @property
    def change(self) -> float:
        """How much more alike this set's pose is."""
        return self.oks - self.other_oks


@dataclass(frozen=True)
class PeopleChange:
    """True people whose pose is good in one set only: bad or missed in the other.

    Attributes:
        fixed: Good in this set only.
        broken: Good in the other set only.
        found: Missed by the other set only.
        lost: Missed by this set only.
    """

    fixed: int
    broken: int
    found: int
    lost: int


@dataclass(frozen=True)
class PairedComparison:
    """Two sets of poses of the same images against the same truth.

    Attributes:
        resamples: Of the bootstrap.
        confidence: Of the intervals, two-sided.
        seed: Of the draw.
        unit: What was drawn: ``image`` or ``group``.
        clusters: How many of them there are.
        note: What to beware of, or "".
        differences: In the order of the table.
        people: Changed people.
        keypoints: By name.
        changed: The poses that changed most, by OKS.
    """

    resamples: int
    confidence: float
    seed: int
    unit: str
    clusters: int
    note: str
    differences: Sequence[Difference]
    people: PeopleChange
    keypoints: Mapping[str, KeypointChange]
    changed: Sequence[PoseChange]

    def summary(self) -> dict[str, Any]:
        """JSON values, nested; differences nest as the numbers do."""
        tree: dict[str, Any] = {}
        for difference in self.differences:
            branch = tree
            for key in difference.name[:-1]:
                branch = branch.setdefault(key, {})
            branch[difference.name[-1]] = _plain(difference)
        return {
            **{name: getattr(self, name) for name in ("resamples", "confidence", "seed", "unit", "clusters", "note")},
            "differences": tree,
            "people": asdict(self.people),
            "keypoints": {
                name: {**asdict(change), "gross_rate": _plain(change.gross_rate)}
                for name, change in self.keypoints.items()
            },
            "changed": [{**asdict(pose), "change": pose.change} for pose in self.changed],
        }

    def table(self) -> str:
        """The comparison as text for people."""
        people = self.people
        head = [
            f"difference to the other poses, {self.confidence:.0%} interval: paired bootstrap, "
            f"{self.resamples} resamples of {self.clusters} {self.unit}s, seed {self.seed}",
            *([f"beware: {self.note}"] if self.note else []),
            f"people: {people.fixed} fixed, {people.broken} broken, {people.found} found, {people.lost} lost",
        ]
        rows: list[tuple[str, ...]] = [
            ("", "this", "other", "difference", "interval", "p", "verdict"),
            *map(_row, self.differences),
        ]
        keypoints: list[tuple[str, ...]] = [
            ("keypoint", "in both", "fixed", "broken", "gross", "interval", "p", "verdict")
        ]
        for name, change in self.keypoints.items():
            _, _, _, *cells = _row(change.gross_rate)
            keypoints.append((name, str(change.both), str(change.fixed), str(change.broken), *cells))
        changed: list[tuple[str, ...]] = [("most changed", "OKS", "other OKS", "pose", "other pose")]
        for pose in self.changed:
            changed.append((pose.image, f"{pose.oks:.3f}", f"{pose.other_oks:.3f}", pose.pose, pose.other_pose))
        blocks = [rows, keypoints, *([changed] if self.changed else [])]
        return "\n".join([*head, *(line for block in blocks for line in ["", *aligned(block, right=True)])]) + "\n"


def compare_measured(
    this: Measured,
    other: Measured,
    *,
    pck: Sequence[float] = PCK_THRESHOLDS,
    bootstrap: int,
    seed: int = 0,
    progress: Progress = SILENT,
) -> PairedComparison:
    """Compare two sets of poses that were measured against the same truth.

    Args:
        this: The poses in question.
        other: Those they are compared with.
        pck: Thresholds, as parts of the longer side of the true person's box.
        bootstrap: Resamples.
        seed: Of the resamples.
        progress: Where to report.

    Raises:
        InputError: They are not of the same images.
    """
    _require_same_images(this, other)
    clusters = this.clusters
    draws = Draws(clusters.count, bootstrap, seed) if clusters.count > 1 else None
    found: dict[Name, Difference] = {}
    with progress.task("compare", unit="number") as task:
        for one, two in zip(statistics(this, pck, clusters), statistics(other, pck, clusters), strict=True):
            if any(_reported(name) for name in one.names):
                found |= {d.name: d for d in _differences(one, two, clusters.count, draws) if _reported(d.name)}
            task.advance(len(one.names))
    return PairedComparison(
        resamples=bootstrap,
        confidence=CONFIDENCE,
        seed=seed,
        unit=clusters.unit,
        clusters=clusters.count,
        note=clusters.caution,
        differences=[difference for name, difference in found.items() if name[0] != "keypoints"],
        people=_people(this, other),
        keypoints=_keypoints(this, other, found),
        changed=_most_changed(this, other),
    )


def _require_same_images(this: Measured, other: Measured) -> None:
    mine, theirs = set(this.images.place.tolist()), set(other.images.place.tolist())
    if mine == theirs:
        return
    paths = {
        **dict(zip(this.images.place.tolist(), this.images.path.tolist(), strict=True)),
        **dict(zip(other.images.place.tolist(), other.images.path.tolist(), strict=True)),
    }
    example = paths[min(mine ^ theirs)]
    raise InputError(
        f"the two sets do not have the same images with truth: {len(mine - theirs)} only in the first, "
        f"{len(theirs - mine)} only in the second, such as {example}",
        subject="against",
        remedy="Compare poses of the same images; `autolabel predict` over the same manifest makes them.",
    )


def _reported(name: Name) -> bool:
    return name[0] != "keypoints" or name[2] == "gross_rate"


def _differences(one: Statistic, two: Statistic, clusters: int, draws: Draws | None) -> list[Difference]:
    all_once = np.ones((1, clusters))
    this, other = one.over(all_once)[0], two.over(all_once)[0]
    observed = this - other
    if draws:
        drawn = np.concatenate([one.over(weights) - two.over(weights) for weights in draws])
        low, high = percentiles(drawn)
        opposite = drawn * np.sign(observed) <= 0
        known = ~np.isnan(drawn)
        p = (opposite & known).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    else:
        low = high = p = np.full(len(observed), np.nan)
    p = np.where(np.isnan(observed), np.nan, p)
    columns = np.stack([this, other, observed, low, high, p], axis=1).tolist()
    decides = clusters >= DECIDING_CLUSTERS
    return [_difference(name, numbers, decides) for name, numbers in zip(one.names, columns, strict=True)]


def _difference(name: Name, numbers: Sequence[float], decides: bool) -> Difference:
    """Of both values, their difference, its interval and p, NaN where there is none."""
    this, other, observed, low, high, p = (None if np.isnan(number) else number for number in numbers)
    verdict = Verdict.UNDECIDED
    if decides and low is not None and high is not None and (low > 0 or high < 0):
        verdict = Verdict.BETTER if (low > 0) == describe(name).higher_is_better else Verdict.WORSE
    return Difference(name, this, other, observed, low, high, p, verdict)


def _people(this: Measured, other: Measured) -> PeopleChange:
    good, good_before = (m.people.matched & ~m.people.bad for m in (this, other))
    found, found_before = this.people.matched, other.people.matched
    return PeopleChange(
        fixed=int((good & ~good_before).sum()),
        broken=int((good_before & ~good).sum()),
        found=int((found & ~found_before).sum()),
        lost=int((found_before & ~found).sum()),
    )


def _keypoints(this: Measured, other: Measured, found: Mapping[Name, Difference]) -> dict[str, KeypointChange]:
    both = this.people.scored & other.people.scored
    fixed = both & other.people.gross & ~this.people.gross
    broken = both & this.people.gross & ~other.people.gross
    return {
        name: KeypointChange(
            both=int(both[:, k].sum()),
            fixed=int(fixed[:, k].sum()),
            broken=int(broken[:, k].sum()),
            gross_rate=found["keypoints", name, "gross_rate"],
        )
        for k, name in enumerate(this.skeleton.keypoints)
    }


def _most_changed(this: Measured, other: Measured) -> list[PoseChange]:
    oks, before = np.nan_to_num(this.people.oks), np.nan_to_num(other.people.oks)
    size = np.abs(oks - before)
    most = np.argsort(-size, kind="stable")[:LISTED]
    return [
        PoseChange(
            image=str(this.images.path[this.people.image[i]]),
            truth=str(this.people.truth_id[i]),
            pose=str(this.people.pose_id[i]),
            other_pose=str(other.people.pose_id[i]),
            oks=float(oks[i]),
            other_oks=float(before[i]),
        )
        for i in most[size[most] > 0]
    ]


def _plain(difference: Difference) -> dict[str, Any]:
    values = asdict(difference)
    del values["name"]
    return {**values, "verdict": difference.verdict.value}


def _row(d: Difference) -> tuple[str, ...]:
    described = describe(d.name)
    changed, scale = described.as_difference(), described.scale
    interval = "-"
    if d.low is not None and d.high is not None:
        interval = f"{scale * d.low:{changed.style}} … {changed.show(scale * d.high)}"
    return (
        described.label,
        described.show(d.this),
        described.show(d.other),
        changed.show(None if d.difference is None else scale * d.difference),
        interval,
        "-" if d.p is None else f"{d.p:.3f}",
        d.verdict.value if d.difference is not None else "-",
    )
