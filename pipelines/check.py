"""Predicted poses beside what the truth says about them: what calibration fits and reports measure.

The truth is small beside the corpus and is held in memory; the predictions are streamed, and of them only the poses
that the truth knows are kept.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.manifest import Manifest
from autolabel.merge import State
from autolabel.poses import Poses, Sample, Visibility
from autolabel.progress import SILENT, Progress
from autolabel.similarity import bad_poses, compare, gross_keypoints, mean_similarity, pair_similarity, similarity_area
from autolabel.skeleton import Skeleton
from pipelines.manifest_evidence import image_sizes, with_evidence
from pipelines.second_opinion import SecondOpinion

Truth = Mapping[tuple[str, str, str], Poses]
"""True poses by the key of their sample."""


@dataclass(frozen=True, eq=False)
class Checked:
    """Predicted poses and what the truth says about them.

    Attributes:
        poses: N predicted poses.
        features: Their features.
        sizes: (N, 2) sizes of their images.
        gross: (N, K) gross keypoints.
        scored: (N, K) keypoints that the truth says something about.
        bad: (N,) bad poses.
        oks: (N,) OKS with the matched person, NaN where there is none or nothing is labelled.
        error: (N, K) distance from the labelled keypoints in pixels, NaN elsewhere.
        truth: (N, K, 2) the labelled keypoints, NaN elsewhere.
        group: (N,) numbers of what must not be parted: images of one group or video, and copies.
        area: (N,) square pixels that similarity is measured by: the true pose's, or the pose's own where none matches.
    """

    poses: Poses
    features: dict[str, NDArray[Any]]
    sizes: NDArray[np.float64]
    gross: NDArray[np.bool_]
    scored: NDArray[np.bool_]
    bad: NDArray[np.bool_]
    oks: NDArray[np.float64]
    error: NDArray[np.float64]
    truth: NDArray[np.float64]
    group: NDArray[np.intp]
    area: NDArray[np.float64]

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> "Checked":
        """The poses where a mask is set, or those of some rows, in that order."""
        values = {name: array[which] for name, array in self.features.items()}
        rest = (getattr(self, name)[which] for name in _ARRAYS)
        return Checked(self.poses.take(which), values, *rest)

    @classmethod
    def joined(cls, parts: "Sequence[Checked]") -> "Checked":
        """All poses of the parts; a feature that some of them lack is NaN there."""
        shapes = {name: (array.shape[1:], array.dtype) for part in parts for name, array in part.features.items()}
        values = {
            name: np.concatenate(
                [part.features.get(name, np.full((len(part.poses), *shape), np.nan, dtype)) for part in parts]
            )
            for name, (shape, dtype) in sorted(shapes.items())
        }
        rest = (np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS)
        return cls(Poses.concat([part.poses for part in parts]), values, *rest)


_ARRAYS = ("sizes", "gross", "scored", "bad", "oks", "error", "truth", "group", "area")


def check(
    predicted: Manifest, truth: Manifest, progress: Progress = SILENT, *, against: Manifest | None = None
) -> Checked:
    """Judge predicted poses by the truth.

    Where both have poses of the same ids, as corrections and drawn corpora do, those are compared and no others.
    Otherwise the poses of every image that the truth knows are matched by place, one to one: what is left over is bad.
    Poses of which the truth says nothing (no keypoint, or left to an expert) are left out.

    Args:
        predicted: What ``predict`` wrote, or a stage after it.
        truth: True poses of some of its images, by sample key.
        progress: Where to report.
        against: Another manifest of the same images: how far it disagrees is added to the features.

    Raises:
        InputError: They share no pose.
        SkeletonError: Their skeletons differ.
    """
    predicted.skeleton.require_same(truth.skeleton, str(truth.path))
    true = {sample.key: sample.poses.take(~_undecided(sample.poses)) for sample in truth}
    by_id = _share_ids(predicted, true)
    second = SecondOpinion(predicted, against) if against is not None else None
    found: list[Checked] = []
    with progress.task("compare", len(predicted), "image") as task:
        for i in range(predicted.num_parts):
            samples, features = predicted.part(i), predicted.features(i)
            task.advance(len(samples))
            if any(sample.key in true for sample in samples):
                known = with_evidence(samples, features or {}, predicted.skeleton, second)
                found.append(_check_part(samples, known, true, predicted.skeleton, by_id=by_id))
    if not sum(len(part.poses) for part in found):
        raise InputError(
            "no predicted pose is among the checked ones",
            subject=str(truth.path),
            remedy="Check poses of the same images, and give the manifest that `autolabel predict` wrote.",
        )
    return Checked.joined(found)


def group_number(sample: Sample) -> int:
    """A number for what a sample must not be parted from: its group, or else the image that it is or copies."""
    name = ("group", sample.group) if sample.group else ("image", *(sample.original or (sample.root, sample.path)))
    return int.from_bytes(hashlib.blake2b("\0".join(name).encode("utf-8", "surrogatepass"), digest_size=7).digest())


def _undecided(poses: Poses) -> NDArray[np.bool_]:
    """(N,) poses that a reviewer left to an expert: not the truth yet."""
    return np.array([attributes.get("state") == State.EXPERT for attributes in poses.attributes], bool)


def _share_ids(predicted: Manifest, true: Truth) -> bool:
    known = {pose for poses in true.values() for pose in poses.id.tolist()}
    return any(not known.isdisjoint(predicted.poses(i).id.tolist()) for i in range(predicted.num_parts))


def _check_part(
    samples: list[Sample], features: Mapping[str, NDArray[Any]], true: Truth, skeleton: Skeleton, *, by_id: bool
) -> Checked:
    """The poses of a part that the truth knows, each beside the true pose that it is or matches."""
    poses = Poses.concat([sample.poses for sample in samples])
    truth = Poses.concat([true.get(sample.key, Poses.empty(skeleton.num_keypoints)) for sample in samples])
    matched = _matched_by_id if by_id else _matched_by_place
    partner, extra = matched(samples, true, skeleton)
    counts = [len(sample.poses) for sample in samples]
    known = partner >= 0
    mine, theirs = poses.take(known), truth.take(partner[known])
    rejected = np.array([a.get("state") == State.REJECTED for a in theirs.attributes], bool)
    said = (theirs.visibility != Visibility.UNLABELLED) & ~rejected[:, None]
    ks = np.where(said, pair_similarity(mine, theirs, skeleton), np.nan)
    wrong = gross_keypoints(mine, theirs, ks) & said
    distance = np.where(said & theirs.labelled, np.linalg.norm(mine.xy - theirs.xy, axis=-1), np.nan)

    def spread(values: NDArray[Any], default: Any) -> NDArray[Any]:
        full = np.full((len(poses), *values.shape[1:]), default, values.dtype)
        full[known] = values
        return full

    area = similarity_area(poses)
    area[known] = similarity_area(theirs)
    everything = Checked(
        poses,
        dict(features),
        sizes=image_sizes(samples),
        gross=spread(wrong, False),
        scored=spread(said, False),
        bad=spread(bad_poses(mean_similarity(ks), wrong) | rejected, True),
        oks=spread(mean_similarity(ks), np.nan),
        error=spread(distance.astype(np.float64), np.nan),
        truth=spread(np.where((said & theirs.labelled)[..., None], theirs.xy.astype(np.float64), np.nan), np.nan),
        group=np.repeat(np.array([group_number(sample) for sample in samples], np.intp), counts),
        area=area,
    )
    return everything.take(extra | spread(said.any(axis=1) | rejected, False))


def _matched_by_id(
    samples: list[Sample], true: Truth, skeleton: Skeleton
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each pose the row of the true pose of its id, or -1; none is an extra one."""
    rows = (pose for sample in samples if sample.key in true for pose in true[sample.key].id.tolist())
    row = {pose: i for i, pose in enumerate(rows)}
    partner = [row.get(pose, -1) for sample in samples for pose in sample.poses.id.tolist()]
    return np.array(partner, np.intp), np.zeros(len(partner), bool)


def _matched_by_place(
    samples: list[Sample], true: Truth, skeleton: Skeleton
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each pose the row of the true pose it matches, or -1; and which are extra ones on a checked image."""
    partner, extra, first = list[NDArray[np.intp]](), list[NDArray[np.bool_]](), 0
    for sample in samples:
        truth = true.get(sample.key)
        if truth is None:
            partner.append(np.full(len(sample.poses), -1, np.intp))
            extra.append(np.zeros(len(sample.poses), bool))
            continue
        found = compare(sample.poses, truth, skeleton)
        partner.append(np.where(found.truth >= 0, found.truth + first, -1))
        extra.append((found.truth < 0) & ~found.ignored)
        first += len(truth)
    return np.concatenate(partner), np.concatenate(extra)
