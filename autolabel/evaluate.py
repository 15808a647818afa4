"""How good poses are against the truth: COCO AP and AR, PCK, pixel error, gross keypoints and bad poses.

Images are paired by content hash and path; the people of an image one to one (``similarity.match``). Only
images that both sides have are measured, and how many were left aside is part of the result. Truth is held
in memory, the poses that are measured are streamed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.evaluate_coco import coco_metrics
from autolabel.poses import Poses, Sample
from autolabel.progress import SILENT, Progress
from autolabel.similarity import DEFAULT_RULE, BadRule, Comparison, compare, longer_side
from autolabel.skeleton import Skeleton

PCK_THRESHOLDS = (0.05, 0.1, 0.2)

Floats = NDArray[np.float64]


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
    """One keypoint's numbers over all matched people; None where nothing was labelled.

    Attributes:
        labelled: How often the truth has it.
        median_error_px: Median distance in pixels.
        gross_rate: Share of gross ones among those of which the truth says something.
    """

    labelled: int
    median_error_px: float | None
    gross_rate: float | None


@dataclass(frozen=True)
class Evaluation:
    """How good poses are. A rate of nothing is None.

    Attributes:
        coco: pycocotools' AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL.
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

    def summary(self) -> dict[str, Any]:
        """JSON values, nested."""
        return asdict(self)

    def table(self) -> str:
        """The numbers as text for people."""
        counts = self.counts
        rows = [
            ("images", f"{counts.images}"),
            ("people", f"{counts.people}, missed {counts.missed}"),
            ("poses", f"{counts.poses}, extra {counts.extra}, ignored {counts.ignored}"),
            *((name, _number(value, ".3f")) for name, value in self.coco.items()),
            *((f"PCK@{name}", _number(value, ".3f")) for name, value in self.pck.items()),
            ("error, mean", _number(self.mean_error_px, ".2f", " px")),
            ("error, median", _number(self.median_error_px, ".2f", " px")),
            ("gross keypoints", _number(self.gross_rate, ".2%")),
            ("bad poses", _number(self.bad_rate, ".2%")),
            ("sigmas", self.sigma_source),
        ]
        aside = counts.images_without_truth + counts.images_without_poses
        if aside:
            rows.insert(1, ("images left aside", f"{aside}, only one side has them"))
        width = max(len(name) for name in self.keypoints)
        head = f"\n{'keypoint':{width}}  labelled  median error  gross"
        lines = [
            f"{name:{width}}  {k.labelled:8d}  {_number(k.median_error_px, '9.2f', ' px'):>12}  "
            f"{_number(k.gross_rate, '.1%'):>5}"
            for name, k in self.keypoints.items()
        ]
        return "\n".join([*(f"{name:18}{value}" for name, value in rows), head, *lines]) + "\n"


def evaluate(
    predictions: Iterable[Sample],
    truth: Iterable[Sample],
    skeleton: Skeleton,
    *,
    rule: BadRule = DEFAULT_RULE,
    pck: Sequence[float] = PCK_THRESHOLDS,
    progress: Progress = SILENT,
) -> Evaluation:
    """Measure predictions against the truth.

    Args:
        predictions: Samples with the poses to measure; streamed.
        truth: Samples with the true poses, in the same skeleton.
        skeleton: Names and sigmas.
        rule: When a keypoint is gross and a pose is bad.
        pck: Thresholds, as parts of the longer side of the true person's box.
        progress: Where to report.

    Raises:
        InputError: No image in common, or an image whose two sizes differ.
    """
    known = {_image_key(sample): sample for sample in truth}
    pairs: list[tuple[Poses, Poses]] = []
    comparisons: list[Comparison] = []
    without_truth = 0
    with progress.task("evaluate", unit="image") as task:
        for sample in predictions:
            true = known.pop(_image_key(sample), None)
            if true is None:
                without_truth += 1
                continue
            _require_same_size(sample, true)
            pairs.append((sample.poses, true.poses))
            comparisons.append(compare(sample.poses, true.poses, skeleton, rule))
            task.advance()
    if not pairs:
        raise InputError(
            "no image of the predictions is an image of the truth",
            subject="evaluate",
            remedy="Both must come from the same files, under the same paths below their roots.",
        )
    measured = _Measured.gather(pairs, comparisons, skeleton.num_keypoints)
    return Evaluation(
        coco=coco_metrics(pairs, skeleton),
        pck={f"{t:g}": _rate(measured.within(t), measured.labelled_total) for t in pck},
        mean_error_px=_mean(measured.error),
        median_error_px=_median(measured.error),
        gross_rate=_rate(measured.gross.sum(), measured.scored.sum()),
        bad_rate=_rate(measured.bad, measured.counts["poses"]),
        counts=Counts(**measured.counts, images_without_truth=without_truth, images_without_poses=len(known)),
        keypoints=_by_keypoint(measured, skeleton),
        skeleton=skeleton.name,
        sigma_source=skeleton.sigma_source,
    )


@dataclass(frozen=True, eq=False)
class _Measured:
    """All matched people of all images as arrays.

    Attributes:
        error: (M, K) pixels, NaN where the truth is not labelled or nothing was predicted.
        reach: (M,) longer side of each true person's box.
        scored: (M, K) of which the truth says something.
        gross: (M, K).
        labelled: (M, K) labelled keypoints of matched people.
        labelled_total: Labelled keypoints of all true people, missed ones included.
        bad: Bad poses.
        counts: The fields of :class:`Counts` that are known here.
    """

    error: Floats
    reach: Floats
    scored: NDArray[np.bool_]
    gross: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    labelled_total: int
    bad: int
    counts: dict[str, int]

    @classmethod
    def gather(
        cls, pairs: Sequence[tuple[Poses, Poses]], comparisons: Sequence[Comparison], num_keypoints: int
    ) -> "_Measured":
        found = [c.truth >= 0 for c in comparisons]
        mine = [poses.take(f) for (poses, _), f in zip(pairs, found, strict=True)]
        theirs = [true.take(c.truth[f]) for (_, true), c, f in zip(pairs, comparisons, found, strict=True)]
        ours, truth = Poses.concat(mine), Poses.concat(theirs)
        distance = np.linalg.norm(ours.xy.astype(np.float64) - truth.xy, axis=2)
        scored = np.concatenate([c.scored[f] for c, f in zip(comparisons, found, strict=True)])
        gross = np.concatenate([c.gross[f] for c, f in zip(comparisons, found, strict=True)])
        poses, matched = sum(map(len, found)), len(ours)
        ignored = sum(int(c.ignored.sum()) for c in comparisons)
        counts = {
            "images": len(pairs),
            "people": sum(int((~true.crowd).sum()) for _, true in pairs),
            "poses": poses - ignored,
            "matched": matched,
            "missed": sum(int(c.missed.sum()) for c in comparisons),
            "extra": poses - ignored - matched,
            "ignored": ignored,
            "keypoints": int(scored.sum()),
        }
        return cls(
            error=np.where(truth.labelled, distance, np.nan),
            reach=longer_side(truth),
            scored=scored,
            gross=gross,
            labelled=truth.labelled,
            labelled_total=sum(int(true.labelled[~true.crowd].sum()) for _, true in pairs),
            bad=sum(int(c.bad.sum()) for c in comparisons),
            counts=counts,
        )

    def within(self, threshold: float) -> int:
        """How many labelled keypoints lie within ``threshold`` of the longer side of the box."""
        return int((self.error <= threshold * self.reach[:, None]).sum())


def _by_keypoint(measured: _Measured, skeleton: Skeleton) -> dict[str, KeypointQuality]:
    return {
        name: KeypointQuality(
            labelled=int(measured.labelled[:, k].sum()),
            median_error_px=_median(measured.error[:, k]),
            gross_rate=_rate(measured.gross[:, k].sum(), measured.scored[:, k].sum()),
        )
        for k, name in enumerate(skeleton.keypoints)
    }


def _image_key(sample: Sample) -> tuple[str, str]:
    """Bytes and path, not the root's name: two manifests may call the same folder differently."""
    return (sample.id, sample.path)


def _require_same_size(sample: Sample, truth: Sample) -> None:
    if sample.size != truth.size:
        raise InputError(
            f"is {sample.size[0]}x{sample.size[1]}, the truth says {truth.size[0]}x{truth.size[1]}",
            subject=sample.path,
            remedy="Give the truth of these images, not of resized or rotated copies.",
        )


def _rate(part: Any, whole: Any) -> float | None:
    return float(part) / float(whole) if whole else None


def _mean(values: Floats) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _median(values: Floats) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmedian(values))


def _number(value: float | None, style: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{style}}{unit}"
