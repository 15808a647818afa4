"""Predicted poses beside what the truth says about them: what calibration fits and reports measure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.manifest import Manifest
from autolabel.merge import State
from autolabel.poses import Poses, Sample, Visibility
from autolabel.progress import SILENT, Progress
from autolabel.similarity import bad_poses, compare, gross_keypoints, mean_similarity, pair_similarity
from autolabel.skeleton import Skeleton
from pipelines.score import image_sizes


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
    """

    poses: Poses
    features: dict[str, NDArray[Any]]
    sizes: NDArray[np.float64]
    gross: NDArray[np.bool_]
    scored: NDArray[np.bool_]
    bad: NDArray[np.bool_]
    oks: NDArray[np.float64]
    error: NDArray[np.float64]

    def take(self, which: NDArray[np.bool_]) -> "Checked":
        """The poses where the mask is set."""
        values = {name: array[which] for name, array in self.features.items()}
        rest = (getattr(self, name)[which] for name in _ARRAYS)
        return Checked(self.poses.take(which), values, *rest)

    @classmethod
    def joined(cls, parts: "Sequence[Checked]") -> "Checked":
        """All poses of the parts; features that some of them lack are left out."""
        shared = [name for name in parts[0].features if all(name in part.features for part in parts)]
        values = {name: np.concatenate([part.features[name] for part in parts]) for name in shared}
        rest = (np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS)
        return cls(Poses.concat([part.poses for part in parts]), values, *rest)


_ARRAYS = ("sizes", "gross", "scored", "bad", "oks", "error")


def check(predicted: Manifest, truth: Manifest, progress: Progress = SILENT) -> Checked:
    """Judge predicted poses by the truth.

    Raises:
        InputError: They share no pose, or there are no features.
        SkeletonError: Their skeletons differ.
    """
    predicted.skeleton.require_same(truth.skeleton, str(truth.path))
    true = {sample.key: sample.poses for sample in truth}
    found: list[Checked] = []
    with progress.task("compare", len(predicted), "image") as task:
        for i in range(predicted.num_parts):
            samples, features = predicted.part(i), predicted.features(i)
            task.advance(len(samples))
            if any(sample.key in true for sample in samples):
                found.append(_check_part(samples, features or {}, true, predicted.skeleton))
    if not sum(len(part.poses) for part in found):
        raise InputError(
            "no predicted pose is among the checked ones",
            subject=str(truth.path),
            remedy="Check poses of the same images, and give the manifest that `autolabel predict` wrote.",
        )
    return Checked.joined(found)


def _check_part(
    samples: list[Sample],
    features: dict[str, NDArray[Any]],
    true: dict[tuple[str, str, str], Poses],
    skeleton: Skeleton,
) -> Checked:
    """The poses of a part that the truth knows, each beside the true pose that it is or matches."""
    poses = Poses.concat([sample.poses for sample in samples])
    truth = Poses.concat([true.get(sample.key, Poses.empty(skeleton.num_keypoints)) for sample in samples])
    row = {pose: i for i, pose in enumerate(truth.id.tolist())}
    partner = np.array([row.get(pose, -1) for pose in poses.id.tolist()], np.intp)
    unmatched = np.zeros(len(poses), bool)
    if (partner < 0).all():
        partner, unmatched = _matched_by_place(samples, true, skeleton)
    chosen = np.flatnonzero((partner >= 0) | unmatched)
    known = partner[chosen] >= 0
    mine, theirs = poses.take(chosen[known]), truth.take(partner[chosen[known]])
    ks = pair_similarity(mine, theirs, skeleton)
    rejected = np.array([a.get("state") == State.REJECTED for a in theirs.attributes], bool)
    said = (theirs.visibility != Visibility.UNLABELLED) & ~rejected[:, None]
    wrong = gross_keypoints(mine, theirs, ks) & said
    distance = np.where(theirs.labelled, np.linalg.norm(mine.xy - theirs.xy, axis=-1), np.nan)

    def spread(values: NDArray[Any], default: Any) -> NDArray[Any]:
        full = np.full((len(chosen), *values.shape[1:]), default, values.dtype)
        full[known] = values
        return full

    return Checked(
        poses.take(chosen),
        {name: array[chosen] for name, array in features.items()},
        sizes=image_sizes(samples)[chosen],
        gross=spread(wrong, False),
        scored=spread(said, False),
        bad=spread(bad_poses(mean_similarity(ks), wrong) | rejected, True),
        oks=spread(mean_similarity(ks), np.nan),
        error=spread(distance.astype(np.float64), np.nan),
    )


def _matched_by_place(
    samples: list[Sample], true: dict[tuple[str, str, str], Poses], skeleton: Skeleton
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each pose the row of the true pose it matches, or -1; and which are extra ones on a checked image."""
    partner, extra, first = list[NDArray[np.intp]](), list[NDArray[np.bool_]](), 0
    for sample in samples:
        truth = true.get(sample.key)
        if truth is None:
            partner.append(np.full(len(sample.poses), -1, np.intp))
            extra.append(np.zeros(len(sample.poses), bool))
            continue
        matched = compare(sample.poses, truth, skeleton)
        partner.append(np.where(matched.truth >= 0, matched.truth + first, -1))
        extra.append((matched.truth < 0) & ~matched.ignored)
        first += len(truth)
    return np.concatenate(partner), np.concatenate(extra)
