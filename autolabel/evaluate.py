"""How good poses are against the truth: COCO AP and AR, PCK and its kin, pixel error, gross and bad, kinds of error.

Images are paired by content hash and path; the people of an image one to one (``similarity.match``). Only
images that both sides have are measured, and how many were left aside is part of the result. Truth is held
in memory, the poses that are measured are streamed: ``evaluate_people`` compares, ``evaluate_numbers`` defines
the numbers, ``bootstrap`` says how sure they are, and here they become one :class:`Evaluation`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from autolabel.bootstrap import CONFIDENCE, Clusters, Draws, Name, Statistic, percentiles
from autolabel.evaluate_numbers import AUC_LIMITS, PCK_THRESHOLDS, statistics
from autolabel.evaluate_people import Measured, Truth, measure
from autolabel.evaluate_result import Counts, Evaluation, Intervals, KeypointQuality, Length, Scoring, Taxonomy
from autolabel.lengths import HEAD_BOX_SHARE, TORSO, head_segment
from autolabel.poses import Sample
from autolabel.presence import PresenceQuality, presence_quality
from autolabel.progress import SILENT, Progress
from autolabel.similarity import DEFAULT_RULE, BadRule
from autolabel.skeleton import Skeleton
from autolabel.taxonomy import STATES

__all__ = ["PCK_THRESHOLDS", "Counts", "Evaluation", "KeypointQuality", "evaluate", "summarise"]


def evaluate(
    predictions: Iterable[Sample],
    truth: Iterable[Sample],
    skeleton: Skeleton,
    *,
    rule: BadRule = DEFAULT_RULE,
    pck: Sequence[float] = PCK_THRESHOLDS,
    bootstrap: int = 0,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Evaluation:
    """Measure predictions against the truth.

    Args:
        predictions: Samples with the poses to measure; streamed.
        truth: Samples with the true poses, in the same skeleton.
        skeleton: Names and sigmas.
        rule: When a keypoint is gross and a pose is bad.
        pck: Thresholds, as parts of the longer side of the true person's box.
        bootstrap: Resamples for the intervals; 0 for none.
        seed: Of the resamples.
        progress: Where to report.

    Raises:
        InputError: No image in common, an image twice, or one whose two sizes differ.
    """
    measured = measure(predictions, Truth(truth), skeleton, rule=rule, progress=progress)
    return summarise(measured, pck=pck, bootstrap=bootstrap, seed=seed, progress=progress)


def summarise(
    measured: Measured,
    *,
    pck: Sequence[float] = PCK_THRESHOLDS,
    bootstrap: int = 0,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Evaluation:
    """The numbers of poses that were measured, with their intervals.

    Args:
        measured: From :func:`autolabel.evaluate_people.measure`.
        pck: Thresholds, as parts of the longer side of the true person's box.
        bootstrap: Resamples for the intervals; 0 for none.
        seed: Of the resamples.
        progress: Where to report.
    """
    clusters = measured.clusters
    draws = Draws(clusters.count, bootstrap, seed) if bootstrap and clusters.count > 1 else None
    values: dict[str, Any] = {}
    ends: dict[str, Any] = {}
    with progress.task("intervals" if draws else "numbers", unit="number") as task:
        for statistic in statistics(measured, pck):
            _put_values(values, statistic, clusters)
            if draws:
                _put_intervals(ends, statistic, draws)
            task.advance(len(statistic.names))
    return _evaluation(measured, values, _intervals(clusters, bootstrap, seed, ends) if bootstrap else None)


def _put_values(values: dict[str, Any], statistic: Statistic, clusters: Clusters) -> None:
    for name, value in zip(statistic.names, statistic.over(np.ones((1, clusters.count)))[0].tolist(), strict=True):
        _put(values, name, None if np.isnan(value) else value)


def _put_intervals(ends: dict[str, Any], statistic: Statistic, draws: Draws) -> None:
    low, high = percentiles(draws.of(statistic)).tolist()
    for name, a, b in zip(statistic.names, low, high, strict=True):
        if not np.isnan(a):
            _put(ends, name, {"low": a, "high": b})


def _put(tree: dict[str, Any], name: Name, value: Any) -> None:
    """Set a value at its place, making the branches above it."""
    *branches, leaf = name
    for branch in branches:
        tree = tree.setdefault(branch, {})
    tree[leaf] = value


def _intervals(clusters: Clusters, resamples: int, seed: int, ends: dict[str, Any]) -> Intervals:
    return Intervals(
        method=f"percentile bootstrap, {resamples} resamples of {clusters.count} {clusters.unit}s, seed {seed}",
        confidence=CONFIDENCE,
        resamples=resamples,
        seed=seed,
        unit=clusters.unit,
        clusters=clusters.count,
        note=clusters.caution,
        values=ends,
    )


def _evaluation(measured: Measured, values: dict[str, Any], intervals: Intervals | None) -> Evaluation:
    people, images = measured.people, measured.images
    shares, scoring = values.pop("taxonomy")["shares"], values.pop("scoring")
    quality: dict[str, dict[str, Any]] = values.pop("keypoints")
    labelled = (people.labelled & people.matched[:, None]).sum(axis=0).tolist()
    doubled, misscored = int(images.doubled.sum()), int(images.misscored.sum())
    return Evaluation(
        **values,
        counts=_counts(measured),
        keypoints={
            name: KeypointQuality(labelled=count, **quality[name])
            for name, count in zip(measured.skeleton.keypoints, labelled, strict=True)
        },
        skeleton=measured.skeleton.name,
        sigma_source=measured.skeleton.sigma_source,
        lengths=_lengths(measured),
        taxonomy=_taxonomy(measured, shares),
        scoring=Scoring(**scoring, doubled=doubled, misscored=misscored),
        presence=_presence(measured),
        intervals=intervals,
    )


def _counts(measured: Measured) -> Counts:
    people, images = measured.people, measured.images
    return Counts(
        images=len(images.path),
        images_without_truth=measured.without_truth,
        images_without_poses=measured.without_poses,
        people=len(people.matched),
        poses=int(images.poses.sum()),
        matched=int(people.matched.sum()),
        missed=int((~people.matched).sum()),
        extra=int(images.extra.sum()),
        ignored=int(images.ignored.sum()),
        keypoints=int(people.scored.sum()),
    )


def _taxonomy(measured: Measured, shares: dict[str, float | None]) -> Taxonomy:
    people = measured.people
    judged = (people.state > 0).any(axis=1)
    return Taxonomy(
        people=int(judged.sum()),
        unlike=int((people.matched & people.labelled.any(axis=1) & ~judged).sum()),
        missed_people=int((~people.matched).sum()),
        extra_poses=int(measured.images.extra.sum()),
        counts={state.name.lower(): int((people.state == state).sum()) for state in STATES},
        shares=shares,
    )


def _presence(measured: Measured) -> PresenceQuality | None:
    people = measured.people
    known = people.scored & np.isfinite(people.presence)
    return presence_quality(people.presence[known], people.inside[known]) if known.any() else None


def _lengths(measured: Measured) -> dict[str, Length]:
    people, skeleton = measured.people, measured.skeleton
    what = {"pck": "longer side of the box", "pckh": _head(measured), "pck_torso": _torso(skeleton)}
    known = {"pck": people.box, "pckh": people.head, "pck_torso": people.torso}
    return {
        name: Length(
            what=what[name],
            measurable=int((~np.isnan(known[name])).sum()),
            people=len(people.matched),
            auc_limit=AUC_LIMITS[name],
        )
        for name in AUC_LIMITS
    }


def _head(measured: Measured) -> str:
    people, skeleton = measured.people, measured.skeleton
    boxed, ends = int(people.boxed_head.sum()), head_segment(skeleton)
    by_box = f"{HEAD_BOX_SHARE} x diagonal of the head box"
    if ends is None:
        return by_box if boxed else f"no head length: skeleton {skeleton.name} has no head top and neck"
    segment = f"{skeleton.keypoints[ends[0]]} to {skeleton.keypoints[ends[1]]}"
    return f"{by_box} ({boxed} people), else {segment}" if boxed else segment


def _torso(skeleton: Skeleton) -> str:
    missing = [name for name in TORSO if name not in skeleton.keypoints]
    if missing:
        return f"no torso: skeleton {skeleton.name} has no {' and no '.join(missing)}"
    return " to ".join(TORSO)
