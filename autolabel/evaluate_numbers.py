"""The numbers of ``evaluate`` as statistics over clusters of images, each defined once.

The value of a number, its bootstrap interval and its difference to another set of poses are the same statistic over
other weights. Statistics come one after the other, so that only one of them is in memory; names say where a number
stands in ``metrics.json``. ``docs/evaluate.md`` has the formulas.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.average_precision import NAMES
from autolabel.bootstrap import Clusters, Medians, Name, Precisions, Ratios, Statistic
from autolabel.evaluate_people import Measured
from autolabel.lengths import counted_in_pckh
from autolabel.taxonomy import STATES

PCK_THRESHOLDS = (0.05, 0.1, 0.2)
PCKH_THRESHOLD = 0.5
TORSO_THRESHOLD = 0.2

AUC_LIMITS = {"pck": 0.2, "pckh": 0.5, "pck_torso": 0.2}
"""Up to which part of its length each PCK curve is integrated."""

Floats = NDArray[np.float64]


def statistics(
    measured: Measured, pck: Sequence[float] = PCK_THRESHOLDS, clusters: Clusters | None = None
) -> Iterator[Statistic]:
    """Everything that ``evaluate`` states about a set of poses.

    Args:
        measured: The poses, measured.
        pck: Thresholds of PCK, as parts of the longer side of the box.
        clusters: Of the images; without them those that the poses' samples tell.
    """
    clusters = clusters or measured.clusters
    sums = _Sums(measured, clusters)
    names = [*(("coco", name) for name in NAMES), ("scoring", "perfect_ap"), ("scoring", "ap_gap")]
    yield Precisions(names, measured.tables, measured.perfect, clusters.of)
    yield from _shares_within(measured, sums, pck)
    yield from _errors(measured, sums)
    yield from _rates(measured, sums)


def over_lengths(measured: Measured) -> dict[str, Floats]:
    """(P, K) each labelled keypoint's error as a part of the length, by PCK's name.

    Infinite where the person is missed or nothing was predicted; NaN where the keypoint is not labelled or the
    length is not known. Division by a length of zero counts an exact hit as within.
    """
    people = measured.people
    error = np.where(people.labelled, np.nan_to_num(people.error, nan=np.inf), np.nan)
    lengths = {"pck": people.box, "pckh": people.head, "pck_torso": people.torso}
    parts: dict[str, Floats] = {}
    for name, length in lengths.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            part = error / length[:, None]
        parts[name] = np.where((error == 0) & ~np.isnan(length)[:, None], 0.0, part)
    return parts


class _Sums:
    """Sums over people or images, by cluster.

    Args:
        measured: Whose people and images.
        clusters: Of the images.
    """

    def __init__(self, measured: Measured, clusters: Clusters) -> None:
        self._keypoints = measured.skeleton.keypoints
        self.cluster = clusters.of[measured.people.image]
        self._clusters = clusters

    def of_keypoints(
        self, name: Name, above: NDArray[Any], below: NDArray[np.bool_], counted: NDArray[np.bool_] | None = None
    ) -> Iterator[Statistic]:
        """A number over all keypoints, and the same for each.

        Args:
            name: Below the top, and below each keypoint.
            above: (P, K) what a keypoint adds.
            below: (P, K) which keypoints count.
            counted: (K,) keypoints that enter the number over all; without it every one.
        """
        part, whole = self._by_person(above), self._by_person(below)
        chosen = np.ones(part.shape[1], bool) if counted is None else counted
        yield Ratios([name], part[:, chosen].sum(1, keepdims=True), whole[:, chosen].sum(1, keepdims=True))
        yield Ratios([("keypoints", keypoint, *name) for keypoint in self._keypoints], part, whole)

    def of_people(self, name: Name, above: NDArray[Any], below: NDArray[np.bool_]) -> Statistic:
        """A number over people: (P,) what each adds, (P,) who counts."""
        both = self._by_person(np.stack([above.astype(np.float64), below], axis=1))
        return Ratios([name], both[:, :1], both[:, 1:])

    def of_images(self, name: Name, above: NDArray[Any], below: NDArray[Any]) -> Statistic:
        """A number over images: (I,) what each adds above and below."""
        both = sums_by_cluster(np.stack([above, below], axis=1), self._clusters.of, self._clusters.count)
        return Ratios([name], both[:, :1], both[:, 1:])

    def _by_person(self, values: NDArray[Any]) -> Floats:
        return sums_by_cluster(values, self.cluster, self._clusters.count)


def _shares_within(measured: Measured, sums: _Sums, pck: Sequence[float]) -> Iterator[Statistic]:
    """PCK, PCKh and torso PCK, and the area under each curve; keypoints of missed people are not within."""
    thresholds = {"pck": pck, "pckh": (PCKH_THRESHOLD,), "pck_torso": (TORSO_THRESHOLD,)}
    for name, part in over_lengths(measured).items():
        known = ~np.isnan(part)
        counted = counted_in_pckh(measured.skeleton) if name == "pckh" else None
        for t in thresholds[name]:
            yield from sums.of_keypoints((name, f"{t:g}"), part <= t, known, counted)
        # A keypoint at distance r lies within t for all t >= r: its share of the area up to L is (L - r) / L.
        area = np.where(known, np.clip(1 - part / AUC_LIMITS[name], 0, 1), 0)
        yield from sums.of_keypoints(("auc", name), area, known, counted)


def _errors(measured: Measured, sums: _Sums) -> Iterator[Statistic]:
    error, ks = measured.people.error, measured.people.ks
    known = ~np.isnan(error)
    yield from sums.of_keypoints(("mean_error_px",), np.nan_to_num(error), known)
    keypoints = measured.skeleton.keypoints
    person, _ = np.nonzero(known)
    yield Medians([("median_error_px",)], [error[known]], [sums.cluster[person]])
    yield Medians(
        [("keypoints", keypoint, "median_error_px") for keypoint in keypoints],
        [error[known[:, k], k] for k in range(len(keypoints))],
        [sums.cluster[known[:, k]] for k in range(len(keypoints))],
    )
    yield from sums.of_keypoints(("mean_ks",), np.nan_to_num(ks), ~np.isnan(ks))


def _rates(measured: Measured, sums: _Sums) -> Iterator[Statistic]:
    people, images = measured.people, measured.images
    oks = people.oks
    yield sums.of_people(("mean_oks",), np.nan_to_num(oks), ~np.isnan(oks))
    yield from sums.of_keypoints(("gross_rate",), people.gross, people.scored)
    yield sums.of_images(("bad_rate",), images.bad, images.poses)
    yield sums.of_people(("missed_rate",), ~people.matched, np.ones_like(people.matched))
    yield sums.of_images(("extra_rate",), images.extra, images.poses)
    for state in STATES:
        name = ("taxonomy", "shares", state.name.lower())
        yield from sums.of_keypoints(name, people.state == state, people.state > 0)


def sums_by_cluster(values: NDArray[Any], cluster: NDArray[np.intp], count: int) -> Floats:
    """(count, S) sums of the rows of each cluster."""
    total = np.zeros((count, values.shape[1]))
    if len(values):
        order = np.argsort(cluster, kind="stable")
        present, first = np.unique(cluster[order], return_index=True)
        total[present] = np.add.reduceat(values[order].astype(np.float64), first, axis=0)
    return total
